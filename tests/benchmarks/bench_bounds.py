"""How close attacks and certificates come to the exact value, on problems whose cells are listed.

``python tests/benchmarks/bench_bounds.py --page docs/benchmarks-bounds.md`` writes the page, with
the tables of ``bench_attack.py`` at its end. Run by ``nox -s bench``.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path

from bench_exact import machine
from exact_runs import table

import wdaverify as wv
from wdaverify.bounds.certificate import certificates
from wdaverify.bounds.growth import growth_certificate
from wdaverify.limits import Limits

FOLDER = Path(__file__).resolve().parent
PROBLEMS = FOLDER.parents[1] / "problems"
NETS = ("moons", "iris", "wine", "breast-cancer")
SAMPLES = 30
RADII = (0.02, 0.1)
LOSSES = ("margin", "hinge", "zero-one", "cross-entropy", "truncated-dlr")
QUESTIONS = (("linf", 1), ("l1", 1), ("l2", 1), ("linf", 2), ("linf", "inf"))
SECONDS = 15.0
"""Wall-clock seconds for an exact value; a bracket after that is left out, and counted."""


def problem(net: str, loss: str, norm: str, order: float | str) -> wv.Problem:
    """Return the first samples of a problem with another question."""
    whole = wv.load_problem(PROBLEMS / net)
    return wv.Problem(
        whole.network,
        whole.points[:SAMPLES],
        whole.labels[:SAMPLES],
        loss=loss,
        cost=wv.TransportCost(norm, order=order),
        support=whole.support,
    )


def attacks() -> str:
    """Relative gaps of the default attack, per loss, norm and order."""
    rows, medians, skipped = [], [], 0
    for loss in LOSSES:
        for norm, order in QUESTIONS:
            gaps: list[float] = []
            spent: dict[str, float] = defaultdict(float)
            for net in NETS:
                if loss == "truncated-dlr" and net in ("moons", "breast-cancer"):
                    continue  # two classes
                question = problem(net, loss, norm, order)
                cells = wv.enumerate_cells(question.network, question.support)
                for radius in RADII:
                    start = time.process_time()
                    lower = wv.attack(question, radius=radius).value
                    spent["attack"] += time.process_time() - start
                    start = time.process_time()
                    limits = Limits(seconds=SECONDS)
                    value = wv.solve(question, radius=radius, cells=cells, limits=limits)
                    spent["exact"] += time.process_time() - start
                    if value.status != "exact":
                        skipped += 1
                        continue
                    gaps.append(max(0.0, value.lower - lower) / max(1.0, abs(value.lower)))
            if not gaps:
                continue
            medians.append(statistics.median(gaps))
            rows.append((loss, f"{norm}, {order}", len(gaps), f"{medians[-1]:.1e}",
                         f"{max(gaps):.1e}", f"{spent['attack']:.1f}",
                         f"{spent['exact']:.1f}"))  # fmt: skip
            print(*rows[-1], file=sys.stderr, flush=True)
    head = (
        "loss",
        "norm, order",
        "values",
        "median gap",
        "largest",
        "attack, CPU s",
        "exact, CPU s",
    )
    return f"""## The attack against the exact value

{", ".join(NETS)}; {SAMPLES} samples, radii {", ".join(map(str, RADII))}. Gap: exact minus attack,
relative to max(1, |value|); asked for margin and zero-one: a median of at most 1e-3. {skipped}
values were not exact after {SECONDS:.0f} s and are left out.

{table(head, *rows)}
"""


def bounds() -> str:
    """Every certificate beside the exact value."""
    rows = []
    for net in (*NETS, "breast"):
        question = problem(net, "margin", "linf", 1)
        listed = net != "breast"
        cells = wv.enumerate_cells(question.network, question.support) if listed else None
        start = time.process_time()
        growth = growth_certificate(question)
        seconds = time.process_time() - start
        others = {c.method: c for c in certificates(question, cells=cells)}
        for radius in (0.01, 0.05, 0.1, 0.2):
            exact = wv.solve(question, radius=radius, cells=cells)
            values = [growth.bound(radius), *(c.bound(radius) for c in others.values())]
            if min(values) < exact.lower - 1e-9 * max(1.0, abs(exact.lower)):
                raise SystemExit(f"{net}, {radius}: a certificate lies below the exact value")
            best = min(values)
            shown = [f"**{v:.4g}**" if v == best else f"{v:.4g}" for v in values]
            rows.append((net, radius, f"{exact.lower:.4g}", *shown, f"{seconds:.2f}"))
    head = ("net", "radius", "exact", "growth", *others, "growth, CPU s, all radii")
    return f"""## Certificates against the exact value

Margin, ℓ∞, order 1, {SAMPLES} samples; the smallest upper bound in bold. For *breast* the
constants are searched, not read off cells.

{table(head, *rows)}
"""


def nearest() -> str:
    """Return the tables of the attack benchmark."""
    answer = subprocess.run(
        [sys.executable, "-W", "ignore", str(FOLDER / "bench_attack.py")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return f"## Distances by attack\n\n{answer.stdout}"


def main() -> None:
    """Print the page, or write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", type=Path, help="file to write")
    arguments = parser.parse_args()
    start = time.monotonic()
    parts = [bounds(), attacks(), nearest()]
    minutes = (time.monotonic() - start) / 60
    text = f"""# Attacks and certificates measured

Made on {datetime.now(UTC):%d %B %Y} in {minutes:.0f} minutes by
`python tests/benchmarks/bench_bounds.py --page docs/benchmarks-bounds.md`.

Machine: {machine()}. One thread.

{chr(10).join(parts)}"""
    if arguments.page:
        arguments.page.write_text(text, encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
