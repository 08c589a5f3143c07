"""Atoms and distributions: risk, exact budgets, escape along rays, zero-one ties."""

import math
from fractions import Fraction

import numpy as np
import pytest

from wdaverify.arrays import Floats
from wdaverify.atoms import Atoms
from wdaverify.cost import TransportCost
from wdaverify.distribution import Distribution, Ray
from wdaverify.evaluation import certain_losses, margins_with_error
from wdaverify.network import ReLUNetwork
from wdaverify.problem import Problem
from wdaverify.support import Box, Polytope


def relu_line(
    points: list[float], order: float = 1, kink: float = 0.0, **options: object
) -> Problem:
    """Margin ``max(0, x − kink)`` for label 0 on the real line."""
    network = ReLUNetwork([[[1.0]], [[0.0], [1.0]]], [[-kink], [0.0, 0.0]])
    X, labels = np.array(points)[:, None], np.zeros(len(points), dtype=int)
    return Problem(network, X, labels, cost=TransportCost("linf", order), **options)


def random_problem(
    seed: int, norm: str, order: float, count: int = 5, **options: object
) -> Problem:
    rng = np.random.default_rng(seed)
    sizes = (3, 4, 3)
    weights = [rng.normal(size=shape) for shape in zip(sizes[1:], sizes[:-1], strict=True)]
    network = ReLUNetwork(weights, [rng.normal(size=size) for size in sizes[1:]])
    X, y = rng.normal(size=(count, 3)), rng.integers(0, 3, size=count)
    return Problem(network, X, y, cost=TransportCost(norm, order), **options)


def scattered(problem: Problem, seed: int, count: int = 80) -> Atoms:
    rng = np.random.default_rng(seed)
    owners = rng.integers(0, len(problem), size=count)
    scale = 10.0 ** rng.uniform(-2, 1, size=(count, 1))
    atoms = Atoms(problem)
    atoms.add(
        problem.points[owners] + scale * rng.normal(size=(count, problem.network.features)), owners
    )
    return atoms


def spent(distribution: Distribution, problem: Problem) -> Fraction:
    """Transport cost over the rationals, atom by atom."""
    costs = []
    for x, i in zip(distribution.points.tolist(), distribution.origin.tolist(), strict=True):
        moves = [
            abs(Fraction(a) - Fraction(b))
            for a, b in zip(x, problem.points[i].tolist(), strict=True)
        ]
        costs.append(sum(moves) if problem.cost.norm.name == "l1" else max(moves))
    if not problem.cost.finite:
        return max(costs)
    masses = [Fraction(w) for w in distribution.weights.tolist()]
    return sum(m * c ** int(problem.cost.order) for m, c in zip(masses, costs, strict=True))


# distributions -----------------------------------------------------------------------------


@pytest.mark.parametrize("order", [1, 2, math.inf])
@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
def test_the_distribution_reaches_the_value_of_its_atoms(norm, order):
    problem = random_problem(0, norm, order)
    atoms = scattered(problem, 1)
    for radius in (0.0, 0.05, 0.4, 3.0, 100.0):
        best = atoms.distribution(radius)
        assert best.risk(problem) == pytest.approx(atoms.value(radius), rel=1e-9, abs=1e-9)
        budget = problem.cost.budget(radius)
        assert best.transport_cost(problem) <= budget * (1 + 1e-12)
        assert best.weights.sum() == pytest.approx(1.0, abs=1e-12)
        assert len(best.weights) <= len(problem) + 1
        assert np.array_equal(best.labels, problem.labels[best.origin])


@pytest.mark.parametrize("order", [1, 2, math.inf])
@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
def test_the_risk_is_the_weighted_loss_written_out(norm, order):
    problem = random_problem(2, norm, order)
    best = scattered(problem, 3).distribution(0.5)
    total = 0.0
    for x, y, w in zip(best.points, best.labels.tolist(), best.weights.tolist(), strict=True):
        z = problem.network.logits(x[None, :])[0]
        total += w * (max(v for j, v in enumerate(z.tolist()) if j != y) - z[y])
    assert best.risk(problem) == pytest.approx(total, abs=1e-12)


@pytest.mark.parametrize("order", [1, 2, 3, math.inf])
@pytest.mark.parametrize("norm", ["l1", "linf"])
def test_the_exact_transport_cost_is_the_sum_over_the_rationals(norm, order):
    problem = random_problem(4, norm, order)
    best = scattered(problem, 5).distribution(0.7)
    exact = best.exact_transport_cost(problem)
    assert isinstance(exact, Fraction)
    assert exact == spent(best, problem)
    assert float(exact) == pytest.approx(best.transport_cost(problem))


