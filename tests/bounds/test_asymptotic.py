"""The asymptotic slope: without cells, from the cells, by integer programs and by directions."""

import math
from pathlib import Path

import numpy as np
import pytest
from reference.milp import asymptotic_slope as milp_slope
from reference.question import Question

from wdaverify import Box, Polytope, Problem, ReLUNetwork, TransportCost, enumerate_cells
from wdaverify.bounds.asymptotic import asymptotic_slope
from wdaverify.bounds.certificate import cell_lipschitz
from wdaverify.errors import UnsupportedError
from wdaverify.exact.value import ExactSolver
from wdaverify.storage import load_stored

PROBLEMS = Path(__file__).resolve().parents[2] / "problems"
SUPPORTS = {
    "space": Box(),
    "orthant": Box(0.0, np.inf),
    "half": Box([-1.0, -np.inf], [np.inf, np.inf]),
    "strip": Box([-1.0, -np.inf], [1.0, np.inf]),
    "wedge": Polytope([[1.0, -3.0], [-3.0, 1.0]], [2.0, 2.0]),
    "slit": Polytope([[1.0, -1.0], [-1.0, 1.0], [-1.0, 0.0]], [0.5, 0.5, 1.0]),
}


def random_network(seed, features=2, classes=3):
    rng = np.random.default_rng(seed)
    widths = [features, 5, 3, classes]
    shapes = zip(widths[1:], widths[:-1], strict=True)
    weights = [1.5 * rng.normal(size=shape) / math.sqrt(shape[1]) for shape in shapes]
    slopes = [rng.choice([0.0, 0.0, 0.2], size=width) for width in widths[1:-1]]
    return ReLUNetwork(weights, [0.5 * rng.normal(size=width) for width in widths[1:]], slopes)


def problem_of(network, labels, *, norm="linf", support=None, **options):
    points = np.full((len(labels), network.features), 0.25)
    cost = TransportCost(norm, 1)
    return Problem(network, points, labels, cost=cost, support=support, **options)


def scalar(*outer):
    """Margin of label 0 on the line: ``Σ outer_k relu(± x)``."""
    return ReLUNetwork([[[1.0], [-1.0]], [[0.0, 0.0], outer]], [[0.3, -0.2], [0.0, 0.1]])


def in_cone(support, directions):
    """Whether directions lie in the recession cone of a support, by its own rows."""
    A, _ = support.bind(directions.shape[1]).rows
    return np.all(directions @ A.T <= 1e-12, axis=1)


def homogeneous_margin(network, directions, label):
    """``max_j f⁰_j(u) − f⁰_y(u)`` by a forward pass without biases."""
    h = directions
    for k, W in enumerate(network.weights):
        h = h @ W.T
        h = np.where(h > 0, h, network.slopes[k] * h) if k < len(network.slopes) else h
    others = np.delete(h, label, axis=1)
    return others.max(axis=1) - h[:, label]


def sphere(norm, count=8_001):
    """Directions of length 1 in the plane, corners and axes included."""
    side = np.linspace(-1.0, 1.0, count)
    if norm == "linf":
        one = np.ones(count)
        pairs = [(side, one), (side, -one), (one, side), (-one, side)]
    else:
        pairs = [(side, 1 - np.abs(side)), (side, np.abs(side) - 1)]
    return np.concatenate([np.stack(pair, axis=1) for pair in pairs])


@pytest.mark.parametrize("norm", ["l1", "linf"])
@pytest.mark.parametrize("space", ["space", "orthant", "half", "wedge"])
@pytest.mark.parametrize("seed", range(3))
def test_no_direction_in_the_plane_is_steeper_and_one_is_as_steep(norm, space, seed):
    network, support = random_network(seed), SUPPORTS[space]
    directions = sphere(norm)
    directions = directions[in_cone(support, directions)]
    constants = cell_lipschitz(enumerate_cells(network), problem_of(network, [0]).cost.norm)
    for label in range(3):
        found = asymptotic_slope(problem_of(network, [label], norm=norm, support=support))
        steepest = max(0.0, homogeneous_margin(network, directions, label).max())
        spacing = 2.0 * constants.max() / 8_000
        assert steepest <= found.upper + 1e-9
        assert steepest >= found.lower - spacing
        assert found.upper - found.lower <= 1e-9 * (1 + found.upper)


