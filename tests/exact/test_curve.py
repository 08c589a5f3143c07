"""The curve for all radii at once: the same as one radius at a time, with the right shape."""

import math

import numpy as np
import pytest
from reference.milp import asymptotic_slope
from reference.question import Question

from wdaverify import Box, Polytope, Problem, ReLUNetwork, TransportCost, enumerate_cells
from wdaverify.errors import UnsupportedError
from wdaverify.exact.curve import ValueCurve, value_curve
from wdaverify.exact.value import ExactSolver
from wdaverify.limits import Limits

TOLERANCE = 1e-7
SUPPORTS = {
    "box": Box(-1.0, 1.0),
    "space": Box(),
    "half": Box([-1.0, -np.inf], np.inf),
    "polytope": Polytope([[1.3, 1.0], [-1.0, 0.2], [0.1, -1.0]], [2.0, 1.5, 1.2]),
    "wedge": Polytope([[1.0, -0.4], [-0.3, 1.0]], [1.5, 1.5]),
}
CURVES = [("margin", 1), ("hinge", 1), ("zero-one", 1), ("zero-one", 2), ("zero-one", 1.5)]


def random_problem(seed, loss="margin", order=1, space="box", norm="linf"):
    rng = np.random.default_rng(seed)
    widths = [2, *rng.integers(2, 5, size=2).tolist(), int(rng.integers(2, 4))]
    shapes = zip(widths[1:], widths[:-1], strict=True)
    weights = [1.5 * rng.normal(size=shape) / math.sqrt(shape[1]) for shape in shapes]
    network = ReLUNetwork(weights, [0.5 * rng.normal(size=width) for width in widths[1:]])
    points = rng.uniform(-0.8, 0.8, size=(6, 2))
    labels = network.logits(points).argmax(axis=1)
    labels[0] = (labels[0] + 1) % network.classes
    return Problem(
        network,
        points,
        labels,
        loss=loss,
        cost=TransportCost(norm, order),
        support=SUPPORTS[space],
        weights=rng.integers(1, 5, size=6),
    )


def line(points, labels, **options):
    """The margin of label 0 is relu(x)."""
    network = ReLUNetwork([[[1.0]], [[0.0], [1.0]]], [[0.0], [0.0, 0.0]])
    return Problem(network, points, labels, **options)


def assert_is(bracket, lower, upper):
    scale = max(1.0, abs(lower), abs(upper))
    assert bracket[0] == pytest.approx(lower, abs=2 * TOLERANCE * scale)
    assert bracket[1] == pytest.approx(upper, abs=2 * TOLERANCE * scale)


@pytest.mark.parametrize(("loss", "order"), CURVES)
@pytest.mark.parametrize("space", SUPPORTS)
@pytest.mark.parametrize("norm", ["l1", "linf"])
def test_curve_at_a_radius_is_the_value_solved_there(loss, order, space, norm):
    problem = random_problem(len(loss), loss, order, space, norm)
    cells = enumerate_cells(problem.network, problem.support)
    curve = value_curve(problem, cells=cells)
    assert curve.interpolation == "budget"
    assert curve.gap <= TOLERANCE * max(1.0, np.abs(curve.upper).max())
    inside = np.random.default_rng(1).uniform(0.0, 1.2 * curve.radius[-1] + 0.1, size=2)
    for radius in (0.0, *curve.radius[1:3].tolist(), *inside.tolist(), 9.0):
        found = ExactSolver(problem, cells).solve(radius)
        assert_is(curve(radius), found.lower, found.upper)


@pytest.mark.parametrize(("loss", "order"), CURVES)
@pytest.mark.parametrize("space", SUPPORTS)
def test_curve_starts_at_the_nominal_risk_rises_and_is_concave_in_the_budget(loss, order, space):
    problem = random_problem(7, loss, order, space)
    curve = value_curve(problem)
    assert curve.radius[0] == 0
    assert curve(0.0) == pytest.approx((problem.nominal,) * 2, abs=1e-9)
    budgets = np.linspace(0.0, 1.5 * float(curve.radius[-1]) ** order + 0.1, 200)
    lower, upper = np.array([curve(float(b ** (1 / order))) for b in budgets]).T
    room = 1e-8 * max(1.0, np.abs(upper).max())
    assert np.all(lower <= upper + room)
    for values in (lower, upper):
        assert np.all(np.diff(values) >= -room)
        assert np.all(np.diff(values, 2) <= room)


