"""Lower bounds against closed forms and an oracle; feasible, reproducible; checks shown to fail."""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.grid import grid_value
from reference.question import Question

from wdaverify.atoms import Atoms
from wdaverify.bounds import launcher, scouts
from wdaverify.bounds.attack import attack, attack_points, flip_distances, joined
from wdaverify.bounds.bases import leaders
from wdaverify.bounds.ladder import reaches_of
from wdaverify.bounds.options import METHODS, parts_of
from wdaverify.bounds.sharing import shared_points
from wdaverify.cost import TransportCost
from wdaverify.errors import ProblemError
from wdaverify.limits import Limits
from wdaverify.network import ReLUNetwork
from wdaverify.norms import NORMS
from wdaverify.problem import Problem
from wdaverify.support import Box, Polytope

norms = pytest.mark.parametrize("norm", list(NORMS))
SLOPE = np.array([2.0, -1.0, 0.5])
TRIANGLE = Polytope([[-1.0, 0.0], [0.0, -1.0], [1.0, 1.0]], [0.0, 0.0, 1.0])


@pytest.fixture(autouse=True)
def one_thread():
    """Small batches: threads only get into each other's way."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def affine(**options):
    """Margin ``a · x − 1`` for label 0 and ``1 − a · x`` for label 1."""
    network = ReLUNetwork([np.stack([0 * SLOPE, SLOPE])], [[0.0, -1.0]])
    X = np.random.default_rng(0).uniform(-0.3, 0.3, size=(6, 3))
    return Problem(network, X, [0, 0, 0, 0, 1, 1], **options)


def relu(sample, **options):
    """Margin ``max(x, 0)`` for one sample with label 0."""
    network = ReLUNetwork([[[1.0]], [[0.0], [1.0]]], [[0.0], [0.0, 0.0]])
    return Problem(network, [[sample]], [0], **options)


def line(**options):
    """Zero-one: an error where ``x >= 0``; distances 0, 1/2, 1, 2, 4."""
    network = ReLUNetwork([[[0.0], [1.0]]], [[0.0, 0.0]])
    X = [[0.5], [-0.5], [-1.0], [-2.0], [-4.0]]
    return Problem(network, X, np.zeros(5), loss="zero-one", **options)


def random_parts(widths, seed, count):
    rng = np.random.default_rng(seed)
    shapes = list(zip(widths[1:], widths[:-1], strict=True))
    weights = [rng.normal(size=shape) * 2 / math.sqrt(shape[1]) for shape in shapes]
    biases = [0.4 * rng.normal(size=shape[0]) for shape in shapes]
    X = rng.uniform(0.05, 0.5, size=(count, widths[0]))
    network = ReLUNetwork(weights, biases)
    return network, X, network.logits(X).argmax(axis=1)


def random_problem(widths=(2, 6, 3), seed=0, count=4, **options):
    return Problem(*random_parts(widths, seed, count), **({"support": Box(0.0, 1.0)} | options))


# --- closed forms ----------------------------------------------------------------------------


@norms
@pytest.mark.parametrize("order", [1, 1.5, 2, "inf"])
@pytest.mark.parametrize("radius", [0.0, 0.125, 1.0])
def test_affine_loss_rises_by_the_dual_norm(norm, order, radius):
    problem = affine(cost=TransportCost(norm, order))
    found = attack(problem, radius=radius, steps=5)
    exact = problem.nominal + radius * float(NORMS[norm].dual_length(SLOPE))
    assert found.value == pytest.approx(exact, abs=1e-9)
    assert (found.radius, found.seed, found.method) == (radius, 0, "wda")


@norms
def test_affine_loss_in_a_box(norm):
    """A budget that is enough for everyone's best corner."""
    problem = affine(cost=TransportCost(norm), support=Box(-0.5, 0.5))
    best = np.where(problem.labels == 0, 1.0, -1.0) * (-1.0) + 0.5 * np.abs(SLOPE).sum()
    assert attack(problem, radius=9.0).value == pytest.approx(best.mean(), abs=1e-12)


