"""Facets and the adjacency graph: known counts, connectedness, thin cells."""

import math
from fractions import Fraction
from itertools import combinations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wdaverify.cells.audit import check_facets_paired
from wdaverify.cells.block import Block
from wdaverify.cells.cell import Listing
from wdaverify.cells.complex import CellComplex, enumerate_cells
from wdaverify.cells.dictionary.search import dictionary_blocks
from wdaverify.cells.graph import facets, neighbour
from wdaverify.errors import EnumerationError
from wdaverify.network import ReLUNetwork
from wdaverify.support import Box, Polytope


def random_network(sizes: tuple[int, ...], seed: int, *, bias: float = 1.0) -> ReLUNetwork:
    rng = np.random.default_rng(seed)
    weights = [rng.normal(size=shape) for shape in zip(sizes[1:], sizes[:-1], strict=True)]
    return ReLUNetwork(weights, [bias * rng.normal(size=size) for size in sizes[1:]])


def one_layer(W: list[list[float]], b: list[float]) -> ReLUNetwork:
    return ReLUNetwork([W, np.ones((2, len(b)))], [b, [0.0, 0.0]])


def facets_of_arrangement(n: int, m: int) -> int:
    """Each of m generic hyperplanes is cut by the others into an arrangement of its own."""
    return m * sum(math.comb(m - 1, k) for k in range(n))


def without(cells: CellComplex, lost: int) -> CellComplex:
    kept = [cell for k, cell in enumerate(cells) if k != lost]
    return CellComplex(cells.network, cells.support, cells.frame, kept)


@pytest.mark.parametrize("m", [1, 2, 3, 5, 8])
def test_m_generic_lines_have_m_squared_edges(m):
    graph = enumerate_cells(random_network((2, m, 2), seed=m)).graph
    assert graph.number_of_edges() == m**2


@pytest.mark.parametrize(("n", "m"), [(1, 6), (3, 4), (3, 6), (4, 5)])
def test_generic_hyperplanes_have_the_edges_of_their_restrictions(n, m):
    graph = enumerate_cells(random_network((n, m, 2), seed=m)).graph
    assert graph.number_of_edges() == facets_of_arrangement(n, m)


def test_lines_through_one_point_have_two_edges_each():
    graph = enumerate_cells(random_network((2, 5, 2), seed=0, bias=0.0)).graph
    assert graph.number_of_edges() == 10
    assert {degree for _, degree in graph.degree} == {2}


def test_a_grid_of_axis_parallel_lines():
    """``x, y ∈ {0, ½}`` in the unit box: a three by three chessboard with twelve edges."""
    network = one_layer([[1, 0], [1, 0], [0, 1], [0, 1]], [0.0, -0.5, 0.0, -0.5])
    graph = enumerate_cells(network, Box(-1.0, 1.0)).graph
    assert sorted(degree for _, degree in graph.degree) == [2, 2, 2, 2, 3, 3, 3, 3, 4]
    assert graph.number_of_edges() == 12


def same_hyperplane(row: list[float], other: list[float]) -> bool:
    """Whether ``(w, b)`` and ``(v, c)`` are proportional, over the rationals."""
    u, v = ([Fraction(value) for value in values] for values in (row, other))
    return all(a * d == b * c for a, b in zip(u, v, strict=True) for c, d in zip(u, v, strict=True))


def separated_by_one_hyperplane(cells: CellComplex) -> set[frozenset[int]]:
    """Pairs of cells of one layer whose signs differ in the copies of one hyperplane only."""
    W, b = cells.network.weights[0], cells.network.biases[0]
    rows = np.column_stack([W, b]).tolist()
    pairs = set()
    for i, j in combinations(range(len(cells)), 2):
        changed = np.flatnonzero(cells[i].pattern != cells[j].pattern).tolist()
        if all(same_hyperplane(rows[changed[0]], rows[k]) for k in changed):
            pairs.add(frozenset((i, j)))
    return pairs


