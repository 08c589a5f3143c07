r"""Radii worth a first look, from the distance between samples of different classes.

With :math:`r_i = \min_{j: y_j \ne y_i} \|x_i - x_j\|` no classifier is right in the whole ball of
radius :math:`r_i / 2` around sample *i* and in that around its nearest rival: they meet half-way.
Radii are shares of half the median of :math:`r_i`.
"""

from math import floor, inf, isqrt, log10
from typing import Final

import numpy as np

from wdaverify.arrays import Floats, Integers
from wdaverify.drafts.guess import Guess
from wdaverify.norms import GroundNorm

__all__ = ["guess_radii", "rival_distances"]

SHARES: Final = (0.05, 0.1, 0.2, 0.5)
"""Radii as shares of half the median distance to another class."""

SPREADS: Final = (0.01, 0.02, 0.05, 0.1)
"""Radii as shares of the typical distance between samples, where there is only one class."""

WORK: Final = 5 * 10**8
"""Most coordinates that are compared."""

_SYMBOLS: Final = {"l1": "l1", "l2": "l2", "linf": "l-infinity"}


def guess_radii(points: Floats, labels: Integers, norm: GroundNorm) -> Guess[tuple[float, ...]]:
    """Return four radii in units of distance, and how they came about.

    Parameters
    ----------
    points, labels
        Samples, shapes ``(N, n)`` and ``(N,)``.
    norm
        Ground norm.
    """
    which = _subset(len(points), points.shape[1])
    of = "" if len(which) == len(points) else f" (among {len(which)} samples)"
    rivals = rival_distances(points[which], labels[which], norm)
    half = float(np.median(rivals)) / 2 if len(rivals) else 0.0
    name = _SYMBOLS.get(norm.name, norm.name)
    if half > 0 and np.isfinite(half):
        why = (
            f"{_percent(SHARES)} of {half:.3g} (rounded), half the median {name} distance from a "
            f"sample to the nearest one of another class{of}; half-way the two could meet"
        )
        return _radii(half, SHARES, why)
    typical = _typical(points[which], norm)
    why = (
        f"{_percent(SPREADS)} of {typical:.3g} (rounded), the median {name} distance from a sample "
        f"to the median of all{of}; samples of different classes give no scale"
    )
    return _radii(typical, SPREADS, why)


def rival_distances(points: Floats, labels: Integers, norm: GroundNorm) -> Floats:
    """Return the distance of each sample to the nearest one of another class.

    Parameters
    ----------
    points, labels
        Samples, shapes ``(N, n)`` and ``(N,)``.

    Returns
    -------
    Floats
        Shape ``(N,)``; empty if there is only one class.
    """
    if len(np.unique(labels)) < 2:
        return np.zeros(0)
    distances = [
        float(norm.length(points[labels != y] - x).min())
        for x, y in zip(points, labels, strict=True)
    ]
    return np.array(distances)


def _subset(samples: int, features: int) -> Integers:
    """Return the samples to look at: evenly spaced, so that sorted classes are all there."""
    most = max(2, isqrt(WORK // features))
    return np.unique(np.linspace(0, samples - 1, min(samples, most)).astype(np.int64))


def _typical(points: Floats, norm: GroundNorm) -> float:
    distance = float(np.median(norm.length(points - np.median(points, axis=0))))
    return distance if 0 < distance < np.inf else 1.0


def _radii(unit: float, shares: tuple[float, ...], why: str) -> Guess[tuple[float, ...]]:
    readable = _readable(unit)
    radii = tuple(float(f"{readable * share:.2g}") for share in shares)
    return Guess(radii, ", ".join(f"{radius:g}" for radius in radii), why)


def _readable(unit: float) -> float:
    """Round so that each share has two digits: to 0.2 below 4, else to 1, times a power of 10."""
    power = 10.0 ** floor(log10(unit))
    if not 0 < power < inf:
        return unit
    step = 0.2 if unit < 4 * power else 1.0
    return round(unit / power / step) * step * power


def _percent(shares: tuple[float, ...]) -> str:
    *first, last = (f"{share:.0%}" for share in shares)
    return f"{', '.join(first)} and {last}"
