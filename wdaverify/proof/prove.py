"""Proofs of exact values: solve, show both ends, write, and let the checker confirm it."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from wdaverify.cells.complex import CellComplex, enumerate_cells
from wdaverify.checker.question import read_question
from wdaverify.checker.verdict import check_file, downwards, upwards
from wdaverify.errors import LimitReached, SolverError, UnsupportedError
from wdaverify.exact.answer import ExactValue
from wdaverify.exact.solve import solver_for
from wdaverify.exact.value import ExactSolver
from wdaverify.limits import Limits
from wdaverify.loss import DLR
from wdaverify.problem import Problem
from wdaverify.proof.file import Body, Claim, write_proof
from wdaverify.proof.lower import lower_end
from wdaverify.proof.plan import NOISE, Plan
from wdaverify.proof.question import question_line
from wdaverify.proof.shared import SharedTrees
from wdaverify.tolerances import EXACT, scale

__all__ = ["Proof", "prove"]

ATTEMPTS = 3
"""How often the margin for rounding is widened, by a factor of 1000, before giving up."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What a proof file proves, and what it cost against the engine's own bracket.

    Attributes
    ----------
    lower, upper
        Proved, rounded outwards.
    file
        Where it is.
    engine
        ``cells`` or ``search``.
    value
        What the engine answered.
    loss
        How much wider the proved bracket is than the engine's, relative to ``max(1, |v|)``.
    """

    lower: float
    upper: float
    file: Path
    engine: str
    value: ExactValue
    loss: float


class _Prover:
    """One proof: the question, the solved value, both ends."""

    def __init__(
        self, problem: Problem, radius: float, solver: ExactSolver, limits: Limits
    ) -> None:
        self.problem, self.radius, self.solver, self.limits = problem, radius, solver, limits
        self.question = question_line(problem, radius)
        self.q = read_question(self.question)
        self.value = solver.solve(radius)
        if solver.stopped is not None:
            raise solver.stopped
        if self.value.status == "unbounded":
            raise UnsupportedError("prove: the value is infinite, there is no bound to prove")
        self.low = lower_end(self.q, problem, self.value.worst_case)

    def write(self, path: Path, trees: SharedTrees) -> Fraction:
        """Write the file; return the upper end. Margins are widened until the checker agrees."""
        noise = NOISE
        for _ in range(ATTEMPTS):
            plan = self._plan(noise)
            with Body() as body:
                body.add(trees.lines(plan))
                upper = plan.upper()
                claim = Claim("value", Fraction(downwards(self.low.value)), Fraction(upwards(upper)))
                first = [{"atoms": self.low.atoms}, plan.line()]
                write_proof(path, self.question, claim, first, body)
            verdict = check_file(path)
            if verdict.accepted:
                return upper
            noise *= 1000
        path.unlink()
        raise SolverError(f"proof: the checker rejects line {verdict.line}: {verdict.reason}")

    def _plan(self, noise: float) -> Plan:
        problem, solver = self.problem, self.solver
        plan = Plan(self.q, problem, self._rate(), noise=noise)
        if self.q.loss == "zero-one":
            found = solver.distances()
            ends = found.lower if problem.cost.finite else found.upper
            plan.clear(ends[problem.active], self.radius)
        else:
            plan.aim_at(solver.atoms)
        return plan

    def _rate(self) -> float:
        """Return the multiplier at which the bound is proved."""
        problem, solver = self.problem, self.solver
        if not problem.cost.finite:
            return 0.0
        if self.q.loss == "zero-one":
            return self.value.multiplier or 0.0
        pricing = solver.pricing
        budget = problem.cost.budget(self.radius)
        if pricing.piecewise_linear and self.value.multiplier is not None:
            return max(self.value.multiplier, pricing.floor)
        if self.radius == 0:
            steepest = pricing.steepest
            return steepest if problem.cost.order == 1 else 1e12 * max(1.0, steepest**2)
        found = pricing.lines.multiplier(budget)
        if found is None or not math.isfinite(found):
            raise SolverError("proof: no multiplier with a finite bound is known")
        return found


def prove(  # noqa: PLR0913  (the public signature: the question and what it may cost)
    problem: Problem,
    *,
    radius: float,
    path: str | Path,
    engine: str = "auto",
    cells: CellComplex | None = None,
    tolerance: float = EXACT,
    limits: Limits | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> Proof:
    """Prove the worst-case value at one radius, in a file that a checker without solver confirms.

    Raises
    ------
    UnsupportedError
        There is no rational proof for the question.
    SolverError
        Something could not be shown: the engine was wrong, or rounding too coarse.
    LimitReached
        Time ran out; no file is written.
    """
    limits, progress = limits or Limits(), progress or (lambda _, __: None)
    refuse(problem)
    if cells is None:
        cells = enumerate_cells(problem.network, problem.support, limits=limits)
    solver = solver_for(
        problem, "cells", cells=cells, tolerance=tolerance, limits=limits, progress=progress
    )
    prover = _Prover(problem, radius, solver, limits)
    progress("proof", math.nan)
    trees = SharedTrees(prover.q, problem, cells, limits)
    upper = prover.write(Path(path), trees)
    return _summary(prover, Path(path), upper, "cells")


def _summary(prover: _Prover, path: Path, upper: Fraction, engine: str) -> Proof:
    value = prover.value
    lower, high = downwards(prover.low.value), upwards(upper)
    loss = max(0.0, value.lower - lower) + max(0.0, high - value.upper)
    return Proof(lower, high, path, engine, value, loss / scale(value.lower, value.upper))


def refuse(problem: Problem) -> None:
    """Refuse what has no rational proof.

    Raises
    ------
    UnsupportedError
        With the reason.
    """
    if isinstance(problem.loss, DLR):
        raise UnsupportedError(
            f"prove: the loss {problem.loss.name} is a ratio of logits, for which the proof file has "
            f"no majorants; margin, hinge, cross-entropy and zero-one can be proved"
        )
