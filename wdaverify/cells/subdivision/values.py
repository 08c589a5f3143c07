r"""Pre-activations at many points, with bounds of their rounding errors.

The support is bounded: :math:`|u| \le r`. At a point of size :math:`s = \max_j r|u_j|/r_j` (with
:math:`r = \max_j r_j`), with :math:`m_0 = s\,r_j/r` and
:math:`m_l = |W_l|\,m_{l-1} + |b_l|` (times the steepest slope) computed pre-activations are within

.. math:: e_l = |W_l|\,e_{l-1} + \gamma\, m_l, \qquad \gamma = \frac{(k+3)u}{1-(k+3)u}

of the exact ones, and change by at most :math:`\ell_l = |W_l|\,\ell_{l-1}` when the point moves by
one in the maximum norm (Higham, *Accuracy and Stability of Numerical Algorithms*, section 3.1);
a little is added for underflow. :math:`\gamma` covers every order of summation and fused products.
These bounds are affine in ``s``: points near the origin of a large support have small ones.
"""

import numpy as np
import numpy.typing as npt

from wdaverify.arrays import Bools, Floats, Integers
from wdaverify.cells.subdivision.exact import ExactArrangement
from wdaverify.tolerances import ROUNDING

__all__ = ["Products", "Values"]

UNDERFLOW = 1e-315
"""More than what a pre-activation loses when products underflow."""

COLUMNS = 8192
"""Points that are evaluated at a time."""


class Products:
    """Products of matrices in float64, by numpy: all that a device may do instead."""

    def affine(self, W: Floats, X: Floats, b: Floats) -> Floats:
        """Return ``W @ X + b``, in any order of summation."""
        result = W @ X
        result += b[:, None]
        return np.asarray(result)

    def sorted_by(self, keys: npt.NDArray[np.uint64]) -> Integers:
        """Return an order in which the keys ascend."""
        return np.argsort(keys)


