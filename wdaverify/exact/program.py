r"""The sub-problem of one sample and one piece, as a linear program.

.. math:: \max\; a\cdot x + b - \lambda t \quad\text{s.t.}\quad
          Gx\le h,\ x\in\mathcal{X},\ \|x-x_i\|_r\le t,\ t\le T \qquad r\in\{1,\infty\}

Variables are ``x`` and, for l∞, one ``t``; for l1, one ``t_k`` per feature with ``t = Σ t_k``.
"""

from typing import NamedTuple

import numpy as np

from wdaverify.arrays import Floats
from wdaverify.convex.exact import exact_maximum
from wdaverify.convex.highs import Answer, LinearProgram, Status
from wdaverify.errors import SolverError, UnsupportedError
from wdaverify.exact.cuts import Cut, penalised
from wdaverify.network import AffineMap
from wdaverify.norms import GroundNorm
from wdaverify.rational import rationals
from wdaverify.support import Box, Support

__all__ = ["PieceProgram", "Solution", "Unreachable"]


SLACK = 1e-9
"""How far rows are moved out when rounding leaves no point that satisfies them."""


class Solution(NamedTuple):
    """A point of the piece and a cut, each checked by the other.

    ``bound`` is the cut at the sample; ``gap`` its distance from the value at ``point`` (or a
    violated row, where that is larger).
    """

    point: Floats
    cut: Cut
    bound: float
    gap: float


class Unreachable(NamedTuple):
    """A cut of the zero function, negative at the sample: ``0 <= cut`` fails within reach."""

    cut: Cut


