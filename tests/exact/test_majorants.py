"""Majorants lie above the loss on their whole part, parts cover every cell, splits are tight."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from wdaverify import Box, Polytope, ReLUNetwork, enumerate_cells
from wdaverify.exact.majorants import largest_differences, logit_maps
from wdaverify.exact.pieces import asymptotic_pieces, ceiling, loss_pieces
from wdaverify.exact.recession import escape
from wdaverify.exact.softmax import envelope_plane
from wdaverify.loss import DLR, CrossEntropy, Margin, TruncatedDLR
from wdaverify.norms import norm_named

ROUNDING = 1e-9
TRIANGLE = Polytope([[-1.0, 0.1], [0.0, -1.0], [1.0, 1.3]], [0.9, 0.8, 1.1])
SUPPORTS = {"box": Box(-1.0, 1.0), "triangle": TRIANGLE, "half": Box(-1.0, np.inf)}
CASES = [(CrossEntropy(), 2), (CrossEntropy(), 3), (CrossEntropy(), 4), (CrossEntropy(), 5),
         (DLR(), 3), (TruncatedDLR(), 3), (TruncatedDLR(), 4), (DLR(), 4)]  # fmt: skip


def complex_of(seed, classes, space="box"):
    rng = np.random.default_rng(seed)
    widths = [2, 4, 3, classes]
    shapes = zip(widths[1:], widths[:-1], strict=True)
    weights = [1.5 * rng.normal(size=shape) / math.sqrt(shape[1]) for shape in shapes]
    biases = [0.5 * rng.normal(size=width) for width in widths[1:]]
    return enumerate_cells(ReLUNetwork(weights, biases), SUPPORTS[space])


def sample(cells, seed, count=3000):
    """Random points of the support with their cell."""
    points = np.random.default_rng(seed).uniform(-1.0, 2.0, size=(count, 2))
    points = points[cells.support.bind(2).contains(points)]
    return points, np.array(cells.locate(points))


def formula(loss, logits, label):
    return loss.evaluate(logits, np.full(len(logits), label))


def worst_violation(parts, cells, loss, label, points, found):
    """Largest ``loss − majorant`` over sampled points of parts, and the points in no part."""
    losses = formula(loss, cells.network.logits(points), label)
    worst, covered = -np.inf, np.zeros(len(points), dtype=bool)
    for part in parts:
        G, h = part.rows
        inside = (found == part.cell) & np.all(points @ G.T <= h + 1e-12, axis=1)
        covered |= inside
        if inside.any() and np.isfinite(part.offset):
            above = points[inside] @ part.gradient + part.offset
            worst = max(worst, float((losses[inside] - above).max()))
    return worst, np.count_nonzero(~covered)


def refined(majorants, parts, cells, rounds, seed):
    """Leaves after refining random parts at points of theirs."""
    rng = np.random.default_rng(seed)
    points, found = sample(cells, seed + 1, 400)
    leaves = list(parts)
    for _ in range(rounds):
        k = int(rng.integers(len(points)))
        for part in list(leaves):
            G, h = part.rows
            if part.cell == found[k] and np.all(G @ points[k] <= h):
                new = majorants.refine(part, points[k])
                if new:
                    leaves.remove(part)
                    leaves += new
                break
    return leaves


@pytest.mark.parametrize("space", ["box", "triangle", "half"])
@pytest.mark.parametrize(("loss", "classes"), CASES)
def test_majorants_lie_above_the_loss_and_parts_cover_the_support(loss, classes, space):
    for seed in range(2):
        cells = complex_of(seed, classes, space)
        points, found = sample(cells, seed)
        for label in range(classes):
            pieces = loss_pieces(cells, loss, label)
            for parts in (pieces.parts, refined(pieces.majorants, pieces.parts, cells, 60, seed)):
                worst, missed = worst_violation(parts, cells, loss, label, points, found)
                assert worst <= ROUNDING
                assert missed == 0


@pytest.mark.parametrize(("loss", "classes"), CASES)
def test_refining_at_a_point_ends_with_a_majorant_that_is_tight_there(loss, classes):
    cells = complex_of(3, classes)
    points, found = sample(cells, 4, 60)
    losses = formula(loss, cells.network.logits(points), 1)
    pieces = loss_pieces(cells, loss, 1)
    for point, cell, value in zip(points, found, losses, strict=True):
        leaves = [part for part in pieces.parts if part.cell == cell and np.isfinite(part.offset)]
        leaves = [part for part in leaves if np.all(part.rows.matrix @ point <= part.rows.offset)]
        for _ in range(4 * classes):
            leaves = [
                child
                for part in leaves
                for child in (
                    pieces.majorants.refine(part, point)
                    if part.majorant(point) > value + 1e-9
                    else [part]
                )
            ]
        for part in leaves:
            assert part.majorant(point) <= value + 1e-8


def test_a_tangent_instead_of_the_chord_would_be_noticed():
    """The check of this file can fail: tangents lie below a convex function."""
    cells = complex_of(0, 3)
    points, found = sample(cells, 0)
    maps = logit_maps(cells)
    broken = []
    for part in loss_pieces(cells, CrossEntropy(), 0).parts:
        J, c = maps.matrices[part.cell], maps.offsets[part.cell]
        x = cells[part.cell].interior
        p = np.exp(J @ x + c - (J @ x + c).max())
        p /= p.sum()
        gradient = p @ J - J[0]
        value = formula(CrossEntropy(), (J @ x + c)[None], 0)[0]
        broken.append(replace(part, gradient=gradient, offset=value - gradient @ x))
    worst, _ = worst_violation(broken, cells, CrossEntropy(), 0, points, found)
    assert worst > 1e-3


def test_slabs_of_the_ratio_with_the_ends_exchanged_would_be_noticed():
    cells = complex_of(0, 3)
    points, found = sample(cells, 0)
    worst = -np.inf
    for label in range(3):
        pieces = loss_pieces(cells, DLR(), label)
        for part in refined(pieces.majorants, pieces.parts, cells, 60, 1):
            if part.lower[1] > 0 and part.upper[0] > part.lower[0]:
                d0, d1 = part.upper[1], part.lower[1]
                lower, upper = np.array([part.lower[0], d0]), np.array([part.upper[0], d1])
                wrong = replace(part, lower=lower, upper=upper)
                wrong = pieces.majorants.planed(wrong, np.array([part.lower[0], d0]))
                found_worst, _ = worst_violation([wrong], cells, DLR(), label, points, found)
                worst = max(worst, found_worst)
    assert worst > 1e-6


@pytest.mark.parametrize("classes", [2, 3, 4, 5, 10])
def test_envelope_plane_lies_above_log_sum_exp_on_its_box(classes):
    rng = np.random.default_rng(classes)
    for trial in range(30):
        lower = -rng.exponential(2.0, size=classes)
        upper = lower + rng.uniform(0, 1, size=classes) * -lower
        lower[rng.random(classes) < 0.2] = -np.inf
        lower[0] = upper[0] = 0.0
        finite = np.where(np.isfinite(lower), lower, upper - 40.0)
        d = rng.uniform(finite, upper)
        weights, constant = envelope_plane(lower, upper, 0, d)
        ends = np.array(list(itertools.product(*zip(finite, upper, strict=True))))[:2000]
        inside = np.concatenate([rng.uniform(finite, upper, size=(500, classes)), ends])
        values = np.log(np.exp(inside).sum(axis=1))
        assert np.all(inside @ weights + constant >= values - 1e-12), trial
        assert weights.min() >= -1e-9


def test_envelope_plane_for_three_classes_is_the_concave_envelope():
    """The best affine majorant at a point, by a fine search over the vertex triangulations."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        lower, width = -rng.exponential(2.0, 3), rng.uniform(0.1, 1.0, 3)
        upper = lower * (1 - width)
        lower[0] = upper[0] = 0.0
        d = rng.uniform(lower, upper)
        weights, constant = envelope_plane(lower, upper, 0, d)
        corners = np.array(list(itertools.product(*zip(lower[1:], upper[1:], strict=True))))
        values = np.log(1 + np.exp(corners).sum(axis=1))
        best = -np.inf
        for triple in itertools.combinations(range(4), 3):
            A = np.vstack([corners[list(triple)].T, np.ones(3)])
            shares = np.linalg.solve(A, np.append(d[1:], 1.0))
            if shares.min() >= 0:
                best = max(best, float(shares @ values[list(triple)]))
        assert weights @ d + constant == pytest.approx(best, abs=1e-10)


