"""Cells in order of distance: against the list of all cells and their distances."""

from itertools import islice

import numpy as np
import pytest

import wdaverify as wv
from wdaverify.exact.penalty import Penalty
from wdaverify.exact.program import PieceProgram
from wdaverify.exact.walk import cells_by_distance, cells_in_ball
from wdaverify.norms import norm_named

CENTRE = np.array([0.4, 0.7])


def network(seed=0, sizes=(2, 6, 5, 2)):
    rng = np.random.default_rng(seed)
    shapes = list(zip(sizes[1:], sizes[:-1], strict=True))
    return wv.ReLUNetwork(
        [rng.normal(size=s) for s in shapes], [rng.normal(size=s[0]) for s in shapes]
    )


def listed(net, support, point, norm):
    """Every cell's pattern with its distance, by one program a cell."""
    distances = {}
    for cell in wv.enumerate_cells(net, support):
        program = PieceProgram(cell.half_spaces, support.bind(net.features), norm)
        found = program.solve(np.zeros(len(point)), point, Penalty(1.0))
        distances[cell.pattern.tobytes()] = -found.bound
    return distances


@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
@pytest.mark.parametrize("support", [wv.Box(-1.0, 1.0), wv.Box()])
def test_every_cell_once_in_order_of_distance(norm, support):
    net, norm = network(), norm_named(norm)
    expected = listed(net, support, CENTRE, norm)
    met = list(cells_by_distance(net, support, CENTRE, norm))
    found = {m.cell.pattern.tobytes(): m.distance for m in met}
    assert len(met) == len(found) == len(expected)
    assert found.keys() == expected.keys()
    assert all(abs(found[p] - expected[p]) < 1e-8 for p in expected)
    assert np.all(np.diff([m.distance for m in met]) >= 0)


@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
def test_ball_holds_the_cells_that_a_dense_grid_meets(norm):
    net, norm, radius = network(1), norm_named(norm), 0.35
    steps = np.linspace(-radius, radius, 400)
    grid = CENTRE + np.array(np.meshgrid(steps, steps)).reshape(2, -1).T
    grid = grid[norm.length(grid - CENTRE) <= radius]
    seen = {p.tobytes() for p in net.patterns(grid)}
    found = {m.cell.pattern.tobytes() for m in cells_in_ball(net, wv.Box(), CENTRE, radius, norm)}
    assert seen <= found
    assert len(found - seen) <= 2  # slivers between grid points
    assert len(found) < len(wv.enumerate_cells(net))


def test_the_walk_is_lazy():
    net = network(2, (6, 30, 30, 2))
    first = list(islice(cells_by_distance(net, wv.Box(), np.zeros(6), norm_named("linf")), 3))
    own = net.patterns(np.zeros((1, 6)))[0]
    assert np.array_equal(first[0].cell.pattern, own)
    assert first[0].distance == 0


def test_bad_centre_and_radius_are_refused():
    net = network()
    with pytest.raises(wv.ProblemError, match="2 finite coordinates"):
        cells_by_distance(net, wv.Box(), np.zeros(3), norm_named("l2"))
    with pytest.raises(wv.ProblemError, match="radius"):
        list(cells_in_ball(net, wv.Box(), CENTRE, -1.0, norm_named("l2")))
