r"""Linear programs in exact rational arithmetic: the judge where floating point is in doubt.

A dictionary (Chvátal) over the integers with one common denominator,

.. math:: D\,x_B = T_{\cdot 0} + T_{\cdot N}\,x_N,

pivoted without fractions (every division below is exact, Edmonds 1967) under Bland's rule, which
cannot cycle. Free variables enter once and never leave.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from wdaverify.rational import Rationals

__all__ = ["ExactOptimum", "exact_interior_point", "exact_maximum"]

Whole = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class ExactOptimum:
    """Optimum of ``max c·x, A x <= b`` over the rationals.

    Attributes
    ----------
    value
        The maximum, ``None`` when unbounded.
    point
        Where it is attained (a feasible point when unbounded), shape ``(n,)``.
    multipliers
        Dual solution, shape ``(m,)``; meaningless when unbounded.
    """

    value: Fraction | None
    point: Rationals
    multipliers: Rationals


def exact_interior_point(A: Rationals, b: Rationals) -> Rationals | None:
    """Return a point with ``A x < b`` in every row, or ``None`` when there is none.

    Parameters
    ----------
    A, b
        Shapes ``(m, n)`` and ``(m,)``; a row of zeros counts like any other.
    """
    dictionary = _Dictionary(A, b, cap=1)
    dictionary.maximize(enough=ROOMY)
    return dictionary.point() if dictionary.objective() > 0 else None


def exact_maximum(c: Rationals, A: Rationals, b: Rationals) -> ExactOptimum | None:
    """Solve ``max c·x, A x <= b``; ``None`` when no point is feasible.

    Parameters
    ----------
    c, A, b
        Shapes ``(n,)``, ``(m, n)`` and ``(m,)``.
    """
    dictionary = _Dictionary(A, b, cap=0)
    dictionary.maximize()
    if dictionary.objective() < 0:
        return None
    dictionary.replace_objective(c)
    bounded = dictionary.maximize()
    value = dictionary.objective() if bounded else None
    return ExactOptimum(value, dictionary.point(), dictionary.multipliers())


ROOMY = Fraction(1, 1024)
"""An interior point this far from every row is not improved any further."""


class _Dictionary:
    """Rows ``A x + σ s <= b``, ``σ`` their l1 lengths, and ``s <= cap``.

    Feasible at once by a small enough ``s``, which is about the distance from every row.

    Variables are numbered ``x: 0 … n−1``, ``s: n``, slacks ``n + 1 …`` (the cap's last).
    """

    def __init__(self, A: Rationals, b: Rationals, cap: int) -> None:
        m, n = A.shape
        rows = [_to_integers([bound, *(-row)]) for row, bound in zip(A, b, strict=True)]
        self.scales = [Fraction(scale) for _, scale in rows]
        T = np.zeros((m + 2, n + 2), dtype=object)
        for i, (row, _) in enumerate(rows):
            T[i, : n + 1] = row
            T[i, n + 1] = -max(1, sum(abs(v) for v in row[1:]))
        T[m, 0], T[m, n + 1] = cap, -1
        T[m + 1, n + 1] = 1
        self.T, self.D, self.n, self.m = T, 1, n, m
        self.nonbasic = list(range(n + 1))
        self.basic = [n + 1 + i for i in range(m + 1)]
        self._pivot(min(range(m + 1), key=lambda i: Fraction(T[i, 0], -T[i, n + 1])), n)

    def maximize(self, *, enough: Fraction | None = None) -> bool:
        """Pivot to the optimum, or until it is enough; return whether the objective is bounded."""
        while enough is None or self.objective() <= enough:
            column = self._entering()
            if column is None:
                return True
            row = self._leaving(column)
            if row is None:
                return False
            self._pivot(row, column)
        return True

    def replace_objective(self, c: Rationals) -> None:
        """Maximise ``c · x`` from now on, with ``s`` held at its cap."""
        cap = self.n + 1 + self.m
        if cap in self.basic:  # degenerate: s sits at the cap although its slack is basic
            row = self.basic.index(cap)
            columns = [j for j, v in enumerate(self.nonbasic) if self.T[row, j + 1] != 0]
            self._pivot(row, columns[0])
        self.forbidden = cap
        numbers, scale = _to_integers(list(c))
        objective = np.zeros(self.T.shape[1], dtype=object)
        for k, value in enumerate(numbers):
            if k in self.basic:
                objective = objective + value * self.T[self.basic.index(k)]
            else:
                objective[self.nonbasic.index(k) + 1] += value * self.D
        self.T[-1] = objective
        self.objective_scale = Fraction(scale)

    forbidden = -1
    objective_scale = Fraction(1)

    def objective(self) -> Fraction:
        return Fraction(self.T[-1, 0], self.D) / self.objective_scale

    def point(self) -> Rationals:
        values = [Fraction(0)] * self.n
        for row, variable in enumerate(self.basic):
            if variable < self.n:
                values[variable] = Fraction(self.T[row, 0], self.D)
        result = np.empty(self.n, dtype=object)
        result[:] = values
        return result

    def multipliers(self) -> Rationals:
        values = [Fraction(0)] * self.m
        for column, variable in enumerate(self.nonbasic):
            k = variable - self.n - 1
            if 0 <= k < self.m:
                values[k] = Fraction(-self.T[-1, column + 1], self.D) * self.scales[k]
        result = np.empty(self.m, dtype=object)
        result[:] = [v / self.objective_scale for v in values]
        return result

    def _entering(self) -> int | None:
        candidates = [
            (variable > self.n, variable, column)
            for column, variable in enumerate(self.nonbasic)
            if variable != self.forbidden
            and (self.T[-1, column + 1] > 0 or (variable < self.n and self.T[-1, column + 1] < 0))
        ]
        return min(candidates)[2] if candidates else None

    def _leaving(self, column: int) -> int | None:
        direction = 1 if self.T[-1, column + 1] > 0 else -1
        best: tuple[Fraction, int, int] | None = None
        for row, variable in enumerate(self.basic):
            step = direction * self.T[row, column + 1]
            if variable > self.n and step < 0:
                ratio = (Fraction(self.T[row, 0], -step), variable, row)
                best = ratio if best is None or ratio < best else best
        return None if best is None else best[2]

    def _pivot(self, row: int, column: int) -> None:
        T, s = self.T, column + 1
        p = T[row, s]
        pivot_row, pivot_column = T[row].copy(), T[:, s].copy()
        T = (T * p - np.outer(pivot_column, pivot_row)) // self.D
        T[:, s] = pivot_column
        T[row] = -pivot_row
        T[row, s] = self.D
        self.T, self.D = (T, p) if p > 0 else (-T, -p)
        self.basic[row], self.nonbasic[column] = self.nonbasic[column], self.basic[row]


def _to_integers(values: list[Fraction]) -> tuple[list[int], int]:
    """Scale rationals by their least common denominator."""
    scale = math.lcm(*(value.denominator for value in values)) if values else 1
    return [int(value * scale) for value in values], scale
