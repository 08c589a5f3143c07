"""The sub-problem for every norm and order, against conic programs written out for cvxpy."""

import math
from typing import NamedTuple

import cvxpy as cp
import numpy as np
import pytest

from wdaverify.exact import euclidean
from wdaverify.exact import program as module
from wdaverify.exact.euclidean import EuclideanSolver
from wdaverify.exact.penalty import Penalty
from wdaverify.exact.polyhedral import PolyhedralSolver
from wdaverify.exact.program import PieceProgram, Solution, Unreachable
from wdaverify.network import AffineMap
from wdaverify.norms import norm_named
from wdaverify.support import Box, Polytope

NORMS = {"l1": 1, "l2": 2, "linf": "inf"}
ORDERS = (1.0, 1.5, 2.0, 3.0)
CONIC = 1e-6
"""What the interior-point method of the reference is good for."""

TIGHT = 1e-10


class Case(NamedTuple):
    """A piece, a gradient and a sample; supports are centred at 0 with half-width 1."""

    rows: AffineMap
    support: Box | Polytope
    gradient: np.ndarray
    sample: np.ndarray

    def program(self, norm):
        return PieceProgram(self.rows, self.support, norm_named(norm))

    @property
    def half_spaces(self):
        pairs = zip(self.rows, self.support.rows, strict=True)
        return [np.concatenate(pair) for pair in pairs]


def instance(seed, space="box", features=4):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, features + 1))
    G = rng.normal(size=(int(rng.integers(1, 9)), n))
    inside = rng.uniform(-0.9, 0.9, size=n)
    h = G @ inside + rng.uniform(0.0, 0.5, size=len(G))
    supports = {
        "box": Box(-1.0, 1.0),
        "space": Box(),
        "half": Box(-1.0, np.inf),
        "polytope": Polytope(np.vstack([np.eye(n), -np.eye(n)]), np.ones(2 * n)),
    }
    sample, gradient = rng.uniform(-1, 1, size=n), rng.normal(size=n)
    return Case(AffineMap(G, h), supports[space].bind(n), gradient, sample)


def multiplier(case, norm, order, space, seed):
    """A multiplier for which the supremum is finite."""
    low = 1.0 if order == 1 and space in ("space", "half") else 0.1
    steepest = float(norm_named(norm).dual_length(case.gradient))
    return steepest * np.random.default_rng(seed).uniform(low, 1.5)


def reference(case, norm, penalty, reach=math.inf):
    """The conic program; ``None`` where it has no point."""
    matrix, bound = case.half_spaces
    x, t = cp.Variable(len(case.sample)), cp.Variable()
    rows = [matrix @ x <= bound, cp.norm(x - case.sample, NORMS[norm]) <= t]
    rows += [t <= reach] if math.isfinite(reach) else []
    price = t if penalty.order == 1 else cp.power(cp.pos(t), penalty.order)
    problem = cp.Problem(cp.Maximize(case.gradient @ x - penalty.multiplier * price), rows)
    problem.solve(solver="CLARABEL")
    return None if problem.status.startswith("infeasible") else problem.value


def check(solution, case, norm, penalty, reach=math.inf, tight=TIGHT):
    """Point and cut prove each other; nothing here is read from the solution but these two."""
    point, cut = solution.point, solution.cut
    matrix, bound = case.half_spaces
    norm = norm_named(norm)
    distance = float(norm.length(point - case.sample))
    assert np.all(matrix @ point <= bound + tight)
    assert distance <= reach * (1.0 + 1e-12)
    value = float(case.gradient @ point - penalty.of(distance))
    assert cut.steepness == pytest.approx(float(norm.dual_length(cut.gradient)), rel=1e-12)
    line = float(cut.gradient @ case.sample + cut.offset)
    assert solution.bound == pytest.approx(value, abs=tight * max(1.0, abs(value)))
    lengths = np.linspace(0.0, min(reach, 5.0), 2001)
    most = float((line + cut.steepness * lengths - penalty.of(lengths)).max())
    assert most <= value + tight * max(1.0, abs(value))
    return value


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("space", ["box", "space", "half", "polytope"])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.filterwarnings("ignore:Solution may be inaccurate")
def test_values_are_those_of_the_conic_program(norm, space, order):
    for seed in range(6):
        case = instance(seed, space)
        penalty = Penalty(multiplier(case, norm, order, space, seed), order)
        value = check(case.program(norm).solve(case.gradient, case.sample, penalty), case, norm,
                      penalty)  # fmt: skip
        assert value == pytest.approx(reference(case, norm, penalty), abs=CONIC)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("order", [1.0, 2.0, 1.5])
