"""Suprema of every loss: bounds and witnesses meet, and no fine sampling finds more."""

import math

import numpy as np
import pytest

from wdaverify import Box, Polytope, ReLUNetwork, enumerate_cells
from wdaverify.errors import LimitReached
from wdaverify.exact.penalty import Penalty
from wdaverify.exact.pieces import loss_pieces
from wdaverify.exact.supremum import Counts, LabelSupremum, Programs
from wdaverify.exact.witnesses import Witnesses
from wdaverify.limits import Limits
from wdaverify.loss import LOSSES
from wdaverify.norms import norm_named

TOLERANCE = 1e-8
TRIANGLE = Polytope([[-1.0, 0.1], [0.0, -1.0], [1.0, 1.3]], [0.9, 0.8, 1.1])
SUPPORTS = {"box": Box(-1.0, 1.0), "triangle": TRIANGLE, "half": Box(-1.0, np.inf), "space": Box()}
CASES = [("cross-entropy", 2), ("cross-entropy", 3), ("cross-entropy", 4), ("dlr", 3),
         ("truncated-dlr", 4), ("margin", 3), ("hinge", 3)]  # fmt: skip


def network(seed, classes):
    rng = np.random.default_rng(seed)
    widths = [2, 4, 3, classes]
    shapes = zip(widths[1:], widths[:-1], strict=True)
    weights = [1.5 * rng.normal(size=shape) / math.sqrt(shape[1]) for shape in shapes]
    return ReLUNetwork(weights, [0.5 * rng.normal(size=width) for width in widths[1:]])


def supremum_of(cells, loss, label, samples, norm="linf", **options):
    def evaluate(points):
        return loss.evaluate(cells.network.logits(points), np.full(len(points), label))

    options = {"counts": Counts(), "limits": Limits(), **options}
    programs = Programs(cells, norm_named(norm))
    return LabelSupremum(loss_pieces(cells, loss, label), samples, programs, evaluate, **options)


def points_of(cells, count, seed, wide=1.0):
    points = np.random.default_rng(seed).uniform(-wide, wide, size=(count, 2))
    return points[cells.support.contains(points)]


def from_below(search, penalty, reach, points):
    """What the best points reach, evaluated anew."""
    distances = search.norm.length(points - search.samples)
    assert np.all(distances <= reach * (1 + 1e-9))
    return search.evaluate(points) - penalty.of(distances)


def sampled(search, penalty, reach, points):
    distances = search.norm.length(points[None] - search.samples[:, None])
    values = search.evaluate(points) - penalty.of(distances)
    return np.where(distances <= reach[:, None], values, -np.inf).max(axis=1)


@pytest.mark.parametrize("space", SUPPORTS)
@pytest.mark.parametrize(("name", "classes"), CASES)
def test_bounds_meet_witnesses_and_no_sampled_point_beats_them(name, classes, space):
    for seed in range(2 if classes < 4 else 1):
        cells = enumerate_cells(network(seed, classes), SUPPORTS[space])
        samples = points_of(cells, 40, seed)[:3]
        points = np.concatenate([points_of(cells, 8000, 1), points_of(cells, 8000, 2, 4.0)])
        norm = ["linf", "l1"][seed]
        for label in range(classes):
            search = supremum_of(cells, LOSSES[name], label, samples, norm)
            for multiplier, radius in ((9.0, np.inf), (0.7, 0.6)):
                penalty, reach = Penalty(multiplier), np.full(len(samples), radius)
                rows = np.arange(len(samples))
                bounds, best = search.suprema(penalty, reach, rows, tolerance=TOLERANCE)
                below = from_below(search, penalty, reach, best)
                assert np.all(bounds >= sampled(search, penalty, reach, points) - 1e-9)
                assert np.all(bounds - below <= 2 * TOLERANCE * np.maximum(1, np.abs(below)))


@pytest.mark.parametrize("order", [1.0, 2.0])
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("name", ["cross-entropy", "dlr"])
def test_other_norms_and_orders(name, norm, order):
    cells = enumerate_cells(network(5, 3), SUPPORTS["box"])
    samples, points = points_of(cells, 4, 1), points_of(cells, 40000, 2)
    for label in range(3):
        search = supremum_of(cells, LOSSES[name], label, samples, norm)
        penalty, reach = Penalty(1.3, order), np.full(len(samples), 3.0)
        rows = np.arange(len(samples))
        bounds, best = search.suprema(penalty, reach, rows, tolerance=1e-6)
        below = from_below(search, penalty, reach, best)
        assert np.all(bounds >= sampled(search, penalty, reach, points) - 1e-9)
        assert np.all(bounds - below <= 1e-5)


def test_two_classes_have_the_closed_form_of_the_margin():
    """Within reach, cross-entropy is ``log(1 + exp(largest margin))``."""
    cells = enumerate_cells(network(2, 2), SUPPORTS["box"])
    samples, reach = points_of(cells, 20, 3), np.full(20, 0.3)
    for label in range(2):
        margin = supremum_of(cells, LOSSES["margin"], label, samples)
        entropy = supremum_of(cells, LOSSES["cross-entropy"], label, samples)
        expected = np.logaddexp(0.0, margin.bounds(Penalty(0.0), reach))
        found = entropy.bounds(Penalty(0.0), reach, tolerance=1e-9)
        np.testing.assert_allclose(found, expected, atol=2e-9)


