"""Weak duality: a cut bounds its piece for every sample and every distance, however it was made."""

import itertools
import math

import numpy as np
import pytest
from scipy.optimize import linprog

from wdaverify import Box, Polytope, ReLUNetwork, enumerate_cells
from wdaverify.exact.cuts import Cut, CutPool
from wdaverify.exact.penalty import Penalty
from wdaverify.exact.pieces import distance_pieces, loss_pieces
from wdaverify.exact.question import Proposal
from wdaverify.exact.supremum import Counts, LabelSupremum, Programs
from wdaverify.limits import Limits
from wdaverify.loss import Hinge, Margin
from wdaverify.norms import norm_named

ROUNDING = 1e-9
TRIANGLE = Polytope([[-1.0, 0.1], [0.0, -1.0], [1.0, 1.3]], [0.9, 0.8, 1.1])
SUPPORTS = {"box": Box(-1.0, 1.0), "triangle": TRIANGLE, "space": Box(), "half": Box(-1.0, np.inf)}


def network(seed, features=2, classes=3):
    rng = np.random.default_rng(seed)
    widths = [features, 4, 3, classes]
    shapes = zip(widths[1:], widths[:-1], strict=True)
    weights = [1.5 * rng.normal(size=shape) / math.sqrt(shape[1]) for shape in shapes]
    return ReLUNetwork(weights, [0.5 * rng.normal(size=width) for width in widths[1:]])


def complex_of(seed, space):
    return enumerate_cells(network(seed), SUPPORTS[space])


def points_by_cell(cells, seed, count=4000):
    """Random points of the support, sorted into the cells by the forward pass."""
    points = np.random.default_rng(seed).uniform(-3.0, 3.0, size=(count, cells.network.features))
    points = points[cells.support.bind(cells.network.features).contains(points)]
    found = np.array([-1 if k is None else k for k in cells.locate(points)])
    assert np.all(found >= 0), "a random point lies in no cell"
    return {int(k): points[found == k] for k in np.unique(found)}


def violation(cut, piece, inside, samples, norm):
    """Largest ``a·x + b − (cut at the sample, distance of x)`` over points and samples."""
    gradient, offset = piece
    distances = norm.length(inside[:, None, :] - samples[None, :, :])
    lines = samples @ cut.gradient + cut.offset
    excess = (inside @ gradient + offset)[:, None] - lines - cut.steepness * distances
    return float(excess.max()) if excess.size else -math.inf


def learnt(cells, norm, space, seed):
    """Cuts of many pieces by their programs: (piece index, pieces, program, cut)."""
    rng = np.random.default_rng(seed)
    programs = Programs(cells, norm)
    for label in range(cells.network.classes):
        pieces = loss_pieces(cells, Margin(), label)
        for piece in rng.choice(len(pieces), size=12):
            gradient = pieces.gradients[piece]
            steepest = float(norm.dual_length(gradient))
            bounded = space in ("box", "triangle")
            multiplier = steepest * rng.uniform(0.0 if bounded else 1.0, 1.2)
            sample = rng.uniform(-1, 1, size=cells.network.features)
            program = programs.of(pieces, int(piece))
            penalty = Penalty(multiplier, float(rng.choice([1.0, 1.5, 2.0])))
            cut = program.solve(gradient, sample, penalty).cut
            offset = cut.offset + float(pieces.offsets[piece])
            yield int(piece), pieces, program, cut._replace(offset=offset)


@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
@pytest.mark.parametrize("space", SUPPORTS)
def test_every_cut_bounds_its_piece_for_all_samples_and_distances(norm, space):
    norm, cells = norm_named(norm), complex_of(0, space)
    inside = points_by_cell(cells, 1)
    samples = np.random.default_rng(2).uniform(-1.5, 1.5, size=(40, 2))  # in the support or not
    checked = 0
    for piece, pieces, _, cut in learnt(cells, norm, space, 3):
        there = inside.get(int(pieces.cells[piece]), np.empty((0, 2)))
        affine = pieces.gradients[piece], pieces.offsets[piece]
        assert violation(cut, affine, there, samples, norm) <= ROUNDING
        checked += len(there)
    assert checked > 100


