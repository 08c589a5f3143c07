r"""Mixed-integer linear programs.

.. math:: \max\ c\cdot v \quad\text{s.t.}\quad \ell\le v\le u,\ \ g\le Av\le h,\ \ v_k\in\mathbb{Z}

Nothing here is a proof. HiGHS keeps rows and integrality to 1e-6 only, and its tree leaves out
branches that promise less than that over the incumbent; the bound that it reports is its word. So
the objective is scaled up, bounds are moved out by what is left of that millionth, and an answer is
checked against the data and what else is known, and asked again where it fails.
"""

import copy
from collections.abc import Sequence
from typing import Final, NamedTuple, Self

import highspy
import numpy as np

from wdaverify.arrays import Bools, Floats, Integers
from wdaverify.convex.highs import LinearProgram, Status
from wdaverify.errors import LimitReached, SolverError
from wdaverify.limits import Limits

__all__ = ["PLAIN", "SHARPER", "MixedAnswer", "MixedProgram", "Relaxation", "Setting"]

TOLERANCE: Final = 1e-6
"""HiGHS' tolerance of rows, of integrality and of the objective of a branch worth looking at."""

STRICT: Final = 1e3
"""The objective is scaled up by this, so that the tolerance is a thousandth of it."""

GAP: Final = 1e-9
"""Relative gap at which HiGHS may stop."""

RESIDUAL: Final = 1e-5
"""Violation of a row, relative to its side, or of integrality, at which an answer is doubted."""

OUTWARD: Final = 1e-9
"""Relative widening of bounds of neurons, far above the rounding of the sums that they are."""


class Setting(NamedTuple):
    """Options of HiGHS, and a factor of all rows, by which they are kept more closely."""

    options: dict[str, str | float]
    scale: float = 1.0


PLAIN: Final = (
    Setting({}),
    Setting({"presolve": "off"}),
    Setting({"random_seed": 1}),
    Setting({"presolve": "off", "random_seed": 2}),
)
"""What is tried in turn until an answer is consistent."""

SHARPER: Final = (
    Setting({"mip_feasibility_tolerance": 1e-9}, STRICT),
    Setting({"mip_feasibility_tolerance": 1e-9, "presolve": "off"}, STRICT),
)
"""The same for a second opinion, where a first answer is right but for tolerances.

Tight tolerances have made HiGHS lose branches, so these answers are never the only ones.
"""

_STATUS: Final = {
    highspy.HighsModelStatus.kOptimal: Status.OPTIMAL,
    highspy.HighsModelStatus.kInfeasible: Status.INFEASIBLE,
    highspy.HighsModelStatus.kUnboundedOrInfeasible: Status.INFEASIBLE,  # every column is bounded
}


class MixedAnswer(NamedTuple):
    """What the solver found.

    Attributes
    ----------
    point
        Best point, shape ``(n,)``; empty where the program is infeasible.
    value
        Its objective, recomputed.
    bound
        HiGHS' bound on every objective, moved out by what its tree may leave out.
    """

    status: Status
    point: Floats
    value: float
    bound: float


