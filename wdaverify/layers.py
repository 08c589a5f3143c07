"""The product of the norms of a network's layers: a Lipschitz constant without any solver."""

import numpy as np

from wdaverify.arrays import Floats
from wdaverify.network import AffineMap, ReLUNetwork
from wdaverify.norms import GroundNorm
from wdaverify.tolerances import ROUNDING

__all__ = ["composition_room", "layer_product", "summands"]


def layer_product(network: ReLUNetwork, norm: GroundNorm) -> Floats:
    r"""Return :math:`\max_j\|w_j-w_y\|_* \prod_l\|W_l\|_{r\to r}` for each label, ``(K,)``.

    ``w_j`` are the rows of the last layer; a LeakyReLU of slope above 1 in magnitude counts as
    a factor. Rounded upwards.
    """
    product = 1.0
    for W, s in zip(network.weights[:-1], network.slopes, strict=True):
        product *= norm.operator_norm(W) * float(np.abs(s).max(initial=1.0))
    last = network.weights[-1]
    heads = [norm.dual_length(last - last[y]).max() for y in range(network.classes)]
    steps = sum(max(W.shape) + 8 for W in network.weights)
    # a singular value carries an error of a modest multiple of its matrix's size
    constants: Floats = np.array(heads) * product * (1.0 + 8 * steps * ROUNDING)
    return constants


def summands(network: ReLUNetwork) -> Floats:
    """Bound the entries of the Jacobian of the logits if nothing cancelled, ``(K, n)``."""
    size = np.eye(network.features)
    for W, s in zip(network.weights, (*network.slopes, np.ones(network.classes)), strict=True):
        size = np.maximum(1.0, np.abs(s))[:, None] * (np.abs(W) @ size)
    return size


def composition_room(network: ReLUNetwork, outputs: AffineMap, norm: GroundNorm) -> float:
    """Bound what rounding does to gradients where the last layer is multiplied by ``outputs``.

    An entry of the product carries an error of at most ``(K + 2) u |C| |W|``.
    """
    size = np.abs(outputs.matrix) @ summands(network)
    steps = 2 * (network.classes + 2 + sum(W.shape[1] + 3 for W in network.weights))
    return float(steps * ROUNDING * norm.dual_length(size).max(initial=0.0))
