"""The question line of a proof file: the whole question in canonical JSON.

Sorted keys, no spaces, every real number as the shortest decimal that reads back as the same
float64, ``-0.0`` as ``0.0``: equal questions have equal lines, and so equal SHA-256.
"""

import hashlib
import json
from fractions import Fraction
from typing import Any

import numpy as np

from wdaverify.arrays import Floats
from wdaverify.errors import UnsupportedError
from wdaverify.loss import LOSSES
from wdaverify.network import ReLUNetwork
from wdaverify.problem import Problem
from wdaverify.support import Polytope
from wdaverify.units import Units

__all__ = ["PROVABLE", "question_digest", "question_line"]

PROVABLE = ("margin", "hinge", "cross-entropy", "zero-one")
"""Losses that a proof file can speak about."""


def question_line(problem: Problem, radius: float) -> bytes:
    """Return the canonical question line, without its line end.

    Parameters
    ----------
    problem
        Samples of weight zero are left out.
    radius
        Wasserstein radius, in input units.

    Raises
    ------
    UnsupportedError
        The loss is none that a proof file can speak about.
    """
    problem = Units.of(problem).problem
    if problem.loss.name not in PROVABLE or problem.loss != LOSSES[problem.loss.name]:
        raise UnsupportedError(
            f"loss: a proof can speak about {', '.join(PROVABLE)}, found {problem.loss.name}"
        )
    active, cost = problem.active, problem.cost
    question = {
        "label_cost": None if cost.label_cost is None else _number(cost.label_cost),
        "labels": problem.labels[active].tolist(),
        "loss": problem.loss.name,
        "network": {"layers": _layers(problem.network)},
        "norm": cost.norm.name,
        "order": _number(cost.order) if cost.finite else "inf",
        "points": _numbers(problem.points[active]),
        "radius": _number(radius),
        "support": _support(problem, problem.points[active]),
        "weights": _numbers(problem.weights[active]),
    }
    return json.dumps(question, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def question_digest(problem: Problem, radius: float) -> str:
    """Return the SHA-256 of the question line, in hexadecimal."""
    return hashlib.sha256(question_line(problem, radius)).hexdigest()


def _layers(network: ReLUNetwork) -> list[dict[str, Any]]:
    layers = [
        {"W": _numbers(W), "b": _numbers(b)}
        for W, b in zip(network.weights, network.biases, strict=True)
    ]
    for layer, slopes in zip(layers, network.slopes, strict=False):
        layer["slopes"] = _numbers(slopes)
    return layers


def _support(problem: Problem, points: Floats) -> dict[str, Any]:
    """Return box and rows; a row about one feature whose bound is a float64 belongs to the box.

    Except where a sample lies beyond it by a rounding error: the box must contain the samples.
    """
    support = problem.support
    if not isinstance(support, Polytope):
        lower, upper = support.bounds
        return {"A": [], "b": [], "lower": _numbers(lower), "upper": _numbers(upper)}
    n = problem.network.features
    lower, upper = np.full(n, -np.inf), np.full(n, np.inf)
    kept = []
    for r, (row, bound) in enumerate(zip(support.A, support.b, strict=True)):
        features = np.flatnonzero(row)
        k = int(features[0]) if len(features) == 1 else 0
        end = float(bound) / float(row[k]) if len(features) == 1 else np.nan
        if not np.isfinite(end) or Fraction(end) * Fraction(row[k].item()) != Fraction(
            bound.item()
        ):
            kept.append(r)
        elif row[k] > 0 and (points[:, k] <= end).all():
            upper[k] = min(upper[k], end)
        elif row[k] < 0 and (points[:, k] >= end).all():
            lower[k] = max(lower[k], end)
        else:
            kept.append(r)
    return {
        "A": _numbers(support.A[kept]),
        "b": _numbers(support.b[kept]),
        "lower": _numbers(lower),
        "upper": _numbers(upper),
    }


def _number(value: float) -> float:
    return float(value) + 0.0


def _numbers(values: Floats) -> list[Any]:
    """Return nested lists, infinite ends as null and -0.0 as 0.0."""
    if values.ndim > 1:
        return [_numbers(row) for row in values]
    return [v + 0.0 if np.isfinite(v) else None for v in values.tolist()]
