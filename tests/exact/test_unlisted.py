"""A limit that ends the enumeration leaves a bracket around the true answer."""

import numpy as np
import pytest

import wdaverify as wv
from wdaverify.exact.solve import solver_for
from wdaverify.limits import Limits
from wdaverify.loss import DLR, CrossEntropy, Margin, ZeroOne

LOSSES = {"margin": Margin(), "zero-one": ZeroOne(), "cross-entropy": CrossEntropy()}


def moons(loss="margin", order=1.0, support=None):
    rng = np.random.default_rng(3)
    weights = [rng.normal(size=(5, 2)), rng.normal(size=(2, 5))]
    network = wv.ReLUNetwork(weights, [rng.normal(size=5), rng.normal(size=2)])
    points = rng.uniform(size=(6, 2))
    labels = network.logits(points).argmax(axis=1)
    return wv.Problem(
        network,
        points,
        labels,
        loss=LOSSES[loss],
        support=support or wv.Box(0.0, 1.0),
        cost=wv.TransportCost("linf", order=order),
    )


@pytest.mark.parametrize("order", [1.0, 2.0, np.inf])
@pytest.mark.parametrize("loss", LOSSES)
def test_bracket_holds_the_exact_value(loss, order):
    problem = moons(loss, order)
    stopped = wv.solve(problem, radius=0.4, engine="cells", limits=Limits(cells=1))
    exact = wv.solve(problem, radius=0.4, engine="cells")
    assert stopped.status == "bracket"
    assert stopped.lower <= exact.lower + 1e-9
    assert exact.upper <= stopped.upper < 1e3


@pytest.mark.parametrize("order", [1.0, 2.0])
def test_curve_holds_the_exact_curve(order):
    problem = moons(order=order)
    stopped = wv.value_curve(problem, engine="cells", limits=Limits(cells=1))
    assert "1 cells" in stopped.stopped
    for radius in (0.0, 0.05, 0.3, 2.0):
        exact = wv.solve(problem, radius=radius, engine="cells")
        low, high = stopped(radius)
        assert low <= exact.lower + 1e-9
        assert exact.upper <= high + 1e-9


def test_distances_are_bounded_by_margins():
    problem = moons("zero-one")
    stopped = solver_for(problem, "cells", limits=Limits(cells=1)).distances()
    exact = solver_for(problem, "cells").distances()
    assert np.all((stopped.lower > 0) & (stopped.lower <= exact.lower))
    assert np.all(stopped.upper >= exact.upper)


def test_unbounded_support_grows_with_the_layer_product():
    problem = moons(support=wv.Box())
    stopped = wv.solve(problem, radius=0.5, engine="cells", limits=Limits(cells=1))
    exact = wv.solve(problem, radius=0.5, engine="cells")
    assert stopped.lower <= exact.lower + 1e-9
    assert exact.upper <= stopped.upper < 1e3


def test_dlr_without_cells_on_an_unbounded_support_is_unknown():
    rng = np.random.default_rng(0)
    network = wv.ReLUNetwork(
        [rng.normal(size=(4, 2)), rng.normal(size=(3, 4))], [np.zeros(4), np.zeros(3)]
    )
    problem = wv.Problem(network, [[0.1, 0.2]], [0], loss=DLR(), support=wv.Box())
    with pytest.raises(wv.LimitReached):
        wv.solve(problem, radius=0.1, limits=Limits(cells=1))
