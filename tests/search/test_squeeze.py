"""Narrowed intervals against points: no error of a node may lie outside them."""

import numpy as np
import pytest
from search.cases import dense_points, random_problem
from search.test_bounds import hidden, pieces_of, scales_of
from search.test_distances import check_witnesses, correct, overclaimed, search_distances

from wdaverify import enumerate_cells
from wdaverify.exact.by_cells import CellOracle
from wdaverify.limits import Limits
from wdaverify.loss import ZeroOne
from wdaverify.search import squeeze, tree
from wdaverify.search.distances import LabelDistances, _Nearest
from wdaverify.search.program import NodeProgram
from wdaverify.search.squeeze import Squeezer
from wdaverify.search.tree import Tree, Work

NORMS = ("l1", "linf")


def wide_problem(seed, norm):
    """A network of which many neurons are undecided near a sample, and samples that are right."""
    for trial in range(100):
        problem = random_problem(
            2 * (100 * seed + trial), norm=norm, widths=[2, 12, 8, 3], samples=6
        )
        if len(correct(problem)) >= 3:
            return problem.replace(loss=ZeroOne())
    raise AssertionError


def planted(problem, radii):
    """A search of balls of some radii, with the roots of its tree in place."""
    search = LabelDistances(
        problem.network, problem.support, problem.cost, problem.points, 0, limits=Limits()
    )
    search.upper = np.where(search.upper > 0, radii, 0.0)
    goal = _Nearest(search, 0.0)
    program = NodeProgram(search.scaled, search.norm)
    work = Work()
    grown = Tree(search.scaled, goal.rings, program, work=work, limits=Limits())
    grown._plant(search.upper > 0)
    squeezer = Squeezer(search.scaled, grown.nodes, program, work)
    return search, goal, grown, squeezer


def worst_escape(seed, norm):
    """How far an error's pre-activation lies outside squeezed intervals; how much they shrank."""
    rng = np.random.default_rng(seed)
    problem = wide_problem(seed, norm)
    search, goal, grown, squeezer = planted(problem, rng.uniform(0.2, 1.5))
    nodes, net = grown.nodes, search.scaled
    points = dense_points(rng, problem, 600)
    z = np.concatenate(hidden(problem.network, points), axis=1) / scales_of(problem.network, net)
    values = pieces_of(problem.replace(loss="margin"), points)
    worst, shrunk = 0.0, 0.0
    for row in range(nodes.count):
        before = (nodes.upper[row] - nodes.lower[row]).sum()
        for _ in range(3):
            nodes.score[row] = rng.uniform(0.1, 1.0, size=nodes.score.shape[1])
            squeezer.squeeze(row, goal)
        shrunk += before - (nodes.upper[row] - nodes.lower[row]).sum()
        owner, piece = nodes.owner[row], nodes.piece[row]
        moves = (points - problem.points[owner]) / net.length
        near = problem.cost.norm.length(moves) <= goal.rings.outer[owner, nodes.ring[row]]
        errors = near & (values[:, piece] >= 0)
        if errors.any():
            worst = max(worst, (z[errors] - nodes.upper[row]).max())
            worst = max(worst, (nodes.lower[row] - z[errors]).max())
    return worst, shrunk


@pytest.mark.parametrize("norm", NORMS)
def test_no_error_lies_outside(norm):
    shrunk = 0.0
    for seed in range(6):
        worst, less = worst_escape(seed, norm)
        assert worst <= 1e-12
        shrunk += less
    assert shrunk > 1.0


def test_a_wrong_bound_is_seen(monkeypatch):
    true = squeeze.dual_bound

    def forgetful(scaled, shell, region, nu, price, tilt):
        bound = true(scaled, shell, region, nu, price, tilt)
        return bound._replace(value=bound.value - np.abs(scaled.offsets[region.piece]))

    monkeypatch.setattr(squeeze, "dual_bound", forgetful)
    assert max(worst_escape(seed, "linf")[0] for seed in range(6)) > 1e-3


@pytest.mark.parametrize("norm", NORMS)
def test_distances_stay_the_same(norm, monkeypatch):
    monkeypatch.setattr(tree, "WIDE", 1)
    squeezed = []
    true = Squeezer.squeeze
    monkeypatch.setattr(
        Squeezer, "squeeze", lambda self, row, goal: (squeezed.append(row), true(self, row, goal))
    )
    for seed in range(8):
        problem = wide_problem(seed, norm)
        index = correct(problem)
        found = search_distances(problem).distances(index)
        cells = enumerate_cells(problem.network, problem.support)
        exact = CellOracle(problem, cells, Limits()).distances(index)
        finite = np.isfinite(exact.upper)
        assert (np.isfinite(found.upper) == finite).all()
        assert overclaimed(found, exact) <= 1e-12
        gaps = found.upper[finite] - found.lower[finite]
        assert (gaps <= 1e-8 * (1.0 + exact.upper[finite])).all()
        check_witnesses(problem, index[finite], found, finite)
    assert len(squeezed) > 20
