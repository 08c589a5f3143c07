r"""A two-dimensional slice through a point: a network of two inputs.

.. math:: \{x : x_k = x^0_k \text{ for all } k \ne i, j\},\quad
          W_0' = W_0[:, (i, j)],\quad b_0' = b_0 + \sum_{k \ne i, j} W_0[:, k]\, x^0_k
"""

import numpy as np

from wdaverify.arrays import Floats
from wdaverify.errors import ProblemError
from wdaverify.network import ReLUNetwork
from wdaverify.support import Box, Polytope, Support

__all__ = ["sliced"]


def sliced(
    network: ReLUNetwork, support: Support, point: Floats, features: tuple[int, int]
) -> tuple[ReLUNetwork, Support]:
    """Return network and support as functions of two features, the others held fixed.

    The offsets of the first layer (and of the rows of a polytope) are rounded once.

    Parameters
    ----------
    support
        Bound, shape of the network's inputs.
    point
        Gives the other features, shape ``(n,)``.
    features
        The two that vary, in the order of the axes.

    Raises
    ------
    ProblemError
        Not two different features.
    """
    i, j = features
    if i == j or not all(0 <= k < network.features for k in features):
        raise ProblemError(
            f"slice: expected two different features from 0 to {network.features - 1}, "
            f"found {i},{j}"
        )
    shown, held = [i, j], np.delete(np.arange(network.features), [i, j])
    first = network.weights[0]
    biases = [network.biases[0] + first[:, held] @ point[held], *network.biases[1:]]
    small = ReLUNetwork([first[:, shown], *network.weights[1:]], biases, network.slopes)
    if isinstance(support, Box):
        return small, Box(support.lower[shown], support.upper[shown])
    matrix, bound = support.rows
    return small, Polytope(matrix[:, shown], bound - matrix[:, held] @ point[held])