@pytest.mark.parametrize("radius", [0.5, 2.0, 4.0, 5.0])
def test_relu_on_an_interval(radius):
    problem = relu(-1.0, support=Box(-3.0, 3.0))
    assert attack(problem, radius=radius).value == pytest.approx(min(0.75 * radius, 3), abs=1e-12)


def test_relu_on_the_line_approaches_what_is_not_attained():
    found = attack(relu(-1.0), radius=1.0).value
    assert 1.0 - 1e-9 < found <= 1.0


def test_relu_of_order_two_moves_to_the_tangent_point():
    """``ε² / 4`` while ``ε <= 2``: atoms at −1 and 1."""
    found = attack(relu(-1.0, cost=TransportCost(order=2)), radius=1.0)
    assert found.value == pytest.approx(0.25, abs=1e-7)
    assert found.value <= 0.25
    assert found.distribution.points.max() == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize(("kappa", "value"), [(1.0, 0.0), (2.0, 0.5), (4.0, 0.75), (8.0, 0.75)])
def test_one_kappa_only(kappa, value):
    """From −1 with ``ε = 1``: ``κ`` reaches ``κ − 1``, or 3, with mass ``1/κ``, or 1/4."""
    problem = relu(-1.0, support=Box(-3.0, 3.0))
    assert attack(problem, radius=1.0, kappa=kappa).value == pytest.approx(value, abs=1e-12)


def test_the_point_wise_method_is_kappa_one():
    problem = random_problem()
    by_method = attack(problem, radius=0.1, method="point-wise").value
    assert by_method == attack(problem, radius=0.1, kappa=1.0).value
    assert by_method < attack(problem, radius=0.1).value


def test_polytope():
    """Slope 3 inside the triangle until 3/8, 1 along its edge until 5/8: one sample at 1/4, 1/4."""
    network = ReLUNetwork([[[0.0, 0.0], [2.0, 1.0]]], [[0.0, -1.0]])
    problem = Problem(network, [[0.25, 0.25]], [0], support=TRIANGLE)
    atoms = attack_points(problem, [0.1, 0.25, 0.5, 0.75])
    values = [atoms.value(radius) for radius in (0.1, 0.25, 0.5, 0.75)]
    assert values == pytest.approx([0.05, 0.5, 0.75, 1.0], abs=1e-7)
    assert problem.support.contains(atoms.points).all()


def test_zero_one_spends_on_the_cheapest_flips():
    problem = line()
    atoms = attack_points(problem, [0.1, 0.3, 1.5])
    # budgets 5 ε: 0.5 flips the first, 1.5 the first two, 7.5 all
    values = [atoms.value(radius) for radius in (0.0, 0.05, 0.1, 0.2, 0.3, 0.7, 1.5)]
    assert values == pytest.approx([0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0], abs=1e-12)


@pytest.mark.parametrize("radius", [0.5, 1.0, 2.0, 4.0])
def test_zero_one_of_order_infinity_sees_ties(radius):
    """A boundary point at exactly the radius is an error: exact corners are offered."""
    problem = line(cost=TransportCost(order="inf"))
    expected = np.mean([d <= radius for d in (0.0, 0.5, 1.0, 2.0, 4.0)])
    assert attack(problem, radius=radius).value == pytest.approx(expected, abs=1e-15)
    below = attack(problem, radius=np.nextafter(radius, 0.0)).value
    assert below == pytest.approx(expected - 0.2, abs=1e-15)


def test_cross_entropy_and_dlr_move_to_the_end_of_an_interval():
    network = ReLUNetwork([[[1.0], [-1.0], [0.0]]], [[0.0, 0.0, -9.0]])
    for loss in ("cross-entropy", "dlr", "truncated-dlr"):
        problem = Problem(network, [[0.5]], [0], loss=loss, support=Box(-1.0, 1.0))
        worst = problem.evaluate(np.array([[-1.0]]), problem.labels)[0]
        assert attack(problem, radius=2.0).value == pytest.approx(worst, abs=1e-12)


# --- flip distances --------------------------------------------------------------------------


