"""The exact simplex method: certificates over the rationals, and scipy as a second opinion."""

from fractions import Fraction

import numpy as np
import pytest
from scipy.optimize import linprog

from wdaverify.convex.exact import ExactOptimum, exact_interior_point, exact_maximum
from wdaverify.rational import Rationals, rationals

Program = tuple[Rationals, Rationals, Rationals]


def program(c: object, A: object, b: object) -> Program:
    """``max c·x, A x <= b`` over the rationals."""
    n = len(c)
    matrix = np.asarray(A, dtype=float).reshape(-1, n)
    return (
        rationals(np.asarray(c, dtype=float)),
        rationals(matrix),
        rationals(np.asarray(b, dtype=float)),
    )


def random_program(kind: str, seed: int) -> Program:
    rng = np.random.default_rng(seed)
    m, n = int(rng.integers(1, 8)), int(rng.integers(1, 5))
    if kind == "integers":
        return program(rng.integers(-3, 4, n), rng.integers(-3, 4, (m, n)), rng.integers(-3, 6, m))
    if kind == "cone":
        return program(rng.integers(-1, 2, n), rng.integers(-1, 2, (m, n)), np.zeros(m))
    if kind == "floats":
        return program(rng.normal(size=n), rng.normal(size=(m, n)), rng.normal(size=m) + 0.5)
    A = np.vstack([np.eye(n), -np.eye(n), rng.integers(-2, 3, (m, n))])  # degenerate, bounded
    return program(rng.integers(-2, 3, n), A, np.append(np.ones(2 * n), rng.integers(0, 2, m)))


KINDS = ("integers", "cone", "floats", "degenerate")


def is_proved(c: Rationals, A: Rationals, b: Rationals, optimum: ExactOptimum) -> bool:
    """Primal and dual feasibility and equal objectives, without rounding."""
    x, y = optimum.point, optimum.multipliers
    feasible = all(A @ x <= b) and all(v >= 0 for v in y) and all(A.T @ y == c)
    return feasible and c @ x == optimum.value == b @ y


def status_of(optimum: ExactOptimum | None) -> str:
    if optimum is None:
        return "infeasible"
    return "unbounded" if optimum.value is None else "optimal"


def scipy_status(c: Rationals, A: Rationals, b: Rationals) -> tuple[str, float]:
    """Status and maximum; feasibility first, as HiGHS may confuse infeasible and unbounded."""
    floats = [np.array(v, dtype=float) for v in (c, A, b)]
    free = [(None, None)] * len(c)
    if linprog(0 * floats[0], A_ub=floats[1], b_ub=floats[2], bounds=free).status == 2:
        return "infeasible", np.nan
    answer = linprog(-floats[0], A_ub=floats[1], b_ub=floats[2], bounds=free)
    return ("optimal", -answer.fun) if answer.status == 0 else ("unbounded", np.inf)


@pytest.mark.parametrize("kind", KINDS)
def test_the_optimum_proves_itself_and_agrees_with_scipy(kind):
    seen = set()
    for seed in range(60):
        c, A, b = random_program(kind, seed)
        optimum = exact_maximum(c, A, b)
        status, value = scipy_status(c, A, b)
        seen.add(status)
        assert status_of(optimum) == status
        if optimum is not None and optimum.value is not None:
            assert is_proved(c, A, b, optimum)
            assert float(optimum.value) == pytest.approx(value, abs=1e-6)
        elif optimum is not None:
            assert all(A @ optimum.point <= b)
    assert len(seen) > 1 or kind == "degenerate", "only one status occurred"


def test_a_wrong_optimum_proves_nothing():
    """Companion of the proof: each part of it is able to fail."""
    c, A, b = program([1, 1], [[1, 0], [0, 1], [-1, -1]], [2, 3, 0])
    right = exact_maximum(c, A, b)
    assert right is not None
    assert is_proved(c, A, b, right)
    x, y = right.point, right.multipliers
    ulp = Fraction(1, 10**30)
    wrong = [
        ExactOptimum(right.value, x + ulp, y),
        ExactOptimum(right.value, x - ulp, y),
        ExactOptimum(right.value, x, y + ulp),
        ExactOptimum(right.value + ulp, x, y),
    ]
    assert not any(is_proved(c, A, b, answer) for answer in wrong)


