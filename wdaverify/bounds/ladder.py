r"""The distances that an attack tries.

A share ``1/κ`` of the mass of every sample that travels :math:`\kappa^{1/p}\varepsilon` costs
:math:`\varepsilon^p`. Without given ``κ`` the reaches run geometrically from a quarter of the
smallest radius to the largest distance that the support allows; on an unbounded one with order 1
some lie so far out that the asymptotic slope decides there.
"""

import math
from collections.abc import Sequence

import numpy as np

from wdaverify.arrays import Floats, floats
from wdaverify.errors import ProblemError
from wdaverify.loss import ZeroOne
from wdaverify.problem import Problem

__all__ = ["checked_radii", "diameter", "reaches_of", "scale_of"]

RUNGS = 16
"""Largest number of reaches between the nearest and the farthest."""

BEYOND = 2.0**10
"""Where nothing bounds the distance, the ladder ends at this multiple of the largest radius."""

SPARSE = 2.0**60
"""For orders above 1 the largest ``κ``: less mass than its inverse counts for nothing."""

FAR = (2.0**20, 2.0**30, 2.0**40)
"""Multiples of the end of the ladder that stand for infinity."""


def checked_radii(radii: Sequence[float]) -> tuple[float, ...]:
    """Return the radii as floats.

    Raises
    ------
    ProblemError
        None at all, or one that is no finite number of at least 0.
    """
    values = floats(list(radii), "radius", ndim=1)
    bad = values[values < 0]
    if len(bad) or not len(values):
        raise ProblemError(
            f"radius: expected at least one, all >= 0, found {bad[0] if len(bad) else 'none'}"
        )
    return tuple(values.tolist())


def diameter(problem: Problem) -> float:
    """Largest distance between two points within the stated bounds of the support."""
    lower, upper = problem.support.bounds
    return float(problem.cost.norm.length(upper - lower))


def scale_of(problem: Problem) -> float:
    """Return a distance typical of the problem: the diameter, or the size of the largest sample."""
    end = diameter(problem)
    if math.isfinite(end):
        return end
    return max(1.0, float(problem.cost.norm.length(np.abs(problem.points).max(axis=0))))


def reaches_of(
    problem: Problem, radii: Sequence[float], kappas: Sequence[float] | None = None
) -> Floats:
    """Return the distances to try, rising and distinct, shape ``(M,)``.

    Raises
    ------
    ProblemError
        A κ below 1, or one other than 1 for order infinity.
    """
    positive = np.array(sorted({radius for radius in radii if radius > 0}))
    for kappa in kappas or ():
        if not 1.0 <= kappa < math.inf:
            raise ProblemError(f"kappa: expected a finite number >= 1, found {kappa:g}")
        if kappa != 1.0 and not problem.cost.finite:
            raise ProblemError(
                f"kappa: with order inf no mass stays behind, found {kappa:g}, not 1"
            )
    if len(positive) == 0 or not problem.cost.finite:
        return positive
    end = diameter(problem)
    if end == 0:
        return positive[:0]
    if kappas is None:
        return _ladder(problem, positive, end)
    factors = np.array(list(kappas)) ** (1.0 / problem.cost.order)
    return np.unique(np.minimum(positive[:, None] * factors, end))


def _ladder(problem: Problem, radii: Floats, end: float) -> Floats:
    spread = float(problem.cost.norm.length(np.ptp(problem.points, axis=0)))
    last = end if math.isfinite(end) else max(BEYOND * radii[-1], 4.0 * spread)
    if problem.cost.order > 1:
        last = min(last, radii[-1] * SPARSE ** (1.0 / problem.cost.order))
    first = min(radii[0] / 4.0, last)
    count = min(RUNGS, math.ceil(math.log2(last / first)) + 1)
    ladder = np.append(np.geomspace(first, last, count)[:-1], last)
    if problem.cost.order > 1:  # where all mass moves as far, often the best there is
        return np.unique(np.append(ladder, np.minimum(radii, last)))
    if math.isfinite(end) or isinstance(problem.loss, ZeroOne):
        return ladder
    return np.append(ladder, last * np.array(FAR))