@pytest.mark.filterwarnings("ignore:Solution may be inaccurate")
def test_within_a_reach_or_proved_out_of_it(norm, order):
    seen = {Solution: 0, Unreachable: 0}
    for seed in range(12):
        case = instance(seed, ("box", "space", "polytope")[seed % 3])
        reach = (0.1, 0.4, 1.0)[seed % 3]
        price = (0.0, multiplier(case, norm, order, "box", seed))[seed % 2]
        penalty = Penalty(price, order)
        answer = case.program(norm).solve(case.gradient, case.sample, penalty, reach)
        seen[type(answer)] += 1
        expected = reference(case, norm, penalty, reach)
        if expected is None:
            assert isinstance(answer, Unreachable)
            line = answer.cut.gradient @ case.sample + answer.cut.offset
            assert line + answer.cut.steepness * reach < 0
        else:
            value = check(answer, case, norm, penalty, reach)
            assert value == pytest.approx(expected, abs=CONIC)
    assert min(seen.values()) > 0


@pytest.mark.parametrize("norm", NORMS)
def test_the_nearest_point_of_a_piece(norm):
    for seed in range(20):
        case = instance(seed)
        case = case._replace(gradient=np.zeros(len(case.sample)))
        for penalty in (Penalty(1.0), Penalty(0.3, 2.0), Penalty(2.0, 1.5)):
            solution = case.program(norm).solve(case.gradient, case.sample, penalty)
            value = check(solution, case, norm, penalty)
            assert value == pytest.approx(reference(case, norm, penalty), abs=CONIC)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("order", ORDERS)
def test_a_warm_program_answers_like_a_fresh_one(norm, order):
    case = instance(3)
    warm, n = case.program(norm), len(case.sample)
    rng = np.random.default_rng(7)
    for _ in range(25):
        asked = case._replace(sample=rng.uniform(-1, 1, size=n), gradient=rng.normal(size=n))
        penalty = Penalty(float(rng.choice([0.01, 0.3, 2.0])), order)
        reach = float(rng.choice([0.2, 1.0, math.inf]))
        fresh = case.program(norm).solve(asked.gradient, asked.sample, penalty, reach)
        again = warm.solve(asked.gradient, asked.sample, penalty, reach)
        assert type(fresh) is type(again)
        if isinstance(fresh, Solution):
            assert again.bound == pytest.approx(fresh.bound, abs=TIGHT)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("order", ORDERS)
def test_a_cut_holds_for_other_samples_radii_and_orders(norm, order):
    rng = np.random.default_rng(11)
    tightest = math.inf
    for seed in range(8):
        case = instance(seed, features=3)
        matrix, bound = case.half_spaces
        inside = rng.uniform(-1, 1, size=(20000, len(case.sample)))
        inside = inside[np.all(inside @ matrix.T <= bound, axis=1)][:500]
        penalty = Penalty(multiplier(case, norm, order, "box", seed), order)
        cut = case.program(norm).solve(case.gradient, case.sample, penalty).cut
        samples = rng.uniform(-1.5, 1.5, size=(50, len(case.sample)))
        far = norm_named(norm).length(inside[:, None] - samples[None])
        room = samples @ cut.gradient + cut.offset + cut.steepness * far
        room = room - (inside @ case.gradient)[:, None]
        assert np.all(room >= -1e-12)
        tightest = min(tightest, float(room.min(initial=math.inf)))
    assert tightest < 0.1


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("order", [1.0, 1.5, 2.0, 50.0])
def test_samples_on_vertices_doubled_rows_and_thin_pieces(norm, order):
    for seed in range(12):
        rng = np.random.default_rng(seed)
        corner = np.sign(rng.normal(size=3)) * rng.choice([0.0, 0.5, 1.0], size=3)
        G = rng.normal(size=(5, 3))
        h = G @ corner + np.append(0.0, np.where(rng.random(4) < 0.7, 0.0, 0.2))
        G, h = np.vstack([G, G[:3], -G[:1]]), np.concatenate([h, h[:3], -h[:1] + 1e-9])
        case = Case(AffineMap(G, h), Box(-1.0, 1.0).bind(3), rng.normal(size=3), corner)
        steepest = float(norm_named(norm).dual_length(case.gradient))
        for share in (0.0, 0.2, 0.7, 1.0):
            penalty = Penalty(share * steepest, order)
            for reach in (0.3, 4.0):
                solution = case.program(norm).solve(case.gradient, corner, penalty, reach)
                check(solution, case, norm, penalty, reach, tight=1e-8)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("order", [1.0, 2.0])
