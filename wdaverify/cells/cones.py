r"""Networks without biases: their cells are cones, found on two slices of one dimension less.

With all biases zero and the origin inside the support every cell is a cone with full dimension. It
meets :math:`x_j > 0` or :math:`x_j < 0`, and so one of the slices :math:`x_j = \pm 1`, where the
network is one of ``d − 1`` inputs with the biases :math:`\pm W_{\cdot j}`: in general position, if
the weights are. All hyperplanes go through the origin, which is as degenerate as it gets; on the
slices nothing is left of it. A cell found on both slices has the facets of both. What a slice
cannot see is a facet on :math:`x_j = 0`: a neuron that is constant along the slice is added.
"""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from wdaverify.arrays import Bools, Floats
from wdaverify.cells.block import Block
from wdaverify.cells.cell import CANCELLED
from wdaverify.cells.decision import ExactCells
from wdaverify.cells.frame import Frame
from wdaverify.errors import EnumerationError
from wdaverify.limits import Limits
from wdaverify.network import ReLUNetwork

__all__ = ["cone_blocks", "is_central", "sliced_network"]

AXIS = -1
"""The coordinate that is ``±1`` on the slices."""

STEEP = 1e-9
"""A neuron that changes less than this along a slice, relative to across it, may be parallel."""

Lister = Callable[[ReLUNetwork], Iterator[Block]]
"""Enumerates the cells of a network on its whole space."""


def is_central(network: ReLUNetwork, frame: Frame) -> bool:
    """Whether all cells are cones and slices are exact in float64."""
    d = frame.dimension
    plain = np.count_nonzero(frame.basis) == d and np.all(frame.basis.sum(axis=0) == 1)
    return bool(
        d >= 2
        and network.neurons > 0
        and plain
        and not frame.origin.any()
        and not any(b.any() for b in network.biases[:-1])
        and np.all(frame.bound > 0)
    )


def sliced_network(network: ReLUNetwork, frame: Frame, side: float) -> ReLUNetwork:
    """Return the network on a slice of the coordinates of a frame."""
    columns = np.flatnonzero(frame.basis.any(axis=1))
    columns = columns[np.argsort([int(np.flatnonzero(frame.basis[k])[0]) for k in columns])]
    W = network.weights[0][:, columns]
    biases = [side * W[:, AXIS], *network.biases[1:]]
    return ReLUNetwork([W[:, :AXIS], *network.weights[1:]], biases, network.slopes)


def cone_blocks(
    network: ReLUNetwork, frame: Frame, cells_of: Lister, limits: Limits
) -> Iterator[Block]:
    """Yield every cell once, in blocks, in a fixed order; about half of them are kept, packed.

    Raises
    ------
    LimitReached
        More cells, time or memory than ``limits`` allow.
    """
    cones = _Cones(network, frame)
    waiting = _Waiting(network.neurons, frame.dimension)
    for block in cells_of(sliced_network(network, frame, -1.0)):
        waiting.add(cones.block(block, -1.0))
    count = 0
    for block in cells_of(sliced_network(network, frame, 1.0)):
        found = cones.block(block, 1.0)
        met = waiting.meet(found)
        found.cuts[~met] |= cones.unseen(found.patterns[~met])
        count += len(met)
        limits.check("enumerating cells", count)
        yield found
    for block in waiting.rest():
        block.cuts[:] |= cones.unseen(block.patterns)
        count += len(block.patterns)
        limits.check("enumerating cells", count)
        yield block


