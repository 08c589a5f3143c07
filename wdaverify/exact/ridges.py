r"""Piecewise linear functions of one variable: the largest of segments, the top of a minimum.

.. math:: L(t) = \max_k\{\text{segment}_k(t)\},\qquad
          \max_{0\le s\le1}\; \min_k\; (1-s)A_k + sB_k

Both are found by intersecting lines: where two neighbours meet, either no third line matters, or
one takes its place between them.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from wdaverify.arrays import Floats

__all__ = ["Segments", "carried", "records", "ridge", "stretch", "summit"]

ROUNDING = 1e-15
"""How far (relative) a line must pass a corner to take its place."""


BEYOND = 1e-12
"""Length, relative to its place, of a segment that starts at the end of all others."""


class Segments(NamedTuple):
    """Segments from ``(start, low)`` to ``(end, high)``, all ``(m,)``."""

    start: Floats
    end: Floats
    low: Floats
    high: Floats

    def at(self, some: "np.ndarray[tuple[int, ...], np.dtype[np.bool_]]", t: float) -> Floats:
        """Evaluate some segments at a place within them."""
        start, end, low, high = (part[some] for part in self)
        share = (t - start) / (end - start)
        return np.asarray((1.0 - share) * low + share * high)


def ridge(segments: Segments) -> tuple[Floats, Floats]:
    """Return the corners of a continuous function below the largest of segments.

    Where the largest jumps, which it does upwards or downwards at the end of a segment, the corner
    takes the lower value; elsewhere the function is the largest itself.

    Parameters
    ----------
    segments
        Of positive length; together they cover an interval.

    Returns
    -------
    tuple of ndarray
        Places, strictly rising, and values, ``(m,)``.
    """
    ends = np.unique(np.concatenate([segments.start, segments.end]))
    corners: list[tuple[float, float]] = []
    for a, b in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True):
        some = (segments.start <= a) & (segments.end >= b)
        A, B = segments.at(some, a), segments.at(some, b)
        first = (a, float(A.max()))
        if corners:
            first = min(first, corners.pop())  # the places agree
        inside = [(a + s * (b - a), v) for s, v in _meetings(A, B)]
        corners += [first, *(c for c in inside if a < c[0] < b), (b, float(B.max()))]
    places, values = np.array(corners).T
    apart = np.append(True, np.diff(places) > 0)
    return places[apart], values[apart]


def _meetings(A: Floats, B: Floats) -> Iterator[tuple[float, float]]:
    """Corners of the largest of lines from ``A`` at 0 to ``B`` at 1, in between."""
    size = ROUNDING * max(1.0, float(np.abs(A).max()), float(np.abs(B).max()))
    todo = [(int(np.lexsort((B, A))[-1]), int(np.lexsort((A, B))[-1]))]
    while todo:
        left, right = todo.pop()
        drop, rise = float(A[left] - A[right]), float(B[right] - B[left])
        if left == right or drop <= 0 or rise <= 0:
            continue
        s = drop / (drop + rise)
        values = (1.0 - s) * A + s * B
        value, k = float(min(values[left], values[right])), int(values.argmax())
        if values[k] <= value + size or k in (left, right):
            yield s, value
        else:
            todo += [(k, right), (left, k)]


def summit(A: Floats, B: Floats) -> tuple[float, float]:
    """Return where the least of lines from ``A`` at 0 to ``B`` at 1 is largest, and its value."""
    left, right = int(np.lexsort((B, A))[0]), int(np.lexsort((A, B))[0])
    if B[left] <= A[left]:
        return 0.0, float(A[left])
    if B[right] >= A[right]:
        return 1.0, float(B[right])
    while True:
        rise, fall = float(B[left] - A[left]), float(A[right] - B[right])
        s = min(1.0, max(0.0, float(A[right] - A[left]) / (rise + fall)))
        values = (1.0 - s) * A + s * B
        k, value = int(values.argmin()), float(max(values[left], values[right]))
        if k in (left, right) or values[k] >= value - ROUNDING * max(1.0, abs(value)):
            return s, value
        if B[k] > A[k]:
            left = k
        else:
            right = k


def stretch(
    level: Floats, steepness: Floats, distance: float, within: tuple[float, float]
) -> tuple[float, ...]:
    """Return the ends of the stretch around a distance on which the least of lines is one line."""
    k = int((level + steepness * distance).argmin())
    left, right = within
    flatter, steeper = steepness < steepness[k], steepness > steepness[k]
    if flatter.any():
        meet = (level[flatter] - level[k]) / (steepness[k] - steepness[flatter])
        right = min(right, max(distance, float(meet.min())))
    if steeper.any():
        meet = (level[k] - level[steeper]) / (steepness[steeper] - steepness[k])
        left = max(left, min(distance, float(meet.max())))
    return right, left


def records(distances: Floats, losses: Floats, farthest: float) -> Segments:
    """Carry every loss that no nearer point reaches on to the next that exceeds it."""
    order = np.lexsort((-losses, distances))
    before = np.maximum.accumulate(np.append(-np.inf, losses[order][:-1]))
    best = order[losses[order] > before]
    start = distances[best]
    end = np.append(start[1:], max(farthest, float(start[-1]) * (1.0 + BEYOND)))
    kept = end > start
    return Segments(start[kept], end[kept], losses[best][kept], losses[best][kept])


def carried(flat: Segments, distances: Floats) -> Floats:
    """Evaluate the losses carried on."""
    return np.asarray(flat.low[np.searchsorted(flat.start, distances, side="right") - 1])
