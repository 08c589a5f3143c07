r"""Size, vertices and volume of cells, in low dimension.

A cell meets the support in :math:`\{u : Gu \le h\}`, in coordinates of the frame. In dimensions
three and four Qhull intersects the half-spaces of cells that are thick enough for floating point;
all others, and whatever fails its check, are measured over the rationals. Lengths and volumes
are those of the input space (of the affine hull of the support, where that has no interior).
"""

import math
from functools import cached_property
from typing import NamedTuple

import numpy as np

from wdaverify.arrays import Floats
from wdaverify.cells.complex import CellComplex
from wdaverify.cells.corners import Corners, corners_of
from wdaverify.cells.decision import ExactCells
from wdaverify.cells.recession import is_bounded
from wdaverify.convex.exact import exact_maximum
from wdaverify.convex.highs import LinearProgram
from wdaverify.errors import EnumerationError, UnsupportedError
from wdaverify.rational import Rationals, rationals
from wdaverify.support import Box

__all__ = ["LARGEST", "Ball", "Geometry", "Shape"]

LARGEST = 4
"""Largest dimension in which vertices and volumes are computed."""

THIN = 1e-6
"""An inradius this small, relative to the coordinates, is left to rational arithmetic."""

SLENDER = 1e5
"""A cell reaching this many inradii from its centre is, too."""

OUTSIDE = 1e-9
"""How far, relative to the reach of the cell, one of Qhull's vertices may violate a row."""


class Ball(NamedTuple):
    """A ball inside a cell."""

    centre: Floats
    """Shape ``(n,)``."""
    radius: float
    """Distance of the centre from the nearest row, recomputed."""


class Shape(NamedTuple):
    """A bounded cell, within the support."""

    vertices: Floats
    """Shape ``(V, n)``, in no particular order."""
    facets: int
    """How many, those on the boundary of the support included."""
    volume: float


class _Local(NamedTuple):
    """Rows ``directions · (u − centre) <= room``, scaled so that ``room`` is a distance."""

    centre: Floats
    directions: Floats
    room: Floats


