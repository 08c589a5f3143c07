r"""Boxes of margins and affine functions above cross-entropy on them.

.. math:: \log\Big(1+\sum_{j\ne y}e^{m_j}\Big) \le \theta\cdot m + c
          \qquad \alpha_j\le m_j\le\beta_j,\qquad m_j = z_j - z_y
"""

from dataclasses import dataclass, replace

import numpy as np

from wdaverify.arrays import Floats
from wdaverify.exact.softmax import envelope_plane

__all__ = ["MarginBox", "log_sum", "majorant", "splitting"]

ABOVE = 1e-13
"""Room between majorant and loss at the corners, for the rounding of both."""

MANY = 16
"""Beyond so many splits they are kept away from the ends."""

BALANCED = 0.1
"""By this part of the box's size at least."""

THIN = 1e-12
"""A box thinner than this, relative to its place, is not split."""


@dataclass(frozen=True, slots=True, eq=False)
class MarginBox:
    """Bounds of the margins ``(K,)`` on a part of a cell, and the splits that made them.

    ``splits`` holds ``(j, τ, side, end)`` from the top: ``side · (m_j - τ) <= 0``. Programs use
    ``end`` for ``τ``: where a half is empty it is moved out until it is not.
    """

    cell: int
    lower: Floats
    upper: Floats
    splits: tuple[tuple[int, float, int, float], ...] = ()

    def half(self, j: int, at: float, side: int) -> "MarginBox":
        """Return the part at or below ``τ`` (side 1), or above it (side -1)."""
        ends = self.lower.copy(), self.upper.copy()
        ends[side > 0][j] = at
        splits = (*self.splits, (j, at, side, at))
        return replace(self, lower=ends[0], upper=ends[1], splits=splits)

    def moved(self, end: float) -> "MarginBox":
        """Return the box with another end of the last split for programs."""
        j, at, side, _ = self.splits[-1]
        return replace(self, splits=(*self.splits[:-1], (j, at, side, end)))


def majorant(box: MarginBox, label: int, at: Floats) -> tuple[Floats, float]:
    """Return ``θ`` and the constant of a majorant on the box, low at a point of it."""
    endless = np.isinf(box.upper)
    lower = np.where(endless, box.lower, box.lower)
    upper = np.where(endless, box.lower, box.upper)
    d = np.clip(at, np.where(np.isfinite(lower), lower, -np.inf), upper)
    theta, constant = envelope_plane(lower, upper, label, d)
    theta = np.where(endless, 1.0, theta)
    theta[label] = 0.0
    constant -= float(box.lower[endless].sum())
    size = (
        1.0
        + abs(constant)
        + float((np.abs(theta) * np.where(np.isfinite(upper), np.abs(upper), 0.0)).sum())
    )
    return theta, constant + ABOVE * size


def splitting(box: MarginBox, at: Floats) -> tuple[int, float] | None:
    """Return the margin whose chord is most above the exponential, and where."""
    best, chosen = 0.0, None
    for j in range(len(at)):
        low, high = float(box.lower[j]), float(box.upper[j])
        if np.isfinite(low) and high - low <= THIN * max(1.0, abs(low)):
            continue
        wide = high - low
        place = float(at[j])
        near = 1e-9 * max(1.0, abs(place)) if np.isfinite(wide) else 0.0
        if len(box.splits) > MANY and np.isfinite(wide):
            near = BALANCED * wide
        if not low + near < place < high - near:
            place = (low + high) / 2 if np.isfinite(wide) else (
                high - 2.0 if np.isfinite(high) else low + 2.0)  # fmt: skip
        gain = _excess(low, high, place)
        if gain > best:
            best, chosen = gain, (j, place)
    return chosen


def log_sum(margins: Floats) -> float:
    """Return ``log Σ_j exp m_j`` (entry 0 at the label)."""
    top = float(margins.max())
    return top + float(np.log(np.exp(margins - top).sum()))


def _excess(low: float, high: float, at: float) -> float:
    """Return how far the chord of ``log(1 + e^m)`` lies above it at a point of ``[low, high]``."""
    here, first, last = (float(np.logaddexp(0.0, v)) for v in (at, low, high))
    if np.isinf(low):
        return last - here
    if np.isinf(high):
        return first + (at - low) - here
    share = (at - low) / (high - low)
    return first * (1.0 - share) + last * share - here
