r"""Dual cuts: what one linear program teaches about every sample.

Any :math:`\eta\ge0` on the rows :math:`Gx\le h` of a piece gives, with :math:`g = a - G^\top\eta`,

.. math:: \sup\{a\cdot x + b : Gx\le h,\ \|x-x_i\|\le t\}
          \;\le\; g\cdot x_i + h\cdot\eta + b + \|g\|_*\,t

for every sample and every ``t``: the dual feasible set knows neither the sample nor the radius.
All cuts of a label are evaluated on all its samples as one matrix product.
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from wdaverify.arrays import Bools, Floats, Integers
from wdaverify.exact.penalty import CANCELLED, SLIGHT, Penalty
from wdaverify.norms import GroundNorm

if TYPE_CHECKING:
    from wdaverify.exact.pieces import Pieces

__all__ = ["Cut", "CutPool", "entered"]


class Cut(NamedTuple):
    """A bound ``gradient · x_i + offset + steepness · t`` for every sample and distance ``t``.

    Attributes
    ----------
    multipliers
        ``η`` on the rows of the program that found it, ``(m,)``; ``None`` where nobody kept them.
    """

    gradient: Floats
    offset: float
    steepness: float
    multipliers: Floats | None = None


def entered(cut: Cut, sample: Floats) -> float:
    """Return the distance within which a cut of the zero function shows a piece out of reach."""
    room = 1e-12 * (1.0 + float(np.abs(sample).max()))
    missing = -room - float(cut.gradient @ sample) - cut.offset
    if missing <= 0:
        return 0.0
    return missing / cut.steepness if cut.steepness > 0 else np.inf


class CutPool:
    """Cuts of all pieces of one label, at first the trivial ones (``η = 0``).

    Attributes
    ----------
    gradients, offsets, steepness
        ``g``, ``h·η + b`` and ``‖g‖_*`` of each cut: ``(M, n)``, ``(M,)``, ``(M,)``.
    owners
        Piece of each cut, ``(M,)``.
    """

    def __init__(self, pieces: "Pieces", norm: GroundNorm) -> None:
        self.size = len(pieces)
        self.gradients, self.offsets = pieces.gradients, pieces.offsets
        self.steepness = norm.dual_length(pieces.gradients)
        self.owners: Integers = np.arange(self.size)
        self._sizes = self.steepness
        self._barriers: list[tuple[int, Cut]] = []

    def add(self, piece: int, cut: Cut) -> None:
        """Append a cut of a piece."""
        self.gradients = np.concatenate([self.gradients, cut.gradient[None, :]])
        self.offsets = np.append(self.offsets, cut.offset)
        self.steepness = np.append(self.steepness, cut.steepness)
        self.owners = np.append(self.owners, piece)

    def extend(
        self, pieces: Integers, gradients: Floats, offsets: Floats, steepness: Floats
    ) -> None:
        """Append several cuts, of pieces ``(C,)``."""
        self.gradients = np.concatenate([self.gradients, gradients])
        self.offsets = np.concatenate([self.offsets, offsets])
        self.steepness = np.concatenate([self.steepness, steepness])
        self.owners = np.concatenate([self.owners, pieces])

    def exclude(self, piece: int, cut: Cut) -> None:
        """Append a cut of the zero function: where it is negative the piece is out of reach."""
        self._barriers.append((piece, cut))

    def entries(self, sample: Floats) -> Floats:
        """Distances within which the pieces are out of reach of a sample, ``(P,)``."""
        entries = np.zeros(self.size)
        for piece, cut in self._barriers:
            entries[piece] = max(entries[piece], entered(cut, sample))
        return entries

    def excluded(self, cut: Cut, points: Floats, reach: Floats) -> Bools:
        """Whether a cut of the zero function shows a piece to be out of reach, ``(N,)``."""
        value = points @ cut.gradient + cut.offset
        with np.errstate(invalid="ignore"):
            gain = np.where(reach < np.inf, cut.steepness * reach, np.inf)
        value = value + (gain if cut.steepness > 0 else 0.0)
        return np.asarray(value < -1e-12 * (1.0 + np.abs(points).max(axis=1)))

    def bounds(self, points: Floats, penalty: Penalty, reach: Floats) -> Floats:
        """Bound ``sup a·x + b − λ ‖x − x_i‖^p`` over each piece within each reach.

        Parameters
        ----------
        points
            Samples, ``(N, n)``.
        reach
            Largest distance allowed to each sample, may be infinite, ``(N,)``.

        Returns
        -------
        ndarray
            Shape ``(N, P)``, ``-inf`` where a piece is out of reach.
        """
        lines = self.lines(points, np.arange(len(self.offsets)), penalty, reach)
        order = np.argsort(self.owners, kind="stable")
        starts = np.searchsorted(self.owners[order], np.arange(self.size))
        table = np.minimum.reduceat(lines[:, order], starts, axis=1)
        for piece, cut in self._barriers:
            table[self.excluded(cut, points, reach), piece] = -np.inf
        return np.asarray(table)

    def lines(self, points: Floats, cuts: Integers, penalty: Penalty, reach: Floats) -> Floats:
        """Evaluate some cuts on samples: ``(N, n), (C,) -> (N, C)``."""
        lines = points @ self.gradients[cuts].T + self.offsets[cuts]
        size = self._sizes[self.owners[cuts]]
        return penalty.best(lines, self.steepness[cuts], reach[:, None], size)

    def slope(self, penalty: Penalty) -> float:
        """Return the multiplier for which :meth:`bounds` holds without any rounding."""
        multiplier = penalty.multiplier
        if penalty.order > 1:
            return multiplier
        limit = multiplier * (1.0 + SLIGHT) + CANCELLED * self._sizes[self.owners]
        slight = self.steepness[self.steepness <= limit]
        return max(multiplier, float(slight.max(initial=0.0)))
