"""Enumeration in general position: known counts, the exact reference, and what a cell says."""

import math
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.cells import reference_patterns

from wdaverify.arrays import Floats
from wdaverify.cells.complex import CellComplex, enumerate_cells
from wdaverify.errors import LimitReached, ProblemError
from wdaverify.limits import Limits
from wdaverify.network import ReLUNetwork
from wdaverify.rational import ExactNetwork, rationals
from wdaverify.support import Box, Polytope, Support

FEW = settings(deadline=None, max_examples=25, derandomize=True)


def random_network(sizes: tuple[int, ...], seed: int, *, bias: float = 1.0) -> ReLUNetwork:
    rng = np.random.default_rng(seed)
    weights = [rng.normal(size=shape) for shape in zip(sizes[1:], sizes[:-1], strict=True)]
    return ReLUNetwork(weights, [bias * rng.normal(size=size) for size in sizes[1:]])


def simplex(n: int) -> Polytope:
    """``x >= −1, Σ x <= 1``."""
    return Polytope(np.vstack([-np.eye(n), np.ones(n)]), np.ones(n + 1))


BOXES = {"space": Box(), "box": Box(-1.0, 1.0), "orthant": Box(0.0, np.inf)}
SUPPORTS = (*BOXES, "simplex", "half-space")


def support_named(name: str, n: int) -> Support:
    polytopes = {"simplex": simplex(n), "half-space": Polytope(np.ones((1, n)), np.ones(1))}
    return (BOXES | polytopes)[name]


def found(cells: CellComplex) -> set[tuple[int, ...]]:
    patterns = {tuple(map(int, cell.pattern)) for cell in cells}
    assert len(patterns) == len(cells)
    return patterns


def expected(network: ReLUNetwork, support: Support) -> set[tuple[int, ...]]:
    A, b = support.bind(network.features).rows
    return reference_patterns(network.weights, network.biases, -np.inf, np.inf, A, b)


def exact_pattern(network: ReLUNetwork, point: Floats) -> list[bool]:
    """Signs over the rationals at a float64 point."""
    x, pattern = rationals(point), []
    exact = ExactNetwork(network)
    for k in range(len(network.widths)):
        J, c = exact.layer(k, np.array(pattern, dtype=bool))
        pattern += [bool(v > 0) for v in J @ x + c]
    return pattern


def points_of(support: Support, n: int, seed: int, count: int = 300) -> Floats:
    points = 1.5 * np.random.default_rng(seed).normal(size=(count, n))
    return points[support.bind(n).contains(points)]


# known counts ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "m"), [(1, 1), (1, 6), (2, 3), (2, 8), (3, 4), (3, 6), (4, 5), (3, 2)]
)
def test_hyperplanes_in_general_position_cut_space_as_zaslavsky_says(n, m):
    cells = enumerate_cells(random_network((n, m, 2), seed=n + m))
    assert len(cells) == sum(math.comb(m, k) for k in range(n + 1))


@pytest.mark.parametrize(("n", "m"), [(1, 5), (2, 1), (2, 7), (3, 5), (4, 5)])
def test_without_biases_the_arrangement_is_central(n, m):
    cells = enumerate_cells(random_network((n, m, 2), seed=n * m, bias=0.0))
    assert len(cells) == 2 * sum(math.comb(m - 1, k) for k in range(n))


@pytest.mark.parametrize(("n", "m"), [(1, 5), (2, 3), (2, 7), (3, 6)])
def test_bounded_cells_are_those_of_the_arrangement(n, m):
    cells = enumerate_cells(random_network((n, m, 2), seed=n + m))
    assert int(cells.bounded.sum()) == math.comb(m - 1, n)


def test_cones_are_never_bounded_and_cells_of_a_box_always_are():
    network = random_network((2, 5, 2), seed=3, bias=0.0)
    assert not enumerate_cells(network).bounded.any()
    assert enumerate_cells(network, Box(-1.0, 1.0)).bounded.all()


def test_boundedness_of_a_half_bounded_support():
    """Lines x = 1, 2 in the strip 0 <= y <= 1: only the middle cell is bounded."""
    network = ReLUNetwork([[[1.0, 0.0], [1.0, 0.0]], np.ones((2, 2))], [[-1.0, -2.0], [0.0, 0.0]])
    cells = enumerate_cells(network, Box([-np.inf, 0.0], [np.inf, 1.0]))
    middle = cells.find(np.array([True, False]))
    assert [k for k, bounded in enumerate(cells.bounded) if bounded] == [middle]


