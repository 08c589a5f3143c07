"""A linear or integer program by lists of columns and rows, solved once by HiGHS."""

from collections.abc import Mapping
from dataclasses import dataclass

import highspy
import numpy as np

from reference.question import Array

INF = float("inf")
STRICT = 1000.0  # factor of rows whose violation within the solver's tolerance would matter
DECIDED = (highspy.HighsModelStatus.kOptimal, highspy.HighsModelStatus.kInfeasible)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Optimal `values` of the columns and the proved upper `bound` on the maximum."""

    values: Array
    bound: float


class Program:
    """``max cost . v`` over bounded columns ``v``, rows ``lower <= terms . v <= upper``."""

    def __init__(self) -> None:
        self._cost: list[float] = []
        self._bounds: list[tuple[float, float]] = []
        self._integer: list[bool] = []
        self._rows: list[Mapping[int, float]] = []
        self._sides: list[tuple[float, float]] = []

    def column(self, lower: float = -INF, upper: float = INF, *, integer: bool = False) -> int:
        """Add a column, return its index."""
        self._cost.append(0.0)
        self._bounds.append((lower, upper))
        self._integer.append(integer)
        return len(self._cost) - 1

    def columns(self, lower: Array, upper: Array) -> list[int]:
        """Add one column per entry of `lower`, `upper`."""
        return [self.column(low, up) for low, up in zip(lower, upper, strict=True)]

    def row(self, terms: Mapping[int, float], lower: float = -INF, upper: float = INF) -> None:
        """Add the row ``lower <= terms . v <= upper``."""
        self._rows.append(terms)
        self._sides.append((lower, upper))

    def maximise(self, terms: Mapping[int, float]) -> Outcome | None:
        """Solve; None where infeasible.  Raises RuntimeError on any other ending.

        Integer programs keep HiGHS's default feasibility tolerance (1e-6), gaps set to zero, and
        scale the objective up: branches that promise less than 1e-6 over the incumbent are cut
        off.  Pure linear programs ask for tolerances of 1e-9.  The bound is read before anything
        else touches the model.
        """
        solver = highspy.Highs()
        for name, value in self._options().items():
            solver.setOptionValue(name, value)
        solver.passModel(self._model(terms))
        for presolve in ("choose", "off"):  # a second try where presolve leaves it undecided
            solver.setOptionValue("presolve", presolve)
            solver.clearSolver()
            solver.run()
            if solver.getModelStatus() in DECIDED:
                break
        if solver.getModelStatus() == highspy.HighsModelStatus.kInfeasible:
            return None
        if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            raise RuntimeError(f"HiGHS ended with {solver.getModelStatus()}")
        info = solver.getInfo()
        bound = (
            info.mip_dual_bound / STRICT if any(self._integer) else info.objective_function_value
        )
        return Outcome(np.array(solver.getSolution().col_value), float(bound))

    def _options(self) -> dict[str, bool | int | float]:
        options: dict[str, bool | int | float] = {"output_flag": False, "threads": 1}
        if any(self._integer):
            return options | {"mip_rel_gap": 0.0, "mip_abs_gap": 0.0}
        tight = {"primal_feasibility_tolerance": 1e-9, "dual_feasibility_tolerance": 1e-9}
        return options | tight

    def _model(self, objective: Mapping[int, float]) -> highspy.HighsLp:
        cost = np.array(self._cost)
        for index, value in objective.items():
            cost[index] = value * (STRICT if any(self._integer) else 1.0)
        model = highspy.HighsLp()
        model.sense_ = highspy.ObjSense.kMaximize
        model.num_col_, model.num_row_ = len(cost), len(self._rows)
        model.col_cost_ = cost
        model.col_lower_, model.col_upper_ = np.array(self._bounds).reshape(-1, 2).T.copy()
        model.row_lower_, model.row_upper_ = np.array(self._sides).reshape(-1, 2).T.copy()
        model.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        model.a_matrix_.start_ = np.cumsum([0] + [len(row) for row in self._rows], dtype=np.int32)
        model.a_matrix_.index_ = np.array([i for row in self._rows for i in row], dtype=np.int32)
        entries = [value for row in self._rows for value in row.values()]
        model.a_matrix_.value_ = np.array(entries, dtype=float)
        if any(self._integer):
            kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
            model.integrality_ = [kinds[integer] for integer in self._integer]
        return model
