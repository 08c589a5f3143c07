r"""A box that the inputs of a network plausibly stay in, from samples.

Known scales are recognised: :math:`[0, 1]`, :math:`[-1, 1]`, grey levels, the range of each channel
of an image. Other features get their own range with a margin,
:math:`[\min_i x_{ij} - m_j, \max_i x_{ij} + m_j]`, :math:`m_j = (\max - \min) / 10`.
"""

from collections.abc import Sequence
from math import prod
from typing import Final

import numpy as np

from wdaverify.arrays import Floats
from wdaverify.drafts.guess import Guess
from wdaverify.support import Box

__all__ = ["guess_support"]

MARGIN: Final = 0.1
"""Room on each side of a feature's range, as a share of it."""

DUST: Final = 1e-6
"""How far beyond a known scale values may lie: scalers round, and float32 rounds more."""

MANY: Final = 16
"""Features from which on whole numbers of one scale look like grey levels."""


def guess_support(points: Floats, shape: Sequence[int]) -> Guess[Box]:
    """Return a box with (nearly) all samples inside, and why it is this one.

    Parameters
    ----------
    points
        Shape ``(N, n)``.
    shape
        Shape of one sample as network or data have it; with two axes or more it is an image.
    """
    low, high = float(points.min()), float(points.max())
    whole = bool((points == np.round(points)).all())
    image = len([size for size in shape if size > 1]) > 1
    scale = _scale(low, high)
    if scale is not None and not (whole and points.shape[1] < MANY and not image):
        return _common(*scale, f"all values lie between {low:g} and {high:g}")
    if whole and low >= 0 and 1 < high <= 255 and (image or points.shape[1] >= MANY):
        top = 255.0 if high > 127 else high
        return _common(0.0, top, f"whole numbers from {low:g} to {high:g}, as grey levels are")
    if image:
        return _channels(points, shape)
    return _features(points)


def _scale(low: float, high: float) -> tuple[float, float] | None:
    """Return the common scale that values from ``low`` to ``high`` seem to have."""
    if low >= -DUST and 0.5 < high <= 1 + DUST:
        return 0.0, 1.0
    if -1 - DUST <= low <= -0.9 and 0.9 <= high <= 1 + DUST:
        return -1.0, 1.0
    return None


def _common(lower: float, upper: float, why: str) -> Guess[Box]:
    return Guess(Box(lower, upper), f"[{lower:g}, {upper:g}] for every feature", why)


def _channels(points: Floats, shape: Sequence[int]) -> Guess[Box]:
    """Return the range of each channel: pixels of a channel share what they can be."""
    channels = shape[0] if len(shape) > 2 else 1
    values = points.reshape(len(points), channels, prod(shape) // channels)
    low, high = values.min(axis=(0, 2)), values.max(axis=(0, 2))
    spread = [np.repeat(v, prod(shape) // channels) for v in (low, high)]
    which = "of each channel" if channels > 1 else "of a pixel"
    words = f"{low.min():g} to {high.max():g}, the range {which}"
    return Guess(Box(*spread), words, f"the smallest and the largest value {which} in the data")


def _features(points: Floats) -> Guess[Box]:
    """Return the range of each feature with a margin, rounded outwards to readable numbers."""
    low, high = points.min(axis=0), points.max(axis=0)
    binary = np.isin(points, (0.0, 1.0)).all(axis=0) & (low < high)
    margin = np.where(binary, 0.0, MARGIN * (high - low))
    lower = _rounded(low - margin, high - low, np.floor)
    upper = _rounded(high + margin, high - low, np.ceil)
    lower = np.where(low >= 0, np.maximum(lower, 0.0), lower)
    fixed = int((low == high).sum())
    why = [f"{MARGIN:.0%} of it added on either side; features that are never negative stay so"]
    if binary.any():
        why.append(f"{int(binary.sum())} with only 0 and 1 keep [0, 1]")
    if fixed:
        why.append(f"{fixed} that never vary stay fixed")
    return Guess(Box(lower, upper), "the range of each feature in the data", "; ".join(why))


def _rounded(values: Floats, ranges: Floats, direction: np.ufunc) -> Floats:
    """Round to a hundredth of the range's power of ten; a range of 0 keeps its value."""
    safe = np.where(ranges > 0, ranges, 1.0)
    digits = 2.0 - np.floor(np.log10(safe))
    large = np.power(10.0, np.clip(digits, 0, 300))
    small = np.power(10.0, np.clip(-digits, 0, 300))
    steps = np.where(digits >= 0, values * large, values / small)
    whole = direction(np.round(steps, 6))  # 393.9999999999 is 394: there is a margin
    rounded = np.where(digits >= 0, whole / large, whole * small)
    usable = (ranges > 0) & np.isfinite(rounded)
    kept: Floats = np.where(usable, rounded, values)
    return kept
