"""Polishing against cvxpy, the exact engine and brute force; what a broken polisher may not do."""

import itertools

import cvxpy as cp
import numpy as np
import pytest

import wdaverify as wv
from wdaverify.atoms import Atoms
from wdaverify.bounds.attack import attack_points, distances_of, flip_atoms
from wdaverify.exact.polish import Polisher
from wdaverify.limits import Limits
from wdaverify.polishing import polish, polish_atoms

NORMS = {"l1": 1, "l2": 2, "linf": "inf"}
LOSSES = ("margin", "hinge", "cross-entropy", "zero-one", "truncated-dlr")
norms = pytest.mark.parametrize("norm", list(NORMS))


def network_of(widths, seed):
    """Return a random network, no class of which rules the unit box."""
    rng = np.random.default_rng(seed)
    shapes = list(itertools.pairwise(widths))
    weights = [rng.normal(size=(b, a)) * 2 / np.sqrt(a) for a, b in shapes]
    biases = [0.4 * rng.normal(size=b) for _, b in shapes]
    logits = wv.ReLUNetwork(weights, biases).logits(rng.uniform(size=(500, widths[0])))
    biases[-1] = biases[-1] - logits.mean(axis=0)
    return wv.ReLUNetwork(weights, biases)


def problem_of(seed, *, widths=(2, 5, 3), samples=4, loss="margin", norm="linf", order=1):
    """Return a problem whose labels are the network's own, on the unit box."""
    network = network_of(widths, seed)
    X = np.random.default_rng(100 + seed).uniform(0.1, 0.9, size=(samples, widths[0]))
    cost = wv.TransportCost(norm, order=order)
    labels = network.logits(X).argmax(axis=1)
    return wv.Problem(network, X, labels, loss=loss, cost=cost, support=wv.Box(0.0, 1.0))


def with_corners(problem):
    """Return the samples and, for each, the corners of the unit box: points that nobody chose."""
    atoms = Atoms(problem)
    corners = np.array(list(itertools.product([0.0, 1.0], repeat=problem.network.features)))
    owners = np.repeat(np.arange(len(problem)), len(corners))
    atoms.add(np.tile(corners, (len(problem), 1)), owners)
    return atoms


@norms
def test_an_affine_network_is_solved_from_any_error(norm):
    """One cell: from any corner of the box the polish finds the distance that cvxpy finds."""
    problem = problem_of(1, widths=(3, 2), samples=6, loss="zero-one", norm=norm)
    W, b = problem.network.weights[0], problem.network.biases[0]
    start = with_corners(problem)
    found = distances_of(polish_atoms(start, [1.0]))
    before = distances_of(start)
    assert np.isfinite(before).sum() >= 3
    for i in np.flatnonzero(np.isfinite(before)).tolist():
        x, label = problem.points[i], int(problem.labels[i])
        v = cp.Variable(3)
        rows = [(W[1 - label] - W[label]) @ v + b[1 - label] - b[label] >= 0, v >= 0, v <= 1]
        program = cp.Problem(cp.Minimize(cp.norm(v - x, NORMS[norm])), rows)
        program.solve(solver=cp.CLARABEL)
        assert found[i] == pytest.approx(program.value, rel=1e-6)
        assert found[i] < before[i]


@norms
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("order", [1, 2, "inf"])
def test_polished_bounds_lie_between_attack_and_exact(loss, norm, order):
    problem = problem_of(3, samples=3, loss=loss, norm=norm, order=order)
    rough = wv.attack(problem, radius=0.15, steps=3, restarts=0)
    better = polish(problem, rough)
    exact = wv.solve(problem, radius=0.15, limits=Limits(seconds=10))
    assert rough.value <= better.value <= exact.upper + 1e-9 * max(1.0, abs(exact.upper))
    assert better.distribution.risk(problem) == better.value
    spent = better.distribution.transport_cost(problem)
    assert spent <= problem.cost.budget(0.15) * (1 + 1e-12)
    assert problem.support.contains(better.distribution.points).all()


