"""The integer-program engine: agreement with the cells, closed forms, and faults that show."""

import itertools
import math

import numpy as np
import pytest

from wdaverify import Box, Polytope, Problem, ReLUNetwork, TransportCost, enumerate_cells
from wdaverify.convex.big_m import NetworkProgram
from wdaverify.convex.highs import Status
from wdaverify.convex.mixed import PLAIN, MixedAnswer, MixedProgram
from wdaverify.errors import LimitReached, SolverError, UnsupportedError
from wdaverify.exact import integer
from wdaverify.exact.by_cells import CellOracle
from wdaverify.exact.by_milp import MilpOracle
from wdaverify.exact.dispatch import Dispatcher
from wdaverify.exact.integer import IntegerPrograms
from wdaverify.exact.oracle import Asked
from wdaverify.exact.penalty import Penalty
from wdaverify.exact.value import ExactSolver
from wdaverify.limits import Limits
from wdaverify.loss import ZeroOne

AGREE = 1e-6
"""Relative: HiGHS keeps its rows to 1e-6."""


def random_problem(seed, loss, norm, order, *, polytope=False, label_cost=None, slopes=None):
    rng = np.random.default_rng(seed)
    n, K, depth = int(rng.integers(2, 4)), int(rng.integers(2, 4)), int(rng.integers(1, 3))
    widths = [n, *rng.integers(3, 6, size=depth).tolist(), K]
    weights = [rng.normal(size=(b, a)) for a, b in itertools.pairwise(widths)]
    biases = [0.5 * rng.normal(size=b) for b in widths[1:]]
    network = ReLUNetwork(
        weights,
        biases,
        None if slopes is None else [rng.choice(slopes, size=b) for b in widths[1:-1]],
    )
    X, y = rng.uniform(-1, 1, size=(4, n)), rng.integers(0, K, size=4)
    support = Box(-1.5, 1.5)
    if polytope:
        A = rng.normal(size=(3, n))
        b = (X @ A.T).max(axis=0) + rng.random(3)
        eye = np.eye(n)
        support = Polytope(np.vstack([A, eye, -eye]), np.concatenate([b, np.full(2 * n, 1.5)]))
    cost = TransportCost(norm, order, label_cost)
    return Problem(
        network, X, y, loss=loss, cost=cost, support=support, weights=rng.random(4) + 0.1
    )


def engines(problem):
    cells = enumerate_cells(problem.network, problem.support)
    return MilpOracle(problem, Limits()), CellOracle(problem, cells, Limits())


def question(problem, label, penalty, reach):
    samples = np.flatnonzero(problem.labels == label)
    if problem.cost.label_cost is not None:
        samples = np.arange(len(problem))
    m = len(samples)
    return Asked(label, samples, penalty, np.full(m, reach), np.full(m, -np.inf), 0.0)


def suprema_gap(problem, penalty, reach=50.0):
    """Largest relative difference of bounds and of values at the points, over all labels."""
    milp, cells = engines(problem)
    worst = 0.0
    for label in problem.active_labels:
        asked = question(problem, label, penalty, reach)
        (a, _, points), b = milp.suprema(asked), cells.suprema(asked)
        lengths = problem.cost.norm.length(points - problem.points[asked.samples])
        assert (lengths <= reach * (1 + 1e-12)).all()
        assert problem.support.contains(points).all()
        values = problem.evaluate(points, np.full(len(points), label)) - penalty.of(lengths)
        assert (values <= b.bounds + 1e-9).all()
        ends = np.abs([a - b.bounds, values - b.bounds]) / np.maximum(1.0, np.abs(b.bounds))
        worst = max(worst, ends.max())
    return worst


def distances_gap(problem):
    milp, cells = engines(problem)
    worst = 0.0
    for label in problem.active_labels:
        samples = np.flatnonzero(problem.labels == label)
        a, b = milp.distances(samples), cells.distances(samples)
        assert np.array_equal(np.isinf(a.lower), np.isinf(b.lower))
        assert np.array_equal(np.isinf(a.upper), np.isinf(b.upper))
        some = np.isfinite(b.upper)
        worst = max(worst, np.abs(a.lower[some] - b.lower[some]).max(initial=0.0))
        worst = max(worst, np.abs(a.upper[some] - b.upper[some]).max(initial=0.0))
    return worst


