r"""The whole value curve: lower and upper values for every radius from one refinement.

Finite order, one sample at a time (Eisner and Severance 1976): two neighbouring atoms of an inner
envelope span a chord, and the supremum at its slope either confirms the chord or gives an atom
above it. About two suprema a breakpoint, and finite where the loss is piecewise affine, p = 1 and
the norm polyhedral; elsewhere chords are halved until the envelopes agree within the tolerance.
Inner and outer merges are then concave, piecewise linear in the budget, and enclose the value.

Order infinity: the value is the mean of the growth functions (:mod:`.growth`), linear in the radius
between corners, or a staircase where those are not followed.
"""

import math
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from wdaverify.arrays import Floats
from wdaverify.cells.complex import CellComplex
from wdaverify.checkpoint import Checkpoint, checkpoint_at
from wdaverify.errors import LimitReached, UnsupportedError
from wdaverify.exact.by_cells import CellOracle
from wdaverify.exact.solve import solver_for
from wdaverify.exact.value import ExactSolver
from wdaverify.limits import Limits
from wdaverify.loss import DLR, ZeroOne
from wdaverify.merging import Merge
from wdaverify.problem import Problem
from wdaverify.tolerances import EXACT, scale
from wdaverify.units import Units

__all__ = ["ValueCurve", "value_curve"]

SETTLED = 1e-10
"""Relative height above a chord that counts as none where the envelope is piecewise linear."""

STEPS = 64
"""Radii at which a curve of order infinity is evaluated where it is a staircase."""

OPEN = 1e-2
"""Part of the tolerance up to which the bounds of a growth function may differ."""


@dataclass(frozen=True, slots=True, eq=False)
class ValueCurve:
    """Worst-case value as a function of the radius.

    Attributes
    ----------
    radius, lower, upper
        Corners of the curve, ``(m,)``, from radius 0.
    interpolation
        ``budget``: linear in ``radius ** order`` between corners, for order infinity in the radius
        itself; ``step``: constant from each corner to the next.
    final_slope
        Slope after the last corner, per unit of budget.
    order
        Wasserstein order.
    stopped
        Message of the limit that ended the refinement early: the bracket is valid, but wide.
    merge
        What ``lower`` is made of for a finite order: whose mass pays for each of its segments.
    """

    radius: Floats
    lower: Floats
    upper: Floats
    interpolation: str
    final_slope: tuple[float, float]
    order: float
    stopped: str | None = None
    merge: Merge | None = None

    def __call__(self, radius: float) -> tuple[float, float]:
        """Return lower and upper value at a radius."""
        if self.interpolation == "step":
            k = int(np.searchsorted(self.radius, radius, side="right")) - 1
            return float(self.lower[k]), float(self.upper[k])
        power = self.order if math.isfinite(self.order) else 1.0
        budgets, budget = self.radius**power, radius**power
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


def value_curve(  # noqa: PLR0913  (the public signature: the question and what it may cost)
    problem: Problem,
    *,
    cells: CellComplex | None = None,
    engine: str = "auto",
    workers: int | None = None,
    tolerance: float = EXACT,
    limits: Limits | None = None,
    progress: Callable[[str, float], None] | None = None,
    checkpoint: str | Path | Checkpoint | None = None,
) -> ValueCurve:
    """Return the worst-case value for every radius.

    For order infinity the value is neither concave nor convex in the radius. Zero-one gives its
    exact staircase; margin and hinge with l1 or l∞ and the engine ``cells`` their exact corners,
    and the value is linear in the radius between them; the rest a staircase below and one above at
    64 radii up to the size of the support.

    Parameters
    ----------
    cells
        Enumerated when omitted.
    engine
        ``auto``, ``cells``, ``search`` or ``milp``.
    workers
        See :func:`~wdaverify.exact.solve.solve`.
    tolerance
        Largest relative gap at any corner.
    limits
        When they are reached the curve is a valid, wider bracket.
    checkpoint
        See :func:`~wdaverify.exact.solve.solve`.

    Raises
    ------
    UnsupportedError
        The engine does not cover the question, or the order is infinity, the support unbounded and
        the loss not zero-one.
    LimitReached
        A limit came before any bound was known (on an unbounded support).
    """
    units = Units.of(problem)
    units.refuse("cells", cells)
    problem = units.problem
    options = {"engine": engine, "tolerance": tolerance}
    with checkpoint_at(checkpoint, problem, options) as opened:
        solver = solver_for(
            problem,
            engine,
            cells=cells,
            workers=workers,
            curve=True,
            tolerance=tolerance,
            limits=limits,
            progress=progress,
            checkpoint=opened,
        )
        with closing(solver.desk):
            return _curve(solver)


def _curve(solver: ExactSolver) -> ValueCurve:
    """Choose the way by loss and order."""
    problem = solver.problem
    if isinstance(problem.loss, ZeroOne):
        curve = _zero_one_curve(solver)
        return curve if solver.stopped is None else replace(curve, stopped=str(solver.stopped))
    if not problem.cost.finite:
        return _order_infinity(solver)
    if isinstance(problem.loss, DLR) and solver.infinite(1.0) is not None:
        raise UnsupportedError(
            f"curve: {problem.loss.name} is infinite at a tie of three logits, and so is the value "
            f"at every positive radius"
        )
    stopped = None
    try:
        _refine(solver)
    except LimitReached as reached:
        stopped = str(reached)
    outer = solver.outer()
    if outer is None and stopped is not None:
        raise LimitReached(f"curve: nothing bounds the loss so early: {stopped}")
    if outer is None:
        raise UnsupportedError(
            f"curve: {problem.loss.name} has no finite bound on this support; ask for radii"
        )
    curve = _from_merges(solver.atoms.merge(), outer, problem.cost.order)
    return replace(curve, stopped=stopped)


