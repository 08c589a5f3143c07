"""Vertices, volumes and balls of cells: closed forms, sums of volumes, and a second way."""

import math
from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest

from wdaverify.cells import geometry
from wdaverify.cells.complex import CellComplex, enumerate_cells
from wdaverify.cells.corners import corners_of
from wdaverify.cells.geometry import Geometry
from wdaverify.cells.polygon import polygon_of
from wdaverify.errors import UnsupportedError
from wdaverify.network import AffineMap, ReLUNetwork
from wdaverify.rational import rationals
from wdaverify.support import Box, Polytope, Support


def random_network(sizes: tuple[int, ...], seed: int) -> ReLUNetwork:
    rng = np.random.default_rng(seed)
    weights = [rng.normal(size=shape) for shape in zip(sizes[1:], sizes[:-1], strict=True)]
    return ReLUNetwork(weights, [rng.normal(size=size) for size in sizes[1:]])


def one_layer(W: list[list[float]], b: list[float]) -> ReLUNetwork:
    return ReLUNetwork([W, np.ones((2, len(b)))], [b, [0.0, 0.0]])


def one_cell(support: Support, n: int) -> Geometry:
    return Geometry(enumerate_cells(one_layer(np.zeros((1, n)).tolist(), [1.0]), support))


def simplex(n: int) -> Polytope:
    return Polytope(np.vstack([-np.eye(n), np.ones((1, n))]), np.append(np.zeros(n), 1.0))


def cross_polytope(n: int) -> Polytope:
    signs = np.array(np.meshgrid(*[[-1.0, 1.0]] * n)).reshape(n, -1).T
    return Polytope(signs, np.ones(len(signs)))


def brute_force(G: np.ndarray, h: np.ndarray) -> np.ndarray:
    """Vertices as intersections of d rows that violate no other."""
    d, found = G.shape[1], []
    for rows in combinations(range(len(h)), d):
        matrix = G[list(rows)]
        if abs(np.linalg.det(matrix)) < 1e-9:
            continue
        point = np.linalg.solve(matrix, h[list(rows)])
        if np.all(G @ point <= h + 1e-9) and not any(np.allclose(point, p, 0, 1e-7) for p in found):
            found.append(point)
    return np.array(found)


def same_points(left: np.ndarray, right: np.ndarray, tolerance: float = 1e-7) -> bool:
    apart = np.abs(left[:, None] - right[None]).max(axis=2)
    return len(left) == len(right) and bool(np.all(apart.min(axis=1) <= tolerance))


# closed forms ------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_a_box(n):
    shape = one_cell(Box(-1.0, 2.0), n).shape(0)
    assert (len(shape.vertices), shape.facets) == (2**n, 2 * n)
    assert shape.volume == pytest.approx(3.0**n, rel=1e-12)
    assert one_cell(Box(-1.0, 2.0), n).ball(0).radius == pytest.approx(1.5)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_a_simplex(n):
    measured = one_cell(simplex(n), n)
    shape = measured.shape(0)
    assert (len(shape.vertices), shape.facets) == (n + 1, n + 1 if n > 1 else 2)
    assert shape.volume == pytest.approx(1 / math.factorial(n), rel=1e-12)
    assert measured.support_volume == pytest.approx(1 / math.factorial(n), rel=1e-12)
    assert measured.ball(0).radius == pytest.approx(1 / (n + math.sqrt(n)))


@pytest.mark.parametrize("n", [2, 3, 4])
def test_a_cross_polytope_has_vertices_on_many_facets(n):
    shape = one_cell(cross_polytope(n), n).shape(0)
    assert (len(shape.vertices), shape.facets) == (2 * n, 2**n)
    assert shape.volume == pytest.approx(2.0**n / math.factorial(n), rel=1e-12)


def test_a_triangle_in_a_plane_has_its_own_area():
    """``x + y + z = 1`` in the positive octant: side √2, area √3/2."""
    plane = Polytope([[1.0, 1.0, 1.0], [-1.0, -1.0, -1.0], *-np.eye(3)], [1.0, -1.0, 0.0, 0.0, 0.0])
    measured = one_cell(plane, 3)
    assert measured.shape(0).volume == pytest.approx(math.sqrt(3) / 2, rel=1e-12)
    assert measured.support_volume == pytest.approx(math.sqrt(3) / 2, rel=1e-12)
    assert measured.ball(0).radius == pytest.approx(1 / math.sqrt(6))
    assert same_points(measured.shape(0).vertices, np.eye(3))


