"""Exact values of the real problems, and the same by the MILP oracle on a few samples.

Prints machine, versions and sizes; medians over repetitions; the ratio is CPU seconds per sample
of the MILP over those of the engine (cells included). Run by ``nox -s bench``.
"""

import platform
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from reference.milp import worst_case_value  # noqa: E402
from reference.question import Question  # noqa: E402

import wdaverify as wv  # noqa: E402
from wdaverify.exact.value import ExactSolver  # noqa: E402

RADII = (0.01, 0.05, 0.1, 0.2)
NAMES = ("moons", "iris", "iris-l1", "wine", "breast-cancer")
MILP_SAMPLES = 3


def seconds(work: Callable[[], object], repetitions: int) -> float:
    """Return the median CPU time of some work."""
    times = []
    for _ in range(repetitions):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return statistics.median(times)


def by_cells(problem: wv.Problem) -> ExactSolver:
    """Solve all radii with the engine."""
    cells = wv.enumerate_cells(problem.network, problem.support)
    solver = ExactSolver(problem, cells)
    for radius in RADII:
        value = solver.solve(radius)
        assert value.status == "exact", value
    return solver


def by_milp(problem: wv.Problem) -> None:
    """Solve one radius with the oracle."""
    lower, upper = problem.support.bounds
    question = Question(
        weights=list(problem.network.weights),
        biases=list(problem.network.biases),
        points=problem.points,
        labels=problem.labels,
        norm=problem.cost.norm.name,
        lower=lower,
        upper=upper,
    )
    low, high = worst_case_value(question, RADII[1])
    exact = wv.solve(problem, radius=RADII[1])
    assert low - 1e-7 <= exact.upper, (low, exact)
    assert exact.lower <= high + 1e-7, (high, exact)


def main() -> None:
    """Print one line per problem."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("highspy", "numpy", "torch"))
    print(
        f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}, {packages}"
    )
    print("CPU seconds, median of 3; engine: cells and four radii; MILP: one radius per sample")
    print("problem           N  cells programs   engine  MILP/sample ratio")
    for name in NAMES:
        problem = wv.load_problem(ROOT / "problems" / name)
        counts = by_cells(problem).counts
        engine = seconds(lambda p=problem: by_cells(p), 3)
        few = problem.head(MILP_SAMPLES)
        milp = seconds(lambda p=few: by_milp(p), 1) / MILP_SAMPLES
        ratio = milp * len(RADII) / (engine / len(problem))
        sizes = f"{len(problem):4} {counts.cells:6} {counts.programs:8}"
        print(f"{name:14} {sizes} {engine:8.2f} {milp:12.2f} {ratio:5.0f}")


if __name__ == "__main__":
    main()
