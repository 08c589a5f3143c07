r"""Polishing: from a point that a solver proposes to the best one of the cell it lies in.

.. math:: \max\; a\cdot x - \lambda\|x - x_i\|^p \quad\text{s.t.}\quad
          x\in C_D\cap\mathcal{X},\ \|x - x_i\|\le T

What is known from below is the best of these points, evaluated in float64. For ``p > 1`` the growth
of the piece is concave in the distance: it is bounded by the cuts of a few linear programs, each at
the distance that looks best so far.
"""

from typing import NamedTuple

import numpy as np

from wdaverify.arrays import Bools, Floats
from wdaverify.cells.frame import unit_rows
from wdaverify.evaluation import certain_losses
from wdaverify.exact.penalty import Penalty
from wdaverify.exact.program import PieceProgram, Solution, Unreachable
from wdaverify.loss import ZeroOne
from wdaverify.network import AffineMap
from wdaverify.problem import Problem

__all__ = ["KnownPoints", "Polisher", "Query"]

ROUNDS = 30
"""Distances tried on one cell."""

CLOSE = 1e-12
"""Relative change of a distance below which it is the same."""


class Query(NamedTuple):
    """One sample and one affine function of the logits, ``row · z + offset``, to be maximised."""

    row: Floats
    offset: float
    sample: Floats
    penalty: Penalty
    reach: float

    @property
    def curved(self) -> bool:
        """Whether the price of transport is not linear in the distance."""
        return self.penalty.order > 1 and self.penalty.multiplier > 0


class KnownPoints:
    """Every sample and every point that a question about one of them has led to."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._found = problem.points[:0]

    @property
    def points(self) -> Floats:
        """Shape ``(M, n)``."""
        return np.concatenate([self._problem.points, self._found])

    @property
    def logits(self) -> Floats:
        """Their logits, ``(M, K)``."""
        return self._problem.network.logits(self.points)

    def add(self, points: Floats) -> None:
        """Append those that lie in the support, ``(M, n)``."""
        inside = self._problem.support.contains(points)
        self._found = np.concatenate([self._found, points[inside]])

    def prices(self, sample: Floats, penalty: Penalty, reach: float) -> Floats:
        """Price of moving a sample to each point, infinite beyond its reach, ``(M,)``."""
        lengths = self._problem.cost.norm.length(self.points - sample)
        return np.where(lengths <= reach, penalty.of(lengths), np.inf)

    def value(self, query: Query) -> float:
        """Return the largest value known of a query."""
        prices = self.prices(query.sample, query.penalty, query.reach)
        return float((self.logits @ query.row + query.offset - prices).max(initial=-np.inf))

    def nearest(self, query: Query) -> float:
        """Return the distance to the nearest one with ``row · z + offset >= 0``."""
        met = self.logits @ query.row + query.offset >= 0
        lengths = self._problem.cost.norm.length(self.points[met] - query.sample)
        return float(lengths.min(initial=np.inf))

    def errors(self, label: int) -> Floats:
        """Return those that are certain errors of a label, ``(M, n)``."""
        question = self._problem.replace(loss=ZeroOne())
        labels = np.full(len(self.points), label)
        return self.points[certain_losses(question, self.points, labels) > 0]


class Polisher:
    """Linear programs over cells of one problem, each from its pattern alone."""

    def __init__(self, problem: Problem) -> None:
        self._network, self._support = problem.network, problem.support
        self._norm = problem.cost.norm

    def best(self, pattern: Bools, query: Query, near: Floats) -> Floats:
        """Return points of a cell that are best for a query, ``(k, n)``.

        Parameters
        ----------
        near
            Where the best point is expected, ``(n,)``.
        """
        rows, logits = self._cell(pattern)
        program = PieceProgram(rows, self._support, self._norm)
        gradient = query.row @ logits.matrix
        if query.curved:
            return self._curved(program, gradient, query, near)
        price = Penalty(query.penalty.multiplier)
        return _point(program.solve(gradient, query.sample, price, query.reach))

    def nearest(self, pattern: Bools, query: Query) -> Floats:
        """Return the nearest point of a cell with ``row · z + offset >= 0`` and the deepest.

        Shape ``(2, n)``, or ``(0, n)`` where the cell has none.
        """
        rows, logits = self._cell(pattern)
        gradient = query.row @ logits.matrix
        length = float(np.abs(gradient).max(initial=0.0)) or 1.0
        side = float(query.row @ logits.offset) + query.offset
        rows = AffineMap(
            np.concatenate([rows.matrix, -gradient[None, :] / length]),
            np.append(rows.offset, side / length),
        )
        program = PieceProgram(rows, self._support, self._norm)
        zero = np.zeros_like(gradient)
        nearest = _point(program.solve(zero, query.sample, Penalty(1.0)))
        if len(nearest) == 0:
            return nearest
        deepest = _point(program.solve(gradient / length, query.sample, Penalty(0.0)))
        return np.concatenate([nearest, deepest, nearest])[:2]

    def _cell(self, pattern: Bools) -> tuple[AffineMap, AffineMap]:
        """Return half-spaces of a cell, of unit length, and its logits."""
        hidden, logits = self._network.affine_maps(pattern)
        bent = ~self._network.linear
        sign = np.where(pattern, -1.0, 1.0)[bent]
        matrix, offset = hidden.matrix[bent], hidden.offset[bent]
        return unit_rows(sign[:, None] * matrix, -sign * offset), logits

    def _curved(
        self, program: PieceProgram, gradient: Floats, query: Query, near: Floats
    ) -> Floats:
        """Try the distance at which the cuts so far, less the price, are largest."""
        points = np.zeros((0, len(gradient)))
        lines, slopes, tried = np.zeros(0), np.zeros(0), np.zeros(0)
        distance = min(float(self._norm.length(near - query.sample)), query.reach)
        for _ in range(ROUNDS):
            if (np.abs(tried - distance) <= CLOSE * distance).any() or distance <= 0:
                break
            tried = np.append(tried, distance)
            solution = program.solve(gradient, query.sample, Penalty(0.0), distance)
            if isinstance(solution, Solution):
                cut = solution.cut
                points = np.concatenate([points, solution.point[None, :]])
                lines = np.append(lines, float(cut.gradient @ query.sample) + cut.offset)
                slopes = np.append(slopes, cut.steepness)
                distance = _best_distance(lines, slopes, query)
            else:  # the cell is farther away
                distance = min(2.0 * distance, query.reach)
        return points


def _best_distance(lines: Floats, slopes: Floats, query: Query) -> float:
    """Maximise ``min_k (line_k + slope_k t) − λ t^p`` over ``0 <= t <= reach``."""
    price, order = query.penalty.multiplier, query.penalty.order
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        free = (slopes / (price * order)) ** (1.0 / (order - 1.0))
        meets = np.subtract.outer(lines, lines) / -np.subtract.outer(slopes, slopes)
    at = np.concatenate([free, meets[np.isfinite(meets)]])
    at = np.clip(np.append(at, 0.0), 0.0, query.reach)
    values = (lines[:, None] + np.outer(slopes, at)).min(axis=0) - query.penalty.of(at)
    return float(at[int(values.argmax())])


def _point(solution: Solution | Unreachable) -> Floats:
    """Return the point of a solution as a row, no row without one."""
    if isinstance(solution, Solution):
        return solution.point[None, :]
    return np.zeros((0, len(solution.cut.gradient)))
