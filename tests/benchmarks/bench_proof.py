"""Proofs: sizes, and times to solve, to solve with proof and to check, side by side in one run.

``python tests/benchmarks/bench_proof.py --page docs/benchmarks-proofs.md`` writes the page. Times
are CPU seconds of one process, the median of five runs (one where a run takes more than
``LONG``). Run by ``nox -s bench``.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench_exact import machine
from exact_runs import table

from wdaverify.cells.complex import enumerate_cells
from wdaverify.checker.verdict import check_file
from wdaverify.cost import TransportCost
from wdaverify.exact.solve import solve
from wdaverify.problem import Problem
from wdaverify.proof.prove import prove
from wdaverify.storage import load_problem

PROBLEMS = Path(__file__).parents[2] / "problems"
LONG = 20.0
"""Seconds of a run beyond which it is not repeated."""


@dataclass(frozen=True)
class Case:
    """A question: the first samples of a problem folder at one radius."""

    folder: str
    samples: int
    radius: float
    engine: str
    loss: str = "margin"
    norm: str = "linf"
    order: float = 1.0

    def problem(self) -> Problem:
        """Return the question."""
        problem = load_problem(PROBLEMS / self.folder).head(self.samples)
        return problem.replace(loss=self.loss, cost=TransportCost(self.norm, self.order))


MAIN = (
    Case("moons", 100, 0.05, "cells"),
    Case("moons", 100, 0.05, "cells", loss="zero-one"),
    Case("moons", 100, 0.05, "cells", loss="hinge", norm="l1"),
    Case("moons", 100, 0.05, "cells", norm="l2"),
    Case("moons", 100, 0.05, "cells", order=2.0),
    Case("moons", 100, 0.05, "cells", order=float("inf")),
    Case("moons", 100, 0.05, "cells", loss="cross-entropy"),
    Case("moons", 100, 0.05, "search"),
    Case("iris", 50, 0.1, "cells"),
    Case("iris", 50, 0.1, "cells", norm="l1"),
    Case("iris", 50, 0.1, "search"),
    Case("breast-cancer", 60, 0.1, "cells"),
    Case("wine", 60, 0.1, "cells"),
    Case("breast", 10, 0.05, "search"),
    Case("digits", 3, 0.05, "search"),
)
SWEEP = tuple(
    Case("moons", n, 0.05, engine) for engine in ("cells", "search") for n in (5, 10, 20, 50, 100)
)


def timed(work: Callable[[], object], runs: int) -> float:
    """Return the median CPU time."""
    seconds: list[float] = []
    while len(seconds) < runs and (not seconds or seconds[0] < LONG):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return statistics.median(seconds)


def measured(case: Case, file: Path, runs: int) -> list[str]:
    """Return a row of the table."""
    problem = case.problem()
    plain = timed(lambda: solve(problem, radius=case.radius, engine=case.engine), runs)
    both = timed(
        lambda: prove(problem, radius=case.radius, path=file, engine=case.engine, checked=False),
        runs,
    )
    found = prove(problem, radius=case.radius, path=file, engine=case.engine, checked=False)
    check = timed(lambda: check_file(file), runs)
    verdict = check_file(file)
    cells = "–"
    if case.engine == "cells":
        cells = f"{len(enumerate_cells(problem.network, problem.support)):,}"
    order = f"{case.order:g}"
    row = [
        case.folder, str(case.samples), case.loss, case.norm, order, case.engine, cells,
        f"{plain:.2f}", f"{both:.2f}", f"{both / plain:.1f}", f"{check:.2f}",
        f"{file.stat().st_size / 1000:.0f}", f"{found.loss:.0e}",
        "accepted" if verdict.accepted else f"REJECTED: {verdict.reason}",
    ]  # fmt: skip
    print(" | ".join(row), file=sys.stderr, flush=True)
    return row


HEAD = [
    "problem", "N", "loss", "norm", "order", "engine", "cells", "solve s", "with proof s", "ratio",
    "check s", "kB", "loss of bound", "verdict",
]  # fmt: skip


def page(cases: tuple[Case, ...], sweep: tuple[Case, ...], runs: int) -> str:
    """Run everything and return the page."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "proof"
        main = table(HEAD, *[measured(case, file, runs) for case in cases])
        growth = table(HEAD, *[measured(case, file, runs) for case in sweep])
    today = datetime.now(UTC)
    return f"""# Benchmarks: proofs

Made on {today.day} {today:%B %Y} in one run by
`python tests/benchmarks/bench_proof.py --page docs/benchmarks-proofs.md`.

{machine()}

CPU seconds, median of {runs} runs (one run beyond {LONG:g} s). *With proof* solves and writes the
file, without the check at the end that `wdaverify prove` adds unless told `--no-check`. *Loss of
bound* is how much wider the proved bracket is than the engine's, relative to max(1, |v|).

{main}

Growth with the number of samples: trees over listed cells are shared by all samples of a label,
those of the search belong to one sample each.

{growth}
"""


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="only small questions")
    given = parser.parse_args()
    small = tuple(case for case in MAIN if case.folder == "moons")
    text = page(small if given.quick else MAIN, SWEEP[:2] if given.quick else SWEEP, given.runs)
    if given.page is None:
        print(text)
    else:
        given.page.write_text(text)