def test_largest_differences_bound_the_logits():
    for seed, space in itertools.product(range(3), SUPPORTS):
        cells = complex_of(seed, 4, space)
        points, found = sample(cells, seed)
        z = cells.network.logits(points)
        bounds = largest_differences(cells)[found]
        assert np.all(z[:, :, None] - z[:, None, :] <= bounds + 1e-9)


def plane_network(classes):
    """Logits ``x_1, x_2, 0, −1 …`` on the whole plane."""
    W = np.zeros((classes, 2))
    W[0, 0] = W[1, 1] = 1.0
    b = np.where(np.arange(classes) < 3, 0.0, -1.0)
    return ReLUNetwork([np.vstack([np.eye(2), -np.eye(2)]), np.hstack([W, -W])], [np.zeros(4), b])


def test_dlr_is_infinite_where_three_other_logits_tie():
    box = Box(-1.0, 2.0)
    pieces = loss_pieces(enumerate_cells(plane_network(4), box), DLR(), 3)
    np.testing.assert_allclose(pieces.infinite, [0.0, 0.0], atol=1e-12)
    assert ceiling(enumerate_cells(plane_network(4), box), DLR(), 3) == np.inf
    away = enumerate_cells(plane_network(4), Box([0.5, -1.0], [2.0, 2.0]))
    clear = loss_pieces(away, DLR(), 3)
    assert clear.infinite is None
    grid = np.stack(np.meshgrid(np.linspace(0.5, 2, 151), np.linspace(-1, 2, 301)), -1)
    losses = formula(DLR(), away.network.logits(grid.reshape(-1, 2)), 3)
    assert losses.max() <= ceiling(away, DLR(), 3) < np.inf
    assert loss_pieces(enumerate_cells(plane_network(4), box), TruncatedDLR(), 3).infinite is None