@pytest.mark.parametrize("count", [1, 4, 7])
@pytest.mark.parametrize("order", [1, 2, math.inf])
@pytest.mark.parametrize("norm", ["l1", "linf"])
def test_the_budget_holds_over_the_rationals(norm, order, count):
    for seed in range(6):
        problem = random_problem(seed, norm, order, count)
        atoms = scattered(problem, seed)
        for radius in (0.1, 0.3, 1.0, 4.0):
            best = atoms.distribution(radius)
            assert spent(best, problem) <= Fraction(radius) ** (int(order) if order < 9 else 1)


@pytest.mark.parametrize("count", [3, 6, 7, 10, 11])
def test_the_budget_holds_over_the_rationals_where_every_sample_moves_by_the_radius(count):
    """Ten times the float64 ``0.1`` exceeds 1, but its running sum in float64 does not."""
    problem = relu_line([float(k) for k in range(count)])
    atoms = Atoms(problem)
    atoms.add(problem.points + 1.0, np.arange(count))
    best = atoms.distribution(1.0)
    assert best.exact_transport_cost(problem) <= 1
    assert best.risk(problem) == pytest.approx(problem.nominal + 1.0)


def test_a_distribution_over_the_budget_is_noticed():
    """Companion: one atom moved by one ulp more than the budget allows."""
    problem = relu_line([0.0])
    far = np.array([[np.nextafter(1.0, 2.0)]])
    whole = Distribution(far, np.zeros(1, int), np.ones(1), np.zeros(1, int), np.zeros(1, bool))
    assert whole.exact_transport_cost(problem) > 1


def test_an_atom_at_exactly_the_radius_is_within_it():
    """Order infinity, ℓ1: the move (1, 1) has length 2 exactly."""
    network = ReLUNetwork([[[0.0, 0.0], [1.0, 1.0]]], [[0.0, 0.0]])
    cost = TransportCost("l1", math.inf)
    problem = Problem(network, [[0.0, 0.0]], [0], cost=cost)
    atoms = Atoms(problem)
    atoms.add(np.array([[1.0, 1.0]]), np.array([0]))
    assert atoms.value(2.0) == 2.0
    assert atoms.value(np.nextafter(2.0, 0.0)) == 0.0


def test_order_infinity_takes_the_worst_atom_within_the_radius_and_the_nearest_of_equals():
    problem = relu_line([0.0], math.inf, loss="zero-one")
    problem = problem.replace(network=ReLUNetwork([[[0.0], [1.0]]], [[0.0, -1.0]]))
    atoms = Atoms(problem)
    atoms.add(np.array([[3.0], [1.0], [2.0]]), np.zeros(3, dtype=int))
    assert [atoms.value(r) for r in (0.5, 1.0, 9.0)] == [0.0, 1.0, 1.0]
    assert atoms.distribution(9.0).points.tolist() == [[1.0]]


def test_samples_of_weight_zero_do_not_appear():
    for order in (1, math.inf):
        problem = relu_line([0.0, 1.0, 2.0], order, weights=[1.0, 0.0, 1.0])
        atoms = scattered(problem, 0)
        assert set(atoms.distribution(0.5).origin.tolist()) == {0, 2}


# the table of atoms ------------------------------------------------------------------------


def test_without_atoms_the_value_is_the_nominal_risk():
    for order in (1, 2, math.inf):
        problem = random_problem(6, "l2", order)
        assert Atoms(problem).value(1.0) == pytest.approx(problem.nominal)
        assert scattered(problem, 0).value(0.0) == pytest.approx(problem.nominal)


@pytest.mark.parametrize("order", [1, 2, math.inf])
def test_more_atoms_never_lower_the_value(order):
    problem = random_problem(7, "linf", order)
    atoms, rng = Atoms(problem), np.random.default_rng(0)
    value = atoms.value(0.5)
    for _ in range(20):
        atoms.add(problem.points + rng.normal(size=problem.points.shape), np.arange(5))
        assert atoms.value(0.5) >= value - 1e-12
        value = atoms.value(0.5)
    assert value > problem.nominal


@pytest.mark.parametrize("order", [1, 2])
def test_pruning_keeps_every_value(order):
    problem = random_problem(8, "l1", order)
    atoms = scattered(problem, 1, count=300)
    before, size = [atoms.value(r) for r in (0.0, 0.1, 1.0, 9.0)], len(atoms)
    atoms.prune()
    assert len(atoms) < size
    assert [atoms.value(r) for r in (0.0, 0.1, 1.0, 9.0)] == before


OUTSIDE = np.array([[2.0, 0.0], [np.nan, 0.0], [np.inf, 0.0], [0.0, -np.inf], [0.5, 0.5]])