class _Cones:
    def __init__(self, network: ReLUNetwork, frame: Frame) -> None:
        self.network, self.frame = network, frame
        self.exact = ExactCells(network, frame)
        self.basis = frame.basis.astype(np.float64)
        self.matrix = np.abs(frame.matrix.astype(np.float64))
        self.bound = frame.bound.astype(np.float64)

    def block(self, block: Block, side: float) -> Block:
        """Return cells of a slice as cones, with points inside the support."""
        count = len(block.patterns)
        across = np.full((count, 1), side)
        points = np.concatenate([block.interiors, across], axis=1)
        exponent = np.zeros(count, dtype=int)
        if len(self.bound):
            sizes = points.__abs__() @ self.matrix.T
            with np.errstate(over="ignore"):
                share = np.minimum(1.0, (self.bound / (4 * sizes + 1e-300)).min(axis=1))
            exponent = np.frexp(share)[1] - 1
        inside = np.ldexp(points, exponent[:, None])
        exactly = (np.ldexp(inside, -exponent[:, None]) == points).all(axis=1)
        for k in np.flatnonzero(~exactly):
            path = np.flatnonzero(block.cuts[k]).tolist()
            point = self.exact.interior(path, block.patterns[k])
            if point is None:
                raise EnumerationError("a cone of a slice has no interior: a defect")
            inside[k] = point
        return Block(block.patterns, block.cuts.copy(), inside)

    def unseen(self, patterns: Bools) -> Bools:
        """Return the first neuron, if any, whose hyperplane is ``x_j = 0``, ``(B, neurons)``."""
        cuts = np.zeros(patterns.shape, dtype=bool)
        for start in range(0, len(patterns), 1024):
            part = patterns[start : start + 1024]
            rows = np.abs(self.network.affine_maps(part)[0].matrix @ self.basis)
            along, size = rows[:, :, :AXIS].max(axis=2), rows.max(axis=2)
            tiny = size <= CANCELLED * self.summands
            for k, h in np.argwhere((along <= STEEP * size) | tiny).tolist():
                if self.network.linear[h] or cuts[start + k].any():
                    continue
                w, _ = self.exact.row(h, part[k])
                cuts[start + k, h] = not np.any(w[:AXIS]) and w[AXIS] != 0
        return cuts

    @property
    def summands(self) -> Floats:
        """Bounds of the summands of gradients, ``(neurons,)``."""
        size = np.abs(self.network.weights[0]).sum(axis=1)
        sizes = [size]
        pairs = zip(self.network.weights[1:-1], self.network.slopes, strict=False)
        for W, slope in pairs:
            size = np.abs(W) @ (np.maximum(1.0, np.abs(slope)) * size)
            sizes.append(size)
        return np.concatenate(sizes)


class _Waiting:
    """Cells of the first slice, packed, until the second slice has met them."""

    def __init__(self, neurons: int, dimension: int) -> None:
        self.neurons, self.dimension = neurons, dimension
        self._places: dict[bytes, tuple[int, int]] = {}
        self._blocks: list[tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], Floats]] = []

    def add(self, block: Block) -> None:
        """Keep the cells of a block."""
        packed = np.packbits(block.patterns, axis=1)
        for k, row in enumerate(packed):
            self._places[row.tobytes()] = len(self._blocks), k
        self._blocks.append((packed, np.packbits(block.cuts, axis=1), block.interiors))

    def meet(self, block: Block) -> Bools:
        """Add the cuts of kept cells to the same cells in ``block``; return which these are."""
        met = np.zeros(len(block.patterns), dtype=bool)
        for k, row in enumerate(np.packbits(block.patterns, axis=1)):
            place = self._places.pop(row.tobytes(), None)
            if place is not None:
                met[k] = True
                cuts = self._blocks[place[0]][1][place[1]]
                block.cuts[k] |= np.unpackbits(cuts, count=self.neurons).view(np.bool_)
        return met

    def rest(self) -> Iterator[Block]:
        """Yield the cells that were not met."""
        chosen: dict[int, list[int]] = {}
        for number, k in self._places.values():
            chosen.setdefault(number, []).append(k)
        for number, index in sorted(chosen.items()):
            patterns, cuts, interiors = self._blocks[number]
            whole = [np.unpackbits(v[index], axis=1, count=self.neurons) for v in (patterns, cuts)]
            yield Block(whole[0].view(np.bool_), whole[1].view(np.bool_), interiors[index])
