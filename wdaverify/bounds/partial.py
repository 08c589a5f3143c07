r"""Bounds on pre-activations and gradients when only some signs of neurons are known.

An undecided neuron has a slope in :math:`[s, 1]`. Interval products from the input and from the
output each bound every entry of the gradient; their intersection bounds its dual norm. The
pre-activations are bounded by intervals and, on a bounded set, by back-substitution of two lines
for each neuron.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from wdaverify.arrays import Bools, Floats, Integers
from wdaverify.bounds.body import Body
from wdaverify.bounds.constants import CANCELLED
from wdaverify.tolerances import ROUNDING

__all__ = ["Gradients", "Partial", "Signs"]

Signs = Integers
"""``1`` on, ``-1`` off, ``0`` undecided; neurons of slope 1 count as on."""

FAR = 1e30
"""Stands for an infinite bound; what exceeds :data:`TRUSTED` says nothing."""

TRUSTED = 1e20


class Gradients(NamedTuple):
    """Bounds on dual norms, ``(B,)``, and how much each neuron's sign matters, ``(B, m)``."""

    bounds: Floats
    weights: Floats


class Interval(NamedTuple):
    """Lower and upper ends, any shape."""

    low: Floats
    high: Floats


class Partial:
    """Partial activation patterns of a network on a convex set."""

    def __init__(self, body: Body) -> None:
        self.body, self.network = body, body.network
        widths = self.network.widths
        ends = np.cumsum([0, *widths])
        self.parts = [slice(a, b) for a, b in pairwise(ends.tolist())]
        self.slopes = np.concatenate([*self.network.slopes, np.zeros(0)])
        self._lines = body.bounded and bool(np.all((self.slopes >= 0) & (self.slopes <= 1)))
        self._sizes = self._magnitudes()
        self._row_sizes = self._summands()

    def unknown(self) -> Signs:
        """Return the pattern of which nothing is known, ``(m,)``."""
        return self.network.linear.astype(np.int64)

    def implied(self, signs: Signs) -> tuple[Signs, Bools]:
        """Return patterns ``(B, m)`` with the signs that bounds imply, and which are possible."""
        signs, possible, _ = self._propagated(signs)
        return signs, possible

    def upper(self, signs: Signs, matrix: Floats) -> Floats:
        """Bound ``matrix z`` of the logits ``z`` from above: ``(B, m) -> (B, q)``."""
        signs, _, bounds = self._propagated(signs)
        W, b = matrix @ self.network.weights[-1], matrix @ self.network.biases[-1]
        return self._affine(bounds, W, b, len(self.parts)).high

    def _propagated(self, signs: Signs) -> tuple[Signs, Bools, Interval]:
        """Return implied signs, which patterns are possible, and bounds of pre-activations."""
        signs, possible = signs.copy(), np.ones(len(signs), dtype=bool)
        bounds = Interval(np.empty(signs.shape), np.empty(signs.shape))
        for k, part in enumerate(self.parts):
            low, high = self._affine(bounds, self.network.weights[k], self.network.biases[k], k)
            given, linear = signs[:, part], self.slopes[part] == 1.0
            possible &= ~np.any((given > 0) & (high < 0) & ~linear, axis=1)
            possible &= ~np.any((given < 0) & (low > 0), axis=1)
            given = np.where(given != 0, given, 1 * (low >= 0) - 1 * ((high <= 0) & (low < 0)))
            signs[:, part] = given
            bounds.low[:, part] = np.where((given > 0) & ~linear, np.maximum(low, 0.0), low)
            bounds.high[:, part] = np.where(given < 0, np.minimum(high, 0.0), high)
        return signs, possible, bounds

    def gradients(self, signs: Signs, head: Floats) -> Gradients:
        """Bound the dual norm of the gradient of ``head · z`` from above.

        Parameters
        ----------
        signs
            Shape ``(B, m)``.
        head
            Shape ``(K,)``.
        """
        B, network = len(signs), self.network
        W = np.broadcast_to(network.weights[0], (B, *network.weights[0].shape))
        forward, importance = Interval(W, W), np.zeros(signs.shape)
        factors = [self._factors(signs, k) for k in range(len(self.parts))]
        rows = []
        for k, factor in enumerate(factors):
            rows.append(self.body.norm.dual_length(np.maximum(-forward.low, forward.high)))
            forward = _scaled(forward, Interval(factor.low[..., None], factor.high[..., None]))
            if k + 1 < len(self.parts):
                forward = _times(network.weights[k + 1], forward)
        c = head @ network.weights[-1]
        back = Interval(np.broadcast_to(c, (B, len(c))), np.broadcast_to(c, (B, len(c))))
        for k in range(len(self.parts) - 1, -1, -1):
            spread = np.maximum(-back.low, back.high) * (factors[k].high - factors[k].low)
            importance[:, self.parts[k]] = spread * rows[k]
            back = _scaled(back, factors[k])
            W = network.weights[k]
            back = Interval(
                back.low @ np.maximum(W, 0.0) + back.high @ np.minimum(W, 0.0),
                back.high @ np.maximum(W, 0.0) + back.low @ np.minimum(W, 0.0),
            )
        low, high = back
        if self.parts:
            ahead = _times(c[None, None, :], forward)
            low, high = np.maximum(low, ahead.low[:, 0]), np.minimum(high, ahead.high[:, 0])
        return Gradients(self.body.norm.dual_length(np.maximum(-low, high)), importance)

    def rows(self, signs: Signs, branched: Bools) -> tuple[Floats, Floats]:
        """Return half-spaces ``G x <= h`` of branched neurons, as far as they are affine.

        A neuron's pre-activation is affine where all neurons of the earlier layers are decided.
        Rows in which almost everything cancels say nothing in floating point and are left out.
        """
        J, c = np.eye(self.network.features), np.zeros(self.network.features)
        G, h = [], []
        for k, part in enumerate(self.parts):
            W, b = self.network.weights[k], self.network.biases[k]
            J, c = W @ J, W @ c + b
            plain = np.linalg.norm(J, axis=1) > CANCELLED * self._row_sizes[k]
            at = branched[part] & (signs[part] != 0) & plain
            side = signs[part][at].astype(np.float64)
            G.append(-side[:, None] * J[at])
            h.append(side * c[at])
            if np.any(signs[part] == 0):
                break
            factor = np.where(signs[part] > 0, 1.0, self.slopes[part])
            J, c = factor[:, None] * J, factor * c
        empty = np.zeros((0, self.network.features))
        return np.concatenate([empty, *G]), np.concatenate([np.zeros(0), *h])

    def largest_rows(self, matrix: Floats) -> Floats:
        """Bound the lengths of the summands of ``matrix J``, ``J`` that of the logits, ``(q,)``."""
        return np.asarray(np.abs(matrix) @ self._row_sizes[-1])

    def _factors(self, signs: Signs, k: int) -> Interval:
        part = self.parts[k]
        given, slope = signs[:, part], self.slopes[part]
        low, high = np.minimum(slope, 1.0), np.maximum(slope, 1.0)
        known = np.where(given > 0, 1.0, slope)
        return Interval(np.where(given == 0, low, known), np.where(given == 0, high, known))

    def _affine(self, bounds: Interval, W: Floats, b: Floats, k: int) -> Interval:
        """Bound ``W h + b`` for the activations ``h`` before layer ``k``, ``(B, q)``."""
        if k == 0:
            low, high = (np.broadcast_to(v, (len(bounds.low), len(b))) for v in self._first(W))
        else:
            part = self.parts[k - 1]
            inner = self._activated(Interval(bounds.low[:, part], bounds.high[:, part]), part)
            positive, negative = np.maximum(W, 0.0).T, np.minimum(W, 0.0).T
            low = inner.low @ positive + inner.high @ negative
            high = inner.high @ positive + inner.low @ negative
            if self._lines:
                both = self._substituted(bounds, np.concatenate([W, -W]), k)
                high = np.minimum(high, both[:, : len(b)])
                low = np.maximum(low, -both[:, len(b) :])
        size = np.abs(W) @ self._sizes[k] + np.abs(b)
        error = 8.0 * (W.shape[1] + 4) * (k + 1) * ROUNDING * size
        low, high = low + b - error, high + b + error
        return Interval(
            np.where(np.abs(low) > TRUSTED, -FAR, low), np.where(np.abs(high) > TRUSTED, FAR, high)
        )

    def _first(self, W: Floats) -> Interval:
        if self.body.bounded:
            return Interval(-self.body.largest(-W), self.body.largest(W))
        lower, upper = np.maximum(self.body.lower, -FAR), np.minimum(self.body.upper, FAR)
        positive, negative = np.maximum(W, 0.0), np.minimum(W, 0.0)
        return Interval(positive @ lower + negative @ upper, positive @ upper + negative @ lower)

    def _activated(self, z: Interval, part: slice) -> Interval:
        s = self.slopes[part]
        ends = [np.maximum(v, 0.0) + s * np.minimum(v, 0.0) for v in z]
        zero = np.where((z.low < 0) & (z.high > 0), 0.0, ends[0])
        return Interval(np.minimum(np.minimum(*ends), zero), np.maximum(np.maximum(*ends), zero))

    def _substituted(self, bounds: Interval, rows: Floats, layer: int) -> Floats:
        """Bound ``rows h`` from above by two lines for each neuron, ``(B, q)``."""
        B = len(bounds.low)
        coefficients = np.broadcast_to(rows, (B, *rows.shape))
        constant = np.zeros((B, len(rows)))
        for k in range(layer - 1, -1, -1):
            part = self.parts[k]
            s, low, high = self.slopes[part], bounds.low[:, part], bounds.high[:, part]
            on, off = low >= 0, high <= 0
            open_ = ~(on | off)
            width = np.where(open_, high - low, 1.0)
            above = np.where(open_, (high - s * low) / width, np.where(on, 1.0, s))
            below = np.where(open_, np.where(high > -low, 1.0, s), above)
            rise = np.where(open_, high * (1.0 - above), 0.0)
            positive = np.maximum(coefficients, 0.0)
            constant += (positive @ rise[:, :, None])[:, :, 0]
            inner = positive * above[:, None, :] + (coefficients - positive) * below[:, None, :]
            constant += inner @ self.network.biases[k]
            coefficients = inner @ self.network.weights[k]
        return constant + self.body.largest(coefficients)

    def _summands(self) -> list[Floats]:
        """Bound the length of every row of every layer's Jacobian if nothing cancelled."""
        size, lengths = np.eye(self.network.features), []
        factors = (*self.network.slopes, np.ones(self.network.classes))
        for W, s in zip(self.network.weights, factors, strict=True):
            size = np.abs(W) @ size
            lengths.append(np.linalg.norm(size, axis=1))
            size = np.maximum(1.0, np.abs(s))[:, None] * size
        return lengths

    def _magnitudes(self) -> list[Floats]:
        """Bound ``|h|`` before every layer, for rounding errors; 0 on an unbounded set."""
        size = np.maximum(np.abs(self.body.lower), np.abs(self.body.upper))
        sizes = [np.where(np.isfinite(size), size, 0.0)]
        for k, part in enumerate(self.parts):
            z = np.abs(self.network.weights[k]) @ sizes[-1] + np.abs(self.network.biases[k])
            sizes.append(np.maximum(1.0, np.abs(self.slopes[part])) * z)
        return sizes


def _scaled(values: Interval, factors: Interval) -> Interval:
    """Multiply intervals entry by entry."""
    four = [v * f for v in values for f in factors]
    return Interval(
        np.minimum(np.minimum(four[0], four[1]), np.minimum(four[2], four[3])),
        np.maximum(np.maximum(four[0], four[1]), np.maximum(four[2], four[3])),
    )


def _times(matrix: Floats, values: Interval) -> Interval:
    """Multiply a matrix with intervals from the left."""
    positive, negative = np.maximum(matrix, 0.0), np.minimum(matrix, 0.0)
    return Interval(
        positive @ values.low + negative @ values.high,
        positive @ values.high + negative @ values.low,
    )
