r"""The whole value curve: lower and upper values for every radius from one refinement.

Inner and outer merges are concave piecewise linear in the budget and sandwich the value; the
multiplier at the corner where they differ most is priced until they agree everywhere.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from wdaverify.arrays import Floats, Integers
from wdaverify.cells.complex import CellComplex, enumerate_cells
from wdaverify.envelope import Merge
from wdaverify.errors import LimitReached, UnsupportedError
from wdaverify.exact.distances import ErrorSet
from wdaverify.exact.value import ExactSolver
from wdaverify.limits import Limits
from wdaverify.loss import ZeroOne
from wdaverify.problem import Problem
from wdaverify.tolerances import EXACT, scale

__all__ = ["ValueCurve", "value_curve"]

ROUNDS = 5000


@dataclass(frozen=True, slots=True, eq=False)
class ValueCurve:
    """Worst-case value as a function of the radius.

    Attributes
    ----------
    radius, lower, upper
        Corners of the curve, ``(m,)``, from radius 0.
    interpolation
        ``budget``: linear in ``radius ** order`` between corners; ``step``: constant from each
        corner to the next.
    final_slope
        Slope after the last corner, per unit of budget.
    order
        Wasserstein order.
    stopped
        Message of the limit that ended the refinement early: the bracket is valid, but wide.
    """

    radius: Floats
    lower: Floats
    upper: Floats
    interpolation: str
    final_slope: tuple[float, float]
    order: float
    stopped: str | None = None

    def __call__(self, radius: float) -> tuple[float, float]:
        """Return lower and upper value at a radius."""
        if self.interpolation == "step":
            k = int(np.searchsorted(self.radius, radius, side="right")) - 1
            return float(self.lower[k]), float(self.upper[k])
        budgets = self.radius**self.order
        budget = radius**self.order
        beyond = max(0.0, budget - float(budgets[-1]))
        low, high = (float(np.interp(budget, budgets, v)) for v in (self.lower, self.upper))
        return low + self.final_slope[0] * beyond, high + self.final_slope[1] * beyond

    @property
    def gap(self) -> float:
        """Largest difference between upper and lower value, infinite if they drift apart."""
        low, high = self.final_slope
        if high > low + 1e-9 * max(1.0, high):
            return math.inf
        return float((self.upper - self.lower).max())


def value_curve(
    problem: Problem,
    *,
    cells: CellComplex | None = None,
    tolerance: float = EXACT,
    limits: Limits | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> ValueCurve:
    """Return the worst-case value for every radius.

    Parameters
    ----------
    cells
        Enumerated when omitted.
    tolerance
        Largest relative gap at any corner.
    limits
        When they are reached the curve is a valid, wider bracket.

    Raises
    ------
    UnsupportedError
        The question has no exact engine, or its curve is not piecewise linear (margin and hinge of
        order infinity).
    """
    if cells is None:
        cells = enumerate_cells(problem.network, problem.support, limits=limits)
    solver = ExactSolver(problem, cells, limits=limits, progress=progress)
    if isinstance(problem.loss, ZeroOne):
        curve = _zero_one_curve(solver)
        return curve if solver.stopped is None else replace(curve, stopped=str(solver.stopped))
    if not problem.cost.finite:
        raise UnsupportedError(
            f"curve: the curve of {problem.loss.name} for order inf is not covered; ask for radii"
        )
    stopped = None
    try:
        _refine(solver, tolerance, progress)
    except LimitReached as reached:
        stopped = str(reached)
    curve = _from_merges(solver.atoms.merge(), solver.outer(), problem.cost.order)
    return replace(curve, stopped=stopped)


def _refine(
    solver: ExactSolver, tolerance: float, progress: Callable[[str, float], None] | None
) -> None:
    solver.price(solver.floor)
    tried = {solver.floor}
    for _ in range(ROUNDS):
        inner, outer = solver.atoms.merge(), solver.outer()
        budgets = _corners(inner, outer)
        gaps = np.array([outer.value(b) - inner.value(b) for b in budgets])
        allowed = tolerance * np.array([scale(inner.value(b)) for b in budgets])
        if progress is not None:
            progress("curve", float((gaps / allowed).max() * tolerance))
        open_ = np.flatnonzero(gaps > allowed)
        multiplier = _untried(inner, budgets, open_[np.argsort(-gaps[open_])], tried)
        if multiplier is None:
            return
        solver.price(max(multiplier, solver.floor))
        tried.add(multiplier)


def _untried(inner: Merge, budgets: Floats, order: Integers, tried: set[float]) -> float | None:
    """Return a multiplier at the worst open corner, or beside it, that was not priced yet."""
    for k in order.tolist():
        for budget in (budgets[k], budgets[max(k - 1, 0)]):
            multiplier = inner.multiplier(float(budget))
            if all(abs(multiplier - seen) > 1e-11 * max(1.0, seen) for seen in tried):
                return multiplier
    return None


def _corners(inner: Merge, outer: Merge) -> Floats:
    """Budgets of all corners, those that differ by rounding alone named once."""
    budgets = np.unique(np.concatenate([inner.budgets, outer.budgets]))
    apart = np.diff(budgets) > 1e-13 * budgets[-1]
    return np.asarray(budgets[np.append([True], apart)])


def _from_merges(inner: Merge, outer: Merge, order: float) -> ValueCurve:
    budgets = _corners(inner, outer)
    lower = np.array([inner.value(b) for b in budgets])
    upper = np.maximum(np.array([outer.value(b) for b in budgets]), lower)
    slopes = (inner.final_slope, outer.final_slope)
    return ValueCurve(budgets ** (1.0 / order), lower, upper, "budget", slopes, order)


def _zero_one_curve(solver: ExactSolver) -> ValueCurve:
    problem, distances = solver.problem, solver.distances()
    if problem.cost.finite:
        return _from_merges(solver.atoms.merge(), solver.outer(), problem.cost.order)
    mu = problem.probabilities
    wrong = ErrorSet.errs(problem)
    ends = np.concatenate([distances.lower, distances.upper])
    radii = np.unique(np.append(ends[np.isfinite(ends)], 0.0))
    lower = np.array([mu @ (wrong | (distances.upper <= r)) for r in radii])
    upper = np.array([mu @ (wrong | (distances.lower <= r)) for r in radii])
    return ValueCurve(radii, lower, upper, "step", (0.0, 0.0), problem.cost.order)
