r"""Atoms: feasible points of samples, and the best distribution that they allow.

Whoever finds points (attack or exact engine) offers them here. Loss and transport cost are
evaluated in float64 numpy, points outside the support are dropped, and each sample keeps only the
atoms on its envelope: the lower bound of every method is the merge over these.
"""

from fractions import Fraction
from itertools import pairwise

import numpy as np

from wdaverify.arrays import Bools, Floats, Integers
from wdaverify.distribution import Distribution, Ray
from wdaverify.envelope import Envelope, majorants
from wdaverify.evaluation import certain_losses
from wdaverify.merging import Allocation, Merge, Segments, merge_segments
from wdaverify.problem import Problem
from wdaverify.tolerances import EXACT
from wdaverify.units import require_plain

__all__ = ["Atoms"]


class Atoms:
    """Points known for each sample of a problem, the sample itself among them.

    Attributes
    ----------
    points, labels, owners
        Shapes ``(M, n)``, ``(M,)`` and ``(M,)``; the label is the owner's unless mass may move to
        another one.
    costs, losses
        Transport cost (rounded up, so that budgets hold exactly; for order infinity the distance)
        and loss, ``(M,)``.
    rays
        Escape directions by label, only for order 1 on an unbounded support.
    """

    def __init__(self, problem: Problem) -> None:
        require_plain(problem, "atoms")
        self.problem = problem
        self.rays: dict[int, Ray] = {}
        self.points = problem.points[:0]
        self.labels: Integers = problem.labels[:0]
        self.owners: Integers = np.zeros(0, dtype=np.int64)
        self.costs, self.losses = np.zeros(0), np.zeros(0)
        self.certified: Bools = np.zeros(0, dtype=bool)
        self._hull: Integers | None = None
        self._hull_slopes = np.zeros(0)
        samples = np.arange(len(problem))
        self.add(problem.points, samples)
        if problem.cost.label_cost is not None:
            for label in range(problem.network.classes):
                others = samples[problem.labels != label]
                self.add(problem.points[others], others, np.full(len(others), label))

    def __len__(self) -> int:
        return len(self.points)

    def add(self, points: Floats, owners: Integers, labels: Integers | None = None) -> None:
        """Offer points ``(M, n)`` to their owners ``(M,)``; those outside the support drop out.

        Parameters
        ----------
        labels
            Where a label move is allowed, the labels there, ``(M,)``; the owners' when omitted.
        """
        labels = self.problem.labels[owners] if labels is None else labels
        finite = np.flatnonzero(np.isfinite(points).all(axis=-1))
        keep = finite[self.problem.support.contains(points[finite])]
        points, owners, labels = points[keep], owners[keep], labels[keep]
        if len(points) == 0:
            return
        losses = certain_losses(self.problem, points, labels)
        origins = self.problem.points[owners]
        moved = labels != self.problem.labels[owners]
        costs = self.problem.cost.charge_labels(self.problem.cost.charge(points, origins), moved)
        self._append(points, labels, owners, (costs, losses, np.zeros(len(points), dtype=bool)))

    def replace(self, points: Floats, owners: Integers, labels: Integers) -> None:
        """Take these points instead of all that are known; see :meth:`add`."""
        empty = np.zeros(0, dtype=bool)
        self.points, self.labels = self.points[:0], self.labels[:0]
        self.owners, self.certified = self.owners[:0], empty
        self.costs, self.losses = np.zeros(0), np.zeros(0)
        self.add(points, owners, labels)

    def _append(
        self,
        points: Floats,
        labels: Integers,
        owners: Integers,
        known: tuple[Floats, Floats, Bools],
    ) -> None:
        self.points = np.concatenate([self.points, points])
        self.labels = np.concatenate([self.labels, labels])
        self.owners = np.concatenate([self.owners, owners])
        self.costs = np.concatenate([self.costs, known[0]])
        self.losses = np.concatenate([self.losses, known[1]])
        self.certified = np.concatenate([self.certified, known[2]])
        self._hull = None

    def add_certified(self, point: Floats, owner: int, distance: float) -> None:
        """Add an error of a zero-one problem that rational arithmetic found at this distance.

        ``point (n,)`` is its rounding to float64, at which an evaluation may miss the error.
        """
        cost = distance**self.problem.cost.order if self.problem.cost.finite else distance
        where = np.full(1, owner)
        known = np.array([cost]), np.ones(1), np.ones(1, dtype=bool)
        self._append(point[None, :], self.problem.labels[where], where, known)

    def merge(self) -> Merge:
        """Merge the inner envelopes of all samples (finite order)."""
        hull = self._on_hull()
        found = Segments(self.owners[hull], self.costs[hull], self.losses[hull], self.slopes)
        return merge_segments(found, self.problem.probabilities)

    def envelopes(self) -> list[Envelope]:
        """Return the inner envelope of each sample (finite order)."""
        hull, slopes = self._on_hull(), self.slopes
        edges = np.searchsorted(self.owners[hull], np.arange(len(self.problem) + 1)).tolist()
        groups = [hull[a:b] for a, b in pairwise(edges)]
        return [
            Envelope(self.costs[group], self.losses[group], group, slope=float(slope))
            for group, slope in zip(groups, slopes, strict=True)
        ]

    def envelope(self, sample: int) -> Envelope:
        """Return the inner envelope of one sample (finite order)."""
        group = np.flatnonzero(self.owners == sample)
        slopes = self.slopes[sample : sample + 1]
        owners = np.zeros(len(group), dtype=np.int64)
        group = group[majorants(owners, self.costs[group], self.losses[group], slopes)]
        return Envelope(self.costs[group], self.losses[group], group, slope=float(slopes[0]))

    @property
    def slopes(self) -> Floats:
        """Slope of the ray of each sample, 0 where there is none, ``(N,)``."""
        if not self.rays:
            return np.zeros(len(self.problem))
        by_label = np.zeros(self.problem.network.classes)
        for label, ray in self.rays.items():
            by_label[label] = max(ray.slope, 0.0)
        if self.problem.cost.label_cost is not None:
            return np.full(len(self.problem), by_label.max())
        return np.asarray(by_label[self.problem.labels])

    def _escape_label(self, sample: int) -> int:
        """Label with which mass of a sample escapes."""
        if self.problem.cost.label_cost is None:
            return int(self.problem.labels[sample])
        return max(self.rays, key=lambda label: self.rays[label].slope)

    def _on_hull(self) -> Integers:
        """Atoms on the inner envelopes, by owner and then by cost."""
        slopes = self.slopes
        if self._hull is None or not np.array_equal(slopes, self._hull_slopes):
            self._hull = majorants(self.owners, self.costs, self.losses, slopes)
            self._hull_slopes = slopes
        return self._hull

    def best(self, multiplier: float) -> Floats:
        """Return the largest ``loss − multiplier · cost`` of each sample's atoms, ``(N,)``."""
        values = np.full(len(self.problem), -np.inf)
        np.maximum.at(values, self.owners, self.losses - multiplier * self.costs)
        return values

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
        charges = cost.charge_labels(
            cost.charge(found.points, self.problem.points[found.origin]), found.moved(self.problem)
        )
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
        keep = self._on_hull()
        self.points, self.labels = self.points[keep], self.labels[keep]
        self.owners, self.certified = self.owners[keep], self.certified[keep]
        self.costs, self.losses = self.costs[keep], self.losses[keep]
        self._hull = np.arange(len(keep))

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
        certified = self.certified[atoms]
        return Distribution(
            self.points[atoms], self.labels[atoms], masses, owners, certified, attained
        )

    def _escaped(
        self, atoms: Integers, masses: Floats, allocation: Allocation, limit: float
    ) -> Distribution:
        """Send a little mass of one sample along a ray, far enough to come close to the limit."""
        assert allocation.escape is not None
        i, budget = allocation.escape
        donor = next(k for k, atom in enumerate(atoms) if self.owners[atom] == i)
        base = self._distribution(atoms, masses, attained=False)
        best, achieved = base, -np.inf
        for exponent in range(4, 44, 4):
            mass = min(masses[donor] / 2, 2.0**-exponent)
            trial = self._sent(
                atoms, masses, (donor, mass, budget + mass * self.costs[atoms[donor]])
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
        self, atoms: Integers, masses: Floats, moved: tuple[int, float, float]
    ) -> Distribution | None:
        """Move ``mass`` of one share to the point of the ray that uses up ``budget``."""
        donor, mass, budget = moved
        sample = int(self.owners[atoms[donor]])
        start, label = self.problem.points[sample], self._escape_label(sample)
        ray, norm = self.rays[label], self.problem.cost.norm
        offset = float(norm.length(ray.base - start))
        if label != self.problem.labels[sample]:
            offset += self.problem.cost.label_cost or 0.0
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
            np.append(kept.labels, label),
            np.append(kept.weights, mass),
            np.append(kept.origin, sample),
            np.append(kept.certified, [False]),
            attained=False,
        )