@pytest.mark.parametrize("width", [1e-3, 1e-8, 1e-13, 1e-40])
@pytest.mark.parametrize("n", [2, 3])
def test_a_thin_slab_keeps_its_relative_accuracy(width, n):
    row = [1.0] + [0.0] * (n - 1)
    cells = enumerate_cells(one_layer([row, row], [0.0, width]), Box(-1.0, 1.0))
    measured, slab = Geometry(cells), cells.find(np.array([False, True]))
    assert measured.shape(slab).volume == pytest.approx(width * 2.0 ** (n - 1), rel=1e-9)
    assert measured.ball(slab).radius == pytest.approx(width / 2, rel=1e-9)


@pytest.mark.parametrize("size", [1e-9, 1e-20])
def test_a_small_triangle(size):
    network = one_layer([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]], [size, size, size])
    cells = enumerate_cells(network, Box(-1.0, 1.0))
    triangle = cells.find(np.array([True, True, True]))
    measured = Geometry(cells)
    assert measured.shape(triangle).volume == pytest.approx(4.5 * size**2, rel=1e-9)
    assert measured.ball(triangle).radius == pytest.approx(3 * size / (2 + math.sqrt(2)), rel=1e-9)


# random networks ---------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [(1, 6, 4, 2), (2, 7, 5, 2), (3, 6, 4, 2), (4, 5, 3, 2)])
@pytest.mark.parametrize("support", [Box(-1.0, 1.0), "cross"])
def test_volumes_of_all_cells_add_up_to_the_support(sizes, support):
    support = cross_polytope(sizes[0]) if support == "cross" else support
    cells = enumerate_cells(random_network(sizes, 1), support)
    measured = Geometry(cells)
    volumes = [measured.shape(k).volume for k in range(len(cells))]
    assert math.fsum(volumes) == pytest.approx(measured.support_volume, rel=1e-9)
    lost = math.fsum(volumes[1:])
    assert lost != pytest.approx(measured.support_volume, rel=1e-9)


def test_the_volume_of_a_cell_is_the_share_of_random_points_in_it():
    network = random_network((3, 5, 3, 2), 4)
    cells = enumerate_cells(network, Box(-1.0, 1.0))
    points = np.random.default_rng(0).uniform(-1, 1, size=(40_000, 3))
    counts = np.bincount(np.array(cells.locate(points)), minlength=len(cells))
    volumes = np.array([Geometry(cells).shape(k).volume for k in range(len(cells))])
    assert np.abs(counts / len(points) - volumes / 8.0).max() < 0.01


@pytest.mark.parametrize("sizes", [(2, 5, 4, 2), (3, 4, 3, 2), (4, 3, 2)])
def test_vertices_and_facets_against_brute_force(sizes):
    cells = enumerate_cells(random_network(sizes, 2), Box(-1.0, 1.0))
    measured = Geometry(cells)
    for k, cell in enumerate(cells):
        rows = cells.support.rows
        G = np.concatenate([rows.matrix, cell.half_spaces.matrix])
        h = np.concatenate([rows.offset, cell.half_spaces.offset])
        expected, shape = brute_force(G, h), measured.shape(k)
        assert same_points(shape.vertices, expected)
        tight = np.abs(expected @ G.T - h) < 1e-8
        spanning = {column.tobytes() for column in tight.T if column.sum() >= sizes[0]}
        assert shape.facets == len(spanning)


@pytest.mark.parametrize("cross", [False, True])
@pytest.mark.parametrize("sizes", [(3, 6, 3, 2), (4, 3, 3, 2)])
def test_qhull_and_rational_arithmetic_agree(sizes, cross, monkeypatch):
    support = cross_polytope(sizes[0]) if cross else Box(-1.0, 1.0)
    cells = enumerate_cells(random_network(sizes, 3), support)
    fast = Geometry(cells)
    shapes = [(fast.shape(k), fast.ball(k)) for k in range(len(cells))]
    monkeypatch.setattr(geometry, "THIN", math.inf)
    for k, (shape, ball) in enumerate(shapes):
        exact = fast.shape(k)
        assert same_points(shape.vertices, exact.vertices)
        assert shape.facets == exact.facets
        assert shape.volume == pytest.approx(exact.volume, rel=1e-9)
        assert ball.radius == pytest.approx(fast.ball(k).radius, rel=1e-6)


