"""The oracles against closed forms and against each other; each one shown able to fail."""

import math
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from reference.cells import reference_cells, reference_patterns
from reference.combinations import active, problem_of
from reference.combinations import table as combinations_table
from reference.dual_cvxpy import dual_value, flip_distances, listed_cells
from reference.grid import grid_value, lipschitz
from reference.interval import interval_value
from reference.milp import asymptotic_slope, distances, worst_case_value
from reference.question import (
    Question,
    activation_pattern,
    distance,
    forward,
    loss,
    nominal,
    preactivations,
)
from reference.simplices import Search, simplex_value
from reference.transport import (
    Distribution,
    move_lengths,
    transport_program,
    transport_value,
    wasserstein_bottleneck,
    wasserstein_cost,
)
from scipy.optimize import minimize
from scipy.spatial import ConvexHull, HalfspaceIntersection

TIGHT = 1e-9  # linear programs; usually about 1e-15
BIG_M = 1e-7  # dual bounds of integer programs at HiGHS's default tolerance; usually 1e-13
CONIC = 2e-6  # Clarabel, and integer programs with tangents


def random_net(widths, seed, *, step=None):
    """Weights and biases; rounded to multiples of `step` if given."""
    rng = np.random.default_rng(seed)
    shapes = zip(widths[1:], widths[:-1], strict=True)
    weights = [rng.normal(size=shape) * 1.5 / math.sqrt(shape[1]) for shape in shapes]
    biases = [0.4 * rng.normal(size=width) for width in widths[1:]]
    if step:
        weights, biases = ([step * np.round(v / step) for v in vs] for vs in (weights, biases))
    return weights, biases


def random_question(widths, seed, count=3, **options):
    """Random net and points in ``[-1, 1]^n``; two thirds of the labels are what the net says."""
    weights, biases = random_net(widths, seed)
    rng = np.random.default_rng(1000 + seed)
    points = rng.uniform(-0.9, 0.9, size=(count, widths[0]))
    options = {"lower": -1.0, "upper": 1.0} | options
    mu = rng.uniform(1, 2, size=count)
    question = Question(
        weights=weights,
        biases=biases,
        points=points,
        labels=np.zeros(count),
        probabilities=mu / mu.sum(),
        **options,
    )
    labels = forward(question, points).argmax(axis=1)
    labels[::3] = (labels[::3] + 1) % widths[-1]
    return replace(question, labels=labels)


def scalar(outer, inner, shift, point, **options):
    """The loss ``sum_k outer_k relu(inner_k x + shift_k)`` of one sample on the line."""
    outer, inner = (
        np.array([np.zeros_like(outer), outer], dtype=float),
        np.array(inner, dtype=float),
    )
    return Question(
        weights=[inner[:, None], outer],
        biases=[np.array(shift, dtype=float), np.zeros(2)],
        points=np.array([[point]]),
        labels=np.array([0]),
        **options,
    )


def affine(slope, points, **options):
    """The loss ``slope . x`` (margin of label 0), no hidden layer."""
    return Question(
        weights=[np.array([np.zeros_like(slope), slope])],
        biases=[np.zeros(2)],
        points=points,
        labels=np.zeros(len(points)),
        **options,
    )


def dual(question, radius, cells=None):
    """The cvxpy dual over the exactly enumerated cells."""
    cells = reference_cells(question) if cells is None else cells
    return dual_value(
        listed_cells(question, cells),
        question.points,
        question.labels,
        question.probabilities,
        question.norm,
        radius,
        order=question.order,
        label_cost=question.label_cost,
    )


def assert_bracket(bracket, value, tolerance=TIGHT):
    """The lower end is the value; the upper end too, but for the tolerance of integer programs."""
    lower, upper = bracket
    assert lower == pytest.approx(value, abs=tolerance)
    assert value - tolerance <= upper <= value + max(tolerance, BIG_M)


def assert_grid_brackets(question, radius, value, resolution, *, tolerance=TIGHT):
    """The grid's bracket holds the value, and is no wider than its spacing explains."""
    lower, upper = grid_value(question, radius, resolution)
    half = (question.upper - question.lower) / (2 * (resolution - 1))
    room = 3 * lipschitz(question) * float(distance(question.norm, half, 0.0))
    assert value - room - tolerance <= lower <= value + tolerance
    assert value - tolerance <= upper <= value + room + tolerance


