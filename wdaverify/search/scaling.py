r"""A network and its samples in the units of the search: every number of order one.

Inputs become displacements in units of the box, :math:`u = (x - x_i)/\sigma`; each hidden neuron is
divided by its largest magnitude on the box (activations are positively homogeneous), the objective
by its own. All factors are powers of two, so nothing rounds but :math:`W_1 x_i + b_1`.

.. math:: z_1 = W_1 u + c_i,\quad z_l = W_l h_{l-1} + b_l,\quad
          \text{objective}_j = w_j \cdot h_L + \beta_j - \lambda \|u\|^p
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from wdaverify.arrays import Bools, Floats
from wdaverify.errors import UnsupportedError
from wdaverify.network import AffineMap, ReLUNetwork
from wdaverify.support import Box, Support
from wdaverify.tolerances import ROUNDING

__all__ = ["Scaled", "activate", "bounded_box", "scaled"]


@dataclass(frozen=True, slots=True, eq=False)
class Scaled:
    """The question of one label in scaled units; ``m`` hidden neurons, ``P`` pieces.

    Attributes
    ----------
    weights, biases
        ``W_1 … W_L`` and ``b_1 … b_L`` of the hidden layers (``b_1`` is contained in `origins`).
    slopes
        Negative slopes of all hidden neurons, ``(m,)``.
    gradients, offsets
        Pieces of the objective as functions of the last hidden layer, ``(P, m_L)`` and ``(P,)``.
    origins
        First pre-activations at the samples, ``(N, m_1)``.
    lower, upper
        The box around each sample, ``(N, n)``: ``lower <= 0 <= upper``.
    magnitudes
        Bound on every pre-activation and every partial sum on the way to it, ``(m,)``.
    layers
        Where each hidden layer lies among the ``m`` neurons.
    scales
        The value of one unit of each hidden neuron, ``(m,)``.
    length, unit
        ``σ`` and the value of one unit of the objective.
    """

    weights: tuple[Floats, ...]
    biases: tuple[Floats, ...]
    slopes: Floats
    gradients: Floats
    offsets: Floats
    origins: Floats
    lower: Floats
    upper: Floats
    magnitudes: Floats
    layers: tuple[slice, ...]
    scales: Floats
    length: float
    unit: float

    @property
    def neurons(self) -> int:
        """Number of hidden neurons."""
        return len(self.slopes)

    @property
    def features(self) -> int:
        """Input dimension."""
        return int(self.lower.shape[1])

    @property
    def splits(self) -> Bools:
        """Which neurons are not linear, ``(m,)``."""
        splits: Bools = self.slopes != 1.0
        return splits

    @property
    def relative_error(self) -> float:
        """Relative error, against `magnitudes`, of any sum of products along the layers."""
        return 4.0 * (self.features + self.neurons + 16) * ROUNDING


def activate(z: Floats, slopes: Floats) -> Floats:
    """Apply ``max(z, s z)``, which is the activation for slopes between 0 and 1."""
    return np.maximum(z, slopes * z)


def bounded_box(support: Support) -> tuple[Floats, Floats]:
    """Return the box of a support.

    Raises
    ------
    UnsupportedError
        The support is not a box with finite bounds.
    """
    lower, upper = support.bounds
    if not isinstance(support, Box) or not np.isfinite(np.concatenate([lower, upper])).all():
        raise UnsupportedError(
            f"search: expected a box with finite bounds as support, found {support.describe()}; "
            f"use the cells engine or give the box that the inputs cannot leave"
        )
    return lower, upper


def scaled(network: ReLUNetwork, support: Support, pieces: AffineMap, samples: Floats) -> Scaled:
    """Scale a network, the pieces ``(P, K)`` of a loss and samples ``(N, n)``.

    Raises
    ------
    UnsupportedError
        A bound of the support is infinite, or a slope lies outside ``[0, 1]``.
    """
    lower, upper = bounded_box(support)
    _check_slopes(np.concatenate([*network.slopes, np.zeros(0)]))
    network = _with_hidden_layer(network)
    sigma = _power_of_two(float((upper - lower).max(initial=0.0)))
    farthest = np.maximum(np.abs(lower), np.abs(upper))
    weights, biases, sizes, scales, factor = [], [], [], [], np.ones(network.features)
    size = farthest
    for W, b in zip(network.weights[:-1], network.biases[:-1], strict=True):
        size = np.abs(W * factor) @ size + np.abs(b)
        scale = np.array([_power_of_two(v) for v in size])
        weights.append(W * factor / scale[:, None])
        biases.append(b / scale)
        size, factor = size / scale, scale
        sizes.append(size)
        scales.append(scale)
    matrix = pieces.matrix @ network.weights[-1] * factor
    unit = _power_of_two(float((np.abs(matrix) @ size).max(initial=0.0)))
    ends = np.cumsum([0, *network.widths]).tolist()
    origins = samples @ weights[0].T + biases[0]
    weights[0] = weights[0] * sigma
    return Scaled(
        tuple(weights),
        tuple(biases),
        np.concatenate(network.slopes),
        matrix / unit,
        (pieces.matrix @ network.biases[-1] + pieces.offset) / unit,
        origins,
        np.minimum((lower - samples) / sigma, 0.0),
        np.maximum((upper - samples) / sigma, 0.0),
        np.concatenate(sizes),
        tuple(slice(a, b) for a, b in pairwise(ends)),
        np.concatenate(scales),
        sigma,
        unit,
    )


def _check_slopes(slopes: Floats) -> None:
    if ((slopes < 0) | (slopes > 1)).any():
        raise UnsupportedError("search: expected negative slopes between 0 and 1")


def _power_of_two(value: float) -> float:
    return float(2.0 ** np.ceil(np.log2(value))) if value > 0 else 1.0


def _with_hidden_layer(network: ReLUNetwork) -> ReLUNetwork:
    """Give an affine network one hidden layer, of linear neurons."""
    if network.widths:
        return network
    classes = network.classes
    return ReLUNetwork(
        [*network.weights, np.eye(classes)],
        [*network.biases, np.zeros(classes)],
        [np.ones(classes)],
    )
