r"""Float bounds of an affine function against the price of transport, for many samples at once.

.. math:: \max\{ c + g\cdot x - \lambda\|x-x_i\|^p : x\in\text{box},\ \|x-x_i\|\le T_i \}

They guide the prover only: what they promise is written with a margin, and the checker decides.
"""

import numpy as np

from wdaverify.arrays import Floats, Integers
from wdaverify.exact.penalty import Penalty
from wdaverify.norms import GroundNorm
from wdaverify.search.rings import Price, Rings, rings_for
from wdaverify.support import Box

__all__ = ["Line", "Shells"]

FAR = 1e30
"""Stands for an infinite room: what still gains there counts as infinite."""


class Line:
    """An affine function of ``x``; for l2 without a box the part of the gradient that is priced.

    Attributes
    ----------
    gradient, constant
        The function.
    priced, offset
        The function less multipliers of the box's ends.
    """

    def __init__(
        self, gradient: Floats, constant: float, priced: Floats | None = None, offset: float = 0.0
    ) -> None:
        self.gradient, self.constant = gradient, constant
        self.priced = gradient if priced is None else priced
        self.offset = constant if priced is None else offset


class Shells:
    """Samples ``(N, n)``, how far each may move ``(N,)``, and the price of moving."""

    def __init__(
        self, points: Floats, box: Box, norm: GroundNorm, reach: Floats, price: Penalty
    ) -> None:
        self.points, self.norm, self.reach, self.price = points, norm, reach, price
        low, high = np.maximum(box.lower - points, -FAR), np.minimum(box.upper - points, FAR)
        farthest = norm.length(np.maximum(-low, high)) * (1.0 + 2.0**-40)
        outer = np.minimum(reach, np.minimum(farthest, FAR))[:, None]
        self._open = bool(not norm.polyhedral and max(-low.min(), high.max()) >= FAR)
        self._rings: Rings = rings_for(norm, low, high, np.zeros_like(outer), outer)
        self._price = Price(price.multiplier, price.order)
        self._free = Price(0.0, 1.0)

    def bounds(self, line: Line, samples: Integers, *, free: bool = False) -> Floats:
        """Bound the line minus the price (nothing where ``free``) for samples ``(m,)``."""
        if self._open:
            return self._steep(line, samples, free=free)
        g = np.broadcast_to(line.gradient, (len(samples), len(line.gradient)))
        shell = self._rings.at(samples, np.zeros(len(samples), dtype=np.int64))
        top = shell.maximum(np.array(g), self._free if free else self._price)[0]
        return np.asarray(top + self.points[samples] @ line.gradient + line.constant)

    def _steep(self, line: Line, samples: Integers, *, free: bool) -> Floats:
        """Bound by the dual norm alone, as the program does that found the line."""
        steepness = float(self.norm.dual_length(line.priced))
        value = self.points[samples] @ line.priced + line.offset
        price = Penalty(0.0) if free else self.price
        if price.order == 1 or price.multiplier == 0.0:
            excess = steepness - price.multiplier
            return np.asarray(value + (self.reach[samples] * excess if excess > 0 else 0.0))
        return price.best(value, steepness, self.reach[samples], 0.0)
