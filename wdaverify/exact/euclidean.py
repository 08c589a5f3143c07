r"""The sub-problem for l2: a path of projections.

The maximisers of ``a · u`` at all lengths are the projections of ``τa`` on the piece, ``τ >= 0``:

.. math:: a = \frac{u}{\tau} + G^\top\eta,\qquad g = a - G^\top\eta = \frac{u}{\tau},\qquad
          g'(t) = \|g\|_2 = t/\tau

While the active rows ``N`` stay the same, the path is a line with the base ``b`` (the shortest
``u`` with ``Nu = s``) at a right angle to its direction ``d`` (``a`` without its part along the
rows), so :math:`t^2 = \|b\|^2 + \tau^2\|d\|^2`, and the multiplier :math:`t/\tau = \psi'(t)` or the
reach ``t = R`` tells ``τ`` in closed form or by a few steps of Newton's method. A segment that does
not hold at its own ``τ`` is replaced by a projection there; ``τ`` is bracketed meanwhile.
"""

import math
from typing import NamedTuple

import numpy as np

from wdaverify.arrays import Floats
from wdaverify.convex.projection import ActiveSet, Projection, project
from wdaverify.exact.question import Price, Proposal, Question
from wdaverify.rational import Rationals, rationals

__all__ = ["EuclideanSolver"]

TRIALS = 80
"""Projections tried for one question."""

SIGN = 1e-11
"""Relative size of a multiplier or violation whose sign is rounding."""

ENDLESS = 1e15
"""Projections of points farther away than this are taken in the limit."""

FLAT = 1e-13
"""Part of the gradient that counts as none."""


class Segment(NamedTuple):
    """``u(τ) = base + τ direction`` with multipliers ``rest + τ growth`` of the active rows."""

    base: Floats
    direction: Floats
    rest: Floats
    growth: Floats
    base_length: float
    slope: float

    def step(self, tau: float) -> Floats:
        """Return ``u(τ)``."""
        return self.base + tau * self.direction if self.slope else self.base

    def length(self, tau: float) -> float:
        """Return ``‖u(τ)‖``."""
        return math.hypot(self.base_length, tau * self.slope) if self.slope else self.base_length

    def turn(self, price: Price, reach: float) -> float:
        """Return ``τ`` where price or reach ends the path, if it went on like this; 0 … ∞."""
        tau = min(self._reached(reach), self._priced(price))
        return tau if tau < ENDLESS else math.inf

    def _reached(self, reach: float) -> float:
        b, s = self.base_length, self.slope
        if b > reach:
            return 0.0
        return math.sqrt((reach - b) * (reach + b)) / s if s and reach < math.inf else math.inf

    def _priced(self, price: Price) -> float:
        b, s = self.base_length, self.slope
        if price.linear:
            if price.multiplier <= s or price.multiplier == 0.0:
                return 0.0 if b == 0.0 and price.multiplier > s * (1.0 - SIGN) else math.inf
            return b / math.sqrt((price.multiplier - s) * (price.multiplier + s))
        if b == 0.0 or s == 0.0:
            t = price.length(s) if b == 0.0 else b
            tau = s and t / s if b == 0.0 else t / max(price.slope(t), 1e-300)
            return tau if math.isfinite(tau) else math.inf
        p, knee = price.order, math.log(price.knee)
        x = math.log(max(price.length(s) / s, b / max(price.slope(b), 1e-300), 1e-300))
        for _ in range(100):  # log t − log τ − (p−1) log(t/knee), monotone and of one curvature
            t = math.hypot(b, math.exp(x) * s)
            share = (math.exp(x) * s / t) ** 2
            move = ((2.0 - p) * math.log(t) + (p - 1.0) * knee - x) / ((2.0 - p) * share - 1.0)
            x = max(-700.0, min(700.0, x - move))
            if abs(move) <= 1e-15 * max(1.0, abs(x)):
                break
        return math.exp(x)