def volumes(cells):
    """Volume of each bounded cell, by its vertices."""
    shapes = [
        HalfspaceIntersection(np.column_stack([cell.G, -cell.h]), cell.interior).intersections
        for cell in cells
    ]
    return np.array([ConvexHull(vertices).volume for vertices in shapes])


# --- cells -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "m"), [(1, 7), (2, 9), (3, 7), (4, 6)])
def test_cells_of_one_layer_on_the_whole_space_are_counted_by_zaslavsky(n, m):
    weights, biases = random_net([n, m, 2], seed=m)
    patterns = reference_patterns(weights, biases, -np.inf, np.inf)
    assert len(patterns) == sum(math.comb(m, k) for k in range(n + 1))


def test_lines_through_the_origin_make_twice_as_many_cells():
    weights, biases = random_net([2, 6, 2], seed=0)
    assert len(reference_patterns(weights, [np.zeros(6), biases[1]], -np.inf, np.inf)) == 12


DEGENERATE = {
    "no biases": lambda W, b: (W, [np.zeros_like(v) for v in b]),
    "duplicated neuron": lambda W, b: ([np.vstack([W[0], W[0][:1]]), *_wider(W[1:])], _longer(b)),
    "negated neuron": lambda W, b: ([np.vstack([W[0], -W[0][:1]]), *_wider(W[1:])], _longer(b, -1)),
    "zero neuron": lambda W, b: ([np.vstack([W[0], 0 * W[0][:1]]), *_wider(W[1:])], _longer(b, 0)),
    "constant neuron": lambda W, b: ([0 * W[0], *W[1:]], b),
    "walls": lambda W, b: ([np.sign(W[0]) * np.eye(*W[0].shape), *W[1:]], [b[0] ** 0, *b[1:]]),
    "zero last hidden layer": lambda W, b: ([W[0], 0 * W[1], W[2]], [b[0], 0 * b[1], b[2]]),
}


def _wider(weights):
    return [np.hstack([weights[0], weights[0][:, :1]]), *weights[1:]]


def _longer(biases, sign=1):
    return [np.append(biases[0], sign * biases[0][:1]), *biases[1:]]


@pytest.mark.parametrize("kind", DEGENERATE)
@pytest.mark.parametrize("n", [2, 3])
def test_cells_of_degenerate_nets_are_real_fill_the_box_and_miss_no_sampled_pattern(kind, n):
    weights, biases = DEGENERATE[kind](*random_net([n, 4, 3, 2], seed=n, step=0.25))
    question = Question(
        weights=weights, biases=biases, points=np.zeros((1, n)), labels=[0], lower=-1, upper=1
    )
    cells = reference_cells(question)
    patterns = {cell.pattern for cell in cells}
    assert len(patterns) == len(cells)
    # weights are dyadic, interior points too: the float forward pass is exact
    assert all(activation_pattern(question, cell.interior) == cell.pattern for cell in cells)
    points = np.random.default_rng(n).uniform(-1, 1, size=(20_000, n))
    hidden = np.hstack(preactivations(question, points)[:-1]) > 0
    assert set(map(tuple, np.unique(hidden, axis=0).astype(int))) <= patterns
    assert volumes(cells).sum() == pytest.approx(2.0**n, rel=1e-9)


def test_a_lost_cell_shows_in_the_volume():
    question = random_question([2, 5, 3, 2], seed=1)
    sizes = volumes(reference_cells(question))
    assert sizes.sum() == pytest.approx(4.0, rel=1e-9)
    assert sizes[:-1].sum() < 4.0 - 1e-6


def test_hyperplanes_on_the_walls_do_not_cut():
    weights = [np.array([[1.0, 0.0], [1.0, 0.0], [0.0, -3.0]]), np.ones((2, 3))]
    biases = [np.array([-1.0, 1.0, 3.0]), np.zeros(2)]
    assert reference_patterns(weights, biases, -1.0, 1.0) == {(0, 1, 1)}
    biases[0][0] = np.nextafter(-1.0, 0.0)  # the smallest cell that float64 can describe
    assert reference_patterns(weights, biases, -1.0, 1.0) == {(0, 1, 1), (1, 1, 1)}


