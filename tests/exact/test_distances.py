"""Distances to the error set: closed forms, sets that only touch, the integer program."""

import math
from fractions import Fraction

import numpy as np
import pytest
from reference.milp import distances as milp_distances
from reference.question import Question

from wdaverify import Box, Polytope, Problem, ReLUNetwork, TransportCost, enumerate_cells
from wdaverify.exact.value import ExactSolver

ABSOLUTE = np.array([[1.0], [-1.0]])  # relu(x − c) + relu(c − x) = |x − c|


def affine(gradient, offset):
    """The margin of label 0 is ``gradient · x + offset``."""
    gradient = np.asarray(gradient, dtype=float)
    return ReLUNetwork([np.array([np.zeros_like(gradient), gradient])], [[0.0, offset]])


def peak(centre, height):
    """The margin of label 0 is ``height − |x − centre|``."""
    return ReLUNetwork([ABSOLUTE, [[0.0, 0.0], [-1.0, -1.0]]], [[-centre, centre], [0.0, height]])


def solver(problem):
    return ExactSolver(problem, enumerate_cells(problem.network, problem.support))


def distances(network, points, labels, *, norm="linf", support=None, order=1):
    cost = TransportCost(norm, order)
    problem = Problem(network, points, labels, loss="zero-one", cost=cost, support=support)
    return solver(problem).distances()


def assert_brackets(found, expected, tolerance=1e-9):
    """``lower <= expected <= upper``, both close; the witness of ``upper`` is where it says."""
    expected = np.asarray(expected)
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(np.isinf(found.lower), ~finite)
    np.testing.assert_array_equal(np.isinf(found.upper), ~finite)
    lower, upper, expected = found.lower[finite], found.upper[finite], expected[finite]
    assert np.all(lower <= expected + 1e-15 * (1 + expected))
    assert np.all(upper >= expected - 1e-15 * (1 + expected))
    assert np.all(upper - lower <= tolerance * (1 + expected))


def test_on_a_line_it_is_the_distance_to_the_boundary():
    points = [[1.0], [-0.25], [-0.5], [0.5], [1.0], [-1.5], [2.0], [-4.0], [0.0]]
    labels = [0, 0, 0, 1, 1, 0, 1, 0, 1]
    found = distances(affine([1.0], 0.0), points, labels)
    assert_brackets(found, [0, 0.25, 0.5, 0.5, 1, 1.5, 2, 4, 0])


@pytest.mark.parametrize("norm", ["l1", "linf"])
@pytest.mark.parametrize("space", [None, Box(-9.0, 9.0)])
def test_for_an_affine_margin_it_is_the_margin_over_the_dual_norm(norm, space):
    rng = np.random.default_rng(0)
    gradient, points = np.array([0.7, -1.9, 0.4]), rng.uniform(-1, 1, size=(20, 3))
    dual = {"l1": 1.9, "linf": 3.0}[norm]
    expected = np.maximum(0.0, -(points @ gradient - 1.3)) / dual
    found = distances(affine(gradient, -1.3), points, np.zeros(20), norm=norm, support=space)
    assert_brackets(found, expected)


def test_samples_already_wrong_and_ties_have_distance_zero():
    network = ReLUNetwork([np.zeros((3, 1))], [[1.0, 1.0, 0.5]])  # classes 0 and 1 tie everywhere
    found = distances(network, [[0.3], [0.3], [0.3]], [0, 1, 2])
    np.testing.assert_array_equal(found.lower, [0, 0, 0])
    np.testing.assert_array_equal(found.upper, [0, 0, 0])
    np.testing.assert_array_equal(found.witnesses, [[0.3]] * 3)


def test_where_no_error_can_be_reached_it_is_infinite():
    network = ReLUNetwork([np.zeros((2, 1))], [[1.0, 0.0]])
    assert_brackets(distances(network, [[0.3], [-2.0]], [0, 0]), [math.inf, math.inf])
    bounded = distances(affine([1.0], 0.0), [[-2.0]], [0], support=Box(-3.0, -1.0))
    assert_brackets(bounded, [math.inf])
    touching = distances(affine([1.0], 0.0), [[-2.0]], [0], support=Box(-3.0, 0.0))
    assert_brackets(touching, [2.0])


