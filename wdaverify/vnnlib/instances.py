"""Which balls other verifiers are asked about, and what they should answer."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wdaverify.exact.distances import Distances
from wdaverify.problem import Problem
from wdaverify.support import Box
from wdaverify.vnnlib.writing import ball

__all__ = ["Instance", "instances_around", "instances_at"]


@dataclass(frozen=True, slots=True)
class Instance:
    """One question to a verifier.

    Attributes
    ----------
    name
        Of the file, without suffix.
    sample, label
        Whose ball it is, and its class.
    radius
        In input units.
    box
        What is written: the ball, rounded outward, within the support.
    expected
        ``"sat"``, ``"unsat"``, ``"unknown"``, or empty where nothing was computed.
    distance
        Bracket on the distance of the sample to the nearest error, if known.
    """

    name: str
    sample: int
    label: int
    radius: float
    box: Box
    expected: str = ""
    distance: tuple[float, float] | None = None


def instances_at(
    problem: Problem, radii: Sequence[float], distances: Distances | None = None
) -> list[Instance]:
    """Return an instance for each sample and radius, with its answer where distances are given."""
    return [
        _instance(problem, sample, radius, f"radius_{radius!r}", distances)
        for sample in range(len(problem))
        for radius in dict.fromkeys(float(value) for value in radii)
    ]


def instances_around(problem: Problem, distances: Distances, gap: float) -> list[Instance]:
    """Return two instances for each sample: just within its distance, and just beyond.

    Samples that are errors where they are have none. Where no error is within reach there is one:
    all of the support, if it is bounded.

    Parameters
    ----------
    gap
        Relative distance of the radii from the exact one.
    """
    found = []
    for sample in range(len(problem)):
        low, high = float(distances.lower[sample]), float(distances.upper[sample])
        if np.isinf(low):
            low, high = _farthest(problem, sample), np.inf
        radii = {"below": low * (1.0 - gap), "above": high * (1.0 + gap)}
        if np.isinf(high):
            radii = {"support": low} if np.isinf(distances.lower[sample]) else radii
        found += [
            _instance(problem, sample, radius, name, distances)
            for name, radius in radii.items()
            if 0 < radius < np.inf
        ]
    return found


def _instance(
    problem: Problem, sample: int, radius: float, name: str, distances: Distances | None
) -> Instance:
    assert isinstance(problem.support, Box)
    point, label = problem.points[sample], int(problem.labels[sample])
    box = ball(point, radius, problem.support)
    name = f"sample_{sample:04d}_{name}"
    if distances is None:
        return Instance(name, sample, label, radius, box)
    low, high = float(distances.lower[sample]), float(distances.upper[sample])
    reach = float(problem.cost.norm.length(np.maximum(box.upper - point, point - box.lower)))
    expected = "sat" if high <= radius else "unsat" if reach * (1 + 2.0**-50) < low else "unknown"
    return Instance(name, sample, label, radius, box, expected, (low, high))


def _farthest(problem: Problem, sample: int) -> float:
    lower, upper = problem.support.bind(problem.network.features).bounds
    point = problem.points[sample]
    return float(np.maximum(upper - point, point - lower).max())