@norms
def test_margin_values_that_an_attack_almost_finds_are_found_exactly(norm):
    gains = []
    for seed in range(6):
        problem = problem_of(seed, widths=(2, 6, 3), norm=norm)
        atoms = attack_points(problem, [0.1])
        exact = wv.solve(problem, radius=0.1)
        plain, better = atoms.value(0.1), polish_atoms(atoms, [0.1]).value(0.1)
        assert better >= plain
        gains.append((exact.lower - plain, exact.lower - better))
    plain, better = np.median(gains, axis=0)
    assert better <= 1e-9
    assert better < plain


def test_facets_are_crossed():
    """``z_1 = relu(x − 1/2) + relu(x − 3/4) − 1/16``: the error nearest to 0 is at 9/16.

    The atom at 1 lies in another cell, whose own nearest error is at 3/4.
    """
    network = wv.ReLUNetwork(
        [[[1.0], [1.0]], [[0.0, 0.0], [1.0, 1.0]]], [[-0.5, -0.75], [0.0, -0.0625]]
    )
    problem = wv.Problem(network, [[0.0]], [0], loss="zero-one", support=wv.Box(0.0, 1.0))
    atoms = Atoms(problem)
    atoms.add(np.array([[1.0]]), np.array([0]))
    assert distances_of(polish_atoms(atoms, [1.0], rounds=1)) == pytest.approx([0.75])
    assert distances_of(polish_atoms(atoms, [1.0])) == pytest.approx([0.5625], abs=1e-12)


def test_labels_may_move():
    problem = problem_of(5).replace(cost=wv.TransportCost("linf", order=1, label_cost=0.3))
    rough = wv.attack(problem, radius=0.2, steps=3)
    exact = wv.solve(problem, radius=0.2)
    better = polish(problem, rough)
    assert rough.value <= better.value <= exact.upper + 1e-9


def test_the_whole_space_is_a_support_too():
    problem = problem_of(2).replace(support=wv.Box())
    rough = wv.attack(problem, radius=0.2, steps=3)
    better = polish(problem, rough)
    assert rough.value <= better.value <= wv.solve(problem, radius=0.2).upper + 1e-9


@pytest.mark.parametrize("loss", ["margin", "zero-one"])
def test_a_polisher_that_lies_changes_no_bound_for_the_better(monkeypatch, loss):
    """Points outside the support, at infinity, or simply worse: none of them may count."""
    problem = problem_of(3, loss=loss)
    atoms = attack_points(problem, [0.1])
    before = atoms.value(0.1)
    lies = np.array([[7.0, 7.0], [np.nan, 0.5], [np.inf, 0.0]])
    monkeypatch.setattr(Polisher, "best", lambda *_: lies)
    monkeypatch.setattr(Polisher, "nearest", lambda *_: lies[:2])
    after = polish_atoms(atoms, [0.1])
    upper = wv.solve(problem, radius=0.1).upper
    assert before <= after.value(0.1) <= upper + 1e-9
    assert problem.support.contains(after.points).all()


def test_without_the_programs_nothing_is_gained(monkeypatch):
    """The check above can fail: what is gained comes from the programs."""
    problem = problem_of(1, widths=(3, 2), samples=6, loss="zero-one")
    monkeypatch.setattr(Polisher, "nearest", lambda *_: np.zeros((0, 3)))
    start = with_corners(problem)
    assert (distances_of(polish_atoms(start, [1.0])) == distances_of(start)).all()


def test_a_limit_keeps_what_is_there():
    problem = problem_of(3)
    atoms = attack_points(problem, [0.1])
    limits = Limits()
    limits.stop.set()
    assert polish_atoms(atoms, [0.1], limits=limits).value(0.1) == atoms.value(0.1)
    assert polish_atoms(atoms, [0.0]).value(0.1) == atoms.value(0.1)


def test_the_table_that_is_given_is_left_alone():
    problem = problem_of(3, loss="zero-one")
    atoms = flip_atoms(problem)
    points, costs = atoms.points.copy(), atoms.costs.copy()
    better = polish_atoms(atoms, [1.0])
    assert np.array_equal(atoms.points, points)
    assert np.array_equal(atoms.costs, costs)
    assert (distances_of(better) <= distances_of(atoms)).all()
