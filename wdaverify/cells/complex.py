"""The complex of cells: what an enumeration found, and everything that can be asked of it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, overload

import numpy as np

from wdaverify.arrays import Bools, Floats
from wdaverify.cells.decision import ExactCells
from wdaverify.cells.enumeration import CANCELLED, cells_of
from wdaverify.cells.frame import Frame, frame_of, unit_rows
from wdaverify.cells.recession import is_bounded
from wdaverify.limits import Limits
from wdaverify.network import AffineMap, ReLUNetwork
from wdaverify.support import Box, Support

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["Cell", "CellComplex", "enumerate_cells"]


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


class CellComplex(Sequence[Cell]):
    """All activation cells of a network that meet a support with full dimension.

    Attributes
    ----------
    network, support, frame
        What was enumerated; the frame gives coordinates of the affine hull of the support.
    """

    def __init__(
        self, network: ReLUNetwork, support: Support, frame: Frame, cells: Sequence[Cell]
    ) -> None:
        self.network, self.support, self.frame = network, support, frame
        self._cells = tuple(cells)
        self._index = {cell.pattern.tobytes(): k for k, cell in enumerate(self._cells)}

    def __len__(self) -> int:
        return len(self._cells)

    @overload
    def __getitem__(self, index: int) -> Cell: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Cell]: ...
    def __getitem__(self, index: int | slice) -> Cell | Sequence[Cell]:
        return self._cells[index]

    def __iter__(self) -> Iterator[Cell]:
        return iter(self._cells)

    def __repr__(self) -> str:
        return f"CellComplex({len(self)} cells, {self.support.describe()})"

    @cached_property
    def patterns(self) -> Bools:
        """Activation patterns, ``(cells, neurons)``."""
        return np.array([cell.pattern for cell in self._cells]).reshape(len(self), -1)

    @cached_property
    def bounded(self) -> Bools:
        """Whether each cell (intersected with the support) is bounded, ``(cells,)``."""
        support = self.frame.matrix
        if is_bounded(support):
            return np.ones(len(self), dtype=bool)
        exact = ExactCells(self.network, self.frame)
        flags = []
        for cell in self._cells:
            cuts = np.flatnonzero(cell.cuts).tolist()
            rows = [exact.row(k, cell.pattern)[0] for k in cuts]
            signs = [-1 if cell.pattern[k] else 1 for k in cuts]
            matrix = np.array([s * w for s, w in zip(signs, rows, strict=True)], dtype=object)
            shaped = matrix.reshape(len(rows), self.frame.dimension)
            flags.append(is_bounded(np.concatenate([support, shaped])))
        return np.array(flags)

    @cached_property
    def graph(self) -> "nx.Graph":
        """Adjacency graph: nodes are cell indices, edges join cells that share a facet."""
        from wdaverify.cells.graph import adjacency  # noqa: PLC0415  (networkx only when asked)

        return adjacency(self)

    def find(self, pattern: Bools) -> int | None:
        """Return the index of the cell with this pattern, ``None`` if there is none."""
        return self._index.get(np.asarray(pattern, dtype=bool).tobytes())

    def locate(self, points: Floats) -> list[int | None]:
        """Return the cell of each point by its float64 pattern, ``None`` where no cell has it."""
        return [self.find(pattern) for pattern in self.network.patterns(points)]


def enumerate_cells(
    network: ReLUNetwork,
    support: Support | None = None,
    *,
    limits: Limits | None = None,
    progress: Callable[[int], None] | None = None,
) -> CellComplex:
    """Enumerate every activation cell that meets the support with full dimension.

    Parameters
    ----------
    network
        Any :class:`~wdaverify.network.ReLUNetwork`; degenerate ones are decided exactly.
    support
        The whole space when omitted. Constant features and equalities are eliminated first.
    limits
        On cells, time and memory.
    progress
        Called with the number of cells found so far.

    Raises
    ------
    LimitReached
        A limit was exceeded; the message says what was reached.
    ProblemError
        The support is empty or has another dimension than the network.
    """
    support = (support or Box()).bind(network.features)
    frame = frame_of(support)
    found = list(cells_of(network, frame, limits=limits, progress=progress))
    rows = _Rows(network, frame)
    cells = []
    for pattern, cuts, interior in found:
        hidden, logits = network.affine_maps(pattern)
        half_spaces = rows.half_spaces(pattern, cuts, hidden)
        cells.append(Cell(pattern, cuts, frame.points(interior), half_spaces, logits))
    return CellComplex(network, support, frame, cells)


class _Rows:
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

    def half_spaces(self, pattern: Bools, cuts: Bools, hidden: AffineMap) -> AffineMap:
        index = np.flatnonzero(cuts)
        sign = np.where(pattern[index], -1.0, 1.0)
        J, c = hidden.matrix[index].copy(), hidden.offset[index].copy()
        for r in np.flatnonzero(np.abs(J).sum(axis=1) <= CANCELLED * self._summands[index]):
            J[r], c[r] = self._exact.float_row(int(index[r]), pattern)
        J, c = unit_rows(J, c)
        return AffineMap(sign[:, None] * J, -sign * c)
