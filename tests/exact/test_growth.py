"""Growth functions for every distance: the value at each radius, from both sides."""

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wdaverify import Box, Polytope, Problem, ReLUNetwork, TransportCost, enumerate_cells, solve
from wdaverify.exact.by_cells import CellOracle
from wdaverify.exact.curve import value_curve
from wdaverify.exact.cuts import CutPool
from wdaverify.exact.growth import GrowthSearch
from wdaverify.exact.ridges import Segments, ridge, summit
from wdaverify.limits import Limits

SUPPORTS = {
    "box": Box(-1.0, 1.0),
    "polytope": Polytope([[1.3, 1.0], [-1.0, 0.2], [0.1, -1.0]], [2.0, 1.5, 1.2]),
}


def random_problem(seed, loss="margin", norm="linf", space="box", samples=4):
    rng = np.random.default_rng(seed)
    widths = [2, *rng.integers(2, 5, size=2).tolist(), int(rng.integers(2, 4))]
    shapes = zip(widths[1:], widths[:-1], strict=True)
    weights = [1.5 * rng.normal(size=shape) / math.sqrt(shape[1]) for shape in shapes]
    network = ReLUNetwork(weights, [0.5 * rng.normal(size=width) for width in widths[1:]])
    points = rng.uniform(-0.8, 0.8, size=(samples, 2))
    return Problem(
        network,
        points,
        rng.integers(0, network.classes, size=samples),
        loss=loss,
        cost=TransportCost(norm, math.inf),
        support=SUPPORTS[space],
        weights=rng.integers(0, 3, size=samples) + np.eye(samples, dtype=int)[0],
    )


def on_a_grid(problem, radius):
    """The largest losses among grid points of the support within the radius."""
    axis = np.linspace(-3.5, 3.5, 561)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    grid = np.concatenate([grid[problem.support.contains(grid)], problem.points])
    value = 0.0
    for x, y, mu in zip(problem.points, problem.labels, problem.probabilities, strict=True):
        near = grid[problem.cost.norm.length(grid - x) <= radius]
        value += mu * problem.evaluate(near, np.full(len(near), y)).max()
    return value