@pytest.mark.parametrize("support", [Box(), Box(0.0, np.inf), simplex(2)])
def test_a_complex_of_one_cell_knows_whether_it_is_bounded(support):
    """A neuron that never splits leaves one cell without any half-space of its own."""
    network = ReLUNetwork([[[0.0, 0.0]], [[1.0], [2.0]]], [[1.0], [0.0, 0.0]])
    cells = enumerate_cells(network, support)
    assert len(cells) == 1
    assert cells.bounded.tolist() == [isinstance(support, Polytope)]


# the reference -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sizes", [(1, 5, 2), (2, 5, 2), (3, 4, 2), (4, 3, 2), (2, 3, 3, 2), (3, 3, 2, 2)]
)
@pytest.mark.parametrize("support", SUPPORTS)
@given(seed=st.integers(0, 10**6))
@settings(deadline=None, max_examples=6, derandomize=True)
def test_patterns_are_those_of_the_exact_reference(sizes, support, seed):
    network, where = random_network(sizes, seed), support_named(support, sizes[0])
    assert found(enumerate_cells(network, where)) == expected(network, where)


def test_three_hidden_layers_are_those_of_the_exact_reference():
    network = random_network((2, 3, 3, 3, 2), seed=1)
    assert found(enumerate_cells(network)) == expected(network, Box())


def test_the_reference_tells_other_supports_and_networks_apart():
    """Companion: the sets that are compared above do change with the question."""
    network, other = random_network((2, 5, 2), 0), random_network((2, 5, 2), 1)
    assert expected(network, Box()) != expected(network, Box(-1.0, 1.0))
    assert expected(network, Box()) != expected(other, Box())


@pytest.mark.parametrize("support", SUPPORTS)
@given(seed=st.integers(0, 10**6))
@FEW
def test_the_pattern_of_every_point_is_found(support, seed):
    network, where = random_network((3, 5, 3, 2), seed), support_named(support, 3)
    cells = enumerate_cells(network, where)
    points = points_of(where, 3, seed)
    assert None not in cells.locate(points)
    assert len(points) > 5


# what a cell says --------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [(2, 6, 2), (3, 4, 3, 2)])
@pytest.mark.parametrize("support", SUPPORTS)
def test_interior_points_have_the_pattern_of_their_cell_exactly(sizes, support):
    network, where = random_network(sizes, 5), support_named(support, sizes[0]).bind(sizes[0])
    for cell in enumerate_cells(network, where):
        assert exact_pattern(network, cell.interior) == cell.pattern.tolist()
        A, b = where.rows
        assert all(rationals(A) @ rationals(cell.interior) < rationals(b))


@pytest.mark.parametrize("sizes", [(2, 6, 2), (2, 4, 3, 2), (3, 4, 3, 2)])
@pytest.mark.parametrize("support", SUPPORTS)
def test_half_spaces_describe_the_cell(sizes, support):
    """A point of the support satisfies them exactly if its own pattern is the cell's."""
    network, where = random_network(sizes, 6), support_named(support, sizes[0])
    cells = enumerate_cells(network, where)
    points = points_of(where, sizes[0], 7)
    patterns = np.array([exact_pattern(network, x) for x in points])
    for cell in cells:
        own = np.all(patterns == cell.pattern, axis=1)
        assert np.array_equal(cell.contains(points), own)


@pytest.mark.parametrize("support", SUPPORTS)
def test_half_spaces_are_unit_rows_of_the_cuts(support):
    cells = enumerate_cells(random_network((3, 4, 3, 2), 8), support_named(support, 3))
    for cell in cells:
        G, h = cell.half_spaces
        assert G.shape == (int(cell.cuts.sum()), 3)
        assert np.linalg.norm(G, axis=1) == pytest.approx(np.ones(len(G)))
        assert np.all(G @ cell.interior < h)


@pytest.mark.parametrize("slope", [0.0, 0.25])
def test_the_affine_map_is_the_network_on_the_cell(slope):
    network = random_network((3, 4, 3, 2), 9)
    leaky = ReLUNetwork(network.weights, network.biases, [np.full(4, slope), np.full(3, slope)])
    cells = enumerate_cells(leaky, Box(-2.0, 2.0))
    points = np.random.default_rng(0).uniform(-2, 2, size=(200, 3))
    for x, k in zip(points, cells.locate(points), strict=True):
        J, c = cells[k].affine_map
        assert J @ x + c == pytest.approx(leaky.logits(x[None, :])[0], abs=1e-12)