class EuclideanSolver:
    """Projections on one piece, kept warm.

    Parameters
    ----------
    matrix
        Rows in unit scale, ``(m, n)``.
    above, below
        Features whose upper or lower bound is a row.
    """

    def __init__(self, matrix: Floats, lower: Floats, upper: Floats) -> None:
        self.rows = len(matrix)
        self.above, self.below = np.flatnonzero(upper < np.inf), np.flatnonzero(lower > -np.inf)
        identity = np.eye(matrix.shape[1])
        self.matrix = np.concatenate([matrix, identity[self.above], -identity[self.below]])
        self._active = ActiveSet(self.matrix)

    def propose(self, question: Question, rational: Question | None = None) -> Proposal | None:
        """Return point and multipliers, ``None`` where the method fails or nothing is in reach.

        Parameters
        ----------
        rational
            The same question over the rationals: find active rows there, slowly and without doubt.
        """
        room = self._room(question)
        exact = None if rational is None else self._stacked(rational)
        price, reach = question.price, question.reach
        low, high, tau = 0.0, math.inf, math.nan
        active = self._active
        for _ in range(TRIALS):
            segment = self._segment(active, room, question.gradient)
            turn = segment.turn(price, reach)
            if self._holds(segment, room, turn, reach):
                self._active = active
                return self._proposal(segment, active, question, turn)
            if tau == 0.0 and segment.base_length > reach:
                return None
            if tau > 0.0:
                low, high = (tau, high) if turn > tau else (low, tau)
            beyond = segment.base_length > reach and tau != 0.0
            tau = 0.0 if beyond else turn if low < turn < high else _between(low, high)
            target = tau * question.gradient
            found = (
                self._project(active, room, target)
                if exact is None
                else (self._project_exactly(exact, target))
            )
            if found is None:
                break
            active = found
        self._active = ActiveSet(self.matrix)
        return None

    def _room(self, question: Question) -> Floats:
        """Room within all rows; what is smaller than its rounding counts as none."""
        room = self._stacked(question)
        return np.where(np.abs(room) <= 1e-15, 0.0, room)

    def _stacked(self, question: Question) -> Floats:
        ends = question.upper[self.above], -question.lower[self.below]
        return np.concatenate([question.room, *ends])

    def _project(self, active: ActiveSet, room: Floats, target: Floats) -> ActiveSet | None:
        active = active.copy()
        deepest = max(0.0, -float(room.min(initial=0.0)))
        size = float(np.abs(target).max(initial=0.0)) + deepest
        found = project(active, room, target, 1e-13 * size)
        active.refresh()
        return active if isinstance(found, Projection) else None

    def _project_exactly(self, room: Rationals, target: Floats) -> ActiveSet | None:
        exact = ActiveSet(rationals(self.matrix))
        found = project(exact, room, rationals(target))
        active = ActiveSet(self.matrix, exact.rows)
        active.inverse = exact.inverse.astype(np.float64)
        return active if isinstance(found, Projection) else None

    @staticmethod
    def _segment(active: ActiveSet, room: Floats, gradient: Floats) -> Segment:
        growth, direction = active.split(gradient)
        slope = math.sqrt(direction @ direction)
        if slope <= FLAT * math.sqrt(gradient @ gradient):
            slope = 0.0
        if not active.rows:
            return Segment(np.zeros_like(gradient), direction, growth, growth, 0.0, slope)
        P, N, s = active.inverse, active.matrix[active.rows], room[active.rows]
        base = s @ P
        base = base + (s - N @ base) @ P
        return Segment(base, direction, -(P @ base), growth, math.sqrt(base @ base), slope)

    def _holds(self, segment: Segment, room: Floats, tau: float, reach: float) -> bool:
        """Whether a segment is the path at ``τ``."""
        if segment.base_length > reach:
            return False
        steady = tau == 0.0 or math.isinf(tau)
        y = segment.growth if steady else segment.rest + tau * segment.growth
        if tau == 0.0 and segment.base_length > 0.0:
            return False
        if y.min(initial=0.0) < -SIGN * np.abs(y).max(initial=0.0):
            return False
        step = segment.step(0.0 if steady else tau)
        slack = room - self.matrix @ step
        tight = SIGN * max(float(np.abs(step).max(initial=0.0)), -float(room.min(initial=0.0)))
        if math.isinf(tau) and segment.slope:
            rising = self.matrix @ segment.direction
            return bool(np.all((rising <= SIGN * segment.slope) & (slack >= -tight)
                               | (rising < -SIGN * segment.slope)))  # fmt: skip
        return bool(slack.min(initial=0.0) >= -tight)

    def _proposal(
        self, segment: Segment, active: ActiveSet, question: Question, tau: float
    ) -> Proposal:
        y = segment.growth + (segment.rest / tau if 0.0 < tau < math.inf else 0.0)
        step = segment.step(tau if tau < math.inf else _far(segment, question.reach))
        eta = np.zeros(len(self.matrix))
        eta[active.rows] = np.maximum(y, 0.0)
        bounds = np.zeros(len(step))
        bounds[self.above] += eta[self.rows : self.rows + len(self.above)]
        bounds[self.below] -= eta[self.rows + len(self.above) :]
        return Proposal(step, eta[: self.rows], bounds)


def _far(segment: Segment, reach: float) -> float:
    """Return a ``τ`` so far out that the supremum, if it is only approached, is nearly reached."""
    return min(reach, 1e7 * max(1.0, segment.base_length)) / (segment.slope or 1.0)


def _between(low: float, high: float) -> float:
    if math.isinf(high):
        return 64.0 * low if low else 1.0
    return math.sqrt(low * high) if low else high / 64.0
