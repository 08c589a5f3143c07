"""Discrete distributions with the transport plan that reaches them, and rays of escape."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from wdaverify.arrays import Bools, Floats, Integers
from wdaverify.evaluation import certain_losses
from wdaverify.problem import Problem

__all__ = ["Distribution", "Ray"]


@dataclass(frozen=True, slots=True, eq=False)
class Ray:
    """A direction in which the loss of a label grows for ever.

    Attributes
    ----------
    base, direction
        The half-line ``base + t · direction`` inside the support, shape ``(n,)``.
    slope
        Growth of the loss per unit of ``‖direction‖ t``.
    """

    base: Floats
    direction: Floats
    slope: float


@dataclass(frozen=True, slots=True, eq=False)
class Distribution:
    """A discrete distribution and the transport plan that reaches it from the data.

    Attributes
    ----------
    points, labels, weights
        Shapes ``(M, n)``, ``(M,)`` and ``(M,)``.
    origin
        Sample from which the mass of each atom comes, ``(M,)``.
    certified
        Atoms that are the rounding of a rational point at which an error was proved, ``(M,)``.
    attained
        Whether the supremum is attained here; ``False`` where mass still wants to travel farther.
    """

    points: Floats
    labels: Integers
    weights: Floats
    origin: Integers
    certified: Bools
    attained: bool = True

    def risk(self, problem: Problem) -> float:
        """Evaluate the expected loss in float64 (certified errors count as such)."""
        losses = certain_losses(problem, self.points, self.labels)
        return float(self.weights @ np.where(self.certified, 1.0, losses))

    def transport_cost(self, problem: Problem) -> float:
        """Cost of the plan, ``Σ w ‖x' − x‖^p`` and label moves; the maximum for order infinity."""
        costs = problem.cost.of(self.points - problem.points[self.origin])
        costs = costs + (problem.cost.label_cost or 0.0) * self.moved(problem)
        return float(self.weights @ costs) if problem.cost.finite else float(costs.max())

    def moved(self, problem: Problem) -> Bools:
        """Whether each atom has another label than its sample, ``(M,)``."""
        return np.asarray(self.labels != problem.labels[self.origin])

    def exact_transport_cost(self, problem: Problem) -> Fraction:
        """:meth:`transport_cost` over the rationals (l1 and l∞, integral or infinite order)."""
        norm, order = problem.cost.norm, problem.cost.order
        lengths = [
            norm.exact_length([Fraction(a) - Fraction(b) for a, b in zip(x, y, strict=True)])
            for x, y in zip(self.points.tolist(), problem.points[self.origin].tolist(), strict=True)
        ]
        if not problem.cost.finite:
            return max(lengths)
        masses = [Fraction(w) for w in self.weights.tolist()]
        price = Fraction(problem.cost.label_cost or 0.0)
        labels = [price * int(moved) for moved in self.moved(problem)]
        return sum(
            (m * (s ** int(order) + k) for m, s, k in zip(masses, lengths, labels, strict=True)),
            Fraction(0),
        )