def test_a_complex_is_a_sequence_that_finds_patterns():
    network = random_network((2, 4, 2), 10)
    cells = enumerate_cells(network)
    assert cells.patterns.shape == (len(cells), 4)
    assert [cells.find(cell.pattern) for cell in cells] == list(range(len(cells)))
    assert [c.pattern.tolist() for c in cells[1:3]] == cells.patterns[1:3].tolist()
    assert "11 cells, the whole space" in repr(cells)


def test_a_pattern_without_cell_is_not_found():
    """Of three lines in general position one of the eight patterns is missing."""
    cells = enumerate_cells(random_network((2, 3, 2), 11))
    every = [np.array([k & 1, k & 2, k & 4], dtype=bool) for k in range(8)]
    assert [cells.find(pattern) for pattern in every].count(None) == 1


def test_a_network_without_hidden_layer_has_one_cell():
    cells = enumerate_cells(ReLUNetwork([np.eye(2)], [np.zeros(2)]), Box(-1.0, 1.0))
    assert len(cells) == 1
    assert cells[0].pattern.shape == (0,)
    assert cells[0].half_spaces.matrix.shape == (0, 2)
    assert cells.bounded.tolist() == [True]


def test_the_order_of_cells_is_reproducible():
    network = random_network((3, 5, 2), 12)
    assert np.array_equal(enumerate_cells(network).patterns, enumerate_cells(network).patterns)


@pytest.mark.parametrize("scale", [1e-9, 1e-6, 1e3, 1e6])
def test_units_of_the_input_do_not_matter(scale):
    """Data in other units: weights divided, support multiplied by the same power of two."""
    factor = 2.0 ** round(math.log2(scale))
    network = random_network((2, 4, 3, 2), 13)
    first, *rest = network.weights
    other = ReLUNetwork([first / factor, *rest], network.biases)
    unit, scaled = Box(-1.0, 1.0), Box(-factor, factor)
    assert found(enumerate_cells(other, scaled)) == found(enumerate_cells(network, unit))


@pytest.mark.parametrize("factor", [2.0**-30, 2.0**-70, 2.0**30])
def test_rescaled_neurons_give_the_same_cells(factor):
    """Positive homogeneity: a neuron scaled by c and its outgoing weights by 1/c."""
    network = random_network((2, 3, 3, 2), 14)
    W, b = [np.array(w) for w in network.weights], [np.array(v) for v in network.biases]
    W[0][1] *= factor
    b[0][1] *= factor
    W[1][:, 1] /= factor
    assert found(enumerate_cells(ReLUNetwork(W, b))) == found(enumerate_cells(network))


# limits ------------------------------------------------------------------------------------


def test_more_cells_than_the_limit_are_refused_with_the_number():
    network = random_network((2, 4, 2), 10)
    with pytest.raises(LimitReached, match="more than 7 cells"):
        enumerate_cells(network, limits=Limits(cells=7))
    assert len(enumerate_cells(network, limits=Limits(cells=11))) == 11


def test_the_time_limit_is_named():
    with pytest.raises(LimitReached, match="time limit of 0 s"):
        enumerate_cells(random_network((2, 4, 2), 10), limits=Limits(seconds=0.0))


def test_the_memory_limit_is_named():
    with pytest.raises(LimitReached, match=r"memory limit of 0\.001 GB"):
        enumerate_cells(random_network((2, 4, 2), 10), limits=Limits(gigabytes=0.001))


def test_the_work_can_be_stopped_from_outside():
    stop = threading.Event()

    def stop_at_three(count: int) -> None:
        if count >= 3:
            stop.set()

    with pytest.raises(LimitReached, match="interrupted"):
        enumerate_cells(
            random_network((2, 4, 2), 10), limits=Limits(stop=stop), progress=stop_at_three
        )


def test_progress_counts_the_cells():
    counts: list[int] = []
    cells = enumerate_cells(random_network((2, 4, 2), 10), progress=counts.append)
    assert counts == sorted(counts)
    assert counts[-1] == len(cells)


def test_a_support_of_another_dimension_is_refused():
    with pytest.raises(ProblemError, match=r"shape \(2,\)"):
        enumerate_cells(random_network((2, 4, 2), 10), Box(0.0, [1.0, 1.0, 1.0]))


def test_exact_patterns_at_boundaries_count_zero_as_off():
    """Companion of the helper above: it does not round."""
    network = ReLUNetwork([[[0.1]], [[1.0], [0.0]]], [[-0.1], [0.0, 0.0]])
    assert exact_pattern(network, np.array([1.0])) == [False]
    assert exact_pattern(network, np.array([np.nextafter(1.0, 2.0)])) == [True]
