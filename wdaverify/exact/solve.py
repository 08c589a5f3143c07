"""One call for one value: choose the engine, enumerate if need be, solve."""

from collections.abc import Callable
from contextlib import closing

from wdaverify.cells.complex import CellComplex
from wdaverify.errors import LimitReached, ProblemError
from wdaverify.exact.answer import ExactValue
from wdaverify.exact.dispatch import Dispatcher
from wdaverify.exact.engine import choose_engine, dispatcher_for
from wdaverify.exact.unlisted import UnlistedOracle
from wdaverify.exact.value import ExactSolver
from wdaverify.limits import Limits
from wdaverify.problem import Problem
from wdaverify.tolerances import EXACT

__all__ = ["check_radius", "solve", "solver_for"]


def solve(  # noqa: PLR0913  (the public signature: the question and what it may cost)
    problem: Problem,
    *,
    radius: float,
    cells: CellComplex | None = None,
    engine: str = "auto",
    workers: int | None = None,
    tolerance: float = EXACT,
    limits: Limits | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> ExactValue:
    """Return the exact worst-case value at one radius, with its bracket and worst case.

    Parameters
    ----------
    problem
        The question.
    radius
        Wasserstein radius ``ε >= 0`` in input units.
    cells
        Activation cells, to share them between calls; enumerated when omitted.
    engine
        ``cells`` (enumerate, then sub-problems), ``search`` (branch and bound over partial
        patterns), ``milp`` (slow, independent) or ``auto``.
    workers
        Processes that share the work; results do not depend on them. As many as there is room for
        if ``-1``; if ``None``, one, or under a ``joblib.parallel_config`` as many as it says: all
        of a cluster.
    tolerance
        Relative gap that counts as exact.
    limits
        On time, memory and cells.

    Raises
    ------
    UnsupportedError
        The engine does not cover the question.
    LimitReached
        The cells could not be enumerated within the limits, and nothing bounds the loss without
        them (DLR on an unbounded support). Otherwise limits end in a bracket that is valid.

    Examples
    --------
    >>> import wdaverify as wv
    >>> relu = wv.ReLUNetwork([[[1.0]], [[0.0], [1.0]]], [[0.0], [0.0, 0.0]])
    >>> problem = wv.Problem(relu, [[-1.0]], [0], support=wv.Box(-3.0, 3.0))
    >>> value = wv.solve(problem, radius=2.0)  # ε R / (R + t) = 2 · 3 / (3 + 1)
    >>> round(value.lower, 9), round(value.upper, 9), value.status
    (1.5, 1.5, 'exact')
    """
    check_radius(radius)
    solver = solver_for(
        problem,
        engine,
        cells=cells,
        workers=workers,
        tolerance=tolerance,
        limits=limits,
        progress=progress,
    )
    with closing(solver.desk):
        return solver.solve(radius)


def solver_for(  # noqa: PLR0913
    problem: Problem,
    engine: str = "auto",
    *,
    cells: CellComplex | None = None,
    workers: int | None = None,
    curve: bool = False,
    tolerance: float = EXACT,
    limits: Limits | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> ExactSolver:
    """Return a solver for many radii of one problem; parameters as in :func:`solve`."""
    choice = choose_engine(problem, engine, cells, curve=curve)
    limits, progress = limits or Limits(), progress or (lambda _, __: None)
    stopped: LimitReached | None = None
    try:
        desk = dispatcher_for(
            problem, choice, cells=cells, workers=workers, limits=limits, progress=progress
        )
    except LimitReached as reached:
        if UnlistedOracle.refuses(problem) is not None:
            raise
        stopped, desk = reached, Dispatcher(UnlistedOracle(problem, reached))
    solver = ExactSolver(problem, desk, tolerance=tolerance, limits=limits, progress=progress)
    solver.stopped = stopped
    return solver


def check_radius(radius: float) -> float:
    """Return the radius as a float.

    Raises
    ------
    ProblemError
        Negative, infinite or not a number.
    """
    value = float(radius)
    if not 0 <= value < float("inf"):
        raise ProblemError(f"radius: expected a finite number >= 0, found {radius}")
    return value
