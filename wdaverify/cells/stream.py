"""Which enumeration lists the cells, and the stream of what it finds."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from wdaverify.cells.block import Block
from wdaverify.cells.bundle import bundle_blocks
from wdaverify.cells.cones import cone_blocks, is_central
from wdaverify.cells.dictionary.search import dictionary_blocks
from wdaverify.cells.frame import Frame, frame_of
from wdaverify.cells.recession import is_bounded
from wdaverify.cells.subdivision.device import products_on
from wdaverify.cells.subdivision.reach import BeyondReach, walled
from wdaverify.cells.subdivision.subdivide import DegenerateArrangement, subdivision_blocks
from wdaverify.cells.subdivision.values import Products
from wdaverify.limits import Limits
from wdaverify.network import ReLUNetwork
from wdaverify.support import Box
from wdaverify.workers.placing import workers_of

__all__ = ["cell_blocks"]

LOW = 6
"""Dimensions up to which vertices are few enough to be kept (measured)."""

WALLS = (2.0**20, 2.0**30)
"""Where the walls of an unbounded support stand, tried in turn."""


@dataclass(frozen=True, slots=True)
class _Means:
    limits: Limits
    progress: Callable[[int], None] | None
    workers: int
    products: Products


def cell_blocks(
    network: ReLUNetwork,
    frame: Frame,
    *,
    limits: Limits | None = None,
    progress: Callable[[int], None] | None = None,
    workers: int | None = 1,
    device: str = "cpu",
) -> Iterator[Block]:
    """Yield every cell once, in blocks, in a fixed order; nothing is kept.

    Vertices and edges are subdivided in low dimension; elsewhere, and for arrangements that are not
    simple, every cell carries a simplex dictionary. Networks without biases are sliced first.

    Parameters
    ----------
    workers
        Processes that share the work where there is much; the cells and their order are the same.
    device
        Where vertices are evaluated: ``cpu`` or ``cuda``; the cells and their order are the same.

    Raises
    ------
    LimitReached
        More cells, time or memory than ``limits`` allow.
    ProblemError
        There is no such device.
    """
    means = _Means(limits or Limits(), progress, workers_of(workers), products_on(device))
    return _cells(network, frame, means)


def _cells(network: ReLUNetwork, frame: Frame, means: _Means) -> Iterator[Block]:
    low = 0 < frame.dimension <= LOW and network.neurons > 0
    if low and is_central(network, frame):
        whole = frame_of(Box().bind(frame.dimension - 1))
        means = replace(means, progress=_rising(means.progress))
        return cone_blocks(network, frame, lambda n: _cells(n, whole, means), means.limits)
    if low and is_bounded(frame.matrix):
        return _bounded(network, frame, means)
    if low:
        return _unbounded(network, frame, means)
    bundle = bundle_blocks(network, frame, means.limits)
    if bundle is not None:
        return _counted(bundle, means.progress)
    return _by_dictionaries(network, frame, means)


def _rising(progress: Callable[[int], None] | None) -> Callable[[int], None] | None:
    """Tell of no smaller count than before."""
    most = 0

    def tell(count: int) -> None:
        nonlocal most
        most = max(most, count)
        if progress is not None:
            progress(most)

    return tell


def _subdivided(network: ReLUNetwork, frame: Frame, means: _Means) -> Iterator[Block]:
    return subdivision_blocks(
        network, frame, limits=means.limits, progress=means.progress,
        workers=means.workers, products=means.products,
    )  # fmt: skip


def _by_dictionaries(network: ReLUNetwork, frame: Frame, means: _Means) -> Iterator[Block]:
    return dictionary_blocks(
        network, frame, limits=means.limits, progress=means.progress, workers=means.workers
    )


def _bounded(network: ReLUNetwork, frame: Frame, means: _Means) -> Iterator[Block]:
    """Yield the cells on a bounded support, those first that subdivision finds."""
    try:
        yield from _subdivided(network, frame, means)
    except DegenerateArrangement as refusal:
        pending = refusal.pending
    else:
        return
    for block in _by_dictionaries(network, frame, means):
        missing = np.zeros(len(block.patterns), dtype=bool)
        for signs in pending:
            neurons = list(signs)
            missing |= (block.patterns[:, neurons] == list(signs.values())).all(axis=1)
        if missing.any():
            yield block.at(missing)


def _counted(blocks: Iterator[Block], progress: Callable[[int], None] | None) -> Iterator[Block]:
    """Yield blocks, and tell how many cells there were so far."""
    count = 0
    for block in blocks:
        count += len(block.patterns)
        if progress is not None:
            progress(count)
        yield block


def _unbounded(network: ReLUNetwork, frame: Frame, means: _Means) -> Iterator[Block]:
    """Yield the cells on an unbounded support, those first that lie within walls.

    An attempt may fail after some parts: the cells of these are right and are not yielded again.
    """
    seen = _Seen()
    for factor in WALLS:
        try:
            for block in _subdivided(network, walled(network, frame, factor), means):
                yield from seen.new(block)
        except BeyondReach:
            seen.remember()
        except DegenerateArrangement:
            seen.remember()
            break
        else:
            return
    for block in _by_dictionaries(network, frame, means):
        yield from seen.new(block)


class _Seen:
    """Patterns of the cells that were yielded, packed."""

    def __init__(self) -> None:
        self._packed: list[npt.NDArray[np.uint8]] = []
        self._known: set[bytes] = set()

    def remember(self) -> None:
        """Leave out from now on what was yielded until now."""
        for packed in self._packed:
            self._known.update(row.tobytes() for row in packed)
        self._packed.clear()

    def new(self, block: Block) -> Iterator[Block]:
        """Yield what was not yielded before :meth:`remember`."""
        packed = np.packbits(block.patterns, axis=1)
        if self._known:
            fresh = np.array([row.tobytes() not in self._known for row in packed], dtype=bool)
            block, packed = block.at(fresh), packed[fresh]
        if len(packed):
            self._packed.append(packed)
            yield block