def test_supports_polytope_half_space_and_thin_ones():
    weights, biases = random_net([2, 5, 2], seed=4)
    A, b = np.array([[1.0, 1.0]]), np.array([0.5])
    options = {"lower": -1.0, "upper": 1.0, "A": A, "b": b}
    question = Question(
        weights=weights, biases=biases, points=np.zeros((1, 2)), labels=[0], **options
    )
    assert volumes(reference_cells(question)).sum() == pytest.approx(4 - 1.5**2 / 2, rel=1e-9)
    half = reference_patterns(weights, biases, np.array([0.0, -np.inf]), np.inf)
    assert half < reference_patterns(weights, biases, -np.inf, np.inf)
    with pytest.raises(ValueError, match="no interior"):
        reference_patterns(weights, biases, 0.0, 0.0)


def test_leaky_cells_fill_the_box_and_match_sampling():
    question = random_question([2, 4, 4, 2], seed=5, slopes=[0.1, -1.0])
    cells = reference_cells(question)
    points = np.random.default_rng(0).uniform(-1, 1, size=(2_000, 2))
    assert {activation_pattern(question, x) for x in points} <= {cell.pattern for cell in cells}
    assert volumes(cells).sum() == pytest.approx(4.0, rel=1e-9)
    here = next(cell for cell in cells if activation_pattern(question, points[0]) == cell.pattern)
    assert here.J @ points[0] + here.c == pytest.approx(forward(question, points[:1])[0], abs=1e-12)


def test_perturbed_weight_changes_the_patterns():
    weights, biases = random_net([2, 6, 4, 2], seed=2)
    before = reference_patterns(weights, biases, -1.0, 1.0)
    weights[1][0, 0] += 0.3
    assert reference_patterns(weights, biases, -1.0, 1.0) != before


# --- transport ---------------------------------------------------------------------------------


def test_transport_program_spends_the_budget_on_the_steepest_moves():
    losses = np.array([[0.0, 3.0, 4.0], [0.0, 1.0, 9.0]])
    costs = np.array([[0.0, 1.0, 2.0], [0.0, 2.0, np.inf]])
    mu = np.array([0.5, 0.5])
    budgets = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 9.0)
    found = [transport_value(losses, costs, mu, budget) for budget in budgets]
    assert found == pytest.approx([0, 0.75, 1.5, 2.0, 2.25, 2.5, 2.5])
    value, multiplier, masses = transport_program(losses, costs, mu, 0.25)
    assert (value, multiplier) == pytest.approx((0.75, 3.0))
    assert masses == pytest.approx(np.array([[0.25, 0.25, 0.0], [0.5, 0.0, 0.0]]))
    assert transport_program(losses, costs, mu, 1.5, ray=2.0)[0] == pytest.approx(1.5 + 2.0)


@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
@pytest.mark.parametrize("order", [1.0, 2.0, 3.0])
def test_a_worst_case_on_random_candidates_lies_within_its_wasserstein_budget(norm, order):
    question = random_question([2, 4, 3], seed=6, count=4, norm=norm, order=order)
    candidates = np.random.default_rng(1).uniform(-1, 1, size=(60, 2))
    candidates = np.vstack([question.points, candidates])
    losses = np.stack([loss(question, candidates, np.array([y])) for y in question.labels])
    costs = distance(norm, question.points[:, None], candidates[None]) ** order
    budget = 0.3**order
    value, _, masses = transport_program(losses, costs, question.probabilities, budget)
    origin, target = np.nonzero(masses > 1e-12)
    samples = Distribution(question.points, question.labels, question.probabilities)
    mass = masses[origin, target]
    worst = Distribution(candidates[target], question.labels[origin], mass / mass.sum())
    assert wasserstein_cost(samples, worst, norm=norm, order=order) == pytest.approx(budget)
    assert mass @ losses[origin, target] == pytest.approx(value)
    lengths = move_lengths(samples, worst, origin, norm=norm)
    assert mass @ lengths**order == pytest.approx(budget)
    assert wasserstein_bottleneck(samples, worst, norm=norm) <= lengths.max() + 1e-12


