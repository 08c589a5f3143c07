"""The leaves of the search trees of one label, as growing arrays: a split reuses its parent's row.

At any time the rows of one sample cover all its pieces, rings and activation patterns, so the
largest bound among them bounds the sample.
"""

import numpy as np

from wdaverify.arrays import Bools, Floats, Integers
from wdaverify.search.lagrangian import Region

__all__ = ["FIELDS", "Nodes"]

UNSCORED = 1 << 30
"""Age of a branching score that was never computed."""


class Nodes:
    """Rows of nodes.

    Parameters
    ----------
    neurons
        Number ``m`` of hidden neurons.

    Attributes
    ----------
    owner, piece, ring
        Which sample, affine piece and ring, ``(C,)``.
    lower, upper
        Bounds of pre-activations, signs of decided neurons included, ``(C, m)``.
    nu
        Multipliers, ``(C, m)``.
    score, age
        Branching score and how many splits ago it was computed, ``(C, m)`` and ``(C,)``.
    stale
        First layer whose bounds do not know the last splits yet, ``(C,)``.
    value
        Upper bound at the current price, ``(C,)``.
    history
        Every split so far: the rows, their neurons and the new rows; ``None`` once nodes were
        forgotten.
    """

    def __init__(self, neurons: int) -> None:
        self.count = 0
        self.history: list[tuple[Integers, Integers, Integers]] | None = []
        self.owner = np.zeros(0, dtype=np.int64)
        self.piece = np.zeros(0, dtype=np.int64)
        self.ring = np.zeros(0, dtype=np.int64)
        self.stale = np.zeros(0, dtype=np.int64)
        self.age = np.zeros(0, dtype=np.int64)
        self.value = np.zeros(0)
        self.lower = np.zeros((0, neurons))
        self.upper = np.zeros((0, neurons))
        self.nu = np.zeros((0, neurons))
        self.score = np.zeros((0, neurons), dtype=np.float32)

    def add(self, region: Region, nu: Floats, value: Floats, stale: int) -> Integers:
        """Append nodes without a score; return their rows."""
        rows = self._reserve(len(value))
        self.owner[rows], self.piece[rows], self.ring[rows] = region[:3]
        self.lower[rows], self.upper[rows] = region.lower, region.upper
        self.nu[rows], self.value[rows] = nu, value
        self.stale[rows], self.age[rows], self.score[rows] = stale, UNSCORED, 0.0
        return rows

    def split(self, rows: Integers, neurons: Integers, layers: Integers) -> None:
        """Split each node at a neuron: the row keeps the part above 0, a new row the one below.

        Parameters
        ----------
        layers
            The layer of each neuron: bounds of later layers become stale.
        """
        self.age[rows] += self.age[rows] < UNSCORED
        self.stale[rows] = np.minimum(self.stale[rows], layers + 1)
        twins = self._reserve(len(rows))
        for name in FIELDS:
            field = getattr(self, name)
            field[twins] = field[rows]
        if self.history is not None:
            self.history.append((rows, neurons, twins))
        self.lower[rows, neurons] = np.maximum(self.lower[rows, neurons], 0.0)
        self.upper[twins, neurons] = np.minimum(self.upper[twins, neurons], 0.0)

    def region(self, rows: Integers) -> Region:
        """Return some nodes."""
        return Region(
            self.owner[rows], self.piece[rows], self.ring[rows], self.lower[rows], self.upper[rows]
        )

    def undecided(self, rows: Integers, splits: Bools) -> Bools:
        """Return which of the neurons that can be split are not decided, ``(B, m)``."""
        open_ = (self.lower[rows] < 0) & (self.upper[rows] > 0)
        return np.asarray(open_ & splits)

    def of(self, owners: Bools) -> Integers:
        """Return the rows of some samples, given as a mask ``(N,)``."""
        return np.flatnonzero(owners[self.owner[: self.count]])

    def keep(self, kept: Bools) -> None:
        """Forget all other nodes; what stays keeps its order."""
        self.history = None
        rows = np.flatnonzero(kept)
        for name in FIELDS:
            setattr(self, name, getattr(self, name)[rows])
        self.count = len(rows)

    def _reserve(self, extra: int) -> Integers:
        """Make room for more rows; return their indices."""
        start, self.count = self.count, self.count + extra
        capacity = len(self.value)
        if self.count > capacity:
            room = max(self.count, 2 * capacity, 1024) - capacity
            for name in FIELDS:
                field = getattr(self, name)
                blank = np.zeros((room, *field.shape[1:]), dtype=field.dtype)
                setattr(self, name, np.concatenate([field, blank]))
        return np.arange(start, self.count)


FIELDS = (
    "owner", "piece", "ring", "stale", "age", "value", "lower", "upper", "nu", "score",
)  # fmt: skip