def test_beales_example_does_not_cycle():
    """The program on which Dantzig's rule cycles (Beale 1955): maximum 1/20."""
    c = np.array([Fraction(3, 4), Fraction(-150), Fraction(1, 50), Fraction(-6)], dtype=object)
    rows = [
        [Fraction(1, 4), Fraction(-60), Fraction(-1, 25), Fraction(9)],
        [Fraction(1, 2), Fraction(-90), Fraction(-1, 50), Fraction(3)],
        [Fraction(0), Fraction(0), Fraction(1), Fraction(0)],
        *(-rationals(np.eye(4))).tolist(),
    ]
    A = np.array(rows, dtype=object)
    b = np.array([Fraction(v) for v in (0, 0, 1, 0, 0, 0, 0)], dtype=object)
    optimum = exact_maximum(c, A, b)
    assert optimum is not None
    assert optimum.value == Fraction(1, 20)
    assert is_proved(c, A, b, optimum)


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_klee_minty_cubes_are_solved(n):
    A = np.eye(n)
    for i in range(n):
        A[i, :i] = [2.0 ** (i - j + 1) for j in range(i)]
    c = [2.0 ** (n - 1 - j) for j in range(n)]
    optimum = exact_maximum(
        *program(c, np.vstack([A, -np.eye(n)]), [5.0 ** (k + 1) for k in range(n)] + [0] * n)
    )
    assert optimum is not None
    assert optimum.value == 5**n


def test_many_copies_of_one_row_are_no_obstacle():
    A = np.vstack([[[1, 1]] * 6, [[-1, 0]] * 3, [[0, -1]] * 3])
    c, matrix, b = program([2, 1], A, [1] * 6 + [0] * 6)
    optimum = exact_maximum(c, matrix, b)
    assert optimum is not None
    assert optimum.value == 2
    assert is_proved(c, matrix, b, optimum)


def test_an_empty_program_and_constant_objectives():
    optimum = exact_maximum(*program([0, 0], [], []))
    assert optimum is not None
    assert optimum.value == 0
    assert status_of(exact_maximum(*program([1, 0], [], []))) == "unbounded"
    assert status_of(exact_maximum(*program([0], [[0]], [-1]))) == "infeasible"
    assert status_of(exact_maximum(*program([0], [[0]], [0]))) == "optimal"


def test_differences_far_below_float64_resolution_decide():
    """``x <= 0`` and ``x >= ±1e-300``: empty or not by a hair."""
    tiny = 1e-300
    assert status_of(exact_maximum(*program([1], [[1], [-1]], [0, -tiny]))) == "infeasible"
    optimum = exact_maximum(*program([-1], [[1], [-1]], [0, tiny]))
    assert optimum is not None
    assert optimum.value == Fraction(tiny)


# interior points ---------------------------------------------------------------------------


def largest_slack(A: Rationals, b: Rationals) -> Fraction:
    """Maximum of s <= 1 with ``A x + s <= b``, by the other entry of the module."""
    m, n = A.shape
    ones = np.array([[Fraction(1)]] * m, dtype=object).reshape(m, 1)
    cap = rationals(np.append(np.zeros(n), 1.0))[None, :]
    rows = np.concatenate([np.concatenate([A, ones], axis=1), cap])
    optimum = exact_maximum(cap[0], rows, np.append(b, Fraction(1)))
    assert optimum is not None
    assert optimum.value is not None
    return optimum.value


@pytest.mark.parametrize("kind", KINDS)
def test_an_interior_point_is_strictly_inside_or_does_not_exist(kind):
    found = []
    for seed in range(60):
        _, A, b = random_program(kind, seed)
        point = exact_interior_point(A, b)
        found.append(point is not None)
        if point is None:
            assert largest_slack(A, b) <= 0
        else:
            assert all(A @ point < b)
    assert any(found)
    assert not all(found)


@pytest.mark.parametrize(
    ("A", "b", "exists"),
    [
        ([[1, 0], [-1, 0]], [1, -1], False),  # a line
        ([[1, 0], [-1, 0]], [1, 0], True),  # a strip
        ([[1, 1], [-1, 0], [0, -1]], [0, 0, 0], False),  # a point
        ([[1, 0], [-1, 0]], [1, -1 + 2.0**-52], True),  # a strip one ulp wide
        ([[0, 0]], [0], False),  # a row of zeros counts
        ([[0, 0]], [1e-300], True),
        ([[0, 0]], [-1], False),
    ],
)
def test_interior_points_of_thin_and_flat_sets(A, b, exists):
    _, matrix, bound = program([0, 0], A, b)
    assert (exact_interior_point(matrix, bound) is not None) == exists


def test_without_rows_or_without_dimensions():
    assert exact_interior_point(rationals(np.zeros((0, 2))), rationals(np.zeros(0))).shape == (2,)
    nothing = rationals(np.zeros((1, 0)))
    assert exact_interior_point(nothing, rationals(np.ones(1))).shape == (0,)
    assert exact_interior_point(nothing, rationals(np.zeros(1))) is None