def value_gap(problem, radius):
    a, b = (ExactSolver(problem, Dispatcher(one)).solve(radius) for one in engines(problem))
    ends = (a.lower - b.lower, a.upper - b.upper)
    return max(abs(end) for end in ends) / max(1.0, abs(b.lower))


CASES = [
    (7 * k, *case)
    for k, case in enumerate(itertools.product(("margin", "hinge"), ("l1", "linf"), (1, math.inf)))
]


@pytest.mark.parametrize("polytope", [False, True], ids=["box", "polytope"])
@pytest.mark.parametrize(("seed", "loss", "norm", "order"), CASES)
def test_suprema_agree_with_the_cells(seed, loss, norm, order, polytope):
    problem = random_problem(seed + 100 * polytope, loss, norm, order, polytope=polytope)
    if math.isinf(order):
        assert suprema_gap(problem, Penalty(0.0), 0.4) <= AGREE
    else:
        assert max(suprema_gap(problem, Penalty(v)) for v in (0.0, 0.5, 2.0)) <= AGREE


@pytest.mark.parametrize("polytope", [False, True], ids=["box", "polytope"])
@pytest.mark.parametrize("norm", ["l1", "linf"])
@pytest.mark.parametrize("seed", [200, 201, 202])
def test_distances_agree_with_the_cells(seed, norm, polytope):
    problem = random_problem(seed, "zero-one", norm, 1, polytope=polytope)
    assert distances_gap(problem) <= AGREE


@pytest.mark.parametrize("slopes", [(0.0, 0.1, 1.0), (0.3,)])
@pytest.mark.parametrize("norm", ["l1", "linf"])
def test_leaky_and_linear_neurons(norm, slopes):
    problem = random_problem(300, "margin", norm, 1, slopes=slopes)
    assert suprema_gap(problem, Penalty(0.5)) <= AGREE
    assert distances_gap(problem.replace(loss=ZeroOne())) <= AGREE


@pytest.mark.parametrize("norm", ["l1", "linf"])
@pytest.mark.parametrize("order", [1.5, 2.0, 3.0])
def test_curved_prices_agree_with_the_cells(norm, order):
    problem = random_problem(400, "margin", norm, order)
    assert suprema_gap(problem, Penalty(0.7, order)) <= AGREE


def test_labels_that_are_not_the_samples_own():
    problem = random_problem(500, "hinge", "linf", 1, label_cost=0.2)
    assert suprema_gap(problem, Penalty(0.6)) <= AGREE


@pytest.mark.parametrize(
    ("loss", "order", "label_cost"),
    [("margin", 1, None), ("margin", 2, 0.3), ("hinge", math.inf, None), ("zero-one", 2, None)],
)
def test_values_agree_with_the_cells(loss, order, label_cost):
    problem = random_problem(600, loss, "linf", order, label_cost=label_cost)
    assert value_gap(problem, 0.2) <= AGREE


def test_a_constant_feature():
    problem = random_problem(700, "margin", "l1", 1)
    points = problem.points.copy()
    points[:, 0] = 0.25
    low, high = np.full(points.shape[1], -1.5), np.full(points.shape[1], 1.5)
    low[0] = high[0] = 0.25
    problem = problem.replace(points=points, support=Box(low, high))
    assert suprema_gap(problem, Penalty(0.5)) <= AGREE


def relu(bias=0.0, *, loss="margin", order=1, start=-1.0, end=3.0):
    """Margin ``max(0, x) − bias`` of label 0 on ``[−end, end]``."""
    network = ReLUNetwork([[[1.0]], [[0.0], [1.0]]], [[0.0], [bias, 0.0]])
    cost = TransportCost("linf", order)
    return Problem(network, [[start]], [0], loss=loss, cost=cost, support=Box(-end, end))


