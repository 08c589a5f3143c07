r"""Values from suprema, whoever finds them: the outer loop that all baselines share.

.. math:: v(\varepsilon) = \min_{\lambda\ge0} \lambda\varepsilon + \sum_i\mu_i\varphi_i(\lambda)

The merge of all known atoms gives a lower bound and the next multiplier (Kelley's method); what one
radius has found serves the next.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from first_points import first_points

import wdaverify as wv
from wdaverify.envelope import majorant
from wdaverify.merging import Merge, merge

Floats = npt.NDArray[np.float64]
Supremum = Callable[[int, float, float], tuple[float, list[Floats]]]
"""``(sample, multiplier, known lower bound) -> (upper bound of the supremum, points)``."""

ROUNDS = 60


@dataclass(frozen=True, slots=True)
class Bracket:
    """Lower and upper value at one radius."""

    radius: float
    lower: float
    upper: float


class Kelley:
    """Atoms ``(cost, loss)`` of every sample, and the multipliers priced so far.

    Parameters
    ----------
    supremum
        Finds ``φ_i(λ)``.
    tell
        Called with samples priced, multipliers priced.
    """

    def __init__(
        self,
        problem: wv.Problem,
        supremum: Supremum,
        tell: Callable[[int, int], None] = lambda _, __: None,
    ) -> None:
        self.problem, self.supremum, self.tell = problem, supremum, tell
        self.costs = [np.zeros(1) for _ in range(len(problem))]
        self.losses = [np.array([loss]) for loss in problem.nominal_losses]
        self.priced: list[tuple[float, float]] = []
        self.trees = 0
        for i, points in enumerate(first_points(problem)):
            self.add(i, list(points))

    def solve(self, radii: Sequence[float], *, gap: float) -> list[Bracket]:
        """Return the brackets of all radii, relative gap at most ``gap`` where it can be had."""
        return [self._solve(radius, gap) for radius in radii]

    def _solve(self, radius: float, gap: float) -> Bracket:
        for _ in range(ROUNDS):
            inner = self.merge()
            lower, upper = inner.value(radius), self.upper(radius)
            multiplier = inner.multiplier(radius)
            tried = any(abs(multiplier - seen) <= 1e-9 * max(1.0, seen) for seen, _ in self.priced)
            if tried or upper - lower <= gap * max(1.0, abs(lower)):
                break
            self.price(multiplier)
        return Bracket(radius, self.merge().value(radius), self.upper(radius))

    def merge(self) -> Merge:
        """Merge the atoms."""
        envelopes = [majorant(c, v) for c, v in zip(self.costs, self.losses, strict=True)]
        return merge(envelopes, self.problem.probabilities)

    def upper(self, radius: float) -> float:
        """Best dual bound so far."""
        return min((slope * radius + value for slope, value in self.priced), default=np.inf)

    def price(self, multiplier: float) -> None:
        """Evaluate ``φ_i(λ)`` for every sample."""
        suprema = np.zeros(len(self.problem))
        for i in range(len(self.problem)):
            known = float((self.losses[i] - multiplier * self.costs[i]).max())
            upper, points = self.supremum(i, multiplier, known)
            suprema[i] = max(upper, known)
            self.add(i, points)
            self.trees += 1
            self.tell(i + 1, len(self.priced))
        self.priced.append((multiplier, float(self.problem.probabilities @ suprema)))

    def add(self, sample: int, points: list[Floats]) -> None:
        """Add points of the box as atoms of one sample; the network says what they are worth."""
        if points:
            X = np.clip(np.array(points), *self.problem.support.bounds)
            labels = np.full(len(X), self.problem.labels[sample])
            moved = X - self.problem.points[sample]
            costs = self.problem.cost.norm.length(moved)
            self.costs[sample] = np.append(self.costs[sample], costs)
            self.losses[sample] = np.append(self.losses[sample], self.problem.evaluate(X, labels))
