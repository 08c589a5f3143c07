r"""Exact distances to the error set, ``{x : margin(x, y) >= 0}``.

.. math:: d_i = \min_{D, j \ne y_i} \min\{\|x - x_i\| : x \in C_D\cap\mathcal{X},\ z_j \ge z_{y_i}\}

With the objective ``0`` and the multiplier ``1`` this is the sub-problem of every other loss, and
shares its cuts in the same way. Pieces without an error are discarded by a dual bound on their
largest margin. A solution lies on the boundary, where float64 decides by accident: it is pushed
towards the piece's deepest point until the error is certain, and the extra distance is charged.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from wdaverify.arrays import Bools, Floats, Integers
from wdaverify.cells.complex import Cell, CellComplex
from wdaverify.cost import TransportCost
from wdaverify.envelope import Envelope, majorant
from wdaverify.errors import LimitReached
from wdaverify.evaluation import certain_losses
from wdaverify.exact.nearest import Nearest, exact_nearest
from wdaverify.exact.penalty import Penalty
from wdaverify.exact.pieces import Pieces, distance_pieces
from wdaverify.exact.program import PieceProgram, Solution
from wdaverify.exact.supremum import Counts, LabelSupremum, Programs
from wdaverify.limits import Limits
from wdaverify.loss import ZeroOne
from wdaverify.network import AffineMap
from wdaverify.problem import Problem
from wdaverify.rational import ExactNetwork, Rationals, rationals

__all__ = ["Distances", "ErrorSet", "Errors", "step_envelopes"]

DEPTH = 1.0
"""How deep (in margin) a point of an unbounded piece is looked for."""

TOUCHING = 1e-9
"""A piece whose largest margin is above minus this is kept: it may touch the error set."""

FAR = 1e6
"""Distance up to which the rounding residual of a dual bound is charged on unbounded cells."""

UNSETTLED = 1e-8
"""A bracket wider than this (relative to the sample) is decided over the rationals."""

ROUNDING = 1e-12
"""Relative rounding of a dual bound on a distance."""


@dataclass(frozen=True, slots=True, eq=False)
class Distances:
    """Brackets on the distance of each sample to its error set.

    Attributes
    ----------
    lower, upper
        ``(N,)``, infinite where no error is within reach at all.
    witnesses
        Certain errors at distance ``upper`` (the sample itself where there is none), ``(N, n)``.
    certified
        Where the witness is a rational point, of which the row is only the rounding, ``(N,)``.
    reached
        The limit that left brackets wide, if one did.
    """

    lower: Floats
    upper: Floats
    witnesses: Floats
    certified: Bools
    reached: LimitReached | None = None

    def at(self, order: Integers) -> "Distances":
        """Return the rows in another order."""
        return Distances(
            self.lower[order],
            self.upper[order],
            self.witnesses[order],
            self.certified[order],
            self.reached,
        )

    @classmethod
    def joined(cls, parts: Sequence["Distances"]) -> "Distances":
        """Return the rows of several tables as one."""
        limits = [part.reached for part in parts if part.reached is not None]
        return cls(
            np.concatenate([part.lower for part in parts]),
            np.concatenate([part.upper for part in parts]),
            np.concatenate([part.witnesses for part in parts]),
            np.concatenate([part.certified for part in parts]),
            limits[0] if limits else None,
        )


def unknown_distances(
    problem: Problem, samples: Integers, reached: LimitReached | None
) -> Distances:
    """Return the widest brackets: 0 for what is an error where it is, else anything."""
    question = problem.replace(loss=ZeroOne())
    wrong = certain_losses(question, problem.points[samples], problem.labels[samples]) > 0
    none = np.zeros(len(samples))
    upper = np.where(wrong, 0.0, np.inf)
    return Distances(none, upper, problem.points[samples].copy(), none > 0, reached)


def step_envelopes(distances: Distances, wrong: Bools, cost: TransportCost) -> list[Envelope]:
    """Return outer envelopes of the zero-one loss: 1 from the cheapest error on.

    A correct sample errs with any other label, so where labels move that is an error too, at the
    price of the move.

    Parameters
    ----------
    wrong
        Whether each sample is an error where it is, ``(N,)``.
    cost
        Of finite order.
    """
    relabelled = np.inf if cost.label_cost is None else cost.label_cost
    envelopes = []
    for loss, distance in zip(wrong, distances.lower.tolist(), strict=True):
        price = min(distance**cost.order * (1.0 - 2.0**-50), relabelled)
        if loss or not np.isfinite(price):
            envelopes.append(majorant(np.zeros(1), np.array([float(loss)])))
        else:
            costs = np.array([0.0, price])
            envelopes.append(majorant(costs, np.array([float(price <= 0), 1.0])))
    return envelopes


class Errors(NamedTuple):
    """Pieces of a label that may hold errors, ``(P,)``, and their deepest points, ``(P, n)``."""

    pieces: Integers
    deepest: Floats


class ErrorSet:
    """The error set of one label, as pieces of cells.

    Attributes
    ----------
    errors
        What was found out about the pieces; given again it spares the programs.
    """

    def __init__(
        self,
        problem: Problem,
        cells: CellComplex,
        label: int,
        counts: Counts,
        limits: Limits,
        errors: Errors | None = None,
    ) -> None:
        self.problem = problem.replace(loss=ZeroOne())
        self.cells, self.label, self.limits, self.counts = cells, label, limits, counts
        self.norm = problem.cost.norm
        pieces = distance_pieces(cells, label)
        self.errors = self._nonempty(pieces) if errors is None else errors
        self.pieces, self._deepest = pieces.select(self.errors.pieces), self.errors.deepest

    @staticmethod
    def errs(problem: Problem) -> Bools:
        """Whether each sample is an error where it is, decided exactly, ``(N,)``."""
        question = problem.replace(loss=ZeroOne())
        return certain_losses(question, problem.points, problem.labels) > 0

    def distances(self, samples: Integers, programs: Programs) -> Distances:
        """Bracket the distances of samples of this label."""
        X = self.problem.points[samples]
        wrong = self._evaluate(X) == 0
        lower, upper = np.zeros(len(X)), np.where(wrong, 0.0, np.inf)
        witnesses = X.copy()
        todo = np.flatnonzero(~wrong)
        if len(self.pieces) == 0:
            lower[todo] = np.inf
        elif len(todo):
            search = LabelSupremum(
                self.pieces, X[todo], programs, self._evaluate, self._push,
                counts=self.counts, limits=self.limits,
            )  # fmt: skip
            price = Penalty(1.0)
            reach, rows = np.full(len(todo), np.inf), np.arange(len(todo))
            bounds, points = search.suprema(price, reach, rows)
            bounds /= search.slope(price)
            lower[todo] = np.maximum(0.0, -bounds - ROUNDING * (1.0 + np.abs(X[todo]).max(axis=1)))
            upper[todo], witnesses[todo] = self._nearest(X[todo], points)
        found = Distances(np.minimum(lower, upper), upper, witnesses, np.zeros(len(X), dtype=bool))
        self._settle(X, found)
        return found

    def reaches(self, sample: Floats, radius: float) -> Rationals | None:
        """Return an error within the closed ball, decided over the rationals, or ``None``."""
        exact = ExactNetwork(self.problem.network)
        for piece in range(len(self.pieces)):
            point = self._exact_nearest(exact, piece, sample, radius)
            if point is not None:
                return point
        return None

    def _settle(self, samples: Floats, found: Distances) -> None:
        """Decide over the rationals where float64 confirms no error near the bound."""
        with np.errstate(invalid="ignore"):
            open_ = found.upper - found.lower > UNSETTLED * (1.0 + np.abs(samples).max(axis=1))
        exact = ExactNetwork(self.problem.network)
        for i in np.flatnonzero(open_).tolist():
            nearest = self._exact_minimum(exact, samples[i])
            if nearest is None:
                found.lower[i] = np.inf
                continue
            found.lower[i] = np.nextafter(float(nearest.distance), 0.0)
            if float(nearest.distance) < found.upper[i]:
                found.upper[i] = np.nextafter(float(nearest.distance), np.inf)
                found.witnesses[i] = nearest.point.astype(np.float64)
                found.certified[i] = True

    def _exact_minimum(self, exact: ExactNetwork, sample: Floats) -> Nearest | None:
        best: Nearest | None = None
        for piece in range(len(self.pieces)):
            A, b = self._exact_piece(exact, piece)
            nearest = exact_nearest(A, b, rationals(sample), self.norm)
            if nearest is not None and (best is None or nearest.distance < best.distance):
                best = nearest
        return best

    def _nonempty(self, pieces: Pieces) -> Errors:
        """Drop pieces that a dual bound shows to hold no error; find deepest points of others."""
        assert pieces.thresholds is not None
        keep, deepest = [], []
        for piece, (a, b) in enumerate(zip(*pieces.thresholds, strict=True)):
            self.limits.check("finding the error set")
            cell = self.cells[int(pieces.cells[piece])]
            top, point = self._deepest_point(cell, a, float(b))
            if top >= -TOUCHING * max(1.0, abs(float(b))):
                keep.append(piece)
                deepest.append(point)
        features = self.problem.network.features
        return Errors(
            np.array(keep, dtype=np.int64), np.array(deepest).reshape(len(keep), features)
        )

    def _deepest_point(self, cell: Cell, a: Floats, b: float) -> tuple[float, Floats]:
        """Return an upper bound on the margin in a cell and a point where it is large."""
        length = float(np.linalg.norm(a))
        if length == 0:
            return b, cell.interior
        self.counts.programs += 1
        unit = a / length  # the very floats of the cap below, or exact arithmetic sees two slopes
        margin = float(a @ cell.interior) + b
        cap = max(DEPTH, 2.0 * margin)
        rows = AffineMap(
            np.concatenate([cell.half_spaces.matrix, unit[None, :]]),
            np.append(cell.half_spaces.offset, (cap - b) / length),
        )
        program = PieceProgram(rows, self.cells.support, self.norm)
        solution = program.solve(unit, cell.interior, Penalty(0.0))
        if not isinstance(solution, Solution):  # no point at all: the cell is thinner than float64
            return 0.0, cell.interior
        top = solution.bound + solution.cut.steepness * FAR
        return b + length * top, solution.point

    def _push(self, pieces: Integers, points: Floats) -> Floats:
        """Move boundary points towards deepest points until their errors are certain."""
        return np.array([self._pushed(*pair) for pair in zip(pieces.tolist(), points, strict=True)])

    def _pushed(self, piece: int, point: Floats) -> Floats:
        steps = np.append(0.0, 2.0 ** np.arange(-52.0, 1.0, 2.0))[:, None]
        trials = point + steps * (self._deepest[piece] - point)
        lower, upper = self.problem.support.bounds
        trials = np.clip(trials, lower, upper)
        certain = np.flatnonzero(self._evaluate(trials) == 0)
        return trials[certain[0]] if len(certain) else point

    def _evaluate(self, points: Floats) -> Floats:
        """Return 0 at certain errors of this label, ``-inf`` elsewhere: ``(M, n) -> (M,)``."""
        labels = np.full(len(points), self.label)
        wrong = certain_losses(self.problem, points, labels) > 0
        wrong &= self.problem.support.contains(points)
        return np.where(wrong, 0.0, -np.inf)

    def _nearest(self, samples: Floats, points: Floats) -> tuple[Floats, Floats]:
        """Return the distance of each sample to the nearest certain error, and that error."""
        errors = points[self._evaluate(points) == 0]
        upper, nearest = np.full(len(samples), np.inf), samples.copy()
        for i, sample in enumerate(samples):
            if len(errors):
                distances = self.norm.length(errors - sample)
                k = int(distances.argmin())
                upper[i], nearest[i] = distances[k], errors[k]
        return upper, nearest

    def _exact_nearest(
        self, exact: ExactNetwork, piece: int, sample: Floats, radius: float
    ) -> Rationals | None:
        """Return a point of a piece within the closed ball, over the rationals."""
        A, b = self._exact_piece(exact, piece)
        nearest = exact_nearest(A, b, rationals(sample), self.norm)
        if nearest is None or nearest.exceeds(Fraction(radius)):
            return None
        return nearest.point

    def _exact_piece(self, exact: ExactNetwork, piece: int) -> tuple[Rationals, Rationals]:
        """Rows of a piece, of its threshold and of the support, over the rationals."""
        network = self.problem.network
        cell = self.cells[int(self.pieces.cells[piece])]
        others = [j for j in range(network.classes) if j != self.label]
        target = others[int(self.pieces.targets[piece])]
        starts = np.concatenate([[0], np.cumsum(network.widths)]).astype(int)
        matrix, bound = [], []
        for k in np.flatnonzero(cell.cuts).tolist():
            layer = int(np.searchsorted(starts, k, side="right")) - 1
            J, c = exact.layer(layer, cell.pattern)
            sign = -1 if cell.pattern[k] else 1
            matrix.append(sign * J[k - int(starts[layer])])
            bound.append(-sign * c[k - int(starts[layer])])
        J, c = exact.layer(len(network.widths), cell.pattern)
        matrix.append(J[self.label] - J[target])
        bound.append(c[target] - c[self.label])
        A, e = (rationals(v) for v in self.problem.support.rows)
        rows = np.array(matrix, dtype=object).reshape(-1, network.features)
        return np.concatenate([rows, A]), np.concatenate([np.array(bound, dtype=object), e])
