"""Closed forms of sub-problems: equal to linear programs, never below a sampled point, attained."""

import math

import numpy as np
import pytest

from wdaverify import Box, Polytope, Problem, ReLUNetwork, enumerate_cells
from wdaverify.cells.recession import steepest_recession
from wdaverify.cost import TransportCost
from wdaverify.exact.penalty import Penalty
from wdaverify.exact.pieces import distance_pieces, loss_pieces
from wdaverify.exact.program import Solution
from wdaverify.exact.recession import escape
from wdaverify.exact.resources import Counts, Programs
from wdaverify.exact.solve import solver_for
from wdaverify.exact.supremum import LabelSupremum
from wdaverify.exact.vertices import Corners
from wdaverify.limits import Limits
from wdaverify.loss import LOSSES, Margin
from wdaverify.norms import norm_named

TRIANGLE = Polytope([[-1.0, 0.1], [0.0, -1.0], [1.0, 1.3]], [0.9, 0.8, 1.1])
PRISM = Polytope(
    [[-1.0, 0.1, 0.0], [0.0, -1.0, 0.2], [1.0, 1.3, 0.1], [0.0, 0.0, 1.0], [0.0, 0.0, -1.0]],
    [0.9, 0.8, 1.1, 0.7, 0.7],
)
SPACES = {
    "line": (1, Box()), "interval": (1, Box(-1.0, 1.0)), "plane": (2, Box()),
    "square": (2, Box(-1.0, 1.0)), "half-plane": (2, Box([-1.0, -np.inf], np.inf)),
    "triangle": (2, TRIANGLE), "space": (3, Box()), "cube": (3, Box(-1.0, 1.0)),
    "prism": (3, PRISM), "slice": (3, Box([-1.0, 0.3, -1.0], [1.0, 0.3, 1.0])),
}  # fmt: skip
MULTIPLIERS = (0.0, 0.4, 1.1, 3.0, 20.0)


def network(seed, features, classes=3):
    rng = np.random.default_rng(seed)
    widths = [features, 5, 3, classes]
    shapes = zip(widths[1:], widths[:-1], strict=True)
    weights = [1.5 * rng.normal(size=shape) / math.sqrt(shape[1]) for shape in shapes]
    return ReLUNetwork(weights, [0.5 * rng.normal(size=width) for width in widths[1:]])


def asked(space, norm, seed=0):
    """Cells, pieces, samples and the closed forms of one label."""
    features, support = SPACES[space]
    support = support.bind(features)
    cells = enumerate_cells(network(seed, features), support)
    pieces = loss_pieces(cells, LOSSES["hinge"], 0)
    samples = np.random.default_rng(seed).uniform(-0.9, 0.9, size=(60, features))
    if space == "slice":
        samples[:, 1] = 0.3
    samples = samples[support.contains(samples)][:4]
    return cells, pieces, samples, Corners(cells, norm_named(norm)).of(pieces)


def closed(vertices, pieces, samples, multiplier):
    """The least line of every piece at every sample, the trivial one among them."""
    lines = vertices.at(multiplier, 1.0)
    table = np.full((len(samples), len(pieces)), np.inf)
    lines.lower(table, samples)
    trivial = samples @ pieces.gradients.T + pieces.offsets
    steep = vertices._norm.dual_length(pieces.gradients) > multiplier
    return lines, np.minimum(table, np.where(steep, np.inf, trivial))


def by_programs(cells, pieces, samples, norm, multiplier):
    """The same by linear programs; infinite where it grows with the reach."""
    programs = Programs(cells, norm_named(norm))
    found = np.empty((len(samples), len(pieces)))
    for piece in range(len(pieces)):
        program = programs.of(pieces, piece)
        for i, sample in enumerate(samples):
            answer = program.solve(pieces.gradients[piece], sample, Penalty(multiplier), 1e6)
            assert isinstance(answer, Solution)
            found[i, piece] = answer.bound + pieces.offsets[piece]
    return np.where(found > 100.0, np.inf, found)


@pytest.mark.parametrize("norm", ["l1", "linf"])
@pytest.mark.parametrize("space", SPACES)
def test_closed_forms_are_those_of_linear_programs(space, norm):
    cells, pieces, samples, vertices = asked(space, norm)
    few = samples[:1]
    for multiplier in MULTIPLIERS[::2]:
        _, table = closed(vertices, pieces, few, multiplier)
        expected = by_programs(cells, pieces, few, norm, multiplier)
        np.testing.assert_allclose(table, expected, rtol=1e-9, atol=1e-9)


def test_the_comparison_notices_a_line_that_is_missing():
    cells, pieces, samples, vertices = asked("square", "linf")
    vertices._high[::3] = -1.0
    _, table = closed(vertices, pieces, samples[:2], 1.1)
    expected = by_programs(cells, pieces, samples[:2], "linf", 1.1)
    assert np.nanmax(table - expected) > 1e-3


