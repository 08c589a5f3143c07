"""The fast enumeration finds what the reference enumeration and the formulas say."""

import math

import numpy as np
import pytest
from cells.test_degenerate import KINDS, SLOPES, degenerate, one_layer, support_named
from cells.test_enumeration import random_network
from hypothesis import given, settings
from hypothesis import strategies as st

from wdaverify.arrays import Bools
from wdaverify.cells.block import Block
from wdaverify.cells.dictionary import search as dictionary
from wdaverify.cells.dictionary import settle as dictionary_settle
from wdaverify.cells.dictionary import stage as dictionary_stage
from wdaverify.cells.dictionary.exact import IntegerRows, eliminate
from wdaverify.cells.dictionary.model import Model
from wdaverify.cells.dictionary.search import dictionary_blocks
from wdaverify.cells.enumeration import cells_of
from wdaverify.cells.frame import frame_of
from wdaverify.errors import LimitReached
from wdaverify.limits import Limits
from wdaverify.network import ReLUNetwork
from wdaverify.support import Box, Polytope, Support

Patterns = set[tuple[bool, ...]]
BOX = Box(-1.0, 1.0)


def blocks_of(network: ReLUNetwork, support: Support) -> list[Block]:
    return list(dictionary_blocks(network, frame_of(support.bind(network.features))))


def patterns_of(network: ReLUNetwork, support: Support) -> Patterns:
    """Patterns, each found once."""
    blocks = blocks_of(network, support)
    rows = [tuple(row) for block in blocks for row in block.patterns.tolist()]
    assert len(rows) == len(set(rows))
    return set(rows)


def reference(network: ReLUNetwork, support: Support) -> Patterns:
    frame = frame_of(support.bind(network.features))
    return {tuple(found.pattern.tolist()) for found in cells_of(network, frame)}


def agrees(network: ReLUNetwork, support: Support) -> bool:
    return patterns_of(network, support) == reference(network, support)


# general position --------------------------------------------------------------------------

SIZES = [
    (1, 6),
    (2, 9),
    (2, 4, 4, 4),
    (3, 6, 4),
    (3, 3, 3, 3),
    (4, 5, 4),
    (5, 7),
    (6, 4, 3),
    (7, 6),
]
SIZES += [(8, 4, 3)]


@pytest.mark.parametrize("support", ["space", "box", "orthant", "simplex", "half-space"])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_patterns_are_those_of_the_reference(sizes, support):
    n = sizes[0]
    half = Polytope(np.ones((1, n)), np.ones(1))
    network = random_network((*sizes, 2), seed=sum(sizes))
    assert agrees(network, half if support == "half-space" else support_named(support, n))


@pytest.mark.parametrize(("n", "m"), [(1, 9), (2, 12), (3, 10), (5, 9), (8, 11), (12, 10)])
def test_zaslavsky(n, m):
    network = random_network((n, m, 2), seed=n + m)
    count = sum(math.comb(m, k) for k in range(n + 1))
    assert len(patterns_of(network, Box())) == count


@pytest.mark.parametrize(("n", "m"), [(1, 4), (2, 8), (3, 9), (5, 8), (8, 9)])
def test_central_arrangement(n, m):
    network = random_network((n, m, 2), seed=n + m, bias=0.0)
    count = 2 * sum(math.comb(m - 1, k) for k in range(n))
    assert len(patterns_of(network, Box())) == len(patterns_of(network, BOX)) == count


def test_more_dimensions_than_hyperplanes():
    network = random_network((12, 3, 4, 2), seed=0)
    frame = frame_of(Box().bind(12))
    (block,) = dictionary_blocks(network, frame)
    assert block.interiors.shape == (len(block.patterns), 12)
    assert patterns_of(network, Box()) == reference(network, Box())
    assert np.array_equal(network.patterns(frame.points(block.interiors)), block.patterns)


@pytest.mark.parametrize("support", ["space", "box", "simplex"])
def test_points_lie_inside_and_cuts_describe_the_cell(support):
    """Signs of the cuts at points of another cell exclude them; own points satisfy them."""
    network, where = random_network((3, 7, 5, 2), seed=4), support_named(support, 3)
    frame = frame_of(where.bind(3))
    for block in blocks_of(network, where):
        points = frame.points(block.interiors)
        assert np.array_equal(network.patterns(points), block.patterns)
        assert where.bind(3).contains(points).all()
        for pattern, cuts in zip(block.patterns, block.cuts, strict=True):
            hidden, _ = network.affine_maps(pattern)
            z = points @ hidden.matrix[cuts].T + hidden.offset[cuts]
            inside = np.all(np.where(pattern[cuts], z, -z) > 0, axis=1)
            assert np.array_equal(inside, np.all(block.patterns == pattern, axis=1))


