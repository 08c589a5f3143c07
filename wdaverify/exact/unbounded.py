"""Values that are infinite: any mass at a point without a finite loss makes them so."""

import math

import numpy as np

from wdaverify.arrays import Floats
from wdaverify.distribution import Distribution
from wdaverify.exact.answer import ExactValue
from wdaverify.exact.oracle import Oracle
from wdaverify.problem import Problem

__all__ = ["infinite_value"]

HALF = 0.5
"""Share of the affordable mass that is moved: the rest keeps the budget whatever rounds."""


def infinite_value(
    problem: Problem, oracle: Oracle, labels: tuple[int, ...], radius: float
) -> ExactValue | None:
    """Return the value where it is infinite for every positive budget, else ``None``.

    For a finite order the mass may be as small as the distance is large, so one point of infinite
    loss anywhere in the support is enough.

    Parameters
    ----------
    labels
        Labels that mass can have.
    radius
        Positive; the order is finite.
    """
    for label in labels:
        point = oracle.infinite(label)
        if point is not None:
            worst = _worst_case(problem, point, label, radius)
            return ExactValue(radius, math.inf, math.inf, None, worst, attained=False)
    return None


def _worst_case(problem: Problem, point: Floats, label: int, radius: float) -> Distribution:
    """Move a little mass of one sample to a point."""
    active, cost = problem.active, problem.cost
    if cost.label_cost is None:
        active = active[problem.labels[active] == label]
    target = np.broadcast_to(point, problem.points[active].shape)
    charges = cost.charge(target, problem.points[active])
    charges = cost.charge_labels(charges, problem.labels[active] != label)
    k = int(charges.argmin())
    i, mass = int(active[k]), problem.probabilities.copy()
    moved = min(mass[i], HALF * cost.budget(radius) / max(float(charges[k]), 1e-300))
    mass[i] -= moved
    origin = np.append(np.flatnonzero(mass > 0), i)
    return Distribution(
        np.concatenate([problem.points[origin[:-1]], point[None, :]]),
        np.append(problem.labels[origin[:-1]], label),
        np.append(mass[origin[:-1]], moved),
        origin,
        np.zeros(len(origin), dtype=bool),
        attained=False,
    )
