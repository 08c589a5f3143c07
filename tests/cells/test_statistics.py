"""Statistics of cells: a chessboard by hand, random networks by brute force, lost cells."""

import math

import networkx as nx
import numpy as np
import pytest

from wdaverify.cells.complex import CellComplex, enumerate_cells
from wdaverify.cells.slices import sliced
from wdaverify.cells.statistics import Spread, statistics_of
from wdaverify.errors import EnumerationError, LimitReached, ProblemError
from wdaverify.limits import Limits
from wdaverify.network import ReLUNetwork
from wdaverify.support import Box, Polytope


def random_network(sizes: tuple[int, ...], seed: int) -> ReLUNetwork:
    rng = np.random.default_rng(seed)
    weights = [rng.normal(size=shape) for shape in zip(sizes[1:], sizes[:-1], strict=True)]
    return ReLUNetwork(weights, [rng.normal(size=size) for size in sizes[1:]])


def chessboard(support: Box) -> CellComplex:
    """``x, y ∈ {0, ½}``: three by three cells."""
    W = [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]
    network = ReLUNetwork([W, np.ones((2, 4))], [[0.0, -0.5, 0.0, -0.5], [0.0, 0.0]])
    return enumerate_cells(network, support)


SAMPLES = np.array([[-0.5, -0.5], [-0.4, -0.6], [0.8, -0.5]])
"""Two in one corner cell, one in the next corner."""


def test_the_chessboard():
    found = statistics_of(chessboard(Box(-1.0, 1.0)), SAMPLES)
    assert found.edges == 12
    assert found.neighbours == Spread(2, 3.0, 24 / 9, 4)
    # steps: rows of 0 1 0, 1 2 1, 2 3 2
    assert found.depth == Spread(0, 1.0, 12 / 9, 3)
    assert found.samples.cells == 2
    assert found.samples.share_of_cells == pytest.approx(2 / 9)
    assert found.samples.per_cell == Spread(1, 1.5, 1.5, 2)
    assert found.samples.alone == pytest.approx(1 / 3)
    assert found.samples.volume == pytest.approx((1.0 + 0.5) / 4.0)
    assert (found.inradius.smallest, found.inradius.largest) == pytest.approx((0.25, 0.5))
    assert (found.shapes.vertices.smallest, found.shapes.vertices.largest) == (4, 4)
    assert found.shapes.facets == Spread(4, 4.0, 4.0, 4)
    assert (found.shapes.volume.smallest, found.shapes.volume.median) == (0.25, 0.5)
    assert (found.shapes.total, found.shapes.support) == (4.0, 4.0)


def test_the_chessboard_without_end_measures_its_one_bounded_cell():
    found = statistics_of(chessboard(Box()), SAMPLES)
    assert (found.shapes.total, found.shapes.support) == (0.25, None)
    assert found.samples.volume is None
    assert found.inradius.largest == pytest.approx(0.25)


def test_no_bounded_cell_no_sizes():
    network = ReLUNetwork([[[1.0]], [[1.0], [0.0]]], [[0.0], [0.0, 0.0]])
    found = statistics_of(enumerate_cells(network), np.array([[1.0]]))
    assert (found.inradius, found.shapes) == (None, None)


def test_five_dimensions_have_balls_but_no_volumes():
    cells = enumerate_cells(random_network((5, 4, 2), 0), Box(-1.0, 1.0))
    found = statistics_of(cells, np.zeros((1, 5)))
    assert found.shapes is None
    assert 0 < found.inradius.smallest <= found.inradius.largest <= 1


@pytest.mark.parametrize("seed", range(3))
def test_depth_and_facets_by_brute_force(seed):
    cells = enumerate_cells(random_network((2, 6, 4, 2), seed), Box(-1.0, 1.0))
    points = np.random.default_rng(seed).uniform(-1, 1, size=(4, 2))
    found = statistics_of(cells, points)
    held = {k for k, cell in enumerate(cells) if cell.contains(points).any()}
    lengths = dict(nx.all_pairs_shortest_path_length(cells.graph))
    steps = [min(lengths[k][j] for j in held) for k in range(len(cells))]
    assert (found.depth.mean, found.depth.largest) == (pytest.approx(np.mean(steps)), max(steps))
    assert found.neighbours.mean == pytest.approx(2 * found.edges / len(cells))
    # Euler: cells − edges + inner vertices = 1; boundary facets from all facets
    assert found.shapes.facets.mean == found.shapes.vertices.mean
    outer = round(found.shapes.facets.mean * len(cells)) - 2 * found.edges
    assert outer >= 4


def test_a_sample_on_a_facet_counts_once():
    cells = chessboard(Box(-1.0, 1.0))
    found = statistics_of(cells, np.array([[0.0, 0.25]]))
    assert found.samples.cells == 1


def test_a_sample_whose_pattern_no_cell_has_is_put_in_one_that_holds_it(monkeypatch):
    cells = chessboard(Box(-1.0, 1.0))
    monkeypatch.setattr(CellComplex, "locate", lambda *_: [None])
    found = statistics_of(cells, SAMPLES[2:])
    assert found.samples.volume == pytest.approx(0.5 / 4.0)


@pytest.mark.parametrize("lost", range(9))
def test_a_lost_cell_is_noticed_by_its_volume(lost, monkeypatch):
    whole = chessboard(Box(-1.0, 1.0))
    kept = [cell for k, cell in enumerate(whole) if k != lost]
    cells = CellComplex(whole.network, whole.support, whole.frame, kept)
    with pytest.raises(EnumerationError, match="add up to"):
        statistics_of(cells, SAMPLES)


def test_limits_are_asked():
    with pytest.raises(LimitReached):
        statistics_of(chessboard(Box(-1.0, 1.0)), SAMPLES, limits=Limits(seconds=0.0))


# slices ------------------------------------------------------------------------------------


@pytest.mark.parametrize("pair", [(0, 1), (3, 1)])
def test_a_slice_is_the_network_itself(pair):
    network, rng = random_network((4, 6, 5, 3), 1), np.random.default_rng(0)
    point = rng.uniform(size=4)
    small, support = sliced(network, Box(0.0, np.arange(1.0, 5.0)).bind(4), point, pair)
    assert support.upper.tolist() == [1.0 + pair[0], 1.0 + pair[1]]
    shown = rng.uniform(size=(50, 2))
    full = np.tile(point, (50, 1))
    full[:, list(pair)] = shown
    assert small.logits(shown) == pytest.approx(network.logits(full), abs=1e-12)


def test_a_slice_of_a_polytope():
    rows = Polytope([[1.0, 2.0, 3.0]], [4.0])
    _, support = sliced(random_network((3, 2, 2), 0), rows, np.array([9.0, 0.5, 9.0]), (0, 2))
    assert (support.A.tolist(), support.b.tolist()) == ([[1.0, 3.0]], [3.0])


@pytest.mark.parametrize("pair", [(0, 0), (0, 4), (-1, 2)])
def test_bad_features_are_refused(pair):
    network = random_network((4, 2, 2), 0)
    with pytest.raises(ProblemError, match="two different features from 0 to 3"):
        sliced(network, Box(0.0, 1.0).bind(4), np.zeros(4), pair)


def test_volumes_are_summed_exactly():
    cells = enumerate_cells(random_network((3, 5, 3, 2), 2), Box(0.0, 1.0))
    found = statistics_of(cells, np.full((1, 3), 0.5))
    assert found.shapes.total == pytest.approx(1.0, rel=1e-12)
    assert math.isclose(found.shapes.volume.mean * len(cells), 1.0, rel_tol=1e-9)
