"""Mixed-integer programs: answers, bounds that need no trust, and networks as rows."""

import itertools

import numpy as np
import pytest

from wdaverify import ReLUNetwork
from wdaverify.convex import mixed
from wdaverify.convex.big_m import NetworkProgram
from wdaverify.convex.highs import Status
from wdaverify.convex.mixed import MixedProgram, Relaxation
from wdaverify.errors import LimitReached, SolverError
from wdaverify.limits import Limits
from wdaverify.network import AffineMap

NO_ROWS = AffineMap(np.zeros((0, 2)), np.zeros(0))


def knapsack(seed, size=7):
    rng = np.random.default_rng(seed)
    gains, weights = rng.random(size) + 0.1, rng.random(size) + 0.1
    program = MixedProgram()
    program.add_columns(np.zeros(size), np.ones(size), integer=True)
    program.add_rows(weights[None, :], np.full(1, -np.inf), np.array([weights.sum() / 2]))
    return program, gains, weights


@pytest.mark.parametrize("seed", range(5))
def test_the_optimum_of_a_knapsack(seed):
    program, gains, weights = knapsack(seed)
    choices = np.array(list(itertools.product((0.0, 1.0), repeat=len(gains))))
    best = (choices @ gains)[choices @ weights <= weights.sum() / 2].max()
    answer = program.maximize(gains, limits=Limits())
    assert answer.status is Status.OPTIMAL
    assert answer.value == pytest.approx(best, abs=1e-9)
    assert best <= answer.bound <= best + 1e-7
    assert Relaxation(program).bound(gains) >= best


def test_a_known_point_contradicts_a_smaller_bound():
    program, gains, _ = knapsack(0)
    with pytest.raises(SolverError, match="contradicts"):
        program.maximize(gains, limits=Limits(), known=gains.sum() + 1.0)


def test_infeasible_is_said_twice_before_it_is_believed(monkeypatch):
    program = MixedProgram()
    program.add_columns(np.zeros(1), np.ones(1), integer=True)
    program.add_rows(np.ones((1, 1)), np.array([0.4]), np.array([0.6]))
    calls, right = [], MixedProgram._run

    def run(self, costs, settings, limits):
        calls.append(settings)
        return right(self, costs, settings, limits)

    monkeypatch.setattr(MixedProgram, "_run", run)
    assert program.maximize(np.ones(1), limits=Limits()).status is Status.INFEASIBLE
    assert calls == list(mixed.PLAIN[:2])
    with pytest.raises(SolverError):
        program.maximize(np.ones(1), limits=Limits(), known=0.5)


def test_a_program_without_integers():
    program = MixedProgram()
    program.add_columns(np.zeros(2), np.ones(2))
    program.add_rows(np.ones((1, 2)), np.full(1, -np.inf), np.array([1.5]))
    answer = program.maximize(np.array([2.0, 1.0]), limits=Limits())
    assert answer.value == pytest.approx(2.5)
    assert answer.bound == pytest.approx(2.5)


@pytest.mark.parametrize(
    "fault",
    [
        lambda answer: answer._replace(bound=answer.value - 1e-3),
        lambda answer: answer._replace(point=answer.point + 1e-3),
        lambda answer: answer._replace(point=np.ones_like(answer.point)),
    ],
    ids=["bound", "fractional", "row"],
)
def test_an_answer_at_odds_with_itself_is_not_consistent(fault):
    program, gains, _ = knapsack(1)
    answer = program.maximize(gains, limits=Limits())
    assert program._consistent(answer, -np.inf)
    assert not program._consistent(fault(answer), -np.inf)


def test_copies_grow_on_their_own():
    program, gains, _ = knapsack(2)
    before = program.maximize(gains, limits=Limits()).value
    other = program.copy()
    other.add_rows(np.ones((1, 7)), np.full(1, -np.inf), np.zeros(1))
    other.add_columns(np.zeros(1), np.ones(1))
    assert other.maximize(np.append(gains, 0.0), limits=Limits()).value == 0
    assert program.maximize(gains, limits=Limits()).value == before


def test_time_limits():
    program, gains, _ = knapsack(3)
    with pytest.raises(LimitReached, match="time limit"):
        program.maximize(gains, limits=Limits(seconds=0.0))


def test_a_time_limit_that_the_solver_notices(monkeypatch):
    program, gains, _ = knapsack(3)
    monkeypatch.setattr(MixedProgram, "_left", staticmethod(lambda _: 0.0))
    with pytest.raises(LimitReached, match="time limit"):
        program.maximize(gains, limits=Limits(seconds=100.0))


