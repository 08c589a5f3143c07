"""Recession cones: boundedness against linear programs, steepest slopes against sampling."""

import cvxpy as cp
import numpy as np
import pytest
from scipy.optimize import linprog

from wdaverify.arrays import Floats
from wdaverify.cells.recession import is_bounded, steepest_recession
from wdaverify.norms import norm_named
from wdaverify.rational import rationals


def bounded_by_programs(matrix: Floats) -> bool:
    """No direction of the box [−1, 1]^d lies in the cone: 2d linear programs."""
    m, d = matrix.shape
    for costs in (*np.eye(d), *-np.eye(d)):
        if linprog(-costs, A_ub=matrix, b_ub=np.zeros(m), bounds=[(-1, 1)] * d).fun < -1e-9:
            return False
    return True


@pytest.mark.parametrize("d", [1, 2, 3])
def test_boundedness_agrees_with_linear_programs(d):
    rng = np.random.default_rng(d)
    answers = []
    for _ in range(80):
        matrix = rng.integers(-2, 3, size=(int(rng.integers(1, 8)), d)).astype(float)
        matrix = matrix[np.any(matrix != 0, axis=1)]
        if len(matrix):
            answers.append(is_bounded(rationals(matrix)))
            assert answers[-1] == bounded_by_programs(matrix), matrix
    assert any(answers)
    assert not all(answers)


@pytest.mark.parametrize(
    ("rows", "bounded"),
    [
        ([[1, 0], [0, 1], [-1, -1]], True),
        ([[1, 0], [0, 1]], False),
        ([[1, 0], [-1, 0], [2, 0], [-3, 0]], False),  # a strip: too few directions
        ([[1, 0], [0, 1], [-1, -1], [5, 7]], True),
        ([[1, 1], [1, -1], [1, 0]], False),  # a cone around −x
        ([[1, 0], [-1, 0], [0, 1]], False),  # a half-strip
    ],
)
def test_boundedness_of_plain_shapes(rows, bounded):
    assert is_bounded(rationals(np.array(rows, dtype=float))) == bounded


@pytest.mark.parametrize("tilt", [1e-3, 1e-8, 1e-12, 1e-16])
def test_a_needle_is_decided_however_thin(tilt):
    """Two nearly opposite half-planes and a lid: closed on the side where they converge."""
    lid = [-1.0, 0.0]
    opening = [[-tilt, 1.0], [-tilt, -1.0], [1.0, 0.0]]
    closing = [[tilt, 1.0], [tilt, -1.0], lid]
    assert is_bounded(rationals(np.array(closing)))
    assert is_bounded(rationals(np.array(opening)))
    assert not is_bounded(rationals(np.array([*opening[:2], lid])))
    assert not is_bounded(rationals(np.array([[0.0, 1.0], [0.0, -1.0], lid])))


def test_without_dimension_everything_is_bounded_and_without_rows_nothing():
    assert is_bounded(rationals(np.zeros((0, 0))))
    assert not is_bounded(rationals(np.zeros((0, 2))))


# slopes ------------------------------------------------------------------------------------


def directions(matrix: Floats, n: int, seed: int) -> Floats:
    """Random vectors of the cone ``matrix u <= 0``."""
    u = np.random.default_rng(seed).normal(size=(4000, n))
    return u[np.all(u @ matrix.T <= 0, axis=1)]


@pytest.mark.parametrize("name", ["l1", "l2", "linf"])
@pytest.mark.parametrize("seed", range(8))
def test_the_steepest_slope_is_reached_and_never_exceeded(name, seed):
    rng, norm = np.random.default_rng(seed), norm_named(name)
    a, matrix = rng.normal(size=3), rng.normal(size=(int(rng.integers(0, 4)), 3))
    slope = steepest_recession(a, matrix, norm)
    assert slope.lower <= slope.upper + 1e-9
    assert slope.upper == pytest.approx(slope.lower, abs=1e-9)
    assert norm.length(slope.direction) <= 1 + 1e-9
    assert np.all(matrix @ slope.direction <= 1e-9)
    assert a @ slope.direction == pytest.approx(slope.lower, abs=1e-9)
    u = directions(matrix, 3, seed)
    assert len(u) > 20
    assert np.all(u @ a <= slope.upper * norm.length(u) + 1e-9)


@pytest.mark.parametrize("name", ["l1", "l2", "linf"])
def test_without_rows_the_slope_is_the_dual_norm(name):
    a, norm = np.array([3.0, -4.0, 1.0]), norm_named(name)
    slope = steepest_recession(a, np.zeros((0, 3)), norm)
    assert slope.upper == pytest.approx(float(norm.dual_length(a)))


@pytest.mark.parametrize("name", ["l1", "l2", "linf"])
def test_a_bounded_cell_has_slope_zero(name):
    slope = steepest_recession(np.ones(2), np.vstack([np.eye(2), -np.eye(2)]), norm_named(name))
    assert slope.lower == pytest.approx(0.0, abs=1e-9)
    assert slope.upper == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("name", ["l1", "l2", "linf"])
def test_descent_only_gives_slope_zero(name):
    """In the half-space u1 <= 0 the piece u1 cannot grow: the best direction is none."""
    slope = steepest_recession(np.array([1.0, 0.0]), np.array([[1.0, 0.0]]), norm_named(name))
    assert slope.upper == pytest.approx(0.0, abs=1e-9)


def test_the_norms_differ():
    a, none = np.ones(2), np.zeros((0, 2))
    slopes = [steepest_recession(a, none, norm_named(n)).upper for n in ("l1", "l2", "linf")]
    assert slopes == pytest.approx([1.0, 2.0**0.5, 2.0])


@pytest.mark.parametrize("name", ["l1", "l2", "linf"])
def test_slopes_of_tiny_gradients_are_as_exact(name):
    rng, norm = np.random.default_rng(4), norm_named(name)
    a, matrix = rng.normal(size=3), rng.normal(size=(3, 3))
    plain = steepest_recession(a, matrix, norm)
    tiny = steepest_recession(2.0**-40 * a, matrix, norm)
    assert tiny.upper == pytest.approx(2.0**-40 * plain.upper, rel=1e-12)
    assert tiny.lower == pytest.approx(2.0**-40 * plain.lower, rel=1e-12)


def test_the_l2_slope_is_that_of_the_conic_program():
    for seed in range(8):
        rng = np.random.default_rng(seed)
        a, matrix = rng.normal(size=5), rng.normal(size=(6, 5))
        u = cp.Variable(5)
        problem = cp.Problem(cp.Maximize(a @ u), [matrix @ u <= 0, cp.norm(u) <= 1])
        problem.solve(solver="CLARABEL")
        slope = steepest_recession(a, matrix, norm_named("l2"))
        assert slope.upper == pytest.approx(problem.value, abs=1e-6)
        assert slope.lower == pytest.approx(slope.upper, abs=1e-12)
