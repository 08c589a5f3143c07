r"""Cells out of the finished complex.

Every facet is found once, at its lowest vertex, and belongs to the two cells on its sides (to one,
if there is nothing on the other). The facets with the same cell are brought together, which gives
its cuts; the mean of points inside its facets is inside the cell.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from wdaverify.arrays import Bools, Floats, Integers
from wdaverify.cells.block import Block
from wdaverify.cells.subdivision.arrays import Words, grouped
from wdaverify.cells.subdivision.complex import Subdivision
from wdaverify.cells.subdivision.faces import edges_of
from wdaverify.errors import EnumerationError

__all__ = ["blocks_of"]

SIZE = 4096
"""Cells in a block."""

FAR = 1e4
"""Points this many times farther from the origin than a point of the support are far away."""

_Small = npt.NDArray[Any]
"""Integers of any size."""


class _Facets(NamedTuple):
    """Facets as the cells see them, one entry per facet and cell, ``(N,)`` each."""

    cell: Words
    """Positive signs of the cell, ``(words, N)``."""
    vertex: npt.NDArray[np.int32]
    """Lowest vertex."""
    slot: npt.NDArray[np.int8]
    """Which of its zeros the facet lies on."""
    sides: npt.NDArray[np.int16]
    """Bit ``h`` tells on which side of zero ``h`` the facet lies."""


def blocks_of(complex_: Subdivision) -> Iterator[Block]:
    """Yield the cells in the order of their patterns.

    Raises
    ------
    DegenerateArrangement
        An edge is level in the direction of the objective.
    EnumerationError
        The complex is not closed, or its cells are not as many as were cut.
    """
    edges = edges_of(complex_)
    facets = _facets(complex_, edges.up)
    order, starts = grouped(facets.cell)
    if len(starts) != complex_.cells:
        raise EnumerationError(f"{complex_.cells} cells were cut, {len(starts)} were found")
    assembly = _Assembly(complex_, edges.ends, facets)
    ends = np.append(starts[1:], len(order))
    for k in range(0, len(starts), SIZE):
        some = order[starts[k] : ends[min(k + SIZE, len(starts)) - 1]]
        yield assembly.block(some, starts[k : k + SIZE] - starts[k])


def _facets(c: Subdivision, up: Bools) -> _Facets:
    parts = [_facets_of_slot(c, up, slot) for slot in range(len(up))]
    words, vertex, slot, sides = zip(*parts, strict=True)
    return _Facets(
        np.concatenate(words, axis=1),
        np.concatenate(vertex),
        np.concatenate(slot),
        np.concatenate(sides),
    )


def _facets_of_slot(c: Subdivision, up: Bools, slot: int) -> _Facets:
    """Return the facets on the zeros in one slot, first for the cells below, then above."""
    d, zeros = len(up), c.vertices.zeros
    stuck: Bools = ~np.asarray(up.any(axis=1))
    stuck[slot] = False
    vertex = np.flatnonzero(~stuck.any(axis=0)).astype(np.int32)
    sides, cell = np.zeros(len(vertex), dtype=np.int16), c.vertices.positive.take(vertex, axis=1)
    for other in [k for k in range(d) if k != slot]:
        below, above = (np.flatnonzero(up[other, side].take(vertex)) for side in (0, 1))
        choice = np.concatenate([below, above])
        vertex, cell, sides = vertex.take(choice), cell.take(choice, axis=1), sides.take(choice)
        bits = c.vertices.bits.take(zeros[other].take(vertex[len(below) :]), axis=1)
        cell[:, len(below) :] |= bits
        sides[len(below) :] |= 1 << other
    on = zeros[slot].take(vertex)
    below, above = (np.flatnonzero(side.take(on)) for side in c.vertices.sides)
    both = np.concatenate([below, above])
    cell = cell.take(both, axis=1)
    cell[:, len(below) :] |= c.vertices.bits.take(on.take(above), axis=1)
    where = np.full(len(both), slot, dtype=np.int8)
    return _Facets(cell, vertex.take(both), where, sides.take(both))


class _Assembly:
    def __init__(self, c: Subdivision, neighbours: npt.NDArray[np.int32], facets: _Facets) -> None:
        v = c.vertices
        self.vertices, self.exact, self.facets = v, v.exact, facets
        self.neighbours, self.points = neighbours, np.ascontiguousarray(v.points.T)

    def block(self, some: Integers, starts: Integers) -> Block:
        """Assemble the cells whose facets are given, grouped by cell."""
        v = self.vertices
        cell, vertex, slot, sides = self.facets
        patterns = v.patterns(cell.take(some[starts], axis=1))
        lengths = np.diff(np.append(starts, len(some)))
        on = v.zeros[slot[some], vertex[some]]
        inner = on < v.neurons
        cuts = np.zeros(patterns.shape, dtype=bool)
        cuts[np.repeat(np.arange(len(starts)), lengths)[inner], on[inner]] = True
        centres = self._centres(vertex[some].astype(np.int64), slot[some], sides[some])
        interiors = np.add.reduceat(centres, starts, axis=0) / lengths[:, None]
        ends = np.bitwise_or.reduceat(on >= v.walls, starts)
        if ends.any():
            self._draw_near(patterns, interiors, some, starts)
            self._come_home(patterns, cuts, interiors)
        self._certify(patterns, cuts, interiors)
        return Block(patterns, cuts, interiors, ~ends)

    def _draw_near(
        self, patterns: Bools, interiors: Floats, some: Integers, starts: Integers
    ) -> None:
        """Move points that are far away to within about one unit of a vertex of their cell."""
        v = self.vertices
        _, vertex, slot, sides = (part[..., some] for part in self.facets)
        near = [vertex.astype(np.int64)]
        for k in range(self.points.shape[1]):
            other = self.neighbours[k, (sides >> k) & 1, vertex]
            near.append(np.where(slot == k, vertex, other).astype(np.int64))
        candidates = np.stack(near)
        sizes = np.where((v.zeros >= v.walls).any(axis=0), np.inf, v.sizes)[candidates]
        best, rows = sizes.argmin(axis=0), np.arange(len(some))
        size, lead = sizes[best, rows], candidates[best, rows]
        cell = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(some))))
        first = np.lexsort((size, cell))[starts]
        size, corner = size[first], self.points[lead[first]]
        far = interiors - corner
        share = np.minimum(1.0, (1.0 + size) / np.maximum(np.abs(far).max(axis=1), 1e-300))
        moved = corner + share[:, None] * far
        right, inside = v.values.proved(moved.T, patterns)
        good = (right | v.roles.zero).all(axis=1) & inside & np.isfinite(size)
        interiors[good] = moved[good]

    def _come_home(self, patterns: Bools, cuts: Bools, interiors: Floats) -> None:
        """Look for nearer points in cells whose vertices are all far away."""
        start = self.exact.frame.interior.astype(np.float64)
        far = np.abs(interiors).max(axis=1) > FAR * (1.0 + np.abs(start).max())
        for k in np.flatnonzero(far).tolist():
            point = self.exact.cells.interior(np.flatnonzero(cuts[k]).tolist(), patterns[k])
            if point is not None and np.abs(point).max() < np.abs(interiors[k]).max():
                interiors[k] = point

    def _centres(self, vertex: Integers, slot: _Small, sides: _Small) -> Floats:
        """Return the mean of the lowest vertex and its neighbours in each facet."""
        total = self.points.take(vertex, axis=0)
        d = total.shape[1]
        for k in range(d):
            other = self.neighbours[k, (sides >> k) & 1, vertex]
            total += self.points.take(np.where(slot == k, vertex, other), axis=0)
        return np.asarray(total / (d + 1))

    def _certify(self, patterns: Bools, cuts: Bools, interiors: Floats) -> None:
        """Replace the points that float64 does not prove inside by ones that are exactly so."""
        values, relevant = self.vertices.values, ~self.vertices.roles.zero
        right, inside = values.proved(interiors.T, patterns)
        right |= ~relevant
        for k in np.flatnonzero(~(right.all(axis=1) & inside)).tolist():
            doubtful = np.flatnonzero(~right[k]).tolist()
            if self.exact.contains(doubtful, patterns[k], interiors[k]):
                continue
            path = np.flatnonzero(cuts[k]).tolist()
            point = self.exact.cells.interior(path, patterns[k])
            if point is None:
                raise EnumerationError(f"a cell of the complex is empty: neurons {path}")
            if not values.possible(point[:, None], patterns[k : k + 1], relevant)[0]:
                raise EnumerationError(f"a cell of the complex has another pattern: {path}")
            interiors[k] = point
