r"""Exact worst-case values: bounds from multipliers, atoms from suprema, both ending in the merge.

Finite order: every multiplier :math:`\lambda` gives the upper bound

.. math:: v_p(\varepsilon) \le \lambda\varepsilon^p + \sum_i\mu_i\varphi_i(\lambda),\qquad
          \varphi_i(\lambda) = \max_y\Big[\sup_{x\in\mathcal{X}} \ell(x,y) - \lambda\|x-x_i\|^p
          - \lambda\kappa\,1[y\ne y_i]\Big],

and the maximisers are new atoms, whose merge gives a lower bound and the next multiplier (Kelley's
method on the dual; finite where the loss is piecewise affine, the norm polyhedral and p = 1). Order
infinity: one supremum within the radius for each sample. Zero-one: distances to the error set, then
the merge.
"""

import math
from collections.abc import Callable

import numpy as np

from wdaverify.atoms import Atoms
from wdaverify.cells.complex import CellComplex
from wdaverify.errors import LimitReached, SolverError
from wdaverify.exact.answer import ExactValue
from wdaverify.exact.by_cells import CellOracle
from wdaverify.exact.dispatch import Dispatcher
from wdaverify.exact.distances import Distances
from wdaverify.exact.flips import Flips
from wdaverify.exact.pricing import Pricing
from wdaverify.exact.recession import Tail
from wdaverify.exact.supremum import Counts
from wdaverify.exact.unbounded import infinite_value
from wdaverify.limits import Limits
from wdaverify.loss import DLR, ZeroOne
from wdaverify.merging import Merge
from wdaverify.problem import Problem
from wdaverify.tolerances import EXACT, ORDER, scale

__all__ = ["ExactSolver"]

ROUNDS = 200
"""Multipliers tried for one radius before the bracket is returned as it is."""

ENOUGH = 0.5
"""Part of the tolerance at which a curved dual is left as it is."""

CLOSE = 1e-3
"""Part of the tolerance at which the lines of one round are bound enough."""

END = 0.05
"""A multiplier, relative to the Lipschitz constant, below which an unbounded curve is not drawn."""


