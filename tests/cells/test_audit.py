"""The audit passes on true complexes and catches every way to break one."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wdaverify.cells.audit import (
    audit,
    check_cells_nonempty,
    check_facets_paired,
    check_interiors_disjoint,
    check_points_covered,
)
from wdaverify.cells.complex import Cell, CellComplex, enumerate_cells
from wdaverify.errors import EnumerationError
from wdaverify.network import AffineMap, ReLUNetwork
from wdaverify.support import Box, Polytope, Support

CHECKS = {
    "nonempty": check_cells_nonempty,
    "disjoint": check_interiors_disjoint,
    "covered": check_points_covered,
    "paired": check_facets_paired,
}


def random_network(sizes: tuple[int, ...], seed: int, slope: float = 0.0) -> ReLUNetwork:
    rng = np.random.default_rng(seed)
    weights = [rng.normal(size=shape) for shape in zip(sizes[1:], sizes[:-1], strict=True)]
    biases = [rng.normal(size=size) for size in sizes[1:]]
    return ReLUNetwork(weights, biases, [np.full(size, slope) for size in sizes[1:-1]])


def one_layer(W: list[list[float]], b: list[float]) -> ReLUNetwork:
    return ReLUNetwork([W, np.ones((2, len(b)))], [b, [0.0, 0.0]])


CHESSBOARD = one_layer([[1, 0], [1, 0], [0, 1], [0, 1]], [0.0, -0.5, 0.0, -0.5])
SQUARE = Box(-1.0, 1.0)


@pytest.fixture(scope="module")
def cells() -> CellComplex:
    """Nine cells of the box [−1, 1]², cut at 0 and ½ in both directions."""
    return enumerate_cells(CHESSBOARD, SQUARE)


def rebuilt(cells: CellComplex, changed: list[Cell]) -> CellComplex:
    return CellComplex(cells.network, cells.support, cells.frame, changed)


def with_cell(cells: CellComplex, index: int, **changes: object) -> CellComplex:
    copies = list(cells)
    copies[index] = replace(copies[index], **changes)
    return rebuilt(cells, copies)


def complaints(cells: CellComplex) -> set[str]:
    """Names of the checks that refuse a complex."""
    refused = set()
    for name, check in CHECKS.items():
        try:
            check(cells)
        except EnumerationError:
            refused.add(name)
    return refused


# true complexes ----------------------------------------------------------------------------

BOXES = {"space": Box(), "box": Box(-1.0, 1.0), "orthant": Box(0.0, np.inf)}
SUPPORTS = (*BOXES, "simplex")


def support_named(name: str, n: int) -> Support:
    simplex = Polytope(np.vstack([-np.eye(n), np.ones(n)]), np.ones(n + 1))
    return BOXES.get(name, simplex)


@pytest.mark.parametrize("slope", [0.0, 0.25])
@pytest.mark.parametrize("support", SUPPORTS)
@given(seed=st.integers(0, 10**6), sizes=st.sampled_from([(1, 4, 2), (2, 4, 3, 2), (3, 4, 2)]))
@settings(deadline=None, max_examples=4, derandomize=True)
def test_a_true_complex_passes(support, slope, seed, sizes):
    audit(
        enumerate_cells(random_network(sizes, seed, slope), support_named(support, sizes[0])),
        samples=200,
    )


DEGENERATE = {
    "no bias": one_layer([[1.0, 2.0], [3.0, -1.0], [0.5, 0.5]], [0.0, 0.0, 0.0]),
    "duplicates": one_layer([[1.0, 2.0], [1.0, 2.0], [-1.0, -2.0]], [0.3, 0.3, -0.3]),
    "dead": one_layer([[0.0, 0.0], [1.0, 1.0]], [-1.0, 0.0]),
    "zero": one_layer([[0.0, 0.0], [1.0, 1.0]], [0.0, 0.0]),
    "wall": one_layer([[1.0, 0.0], [1.0, 1.0]], [-1.0, 0.0]),
    "pass": ReLUNetwork([np.eye(2), np.eye(2)], [[0.0, 0.0], [0.0, 0.0]], [[1.0, 0.0]]),
    "tiny rows": one_layer([[1e-22, 2e-22], [1.0, -1.0]], [3e-23, 0.1]),
    "thin strip": one_layer([[1.0, 0.0], [1.0, 0.0]], [0.0, 1e-12]),
    "small triangle": one_layer([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]], [1e-12] * 3),
}


@pytest.mark.parametrize("network", list(DEGENERATE.values()), ids=list(DEGENERATE))
def test_a_true_complex_of_a_degenerate_network_passes(network):
    audit(enumerate_cells(network, SQUARE), samples=200)


@pytest.mark.parametrize(
    "support",
    [
        Box([0.25, -1.0], [0.25, 1.0]),
        Box(0.25, 0.25),
        Polytope([[1.0, 2.0], [-1.0, -2.0], [1.0, 0.0], [-1.0, 0.0]], [0.5, -0.5, 1.0, 1.0]),
        Polytope([[1.0, 1.0], [-1.0, -1.0]], [1.0, -1.0]),
    ],
)
def test_a_true_complex_of_a_flat_support_passes(support: Support):
    audit(enumerate_cells(CHESSBOARD, support), samples=200)


# broken complexes --------------------------------------------------------------------------


@pytest.mark.parametrize("lost", range(9))
def test_a_lost_cell_is_caught(cells, lost):
    broken = rebuilt(cells, [cell for k, cell in enumerate(cells) if k != lost])
    assert complaints(broken) == {"covered", "paired"}
    with pytest.raises(EnumerationError, match="lies in no cell"):
        check_points_covered(broken)
    with pytest.raises(EnumerationError, match="a cell is missing"):
        check_facets_paired(broken)


@pytest.mark.parametrize("lost", [0, 5, 9])
def test_a_lost_cell_of_the_whole_space_is_caught(lost):
    whole = enumerate_cells(random_network((3, 5, 2), 1))
    broken = rebuilt(whole, [cell for k, cell in enumerate(whole) if k != lost])
    assert "paired" in complaints(broken)


@pytest.mark.parametrize("twice", [0, 4, 8])
def test_a_duplicated_cell_is_caught(cells, twice):
    broken = rebuilt(cells, [*cells, cells[twice]])
    with pytest.raises(EnumerationError, match=f"cells {twice} and 9 have the same"):
        check_interiors_disjoint(broken)
    with pytest.raises(EnumerationError, match="more than one cell"):
        check_points_covered(broken)


@pytest.mark.parametrize("other", [1, 4, 8])
def test_an_interior_point_in_another_cell_is_caught(cells, other):
    broken = with_cell(cells, 0, interior=cells[other].interior)
    with pytest.raises(EnumerationError, match="cell 0: its interior point violates a row"):
        check_cells_nonempty(broken)
    with pytest.raises(EnumerationError, match="overlap"):
        check_interiors_disjoint(broken)


@pytest.mark.parametrize("index", range(9))
def test_an_interior_point_outside_the_support_is_caught(cells, index):
    outwards = 9.0 * np.sign(cells[index].interior - 0.25 + 1e-9)
    broken = with_cell(cells, index, interior=cells[index].interior + outwards)
    assert "nonempty" in complaints(broken)


def test_an_interior_point_on_the_boundary_of_its_cell_is_no_lie(cells):
    """A point too close to decide is decided over the rationals: the cell is not empty."""
    index = cells.find(np.array([False, False, False, False]))
    on_the_line = np.array([0.0, -0.5])
    check_cells_nonempty(with_cell(cells, index, interior=on_the_line))


@pytest.mark.parametrize("neuron", range(4))
@pytest.mark.parametrize("index", range(9))
def test_a_flipped_sign_is_caught(cells, index, neuron):
    pattern = cells[index].pattern.copy()
    pattern[neuron] = ~pattern[neuron]
    broken = with_cell(cells, index, pattern=pattern)
    with pytest.raises(EnumerationError, match="another pattern"):
        check_cells_nonempty(broken)


def half_spaces(cell: Cell, change: Callable[[AffineMap], AffineMap]) -> AffineMap:
    return change(AffineMap(cell.half_spaces.matrix.copy(), cell.half_spaces.offset.copy()))


@pytest.mark.parametrize("index", range(9))
def test_a_cell_that_is_too_small_is_caught(cells, index):
    """Every row moved halfway towards the interior point: it stays inside, points are lost."""
    cell = cells[index]
    slack = cell.half_spaces.offset - cell.half_spaces.matrix @ cell.interior
    shrunk = half_spaces(cell, lambda rows: AffineMap(rows.matrix, rows.offset - slack / 2))
    broken = with_cell(cells, index, half_spaces=shrunk)
    with pytest.raises(EnumerationError, match="lies in no cell"):
        check_points_covered(broken)


@pytest.mark.parametrize("index", range(9))
def test_a_cell_that_is_too_large_is_caught(cells, index):
    grown = half_spaces(cells[index], lambda rows: AffineMap(rows.matrix, rows.offset + 0.1))
    broken = with_cell(cells, index, half_spaces=grown)
    with pytest.raises(EnumerationError, match="more than one cell"):
        check_points_covered(broken)


@pytest.mark.parametrize("index", range(9))
def test_a_reversed_half_space_is_caught(cells, index):
    def reverse(rows: AffineMap) -> AffineMap:
        rows.matrix[0] *= -1
        rows.offset[0] *= -1
        return rows

    broken = with_cell(cells, index, half_spaces=half_spaces(cells[index], reverse))
    with pytest.raises(EnumerationError, match="violates a row"):
        check_cells_nonempty(broken)


@pytest.mark.parametrize("index", range(9))
def test_a_cell_without_half_spaces_is_caught(cells, index):
    empty = AffineMap(np.zeros((0, 2)), np.zeros(0))
    broken = with_cell(cells, index, half_spaces=empty)
    with pytest.raises(EnumerationError, match="overlap"):
        check_interiors_disjoint(broken)


@pytest.mark.parametrize("index", range(9))
def test_a_missing_cut_is_caught(cells, index):
    """The facet on the dropped neuron is not offered any more: its neighbour notices."""
    cut = int(np.flatnonzero(cells[index].cuts)[-1])
    cuts = cells[index].cuts.copy()
    cuts[cut] = False
    broken = with_cell(cells, index, cuts=cuts)
    with pytest.raises(EnumerationError, match=r"not conversely|a cell is missing"):
        check_facets_paired(broken)


def test_an_empty_cell_is_caught(cells):
    """A pattern that no point has, with rows and a point of its own invention."""
    impossible = np.array([False, True, False, False])  # x < 0 and x > ½
    invented = replace(
        cells[0],
        pattern=impossible,
        cuts=np.array([True, True, False, False]),
        interior=np.array([0.25, -0.5]),
        half_spaces=AffineMap(np.zeros((0, 2)), np.zeros(0)),
    )
    assert "nonempty" in complaints(rebuilt(cells, [*cells, invented]))


@pytest.mark.parametrize("index", [0, 4])
def test_a_wrong_affine_map_is_caught(cells, index):
    J, c = cells[index].affine_map
    broken = with_cell(cells, index, affine_map=AffineMap(J, c + 1.0))
    with pytest.raises(EnumerationError):
        audit(broken)


def test_the_audit_runs_every_check(cells):
    audit(cells)
    lost = rebuilt(cells, list(cells)[1:])
    twice = rebuilt(cells, [*cells, cells[0]])
    moved = with_cell(cells, 0, interior=cells[1].interior)
    missing = with_cell(cells, 0, cuts=np.zeros(4, dtype=bool))
    for broken in (lost, twice, moved, missing):
        with pytest.raises(EnumerationError):
            audit(broken)


@pytest.mark.parametrize("seed", range(5))
def test_a_hole_is_seen_whatever_the_seed(cells, seed):
    broken = rebuilt(cells, list(cells)[:-1])
    with pytest.raises(EnumerationError, match="no cell"):
        check_points_covered(broken, samples=1000, seed=seed)