def test_a_feature_that_the_support_fixes(norm, order):
    for seed in range(8):
        rng = np.random.default_rng(seed)
        G, inside = rng.normal(size=(5, 3)), np.array([0.2, 0.5, -0.3])
        support = Box(np.array([-1.0, 0.5, -1.0]), np.array([1.0, 0.5, 1.0]))
        sample = np.array([-0.7, 0.5, 0.9])
        gradient = rng.normal(size=3) * [1.0, 0.0, 1.0]
        case = Case(AffineMap(G, G @ inside + 0.1), support, gradient, sample)
        penalty = Penalty(multiplier(case, norm, order, "box", seed), order)
        solution = case.program(norm).solve(gradient, sample, penalty)
        value = check(solution, case, norm, penalty)
        assert value == pytest.approx(reference(case, norm, penalty), abs=CONIC)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("length", [2.0**-40, 2.0**-20, 2.0**20])
@pytest.mark.parametrize("slope", [2.0**-30, 2.0**30])
def test_units_of_length_and_loss_change_nothing(norm, order, length, slope):
    """Powers of two: point and bound are the same to the last few digits."""
    for seed in range(4):
        case = instance(seed, "box")
        price = multiplier(case, norm, order, "box", seed)
        n = len(case.sample)
        scaled = Case(
            AffineMap(case.rows.matrix, length * case.rows.offset),
            Box(-length, length).bind(n),
            slope * case.gradient,
            length * case.sample,
        )
        for reach in (math.inf, 1.0):
            plain = case.program(norm).solve(
                case.gradient, case.sample, Penalty(price, order), reach
            )
            other = scaled.program(norm).solve(
                scaled.gradient,
                scaled.sample,
                Penalty(price * slope / length ** (order - 1.0), order),
                reach * length,
            )
            assert type(plain) is type(other)
            if isinstance(plain, Solution):
                assert other.bound / (slope * length) == pytest.approx(plain.bound, abs=1e-12)
                np.testing.assert_allclose(other.point / length, plain.point, rtol=0, atol=1e-9)
                assert other.gap <= 1e-11 * max(slope, 1.0) * length


@pytest.mark.parametrize("norm", NORMS)
def test_many_features(norm):
    rng = np.random.default_rng(0)
    G, inside = rng.normal(size=(60, 40)), rng.uniform(-0.5, 0.5, size=40)
    support, sample = Box(-1.0, 1.0).bind(40), rng.uniform(-1, 1, size=40)
    case = Case(AffineMap(G, G @ inside + 0.3), support, rng.normal(size=40), sample)
    for order in (1.0, 2.0):
        penalty = Penalty(multiplier(case, norm, order, "box", 1), order)
        solution = case.program(norm).solve(case.gradient, sample, penalty)
        value = check(solution, case, norm, penalty)
        assert value == pytest.approx(reference(case, norm, penalty), abs=1e-5)


