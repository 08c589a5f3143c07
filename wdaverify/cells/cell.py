"""Activation cells, made from their patterns when they are asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np

from wdaverify.arrays import Bools, Floats
from wdaverify.cells.block import Block
from wdaverify.cells.decision import ExactCells
from wdaverify.cells.frame import Frame, unit_rows
from wdaverify.network import AffineMap, ReLUNetwork

__all__ = ["CANCELLED", "Cell", "HalfSpaces", "Listing"]

CANCELLED = 1e-7
"""A row this much smaller than its summands is recomputed over the rationals."""

KEPT = 20_000
"""Cells that are kept once made."""

CHUNK = 4_000_000
"""Numbers in one batch of affine maps."""


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """A full-dimensional polyhedron on which the network is affine.

    Attributes
    ----------
    pattern
        Which neurons are on, ``(neurons,)``; one that is identically zero here counts as off.
    cuts
        Neurons whose half-spaces, together with the support, describe the cell, ``(neurons,)``.
    interior
        A point inside, ``(n,)``.
    half_spaces
        ``matrix x <= offset`` of the cuts, rows of unit length, without the support's own rows.
    affine_map
        The logits on this cell, matrix ``(K, n)``.
    """

    pattern: Bools
    cuts: Bools
    interior: Floats
    half_spaces: AffineMap
    affine_map: AffineMap

    def contains(self, points: Floats, tolerance: float = 0.0) -> Bools:
        """Whether points of the support lie in the closed cell: ``(N, n) -> (N,)``."""
        G, h = self.half_spaces
        inside: Bools = np.all(points @ G.T <= h + tolerance, axis=-1)
        return inside


class Listing(Sequence[Cell]):
    """Cells as arrays; a cell's half-spaces and affine map are made when it is looked at.

    Attributes
    ----------
    found
        Patterns, cuts and interior points (frame coordinates) of all cells.
    """

    def __init__(self, network: ReLUNetwork, frame: Frame, found: Block) -> None:
        self.network, self.frame, self.found = network, frame, found
        self._rows = HalfSpaces(network, frame)
        self._kept: dict[int, Cell] = {}

    def __len__(self) -> int:
        return len(self.found.patterns)

    @overload
    def __getitem__(self, index: int) -> Cell: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Cell]: ...
    def __getitem__(self, index: int | slice) -> Cell | Sequence[Cell]:
        if isinstance(index, slice):
            return Listing(self.network, self.frame, self.found.at(index))
        index = range(len(self))[index]
        if index not in self._kept:
            if len(self._kept) >= KEPT:
                self._kept.clear()
            self._kept[index] = self._made(index)
        return self._kept[index]

    def logit_maps(self) -> AffineMap:
        """Return the logits on every cell, ``(cells, K, n)`` and ``(cells, K)``."""
        network, patterns = self.network, self.found.patterns
        J = np.empty((len(self), network.classes, network.features))
        c = np.empty((len(self), network.classes))
        step = max(1, CHUNK // (network.features * max(1, network.neurons)))
        for start in range(0, len(self), step):
            part = slice(start, start + step)
            J[part], c[part] = network.affine_maps(patterns[part])[1]
        return AffineMap(J, c)

    def _made(self, index: int) -> Cell:
        pattern, cuts, interior = (part[index] for part in self.found[:3])
        hidden, logits = self.network.affine_maps(pattern)
        half_spaces = self._rows.of(pattern, cuts, hidden)
        return Cell(pattern, cuts, self.frame.points(interior), half_spaces, logits)


class HalfSpaces:
    """Half-spaces of cells, with rows that cancel recomputed over the rationals."""

    def __init__(self, network: ReLUNetwork, frame: Frame) -> None:
        identity = Frame(
            frame.origin * 0, np.diag([f + 1 for f in frame.origin * 0]), frame.matrix, frame.bound,
            frame.interior,
        )  # fmt: skip
        self._exact = ExactCells(network, identity)
        summands = [np.abs(W).sum(axis=1) for W in network.weights[:-1]]
        summands[:1] = [np.zeros(len(W)) for W in network.weights[:-1][:1]]  # nothing cancels
        self._summands = np.concatenate(summands) if summands else np.zeros(0)

    def of(self, pattern: Bools, cuts: Bools, hidden: AffineMap) -> AffineMap:
        """Return the half-spaces of the cuts, from the pre-activations of all neurons."""
        index = np.flatnonzero(cuts)
        sign = np.where(pattern[index], -1.0, 1.0)
        J, c = hidden.matrix[index].copy(), hidden.offset[index].copy()
        for r in np.flatnonzero(np.abs(J).sum(axis=1) <= CANCELLED * self._summands[index]):
            J[r], c[r] = self._exact.float_row(int(index[r]), pattern)
        J, c = unit_rows(J, c)
        return AffineMap(sign[:, None] * J, -sign * c)