def test_wasserstein_costs_of_two_labelled_points():
    samples = Distribution(np.array([[0.0], [1.0]]), np.array([0, 1]), np.array([0.5, 0.5]))
    moved = Distribution(np.array([[0.0], [3.0]]), np.array([0, 1]), np.array([0.5, 0.5]))
    swapped = Distribution(np.array([[0.0], [1.0]]), np.array([1, 0]), np.array([0.5, 0.5]))
    assert wasserstein_cost(samples, moved, norm="l1", order=2) == pytest.approx(2.0)
    assert wasserstein_bottleneck(samples, moved, norm="l1") == pytest.approx(2.0)
    assert wasserstein_cost(samples, swapped, norm="l1", order=1) == pytest.approx(1.0)
    cheap = wasserstein_cost(samples, swapped, norm="l1", order=1, label_cost=0.25)
    assert cheap == pytest.approx(0.25)
    unequal = Distribution(moved.points, moved.labels, np.array([0.4, 0.6]))
    assert wasserstein_cost(samples, unequal, norm="l1", order=1) == np.inf
    assert wasserstein_bottleneck(samples, unequal, norm="l1") == np.inf
    assert move_lengths(samples, moved, np.array([0, 1]), norm="l1") == pytest.approx([0, 2])
    with pytest.raises(ValueError, match="label"):
        move_lengths(samples, swapped, np.array([0, 1]), norm="l1")
    with pytest.raises(ValueError, match="probability"):
        move_lengths(samples, unequal, np.array([0, 1]), norm="l1")


# --- closed forms ------------------------------------------------------------------------------


@pytest.mark.parametrize(("norm", "steepness"), [("l1", 2.0), ("l2", math.sqrt(5)), ("linf", 3.0)])
@pytest.mark.parametrize("order", [1, 2])
def test_affine_loss_rises_by_radius_times_dual_norm(norm, steepness, order):
    points = np.array([[0.1, -0.2], [-0.3, 0.4]])
    everywhere = affine(np.array([1.0, -2.0]), points, norm=norm, order=order)
    value = nominal(everywhere) + 0.2 * steepness
    assert dual(everywhere, 0.2) == pytest.approx(value, abs=CONIC)
    boxed = replace(everywhere, lower=-2.0, upper=2.0)
    assert_bracket(worst_case_value(boxed, 0.2), value, CONIC)
    assert_grid_brackets(boxed, 0.2, value, 201)


@pytest.mark.parametrize(("t", "R", "radius"), [(0.5, 2.0, 0.3), (0.0, 1.0, 0.7), (1.0, 1.5, 2.0)])
def test_relu_on_an_interval_is_reached_by_splitting_the_mass(t, R, radius):
    question = scalar([1], [1], [0], -t, lower=-R, upper=R)
    value = radius * R / (R + t)
    assert_bracket(worst_case_value(question, radius), value)
    assert dual(question, radius) == pytest.approx(value, abs=TIGHT)
    assert_grid_brackets(question, radius, value, 2001)


@pytest.mark.parametrize(("radius", "value"), [(0.5, 0.125), (1.0, 0.5), (1.5, 1.0)])
def test_relu_of_order_two_is_quadratic_and_then_linear(radius, value):
    question = scalar([1], [1], [0], -0.5, lower=-3, upper=3, order=2)
    assert_bracket(worst_case_value(question, radius), value, CONIC)
    assert dual(question, radius) == pytest.approx(value, abs=CONIC)
    assert_grid_brackets(question, radius, value, 4001)


def test_relu_on_the_whole_line_needs_a_ray():
    question = scalar([1], [1], [0], -1.0)
    assert dual(question, 0.4) == pytest.approx(0.4, abs=TIGHT)
    assert asymptotic_slope(question, 0) == pytest.approx(1.0)
    lower, upper = worst_case_value(question, 0.4, reach=50.0)
    assert lower == pytest.approx(0.4, abs=TIGHT)
    assert 0.4 - TIGHT <= upper <= 0.4 * (1 + 1 / 50) + TIGHT
    with pytest.raises(ValueError, match="unbounded"):
        worst_case_value(question, 0.4)


