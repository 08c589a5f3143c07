"""Lagrangian bounds and intervals against the network evaluated another way, at rational points."""

import random
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from wdaverify.checker.bounds import SCALE, Objective, multipliers, relax
from wdaverify.checker.losses import above_cross_entropy, difference, objective
from wdaverify.checker.nodes import decided, position, refreshed, root
from wdaverify.checker.question import read_question
from wdaverify.checker.reading import dot, fractions
from wdaverify.checker.transport import everywhere, maximum, ring_of
from wdaverify.cost import TransportCost
from wdaverify.network import ReLUNetwork
from wdaverify.problem import Problem
from wdaverify.proof.question import question_line
from wdaverify.support import Box, Polytope

SLOPES = (0.0, 0.0, 0.25, 1.0, -0.5, 1.5)


def random_problem(rng, *, norm="linf", polytope=False, classes=3):
    n = rng.choice([1, 2, 3])
    widths = [n, *[rng.choice([1, 2, 4]) for _ in range(rng.choice([0, 1, 2, 3]))], classes]
    weights = [
        [[rng.choice([0, 1, -1, rng.gauss(0, 1)]) for _ in range(a)] for _ in range(b)]
        for a, b in pairwise(widths)
    ]
    biases = [[rng.gauss(0, 0.5) for _ in range(b)] for b in widths[1:]]
    slopes = [[rng.choice(SLOPES) for _ in range(b)] for b in widths[1:-1]]
    support = Box(-1.0, 1.5)
    if polytope:
        rows = np.concatenate([np.eye(n), -np.eye(n), np.ones((1, n))])
        support = Polytope(rows, np.array([1.5] * n + [1.0] * n + [0.75]))
    return Problem(
        ReLUNetwork(weights, biases, slopes), [[0.0] * n, [0.25] * n], [0, 1],
        cost=TransportCost(norm, 1), support=support,
    )  # fmt: skip


def evaluate(problem, x):
    """Return pre-activations of all layers, one fraction at a time."""
    network, h, found = problem.network, list(x), []
    for k, (W, b) in enumerate(zip(network.weights, network.biases, strict=True)):
        z = [
            sum((Fraction(w) * v for w, v in zip(row, h, strict=True)), Fraction(c))
            for row, c in zip(W.tolist(), b.tolist(), strict=True)
        ]
        found.append(z)
        if k < len(network.slopes):
            slopes = network.slopes[k].tolist()
            h = [max(v, 0) + Fraction(s) * min(v, 0) for v, s in zip(z, slopes, strict=True)]
    return found


def points(rng, q, count=40):
    """Return rational points of the support."""
    n, found = len(q.lower), []
    while len(found) < count:
        x = [Fraction(rng.choice([rng.uniform(-1, 1.5), -1, 1.5, 0])) for _ in range(n)]
        if q.contains(fractions(x)):
            found.append(x)
    return found


def random_cut(rng, q):
    """Return random multipliers as in a file."""
    keys = sorted(rng.sample(range(q.neurons), rng.randint(0, q.neurons)))
    flat = [v for k in keys for v in (k, rng.choice([rng.gauss(0, 1), 0, "1/3", -1]))]
    rows = [v for r in range(len(q.rows)) for v in (r, rng.choice([0, rng.random(), "2/7"]))]
    return {"neurons": flat, "rows": rows}


def in_node(node, hidden):
    return all(
        (low is None or low <= z * SCALE) and (high is None or z * SCALE <= high)
        for layer, ends in zip(hidden, node.intervals, strict=True)
        for z, (low, high) in zip(layer, ends, strict=True)
    )


def random_node(rng, q, region):
    node = root(q, region)
    for k in rng.sample(range(q.neurons), rng.randint(0, min(3, q.neurons))):
        node = decided(node, *position(q, k), on=rng.random() < 0.5)
        if region is not None and rng.random() < 0.7:
            node = refreshed(q, node, region)
    return node


