r"""Where the subdivision starts: vertices and edges of the support itself.

The support must be a *simple* polytope: every vertex lies on exactly ``d`` of its rows, so that
leaving any one of them follows an edge to exactly one other vertex.
"""

import itertools
import math
from collections import defaultdict
from typing import NamedTuple

import numpy as np

from wdaverify.arrays import Integers
from wdaverify.cells.frame import Frame
from wdaverify.errors import WDAVerifyError
from wdaverify.rational import Rationals

__all__ = ["Corners", "DegenerateArrangement", "corners_of", "solution"]

BASES = 3000
"""Most choices of ``d`` rows that are tried on a polytope."""

WIDEST = 10
"""Largest dimension that is tried: there a cell has 50 vertices."""


class DegenerateArrangement(WDAVerifyError):  # noqa: N818  (it names a situation, not a failure)
    """The subdivision does not apply: not simple, not bounded, or too small for float64.

    Nothing is wrong with the question: the enumeration cell by cell answers it.

    Attributes
    ----------
    pending
        Signs that define the parts of which no cell has been yielded, one dictionary each.
    """

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        self.pending: tuple[dict[int, bool], ...] = ({},)


class Corners(NamedTuple):
    """Vertices and edges of the support."""

    points: Rationals
    """Vertices, ``(V, d)``."""
    tight: Integers
    """The support rows that each vertex lies on, ``(V, d)``."""
    ends: Integers
    """Vertices that each edge joins, ``(2, E)``."""
    slots: Integers
    """Which of its ``tight`` rows each end leaves along the edge, ``(2, E)``."""


def corners_of(frame: Frame) -> Corners:
    """Return vertices and edges of the support of a frame.

    Raises
    ------
    DegenerateArrangement
        The support is unbounded, a single point or not simple, or it has too many vertices.
    """
    if frame.dimension == 0:
        raise DegenerateArrangement("the support is a single point")
    if frame.dimension > WIDEST:
        raise DegenerateArrangement(f"cells of dimension {frame.dimension} have too many vertices")
    walls = _walls(frame)
    return _polytope(frame) if walls is None else _box(frame, walls)


def solution(matrix: Rationals, bound: Rationals) -> Rationals | None:
    """Solve ``matrix x = bound`` (square, over the rationals), ``None`` if it is singular."""
    d = len(bound)
    rows = [[*row, side] for row, side in zip(matrix, bound, strict=True)]
    for k in range(d):
        pivot = next((i for i in range(k, d) if rows[i][k] != 0), None)
        if pivot is None:
            return None
        rows[k], rows[pivot] = rows[pivot], rows[k]
        rows[k] = [v / rows[k][k] for v in rows[k]]
        for i in range(d):
            if i != k and rows[i][k] != 0:
                factor = rows[i][k]
                rows[i] = [v - factor * w for v, w in zip(rows[i], rows[k], strict=True)]
    result = np.empty(d, dtype=object)
    result[:] = [row[d] for row in rows]
    return result


def _walls(frame: Frame) -> Integers | None:
    """Return the lowest and highest row of each coordinate, ``(2, d)``, if the support is a box."""
    d = frame.dimension
    walls = np.full((2, d), -1)
    limits = np.empty((2, d), dtype=object)
    for r, (row, bound) in enumerate(zip(frame.matrix, frame.bound, strict=True)):
        used = np.flatnonzero(row)
        if len(used) != 1:
            return None
        j = int(used[0])
        side, limit = int(row[j] > 0), bound / row[j]
        if walls[side, j] < 0 or (limit < limits[1, j] if side else limit > limits[0, j]):
            walls[side, j], limits[side, j] = r, limit
    if np.any(walls < 0):
        raise DegenerateArrangement("the support is unbounded")
    return walls


def _box(frame: Frame, walls: Integers) -> Corners:
    d = frame.dimension
    upper = (np.arange(2**d)[:, None] >> np.arange(d)) & 1
    tight = walls[upper, np.arange(d)]
    slope = frame.matrix[tight, np.arange(d)]
    slots, low = np.nonzero(upper.T == 0)
    return Corners(
        frame.bound[tight] / slope,
        tight,
        np.array([low, low + (1 << slots)]),
        np.array([slots, slots]),
    )


def _polytope(frame: Frame) -> Corners:
    A, b = frame.matrix, frame.bound
    m, d = A.shape
    if math.comb(m, d) > BASES:
        raise DegenerateArrangement(f"a polytope of {m} rows in dimension {d} has too many bases")
    points, tight = [], []
    for basis in itertools.combinations(range(m), d):
        point = solution(A[list(basis)], b[list(basis)])
        if point is None:
            continue
        slack = b - A @ point
        if min(slack) >= 0:
            if np.count_nonzero(slack) != m - d:
                raise DegenerateArrangement("the support has a vertex on too many of its rows")
            points.append(point)
            tight.append(basis)
    lines: dict[tuple[int, ...], list[tuple[int, int]]] = defaultdict(list)
    for v, basis in enumerate(tight):
        for slot in range(d):
            lines[basis[:slot] + basis[slot + 1 :]].append((v, slot))
    if not points or any(len(ends) != 2 for ends in lines.values()):
        raise DegenerateArrangement("the support is unbounded")
    edges = np.array(list(lines.values()))
    return Corners(np.array(points), np.array(tight), edges[:, :, 0].T, edges[:, :, 1].T)
