r"""Exact worst-case values: bounds from multipliers, atoms from suprema, both ending in the merge.

Order 1: every multiplier :math:`\lambda` gives the upper bound

.. math:: v_1(\varepsilon) \le \lambda\varepsilon + \sum_i\mu_i\varphi_i(\lambda),\qquad
          \varphi_i(\lambda) = \sup_{x\in\mathcal{X}} \ell(x,y_i) - \lambda\|x-x_i\|,

and the maximisers are new atoms, whose merge gives a lower bound and the next multiplier (Kelley's
method on the dual; finite, since the loss is piecewise affine). Order infinity: one supremum within
the radius for each sample. Zero-one: distances to the error set, then the merge.
"""

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from wdaverify.arrays import Floats, Integers
from wdaverify.atoms import Atoms
from wdaverify.cells.complex import CellComplex
from wdaverify.cells.frame import bounding_box
from wdaverify.envelope import Merge, merge, minorant
from wdaverify.errors import LimitReached
from wdaverify.exact.answer import ExactValue, check_supported
from wdaverify.exact.distances import Distances, ErrorSet, step_envelopes
from wdaverify.exact.pieces import loss_pieces
from wdaverify.exact.recession import Tail, escape, tail_points
from wdaverify.exact.supremum import Counts, LabelSupremum, Programs
from wdaverify.limits import Limits
from wdaverify.loss import ZeroOne
from wdaverify.problem import Problem
from wdaverify.tolerances import EXACT, scale

__all__ = ["ExactSolver"]

ROUNDS = 200
"""Multipliers tried for one radius before the bracket is returned as it is."""


