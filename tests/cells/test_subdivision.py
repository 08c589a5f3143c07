"""Enumeration by subdivision: the same cells as cell by cell, or a refusal."""

import math
from collections.abc import Callable
from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from cells.test_degenerate import KINDS, degenerate
from cells.test_enumeration import random_network, simplex
from reference.cells import reference_patterns

from wdaverify.arrays import Bools
from wdaverify.cells.block import Block
from wdaverify.cells.complex import enumerate_cells
from wdaverify.cells.decision import ExactCells
from wdaverify.cells.enumeration import cells_of
from wdaverify.cells.frame import frame_of
from wdaverify.cells.graph import facets
from wdaverify.cells.subdivision import arrays as subdivision_arrays
from wdaverify.cells.subdivision import subdivide as subdivision
from wdaverify.cells.subdivision.arrays import grouped, paired
from wdaverify.cells.subdivision.cells import blocks_of
from wdaverify.cells.subdivision.complex import Subdivision
from wdaverify.cells.subdivision.exact import ExactArrangement
from wdaverify.cells.subdivision.faces import halves
from wdaverify.cells.subdivision.subdivide import DegenerateArrangement, subdivision_blocks
from wdaverify.cells.subdivision.values import Values
from wdaverify.cells.subdivision.vertices import Vertices
from wdaverify.errors import EnumerationError, LimitReached
from wdaverify.limits import Limits
from wdaverify.network import ReLUNetwork
from wdaverify.rational import rationals
from wdaverify.storage import load_problem
from wdaverify.support import Box, Polytope, Support

Patterns = set[tuple[bool, ...]]
UNIT, CUBE = Box(0.0, 1.0), Box(-1.0, 1.0)