@norms
@pytest.mark.parametrize("loss", ["margin", "cross-entropy"])
def test_flip_distances_of_an_affine_network(norm, loss):
    problem = affine(cost=TransportCost(norm, 2), loss=loss, weights=[1, 1, 1, 0, 1, 1])
    margin = problem.replace(loss="margin").nominal_losses
    exact = np.maximum(0.0, -margin) / NORMS[norm].dual_length(SLOPE)
    assert (margin >= 0).any()
    found = flip_distances(problem)
    assert (found >= exact).all()
    assert np.allclose(found, exact, rtol=1e-9)
    assert (found[margin >= 0] == 0).all()


def test_flip_distances_on_a_line():
    assert flip_distances(line()) == pytest.approx([0.0, 0.5, 1.0, 2.0, 4.0], abs=1e-14)


def test_no_flip_within_the_support():
    assert flip_distances(line(support=Box(-9.0, 0.5)))[1] == pytest.approx(0.5)
    nowhere = flip_distances(line().replace(points=[[-1.0]] * 5, support=Box(-9.0, -0.5)))
    assert (nowhere == math.inf).all()


# --- every bound is a distribution -----------------------------------------------------------


def check_distribution(problem, bound):
    """Raise unless a bound is the risk of a distribution that lies in the ambiguity set."""
    found = bound.distribution
    assert found.risk(problem) == bound.value, "the reported value is not the risk"
    assert problem.support.contains(found.points).all(), "outside the support"
    assert (found.labels == problem.labels[found.origin]).all(), "a label moved"
    arrived = np.bincount(found.origin, weights=found.weights, minlength=len(problem))
    assert np.allclose(arrived, problem.probabilities, rtol=1e-12), "mass was made or lost"
    radius = Fraction(bound.radius)
    if problem.cost.norm.name == "l2":
        limit = problem.cost.budget(bound.radius) * (1 + 1e-12)
        assert found.transport_cost(problem) <= limit, "over the budget"
    else:
        power = int(problem.cost.order) if problem.cost.finite else 1
        assert found.exact_transport_cost(problem) <= radius**power, "over the budget"


@norms
@pytest.mark.parametrize("order", [1, 2, "inf"])
@pytest.mark.parametrize("loss", ["margin", "hinge", "cross-entropy", "dlr", "zero-one"])
def test_bounds_are_feasible_distributions(norm, order, loss):
    problem = random_problem(
        seed=3, loss=loss, cost=TransportCost(norm, order), weights=[1.0, 3.0, 0.0, 2.0]
    )
    for radius in (0.0, 0.07, 0.3):
        bound = attack(problem, radius=radius, steps=6)
        check_distribution(problem, bound)
        assert bound.value >= problem.nominal - 1e-12


@norms
@pytest.mark.parametrize("order", [1, "inf"])
def test_bounds_on_a_polytope_are_feasible(norm, order):
    network, X, y = random_parts((2, 5, 2), 5, 4)
    problem = Problem(network, X, y, cost=TransportCost(norm, order), support=TRIANGLE)
    bound = attack(problem, radius=0.1, steps=6)
    check_distribution(problem, bound)
    assert bound.value > problem.nominal


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), radius=st.floats(1e-6, 10.0))
def test_budgets_hold_exactly_for_any_radius(seed, radius):
    problem = random_problem(seed=seed, cost=TransportCost("l1"))
    check_distribution(problem, attack(problem, radius=radius, steps=3, seed=seed))


def test_the_feasibility_check_can_fail():
    problem = random_problem()
    good = attack(problem, radius=0.1, steps=5)
    check_distribution(problem, good)
    far = np.argmax(good.distribution.points[:, 0] - problem.points[good.distribution.origin][:, 0])
    points = good.distribution.points.copy()
    points[far] = 2.0
    outside = replace(good.distribution, points=points)
    cheats = {
        "not the risk": replace(good, value=good.value + 1e-15 + 1e-15 * abs(good.value)),
        "outside": replace(good, distribution=outside, value=outside.risk(problem)),
        "over the budget": replace(good, radius=0.1 * (1 - 1e-9)),
    }
    for message, cheat in cheats.items():
        with pytest.raises(AssertionError, match=message):
            check_distribution(problem, cheat)