def edges(cells: CellComplex) -> set[frozenset[int]]:
    return {frozenset(edge) for edge in cells.graph.edges}


@pytest.mark.parametrize("support", [Box(), Box(-1.0, 1.0), Box(0.0, np.inf)])
@pytest.mark.parametrize(("n", "m"), [(1, 5), (2, 6), (3, 5)])
@given(seed=st.integers(0, 10**6), grain=st.sampled_from([1, 2, 4, 2**20]))
@settings(deadline=None, max_examples=8, derandomize=True)
def test_neighbours_in_an_arrangement_are_separated_by_one_hyperplane(support, n, m, seed, grain):
    """Coarse weights: parallel, repeated and concurrent hyperplanes, some on the walls."""
    rng = np.random.default_rng(seed)
    W, b = np.round(grain * rng.normal(size=(m, n))) / grain, np.round(grain * rng.normal(size=m))
    W[0], b[0] = -2 * W[1], -2 * b[1]
    cells = enumerate_cells(one_layer(W.tolist(), (b / grain).tolist()), support)
    assert edges(cells) == separated_by_one_hyperplane(cells)


@pytest.mark.parametrize("sizes", [(1, 4, 3, 2), (2, 4, 3, 2), (3, 4, 2), (2, 3, 3, 3, 2)])
@pytest.mark.parametrize("support", [Box(), Box(-1.0, 1.0), Box(0.0, np.inf)])
@given(seed=st.integers(0, 10**6))
@settings(deadline=None, max_examples=3, derandomize=True)
def test_the_graph_is_connected_and_facets_are_paired(sizes, support, seed):
    cells = enumerate_cells(random_network(sizes, seed), support)
    check_facets_paired(cells)
    assert nx.is_connected(cells.graph)
    assert cells.graph.number_of_nodes() == len(cells)


def test_edges_name_the_neuron_between_two_cells():
    cells = enumerate_cells(random_network((2, 6, 2), seed=1))
    for a, b, neuron in cells.graph.edges(data="neuron"):
        changed = np.flatnonzero(cells[a].pattern != cells[b].pattern)
        assert changed.tolist() == [neuron]


def test_nodes_are_the_indices_of_the_cells():
    cells = enumerate_cells(random_network((2, 5, 2), seed=2))
    assert list(cells.graph.nodes) == list(range(len(cells)))


@pytest.mark.parametrize("seed", range(3))
def test_the_graph_is_that_of_facets_found_by_programs(seed):
    cells = enumerate_cells(random_network((3, 6, 4, 2), seed), Box(-1.0, 1.0))
    slowly = {
        frozenset((k, neighbour(cells, k, facet)))
        for k in range(len(cells))
        for facet in facets(cells, k)
    }
    assert {frozenset(edge) for edge in cells.graph.edges} == slowly


@pytest.mark.parametrize("support", [Box(), Box(-1.0, 1.0)])
def test_facet_points_lie_on_the_facet_and_point_outwards(support):
    cells = enumerate_cells(random_network((3, 4, 3, 2), seed=3), support)
    count = 0
    for k, cell in enumerate(cells):
        for facet in facets(cells, k):
            count += 1
            x = cells.frame.points(facet.point)
            z = cells.network.preactivations(x[None, :])[0, facet.neuron]
            assert z == pytest.approx(0.0, abs=1e-7)
            assert cell.contains(x[None, :], 1e-7)[0]
            outside = x + 0.5 * facet.room * facet.outward
            assert not cell.contains(outside[None, :])[0]
    assert count > len(cells)


def test_rows_that_are_no_facets_yield_none():
    """The corner x + y = 2 touches the box at a vertex; the cell has one cut, x = 0."""
    network = one_layer([[1.0, 0.0], [1.0, 1.0]], [0.0, -2.0])
    cells = enumerate_cells(network, Box(-1.0, 1.0))
    assert [[f.neuron for f in facets(cells, k)] for k in range(2)] == [[0], [0]]


