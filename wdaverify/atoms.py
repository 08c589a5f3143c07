r"""Atoms: feasible points of samples, and the best distribution that they allow.

Whoever finds points (attack or exact engine) offers them here. Loss and transport cost are
evaluated in float64 numpy, points outside the support are dropped, and each sample keeps only the
atoms on its envelope: the lower bound of every method is the merge over these.
"""

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import numpy as np

from wdaverify.arrays import Bools, Floats, Integers
from wdaverify.envelope import Allocation, Envelope, Merge, majorant, merge
from wdaverify.evaluation import certain_losses
from wdaverify.problem import Problem
from wdaverify.tolerances import EXACT

__all__ = ["Atoms", "Distribution", "Ray"]


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
        """Cost of the plan: ``Σ w ‖x' − x‖^p``, the largest distance for order infinity."""
        costs = problem.cost.of(self.points - problem.points[self.origin])
        return float(self.weights @ costs) if problem.cost.finite else float(costs.max())

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
        return sum((m * s ** int(order) for m, s in zip(masses, lengths, strict=True)), Fraction(0))


class Atoms:
    """Points known for each sample of a problem, the sample itself among them.

    Attributes
    ----------
    points, owners
        Shapes ``(M, n)`` and ``(M,)``.
    costs, losses
        Transport cost (rounded up, so that budgets hold exactly; for order infinity the distance)
        and loss with the label of the owner, ``(M,)``.
    rays
        Escape directions by label, only for order 1 on an unbounded support.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.rays: dict[int, Ray] = {}
        self.points = problem.points
        self.owners: Integers = np.arange(len(problem))
        self.costs = np.zeros(len(problem))
        self.certified: Bools = np.zeros(len(problem), dtype=bool)
        self.losses = certain_losses(problem, problem.points, problem.labels)

    def __len__(self) -> int:
        return len(self.points)

    def add(self, points: Floats, owners: Integers) -> None:
        """Offer points ``(M, n)`` to their owners ``(M,)``; those outside the support drop out."""
        keep = np.isfinite(points).all(axis=-1)
        points, owners = points[keep], owners[keep]
        keep = self.problem.support.contains(points)
        points, owners = points[keep], owners[keep]
        if len(points) == 0:
            return
        losses = certain_losses(self.problem, points, self.problem.labels[owners])
        costs = self.problem.cost.charge(points, self.problem.points[owners])
        self.points = np.concatenate([self.points, points])
        self.owners = np.concatenate([self.owners, owners])
        self.costs = np.concatenate([self.costs, costs])
        self.losses = np.concatenate([self.losses, losses])
        self.certified = np.concatenate([self.certified, np.zeros(len(points), dtype=bool)])

    def add_certified(self, point: Floats, owner: int, distance: float) -> None:
        """Add an error of a zero-one problem that rational arithmetic found at this distance.

        ``point (n,)`` is its rounding to float64, at which an evaluation may miss the error.
        """
        cost = distance**self.problem.cost.order if self.problem.cost.finite else distance
        self.points = np.concatenate([self.points, point[None, :]])
        self.owners = np.append(self.owners, owner)
        self.costs = np.append(self.costs, cost)
        self.losses = np.append(self.losses, 1.0)
        self.certified = np.append(self.certified, [True])

    def merge(self) -> Merge:
        """Merge the inner envelopes of all samples (finite order)."""
        return merge(self.envelopes(), self.problem.probabilities)

    def envelopes(self) -> list[Envelope]:
        """Return the inner envelope of each sample (finite order)."""
        groups = self._by_owner()
        result = []
        for i, group in enumerate(groups):
            ray = self.rays.get(int(self.problem.labels[i]))
            slope = ray.slope if ray is not None and ray.slope > 0 else 0.0
            result.append(majorant(self.costs[group], self.losses[group], group, slope=slope))
        return result

    def value(self, radius: float) -> float:
        """Worst-case risk over the known atoms (rays in the limit) at a radius."""
        if self.problem.cost.finite:
            return self.merge().value(self.problem.cost.budget(radius))
        return float(self.problem.probabilities @ self.losses[self._nearest_worst(radius)])

    def distribution(self, radius: float) -> Distribution:
        """Return the best distribution within the radius, mass on rays sent far but finitely far.

        The charged transport cost keeps within the budget over the rationals: where rounding of
        the merge would overspend it, the radius is taken a few units in the last place smaller.
        """
        slack = 0.0
        while True:
            found = self._best(radius * (1.0 - slack))
            if self._affordable(found, radius):
                return found
            slack = max(4.0 * slack, 2.0**-52)

    def _affordable(self, found: Distribution, radius: float) -> bool:
        """Whether the charged cost keeps within the budget, over the rationals."""
        cost = self.problem.cost
        charges = cost.charge(found.points, self.problem.points[found.origin])
        for k in np.flatnonzero(found.certified):  # the rational point has a cost of its own
            same = (self.points == found.points[k]).all(axis=1) & self.certified
            charges[k] = self.costs[same & (self.owners == found.origin[k])].min()
        if not cost.finite:
            return bool((charges <= radius).all())
        masses = [Fraction(w) for w in found.weights.tolist()]
        spent = sum(
            (m * Fraction(c) for m, c in zip(masses, charges.tolist(), strict=True)), Fraction(0)
        )
        if cost.order.is_integer():
            return spent <= Fraction(radius) ** int(cost.order)
        return spent <= Fraction(cost.budget(radius) * (1.0 - 2.0**-50))

    def _best(self, radius: float) -> Distribution:
        if not self.problem.cost.finite:
            best = self._nearest_worst(radius)
            best = best[self.problem.weights[self.owners[best]] > 0]
            return self._distribution(best, self.problem.probabilities[self.owners[best]])
        merged = self.merge()
        envelopes = self.envelopes()
        budget = self.problem.cost.budget(radius)
        allocation = merged.allocate(budget)
        atoms = np.array([envelopes[s.sample].atoms[s.breakpoint] for s in allocation.shares])
        masses = np.array([s.mass for s in allocation.shares])
        if allocation.escape is None:
            return self._distribution(atoms, masses)
        return self._escaped(atoms, masses, allocation, merged.value(budget))

    def prune(self) -> None:
        """Forget every atom that lies on no envelope."""
        if not self.problem.cost.finite:
            return
        keep = np.concatenate([envelope.atoms for envelope in self.envelopes()])
        self.points, self.owners = self.points[keep], self.owners[keep]
        self.costs, self.losses = self.costs[keep], self.losses[keep]
        self.certified = self.certified[keep]

    def _by_owner(self) -> list[Integers]:
        order = np.argsort(self.owners, kind="stable")
        edges = np.searchsorted(self.owners[order], np.arange(len(self.problem) + 1))
        return [order[a:b] for a, b in pairwise(edges.tolist())]

    def _nearest_worst(self, radius: float) -> Integers:
        """Return the worst atom of each sample within the distance, the nearest among equals."""
        allowed = self.costs <= radius
        best = []
        for group in self._by_owner():
            inside = group[allowed[group]]
            best.append(inside[np.lexsort((self.costs[inside], -self.losses[inside]))[0]])
        return np.array(best)

    def _distribution(
        self, atoms: Integers, masses: Floats, *, attained: bool = True
    ) -> Distribution:
        keep = masses > 0
        atoms, masses = atoms[keep], masses[keep]
        owners = self.owners[atoms]
        labels = self.problem.labels[owners]
        certified = self.certified[atoms]
        return Distribution(self.points[atoms], labels, masses, owners, certified, attained)

    def _escaped(
        self, atoms: Integers, masses: Floats, allocation: Allocation, limit: float
    ) -> Distribution:
        """Send a little mass of one sample along a ray, far enough to come close to the limit."""
        assert allocation.escape is not None
        i, budget = allocation.escape
        ray = self.rays[int(self.problem.labels[i])]
        donor = next(k for k, atom in enumerate(atoms) if self.owners[atom] == i)
        base = self._distribution(atoms, masses, attained=False)
        best, achieved = base, -np.inf
        for exponent in range(4, 44, 4):
            mass = min(masses[donor] / 2, 2.0**-exponent)
            trial = self._sent(
                atoms, masses, (donor, mass, budget + mass * self.costs[atoms[donor]]), ray
            )
            if trial is None:
                continue
            risk = trial.risk(self.problem)
            if risk > achieved:
                best, achieved = trial, risk
            if limit - achieved <= 1e-3 * EXACT * max(1.0, abs(limit)):
                break
        return best if achieved > base.risk(self.problem) else base

    def _sent(
        self, atoms: Integers, masses: Floats, moved: tuple[int, float, float], ray: Ray
    ) -> Distribution | None:
        """Move ``mass`` of one share to the point of the ray that uses up ``budget``."""
        donor, mass, budget = moved
        sample = int(self.owners[atoms[donor]])
        start = self.problem.points[sample]
        norm = self.problem.cost.norm
        offset = float(norm.length(ray.base - start))
        travel = (budget / mass - offset) * (1.0 - 1e-12)
        if travel <= 0:
            return None
        length = float(norm.length(ray.direction))
        far = ray.base + travel / length * ray.direction
        if not self.problem.support.contains(far[None, :])[0]:
            return None
        rest = masses.copy()
        rest[donor] -= mass
        kept = self._distribution(atoms, rest, attained=False)
        return Distribution(
            np.concatenate([kept.points, far[None, :]]),
            np.append(kept.labels, self.problem.labels[sample]),
            np.append(kept.weights, mass),
            np.append(kept.origin, sample),
            np.append(kept.certified, [False]),
            attained=False,
        )