@pytest.mark.parametrize("norm", ["l1", "linf"])
def test_every_atom_of_order_infinity_is_within_a_radius(norm):
    problem = random_problem(seed=8, cost=TransportCost(norm, "inf"))
    atoms = attack_points(problem, [0.03, 0.1], steps=6)
    assert len(atoms) <= 3 * len(problem)  # itself and the worst point for each radius
    moves = atoms.points - problem.points[atoms.owners]
    exact = [NORMS[norm].exact_length([Fraction(v) for v in row]) for row in moves.tolist()]
    assert max(exact) <= Fraction(0.1) * (1 + Fraction(2) ** -50)
    assert (atoms.costs <= 0.1).all()


# --- against the grid oracle -----------------------------------------------------------------


@norms
@pytest.mark.parametrize(("order", "loss"), [(1, "margin"), (2, "hinge"), (math.inf, "margin")])
def test_attack_lies_in_the_bracket_of_a_grid(norm, order, loss):
    network, X, y = random_parts((2, 5, 3), 21, 2)
    problem = Problem(
        network, X, y, loss=loss, cost=TransportCost(norm, order), support=Box(0.0, 1.0)
    )
    question = Question(
        weights=network.weights, biases=network.biases, points=X, labels=y,
        loss=loss, norm=norm, order=order, lower=0.0, upper=1.0,
    )  # fmt: skip
    for radius in (0.1, 0.3):
        lower, upper = grid_value(question, radius, 25)
        assert lower - 1e-6 <= attack(problem, radius=radius).value <= upper + 1e-9


def test_the_grid_would_notice_an_attack_that_does_not_move():
    network, X, y = random_parts((2, 5, 3), 21, 2)
    question = Question(
        weights=network.weights, biases=network.biases, points=X, labels=y, lower=0.0, upper=1.0
    )
    assert Problem(network, X, y).nominal < grid_value(question, 0.3, 25)[0] - 0.01


# --- one table of points ---------------------------------------------------------------------


@pytest.mark.parametrize("order", [1, 3, "inf"])
def test_values_rise_with_the_radius(order):
    problem = random_problem(seed=2, cost=TransportCost("l2", order))
    radii = np.array([0.0, 0.02, 0.05, 0.1, 0.2, 0.5, 2.0])
    atoms = attack_points(problem, radii.tolist(), steps=6)
    values = np.array([atoms.value(radius) for radius in radii])
    assert values[0] == pytest.approx(problem.nominal)
    assert (np.diff(values) >= -1e-12).all()
    if order == 1:
        assert (np.diff(np.diff(values) / np.diff(radii)) <= 1e-9).all()  # concave


@pytest.mark.parametrize("order", [1, "inf"])
@pytest.mark.parametrize("loss", ["margin", "zero-one"])
def test_the_same_seed_gives_the_same_points(order, loss):
    problem = random_problem(seed=4, loss=loss, cost=TransportCost("l2", order))
    state = torch.random.get_rng_state()
    first, second = (attack_points(problem, [0.1], steps=6, seed=7) for _ in range(2))
    assert (first.points == second.points).all()
    assert (first.owners == second.owners).all()
    assert torch.equal(state, torch.random.get_rng_state())
    if (loss, order) == ("margin", 1):
        other = attack_points(problem, [0.1], steps=6, seed=8)
        assert first.points.shape != other.points.shape or (first.points != other.points).any()


@pytest.mark.parametrize("method", list(METHODS))
@pytest.mark.parametrize("loss", ["margin", "zero-one"])
def test_every_method_gives_a_bound(method, loss, monkeypatch):
    monkeypatch.setattr(scouts, "RESTARTS", 2)
    problem = random_problem(seed=6, loss=loss)
    bound = attack(problem, radius=0.1, method=method, steps=6)
    check_distribution(problem, bound)
    assert bound.value >= problem.nominal - 1e-12
    assert bound.method == method


