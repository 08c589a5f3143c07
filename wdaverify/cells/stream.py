"""Which enumeration lists the cells, and the stream of what it finds."""

from collections.abc import Callable, Iterator

import numpy as np

from wdaverify.cells.block import Block
from wdaverify.cells.dictionary.search import dictionary_blocks
from wdaverify.cells.frame import Frame
from wdaverify.cells.subdivision.subdivide import DegenerateArrangement, subdivision_blocks
from wdaverify.limits import Limits
from wdaverify.network import ReLUNetwork

__all__ = ["cell_blocks"]

LOW = 6
"""Dimensions up to which vertices are few enough to be kept (measured)."""


def cell_blocks(
    network: ReLUNetwork,
    frame: Frame,
    *,
    limits: Limits | None = None,
    progress: Callable[[int], None] | None = None,
) -> Iterator[Block]:
    """Yield every cell once, in blocks, in a fixed order; nothing is kept.

    Vertices and edges are subdivided in low dimension on a bounded support; elsewhere, and for
    arrangements that are not simple, every cell carries a simplex dictionary.

    Raises
    ------
    LimitReached
        More cells, time or memory than ``limits`` allow.
    """
    pending: tuple[dict[int, bool], ...] = ({},)
    if frame.dimension <= LOW:
        try:
            yield from subdivision_blocks(network, frame, limits=limits, progress=progress)
        except DegenerateArrangement as refusal:
            pending = refusal.pending
        else:
            return
    for block in dictionary_blocks(network, frame, limits=limits, progress=progress):
        missing = np.zeros(len(block.patterns), dtype=bool)
        for signs in pending:
            neurons = list(signs)
            missing |= (block.patterns[:, neurons] == list(signs.values())).all(axis=1)
        if missing.any():
            yield block.at(missing)
