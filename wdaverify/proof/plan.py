r"""What a proof aims at: the multiplier, the bound of every sample, how far each may move."""

from fractions import Fraction
from typing import Any

import numpy as np

from wdaverify.arrays import Floats, Integers
from wdaverify.atoms import Atoms
from wdaverify.checker.enclosures import power
from wdaverify.checker.question import Question
from wdaverify.exact.penalty import Penalty
from wdaverify.problem import Problem
from wdaverify.proof.numbers import as_json

__all__ = ["Plan"]

SLACK = 2e-11
"""How far the bound of a sample may exceed the best known point, relative to its size."""

NOISE = 4e-12
"""What is added for the rounding of float bounds, relative to the numbers that are summed."""

ROUND = 3e-11
"""The same for l2, where the checker chooses a scale in floating point."""

RAISED = 2e-11
"""The same for the multiplier where the support has no end: gradients need not match exactly."""

LEAST = 1e-11
"""Least cost of the budget there: it pays for gradients that do not match exactly."""

NEARER = 2e-10
"""Relative retreat of the distance to an error."""


class Plan:
    """The aims for the samples of a question (those of positive weight).

    Attributes
    ----------
    labels
        Labels that trees are about.
    limits
        Bounds ``U_i`` so far, ``(N,)``; ``None`` for zero-one.
    reach
        How far a sample may move, ``(N,)``; zero-one: no error is to be nearer.
    asked, proved
        Prices of programs and of the proof.
    """

    def __init__(self, q: Question, problem: Problem, rate: float, *, noise: float = NOISE) -> None:
        self.q, self.problem = q, problem
        self.noise = noise * (1.0 if problem.cost.norm.polyhedral else ROUND / NOISE)
        self.labels = problem.possible_labels if q.loss != "zero-one" else problem.active_labels
        self.limits: Floats | None = None
        self.reach = np.full(len(q.points), np.inf if q.order is not None else float(q.radius))
        open_ = any(v is None for v in [*q.lower, *q.upper])
        order = problem.cost.order if problem.cost.finite else 1.0
        budget = float(q.budget[0]) if q.order is not None else 0.0
        least = LEAST / budget if budget > 0 and (open_ or q.loss == "zero-one") else 0.0
        self.rate = max(rate * (1.0 + RAISED) if open_ and order == 1 else rate, least)
        price = q.loss != "zero-one" and q.order is not None
        self.asked = Penalty(rate if price else 0.0, order if price else 1.0)
        self.proved = Penalty(self.rate if price else 0.0, order if price else 1.0)

    def aim_at(self, atoms: Atoms) -> None:
        """Take the best known points of every sample for its bound (not zero-one)."""
        problem = self.problem
        values = np.asarray(atoms.losses, dtype=np.float64)
        if self.q.order is None:
            values = np.where(atoms.costs <= float(self.q.radius), values, -np.inf)
        else:
            values = values - self.asked_rate * atoms.costs
        best = np.full(len(problem), -np.inf)
        np.maximum.at(best, atoms.owners, values)
        own = problem.nominal_losses
        best = np.maximum(best, own)[problem.active]
        self.limits = best + SLACK * np.maximum(1.0, np.abs(best))

    @property
    def asked_rate(self) -> float:
        """The multiplier before it was raised."""
        return self.asked.multiplier

    def clear(self, distances: Floats, radius: float) -> None:
        """Take distances ``(N,)`` to the error set for how far no error is (zero-one)."""
        near = distances * (1.0 - NEARER)
        if self.q.order is None:
            near = np.where(distances > radius, radius or near, 0.0)
        elif self.rate > 0:  # farther away an error does not pay
            near = np.minimum(near, (1.0 / self.rate) ** (1.0 / float(self.q.order)) * (1.0 + 1e-9))
        self.reach = near

    def retreat(self, samples: Integers, share: float) -> None:
        """Bring the distances of some samples nearer by a share, to 0 where that is 0."""
        if share == 0 or self.q.order is None:
            self.reach[samples] = 0.0
        else:
            self.reach[samples] *= 1.0 - share

    def samples(self, label: int) -> Integers:
        """Positions of the samples that the tree of a label is about."""
        every = np.arange(len(self.q.points))
        if self.q.label_cost is None or self.q.loss == "zero-one":
            every = every[np.array(self.q.labels) == label]
        return every[self.reach[every] > 0] if self.q.loss == "zero-one" else every

    def moved(self, label: int) -> Floats:
        """Price of a move to a label, ``(N,)``."""
        cost = float(self.q.label_cost or 0)
        return np.asarray(self.rate * cost * (np.array(self.q.labels) != label))

    def end(self, i: int) -> Any:  # noqa: ANN401
        """Return how far sample ``i`` may move as the file has it."""
        if self.q.order is None and self.q.loss != "zero-one":
            return as_json(self.q.radius)
        return None if np.isinf(self.reach[i]) else as_json(float(self.reach[i]))

    def line(self) -> dict[str, Any]:
        """Return the line of multiplier and bounds."""
        rate = 0 if self.q.order is None else as_json(self.rate)
        bounds = None if self.limits is None else [as_json(v) for v in self.written()]
        return {"multiplier": rate, "bounds": bounds}

    def upper(self) -> Fraction:
        """Return the bound that follows."""
        q = self.q
        total = Fraction(0) if q.order is None else Fraction(self.rate) * q.budget[1]
        ends = self._zero_one() if self.limits is None else map(Fraction, self.written())
        return total + sum((m * v for m, v in zip(q.masses, ends, strict=True)), Fraction(0))

    def written(self) -> list[float]:
        """Bounds with a margin for rounding."""
        assert self.limits is not None
        size = np.abs(self.limits) + 1.0
        found = self.limits + self.noise * size
        if self.q.loss == "hinge":
            found = np.maximum(found, 0.0)
        return [float(v) for v in found]

    def _zero_one(self) -> list[Fraction]:
        q, found = self.q, []
        for reach in self.reach.tolist():
            if np.isinf(reach):
                price = None
            elif q.order is None:
                price = None if reach >= float(q.radius) and reach > 0 else Fraction(0)
            else:
                price = Fraction(self.rate) * power(Fraction(reach), q.order)[0]
            if q.order is not None and q.label_cost is not None:
                moves = Fraction(self.rate) * q.label_cost
                price = moves if price is None else min(price, moves)
            found.append(Fraction(0) if price is None else max(Fraction(0), 1 - price))
        return found