@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
@pytest.mark.parametrize("space", SUPPORTS)
def test_noise_signs_and_rounding_of_the_solver_cannot_break_a_cut(norm, space):
    norm, cells = norm_named(norm), complex_of(1, space)
    inside = points_by_cell(cells, 4)
    rng = np.random.default_rng(5)
    samples = rng.uniform(-1.5, 1.5, size=(40, 2))
    worst, tightest = -math.inf, math.inf
    for piece, pieces, program, _ in learnt(cells, norm, space, 6):
        there = inside.get(int(pieces.cells[piece]), np.empty((0, 2)))
        affine = pieces.gradients[piece], pieces.offsets[piece]
        rows = len(program.bound)
        for scale, decimals in itertools.product((0.0, 0.3, 5.0), (None, 1)):
            eta, reduced = scale * rng.normal(size=rows), scale * rng.normal(size=2)
            if decimals:
                eta, reduced = np.round(eta, decimals), np.round(reduced, decimals)
            cut = program._cut(Proposal(np.zeros(2), eta, reduced), affine[0], 1.0)
            cut = cut._replace(offset=cut.offset + affine[1])
            found = violation(cut, affine, there, samples, norm)
            worst, tightest = max(worst, found), min(tightest, -found)
    assert worst <= ROUNDING
    assert tightest < 0.1, "all of these cuts are so loose that nothing was tested"


@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
@pytest.mark.parametrize("space", ["box", "space"])
def test_cuts_of_the_error_set_bound_the_distance(norm, space):
    """With objective 0 and multiplier 1 the cut says ``distance >= −line``."""
    norm, cells = norm_named(norm), complex_of(2, space)
    inside = points_by_cell(cells, 7)
    samples = np.random.default_rng(8).uniform(-1, 1, size=(40, 2))
    programs, checked = Programs(cells, norm), 0
    for label in range(3):
        pieces = distance_pieces(cells, label)
        for piece in range(0, len(pieces), 3):
            there = inside.get(int(pieces.cells[piece]), np.empty((0, 2)))
            a, b = pieces.thresholds.matrix[piece], pieces.thresholds.offset[piece]
            there = there[there @ a + b >= 0]
            if len(there):
                program = programs.of(pieces, piece)
                cut = program.solve(np.zeros(2), samples[0], Penalty(1.0)).cut
                assert cut.steepness <= 1.0 + ROUNDING
                assert violation(cut, (np.zeros(2), 0.0), there, samples, norm) <= ROUNDING
                checked += 1
    assert checked > 5


def supremum(complex_, loss, label, samples, norm):
    pieces = loss_pieces(complex_, loss, label)

    def evaluate(points):
        logits = complex_.network.logits(points)
        return loss.evaluate(logits, np.full(len(points), label))

    programs = Programs(complex_, norm)
    return LabelSupremum(pieces, samples, programs, evaluate, counts=Counts(), limits=Limits())


def brute_force(cells, pieces, sample, multiplier, reach):
    """The same supremum by one scipy program for each piece, in l∞."""
    best, n = -math.inf, len(sample)
    for piece in range(len(pieces)):
        G, h = pieces.rows(cells, piece)
        A, b = cells.support.bind(n).rows
        ball = np.block([[np.eye(n), -np.ones((n, 1))], [-np.eye(n), -np.ones((n, 1))]])
        matrix = np.vstack([np.pad(np.vstack([G, A]), ((0, 0), (0, 1))), ball])
        bound = np.concatenate([h, b, sample, -sample])
        costs = np.append(-pieces.gradients[piece], multiplier)
        limits = [(None, None)] * n + [(0, reach)]
        found = linprog(costs, A_ub=matrix, b_ub=bound, bounds=limits, method="highs")
        if found.status == 0:
            best = max(best, -found.fun + pieces.offsets[piece])
    return best


