"""The sub-problem of one sample and one piece, against a linear program written out for scipy."""

import math
from typing import NamedTuple

import numpy as np
import pytest
from scipy.optimize import linprog

from wdaverify.convex.highs import LinearProgram
from wdaverify.exact.penalty import Penalty
from wdaverify.exact.program import PieceProgram, Unreachable
from wdaverify.network import AffineMap
from wdaverify.norms import norm_named
from wdaverify.support import Box, Polytope

TIGHT = 1e-8


class Case(NamedTuple):
    """What is maximised where: rows and support of the piece, norm, gradient and sample."""

    rows: AffineMap
    support: Box | Polytope
    norm: str
    gradient: np.ndarray
    sample: np.ndarray

    def program(self):
        return PieceProgram(self.rows, self.support, norm_named(self.norm))


def reference(case, multiplier, reach=math.inf):
    """``max a·x − λ t`` over ``(x, s, t)``, ``|x_k − x_ik| <= s_k``, written row by row."""
    rows, support, norm, gradient, sample = case
    n = len(sample)
    G, h = (np.concatenate(parts) for parts in zip(rows, support.rows, strict=True))
    A, b = [np.append(g, np.zeros(n + 1)) for g in G], list(h)
    for k in range(n):
        for sign in (1.0, -1.0):
            row = np.zeros(2 * n + 1)
            row[k], row[n + k] = sign, -1.0
            A.append(row)
            b.append(sign * sample[k])
        if norm == "linf":
            row = np.zeros(2 * n + 1)
            row[n + k], row[-1] = 1.0, -1.0
            A.append(row)
            b.append(0.0)
    if norm == "l1":
        A.append(np.concatenate([np.zeros(n), np.ones(n), [-1.0]]))
        b.append(0.0)
    costs = np.concatenate([-gradient, np.zeros(n), [multiplier]])
    bounds = [(None, None)] * n + [(0, None)] * n + [(0, None if math.isinf(reach) else reach)]
    solution = linprog(costs, A_ub=np.array(A), b_ub=b, bounds=bounds, method="highs")
    return None if solution.status == 2 else -solution.fun


