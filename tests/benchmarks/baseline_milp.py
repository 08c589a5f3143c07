r"""Big-M integer programs: one per sample, multiplier and target class, in HiGHS or in SCIP.

Default tolerances, gap 1e-9; the bound is the solver's dual bound, and the network says what the
point is worth. Neuron ranges over the box are tightened by LPs once, as for the branch and bound.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import highspy
import numpy as np
from formulation import Floats, SampleProgram, formulate, ranges_of
from kelley import Bracket, Kelley

import wdaverify as wv

GAP = 1e-6
"""Of the value: the solvers keep their rows to 1e-6."""


class Solver(Protocol):
    """One integer program, its objective open."""

    def maximize(self, costs: Floats) -> tuple[float, Floats]:
        """Return the dual bound and a solution."""
        ...


class HighsProgram:
    """The program in HiGHS."""

    def __init__(self, program: SampleProgram) -> None:
        self.highs = program.rows.highs()
        self.highs.setOptionValue("mip_rel_gap", 1e-9)
        self.highs.setOptionValue("mip_abs_gap", 1e-9)

    def maximize(self, costs: Floats) -> tuple[float, Floats]:
        """See :class:`Solver`."""
        self.highs.clearSolver()
        self.highs.changeColsCost(len(costs), np.arange(len(costs), dtype=np.int32), costs)
        self.highs.run()
        status = self.highs.getModelStatus()
        if status != highspy.HighsModelStatus.kOptimal:
            raise RuntimeError(f"HiGHS ended with {status}")
        bound = self.highs.getInfo().mip_dual_bound
        return float(bound), np.array(self.highs.getSolution().col_value)


class ScipProgram:
    """The program in SCIP."""

    def __init__(self, program: SampleProgram) -> None:
        from pyscipopt import Model, quicksum  # noqa: PLC0415  (not everybody has it)

        rows, self.model, self.sum = program.rows, Model(), quicksum
        self.model.hideOutput()
        self.model.setParam("limits/gap", 1e-9)
        self.model.setParam("lp/threads", 1)
        kinds = np.full(len(rows.lower), "C")
        kinds[rows.binaries] = "B"
        self.columns: list[Any] = [
            self.model.addVar(lb=low, ub=high, vtype=str(kind))
            for low, high, kind in zip(rows.lower, rows.upper, kinds, strict=True)
        ]
        for (index, value), (low, high) in zip(rows.terms, rows.sides, strict=True):
            terms = quicksum(v * self.columns[k] for k, v in zip(index, value, strict=True))
            if low == high:
                self.model.addCons(terms == low)
            elif np.isfinite(low):
                self.model.addCons(terms >= low)
            else:
                self.model.addCons(terms <= high)

    def maximize(self, costs: Floats) -> tuple[float, Floats]:
        """See :class:`Solver`."""
        self.model.freeTransform()
        terms = self.sum(float(costs[k]) * self.columns[k] for k in np.flatnonzero(costs))
        self.model.setObjective(terms, "maximize")
        self.model.optimize()
        if self.model.getStatus() not in {"optimal", "gaplimit"}:
            raise RuntimeError(f"SCIP ended with {self.model.getStatus()}")
        values = np.array([self.model.getVal(column) for column in self.columns])
        return float(self.model.getDualbound()), values


class Programs:
    """One integer program per sample, made when first used."""

    def __init__(self, problem: wv.Problem, make: Callable[[SampleProgram], Solver]) -> None:
        self.problem, self.make, self.ranges = problem, make, ranges_of(problem)
        self.solvers: dict[int, tuple[SampleProgram, Solver]] = {}

    def supremum(self, sample: int, multiplier: float, known: float) -> tuple[float, list[Floats]]:
        """See :data:`kelley.Supremum`."""
        if sample not in self.solvers:
            program = formulate(self.problem, sample, self.ranges, integer=True)
            self.solvers[sample] = program, self.make(program)
        program, solver = self.solvers[sample]
        network, label = self.problem.network, int(self.problem.labels[sample])
        W, b = network.weights[-1], network.biases[-1]
        upper, points = known, []
        for target in (j for j in range(network.classes) if j != label):
            costs = np.zeros(len(program.rows.lower))
            costs[program.last] = W[target] - W[label]
            costs[program.length] = -multiplier
            bound, values = solver.maximize(costs)
            upper = max(upper, bound + float(b[target] - b[label]))
            points.append(program.point(values))
        return upper, points


def solve(
    problem: wv.Problem,
    radii: Sequence[float],
    make: Callable[[SampleProgram], Solver] = HighsProgram,
    tell: Callable[[int, int], None] = lambda _, __: None,
) -> list[Bracket]:
    """Return the values of all radii: margin loss, order 1, ℓ1 or ℓ∞, box."""
    return Kelley(problem, Programs(problem, make).supremum, tell).solve(radii, gap=GAP)
