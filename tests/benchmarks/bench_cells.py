"""Cell enumeration against a plain depth-first search and relucent, side by side in one run.

``python tests/benchmarks/bench_cells.py --page docs/benchmarks-cells.md`` writes the page. Every
job is a process of its own; weights are drawn as torch does by default, seed 0. Run by
``nox -s bench``.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

from bench_exact import installed, machine
from cells_jobs import Job
from exact_runs import table

WORKER = Path(__file__).resolve().parent / "cells_jobs.py"
SHORT = 10.0
"""Jobs that take less (CPU seconds) are run three times; the median counts."""

GENERIC = (
    Job(method="", sizes=(2, 64, 64)),
    Job(method="", sizes=(3, 28, 28)),
    Job(method="", sizes=(4, 20, 20)),
    Job(method="", sizes=(3, 16, 16), radius=float("inf")),
    Job(method="", sizes=(5, 12, 12)),
    Job(method="", sizes=(5, 10, 10), radius=float("inf")),
    Job(method="", sizes=(6, 12, 12)),
    Job(method="", sizes=(8, 10, 10)),
    Job(method="", sizes=(10, 8, 8), radius=float("inf")),
    Job(method="", sizes=(10, 16), radius=float("inf")),
    Job(method="", sizes=(12, 13)),
    Job(method="", sizes=(20, 12)),
)
SMALL = (
    Job(method="", sizes=(2, 32, 32)),
    Job(method="", sizes=(3, 8, 8), radius=float("inf")),
    Job(method="", sizes=(4, 10, 10)),
    Job(method="", sizes=(5, 8, 8)),
)
LARGE = (
    Job(method="wdaverify", sizes=(4, 28, 28), seconds=600.0),
    Job(method="wdaverify", sizes=(4, 56, 56), seconds=600.0),
    Job(method="wdaverify", sizes=(10, 16), radius=float("inf"), seconds=600.0),
    Job(method="wdaverify", sizes=(6, 24, 24), seconds=900.0),
)
KINDS = ("generic", "no bias", "eighths", "quarters", "duplicates", "dead", "walls")
SHAPES = ((3, 12, 12), (5, 10, 10), (8, 8, 8))


def run(job: Job) -> dict[str, float]:
    """Run a job, a short one three times; an empty result when it failed or took too long."""
    if job.method == "relucent" and find_spec("relucent") is None:
        return {}
    results: list[dict[str, float]] = []
    while len(results) < 3 and (not results or results[-1]["seconds"] < SHORT):
        try:
            answer = subprocess.run(
                [sys.executable, "-W", "ignore", str(WORKER), json.dumps(asdict(job))],
                env=os.environ | {"OMP_NUM_THREADS": "1"},
                capture_output=True, text=True, check=True, timeout=job.seconds,
            )  # fmt: skip
        except (subprocess.TimeoutExpired, subprocess.CalledProcessError):
            return {}
        results.append(json.loads(answer.stdout.strip().splitlines()[-1]))
    middle = statistics.median_low(result["seconds"] for result in results)
    found = next(result for result in results if result["seconds"] == middle)
    print(f"{job.method} {job.task} {name(job)} {job.kind}: {found}", file=sys.stderr, flush=True)
    return found


def name(job: Job) -> str:
    """Return the widths and the support."""
    space = "ℝⁿ" if job.radius == float("inf") else f"[−{job.radius:g}, {job.radius:g}]ⁿ"
    return f"{'-'.join(map(str, job.sizes))}, {space}"


def figure(found: dict[str, float], key: str = "seconds") -> str:
    """Return a number to three digits."""
    return f"{found[key]:.3g}" if found else "–"


def ratio(slow: dict[str, float], fast: dict[str, float]) -> str:
    """Return how many times slower, and where the numbers of cells differ."""
    if not slow or not fast:
        return "–"
    times = f"{slow['seconds'] / fast['seconds']:.0f}"
    return times if slow["cells"] == fast["cells"] else f"{times} (it finds {slow['cells']:,.0f})"


def rate(found: dict[str, float]) -> str:
    """Return cells per CPU second."""
    return f"{found['cells'] / found['seconds']:,.0f}" if found else "–"


def patterns() -> str:
    """Compare with the plain depth-first search."""
    rows = []
    for case in GENERIC:
        ours, plain = (run(replace(case, method=m)) for m in ("wdaverify", "depth-first"))
        asked = "≥ 50" if case.sizes[0] <= 4 else "≥ 8"
        cells = f"{ours.get('cells', float('nan')):,.0f}"
        rows.append((name(case), cells, figure(ours), rate(ours), figure(plain), ratio(plain, ours),
                     asked))  # fmt: skip
    head = ("net, support", "cells", "`wdaverify`", "cells / s", "depth first", "ratio", "asked")
    return f"""## Patterns