def test_a_peak_gains_nothing_and_a_kink_everything():
    peak = scalar([-1, -1], [1, -1], [0, 0], 0.0, lower=-2, upper=2)
    assert_bracket(worst_case_value(peak, 0.7), 0.0)
    assert dual(replace(peak, lower=-np.inf, upper=np.inf), 0.7) == pytest.approx(0.0, abs=TIGHT)
    kink = scalar([1, 1], [1, -1], [0, 0], 0.0, lower=-2, upper=2)
    assert_bracket(worst_case_value(kink, 0.7), 0.7)
    assert dual(kink, 0.7) == pytest.approx(0.7, abs=TIGHT)


def test_leaky_relu_on_an_interval():
    s, t, R, radius = 0.25, 0.5, 2.0, 0.3
    question = scalar([1], [1], [0], -t, lower=-R, upper=R, slopes=[s])
    value = -s * t + radius * (R + s * t) / (R + t)
    assert_bracket(worst_case_value(question, radius), value)
    assert dual(question, radius) == pytest.approx(value, abs=TIGHT)
    assert_grid_brackets(question, radius, value, 2001)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_zero_one_is_a_knapsack_of_distances(order):
    points = np.array([[-0.5], [-1.0], [0.25]])
    question = affine(np.array([1.0]), points, loss="zero-one", order=order, lower=-2, upper=2)
    low, high = distances(question)
    assert low == pytest.approx([0.5, 1.0, 0.0])
    assert high == pytest.approx([0.5, 1.0, 0.0])
    for radius in (0.0, 0.2, 0.4, 1.5):
        first = min(1.0, 3 * radius**order / 0.5**order)
        second = min(1.0, max(0.0, 3 * radius**order - 0.5**order))
        value = (1 + first + second) / 3
        assert_bracket(worst_case_value(question, radius), value)
        lower, upper = grid_value(question, radius, 4001)
        assert lower <= value + TIGHT
        assert value - TIGHT <= upper <= lower + 2e-2


def test_zero_one_of_order_inf_counts_distances_and_reports_a_tie():
    points = np.array([[-0.5], [-1.0], [0.25]])
    question = affine(np.array([1.0]), points, loss="zero-one", order=math.inf)
    for radius, count in ((0.4, 1), (0.6, 2), (1.1, 3)):
        assert_bracket(worst_case_value(question, radius), count / 3)
    assert worst_case_value(question, 0.5) == pytest.approx((1 / 3, 2 / 3))
    assert distances(question, reach=0.75)[1] == pytest.approx([0.5, np.inf, 0.0])


# --- random nets: each oracle against the others ---------------------------------------------

RANDOM = [([1, 4, 2], 0), ([2, 4, 3], 1), ([2, 3, 3, 2], 2), ([2, 4, 3, 3], 3)]


@pytest.mark.parametrize(("widths", "seed"), RANDOM)
@pytest.mark.parametrize("norm", ["l1", "linf"])
@pytest.mark.parametrize("kind", ["margin", "hinge"])
def test_order_one_agrees(widths, seed, norm, kind):
    question = random_question(widths, seed, norm=norm, loss=kind)
    cells = reference_cells(question)
    for radius in (0.05, 0.4):
        value = dual(question, radius, cells)
        assert_bracket(worst_case_value(question, radius), value)
        assert_grid_brackets(question, radius, value, 101)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
def test_curved_programs_agree(order, norm):
    question = random_question([2, 3, 2], seed=7, count=2, norm=norm, order=order)
    value = dual(question, 0.2)
    assert_bracket(worst_case_value(question, 0.2), value, CONIC)
    assert_grid_brackets(question, 0.2, value, 301, tolerance=CONIC)


@pytest.mark.parametrize(("widths", "seed"), RANDOM)
@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
def test_flip_distances_agree(widths, seed, norm):
    question = random_question(widths, seed, norm=norm, loss="zero-one")
    low, high = distances(question)
    tolerance = CONIC if norm == "l2" else BIG_M
    expected = flip_distances(question, reference_cells(question))
    assert low == pytest.approx(expected, abs=tolerance)
    assert high == pytest.approx(expected, abs=tolerance)
    for order in (1, 2, math.inf):
        lower, upper = worst_case_value(replace(question, order=order), 0.2)
        below, above = grid_value(replace(question, order=order), 0.2, 201)
        assert below <= upper + TIGHT
        assert lower <= above + TIGHT
        assert upper - lower <= tolerance * 10


