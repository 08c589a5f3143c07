"""First points: a few Frank–Wolfe steps on the margin within a ladder of distances.

They cost no program, and give the first merge a multiplier near the right one.
"""

import numpy as np

from wdaverify.arrays import Floats, Integers
from wdaverify.cells.frame import bounding_box
from wdaverify.network import ReLUNetwork
from wdaverify.problem import Problem

__all__ = ["first_points", "margin_gradients"]

LADDER = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
"""Distances tried, relative to the size of the support or of the data."""

STEPS = 6
"""Frank–Wolfe steps."""


def first_points(
    problem: Problem, label: int, samples: Integers, radius: float | None = None
) -> tuple[Floats, Integers]:
    """Return points of some samples under a label, and whose they are: ``(M, n)`` and ``(M,)``.

    With a radius they are looked for within that distance, else within a ladder of distances.
    """
    lower, upper = bounding_box(problem.support)
    size = _size(problem, lower, upper)
    lengths = np.array(LADDER) * size if radius is None else np.array([radius])
    owners = np.repeat(samples, len(lengths))
    reach = np.tile(lengths, len(samples))
    origins = problem.points[owners]
    points = origins
    for step in range(STEPS):
        gradients = margin_gradients(problem.network, points, label)
        corners = np.clip(origins + _farthest(problem, gradients, reach), lower, upper)
        points = points + (corners - points) * (1.0 if step == 0 else 2.0 / (step + 2.0))
    return points, owners


def _size(problem: Problem, lower: Floats, upper: Floats) -> float:
    """Length of the diagonal of the support, or of the data where it is unbounded."""
    spans = np.where(np.isfinite(upper - lower), upper - lower, np.ptp(problem.points, axis=0))
    return float(problem.cost.norm.length(spans)) or 1.0


def _farthest(problem: Problem, gradients: Floats, reach: Floats) -> Floats:
    """Return the step of each length that gains most along each gradient, ``(M, n)``."""
    name = problem.cost.norm.name
    if name == "linf":
        return np.asarray(np.sign(gradients) * reach[:, None])
    if name == "l2":
        lengths = np.linalg.norm(gradients, axis=1, keepdims=True)
        return gradients / np.where(lengths > 0, lengths, 1.0) * reach[:, None]
    steps = np.zeros_like(gradients)
    rows, best = np.arange(len(gradients)), np.abs(gradients).argmax(axis=1)
    steps[rows, best] = np.sign(gradients[rows, best]) * reach
    return steps


def margin_gradients(network: ReLUNetwork, points: Floats, label: int) -> Floats:
    """Gradient of the margin at each point, ``(M, n)``."""
    on = np.where(network.preactivations(points) > 0, 1.0, np.concatenate([*network.slopes, []]))
    logits = network.logits(points)
    logits[:, label] = -np.inf
    g = network.weights[-1][logits.argmax(axis=1)] - network.weights[-1][label]
    end = on.shape[1]
    for k in range(len(network.slopes) - 1, -1, -1):
        start = end - len(network.slopes[k])
        g = (g * on[:, start:end]) @ network.weights[k]
        end = start
    return np.asarray(g)
