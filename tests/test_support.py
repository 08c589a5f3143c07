"""Supports: rows, membership and bounds say the same thing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wdaverify.errors import ProblemError
from wdaverify.support import Box, Polytope, Support

TRIANGLE = Polytope([[1.0, 1.0], [-1.0, 0.0], [0.0, -1.0]], [1.0, 0.0, 0.0])
HALF = Box(lower=[0.0, -np.inf], upper=[np.inf, 2.0])
SUPPORTS = {
    "box": Box(-1.0, 1.0),
    "half-open box": HALF,
    "whole space": Box(),
    "constant feature": Box([0.5, 0.0], [0.5, 1.0]),
    "triangle": TRIANGLE,
    "strip": Polytope([[1.0, 1.0], [-1.0, -1.0]], [1.0, 1.0]),
}
EVERY = pytest.mark.parametrize("support", list(SUPPORTS.values()), ids=list(SUPPORTS))
QUARTERS = st.lists(st.integers(-12, 12).map(lambda k: k / 4), min_size=2, max_size=2)


@EVERY
@given(point=QUARTERS)
@settings(deadline=None, max_examples=100, derandomize=True)
def test_membership_is_the_rows(support, point):
    bound = support.bind(2)
    A, b = bound.rows
    x = np.array(point)
    inside = bool(np.all(A @ x <= b))
    assert bound.contains(x[None, :])[0] == inside
    assert (bound.excess(x[None, :])[0] == 0) == inside


@EVERY
@given(point=QUARTERS)
@settings(deadline=None, max_examples=50, derandomize=True)
def test_points_of_the_support_lie_within_its_bounds(support, point):
    bound = support.bind(2)
    x = np.array(point)
    if bound.contains(x[None, :])[0]:
        lower, upper = bound.bounds
        assert np.all((lower <= x) & (x <= upper))


@pytest.mark.parametrize(
    ("support", "point", "excess"),
    [
        (Box(-1.0, 1.0), [0.5, -1.0], 0.0),
        (Box(-1.0, 1.0), [1.5, -3.0], 2.0),
        (HALF, [-0.25, -99.0], 0.25),
        (TRIANGLE, [1.0, 1.0], 1.0),
        (TRIANGLE, [0.25, 0.75], 0.0),
    ],
)
def test_excess_says_by_how_much_a_point_lies_outside(support: Support, point, excess):
    assert support.bind(2).excess(np.array([point]))[0] == excess


def test_a_polytope_forgives_rounding_but_no_more():
    """``0.1 x + 0.2 y <= 0.3`` at (1, 1): the float64 sum is 0.3 plus an ulp."""
    polytope = Polytope([[0.1, 0.2]], [0.3])
    points = np.array([[1.0, 1.0], [1.0 + 1e-14, 1.0]])
    assert points[0] @ [0.1, 0.2] > 0.3
    assert polytope.contains(points).tolist() == [True, False]


def test_scalars_are_broadcast():
    lower, upper = Box(0.0, [1.0, 2.0, 3.0]).bind(3).bounds
    assert lower.tolist() == [0, 0, 0]
    assert upper.tolist() == [1, 2, 3]


def test_the_whole_space_has_no_rows():
    A, b = Box().bind(3).rows
    assert A.shape == (0, 3)
    assert b.shape == (0,)


def test_bounds_of_a_polytope_come_from_its_rows_of_one_entry():
    polytope = Polytope([[2.0, 0.0], [0.0, -4.0], [1.0, 1.0], [1.0, 0.0]], [6.0, 2.0, 9.0, 5.0])
    lower, upper = polytope.bounds
    assert upper[0] == pytest.approx(3.0)
    assert lower[1] == pytest.approx(-0.5)
    assert np.isinf([lower[0], upper[1]]).all()


@pytest.mark.parametrize(
    ("lower", "upper", "words"),
    [
        (1.0, 0.0, ["lower <= upper", "1 > 0", "feature 0"]),
        ([0.0, 2.0], [1.0, 1.0], ["2 > 1", "feature 1"]),
        ([0.0, 0.0], [1.0, 1.0, 1.0], ["(2,)", "(3,)"]),
        (np.nan, 1.0, ["support lower", "nan"]),
        (np.inf, np.inf, ["empty"]),
        (-np.inf, -np.inf, ["empty"]),
        ([[0.0]], 1.0, ["(1, 1)"]),
    ],
)
def test_a_malformed_box_is_refused(lower, upper, words):
    with pytest.raises(ProblemError) as error:
        Box(lower, upper)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("A", "b", "words"),
    [
        (np.eye(2), np.zeros(3), ["(2, 2)", "(3,)"]),
        ([[np.inf, 0.0]], [1.0], ["support A", "inf"]),
        (np.eye(2), [0.0, np.inf], ["support b", "inf"]),
        (np.zeros(2), np.zeros(2), ["support A", "2 dimension(s)"]),
    ],
)
def test_a_malformed_polytope_is_refused(A, b, words):
    with pytest.raises(ProblemError) as error:
        Polytope(A, b)
    for word in words:
        assert word in str(error.value)


def test_a_support_of_another_dimension_is_refused():
    with pytest.raises(ProblemError, match=r"support upper.*\(3,\).*\(2,\)"):
        Box(0.0, [1.0, 1.0]).bind(3)
    with pytest.raises(ProblemError, match=r"\(m, 3\), found \(3, 2\)"):
        TRIANGLE.bind(3)


def test_descriptions():
    words = {name: support.bind(2).describe() for name, support in SUPPORTS.items()}
    assert words["whole space"] == "the whole space"
    assert "[-1, 1]" in words["box"]
    assert "3 rows" in words["triangle"]


def test_a_side_beyond_float64_bounds_nothing():
    tiny = 2.0**-1040
    lower, upper = Polytope([[-tiny, 0.0], [0.0, tiny]], [1.0, 1.0]).bounds
    assert lower.tolist() == [-np.inf, -np.inf]
    assert upper.tolist() == [np.inf, np.inf]