@pytest.mark.parametrize(("widths", "seed"), RANDOM)
@pytest.mark.parametrize("norm", ["l1", "linf"])
def test_order_inf_agrees_with_the_grid(widths, seed, norm):
    question = random_question(widths, seed, norm=norm, order=math.inf, loss="hinge")
    lower, upper = worst_case_value(question, 0.3)
    assert upper - lower <= BIG_M
    assert_grid_brackets(question, 0.3, lower, 201)


@pytest.mark.parametrize("norm", ["l1", "linf"])
def test_polytope_support_agrees(norm):
    boxed = random_question([2, 4, 3], seed=8, norm=norm)
    A = np.array([[1.0, 1.0], [-2.0, 1.0], [0.5, -1.0], [-1.0, -1.0]])
    question = replace(boxed, A=A, b=(boxed.points @ A.T).max(axis=0) + 0.1)
    value = dual(question, 0.5)
    assert value < dual(boxed, 0.5) - 1e-3  # the rows matter
    assert_bracket(worst_case_value(question, 0.5), value)
    lower, upper = grid_value(question, 0.5, 201)
    assert lower - TIGHT <= value <= upper + TIGHT


def test_a_box_given_by_polytope_rows_is_the_same_box():
    boxed = random_question([2, 4, 3], seed=8)
    A = np.vstack([np.eye(2), -np.eye(2)])
    rows = replace(boxed, lower=-np.inf, upper=np.inf, A=A, b=np.ones(4))
    assert_bracket(worst_case_value(rows, 0.5), worst_case_value(boxed, 0.5)[0])
    assert dual(rows, 0.5) == pytest.approx(dual(boxed, 0.5), abs=1e-7)


@pytest.mark.parametrize("norm", ["l1", "linf"])
def test_whole_space_agrees_within_what_the_reach_allows(norm):
    question = random_question([2, 4, 3], seed=9, norm=norm, lower=-np.inf, upper=np.inf)
    slope = max(asymptotic_slope(question, y) for y in np.unique(question.labels))
    for radius in (0.1, 1.0):
        value = dual(question, radius)
        lower, upper = worst_case_value(question, radius, reach=60.0)
        assert value - TIGHT <= upper <= value + 0.2 * radius
        assert lower == pytest.approx(value, abs=TIGHT)
        assert value >= nominal(question) + radius * slope - TIGHT


@pytest.mark.parametrize("order", [1, 1.5, 2, 3])
def test_label_moves_agree(order):
    question = random_question([2, 4, 3], seed=10, order=order, label_cost=0.3)
    value = dual(question, 0.4)
    assert value > dual(replace(question, label_cost=np.inf), 0.4) + 1e-3
    assert_grid_brackets(question, 0.4, value, 201, tolerance=CONIC)
    with pytest.raises(NotImplementedError, match="label"):
        worst_case_value(question, 0.4)


def test_degenerate_net_agrees():
    weights, biases = DEGENERATE["negated neuron"](*random_net([2, 4, 3, 2], seed=11, step=0.25))
    weights[1][0], biases[1][0] = 0.0, 0.0
    question = random_question([2, 4, 3, 2], seed=11, norm="l1")
    question = replace(question, weights=weights, biases=biases, slopes=None)
    value = dual(question, 0.3)
    assert_bracket(worst_case_value(question, 0.3), value)


# --- simplices and intervals: every loss, order, support and label cost --------------------------

SHARED = ("margin", "hinge", "cross-entropy", "zero-one")


def meets(left, right, width):
    """Two brackets of one number: both narrow, and they overlap (to rounding)."""
    if math.inf in (left[0], right[0]):
        return left == right
    scale = max(1.0, abs(left[0]))
    narrow = max(left[1] - left[0], right[1] - right[0]) <= width * scale
    room = 1e-9 * scale
    return narrow and left[0] <= right[1] + room and right[0] <= left[1] + room


