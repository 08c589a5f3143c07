r"""The sub-problem for l1 and l∞: linear programs, whatever the order.

For a multiplier ``σ`` of the length itself the program

.. math:: \varphi(\sigma) = \max\; a\cdot u - \sigma\|u\| \quad\text{s.t.}\quad
          Gu\le s,\ l\le u\le w,\ \|u\|\le R

is linear. A convex price :math:`\psi` is met by the right ``σ``:

.. math:: \max\; a\cdot u - \psi(\|u\|) = \min_{\sigma\ge0}\; \varphi(\sigma)
          + \sup_t\,\sigma t - \psi(t).

Solutions for two values of ``σ`` with lengths on either side of the best are joined by a chord; the
program for the slope of the chord finds a point above it, or shows that the chord is an edge of the
growth function. Then the best point lies on the edge (or at its end) and the multipliers are those
of the edge. An edge for each step: the search is finite.
"""

import math
from typing import NamedTuple

import numpy as np

from wdaverify.arrays import Floats
from wdaverify.convex.highs import LinearProgram, Status
from wdaverify.exact.forms import Form, Largest, Limits, Plain, Sum, polished, solve_exactly
from wdaverify.exact.question import Price, Proposal, Question, power_of_two
from wdaverify.norms import GroundNorm, LInf

__all__ = ["PolyhedralSolver"]

EDGES = 100
"""Multipliers tried for one question."""

TIGHT = 1e-13
"""Relative distance from a chord that is rounding."""

FINE = 1e-10
"""Tolerance of the solver, in unit scale."""

HIGHEST = 1e200
"""Largest multiplier of the length."""


class _Vertex(NamedTuple):
    """A solution for one ``σ``: its length and ``a · u``."""

    length: float
    value: float
    proposal: Proposal

    def at(self, sigma: float) -> float:
        return self.value - sigma * self.length


class _Asked(NamedTuple):
    """A question with its rational twin, if it must be answered exactly."""

    question: Question
    rational: Question | None


class PolyhedralSolver:
    """Linear programs of one piece, kept warm.

    Parameters
    ----------
    matrix
        Rows in unit scale, ``(m, n)``.
    norm
        l1 or l∞; l2 for questions without price and reach.
    """

    def __init__(self, matrix: Floats, norm: GroundNorm) -> None:
        self.norm, self._matrix = norm, matrix
        self._programs: dict[bool, tuple[Form, LinearProgram]] = {}
        self._posed: tuple[Question | None, tuple[LinearProgram, float] | None, Limits | None] = (
            None, None, None)  # fmt: skip
        self._sigma = math.nan

    def propose(self, question: Question, rational: Question | None = None) -> Proposal | None:
        """Return point and multipliers, ``None`` where the solver finds none.

        Parameters
        ----------
        rational
            The same question over the rationals: solve it there, slowly and without doubt.
        """
        asked, price = _Asked(question, rational), question.price
        if price.linear:
            vertex = self._ask(asked, price.multiplier, question.reach)
            return None if vertex is None else vertex.proposal
        return self._search(asked)

    def forget(self) -> None:
        """Solve the next question from scratch."""
        self._sigma = math.nan
        for _, program in self._programs.values():
            program.forget()

    def _search(self, asked: _Asked) -> Proposal | None:
        """Find the multiplier of the length that a convex price amounts to."""
        question = asked.question
        price, cap = question.price, question.reach
        steepest = float(self.norm.dual_length(question.gradient))
        sigma = self._sigma if cap < math.inf and self._sigma > 0 else steepest
        left: _Vertex | None = None
        right: _Vertex | None = None
        for _ in range(EDGES):
            vertex = self._ask(asked, sigma, cap)
            if vertex is None:
                return None
            known = [end for end in (left, right) if end is not None]
            room = TIGHT * (steepest + sigma) * vertex.length
            if any(vertex.at(sigma) <= end.at(sigma) + room for end in known):
                self._sigma = sigma
                return vertex.proposal._replace(step=_best(left, right, price))
            if math.isinf(cap):  # beyond this vertex the growth is less steep than the first sigma
                cap = max(vertex.length, price.length(sigma))
            if vertex.length <= price.length(sigma):
                left = vertex
            else:
                right = vertex
            sigma = min(_slope(left, right, price), HIGHEST)
        return None

    def _ask(self, asked: _Asked, sigma: float, reach: float) -> _Vertex | None:
        question, rational = asked
        form, program = self._form(plain=sigma == 0.0 and self._is_box(reach))
        a = question.gradient
        unit = power_of_two(max(float(np.abs(a).max(initial=0.0)), sigma))
        costs = form.costs(a, sigma) / unit
        if rational is None:
            limits = self._pose(question, reach, form, program)
            answer = polished(form.matrix, costs, limits, program.maximize(costs))
        else:
            answer = solve_exactly(form.matrix, costs, form.limits(rational, reach))
        if answer.status is not Status.OPTIMAL or not np.all(np.isfinite(answer.point)):
            return None
        found = form.read(answer, question, reach)
        length = float(self.norm.length(found.step))
        proposal = Proposal(found.step, unit * found.multipliers, unit * found.bounds)
        return _Vertex(length, float(a @ found.step), proposal)

    def _pose(self, question: Question, reach: float, form: Form, program: LinearProgram) -> Limits:
        """Hand the limits of a question to the solver, unless it has them already."""
        last, same, limits = self._posed
        if last is question and same == (program, reach):
            assert limits is not None
            return limits
        limits = form.limits(question, reach)
        program.bound_columns(np.arange(form.columns), limits.lower, limits.upper)
        program.bound_rows(np.arange(len(limits.rows)), limits.rows)
        self._posed = question, (program, reach), limits
        return limits

    def _is_box(self, reach: float) -> bool:
        return math.isinf(reach) or isinstance(self.norm, LInf)

    def _form(self, *, plain: bool) -> tuple[Form, LinearProgram]:
        if plain not in self._programs:
            ball = Sum if self.norm.name == "l1" else Largest
            form: Form = Plain(self._matrix) if plain else ball(self._matrix)
            ends = np.full(form.columns, np.inf)
            program = LinearProgram(-ends, ends, tolerance=FINE)
            program.add_rows(form.matrix, np.zeros(len(form.matrix)))
            self._programs[plain] = form, program
        return self._programs[plain]


def _slope(left: _Vertex | None, right: _Vertex | None, price: Price) -> float:
    """Return the multiplier at which the known vertices allow the least bound."""
    ends = [price.slope(end.length) for end in (left, right) if end is not None]
    if left is None or right is None or right.length <= left.length:
        return ends[0]
    return min(max(_chord(left, right), ends[0]), ends[1])


def _best(left: _Vertex | None, right: _Vertex | None, price: Price) -> Floats:
    """Return the best point of the chord between two vertices."""
    if left is None or right is None:
        only = left if right is None else right
        assert only is not None
        return only.proposal.step
    if right.length <= left.length:
        return left.proposal.step
    length = price.length(max(0.0, _chord(left, right)))
    share = min(1.0, max(0.0, (length - left.length) / (right.length - left.length)))
    return (1.0 - share) * left.proposal.step + share * right.proposal.step


def _chord(left: _Vertex, right: _Vertex) -> float:
    return (right.value - left.value) / (right.length - left.length)
