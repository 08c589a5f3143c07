"""Orders of the logits, for each of which the difference-of-logits ratio is one formula."""

import itertools
from typing import NamedTuple

import numpy as np

__all__ = ["Branch", "branches_of", "tie"]


class Branch(NamedTuple):
    """An order of the logits: ``z_j <= z_k`` for each pair, and the ratio it leads to.

    ``numerator (i, j)`` means ``z_i − z_j``; ``None`` where the loss is constant.
    """

    pairs: tuple[tuple[int, int], ...]
    lowest: float
    highest: float
    numerator: tuple[int, int] | None = None
    denominator: tuple[int, int] = (0, 0)
    tops: tuple[int, ...] = ()


def branches_of(classes: int, label: int, *, bounded: bool) -> list[Branch]:
    """Return the orders of the logits that matter, which together cover every case."""
    others = [j for j in range(classes) if j != label]
    found = []
    for first, third in itertools.permutations(others, 2):
        rest = [j for j in others if j not in (first, third)]
        below = [(j, third) for j in rest]
        order = ((first, label), (third, first), *below)  # the label on top, then ``first``
        found.append(Branch(order, -1.0, 0.0, (first, label), (label, third)))
        order = ((label, first), (third, label), *below)  # ``first`` on top, then the label
        found.append(Branch(order, 0.0, 1.0, (first, label), (first, third)))
    for pair in itertools.combinations(others, 2):
        rest = [] if bounded else [j for j in others if j not in pair]
        order = (*((label, j) for j in pair), *((j, label) for j in rest))
        found.append(Branch(order, 1.0, 1.0))
    if not bounded:
        for top in itertools.permutations(others, 3):
            rest = [j for j in range(classes) if j not in top]
            order = ((top[1], top[0]), (top[2], top[1]), *((j, top[2]) for j in rest))
            found.append(Branch(order, 1.0, np.inf, (top[0], label), (top[0], top[2]), top))
    return found


def tie(classes: int, top: list[int]) -> Branch:
    """Return the case of three equal logits on top."""
    a, b, c = top
    rest = [(j, a) for j in range(classes) if j not in top]
    return Branch(((a, b), (b, c), (c, a), *rest), np.inf, np.inf)
