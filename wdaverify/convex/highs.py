"""Linear programs ``max c·x, A x <= b, l <= x <= u`` in HiGHS, kept warm between solves.

The only module that knows ``highspy``. A solver status is a hint, never evidence: callers
recompute what they need from the returned point and multipliers.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Any

import highspy
import numpy as np

from wdaverify.arrays import Floats, Integers

__all__ = ["Answer", "LinearProgram", "Status"]


HUGE = 1e15
"""Bounds beyond this are relaxed to it; HiGHS itself would take 1e20 for infinity in silence."""


class Status(Enum):
    """What the solver says of its last run."""

    OPTIMAL = "optimal"
    INFEASIBLE = "infeasible"
    UNBOUNDED = "unbounded"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """A point and multipliers as the solver left them.

    Attributes
    ----------
    point
        ``x``, shape ``(n,)``.
    multipliers
        One per row, non-negative up to rounding, shape ``(m,)``.
    reduced
        ``c − Aᵀ multipliers``, positive where ``x`` sits at its upper bound, shape ``(n,)``.
    """

    status: Status
    point: Floats
    multipliers: Floats
    reduced: Floats


ITERATIONS = 20_000
"""Simplex iterations after which a solve counts as failed: some cycle for ever."""

DUAL, PRIMAL = 1, 4
"""HiGHS's numbers of the two simplex methods."""

_STATUS = {
    highspy.HighsModelStatus.kOptimal: Status.OPTIMAL,
    highspy.HighsModelStatus.kInfeasible: Status.INFEASIBLE,
    highspy.HighsModelStatus.kUnbounded: Status.UNBOUNDED,
    highspy.HighsModelStatus.kUnboundedOrInfeasible: Status.UNBOUNDED,
}


class LinearProgram:
    """A maximisation whose rows, costs and bounds may change between solves.

    Parameters
    ----------
    lower, upper
        Bounds of the variables, infinite ones allowed, shape ``(n,)``.
    tolerance
        Absolute violation of a row or of a reduced cost that counts as none.
    """

    def __init__(self, lower: Floats, upper: Floats, *, tolerance: float = 1e-7) -> None:
        self._columns = np.arange(len(lower), dtype=np.int32)
        self._highs = highspy.Highs()
        for option, value in (
            ("output_flag", False),
            ("threads", 1),
            ("small_matrix_value", 1e-12),
            ("simplex_iteration_limit", ITERATIONS),
            ("presolve", "off"),  # presolve forgets the warm basis
            ("primal_feasibility_tolerance", tolerance),
            ("dual_feasibility_tolerance", tolerance),
        ):
            self._highs.setOptionValue(option, value)
        self._highs.addVars(len(lower), np.asarray(lower), np.asarray(upper))
        self._highs.changeObjectiveSense(highspy.ObjSense.kMaximize)

    @property
    def rows(self) -> int:
        """Number of rows."""
        return int(self._highs.getNumRow())

    def add_rows(self, matrix: Floats, upper: Floats, lower: Floats | None = None) -> None:
        """Append ``lower <= matrix x <= upper``: ``(m, n)`` and ``(m,)``.

        An upper bound beyond ``HUGE`` is relaxed: a maximum stays an upper bound, and a point is
        checked by the caller anyway.
        """
        m, n = matrix.shape
        if m == 0:
            return
        below = np.full(m, -np.inf) if lower is None else lower
        starts = np.arange(0, m * n, n, dtype=np.int32)
        index = np.tile(self._columns, m)
        relaxed = np.where(upper >= HUGE, np.inf, np.maximum(upper, -HUGE))
        self._highs.addRows(m, below, relaxed, m * n, starts, index, matrix.ravel())

    def drop_rows(self, keep: int) -> None:
        """Delete every row after the first ``keep``."""
        extra = np.arange(keep, self.rows, dtype=np.int32)
        if len(extra):
            self._highs.deleteRows(len(extra), extra)

    def bound_rows(self, index: Integers, upper: Floats, lower: Floats | None = None) -> None:
        """Replace the bounds of some rows."""
        below = np.full(len(index), -np.inf) if lower is None else lower
        relaxed = np.where(upper >= HUGE, np.inf, np.maximum(upper, -HUGE))
        self._highs.changeRowsBounds(len(index), index.astype(np.int32), below, relaxed)

    def bound_columns(self, index: Integers, lower: Floats, upper: Floats) -> None:
        """Replace the bounds of some variables."""
        self._highs.changeColsBounds(len(index), index.astype(np.int32), lower, upper)

    def change_entries(self, rows: Integers, columns: Integers, values: Floats) -> None:
        """Replace single entries of the matrix."""
        for row, column, value in zip(
            rows.tolist(), columns.tolist(), values.tolist(), strict=True
        ):
            self._highs.changeCoeff(row, column, value)

    def forget(self) -> None:
        """Drop the warm basis."""
        self._highs.clearSolver()

    def maximize(self, costs: Floats) -> Answer:
        """Solve for ``costs (n,)``; asked again from scratch when the first answer is unclear."""
        self._highs.changeColsCost(len(costs), self._columns, costs)
        answer = self._run()
        if answer.status is Status.UNKNOWN:
            self._highs.clearSolver()
            answer = self._run()
        return answer

    def maximize_next(self, costs: Floats) -> Answer:
        """Solve where nothing but the costs has changed: the last optimum is still feasible."""
        self._highs.setOptionValue("simplex_strategy", PRIMAL)
        try:
            return self.maximize(costs)
        finally:
            self._highs.setOptionValue("simplex_strategy", DUAL)

    def solve_afresh(self, costs: Floats) -> Answer:
        """Solve without the warm basis: a second opinion."""
        self._highs.clearSolver()
        return self.maximize(costs)

    def _run(self) -> Answer:
        failed = self._highs.run() == highspy.HighsStatus.kError
        status = _STATUS.get(self._highs.getModelStatus(), Status.UNKNOWN)
        status = Status.UNKNOWN if failed else status
        solution: Any = self._highs.getSolution()
        return Answer(
            status,
            np.array(solution.col_value),
            np.array(solution.row_dual),
            np.array(solution.col_dual),
        )
