r"""The sub-problem of one sample and one piece, for every norm and every order.

.. math:: \max\; a\cdot x - \lambda \|x-x_i\|^p \quad\text{s.t.}\quad
          Gx\le h,\ x\in\mathcal{X},\ \|x-x_i\|\le T

Polyhedral norms end in linear programs, l2 in projections. What either proposes is believed only as
far as it proves itself: the multipliers give a cut that holds whatever they are, the point gives a
value, and the two must agree. Where they do not, rational arithmetic decides.
"""

import math
from contextlib import suppress
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from wdaverify.arrays import Floats
from wdaverify.errors import SolverError
from wdaverify.exact.cuts import Cut
from wdaverify.exact.euclidean import EuclideanSolver
from wdaverify.exact.penalty import Penalty
from wdaverify.exact.polyhedral import PolyhedralSolver
from wdaverify.exact.question import Price, Proposal, Question, power_of_two
from wdaverify.network import AffineMap
from wdaverify.norms import GroundNorm
from wdaverify.rational import rationals
from wdaverify.support import Box, Support

__all__ = ["PieceProgram", "Solution", "Unreachable"]


SLACK = 1e-9
"""How far rows are moved out when rounding leaves no point that satisfies them."""

TOO_FAR = 1e100
"""A point beyond this is no answer; its cut is a bound all the same."""

DOUBT = 1e-9
"""Relative disagreement of bound and value, or violation of a row, above which neither counts."""

ROUNDING = 1e-13
"""The same relative to numbers that cancel."""


class Solution(NamedTuple):
    """A point of the piece and a cut, each checked by the other.

    ``bound`` is the cut at the sample; ``gap`` its distance from the value at ``point`` (or a
    violated row, where that is larger). Both are infinite where every solver failed: the cut is
    then that of no multipliers, valid and weak.
    """

    point: Floats
    cut: Cut
    bound: float
    gap: float


class Unreachable(NamedTuple):
    """A cut of the zero function, negative at the sample: ``0 <= cut`` fails within reach."""

    cut: Cut


class _Asked(NamedTuple):
    """What is maximised, and how far from where."""

    gradient: Floats
    sample: Floats
    penalty: Penalty
    reach: float


class _Units(NamedTuple):
    """Units of length and of slope, powers of two."""

    length: float
    slope: float


