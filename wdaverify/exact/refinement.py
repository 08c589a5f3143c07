r"""Pieces that are replaced by better ones, with their cuts.

A cut of a piece bounds what replaces it too: the same line, a smaller set, a smaller function. So
pieces form a tree, cuts stay with the node they were found at, and a leaf is bounded by the least
cut of its ancestors.
"""

from typing import Any

import numpy as np

from wdaverify.arrays import Floats, Integers
from wdaverify.exact.cuts import Cut, CutPool
from wdaverify.exact.penalty import Penalty
from wdaverify.exact.pieces import Pieces
from wdaverify.norms import GroundNorm

__all__ = ["Columns", "CutTree"]

CHUNK = 4_000_000
"""Numbers in one block of lines."""


class CutTree(CutPool):
    """Cuts of pieces that may be replaced: columns of retired ones are ``-inf``.

    Attributes
    ----------
    parents
        The piece that each piece came from, ``-1`` at first.
    """

    def __init__(self, pieces: Pieces, norm: GroundNorm) -> None:
        super().__init__(pieces, norm)
        self.norm = norm
        self.parents = np.full(len(pieces), -1)
        self.retired = np.zeros(len(pieces), dtype=bool)

    @property
    def split(self) -> bool:
        """Whether any piece was replaced by parts."""
        return bool(self.retired.any())

    def replace(self, piece: int, gradients: Floats, offsets: Floats) -> None:
        """Retire a piece in favour of others with the majorants ``(C, n)`` and ``(C,)``."""
        count = len(offsets)
        self.retired[piece] = True
        self.retired = np.append(self.retired, np.zeros(count, dtype=bool))
        self.parents = np.append(self.parents, np.full(count, piece))
        steepness = self.norm.dual_length(gradients)
        self._sizes = np.append(self._sizes, steepness)
        self.gradients = np.concatenate([self.gradients, gradients])
        self.offsets = np.append(self.offsets, offsets)
        self.steepness = np.append(self.steepness, steepness)
        self.owners = np.append(self.owners, np.arange(self.size, self.size + count))
        self.size += count

    def improve(self, piece: int, gradient: Floats, offset: float) -> None:
        """Add a second majorant of a piece."""
        steepness = float(self.norm.dual_length(gradient))
        self.add(piece, Cut(gradient, offset, steepness))

    def bounds(self, points: Floats, penalty: Penalty, reach: Floats) -> Floats:  # noqa: D102
        order = np.argsort(self.owners, kind="stable")
        starts = np.searchsorted(self.owners[order], np.arange(self.size))
        table = np.empty((len(points), self.size))
        step = max(1, CHUNK // max(1, len(order)))
        for k in range(0, len(points), step):
            lines = self.lines(points[k : k + step], order, penalty, reach[k : k + step])
            np.minimum.reduceat(lines, starts, axis=1, out=table[k : k + step])
        for piece, cut in self._barriers:
            table[self.excluded(cut, points, reach), piece] = -np.inf
        for piece in np.flatnonzero(self.parents >= 0).tolist():  # parents come first
            np.minimum(table[:, piece], table[:, self.parents[piece]], out=table[:, piece])
        table[:, self.retired] = -np.inf
        return table

    def lines(self, points: Floats, cuts: Integers, penalty: Penalty, reach: Floats) -> Floats:
        """Evaluate some cuts on samples, ``(N, C)``: linear prices in one product."""
        if (penalty.order > 1 and penalty.multiplier > 0) or not np.isfinite(reach).all():
            return super().lines(points, cuts, penalty, reach)
        steepness, size = self.steepness[cuts], self._sizes[self.owners[cuts]]
        excess = penalty.best(0.0, steepness, 1.0, size)
        lines = np.column_stack([points, reach]) @ np.column_stack([self.gradients[cuts], excess]).T
        lines += self.offsets[cuts]
        return np.asarray(lines)


class Columns:
    """A table ``(N, P)`` that gets more columns."""

    def __init__(self, table: Any) -> None:  # noqa: ANN401
        self._room, self.shape = table, table.shape

    @property
    def array(self) -> Any:  # noqa: ANN401
        """The table, writable."""
        return self._room[:, : self.shape[1]]

    def append(self, more: Any) -> None:  # noqa: ANN401
        """Append columns."""
        start, stop = self.shape[1], self.shape[1] + more.shape[1]
        if stop > self._room.shape[1]:
            room = np.empty((self.shape[0], 2 * stop), dtype=more.dtype)
            room[:, :start] = self.array
            self._room = room
        self._room[:, start:stop] = more
        self.shape = (self.shape[0], stop)
