r"""Prices and points: what evaluations of the suprema teach about the envelopes of all samples.

.. math:: \varphi_i(\lambda) = \max_y\Big[\sup_{x\in\mathcal{X}} \ell(x,y) - \lambda\|x-x_i\|^p
          - \lambda\kappa\,1[y\ne y_i]\Big]

Every evaluation is a line above the growth envelope of sample ``i`` and, by its maximiser, a point
on or below it: the atoms make the inner envelopes, the lines the outer ones.
"""

import math
from functools import cached_property

import numpy as np

from wdaverify.arrays import Floats, Integers
from wdaverify.atoms import Atoms
from wdaverify.cells.frame import bounding_box
from wdaverify.errors import LimitReached
from wdaverify.exact.dispatch import Dispatcher
from wdaverify.exact.first import first_points
from wdaverify.exact.oracle import Asked
from wdaverify.exact.outer import OuterLines
from wdaverify.exact.penalty import Penalty
from wdaverify.problem import Problem

__all__ = ["Pricing"]

FINE = 1e-10
"""What a supremum may leave open where Kelley's method ends by itself."""

SHARE = 0.1
"""Part of the tolerance that a single supremum may leave open elsewhere."""


class Pricing:
    """Atoms and outer lines of a problem, and the engine that provides them.

    Attributes
    ----------
    atoms, lines
        What is known from below and from above.
    floor
        Smallest multiplier at which the suprema are finite (order 1), rounded up.
    """

    def __init__(self, problem: Problem, desk: Dispatcher, atoms: Atoms, tolerance: float) -> None:
        self.problem, self.desk, self.tolerance = problem, desk, tolerance
        self.oracle = oracle = desk.oracle
        self.atoms, self.lines = atoms, OuterLines(problem.probabilities)
        self._bounding_box = bounding_box(problem.support)
        self.floor = 0.0
        if problem.cost.order == 1 and not self.bounded:
            self.floor = oracle.slope * (1.0 + 1e-12)
            rays = {label: oracle.ray(label) for label in self.problem.possible_labels}
            atoms.rays |= {label: ray for label, ray in rays.items() if ray is not None}
        if problem.cost.finite:
            self.add_lipschitz_line(self.steepest if problem.cost.order == 1 else 0.0)
            self._offer_first_points()

    @property
    def bounded(self) -> bool:
        """Whether the support is bounded."""
        return bool(np.isfinite(self._bounding_box).all())

    @property
    def piecewise_linear(self) -> bool:
        """Whether every growth envelope is piecewise linear, so that Kelley's method ends."""
        cost = self.problem.cost
        return self.problem.loss.piecewise_affine and cost.norm.polyhedral and cost.order == 1

    @property
    def steepest(self) -> float:
        """Largest Lipschitz constant of the labels in play, perhaps infinite."""
        return max(self.oracle.constant(label) for label in self.problem.possible_labels)

    def tangent(self, radius: float) -> float:
        """Slope in the budget, at a radius, of a loss that grows with the Lipschitz constant."""
        order = self.problem.cost.order
        return float(self.steepest / (order * radius ** (order - 1.0)))

    def reaches(self, samples: Integers) -> Floats:
        """Distance beyond which samples leave the bounding box of the support, ``(m,)``."""
        lower, upper = self._bounding_box
        X = self.problem.points[samples]
        far = np.maximum(upper - X, X - lower)
        return np.where(np.isfinite(far).all(axis=1), self.problem.cost.norm.length(far), np.inf)

    def _offer_first_points(self) -> None:
        """Offer what a few gradient steps find."""
        labels, active = self.problem.labels, self.problem.active
        for label in self.problem.possible_labels:
            moves = self.problem.cost.label_cost is not None
            samples = active if moves else active[labels[active] == label]
            points, owners = first_points(self.problem, label, samples)
            self.atoms.add(points, owners, np.full(len(owners), label))
        self.atoms.prune()

    def price(self, multiplier: float) -> None:
        """Evaluate ``φ_i`` for every sample: a new outer line and new atoms.

        Raises
        ------
        LimitReached
            After adding the line that holds so far.
        """
        slopes, phi = np.full(len(self.problem), multiplier), np.zeros(len(self.problem))
        active = self.problem.active
        slopes[active], phi[active], reached = self._suprema(active, multiplier)
        self.atoms.prune()
        self.lines.add(slopes, phi)
        if reached is not None:
            raise reached

    def price_single(self, sample: int, multiplier: float) -> float:
        """Evaluate ``φ_i`` of one sample: an outer line and an atom; see :meth:`price`."""
        slopes, phi, reached = self._suprema(np.array([sample]), multiplier)
        self.lines.add_single(sample, float(slopes[0]), float(phi[0]))
        if reached is not None:
            raise reached
        return float(phi[0])

    def within(self, radius: float) -> tuple[Floats, LimitReached | None]:
        """Bound the loss within a radius of each sample, ``(N,)``, and offer the best points."""
        labels, active = self.problem.labels, self.problem.active
        questions = []
        for label in self.problem.active_labels:
            samples = active[labels[active] == label]
            asked = self._asked(label, samples, Penalty(0.0), np.full(len(samples), -np.inf))
            questions.append(asked._replace(reach=np.minimum(asked.reach, radius)))
        answers, reached = self.desk.suprema(questions)
        upper = np.zeros(len(self.problem))
        for asked, found in zip(questions, answers, strict=True):
            upper[asked.samples] = found.bounds
            self._offer_within(found.points, asked.samples, radius)
            near, owners = first_points(self.problem, asked.label, asked.samples, radius)
            self._offer_within(near, owners, radius)
        return upper, reached

    def add_lipschitz_line(self, multiplier: float) -> None:
        r"""Add ``φ_i(λ) <= max_y [ℓ(x_i, y) + c_p(L_y, λ) − λκ 1[y≠y_i]]``, no work needed."""
        multiplier = multiplier if math.isfinite(multiplier) else 0.0
        problem, samples = self.problem, np.arange(len(self.problem))
        price = multiplier * (problem.cost.label_cost or 0.0)
        phi = np.full(len(samples), -np.inf)
        for label in self.problem.possible_labels:
            moved = problem.labels != label
            if problem.cost.label_cost is None and moved.all():
                continue
            grown = self._grown(label, Penalty(multiplier, problem.cost.order)) - moved * price
            if problem.cost.label_cost is None:
                grown[moved] = -np.inf
            phi = np.maximum(phi, grown)
        phi[problem.weights == 0] = 0.0
        self.lines.add(np.full(len(samples), multiplier), phi)

    def grown_within(self, radius: float) -> Floats:
        """Bound the loss within a radius of each sample by Lipschitz constants, ``(N,)``."""
        upper = np.zeros(len(self.problem))
        for label in self.problem.active_labels:
            own = self.problem.labels == label
            upper[own] = self._grown(label, Penalty(0.0), radius)[own]
        return upper

    def _grown(self, label: int, penalty: Penalty, radius: float = math.inf) -> Floats:
        samples = np.arange(len(self.problem))
        losses = self.problem.evaluate(self.problem.points, np.full(len(samples), label))
        steepest, top = self.oracle.constant(label), self.oracle.ceiling(label)
        if not math.isfinite(steepest):
            return np.full(len(samples), top)
        reach = np.minimum(self.reaches(samples), radius)
        return np.minimum(top, penalty.best(losses, steepest, reach, steepest))

    def _suprema(
        self, active: Integers, multiplier: float
    ) -> tuple[Floats, Floats, LimitReached | None]:
        """Bound ``φ_i`` of some samples, with the slopes for which the bounds hold."""
        penalty = Penalty(multiplier, self.problem.cost.order)
        slopes = np.full(len(active), multiplier)
        phi = self.atoms.best(multiplier)[active]
        reached: LimitReached | None = None
        for moved in (False, True) if self.problem.cost.label_cost is not None else (False,):
            price = multiplier * (self.problem.cost.label_cost or 0.0) * moved
            places = [
                (label, np.flatnonzero((self.problem.labels[active] != label) == moved))
                for label in self.problem.possible_labels
            ]
            places = [(label, at) for label, at in places if len(at)]
            answers, limit = self.desk.suprema(
                [self._asked(label, active[at], penalty, phi[at] + price) for label, at in places]
            )
            reached = reached or limit
            for (label, at), found in zip(places, answers, strict=True):
                slopes[at] = np.maximum(slopes[at], found.slopes)
                phi[at] = np.maximum(phi[at], found.bounds - price)
                self.atoms.add(found.points, active[at], np.full(len(at), label))
        return slopes, phi, reached

    @cached_property
    def _size(self) -> float:
        """Size of the losses where it is below 1, so that small ones are resolved too."""
        return min(1.0, float(np.abs(self.problem.nominal_losses).max()) or 1.0)

    def _asked(self, label: int, samples: Integers, penalty: Penalty, floor: Floats) -> Asked:
        tolerance = FINE * self._size if self.piecewise_linear else SHARE * self.tolerance
        return Asked(label, samples, penalty, self.reaches(samples), floor, tolerance)

    def _offer_within(self, points: Floats, samples: Integers, radius: float) -> None:
        """Offer each sample a point within the radius, pulled in by what rounding adds."""
        origins = self.problem.points[samples]
        for shrink in (0.0, 2.0**-51, 2.0**-48, 2.0**-45, 2.0**-42, 1e-9):
            trials = origins + (points - origins) * (1.0 - shrink)
            kept = self.problem.cost.charge(trials, origins) <= radius
            self.atoms.add(trials[kept], samples[kept])
            points, origins, samples = points[~kept], origins[~kept], samples[~kept]
