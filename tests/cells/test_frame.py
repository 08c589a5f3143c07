"""Coordinates of the affine hull: equalities hold exactly, interiors are interior."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wdaverify.cells.frame import Frame, bounding_box, frame_of
from wdaverify.errors import ProblemError
from wdaverify.rational import rationals
from wdaverify.support import Box, Polytope, Support

EQUALITY = Polytope([[0.1, 0.3, 1.0], [-0.1, -0.3, -1.0]], [0.7, -0.7])
SEGMENT = Polytope([[3.0, 1.0], [-3.0, -1.0], [1.0, 0.0], [-1.0, 0.0]], [1.0, -1.0, 1.0, 1.0])
CORNER = Polytope([[1.0, 1.0], [-1.0, 0.0], [0.0, -1.0]], [1.0, -0.5, -0.5])
TETRAHEDRON = Polytope(np.vstack([np.ones(3), -np.eye(3)]), [1.0, 0.0, 0.0, 0.0])
PRISM = Polytope([[1.0, 1, 0], [-1.0, 0, 0], [0, -1.0, 0]], [0.0, 0.0, 0.0])

SUPPORTS: dict[str, tuple[Support, int]] = {
    "space": (Box().bind(3), 3),
    "box": (Box(-1.0, 2.0).bind(3), 3),
    "orthant": (Box(0.0, np.inf).bind(3), 3),
    "below": (Box(-np.inf, -4.0).bind(3), 3),
    "constant feature": (Box([0.1, -1.0, 0.0], [0.1, 1.0, np.inf]), 2),
    "a point": (Box(0.3, 0.3).bind(3), 0),
    "tetrahedron": (TETRAHEDRON, 3),
    "equality": (EQUALITY, 2),
    "segment": (SEGMENT, 1),
    "implied point": (CORNER, 0),
    "implied line": (PRISM, 1),
    "no rows": (Polytope(np.zeros((0, 2)), np.zeros(0)), 2),
    "redundant rows": (Polytope([[1.0, 0], [1.0, 0], [0, 0], [-1.0, 0]], [1.0, 2.0, 0.0, 0.0]), 2),
}
EVERY = pytest.mark.parametrize("name", list(SUPPORTS))


@EVERY
def test_the_dimension_is_that_of_the_affine_hull(name):
    support, dimension = SUPPORTS[name]
    frame = frame_of(support)
    assert frame.dimension == dimension
    assert frame.interior.shape == (dimension,)
    assert frame.matrix.shape[1] == dimension


def exact_points(frame: Frame, coordinates: list[list[Fraction]]) -> list[np.ndarray]:
    return [frame.basis @ np.array(u, dtype=object) + frame.origin for u in coordinates]


@EVERY
def test_the_interior_point_is_strictly_inside_every_row_of_the_frame(name):
    frame = frame_of(SUPPORTS[name][0])
    assert all(frame.matrix @ rationals(frame.interior) < frame.bound)


@EVERY
@given(numbers=st.lists(st.fractions(-3, 3, max_denominator=50), min_size=3, max_size=3))
@settings(deadline=None, max_examples=40, derandomize=True)
def test_rows_of_the_frame_are_the_rows_of_the_support_exactly(name, numbers):
    """``u`` satisfies the frame's rows exactly if ``origin + basis u`` lies in the support."""
    support, dimension = SUPPORTS[name]
    frame = frame_of(support)
    u = np.array(numbers[:dimension], dtype=object)
    x = frame.basis @ u + frame.origin
    A, b = (rationals(part) for part in support.rows)
    assert all(frame.matrix @ u <= frame.bound) == all(A @ x <= b)


@pytest.mark.parametrize(
    ("support", "row", "side"),
    [(EQUALITY, [0.1, 0.3, 1.0], 0.7), (SEGMENT, [3.0, 1.0], 1.0), (PRISM, [1.0, 1.0, 0.0], 0.0)],
)
def test_equalities_hold_over_the_rationals(support, row, side):
    """Also where the basis is no float64, such as −1/3."""
    frame = frame_of(support)
    a = rationals(np.array(row))
    assert all(v == 0 for v in a @ frame.basis)
    assert a @ frame.origin == Fraction(side)