def instance(seed, norm, space):
    """Rows around a point of the piece, a sample somewhere in the support, a gradient."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 5))
    G = rng.normal(size=(int(rng.integers(1, 6)), n))
    inside = rng.uniform(-0.9, 0.9, size=n)
    h = G @ inside + rng.uniform(0.0, 0.5, size=len(G))
    sample, gradient = rng.uniform(-1, 1, size=n), rng.normal(size=n)
    supports = {
        "box": Box(-1.0, 1.0),
        "space": Box(),
        "polytope": Polytope(np.vstack([np.eye(n), -np.eye(n)]), np.ones(2 * n)),
    }
    steepest = float(norm_named(norm).dual_length(gradient))
    multiplier = steepest * rng.uniform(1.0 if space == "space" else 0.0, 1.5)
    return Case(AffineMap(G, h), supports[space].bind(n), norm, gradient, sample), multiplier


def check(solution, case, multiplier, reach=math.inf):
    """Point, bound and cut of a solution, each for itself."""
    rows, support, norm, gradient, sample = case
    value = reference(case, multiplier, reach)
    room = TIGHT * max(1.0, abs(value))
    distance = float(norm_named(norm).length(solution.point - sample))
    matrix, bound = (np.concatenate(parts) for parts in zip(rows, support.rows, strict=True))
    assert np.all(matrix @ solution.point <= bound + TIGHT)
    assert distance <= reach + TIGHT
    assert gradient @ solution.point - multiplier * distance == pytest.approx(value, abs=room)
    assert solution.bound == pytest.approx(value, abs=room)
    cut = solution.cut
    steepness = float(norm_named(norm).dual_length(cut.gradient))
    assert cut.steepness == pytest.approx(steepness, rel=1e-12)
    excess = max(0.0, cut.steepness - multiplier)
    excess = 0.0 if excess <= 1e-9 * (1 + multiplier) else excess
    line = cut.gradient @ sample + cut.offset
    assert line + (excess * reach if excess else 0.0) == pytest.approx(value, abs=room)


@pytest.mark.parametrize("norm", ["l1", "linf"])
@pytest.mark.parametrize("space", ["box", "polytope", "space"])
@pytest.mark.parametrize("seed", range(15))
def test_value_point_and_cut_are_those_of_the_written_out_program(norm, space, seed):
    case, multiplier = instance(seed, norm, space)
    solution = case.program().solve(case.gradient, case.sample, Penalty(multiplier))
    check(solution, case, multiplier)


@pytest.mark.parametrize("norm", ["l1", "linf"])
@pytest.mark.parametrize("space", ["box", "polytope", "space"])
@pytest.mark.parametrize("seed", range(10))
def test_within_a_reach_or_proved_out_of_it(norm, space, seed):
    case, multiplier = instance(seed, norm, space)
    program, sample = case.program(), case.sample
    nearest = -reference(case._replace(gradient=np.zeros(len(sample))), 1.0)
    for reach in (nearest + 0.05, nearest + 2.0):
        for price in (0.0, multiplier):
            solution = program.solve(case.gradient, sample, Penalty(price), reach)
            check(solution, case, price, reach)
    if nearest > 0.01:
        beyond = program.solve(case.gradient, sample, Penalty(0.0), nearest / 2)
        assert isinstance(beyond, Unreachable)
        line = beyond.cut.gradient @ sample + beyond.cut.offset
        assert line + beyond.cut.steepness * nearest / 2 < 0


@pytest.mark.parametrize("norm", ["l1", "linf"])
def test_a_warm_program_answers_like_a_fresh_one(norm):
    case, _ = instance(3, norm, "box")
    warm, n = case.program(), len(case.sample)
    rng = np.random.default_rng(7)
    for _ in range(20):
        sample, gradient = rng.uniform(-1, 1, size=n), rng.normal(size=n)
        multiplier = rng.choice([0.0, 0.3, 2.0])
        expected = case.program().solve(gradient, sample, Penalty(multiplier)).bound
        found = warm.solve(gradient, sample, Penalty(multiplier)).bound
        assert found == pytest.approx(expected, abs=TIGHT)


@pytest.mark.parametrize("norm", ["l1", "linf"])
def test_a_sample_on_a_vertex_and_a_cell_as_thin_as_a_nanometre(norm):
    rows = AffineMap(np.array([[1.0, 1.0], [-1.0, -1.0]]), np.array([1e-9, 0.0]))
    for sample in (np.array([-1.0, 1.0]), np.zeros(2)):
        case = Case(rows, Box(-1.0, 1.0).bind(2), norm, np.array([1.0, -0.5]), sample)
        for multiplier in (0.0, 0.7):
            solution = case.program().solve(case.gradient, sample, Penalty(multiplier))
            check(solution, case, multiplier)


def test_a_wrong_answer_of_the_solver_is_asked_again(monkeypatch):
    original, calls = LinearProgram.maximize, []

    def first_wrong(self, costs):
        calls.append(costs)
        answer = original(self, costs)
        if len(calls) == 1:
            answer.multipliers[:] = 0.0
        return answer

    case, multiplier = instance(1, "linf", "box")
    program = case.program()
    monkeypatch.setattr(LinearProgram, "maximize", first_wrong)
    solution = program.solve(case.gradient, case.sample, Penalty(multiplier))
    assert len(calls) == 2
    check(solution, case, multiplier)


@pytest.mark.parametrize("norm", ["l1", "linf"])
def test_a_solver_that_is_always_wrong_is_replaced_by_exact_arithmetic(monkeypatch, norm):
    original = LinearProgram.maximize

    def wrong(self, costs):
        answer = original(self, costs)
        answer.multipliers[:] = 0.0
        return answer

    case, multiplier = instance(2, norm, "box")
    program = case.program()
    monkeypatch.setattr(LinearProgram, "maximize", wrong)
    solution = program.solve(case.gradient, case.sample, Penalty(multiplier))
    check(solution, case, multiplier)


def test_the_reference_tells_programs_apart():
    case, multiplier = instance(1, "linf", "box")
    solution = case.program().solve(case.gradient, case.sample, Penalty(multiplier))
    other = case._replace(rows=AffineMap(case.rows.matrix, case.rows.offset - 1e-3))
    with pytest.raises(AssertionError):
        check(solution, other, multiplier)