@pytest.mark.parametrize("loss", [Margin(), Hinge()])
@pytest.mark.parametrize(("multiplier", "reach"), [(0.7, 2.0), (0.0, 0.2), (2.5, 0.4)])
def test_suprema_by_shared_cuts_are_those_of_every_piece_and_sample(loss, multiplier, reach):
    norm, cells = norm_named("linf"), complex_of(3, "box")
    samples = np.random.default_rng(9).uniform(-1, 1, size=(6, 2))
    search = supremum(cells, loss, 1, samples, norm)
    found = search.bounds(Penalty(multiplier), np.full(6, reach))
    pieces = loss_pieces(cells, loss, 1)
    expected = [brute_force(cells, pieces, x, multiplier, reach) for x in samples]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-8)
    again = search.bounds(Penalty(multiplier), np.full(6, reach))
    np.testing.assert_allclose(again, expected, rtol=0, atol=1e-8)


def test_sharing_solves_far_fewer_programs_than_pairs():
    norm, cells = norm_named("l2"), complex_of(3, "box")
    samples = np.random.default_rng(9).uniform(-1, 1, size=(50, 2))
    search = supremum(cells, Margin(), 1, samples, norm)
    search.bounds(Penalty(1.0), np.full(50, 2.0))
    assert 0 < search.counts.programs < 50 * len(search.pieces) / 10


def test_the_pool_takes_the_least_cut_of_each_piece():
    norm, cells = norm_named("linf"), complex_of(4, "box")
    pieces = loss_pieces(cells, Margin(), 0)
    samples = np.random.default_rng(10).uniform(-1, 1, size=(5, 2))
    pool = CutPool(pieces, norm)
    cuts = [(k, Cut(g, float(b), float(norm.dual_length(g)))) for k, (g, b) in enumerate(
        zip(pieces.gradients, pieces.offsets, strict=True))]  # fmt: skip
    for piece, of_label, _, cut in learnt(cells, norm, "box", 11):
        if of_label.label == 0:
            pool.add(piece, cut)
            cuts.append((piece, cut))
    reach = np.array([0.1, 0.5, 1.0, 2.0, 0.0])
    table = pool.bounds(samples, Penalty(0.8), reach)
    for i, sample in enumerate(samples):
        for piece in range(len(pieces)):
            lines = [
                sample @ cut.gradient + cut.offset + max(0.0, cut.steepness - 0.8) * reach[i]
                for owner, cut in cuts
                if owner == piece
            ]
            assert table[i, piece] == pytest.approx(min(lines), abs=1e-9)


def test_bounds_hold_without_rounding_for_the_slope_that_the_pool_names():
    """What counted as rounding above the multiplier is charged by the slope instead."""
    norm, cells = norm_named("linf"), complex_of(5, "space")
    pieces = loss_pieces(cells, Margin(), 0)
    pool = CutPool(pieces, norm)
    multiplier = float(pool.steepness.max()) / (1.0 + 5e-10)
    samples, distances = np.zeros((1, 2)), np.geomspace(1e-3, 1e12, 30)
    phi = float(pool.bounds(samples, Penalty(multiplier), np.array([np.inf])).max())
    slope = pool.slope(Penalty(multiplier))
    assert math.isfinite(phi)
    assert multiplier < slope <= multiplier * (1 + 1e-8)
    lines = pool.offsets[:, None] + pool.steepness[:, None] * distances
    assert np.all(lines <= phi + slope * distances * (1 + 1e-15))
    assert np.any(lines > phi + multiplier * distances)


def test_a_line_that_is_too_low_would_be_noticed():
    norm, cells = norm_named("linf"), complex_of(0, "box")
    inside, samples = points_by_cell(cells, 1), np.random.default_rng(2).uniform(-1, 1, (40, 2))
    broken = 0
    for piece, pieces, _, cut in learnt(cells, norm, "box", 3):
        there = inside.get(int(pieces.cells[piece]), np.empty((0, 2)))
        flat = cut._replace(steepness=0.9 * cut.steepness, offset=cut.offset - 0.05)
        affine = pieces.gradients[piece], pieces.offsets[piece]
        broken += violation(flat, affine, there, samples, norm) > ROUNDING
    assert broken > 0
