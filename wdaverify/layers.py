"""The product of the norms of a network's layers: a Lipschitz constant without any solver."""

import numpy as np

from wdaverify.arrays import Floats
from wdaverify.network import ReLUNetwork
from wdaverify.norms import GroundNorm
from wdaverify.tolerances import ROUNDING

__all__ = ["layer_product"]


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