def _refine(solver: ExactSolver) -> None:
    """Confirm every chord of every inner envelope, or replace it."""
    with solver.limits.rounds():
        solver.pricing.price(solver.smallest_multiplier())
    todo = solver.problem.active.tolist()
    for done, i in enumerate(todo):
        solver.progress("curve", done / len(todo))
        with solver.limits.part(done, len(todo)), solver.limits.rounds():
            _settle(solver, i)
    solver.atoms.prune()


def _settle(solver: ExactSolver, sample: int) -> None:
    """Confirm every chord of one envelope, or replace it."""
    confirmed: set[tuple[float, float]] = set()
    while chords := _chords(solver, sample) - confirmed:
        confirmed |= {chord for chord in sorted(chords) if _confirms(solver, sample, chord)}


def _chords(solver: ExactSolver, sample: int) -> set[tuple[float, float]]:
    """Slope and intercept of every segment of the inner envelope of a sample."""
    envelope = solver.atoms.envelope(sample)
    slopes = np.diff(envelope.losses) / np.diff(envelope.costs)
    intercepts = envelope.losses[:-1] - slopes * envelope.costs[:-1]
    return set(zip(slopes.tolist(), intercepts.tolist(), strict=True))


def _confirms(solver: ExactSolver, sample: int, chord: tuple[float, float]) -> bool:
    """Evaluate the supremum at a chord's slope; whether nothing lies above the chord."""
    slope, intercept = chord
    before = solver.atoms.envelope(sample)
    phi = solver.pricing.price_single(sample, slope)
    allowed = SETTLED if solver.pricing.piecewise_linear else solver.tolerance / 2.0
    if phi - intercept <= allowed * scale(phi):
        return True
    after = solver.atoms.envelope(sample)  # a supremum within rounding may bring no new atom
    return len(after.costs) == len(before.costs) and np.array_equal(after.costs, before.costs)


def _order_infinity(solver: ExactSolver) -> ValueCurve:
    """Follow the growth functions where the engine can; evaluate the value at some radii else."""
    problem = solver.problem
    farthest = np.zeros(len(problem))
    farthest[problem.active] = solver.pricing.reaches(problem.active)
    if not np.isfinite(farthest).all():
        raise UnsupportedError(
            f"curve: {problem.loss.name} of order inf on an unbounded support grows for ever; "
            f"ask for radii"
        )
    affine = problem.loss.piecewise_affine and problem.cost.norm.polyhedral
    if affine and isinstance(solver.desk.oracle, CellOracle):
        return _from_growth(solver, farthest)
    return _staircase(solver, float(farthest.max()))


def _from_growth(solver: ExactSolver, farthest: Floats) -> ValueCurve:
    """Average the growth functions: corners where any of them has one."""
    problem, active = solver.problem, solver.problem.active
    found = solver.desk.growth(active, farthest[active], OPEN * solver.tolerance)
    radii = _distinct([growth.radius for growth in found])
    lower, upper = np.zeros(len(radii)), np.zeros(len(radii))
    for mu, growth in zip(problem.probabilities[active].tolist(), found, strict=True):
        lower += mu * np.interp(radii, growth.radius, growth.lower)
        upper += mu * np.interp(radii, growth.radius, growth.upper)
    reached = [growth.reached for growth in found if growth.reached is not None]
    stopped = str(reached[0]) if reached else None
    return ValueCurve(radii, lower, upper, "budget", (0.0, 0.0), problem.cost.order, stopped)


def _staircase(solver: ExactSolver, farthest: float) -> ValueCurve:
    """Evaluate order infinity at some radii: the value is monotone between them."""
    problem = solver.problem
    radii = np.linspace(0.0, farthest, STEPS + 1)
    values = []
    for done, radius in enumerate(radii.tolist()):
        with solver.limits.part(done, len(radii)):
            values.append(solver.solve(radius))
    lower = np.array([value.lower for value in values])
    upper = np.array([value.upper for value in values])
    return ValueCurve(
        radii,
        lower,
        np.append(upper[1:], upper[-1]),
        "step",
        (0.0, 0.0),
        problem.cost.order,
        None if solver.stopped is None else str(solver.stopped),
    )


def _distinct(places: list[Floats]) -> Floats:
    """Sort places of corners; those that differ by rounding alone are named once."""
    every = np.unique(np.concatenate(places))
    apart = np.diff(every) > 1e-13 * every[-1]
    return np.asarray(every[np.append([True], apart)])


def _from_merges(inner: Merge, outer: Merge, order: float) -> ValueCurve:
    budgets = _distinct([inner.budgets, outer.budgets])
    lower = inner.at(budgets)
    upper = np.maximum(outer.at(budgets), lower)
    slopes = (inner.final_slope, outer.final_slope)
    radii = budgets ** (1.0 / order)
    return ValueCurve(radii, lower, upper, "budget", slopes, order, merge=inner)


def _zero_one_curve(solver: ExactSolver) -> ValueCurve:
    problem, distances = solver.problem, solver.distances()
    if problem.cost.finite:
        outer = solver.outer()
        assert outer is not None
        return _from_merges(solver.atoms.merge(), outer, problem.cost.order)
    mu = problem.probabilities
    wrong = solver.flips.wrong
    ends = np.concatenate([distances.lower, distances.upper])
    radii = np.unique(np.append(ends[np.isfinite(ends)], 0.0))
    lower = np.array([mu @ (wrong | (distances.upper <= r)) for r in radii])
    upper = np.array([mu @ (wrong | (distances.lower <= r)) for r in radii])
    return ValueCurve(radii, lower, upper, "step", (0.0, 0.0), problem.cost.order)
