"""Lipschitz constants: cells, search, closed forms, gradients at random points, reference cells."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.cells import reference_cells
from reference.polygons import frame_polygon
from reference.question import DUAL_ORDER, Question

from wdaverify import Box, Limits, Polytope, Problem, ReLUNetwork, TransportCost, enumerate_cells
from wdaverify.bounds import gradient_search
from wdaverify.bounds.body import Ball, body_of
from wdaverify.bounds.cell_constants import cell_constants, margin_constants
from wdaverify.bounds.certificate import certificates
from wdaverify.bounds.gradient_search import searched_constants
from wdaverify.bounds.interior import widest
from wdaverify.bounds.partial import Partial
from wdaverify.errors import UnsupportedError
from wdaverify.exact.value import ExactSolver
from wdaverify.exact.walk import cells_in_ball
from wdaverify.norms import NORMS

SUPPORTS = {
    "box": Box(-1.0, 1.0),
    "space": Box(),
    "orthant": Box(0.0, np.inf),
    "triangle": Polytope([[1.3, 1.0], [-1.0, 0.2], [0.1, -1.0]], [2.0, 1.5, 1.2]),
}


def random_network(seed, widths=(2, 5, 4, 3), *, leaky=True):
    rng = np.random.default_rng(seed)
    pairs = list(itertools.pairwise(widths))
    slopes = [rng.choice([0.0, 0.0, 0.1, 1.0] if leaky else [0.0], size=o) for _, o in pairs[:-1]]
    return ReLUNetwork(
        [1.5 * rng.normal(size=(o, i)) / math.sqrt(i) for i, o in pairs],
        [0.5 * rng.normal(size=o) for _, o in pairs],
        slopes,
    )


def searched(network, support, norm, ball=None, **options):
    return searched_constants(
        body_of(network, support.bind(network.features), NORMS[norm], ball), **options
    )


def slopes_seen(network, points, norm, *, margin=False):
    """Largest dual norms of central differences of ``z_j − z_y``, ``(K, K)``."""
    K, step = network.classes, 1e-7
    n = network.features
    moved = [network.logits(points + s * step * e) for e in np.eye(n) for s in (1, -1)]
    J = np.stack([(a - b) / (2 * step) for a, b in zip(moved[::2], moved[1::2], strict=True)], -1)
    z, found = network.logits(points), np.zeros((K, K))
    for y, j in itertools.permutations(range(K), 2):
        lengths = np.linalg.norm(J[:, j] - J[:, y], ord=DUAL_ORDER[norm], axis=1)
        top = np.delete(z, y, axis=1).max(axis=1) == z[:, j]
        found[y, j] = lengths[top if margin else slice(None)].max(initial=0.0)
    return found


def smooth(network, points):
    """Points that are not within 1e-5 of a kink."""
    return points[np.all(np.abs(network.preactivations(points)) > 1e-5, axis=1)]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("space", SUPPORTS)
@pytest.mark.parametrize("seed", range(2))
def test_search_and_cells_agree_to_1e_9(norm, space, seed):
    network, support = random_network(seed), SUPPORTS[space].bind(2)
    cells = enumerate_cells(network, support)
    for listed, margin in (
        (cell_constants(cells, NORMS[norm]), False),
        (margin_constants(cells, NORMS[norm]), True),
    ):
        found = searched(network, support, norm, margin=margin)
        assert np.all(found.upper - found.lower <= 1e-9 * (1 + found.upper))
        np.testing.assert_allclose(found.upper, listed.upper, rtol=1e-9, atol=1e-12)
        assert np.all(listed.upper - listed.lower <= 1e-9 * (1 + listed.upper))


def part_where(rows, offsets):
    """The polygon ``rows x <= offsets`` within a frame of size 4."""
    polygon = frame_polygon(2, 4.0)
    for row, offset in zip(rows, offsets, strict=True):
        polygon = polygon.part(row, offset)
    return polygon


@pytest.mark.parametrize("seed", range(4))
def test_margin_constants_are_those_of_reference_cells_cut_by_the_top_class(seed):
    """Cells over the rationals, cut as polygons: no program, no enumerator."""
    network = random_network(seed)
    question = Question(
        weights=network.weights, biases=network.biases, slopes=network.slopes, norm="linf",
        points=np.zeros((1, 2)), labels=[0], lower=[-1.0, -1.0], upper=[1.0, 1.0],
    )  # fmt: skip
    listed = enumerate_cells(network, Box(-1.0, 1.0))
    reference, strict = reference_cells(question), 0
    for norm in NORMS:
        found, every = (f(listed, NORMS[norm]) for f in (margin_constants, cell_constants))
        for y, j in itertools.permutations(range(3), 2):
            (k,) = {0, 1, 2} - {y, j}
            lengths = [0.0]
            for cell in reference:
                rows = np.concatenate([cell.G, cell.J[k : k + 1] - cell.J[j : j + 1]])
                polygon = part_where(rows, np.append(cell.h, cell.c[j] - cell.c[k]))
                if polygon.is_solid:
                    lengths.append(np.linalg.norm(cell.J[j] - cell.J[y], ord=DUAL_ORDER[norm]))
            assert found.upper[y, j] == pytest.approx(max(lengths), rel=1e-9, abs=1e-12)
            strict += found.upper[y, j] < every.upper[y, j] - 1e-6
    assert strict > 0


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("margin", [False, True])
def test_no_gradient_at_a_random_point_is_steeper(norm, margin):
    rng = np.random.default_rng(0)
    for seed in range(3):
        network = random_network(20 + seed, (3, 6, 4, 3))
        points = smooth(network, rng.uniform(-1, 1, size=(20_000, 3)))
        found = searched(network, Box(-1.0, 1.0), norm, margin=margin)
        seen = slopes_seen(network, points, norm, margin=margin)
        assert np.all(seen <= found.upper * (1 + 1e-6) + 1e-6)
        assert np.all(found.upper <= 3.0 * seen + 3.0), "nothing near the constant was sampled"


@pytest.mark.parametrize(("norm", "length"), [("l1", 4.0), ("l2", 5.0), ("linf", 7.0)])
def test_one_neuron_has_the_closed_form(norm, length):
    network = ReLUNetwork([[[3.0, -4.0]], [[0.0], [2.0]]], [[0.5], [0.0, 0.0]])
    for found in (
        searched(network, Box(), norm),
        cell_constants(enumerate_cells(network), NORMS[norm]),
        margin_constants(enumerate_cells(network), NORMS[norm]),
    ):
        assert found.labels[1] == pytest.approx([2 * length] * 2, rel=1e-12)
        assert found.labels[0] == pytest.approx([2 * length] * 2, rel=1e-12)
    away = searched(network, Box(), norm, ball=Ball(np.array([-3.0, 3.0]), 0.5))
    assert away.labels[1] == pytest.approx([0.0, 0.0])


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("radius", [0.05, 0.3, 1.0])
def test_in_a_ball_only_cells_that_meet_it_count(norm, radius):
    rng, narrower = np.random.default_rng(1), 0
    for seed in range(3):
        network = random_network(40 + seed)
        centre = rng.uniform(-0.5, 0.5, size=2)
        found = searched(network, Box(-1.0, 1.0), norm, ball=Ball(centre, radius))
        assert np.all(found.upper - found.lower <= 1e-9 * (1 + found.upper))
        points = centre + rng.uniform(-radius, radius, size=(20_000, 2))
        points = points[NORMS[norm].length(points - centre) < radius - 1e-6]
        points = smooth(network, points[np.all(np.abs(points) < 1 - 1e-6, axis=1)])
        seen = slopes_seen(network, points, norm)
        assert np.all(seen <= found.upper * (1 + 1e-6) + 1e-6)
        box, K = Box(-1.0, 1.0).bind(2), range(3)
        met = [m.cell for m in cells_in_ball(network, box, centre, radius, NORMS[norm])]
        J = np.array([cell.affine_map.matrix for cell in met])
        lengths = [[NORMS[norm].dual_length(J[:, j] - J[:, y]).max() for j in K] for y in K]
        np.testing.assert_allclose(lengths, found.upper, rtol=1e-9, atol=1e-12)
        narrower += np.any(found.upper < searched(network, Box(-1.0, 1.0), norm).lower - 1e-6)
    assert narrower > 0 or radius == 1.0


def test_constant_features_are_put_in():
    network = random_network(3)
    found = searched(network, Box([-1.0, 0.3], [1.0, 0.3]), "linf")
    cells = enumerate_cells(network, Box([-1.0, 0.3], [1.0, 0.3]))
    np.testing.assert_allclose(found.upper, cell_constants(cells, NORMS["linf"]).upper, rtol=1e-9)
    fixed = searched(network, Box(0.3, 0.3), "linf")
    assert not fixed.upper.any()


def test_duplicated_and_negated_neurons_are_decided_over_the_rationals(monkeypatch):
    """Of equal neurons one on and one off leave no interior: floating point cannot see that."""
    row = np.array([0.7, -0.3])
    W, out = np.stack([row, row, -row]), np.array([[0.0, 0.0, 0.0], [2.0, -1.0, 0.5]])
    network = ReLUNetwork([W, out], [np.array([0.1, 0.1, -0.1]), np.zeros(2)])
    assert searched(network, Box(-1.0, 1.0), "linf").labels[1] == pytest.approx([1.0, 1.0])
    monkeypatch.setattr(gradient_search._Search, "_empty", lambda *_: False)
    assert searched(network, Box(-1.0, 1.0), "linf").labels[1] == pytest.approx([2.0, 2.0])


@pytest.mark.parametrize("seed", range(12))
def test_degenerate_networks_lose_no_cell(seed):
    """Small integer weights, half without biases: neurons that are zero, equal, or negatives."""
    rng = np.random.default_rng(seed)
    widths = [(2, 4, 3, 3), (3, 4, 2), (1, 5, 4, 3), (2, 5, 2)][seed % 4]
    pairs = list(itertools.pairwise(widths))
    network = ReLUNetwork(
        [np.round(rng.normal(size=(o, i))) for i, o in pairs],
        [(seed % 2) * np.round(rng.normal(size=o)) for _, o in pairs],
    )
    support = [Box(-1.0, 1.0), Box(), Box(0.0, np.inf)][seed % 3]
    cells = enumerate_cells(network, support)
    for norm, margin in itertools.product(NORMS, (False, True)):
        listed = (margin_constants if margin else cell_constants)(cells, NORMS[norm])
        found = searched(network, support, norm, margin=margin, nodes=3000)
        assert np.all(found.upper >= listed.lower - 1e-9)
        assert np.all(found.lower <= listed.upper + 1e-9)
        if not margin:
            np.testing.assert_allclose(found.upper, listed.upper, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("nodes", [0, 1, 5, 20])
def test_a_limit_leaves_a_valid_bracket(nodes):
    network = random_network(7, (3, 8, 8, 3))
    truth = searched(network, Box(-1.0, 1.0), "linf")
    early = searched(network, Box(-1.0, 1.0), "linf", nodes=nodes)
    assert np.all(early.lower <= truth.upper + 1e-12)
    assert np.all(early.upper >= truth.lower - 1e-12)
    assert early.upper.max() > truth.upper.max()
    timed = searched(network, Box(-1.0, 1.0), "linf", limits=Limits(seconds=0.0))
    np.testing.assert_allclose(timed.upper, searched(
        network, Box(-1.0, 1.0), "linf", nodes=0).upper)  # fmt: skip
    cells = enumerate_cells(network, Box(-1.0, 1.0))
    stopped = margin_constants(cells, NORMS["linf"], Limits(seconds=0.0))
    assert np.all(stopped.upper >= margin_constants(cells, NORMS["linf"]).lower)


@pytest.mark.parametrize("labels", [(0,), (1, 2), (0, 1, 2)])
def test_labels_that_matter_are_exact_others_bounded(labels):
    network = random_network(9)
    truth = searched(network, Box(-1.0, 1.0), "l2")
    found = searched(network, Box(-1.0, 1.0), "l2", labels=labels)
    at = list(labels)
    np.testing.assert_allclose(found.labels[1][at], truth.labels[1][at], rtol=1e-9)
    assert np.all(found.upper >= truth.lower - 1e-9)
    assert found.nodes <= truth.nodes


def test_a_search_that_drops_a_node_would_be_noticed(monkeypatch):
    """Every leaf taken for empty: the cell of the largest gradient is lost."""
    lost = 0
    for seed in range(4):
        network = random_network(60 + seed)
        truth = searched(network, Box(-1.0, 1.0), "linf", labels=None)
        with monkeypatch.context() as patch:
            patch.setattr(gradient_search._Search, "offer", lambda *_: None)
            patch.setattr(gradient_search._Search, "_empty", lambda *_: True)
            found = searched(network, Box(-1.0, 1.0), "linf")
        lost += np.any(found.upper < truth.lower - 1e-9)
    assert lost == 4


def test_interval_bounds_contain_every_completion():
    """All completions of random partial patterns, by brute force."""
    rng = np.random.default_rng(2)
    network = random_network(11, (2, 3, 3, 2))
    partial = Partial(body_of(network, Box(-1.0, 1.0).bind(2), NORMS["linf"]))
    head, tight = np.array([-1.0, 1.0]), 0
    for _ in range(30):
        signs = np.where(network.linear, 1, rng.integers(-1, 2, size=6))
        bound = partial.gradients(signs[None, :], head).bounds[0]
        open_ = np.flatnonzero(signs == 0)
        lengths = []
        for choice in itertools.product([False, True], repeat=len(open_)):
            pattern = signs > 0
            pattern[open_] = choice
            lengths.append(np.abs(head @ network.affine_maps(pattern)[1].matrix).sum())
        assert max(lengths) <= bound * (1 + 1e-12) + 1e-12
        tight += bound <= max(lengths) * (1 + 1e-9)
    assert tight > 5


def test_implied_signs_are_those_of_all_points_with_the_given_signs():
    rng = np.random.default_rng(3)
    implied = 0
    for seed in range(5):
        network = random_network(80 + seed, (2, 4, 4, 3), leaky=False)
        partial = Partial(body_of(network, Box(-1.0, 1.0).bind(2), NORMS["l2"]))
        patterns = np.where(network.patterns(rng.uniform(-1, 1, size=(4000, 2))), 1, -1)
        for _ in range(20):
            given = np.where(rng.random(8) < 0.3, patterns[rng.integers(4000)], 0)
            signs, possible = partial.implied(given[None, :])
            agree = np.all((patterns == given) | (given == 0), axis=1)
            assert possible[0]
            assert np.all((patterns[agree] == signs[0]) | (signs[0] == 0))
            implied += np.sum((signs[0] != 0) & (given == 0))
    assert implied > 10


def test_room_and_its_absence_are_shown():
    rows, sizes = np.array([[1.0, 0.0], [-1.0, 0.0]]), np.ones(2)
    roomy = widest(rows, np.array([1.0, 0.0]), sizes)
    assert roomy.certain
    assert 0 < roomy.point[0] < 1
    assert widest(rows, np.array([-1.0, 0.5]), sizes).empty
    touching = widest(rows, np.array([0.5, -0.5]), sizes)
    assert not touching.certain
    assert not touching.empty


def test_a_polytope_without_interior_is_refused_and_left_out():
    line = Polytope([[1.0, 1.0], [-1.0, -1.0]], [1.0, -1.0])
    network = random_network(5)
    with pytest.raises(UnsupportedError, match="without interior"):
        searched(network, line, "linf")
    problem = Problem(network, [[0.5, 0.5]], [0], support=line)
    assert [c.method for c in certificates(problem)] == ["layer-product"]
    found = certificates(problem, cells=enumerate_cells(network, line))
    assert [c.method for c in found] == ["cell-lipschitz", "margin-lipschitz", "layer-product"]
    assert found[1].constant <= found[0].constant


@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10**6),
    norm=st.sampled_from(["l1", "l2", "linf"]),
    order=st.sampled_from([1.0, 2.0, math.inf]),
    loss=st.sampled_from(["margin", "hinge", "cross-entropy", "zero-one"]),
    listed=st.booleans(),
)
def test_every_certificate_is_above_the_exact_value(seed, norm, order, loss, listed):
    rng = np.random.default_rng(seed)
    network = random_network(seed, (2, 4, 3, 3))
    points = rng.uniform(-0.8, 0.8, size=(4, 2))
    problem = Problem(
        network, points, rng.integers(3, size=4), loss=loss,
        cost=TransportCost(norm, order), support=Box(-1.0, 1.0),
    )  # fmt: skip
    cells = enumerate_cells(network, problem.support)
    exact = ExactSolver(problem, cells, tolerance=1e-4)
    found = certificates(problem, cells=cells if listed else None)
    assert len(found) == (2 if loss == "cross-entropy" else 3)
    for radius in (0.05, 0.4):
        lower = exact.solve(radius).lower
        for certificate in found:
            assert lower <= certificate.bound(radius) + 1e-9 * max(1.0, abs(lower))


def test_the_margin_constant_would_be_wrong_for_cross_entropy():
    """Class 2 is never the top wrong one, yet its slope of 50 moves the cross-entropy of label 0.

    On [−1, 1] the margins are x of class 1 and 50 x − 49.1 < x of class 2.
    """
    network, norm = ReLUNetwork([[[0.0], [1.0], [50.0]]], [[0.0, 0.0, -49.1]]), NORMS["linf"]
    cells = enumerate_cells(network, Box(-1.0, 1.0))
    margin = margin_constants(cells, norm).labels[1][0]
    assert (margin, cell_constants(cells, norm).labels[1][0]) == pytest.approx((1.0, 50.0))
    ends = network.logits([[0.99], [1.0]])
    losses = np.log(np.exp(ends).sum(axis=1)) - ends[:, 0]
    assert losses[1] - losses[0] > 3 * margin * 0.01
