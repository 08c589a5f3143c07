r"""Enumeration of the activation cells that meet the support with full dimension.

Depth first, neuron by neuron: a partial cell :math:`P` (signs of the first neurons) is split by
the next neuron :math:`w\cdot u + b` exactly when its maximum over :math:`P` is positive and its
minimum negative (:mod:`~wdaverify.cells.splitting`). A neuron that is identically zero on a cell
counts as off.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from wdaverify.arrays import Bools, Floats
from wdaverify.cells.frame import Frame
from wdaverify.cells.splitting import CellSearch
from wdaverify.limits import Limits
from wdaverify.network import ReLUNetwork

__all__ = ["Found", "cells_of"]


class Found(NamedTuple):
    """A cell as the enumeration hands it on."""

    pattern: Bools
    """Which neurons are on, ``(neurons,)``."""
    cuts: Bools
    """Neurons whose half-spaces, with the support, describe the cell, ``(neurons,)``."""
    interior: Floats
    """A point inside, in the coordinates of the frame, ``(d,)``."""


def cells_of(
    network: ReLUNetwork,
    frame: Frame,
    *,
    limits: Limits | None = None,
    progress: Callable[[int], None] | None = None,
) -> Iterator[Found]:
    """Yield every cell once, in a fixed order.

    Raises
    ------
    LimitReached
        More cells, time or memory than ``limits`` allow.
    EnumerationError
        Floating point and exact arithmetic contradict each other: a defect.
    """
    search = CellSearch(network, frame)
    limits = limits or Limits()
    count = 0
    stack = [search.root()]
    while stack:
        limits.check("enumerating cells", count)
        partial = stack.pop()
        children = search.descend(partial)
        stack.extend(reversed(children))
        if not children:
            count += 1
            limits.check("enumerating cells", count)
            cuts = np.zeros(network.neurons, dtype=bool)
            cuts[partial.path] = True
            if progress is not None:
                progress(count)
            yield Found(partial.pattern, cuts, partial.points[0])
