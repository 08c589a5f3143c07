"""The complex of cells: what an enumeration found, and everything that can be asked of it."""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, overload

import numpy as np

from wdaverify.arrays import Bools, Floats
from wdaverify.cells.block import Block
from wdaverify.cells.boundedness import bounded_cells
from wdaverify.cells.cell import Cell, Listing
from wdaverify.cells.frame import Frame, frame_of
from wdaverify.cells.stream import cell_blocks
from wdaverify.limits import Limits
from wdaverify.network import AffineMap, ReLUNetwork
from wdaverify.support import Box, Support

if TYPE_CHECKING:
    import networkx as nx
from wdaverify.workers.placing import workers_of

__all__ = ["Cell", "CellComplex", "enumerate_cells"]


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
        self._cells = cells

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
        if isinstance(self._cells, Listing):
            return self._cells.found.patterns
        patterns = np.array([cell.pattern for cell in self._cells], dtype=bool)
        return patterns.reshape(len(self), self.network.neurons)

    @cached_property
    def cuts(self) -> Bools:
        """Neurons whose half-spaces, with the support, describe each cell, ``(cells, neurons)``."""
        if isinstance(self._cells, Listing):
            return self._cells.found.cuts
        cuts = np.array([cell.cuts for cell in self._cells], dtype=bool)
        return cuts.reshape(len(self), self.network.neurons)

    @cached_property
    def interiors(self) -> Floats:
        """A point inside each cell, ``(cells, n)``."""
        if isinstance(self._cells, Listing):
            return self.frame.points(self._cells.found.interiors)
        return np.array([cell.interior for cell in self._cells])

    @cached_property
    def logit_maps(self) -> AffineMap:
        """The logits on every cell: matrices ``(cells, K, n)``, offsets ``(cells, K)``."""
        if isinstance(self._cells, Listing):
            return self._cells.logit_maps()
        maps = [cell.affine_map for cell in self._cells]
        return AffineMap(np.array([m.matrix for m in maps]), np.array([m.offset for m in maps]))

    @cached_property
    def bounded(self) -> Bools:
        """Whether each cell (intersected with the support) is bounded, ``(cells,)``."""
        if isinstance(self._cells, Listing) and self._cells.found.bounded is not None:
            return self._cells.found.bounded
        if not len(self):
            return np.zeros(0, dtype=bool)
        return bounded_cells(self.network, self.frame, self.patterns, self.cuts)

    @cached_property
    def graph(self) -> "nx.Graph":
        """Adjacency graph: nodes are cell indices, edges join cells that share a facet."""
        from wdaverify.cells.graph import adjacency  # noqa: PLC0415  (networkx only when asked)

        return adjacency(self)

    def find(self, pattern: Bools) -> int | None:
        """Return the index of the cell with this pattern, ``None`` if there is none."""
        return self._index.get(np.packbits(np.asarray(pattern, dtype=bool)).tobytes())

    def locate(self, points: Floats) -> list[int | None]:
        """Return the cell of each point by its float64 pattern, ``None`` where no cell has it."""
        return [self.find(pattern) for pattern in self.network.patterns(points)]

    @cached_property
    def _index(self) -> dict[bytes, int]:
        packed = np.packbits(self.patterns, axis=1)
        return {row.tobytes(): k for k, row in enumerate(packed)}


def enumerate_cells(
    network: ReLUNetwork,
    support: Support | None = None,
    *,
    limits: Limits | None = None,
    progress: Callable[[int], None] | None = None,
    workers: int | None = None,
    device: str = "cpu",
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
    workers
        Processes that share the work where there is much, see :func:`~wdaverify.exact.solve.solve`;
        the cells and their order are the same.
    device
        Where vertices are evaluated: ``cpu`` or ``cuda``; the cells and their order are the same.

    Raises
    ------
    LimitReached
        A limit was exceeded; the message says what was reached.
    ProblemError
        The support is empty or has another dimension than the network, or there is no such device.
    """
    support = (support or Box()).bind(network.features)
    frame = frame_of(support)
    blocks = cell_blocks(
        network, frame, limits=limits, progress=progress, workers=workers_of(workers),
        device=device,
    )  # fmt: skip
    found = Block.joined(list(blocks))
    return CellComplex(network, support, frame, Listing(network, frame, found))
