"""Partial cells in arrays: one *lane* is a partial cell with a vertex of it and its edges."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np

from wdaverify.arrays import Bools, Floats, Integers

__all__ = ["FREE", "Lanes", "Move", "pivot"]

FREE = -1
"""Stands in the basis for a direction that no row has tied yet (unbounded supports)."""


@dataclass(slots=True)
class Lanes:
    """``B`` partial cells of one layer; every array has ``B`` rows.

    Rows are numbered support first, then neurons; the *slack* of a row is ``factor`` times its
    raw value (see :class:`~wdaverify.cells.dictionary.model.Model`), not negative on the cell.
    """

    pattern: Bools
    """Sides decided so far, ``(B, H)``."""
    flat: Bools
    """Neurons that are identically zero on the cell, ``(B, H)``."""
    todo: Bools
    """Neurons of this layer still to be decided, ``(B, H)``."""
    factor: Floats
    """Side and scale of the rows that bound the cell, 0 for the others, ``(B, S + H)``."""
    slope: Floats
    """Slopes of the neurons of the layers before, ``(B, H)``."""
    basis: Integers
    """Rows through the vertex, or ``FREE``, ``(B, d)``."""
    edges: Floats
    """Unit directions that leave one of these rows each and stay on the others, ``(B, d, d)``."""
    rate: Floats
    """Growth of the slack of the row that an edge leaves, ``(B, d)``."""
    vertex: Floats
    """``(B, d)``."""
    point: Floats
    """A point inside, not verified, ``(B, d)``."""
    values: Floats
    """Pre-activations of this layer at the point, ``(B, width)``."""
    neuron: Integers
    """The neuron under test, −1 when the layer is complete, ``(B,)``."""
    side: Floats
    """The side (±1) on which the vertex lies, ``(B,)``."""
    row: Floats
    """Gradient of the neuron under test, ``(B, d)``."""
    norm: Floats
    """Its length, ``(B,)``."""
    steps: Integers
    """Pivots of this test so far, ``(B,)``."""
    hard: Bools
    """Left to exact arithmetic with all that lies below, ``(B,)``."""

    def __len__(self) -> int:
        return len(self.neuron)

    def take(self, index: Integers | slice) -> "Lanes":
        """Return a copy of some lanes (a view for a slice)."""
        return Lanes(*(getattr(self, name)[index] for name in NAMES))

    def put(self, index: Integers, others: "Lanes") -> None:
        """Overwrite lanes."""
        for name in NAMES:
            getattr(self, name)[index] = getattr(others, name)

    @staticmethod
    def join(parts: Sequence["Lanes"]) -> "Lanes":
        """Concatenate."""
        if len(parts) == 1:
            return parts[0]
        return Lanes(*(np.concatenate([getattr(p, name) for p in parts]) for name in NAMES))


NAMES = tuple(field.name for field in fields(Lanes))


class Move(NamedTuple):
    """Steps along edges, one for each of several lanes."""

    column: Integers
    """Which edge, ``(B,)``."""
    along: Floats
    """Its direction (a free one may be reversed), ``(B, d)``."""
    step: Floats
    """How far, ``(B,)``."""

    def take(self, index: Integers) -> "Move":
        """Return some of them."""
        return Move(self.column[index], self.along[index], self.step[index])


def pivot(
    lanes: Lanes,
    index: Integers,
    move: Move,
    rows: Integers,
    gradient: Floats,
    *,
    turn: float = -1.0,
) -> None:
    """Move along edges to rows that become part of the basis.

    Parameters
    ----------
    index
        Which lanes.
    rows
        The rows that the moves run into, ``(len(index),)``.
    gradient
        Change of the slack of the row along every edge, up to its sign, ``(len(index), d)``.
    turn
        −1 to look back from the row, 1 to look beyond it.
    """
    column, along, step = move
    every = np.arange(len(index))
    edges, rate = lanes.edges[index], lanes.rate[index]
    same = np.einsum("bi,bi->b", edges[every, column], along) > 0
    reached = np.where(same, 1.0, -1.0) * gradient[every, column]
    edges -= (gradient / reached[:, None])[:, :, None] * along[:, None, :]
    edges[every, column] = turn * along
    length = np.sqrt(np.einsum("bji,bji->bj", edges, edges))
    edges /= length[:, :, None]
    rate /= length
    rate[every, column] = np.abs(reached)
    lanes.edges[index], lanes.rate[index] = edges, rate
    lanes.vertex[index] += step[:, None] * along
    lanes.basis[index, column] = rows
