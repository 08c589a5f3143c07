"""What is decided before any cell: constant neurons, hyperplanes that coincide, where to begin."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from wdaverify.arrays import Bools, Floats, Integers
from wdaverify.cells.dictionary.exact import IntegerRows, Whole, eliminate
from wdaverify.cells.frame import Frame
from wdaverify.convex.exact import exact_interior_point
from wdaverify.network import ReLUNetwork

__all__ = ["Copies", "Plan", "essential"]


class Copies(NamedTuple):
    """Neurons of a layer whose pre-activations are multiples of others'."""

    neurons: Integers
    originals: Integers
    opposite: Bools


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """Which neurons are to be decided on cells.

    Attributes
    ----------
    pattern
        Sides of the neurons that are the same everywhere, ``(H,)``.
    todo
        Neurons to decide, ``(H,)``.
    copies
        For each layer, the neurons that follow others.
    """

    pattern: Bools
    todo: Bools
    copies: tuple[Copies, ...]

    @classmethod
    def of(cls, network: ReLUNetwork, rows: IntegerRows) -> "Plan":
        """Compare rows exactly."""
        pattern = network.linear.copy()
        todo = ~network.linear
        copies = []
        for layer in range(len(network.widths)):
            seen = {_key(row)[0]: (-1, row) for row in rows.support} if layer == 0 else {}
            found = []
            for k in range(int(rows.starts[layer]), int(rows.starts[layer + 1])):
                if not todo[k]:
                    continue
                row = rows.own(k)
                if not any(row[:-1]):
                    pattern[k], todo[k] = row[-1] > 0, False
                    continue
                key, _ = _key(row)
                original, first = seen.setdefault(key, (k, row))
                if original == k:
                    continue
                same = _key(row)[1] == _key(first)[1]
                todo[k] = False
                if original < 0:
                    pattern[k] = same
                else:
                    found.append((k, original, not same))
            copies.append(_copies(found))
        return cls(pattern, todo, tuple(copies))

    def follow(self, layer: int, pattern: Bools, flat: Bools) -> None:
        """Fill in the neurons of a layer that follow others, ``(..., H)``, in place."""
        copies, originals, opposite = self.copies[layer]
        pattern[..., copies] = (pattern[..., originals] ^ opposite) & ~flat[..., originals]
        flat[..., copies] = flat[..., originals]


def essential(rows: IntegerRows, frame: Frame) -> tuple[Frame, Integers, Integers]:
    """Drop coordinates of which neither support nor network depends, given the others.

    On an unbounded support the rows may span fewer dimensions than there are; the cells are then
    cylinders, and their sections by the coordinates that remain have the same patterns.

    Returns
    -------
    frame, columns, independent
        The smaller frame, the coordinates it keeps, and neurons of the first layer that together
        with the support's rows span them.
    """
    S, first = len(rows.support), range(int(rows.starts[1]))
    matrix = [list(row[:-1]) for row in (*rows.support, *(rows.own(k) for k in first))]
    _, columns = eliminate([list(row) for row in matrix], frame.dimension, full=False)
    order = [list(column) for column in zip(*matrix, strict=True)]
    independent = [j - S for j in eliminate(order, len(matrix), full=False)[1] if j >= S]
    kept = np.array(columns, dtype=np.int64)
    chosen = np.array(independent, dtype=np.int64)
    if len(kept) == frame.dimension:
        return frame, kept, chosen
    G, h = frame.matrix[:, kept], frame.bound
    point: Floats = np.zeros(len(kept))
    if S:
        inside = exact_interior_point(G, h)
        assert inside is not None
        point = inside.astype(np.float64)
    return replace(frame, basis=frame.basis[:, kept], matrix=G, interior=point), kept, chosen


def _key(row: Whole) -> tuple[tuple[int, ...], bool]:
    """Return a primitive row up to its sign, and that sign."""
    values = tuple(row.tolist())
    positive = next(v for v in values if v) > 0
    return (values if positive else tuple(-v for v in values)), positive


def _copies(found: list[tuple[int, int, bool]]) -> Copies:
    columns = list(zip(*found, strict=True)) or [(), (), ()]
    neurons, originals, opposite = columns
    return Copies(
        np.array(neurons, dtype=np.int64),
        np.array(originals, dtype=np.int64),
        np.array(opposite, dtype=bool),
    )