LINES = combinations_table(dimension=1)


@pytest.mark.parametrize("cell", LINES[::4], ids=str)
def test_simplices_are_growth_functions_on_a_line(cell):
    question, radius = problem_of(cell)
    question = active(question)
    assert meets(simplex_value(question, radius), interval_value(question, radius), 2e-7)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 9))
@pytest.mark.parametrize("cell", LINES, ids=str)
def test_simplices_are_growth_functions_on_more_lines(cell, seed):
    question, radius = problem_of(replace(cell, seed=seed))
    question = active(question)
    assert meets(simplex_value(question, radius), interval_value(question, radius), 2e-7)


@pytest.mark.parametrize("label_cost", [np.inf, 0.3])
@pytest.mark.parametrize("order", [1, 1.5, 2, 3])
@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
def test_simplices_are_the_conic_dual(norm, order, label_cost):
    options = {"norm": norm, "order": order, "label_cost": label_cost}
    boxed = math.isfinite(label_cost)
    kind, ends = ("margin", 1.0) if boxed else ("hinge", np.inf)
    question = random_question(
        [2, 3, 2], seed=14 + boxed, count=2, loss=kind, lower=-ends, upper=ends, **options
    )
    value = dual(question, 0.3)
    lower, upper = simplex_value(question, 0.3)
    assert upper - lower <= 2e-7 * max(1.0, abs(value))
    assert lower - CONIC <= value <= upper + CONIC


@pytest.mark.parametrize("order", [1, 2, math.inf])
@pytest.mark.parametrize(
    ("kind", "norm"),
    [
        *(("margin", norm) for norm in ("l1", "linf")),
        *(("hinge", norm) for norm in ("l1", "linf")),
        *(("zero-one", norm) for norm in ("l1", "l2", "linf")),
    ],
)
def test_simplices_are_the_integer_program(kind, norm, order):
    question = random_question([2, 3, 2], seed=16, count=2, loss=kind, norm=norm, order=order)
    found, expected = simplex_value(question, 0.3), worst_case_value(question, 0.3)
    assert found[0] <= expected[1] + CONIC
    assert expected[0] <= found[1] + CONIC
    assert max(found[1] - found[0], expected[1] - expected[0]) <= 10 * CONIC


@pytest.mark.parametrize("order", [1, 1.5, 2, 3, math.inf])
@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
@pytest.mark.parametrize("kind", ["cross-entropy", "dlr", "truncated-dlr"])
def test_simplices_lie_in_the_bracket_of_the_grid(kind, norm, order):
    question = random_question([2, 3, 3], seed=17, count=2, loss=kind, norm=norm, order=order)
    below, above = grid_value(question, 0.4, 121)
    lower, upper = simplex_value(question, 0.4)
    assert upper - lower <= 2e-7
    assert below <= upper + TIGHT
    assert lower <= above + TIGHT
    assert upper - below <= 0.05  # the grid is no idle lower bound


@pytest.mark.parametrize("kind", ["cross-entropy", "dlr", "truncated-dlr"])
def test_no_polished_point_beats_the_simplices(kind):
    """Local maximisation of ``loss - lambda |x - x_i|^2`` from the best of a grid."""
    question = random_question([2, 3, 3], seed=18, count=2, loss=kind, norm="l2", order=2)
    search = Search(question)
    axis = np.linspace(-1, 1, 41)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    for multiplier in (0.3, 1.0, 4.0):
        phi, _ = search.suprema(multiplier, 1e-9)
        for i, (x, y) in enumerate(zip(question.points, question.labels, strict=True)):

            def height(u, x=x, y=y, price=multiplier):
                u = np.clip(u, -1, 1)[None]
                return float(loss(question, u, np.array([y]))[0] - price * ((u - x) ** 2).sum())

            start = max(grid, key=height)
            options = {"xatol": 1e-10, "fatol": 1e-13, "maxiter": 4000}
            found = minimize(
                lambda u, up=height: -up(u), start, method="Nelder-Mead", options=options
            )
            assert -found.fun <= phi[i] + TIGHT
            assert -found.fun >= phi[i] - 1e-6