@pytest.mark.parametrize("seed", range(5))
def test_a_relaxation_needs_no_honest_solver(seed, monkeypatch):
    program, gains, _ = knapsack(seed)
    relaxed = Relaxation(program)
    tight = relaxed.bound(gains)
    best = program.maximize(gains, limits=Limits()).value
    right = relaxed._program.maximize
    rng = np.random.default_rng(seed)

    def perturbed(costs):
        answer = right(costs)
        object.__setattr__(answer, "multipliers", rng.normal(size=1))
        return answer

    monkeypatch.setattr(relaxed._program, "maximize", perturbed)
    for _ in range(10):
        assert relaxed.bound(gains) >= tight - 1e-9 >= best - 2e-9


def network(seed, slopes=(0.0, 0.2, 1.0)):
    rng = np.random.default_rng(seed)
    weights = [rng.normal(size=shape) for shape in ((4, 2), (4, 4), (3, 4))]
    biases = [rng.normal(size=4), rng.normal(size=4), rng.normal(size=3)]
    return ReLUNetwork(weights, biases, [rng.choice(slopes, size=4) for _ in range(2)])


def violations(program, net, points):
    """Largest violation of rows and bounds by points lifted to the columns."""
    A, low, high = program.rows()
    worst = 0.0
    for x, z in zip(points, np.split(net.preactivations(points), len(points)), strict=True):
        v = (program.lower + program.upper) / 2
        v[:2], v[program._pre] = x, z[0]
        split = program._switches >= 0
        a = program._switches[split]
        v[a] = z[0][split] > 0
        v[a - split_width(program, a)] = np.maximum(z[0][split], 0.0)
        excess = np.concatenate([A @ v - high, low - A @ v, v - program.upper, program.lower - v])
        worst = max(worst, excess.max())
    return worst


def split_width(program, switches):
    """How far before its binary the column of ``max(0, z)`` stands: the layer's open neurons."""
    layer = np.searchsorted(np.cumsum([4, 4]), np.flatnonzero(program._switches >= 0), side="right")
    return np.bincount(layer, minlength=2)[layer]


@pytest.mark.parametrize("seed", range(6))
def test_every_input_is_a_solution(seed):
    net = network(seed)
    program = NetworkProgram.of(net, np.full(2, -1.0), np.ones(2), NO_ROWS)
    points = np.random.default_rng(seed).uniform(-1, 1, size=(200, 2))
    assert violations(program, net, points) <= 1e-9


def test_bounds_that_are_too_small_lose_inputs(monkeypatch):
    net, right = network(0), NetworkProgram._ranges

    def halved(self, *args, **options):
        low, high = right(self, *args, **options)
        return low / 2, high / 2

    monkeypatch.setattr(NetworkProgram, "_ranges", halved)
    program = NetworkProgram.of(net, np.full(2, -1.0), np.ones(2), NO_ROWS)
    points = np.random.default_rng(0).uniform(-1, 1, size=(200, 2))
    assert violations(program, net, points) > 1e-3


@pytest.mark.parametrize("seed", range(4))
def test_the_maximum_of_a_logit(seed):
    net, limits = network(seed), Limits()
    program = NetworkProgram.of(net, np.full(2, -1.0), np.ones(2), NO_ROWS)
    costs = np.pad(net.weights[-1][0] @ program.outputs, (0, 0))
    answer = program.maximize(costs, limits=limits)
    logit = net.logits(answer.point[None, :2])[0, 0] - net.biases[-1][0]
    assert logit == pytest.approx(answer.value, abs=1e-6)
    points = np.random.default_rng(seed).uniform(-1, 1, size=(5000, 2))
    assert (net.logits(points)[:, 0] - net.biases[-1][0]).max() <= answer.bound
    assert np.array_equal(
        program.pattern(answer.point) | net.linear, net.patterns(answer.point[None, :2])[0]
    ) or (np.abs(net.preactivations(answer.point[None, :2])).min() < 1e-6)


def test_rows_of_the_support_sharpen_the_bounds_of_neurons():
    net = ReLUNetwork([[[1.0, 1.0]], [[1.0], [0.0]]], [[0.0], [0.0, 0.0]])
    rows = AffineMap(np.array([[1.0, 1.0]]), np.array([0.5]))
    free = NetworkProgram.of(net, np.full(2, -1.0), np.ones(2), NO_ROWS)
    cut = NetworkProgram.of(net, np.full(2, -1.0), np.ones(2), rows)
    assert free.upper[2] == pytest.approx(2.0)
    assert cut.upper[2] == pytest.approx(0.5)
