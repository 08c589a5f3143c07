r"""A network on a plane: a network of two inputs.

Two features vary, the others are those of a point,

.. math:: \{x : x_k = x^0_k \text{ for all } k \ne i, j\},\quad
          W_0' = W_0[:, (i, j)],\quad b_0' = b_0 + \sum_{k \ne i, j} W_0[:, k]\, x^0_k

or two directions are followed from a point,

.. math:: \{x^0 + u_1 d_1 + u_2 d_2\},\quad W_0' = W_0 (d_1, d_2),\quad b_0' = b_0 + W_0 x^0
"""

import numpy as np

from wdaverify.arrays import Floats
from wdaverify.errors import ProblemError
from wdaverify.network import ReLUNetwork
from wdaverify.support import Box, Polytope, Support

__all__ = ["sliced", "spanned"]


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
    small = _of_two(network, first[:, shown], first[:, held] @ point[held])
    if isinstance(support, Box):
        return small, Box(support.lower[shown], support.upper[shown])
    matrix, bound = support.rows
    return small, Polytope(matrix[:, shown], bound - matrix[:, held] @ point[held])


def spanned(
    network: ReLUNetwork, support: Support, point: Floats, directions: Floats
) -> tuple[ReLUNetwork, Polytope]:
    """Return network and support as functions of the coordinates along two directions.

    The first layer and the rows of the support are rounded once.

    Parameters
    ----------
    support
        Bound, shape of the network's inputs.
    point
        Where both coordinates are 0, shape ``(n,)``.
    directions
        Linearly independent, shape ``(2, n)``.
    """
    first, (matrix, bound) = network.weights[0], support.rows
    rows, room = matrix @ directions.T, bound - matrix @ point
    cuts = np.any(rows != 0, axis=1)  # the others hold everywhere, as they hold at the point
    return _of_two(network, first @ directions.T, first @ point), Polytope(rows[cuts], room[cuts])


def _of_two(network: ReLUNetwork, first: Floats, offset: Floats) -> ReLUNetwork:
    biases = [network.biases[0] + offset, *network.biases[1:]]
    return ReLUNetwork([first, *network.weights[1:]], biases, network.slopes)
