"""One call for one value: choose the engine, enumerate if need be, solve."""

from collections.abc import Callable
from typing import Literal, get_args

from wdaverify.cells.complex import CellComplex, enumerate_cells
from wdaverify.errors import ProblemError, UnsupportedError
from wdaverify.exact.answer import ExactValue, check_supported
from wdaverify.exact.value import ExactSolver
from wdaverify.limits import Limits
from wdaverify.problem import Problem
from wdaverify.tolerances import EXACT

__all__ = ["Engine", "choose_engine", "solve"]

Engine = Literal["auto", "cells", "search", "milp"]


def choose_engine(engine: str) -> str:
    """Return the engine that answers.

    Raises
    ------
    ProblemError
        No such engine.
    UnsupportedError
        The engine is planned but not built.
    """
    if engine not in get_args(Engine):
        raise ProblemError(
            f"engine: expected one of {', '.join(get_args(Engine))}, found {engine!r}"
        )
    if engine in ("search", "milp"):
        raise UnsupportedError(f"engine: {engine} is not built yet; expected cells or auto")
    return "cells"


def solve(  # noqa: PLR0913  (the public signature: the question and what it may cost)
    problem: Problem,
    *,
    radius: float,
    cells: CellComplex | None = None,
    engine: str = "auto",
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
        ``auto`` or ``cells``.
    tolerance
        Relative gap that counts as exact.
    limits
        On time, memory and cells.

    Raises
    ------
    UnsupportedError
        The loss, norm or order has no exact engine.
    LimitReached
        The cells could not be enumerated within the limits.

    Examples
    --------
    >>> import wdaverify as wv
    >>> relu = wv.ReLUNetwork([[[1.0]], [[0.0], [1.0]]], [[0.0], [0.0, 0.0]])
    >>> problem = wv.Problem(relu, [[-1.0]], [0], support=wv.Box(-3.0, 3.0))
    >>> value = wv.solve(problem, radius=2.0)  # ε R / (R + t) = 2 · 3 / (3 + 1)
    >>> round(value.lower, 9), round(value.upper, 9), value.status
    (1.5, 1.5, 'exact')
    """
    choose_engine(engine)
    check_supported(problem)
    check_radius(radius)
    if cells is None:
        cells = enumerate_cells(problem.network, problem.support, limits=limits)
    solver = ExactSolver(problem, cells, limits=limits, progress=progress)
    return solver.solve(radius, tolerance=tolerance)


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
