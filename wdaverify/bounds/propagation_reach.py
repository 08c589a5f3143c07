r"""Lines above the best move of a linear function inside a ball and a box.

.. math:: r(t) = \max\Big\{\sum_k g_k |d_k| : \|d\| \le t,\ |d_k| \le \rho_k\Big\}
          \le \sum_k (g_k - y_k)\rho_k + \|y\|_*\, t \qquad\text{for every } 0\le y\le g,\ t\ge 0

by Lagrangian duality: each ``y`` is a line in the radius, and the best one at a given radius is
tangent to ``r`` there.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

import torch
from torch import Tensor

from wdaverify.tolerances import ROUNDING

__all__ = ["Line", "tangent"]


class Line(NamedTuple):
    """``intercept + slope · t``, tensors of one shape."""

    intercept: Tensor
    slope: Tensor

    def at(self, radii: Tensor) -> Tensor:
        """Evaluate at radii that broadcast with the lines."""
        return self.intercept + self.slope * radii


def tangent(norm: str, gains: Tensor, rooms: Tensor, radii: Tensor) -> Line:
    """Return the line above ``r`` that touches it at a radius, rounded upwards.

    Parameters
    ----------
    norm
        Name of the ground norm.
    gains, rooms
        ``g`` and ``ρ``, non-negative and finite, ``(..., n)``.
    radii
        Where the line shall touch, at least 0, ``(...)``.
    """
    gains = torch.where(rooms > 0, gains, 0.0)
    kept = _KEPT[norm](gains, rooms, radii[..., None])
    intercept = ((gains - kept) * rooms).sum(dim=-1)
    upwards = 1.0 + 4.0 * (gains.shape[-1] + 8.0) * ROUNDING
    return Line(intercept * upwards, _DUAL[norm](kept) * upwards)


def _kept_cube(gains: Tensor, rooms: Tensor, radii: Tensor) -> Tensor:
    """Keep the features that still move at the radius."""
    return torch.where(rooms >= radii, gains, 0.0)


def _kept_diamond(gains: Tensor, rooms: Tensor, radii: Tensor) -> Tensor:
    """Cut at the gain of the feature that moves at the radius, steepest features first."""
    falling, order = gains.sort(dim=-1, descending=True)
    ends = rooms.expand_as(gains).gather(-1, order).cumsum(dim=-1)
    done = ((ends < radii) | (ends == 0)).sum(dim=-1, keepdim=True)
    level = falling.gather(-1, done.clamp(max=gains.shape[-1] - 1))
    return torch.minimum(gains, torch.where(done < gains.shape[-1], level, 0.0))


def _kept_round(gains: Tensor, rooms: Tensor, radii: Tensor) -> Tensor:
    r"""Cut at ``κ ρ`` where :math:`\sum_k \min(g_k/κ, ρ_k)^2 = t^2`.

    With the features that meet their room put aside, in the order in which they do, the equation
    is quadratic; the first solution that the next feature survives is the one.
    """
    top = gains.amax(dim=-1, keepdim=True)
    unit = gains / torch.where(top > 0, top, 1.0)
    ratio = torch.where(unit > 0, unit / rooms, 0.0)
    ratio, order = ratio.sort(dim=-1, descending=True)
    spent = rooms.expand_as(gains).gather(-1, order).square()
    spent = spent.cumsum(dim=-1) - spent
    free = unit.gather(-1, order).square().flip(-1).cumsum(dim=-1).flip(-1)
    left = (radii.square() - spent).clamp(min=0.0)
    kappa = torch.where(left > 0, (free / left).sqrt(), torch.inf)
    late = (kappa < ratio).sum(dim=-1, keepdim=True)
    kappa = kappa.gather(-1, late.clamp(max=gains.shape[-1] - 1))
    kappa = torch.where(late < gains.shape[-1], kappa, 0.0)
    limit = torch.where((rooms > 0) & (top > 0), kappa * rooms * top, 0.0)
    return torch.minimum(gains, limit)


def _length(vectors: Tensor) -> Tensor:
    top = vectors.amax(dim=-1, keepdim=True)
    unit = vectors / torch.where(top > 0, top, 1.0)  # squares neither vanish nor overflow
    return unit.square().sum(dim=-1).sqrt() * top[..., 0]


_KEPT: Final[dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]]] = {
    "l1": _kept_diamond,
    "l2": _kept_round,
    "linf": _kept_cube,
}
_DUAL: Final[dict[str, Callable[[Tensor], Tensor]]] = {
    "l1": lambda kept: kept.amax(dim=-1),
    "l2": _length,
    "linf": lambda kept: kept.sum(dim=-1),
}