def test_a_redundant_cut_is_no_facet():
    """Cut by x > 0 first, then by x > 1: beyond 1 the first row holds without touching."""
    network = one_layer([[1.0], [1.0]], [0.0, -1.0])
    line = enumerate_cells(network)
    found = Block.joined(list(dictionary_blocks(network, line.frame)))
    cells = CellComplex(network, line.support, line.frame, Listing(network, line.frame, found))
    last = cells.find(np.array([True, True]))
    assert cells[last].cuts.tolist() == [True, True]
    assert [facet.neuron for facet in facets(cells, last)] == [1]


@pytest.mark.parametrize("lost", range(9))
def test_the_graph_of_a_complex_with_a_hole_is_refused(lost):
    network = one_layer([[1, 0], [1, 0], [0, 1], [0, 1]], [0.0, -0.5, 0.0, -0.5])
    cells = enumerate_cells(network, Box(-1.0, 1.0))
    with pytest.raises(EnumerationError, match="a cell is missing"):
        _ = without(cells, lost).graph


def test_the_graph_in_the_plane_of_an_equality_row():
    """``x + y + z = 1`` cut by the three coordinate planes: three generic lines."""
    plane = Polytope([[1.0, 1.0, 1.0], [-1.0, -1.0, -1.0]], [1.0, -1.0])
    cells = enumerate_cells(one_layer(np.eye(3).tolist(), [0.0, 0.0, 0.0]), plane)
    assert len(cells) == 7
    assert cells.graph.number_of_edges() == 9


@pytest.mark.parametrize("support", [Box(), Box(0.0, np.inf), Box(-1.0, 1.0)])
def test_a_single_cell_has_a_graph_without_edges(support):
    graph = enumerate_cells(one_layer([[0.0, 0.0]], [1.0]), support).graph
    assert (graph.number_of_nodes(), graph.number_of_edges()) == (1, 0)


# thin, small and far cells -----------------------------------------------------------------


@pytest.mark.parametrize("width", [1e-3, 1e-6, 1e-8, 1e-10, 1e-11, 1e-13, 1e-16])
@pytest.mark.parametrize("support", [Box(), Box(-1.0, 1.0)])
def test_a_thin_strip_lies_between_its_neighbours(width, support):
    """x = 0 and x = −width: a path of three cells, whatever the width."""
    cells = enumerate_cells(one_layer([[1.0, 0.0], [1.0, 0.0]], [0.0, width]), support)
    right, strip, left = (cells.find(np.array(p, dtype=bool)) for p in ([1, 1], [0, 1], [0, 0]))
    assert edges(cells) == {
        frozenset((right, strip)),
        frozenset((strip, left)),
    }
    check_facets_paired(cells)


@pytest.mark.parametrize("size", [1e-4, 1e-7, 1e-9, 1e-12, 1e-15])
def test_a_small_triangle_has_three_neighbours(size):
    network = one_layer([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]], [size, size, size])
    cells = enumerate_cells(network, Box(-1.0, 1.0))
    triangle = cells.find(np.array([True, True, True]))
    assert cells.graph.degree[triangle] == 3
    assert cells.graph.number_of_edges() == 9


@pytest.mark.parametrize("small", [1e-3, 1e-9, 1e-19, 1e-22])
def test_breakpoints_far_out_are_facets(small):
    """Breakpoints 2 and 1/small on the line: a path of three cells."""
    cells = enumerate_cells(one_layer([[small], [1.0]], [-1.0, -2.0]))
    assert sorted(degree for _, degree in cells.graph.degree) == [1, 1, 2]
    check_facets_paired(cells)


@pytest.mark.parametrize("scale", [1e-12, 1e-6, 1e6])
def test_small_biases_shrink_the_arrangement_but_not_its_graph(scale):
    network = random_network((2, 4, 2), seed=4)
    first, last = network.biases
    shrunk = ReLUNetwork(network.weights, [scale * first, last])
    graph = enumerate_cells(shrunk).graph
    assert graph.number_of_edges() == 16
    assert nx.is_isomorphic(graph, enumerate_cells(network).graph)
