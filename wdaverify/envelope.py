r"""Growth envelopes: concave functions of the transport cost.

The *growth envelope* of sample ``i`` is the least concave majorant :math:`\hat g_i` of

.. math:: s \mapsto g_i(s^{1/p}), \qquad
          g_i(t) = \sup\{\ell(x, y_i) : x\in\mathcal{X},\ \|x - x_i\| \le t\}.

Feasible points give inner envelopes (the attack), supporting lines give outer ones (the dual),
Lipschitz rays give the certificate. How envelopes become a value is the matter of
:mod:`wdaverify.merging`.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from wdaverify.arrays import Floats, Integers

__all__ = ["ALMOST", "Envelope", "majorant", "majorants", "minorant"]


ALMOST: Final = 1.0 - 1e-9
"""A segment as steep as a ray, up to rounding, goes before it: there the supremum is attained."""


@dataclass(frozen=True, slots=True, eq=False)
class Envelope:
    """A concave, non-decreasing piecewise linear function of the transport cost.

    Attributes
    ----------
    costs, losses
        Breakpoints, shape ``(m,)``, costs rising from 0.
    atoms
        Which atom of the caller's table each breakpoint is, ``-1`` where it is none, ``(m,)``.
    slope
        Slope of the ray after the last breakpoint.
    ray
        Which recession direction of the caller's table the ray is, ``-1`` where it is none.
    """

    costs: Floats
    losses: Floats
    atoms: Integers
    slope: float = 0.0
    ray: int = -1

    def __call__(self, costs: Floats) -> Floats:
        """Evaluate at transport costs of any shape."""
        inside = np.interp(costs, self.costs, self.losses)
        losses: Floats = inside + self.slope * np.maximum(0.0, costs - self.costs[-1])
        return losses


def majorant(
    costs: Floats,
    losses: Floats,
    atoms: Integers | None = None,
    *,
    slope: float = 0.0,
    ray: int = -1,
) -> Envelope:
    """Return the least concave non-decreasing majorant of points and a final ray.

    Parameters
    ----------
    costs, losses, atoms
        Points, shape ``(m,)``; one of them has cost 0.
    slope, ray
        Slope at which mass can escape for ever, and its direction.
    """
    if atoms is None:
        atoms = np.full(len(costs), -1)
    owners = np.zeros(len(costs), dtype=np.int64)
    hull = majorants(owners, costs, losses, np.full(1, slope))
    return Envelope(costs[hull], losses[hull], atoms[hull], slope, ray)


def majorants(owners: Integers, costs: Floats, losses: Floats, slopes: Floats) -> Integers:
    """Return the points on the least concave non-decreasing majorant of each owner's points.

    A point goes when it lies on or below the chord of two neighbours. That is decided by the
    slopes that :func:`~wdaverify.merging.merge` sorts by: rounding cannot reverse two segments.

    Parameters
    ----------
    owners, costs, losses
        Points of all owners, shape ``(m,)``; one of each owner's has cost 0.
    slopes
        Slope of each owner's final ray, ``(owners,)``.

    Returns
    -------
    ndarray
        Indices, by owner and then by cost.
    """
    order = np.lexsort((-losses, costs, owners))
    while True:
        same = owners[order[1:]] == owners[order[:-1]]
        spans, gains = np.diff(costs[order]), np.diff(losses[order])
        flat = np.append([False], same & ((gains <= 0) | (spans <= 0)))
        if flat.any():
            order = order[~flat]
            continue
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            steepness = gains / spans  # a cost that all but vanishes has a slope without bound
        inner = same[:-1] & same[1:] & (steepness[:-1] <= steepness[1:])
        below = np.concatenate([[False], inner, [False]])[: len(order)]
        if not below.any():
            break
        order = order[~below]
    shallow = np.append([False], same & (steepness < slopes[owners[order[1:]]] * ALMOST))
    return np.asarray(order[~shallow])


def minorant(intercepts: Floats, slopes: Floats) -> Envelope:
    """Return the minimum over lines ``intercept + slope · s``, ``s >= 0``, as an envelope.

    Parameters
    ----------
    intercepts, slopes
        Shape ``(m,)``, slopes non-negative; infinite intercepts are ignored, one is finite.
    """
    order = [k for k in np.lexsort((intercepts, -slopes)).tolist() if np.isfinite(intercepts[k])]
    kept: list[int] = []
    starts: list[float] = []
    for k in order:
        start = 0.0
        while kept:
            last = kept[-1]
            if slopes[last] == slopes[k]:
                start = np.inf if intercepts[last] <= intercepts[k] else starts[-1]
            else:
                start = (intercepts[k] - intercepts[last]) / (slopes[last] - slopes[k])
            if start > starts[-1]:
                break
            kept.pop()
            starts.pop()
            start = 0.0
        if start < np.inf:
            kept.append(k)
            starts.append(start)
    costs = np.array(starts)
    losses = intercepts[kept] + slopes[kept] * costs
    return Envelope(costs, losses, np.full(len(kept), -1), float(slopes[kept[-1]]))
