r"""The network in coordinates of a frame, for many partial cells at once.

Rows are the support's slacks :math:`h - Gu` (unit rows) and the pre-activations. On a partial cell
each is affine; values and directional derivatives come from a forward pass with the slopes of the
cell, gradients and Lagrangian bounds from a backward pass, both matrix products shared by all
cells. Neurons are scaled by powers of two, which changes no sign and no rounding.
"""

from dataclasses import dataclass

import numpy as np

from wdaverify.arrays import Bools, Floats, Integers
from wdaverify.cells.dictionary.exact import is_plain
from wdaverify.cells.frame import Frame, unit_rows
from wdaverify.convex.highs import LinearProgram
from wdaverify.network import ReLUNetwork
from wdaverify.rational import rationals
from wdaverify.tolerances import ROUNDING

__all__ = ["Model", "Plane"]

SMALLEST = 1e-60
"""Numbers smaller than this (after scaling) could underflow in products: not for this method."""


@dataclass(frozen=True, slots=True)
class Plane:
    """Affine functions ``c + r · u`` with error bounds, one per cell."""

    constant: Floats
    gradient: Floats
    constant_error: Floats
    gradient_error: Floats


class Model:
    """Shared data and batched evaluation.

    Attributes
    ----------
    dimension, support, neurons
        Numbers ``d``, ``S``, ``H``.
    starts
        First neuron of each layer and, last, ``H``.
    extent
        Bound of the absolute coordinates over the support, infinite without one, ``(d,)``.
    suitable
        Whether all numbers are far from under- and overflow.
    """

    def __init__(self, network: ReLUNetwork, frame: Frame) -> None:
        self.dimension = frame.dimension
        self.neurons, self.widths = network.neurons, network.widths
        self.starts = np.concatenate([[0], np.cumsum(network.widths)]).astype(int)
        self.layer_of = np.repeat(np.arange(len(network.widths)), network.widths)
        self.slopes, self.linear = network.slopes, network.linear
        G, h = unit_rows(frame.matrix.astype(np.float64), frame.bound.astype(np.float64))
        self.matrix, self.bound, self.support = G, h, len(h)
        self.axis = np.abs(G).argmax(axis=1) if len(h) and np.all((G != 0).sum(1) == 1) else None
        self.weights, self.biases = _scaled(network, frame)
        self.columns = [np.ascontiguousarray(W.T) for W in self.weights]
        self.extent = _extent(G, h)
        numbers = np.concatenate([v.ravel() for v in (G, h, *self.weights, *self.biases)])
        sizes = np.abs(numbers[numbers != 0])
        self.suitable = bool(np.all((sizes > SMALLEST) & (sizes < 1 / SMALLEST)))
        roundings = self.support + self.dimension + 8 + sum(w + 6 for w in self.widths)
        self.gamma = 2.0 * roundings * ROUNDING
        self.sizes = [np.linalg.norm(self.weights[0], axis=1)] if self.weights else []
        for W, slope in zip(self.weights[1:], self.slopes, strict=False):
            self.sizes.append((np.abs(W) * np.maximum(1.0, np.abs(slope))) @ self.sizes[-1])

    def span(self, layer: int) -> slice:
        """Neurons of a layer."""
        return slice(int(self.starts[layer]), int(self.starts[layer + 1]))

    def forward(self, X: Floats, slope: Floats, layer: int, *, affine: bool = True) -> Floats:
        """Raw values of the support's rows and of the neurons up to ``layer``.

        Parameters
        ----------
        X
            Points, or directions when not ``affine``, ``(B, d)``.
        slope
            Slopes of the neurons of the layers before, ``(B, H)``.
        """
        S = self.support
        raw = np.empty((len(X), S + int(self.starts[layer + 1])))
        if self.axis is None:
            raw[:, :S] = X @ -self.matrix.T
        else:
            np.multiply(X[:, self.axis], -self.matrix.sum(axis=1), out=raw[:, :S])
        if affine:
            raw[:, :S] += self.bound
        before = X
        for m in range(layer + 1):
            at = self.span(m)
            z = before @ self.columns[m]
            if affine:
                z += self.biases[m]
            raw[:, S + at.start : S + at.stop] = z
            if m < layer:
                before = z * slope[:, at]
        return raw

    def gradients(self, rows: Integers, slope: Floats) -> Floats:
        """Return the gradients of raw rows, one per cell, ``(B, d)``."""
        gradient = np.empty((len(rows), self.dimension))
        S = self.support
        inside = rows < S
        gradient[inside] = -self.matrix[rows[inside]]
        for layer in range(len(self.widths)):
            at = self.span(layer)
            here = np.flatnonzero((rows >= S + at.start) & (rows < S + at.stop))
            if len(here):
                weights = self.weights[layer][rows[here] - S - at.start]
                for m in range(layer - 1, -1, -1):
                    weights = (weights * slope[here, self.span(m)]) @ self.weights[m]
                gradient[here] = weights
        return gradient

    def sizes_of(self, neurons: Integers, slope: Floats, layer: int) -> Floats:
        """Bound the summands of the gradients of neurons of one layer."""
        weights = np.abs(self.weights[layer][neurons - self.starts[layer]])
        if layer == 0:
            return np.asarray(weights.sum(axis=1))
        before = self.sizes[layer - 1]
        return np.asarray((weights * np.abs(slope[:, self.span(layer - 1)])) @ before)

    def combine(self, multipliers: Floats, slope: Floats, layer: int) -> Plane:
        """Sum raw rows with multipliers ``(B, S + ...)``: a backward pass with error bounds."""
        c, r = self._backward(multipliers, slope, layer, absolute=False)
        size, sizes = self._backward(multipliers, slope, layer, absolute=True)
        return Plane(c, r, self.gamma * size, self.gamma * sizes)

    def _backward(
        self, multipliers: Floats, slope: Floats, layer: int, *, absolute: bool
    ) -> tuple[Floats, Floats]:
        size = np.abs if absolute else np.asarray
        multipliers, slope = size(multipliers), size(slope)
        S = self.support
        constant = multipliers[:, :S] @ size(self.bound)
        carried: Floats | float = 0.0
        for m in range(layer, -1, -1):
            at = self.span(m)
            here = multipliers[:, S + at.start : S + at.stop] + carried
            constant += here @ size(self.biases[m])
            carried = here @ size(self.weights[m])
            if m:
                carried *= slope[:, self.span(m - 1)]
        return constant, carried + multipliers[:, :S] @ size(-self.matrix)

    def sizes_at(self, X: Floats, slope: Floats, layer: int) -> Floats:
        """Sum the absolute summands of raw values, ``(B, S + ...)``.

        Times ``gamma`` it bounds their errors; at the origin it bounds the raw values themselves.
        """
        before = np.abs(X)
        bounds = [before @ np.abs(self.matrix).T + np.abs(self.bound)]
        for m in range(layer + 1):
            z = (before @ np.abs(self.columns[m]) + np.abs(self.biases[m])) * (1 + self.gamma)
            bounds.append(z)
            before = z * np.abs(slope[:, self.span(m)])
        return np.concatenate(bounds, axis=1)

    def inside(self, points: Floats, pattern: Bools, cuts: Bools) -> Bools:
        """Whether points are certainly strictly inside the support and the sides of the cuts.

        A running error bound of the network itself, as
        :meth:`~wdaverify.network.ReLUNetwork.rounding_errors`, in scaled neurons.
        """
        gamma, size = self.gamma, np.abs(points)
        slack = self.bound - points @ self.matrix.T
        error = gamma * (size @ np.abs(self.matrix).T + np.abs(self.bound))
        certain: Bools = np.all(slack > error, axis=1) & np.all(np.isfinite(points), axis=1)
        h, error = points, np.zeros_like(points)
        for m, (W, b) in enumerate(zip(self.columns, self.biases, strict=True)):
            at = self.span(m)
            z = h @ W + b
            error = (error + gamma * np.abs(h)) @ np.abs(W) + gamma * np.abs(b)
            signed = np.where(pattern[:, at], z, -z)
            certain &= np.all((signed > error) | ~cuts[:, at], axis=1)
            slope = self.slopes[m]
            h = np.maximum(z, 0.0) + slope * np.minimum(z, 0.0)
            error = error * np.maximum(1.0, np.abs(slope)) + ROUNDING * np.abs(h)
        return certain


