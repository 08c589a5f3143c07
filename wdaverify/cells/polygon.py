"""Convex polygons cut out of a rectangle, half-plane by half-plane, and what each side lies on."""

from typing import NamedTuple

import numpy as np

from wdaverify.arrays import Floats, Integers
from wdaverify.network import AffineMap

__all__ = ["Polygon", "polygon_of"]


class Polygon(NamedTuple):
    """Corners in counterclockwise order; none where nothing is left."""

    corners: Floats
    """Shape ``(k, 2)``."""
    sides: Integers
    """Row on which the side from each corner to the next lies, negative on the rectangle."""

    @property
    def area(self) -> float:
        """Area by the shoelace formula, taken from the first corner."""
        if len(self.corners) < 3:
            return 0.0
        x, y = (self.corners - self.corners[0]).T
        return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2.0

    def cut(self, row: Floats, bound: float, tag: int) -> "Polygon":
        """Return the part where ``row · x <= bound``; a new side carries the tag.

        Sides on the cut itself keep their own tags.
        """
        excess = self.corners @ row - bound
        if not len(excess) or excess.max() <= 0:
            return self
        if excess.min() >= 0:
            return Polygon(self.corners[:0], self.sides[:0])
        corners, sides = [], []
        for k, (here, there) in enumerate(zip(excess, np.roll(excess, -1), strict=True)):
            if here <= 0:
                corners.append(self.corners[k])
                sides.append(tag if here == 0 < there else self.sides[k])
            if here < 0 < there or there < 0 < here:
                following = self.corners[(k + 1) % len(excess)]
                share = here / (here - there)
                corners.append(self.corners[k] + share * (following - self.corners[k]))
                sides.append(tag if here < 0 else self.sides[k])
        return Polygon(np.array(corners), np.array(sides))


def polygon_of(rows: AffineMap, lower: Floats, upper: Floats) -> Polygon:
    """Return ``{x : matrix x <= offset}`` within a rectangle; side ``k`` lies on row ``k``.

    Parameters
    ----------
    rows
        Shapes ``(m, 2)`` and ``(m,)``.
    lower, upper
        Opposite corners of the rectangle, finite, shape ``(2,)``.
    """
    (left, bottom), (right, top) = lower, upper
    corners = np.array([[left, bottom], [right, bottom], [right, top], [left, top]])
    found = Polygon(corners, np.array([-1, -2, -3, -4]))
    for k, (row, bound) in enumerate(zip(*rows, strict=True)):
        found = found.cut(row, float(bound), k)
    return found