class ExactSolver:
    """Answers for many radii of one problem; what one radius teaches serves the next.

    Parameters
    ----------
    cells
        The activation cells of the problem's network on its support.
    limits
        When they are reached, results are brackets that are still valid.
    progress
        Called with a word and the current relative gap.

    Raises
    ------
    UnsupportedError
        See :func:`check_supported`.
    """

    def __init__(
        self,
        problem: Problem,
        cells: CellComplex,
        *,
        limits: Limits | None = None,
        progress: Callable[[str, float], None] | None = None,
    ) -> None:
        check_supported(problem)
        self.problem, self.cells = problem, cells
        self.limits, self.progress = limits or Limits(), progress or (lambda _, __: None)
        self.counts = Counts(cells=len(cells))
        self.atoms = Atoms(problem)
        self.stopped: LimitReached | None = None
        self._nominal_errors = ErrorSet.errs(problem)
        self._programs = Programs(cells, problem.cost.norm)
        self._groups = {
            label: problem.active[problem.labels[problem.active] == label]
            for label in problem.active_labels
        }
        self._bounding_box = bounding_box(problem.support)
        self._distances: Distances | None = None
        self._error_sets: dict[int, ErrorSet] = {}
        self._suprema: dict[int, LabelSupremum] = {}
        self.floor = 0.0
        self._lines: list[tuple[Floats, Floats]] = []
        if not isinstance(problem.loss, ZeroOne):
            self._prepare()

    def solve(self, radius: float, *, tolerance: float = EXACT) -> ExactValue:
        """Return the worst-case value at one radius.

        Parameters
        ----------
        radius
            ``ε >= 0``, in input units.
        tolerance
            Relative gap that counts as exact.
        """
        try:
            if isinstance(self.problem.loss, ZeroOne):
                upper = self._zero_one(radius)
            elif self.problem.cost.finite:
                upper = self._order_one(radius)
            else:
                upper = self._order_infinity(radius)
        except LimitReached as reached:
            self.stopped = reached
            upper = self._fallback(radius)
        return self._result(radius, upper, tolerance)

    def distances(self) -> Distances:
        """Bracket the distance of every sample to its error set; widely, if a limit ends it."""
        if self._distances is None:
            problem = self.problem
            lower, upper = np.zeros(len(problem)), np.full(len(problem), np.inf)
            upper[self._nominal_errors] = 0.0
            witnesses = problem.points.copy()
            certified = np.zeros(len(problem), dtype=bool)
            for label in np.unique(problem.labels).tolist():
                samples = np.flatnonzero(problem.labels == label)
                try:
                    errors = ErrorSet(problem, self.cells, label, self.counts, self.limits)
                    found = errors.distances(samples, self._programs)
                except LimitReached as limit:
                    self.stopped = limit
                    break
                self._error_sets[label] = errors
                lower[samples], upper[samples] = found.lower, found.upper
                witnesses[samples] = found.witnesses
                certified[samples] = found.certified
            self._distances = Distances(lower, upper, witnesses, certified)
            if isinstance(problem.loss, ZeroOne):
                reached = np.flatnonzero(np.isfinite(upper) & ~certified)
                self.atoms.add(witnesses[reached], reached)
                for i in np.flatnonzero(certified).tolist():
                    self.atoms.add_certified(witnesses[i], i, upper[i])
        return self._distances

    def outer(self) -> Merge:
        """Merge the outer envelopes that the suprema so far allow (finite order)."""
        probabilities = self.problem.probabilities
        if isinstance(self.problem.loss, ZeroOne):
            wrong = self._nominal_errors
            envelopes = step_envelopes(self.distances(), wrong, self.problem.cost.order)
            return merge(envelopes, probabilities)
        envelopes = [
            minorant(np.array([phi[i] for _, phi in self._lines]),
                     np.array([slope[i] for slope, _ in self._lines]))
            for i in range(len(self.problem))
        ]  # fmt: skip
        return merge(envelopes, probabilities)

    def _prepare(self) -> None:
        """Set up pieces, rays and the first outer line of every sample, ``ℓ_i + L_y t``."""
        problem, norm = self.problem, self.problem.cost.norm
        steepest = np.zeros(len(problem))
        for label, samples in self._groups.items():
            pieces = loss_pieces(self.cells, problem.loss, label)
            steepest[samples] = norm.dual_length(pieces.gradients).max()
            if problem.cost.order == 1:
                ray, slope = escape(self.cells, pieces, norm)
                self.floor = max(self.floor, slope * (1.0 + 1e-12))
                if ray is not None:
                    self.atoms.rays[label] = ray
            self._suprema[label] = LabelSupremum(
                pieces,
                problem.points[samples],
                self._programs,
                partial(self._evaluate, label),
                self._inside,
                counts=self.counts,
                limits=self.limits,
            )
        self._lines.append((steepest, self.atoms.losses.copy()))

    def price(self, multiplier: float) -> None:
        """Evaluate ``φ_i`` for every sample: a new outer line and new atoms."""
        phi = np.zeros(len(self.problem))
        slopes = np.full(len(self.problem), multiplier)
        for label, samples in self._groups.items():
            search = self._suprema[label]
            reach = self._reach(samples)
            phi[samples] = search.bounds(multiplier, reach)
            slopes[samples] = search.pool.slope(multiplier)
            self.atoms.add(search.witnesses.points[search.best(multiplier, reach)], samples)
        self.atoms.prune()
        self._lines.append((slopes, phi))

    def _evaluate(self, label: int, points: Floats) -> Floats:
        return self.problem.evaluate(points, np.full(len(points), label))

    def _inside(self, _: int, point: Floats) -> Floats:
        """Move a solution that violates the support by a rounding error towards its interior."""
        support, centre = self.problem.support, self.cells[0].interior
        for step in (0.0, *2.0 ** np.arange(-50.0, -28.0, 2.0)):
            trial: Floats = point + step * (centre - point)
            if support.contains(trial[None, :])[0]:
                return trial
        return point

    def _reach(self, samples: Integers) -> Floats:
        """Distance beyond which a sample leaves the bounding box of the support, ``(N,)``."""
        lower, upper = self._bounding_box
        X = self.problem.points[samples]
        far = np.maximum(upper - X, X - lower)
        return np.where(np.isfinite(far).all(axis=1), self.problem.cost.norm.length(far), np.inf)

    def _order_one(self, radius: float) -> float:
        tried: list[float] = []
        for _ in range(ROUNDS):
            inner = self.atoms.merge()
            lower, upper = inner.value(radius), self._dual(radius)
            gap = (upper - lower) / scale(lower, upper)
            self.progress(f"radius {radius:g}", gap)
            multiplier = max(inner.multiplier(radius), self.floor)
            if any(abs(multiplier - seen) <= 1e-9 * max(seen, 1e-9) for seen in tried):
                break
            self.price(multiplier)
            tried.append(multiplier)
        self._shorten(radius)
        return min(self._dual(radius), self.outer().value(radius))

    def _shorten(self, radius: float) -> None:
        """Replace escaping mass by mass at finite distance where the supremum is attained."""
        if self.atoms.merge().allocate(radius).escape is None:
            return
        envelopes = self.atoms.envelopes()
        for label, samples in self._groups.items():
            for k, i in enumerate(samples.tolist()):
                self.limits.check("solving sub-problems")
                last, mass = envelopes[i], float(self.problem.probabilities[i])
                intercept = float(last.losses[-1] - last.slope * last.costs[-1])
                tail = Tail(self.floor, intercept, 2.0 * radius / mass)
                points = tail_points(self._suprema[label], k, tail)
                self.atoms.add(points, np.full(len(points), i))
                if len(points) and self.atoms.merge().allocate(radius).escape is None:
                    return

    def _dual(self, radius: float) -> float:
        """Best of the upper bounds ``λε + Σ μ_i φ_i(λ)``."""
        mu = self.problem.probabilities
        return min(float(slopes.max() * radius + mu @ phi) for slopes, phi in self._lines)

    def _order_infinity(self, radius: float) -> float:
        upper = np.zeros(len(self.problem))
        for label, samples in self._groups.items():
            search = self._suprema[label]
            reach = np.minimum(self._reach(samples), radius)
            upper[samples] = search.bounds(0.0, reach)
            self._offer_within(search.witnesses.points[search.best(0.0, reach)], samples, radius)
            self.progress(f"radius {radius:g}", math.nan)
        return float(self.problem.probabilities @ upper)

    def _offer_within(self, points: Floats, samples: Integers, radius: float) -> None:
        """Offer each sample a point within the radius, pulled in by what rounding adds."""
        origins = self.problem.points[samples]
        for shrink in (0.0, 2.0**-51, 2.0**-48, 2.0**-45, 2.0**-42, 1e-9):
            trials = origins + (points - origins) * (1.0 - shrink)
            kept = self.problem.cost.charge(trials, origins) <= radius
            self.atoms.add(trials[kept], samples[kept])
            points, origins, samples = points[~kept], origins[~kept], samples[~kept]

    def _zero_one(self, radius: float) -> float:
        distances = self.distances()
        if self.problem.cost.finite:
            return self.outer().value(self.problem.cost.budget(radius))
        errs = self._nominal_errors
        flips = errs | (distances.lower <= radius)
        undecided = np.flatnonzero(flips & ~errs & (distances.upper > radius))
        for i in undecided.tolist():
            label = int(self.problem.labels[i])
            if label not in self._error_sets:  # a limit was reached before
                continue
            point = self._error_sets[label].reaches(self.problem.points[i], radius)
            if point is None:
                flips[i] = False
            else:
                self.atoms.add_certified(point.astype(np.float64), i, radius)
        return float(self.problem.probabilities @ flips)

    def _fallback(self, radius: float) -> float:
        """Return an upper bound that needs nothing further."""
        if isinstance(self.problem.loss, ZeroOne):
            return 1.0
        slopes, losses = self._lines[0]
        if not self.problem.cost.finite:
            return float(self.problem.probabilities @ (losses + slopes * radius))
        return self._dual(radius)

    def _result(self, radius: float, upper: float, tolerance: float) -> ExactValue:
        worst = self.atoms.distribution(radius)
        lower = worst.risk(self.problem)
        budget = self.problem.cost.budget(radius)
        slope = self.atoms.merge().multiplier(budget) if self.problem.cost.finite else None
        exact = upper - lower <= tolerance * scale(lower, upper)
        attained = worst.attained if exact else None
        return ExactValue(radius, lower, upper, slope, worst, attained, tolerance)