def _scaled(network: ReLUNetwork, frame: Frame) -> tuple[list[Floats], list[Floats]]:
    """Hidden layers in frame coordinates, the largest weight of each neuron in [1/2, 1)."""
    weights = [W.copy() for W in network.weights]
    biases = [b.copy() for b in network.biases]
    if not network.widths:
        return [], []
    if not is_plain(frame):
        weights[0], biases[0] = _first_layer(network, frame)
    for m in range(len(network.widths)):
        largest = np.abs(weights[m]).max(axis=1, initial=0.0)
        exponent = np.where(largest > 0, np.frexp(largest)[1], 0)
        weights[m] = _shifted(weights[m], -exponent[:, None])
        biases[m] = _shifted(biases[m], -exponent)
        weights[m + 1] = _shifted(weights[m + 1], exponent[None, :])
    return weights[:-1], biases[:-1]


def _shifted(numbers: Floats, exponent: Integers) -> Floats:
    """Multiply by powers of two; what vanishes becomes NaN and so unsuitable."""
    with np.errstate(over="ignore", under="ignore"):
        result = np.ldexp(numbers, exponent)
    return np.where((result == 0) & (numbers != 0), np.nan, result)


def _first_layer(network: ReLUNetwork, frame: Frame) -> tuple[Floats, Floats]:
    """First layer in frame coordinates, correctly rounded."""
    W, b = rationals(network.weights[0]), rationals(network.biases[0])
    return (W @ frame.basis).astype(np.float64), (W @ frame.origin + b).astype(np.float64)