@pytest.mark.parametrize(
    "support", [Box(0.0, 1.0), Polytope(np.vstack([np.eye(2), -np.eye(2)]), [1.0, 1.0, 0.0, 0.0])]
)
def test_points_outside_the_support_or_not_finite_are_dropped(support):
    network = ReLUNetwork([np.eye(2)], [np.zeros(2)])
    atoms = Atoms(Problem(network, [[0.0, 0.0]], [0], support=support))
    atoms.add(OUTSIDE, np.zeros(5, dtype=int))
    assert atoms.points.tolist() == [[0.0, 0.0], [0.5, 0.5]]


def test_points_that_are_not_finite_are_dropped_on_the_whole_space():
    network = ReLUNetwork([np.eye(2)], [np.zeros(2)])
    atoms = Atoms(Problem(network, [[0.0, 0.0]], [0]))
    atoms.add(OUTSIDE, np.zeros(5, dtype=int))
    assert atoms.points[1:].tolist() == [[2.0, 0.0], [0.5, 0.5]]


def test_a_certified_error_counts_although_its_rounding_evaluates_otherwise():
    problem = relu_line([0.0], loss="zero-one")
    problem = problem.replace(network=ReLUNetwork([[[0.0], [1.0]]], [[0.0, -1.0]]))
    atoms = Atoms(problem)
    atoms.add_certified(np.array([np.nextafter(1.0, 0.0)]), 0, 1.0)
    best = atoms.distribution(1.0)
    assert certain_losses(problem, best.points, best.labels).max() == 0.0
    assert best.risk(problem) == pytest.approx(1.0)
    assert atoms.value(0.5) == pytest.approx(0.5)


@pytest.mark.parametrize("order", [1, 2, math.inf])
@pytest.mark.parametrize("distances", [[1.0], [2.0, 1.0], [1.0, 2.0], [1.0, 1.5, 2.0, 0.75]])
def test_each_certified_error_is_charged_its_own_distance(distances, order):
    problem = relu_line([0.0], order, loss="zero-one")
    problem = problem.replace(network=ReLUNetwork([[[0.0], [1.0]]], [[0.0, -0.5]]))
    atoms = Atoms(problem)
    for distance in distances:
        atoms.add_certified(np.array([distance]), 0, distance)
    assert atoms.value(1.0) == 1.0
    assert atoms.distribution(1.0).risk(problem) == pytest.approx(1.0)


def test_a_cheap_move_of_high_order_is_not_free():
    """At radius 1e-8 a move of length 1e-7 is out of reach, also when ``1e-7 ** 50`` underflows."""
    problem = relu_line([0.0], 50, loss="zero-one")
    problem = problem.replace(network=ReLUNetwork([[[0.0], [1.0]]], [[0.0, -1e-7]]))
    atoms = Atoms(problem)
    atoms.add(np.array([[2e-7]]), np.array([0]))
    assert atoms.value(1e-8) < 1.0


# escape ------------------------------------------------------------------------------------


def escaping(
    point: float, kink: float = 0.0, base: float | None = None, **options: object
) -> Atoms:
    """The relu line with the ray to the right."""
    problem = relu_line([point], kink=kink, **options)
    atoms = Atoms(problem)
    start = kink if base is None else base
    atoms.rays[0] = Ray(np.array([start]), np.array([1.0]), 1.0)
    return atoms


@pytest.mark.parametrize("radius", [0.01, 1.0, 30.0])
@pytest.mark.parametrize("point", [-0.5, -1.0, -100.0])
def test_on_the_relu_line_mass_escapes_and_the_value_is_the_radius(point, radius):
    atoms = escaping(point)
    assert atoms.value(radius) == pytest.approx(radius)
    best = atoms.distribution(radius)
    assert not best.attained
    assert best.risk(atoms.problem) <= radius
    assert best.risk(atoms.problem) == pytest.approx(radius, rel=1e-7, abs=1e-7)
    assert best.exact_transport_cost(atoms.problem) <= Fraction(radius)
    assert best.weights.sum() == pytest.approx(1.0, abs=1e-15)


@pytest.mark.parametrize("kink", [0.0, 1e3, 1e6])
def test_escape_keeps_the_exact_budget_where_data_are_far_from_zero(kink):
    for k in range(1, 40):
        radius = k / 17
        atoms = escaping(kink + 0.3, kink, base=kink + 0.3)
        best = atoms.distribution(radius)
        assert best.exact_transport_cost(atoms.problem) <= Fraction(radius)
        assert best.risk(atoms.problem) == pytest.approx(0.3 + radius, rel=1e-7, abs=1e-7)