def falling_line():
    """Logits ``−x, 1, 0, −1``: the label 0 falls from the first place to the fourth."""
    W = np.array([[-1.0, 1.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    return ReLUNetwork([[[1.0], [-1.0]], W], [np.zeros(2), np.array([0.0, 1.0, 0.0, -1.0])])


def test_dlr_grows_along_rays_as_the_asymptotic_pieces_say():
    cells = enumerate_cells(falling_line(), Box())
    pieces = asymptotic_pieces(cells, DLR(), 0)
    ray, slope = escape(cells, pieces, norm_named("linf"))
    assert slope == pytest.approx(0.5, abs=1e-9)
    far = ray.base + 1e6 * ray.direction
    assert formula(DLR(), cells.network.logits(far[None]), 0)[0] == pytest.approx(5e5, rel=1e-4)
    assert ceiling(cells, DLR(), 0) == np.inf
    for label in (1, 2, 3):
        assert ceiling(cells, DLR(), label) < np.inf


def test_asymptotic_pieces_and_ceilings():
    cells = complex_of(1, 3, "half")
    margin = loss_pieces(cells, Margin(), 1)
    entropy = asymptotic_pieces(cells, CrossEntropy(), 1)
    np.testing.assert_array_equal(entropy.gradients, margin.gradients)
    assert not asymptotic_pieces(cells, DLR(), 1).gradients.any()
    assert ceiling(cells, DLR(), 1) <= 1.0
    assert ceiling(cells, TruncatedDLR(), 1) == 1.0
    assert ceiling(cells, CrossEntropy(), 1) == np.inf
