"""Which enumeration lists the cells, and the stream of what it finds."""

from collections.abc import Callable, Iterator

import numpy as np

from wdaverify.cells.block import Block
from wdaverify.cells.enumeration import cells_of
from wdaverify.cells.frame import Frame
from wdaverify.limits import Limits
from wdaverify.network import ReLUNetwork

__all__ = ["cell_blocks"]


def cell_blocks(
    network: ReLUNetwork,
    frame: Frame,
    *,
    limits: Limits | None = None,
    progress: Callable[[int], None] | None = None,
) -> Iterator[Block]:
    """Yield every cell once, in blocks, in a fixed order; nothing is kept.

    Raises
    ------
    LimitReached
        More cells, time or memory than ``limits`` allow.
    """
    for found in cells_of(network, frame, limits=limits, progress=progress):
        yield Block(found.pattern[None], found.cuts[None], np.asarray(found.interior)[None])