@pytest.mark.parametrize("seed", range(60))
def test_any_multipliers_bound_the_objective(seed):
    rng = random.Random(seed)
    problem = random_problem(rng, polytope=seed % 3 == 0)
    q = read_question(question_line(problem, 1.0))
    region = rng.choice([None, everywhere(q)])
    node = random_node(rng, q, region)
    inside = [x for x in points(rng, q) if in_node(node, evaluate(problem, x)[:-1])]
    assert not (node.empty and inside)
    for _ in range(8):
        given = multipliers(q, random_cut(rng, q), 0)
        weights = {1: Fraction(rng.gauss(0, 1)), 2: Fraction(1)}
        target = objective(q, 0, weights, Fraction(1, 7), node, [])
        where = None
        if q.neurons and rng.random() < 0.5:
            layer, place = position(q, rng.randrange(q.neurons))
            where = (layer, place, rng.choice([1, -1]))
        affine = relax(q, node.intervals, target._replace(neuron=where), given)
        for x in inside if affine is not None else []:
            z = evaluate(problem, x)
            true = sum(w * (z[-1][j] - z[-1][0]) for j, w in weights.items()) + Fraction(1, 7)
            true += where[2] * z[where[0]][where[1]] if where else 0
            assert affine.constant + dot(affine.gradient, fractions(x)) >= true


def test_some_of_the_bounds_are_finite():
    """So that the test above tests something."""
    finite = 0
    for seed in range(60):
        rng = random.Random(seed)
        q = read_question(question_line(random_problem(rng), 1.0))
        target = Objective(fractions(difference(q, 0, {1: Fraction(1)})), Fraction(0))
        node = root(q, everywhere(q))
        finite += relax(q, node.intervals, target, multipliers(q, {}, 0)) is not None
    assert finite > 50


@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
@pytest.mark.parametrize("seed", range(15))
def test_intervals_hold_over_box_and_ball(norm, seed):
    rng = random.Random(seed)
    problem = random_problem(rng, norm=norm)
    q = read_question(question_line(problem, 1.0))
    ball = ring_of(q, q.points[1], Fraction(0), Fraction(1, 2))
    for region, radius in ((everywhere(q), None), (ball, 0.5)):
        node = root(q, region)
        assert not node.empty
        assert all(
            low is not None and high is not None for ends in node.intervals for low, high in ends
        )
        for x in points(rng, q, 30):
            moved = x if radius is None else [Fraction(1, 4) + (v - Fraction(1, 4)) / 16 for v in x]
            assert in_node(node, evaluate(problem, moved)[:-1])


@pytest.mark.parametrize("seed", range(15))
def test_refreshed_intervals_hold_and_only_shrink(seed):
    rng = random.Random(seed)
    problem = random_problem(rng)
    q = read_question(question_line(problem, 1.0))
    region = everywhere(q)
    for x in points(rng, q):
        hidden = evaluate(problem, x)[:-1]
        node = root(q, region)
        for k in rng.sample(range(q.neurons), min(3, q.neurons)):
            at, place = position(q, k)
            child = refreshed(q, decided(node, at, place, on=hidden[at][place] >= 0), region)
            for before, after in zip(node.intervals, child.intervals, strict=True):
                assert all(
                    a[0] <= b[0] and b[1] <= a[1] for a, b in zip(before, after, strict=True)
                )
            node = child
        assert not node.empty
        assert in_node(node, hidden)


def test_first_layer_is_exact_and_relu_is_back_substituted():
    network = ReLUNetwork([[[1.0], [-1.0]], [[1.0, 1.0]], [[1.0], [0.0]]],
                          [[0.0, 0.0], [0.0], [0.0, 0.0]])  # fmt: skip
    problem = Problem(network, [[0.0]], [0], support=Box(-1.0, 1.0))
    q = read_question(question_line(problem, 1.0))
    node = root(q, everywhere(q))
    assert node.intervals[0] == ((-SCALE, SCALE), (-SCALE, SCALE))
    low, high = node.intervals[1][0]
    assert high == SCALE  # the chords (z + 1)/2 + (1 - z)/2 = 1; plain intervals give 2
    assert low == 0  # plain intervals


