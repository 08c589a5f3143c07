"""Distances to the error set against the cells engine, and against integer programs."""

import numpy as np
import pytest
from reference.milp import sample_distance
from reference.sample_program import sample_regions
from search.cases import question_of, random_problem

from wdaverify import enumerate_cells, load_problem
from wdaverify.errors import LimitReached
from wdaverify.exact.by_cells import CellOracle
from wdaverify.limits import Limits
from wdaverify.loss import ZeroOne, margins
from wdaverify.search import distances as module
from wdaverify.search.distances import LabelDistances


def search_distances(problem, **options):
    return LabelDistances(
        problem.network, problem.support, problem.cost, problem.points, 0, **options
    )


def correct(problem):
    logits = problem.network.logits(problem.points)
    return np.flatnonzero(margins(logits, problem.labels) < -1e-6)


def pairs(norm):
    """Problems with the brackets of the search and of the cells."""
    for seed in range(14):
        problem = random_problem(seed, norm=norm, samples=12).replace(loss=ZeroOne())
        index = correct(problem)
        if len(index):
            found = search_distances(problem).distances(index)
            cells = enumerate_cells(problem.network, problem.support)
            yield problem, index, found, CellOracle(problem, cells, Limits()).distances(index)


@pytest.mark.parametrize("norm", ["l1", "linf", "l2"])
def test_brackets_hold_what_the_cells_find(norm):
    reached = 0
    for problem, index, found, exact in pairs(norm):
        finite = np.isfinite(exact.upper)
        assert (np.isfinite(found.upper) == finite).all()
        assert np.isinf(found.lower[~finite]).all()
        assert overclaimed(found, exact) <= 1e-12
        low, high = exact.lower[finite], exact.upper[finite]
        assert (found.upper[finite] >= low - 1e-12).all()
        assert (found.upper[finite] - found.lower[finite] <= 1e-8 * (1.0 + high)).all()
        check_witnesses(problem, index[finite], found, finite)
        reached += int(finite.sum())
    assert reached >= 10


def overclaimed(found, exact):
    """How far a lower bound exceeds a distance that is surely no larger."""
    finite = np.isfinite(exact.upper)
    return float((found.lower[finite] - exact.upper[finite]).max(initial=0.0))


def check_witnesses(problem, index, found, finite):
    witnesses = found.witnesses[finite]
    losses = problem.evaluate(witnesses, problem.labels[index])
    assert (losses == 1.0).all()
    assert problem.support.contains(witnesses).all()
    lengths = problem.cost.norm.length(witnesses - problem.points[index])
    assert (lengths == found.upper[finite]).all()


def test_distances_equal_those_of_integer_programs():
    checked = 0
    for seed in range(6):
        problem = random_problem(seed, samples=2).replace(loss=ZeroOne())
        index = correct(problem)
        found = search_distances(problem).distances(index)
        question = question_of(problem)
        regions = sample_regions(question, np.inf)
        for k, i in enumerate(index.tolist()):
            low, high = sample_distance(question, i, regions[i], np.inf)
            assert found.lower[k] <= high + 1e-7
            assert found.upper[k] >= low - 1e-6
            checked += 1
    assert checked >= 4


def test_a_limit_leaves_a_valid_bracket():
    problem = load_problem("problems/breast").head(6).replace(loss=ZeroOne())
    label = int(problem.labels[0])
    index = np.flatnonzero(problem.labels == label)
    arguments = (problem.network, problem.support, problem.cost, problem.points[index], label)
    exact = LabelDistances(*arguments).distances(np.arange(len(index)))
    hurried = LabelDistances(*arguments, limits=Limits(seconds=0.0))
    with pytest.raises(LimitReached):
        hurried.distances(np.arange(len(index)))
    found = hurried.open_bounds(np.arange(len(index)))
    assert (found.lower <= exact.upper).all()
    assert (found.upper >= exact.lower).all()
    assert (found.lower > 0).any()


def test_a_bound_that_is_too_small_is_noticed(monkeypatch):
    """Planted fault: the goal's ball ends at half the nearest error, yet all of it is claimed."""
    honest = module._Nearest.renew

    def blind(goal):
        honest(goal)
        goal.rings = goal.search.rings(0.5 * goal.radii)
        return np.ones(len(goal.radii), dtype=bool)

    monkeypatch.setattr(module._Nearest, "renew", blind)
    monkeypatch.setattr(module, "FIRST_RADII", np.array([1.0]))
    monkeypatch.setattr(module, "CLOSER", ())
    monkeypatch.setattr(module.LabelDistances, "_shortened", lambda _, __, points: points)
    assert max(overclaimed(found, exact) for _, _, found, exact in pairs("linf")) > 1e-3


def test_those_who_watch_are_told_how_far_it_is():
    problem = load_problem("problems/breast").head(6).replace(loss=ZeroOne())
    label = int(problem.labels[0])
    points = problem.points[problem.labels == label]
    words, limits = [], Limits()
    parts = []
    limits.watch.append(lambda text, part: (words.append(text), parts.append(part)))
    search = LabelDistances(
        problem.network, problem.support, problem.cost, points, label, limits=limits
    )
    search.distances(np.arange(len(points)))
    opened = [int(text.split()[0]) for text in words]
    assert opened[0] == len(points)
    assert 0 < opened[-1] < len(points)
    assert parts == [1 - count / len(points) for count in opened]


def test_an_error_very_near_is_bracketed_as_well_as_rounding_allows():
    """The bounds of the last nodes are lost in rounding at a relative 1e-9 below the distance."""
    problem = load_problem("problems/digits").replace(loss=ZeroOne())
    points = problem.points[59:60]
    search = LabelDistances(
        problem.network, problem.support, problem.cost, points, int(problem.labels[59])
    )
    found = search.distances(np.array([0]))
    assert 0 < found.upper[0] < 0.01
    assert found.upper[0] - found.lower[0] <= 1e-8 * found.upper[0]
