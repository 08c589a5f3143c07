r"""The supremum over a node whose neurons are all decided, for l2: a path of projections.

On the node the objective is affine, :math:`a\cdot u`, and its cell is :math:`Gu\le s`. The
projections :math:`u(\tau)` of :math:`\tau a` on the cell are the maximisers at all lengths, with

.. math:: a - G^\top\eta = \frac{u}{\tau},\qquad \eta = \frac{y(\tau)}{\tau},

and ``τ`` is where the slope :math:`\|u\|/\tau` of the gain meets that of the price. The signs of
the multipliers ``η`` turn them into multipliers of the pre-activations' definitions,

.. math:: \nu_k = \alpha_k s_k \mp \eta_k,\qquad \alpha_l = W_{l+1}^\top\nu_{l+1},

of which the Lagrangian bound is recomputed; nothing here is believed.
"""

import math
from typing import NamedTuple

import numpy as np

from wdaverify.arrays import Bools, Floats
from wdaverify.convex.projection import ActiveSet, Infeasible, project
from wdaverify.search.program import Node
from wdaverify.search.rings import Price
from wdaverify.search.scaling import Scaled

__all__ = ["Cell", "Finish"]

TRIALS = 40
"""Projections tried for one node."""

SIGN = 1e-11
"""Relative size of a multiplier or violation whose sign is rounding."""

FLAT = 1e-13
"""Part of the gradient that counts as none."""

FAR = 1e12
"""``τ`` beyond this is infinite."""


class Finish(NamedTuple):
    """Multipliers ``(m,)``, a move ``(n,)`` if there is one, and whether the former are a ray."""

    nu: Floats
    move: Floats | None
    ray: bool = False


class _Segment(NamedTuple):
    """``u(τ) = base + τ direction`` with ``y = rest + τ growth`` for the active rows."""

    base: Floats
    direction: Floats
    rest: Floats
    growth: Floats
    near: float
    slope: float

    def turn(self, price: Price, inner: float, outer: float) -> float:
        """Return ``τ`` where the price or a radius ends the path, if it went on like this."""
        tau = min(self._reached(outer), max(self._reached(inner), self._priced(price)))
        return tau if tau < FAR else math.inf

    def _reached(self, radius: float) -> float:
        if self.near >= radius:
            return 0.0
        if self.slope == 0:
            return math.inf
        return math.sqrt((radius - self.near) * (radius + self.near)) / self.slope

    def _priced(self, price: Price) -> float:
        """Solve ``t / τ = λ p t^(p−1)`` with ``t² = near² + τ² slope²``."""
        b, s, rate = self.near, self.slope, price.multiplier * price.order
        if rate <= 0:
            return math.inf
        if price.order == 2:
            return 1.0 / rate
        if price.order == 1:
            return math.inf if rate <= s else b / math.sqrt((rate - s) * (rate + s))
        low, high = -100.0, 100.0
        for _ in range(60):
            x = (low + high) / 2
            t = max(math.hypot(b, math.exp(x) * s), 1e-300)
            if x > (2.0 - price.order) * math.log(t) - math.log(rate):
                high = x
            else:
                low = x
        return math.exp(low)