def test_the_value_of_a_neuron_is_read_by_its_state():
    network = ReLUNetwork([[[1.0]], [[0.0], [1.0]]], [[0.0], [0.0, 0.0]], [[0.25]])
    problem = Problem(network, [[0.0]], [0], support=Box(-1.0, 1.0))
    q = read_question(question_line(problem, 1.0))
    free = root(q, None)
    target = objective(q, 0, {1: Fraction(1)}, Fraction(0), free, [])
    given = multipliers(q, {"neurons": [0, "1/2"]}, 0)
    on = relax(q, decided(free, 0, 0, on=True).intervals, target, given)
    off = relax(q, decided(free, 0, 0, on=False).intervals, target, given)
    assert maximum(on, everywhere(q)) == Fraction(3, 2)  # 1 + 1/2
    assert off.gradient.ints[0] / off.gradient.den == -0.25  # 1/4 - 1/2
    assert relax(q, free.intervals, target, given) is None
    unit = root(q, everywhere(q))
    undecided = relax(q, unit.intervals, target, given)
    assert maximum(undecided, everywhere(q)) == 1  # max(z - z/2, z/4 - z/2) + 1/2


def test_a_decided_neuron_beyond_its_interval_is_an_empty_node():
    network = ReLUNetwork([[[1.0]], [[0.0], [1.0]]], [[2.0], [0.0, 0.0]])
    q = read_question(question_line(Problem(network, [[0.0]], [0], support=Box(-1.0, 1.0)), 1.0))
    assert decided(root(q, everywhere(q)), 0, 0, on=False).empty
    assert not decided(root(q, everywhere(q)), 0, 0, on=True).empty
    assert not decided(root(q, None), 0, 0, on=False).empty


class TestCrossEntropy:
    def test_chord(self):
        box = {1: (Fraction(-1), Fraction(1))}
        slope = Fraction(1, 2)  # log(1 + e) - log(1 + 1/e) = 1, over a width of 2
        assert above_cross_entropy(box, {1: slope}, Fraction(0.8133))
        assert not above_cross_entropy(box, {1: slope}, Fraction(0.8132))

    def test_without_lower_end(self):
        box = {1: (None, Fraction(0))}
        assert above_cross_entropy(box, {1: Fraction(0)}, Fraction(0.6932))
        assert not above_cross_entropy(box, {1: Fraction(0)}, Fraction(0.6931))
        assert not above_cross_entropy(box, {1: Fraction(1, 2)}, Fraction(100))

    def test_without_upper_end(self):
        box = {1: (Fraction(0), None)}
        assert above_cross_entropy(box, {1: Fraction(1)}, Fraction(0.6932))
        assert not above_cross_entropy(box, {1: Fraction(1)}, Fraction(0.6931))
        assert not above_cross_entropy(box, {1: Fraction(99, 100)}, Fraction(100))
        assert not above_cross_entropy({1: (None, None)}, {1: Fraction(1)}, Fraction(100))

    def test_random_boxes(self):
        rng = random.Random(8)
        for _ in range(60):
            box = {j: tuple(sorted(Fraction(rng.uniform(-3, 3)) for _ in "ab")) for j in (0, 2)}
            theta = {j: Fraction(rng.random()) for j in box}
            m = np.array([[rng.uniform(*map(float, box[j])) for j in box] for _ in range(200)])
            corners = np.array([[float(a), float(b)] for a in box[0] for b in box[2]])
            gap = [np.log1p(np.exp(p).sum(1)) - p @ [float(theta[j]) for j in box]
                   for p in (m, corners)]  # fmt: skip
            assert gap[0].max() <= gap[1].max() + 1e-12
            for delta in (1e-9, -1e-9):
                verdict = above_cross_entropy(box, theta, Fraction(gap[1].max() + delta))
                assert verdict == (delta > 0)
