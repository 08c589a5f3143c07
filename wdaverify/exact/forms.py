"""How a question is written as a linear program, and its answer read back.

Without a price ``u`` alone will do; l1 splits ``u = u⁺ − u⁻``; l∞ has rows ``−t <= u_k <= t``.
"""

import math
from fractions import Fraction
from typing import NamedTuple, Protocol, final

import numpy as np

from wdaverify.arrays import Floats
from wdaverify.convex.exact import exact_maximum
from wdaverify.convex.highs import Answer, Status
from wdaverify.exact.question import Proposal, Question
from wdaverify.rational import rationals

__all__ = ["Form", "Largest", "Limits", "Plain", "Sum", "polished", "solve_exactly"]

PRESENT = 1e-13
"""Size, in unit scale, from which on a number is not rounding."""


class Limits(NamedTuple):
    """Bounds of columns and rows."""

    lower: Floats
    upper: Floats
    rows: Floats


class Form(Protocol):
    """How a question is written as a linear program."""

    matrix: Floats
    columns: int

    def limits(self, question: Question, reach: float) -> Limits:
        """Return what changes with the question besides the costs."""

    def costs(self, gradient: Floats, sigma: float) -> Floats:
        """Return the costs of ``a · u − σ ‖u‖``."""

    def read(self, answer: Answer, question: Question, reach: float) -> Proposal:
        """Return step and multipliers of an answer."""


@final
class Plain:
    """No price: ``u`` alone; the l∞ ball, if there is one, is a box."""

    def __init__(self, matrix: Floats) -> None:
        self.matrix, self.columns = matrix, matrix.shape[1]

    def limits(self, question: Question, reach: float) -> Limits:  # noqa: D102
        lower, upper = np.maximum(question.lower, -reach), np.minimum(question.upper, reach)
        return Limits(lower, np.maximum(lower, upper), question.room)

    def costs(self, gradient: Floats, _: float) -> Floats:  # noqa: D102
        return gradient

    def read(self, answer: Answer, question: Question, reach: float) -> Proposal:  # noqa: D102
        r = answer.reduced
        tighter = np.where(r > 0, question.upper <= reach, question.lower >= -reach)
        return Proposal(answer.point, answer.multipliers, np.where(tighter, r, 0.0))


@final
class Sum:
    """l1: ``u = u⁺ − u⁻`` and ``‖u‖ = Σ u⁺ + u⁻``."""

    def __init__(self, matrix: Floats) -> None:
        self.n = matrix.shape[1]
        self.columns = 2 * self.n
        self.matrix = np.concatenate([np.hstack([matrix, -matrix]), np.ones((1, self.columns))])

    def limits(self, question: Question, reach: float) -> Limits:  # noqa: D102
        both = np.concatenate([question.lower, -question.upper])
        ends = np.concatenate([question.upper, -question.lower])
        zero = np.zeros_like(ends) if ends.dtype == float else rationals(np.zeros(len(ends)))
        room = np.append(question.room, reach)
        return Limits(np.maximum(both, zero), np.maximum(ends, zero), room)

    def costs(self, gradient: Floats, sigma: float) -> Floats:  # noqa: D102
        return np.concatenate([gradient - sigma, -gradient - sigma])

    def read(self, answer: Answer, question: Question, reach: float) -> Proposal:  # noqa: ARG002, D102
        plus, minus = answer.reduced[: self.n], answer.reduced[self.n :]
        low, high = question.lower, question.upper
        at_upper = np.maximum(plus, 0.0) * (high >= 0) - np.minimum(minus, 0.0) * (high < 0)
        at_lower = np.minimum(plus, 0.0) * (low > 0) - np.maximum(minus, 0.0) * (low <= 0)
        step = answer.point[: self.n] - answer.point[self.n :]
        return Proposal(step, answer.multipliers[:-1], at_upper + at_lower)


@final
class Largest:
    """l∞: ``−t <= u_k <= t``."""

    def __init__(self, matrix: Floats) -> None:
        m, self.n = matrix.shape
        self.columns = self.n + 1
        one, eye = np.ones((self.n, 1)), np.eye(self.n)
        self.matrix = np.block([[matrix, np.zeros((m, 1))], [eye, -one], [-eye, -one]])

    def limits(self, question: Question, reach: float) -> Limits:  # noqa: D102
        room = np.concatenate([question.room, np.zeros(2 * self.n)])
        return Limits(np.append(question.lower, 0.0), np.append(question.upper, reach), room)

    def costs(self, gradient: Floats, sigma: float) -> Floats:  # noqa: D102
        return np.append(gradient, -sigma)

    def read(self, answer: Answer, question: Question, reach: float) -> Proposal:  # noqa: ARG002, D102
        rows = len(question.room)
        return Proposal(answer.point[: self.n], answer.multipliers[:rows], answer.reduced[: self.n])


def polished(matrix: Floats, costs: Floats, limits: Limits, answer: Answer) -> Answer:
    """Solve the equations of the basis once more, where the solver left tolerances in them.

    Rows with multipliers are tight; columns without reduced costs have none.
    """
    if answer.status is not Status.OPTIMAL:
        return answer
    active, free = answer.multipliers > PRESENT, np.abs(answer.reduced) <= PRESENT
    basis = matrix[active][:, free]
    missing = limits.rows[active] - matrix[active] @ answer.point
    unpaid = costs[free] - answer.multipliers[active] @ basis
    if max(np.abs(missing).max(initial=0.0), np.abs(unpaid).max(initial=0.0)) <= PRESENT:
        return answer
    point, eta = answer.point.copy(), answer.multipliers.copy()
    point[free] += np.linalg.lstsq(basis, missing)[0]
    eta[active] += np.linalg.lstsq(basis.T, unpaid)[0]
    reduced = np.where(free, 0.0, costs - eta @ matrix)
    return Answer(answer.status, point, eta, reduced)


def solve_exactly(matrix: Floats, costs: Floats, limits: Limits) -> Answer:
    """Solve over the rationals (the data as float64)."""
    upper = np.array([v < math.inf for v in limits.upper])
    lower = np.array([v > -math.inf for v in limits.lower])
    used = np.array([v < math.inf for v in limits.rows])
    identity = rationals(np.eye(len(costs)))
    A = np.concatenate([rationals(matrix[used]), identity[upper], -identity[lower]])
    ends = [limits.rows[used], limits.upper[upper], -limits.lower[lower]]
    b = np.array([Fraction(v) for v in np.concatenate(ends).tolist()] + [None], dtype=object)[:-1]
    optimum = exact_maximum(rationals(costs), A, b)
    if optimum is None or optimum.value is None:
        status = Status.INFEASIBLE if optimum is None else Status.UNBOUNDED
        return Answer(status, np.zeros(0), np.zeros(0), np.zeros(0))
    eta = np.zeros(len(matrix))
    found = optimum.multipliers.astype(np.float64)
    count = int(used.sum())
    eta[used] = found[:count]
    reduced = np.zeros(len(costs))
    reduced[upper] += found[count : count + int(upper.sum())]
    reduced[lower] -= found[count + int(upper.sum()) :]
    return Answer(Status.OPTIMAL, optimum.point.astype(np.float64), eta, reduced)