def test_a_supremum_that_is_only_approached():
    """On ``{u : u_2 <= 1}`` the gain ``√(t²−1) + 1 − t`` approaches 1 from below."""
    rows = AffineMap(np.array([[0.0, 1.0]]), np.ones(1))
    solution = PieceProgram(rows, Box().bind(2), norm_named("l2")).solve(
        np.ones(2), np.zeros(2), Penalty(1.0)
    )
    assert solution.bound == pytest.approx(1.0, abs=1e-12)
    assert solution.cut.steepness == pytest.approx(1.0, abs=1e-12)
    assert solution.gap < 1e-6


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("order", [1.0, 1.5])
@pytest.mark.parametrize("fault", ["point", "multipliers", "nothing"])
def test_a_solver_that_is_always_wrong_is_replaced_by_exact_arithmetic(
    monkeypatch, norm, order, fault
):
    owner = EuclideanSolver if norm == "l2" else PolyhedralSolver
    original, calls = owner.propose, []

    def wrong(self, question, rational=None):
        proposal = original(self, question, rational)
        calls.append(rational is not None)
        if rational is not None or proposal is None:
            return proposal
        if fault == "nothing":
            return None
        if fault == "point":
            return proposal._replace(step=proposal.step + 0.25)
        return proposal._replace(multipliers=proposal.multipliers + 0.25)

    monkeypatch.setattr(owner, "propose", wrong)
    case = instance(2)
    penalty = Penalty(multiplier(case, norm, order, "box", 2), order)
    check(case.program(norm).solve(case.gradient, case.sample, penalty), case, norm, penalty)
    assert calls[-1], "exact arithmetic was not asked"
    assert not calls[0]


@pytest.mark.parametrize("norm", NORMS)
def test_wrong_multipliers_give_a_cut_that_still_holds(norm):
    case, rng = instance(5), np.random.default_rng(1)
    program, penalty = case.program(norm), Penalty(0.5, 2.0)
    best = program.solve(case.gradient, case.sample, penalty)
    value = reference(case, norm, penalty)
    for scale in (0.1, 1.0, 10.0):
        for _ in range(20):
            proposal = module.Proposal(
                np.zeros(len(case.sample)),
                scale * rng.normal(size=len(case.rows.offset)),
                scale * rng.normal(size=len(case.sample)),
            )
            cut = program._cut(proposal, case.gradient, 1.0)
            line = float(cut.gradient @ case.sample + cut.offset)
            bound = float(penalty.best(line, cut.steepness, np.inf, 1.0))
            assert bound >= value - CONIC
            assert bound >= best.bound - TIGHT


@pytest.mark.parametrize("norm", NORMS)
def test_without_any_reach_the_sample_itself_is_the_answer(norm):
    rows = AffineMap(np.array([[1.0, 1.0]]), np.array([0.5]))
    program = PieceProgram(rows, Box(-1.0, 1.0).bind(2), norm_named(norm))
    for penalty in (Penalty(0.0), Penalty(0.5, 2.0)):
        inside = program.solve(np.ones(2), np.zeros(2), penalty, 0.0)
        np.testing.assert_array_equal(inside.point, 0.0)
        assert inside.bound == pytest.approx(0.0, abs=1e-15)
        outside = program.solve(np.ones(2), np.full(2, 0.75), penalty, 0.0)
        assert isinstance(outside, Unreachable)


def test_an_empty_piece_is_nowhere():
    rows = AffineMap(np.array([[1.0, 1.0], [-1.0, -1.0]]), np.array([-0.5, 0.4]))
    for norm in NORMS:
        for reach in (0.3, math.inf):
            program = PieceProgram(rows, Box(-1.0, 1.0).bind(2), norm_named(norm))
            answer = program.solve(np.ones(2), np.zeros(2), Penalty(1.0, 2.0), reach)
            assert isinstance(answer, Unreachable)


def test_the_reference_tells_programs_apart():
    case, penalty = instance(1), Penalty(0.4, 2.0)
    solution = case.program("l2").solve(case.gradient, case.sample, penalty)
    other = case._replace(rows=AffineMap(case.rows.matrix, case.rows.offset - 1e-2))
    with pytest.raises(AssertionError):
        check(solution, other, "l2", penalty)
    with pytest.raises(AssertionError):
        check(solution, case, "l2", Penalty(0.4, 3.0))
    assert abs(reference(other, "l2", penalty) - solution.bound) > CONIC


def test_a_path_that_never_settles_is_given_up(monkeypatch):
    monkeypatch.setattr(euclidean, "TRIALS", 0)
    case, penalty = instance(2), Penalty(0.5, 2.0)
    program = case.program("l2")
    question, _ = program._pose(module._Asked(case.gradient, case.sample, penalty, math.inf))
    assert program._propose(question) is None