def test_balls_lie_inside_and_touch():
    cells = enumerate_cells(random_network((3, 5, 4, 2), 5), Box(-1.0, 1.0))
    measured = Geometry(cells)
    for k, cell in enumerate(cells):
        centre, radius = measured.ball(k)
        G, h = cell.half_spaces
        room = np.concatenate([h - G @ centre, 1.0 - np.abs(centre)])
        assert room.min() == pytest.approx(radius, rel=1e-6)
        assert np.sum(room < radius * (1 + 1e-5)) >= 2


def test_a_redundant_row_does_not_change_corners_and_a_cutting_one_does():
    square = np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1], [1, 1]])
    for last, volume in ((2.0, 4), (3.0, 4), (1.0, 3.5)):
        found = corners_of(rationals(square), rationals(np.array([1.0, 1, 1, 1, last])), 1)
        assert found.volume == volume


def test_rows_that_are_there_twice_make_no_corners_of_their_own():
    """The unit cube, every row doubled, without the corner beyond ``x + y + z = 5/2``."""
    rows = np.vstack([np.eye(3), 2 * np.eye(3), -np.eye(3), -np.eye(3), np.ones((1, 3))])
    found = corners_of(rationals(rows), rationals(np.repeat([1, 2, 0, 0, 2.5], [3, 3, 3, 3, 1])), 1)
    assert (len(found.points), found.facets) == (10, 7)
    assert found.volume == 1 - Fraction(1, 48)


def test_bounded_cells_of_an_unbounded_support():
    cells = enumerate_cells(random_network((2, 6, 2), 6))
    measured = Geometry(cells)
    bounded = np.flatnonzero(cells.bounded)
    assert 0 < len(bounded) < len(cells)
    for k in bounded:
        G, h = cells[int(k)].half_spaces
        assert same_points(measured.shape(int(k)).vertices, brute_force(G, h))
    with pytest.raises(UnsupportedError, match="unbounded"):
        measured.shape(int(np.flatnonzero(~cells.bounded)[0]))


def test_five_dimensions_are_refused_but_for_the_ball():
    measured = one_cell(Box(0.0, 1.0), 5)
    assert measured.ball(0).radius == pytest.approx(0.5)
    with pytest.raises(UnsupportedError, match="1 to 4 dimensions, found 5"):
        measured.shape(0)


# polygons ----------------------------------------------------------------------------------


def test_polygons_of_cells_tile_the_square():
    cells = enumerate_cells(random_network((2, 8, 6, 2), 7), Box(-1.0, 1.0))
    low, high = np.full(2, -1.0), np.full(2, 1.0)
    polygons = [polygon_of(cell.half_spaces, low, high) for cell in cells]
    assert math.fsum(p.area for p in polygons) == pytest.approx(4.0, rel=1e-12)
    for k, polygon in enumerate(polygons):
        shape = Geometry(cells).shape(k)
        assert same_points(polygon.corners, shape.vertices)
        assert polygon.area == pytest.approx(shape.volume, rel=1e-9)


def test_sides_know_their_rows():
    rows = AffineMap(np.array([[1.0, 1.0], [1.0, 0.0]]), np.array([0.0, 5.0]))
    polygon = polygon_of(rows, -np.ones(2), np.ones(2))
    following = np.roll(polygon.corners, -1, axis=0)
    on = [np.allclose((a + b).sum(), 0) for a, b in zip(polygon.corners, following, strict=True)]
    assert [side == 0 for side in polygon.sides] == on
    assert sum(on) == 1


def test_nothing_is_left_of_a_polygon_beyond_its_rectangle():
    rows = AffineMap(np.array([[1.0, 0.0]]), np.array([-2.0]))
    polygon = polygon_of(rows, -np.ones(2), np.ones(2))
    assert (len(polygon.corners), polygon.area) == (0, 0.0)


def test_a_complex_is_measured_together_with_its_support():
    """The quarter of a square that lies right of and above its centre."""
    cells = enumerate_cells(one_layer([[1.0, 0.0], [0.0, 1.0]], [0.0, 0.0]), Box(-1.0, 1.0))
    quarter = cells.find(np.array([True, True]))
    assert isinstance(cells, CellComplex)
    assert Geometry(cells).shape(quarter).volume == 1.0
