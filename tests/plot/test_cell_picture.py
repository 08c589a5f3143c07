"""The picture of cells: its polygons, colours and decision boundary, before anything is drawn."""

import math

import numpy as np
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from wdaverify.cells.complex import enumerate_cells
from wdaverify.errors import UnsupportedError
from wdaverify.network import ReLUNetwork
from wdaverify.plot.cell_picture import CellPicture, draw_cells, parts_of
from wdaverify.support import Box, Polytope

LOW, HIGH = np.full(2, -1.0), np.full(2, 1.0)


def random_network(classes: int, seed: int = 0) -> ReLUNetwork:
    rng, sizes = np.random.default_rng(seed), (2, 7, 5, classes)
    weights = [rng.normal(size=shape) for shape in zip(sizes[1:], sizes[:-1], strict=True)]
    return ReLUNetwork(weights, [rng.normal(size=size) for size in sizes[1:]])


def picture_of(cells, points=((0.0, 0.0),), around=((-2.0, -1.0), (2.0, 1.0))):
    labels = np.zeros(len(points), dtype=int)
    return CellPicture(cells, np.array(points), labels, "title", ("x", "y"), np.array(around))


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_parts_tile_the_support_and_know_their_class(classes):
    network = random_network(classes)
    cells = enumerate_cells(network, Box(-1.0, 1.0))
    parts = parts_of(cells, LOW, HIGH)
    assert math.fsum(p.polygon.area for p in parts) == pytest.approx(4.0, rel=1e-12)
    for part in parts:
        centre = part.polygon.corners.mean(axis=0, keepdims=True)
        assert cells[part.cell].contains(centre, 1e-12)[0]
        logits = network.logits(centre)[0]
        assert logits[part.winner] >= logits.max() - 1e-12


@pytest.mark.parametrize("classes", [2, 4])
def test_the_boundary_is_where_the_two_largest_logits_tie(classes):
    """Along a line of sight the class changes as often as the boundary is crossed."""
    network = random_network(classes, 3)
    parts = parts_of(enumerate_cells(network, Box(-1.0, 1.0)), LOW, HIGH)
    ties = np.concatenate([part.ties for part in parts])
    assert len(ties) > 3
    middle = np.sort(network.logits(ties.mean(axis=1)), axis=1)
    assert middle[:, -1] == pytest.approx(middle[:, -2], abs=1e-9)
    for height in (-0.71, -0.137, 0.2, 0.613):
        x = np.linspace(-1, 1, 20_001)
        winners = network.logits(np.column_stack([x, np.full_like(x, height)])).argmax(axis=1)
        ends = ties[:, :, 1] - height
        assert np.sum(ends[:, 0] * ends[:, 1] < 0) == np.sum(np.diff(winners) != 0)


def test_a_tie_on_a_whole_cell_is_no_line():
    """Logits ``0`` and ``max(x, 0)``: equal on the left half."""
    network = ReLUNetwork([[[1.0, 0.0]], [[0.0], [1.0]]], [[0.0], [0.0, 0.0]])
    parts = parts_of(enumerate_cells(network, Box(-1.0, 1.0)), LOW, HIGH)
    assert sorted((p.winner, p.polygon.area) for p in parts) == [(0, 2.0), (1, 2.0)]
    assert all(len(part.ties) == 0 for part in parts)


def test_a_polytope_cuts_the_picture():
    triangle = Polytope([[-1.0, 0.0], [0.0, -1.0], [1.0, 1.0]], [0.0, 0.0, 1.0])
    picture = picture_of(enumerate_cells(random_network(2), triangle))
    areas = [part.polygon.area for part in parts_of(picture.cells, *picture.view())]
    assert math.fsum(areas) == pytest.approx(0.5, rel=1e-9)


def test_a_view_without_end_surrounds_the_points():
    low, high = picture_of(enumerate_cells(random_network(2), Box(-1.0, np.inf))).view()
    assert low.tolist() == [-1.0, -1.0]
    assert high == pytest.approx([2.0 + 0.12 * 4.0, 1.0 + 0.12 * 2.0])
    single = picture_of(enumerate_cells(random_network(2)), around=[(3.0, 4.0)]).view()
    assert np.all(single[0] < [3.0, 4.0])
    assert np.all(single[1] > [3.0, 4.0])


def test_neighbours_have_different_colours():
    cells = enumerate_cells(random_network(2, 1), Box(-1.0, 1.0))
    axes = Figure().add_subplot()
    draw_cells(picture_of(cells), axes)
    (fills,) = (c for c in axes.collections if isinstance(c, PolyCollection))
    colours = {}
    for part, colour in zip(parts_of(cells, LOW, HIGH), fills.get_facecolor(), strict=True):
        colours[part.cell, part.winner] = tuple(colour)
    compared = [
        colours[a, w] != colours[b, w]
        for a, b in cells.graph.edges
        for w in (0, 1)
        if (a, w) in colours and (b, w) in colours
    ]
    assert len(compared) > 20
    assert all(compared)


@pytest.mark.parametrize("support", [Box([0.0, 1.0], [1.0, 1.0])])
def test_a_constant_feature_leaves_no_picture(support):
    with pytest.raises(UnsupportedError, match="two features"):
        picture_of(enumerate_cells(random_network(2), support))
