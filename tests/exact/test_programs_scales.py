"""Units of input and loss, powers of two, change an exact value only by that factor."""

import math

import numpy as np
import pytest

from wdaverify import Box, Problem, ReLUNetwork, TransportCost, solve
from wdaverify.loss import Margin

RADIUS = 0.15


def network(length, slope):
    """A small network of inputs in units of ``length`` and logits in units of ``slope``."""
    rng = np.random.default_rng(0)
    widths = [2, 4, 3, 3]
    shapes = zip(widths[1:], widths[:-1], strict=True)
    weights = [1.5 * rng.normal(size=shape) / math.sqrt(shape[1]) for shape in shapes]
    biases = [0.5 * rng.normal(size=width) for width in widths[1:]]
    weights[0] = weights[0] / length
    weights[-1], biases[-1] = weights[-1] * slope, biases[-1] * slope
    return ReLUNetwork(weights, biases)


def value(norm, order, length, slope):
    points = np.random.default_rng(1).uniform(-1, 1, size=(8, 2))
    problem = Problem(
        network(length, slope),
        length * points,
        np.arange(8) % 3,
        cost=TransportCost(norm, order),
        loss=Margin(),
        support=Box(-length, length),
    )
    return solve(problem, radius=RADIUS * length, tolerance=1e-7 * slope)


@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
@pytest.mark.parametrize("order", [1.0, 2.0])
def test_units_of_the_inputs(norm, order):
    plain = value(norm, order, 1.0, 1.0)
    for length in (2.0**-20, 2.0**20):
        scaled = value(norm, order, length, 1.0)
        assert scaled.upper == pytest.approx(plain.upper, rel=1e-12)
        assert scaled.upper - scaled.lower <= 1e-7


@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
def test_units_of_the_logits(norm):
    plain, slope = value(norm, 2.0, 1.0, 1.0), 2.0**-30
    for length in (1.0, 2.0**-20):
        scaled = value(norm, 2.0, length, slope)
        assert scaled.upper == pytest.approx(slope * plain.upper, rel=1e-10)
        assert scaled.upper - scaled.lower <= 1e-7 * slope
