r"""Coordinates of the affine hull of the support.

A support without interior (a constant feature, an equality among the rows) is described as
:math:`x = o + Bu` with :math:`u \in \mathbb{R}^d`, in which it has interior. Constant features of a
box are simply dropped; equalities of a polytope are found and eliminated over the rationals.
"""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from wdaverify.arrays import Floats
from wdaverify.convex.exact import exact_interior_point, exact_maximum
from wdaverify.convex.highs import LinearProgram, Status
from wdaverify.errors import ProblemError
from wdaverify.network import AffineMap
from wdaverify.rational import Rationals, rationals
from wdaverify.support import Box, Polytope, Support

__all__ = ["Frame", "bounding_box", "frame_of", "unit_rows"]

REACH = 1.0
"""Largest inradius looked for: an unbounded support has no centre."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """The support in coordinates in which it has interior.

    Attributes
    ----------
    origin, basis
        ``x = origin + basis @ u``; shapes ``(n,)`` and ``(n, d)``, rational.
    matrix, bound
        Support rows ``matrix u <= bound`` without the equalities, rational, ``(m, d)``, ``(m,)``.
    interior
        A point ``u`` strictly inside every row, float64, shape ``(d,)``.
    walls
        Rows from this one on stand for infinity, if there are such
        (``cells.subdivision.reach``).
    """

    origin: Rationals
    basis: Rationals
    matrix: Rationals
    bound: Rationals
    interior: Floats
    walls: int | None = None

    @property
    def dimension(self) -> int:
        """Dimension ``d`` of the affine hull of the support."""
        return int(self.basis.shape[1])

    def extent(self) -> tuple[Floats, Floats]:
        """Bounds of each coordinate over the support, infinite where there are none, ``(d,)``."""
        return bounding_box(Polytope(self.matrix.astype(np.float64), self.bound.astype(np.float64)))

    def points(self, coordinates: Floats) -> Floats:
        """Map coordinates to points: ``(..., d) -> (..., n)``."""
        return coordinates @ self.basis.astype(np.float64).T + self.origin.astype(np.float64)

    def coordinates(self, points: Floats) -> Floats:
        """Map points of the affine hull to coordinates: ``(..., n) -> (..., d)``."""
        inverse = np.linalg.pinv(self.basis.astype(np.float64)).T
        return np.asarray((points - self.origin.astype(np.float64)) @ inverse)


def unit_rows(matrix: Floats, offset: Floats) -> AffineMap:
    """Scale rows to unit length, also where a square would underflow; rows of zeros stay."""
    largest = np.abs(matrix).max(axis=1, initial=0.0)
    largest = np.where(largest > 0, largest, 1.0)
    matrix, offset = matrix / largest[:, None], offset / largest
    length = np.linalg.norm(matrix, axis=1)
    length = np.where(length > 0, length, 1.0)
    return AffineMap(matrix / length[:, None], offset / length)


def frame_of(support: Support) -> Frame:
    """Return coordinates of the affine hull of a bound support.

    Raises
    ------
    ProblemError
        The support is empty.
    """
    if isinstance(support, Box):
        return _box_frame(support)
    matrix, bound = (rationals(v) for v in support.rows)
    origin, basis = _eliminate(_implicit_equalities(matrix, bound), matrix, bound)
    bound, matrix = bound - matrix @ origin, matrix @ basis
    keep = np.array([any(v != 0 for v in row) for row in matrix], dtype=bool)
    matrix, bound = matrix[keep], bound[keep]
    return Frame(origin, basis, matrix, bound, _interior(matrix, bound))


def bounding_box(support: Support) -> tuple[Floats, Floats]:
    """Return bounds of each feature over a bound support, infinite where there are none, ``(n,)``.

    Those of a polytope come from linear programs and are widened by a millionth.
    """
    if isinstance(support, Box):
        return support.lower, support.upper
    matrix, bound = support.rows
    n = matrix.shape[1]
    free = np.full(n, np.inf)
    program = LinearProgram(-free, free)
    program.add_rows(matrix, bound)
    ends = []
    for costs in (*-np.eye(n), *np.eye(n)):
        answer = program.maximize(costs)
        end = float(costs @ answer.point) if answer.status is Status.OPTIMAL else np.inf
        ends.append(end + 1e-6 * (1.0 + abs(end)))
    return -np.array(ends[:n]), np.array(ends[n:])


def _box_frame(box: Box) -> Frame:
    free = np.flatnonzero(box.lower < box.upper)
    origin = np.where(box.lower == box.upper, box.lower, 0.0)
    basis = np.eye(len(origin))[:, free]
    matrix, bound = Box(box.lower[free], box.upper[free]).rows
    low, high = np.maximum(box.lower[free], -1e300), np.minimum(box.upper[free], 1e300)
    middle = low / 2 + high / 2
    centre = np.where(
        np.isfinite(box.lower[free]) & np.isfinite(box.upper[free]),
        middle,
        np.where(
            np.isfinite(box.lower[free]),
            low + np.maximum(REACH, np.abs(low)),
            high - np.maximum(REACH, np.abs(high)),
        ),
    )
    centre = np.where(np.isfinite(box.lower[free]) | np.isfinite(box.upper[free]), centre, 0.0)
    return Frame(rationals(origin), rationals(basis), rationals(matrix), rationals(bound), centre)


def _implicit_equalities(matrix: Rationals, bound: Rationals) -> list[int]:
    """Return the rows that hold with equality on all of ``matrix x <= bound``."""
    if len(bound) == 0 or exact_interior_point(matrix, bound) is not None:
        return []
    equal = []
    for k, row in enumerate(matrix):
        slack = exact_maximum(-row, matrix, bound)
        if slack is None:
            raise ProblemError("support: the polytope is empty, expected A x <= b to have a point")
        if slack.value is not None and slack.value + bound[k] == 0:
            equal.append(k)
    return equal


def _eliminate(
    equal: list[int], matrix: Rationals, bound: Rationals
) -> tuple[Rationals, Rationals]:
    """Solve ``matrix[equal] x = bound[equal]``: a point and a basis of the null space."""
    n = matrix.shape[1]
    rows = [[*matrix[k], bound[k]] for k in equal]
    pivots: list[int] = []
    for column in range(n):
        r = len(pivots)
        found = next((i for i in range(r, len(rows)) if rows[i][column] != 0), None)
        if found is None:
            continue
        rows[r], rows[found] = rows[found], rows[r]
        rows[r] = [v / rows[r][column] for v in rows[r]]
        for i in range(len(rows)):
            if i != r and rows[i][column] != 0:
                factor = rows[i][column]
                rows[i] = [v - factor * w for v, w in zip(rows[i], rows[r], strict=True)]
        pivots.append(column)
    free = [k for k in range(n) if k not in pivots]
    origin = np.full(n, Fraction(0), dtype=object)
    basis = np.full((n, len(free)), Fraction(0), dtype=object)
    for r, column in enumerate(pivots):
        origin[column] = rows[r][n]
        for j, k in enumerate(free):
            basis[column, j] = -rows[r][k]
    for j, k in enumerate(free):
        basis[k, j] = Fraction(1)
    return origin, basis


def _interior(matrix: Rationals, bound: Rationals) -> Floats:
    """Return the centre of a large inscribed ball, or an exact interior point if it is tiny."""
    G, h = matrix.astype(np.float64), bound.astype(np.float64)
    d = G.shape[1]
    if len(h) == 0:
        return np.zeros(d)
    program = LinearProgram(
        np.append(np.full(d, -np.inf), 0.0), np.append(np.full(d, np.inf), REACH)
    )
    program.add_rows(np.column_stack([G, np.linalg.norm(G, axis=1)]), h)
    centre = program.maximize(np.append(np.zeros(d), 1.0)).point[:d]
    if np.all(G @ centre < h - 1e-9 * (1 + np.abs(h))):
        return centre
    exact = exact_interior_point(matrix, bound)
    if exact is None:
        raise ProblemError("support: the polytope is empty, expected A x <= b to have a point")
    return exact.astype(np.float64)
