"""Convex polygons with accurate corners, intervals, and their parts around a point."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from reference.question import Array

AREA = 1e-14
RING = 4.0


@dataclass(frozen=True, slots=True)
class Polygon:
    """Corners (k, n) in order around it; edge k, ``g . x = h``, leads from corner k to the next.

    `edges` (k, n + 1) hold ``(g, h)``: every corner is computed from its two lines, whatever far
    corners were cut off.  In one dimension an interval: two corners, edges unused.
    """

    corners: Array
    edges: Array

    def part(self, row: Array, side: float) -> "Polygon":
        """The part where ``row . x <= side``; no corners if nothing is left."""
        excess = self.corners @ row - side
        if not len(excess) or excess.max() <= 0:
            return self
        if excess.min() >= 0:
            return Polygon(self.corners[:0], self.edges[:0])
        new = np.append(row, side)
        if len(row) == 1:
            kept = np.where(excess[:, None] > 0, side / row, self.corners)
            return Polygon(kept, self.edges)
        corners, edges = [], []
        for k, value in enumerate(excess):
            following = excess[(k + 1) % len(excess)]
            if value <= 0:
                corners.append(self.corners[k])
                edges.append(new if value == 0 < following else self.edges[k])
            if value < 0 < following or following < 0 < value:
                corners.append(_meeting(self.edges[k], new))
                edges.append(new if value < 0 else self.edges[k])
        return Polygon(np.array(corners), np.array(edges))

    def clipped(self, G: Array, h: Array) -> "Polygon":
        """The part where ``G x <= h``, row by row (Sutherland, Hodgman)."""
        result = self
        for row, side in zip(G, h, strict=True):
            result = result.part(row, float(side))
        return result

    @property
    def is_solid(self) -> bool:
        """Whether it has an interior beyond rounding."""
        n = self.corners.shape[1]
        if len(self.corners) <= n:
            return False
        size = max(1.0, float(np.abs(self.corners).max()))
        return bool(_volume(self.corners) > AREA * size**n)


def frame_polygon(n: int, size: float) -> Polygon:
    if n == 1:
        return Polygon(np.array([[-size], [size]]), np.zeros((2, 2)))
    if n == 2:
        corners = size * np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
        sides = np.array([[0.0, -1.0], [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
        return Polygon(corners, np.hstack([sides, np.full((4, 1), size)]))
    raise NotImplementedError("one or two dimensions only")


def on_frame(corners: Array, frame: float) -> NDArray[np.bool_]:
    """Which corners come from the frame, (k,)."""
    return np.asarray(np.abs(corners).max(axis=1, initial=0.0) >= frame * (1 - 1e-9))


def _meeting(left: Array, right: Array) -> Array:
    """Where two lines ``(g, h)`` meet."""
    (a, b, e), (c, d, f) = left, right
    return np.array([e * d - b * f, a * f - e * c]) / (a * d - b * c)


def _volume(corners: Array) -> float:
    if corners.shape[1] == 1:
        return float(np.ptp(corners))
    x, y = (corners - corners[0]).T
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def simplices(corners: Array, centre: Array) -> Array:
    """The polygon as triangles from the corner nearest to `centre`, (m, 3, 2); or (1, 2, 1)."""
    if corners.shape[1] == 1:
        return np.sort(corners, axis=0)[None]
    turned = np.roll(corners, -int(np.abs(corners - centre).max(axis=1).argmin()), axis=0)
    return np.array([[turned[0], turned[k], turned[k + 1]] for k in range(1, len(turned) - 1)])


def sectors(norm: str, point: Array, reach: float = math.inf) -> list[tuple[Array, Array]]:
    """Rows of the parts around a point on each of which an l1 or linf distance is affine.

    A finite `reach` cuts them into rings as well, each four times as far away as the last: no part
    is much longer than it is far away, which curved costs need.
    """
    n = len(point)
    if n == 1:
        signs = [np.array([[1.0]]), np.array([[-1.0]])]
    else:
        axes = np.eye(2) if norm == "l1" else np.array([[1.0, 1.0], [1.0, -1.0]])
        signs = [np.array(pair)[:, None] * axes for pair in product((1.0, -1.0), repeat=2)]
    cones = [(rows, rows @ point) for rows in signs]
    if not RING < reach < math.inf:
        return cones
    return [ring for cone in cones for ring in _rings(cone, point, reach)]


def _rings(cone: tuple[Array, Array], point: Array, reach: float) -> Iterator[tuple[Array, Array]]:
    rows, sides = cone
    axis = rows.sum(axis=0) / len(rows)  # rows . x <= 0: the cone opens against its axis
    near, far = 0.0, RING
    while near < reach:
        G = np.vstack([rows, axis, -axis])
        yield G, np.concatenate([sides, [axis @ point - near, far - axis @ point]])
        near, far = far, 4.0 * far