class ExactSolver:
    """Answers for many radii of one problem; what one radius teaches serves the next.

    Parameters
    ----------
    source
        An engine, or the activation cells of the problem's network on its support.
    tolerance
        Relative gap that counts as exact.
    limits
        When they are reached, results are brackets that are still valid.
    progress
        Called with a word and the current relative gap.
    """

    def __init__(
        self,
        problem: Problem,
        source: CellComplex | Dispatcher,
        *,
        tolerance: float = EXACT,
        limits: Limits | None = None,
        progress: Callable[[str, float], None] | None = None,
    ) -> None:
        self.problem, self.tolerance = problem, tolerance
        self.limits, self.progress = limits or Limits(), progress or (lambda _, __: None)
        if isinstance(source, CellComplex):
            source = Dispatcher(CellOracle(problem, source, self.limits))
        self.desk = source
        self.atoms = Atoms(problem)
        self.stopped: LimitReached | None = None
        self.flips = Flips(problem, self.desk, self.atoms)
        self._pricing: Pricing | None = None

    @property
    def counts(self) -> Counts:
        """How much work was done."""
        return self.desk.counts

    @property
    def pricing(self) -> Pricing:
        """Atoms and outer lines, for every loss but zero-one."""
        if self._pricing is None:
            self._pricing = Pricing(self.problem, self.desk, self.atoms, self.tolerance)
        return self._pricing

    @property
    def floor(self) -> float:
        """Smallest multiplier at which the suprema are finite (order 1), rounded up."""
        return self.pricing.floor

    def solve(self, radius: float) -> ExactValue:
        """Return the worst-case value at one radius ``ε >= 0``, in input units."""
        try:
            if self.problem.cost.finite and radius > 0 and isinstance(self.problem.loss, DLR):
                found = self.infinite(radius)
                if found is not None:
                    return found
            if isinstance(self.problem.loss, ZeroOne):
                self.distances()
                upper = self.flips.upper(radius)
            elif radius == 0 and not self.pricing.piecewise_linear:
                upper = self._at_rest()
            elif self.problem.cost.finite:
                upper = self._finite_order(radius)
            else:
                upper = self._order_infinity(radius)
        except LimitReached as reached:
            self.stopped = reached
            upper = self._fallback(radius)
        return self._result(radius, upper)

    def distances(self) -> Distances:
        """Bracket the distance of every sample to its error set; widely, if a limit ends it."""
        with self.limits.apart():
            self.progress("distances", math.nan)
            found = self.flips.distances()
        self.stopped = found.reached or self.stopped
        return found

    def outer(self) -> Merge | None:
        """Merge the outer envelopes that are known (finite order), ``None`` without any."""
        if isinstance(self.problem.loss, ZeroOne):
            return self.flips.outer()
        return self.pricing.lines.merge()

    def infinite(self, radius: float) -> ExactValue | None:
        """Return the value at a positive radius (finite order) where it is infinite."""
        return infinite_value(self.problem, self.desk.oracle, self.problem.possible_labels, radius)

    def smallest_multiplier(self) -> float:
        """Return the smallest multiplier worth pricing: below, the suprema are infinite."""
        pricing = self.pricing
        if pricing.bounded or self.problem.cost.order == 1:
            return pricing.floor
        return END * (pricing.steepest if math.isfinite(pricing.steepest) else 1.0)

    def _at_rest(self) -> float:
        """Value at radius 0, where only label moves that cost nothing are left."""
        if not self.problem.cost.finite:
            return self.problem.nominal
        return self.atoms.merge().value(0.0)

    def _finite_order(self, radius: float) -> float:
        budget, pricing = self.problem.cost.budget(radius), self.pricing
        if self.problem.cost.order > 1:
            pricing.add_lipschitz_line(pricing.tangent(radius))
        tried: list[float] = []
        for _ in range(ROUNDS):
            lower, upper = self.atoms.merge().value(budget), pricing.lines.bound(budget)
            gap = (upper - lower) / scale(lower, upper)
            self.progress(f"radius {radius:g}", gap)
            if not pricing.piecewise_linear and gap <= ENOUGH * self.tolerance:
                break
            multiplier = self._next(budget, radius, tried)
            if multiplier is None:
                break
            with self.limits.rounds():
                pricing.price(multiplier)
            tried.append(multiplier)
        self._shorten(radius)
        bound, lower = pricing.lines.bound(budget), self.atoms.merge().value(budget)
        if bound - lower <= CLOSE * self.tolerance * scale(lower, bound):
            return bound
        outer = self.outer()
        return bound if outer is None else min(bound, outer.value(budget))

    def _next(self, budget: float, radius: float, tried: list[float]) -> float | None:
        """Return the next multiplier: the slope of the merge, ``None`` when it was tried."""
        pricing = self.pricing
        proposals = [self.atoms.merge().multiplier(budget)]
        if not pricing.piecewise_linear and tried:
            outer = pricing.lines.merge()
            proposals += [] if outer is None else [outer.multiplier(budget)]
        for proposal in proposals:
            multiplier = max(proposal, pricing.floor)
            if multiplier == 0 and not pricing.bounded:
                finite = math.isfinite(pricing.steepest)
                start = pricing.tangent(radius) if finite else 2.0 / budget  # a loss of about 1
                multiplier = min([seen for seen in tried if seen > 0], default=4.0 * start) / 4.0
            if all(abs(multiplier - seen) > 1e-9 * max(seen, 1e-9) for seen in tried):
                return multiplier
        return None

    def _shorten(self, radius: float) -> None:
        """Replace escaping mass by mass at finite distance where the supremum is attained."""
        escapes = self.pricing.piecewise_linear and self.atoms.rays
        if not escapes or self.atoms.merge().allocate(radius).escape is None:
            return
        envelopes, cost = self.atoms.envelopes(), self.problem.cost
        for i in self.problem.active[np.argsort(self.problem.labels[self.problem.active])].tolist():
            self.limits.check("solving sub-problems")
            last, mass = envelopes[i], float(self.problem.probabilities[i])
            intercept = float(last.losses[-1] - last.slope * last.costs[-1])
            own = int(self.problem.labels[i])
            for label in (own,) if cost.label_cost is None else self.problem.possible_labels:
                price = (cost.label_cost or 0.0) * (label != own)
                tail = Tail(self.floor, intercept + self.floor * price, 2.0 * radius / mass)
                points = self.desk.maximisers(label, i, tail)
                self.atoms.add(points, np.full(len(points), i), np.full(len(points), label))
                if len(points) and self.atoms.merge().allocate(radius).escape is None:
                    return

    def _order_infinity(self, radius: float) -> float:
        upper, reached = self.pricing.within(radius)
        self.stopped = reached or self.stopped
        self.progress(f"radius {radius:g}", math.nan)
        return float(self.problem.probabilities @ upper)

    def _multiplier(self, budget: float) -> float | None:
        """Right-hand slope of the value in the budget, where it is known."""
        if not self.problem.cost.finite:
            return None
        zero_one = isinstance(self.problem.loss, ZeroOne)
        if budget == 0 and not zero_one and not self.pricing.piecewise_linear:
            return None  # nothing was priced
        return self.atoms.merge().multiplier(budget)

    def _fallback(self, radius: float) -> float:
        """Return an upper bound that needs nothing further."""
        if isinstance(self.problem.loss, ZeroOne):
            return 1.0
        if self.problem.cost.finite:
            return self.pricing.lines.bound(self.problem.cost.budget(radius))
        return float(self.problem.probabilities @ self.pricing.grown_within(radius))

    def _result(self, radius: float, upper: float) -> ExactValue:
        worst = self.atoms.distribution(radius)
        lower = worst.risk(self.problem)
        if not lower - upper <= ORDER * scale(lower, upper):
            raise SolverError(
                f"radius {radius:g}: a distribution has the expected loss {lower:g}, and {upper:g} "
                f"was found as an upper bound: a cell was lost, or numbers of the network are "
                f"beyond float64's range"
            )
        budget = self.problem.cost.budget(radius)
        slope = self._multiplier(budget)
        exact = upper - lower <= self.tolerance * scale(lower, upper)
        known = not self.atoms.rays or self.pricing.piecewise_linear
        attained = worst.attained if exact and known else None
        return ExactValue(radius, lower, upper, slope, worst, attained, self.tolerance)
