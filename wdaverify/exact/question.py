r"""One sub-problem in unit scale, and what a solver proposes as its solution.

With ``x = x_i + L u`` and gradients divided by ``c``, both powers of two, every length and every
slope is about 1, as the absolute tolerances of solvers suppose, and nothing is rounded:

.. math:: \max\; a\cdot u - \psi(\|u\|)\quad\text{s.t.}\quad
          Gu\le s,\quad l\le u\le w,\quad \|u\|\le R
"""

import math
from typing import NamedTuple

import numpy as np

from wdaverify.arrays import Floats

__all__ = ["Price", "Proposal", "Question", "power_of_two"]


class Price(NamedTuple):
    r"""``ψ(t) = multiplier · t`` for order 1; else :math:`\psi'(t) = (t/\text{knee})^{p-1}`."""

    multiplier: float
    order: float = 1.0
    knee: float = math.inf

    @property
    def linear(self) -> bool:
        """Whether the slope is the same everywhere."""
        return self.order == 1

    def slope(self, length: float) -> float:
        """Return ``ψ'`` at a length."""
        if self.linear:
            return self.multiplier
        return _power(length / self.knee, self.order - 1.0)

    def length(self, slope: float) -> float:
        """Return the length at which ``ψ'`` has a value (order above 1)."""
        return self.knee * _power(slope, 1.0 / (self.order - 1.0))


class Question(NamedTuple):
    """Everything that changes from one solve to the next.

    Attributes
    ----------
    gradient, lower, upper
        Shape ``(n,)``; bounds relative to the sample, may be infinite.
    room
        How far the sample is inside each row, ``(m,)``.
    price, reach
        Reach may be infinite.
    """

    gradient: Floats
    room: Floats
    lower: Floats
    upper: Floats
    price: Price
    reach: float


class Proposal(NamedTuple):
    """A solver's word, to be checked: the step from the sample and multipliers.

    Attributes
    ----------
    step, bounds
        ``u`` and the multipliers of the bounds, positive at the upper ones, ``(n,)``.
    multipliers
        One per row, ``(m,)``.
    """

    step: Floats
    multipliers: Floats
    bounds: Floats


def power_of_two(size: float) -> float:
    """Return the power of two just below a positive size, 1 for zero and infinity."""
    if not 0.0 < size < math.inf:
        return 1.0
    return float(np.ldexp(1.0, max(-1000, min(1000, math.frexp(size)[1] - 1))))


def _power(base: float, exponent: float) -> float:
    try:
        return float(base**exponent)
    except OverflowError:
        return math.inf
