r"""Outer growth functions: a pair of values on each interval of radii, and a ray at the end.

On an interval :math:`(a, b]` below rung ``k`` each margin takes the best line that is valid there.
A convex loss of lines lies below its chord, so two values bound :math:`g_i` on the whole interval;
nothing is interpolated between rungs, each of which has lines of its own.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from wdaverify.arrays import Bools, Floats, Integers
from wdaverify.bounds.growth_lines import Lines
from wdaverify.tolerances import ROUNDING

__all__ = ["Growth", "convex_growth", "ratio_growth", "step_growth"]

PARTS: Final = 8
"""Parts of the interval below each rung."""

DECAY: Final = 0.25 ** np.arange(24.0, 0.0, -1.0)
"""Where the first interval is divided, as parts of the first rung."""

TOP: Final = 1e300
"""Larger costs are taken for this: a point at a smaller cost is a weaker bound."""

TAIL: Final = 2.0 ** np.arange(0.0, 40.25, 0.25)
"""Where the ray beyond the last rung is divided, as multiples of it: its majorant is curved."""


@dataclass(frozen=True, slots=True, eq=False)
class Growth:
    """Bounds of the loss of ``N`` samples as functions of the distance.

    Attributes
    ----------
    edges
        Ends of the intervals, from 0, ``(N, G + 1)``.
    left, right
        The loss on ``(edges[g], edges[g + 1]]`` is at most the chord of these values, ``(N, G)``.
    slope
        Growth per unit of distance beyond the last edge, ``(N,)``.
    """

    edges: Floats
    left: Floats
    right: Floats
    slope: Floats

    def at(self, samples: Integers) -> "Growth":
        """Return the rows of some samples."""
        left, right = self.left[samples], self.right[samples]
        return Growth(self.edges[samples], left, right, self.slope[samples])

    def worst(self, group: int) -> "Growth":
        """Return the largest of each ``group`` consecutive rows, which have the same edges."""
        left, right, slope = (
            v.reshape(-1, group, *v.shape[1:]).max(axis=1)
            for v in (self.left, self.right, self.slope)
        )
        return Growth(self.edges[::group], left, right, slope)

    def within(self, radius: float) -> Floats:
        """Bound the loss within a radius, ``(N,)``."""
        rows = np.arange(len(self.edges))
        last = self.left.shape[1] - 1
        g = np.minimum((self.edges[:, 1:] < radius).sum(axis=1), last)
        a, b = self.edges[rows, g], self.edges[rows, g + 1]
        left, right = self.left[rows, g], self.right[rows, g]
        part = np.clip((radius - a) / np.where(b > a, b - a, 1.0), 0.0, 1.0)
        beyond = np.maximum(radius - b, 0.0) * self.slope
        with np.errstate(invalid="ignore"):  # two infinities have no difference
            inside = left + part * (right - left)
        losses: Floats = np.where((part < 1.0) & (left < right), inside, right) + beyond
        return losses

    def tangents(self, order: float) -> tuple[Floats, Floats, Floats]:
        r"""Return points whose concave majorant in ``s = t^p`` is above, and the final slope.

        The chord through :math:`(m, v)` with slope σ lies below its tangent in ``s``, which has
        slope :math:`\sigma m^{1-p}/p`; the tangent at the middle is taken.

        Returns
        -------
        tuple of ndarray
            Costs and losses ``(N, 2G)``, slopes ``(N,)``.
        """
        a, b = self.edges[:, :-1], self.edges[:, 1:]
        with np.errstate(over="ignore", under="ignore", divide="ignore", invalid="ignore"):
            middle = np.where(a > 0, np.sqrt(a) * np.sqrt(b), 0.5 * b)
            level = (self.right == self.left) | ~(b > a)
            sigma = np.where(level, 0.0, (self.right - self.left) / (b - a))
            value = self.left + sigma * (middle - a)
            # s / m^p - 1 without the powers themselves
            rise = sigma * middle / order
            left = value + rise * np.where(a > 0, np.expm1(order * np.log(a / middle)), -1.0)
            right = value + rise * np.expm1(order * np.log(b / middle))
            size = np.abs(value) + np.abs(sigma * middle) + np.abs(left) + np.abs(right)
            room = (64.0 + 4.0 * order) * ROUNDING * size
            left, right = left + room, right + room
            costs = np.concatenate([a, b], axis=1) ** order
            steep = self.slope * b[:, -1] ** (1.0 - order) / order
            wide = np.maximum(self.left - left, right - self.right) > self.right - self.left
        plain = wide | level
        ends = np.where(plain, self.right, left), np.where(plain, self.right, right)
        costs = np.minimum(costs * (1.0 - 4.0 * (order + 4.0) * ROUNDING), TOP)
        return costs, np.concatenate(ends, axis=1), np.where(self.slope > 0, steep, 0.0)


def convex_growth(lines: Lines, loss: Callable[[Floats], Floats], *, bounded: bool) -> Growth:
    """Bound a convex, non-decreasing loss of the margins.

    Parameters
    ----------
    lines
        Of the margins of all wrong classes.
    loss
        ``(..., q) -> (...)``.
    bounded
        Whether the last rung covers the support.
    """
    ceilings = lines.ceilings()
    edges, left, right = [np.zeros((len(ceilings), 1))], [], []
    for k in range(ceilings.shape[1]):
        inner = lines.radii[:, k - 1, None] if k else np.zeros((len(ceilings), 1))
        outer = lines.radii[:, k, None]
        cuts = DECAY if k == 0 else np.arange(1.0, PARTS) / PARTS
        ends = np.concatenate([inner, inner + (outer - inner) * cuts, outer], axis=1)
        best = _best(lines.valid(k), ends, ceilings[:, k])
        edges.append(ends[:, 1:])
        left.append(loss(best[0]))
        right.append(loss(best[1]))
    slope = np.zeros(len(ceilings))
    if not bounded:
        ends = lines.radii[:, -1:] * TAIL
        best = _best(lines.everywhere, ends, np.full(ceilings[:, 0].shape, np.inf))
        edges.append(ends[:, 1:])
        left.append(loss(best[0]))
        right.append(loss(best[1]))
        last = (best[1] - best[0])[:, -1] / np.diff(ends[:, -2:])
        slope = last.max(axis=1) * (1.0 + 64.0 * ROUNDING)
    joined = [np.concatenate(v, axis=1) for v in (edges, left, right)]
    return Growth(joined[0], joined[1], joined[2], slope)


def step_growth(lines: Lines, wrong: Bools, group: int, *, bounded: bool) -> Growth:
    """Bound the zero-one loss: 0 as far as every margin is provably negative, else 1.

    Parameters
    ----------
    wrong
        Whether each sample is an error where it is, ``(N,)``.
    group
        How many rows of lines belong to a sample.
    """
    reach = np.minimum(_zeros(lines.intercepts, lines.slopes), lines.radii[:, :, None])
    safe = np.maximum(reach.max(axis=(0, 2)), _zeros(*lines.everywhere).max(axis=0)).min(axis=1)
    safe = safe.reshape(-1, group).min(axis=1) * (1.0 - 8.0 * ROUNDING)
    never = (safe >= lines.radii[::group, -1] * (1.0 - 16.0 * ROUNDING)) & bounded
    never |= safe == np.inf
    safe = np.where(wrong | ~np.isfinite(safe), 0.0, safe)
    losses = np.stack([wrong, wrong | ~never], axis=1).astype(np.float64)
    edges = np.stack([0.0 * safe, safe, 2.0 * safe + 1.0], axis=1)
    return Growth(edges, losses, losses, 0.0 * safe)


def ratio_growth(lines: Lines, top: float, nominal: Floats, *, bounded: bool) -> Growth:
    r"""Bound the difference-of-logits ratio, rung by rung.

    While every margin is negative the label leads, and the ratio is
    :math:`\max_j m_j / (z_y - z_{(3)})`, negative; elsewhere it is at most ``top``.

    Parameters
    ----------
    lines
        Of all margins, then of all margins with the opposite sign.
    nominal
        Loss where each sample is, ``(N,)``.
    """
    margins, spreads = np.split(lines.ceilings(), 2, axis=2)
    leading = margins.max(axis=2)
    spread = np.sort(spreads, axis=2)[:, :, 1]
    safe = leading < 0
    ratio = leading / np.where(safe, spread, 1.0)
    losses = np.where(safe, ratio * (1.0 - 8.0 * ROUNDING), top)
    edges = [np.zeros((len(losses), 2)), lines.radii]
    if not bounded:
        edges.append(2.0 * lines.radii[:, -1:] + 1.0)
        losses = np.concatenate([losses, np.full((len(losses), 1), top)], axis=1)
    losses = np.concatenate([nominal[:, None], losses], axis=1)
    return Growth(np.concatenate(edges, axis=1), losses, losses, np.zeros(len(losses)))


def _best(valid: tuple[Floats, Floats], ends: Floats, ceiling: Floats) -> tuple[Floats, Floats]:
    """Return both ends of the line that is lowest in the middle of each interval.

    Parameters
    ----------
    valid
        Intercepts and slopes, ``(kinds, N, q)``.
    ends
        Ends of ``P`` intervals, ``(N, P + 1)``.
    ceiling
        A constant that is valid on all of them, ``(N, q)``.

    Returns
    -------
    tuple of ndarray
        Values at the left and at the right end, ``(N, P, q)``.
    """
    c, sigma = (v[:, :, None, :] for v in valid)
    a, b = ends[None, :, :-1, None], ends[None, :, 1:, None]
    kind = (c + sigma * (0.5 * (a + b))).argmin(axis=0)[None]
    c, sigma = (np.take_along_axis(v, kind, axis=0)[0] for v in (c, sigma))
    room = 4.0 * ROUNDING * (np.abs(c) + sigma * b[0])
    left, right = c + sigma * a[0] + room, c + sigma * b[0] + room
    above = 0.5 * (left + right) > ceiling[:, None, :]
    constant = np.broadcast_to(ceiling[:, None, :], left.shape)
    return np.where(above, constant, left), np.where(above, constant, right)


def _zeros(intercepts: Floats, slopes: Floats) -> Floats:
    """Radii up to which lines are negative."""
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing = np.where(slopes > 0, -intercepts / slopes, math.inf)
    return np.where(intercepts < 0, crossing, -math.inf)