def test_all_is_the_union_of_its_parts(monkeypatch):
    monkeypatch.setattr(scouts, "RESTARTS", 2)
    problem = random_problem(seed=6)
    tables = [
        attack_points(problem, [0.1], method=m, steps=6) for m in parts_of("all", by_reach=False)
    ]
    union = joined(tables).value(0.1)
    assert union >= max(table.value(0.1) for table in tables) - 1e-12
    assert parts_of("all", by_reach=True) == ("wda", "a3-wda", "point-wise")
    assert parts_of("wda", by_reach=True) == ("wda",)


def test_margin_targets_feed_other_losses():
    """The minimum-distance attack alone nearly finds what the ladder of reaches finds."""
    problem = random_problem(widths=(4, 10, 3), seed=12, count=8)
    alone, full = (attack(problem, radius=0.1, method=m).value for m in ("wda++", "wda"))
    assert problem.nominal + 0.5 * (full - problem.nominal) < alone <= full + 1e-9


def test_memory_that_is_short_splits_batches(monkeypatch):
    problem = random_problem(seed=4)
    whole = attack_points(problem, [0.1], steps=6)
    real, failed = launcher.ascend, []

    def tight(model, region, walkers, **options):
        if len(walkers.reaches) > 40:
            failed.append(len(walkers.reaches))
            raise RuntimeError("CUDA out of memory")
        return real(model, region, walkers, **options)

    monkeypatch.setattr(launcher, "ascend", tight)
    parts = attack_points(problem, [0.1], steps=6)
    assert failed
    assert parts.value(0.1) == pytest.approx(whole.value(0.1), abs=1e-3)

    def broken(*arguments, **options):
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(launcher, "ascend", broken)
    with pytest.raises(RuntimeError, match="shapes differ"):
        attack_points(problem, [0.1], steps=6)


def test_single_precision_finds_nearly_the_same():
    problem = random_problem(seed=9)
    double, single = (attack(problem, radius=0.1, dtype=d) for d in ("float64", "float32"))
    check_distribution(problem, single)
    assert single.value == pytest.approx(double.value, abs=1e-2)


def test_points_serve_other_samples_of_the_label():
    """Only the first sample knows a point; the second, behind a flat piece, would like it too."""
    problem = Problem(relu(-1.0).network, [[-1.0], [-2.0], [5.0]], [0, 0, 1])
    atoms = Atoms(problem)
    atoms.add(np.array([[3.0]]), np.array([0]))
    points, owners = shared_points(atoms, (1.0,), Limits())
    assert points.tolist() == [[3.0]]
    assert owners.tolist() == [1]
    atoms.add(points, owners)
    assert len(shared_points(atoms, (1.0,), Limits())[0]) == 0


def test_points_are_shared_within_the_radius_for_order_infinity():
    problem = Problem(relu(-1.0).network, [[-1.0], [-2.0]], [0, 0], cost=TransportCost(order="inf"))
    atoms = Atoms(problem)
    atoms.add(np.array([[3.0], [0.5]]), np.array([0, 0]))
    points, owners = shared_points(atoms, (3.0,), Limits())
    assert (points.tolist(), owners.tolist()) == ([[0.5]], [1])


def test_leaders():
    owners, scores = np.array([2, 0, 2, 0]), np.array([1.0, 5.0, 3.0, 4.0])
    assert leaders(owners, scores).tolist() == [1, 2]


# --- options and limits ----------------------------------------------------------------------


def test_reaches():
    bounded = relu(-1.0, support=Box(-3.0, 3.0))
    ladder = reaches_of(bounded, [0.5, 1.0])
    assert (ladder[0], ladder[-1]) == (0.125, 6.0)
    assert reaches_of(bounded, [1.0], [1.0, 4.0, 99.0]).tolist() == [1.0, 4.0, 6.0]
    square = bounded.replace(cost=TransportCost(order=2))
    assert reaches_of(square, [1.0], [4.0]).tolist() == [2.0]
    assert reaches_of(bounded.replace(cost=TransportCost(order="inf")), [2, 1]).tolist() == [1, 2]
    assert reaches_of(relu(-1.0), [1.0])[-1] >= 2.0**40
    assert reaches_of(relu(1.0, support=Box(1.0, 1.0)), [1.0]).tolist() == []


