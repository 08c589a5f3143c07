r"""Vertices, facets and volume of a bounded polyhedron over the rationals, in low dimension.

Vertices by double description: a box that is larger than the polyhedron is cut by one half-space
after the other; a new vertex appears on every edge whose ends lie on different sides. Two vertices
share an edge when no third one lies on all the rows that both lie on. The volume is that of a
triangulation (Cohen and Hickey, 1979): pyramids over the facets that a vertex does not lie on.
"""

from collections.abc import Iterator
from fractions import Fraction
from itertools import product
from math import factorial
from typing import NamedTuple

import numpy as np

from wdaverify.rational import Rationals

__all__ = ["Corners", "corners_of"]

Tight = frozenset[int]

GROWTH = 2**10
"""How much larger the box is next time, where the polyhedron reached its end."""


class Corners(NamedTuple):
    """Vertices ``(V, d)`` and the rows that each lies on."""

    points: Rationals
    tight: tuple[Tight, ...]

    @property
    def facets(self) -> int:
        """Number of facets."""
        return len(self._facets(frozenset(range(len(self.points)))))

    @property
    def volume(self) -> Fraction:
        """Volume, one number of the product of the units of the coordinates."""
        d = self.points.shape[1]
        total = Fraction(0)
        for simplex in self._simplices(frozenset(range(len(self.points))), d):
            first, *others = (self.points[k] for k in simplex)
            total += abs(_determinant([list(point - first) for point in others]))
        return total / factorial(d)

    def _facets(self, face: frozenset[int]) -> set[frozenset[int]]:
        """Return the largest proper faces of a face, each as its vertices."""
        rows = set().union(*(self.tight[k] for k in face))
        parts = {frozenset(k for k in face if row in self.tight[k]) for row in rows} - {face}
        return {part for part in parts if not any(part < other for other in parts)}

    def _simplices(self, face: frozenset[int], dimension: int) -> Iterator[tuple[int, ...]]:
        apex = min(face)
        if dimension == 0:
            yield (apex,)
            return
        for facet in self._facets(face):
            if apex not in facet:
                for simplex in self._simplices(facet, dimension - 1):
                    yield (apex, *simplex)


def corners_of(matrix: Rationals, bound: Rationals, reach: int) -> Corners:
    """Return the vertices of ``{u : matrix u <= bound}``, which must be bounded, with interior.

    Parameters
    ----------
    matrix, bound
        Rational, shapes ``(m, d)`` and ``(m,)``.
    reach
        A guess at the largest coordinate of the polyhedron.
    """
    while True:
        found = _clipped(matrix, bound, reach)
        if all(row >= 0 for tight in found.tight for row in tight):
            return found
        reach *= GROWTH


def _clipped(matrix: Rationals, bound: Rationals, reach: int) -> Corners:
    """Cut a box with sides ``−1, −2, …`` by rows ``0, 1, …``."""
    d = matrix.shape[1]
    signs = list(product((-1, 1), repeat=d))
    points = [np.array([Fraction(reach * s) for s in sign], dtype=object) for sign in signs]
    tight = [frozenset(-1 - k if s < 0 else -1 - d - k for k, s in enumerate(z)) for z in signs]
    for row, (w, b) in enumerate(zip(matrix, bound, strict=True)):
        excess = [point @ w - b for point in points]
        kept = [k for k, value in enumerate(excess) if value <= 0]
        if len(kept) < len(points) or any(value == 0 for value in excess):
            new = list(_crossings(points, tight, excess, row))
            tight = [tight[k] | {row} if excess[k] == 0 else tight[k] for k in kept]
            points = [points[k] for k in kept]
            points += [point for point, _ in new]
            tight += [rows for _, rows in new]
    return Corners(np.array(points, dtype=object).reshape(-1, d), tuple(tight))


def _crossings(
    points: list[Rationals], tight: list[Tight], excess: list[Fraction], row: int
) -> Iterator[tuple[Rationals, Tight]]:
    """Yield where edges cross a row, with the rows that the crossing lies on."""
    d = len(points[0])
    inner = [k for k, value in enumerate(excess) if value < 0]
    outer = [k for k, value in enumerate(excess) if value > 0]
    for j, k in product(inner, outer):
        common = tight[j] & tight[k]
        if len(common) >= d - 1 and sum(common <= rows for rows in tight) == 2:
            share = excess[j] / (excess[j] - excess[k])
            yield points[j] + share * (points[k] - points[j]), common | {row}


def _determinant(rows: list[list[Fraction]]) -> Fraction:
    """Return the determinant by elimination."""
    value, d = Fraction(1), len(rows)
    for column in range(d):
        pivot = next((r for r in range(column, d) if rows[r][column] != 0), None)
        if pivot is None:
            return Fraction(0)
        rows[column], rows[pivot] = rows[pivot], rows[column]
        value *= rows[column][column] * (1 if pivot == column else -1)
        for r in range(column + 1, d):
            factor = rows[r][column] / rows[column][column]
            if factor:
                rows[r] = [v - factor * w for v, w in zip(rows[r], rows[column], strict=True)]
    return value