def test_order_is_the_same_on_every_run():
    network = random_network((4, 8, 6, 2), seed=1)
    first, second = (Block.joined(blocks_of(network, BOX)) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("size", [16, 32])
def test_block_size_changes_nothing_but_the_order(monkeypatch, size):
    """Small blocks are swapped between layers many times."""
    network = random_network((3, 6, 5, 3, 2), seed=3)
    whole = patterns_of(network, Box())
    monkeypatch.setattr(dictionary, "BYTES", size * 1000)
    blocks = blocks_of(network, Box())
    assert len(blocks) > 5
    assert patterns_of(network, Box()) == whole


# limits ------------------------------------------------------------------------------------


@pytest.mark.parametrize("most", [0, 1, 100, 1500])
def test_a_limit_on_cells_gives_that_many_and_stops(most):
    network, frame = random_network((4, 9, 8, 2), seed=0), frame_of(Box().bind(4))
    seen: list[Block] = []
    told: list[int] = []
    blocks = dictionary_blocks(network, frame, limits=Limits(cells=most), progress=told.append)
    with pytest.raises(LimitReached, match=f"more than {most} cells"):
        seen.extend(blocks)
    assert sum(len(block.patterns) for block in seen) == most
    assert told == sorted(told)
    assert (told[-1] if told else 0) == most


def test_a_limit_as_large_as_the_complex_is_none():
    network, frame = random_network((2, 6, 2), seed=8), frame_of(Box().bind(2))
    blocks = list(dictionary_blocks(network, frame, limits=Limits(cells=22)))
    assert sum(len(block.patterns) for block in blocks) == 22


def test_time_is_checked_between_steps():
    frame = frame_of(BOX.bind(4))
    with pytest.raises(LimitReached, match="time limit"):
        list(dictionary_blocks(random_network((4, 9, 2), 0), frame, limits=Limits(seconds=0.0)))


# degenerate --------------------------------------------------------------------------------


@pytest.mark.parametrize("support", ["space", "box", "orthant", "simplex"])
@pytest.mark.parametrize("kind", list(KINDS))
def test_one_degeneracy(kind, support):
    for seed, sizes in enumerate([(2, 4, 3), (3, 5)]):
        assert agrees(degenerate([kind], seed, sizes), support_named(support, sizes[0]))


@given(
    kinds=st.lists(st.sampled_from(list(KINDS)), min_size=1, max_size=4, unique=True),
    support=st.sampled_from(["space", "box", "orthant", "simplex"]),
    sizes=st.sampled_from([(1, 3, 3), (2, 4, 3), (3, 4, 3), (2, 3, 3, 3), (4, 5), (5, 4, 2)]),
    slope=st.sampled_from(list(SLOPES)),
    seed=st.integers(0, 10**6),
)
@settings(deadline=None, max_examples=40, derandomize=True)
def test_combined_degeneracies(kinds, support, sizes, slope, seed):
    network = degenerate(kinds, seed, sizes, slope)
    assert agrees(network, support_named(support, sizes[0]))


@pytest.mark.slow
@given(
    kinds=st.lists(st.sampled_from(list(KINDS)), min_size=0, max_size=4, unique=True),
    support=st.sampled_from(["space", "box", "orthant", "simplex"]),
    sizes=st.sampled_from([(3, 8, 6), (4, 7, 4), (5, 6, 5), (3, 5, 5, 4), (6, 8), (8, 6, 2)]),
    slope=st.sampled_from(list(SLOPES)),
    seed=st.integers(0, 10**6),
)
@settings(deadline=None, max_examples=150, derandomize=True)
def test_combined_degeneracies_of_larger_networks(kinds, support, sizes, slope, seed):
    network = degenerate(kinds, seed, sizes, slope)
    assert agrees(network, support_named(support, sizes[0]))


@pytest.mark.parametrize("kinds", [["no_bias"], ["quarters"], ["wall"], ["no_bias", "quarters"]])
def test_exact_arithmetic_is_the_exception(kinds, monkeypatch):
    """Far fewer exact linear programs than cells, also where hyperplanes meet in many points."""
    calls = []
    original = IntegerRows.interior
    monkeypatch.setattr(
        IntegerRows, "interior", lambda *given: (calls.append(1), original(*given))[1]
    )
    network = degenerate(kinds, 1, (4, 10, 6))
    cells = len(patterns_of(network, BOX))
    assert cells > 500
    assert len(calls) < cells / 10


@pytest.mark.parametrize("size", [3e-7, 1e-9, 1e-12])
def test_cells_smaller_than_any_tolerance(size):
    """A simplex of the given size in the middle of four dimensions, cut off by five planes."""
    rows = np.vstack([np.eye(4), -np.ones(4)])
    network = one_layer(rows.tolist(), [size] * 5)
    assert len(patterns_of(network, BOX)) == 31
    assert agrees(network, BOX)


@pytest.mark.parametrize("tilt", [1e-4, 1e-8, 1e-13, 1e-22])
def test_nearly_parallel_lines_meet_far_away(tilt):
    assert len(patterns_of(one_layer([[0.0, 1.0], [tilt, 1.0]], [0.0, -1.0]), Box())) == 4


@pytest.mark.parametrize("small", [1e-150, 1e-300])
def test_numbers_near_the_end_of_float64(small):
    network = one_layer([[small, 2 * small], [1.0, 1.0]], [small / 4, small])
    assert agrees(network, BOX)


def test_opposite_neurons_are_both_off_where_they_vanish():
    """``±relu(x)`` in the second layer."""
    network = ReLUNetwork(
        [[[1.0]], [[1.0], [-1.0]], np.ones((2, 2))], [[0.0], [0.0, 0.0], [0.0, 0.0]]
    )
    assert patterns_of(network, BOX) == {(True, True, False), (False, False, False)}


def test_far_and_tiny_at_once():
    kinds = ["tiny_weights_only", "float32", "no_bias", "tiny_9"]
    assert agrees(degenerate(kinds, 0, (5, 6, 4)), Box())


def test_degenerate_supports():
    network = degenerate(["eighths"], 3, (3, 4, 2))
    plane = Polytope([[1.0, -2.0, 0.0], [-1.0, 2.0, 0.0], [0.0, 0.0, 1.0]], [0.5, -0.5, 1.0])
    point = Box([0.5, -0.25, 0.0], [0.5, -0.25, 0.0])
    for support in (Box([0.25, -1.0, -1.0], [0.25, 1.0, 1.0]), plane, point):
        assert agrees(network, support)


def test_no_hidden_neurons():
    network = ReLUNetwork([np.eye(2)], [np.zeros(2)])
    (block,) = blocks_of(network, BOX)
    assert block.patterns.shape == (1, 0)


# the parts ---------------------------------------------------------------------------------


@given(seed=st.integers(0, 10**6), sizes=st.sampled_from([(2, 3), (2, 4, 3), (3, 3, 3, 2)]))
@settings(deadline=None, max_examples=20, derandomize=True)
def test_integer_rows_are_the_preactivations(seed, sizes):
    network = degenerate([], seed, sizes, "leaky")
    pattern = np.random.default_rng(seed).random(network.neurons) < 0.5
    hidden, _ = network.affine_maps(pattern)
    rows = IntegerRows(network, frame_of(Box().bind(sizes[0])))
    for k in range(network.neurons):
        row = rows.neuron(k, pattern)
        expected = np.append(hidden.matrix[k], hidden.offset[k])
        scale = float(row[0]) / expected[0]
        assert scale > 0
        assert np.allclose([float(v) for v in row], scale * expected, rtol=1e-9)


def test_elimination_keeps_integers():
    rows, pivots = eliminate([[2, 4, 2, 6], [1, 2, 3, 1], [3, 6, 5, 7]], 3)
    assert pivots == [0, 2]
    assert [rows[0][0], rows[1][2]] == [4, 4]
    assert rows[2] == [0, 0, 0, 0]
    assert [row[3] for row in rows[:2]] == [16, -4]


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_multipliers_combine_rows_within_the_error_bound(layer):
    network = degenerate([], 7, (3, 5, 4, 3), "leaky")
    model = Model(network, frame_of(support_named("simplex", 3)))
    rng = np.random.default_rng(0)
    pattern = rng.random((50, model.neurons)) < 0.5
    slope = np.where(pattern, 1.0, np.concatenate(network.slopes))
    point = rng.normal(size=(50, 3))
    raw = model.forward(point, slope, layer)
    multipliers = rng.normal(size=raw.shape)
    plane = model.combine(multipliers, slope, layer)
    value = plane.constant + (plane.gradient * point).sum(axis=1)
    error = plane.constant_error + (plane.gradient_error * np.abs(point)).sum(axis=1)
    difference = np.abs(value - (multipliers * raw).sum(axis=1))
    assert np.all(difference <= 2 * error)
    assert np.all(error < 1e-10)


@pytest.mark.parametrize("support", [BOX, Box([-3, 1, 0], [2, 5, 1]), support_named("simplex", 3)])
def test_extent_bounds_the_support(support):
    where = support.bind(3)
    model = Model(random_network((3, 2, 2), seed=0), frame_of(where))
    points = np.random.default_rng(0).uniform(-5, 5, size=(20000, 3))
    points = points[where.contains(points)]
    assert np.all(np.abs(points) <= model.extent)
    assert np.all(model.extent < 20)


def test_extent_of_an_unbounded_support_is_infinite():
    for support in (Box(), Box(0.0, np.inf), Box([-1, -1, -np.inf], 1)):
        model = Model(random_network((3, 2, 2), seed=0), frame_of(support.bind(3)))
        assert np.all(np.isinf(model.extent))


# the comparison can fail -------------------------------------------------------------------


def all_shown(_: Model, layer: int, lanes: object, index: np.ndarray, prices: object) -> Bools:
    """Believe every optimum instead of proving it."""
    return np.ones(len(index), dtype=bool)


def test_a_neuron_closed_too_early_loses_cells(monkeypatch):
    network = degenerate(["eighths"], 2, (3, 6, 4))
    assert agrees(network, BOX)
    monkeypatch.setattr(dictionary_stage, "PRICE", 0.5)
    monkeypatch.setattr(dictionary_stage, "certified", all_shown)
    assert patterns_of(network, BOX) < reference(network, BOX)


def test_an_early_end_with_its_certificate_loses_nothing(monkeypatch):
    """The certificate refuses what pivots did not finish, and exact arithmetic decides."""
    network = degenerate(["eighths"], 2, (3, 6, 4))
    monkeypatch.setattr(dictionary_stage, "PRICE", 0.5)
    assert agrees(network, BOX)


def test_a_tired_test_is_decided_exactly(monkeypatch):
    network = random_network((3, 6, 4, 2), seed=0)
    monkeypatch.setattr(dictionary_stage, "PATIENCE", 0)
    assert agrees(network, BOX)
    assert agrees(network, Box())


@pytest.mark.parametrize("limit", ["REMOTE", "FLAT"])
def test_hard_cells_are_settled_exactly(monkeypatch, limit):
    """Every cell that has pivoted counts as too far or too flat."""
    network = degenerate(["quarters", "duplicated"], 5, (3, 5, 4))
    monkeypatch.setattr(dictionary_stage, limit, 0.0 if limit == "REMOTE" else np.inf)
    assert agrees(network, BOX)
    assert agrees(network, Box())


def test_cells_without_interior_are_dropped_at_the_end(monkeypatch):
    """A false split is found out: the points of its cells are not certainly inside."""
    network = one_layer([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], [0.0, 0.0, 0.0])
    monkeypatch.setattr(dictionary_stage, "NEAR", -0.5)
    assert len(patterns_of(network, BOX)) == 6
    monkeypatch.setattr(
        dictionary_settle.Model, "inside", lambda *_: np.ones(len(_[1]), dtype=bool)
    )
    assert len(patterns_of(network, BOX)) > 6


def test_a_network_of_extreme_numbers_is_left_to_the_reference(monkeypatch):
    called = []
    monkeypatch.setattr(
        dictionary, "cells_of", lambda *given, limits: (called.append(limits), cells_of(*given))[1]
    )
    patterns_of(one_layer([[1.0, 0.0]], [1e-150]), BOX)
    assert called
    called.clear()
    patterns_of(one_layer([[1.0, 0.0]], [1e-22]), BOX)
    assert not called