@pytest.mark.parametrize("norm", ["l1", "linf"])
@pytest.mark.parametrize("loss", ["margin", "hinge"])
@pytest.mark.parametrize("seed", range(3))
def test_on_the_whole_space_the_final_slope_is_the_asymptotic_slope(norm, loss, seed):
    problem = random_problem(seed, loss, 1, "space", norm)
    question = Question(
        weights=problem.network.weights,
        biases=problem.network.biases,
        points=problem.points,
        labels=problem.labels,
        norm=norm,
    )
    slope = max(asymptotic_slope(question, int(y)) for y in np.unique(problem.labels))
    curve = value_curve(problem)
    assert curve.final_slope == pytest.approx((slope, slope), abs=1e-7)
    far = float(curve.radius[-1]) + 5.0
    assert (curve(far + 3.0)[0] - curve(far)[0]) / 3.0 == pytest.approx(slope, abs=1e-7)


@pytest.mark.parametrize("loss", ["margin", "zero-one"])
def test_on_a_bounded_support_the_curve_ends_flat_at_the_largest_losses(loss):
    problem = random_problem(3, loss, 1, "box")
    curve = value_curve(problem)
    assert curve.final_slope == pytest.approx((0.0, 0.0), abs=1e-9)
    axis = np.linspace(-1, 1, 201)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    mu = problem.weights / problem.weights.sum()
    largest = [problem.evaluate(grid, np.full(len(grid), y)).max() for y in problem.labels]
    assert mu @ largest - 1e-9 <= curve(99.0)[0] <= mu @ largest + 0.1


def test_known_curve_of_relu_on_an_interval():
    curve = value_curve(line([[-1.0]], [0], support=Box(-3.0, 3.0)))
    np.testing.assert_allclose(curve.radius, [0.0, 4.0], atol=1e-9)
    np.testing.assert_allclose(curve.lower, [0.0, 3.0], atol=1e-9)
    assert curve(2.0) == pytest.approx((1.5, 1.5), abs=1e-9)
    assert curve(100.0) == pytest.approx((3.0, 3.0), abs=1e-9)
    whole = value_curve(line([[-1.0]], [0]))
    assert whole(2.0) == pytest.approx((2.0, 2.0), abs=1e-9)
    assert whole.final_slope == pytest.approx((1.0, 1.0), abs=1e-9)


def test_the_budget_not_the_radius_is_interpolated():
    """One sample at distance 1/2 from the error set, order 2: ``min(1, 4 ε²)``."""
    problem = Problem(
        ReLUNetwork([[[0.0], [1.0]]], [[0.0, 0.0]]),
        [[-0.5]],
        [0],
        loss="zero-one",
        cost=TransportCost("linf", 2),
    )
    curve = value_curve(problem)
    for radius in (0.0, 0.1, 0.25, 0.4, 0.5, 3.0):
        expected = min(1.0, 4 * radius**2)
        assert curve(radius) == pytest.approx((expected, expected), abs=1e-9)


def staircase():
    points, labels = [[1.0], [-0.25], [-0.5], [0.5], [-4.0]], [0, 0, 0, 1, 0]
    network = ReLUNetwork([[[0.0], [1.0]]], [[0.0, 0.0]])
    cost = TransportCost("linf", math.inf)
    return Problem(network, points, labels, loss="zero-one", cost=cost)


def test_order_infinity_is_a_staircase():
    curve = value_curve(staircase())
    assert curve.interpolation == "step"
    for radius, value in ((0.0, 0.2), (0.2, 0.2), (0.26, 0.4), (0.51, 0.8), (3.9, 0.8), (4.1, 1)):
        assert curve(radius) == pytest.approx((value, value), abs=1e-12)


def test_steps_bracket_what_a_solver_decides_at_the_jumps():
    problem = staircase()
    curve = value_curve(problem)
    exact = ExactSolver(problem, enumerate_cells(problem.network, problem.support))
    for radius in (0.0, 0.25, 0.5, 4.0, float(np.nextafter(0.25, 0))):
        found = exact.solve(radius)
        assert curve(radius)[0] <= found.lower + 1e-12
        assert found.upper <= curve(radius)[1] + 1e-12