def _box_extent(G: Floats, h: Floats) -> Floats:
    """Bound the coordinates by rows of one coordinate each, all infinite if one has no bound."""
    upper, lower = np.full(G.shape[1], np.inf), np.full(G.shape[1], -np.inf)
    axis, slope = np.abs(G).argmax(axis=1), G.sum(axis=1)
    np.minimum.at(upper, axis[slope > 0], (h / slope)[slope > 0])
    np.maximum.at(lower, axis[slope < 0], (h / slope)[slope < 0])
    largest = 1.01 * np.maximum(np.abs(upper), np.abs(lower))
    return np.asarray(largest if np.all(np.isfinite(largest)) else np.full_like(largest, np.inf))


def _extent(G: Floats, h: Floats) -> Floats:
    """Bound the coordinates by multipliers of the rows; what these leave of a coordinate is small.

    With ``e = Gᵀη + r``, ``|r|₁ <= 1/4`` and ``η >= 0``: ``|u_k| <= max (η · h) + max |u| / 4``.
    """
    d = G.shape[1]
    free = np.full(d, np.inf)
    if d and np.all(np.count_nonzero(G, axis=1) == 1):
        return _box_extent(G, h)
    program = LinearProgram(-free, free)
    program.add_rows(G, h)
    bounds = []
    for direction in (*-np.eye(d), *np.eye(d)):
        eta = np.maximum(program.maximize(direction).multipliers, 0.0)
        if len(eta) != len(h) or not np.abs(direction - eta @ G).sum() <= 0.25:
            return free
        bounds.append(float(eta @ h))
    largest = np.maximum(bounds[:d], bounds[d:])
    return np.asarray(1.01 * (np.abs(largest) + 0.5 * np.abs(largest).max(initial=0.0)))
