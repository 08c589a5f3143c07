"""Bounds that need neither cells nor programs, for when a limit leaves nothing better."""

import math

import numpy as np

from wdaverify.arrays import Floats
from wdaverify.layers import composition_room, layer_product
from wdaverify.pieces import piece_network
from wdaverify.problem import Problem
from wdaverify.tolerances import ROUNDING

__all__ = ["interval_ceiling", "layer_constant"]

OUTWARD = 1e-12
"""Relative widening against rounding."""


def layer_constant(problem: Problem, label: int) -> float:
    """Return a Lipschitz constant of the loss with a label, infinite where it has none."""
    if not problem.loss.lipschitz:
        return math.inf
    network, loss, norm = problem.network, problem.loss, problem.cost.norm
    if loss.piecewise_affine and not loss.of_margin:
        bound = float(layer_product(piece_network(network, loss, label), norm)[0])
        return bound + composition_room(network, loss.pieces(network.classes, label), norm)
    return float(layer_product(network, norm)[label])


def interval_ceiling(problem: Problem, label: int) -> float:
    """Bound a piecewise affine loss with a label over the bounding box of the support."""
    lower, upper = problem.support.bounds
    if not np.isfinite(np.concatenate([lower, upper])).all():
        return math.inf
    network = problem.network
    for k, (W, b) in enumerate(zip(network.weights[:-1], network.biases[:-1], strict=True)):
        lower, upper = _through(W, b, lower, upper)
        slope = network.slopes[k]
        lower = np.maximum(lower, 0.0) + slope * np.minimum(lower, 0.0)
        upper = np.maximum(upper, 0.0) + slope * np.minimum(upper, 0.0)
    C, c = problem.loss.pieces(network.classes, label)
    top = _through(C @ network.weights[-1], C @ network.biases[-1] + c, lower, upper)[1]
    # C @ W is rounded, and where its terms cancel the room above is too small for that
    size = np.abs(network.weights[-1]) @ np.maximum(np.abs(lower), np.abs(upper))
    size = np.abs(C) @ (size + np.abs(network.biases[-1])) + np.abs(c)
    return float((top + (network.classes + 4) * ROUNDING * size).max())


def _through(W: Floats, b: Floats, lower: Floats, upper: Floats) -> tuple[Floats, Floats]:
    centre, spread = W @ ((lower + upper) / 2) + b, np.abs(W) @ ((upper - lower) / 2)
    room = OUTWARD * (np.abs(W) @ np.maximum(np.abs(lower), np.abs(upper)) + np.abs(b))
    return centre - spread - room, centre + spread + room