class Values:
    """Pre-activations in the coordinates of a frame; points are columns.

    Parameters
    ----------
    exact
        The arrangement; the network has at least one hidden neuron.
    reach
        Largest absolute value of each coordinate over the support, ``(d,)``.
    products
        What multiplies matrices.

    Attributes
    ----------
    fixed, growing, steepness
        Rounding error at the origin, what it gains per unit of size, and Lipschitz constant
        (maximum norm) of each neuron, then of the slack of each support row, ``(neurons + m,)``.
    """

    def __init__(
        self, exact: ExactArrangement, reach: Floats, products: Products | None = None
    ) -> None:
        self.products = products or Products()
        network, frame = exact.network, exact.frame
        W, b = exact.first_layer()
        self.weights, self.biases = [W, *network.weights[1:-1]], [b, *network.biases[1:-1]]
        self.slopes = [s[:, None] for s in network.slopes]
        self.matrix = frame.matrix.astype(np.float64)
        self.bound = frame.bound.astype(np.float64)
        self.opposite = -self.bound
        self.starts = np.concatenate([[0], np.cumsum(network.widths)]).astype(int)
        self.shape = reach / reach.max()
        self.fixed, self.growing, self.steepness = self._bounds(float(reach.max()))

    @property
    def finite(self) -> bool:
        """Whether no bound overflows on the support."""
        return bool(np.all(np.isfinite(self.fixed + self.growing + self.steepness)))

    def sizes(self, points: Floats) -> Floats:
        """Return what the errors depend on: ``(d, N) -> (N,)``, at least the maximum norm."""
        return np.asarray((np.abs(points) / self.shape[:, None]).max(axis=0) * (1 + 4 * ROUNDING))

    def errors(self, rows: slice, sizes: Floats) -> Floats:
        """Bound the rounding errors of some rows at points of some sizes, ``(rows, N)``."""
        return np.asarray(self.fixed[rows, None] + self.growing[rows, None] * sizes)

    def below(self, points: Floats, layers: int) -> Floats:
        """Return the pre-activations of the first layers: ``(d, N) -> (neurons in them, N)``."""
        result = np.empty((self.starts[layers], points.shape[1]))
        for layer in range(layers):
            self._layer(layer, points if layer == 0 else self._rows(result, layer - 1), result)
        return result

    def above(self, values: Floats, layer: int) -> Floats:
        """Return the pre-activations of a layer from those of the layer before."""
        result = np.empty((len(self.biases[layer]), values.shape[1]))
        for start in range(0, values.shape[1], COLUMNS):
            part = slice(start, start + COLUMNS)
            h = self._activated(values[:, part], layer - 1)
            result[:, part] = self.products.affine(self.weights[layer], h, self.biases[layer])
        return result

    def slack(self, points: Floats) -> Floats:
        """Return how far each point is inside each support row: ``(d, N) -> (m, N)``."""
        return -self.products.affine(self.matrix, points, self.opposite)

    def proved(self, points: Floats, patterns: Bools) -> tuple[Bools, Bools]:
        """Return what float64 proves of points that should have some patterns.

        Parameters
        ----------
        points
            Shape ``(d, N)``.
        patterns
            Shape ``(N, neurons)``.

        Returns
        -------
        ndarray, ndarray
            Which neurons have the right sign, ``(N, neurons)``, and whether the point is strictly
            inside the support, ``(N,)``.
        """
        values, sizes = self.below(points, len(self.weights)), self.sizes(points)
        neurons, walls = slice(0, len(values)), slice(len(values), None)
        clear, on = np.abs(values) > self.errors(neurons, sizes), values > 0
        inside = self.slack(points) > self.errors(walls, sizes)
        return clear.T & (patterns == on.T), np.asarray(inside.all(axis=0))

    def possible(self, points: Floats, patterns: Bools, neurons: Bools) -> Bools:
        """Whether points that were rounded once may have the given pattern, ``(N,)``."""
        values, sizes = self.below(points, len(self.weights)), self.sizes(points)
        rows = slice(0, len(values))
        error = self.errors(rows, sizes) + self.steepness[rows, None] * ROUNDING * sizes
        wrong = np.where(patterns.T, values < -error, values > error)
        return np.asarray(~wrong[neurons].any(axis=0))

    def _rows(self, values: Floats, layer: int) -> Floats:
        rows = values[self.starts[layer] : self.starts[layer + 1]]
        return self._activated(rows, layer)

    def _layer(self, layer: int, h: Floats, result: Floats) -> None:
        rows = slice(int(self.starts[layer]), int(self.starts[layer + 1]))
        result[rows] = self.products.affine(self.weights[layer], h, self.biases[layer])

    def _activated(self, values: Floats, layer: int) -> Floats:
        slope = self.slopes[layer]
        h = np.maximum(values, 0.0)
        if slope.any():
            h += slope * np.minimum(values, 0.0)
        return h

    def _bounds(self, reach: float) -> tuple[Floats, Floats, Floats]:
        """Bound errors at the origin and their growth, from those of the largest size."""
        fixed, steepness = self._bounds_at(0.0)
        largest, _ = self._bounds_at(reach)
        return fixed, np.maximum(largest - fixed, 0.0) / reach * (1 + 8 * ROUNDING), steepness

    def _bounds_at(self, size: float) -> tuple[Floats, Floats]:
        sizes = size * self.shape
        error, steep = np.zeros(len(sizes)), np.ones(len(sizes))
        errors, steepness = [], []
        A = np.abs(self.matrix)
        wall = 2 * _gamma(A.shape[1]) * (A @ sizes + np.abs(self.bound))
        for W, b, slope in zip(self.weights, self.biases, self.slopes, strict=True):
            sizes = np.abs(W) @ sizes + np.abs(b)
            gamma = _gamma(W.shape[1])
            error = ((np.abs(W) @ error) * (1 + gamma) + gamma * sizes) * (1 + gamma)
            error += UNDERFLOW
            steep = np.abs(W) @ steep
            errors.append(error)
            steepness.append(steep * (1 + gamma))
            largest = np.maximum(1.0, np.abs(slope[:, 0]))
            sizes, steep = sizes * largest, steep * largest
            error = error * largest + ROUNDING * sizes
        return np.concatenate([*errors, wall]), np.concatenate([*steepness, A.sum(axis=1)])


def _gamma(terms: int) -> float:
    steps = (terms + 3) * ROUNDING
    return steps / (1 - steps)
