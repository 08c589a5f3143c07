"""One job of the exact benchmark, in a process of its own: ``python exact_jobs.py '{…}'``.

Prints JSON lines: what was reached now and then, in the end the result. The parent ends the process
when its time is up; the last line is what it reached.
"""

import json
import resource
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import wdaverify as wv
from wdaverify.cost import TransportCost
from wdaverify.loss import loss_named

PROBLEMS = Path(__file__).resolve().parents[2] / "problems"
RADII = (0.01, 0.05, 0.1, 0.2)
TIGHT = 1e-7
"""Gap of a distance that counts as exact."""

EVERY = 2.0
"""Seconds between two lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What to compute, and with what.

    Parameters
    ----------
    method
        ``wdaverify``, ``branch-and-bound``, ``highs``, ``scip`` or ``marabou``.
    task
        ``values`` of the four radii in one call, or ``distances``.
    net
        Folder of ``problems/``.
    data
        An ``npz`` file with other points and labels for the same network.
    samples
        The first so many.
    seconds
        Wall-clock time before it is stopped.
    """

    method: str
    task: str
    net: str
    samples: int
    data: str = ""
    loss: str = "margin"
    norm: str = "linf"
    tolerance: float = 1e-7
    engine: str = "auto"
    workers: int = 1
    seconds: float = 600.0

    def problem(self) -> wv.Problem:
        """Return the question."""
        problem = wv.load_problem(PROBLEMS / self.net)
        changes: dict[str, Any] = {}
        if self.data:
            with np.load(self.data) as arrays:
                changes = {"points": arrays["points"], "labels": arrays["labels"]}
            changes["weights"] = np.ones(len(changes["labels"]))
        loss = loss_named("zero-one" if self.task == "distances" else self.loss)
        return problem.replace(loss=loss, cost=TransportCost(self.norm), **changes).head(
            self.samples
        )


@dataclass(slots=True)
class Outcome:
    """What a job reached."""

    seconds: float = 0.0
    """CPU time, of all processes that took part."""
    wall: float = 0.0
    lower: list[float] = field(default_factory=list)
    upper: list[float] = field(default_factory=list)
    note: str = ""
    done: bool = False
    stopped: bool = False
    """Whether it was ended at its time limit."""
    open: int = 0
    """Brackets that stayed wider than the tolerance."""
    megabytes: float = 0.0
    """Peak memory."""
    megabytes_before: float = 0.0
    """Peak memory before the work began: Python, libraries, data."""


def engine(job: Job, problem: wv.Problem) -> Any:
    """Return the engine under test: ``solve(radius)``, ``distances()``, ``counts``.

    The one place that knows how the package is called.
    """
    from wdaverify.exact.solve import solver_for  # noqa: PLC0415  (only its own jobs load it)

    limits = wv.Limits(seconds=job.seconds)
    return solver_for(
        problem, job.engine, workers=job.workers, tolerance=job.tolerance, limits=limits
    )


class Reporter:
    """Prints what was reached, at most every two seconds."""

    def __init__(self) -> None:
        self.outcome = Outcome(megabytes_before=_peak())
        self.start, self.cpu, self.last = time.monotonic(), _cpu(), time.monotonic()

    @property
    def due(self) -> bool:
        """Whether it is time for a line."""
        return time.monotonic() - self.last >= EVERY

    def tell(self, note: str, *, now: bool = False) -> None:
        """Print a line if it is time."""
        if not now and not self.due:
            return
        self.last = time.monotonic()
        self.outcome.note = note
        self.outcome.seconds, self.outcome.wall = _cpu() - self.cpu, self.last - self.start
        self.outcome.megabytes = _peak()
        print(json.dumps(asdict(self.outcome)), flush=True)

    def finish(self, brackets: Iterable[tuple[float, float]], tolerance: float, note: str) -> None:
        """Print the result; brackets wider than the tolerance are counted as open."""
        pairs = list(brackets)
        self.outcome.lower, self.outcome.upper = ([pair[k] for pair in pairs] for k in (0, 1))
        self.outcome.open = sum(
            high - low > tolerance * max(1.0, abs(low)) for low, high in pairs if low < high
        )
        self.outcome.done = True
        self.tell(note, now=True)


def _cpu() -> float:
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def _peak() -> float:
    """Return peak memory in MB; Linux counts the parent's in ``ru_maxrss`` too."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def by_wdaverify(job: Job, problem: wv.Problem, report: Reporter) -> None:
    """Run the engine of the package."""
    solver = engine(job, problem)
    if job.task == "distances":
        found = solver.distances()
        report.finish(zip(found.lower.tolist(), found.upper.tolist(), strict=True), TIGHT, "")
        return
    values = []
    for radius in RADII:
        values.append(solver.solve(radius))
        report.tell(f"{len(values)} of {len(RADII)} radii")
    report.finish([(value.lower, value.upper) for value in values], job.tolerance, "")


def by_branch_and_bound(_: Job, problem: wv.Problem, report: Reporter) -> None:
    """Run the plain branch and bound."""
    from baseline_branch_and_bound import GAP, Trees  # noqa: PLC0415

    trees = Trees(problem)
    _price(problem, trees.supremum, GAP, report)


def by_milp(job: Job, problem: wv.Problem, report: Reporter) -> None:
    """Run the integer programs, in HiGHS or in SCIP."""
    from baseline_milp import GAP, HighsProgram, Programs, ScipProgram  # noqa: PLC0415

    make: Any = HighsProgram if job.method == "highs" else ScipProgram
    _price(problem, Programs(problem, make).supremum, GAP, report)


def _price(problem: wv.Problem, supremum: Any, gap: float, report: Reporter) -> None:
    """Run the outer loop, and tell the brackets of all radii as they stand."""
    from kelley import Kelley  # noqa: PLC0415

    def tell(samples: int, multipliers: int) -> None:
        if report.due:
            report.outcome.lower = [loop.merge().value(radius) for radius in RADII]
            report.outcome.upper = [loop.upper(radius) for radius in RADII]
            report.tell(f"{multipliers} multipliers, {samples} of {len(problem)} samples more")

    loop = Kelley(problem, supremum, tell)
    found = loop.solve(RADII, gap=gap)
    brackets = [(one.lower, one.upper) for one in found]
    report.finish(brackets, max(gap, TIGHT), f"{len(loop.priced)} multipliers")


def by_marabou(_: Job, problem: wv.Problem, report: Reporter) -> None:
    """Run Marabou's bisection; distances only."""
    from baseline_marabou import TOLERANCE, distances  # noqa: PLC0415

    def tell(sample: int, low: float, high: float) -> None:
        report.outcome.lower.append(low)
        report.outcome.upper.append(high)
        report.tell(f"{sample + 1} of {len(problem)} samples")

    report.finish(distances(problem, tell), TOLERANCE, "")


METHODS = {
    "wdaverify": by_wdaverify,
    "branch-and-bound": by_branch_and_bound,
    "highs": by_milp,
    "scip": by_milp,
    "marabou": by_marabou,
}


def main() -> None:
    """Run the job of the command line."""
    job = Job(**json.loads(sys.argv[1]))
    problem = job.problem()
    METHODS[job.method](job, problem, Reporter())


if __name__ == "__main__":
    main()
