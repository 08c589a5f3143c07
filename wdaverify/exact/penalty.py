r"""The price of transport, and how much a line can gain against it.

.. math:: c_p(s, \lambda) = \sup_{0\le t\le T} s\,t - \lambda t^p
          = (p-1)\,\lambda\,\Big(\frac{s}{\lambda p}\Big)^{p/(p-1)}
          \quad\text{for } p>1 \text{ and } T \text{ large enough}
"""

from typing import NamedTuple

import numpy as np

from wdaverify.arrays import Floats

__all__ = ["Penalty"]

SLIGHT = 1e-9
"""Relative excess of a dual norm over the multiplier that is still called rounding."""

CANCELLED = 1e-13
"""The same relative to the gradient of the piece, from which the dual norm is what remains."""


class Penalty(NamedTuple):
    """``multiplier · t ** order``; for order infinity the multiplier is 0 and the reach decides."""

    multiplier: float
    order: float = 1.0

    def of(self, lengths: Floats | float) -> Floats:
        """Price of moving by some lengths, any shape; infinite where float64 overflows."""
        if self.order == 1 or self.multiplier == 0:
            return np.asarray(self.multiplier * lengths)
        with np.errstate(over="ignore", under="ignore"):
            return np.asarray(self.multiplier * np.power(lengths, self.order))

    def best(
        self,
        lines: Floats | float,
        steepness: Floats | float,
        reach: Floats | float,
        size: Floats | float,
    ) -> Floats:
        """Return ``max over 0 <= t <= reach`` of ``line + steepness · t − multiplier · t^order``.

        Parameters
        ----------
        lines, steepness
            Cuts at ``t = 0`` and their slopes, any shapes that broadcast.
        reach
            Infinite where there is no limit.
        size
            Dual norm of the gradients of the pieces: what is small against it is rounding.
        """
        if self.order > 1 and self.multiplier > 0:
            return np.asarray(lines + self._curved(np.asarray(steepness), np.asarray(reach)))
        excess = np.asarray(steepness) - self.multiplier
        slight = SLIGHT * self.multiplier + CANCELLED * np.asarray(size)
        excess = np.where(excess <= slight, 0.0, excess)
        with np.errstate(invalid="ignore"):
            return np.asarray(lines + np.where(excess > 0, reach * excess, 0.0))

    def _curved(self, steepness: Floats, reach: Floats) -> Floats:
        """Return ``s t (1 − (t/f)^(p−1)/p)`` at ``t = min(f, reach)``, ``f`` where slopes agree.

        ``(t/f)^(p−1) = t^(p−1) λp/s``: the left for large orders, where powers of ``t`` overflow,
        the right for small ones, where ``f`` does.
        """
        p = self.order
        with np.errstate(over="ignore", under="ignore", divide="ignore", invalid="ignore"):
            free = (steepness / (self.multiplier * p)) ** (1.0 / (p - 1.0))
            at = np.minimum(free, reach)
            if p < 2:
                share = at ** (p - 1.0) * (self.multiplier * p / steepness)
            else:
                share = (at / free) ** (p - 1.0)
            gain = steepness * at * (1.0 - np.where(at < free, share, 1.0) / p)
        return np.where((steepness > 0) & (at > 0), gain, 0.0)