class MixedProgram:
    """A maximisation over bounded columns, some of them integer; columns and rows may be added.

    Attributes
    ----------
    lower, upper, integer
        Bounds and kind of each column, ``(n,)``.
    """

    def __init__(self) -> None:
        self.lower, self.upper = np.zeros(0), np.zeros(0)
        self.integer: Bools = np.zeros(0, dtype=bool)
        self._rows: tuple[tuple[Floats, Floats, Floats], ...] = ()

    def copy(self) -> Self:
        """Return a program that grows on its own."""
        return copy.copy(self)  # nothing is ever changed in place

    def add_columns(self, lower: Floats, upper: Floats, *, integer: bool = False) -> Integers:
        """Append columns with finite bounds ``(m,)``; return their indices."""
        start, count = len(self.lower), len(lower)
        self.lower, self.upper = np.append(self.lower, lower), np.append(self.upper, upper)
        self.integer = np.append(self.integer, np.full(count, integer))
        return np.arange(start, start + count)

    def add_rows(self, matrix: Floats, lower: Floats, upper: Floats) -> None:
        """Append ``lower <= matrix v <= upper``; the matrix may leave out the last columns."""
        self._rows = (*self._rows, (matrix, lower, upper))

    def rows(self) -> tuple[Floats, Floats, Floats]:
        """Return matrix ``(m, n)`` and sides ``(m,)``."""
        n = len(self.lower)
        padded = [np.pad(A, ((0, 0), (0, n - A.shape[1]))) for A, _, _ in self._rows]
        return (
            np.concatenate([np.zeros((0, n)), *padded]),
            np.concatenate([np.zeros(0), *(low for _, low, _ in self._rows)]),
            np.concatenate([np.zeros(0), *(high for _, _, high in self._rows)]),
        )

    def maximize(
        self,
        costs: Floats,
        *,
        limits: Limits,
        known: float = -np.inf,
        settings: Sequence[Setting] = PLAIN,
    ) -> MixedAnswer:
        """Solve for ``costs (n,)``, again with other settings until the answer is consistent.

        Parameters
        ----------
        known
            Objective of a feasible point: a smaller bound, or "infeasible", is a contradiction.
        settings
            What is tried in turn.

        Raises
        ------
        LimitReached
        SolverError
            Every answer contradicts itself, its own residuals or the known point.
        """
        infeasible = False
        for setting in settings:
            limits.check("solving integer programs")
            answer = self._run(costs, setting, limits)
            if answer.status is Status.OPTIMAL and self._consistent(answer, known):
                return answer
            if answer.status is Status.INFEASIBLE and known == -np.inf:
                if infeasible:  # it said so twice
                    return answer
                infeasible = True
        raise SolverError("integer program: HiGHS contradicts itself with all settings tried")

    def _consistent(self, answer: MixedAnswer, known: float) -> bool:
        """Check an answer against the data and a known value."""
        v = answer.point
        A, low, high = self.rows()
        activity = A @ v
        outside = np.maximum(activity - high, low - activity) / (
            1.0 + np.minimum(np.abs(low), np.abs(high))
        )
        beyond = np.maximum(v - self.upper, self.lower - v)
        broken = np.abs(v - np.round(v))[self.integer]
        worst = max(part.max(initial=0.0) for part in (outside, beyond, broken))
        slack = TOLERANCE * max(1.0, abs(answer.bound))
        return bool(
            worst <= RESIDUAL
            and answer.value <= answer.bound + slack
            and known <= answer.bound + slack
        )

    def _run(self, costs: Floats, setting: Setting, limits: Limits) -> MixedAnswer:
        highs = highspy.Highs()
        seconds = {} if limits.seconds == np.inf else {"time_limit": self._left(limits)}
        fixed = {"output_flag": False, "threads": 1, "mip_abs_gap": 0.0, "mip_rel_gap": GAP}
        fixed |= {"small_matrix_value": 1e-12}
        for option, value in (fixed | seconds | setting.options).items():
            highs.setOptionValue(option, value)
        highs.passModel(self._model(costs, setting.scale))
        highs.run()
        info, status = highs.getInfo(), highs.getModelStatus()  # before anything is changed
        if status == highspy.HighsModelStatus.kTimeLimit:
            raise LimitReached(f"solving integer programs: time limit of {limits.seconds:g} s")
        known = _STATUS.get(status, Status.UNKNOWN)
        if known is not Status.OPTIMAL:
            return MixedAnswer(known, np.zeros(0), -np.inf, -np.inf)
        point = np.array(highs.getSolution().col_value)
        reached = info.mip_dual_bound if self.integer.any() else info.objective_function_value
        bound = float(reached) / STRICT
        bound += TOLERANCE / STRICT + GAP * abs(bound)
        return MixedAnswer(known, point, float(costs @ point), bound)

    @staticmethod
    def _left(limits: Limits) -> float:
        return max(limits.seconds - limits.elapsed, 0.0)

    def _model(self, costs: Floats, scale: float) -> highspy.HighsLp:
        A, low, high = (scale * part for part in self.rows())
        at, columns = np.nonzero(A)
        model = highspy.HighsLp()
        model.sense_ = highspy.ObjSense.kMaximize
        model.num_col_, model.num_row_ = len(costs), len(A)
        model.col_cost_ = STRICT * costs
        model.col_lower_, model.col_upper_ = self.lower, self.upper
        model.row_lower_, model.row_upper_ = low, high
        model.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        model.a_matrix_.start_ = np.searchsorted(at, np.arange(len(A) + 1)).astype(np.int32)
        model.a_matrix_.index_ = columns.astype(np.int32)
        model.a_matrix_.value_ = A[at, columns]
        if self.integer.any():
            kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
            model.integrality_ = [kinds[k] for k in self.integer.astype(int).tolist()]
        return model


class Relaxation:
    """A program without integrality, for bounds that hold whatever the solver says.

    Any multipliers ``y`` prove ``c·v <= Σ max(y h, y g) + Σ max(d ℓ, d u)``, ``d = c − Aᵀy``.
    """

    def __init__(self, program: MixedProgram) -> None:
        self._lower, self._upper = program.lower, program.upper
        self._matrix, self._low, self._high = program.rows()
        self._program = LinearProgram(self._lower, self._upper)
        self._program.add_rows(self._matrix, self._high, self._low)

    def bound(self, costs: Floats) -> float:
        """Bound ``costs · v`` from above."""
        y = self._program.maximize(costs).multipliers
        y = y if y.shape == self._low.shape and np.isfinite(y).all() else np.zeros_like(self._low)
        sides = np.where(y > 0, self._high, self._low)
        y = np.where(np.isfinite(sides), y, 0.0)
        d = costs - self._matrix.T @ y
        terms = (
            y * np.where(np.isfinite(sides), sides, 0.0),
            np.maximum(d * self._lower, d * self._upper),
        )
        size = 1.0 + sum(float(np.abs(part).sum()) for part in terms)
        return float(sum(part.sum() for part in terms)) + OUTWARD * size