def test_a_hair_away_from_an_equality_there_is_an_interior():
    almost = Polytope([[1.0, 1.0], [-1.0, -1.0]], [1.0, -1.0 + 2.0**-52])
    frame = frame_of(almost)
    assert frame.dimension == 2
    assert len(frame.bound) == 2


def test_a_thin_strip_beside_an_equality_keeps_its_dimension():
    """``x = 0`` and ``0 <= y <= 1e-12``: only the first is an equality."""
    rows = [[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]
    frame = frame_of(Polytope(rows, [0.0, 0.0, 1e-12, 0.0]))
    assert frame.dimension == 1
    assert 0 < frame.interior[0] < 1e-12


@EVERY
def test_coordinates_invert_points(name):
    frame = frame_of(SUPPORTS[name][0])
    u = np.random.default_rng(0).normal(size=(10, frame.dimension))
    assert frame.coordinates(frame.points(u)) == pytest.approx(u, abs=1e-12)


@EVERY
def test_the_interior_point_maps_into_the_support(name):
    support, _ = SUPPORTS[name]
    frame = frame_of(support)
    assert support.contains(frame.points(frame.interior)[None, :])[0]


@pytest.mark.parametrize(
    "support",
    [
        Polytope([[1.0], [-1.0]], [0.0, -1.0]),
        Polytope([[1.0, 1.0], [-1.0, -1.0]], [1.0, -1.0 - 2.0**-52]),
        Polytope([[0.0, 0.0]], [-1.0]),
        Polytope([[1.0, 0], [-1.0, 0], [0, 1.0], [0, -1.0]], [1.0, -1.0, 2.0, -3.0]),
    ],
)
def test_an_empty_polytope_is_refused(support):
    with pytest.raises(ProblemError, match="empty"):
        frame_of(support)


def test_many_equalities_are_eliminated_together():
    """Three of four dimensions fixed by rows that also imply one another."""
    A = np.array([[1.0, 1, 0, 0], [0, 1.0, 1, 0], [1.0, 2, 1, 0], [0, 0, 1.0, 1]])
    b = np.array([1.0, 2.0, 3.0, 4.0])
    frame = frame_of(Polytope(np.vstack([A, -A]), np.append(b, -b)))
    assert frame.dimension == 1
    assert len(frame.bound) == 0
    assert all((rationals(A) @ frame.basis).ravel() == 0)
    assert all(rationals(A) @ frame.origin == rationals(b))


# bounding boxes ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["box", "orthant", "space", "constant feature"])
def test_the_bounding_box_of_a_box_is_itself(name):
    support, _ = SUPPORTS[name]
    lower, upper = bounding_box(support)
    assert np.array_equal(lower, support.lower)
    assert np.array_equal(upper, support.upper)


def test_the_bounding_box_of_a_polytope_is_tight_and_slightly_wide():
    for support, low, high in ((TETRAHEDRON, 0.0, 1.0), (CORNER, 0.5, 0.5)):
        lower, upper = bounding_box(support)
        assert np.all((lower <= low) & (lower >= low - 1e-5))
        assert np.all((upper >= high) & (upper <= high + 1e-5))


def test_the_bounding_box_is_infinite_where_the_polytope_is():
    lower, upper = bounding_box(PRISM)
    assert lower[2] == -np.inf
    assert upper[2] == np.inf
    assert lower[:2] == pytest.approx([0.0, 0.0], abs=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_points_of_a_polytope_lie_in_its_bounding_box(seed):
    rng = np.random.default_rng(seed)
    support = Polytope(rng.normal(size=(6, 3)), np.ones(6))
    points = rng.normal(size=(500, 3))
    points = points[support.contains(points)]
    lower, upper = bounding_box(support)
    assert len(points) > 10
    assert np.all((lower <= points) & (points <= upper))
