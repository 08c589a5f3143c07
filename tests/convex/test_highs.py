"""The HiGHS wrapper: answers whose multipliers prove them, and changes between solves."""

import numpy as np
import pytest
from scipy.optimize import linprog

from wdaverify.arrays import Floats
from wdaverify.convex.highs import HUGE, Answer, LinearProgram, Status

FREE = np.full(2, np.inf)


def simplex_program() -> LinearProgram:
    """``x + y <= 1`` in the positive quadrant."""
    program = LinearProgram(np.zeros(2), FREE)
    program.add_rows(np.array([[1.0, 1.0]]), np.array([1.0]))
    return program


def residuals(c: Floats, A: Floats, b: Floats, box: float, answer: Answer) -> Floats:
    """Violations and gap of an answer to ``max c·x, A x <= b, |x| <= box``."""
    x, y = answer.point, answer.multipliers
    reduced = c - A.T @ y
    bound = b @ y + box * np.abs(reduced).sum()
    return np.array(
        [
            (A @ x - b).max(initial=0.0),
            np.abs(x).max() - box,
            (-y).max(initial=0.0),
            np.abs(reduced - answer.reduced).max(),
            abs(bound - c @ x),
        ]
    )


@pytest.mark.parametrize("seed", range(10))
def test_an_optimal_answer_is_proved_by_its_multipliers(seed):
    rng = np.random.default_rng(seed)
    c, A, b = rng.normal(size=4), rng.normal(size=(6, 4)), rng.random(6)
    program = LinearProgram(np.full(4, -2.0), np.full(4, 2.0))
    program.add_rows(A, b)
    answer = program.maximize(c)
    assert answer.status is Status.OPTIMAL
    assert residuals(c, A, b, 2.0, answer).max() < 1e-9
    assert c @ answer.point == pytest.approx(-linprog(-c, A, b, bounds=[(-2, 2)] * 4).fun)


def test_the_residuals_see_a_wrong_answer():
    c, A, b = np.ones(2), np.array([[1.0, 1.0]]), np.ones(1)
    program = LinearProgram(np.full(2, -1.0), np.ones(2))
    program.add_rows(A, b)
    right = program.maximize(c)
    assert residuals(c, A, b, 1.0, right).max() < 1e-12
    wrong_point = Answer(right.status, right.point - 0.1, right.multipliers, right.reduced)
    wrong_bound = Answer(right.status, right.point, right.multipliers + 0.1, right.reduced)
    assert residuals(c, A, b, 1.0, wrong_point).max() > 0.05
    assert residuals(c, A, b, 1.0, wrong_bound).max() > 0.05


def test_statuses():
    program = simplex_program()
    assert program.maximize(np.array([1.0, 0.0])).status is Status.OPTIMAL
    program.add_rows(np.array([[-1.0, -1.0]]), np.array([-2.0]))
    assert program.maximize(np.array([1.0, 0.0])).status is Status.INFEASIBLE
    free = LinearProgram(-FREE, FREE)
    assert free.maximize(np.array([1.0, 0.0])).status is Status.UNBOUNDED


def test_rows_can_be_added_and_dropped():
    program = simplex_program()
    kept = program.rows
    program.add_rows(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0.25, 0.5]))
    assert program.rows == kept + 2
    assert program.maximize(np.ones(2)).point == pytest.approx([0.25, 0.5])
    program.drop_rows(kept)
    assert program.rows == kept
    assert program.maximize(np.array([1.0, 0.0])).point == pytest.approx([1.0, 0.0])
    program.drop_rows(kept)
    assert program.rows == kept


def test_adding_no_rows_changes_nothing():
    program = simplex_program()
    program.add_rows(np.zeros((0, 2)), np.zeros(0))
    assert program.rows == 1


def test_row_bounds_can_be_replaced_and_may_be_two_sided():
    program = simplex_program()
    program.bound_rows(np.array([0]), np.array([3.0]))
    assert program.maximize(np.array([1.0, 0.0])).point[0] == pytest.approx(3.0)
    program.bound_rows(np.array([0]), np.array([2.0]), np.array([2.0]))
    answer = program.maximize(np.array([-1.0, -1.0]))
    assert answer.point.sum() == pytest.approx(2.0)
    program.bound_rows(np.array([0]), np.array([np.inf]))
    assert program.maximize(np.array([1.0, 0.0])).status is Status.UNBOUNDED


def test_an_equality_row_is_kept():
    program = LinearProgram(-FREE, FREE)
    program.add_rows(np.eye(2), np.array([1.0, 2.0]), np.array([1.0, -np.inf]))
    assert program.maximize(np.array([-1.0, 1.0])).point == pytest.approx([1.0, 2.0])


def test_column_bounds_can_be_replaced():
    program = simplex_program()
    program.bound_columns(np.array([0]), np.array([0.0]), np.array([0.25]))
    assert program.maximize(np.array([2.0, 1.0])).point == pytest.approx([0.25, 0.75])


def test_a_warm_answer_equals_one_from_scratch():
    rng = np.random.default_rng(0)
    program = LinearProgram(np.full(5, -1.0), np.ones(5))
    program.add_rows(rng.normal(size=(8, 5)), rng.random(8))
    for c in rng.normal(size=(20, 5)):
        warm, cold = program.maximize(c), program.solve_afresh(c)
        assert c @ warm.point == pytest.approx(c @ cold.point, abs=1e-9)


def test_multipliers_count_one_per_row_and_mark_the_tight_ones():
    program = LinearProgram(-FREE, FREE)
    program.add_rows(np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]), np.array([1.0, 1.0, 5.0]))
    answer = program.maximize(np.array([3.0, 2.0]))
    assert answer.multipliers == pytest.approx([3.0, 2.0, 0.0])
    assert answer.reduced == pytest.approx([0.0, 0.0])


@pytest.mark.parametrize("far", [1e6, 1e12, 1e19, 1e21, 1e23])
def test_rows_far_from_the_origin_count(far):
    """``x <= −far`` is never lost in silence: beyond ``HUGE`` it is relaxed to ``HUGE``."""
    program = LinearProgram(-FREE, FREE)
    program.add_rows(np.array([[1.0, 0.0]]), np.array([-far]))
    assert program.rows == 1
    answer = program.maximize(np.array([1.0, 0.0]))
    assert answer.status is Status.OPTIMAL
    assert answer.point[0] == pytest.approx(-min(far, HUGE))


def test_small_coefficients_count():
    """``1e-9 x <= 1`` bounds x by 1e9."""
    program = LinearProgram(-FREE, FREE)
    program.add_rows(np.array([[1e-9, 0.0]]), np.array([1.0]))
    answer = program.maximize(np.array([1.0, 0.0]))
    assert answer.status is Status.OPTIMAL
    assert answer.point[0] == pytest.approx(1e9)