@pytest.mark.parametrize(
    ("problem", "penalty", "expected"),
    [
        (relu(), Penalty(0.3), 3.0 - 0.3 * 4.0),
        (relu(), Penalty(0.9), 0.0),
        (relu(), Penalty(0.2, 2.0), 1.5 - 0.2 * 2.5**2),
        (relu(0.25), Penalty(0.3), 3.0 - 0.25 - 0.3 * 4.0),
        (relu(2.0, loss="hinge"), Penalty(0.9), 0.0),
    ],
)
def test_closed_forms_of_a_relu(problem, penalty, expected):
    oracle = MilpOracle(problem, Limits())
    bounds, slopes, points = oracle.suprema(question(problem, 0, penalty, 4.0))
    value = problem.evaluate(points, np.zeros(1, int)) - penalty.of(np.abs(points[0] + 1.0))
    assert bounds[0] == pytest.approx(expected, abs=1e-7)
    assert value[0] == pytest.approx(expected, abs=1e-7)
    assert slopes[0] == penalty.multiplier


@pytest.mark.parametrize(("bias", "distance"), [(0.5, 1.5), (3.0, 4.0), (3.1, math.inf)])
def test_closed_forms_of_distances(bias, distance):
    found = MilpOracle(relu(bias, loss="zero-one"), Limits()).distances(np.array([0]))
    assert found.lower[0] == pytest.approx(distance, abs=1e-7)
    assert found.upper[0] == pytest.approx(distance, abs=1e-7)
    assert found.lower[0] <= distance <= found.upper[0]


def test_a_sample_that_errs_has_distance_zero():
    found = MilpOracle(relu(0.5, loss="zero-one", start=0.5), Limits()).distances(np.array([0]))
    assert found.lower[0] == found.upper[0] == 0


def test_golden_value_on_an_interval():
    problem, radius = relu(), 2.0
    solver = ExactSolver(problem, Dispatcher(MilpOracle(problem, Limits())))
    found = solver.solve(radius)
    assert found.lower == pytest.approx(radius * 3.0 / 4.0)
    assert found.upper == pytest.approx(radius * 3.0 / 4.0)
    assert found.status == "exact"


def test_bounds_without_work_hold():
    problem = random_problem(800, "margin", "linf", 1)
    oracle = MilpOracle(problem, Limits())
    rng = np.random.default_rng(0)
    points = rng.uniform(-1.5, 1.5, size=(2000, problem.network.features))
    for label in problem.active_labels:
        asked = question(problem, label, Penalty(0.3), 50.0)
        assert (oracle.open_bounds(asked) >= oracle.suprema(asked).bounds).all()
        losses = problem.evaluate(points, np.full(len(points), label))
        assert losses.max() <= oracle.ceiling(label)
        steps = np.abs(np.diff(losses)) / problem.cost.norm.length(np.diff(points, axis=0))
        assert steps.max() <= oracle.constant(label)
        assert oracle.ray(label) is None
    assert oracle.slope == 0
    assert oracle.within(0, 1.0).holds is None
    assert oracle.counts.programs > 0


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"loss": "cross-entropy"}, "cross-entropy"),
        ({"cost": TransportCost("l2")}, "l2"),
        ({"support": Box()}, "unbounded"),
        ({"support": Polytope([[1.0]], [3.0])}, "unbounded"),
    ],
)
def test_refusals_say_why(changes, reason):
    problem = relu()
    network, X, y = problem.network, problem.points, problem.labels
    problem = Problem(network, X, y, **({"support": problem.support} | changes))
    assert reason in MilpOracle.refuses(problem)
    with pytest.raises(UnsupportedError, match=reason):
        MilpOracle(problem, Limits())
    assert MilpOracle.refuses(relu()) is None