def blocks(network: ReLUNetwork, support: Support) -> Block:
    """All cells in one block."""
    found = list(subdivision_blocks(network, frame_of(support.bind(network.features))))
    return Block(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def as_set(patterns: Bools) -> Patterns:
    result = set(map(tuple, patterns.tolist()))
    assert len(result) == len(patterns)
    return result


def one_by_one(network: ReLUNetwork, support: Support) -> Patterns:
    frame = frame_of(support.bind(network.features))
    return as_set(np.array([cell.pattern for cell in cells_of(network, frame)]))


def one_layer(W: list[list[float]], b: list[float]) -> ReLUNetwork:
    return ReLUNetwork([W, np.ones((2, len(b)))], [b, [0.0, 0.0]])


def subdivided(network: ReLUNetwork, support: Support = CUBE) -> Subdivision:
    part = subdivision._start(network, frame_of(support.bind(network.features)))
    for _ in subdivision._cut_until_large(part):
        assert part.cells > 0
    assert part.next == network.neurons
    return part


def strictly_inside(network: ReLUNetwork, support: Support, block: Block) -> bool:
    """Whether every interior is exactly inside the support and the half-spaces of the cuts."""
    frame = frame_of(support.bind(network.features))
    exact = ExactCells(network, frame)
    for pattern, cuts, interior in zip(*block[:3], strict=True):
        u = rationals(interior)
        rows = ((k, *exact.row(k, pattern)) for k in np.flatnonzero(cuts).tolist())
        if np.any(frame.matrix @ u >= frame.bound):
            return False
        if not all((w @ u + b) * (1 if pattern[k] else -1) > 0 for k, w, b in rows):
            return False
    return True


# the cells ---------------------------------------------------------------------------------

SIZES = [
    (1, 6, 2),
    (1, 5, 4, 2),
    (2, 7, 2),
    (2, 6, 5, 2),
    (2, 4, 4, 4, 2),
    (3, 6, 2),
    (3, 5, 4, 2),
    (3, 3, 3, 3, 2),
    (4, 5, 3, 2),
    (5, 5, 2),
    (5, 3, 3, 2),
]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("support", [CUBE, UNIT, "simplex"])
def test_cells_are_those_found_one_by_one(sizes, support, seed):
    network = random_network(sizes, seed)
    where = simplex(sizes[0]) if support == "simplex" else support
    block = blocks(network, where)
    assert as_set(block.patterns) == one_by_one(network, where)
    assert strictly_inside(network, where, block)


@pytest.mark.parametrize("name", ["moons", "iris"])
def test_cells_of_trained_networks(name):
    """One first-layer neuron of moons cuts a sliver of width 1e-17 off the unit square."""
    problem = load_problem(f"problems/{name}")
    block = blocks(problem.network, problem.support)
    assert as_set(block.patterns) == one_by_one(problem.network, problem.support)


@pytest.mark.parametrize("slope", ["leaky", "pass"])
@pytest.mark.parametrize("seed", range(4))
def test_other_slopes(slope, seed):
    network = degenerate([], seed, (3, 4, 3), slope)
    block = blocks(network, CUBE)
    assert as_set(block.patterns) == one_by_one(network, CUBE)
    assert block.patterns[:, network.linear].all()


@pytest.mark.parametrize("sizes", [(2, 5, 4, 2), (3, 5, 3, 2), (4, 4, 3, 2)])
def test_cuts_are_the_facets(sizes):
    network = random_network(sizes, 1)
    cells, block = enumerate_cells(network, CUBE), blocks(network, CUBE)
    for pattern, cuts in zip(block.patterns, block.cuts, strict=True):
        true = {facet.neuron for facet in facets(cells, cells.find(pattern))}
        assert set(np.flatnonzero(cuts).tolist()) == true


@pytest.mark.parametrize(("n", "m"), [(1, 5), (2, 8), (3, 7), (4, 6), (5, 6)])
def test_hyperplanes_in_a_large_box_cut_it_as_zaslavsky_says(n, m):
    cells = blocks(random_network((n, m, 2), seed=n + m), Box(-1e4, 1e4))
    assert len(cells.patterns) == sum(math.comb(m, k) for k in range(n + 1))


def test_cells_come_in_the_order_of_their_patterns_and_the_same_each_time():
    network = random_network((3, 40, 30, 2), 0)
    block, again = blocks(network, CUBE), blocks(network, CUBE)
    words = np.packbits(block.patterns, axis=1).tolist()
    assert words == sorted(words)
    assert all(np.array_equal(*pair) for pair in zip(block, again, strict=True))


def test_blocks_are_not_larger_than_they_should_be():
    found = list(subdivision_blocks(random_network((3, 40, 30, 2), 0), frame_of(CUBE.bind(3))))
    assert len(found) > 1
    assert max(len(block.patterns) for block in found) <= 4096


@pytest.mark.parametrize(("sizes", "bias"), [((1, 40, 30, 2), 0.5), ((2, 70, 2), 3.0)])
def test_more_than_64_neurons_and_rows(sizes, bias):
    """Sign vectors of several words."""
    network = random_network(sizes, 2, bias=bias)
    block = blocks(network, UNIT)
    assert len(block.patterns) > 20
    assert as_set(block.patterns) == one_by_one(network, UNIT)


# supports ----------------------------------------------------------------------------------


def test_a_constant_feature_and_an_equality_are_eliminated():
    network = random_network((3, 5, 3, 2), 4)
    flat = Box([-1.0, 0.25, -1.0], [1.0, 0.25, 1.0])
    plane = Polytope(
        [[1, 1, 1], [-1, -1, -1], *(-np.eye(3)).tolist()], [1.0, -1.0, 0.25, 0.25, 0.25]
    )
    for support in (flat, plane):
        assert as_set(blocks(network, support).patterns) == one_by_one(network, support)


@pytest.mark.parametrize(
    ("support", "reason"),
    [
        (Box(), "unbounded"),
        (Box(0.0, np.inf), "unbounded"),
        (Polytope([[1.0, 1.0, 1.0]], [1.0]), "unbounded"),
        (Polytope(np.vstack([-np.eye(3), [1, 1, 0]]), np.ones(4)), "unbounded"),
        (Box(0.5, 0.5), "single point"),
        (Polytope([[1, 0, 1], [-1, 0, 1], [0, 1, 1], [0, -1, 1], [0, 0, -1]], np.ones(5)), "rows"),
        (Polytope(np.vstack([np.eye(3), -np.eye(3), -np.eye(3)]), np.ones(9)), None),
    ],
)
def test_supports_that_are_refused(support, reason):
    network = random_network((3, 4, 2), 0)
    if reason is None:
        assert as_set(blocks(network, support).patterns) == one_by_one(network, CUBE)
    else:
        with pytest.raises(DegenerateArrangement, match=reason):
            blocks(network, support)


def test_numbers_that_overflow_are_refused():
    with pytest.raises(DegenerateArrangement, match="overflow"):
        blocks(random_network((2, 4, 3, 2), 0), Box(-1e308, 1e308))


def test_more_than_ten_dimensions_are_refused():
    with pytest.raises(DegenerateArrangement, match="dimension 11"):
        blocks(random_network((11, 2, 2), 0), CUBE)


def test_a_network_without_hidden_neurons_is_refused():
    with pytest.raises(DegenerateArrangement, match="no hidden neuron"):
        blocks(ReLUNetwork([np.ones((2, 2))], [np.ones(2)]), CUBE)


# degenerate networks -----------------------------------------------------------------------

NEVER_REFUSED = {"duplicated", "negated", "scaled", "parallel", "constant", "tiny_9", "float32"}


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("sizes", [(1, 4), (2, 4), (3, 4), (2, 3, 3), (3, 3, 3)])
@pytest.mark.parametrize("seed", range(2))
def test_degenerate_networks_are_right_or_refused(kind, sizes, seed):
    network = degenerate([kind], seed, sizes)
    try:
        found = as_set(blocks(network, CUBE).patterns)
    except DegenerateArrangement:
        assert kind not in NEVER_REFUSED
    else:
        assert found == one_by_one(network, CUBE)


def test_lines_through_one_point_are_refused_unless_one_moves():
    """The least move makes a triangle, of width 1e-15, that exact arithmetic finds."""
    W = [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]
    with pytest.raises(DegenerateArrangement, match="neuron 2 is zero at a vertex"):
        blocks(one_layer(W, [0.0, 0.0, 0.0]), CUBE)
    assert len(blocks(one_layer(W, [0.0, 0.0, 1e-15]), CUBE).patterns) == 7


def test_walls_and_corners_do_not_split():
    network = one_layer([[1.0, 0.0], [1.0, 1.0], [-1.0, 0.0]], [1.0, -2.0, -1.0])
    assert as_set(blocks(network, CUBE).patterns) == {(True, False, False)}


@pytest.mark.parametrize("width", [1e-6, 1e-9, 1e-12, 1e-15])
def test_thin_strips_have_interior_points(width):
    network = one_layer([[1.0, 0.0], [1.0, 0.0]], [0.0, width])
    block = blocks(network, CUBE)
    assert len(block.patterns) == 3
    assert strictly_inside(network, CUBE, block)


def test_a_layer_that_is_dead_somewhere_is_refused_only_without_bias():
    W = [[[1.0, 0.0], [0.0, 1.0]], [[1.0, 1.0]], [[1.0], [0.0]]]
    with pytest.raises(DegenerateArrangement, match="zero at a vertex"):
        blocks(ReLUNetwork(W, [[0.5, 0.25], [0.0], [0.0, 0.0]]), CUBE)
    dead = ReLUNetwork(W, [[0.5, 0.25], [-0.125], [0.0, 0.0]])
    expected = reference_patterns(dead.weights, dead.biases, -1.0, 1.0)
    assert as_set(blocks(dead, CUBE).patterns) == {tuple(map(bool, p)) for p in expected}


# parts -------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [(1, 30, 2), (2, 8, 8, 2), (3, 5, 4, 3, 2), (4, 5, 3, 2)])
@pytest.mark.parametrize("large", [0, 5, 12])
def test_a_complex_cut_in_parts_has_the_same_cells_in_the_same_order(sizes, large, monkeypatch):
    network = random_network(sizes, 6, bias=0.4)
    whole, plain = blocks(network, CUBE), []
    subdivision_blocks_of = subdivision.blocks_of
    monkeypatch.setattr(subdivision, "LARGE", large)
    monkeypatch.setattr(
        subdivision, "blocks_of", lambda part: plain.append(part) or subdivision_blocks_of(part)
    )
    parts = blocks(network, CUBE)
    assert len(plain) > 1
    assert np.array_equal(parts.patterns, whole.patterns)
    assert np.array_equal(parts.cuts, whole.cuts)
    assert strictly_inside(network, CUBE, parts)


def test_parts_come_before_all_is_cut(monkeypatch):
    network = random_network((3, 8, 6, 2), 0, bias=0.3)
    monkeypatch.setattr(subdivision, "LARGE", 100)
    counts: list[int] = []
    found = subdivision_blocks(network, frame_of(CUBE.bind(3)), progress=counts.append)
    first, known = len(next(found).patterns), counts[-1]
    total = first + sum(len(block.patterns) for block in found)
    assert first <= known < total == counts[-1]


@pytest.mark.parametrize("neuron", [0, 3, 6])
def test_halves_are_as_many_cells_as_the_whole(neuron):
    """A bent hyperplane may leave a part that is not connected: its characteristic tells."""
    cut = subdivided(random_network((2, 5, 4, 2), 0, bias=0.3))
    patterns = next(blocks_of(cut)).patterns
    below, above = halves(cut, neuron)
    assert below.cells == np.sum(~patterns[:, neuron])
    assert above.cells == np.sum(patterns[:, neuron])
    assert np.array_equal(next(blocks_of(above)).patterns, patterns[patterns[:, neuron]])
    cut.cells -= 1
    with pytest.raises(EnumerationError, match="were cut"):
        halves(cut, neuron)
    above.characteristic += 1
    refused(above, "Euler characteristic")


# limits ------------------------------------------------------------------------------------


def test_limits_stop_the_work_and_progress_ends_with_the_count(monkeypatch):
    network, frame = random_network((3, 12, 6, 2), 0), frame_of(CUBE.bind(3))
    counts: list[int] = []
    found = list(subdivision_blocks(network, frame, progress=counts.append))
    total = sum(len(block.patterns) for block in found)
    assert counts == sorted(counts)
    assert counts[-1] == total
    monkeypatch.setattr(subdivision, "LARGE", 50)
    in_parts: list[int] = []
    assert list(subdivision_blocks(network, frame, progress=in_parts.append))
    assert in_parts == sorted(in_parts)
    assert in_parts[-1] == total
    assert list(subdivision_blocks(network, frame, limits=Limits(cells=total)))
    with pytest.raises(LimitReached, match=f"more than {total - 1} cells"):
        list(subdivision_blocks(network, frame, limits=Limits(cells=total - 1)))
    with pytest.raises(LimitReached, match="time limit"):
        list(subdivision_blocks(network, frame, limits=Limits(seconds=0.0)))


# errors of floating point ------------------------------------------------------------------


def exact_vertices(cut: Subdivision) -> list[list[Fraction]]:
    return [list(cut.vertices.exactly(v)) for v in range(cut.vertices.count)]


@pytest.mark.parametrize("sizes", [(2, 6, 5, 2), (3, 5, 4, 2), (4, 4, 3, 2)])
def test_vertices_are_as_exact_as_they_say(sizes):
    cut = subdivided(random_network(sizes, 3))
    v = cut.vertices
    distances = np.array(
        [
            max(abs(x - Fraction(y)) for x, y in zip(exact, point.tolist(), strict=True))
            for exact, point in zip(exact_vertices(cut), v.points.T, strict=True)
        ]
    )
    assert np.all(distances <= v.errors)
    assert not np.all(distances <= 1e-4 * v.errors)  # the comparison can fail


@pytest.mark.parametrize("sizes", [(2, 6, 5, 2), (3, 4, 4, 4, 2)])
def test_pre_activations_are_as_exact_as_they_say(sizes):
    network = random_network(sizes, 5)
    arrangement = ExactArrangement(network, frame_of(CUBE.bind(sizes[0])))
    values = Values(arrangement, np.ones(sizes[0]))
    points = np.random.default_rng(0).uniform(-1, 1, size=(sizes[0], 30))
    computed = values.below(points, len(network.widths))
    bounds = values.errors(slice(None), values.sizes(points))
    for point, column, errors in zip(points.T, computed.T, bounds.T, strict=True):
        pattern = network.patterns(point[None, :])[0]
        for k in range(network.neurons):
            w, b = arrangement.cells.row(k, pattern)
            assert abs(w @ rationals(point) + b - Fraction(column[k])) <= errors[k]
            assert np.abs(w.astype(float)).sum() <= values.steepness[k]
    assert np.allclose(computed.T, network.preactivations(points.T), atol=1e-13)


def test_doubtful_signs_are_decided_exactly(monkeypatch):
    network = one_layer([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], [0.0, 0.0, 1e-18])
    assert subdivided(network).vertices.exact.solved > 0
    monkeypatch.setattr(ExactArrangement, "positive", lambda *_: False)
    with pytest.raises(EnumerationError):
        assert len(blocks(network, CUBE).patterns) == 7


# every check can fail ----------------------------------------------------------------------


def test_equal_hashes_do_not_confuse(monkeypatch):
    network = random_network((3, 40, 40, 2), 2, bias=0.3)
    plain = blocks(network, UNIT)
    monkeypatch.setattr(subdivision_arrays, "hashed", lambda w: w[0] & np.uint64(1))
    again = blocks(network, UNIT)
    assert np.array_equal(plain.patterns, again.patterns)
    assert np.array_equal(plain.cuts, again.cuts)


@pytest.mark.parametrize("same_hash", [False, True])
def test_pairs_are_pairs(same_hash, monkeypatch):
    if same_hash:
        monkeypatch.setattr(subdivision_arrays, "hashed", lambda w: np.zeros_like(w[0]))
    words = np.array([[7, 8, 7, 8, 9, 9], [1, 1, 1, 1, 1, 1]], dtype=np.uint64)
    assert as_set(paired(words).T) == {(0, 2), (1, 3), (4, 5)}
    order, starts = grouped(words)
    assert words[0, order].tolist() == [7, 7, 8, 8, 9, 9]
    assert starts.tolist() == [0, 2, 4]
    for wrong in (words[:, :5], words[:, [0, 2, 0, 2]], words[:, [0, 2, 1, 4]]):
        with pytest.raises(EnumerationError, match="cuts a polygon"):
            paired(wrong)


def refused(cut: Subdivision, reason: str) -> None:
    with pytest.raises(EnumerationError, match=reason):
        list(blocks_of(cut))


def test_a_missing_edge_is_noticed():
    cut = subdivided(random_network((3, 5, 4, 2), 0))
    assert list(blocks_of(cut))
    cut._edges.size -= 1
    refused(cut, "fewer edges than hyperplanes")


def test_a_miscounted_cell_is_noticed():
    cut = subdivided(random_network((3, 5, 4, 2), 0))
    cut.cells += 1
    refused(cut, "were cut")


@pytest.mark.parametrize("seed", range(5))
def test_a_wrong_sign_is_noticed(seed, monkeypatch):
    """One vertex on the wrong side of the last neuron."""
    network = random_network((2, 6, 3, 2), seed)

    def wrong(signs: Callable[[Vertices, int], Bools]) -> Callable[[Vertices, int], Bools]:
        def flipped(vertices: Vertices, neuron: int) -> Bools:
            on = signs(vertices, neuron)
            if neuron == network.neurons - 1:
                on[len(on) // 2] ^= True
            return on

        return flipped

    monkeypatch.setattr(Vertices, "signs", wrong(Vertices.signs))
    with pytest.raises((EnumerationError, DegenerateArrangement)):
        blocks(network, CUBE)


def test_edges_in_the_wrong_direction_are_noticed(monkeypatch):
    """Euler's relation counts on a linear objective."""
    cut = subdivided(random_network((3, 5, 4, 2), 0))
    monkeypatch.setattr(Vertices, "rises", lambda _, start, end: (start + end) % 3 == 0)
    refused(cut, "Euler characteristic")


def test_a_point_outside_its_cell_is_noticed():
    cut = subdivided(random_network((2, 5, 4, 2), 0))
    values = cut.vertices.values
    block = next(blocks_of(cut))
    right, inside = values.proved(block.interiors.T, block.patterns)
    assert right.all()
    assert inside.all()
    other = np.roll(block.interiors, 1, axis=0)
    assert not values.proved(other.T, block.patterns)[0].all(axis=1).any()
    assert not values.proved(2.0 + other.T, block.patterns)[1].any()
    exact = cut.vertices.exact
    for pattern, cuts, mine, wrong in zip(*block[:3], other, strict=True):
        path = np.flatnonzero(cuts).tolist()
        assert exact.contains(path, pattern, mine)
        assert not exact.contains(path, pattern, wrong)
    assert not exact.contains([], block.patterns[0], np.array([1.0, 0.0]))


def test_a_neuron_that_was_not_cut_is_noticed():
    part = subdivision._start(random_network((2, 5, 4, 2), 0), frame_of(CUBE.bind(2)))
    for _ in subdivision._cut_until_large(part):
        if part.next == 6:
            break
    refused(part, "has another pattern")


def test_an_empty_cell_is_noticed(monkeypatch):
    cut = subdivided(random_network((2, 5, 4, 2), 0))
    monkeypatch.setattr(Values, "proved", lambda _, points, p: (np.zeros_like(p), points[0] > 2))
    assert list(blocks_of(cut))
    monkeypatch.setattr(ExactArrangement, "contains", lambda *_: False)
    assert list(blocks_of(cut))
    monkeypatch.setattr(ExactCells, "interior", lambda *_: None)
    refused(cut, "is empty")


def test_all_subsets_of_facets_matter():
    """Companion to the comparison of cuts: without one of them other cells are let in."""
    network = random_network((2, 4, 3, 2), 1)
    block, exact = blocks(network, CUBE), ExactArrangement(network, frame_of(CUBE.bind(2)))
    for pattern, cuts in zip(block.patterns, block.cuts, strict=True):
        path = np.flatnonzero(cuts).tolist()
        for fewer in combinations(path, len(path) - 1):
            inside = [exact.contains(list(fewer), pattern, u) for u in block.interiors]
            whole = [exact.contains(path, pattern, u) for u in block.interiors]
            assert sum(whole) == 1
            assert sum(inside) > 1