def test_nothing_can_move_on_a_single_point():
    problem = relu(1.0, support=Box(1.0, 1.0))
    assert attack(problem, radius=1.0).value == 1.0
    assert flip_distances(problem).tolist() == [0.0]


@pytest.mark.parametrize("order", [1, "inf"])
def test_a_limit_ends_the_attack_with_what_is_there(order):
    problem = random_problem(cost=TransportCost(order=order))
    atoms = attack_points(problem, [0.1], limits=Limits(seconds=0.0))
    assert atoms.value(0.1) == pytest.approx(problem.nominal)
    seen = []

    class TiredError(Exception):
        pass

    def stop(done, total):
        seen.append((done, total))
        if len(seen) > 1:
            raise TiredError

    with pytest.raises(TiredError):  # also a way to stop: the command line raises KeyboardInterrupt
        attack_points(problem, [0.1], progress=stop)
    assert 0 < seen[0][0] <= seen[1][0] <= seen[1][1]


def test_progress_counts_walkers():
    seen = []
    attack_points(random_problem(), [0.1], steps=3, progress=lambda *pair: seen.append(pair))
    done, totals = zip(*seen, strict=True)
    assert list(done) == sorted(done)
    assert len(set(totals)) == 1
    assert done[-1] <= totals[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"radius": -1.0}, r"radius: expected at least one, all >= 0, found -1\.0"),
        ({"radius": math.inf}, "radius: expected finite numbers, found inf"),
        ({"radius": "wide"}, "radius: expected real numbers"),
        ({"radius": 1.0, "seed": 2**64}, "seed: expected less than"),
        ({"radius": 1.0, "kappa": 0.5}, "kappa: expected a finite number >= 1, found 0.5"),
        ({"radius": 1.0, "method": "magic"}, "method: expected one of wda"),
        ({"radius": 1.0, "steps": 0}, "steps: expected at least 1, found 0"),
        ({"radius": 1.0, "restarts": -1}, "restarts: expected at least 0"),
        ({"radius": 1.0, "dtype": "int8"}, "dtype: expected one of float64"),
        ({"radius": 1.0, "device": "cuda:99"}, "CUDA device"),
    ],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises(ProblemError, match=message):
        attack(relu(-1.0), **options)


def test_the_minimum_distance_method_has_no_kappa():
    with pytest.raises(ProblemError, match=r"kappa: the method wda\+\+ has none"):
        attack(relu(-1.0), radius=1.0, method="wda++", kappa=2.0)


def test_kappa_needs_a_finite_order():
    problem = relu(-1.0, cost=TransportCost(order="inf"))
    with pytest.raises(ProblemError, match="order inf"):
        attack(problem, radius=1.0, kappa=2.0)
    assert attack(problem, radius=2.0, kappa=1.0).value == 1.0


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("loss", ["margin", "zero-one"])
def test_the_attack_moves_labels_where_it_may(loss, order):
    """A correct sample with another label is an error for the price of the label alone."""
    cost = TransportCost(order=order, label_cost=0.01)
    problem = relu(4.0, loss=loss, cost=cost).replace(labels=np.array([1]))
    found = attack(problem, radius=0.05)
    assert found.distribution.exact_transport_cost(problem) <= Fraction(0.05) ** order
    assert found.distribution.risk(problem) == found.value
    assert found.value > problem.nominal + 0.1
    assert (found.distribution.labels == 0).any()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("order", [1, "inf"])
@pytest.mark.parametrize("loss", ["margin", "zero-one"])
def test_gpu(order, loss):
    problem = random_problem((4, 16, 16, 3), seed=1, count=20, loss=loss,
                             cost=TransportCost(order=order))  # fmt: skip
    here, there = (attack(problem, radius=0.1, device=device) for device in ("cpu", "cuda"))
    check_distribution(problem, there)
    assert there.value == pytest.approx(here.value, abs=2e-2)
    assert there.value == attack(problem, radius=0.1, device="cuda").value
