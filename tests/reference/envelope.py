"""Concave majorants of points and their merge: the best distribution over points already found."""

from collections.abc import Sequence

import numpy as np

from reference.question import Array

Hull = tuple[Array, Array]


def concave_majorant(costs: Array, losses: Array) -> Hull:
    """Corners of the least concave non-decreasing function above points; one point costs 0."""
    order = np.lexsort((-losses, costs))
    costs, losses = costs[order], losses[order]
    record = np.maximum.accumulate(losses)
    keep = np.append(True, (record[1:] > record[:-1]) & (costs[1:] > costs[0]))
    hull: list[tuple[float, float]] = []
    for s, value in zip(costs[keep].tolist(), losses[keep].tolist(), strict=True):
        while hull and (s <= hull[-1][0] or _is_below(hull, s, value)):
            hull.pop()
        hull.append((s, value))
    corners = np.array(hull)
    return corners[:, 0], corners[:, 1]


def _is_below(hull: list[tuple[float, float]], s: float, value: float) -> bool:
    if len(hull) < 2:
        return False
    (s0, v0), (s1, v1) = hull[-2:]
    return (v1 - v0) * (s - s1) <= (value - v1) * (s1 - s0)


def merged(
    hulls: Sequence[Hull], probabilities: Array, budget: float, ray: float = 0.0
) -> tuple[float, float]:
    """Value of the budget spent on the steepest segments first, and the slope where it ends.

    What is left earns `ray` per unit (mass that escapes).
    """
    value = float(sum(mu * losses[0] for mu, (_, losses) in zip(probabilities, hulls, strict=True)))
    lengths = np.concatenate(
        [mu * np.diff(costs) for mu, (costs, _) in zip(probabilities, hulls, strict=True)]
    )
    gains = np.concatenate(
        [mu * np.diff(losses) for mu, (_, losses) in zip(probabilities, hulls, strict=True)]
    )
    slopes = gains / lengths
    left = budget
    for k in np.argsort(-slopes, kind="stable"):
        if slopes[k] <= ray:
            break
        if lengths[k] > left:
            return value + float(slopes[k]) * left, float(slopes[k])
        value, left = value + float(gains[k]), left - float(lengths[k])
    return value + ray * left, ray