@settings(max_examples=12, deadline=None)
@example(seed=0, loss="margin", norm="l1", space="box", shares=[0.0, 0.0, 1e-6])
@given(
    seed=st.integers(0, 10_000),
    loss=st.sampled_from(["margin", "hinge"]),
    norm=st.sampled_from(["l1", "linf"]),
    space=st.sampled_from(sorted(SUPPORTS)),
    shares=st.lists(st.floats(0.0, 1.2), min_size=3, max_size=3),
)
def test_curve_at_a_radius_is_the_value_solved_there(seed, loss, norm, space, shares):
    problem = random_problem(seed, loss, norm, space)
    cells = enumerate_cells(problem.network, problem.support)
    curve = value_curve(problem, cells=cells)
    assert curve.interpolation == "budget"
    assert curve.gap <= 1e-7 * max(1.0, np.abs(curve.upper).max())
    for radius in (0.0, float(curve.radius[len(curve.radius) // 2]), *shares):
        found = solve(problem, radius=radius * float(curve.radius[-1]), cells=cells)
        low, high = curve(radius * float(curve.radius[-1]))
        size = max(1.0, abs(found.upper))
        assert low <= found.upper + 1e-9 * size
        assert high >= found.lower - 1e-9 * size
        assert (low, high) == pytest.approx((found.lower, found.upper), abs=2e-7 * size)


@pytest.mark.parametrize("norm", ["l1", "linf"])
@pytest.mark.parametrize("space", SUPPORTS)
def test_curve_against_a_grid(norm, space):
    problem = random_problem(5, "margin", norm, space)
    curve = value_curve(problem)
    for radius in (0.0, 0.1, 0.37, 0.8, 1.6, 9.0):
        lower, upper = curve(radius)
        found = on_a_grid(problem, radius)
        assert found <= upper + 1e-9
        assert lower <= found + 0.1


def test_curve_rises_from_the_nominal_risk():
    problem = random_problem(2)
    curve = value_curve(problem)
    assert curve(0.0) == pytest.approx((problem.nominal,) * 2, abs=1e-9)
    assert np.all(np.diff(curve.radius) > 0)
    for values in (curve.lower, curve.upper):
        assert np.all(np.diff(values) >= -1e-8)


def test_known_growth_of_relu_is_flat_then_rises_then_ends():
    """``max(0, ε − 1)`` until the end of the support at distance 4: the growth is not concave."""
    network = ReLUNetwork([[[1.0]], [[0.0], [1.0]]], [[0.0], [0.0, 0.0]])
    cost = TransportCost("linf", math.inf)
    curve = value_curve(Problem(network, [[-1.0]], [0], cost=cost, support=Box(-3.0, 3.0)))
    for radius in (0.0, 0.5, 1.0, 1.5, 3.0, 4.0, 9.0):
        expected = min(3.0, max(0.0, radius - 1.0))
        assert curve(radius) == pytest.approx((expected, expected), abs=1e-9)


def test_a_limit_in_the_middle_leaves_a_valid_bracket(monkeypatch):
    problem = random_problem(9)
    cells = enumerate_cells(problem.network, problem.support)
    truth, limits, asked = value_curve(problem, cells=cells), Limits(), GrowthSearch._ask
    count = iter(range(1000))

    def stop_soon(self, *question):
        if next(count) == 12:
            limits.stop.set()
        return asked(self, *question)

    monkeypatch.setattr(GrowthSearch, "_ask", stop_soon)
    stopped = value_curve(problem, cells=cells, limits=limits)
    assert stopped.stopped is not None
    assert stopped.gap > 1e-3
    for radius in np.linspace(0.0, 2.0, 50):
        assert stopped(radius)[0] <= truth(radius)[1] + 1e-9
        assert stopped(radius)[1] >= truth(radius)[0] - 1e-9


def test_a_wrong_cut_shows(monkeypatch):
    """Cuts that are too low lose what the solver of a single radius finds."""
    problem = random_problem(5)
    cells = enumerate_cells(problem.network, problem.support)
    found, add = solve(problem, radius=0.5, cells=cells), CutPool.add
    monkeypatch.setattr(
        CutPool, "add", lambda self, k, cut: add(self, k, cut._replace(offset=cut.offset - 0.5))
    )
    assert value_curve(problem, cells=cells)(0.5)[1] < found.lower - 1e-3


def test_bounds_enclose_the_growth_of_single_samples():
    problem = random_problem(3, "hinge", "l1", "polytope").replace(weights=np.ones(4))
    oracle = CellOracle(problem, enumerate_cells(problem.network, problem.support), Limits())
    label = int(problem.labels[0])
    samples = np.flatnonzero(problem.labels == label)
    for i, growth in zip(samples, oracle.growth(samples, np.full(len(samples), 3.0), 1e-9),
                         strict=True):  # fmt: skip
        alone = problem.replace(points=problem.points[[i]], labels=[label], weights=[1.0])
        for t in (0.05, 0.3, 0.9):
            found = solve(alone, radius=t, cells=oracle.cells)
            assert np.interp(t, growth.radius, growth.lower) <= found.upper + 1e-9
            assert np.interp(t, growth.radius, growth.upper) >= found.lower - 1e-9


def test_ridge_of_segments_by_hand():
    ends = [0.0, 1.0, 1.0], [2.0, 2.0, 3.0], [1.0, 0.0, 0.5], [1.0, 2.0, 0.5]
    places, values = ridge(Segments(*map(np.array, ends)))
    np.testing.assert_allclose(places, [0.0, 1.0, 1.5, 2.0, 3.0])
    np.testing.assert_allclose(values, [1.0, 1.0, 1.0, 0.5, 0.5])  # lower where it jumps


@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), min_size=1, max_size=8))
def test_summit_is_the_largest_minimum(lines):
    A, B = np.array(lines).T
    s, top = summit(A, B)
    share = np.append(np.linspace(0.0, 1.0, 201), s)[:, None]
    values = ((1.0 - share) * A + share * B).min(axis=1)
    assert values[-1] == pytest.approx(top, abs=1e-9)
    assert values.max() <= top + 1e-9