def sampled_excess(cells, pieces, samples, found):
    """Largest excess of a sampled point of a piece over its bound."""
    (multiplier, norm), table = found
    support, rng, worst = cells.support, np.random.default_rng(5), -np.inf
    cloud = rng.uniform(-1.5, 1.5, size=(4000, samples.shape[1]))
    lower, upper = (np.maximum(support.bounds[0], -1.5), np.minimum(support.bounds[1], 1.5))
    cloud = np.clip(cloud, lower, upper)
    cloud = cloud[support.contains(cloud)]
    for piece, cell in enumerate(pieces.cells.tolist()):
        points = cloud[cells[cell].contains(cloud)]
        values = points @ pieces.gradients[piece] + pieces.offsets[piece]
        for i, sample in enumerate(samples):
            price = multiplier * norm.length(points - sample)
            worst = max(worst, float((values - price).max(initial=-np.inf)) - table[i, piece])
    return worst


@pytest.mark.parametrize("norm", ["l1", "linf"])
@pytest.mark.parametrize("space", ["line", "square", "triangle", "plane", "cube", "slice"])
def test_no_sampled_point_beats_a_bound(space, norm):
    cells, pieces, samples, vertices = asked(space, norm, seed=1)
    for multiplier in MULTIPLIERS:
        _, table = closed(vertices, pieces, samples, multiplier)
        found = (multiplier, norm_named(norm)), table
        assert sampled_excess(cells, pieces, samples, found) <= 1e-12


def test_sampling_notices_bounds_that_are_too_low():
    cells, pieces, samples, vertices = asked("square", "linf", seed=1)
    _, table = closed(vertices, pieces, samples, 3.0)
    found = (3.0, norm_named("linf")), table - 0.02
    assert sampled_excess(cells, pieces, samples, found) > 0


@pytest.mark.parametrize("norm", ["l1", "linf"])
@pytest.mark.parametrize("space", SPACES)
def test_points_lie_in_their_pieces_and_reach_the_bounds(space, norm):
    """Multiplier 0 apart: there lines tie where a gradient is parallel to a row."""
    cells, pieces, samples, vertices = asked(space, norm, seed=2)
    count = 0
    for multiplier in MULTIPLIERS[1:]:
        lines, table = closed(vertices, pieces, samples, multiplier)
        trivial = samples @ pieces.gradients.T + pieces.offsets
        for piece in np.unique(lines.owners).tolist():
            some = np.flatnonzero(table[:, piece] < trivial[:, piece] - 1e-9)
            points = lines.points(samples[some], np.full(len(some), piece))
            values = points @ pieces.gradients[piece] + pieces.offsets[piece]
            values -= multiplier * vertices._norm.length(points - samples[some])
            assert np.all(cells.support.excess(points) <= 1e-9)
            assert cells[int(pieces.cells[piece])].contains(points, 1e-9).all()
            np.testing.assert_allclose(values, table[some, piece], rtol=0, atol=1e-9)
            count += len(some)
    assert count > 20


def test_lines_are_cuts_whose_steepness_is_at_most_the_multiplier():
    for norm in ("l1", "linf"):
        _, _, _, vertices = asked("triangle", norm)
        for multiplier in MULTIPLIERS:
            lines = vertices.at(multiplier, 1.0)
            steepness = vertices._norm.dual_length(lines.gradients)
            assert multiplier <= lines.slope <= multiplier * (1 + 1e-12) + 1e-12
            assert np.all(steepness <= lines.slope)


def without_vertices(monkeypatch):
    monkeypatch.setattr(Corners, "of", lambda *_: None)


@pytest.mark.parametrize("norm", ["l1", "linf"])
@pytest.mark.parametrize("space", ["plane", "square", "triangle", "cube", "slice"])
def test_suprema_need_no_program_and_are_the_same_without_closed_forms(space, norm, monkeypatch):
    features, support = SPACES[space]
    support, loss, label = support.bind(features), Margin(), 1
    cells = enumerate_cells(network(3, features), support)
    samples = np.random.default_rng(3).uniform(-0.7, 0.7, size=(30, features))
    if space == "slice":
        samples[:, 1] = 0.3
    samples = samples[support.contains(samples)]

    def evaluate(points):
        return loss.evaluate(cells.network.logits(points), np.full(len(points), label))

    def search():
        programs = Programs(cells, norm_named(norm))
        return LabelSupremum(loss_pieces(cells, loss, label), samples, programs, evaluate,
                             counts=Counts(), limits=Limits())  # fmt: skip

    quick, rows, reach = search(), np.arange(len(samples)), np.full(len(samples), np.inf)
    found = {m: quick.suprema(Penalty(m), reach, rows) for m in (12.0, 14.0)}
    assert quick.counts.programs == 0
    without_vertices(monkeypatch)
    slow = search()
    for multiplier, (bounds, points) in found.items():
        expected = slow.bounds(Penalty(multiplier), reach)
        np.testing.assert_allclose(bounds, expected, rtol=1e-9, atol=1e-9)
        below = evaluate(points) - multiplier * norm_named(norm).length(points - samples)
        np.testing.assert_allclose(below, bounds, rtol=1e-9, atol=1e-9)
    assert slow.counts.programs > 0


