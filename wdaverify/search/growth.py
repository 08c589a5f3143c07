"""How the trees of a search grew: leaves in the order of a walk, with the splits between them."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from wdaverify.errors import LimitReached
from wdaverify.search.nodes import Nodes

__all__ = ["Step", "walks"]


class Step(NamedTuple):
    """A place of a tree: a split at ``neuron``, the part below 0 first, or a leaf's ``row``."""

    neuron: int | None
    row: int


def walks(nodes: Nodes) -> Iterator[tuple[int, Iterator[Step]]]:
    """Yield the row of every root with the steps of its tree in preorder.

    Raises
    ------
    LimitReached
        Nodes were forgotten for want of memory.
    """
    if nodes.history is None:
        raise LimitReached("memory: nodes of the search were forgotten, their trees are not known")
    forks: dict[int, tuple[int, int, int]] = {}
    place = {row: row for row in range(nodes.count)}
    roots, fresh = set(range(nodes.count)), nodes.count
    for rows, neurons, twins in nodes.history:
        for row, neuron, twin in np.stack([rows, neurons, twins], axis=1).tolist():
            forks[place[row]] = (neuron, fresh, fresh + 1)
            place[twin], place[row] = fresh, fresh + 1
            fresh += 2
            roots.discard(twin)
    row_of = {at: row for row, at in place.items()}
    for root in sorted(roots):
        yield root, _preorder(root, forks, row_of)


def _preorder(
    root: int, forks: dict[int, tuple[int, int, int]], row_of: dict[int, int]
) -> Iterator[Step]:
    stack = [root]
    while stack:
        at = stack.pop()
        if at in forks:
            neuron, off, on = forks[at]
            stack += [on, off]
            yield Step(neuron, -1)
        else:
            yield Step(None, row_of[at])
