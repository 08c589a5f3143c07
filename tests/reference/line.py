"""A network on a line: stretches between kinks, on which logits are affine and keep their order."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from reference.question import (
    RATIOS,
    Array,
    Question,
    forward,
    loss_of_logits,
    preactivations,
)

FAR = 1e8


@dataclass(frozen=True, slots=True)
class Stretch:
    """Between two neighbouring kinks: ``z = slope x + offset``, (K,) each; ends may be infinite."""

    low: float
    high: float
    slope: Array
    offset: Array

    def logits(self, x: Array) -> Array:
        """Logits at positions (m,), (m, K)."""
        return np.outer(x, self.slope) + self.offset

    @property
    def inside(self) -> float:
        """A point inside."""
        if math.isinf(self.low):
            return min(self.high, FAR) - 1.0
        return self.low + 1.0 if math.isinf(self.high) else (self.low + self.high) / 2


def stretches(question: Question) -> list[Stretch]:
    """The support cut at every kink of a neuron and every crossing of two logits (+ 1)."""
    low, high = _ends(question)
    ends = [end for end in (low, high) if math.isfinite(end)]
    kinks = np.unique([*ends, *question.points[:, 0]])
    for layer in range(len(question.weights)):
        kinks = _with_zeros(kinks, _columns(question, layer), low, high)
    bounds = np.unique(np.concatenate([kinks[(kinks > low) & (kinks < high)], [low, high]]))
    line = []
    for left, right in pairwise(bounds):
        a, b = _two_points(left, right)
        z = forward(question, np.array([[a], [b]]))
        slope = (z[1] - z[0]) / (b - a)
        line.append(Stretch(float(left), float(right), slope, z[0] - slope * a))
    return line


def _ends(question: Question) -> tuple[float, float]:
    low, high = float(question.lower[0]), float(question.upper[0])
    for (a,), b in zip(question.A, question.b, strict=True):
        if a > 0:
            high = min(high, b / a)
        elif a < 0:
            low = max(low, b / a)
    return low, high


def _columns(question: Question, layer: int) -> Callable[[Array], Array]:
    """Functions whose zeros are kinks: neurons of a layer; of the last, differences of logits."""

    def columns(x: Array) -> Array:
        z = preactivations(question, x[:, None])[layer]
        if layer < len(question.weights) - 1:
            return z
        differences = (z[:, :, None] - z[:, None, :]).reshape(len(x), -1)
        return np.hstack([differences, differences + 1.0])

    return columns


def _with_zeros(
    kinks: Array, functions: Callable[[Array], Array], low: float, high: float
) -> Array:
    bounds = np.unique(np.concatenate([kinks, [low, high]]))
    found = [kinks]
    for left, right in pairwise(bounds):
        a, b = _two_points(left, right)
        values = functions(np.array([a, b]))
        slopes = (values[1] - values[0]) / (b - a)
        rising = np.abs(slopes) > 1e-9  # a zero beyond FAR is a constant with a rounded slope
        zeros = a - values[0][rising] / slopes[rising]
        found.append(zeros[(zeros > left) & (zeros < right) & (np.abs(zeros) < FAR)])
    return np.unique(np.concatenate(found))


def _two_points(left: float, right: float) -> tuple[float, float]:
    """Two points inside, not too close, for the affine function between."""
    if math.isinf(left) and math.isinf(right):
        return -1.0, 1.0
    if math.isinf(left):
        return right - 2.0, right - 1.0
    if math.isinf(right):
        return left + 1.0, left + 2.0
    return left + 0.25 * (right - left), left + 0.75 * (right - left)


def formula(question: Question, stretch: Stretch, label: int, x: Array) -> Array:
    """The loss by the formula of the stretch, also at and beyond its ends."""
    z = stretch.logits(x)
    if question.loss == "zero-one":
        inside = stretch.logits(np.array([stretch.inside]))
        return np.full(len(x), loss_of_logits("zero-one", inside, np.array([label]))[0])
    if question.loss in RATIOS:
        N, D = ratio_on(question, stretch, label)
        top, under = z @ N, z @ D
        limit = np.where(top > 1e-9, np.inf, 1.0)
        ratio = np.where(under > 1e-11, top / np.where(under > 1e-11, under, 1.0), limit)
        return np.minimum(ratio, 1.0) if question.loss == "truncated-dlr" else ratio
    return loss_of_logits(question.loss, z, np.full(len(x), label))


def ratio_on(question: Question, stretch: Stretch, label: int) -> tuple[Array, Array]:
    """Coefficients of numerator and denominator on the logits, by their order inside."""
    unit = np.eye(question.classes)
    order = np.argsort(-stretch.logits(np.array([stretch.inside]))[0], kind="stable")
    best = order[0] if order[0] != label else order[1]
    return unit[best] - unit[label], unit[order[0]] - unit[order[2]]
