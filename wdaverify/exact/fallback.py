"""Bounds that need neither cells nor programs, for when a limit leaves nothing better."""

import math

import numpy as np

from wdaverify.arrays import Floats
from wdaverify.layers import layer_product
from wdaverify.problem import Problem

__all__ = ["interval_ceiling", "layer_constant"]

OUTWARD = 1e-12
"""Relative widening against rounding."""


def layer_constant(problem: Problem, label: int) -> float:
    """Return a Lipschitz constant of the loss with a label, infinite where it has none."""
    if not problem.loss.lipschitz:
        return math.inf
    return float(layer_product(problem.network, problem.cost.norm)[label])


def interval_ceiling(problem: Problem, label: int) -> float:
    """Bound the margin-like loss with a label over the bounding box of the support."""
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
    return float(top.max())


def _through(W: Floats, b: Floats, lower: Floats, upper: Floats) -> tuple[Floats, Floats]:
    centre, spread = W @ ((lower + upper) / 2) + b, np.abs(W) @ ((upper - lower) / 2)
    room = OUTWARD * (np.abs(W) @ np.maximum(np.abs(lower), np.abs(upper)) + np.abs(b))
    return centre - spread - room, centre + spread + room