def test_a_steeper_atom_is_bought_before_mass_escapes():
    """Margin ``max(0, 3 (x + 2)) up to x = −1``, then slope 1: the near gain comes first."""
    network = ReLUNetwork([[[1.0], [1.0]], [[0.0, 0.0], [3.0, -2.0]]], [[2.0, 1.0], [0.0, 0.0]])
    problem = Problem(network, [[-2.0]], [0], cost=TransportCost("linf", 1))
    atoms = Atoms(problem)
    atoms.add(np.array([[-1.0]]), np.array([0]))
    atoms.rays[0] = Ray(np.array([-1.0]), np.array([1.0]), 1.0)
    assert [atoms.value(e) for e in (0.5, 1.0, 2.0)] == pytest.approx([1.5, 3.0, 4.0])
    assert atoms.distribution(0.5).attained
    best = atoms.distribution(2.0)
    assert not best.attained
    assert best.risk(problem) == pytest.approx(4.0, rel=1e-7)
    assert best.exact_transport_cost(problem) <= 2


def test_the_steepest_label_of_several_samples_escapes():
    """Label 0 grows to the right with slope 1, label 1 to the left with slope 2."""
    network = ReLUNetwork([[[1.0], [-1.0]], [[0.0, 2.0], [1.0, 0.0]]], [[0.0, 0.0], [0.0, 0.0]])
    problem = Problem(network, [[-1.0], [1.0], [-3.0]], [0, 1, 0])
    atoms = Atoms(problem)
    atoms.rays[0] = Ray(np.array([0.0]), np.array([1.0]), 1.0)
    atoms.rays[1] = Ray(np.array([0.0]), np.array([-1.0]), 2.0)
    best = atoms.distribution(1.0)
    assert atoms.value(1.0) == pytest.approx(problem.nominal + 2.0)
    assert best.risk(problem) == pytest.approx(problem.nominal + 2.0, rel=1e-7)
    assert best.exact_transport_cost(problem) <= 1
    assert int(best.origin[np.argmax(np.abs(best.points[:, 0]))]) == 1


# zero-one ties -----------------------------------------------------------------------------

PERMUTED = ReLUNetwork([[[0.1, 0.2, 0.3], [0.3, 0.1, 0.2]]], [[0.0, 0.0]])


def exact_error(network: ReLUNetwork, x: Floats, label: int) -> bool:
    """Whether the real-valued affine network errs or ties at a float64 point."""
    point = [Fraction(v) for v in x.tolist()]
    W, b = network.weights[0].tolist(), network.biases[0].tolist()
    logits = [
        sum((Fraction(w) * v for w, v in zip(row, point, strict=True)), Fraction(c))
        for row, c in zip(W, b, strict=True)
    ]
    return max(v for j, v in enumerate(logits) if j != label) >= logits[label]


def test_an_exact_tie_is_an_error_for_both_labels():
    """``0.1 + 0.2 + 0.3`` in another order: a tie over the reals, not always in floating point."""
    problem = Problem(PERMUTED, np.ones((2, 3)), [0, 1], loss="zero-one")
    assert certain_losses(problem, problem.points, problem.labels).tolist() == [1.0, 1.0]
    assert Atoms(problem).losses.tolist() == [1.0, 1.0]


def test_zero_one_decisions_near_the_boundary_are_those_of_the_rationals():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(300, 3))
    # put every point on the boundary 0.2 x1 − 0.1 x2 − 0.1 x3 = 0, up to rounding
    points[:, 0] = (points[:, 1] + points[:, 2]) / 2
    labels = rng.integers(0, 2, size=300)
    problem = Problem(PERMUTED, points, labels, loss="zero-one")
    truth = [
        float(exact_error(PERMUTED, x, y)) for x, y in zip(points, labels.tolist(), strict=True)
    ]
    assert certain_losses(problem, points, labels).tolist() == truth
    assert problem.evaluate(points, labels).tolist() != truth, "floating point never erred: no test"


def test_margins_carry_a_bound_on_their_error():
    problem = random_problem(9, "l2", 1)
    points = np.random.default_rng(1).normal(size=(20, 3))
    labels = np.zeros(20, dtype=int)
    values, errors = margins_with_error(problem.network, points, labels)
    assert values == pytest.approx(problem.evaluate(points, labels))
    assert np.all((errors > 0) & (errors < 1e-12))


def test_other_losses_are_evaluated_in_floating_point():
    problem = random_problem(10, "l2", 1)
    labels = problem.labels
    assert (
        certain_losses(problem, problem.points, labels).tolist() == problem.nominal_losses.tolist()
    )