@pytest.mark.parametrize("norm", ["l1", "linf"])
@pytest.mark.parametrize("space", SUPPORTS)
@pytest.mark.parametrize("seed", range(2))
def test_it_is_what_the_unbounded_cells_show(norm, space, seed):
    network, support = random_network(10 + seed), SUPPORTS[space]
    cells = enumerate_cells(network, support)
    for labels in ([0], [1], [2], [0, 2]):
        problem = problem_of(network, labels, norm=norm, support=support)
        found, floor = asymptotic_slope(problem), ExactSolver(problem, cells).floor
        assert floor == pytest.approx(found.lower, abs=1e-9)
        assert floor == pytest.approx(found.upper, abs=1e-9)
        assert found.label in labels


@pytest.mark.parametrize("norm", ["l1", "linf"])
@pytest.mark.parametrize("features", [1, 2, 3])
def test_it_is_what_integer_programs_find(norm, features):
    network = random_network(20 + features, features)
    half = Box(-1.0, np.where(np.arange(features) == 0, np.inf, 1.0))
    for support in (Box(), half):
        bound = support.bind(features)
        question = Question(
            weights=network.weights, biases=network.biases, slopes=network.slopes, norm=norm,
            points=np.zeros((1, features)), labels=[0], lower=bound.lower, upper=bound.upper,
        )  # fmt: skip
        for label in range(3):
            found = asymptotic_slope(problem_of(network, [label], norm=norm, support=support))
            assert found.lower == pytest.approx(milp_slope(question, label), abs=1e-7)
            assert found.upper == pytest.approx(found.lower, abs=1e-9)


@pytest.mark.parametrize("norm", ["l1", "linf"])
@pytest.mark.parametrize("space", SUPPORTS)
def test_the_direction_is_its_own_proof(norm, space):
    witnessed = 0
    for seed in range(5):
        network = random_network(30 + seed)
        problem = problem_of(network, [0, 1, 2], norm=norm, support=SUPPORTS[space])
        found = asymptotic_slope(problem)
        direction = found.direction[None, :]
        assert problem.cost.norm.length(found.direction) <= 1 + 1e-9
        A, _ = problem.support.rows
        assert np.all(direction @ A.T <= 1e-9)
        if found.lower > 0:
            reached = homogeneous_margin(network, direction, found.label)
            assert reached == pytest.approx(found.lower, abs=1e-9)
            witnessed += 1
    assert witnessed > 0


@pytest.mark.parametrize(
    ("outer", "slope"), [((1, 0), 1), ((1, 1), 1), ((-1, -1), 0), ((2, 0.5), 2), ((-1, 0.5), 0.5)]
)
def test_known_slopes_on_the_line(outer, slope):
    found = asymptotic_slope(problem_of(scalar(*outer), [0]))
    assert (found.lower, found.upper) == pytest.approx((slope, slope))


def test_the_support_decides_which_rays_there_are():
    network = scalar(1, 3)  # slope 1 to the right, 3 to the left
    for support, slope in ((Box(-9.0, np.inf), 1.0), (Box(-np.inf, 9.0), 3.0), (Box(), 3.0)):
        found = asymptotic_slope(problem_of(network, [0], support=support))
        assert found.lower == pytest.approx(slope)
        rays = Polytope(*support.bind(1).rows)
        again = asymptotic_slope(problem_of(network, [0], support=rays))
        assert again.lower == pytest.approx(slope)


def test_labels_without_weight_do_not_count():
    affine = ReLUNetwork([[[0.0], [1.0], [5.0]]], [np.zeros(3)])
    both = problem_of(affine, [0, 1], weights=[1.0, 1.0])
    assert asymptotic_slope(both).lower == pytest.approx(5.0)
    assert asymptotic_slope(both).label == 0
    only = problem_of(affine, [0, 1], weights=[0.0, 1.0])
    assert asymptotic_slope(only).lower == pytest.approx(4.0)
    assert asymptotic_slope(only).label == 1


def test_biases_do_not_matter():
    network = random_network(40)
    other = ReLUNetwork(network.weights, [b + 7.0 for b in network.biases], network.slopes)
    first, second = (asymptotic_slope(problem_of(net, [0, 1])) for net in (network, other))
    assert first.lower == pytest.approx(second.lower, abs=1e-12)


