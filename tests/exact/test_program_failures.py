"""Where every solver fails on a sub-problem, its bound is weak, but a bound."""

import numpy as np
import pytest

from wdaverify.errors import SolverError
from wdaverify.exact.penalty import Penalty
from wdaverify.exact.program import PieceProgram, Solution
from wdaverify.network import AffineMap
from wdaverify.norms import norm_named
from wdaverify.support import Box

TRIANGLE = AffineMap(np.array([[1.0, 1.0], [-1.0, 0.0]]), np.array([1.0, 0.0]))


@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
def test_failed_solvers_leave_the_cut_of_no_multipliers(monkeypatch, norm):
    a, x, penalty, reach = np.array([1.0, 2.0]), np.array([0.2, -0.5]), Penalty(0.5), 0.7
    box = Box(-1.0, 1.0).bind(2)
    truth = PieceProgram(TRIANGLE, box, norm_named(norm)).solve(a, x, penalty, reach)
    program = PieceProgram(TRIANGLE, box, norm_named(norm))
    attempt, settle = PieceProgram._attempt, PieceProgram._settle

    def failing(self, asked):
        if asked.reach < np.inf:
            raise SolverError("for the test")
        return settle(self, asked)

    def silent(self, asked):
        return None if asked.reach < np.inf else attempt(self, asked)

    monkeypatch.setattr(PieceProgram, "_attempt", silent)
    monkeypatch.setattr(PieceProgram, "_settle", failing)
    found = program.solve(a, x, penalty, reach)
    assert isinstance(truth, Solution)
    assert isinstance(found, Solution)
    steepness = found.cut.steepness
    bound = found.cut.gradient @ x + found.cut.offset + max(steepness - 0.5, 0.0) * reach
    assert bound >= truth.bound - 1e-12
    assert np.all(TRIANGLE.matrix @ found.point <= TRIANGLE.offset + 1e-9)
    assert program.norm.length(found.point - x) <= reach
    assert found.gap == np.inf
