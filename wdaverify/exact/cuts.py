r"""Dual cuts: what one linear program teaches about every sample.

Any :math:`\eta\ge0` on the rows :math:`Gx\le h` of a piece gives, with :math:`g = a - G^\top\eta`,

.. math:: \sup\{a\cdot x + b : Gx\le h,\ \|x-x_i\|\le t\}
          \;\le\; g\cdot x_i + h\cdot\eta + b + \|g\|_*\,t

for every sample and every ``t``: the dual feasible set knows neither the sample nor the radius.
All cuts of a label are evaluated on all its samples as one matrix product.
"""

from typing import NamedTuple

import numpy as np

from wdaverify.arrays import Bools, Floats, Integers
from wdaverify.exact.pieces import Pieces
from wdaverify.norms import GroundNorm

__all__ = ["Cut", "CutPool"]

SLIGHT = 1e-9
"""Relative excess of a dual norm over the multiplier that is still called rounding."""

CANCELLED = 1e-13
"""The same relative to the gradient of the piece, from which the dual norm is what remains."""


class Cut(NamedTuple):
    """A bound ``gradient · x_i + offset + steepness · t`` for every sample and distance ``t``."""

    gradient: Floats
    offset: float
    steepness: float


def penalised(
    lines: Floats | float,
    steepness: Floats | float,
    multiplier: float,
    reach: Floats | float,
    size: Floats | float,
) -> Floats:
    """Return ``max over 0 <= t <= reach`` of ``line + (steepness − multiplier) t``.

    Parameters
    ----------
    lines
        Cuts at ``t = 0``, any shape with which the other arrays broadcast.
    size
        Dual norm of the gradients of the pieces: what is small against it is rounding.
    """
    excess = steepness - multiplier
    excess = np.where(excess <= SLIGHT * multiplier + CANCELLED * size, 0.0, excess)
    with np.errstate(invalid="ignore"):
        return np.asarray(lines + np.where(excess > 0, reach * excess, 0.0))


class CutPool:
    """Cuts of all pieces of one label, at first the trivial ones (``η = 0``).

    Attributes
    ----------
    gradients, offsets, steepness
        ``g``, ``h·η + b`` and ``‖g‖_*`` of each cut: ``(M, n)``, ``(M,)``, ``(M,)``.
    owners
        Piece of each cut, ``(M,)``.
    """

    def __init__(self, pieces: Pieces, norm: GroundNorm) -> None:
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

    def exclude(self, piece: int, cut: Cut) -> None:
        """Append a cut of the zero function: where it is negative the piece is out of reach."""
        self._barriers.append((piece, cut))

    def excluded(self, cut: Cut, points: Floats, reach: Floats) -> Bools:
        """Whether a cut of the zero function shows a piece to be out of reach, ``(N,)``."""
        value = points @ cut.gradient + cut.offset
        with np.errstate(invalid="ignore"):
            value = value + np.where(reach < np.inf, cut.steepness * reach, np.inf)
        return np.asarray(value < -1e-12 * (1.0 + np.abs(points).max(axis=1)))

    def bounds(self, points: Floats, multiplier: float, reach: Floats) -> Floats:
        """Bound ``sup a·x + b − multiplier · ‖x − x_i‖`` over each piece within each reach.

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
        lines = self.lines(points, np.arange(len(self.offsets)), multiplier, reach)
        order = np.argsort(self.owners, kind="stable")
        starts = np.searchsorted(self.owners[order], np.arange(self.size))
        table = np.minimum.reduceat(lines[:, order], starts, axis=1)
        for piece, cut in self._barriers:
            table[self.excluded(cut, points, reach), piece] = -np.inf
        return np.asarray(table)

    def lines(self, points: Floats, cuts: Integers, multiplier: float, reach: Floats) -> Floats:
        """Evaluate some cuts on samples: ``(N, n), (C,) -> (N, C)``."""
        lines = points @ self.gradients[cuts].T + self.offsets[cuts]
        size = self._sizes[self.owners[cuts]]
        return penalised(lines, self.steepness[cuts], multiplier, reach[:, None], size)

    def slope(self, multiplier: float) -> float:
        """Return the multiplier for which :meth:`bounds` holds without any rounding."""
        limit = multiplier * (1.0 + SLIGHT) + CANCELLED * self._sizes[self.owners]
        slight = self.steepness[self.steepness <= limit]
        return max(multiplier, float(slight.max(initial=0.0)))