class PieceProgram:
    """The rows of one piece, kept warm for other samples, penalties and gradients.

    Parameters
    ----------
    rows
        Half-spaces ``G x <= h`` of the piece.
    support
        Bound support; its box bounds become bounds of variables, its other rows rows.
    norm
        Ground norm.
    """

    def __init__(
        self, rows: AffineMap, support: Support, norm: GroundNorm, *, slack: float = 0.0
    ) -> None:
        self._slack = slack
        n = rows.matrix.shape[1]
        self.n, self.norm = n, norm
        self.lower, self.upper = np.full(n, -np.inf), np.full(n, np.inf)
        self.matrix, self.bound = rows
        if isinstance(support, Box):
            self.lower, self.upper = support.lower, support.upper
        else:
            self.matrix = np.concatenate([self.matrix, support.rows.matrix])
            self.bound = np.concatenate([self.bound, support.rows.offset])
        self._free = np.flatnonzero(self.lower < self.upper)
        sizes = np.abs(self.matrix).max(axis=1, initial=0.0).tolist()
        self._sizes = np.array([power_of_two(size) for size in sizes])
        self._least = float(self._sizes.min(initial=1.0))
        unit = self.matrix[:, self._free] / self._sizes[:, None]
        self._linear = PolyhedralSolver(unit, norm)
        bounds = self.lower[self._free], self.upper[self._free]
        self._round = None if norm.polyhedral else EuclideanSolver(unit, *bounds)

    def solve(
        self, gradient: Floats, sample: Floats, penalty: Penalty, reach: float = np.inf
    ) -> Solution | Unreachable:
        """Maximise ``gradient · x − λ ‖x − sample‖^p`` within ``reach``.

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
        asked = _Asked(gradient, sample, penalty, reach)
        if reach == np.inf:
            solution = self._settle(asked)
            return self._nowhere if solution is None else solution
        solution = self._attempt(asked)
        if solution is not None:
            return self._pulled(solution, sample, reach)
        nearest = self._settle(_Asked(np.zeros(self.n), sample, Penalty(1.0), np.inf))
        margin = DOUBT * self._pose(asked)[1].length + ROUNDING * float(np.abs(sample).max())
        if nearest is None:
            return self._nowhere
        if -nearest.bound > reach + margin:
            return Unreachable(nearest.cut)
        distance = float(self.norm.length(nearest.point - sample))
        wide = max(reach, distance) + margin  # the cut holds for every reach
        with suppress(SolverError):
            found = self._settle(asked._replace(reach=wide))
            return self._nowhere if found is None else self._pulled(found, sample, reach)
        steepness = float(self.norm.dual_length(gradient))
        blind = Solution(nearest.point, Cut(gradient, 0.0, steepness), np.inf, np.inf)
        return self._pulled(blind, sample, reach)

    @property
    def _nowhere(self) -> Unreachable:
        """``0 <= −1``, which holds at no distance from any sample."""
        return Unreachable(Cut(np.zeros(self.n), -1.0, 0.0))

    def _pulled(self, solution: Solution, sample: Floats, reach: float) -> Solution:
        """Pull the point back to the reach that rounding made it exceed."""
        distance = float(self.norm.length(solution.point - sample))
        if distance <= reach:
            return solution
        shrink = reach / distance
        return solution._replace(point=sample + shrink * (solution.point - sample))

    def _attempt(self, asked: _Asked) -> Solution | None:
        """Ask the solvers, twice if need be; ``None`` unless an answer checks out."""
        question, units = self._pose(asked)
        for _ in range(2):
            proposal = self._propose(question)
            if proposal is not None:
                solution = self._read(proposal, asked, units)
                if self._agrees(solution, asked, units):
                    return solution
            elif asked.reach < np.inf:
                break
            self._linear.forget()
        return None

    def _propose(self, question: Question, rational: Question | None = None) -> Proposal | None:
        free = question.price.linear and question.price.multiplier == 0.0
        if self._round is None or (free and question.reach == np.inf):
            return self._linear.propose(question, rational)
        return self._round.propose(question, rational)

    def _settle(self, asked: _Asked) -> Solution | None:
        """Ask the solvers, then exact arithmetic; ``None`` where that finds the piece empty."""
        solution = self._attempt(asked)
        if solution is not None:
            return solution
        question, units = self._pose(asked)
        rational = self._rational(question, asked, units.length)
        proposal = self._propose(question, rational)
        if proposal is not None:
            return self._read(proposal, asked, units)
        nearest = question._replace(
            gradient=0.0 * question.gradient, price=Price(1.0), reach=np.inf
        )
        if self._propose(nearest, rational) is None:
            return None if self._slack else self._relaxed(asked)
        raise SolverError("sub-problem: unbounded, although its multiplier forbids that")

    def _relaxed(self, asked: _Asked) -> Solution | None:
        """Solve with rows moved out by far more than their rounding: a bound on the piece."""
        rows = AffineMap(self.matrix, self.bound + SLACK * (1.0 + np.abs(self.bound)))
        program = PieceProgram(rows, Box(self.lower, self.upper), self.norm, slack=SLACK)
        return program._settle(asked)

    def _pose(self, asked: _Asked) -> tuple[Question, _Units]:
        """Put a question in units in which its slopes and the lengths that matter are about 1."""
        gradient, sample, penalty, reach = asked
        slope = float(self.norm.dual_length(gradient))
        if penalty.order == 1:
            slope = max(slope, penalty.multiplier)
        room = (self.bound - self.matrix @ sample) / self._sizes
        below, above = (self.lower - sample)[self._free], (self.upper - sample)[self._free]
        lengths = np.abs(np.concatenate([room, below, above]))
        length = float(lengths[lengths < np.inf].max(initial=0.0))
        if reach > 0.0:
            length = min(length, reach) if length else reach
        units = _Units(power_of_two(length), power_of_two(slope))
        length, slope = units
        with np.errstate(over="ignore"):  # a bound that is far beyond all others is none
            question = Question(
                gradient[self._free] / slope,
                room / length,
                below / length,
                above / length,
                _price(penalty, units),
                reach / length,
            )
        return question, units

    def _rational(self, question: Question, asked: _Asked, length: float) -> Question:
        """Return the same question without rounding (infinite bounds stay floats)."""
        sample = rationals(asked.sample)
        room = rationals(self.bound) - rationals(self.matrix) @ sample
        sides = []
        for bounds in (self.lower, self.upper):
            pairs = zip(bounds[self._free].tolist(), sample[self._free], strict=True)
            exact = [v if math.isinf(v) else (Fraction(v) - x) / Fraction(length) for v, x in pairs]
            sides.append(np.array([*exact, None], dtype=object)[:-1])
        return question._replace(
            room=room / rationals(self._sizes * length), lower=sides[0], upper=sides[1]
        )

    def _read(self, proposal: Proposal, asked: _Asked, units: _Units) -> Solution:
        """Recompute point, cut and gap from the data: the solver's numbers are only a proposal."""
        gradient, sample, penalty, reach = asked
        point = sample.copy()
        point[self._free] += units.length * proposal.step
        if np.abs(point).max(initial=0.0) > TOO_FAR:  # products with it overflow
            point = sample
        point = np.clip(point, self.lower, self.upper)
        cut = self._cut(proposal, gradient, units.slope)
        distance = float(self.norm.length(point - sample))
        value = float(gradient @ point) - float(penalty.of(distance))
        violation = float((self.matrix @ point - self.bound).max(initial=0.0))
        size = float(self.norm.dual_length(gradient))
        line = np.float64(cut.gradient @ sample + cut.offset)
        bound = float(penalty.best(line, cut.steepness, reach, size))
        gap = max(abs(bound - value), violation, distance - reach)
        return Solution(point, cut, bound, gap)

    def _cut(self, proposal: Proposal, gradient: Floats, unit: float) -> Cut:
        """Return the cut of any multipliers whatever."""
        eta = np.maximum(proposal.multipliers, 0.0) * (unit / self._sizes)
        g = gradient - eta @ self.matrix
        multipliers = g.copy()  # a fixed feature: any multiplier, either sign
        multipliers[self._free] = unit * proposal.bounds
        ends = np.where(multipliers > 0, self.upper, self.lower)
        multipliers[~np.isfinite(ends)] = 0.0
        ends = np.where(np.isfinite(ends), ends, 0.0)
        g = g - multipliers
        offset = float(self.bound @ eta) + float(multipliers @ ends)
        return Cut(g, offset, float(self.norm.dual_length(g)), eta)

    def _agrees(self, solution: Solution, asked: _Asked, units: _Units) -> bool:
        """Whether point and cut of a solution are as good as float64 allows."""
        gradient, sample, penalty, reach = asked
        point, cut, bound, gap = solution
        if gap <= DOUBT * units.length * min(1.0, units.slope, self._least):
            return True
        distance = float(self.norm.length(point - sample))
        price = float(penalty.of(distance))
        slope, far = float(np.abs(gradient).sum()), float(np.abs(sample).max(initial=0.0))
        value = float(gradient @ point) - price
        violation = (self.matrix @ point - self.bound) / self._sizes
        outside = max(float(violation.max(initial=0.0)), distance - reach)
        return bool(
            outside <= DOUBT * units.length + ROUNDING * far
            and abs(bound - value)
            <= DOUBT * (slope * (distance + units.length) + price)
            + ROUNDING * (slope * far + abs(cut.offset))
        )


def _price(penalty: Penalty, units: _Units) -> Price:
    """Return the price in unit scale."""
    multiplier, order = penalty
    if order == 1 or multiplier == 0.0:
        return Price(multiplier / units.slope)
    exponent = (math.log(units.slope) - math.log(multiplier) - math.log(order)) / (order - 1.0)
    exponent -= math.log(units.length)
    if exponent > 600.0:
        return Price(0.0)
    return Price(0.0, order, math.exp(max(exponent, -600.0)))
