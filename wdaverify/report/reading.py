"""The value at every radius, as the slider reads it: corners and how to go between them.

Where the value curve cannot be had, or not in the time there is, the rows of the sandwich remain.
"""

import math
from dataclasses import dataclass

import numpy as np

from wdaverify.arrays import Floats, Integers
from wdaverify.errors import LimitReached, UnsupportedError
from wdaverify.exact.curve import ValueCurve, value_curve
from wdaverify.limits import Limits
from wdaverify.loss import ZeroOne
from wdaverify.merging import Merge
from wdaverify.problem import Problem
from wdaverify.verification import Progress, Row, Sandwich

__all__ = ["Reading", "crossing", "read_curve"]

SHARE = 30.0
"""Seconds that the curve of a report may take unasked."""

CURVED = 1e-5
"""Relative gap at the corners of curved values: more corners than a drawing or a reader needs."""


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """The value by radius.

    Attributes
    ----------
    curve
        Corners and what is between them; ``None`` where only rows are known.
    budgets
        ``radius ** order`` of the corners (the radius itself for order ∞), ``(m,)``.
    slopes
        Slope of the lower curve after each corner, per unit of budget, ``(m,)``.
    moved
        How many samples have mass that moves just after each corner, ``(m,)``; ``None`` where the
        curve does not tell.
    note
        Why there is no curve, or why it is wide; empty where there is nothing to say.
    """

    curve: ValueCurve | None
    budgets: Floats
    slopes: Floats
    moved: Integers | None
    note: str

    @property
    def corners(self) -> Floats:
        """Radii at which the slope of the lower curve changes, ``(k,)``."""
        if self.curve is None or self.curve.interpolation == "step":
            return np.zeros(0)
        turns = np.abs(np.diff(self.slopes)) > 1e-7 * max(1.0, float(np.abs(self.slopes).max()))
        return np.asarray(self.curve.radius[1:][turns])


def read_curve(
    result: Sandwich, limits: Limits | None = None, progress: Progress | None = None
) -> Reading:
    """Return the value curve of a sandwich's question, or the reason why there is none.

    Parameters
    ----------
    limits
        Those of the whole run: the curve gets what is left of them, at most :data:`SHARE` seconds.
    """
    limits = limits or Limits()
    if result.stopped is not None:
        return _rows_only("a limit ended the computation before the curve")
    share = Limits(
        seconds=max(0.0, min(SHARE, limits.seconds - limits.elapsed)),
        gigabytes=limits.gigabytes,
        cells=limits.cells,
        stop=limits.stop,
    )
    try:
        curve = value_curve(
            result.problem,
            cells=result.cells,
            engine=result.engine.engine if result.engine.reason == "as asked" else "auto",
            tolerance=_tolerance(result),
            limits=share,
            progress=progress,
        )
    except UnsupportedError as error:
        return _rows_only(str(error).removeprefix("curve: "))
    except LimitReached as reached:
        return _rows_only(str(reached))
    note = ""
    if curve.stopped is not None:
        note = (
            f"The refinement of the curve was ended early ({curve.stopped}); the value lies "
            f"between its two sides. At the radii asked for it is known as the table has it."
        )
    return _of_curve(result.problem, curve, note)


def _tolerance(result: Sandwich) -> float:
    """Return the tolerance of the run, or a coarser one where the value is curved."""
    problem = result.problem
    flat = problem.loss.piecewise_affine and problem.cost.norm.polyhedral
    asked = max([row.exact.tolerance for row in result.rows if row.exact], default=CURVED)
    if isinstance(problem.loss, ZeroOne) or (flat and problem.cost.order in (1.0, math.inf)):
        return asked
    return max(asked, CURVED)


def _rows_only(why: str) -> Reading:
    return Reading(None, np.zeros(0), np.zeros(0), None, f"Only the radii asked for: {why}.")


def _of_curve(problem: Problem, curve: ValueCurve, note: str) -> Reading:
    budgets = np.array([problem.cost.budget(radius) for radius in curve.radius.tolist()])
    slopes = np.zeros(len(budgets))
    if curve.interpolation == "budget":
        slopes = np.append(np.diff(curve.lower) / np.diff(budgets), curve.final_slope[0])
    moved = None if curve.merge is None else _moved(curve.merge, budgets)
    return Reading(curve, budgets, slopes, moved, note)


def _moved(merge: Merge, budgets: Floats) -> Integers:
    """Count the samples that own one of the segments begun at or before each budget."""
    _, first = np.unique(merge.samples, return_index=True)
    starts = np.sort(merge.budgets[:-1][first])
    counts = np.searchsorted(starts, budgets * (1.0 + 1e-12), side="right")
    counts[-1] += merge.escaping >= 0 and merge.escaping not in merge.samples
    return counts


def crossing(result: Sandwich, reading: Reading, level: float) -> tuple[float, float] | None:
    """Bracket the radius from which on the value is at least ``level``.

    Returns
    -------
    tuple of float or None
        Between the two radii the value reaches the level; ``None`` where it never does, as far as
        is known, or already has at radius 0.
    """
    if result.nominal >= level:
        return None
    curve = reading.curve
    below = max([r.radius for r in result.rows if _ends(r)[1] < level], default=0.0)
    above = min([r.radius for r in result.rows if _ends(r)[0] >= level], default=math.inf)
    if curve is not None:
        power = 1.0 / curve.order if math.isfinite(curve.order) else 1.0
        first = _first(reading, curve.upper, curve.final_slope[1], level) ** power
        last = _first(reading, curve.lower, curve.final_slope[0], level) ** power
        below, above = max(below, min(first, last)), min(above, last)
    return (min(below, above), above) if above < math.inf else None


def _ends(row: Row) -> tuple[float, float]:
    """Return the best bounds of a row, whoever found them."""
    return max(row.attack, row.lower), min(row.certificate, row.upper)


def _first(reading: Reading, values: Floats, slope: float, level: float) -> float:
    """Return the first budget at which a curve reaches a level."""
    budgets = reading.budgets
    reached = np.flatnonzero(values >= level)
    if not len(reached):
        rest = level - float(values[-1])
        return float(budgets[-1]) + rest / slope if slope > 1e-9 else math.inf
    k = int(reached[0])
    assert reading.curve is not None
    if k == 0 or reading.curve.interpolation == "step":
        return float(budgets[k])
    share = (level - values[k - 1]) / (values[k] - values[k - 1])
    return float(budgets[k - 1] + share * (budgets[k] - budgets[k - 1]))