def test_on_a_line_cross_entropy_stops_where_its_slope_is_the_multiplier_or_at_a_kink():
    """Margin ``4x`` for ``x >= 0``, flat before: softplus(4x) − 3x is convex, so an end wins."""
    line = ReLUNetwork([[[1.0]], [[0.0], [4.0]]], [[0.0], [0.0, 0.0]])
    cells = enumerate_cells(line, Box(-1.0, 1.0))
    samples = np.array([[-0.5], [0.0], [0.4]])
    search = supremum_of(cells, LOSSES["cross-entropy"], 0, samples)
    found = search.bounds(Penalty(3.0), np.full(3, 2.0), tolerance=1e-9)

    def softplus(x):
        return np.logaddexp(0.0, 4.0 * max(x, 0.0))

    expected = [max(softplus(x), softplus(1.0) - 3.0 * (1.0 - x)) for (x,) in samples]
    np.testing.assert_allclose(found, expected, atol=2e-9)
    assert expected[0] == pytest.approx(math.log(2.0))
    assert expected[2] > softplus(0.4)


def test_a_floor_saves_work_and_bounds_stay_valid():
    cells = enumerate_cells(network(4, 3), SUPPORTS["box"])
    samples, reach = points_of(cells, 30, 1), np.full(30, 0.5)
    full = supremum_of(cells, LOSSES["cross-entropy"], 0, samples)
    values = full.bounds(Penalty(0.2), reach, tolerance=TOLERANCE)
    quick = supremum_of(cells, LOSSES["cross-entropy"], 0, samples)
    bounds = quick.bounds(Penalty(0.2), reach, floor=values + 0.01, tolerance=TOLERANCE)
    assert np.all(bounds >= values - 1e-9)
    assert np.all(bounds <= values + 0.01 + 1e-6)
    assert quick.counts.programs < full.counts.programs


def test_after_a_limit_the_open_bounds_are_valid():
    cells = enumerate_cells(network(4, 3), SUPPORTS["box"])
    samples, reach = points_of(cells, 10, 1), np.full(10, 0.5)
    values = supremum_of(cells, LOSSES["cross-entropy"], 0, samples).bounds(Penalty(0.2), reach)
    stopped = supremum_of(cells, LOSSES["cross-entropy"], 0, samples, limits=Limits(seconds=0.0))
    with pytest.raises(LimitReached):
        stopped.bounds(Penalty(0.2), reach)
    bounds = stopped.open_bounds(Penalty(0.2), reach, np.arange(10))
    assert np.all(np.isfinite(bounds))
    assert np.all(bounds >= values - 1e-9)
    done = supremum_of(cells, LOSSES["cross-entropy"], 0, samples)
    tight = done.bounds(Penalty(0.2), reach, tolerance=TOLERANCE)
    np.testing.assert_allclose(
        done.open_bounds(Penalty(0.2), reach, np.arange(10)), tight, atol=1e-7
    )


def test_pieces_refined_for_one_multiplier_serve_the_next():
    cells = enumerate_cells(network(6, 3), SUPPORTS["box"])
    samples, reach = points_of(cells, 10, 1), np.full(10, 3.0)
    search = supremum_of(cells, LOSSES["cross-entropy"], 0, samples)
    search.bounds(Penalty(0.5), reach, tolerance=TOLERANCE)
    first = search.counts.programs
    again = search.bounds(Penalty(0.5), reach, tolerance=TOLERANCE)
    assert search.counts.programs - first <= first / 20
    fresh = supremum_of(cells, LOSSES["cross-entropy"], 0, samples)
    other = fresh.bounds(Penalty(0.4), reach, tolerance=TOLERANCE)
    np.testing.assert_allclose(
        search.bounds(Penalty(0.4), reach, tolerance=TOLERANCE), other, atol=1e-7
    )
    np.testing.assert_array_less(other, again + 0.1 * 3.0 + 1e-6)


def test_dlr_is_infinite_only_for_samples_that_reach_a_tie():
    W = np.zeros((4, 2))
    W[0, 0] = W[1, 1] = 1.0
    plane = ReLUNetwork([np.vstack([np.eye(2), -np.eye(2)]), np.hstack([W, -W])],
                        [np.zeros(4), np.array([0.0, 0.0, 0.0, -1.0])])  # fmt: skip
    cells = enumerate_cells(plane, Box(-1.0, 2.0))
    samples = np.array([[0.1, 0.1], [0.6, 0.7], [1.5, -0.5]])
    search = supremum_of(cells, LOSSES["dlr"], 3, samples)
    near = search.bounds(Penalty(0.0), np.full(3, 0.3), tolerance=TOLERANCE)
    assert near[0] == np.inf
    points = samples[:, None] + np.random.default_rng(0).uniform(-0.3, 0.3, (3, 40000, 2))
    for i in (1, 2):
        best = search.evaluate(points[i]).max()
        assert best - 1e-9 <= near[i] <= best + 0.1
    assert np.all(search.bounds(Penalty(1.0), np.full(3, np.inf)) == np.inf)


def test_witnesses_find_the_best_point_for_every_norm():
    rng = np.random.default_rng(0)
    samples, points = rng.normal(size=(7, 3)), rng.normal(size=(50, 3))
    own, values = rng.normal(size=7), rng.normal(size=50) + 2
    for name in ("l1", "l2", "linf"):
        norm = norm_named(name)
        witnesses = Witnesses(samples, own, norm)
        for k in range(50):
            witnesses.add(points[k : k + 1], values[k : k + 1])
        index, value = witnesses.best(Penalty(0.7, 2.0), np.full(7, 1.5), np.arange(7))
        for i in range(7):
            distances = norm.length(points - samples[i])
            offered = np.where(distances <= 1.5, values - 0.7 * distances**2, -np.inf)
            expected = max(own[i], offered.max())
            assert value[i] == pytest.approx(expected, abs=1e-12)
            assert index[i] == (i if own[i] >= offered.max() else 7 + offered.argmax())
