"""Brute force on a grid, for boxes in one or two dimensions.

Grid points are feasible, so the transport program over them bounds the value from below.  Every
point of the box lies within ``delta = |spacing / 2|`` of a grid point; with the product-of-norms
Lipschitz constant L of the loss, ``loss(x) <= loss(grid) + L delta`` and
``|x - x_i| >= |grid - x_i| - delta``: the same program with these numbers bounds it from above.

Cross-entropy grows by at most L too; a ratio of logit differences has no Lipschitz constant, so its
upper end is infinite.
"""

import math

import numpy as np

from reference.question import (
    DUAL_ORDER,
    NORM_ORDER,
    RATIOS,
    Array,
    Question,
    distance,
    loss,
    margin,
    transport_budget,
)
from reference.transport import transport_value


def grid_value(question: Question, radius: float, resolution: int) -> tuple[float, float]:
    """Bracket of the worst-case expected loss; `resolution` points per axis."""
    grid, delta = _grid(question, resolution)
    inside = grid[np.all(grid @ question.A.T <= question.b, axis=1)]
    within = question.b + delta * _dual(question.norm, question.A)
    near = grid[np.all(grid @ question.A.T <= within, axis=1)]
    lower = _value(question, radius, inside, 0.0, 0.0)
    if question.loss in RATIOS:
        return lower, math.inf
    return lower, _value(question, radius, near, delta, delta * lipschitz(question))


def lipschitz(question: Question) -> float:
    """Product of layer norms: ``max_{j, y} |W_j - W_y|_* prod_k |W_k|`` bounds the margin."""
    order = NORM_ORDER[question.norm]
    product = 1.0
    for W, slope in zip(question.weights[:-1], question.slopes, strict=True):
        product *= np.linalg.norm(W, ord=order) * max(1.0, np.abs(slope).max())
    W = question.weights[-1]
    last = max(float(_dual(question.norm, W - row).max()) for row in W)
    return float(last * product)


def _dual(norm: str, rows: Array) -> Array:
    return np.linalg.norm(rows, ord=DUAL_ORDER[norm], axis=-1)


def _grid(question: Question, resolution: int) -> tuple[Array, float]:
    """Points of the grid and the largest distance of a point of the box to it."""
    if not np.all(np.isfinite([question.lower, question.upper])) or question.dimension > 2:
        raise NotImplementedError("the grid needs a bounded box in at most two dimensions")
    sides = zip(question.lower, question.upper, strict=True)
    axes = [np.linspace(low, high, resolution) for low, high in sides]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, question.dimension)
    half = (question.upper - question.lower) / (2 * (resolution - 1))
    return grid, float(distance(question.norm, half, np.zeros_like(half)))


def _value(question: Question, radius: float, grid: Array, near: float, extra: float) -> float:
    """Value over grid and samples, lengths shortened by `near`, margins raised by `extra`."""
    lengths = [
        np.maximum(0.0, distance(question.norm, np.vstack([x, grid]), x) - near)
        for x in question.points
    ]
    if math.isinf(question.order):
        best = [
            _raised(question, np.vstack([x, grid]), int(y), extra)[length <= radius].max()
            for x, y, length in zip(question.points, question.labels, lengths, strict=True)
        ]
        return float(question.probabilities @ best)
    curves = [_curve(question, i, grid, length, extra) for i, length in enumerate(lengths)]
    width = max(len(values) for _, values in curves)
    costs = np.stack([_padded(cost, width) for cost, _ in curves])
    losses = np.stack([_padded(values, width) for _, values in curves])
    budget = transport_budget(question, radius)
    return transport_value(losses, costs, question.probabilities, budget)


def _curve(
    question: Question, sample: int, grid: Array, lengths: Array, extra: float
) -> tuple[Array, Array]:
    """Costs and losses that sample `sample` can choose from, under every label it can afford."""
    points, own = np.vstack([question.points[sample], grid]), question.labels[sample]
    moves = range(question.classes) if math.isfinite(question.label_cost) else [own]
    prices = [0.0 if y == own else question.label_cost for y in moves]
    costs = [lengths**question.order + price for price in prices]
    losses = [_raised(question, points, int(y), extra) for y in moves]
    return _staircase(np.concatenate(costs), np.concatenate(losses))


def _raised(question: Question, points: Array, label: int, extra: float) -> Array:
    labels = np.full(len(points), label)
    if question.loss == "zero-one":
        return (margin(question, points, labels) + extra >= 0).astype(float)
    return loss(question, points, labels) + extra


def _staircase(costs: Array, values: Array) -> tuple[Array, Array]:
    """Candidates that no other beats in both cost and value."""
    order = np.lexsort((-values, costs))
    costs, values = costs[order], values[order]
    record = np.maximum.accumulate(values)
    keep = np.append(True, record[1:] > record[:-1])
    return costs[keep], values[keep]


def _padded(values: Array, width: int) -> Array:
    return np.append(values, np.full(width - len(values), values[0]))