class Cell:
    """The cell of a decided node.

    Attributes
    ----------
    gradient
        Of the objective, ``(n,)``.
    matrix, room
        Rows of unit length, ``matrix u <= room``: first those of neurons, then those of the box.
    """

    def __init__(self, scaled: Scaled, node: Node) -> None:
        self.scaled, self.node = scaled, node
        self.kinks = np.where(node.lower >= 0, 1.0, scaled.slopes)
        J, c = self._linear()
        a = np.zeros(scaled.neurons)
        a[scaled.layers[-1]] = scaled.gradients[node.piece] * self.kinks[scaled.layers[-1]]
        self.gradient: Floats = a @ J
        self.offset = float(a @ c + scaled.offsets[node.piece])
        signs = np.where(node.lower >= 0, -1.0, 1.0)
        lengths = np.sqrt(np.einsum("ij,ij->i", J, J))
        rows = self._matters() & (lengths > 1e-12)
        self._rows = np.flatnonzero(rows)
        self._factor = (signs / np.where(lengths > 0, lengths, 1.0))[rows]
        low, high = scaled.lower[node.owner], scaled.upper[node.owner]
        above, below = np.flatnonzero(high < node.outer), np.flatnonzero(-low < node.outer)
        unit = np.eye(scaled.features)
        self.matrix = np.concatenate([J[rows] * self._factor[:, None], unit[above], -unit[below]])
        room = np.concatenate([-c[rows] * self._factor, high[above], -low[below]])
        self.room: Floats = np.where(np.abs(room) <= 1e-15, 0.0, room)

    def finish(self, price: Price) -> Finish | None:
        """Follow the path to the supremum, ``None`` where rounding loses it."""
        node, active, tau = self.node, ActiveSet(self.matrix), math.nan
        low, high = 0.0, math.inf
        for _ in range(TRIALS):
            segment = self._segment(active)
            if tau == 0 and segment.near > node.outer * (1.0 + SIGN):
                return Finish(self._nu(self._spread(active, segment.rest), 0.0), None, ray=True)
            turn = segment.turn(price, node.inner, node.outer)
            multipliers = self._multipliers(segment, turn)
            if multipliers is not None:
                return self._finished(active, segment, multipliers, turn)
            if tau > 0:
                low, high = (tau, high) if turn > tau else (low, tau)
            near = low < turn < high or (turn == 0 and tau != 0)
            tau = turn if near else _between(low, high)
            found = project(active, self.room, tau * self.gradient, self._tolerance(tau))
            if found is None:
                return None
            if isinstance(found, Infeasible):
                return Finish(self._nu(found.multipliers, 0.0), None, ray=True)
            active.refresh()
        return None

    def nearest(self, depth: float) -> Finish | None:
        """Find the shortest move with an objective of at least some depth."""
        size = math.sqrt(self.gradient @ self.gradient)
        if size <= 1e-12:
            return None
        active = ActiveSet(np.concatenate([self.matrix, -self.gradient[None, :] / size]))
        room = np.append(self.room, (self.offset - depth) / size)
        found = project(active, room, np.zeros_like(self.gradient), self._tolerance(0.0))
        if found is None:
            return None
        if isinstance(found, Infeasible):
            eta, move = found.multipliers, None
        else:
            eta, move = self._spread(active, found.multipliers), found.point
        weight = eta[-1] / size
        if weight <= 0:
            return Finish(self._nu(eta[:-1], 0.0), None, ray=True)
        return Finish(self._nu(eta[:-1] / weight, 1.0), move)

    def _linear(self) -> tuple[Floats, Floats]:
        """Return pre-activations as affine functions of the move, ``(m, n)`` and ``(m,)``."""
        net = self.scaled
        J, c = [net.weights[0]], [net.origins[self.node.owner]]
        for k in range(1, len(net.layers)):
            W = net.weights[k] * self.kinks[net.layers[k - 1]]
            J.append(W @ J[-1])
            c.append(W @ c[-1] + net.biases[k])
        return np.concatenate(J), np.concatenate(c)

    def _matters(self) -> Bools:
        """Which neurons were decided by a split: the bounds of the others follow from theirs."""
        split = (self.node.lower == 0) | (self.node.upper == 0)
        return np.asarray(split & self.scaled.splits)

    def _tolerance(self, tau: float) -> float:
        deepest = max(0.0, -float(self.room.min(initial=0.0)))
        return 1e-13 * (tau * float(np.abs(self.gradient).max(initial=0.0)) + deepest)

    def _segment(self, active: ActiveSet) -> _Segment:
        growth, direction = active.split(self.gradient)
        slope = math.sqrt(direction @ direction)
        if slope <= FLAT * math.sqrt(self.gradient @ self.gradient):
            slope = 0.0
        if not active.rows:
            return _Segment(np.zeros_like(direction), direction, growth, growth, 0.0, slope)
        P, N, s = active.inverse, active.matrix[active.rows], self.room[active.rows]
        base = s @ P
        base = base + (s - N @ base) @ P
        return _Segment(base, direction, -(P @ base), growth, math.sqrt(base @ base), slope)

    def _multipliers(self, segment: _Segment, tau: float) -> Floats | None:
        """Return ``η`` of the active rows, ``None`` where the segment is not the path at ``τ``."""
        if tau == 0 and segment.near > 0:
            return None
        ends = tau == 0 or math.isinf(tau)
        eta = segment.growth if ends else segment.growth + segment.rest / tau
        if eta.min(initial=0.0) < -SIGN * np.abs(eta).max(initial=0.0):
            return None
        u = _place(segment, tau)
        size = max(float(np.abs(u).max(initial=0.0)), -float(self.room.min(initial=0.0)))
        slack = self.room - self.matrix @ u
        return np.maximum(eta, 0.0) if slack.min(initial=0.0) >= -SIGN * size else None

    def _finished(
        self, active: ActiveSet, segment: _Segment, multipliers: Floats, tau: float
    ) -> Finish:
        eta = self._spread(active, multipliers)
        return Finish(self._nu(eta, 1.0), _place(segment, tau))

    def _spread(self, active: ActiveSet, multipliers: Floats) -> Floats:
        eta = np.zeros(len(active.matrix))
        eta[active.rows] = multipliers
        return eta

    def _nu(self, eta: Floats, objective: float) -> Floats:
        """Turn multipliers of rows into multipliers of definitions."""
        net = self.scaled
        delta = np.zeros(net.neurons)
        delta[self._rows] = eta[: len(self._rows)] * self._factor
        nu = np.empty(net.neurons)
        alpha = objective * net.gradients[self.node.piece]
        for k in range(len(net.layers) - 1, -1, -1):
            part = net.layers[k]
            nu[part] = alpha * self.kinks[part] - delta[part]
            alpha = nu[part] @ net.weights[k]
        return nu


def _place(segment: _Segment, tau: float) -> Floats:
    """Return ``u(τ)``, its end where ``τ`` is infinite."""
    return segment.base + (tau * segment.direction if segment.slope and tau < math.inf else 0.0)


def _between(low: float, high: float) -> float:
    if math.isinf(high):
        return 64.0 * low if low else 1.0
    return math.sqrt(low * high) if low else high / 64.0
