"""Suprema against engines that share no code with the search: cells, and integer programs."""

import math

import numpy as np
import pytest
from reference.milp import sample_supremum
from reference.sample_program import sample_regions
from search.cases import question_of, random_problem, search_of

from wdaverify import Box, ReLUNetwork, TransportCost, enumerate_cells, load_problem
from wdaverify.errors import LimitReached, UnsupportedError
from wdaverify.exact.by_cells import CellOracle
from wdaverify.exact.oracle import Asked
from wdaverify.exact.penalty import Penalty
from wdaverify.limits import Limits
from wdaverify.search.nodes import Nodes
from wdaverify.search.suprema import LabelSearch


def cells_suprema(problem, cells, multiplier, reach):
    oracle = CellOracle(problem, cells, Limits())
    everyone = np.arange(len(problem))
    floor = np.full(len(problem), -np.inf)
    penalty = Penalty(multiplier, problem.cost.order)
    return oracle.suprema(Asked(0, everyone, penalty, reach, floor, 1e-10)).bounds


CASES = [("l1", 1), ("linf", 1), ("linf", 2), ("l1", 3), ("l2", 1), ("l2", 2)]


@pytest.mark.parametrize(("norm", "order"), CASES)
@pytest.mark.parametrize("loss", ["margin", "hinge"])
def test_suprema_equal_those_of_the_cells(norm, order, loss):
    for seed in range(4):
        problem = random_problem(seed, norm=norm, loss=loss, order=order)
        search = search_of(problem)
        cells = enumerate_cells(problem.network, problem.support)
        everyone = np.arange(len(problem))
        for multiplier, limit in ((0.7, math.inf), (0.2, math.inf), (0.0, 0.3), (0.3, 0.3)):
            reach = np.full(len(problem), limit)
            found = search.suprema(everyone, multiplier, reach)
            exact = cells_suprema(problem, cells, multiplier, reach)
            scale = np.maximum(1.0, np.abs(exact))
            assert (np.abs(found.bounds - exact) <= 5e-9 * scale).all(), (seed, multiplier)
            assert (found.bounds - found.values <= 2e-9 * scale).all(), (seed, multiplier)
            assert (found.values <= found.bounds).all()


def test_suprema_equal_those_of_integer_programs():
    for seed in range(5):
        problem = random_problem(seed, samples=2)
        search, question = search_of(problem), question_of(problem)
        regions = sample_regions(question, math.inf)
        found = search.suprema(np.arange(2), 0.25, np.full(2, math.inf))
        for i, region in enumerate(regions):
            exact = sample_supremum(question, i, 0.25, region, math.inf)
            assert found.bounds[i] >= exact.lower - 1e-9
            assert found.values[i] <= exact.upper + 1e-6


def real_search(folder, samples, norm="linf", **options):
    problem = load_problem(folder).head(samples).replace(cost=TransportCost(norm, 1.0))
    label = int(problem.labels[0])
    points = problem.points[problem.labels == label]
    parts = (problem.network, problem.support, problem.loss, problem.cost, points, label)
    return LabelSearch(*parts, **options), len(points)


def test_bounds_are_valid_after_a_limit():
    patient, count = real_search("problems/breast", 6)
    everyone, reach = np.arange(count), np.full(count, np.inf)
    exact = patient.suprema(everyone, 20.0, reach)
    hurried, _ = real_search("problems/breast", 6, limits=Limits(seconds=0.0))
    with pytest.raises(LimitReached):
        hurried.suprema(everyone, 20.0, reach)
    found = hurried.open_bounds(everyone)
    assert (found.bounds >= exact.values).all()
    assert np.isfinite(found.bounds).all()
    assert (found.values <= exact.bounds).all()


def test_leaves_serve_other_multipliers():
    """A multiplier asked again costs no node; a fresh search agrees with a used one."""
    search, count = real_search("problems/iris", 12)
    everyone, reach = np.arange(count), np.full(count, np.inf)
    first = search.suprema(everyone, 12.0, reach)
    search.suprema(everyone, 6.0, reach)
    nodes = search.work.nodes
    again = search.suprema(everyone, 12.0, reach)
    assert search.work.nodes - nodes <= nodes // 20
    assert np.allclose(first.bounds, again.bounds, rtol=0, atol=3e-9)


def test_a_floor_ends_the_search_early():
    search, count = real_search("problems/breast", 6)
    everyone, reach = np.arange(count), np.full(count, np.inf)
    found = search.suprema(everyone, 5.0, reach, floor=np.full(count, 1e3))
    assert search.work.programs == 0
    assert (found.bounds <= 1e3).all()


def test_small_units_change_nothing():
    """Widths of 1e-6 and logits of 1e-6: the answer is the scaled one to nine digits."""
    problem = random_problem(5, widths=[3, 6, 5, 3])
    network, box = problem.network, problem.support
    weights = [network.weights[0] * 1e6, network.weights[1], network.weights[2] * 1e-6]
    biases = [*network.biases[:2], network.biases[2] * 1e-6]
    small = problem.replace(
        network=ReLUNetwork(weights, biases, network.slopes),
        points=problem.points * 1e-6,
        support=Box(box.lower * 1e-6, box.upper * 1e-6),
    )
    everyone, reach = np.arange(len(problem)), np.full(len(problem), np.inf)
    plain = search_of(problem).suprema(everyone, 0.3, reach)
    shrunk = search_of(small).suprema(everyone, 0.3, reach, tolerance=1e-15)
    assert np.allclose(shrunk.bounds, plain.bounds * 1e-6, rtol=1e-8, atol=1e-14)


def test_an_unbounded_support_is_refused():
    problem = random_problem(1).replace(support=Box())
    with pytest.raises(UnsupportedError, match="finite bounds"):
        search_of(problem)


@pytest.mark.parametrize(
    ("norm", "samples", "prices", "room"),
    [("linf", 20, (120.0, 60.0, 80.0), 1200), ("l2", 4, (50.0, 35.0), 0)],
)
def test_little_room_changes_no_bound(norm, samples, prices, room, monkeypatch):
    """With room for few nodes the search forgets and begins again, and ends with the same."""
    most, plain = [0], Nodes.split

    def watched(nodes, *arguments):
        plain(nodes, *arguments)
        most[0] = max(most[0], nodes.count)

    monkeypatch.setattr(Nodes, "split", watched)
    peaks, bounds = [], []
    for options in ({}, {"room": room}):
        search, count = real_search("problems/breast", samples, norm=norm, **options)
        everyone, reach, most[0] = np.arange(count), np.full(count, np.inf), 0
        found = [search.suprema(everyone, price, reach) for price in prices]
        again = search.open_bounds(everyone)
        np.testing.assert_array_equal(again.bounds, found[-1].bounds)
        bounds.append(np.array([f.bounds for f in found]))
        peaks.append(most[0])
    scale = np.maximum(1.0, np.abs(bounds[0]))
    assert (np.abs(bounds[1] - bounds[0]) <= 2e-9 * scale).all()
    assert peaks[1] < 0.6 * peaks[0]


def test_forgotten_nodes_still_bound():
    """Planted fault: what is forgotten is not kept as a number, and the bound falls below."""
    search, count = real_search("problems/breast", 4, room=0)
    everyone, reach = np.arange(count), np.full(count, np.inf)
    found = search.suprema(everyone, 100.0, reach, floor=np.full(count, 50.0))
    tree, _ = search._asked
    assert (found.bounds >= found.values).all()
    assert tree._partial.any()
    tree._forgotten[:] = -np.inf
    assert (tree.bounds() * search.scaled.unit < found.bounds).any()
