"""Certificates: never below the truth, equal to known constants, loose and tight where they are."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from reference.cells import reference_cells
from reference.grid import grid_value
from reference.question import DUAL_ORDER, Question

from wdaverify import Box, Polytope, Problem, ReLUNetwork, TransportCost, enumerate_cells, solve
from wdaverify.bounds.certificate import CERTIFICATES, cell_lipschitz, certificates, certify
from wdaverify.bounds.lipschitz import layer_product, lipschitz_bound
from wdaverify.errors import UnsupportedError
from wdaverify.exact.value import ExactSolver
from wdaverify.loss import LOSSES
from wdaverify.norms import norm_named
from wdaverify.storage import load_stored

PROBLEMS = Path(__file__).resolve().parents[2] / "problems"
ORDER = 1e-9
BOTH = np.array([[1.0], [-1.0]])
SUPPORTS = {
    "box": Box(-1.0, 1.0),
    "space": Box(),
    "half": Box([-1.0, -np.inf], np.inf),
    "polytope": Polytope([[1.3, 1.0], [-1.0, 0.2], [0.1, -1.0]], [2.0, 1.5, 1.2]),
}


def random_network(seed, classes=3):
    rng = np.random.default_rng(seed)
    widths = [2, 4, 3, classes]
    shapes = zip(widths[1:], widths[:-1], strict=True)
    weights = [1.5 * rng.normal(size=shape) / math.sqrt(shape[1]) for shape in shapes]
    slopes = [rng.choice([0.0, 0.0, 0.1], size=width) for width in widths[1:-1]]
    return ReLUNetwork(weights, [0.5 * rng.normal(size=width) for width in widths[1:]], slopes)


def random_problem(seed, loss="margin", order=1, norm="linf", support=None):
    rng = np.random.default_rng(100 + seed)
    network, points = random_network(seed), rng.uniform(-0.8, 0.8, size=(6, 2))
    labels = network.logits(points).argmax(axis=1)
    labels[0] = (labels[0] + 1) % 3
    weights = rng.integers(1, 4, size=6)
    cost = TransportCost(norm, order)
    return Problem(network, points, labels, loss=loss, cost=cost, support=support, weights=weights)


def question_of(problem, **changes):
    options = {
        "weights": problem.network.weights,
        "biases": problem.network.biases,
        "slopes": problem.network.slopes,
        "points": problem.points,
        "labels": problem.labels,
        "probabilities": problem.weights / problem.weights.sum(),
        "loss": problem.loss.name,
        "norm": problem.cost.norm.name,
        "order": problem.cost.order,
    }
    return Question(**(options | changes))


def absolute(sign):
    """The margin of label 0 is ``sign · |x|``."""
    return ReLUNetwork([BOTH, [[0.0, 0.0], [sign, sign]]], [[0.0, 0.0], [0.0, 0.0]])


def affine(rows, offsets=None):
    """Logits ``rows · x + offsets``."""
    rows = np.asarray(rows, dtype=float)
    return ReLUNetwork([rows], [np.zeros(len(rows)) if offsets is None else offsets])


def by_method(problem, cells=None):
    return {c.method: c for c in certificates(problem, cells=cells)}


# --- soundness -----------------------------------------------------------------------------------

QUESTIONS = [("margin", 1), ("hinge", 1), ("zero-one", 1), ("zero-one", 2)]
QUESTIONS += [(loss, math.inf) for loss in ("margin", "hinge", "zero-one")]


@pytest.mark.parametrize(("loss", "order"), QUESTIONS)
@pytest.mark.parametrize("norm", ["l1", "linf"])
@pytest.mark.parametrize("space", SUPPORTS)
def test_exact_value_is_below_the_cell_constant_below_the_layer_product(loss, order, norm, space):
    strict = 0
    problem = random_problem(len(space), loss, order, norm, SUPPORTS[space])
    cells = enumerate_cells(problem.network, problem.support)
    found, exact = by_method(problem, cells), ExactSolver(problem, cells)
    for radius in (0.0, 0.02, 0.1, 0.3, 2.0):
        value = exact.solve(radius).upper
        cell, product = (found[m].bound(radius) for m in ("cell-lipschitz", "layer-product"))
        room = ORDER * max(1.0, abs(product))
        assert value <= cell + room
        assert cell <= product + room
        strict += value < product - 1e-3
    assert strict > 0, "equal everywhere: nothing was compared"


@pytest.mark.parametrize("loss", ["margin", "hinge"])
@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
@pytest.mark.parametrize("order", [1.5, 2, 4])
def test_other_orders_and_norms_are_above_the_grid(loss, norm, order):
    problem = random_problem(3, loss, order, norm, Box(-1.0, 1.0))
    cells = enumerate_cells(problem.network, problem.support)
    for radius in (0.05, 0.3):
        question = question_of(problem, lower=-1.0, upper=1.0)
        lower, _ = grid_value(question, radius, 31)
        for certificate in certificates(problem, cells=cells):
            assert lower <= certificate.bound(radius) + ORDER


@pytest.mark.parametrize("order", [1, 2, math.inf])
def test_cross_entropy_is_above_any_distribution_moved_at_random(order):
    problem = random_problem(4, "cross-entropy", order)
    cells = enumerate_cells(problem.network, problem.support)
    rng, radius, best = np.random.default_rng(0), 0.3, -math.inf
    mu = problem.weights / problem.weights.sum()
    for _ in range(300):
        moved = problem.points + radius * rng.choice([-1.0, 1.0], size=problem.points.shape)
        z = problem.network.logits(moved)
        own = z[np.arange(6), problem.labels]
        best = max(best, mu @ (np.log(np.exp(z - own[:, None]).sum(axis=1))))
    for certificate in certificates(problem, cells=cells):
        assert problem.nominal < best <= certificate.bound(radius)


# --- constants -----------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
@pytest.mark.parametrize("space", ["box", "space", "polytope"])
def test_cell_constants_are_the_largest_gradients_over_reference_cells(norm, space):
    for seed in range(3):
        problem = random_problem(seed, norm=norm, support=SUPPORTS[space])
        support = SUPPORTS[space]
        limits = (
            {"A": support.A, "b": support.b}
            if space == "polytope"
            else {"lower": support.lower, "upper": support.upper}
        )
        cells = reference_cells(question_of(problem, norm=norm, **limits))
        largest = [
            max(
                np.linalg.norm(cell.J[j] - cell.J[y], ord=DUAL_ORDER[norm])
                for cell in cells
                for j in range(3)
            )
            for y in range(3)
        ]
        found = cell_lipschitz(enumerate_cells(problem.network, support), norm_named(norm))
        np.testing.assert_allclose(found, largest, rtol=1e-9)


@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
@pytest.mark.parametrize("seed", range(4))
def test_layer_product_is_above_the_cell_constant_of_every_label(norm, seed):
    network, ground = random_network(seed), norm_named(norm)
    assert np.all(
        layer_product(network, ground) >= cell_lipschitz(enumerate_cells(network), ground)
    )


def test_layer_product_by_hand():
    network = ReLUNetwork(
        [[[1.0, -2.0], [0.5, 4.0]], [[1.0, 1.0], [-1.0, 3.0], [0.0, 1.0]]],
        [np.zeros(2), np.zeros(3)],
    )
    # l∞: largest row sum 4.5; heads |w_j − w_y|_1. l1: largest column sum 6; heads largest entry.
    assert layer_product(network, norm_named("linf")) == pytest.approx([18.0, 18.0, 13.5])
    assert layer_product(network, norm_named("l1")) == pytest.approx([12.0, 12.0, 12.0])
    steep = ReLUNetwork(network.weights, network.biases, [[-3.0, 1.0]])
    assert layer_product(steep, norm_named("l1")) == pytest.approx([36.0, 36.0, 36.0])


@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
def test_constant_of_an_affine_margin_is_the_dual_norm(norm):
    network, ground = affine([[0.0, 0.0, 0.0], [1.5, -0.75, 0.75]]), norm_named(norm)
    expected = {"l1": 1.5, "l2": math.sqrt(1.5**2 + 2 * 0.75**2), "linf": 3.0}[norm]
    constants = [expected, expected]
    assert cell_lipschitz(enumerate_cells(network), ground) == pytest.approx(constants, rel=1e-12)
    assert layer_product(network, ground) == pytest.approx(constants, rel=1e-12)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_constant_of_the_absolute_value(sign):
    network, ground = absolute(sign), norm_named("linf")
    assert cell_lipschitz(enumerate_cells(network), ground) == pytest.approx([1.0, 1.0])
    assert layer_product(network, ground) == pytest.approx([2.0, 2.0])  # one neuron too many


def test_constants_differ_by_label_and_labels_without_weight_do_not_count():
    network = affine([[0.0], [1.0], [5.0]])
    problem = Problem(network, [[0.0], [1.0], [2.0]], [0, 1, 2], weights=[1.0, 3.0, 0.0])
    cell = by_method(problem, enumerate_cells(network))["cell-lipschitz"]
    assert cell.constants == pytest.approx([5.0, 4.0, 5.0])
    assert cell.constant == pytest.approx(5.0)
    only_one = problem.replace(weights=[0.0, 1.0, 0.0])
    assert by_method(only_one, enumerate_cells(network))[
        "cell-lipschitz"
    ].constant == pytest.approx(4.0)
    assert certify(only_one, radius=0.5).value == pytest.approx(4.0 + 0.5 * 4.0)


def test_constants_refer_to_the_affine_hull_of_the_support():
    network = affine([[0.0, 0.0], [1.0, 0.0]])
    line = Polytope([[1.0, 1.0], [-1.0, -1.0]], [1.0, -1.0])  # x_1 + x_2 = 1: moves along (1, −1)
    for norm, expected in (("linf", 1.0), ("l1", 0.5), ("l2", 1 / math.sqrt(2))):
        found = cell_lipschitz(enumerate_cells(network, line), norm_named(norm))
        assert found == pytest.approx([expected] * 2, rel=1e-9), norm
    across = affine([[0.0, 0.0], [1.0, 1.0]])  # constant along the line
    for norm in ("linf", "l1", "l2"):
        found = cell_lipschitz(enumerate_cells(across, line), norm_named(norm))
        assert found == pytest.approx([0.0, 0.0], abs=1e-12)


def test_a_constant_feature_does_not_count():
    stored = load_stored(PROBLEMS / "constant-feature")
    cells = enumerate_cells(stored.problem.network, stored.problem.support)
    assert by_method(stored.problem, cells)["cell-lipschitz"].constant == pytest.approx(1.0)


# --- loose and tight -----------------------------------------------------------------------------


@pytest.mark.parametrize("radius", [0.25, 1.0, 3.0])
def test_certificate_is_loose_by_the_whole_radius_for_minus_the_absolute_value(radius):
    problem = Problem(absolute(-1.0), [[0.0]], [0])
    exact = solve(problem, radius=radius)
    cells = enumerate_cells(problem.network, problem.support)
    assert exact.upper == pytest.approx(0.0, abs=1e-12)
    assert by_method(problem, cells)["cell-lipschitz"].bound(radius) == pytest.approx(radius)


@pytest.mark.parametrize("name", ["tight", "affine-linf", "affine-l1", "counted-cells"])
def test_certificate_is_tight_where_it_should_be(name):
    stored = load_stored(PROBLEMS / name)
    cells = enumerate_cells(stored.problem.network, stored.problem.support)
    for radius, expected in zip(stored.radii, stored.expected.values, strict=True):
        found = certify(stored.problem, radius=radius, cells=cells)
        assert found.value == pytest.approx(expected, abs=1e-9 * max(1.0, expected))


@pytest.mark.parametrize("name", ["relu-interval", "polytope-triangle", "hinge-line"])
def test_certificate_is_strictly_loose_at_large_radii(name):
    stored = load_stored(PROBLEMS / name)
    cells = enumerate_cells(stored.problem.network, stored.problem.support)
    found = certify(stored.problem, radius=stored.radii[-1], cells=cells)
    assert found.value > stored.expected.values[-1] + 0.1


# --- formulas ------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["margin", "hinge", "cross-entropy"])
def test_formulas_of_order_1_2_and_infinity(loss):
    network = affine([[0.0], [1.0], [5.0]])
    problem = Problem(network, [[0.5], [1.0]], [0, 1], loss=loss, weights=[1.0, 3.0])
    L, mu, radius = np.array([5.0, 4.0, 5.0]), np.array([0.25, 0.75]), 0.5
    growth = {
        1: 5.0,
        2: math.sqrt(0.25 * 5.0**2 + 0.75 * 4.0**2),
        3: (0.25 * 5.0**1.5 + 0.75 * 4.0**1.5) ** (2 / 3),
        math.inf: 0.25 * 5.0 + 0.75 * 4.0,
    }
    z = network.logits(problem.points)
    losses = {
        "margin": np.array([2.5, 4.0]),
        "hinge": np.array([3.5, 5.0]),
        "cross-entropy": np.log(np.exp(z - z[[0, 1], [0, 1]][:, None]).sum(axis=1)),
    }
    nominal = mu @ losses[loss]
    for order, slope in growth.items():
        changed = problem.replace(cost=TransportCost("linf", order))
        assert lipschitz_bound(changed, L, radius) == pytest.approx(nominal + radius * slope)
    assert lipschitz_bound(problem, np.zeros(3), radius) == pytest.approx(nominal)


def test_radius_zero_gives_the_nominal_risk():
    for loss, order in QUESTIONS:
        problem = random_problem(5, loss, order)
        for certificate in certificates(problem):
            assert certificate.bound(0.0) == pytest.approx(problem.nominal, abs=1e-12)


def test_zero_one_formula_is_the_knapsack_of_margins_over_constants():
    """Margins −1, −2, −3, 0.5 with L = 2: no flip nearer than 1/2, 1, 3/2; the last is wrong."""
    network = affine([[0.0], [1.0]])
    problem = Problem(network, [[-1.0], [-2.0], [-3.0], [0.5]], [0] * 4, loss="zero-one")
    L = np.array([2.0, 2.0])
    nominal, mass = 0.25, 0.25
    linear = {0.0: 0.0, 0.0625: 0.5, 0.125: 1.0, 0.25: 1.5, 0.375: 2.0, 0.75: 3.0, 5.0: 3.0}
    for radius, flips in linear.items():
        assert lipschitz_bound(problem, L, radius) == pytest.approx(nominal + mass * flips)
    square = problem.replace(cost=TransportCost("linf", 2))
    # costs 1/4, 1, 9/4 at mass 1/4 each: the first flips for a budget of 1/16
    for radius, flips in ((0.25, 1.0), (0.125, 0.25), (math.sqrt(5 / 16), 2.0)):
        assert lipschitz_bound(square, L, radius) == pytest.approx(nominal + mass * flips)
    steps = problem.replace(cost=TransportCost("linf", math.inf))
    for radius, flips in ((0.49, 0), (0.5, 1), (0.99, 1), (1.0, 2), (1.5, 3), (9.0, 3)):
        assert lipschitz_bound(steps, L, radius) == pytest.approx(nominal + mass * flips)


def test_zero_one_without_any_slope_never_flips():
    network = affine([[1.0, 0.0], [1.0, 0.0]], [1.0, 0.0])
    problem = Problem(network, [[0.0, 0.0]], [0], loss="zero-one")
    assert lipschitz_bound(problem, np.zeros(2), 9.0) == 0.0
    assert certify(problem, radius=9.0).value == 0.0


def test_dlr_is_bounded_by_one_or_not_at_all_never_by_a_constant():
    three, four = affine(np.eye(3)), affine(np.eye(4)[:, :3])
    point = [[0.3, 0.2, 0.1]]
    for radius in (0.1, 9.0):
        assert certify(Problem(three, point, [0], loss="dlr"), radius=radius).value == 1.0
        with pytest.raises(UnsupportedError, match="no largest value with 4 classes"):
            certify(Problem(four, point, [0], loss="dlr"), radius=radius)
        truncated = Problem(four, point, [0], loss="truncated-dlr")
        assert certify(truncated, radius=radius).value == 1.0
    cells = enumerate_cells(three)
    assert set(by_method(Problem(three, point, [0], loss="dlr"), cells)) == {"ceiling"}


# --- certify -------------------------------------------------------------------------------------


def test_certify_names_the_smallest_of_all_methods():
    problem = random_problem(6)
    cells = enumerate_cells(problem.network, problem.support)
    both, alone = certify(problem, radius=0.2, cells=cells), certify(problem, radius=0.2)
    names = {"cell-lipschitz", "margin-lipschitz", "layer-product"}
    assert set(both.by_method) == set(alone.by_method) == names <= set(CERTIFICATES)
    assert both.method == min(both.by_method, key=lambda name: both.by_method[name])
    assert both.value == min(both.by_method.values()) < both.by_method["layer-product"]
    assert alone.value == pytest.approx(both.value, rel=1e-9)  # searched, not listed
    assert certify(problem, radius=0.2, method="layer-product").method == "layer-product"


@pytest.mark.parametrize("order", [1, 1.5, 3])
@pytest.mark.parametrize("loss", ["margin", "hinge", "zero-one"])
@pytest.mark.parametrize("price", [0.0, 0.05, 5.0])
def test_label_moves_are_bounded_too(loss, order, price):
    problem = random_problem(0).replace(
        loss=LOSSES[loss], cost=TransportCost("linf", order, label_cost=price)
    )
    cells = enumerate_cells(problem.network, problem.support)
    for radius in (0.01, 0.1, 1.0):
        exact = ExactSolver(problem, cells).solve(radius)
        for value in certify(problem, radius=radius, cells=cells).by_method.values():
            assert exact.lower <= value + 1e-9 * max(1.0, abs(value))


def test_a_constant_too_small_would_be_noticed():
    """Half the constant falls below the exact value of random problems."""
    broken = 0
    for seed, norm in itertools.product(range(3), ("l1", "linf")):
        problem = random_problem(seed, norm=norm)
        constants = cell_lipschitz(enumerate_cells(problem.network), problem.cost.norm)
        broken += lipschitz_bound(problem, constants / 2, 0.3) < solve(problem, radius=0.3).lower
    assert broken > 0
