"""The split tree of a list of cells, layer by layer, the same for every label and sample.

A node splits at a neuron of which its cells have both signs, as evenly as possible. Where they have
only one, a lemma decides the neuron at once, as high in the tree as it can be.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from wdaverify.arrays import Bools, Floats, Integers
from wdaverify.cells.complex import CellComplex
from wdaverify.limits import Limits
from wdaverify.proof.lemmas import Geometry, Multipliers, Row

__all__ = ["Branch", "Lemma", "Skeleton"]


KEPT = 2000
"""Affine maps of cells that are kept."""


class Lemma(NamedTuple):
    """``neuron`` is on (off) at a node."""

    neuron: int
    on: bool
    multipliers: Multipliers


class Branch(NamedTuple):
    """A node: its lemmas, the neuron it splits at (-1 at a leaf) and the cell of a leaf.

    ``above`` is the row that the split above imposes.
    """

    lemmas: list[Lemma]
    split: int
    cell: int
    above: Row | None
    size: int
    """Nodes of the subtree."""


class _Pending(NamedTuple):
    """A node still to be made: its cells, layer, decided neurons and rows."""

    cells: Integers
    layer: int
    decided: Bools
    rows: list[Row]
    above: Row | None


class Skeleton:
    """The tree as a list in preorder.

    Parameters
    ----------
    cells
        What the engine enumerated; a missing cell is noticed by a lemma.

    Raises
    ------
    SolverError
        A cell is missing.
    """

    def __init__(self, geometry: Geometry, cells: CellComplex, limits: Limits) -> None:
        self.geometry, self.cells, self.limits = geometry, cells, limits
        self.patterns = cells.patterns
        self.linear = cells.network.linear
        self.interiors = cells.interiors
        self._maps: dict[int, tuple[Floats, Floats]] = {}
        self.branches: list[Branch] = []
        self._build()

    def _build(self) -> None:
        start = _Pending(np.arange(len(self.cells)), 0, self.linear.copy(), [], None)
        pending, made = [start], self.branches
        while pending:
            self.limits.check("writing the proof")
            self.limits.report(f"{len(made):,} nodes of the tree")
            node = pending.pop()
            branch, children = self._node(node)
            made.append(branch)
            pending += reversed(children)
        sizes = np.ones(len(made), dtype=np.int64)
        stack: list[int] = []
        for k in reversed(range(len(made))):
            if made[k].split >= 0:
                off, on = stack.pop(), stack.pop()
                sizes[k] += sizes[off] + sizes[on]
            stack.append(k)
            made[k] = made[k]._replace(size=int(sizes[k]))

    def _node(self, node: _Pending) -> tuple[Branch, list[_Pending]]:
        """Decide what all cells agree on, then split where they do not."""
        starts, lemmas = self.geometry.starts, []
        decided, layer = node.decided.copy(), node.layer
        program = None
        while layer < len(starts) - 1:
            here = np.arange(starts[layer], starts[layer + 1])
            open_ = here[~decided[here]]
            shares = self.patterns[np.ix_(node.cells, open_)].mean(axis=0)
            for k, share in zip(open_.tolist(), shares.tolist(), strict=True):
                if 0 < share < 1:
                    continue
                program = program or self.geometry.program(node.rows)
                row = self._row(int(node.cells[0]), k, on=share == 1)
                about = self.patterns[node.cells[0]], self.interiors[node.cells[0]]
                found = self.geometry.lemma(program, node.rows, row, about)
                lemmas.append(Lemma(k, share == 1, found))
                decided[k] = True
            mixed = (shares > 0) & (shares < 1)
            if mixed.any():
                index = np.flatnonzero(mixed)
                k = int(open_[index[np.abs(shares[index] - 0.5).argmin()]])
                return self._split(node, k, layer, decided, lemmas)
            layer += 1
        return Branch(lemmas, -1, int(node.cells[0]), node.above, 1), []

    def _split(
        self, node: _Pending, k: int, layer: int, decided: Bools, lemmas: list[Lemma]
    ) -> tuple[Branch, list[_Pending]]:
        decided = decided.copy()
        decided[k] = True
        on = self.patterns[node.cells, k]
        children = []
        for side in (False, True):
            row = self._row(int(node.cells[0]), k, on=side)
            children.append(
                _Pending(node.cells[on == side], layer, decided, [*node.rows, row], row)
            )
        return Branch(lemmas, k, -1, node.above, 1), children

    def _row(self, cell: int, neuron: int, *, on: bool) -> Row:
        """Return the half-space of a neuron that is on (off), in a cell's layers below it."""
        if cell not in self._maps:
            if len(self._maps) > KEPT:
                self._maps.clear()
            hidden, _ = self.cells.network.affine_maps(self.patterns[cell])
            self._maps[cell] = hidden
        J, c = self._maps[cell]
        sign = -1 if on else 1
        size = float(np.linalg.norm(J[neuron])) or 1.0
        return Row(neuron, sign, sign * J[neuron] / size, float(-sign * c[neuron] / size), size)

    def facets(self, cell: int) -> list[Row]:
        """Return the rows that, with the support, describe a cell."""
        pattern = self.patterns[cell]
        cuts = np.flatnonzero(self.cells.cuts[cell]).tolist()
        return [self._row(cell, k, on=bool(pattern[k])) for k in cuts]

    def __iter__(self) -> Iterator[Branch]:
        return iter(self.branches)