class PieceProgram:
    """The rows of one piece, kept warm for other samples, multipliers and gradients.

    Parameters
    ----------
    rows
        Half-spaces ``G x <= h`` of the piece.
    support
        Bound support; its box bounds become bounds of variables, its other rows rows.
    norm
        l1 or l∞.

    Raises
    ------
    UnsupportedError
        The norm is not polyhedral.
    """

    def __init__(
        self, rows: AffineMap, support: Support, norm: GroundNorm, *, slack: float = 0.0
    ) -> None:
        self._slack = slack
        if not norm.polyhedral:
            raise UnsupportedError(f"norm: the linear programs need l1 or linf, found {norm.name}")
        n = rows.matrix.shape[1]
        self.n, self.norm = n, norm
        self.lower, self.upper = np.full(n, -np.inf), np.full(n, np.inf)
        self.matrix, self.bound = rows
        if isinstance(support, Box):
            self.lower, self.upper = support.lower, support.upper
        else:
            self.matrix = np.concatenate([self.matrix, support.rows.matrix])
            self.bound = np.concatenate([self.bound, support.rows.offset])
        extra = n if norm.name == "l1" else 1
        self._distance = np.zeros(n + extra)
        self._distance[n:] = 1.0
        zeros = np.zeros(extra)
        self._program = LinearProgram(
            np.concatenate([self.lower, zeros]), np.concatenate([self.upper, zeros + np.inf])
        )
        self._program.add_rows(np.pad(self.matrix, ((0, 0), (0, extra))), self.bound)
        shift = np.eye(n) if norm.name == "l1" else np.ones((n, 1))
        ball = np.block([[np.eye(n), -shift], [-np.eye(n), -shift]])
        self._program.add_rows(ball, np.zeros(2 * n))
        self._program.add_rows(self._distance[None, :], np.array([np.inf]))
        self._rows = len(self.bound)
        self._ball = ball

    def solve(
        self, gradient: Floats, sample: Floats, multiplier: float, reach: float = np.inf
    ) -> Solution | Unreachable:
        """Maximise ``gradient · x − multiplier · ‖x − sample‖`` within ``reach``.

        The cut has no constant term of the piece: its offset is ``h · η`` alone.

        Returns
        -------
        Solution or Unreachable
            The latter, with a cut that shows it, where the piece is farther away than ``reach``
            or, by exact arithmetic, empty.

        Raises
        ------
        SolverError
            Also exact arithmetic calls a program unbounded that cannot be.
        """
        if reach < np.inf:
            solution = self._attempt(gradient, sample, multiplier, reach)
            if solution is not None:
                return self._pulled(solution, sample, reach)
            nearest = self._settle(np.zeros(self.n), sample, 1.0, np.inf)
            margin = 1e-9 * (1.0 + reach + float(np.abs(sample).max()))
            if nearest is None:
                return self._nowhere
            if -nearest.bound > reach + margin:
                return Unreachable(nearest.cut)
            distance = float(self.norm.length(nearest.point - sample))
            wide = max(reach, distance) + margin  # the cut holds for every reach
            found = self._settle(gradient, sample, multiplier, wide)
            return self._nowhere if found is None else self._pulled(found, sample, reach)
        solution = self._settle(gradient, sample, multiplier, reach)
        return self._nowhere if solution is None else solution

    @property
    def _nowhere(self) -> Unreachable:
        """``0 <= −1``, which holds at no distance from any sample."""
        return Unreachable(Cut(np.zeros(self.n), -1.0, 0.0))

    def _pulled(self, solution: Solution, sample: Floats, reach: float) -> Solution:
        """Pull the point back to the reach that rounding made it exceed."""
        shrink = reach / max(reach, float(self.norm.length(solution.point - sample)))
        return solution._replace(point=sample + shrink * (solution.point - sample))

    def _attempt(
        self, gradient: Floats, sample: Floats, multiplier: float, reach: float
    ) -> Solution | None:
        """Ask the solver, twice if need be; ``None`` unless its answer checks out."""
        ball = np.concatenate([sample, -sample])
        index = self._rows + np.arange(2 * self.n + 1)
        self._program.bound_rows(index, np.append(ball, reach))
        costs = self._costs(gradient, multiplier)
        for ask in (self._program.maximize, self._program.solve_afresh):
            answer = ask(costs)
            solution = self._read(answer, gradient, sample, multiplier, reach)
            if solution is not None and solution.gap <= _doubt(gradient, sample):
                return solution
            if answer.status is Status.INFEASIBLE:
                break
        return None

    def _settle(
        self, gradient: Floats, sample: Floats, multiplier: float, reach: float
    ) -> Solution | None:
        """Ask the solver, then exact arithmetic; ``None`` where that finds the piece empty."""
        solution = self._attempt(gradient, sample, multiplier, reach)
        if solution is not None:
            return solution
        ball = np.concatenate([sample, -sample])
        exact = self._solve_exactly(self._costs(gradient, multiplier), ball, reach)
        if exact.status is Status.INFEASIBLE:
            return None if self._slack else self._relaxed(gradient, sample, multiplier, reach)
        solution = self._read(exact, gradient, sample, multiplier, reach)
        if solution is None:
            raise SolverError("sub-problem: unbounded, although its multiplier forbids that")
        return solution

    def _relaxed(
        self, gradient: Floats, sample: Floats, multiplier: float, reach: float
    ) -> Solution | None:
        """Solve with rows moved out by far more than their rounding: a bound on the piece."""
        rows = AffineMap(self.matrix, self.bound + SLACK * (1.0 + np.abs(self.bound)))
        program = PieceProgram(rows, Box(self.lower, self.upper), self.norm, slack=SLACK)
        return program._settle(gradient, sample, multiplier, reach)

    def _costs(self, gradient: Floats, multiplier: float) -> Floats:
        costs = -multiplier * self._distance
        costs[: self.n] = gradient
        return costs

    def _read(
        self, answer: Answer, gradient: Floats, sample: Floats, multiplier: float, reach: float
    ) -> Solution | None:
        """Recompute point, cut and gap from the data: the solver's numbers are only a proposal."""
        if answer.status is not Status.OPTIMAL or not np.all(np.isfinite(answer.point)):
            return None
        point = np.clip(answer.point[: self.n], self.lower, self.upper)
        eta = np.maximum(answer.multipliers[: self._rows], 0.0)
        reduced = answer.reduced[: self.n].copy()
        bounds = np.where(reduced > 0, self.upper, self.lower)
        reduced[~np.isfinite(bounds)] = 0.0
        bounds = np.where(np.isfinite(bounds), bounds, 0.0)
        g = gradient - self.matrix.T @ eta - reduced
        offset = float(self.bound @ eta) + float(reduced @ bounds)
        cut = Cut(g, offset, float(self.norm.dual_length(g)))
        distance = float(self.norm.length(point - sample))
        value = float(gradient @ point) - multiplier * distance
        violation = float((self.matrix @ point - self.bound).max(initial=0.0))
        size = float(self.norm.dual_length(gradient))
        line = np.float64(g @ sample + offset)
        bound = penalised(line, cut.steepness, multiplier, reach, size)
        gap = max(abs(float(bound) - value), violation, distance - reach)
        return Solution(point, cut, float(bound), gap)

    def _solve_exactly(self, costs: Floats, ball: Floats, reach: float) -> Answer:
        """Solve over the rationals (the data as float64): slow, and right."""
        extra = len(costs) - self.n
        identity = np.eye(len(costs))
        above, below = (
            np.flatnonzero(np.isfinite(self.upper)),
            np.flatnonzero(np.isfinite(self.lower)),
        )
        blocks = [
            (np.pad(self.matrix, ((0, 0), (0, extra))), self.bound),
            (self._ball, ball),
            (self._distance[None, :], np.array([reach])) if np.isfinite(reach) else None,
            (identity[above], self.upper[above]),
            (-identity[below], -self.lower[below]),
            (-identity[self.n :], np.zeros(extra)),
        ]
        A = np.concatenate([block[0] for block in blocks if block is not None])
        b = np.concatenate([block[1] for block in blocks if block is not None])
        optimum = exact_maximum(rationals(costs), rationals(A), rationals(b))
        if optimum is None or optimum.value is None:
            status = Status.INFEASIBLE if optimum is None else Status.UNBOUNDED
            return Answer(status, np.zeros(0), np.zeros(0), np.zeros(0))
        eta = optimum.multipliers.astype(np.float64)
        start = self._rows + 2 * self.n + (1 if np.isfinite(reach) else 0)
        reduced = np.zeros(len(costs))
        reduced[above] += eta[start : start + len(above)]
        reduced[below] -= eta[start + len(above) : start + len(above) + len(below)]
        return Answer(Status.OPTIMAL, optimum.point.astype(np.float64), eta, reduced)


def _doubt(gradient: Floats, sample: Floats) -> float:
    return 1e-9 * max(1.0, float(np.abs(gradient).sum()) * (1.0 + float(np.abs(sample).max())))