class Geometry:
    """Sizes and shapes of the cells of a complex.

    Parameters
    ----------
    cells
        The complex; a cell is always taken together with the support.
    """

    def __init__(self, cells: CellComplex) -> None:
        self.cells, self.frame = cells, cells.frame
        basis = self.frame.basis.astype(np.float64)
        self._gram = basis.T @ basis
        self._inverse = np.linalg.inv(self._gram)
        self._unit = math.sqrt(float(np.linalg.det(self._gram)))
        self._exact = ExactCells(cells.network, cells.frame)

    @property
    def measurable(self) -> bool:
        """Whether the dimension is low enough for vertices and volumes."""
        return 1 <= self.frame.dimension <= LARGEST

    @cached_property
    def bounded(self) -> bool:
        """Whether the support is bounded."""
        return is_bounded(self.frame.matrix)

    @cached_property
    def support_volume(self) -> float:
        """Volume of the support, which must be bounded."""
        support = self.cells.support
        if isinstance(support, Box):
            widths = support.upper - support.lower
            return float(np.prod(widths[widths > 0]))
        self._check_dimension()
        corners = corners_of(self.frame.matrix, self.frame.bound, self._reach(self.frame.interior))
        return self._unit * float(corners.volume)

    def ball(self, index: int) -> Ball:
        """Return a largest Euclidean ball inside a bounded cell.

        Raises
        ------
        UnsupportedError
            The cell is unbounded.
        """
        self._check(index)
        ball = self._largest_ball(self._float_rows(index))
        if not self._thick(ball):
            ball = self._exact_ball(*self._exact_rows(index))
        return Ball(self.frame.points(ball.centre), ball.radius)

    def shape(self, index: int) -> Shape:
        """Return vertices, facets and volume of a bounded cell.

        Raises
        ------
        UnsupportedError
            The cell is unbounded or has more than four dimensions.
        """
        self._check(index)
        self._check_dimension()
        if self.frame.dimension > 2:
            rows = self._float_rows(index)
            ball = self._largest_ball(rows)
            found = self._by_qhull(rows, ball) if self._thick(ball) else None
            if found is not None:
                return found
        corners = self._corners(*self._exact_rows(index))
        vertices = self.frame.points(corners.points.astype(np.float64))
        return Shape(vertices, corners.facets, self._unit * float(corners.volume))

    def _check(self, index: int) -> None:
        if not self.cells.bounded[index]:
            raise UnsupportedError(f"cell {index}: expected a bounded cell, found an unbounded one")

    def _check_dimension(self) -> None:
        if not self.measurable:
            raise UnsupportedError(
                f"vertices and volumes: expected 1 to {LARGEST} dimensions, "
                f"found {self.frame.dimension}"
            )

    def _float_rows(self, index: int) -> _Local:
        """Return rows of the support, then of the cell, seen from its interior point."""
        frame, (G, h) = self.frame, self.cells[index].half_spaces
        origin, basis = frame.origin.astype(np.float64), frame.basis.astype(np.float64)
        matrix = np.concatenate([frame.matrix.astype(np.float64), G @ basis])
        bound = np.concatenate([frame.bound.astype(np.float64), h - G @ origin])
        inside = frame.coordinates(self.cells[index].interior)
        lengths = self._lengths(matrix)
        return _Local(inside, matrix / lengths[:, None], (bound - matrix @ inside) / lengths)

    def _exact_rows(self, index: int) -> tuple[Rationals, Rationals]:
        frame, cell = self.frame, self.cells[index]
        matrix, bound = list(frame.matrix), list(frame.bound)
        for k in np.flatnonzero(cell.cuts).tolist():
            w, b = self._exact.row(k, cell.pattern)
            sign = -1 if cell.pattern[k] else 1
            matrix.append(sign * w)
            bound.append(-sign * b)
        shaped = np.array(matrix, dtype=object).reshape(-1, frame.dimension)
        return shaped, np.array([*bound, None], dtype=object)[:-1]

    def _exact_ball(self, matrix: Rationals, bound: Rationals) -> Ball:
        """Maximise the distance from all rows over the rationals; only their lengths are rounded.

        Raises
        ------
        EnumerationError
            The cell has no interior: a defect.
        """
        lengths = rationals(self._lengths(matrix.astype(np.float64)))
        rows = np.concatenate([matrix, lengths[:, None]], axis=1)
        costs = rationals(np.append(np.zeros(matrix.shape[1]), 1.0))
        best = exact_maximum(costs, rows, bound)
        if best is None or best.value is None or best.value <= 0:
            raise EnumerationError("a bounded cell has no largest ball inside")
        return Ball(best.point[:-1].astype(np.float64), float(best.value))

    def _corners(self, matrix: Rationals, bound: Rationals) -> Corners:
        return corners_of(matrix, bound, self._reach(self.frame.interior))

    def _reach(self, point: Floats) -> int:
        return 4 * (1 + math.ceil(float(np.abs(point).max(initial=0.0))))

    def _lengths(self, matrix: Floats) -> Floats:
        """Return the lengths of rows as functionals on the affine hull, ``√(g (BᵀB)⁻¹ gᵀ)``."""
        sizes = np.abs(matrix).max(axis=1, initial=0.0)
        G = matrix / sizes[:, None]
        lengths: Floats = sizes * np.sqrt(np.einsum("mi,ij,mj->m", G, self._inverse, G))
        return lengths

    def _largest_ball(self, rows: _Local) -> Ball:
        """Maximise the distance from all rows, in units of the distance known already."""
        unit, d = float(rows.room.min()), len(rows.centre)
        if unit <= 0:
            return Ball(rows.centre, unit)
        free = np.full(d + 1, np.inf)
        program = LinearProgram(-free, free)
        ones = np.ones(len(rows.room))
        program.add_rows(np.column_stack([rows.directions, ones]), rows.room / unit)
        step = unit * program.maximize(np.append(np.zeros(d), 1.0)).point[:d]
        radius = float((rows.room - rows.directions @ step).min())
        return Ball(rows.centre + step, radius) if radius > unit else Ball(rows.centre, unit)

    def _thick(self, ball: Ball) -> bool:
        return ball.radius > THIN * (1.0 + float(np.abs(ball.centre).max(initial=0.0)))

    def _by_qhull(self, rows: _Local, ball: Ball) -> Shape | None:
        """Return what Qhull finds, if it stands its check."""
        from scipy.spatial import ConvexHull, HalfspaceIntersection, QhullError  # noqa: PLC0415

        G = rows.directions
        room = (rows.room - G @ (ball.centre - rows.centre)) / ball.radius
        try:
            met = HalfspaceIntersection(np.column_stack([G, -room]), np.zeros(G.shape[1]))
            reach = float(np.abs(met.intersections).max())
            points = _distinct(met.intersections, OUTSIDE * reach)
            volume = float(ConvexHull(points).volume)
        except (QhullError, ValueError):
            return None
        if not reach < SLENDER or float((points @ G.T - room).max()) > OUTSIDE * reach:
            return None
        vertices = self.frame.points(ball.centre + ball.radius * points)
        unit = self._unit * ball.radius**self.frame.dimension
        facets = {row for corner in met.dual_facets for row in corner}
        return Shape(vertices, len(facets), unit * volume)


def _distinct(points: Floats, apart: float) -> Floats:
    """Return points farther than ``apart`` from those before."""
    kept = np.empty((0, points.shape[1]))
    for point in points:
        if not len(kept) or np.abs(kept - point).max(axis=1).min() > apart:
            kept = np.concatenate([kept, point[None, :]])
    return kept