@pytest.mark.parametrize("below", [1e-12, 1e-10, 1e-8, 1e-3])
@pytest.mark.parametrize("space", [None, Box(-4.0, 4.0)])
def test_an_error_set_missed_by_a_hair_is_empty(below, space):
    found = distances(peak(1.0, -below), [[0.25], [1.0]], [0, 0], support=space)
    assert_brackets(found, [math.inf, math.inf])


@pytest.mark.parametrize("space", [None, Box(-4.0, 4.0)])
def test_an_error_set_of_a_single_float_is_found_exactly(space):
    found = distances(peak(1.0, 0.0), [[0.25], [1.0], [3.5]], [0, 0, 0], support=space)
    assert_brackets(found, [0.75, 0.0, 2.5])
    np.testing.assert_array_equal(found.upper, [0.75, 0.0, 2.5])
    np.testing.assert_array_equal(found.witnesses, [[1.0]] * 3)


def third():
    """Margin ``−|3x − 1|``: the only error is 1/3, which no float64 is."""
    return ReLUNetwork([3 * ABSOLUTE, [[0.0, 0.0], [-1.0, -1.0]]], [[-1.0, 1.0], [0.0, 0.0]])


@pytest.mark.parametrize("space", [None, Box(-4.0, 4.0)])
def test_an_error_set_of_a_single_rational_is_found_over_the_rationals(space):
    points = np.array([[0.0], [1.0], [-2.0]])
    found = distances(third(), points, [0, 0, 0], support=space)
    exact = [abs(Fraction(float(x)) - Fraction(1, 3)) for x in points.ravel()]
    for low, high, value in zip(found.lower, found.upper, exact, strict=True):
        assert Fraction(float(low)) <= value <= Fraction(float(high))
        assert high - low <= 1e-12
    assert found.certified.all()
    np.testing.assert_allclose(found.witnesses, 1 / 3, rtol=1e-15)


def test_a_rational_error_flips_mass_in_the_worst_case():
    cost = TransportCost("linf", 1)
    problem = Problem(third(), [[0.0]], [0], loss="zero-one", cost=cost)
    found = solver(problem).solve(0.25)
    assert found.lower == pytest.approx(0.75, abs=1e-9)
    assert found.upper == pytest.approx(0.75, abs=1e-9)
    worst = found.worst_case
    assert worst.certified.any()
    travelled = sum(
        Fraction(float(w)) * abs(Fraction(float(x)))
        for w, x in zip(worst.weights, worst.points[:, 0], strict=True)
    )
    assert travelled <= Fraction(0.25)


def test_a_lens_of_two_faces_is_touched_at_its_corner():
    """Margin ``min(x_1, x_2) − 1`` in l∞ and l1: the corner (1, 1) is nearest to (0, 0)."""
    # min(a, b) = a − relu(a − b)
    pair = [[1.0, -1.0], [1.0, 0.0], [-1.0, 0.0]]
    network = ReLUNetwork([pair, [[0.0] * 3, [-1.0, 1.0, -1.0]]], [np.zeros(3), [0.0, -1.0]])
    for norm, expected in (("linf", [1.0, 1.0]), ("l1", [2.0, 1.0])):
        found = distances(network, [[0.0, 0.0], [3.0, 0.0]], [0, 0], norm=norm)
        assert_brackets(found, expected)


def test_the_polytope_limits_where_mass_may_go():
    support = Polytope([[1.0, 1.0], [-1.0, 0.0], [0.0, -1.0]], [1.0, 0.0, 0.0])
    found = distances(affine([1.0, 0.0], -0.75), [[0.0, 1.0], [0.25, 0.0]], [0, 0], support=support)
    assert_brackets(found, [0.75, 0.5])
    beyond = distances(affine([1.0, 0.0], -1.5), [[0.0, 1.0]], [0], support=support)
    assert_brackets(beyond, [math.inf])


