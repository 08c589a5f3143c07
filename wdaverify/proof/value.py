"""The proof of a value: solve, show both ends, write until the checker agrees."""

import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from wdaverify.checker.question import read_question
from wdaverify.checker.verdict import downwards, upwards
from wdaverify.errors import LimitReached, SolverError, UnsupportedError
from wdaverify.exact.answer import ExactValue
from wdaverify.exact.by_cells import CellOracle
from wdaverify.exact.value import ExactSolver
from wdaverify.limits import Limits
from wdaverify.problem import Problem
from wdaverify.proof.file import Body, Claim, Refuted, write_proof
from wdaverify.proof.lower import lower_end
from wdaverify.proof.plan import NOISE, Plan
from wdaverify.proof.question import question_line
from wdaverify.proof.searched import SearchedTrees
from wdaverify.proof.shared import SharedTrees

__all__ = ["Trees", "UnfinishedError", "ValueProver"]

ATTEMPTS = 3
"""Margins for rounding that are tried before giving up."""

TINY = 1e-12
"""What the loss may gain at radius 0 before the multiplier stops it."""

WIDER = 10
"""Each of them is wider by this factor; the last is about what a proof may lose."""


class UnfinishedError(LimitReached):
    """A limit came before the proof was written.

    Attributes
    ----------
    value
        What the engine knew by then: a bracket that holds, but no proof of it.
    """

    def __init__(self, reached: LimitReached, value: ExactValue) -> None:
        super().__init__(str(reached))
        self.value = value


class Trees(Protocol):
    """The upper side of an engine."""

    def lines(self, plan: Plan) -> Iterator[dict[str, Any]]:
        """Return heads and nodes of all trees; what cannot be shown is changed in the plan."""


class ValueProver:
    """One proof: the question, the solved value, both ends.

    Raises
    ------
    UnsupportedError
        The value is infinite.
    UnfinishedError
        The engine was stopped.
    """

    def __init__(
        self, problem: Problem, radius: float, solver: ExactSolver, limits: Limits
    ) -> None:
        self.problem, self.radius, self.solver, self.limits = problem, radius, solver, limits
        self.question = question_line(problem, radius)
        self.q = read_question(self.question)
        self.value = solver.solve(radius)
        if solver.stopped is not None:
            raise UnfinishedError(solver.stopped, self.value)
        if self.value.status == "unbounded":
            raise UnsupportedError("prove: the value is infinite, there is no bound to prove")
        self.low = lower_end(self.q, problem, self.value.worst_case)

    def trees(self) -> Trees:
        """Return the upper side of the engine."""
        oracle = self.solver.desk.oracle
        if isinstance(oracle, CellOracle):
            return SharedTrees(self.q, self.problem, oracle.cells, self.limits)
        return SearchedTrees(self.q, self.problem, self.limits)

    def write(self, path: Path, trees: Trees, *, checked: bool) -> Fraction:
        """Write the file; return the upper end. Margins are widened until the checker agrees."""
        noise, reason = NOISE, ""
        for _ in range(ATTEMPTS):
            plan = self._plan(noise)
            with Body() as body:
                body.add(trees.lines(plan))
                upper = plan.upper()
                lower = Fraction(downwards(self.low.value))
                claim = Claim("value", lower, Fraction(upwards(upper)))
                first = [{"atoms": self.low.atoms}, plan.line()]
                try:
                    write_proof(
                        path, self.question, claim, (first, body),
                        checked=checked, limits=self.limits,
                    )  # fmt: skip
                except Refuted as refuted:
                    reason = str(refuted)
                else:
                    return upper
            noise *= WIDER
        raise SolverError(f"proof: the checker rejects {reason}")

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
            return max(self.value.multiplier or 0.0, 1.0 / TINY**0.5 if self.radius == 0 else 0.0)
        pricing = solver.pricing
        budget = problem.cost.budget(self.radius)
        if pricing.piecewise_linear and self.value.multiplier is not None:
            return max(self.value.multiplier, pricing.floor)
        if self.radius == 0:
            return self._rate_at_rest(pricing.steepest)
        found = pricing.lines.multiplier(budget)
        if found is None or not math.isfinite(found):
            raise SolverError("proof: no multiplier with a finite bound is known")
        return found

    def _rate_at_rest(self, steepest: float) -> float:
        """Return a multiplier so large that nothing that costs anything is worth it."""
        problem, p = self.problem, self.problem.cost.order
        labels = problem.possible_labels
        losses = [problem.evaluate(problem.points, np.full(len(problem), y)) for y in labels]
        spread = float(np.max(losses) - np.min([*losses, problem.nominal_losses]))
        cost = problem.cost.label_cost
        least = 2.0 * spread / cost if cost else 0.0
        steep = max(steepest, 1.0)
        return max(least, steepest if p == 1 else steep * (steep / TINY) ** (p - 1.0))
