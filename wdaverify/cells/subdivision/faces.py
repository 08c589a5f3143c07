r"""Faces of the complex, counted at their lowest vertices.

Order the vertices by a linear objective: a face of a simple complex has its lowest vertex where
all its edges go up, and the edges of a vertex may be combined freely, one direction per zero. With
:math:`u_h(v)` upward edges leaving zero ``h`` at vertex ``v`` there are
:math:`\sum_v \prod_h u_h(v)` cells, and the Euler characteristic, the alternating sum over faces of
all dimensions, is :math:`\sum_v \prod_h (1 - u_h(v))`.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from wdaverify.arrays import Bools
from wdaverify.cells.subdivision.complex import Subdivision
from wdaverify.errors import EnumerationError

__all__ = ["Edges", "edges_of", "halves"]


class Edges(NamedTuple):
    """Edges by vertex, by the zero they leave, and by the side: without the bit, with it."""

    ends: npt.NDArray[np.int32]
    """Their other ends, −1 where there is none, ``(d, 2, V)``."""
    up: Bools
    """Whether they go up, ``(d, 2, V)``."""


def edges_of(c: Subdivision) -> Edges:
    """Return the edges at each vertex.

    Raises
    ------
    DegenerateArrangement
        An edge is level.
    EnumerationError
        The complex is not closed, or its Euler characteristic has changed.
    """
    ends = _ends(c)
    up = np.zeros(ends.shape, dtype=bool)
    for table, flags in zip(_flat(ends), _flat(up), strict=True):
        there = np.flatnonzero(table >= 0)
        flags[there] = c.vertices.rises(there, table[there])
    euler = int(np.prod(1 - up.sum(axis=1, dtype=np.int8), axis=0).sum())
    if euler != c.characteristic:
        raise EnumerationError(
            f"the Euler characteristic of the complex is {euler}, expected {c.characteristic}"
        )
    return Edges(ends, up)


def halves(c: Subdivision, neuron: int) -> tuple[Subdivision, Subdivision]:
    """Return the parts in which a neuron is off and on, both closed; it becomes a wall of them."""
    v, up = c.vertices, edges_of(c).up
    bit = v.bits[neuron // 64, neuron]
    on, wall = (v.positive[neuron // 64] & bit) != 0, (v.zero[neuron // 64] & bit) != 0
    at = v.zeros == neuron
    parts = []
    for above in (False, True):
        keep = wall | (on == above)
        inside = up.compress(keep, axis=2)
        inside[:, 1 - above] &= ~at.compress(keep, axis=1)
        ups = inside.sum(axis=1, dtype=np.int8)
        cells = int(np.prod(ups, axis=0, dtype=np.int64).sum())
        characteristic = int(np.prod(1 - ups, axis=0).sum())
        part = c.part(keep, neuron, above=above)
        part.cells, part.characteristic = cells, characteristic
        parts.append(part)
    if parts[0].cells + parts[1].cells != c.cells:
        raise EnumerationError(f"{c.cells} cells were cut, {[p.cells for p in parts]} were found")
    return parts[0], parts[1]


def _ends(c: Subdivision) -> npt.NDArray[np.int32]:
    v = c.vertices
    table = np.full((len(v.zeros), 2, v.count), -1, dtype=np.int32)
    for this in (0, 1):
        vertex, other, slot = c.ends[this], c.ends[1 - this], c.slots[this]
        left = v.zeros[slot, vertex]
        side = np.zeros(len(left), dtype=np.int8)
        for bits, positive in zip(v.bits, v.positive, strict=True):
            side |= (positive.take(other) & bits.take(left)) != 0
        table[slot, side, vertex] = other
    if np.any((table >= 0) != np.moveaxis(v.sides.take(v.zeros, axis=1), 0, 1)):
        raise EnumerationError("a vertex of the complex has fewer edges than hyperplanes")
    return table


def _flat(table: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return table.reshape(-1, table.shape[-1])