@pytest.mark.parametrize("loss", ["margin", "hinge", "cross-entropy"])
def test_the_three_losses_share_the_slope(loss):
    network = random_network(41)
    margin = asymptotic_slope(problem_of(network, [0, 1, 2]))
    found = asymptotic_slope(problem_of(network, [0, 1, 2], loss=loss))
    assert (found.lower, found.upper) == (margin.lower, margin.upper)


@pytest.mark.parametrize("norm", ["l1", "linf"])
@pytest.mark.parametrize("loss", ["margin", "hinge"])
def test_it_is_a_lower_bound_on_the_value_and_reached_far_out(norm, loss):
    for seed in range(2):
        problem = problem_of(random_network(50 + seed), [0, 1, 2], norm=norm, loss=loss)
        slope = asymptotic_slope(problem)
        exact = ExactSolver(problem, enumerate_cells(problem.network))
        for radius in (0.0, 0.1, 1.0, 50.0):
            found = exact.solve(radius)
            assert slope.bound(problem, radius) == pytest.approx(
                problem.nominal + radius * slope.lower
            )
            assert slope.bound(problem, radius) <= found.upper + 1e-9 * max(1.0, found.upper)
        assert found.upper / 50.0 - slope.lower <= 0.5


def test_tight_is_tight():
    stored = load_stored(PROBLEMS / "tight")
    found = asymptotic_slope(stored.problem)
    cells = enumerate_cells(stored.problem.network, stored.problem.support)
    assert found.lower == pytest.approx(4.0, abs=1e-9)
    assert cell_lipschitz(cells, stored.problem.cost.norm)[0] == pytest.approx(4.0)
    for radius, expected in zip(stored.radii, stored.expected.values, strict=True):
        assert found.bound(stored.problem, radius) == pytest.approx(expected)


REFUSED = {
    "bounded box": {"support": Box(-1.0, 1.0)},
    "bounded polytope": {
        "support": Polytope([[1.0, 1.0], [-1.0, 0.0], [0.0, -1.0]], [1.0, 0.0, 0.0])
    },
    "order 2": {"cost": TransportCost("linf", 2)},
    "order inf": {"cost": TransportCost("linf", math.inf)},
    "zero-one": {"loss": "zero-one"},
    "dlr": {"loss": "dlr"},
}


@pytest.mark.parametrize("seed", range(6))
def test_the_slope_of_the_euclidean_norm_is_that_seen_from_the_cells(seed):
    network = random_network(seed)
    problem = problem_of(network, [0, 1, 2]).replace(cost=TransportCost("l2", 1))
    floor = ExactSolver(problem, enumerate_cells(network)).floor
    found = asymptotic_slope(problem)
    assert found.lower <= found.upper <= found.lower + 1e-9
    assert found.lower == pytest.approx(floor, abs=1e-9)
    steps = np.random.default_rng(seed).normal(size=(2000, 2))
    rays = network.without_biases().logits(steps / np.linalg.norm(steps, axis=1)[:, None])
    margins = [np.delete(rays, y, axis=1).max(axis=1) - rays[:, y] for y in range(3)]
    assert max(m.max() for m in margins) <= found.upper + 1e-12
    assert max(m.max() for m in margins) >= 0.99 * found.lower


@pytest.mark.parametrize("case", REFUSED)
def test_where_it_proves_nothing_it_is_refused(case):
    network = random_network(0)
    problem = Problem(network, [[0.25, 0.25]], [0], **REFUSED[case])
    with pytest.raises(UnsupportedError, match="asymptotic-slope"):
        asymptotic_slope(problem)


def test_a_slope_of_other_weights_would_be_noticed():
    network = random_network(0)
    weights = [*network.weights[:-1], 1.001 * network.weights[-1]]
    other = ReLUNetwork(weights, network.biases, network.slopes)
    problem = problem_of(network, [0, 1, 2])
    floor = ExactSolver(problem, enumerate_cells(network)).floor
    assert asymptotic_slope(problem_of(other, [0, 1, 2])).lower != pytest.approx(floor, abs=1e-9)