@pytest.mark.parametrize("norm", ["l1", "linf"])
@pytest.mark.parametrize("seed", range(5))
def test_random_networks_agree_with_the_integer_program(norm, seed):
    rng = np.random.default_rng(seed)
    n, classes = int(rng.integers(1, 4)), int(rng.integers(2, 4))
    widths = [n, 4, 3, classes]
    shapes = zip(widths[1:], widths[:-1], strict=True)
    weights = [1.5 * rng.normal(size=shape) / math.sqrt(shape[1]) for shape in shapes]
    network = ReLUNetwork(weights, [0.5 * rng.normal(size=width) for width in widths[1:]])
    points = rng.uniform(-1, 1, size=(6, n))
    labels = network.logits(points).argmax(axis=1)
    labels[0] = (labels[0] + 1) % classes
    question = Question(
        weights=network.weights, biases=network.biases, points=points, labels=labels,
        loss="zero-one", norm=norm, lower=-1.0, upper=1.0,
    )  # fmt: skip
    low, high = milp_distances(question)
    found = distances(network, points, labels, norm=norm, support=Box(-1.0, 1.0))
    np.testing.assert_array_equal(np.isinf(high), np.isinf(found.upper))
    finite = np.isfinite(high)
    np.testing.assert_allclose(found.lower[finite], high[finite], rtol=0, atol=1e-7)
    np.testing.assert_allclose(found.upper[finite], high[finite], rtol=0, atol=1e-7)
    np.testing.assert_allclose(low[finite], high[finite], rtol=0, atol=1e-6)


JUMPS = [(norm, space) for norm in ("l1", "linf") for space in (None, Box(-2.0, 2.0))]


@pytest.mark.parametrize(("norm", "space"), JUMPS)
def test_order_infinity_jumps_at_the_distance_itself_and_not_before(norm, space):
    """Error set ``x_1 + x_2 >= 1``: (0, 0) and (1/4, 1/4) are 1 and 1/2 away in l1."""
    cost = TransportCost(norm, math.inf)
    points = [[0.0, 0.0], [0.25, 0.25]]
    problem = Problem(
        affine([1.0, 1.0], -1.0), points, [0, 0], loss="zero-one", cost=cost, support=space
    )
    near, far = (0.5, 1.0) if norm == "l1" else (0.25, 0.5)
    exact = solver(problem)
    for radius, value in ((near, 0.5), (far, 1.0), (2 * far, 1.0), (near / 2, 0.0)):
        found = exact.solve(radius)
        assert (found.lower, found.upper) == (value, value), radius
    for radius, value in ((np.nextafter(near, 0), 0.0), (np.nextafter(far, 0), 0.5)):
        found = exact.solve(float(radius))
        assert (found.lower, found.upper) == (value, value), radius


def test_order_infinity_decides_a_jump_at_an_irrational_looking_distance_over_the_rationals():
    """0.1 + 0.2 is not 0.3: the error set starts at float64 0.3, the sample sits at 0.1."""
    problem = Problem(
        affine([1.0], -0.3), [[0.1]], [0], loss="zero-one", cost=TransportCost("linf", math.inf)
    )
    distance = Fraction(0.3) - Fraction(0.1)
    radii = [0.2, float(np.nextafter(0.2, 0)), float(np.nextafter(0.2, 1)), 0.19999999999999996]
    exact = solver(problem)
    for radius in radii:
        expected = float(Fraction(radius) >= distance)
        found = exact.solve(radius)
        assert found.upper == expected, radius
        assert found.lower == expected, radius


def test_a_distance_taken_too_long_would_be_noticed():
    found = distances(affine([1.0], 0.0), [[-0.25]], [0])
    with pytest.raises(AssertionError):
        assert_brackets(found, [0.2499])
    with pytest.raises(AssertionError):
        assert_brackets(found, [math.inf])
