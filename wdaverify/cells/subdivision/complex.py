r"""Vertices and edges of the arrangement, cut by one neuron after the other.

The signs :math:`\{-, 0, +\}^H` of the neurons tell faces apart: on every face of the complex of
the earlier layers a pre-activation is affine, so each sign vector belongs to one convex set. In a
simple arrangement a vertex has exactly ``d`` zeros (among neurons and support rows) and an edge
``d − 1``. A neuron is strictly positive or negative at each vertex, cuts each edge whose ends
differ, and meets each polygon (``d − 2`` zeros) in a segment between two of these cuts: the new
edges. Signs of earlier neurons at a new vertex are those of its edge: nothing is decided twice.
"""

import copy

import numpy as np

from wdaverify.arrays import Bools, Integers
from wdaverify.cells.subdivision.arrays import Growing, Words, paired
from wdaverify.cells.subdivision.start import Corners
from wdaverify.cells.subdivision.vertices import NewVertices, Vertices

__all__ = ["Subdivision"]


class Subdivision:
    """The complex cut so far.

    Attributes
    ----------
    vertices
        Points and signs.
    ends, slots
        Vertices that each edge joins ``(2, E)``, and which zero each end leaves along it.
    cells
        Number of cells.
    characteristic
        Euler characteristic, that of the part of the support that is subdivided.
    next
        The neuron to cut next.
    """

    def __init__(self, vertices: Vertices, corners: Corners) -> None:
        self.vertices, self.cells, self.characteristic, self.next = vertices, 1, 1, 0
        self._edges = Growing(np.concatenate([corners.ends, corners.slots]).astype(np.int32))

    @property
    def ends(self) -> Integers:  # noqa: D102  (in the docstring of the class)
        return self._edges.now[:2]

    @property
    def slots(self) -> Integers:  # noqa: D102
        return self._edges.now[2:]

    @property
    def finished(self) -> bool:
        """Whether no neuron is left to cut."""
        return self.next >= self.vertices.neurons

    def cut(self, neuron: int) -> None:
        """Split the edges that a neuron of the current layer cuts, and join the new vertices.

        Raises
        ------
        DegenerateArrangement
            The neuron is zero at a vertex.
        EnumerationError
            The cuts do not match: a defect.
        """
        on = self.vertices.signs(neuron)
        a, b = self.ends
        crossed = np.flatnonzero(on.take(a) != on.take(b))
        if len(crossed) == 0:
            self.vertices.record(neuron, on)
            return
        new = self._new_vertices(neuron, crossed)
        first = self.vertices.count
        self.vertices.record(neuron, on)
        self.vertices.append(new)
        _, b, _, leaves_b = self._edges.now.take(crossed, axis=1)
        names = first + np.arange(len(crossed))
        self._edges.now[1, crossed], self._edges.now[3, crossed] = names, new.leaves
        self._edges.append(np.stack([names, b, new.leaves, leaves_b]))
        self._edges.append(np.concatenate([first + new.pairs, new.slots]))
        self.cells += self._new_facets(first, new)

    def part(self, keep: Bools, neuron: int, *, above: bool) -> "Subdivision":
        """Return some of the vertices, those on one side of a neuron and on it, and their edges."""
        part = copy.copy(self)
        part.vertices = self.vertices.part(keep, neuron, above=above)
        names = np.cumsum(keep, dtype=np.int32) - 1
        edges = self._edges.now.compress(keep[self.ends].all(axis=0), axis=1)
        edges[:2] = names[edges[:2]]
        part._edges = Growing(edges)  # noqa: SLF001  (of its own class)
        return part

    def _new_vertices(self, neuron: int, crossed: Integers) -> NewVertices:
        """Return the cuts of the given edges; a cut's new zero takes the place of the one left."""
        v = self.vertices
        a, b, leaves, _ = self._edges.now.take(crossed, axis=1)
        zeros = v.zeros.take(a, axis=1)
        zeros[leaves, np.arange(len(a))] = neuron
        positive = v.positive.take(a, axis=1) | v.positive.take(b, axis=1)
        zero = v.zero.take(a, axis=1) & v.zero.take(b, axis=1)
        pairs, slots = self._segments(positive, zero, zeros, leaves)
        zero |= v.bits[:, neuron : neuron + 1]
        return NewVertices(neuron, (a, b), positive, zero, zeros, leaves, pairs, slots)

    def _segments(
        self, positive: Words, zero: Words, zeros: Integers, leaves: Integers
    ) -> tuple[Integers, Integers]:
        """Match the cut edges of each polygon: which they are, and the zeros left, ``(2, P)``.

        The polygons around an edge are those in which one of its zeros has a sign instead.
        """
        slot, edge = np.nonzero(np.arange(len(zeros))[:, None] != leaves)
        left = zeros[slot, edge]
        bits, below = self.vertices.bits.take(left, axis=1), positive.take(edge, axis=1)
        rest = zero.take(edge, axis=1) ^ bits
        sides = [np.flatnonzero(there) for there in self.vertices.sides.take(left, axis=1)]
        faces = (np.concatenate([below, rest]), np.concatenate([below | bits, rest]))
        words = np.concatenate(
            [f.take(s, axis=1) for f, s in zip(faces, sides, strict=True)], axis=1
        )
        which = np.concatenate(sides)[paired(words, self.vertices.values.products.sorted_by)]
        return edge[which], slot[which]

    def _new_facets(self, first: int, new: NewVertices) -> int:
        """Count the facets on the new hyperplane, one per lowest vertex: each cut a cell in two."""
        d, count = new.zeros.shape
        index = np.arange(new.pairs.shape[1])
        low = np.where(self.vertices.rises(*(first + new.pairs)), 0, 1)
        edges = new.slots[low, index] * count + new.pairs[low, index]
        ups = np.bincount(edges, minlength=d * count).reshape(d, count)
        ups[new.leaves, np.arange(count)] = 1
        return int(np.prod(ups, axis=0).sum())