CPU seconds after imports and a first tiny run. Depth first: one warm HiGHS program a doubtful sign,
nothing exact.

{table(head, *rows)}
"""


def peers() -> str:
    """Compare with relucent, with and without the adjacency graph."""
    rows = []
    for case in SMALL:
        ours = run(replace(case, method="wdaverify"))
        graph = run(replace(case, method="wdaverify", task="graph"))
        theirs = run(replace(case, method="relucent", seconds=300.0))
        rows.append((name(case), f"{ours.get('cells', float('nan')):,.0f}", figure(ours),
                     figure(graph), figure(theirs), ratio(theirs, ours),
                     ratio(theirs, graph)))  # fmt: skip
    head = ("net, support", "cells", "patterns", "with graph", installed("relucent"),
            "ratio, patterns (≥ 300)", "ratio, graph (≥ 50)")  # fmt: skip
    return f"""## relucent

It finds cells by crossing certified facets, so its time includes the graph. CPU seconds with its
worker processes, after a first tiny run.

{table(head, *rows)}
"""


def large() -> str:
    """Enumerate many cells as a stream."""
    rows = []
    for case in LARGE:
        found = run(case)
        rows.append((name(case), f"{found.get('cells', float('nan')):,.0f}", figure(found),
                     rate(found), figure(found, "megabytes")))  # fmt: skip
    head = ("net, support", "cells", "CPU s", "cells / s", "peak MB above the imports")
    return f"""## Many cells

As a stream: cells are counted, not kept.

{table(head, *rows)}
"""


def degenerate() -> str:
    """Compare degenerate nets with generic ones of the same size."""
    rows = []
    for sizes in SHAPES:
        base = run(Job(method="wdaverify", sizes=sizes))
        for kind in KINDS:
            found = run(Job(method="wdaverify", sizes=sizes, kind=kind))
            times = found["seconds"] / base["seconds"] if found and base else float("nan")
            each = times * base["cells"] / found["cells"] if found and base else float("nan")
            cells = f"{found.get('cells', float('nan')):,.0f}"
            rows.append(("-".join(map(str, sizes)), kind, cells, figure(found), f"{times:.1f}",
                         f"{each:.1f}"))  # fmt: skip
    head = ("net", "kind", "cells", "CPU s", "times the generic net (≤ 10)", "for each cell")
    return f"""## Degenerate nets

Box [−1, 1]ⁿ. No bias; weights rounded to eighths or quarters; half of the neurons duplicated or
negated; a quarter of them dead; half of the hyperplanes on the walls.

{table(head, *rows)}
"""


SECTIONS = {"patterns": patterns, "peers": peers, "large": large, "degenerate": degenerate}


def main() -> None:
    """Print the page, or write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", type=Path, help="file to write")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, help="sections; all when omitted")
    arguments = parser.parse_args()
    start = time.monotonic()
    body = [SECTIONS[section]() for section in arguments.only or SECTIONS]
    minutes = (time.monotonic() - start) / 60
    text = f"""# Benchmarks of the cell enumeration

Made on {datetime.now(UTC):%d %B %Y} in {minutes:.0f} minutes by
`python tests/benchmarks/bench_cells.py --page docs/benchmarks-cells.md`.

Machine: {machine()}. One thread. Nets have two logits and weights drawn as torch does by default.

{os.linesep.join(body)}"""
    if arguments.page:
        arguments.page.write_text(text, encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
