"""A wrong engine is caught: proving fails, or the checker rejects; never a false acceptance."""

import gzip
import json

import numpy as np
import pytest
from proof.cases import random_problem

from wdaverify.cells.complex import CellComplex, enumerate_cells
from wdaverify.checker.verdict import check_file
from wdaverify.errors import LimitReached, SolverError
from wdaverify.exact.program import PieceProgram, Unreachable
from wdaverify.limits import Limits
from wdaverify.proof import plan
from wdaverify.proof.prove import prove
from wdaverify.proof.shared import SharedTrees


def without(cells, lost):
    """Return the cells without some: as an enumeration would that has lost them."""
    kept = [cell for k, cell in enumerate(cells) if k not in lost]
    return CellComplex(cells.network, cells.support, cells.frame, kept)


@pytest.mark.parametrize("support", ["box", "space", "triangle"])
@pytest.mark.parametrize("of", ["value", "lipschitz"])
def test_every_lost_cell_is_noticed(support, of, tmp_path):
    problem = random_problem(1, support=support)
    cells = enumerate_cells(problem.network, problem.support)
    for lost in range(len(cells)):
        with pytest.raises(SolverError, match="a cell is missing"):
            prove(problem, radius=0.3, path=tmp_path / "p", cells=without(cells, [lost]), of=of)
    assert list(tmp_path.iterdir()) == []


def test_a_bound_that_is_too_low_is_rejected(tmp_path, monkeypatch):
    problem = random_problem(1)
    original = plan.Plan.written
    monkeypatch.setattr(plan.Plan, "written", lambda self: [v - 1e-6 for v in original(self)])
    with pytest.raises(SolverError, match="checker rejects"):
        prove(problem, radius=0.3, path=tmp_path / "p", engine="cells")
    assert list(tmp_path.iterdir()) == []
    prove(problem, radius=0.3, path=tmp_path / "p", engine="cells", checked=False)
    assert not check_file(tmp_path / "p").accepted


@pytest.mark.parametrize("factor", [0.9, 1.1, 0.0])
def test_wrong_multipliers_are_rejected_or_no_use(factor, tmp_path, monkeypatch):
    """A solver whose multipliers are wrong: bounds only get worse, never false."""
    problem = random_problem(1, support="space", classes=3)
    right = prove(problem, radius=0.3, path=tmp_path / "right", engine="cells")
    original = PieceProgram._cut

    def lying(self, proposal, gradient, unit):
        cut = original(self, proposal, gradient, unit)
        return cut._replace(multipliers=factor * cut.multipliers)

    monkeypatch.setattr(PieceProgram, "_cut", lying)
    try:
        prove(problem, radius=0.3, path=tmp_path / "p", engine="cells", checked=False)
    except SolverError:
        return
    verdict = check_file(tmp_path / "p")
    assert not verdict.accepted or float(verdict.upper) >= right.lower


@pytest.mark.parametrize("order", [1, np.inf])
def test_a_solver_that_calls_everything_empty_is_rejected(order, tmp_path, monkeypatch):
    problem = random_problem(1, order=order)
    cells = enumerate_cells(problem.network, problem.support)
    original, ready = PieceProgram.solve, []
    monkeypatch.setattr(SharedTrees, "lines", _after(ready, SharedTrees.lines))

    def lying(self, gradient, sample, penalty, reach=np.inf):
        found = original(self, gradient, sample, penalty, reach)
        return Unreachable(found.cut) if ready else found

    monkeypatch.setattr(PieceProgram, "solve", lying)
    with pytest.raises(SolverError):
        prove(problem, radius=0.3, path=tmp_path / "p", cells=cells)
    assert list(tmp_path.iterdir()) == []


def _after(ready, original):
    def lines(self, plan):
        ready.append(True)
        return original(self, plan)

    return lines


@pytest.mark.parametrize("loss", ["margin", "zero-one"])
def test_dropping_lines_or_changing_multipliers_is_rejected(loss, tmp_path):
    problem = random_problem(1, loss=loss, support="space")
    prove(problem, radius=0.3, path=tmp_path / "p", engine="cells")
    lines = gzip.decompress((tmp_path / "p").read_bytes()).splitlines()
    for k in range(4, len(lines) - 1):
        node = json.loads(lines[k])
        if not node.get("cuts"):
            continue
        changed = [*lines[:k], json.dumps(node | {"cuts": []}).encode(), *lines[k + 1 :]]
        (tmp_path / "q").write_bytes(gzip.compress(b"\n".join(changed) + b"\n"))
        assert not check_file(tmp_path / "q").accepted


@pytest.mark.parametrize("when", ["solving", "writing"])
def test_a_limit_leaves_no_file(when, tmp_path, monkeypatch):
    limits = Limits()
    if when == "solving":
        limits.stop.set()
    else:
        original = SharedTrees.lines

        def interrupted(self, plan):
            limits.stop.set()
            return original(self, plan)

        monkeypatch.setattr(SharedTrees, "lines", interrupted)
    with pytest.raises(LimitReached):
        prove(random_problem(1), radius=0.3, path=tmp_path / "p", engine="cells", limits=limits)
    assert list(tmp_path.iterdir()) == []