def test_limits_leave_brackets():
    problem = relu(0.5, loss="zero-one")
    found = MilpOracle(problem, Limits(seconds=0.0)).distances(np.array([0]))
    assert isinstance(found.reached, LimitReached)
    assert (found.lower[0], found.upper[0]) == (0.0, math.inf)
    oracle = MilpOracle(relu(), Limits(seconds=0.0))
    with pytest.raises(LimitReached):
        oracle.suprema(question(relu(), 0, Penalty(0.3), 4.0))


def gap_or_contradiction(problem, penalty):
    try:
        return suprema_gap(problem, penalty)
    except SolverError:
        return math.inf


def test_a_too_small_big_m_shows(monkeypatch):
    problem, right = random_problem(0, "margin", "l1", 1), NetworkProgram._ranges

    def halved(self, *args, **options):
        low, high = right(self, *args, **options)
        return low / 2, high / 2

    assert gap_or_contradiction(problem, Penalty(0.1)) <= AGREE
    monkeypatch.setattr(NetworkProgram, "_ranges", halved)
    assert gap_or_contradiction(problem, Penalty(0.1)) > 1e-3


def test_a_dropped_target_shows(monkeypatch):
    problem, right = random_problem(4, "margin", "linf", 1), IntegerPrograms.maximum
    assert problem.network.classes == 3

    def dropped(self, region, query, known, tolerance):
        last = query.row[:2].min() < 0 and query.row[2] > 0
        return -math.inf if last else right(self, region, query, known, tolerance)

    assert suprema_gap(problem, Penalty(0.1)) <= AGREE
    monkeypatch.setattr(IntegerPrograms, "maximum", dropped)
    assert suprema_gap(problem, Penalty(0.1)) > 1e-3


def test_too_few_tangents_show(monkeypatch):
    problem = random_problem(400, "margin", "linf", 2)
    monkeypatch.setattr(integer, "TANGENTS", 2)
    assert suprema_gap(problem, Penalty(0.7, 2.0)) <= AGREE
    monkeypatch.setattr(integer, "ROUNDS", 1)
    assert suprema_gap(problem, Penalty(0.7, 2.0)) > 1e-3


def steep():
    """Weights of a thousand on a feature that is fixed: a binary of 2.6e-7 gains 7.7e-7."""
    network = ReLUNetwork(
        [[[1.0, 1024.0], [0.0, 1024.0]], [[0.0, 0.0], [1.0, 0.25]]], [[-512.0, -500.0], [0.0, -3.0]]
    )
    return Problem(network, [[-1.0, 0.5]], [0], support=Box([-1.0, 0.5], [3.0, 0.5]))


def test_a_fractional_binary_is_asked_again(monkeypatch):
    assert suprema_gap(steep(), Penalty(1.0), 4.0) <= 1e-8
    monkeypatch.setattr(integer, "SHARPER", PLAIN[:1])
    assert suprema_gap(steep(), Penalty(1.0), 4.0) > 1e-7


def lying(monkeypatch, lie, settings=None):
    """Let HiGHS change its answers, to all settings or to one choice of them."""
    right = MixedProgram._run

    def run(self, costs, chosen, limits):
        answer = right(self, costs, chosen, limits)
        return lie(answer) if settings is None or chosen == settings else answer

    monkeypatch.setattr(MixedProgram, "_run", run)


def infeasible(_):
    return MixedAnswer(Status.INFEASIBLE, np.zeros(0), -math.inf, -math.inf)


def too_low(answer):
    return answer._replace(bound=answer.value - 0.1)


@pytest.mark.parametrize("lie", [infeasible, too_low])
def test_a_lie_is_asked_again(monkeypatch, lie):
    lying(monkeypatch, lie, PLAIN[0])
    problem = relu(0.5, loss="zero-one")
    found = MilpOracle(problem, Limits()).distances(np.array([0]))
    assert found.lower[0] == pytest.approx(1.5, abs=1e-7)


@pytest.mark.parametrize("lie", [infeasible, too_low])
def test_nothing_but_lies_is_an_error(monkeypatch, lie):
    lying(monkeypatch, lie)
    with pytest.raises(SolverError):
        MilpOracle(relu(0.5, loss="zero-one"), Limits()).distances(np.array([0]))