@pytest.mark.parametrize(
    ("loss", "norm", "engine"), [("margin", "linf", "search"), ("hinge", "l2", "cells")]
)
def test_order_infinity_is_elsewhere_a_staircase_below_and_one_above(loss, norm, engine):
    problem = random_problem(0, loss, math.inf, norm=norm)
    curve = value_curve(problem, engine=engine, tolerance=1e-4)
    solver = ExactSolver(problem, enumerate_cells(problem.network, problem.support))
    assert curve.interpolation == "step"
    for radius in (0.0, 0.01, 0.3, 0.77, 1.5, 3.0):
        lower, upper = curve(radius)
        found = solver.solve(radius)
        assert lower <= found.upper + 1e-12
        assert found.lower <= upper + 1e-12
    assert curve.gap <= 0.2 * (curve.upper[-1] - curve.lower[0])


@pytest.mark.parametrize("loss", ["margin", "hinge"])
def test_order_infinity_is_refused_where_it_grows_for_ever(loss):
    with pytest.raises(UnsupportedError, match="inf"):
        value_curve(random_problem(0, loss, math.inf, "space"))


@pytest.mark.parametrize(
    ("loss", "order"),
    [*CURVES, *((loss, math.inf) for loss in ("zero-one", "margin", "hinge"))],
)
def test_no_time_at_all_leaves_a_valid_curve(loss, order):
    problem = random_problem(5, loss, order)
    cells = enumerate_cells(problem.network, problem.support)
    truth = value_curve(problem, cells=cells)
    stopped = value_curve(problem, cells=cells, limits=Limits(seconds=0))
    for radius in (0.0, 0.05, 0.3, 2.0):
        low, high = stopped(radius)
        assert low <= truth(radius)[1] + 1e-9
        assert high >= truth(radius)[0] - 1e-9
    assert stopped(0.3)[1] - stopped(0.3)[0] > TOLERANCE


@pytest.mark.parametrize("tolerance", [0.1, 1e-4, 1e-9])
def test_the_tolerance_bounds_the_gap_at_every_corner(tolerance):
    problem = random_problem(11)
    curve = value_curve(problem, tolerance=tolerance)
    scale = np.maximum(1.0, np.abs(curve.lower))
    assert np.all(curve.upper - curve.lower <= tolerance * scale * (1 + 1e-9))
    exact = value_curve(problem)
    for radius in np.linspace(0, 3, 20):
        assert curve(radius)[0] <= exact(radius)[1] + 1e-9
        assert curve(radius)[1] >= exact(radius)[0] - 1e-9


@pytest.mark.parametrize(("order", "norm"), [(2, "linf"), (1, "l2")])
def test_a_curved_curve_brackets_the_value_solved_at_a_radius(order, norm):
    problem = random_problem(13, "margin", order, "box", norm).head(2)
    cells = enumerate_cells(problem.network, problem.support)
    curve = value_curve(problem, cells=cells, tolerance=1e-2)
    size = max(1.0, np.abs(curve.upper).max())
    assert curve.gap <= 1e-2 * size
    for radius in (0.0, *np.random.default_rng(2).uniform(0.0, 2.5, size=5).tolist()):
        found = ExactSolver(problem, cells).solve(radius)
        assert curve(radius)[0] <= found.upper + 1e-9
        assert curve(radius)[1] >= found.lower - 1e-9


def test_interpolation_by_hand():
    radius, lower = np.array([0.0, 1.0, 2.0]), np.array([0.0, 1.0, 1.5])
    budget = ValueCurve(radius, lower, lower + 0.5, "budget", (0.25, 0.5), 2.0)
    assert budget(math.sqrt(0.5)) == pytest.approx((0.5, 1.0))
    assert budget(math.sqrt(2.5)) == pytest.approx((1.25, 1.75))
    assert budget(3.0) == pytest.approx((1.5 + 0.25 * 5, 2.0 + 0.5 * 5))
    infinite = ValueCurve(radius, lower, lower + 0.5, "budget", (0.0, 0.0), math.inf)
    assert infinite(0.25) == pytest.approx((0.25, 0.75))
    assert infinite(7.0) == pytest.approx((1.5, 2.0))
    step = ValueCurve(radius, lower, lower, "step", (0.0, 0.0), math.inf)
    assert [step(r)[0] for r in (0.0, 0.99, 1.0, 1.7, 2.0, 9.0)] == [0, 0, 1, 1, 1.5, 1.5]


def test_a_curve_of_another_problem_would_be_noticed():
    problem, other = random_problem(1), random_problem(2)
    found = ExactSolver(other, enumerate_cells(other.network, other.support)).solve(0.3)
    with pytest.raises(AssertionError):
        assert_is(value_curve(problem)(0.3), found.lower, found.upper)
