r"""The pieces of a loss as the logits of a network.

.. math:: x \mapsto (0,\; C_y f(x) + c_y), \qquad
          \ell(f(x), y) = \max_p\,(C_y f(x) + c_y)_p

The margin of that network with label 0 is the loss, so whatever bounds margins bounds it.
"""

import numpy as np

from wdaverify.loss import Loss
from wdaverify.network import ReLUNetwork

__all__ = ["piece_network"]


def piece_network(network: ReLUNetwork, loss: Loss, label: int) -> ReLUNetwork:
    """Return the network whose margin with label 0 is a loss with a label.

    Its last layer is a product of matrices, so its entries are rounded.

    Raises
    ------
    UnsupportedError
        The loss is not a maximum of affine functions of the logits.
    """
    C, c = loss.pieces(network.classes, label)
    rows = np.concatenate([np.zeros((1, network.classes)), C])
    last = rows @ network.weights[-1], rows @ network.biases[-1] + np.append(0.0, c)
    weights = [*network.weights[:-1], last[0]]
    return ReLUNetwork(weights, [*network.biases[:-1], last[1]], network.slopes)