def test_a_triple_tie_above_the_label_has_no_bound():
    question = Question(
        weights=[np.array([[1.0], [-1.0], [0.0], [0.0]])],
        biases=[np.array([0.0, 0.0, 0.0, -1.0])],
        points=np.array([[0.5]]),
        labels=np.array([3]),
        loss="dlr",
        lower=-2.0,
        upper=2.0,
    )
    assert simplex_value(question, 0.1) == interval_value(question, 0.1) == (math.inf, math.inf)
    near = replace(question, order=math.inf)
    for radius, value in ((0.25, 1.25 / 0.5), (0.499, 1.001 / 0.002), (0.6, math.inf)):
        assert simplex_value(near, radius)[1] == pytest.approx(value, rel=1e-6)
        assert interval_value(near, radius)[1] == pytest.approx(value, rel=1e-9)
    cut = replace(question, loss="truncated-dlr")
    assert simplex_value(cut, 0.1) == pytest.approx((1.0, 1.0))


@pytest.mark.parametrize("kind", [*SHARED, "truncated-dlr"])
def test_simplices_and_intervals_see_a_changed_question(kind):
    question = random_question([1, 3, 3], seed=26, loss=kind, order=2, label_cost=0.3)
    value = interval_value(question, 0.3)
    assert meets(value, simplex_value(question, 0.3), 2e-7)
    faults = [
        {"order": 1.5},
        {"label_cost": math.inf},
        {"label_cost": 0.31},
        {"upper": 0.8, "lower": -0.8, "points": 0.8 * question.points},
        {"probabilities": question.probabilities[::-1]},
    ]
    seen = [not meets(simplex_value(replace(question, **fault), 0.3), value, 2e-7)
            for fault in faults]  # fmt: skip
    assert all(seen)
    assert not meets((value[0] + 1e-6, value[1] + 1e-6), simplex_value(question, 0.3), 2e-7)


# --- each oracle can fail ------------------------------------------------------------------------


def perturbed(question):
    """The question with 10 % more of its largest output weight."""
    weights = [W.copy() for W in question.weights]
    row, column = np.unravel_index(np.abs(weights[-1]).argmax(), weights[-1].shape)
    weights[-1][row, column] *= 1.1
    return replace(question, weights=weights)


def test_a_perturbed_weight_is_seen_by_every_value():
    question = random_question([1, 5, 2], seed=12)
    value, other = dual(question, 0.3), perturbed(question)
    assert abs(dual(other, 0.3) - value) > 1e-4
    assert abs(worst_case_value(other, 0.3)[0] - value) > 1e-4
    assert abs(worst_case_value(other, 0.3)[1] - value) > 1e-4
    below, above = grid_value(other, 0.3, 10_001)
    assert not below <= value <= above
    below, above = grid_value(question, 0.3, 10_001)
    assert below - TIGHT <= value <= above


def test_a_perturbed_weight_is_seen_by_every_distance():
    question = random_question([2, 4, 3], seed=1, loss="zero-one")
    before = distances(question)[1]
    assert np.abs(distances(perturbed(question))[1] - before).max() > 1e-5
    other = perturbed(question)
    assert np.abs(flip_distances(other, reference_cells(other)) - before).max() > 1e-5


def test_a_lost_cell_lowers_the_dual_below_the_integer_program():
    question = random_question([2, 4, 3], seed=1)
    cells = reference_cells(question)
    lower, _ = worst_case_value(question, 0.4)
    losses = [dual(question, 0.4, [c for c in cells if c is not lost]) for lost in cells]
    assert min(losses) < lower - 1e-3


def test_too_small_a_reach_leaves_a_gap_instead_of_a_wrong_value():
    question = random_question([2, 4, 3], seed=9, lower=-np.inf, upper=np.inf)
    lower, upper = worst_case_value(question, 0.5, reach=0.2)
    assert lower - TIGHT <= dual(question, 0.5) <= upper + TIGHT
    assert upper - lower > 1e-2


def test_norms_and_orders_give_different_answers():
    question = random_question([2, 4, 3], seed=13)
    values = [dual(replace(question, norm=norm), 0.3) for norm in ("l1", "l2", "linf")]
    assert all(abs(a - b) > 1e-4 for a, b in combinations(values, 2))
    assert values == sorted(values)
