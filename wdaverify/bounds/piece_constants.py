r"""Lipschitz constants of losses with pieces of their own, label by label.

.. math:: L_y = \max_{D,p} \|(C_y J_D)_p\|_*

from the listed cells, or as the margin's constants of the network whose logits are the pieces.
"""

from collections.abc import Callable

import numpy as np

from wdaverify.arrays import Floats
from wdaverify.bounds.body import body_of
from wdaverify.bounds.cell_constants import steepest_piece
from wdaverify.bounds.gradient_search import searched_constants
from wdaverify.bounds.statements import Means
from wdaverify.layers import composition_room, layer_product
from wdaverify.pieces import piece_network
from wdaverify.problem import Problem

__all__ = ["cell_piece_constants", "layer_piece_constants", "own_pieces"]


def own_pieces(problem: Problem) -> bool:
    """Whether the loss is a maximum of affine functions of its own, not one of the margin's."""
    return problem.loss.piecewise_affine and not problem.loss.of_margin


def cell_piece_constants(problem: Problem, means: Means) -> Floats:
    """Return the constants over all cells, listed or searched, ``(K,)``."""
    return _rounded(problem, lambda label: _steepest(problem, means, label))


def layer_piece_constants(problem: Problem) -> Floats:
    """Return the products of the layers' norms, ``(K,)``."""
    network, loss, norm = problem.network, problem.loss, problem.cost.norm
    return _rounded(
        problem, lambda label: layer_product(piece_network(network, loss, label), norm)[0]
    )


def _rounded(problem: Problem, steepest: Callable[[int], float]) -> Floats:
    """Return a constant for each label of a loss with pieces of its own, rounded up, ``(K,)``.

    Parameters
    ----------
    steepest
        Bounds the dual norm of the gradients of all pieces of a label.
    """
    loss, network, norm = problem.loss, problem.network, problem.cost.norm
    found = [
        steepest(label) + composition_room(network, loss.pieces(network.classes, label), norm)
        for label in range(network.classes)
    ]
    return np.array(found)


def _steepest(problem: Problem, means: Means, label: int) -> float:
    """Bound the dual norm of every gradient of the loss with a label."""
    norm = problem.cost.norm
    if means.cells is not None:
        return steepest_piece(means.cells, norm, problem.loss, label)
    network = piece_network(problem.network, problem.loss, label)
    found = searched_constants(
        body_of(network, problem.support, norm),
        margin=False,
        points=problem.points[problem.active],
        labels=(0,),
        nodes=means.nodes,
        limits=means.limits,
    )
    return float(found.upper[0].max())