@pytest.mark.parametrize("loss", ["margin", "hinge", "zero-one"])
@pytest.mark.parametrize("space", ["line", "square", "half-plane", "triangle"])
def test_values_are_the_same_without_closed_forms(space, loss, monkeypatch):
    features, support = SPACES[space]
    rng = np.random.default_rng(4)
    points = rng.uniform(-0.5, 0.5, size=(12, features))
    problem = Problem(
        network(4, features), points, rng.integers(0, 3, 12), loss=LOSSES[loss], support=support,
        cost=TransportCost(norm_named("l1"), 1.0, 0.2 if loss == "hinge" else None),
    )  # fmt: skip
    radii = (0.0, 0.05, 0.3, 2.0)
    solver = solver_for(problem, "cells")
    found = [solver.solve(radius) for radius in radii]
    without_vertices(monkeypatch)
    slow = solver_for(problem, "cells")
    for value, radius in zip(found, radii, strict=True):
        expected = slow.solve(radius)
        assert value.status == expected.status == "exact"
        assert value.upper == pytest.approx(expected.upper, rel=1e-9, abs=1e-9)
        assert value.lower == pytest.approx(expected.lower, rel=1e-9, abs=1e-9)


def test_thresholds_are_rows():
    cells, _, samples, _ = asked("square", "linf", seed=1)
    pieces = distance_pieces(cells, 0)
    vertices = Corners(cells, norm_named("linf")).of(pieces)
    _, table = closed(vertices, pieces, samples, 1.0)
    programs, nonempty = Programs(cells, norm_named("linf")), 0
    for piece in range(len(pieces)):
        for i, sample in enumerate(samples):
            zero = np.zeros(2)
            answer = programs.of(pieces, piece).solve(zero, sample, Penalty(1.0))
            if isinstance(answer, Solution) and answer.bound > -10:
                nonempty += 1
                assert table[i, piece] == pytest.approx(answer.bound, abs=1e-9)
    assert nonempty > 20


@pytest.mark.parametrize("norm", ["l1", "linf"])
def test_degenerate_cells_and_samples_are_settled(norm):
    """Parallel rows, gradients along them, a sample at a corner: ties everywhere."""
    W = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, -1.0], [1.0, 0.0]])
    plane = ReLUNetwork([W, [[1.0, 1.0, -2.0, 1.0, 1.0], [0.0] * 5]], [np.zeros(5), np.zeros(2)])
    points = np.array([[0.0, 0.0], [1.0, 1.0], [0.5, 0.5], [0.5, 0.0], [-1.0, 0.25]])
    problem = Problem(
        plane, points, [1] * 5, support=Box(-1.0, 1.0), cost=TransportCost(norm_named(norm))
    )
    solver = solver_for(problem, "cells")
    axis = np.linspace(-1.0, 1.0, 81)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    losses = problem.evaluate(grid, np.ones(len(grid), dtype=np.int64))
    for multiplier in (0.5, 1.0, 1.5, 2.0):
        distances = norm_named(norm).length(grid[None] - points[:, None])
        expected = (losses - multiplier * distances).max(axis=1)  # corners are on the grid
        solver.pricing.price(multiplier)
        slopes, found = solver.pricing.lines._rounds[-1]
        np.testing.assert_allclose(slopes, multiplier, rtol=1e-12)
        np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("norm", ["l1", "linf"])
@pytest.mark.parametrize("space", ["line", "plane", "half-plane", "space"])
def test_slopes_are_those_of_the_steepest_recession_directions(space, norm):
    cells, pieces, _, vertices = asked(space, norm, seed=6)
    slopes, norm = vertices.slopes(), norm_named(norm)
    support = cells.support.rows.matrix
    for piece in range(len(pieces)):
        matrix = np.concatenate([pieces.rows(cells, piece).matrix, support])
        expected = steepest_recession(pieces.gradients[piece], matrix, norm)
        assert expected.lower - 1e-12 <= slopes[piece] <= expected.upper + 1e-9
    ray, slope = escape(cells, pieces, norm, slopes)
    expected_ray, expected_slope = escape(cells, pieces, norm)
    assert slope == pytest.approx(expected_slope, rel=1e-12)
    assert (ray is None) == (expected_ray is None)
    assert ray is None or ray.slope == pytest.approx(expected_ray.slope, rel=1e-12)
