"""The price of transport against its definition, on the whole range of float64."""

import math

import numpy as np
import pytest

from wdaverify.exact.penalty import Penalty

ORDERS = [1.0001, 1.01, 1.5, 2.0, 3.0, 10.0, 50.0]


def gain(steepness, penalty, lengths):
    """``s t − λ t^p`` by extended precision and logarithms."""
    t = lengths.astype(np.longdouble)
    with np.errstate(all="ignore"):
        price = np.exp(np.log(t) * penalty.order + np.log(np.longdouble(penalty.multiplier)))
    return steepness * t - np.where(t > 0, price, 0.0)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("multiplier", [1e-300, 1e-12, 0.3, 5.0, 1e12])
@pytest.mark.parametrize("steepness", [0.0, 1e-9, 1.0, 40.0])
@pytest.mark.parametrize("reach", [0.0, 1e-6, 1.0, 1e10])
def test_the_best_gain_is_the_maximum_over_the_reach(order, multiplier, steepness, reach):
    penalty = Penalty(multiplier, order)
    found = float(penalty.best(0.25, steepness, reach, steepness))
    lengths = np.append(np.geomspace(1e-300, max(reach, 1e-290), 3001), [0.0, reach])
    lengths = lengths[lengths <= reach]
    most = 0.25 + float(gain(steepness, penalty, lengths).max())
    assert found >= most - 1e-14 * max(1.0, abs(most)) / min(1.0, order - 1.0)
    assert found <= 0.25 + steepness * reach + 1e-12
    if steepness > 0 and reach > 0:
        best = math.log(steepness / multiplier / order) / (order - 1.0)
        near = np.array([math.exp(min(math.log(reach), best))])
        there = 0.25 + float(gain(steepness, penalty, near)[0])
        assert found == pytest.approx(there, rel=1e-9)
    else:
        assert found == 0.25


def test_without_a_limit():
    assert float(Penalty(2.0, 2.0).best(1.0, 8.0, math.inf, 8.0)) == 1.0 + 8.0
    assert float(Penalty(1.0).best(1.0, 2.0, math.inf, 2.0)) == math.inf
    assert float(Penalty(1.0).best(1.0, 1.0 + 1e-12, math.inf, 2.0)) == 1.0
    assert float(Penalty(0.0, 2.0).best(1.0, 2.0, 3.0, 2.0)) == 7.0
    assert float(Penalty(0.0, 2.0).best(1.0, 0.0, math.inf, 2.0)) == 1.0
    assert float(Penalty(1e-300, 1.01).best(0.0, 1.0, math.inf, 1.0)) == math.inf


def test_order_one_charges_the_excess_within_reach():
    lines, steepness = np.array([1.0, -2.0]), np.array([3.0, 0.5])
    found = Penalty(1.0).best(lines, steepness, np.array([[0.5], [2.0]]), steepness)
    np.testing.assert_allclose(found, [[2, -2], [5, -2]])


def test_prices():
    lengths = np.array([0.0, 1e10, 3.0])
    np.testing.assert_array_equal(Penalty(0.0, 50.0).of(lengths), 0.0)
    np.testing.assert_array_equal(Penalty(2.0, 2.0).of(lengths), [0.0, 2e20, 18.0])
    assert Penalty(1.0, 50.0).of(lengths)[1] == math.inf
