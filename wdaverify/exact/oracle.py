r"""What an engine answers, and all that the outer loop asks of it.

.. math:: \varphi_{i,y}(\lambda) = \sup\{\ell(x, y) - \lambda\|x - x_i\|^p :
          x\in\mathcal{X},\ \|x - x_i\| \le T_i\}
"""

from typing import NamedTuple, Protocol

import numpy as np

from wdaverify.arrays import Floats, Integers
from wdaverify.distribution import Ray
from wdaverify.exact.distances import Distances, Errors
from wdaverify.exact.lessons import Lessons, Round
from wdaverify.exact.penalty import Penalty
from wdaverify.exact.recession import Tail
from wdaverify.exact.supremum import Counts
from wdaverify.problem import Problem

__all__ = ["Asked", "Decision", "Oracle", "Suprema"]


class Asked(NamedTuple):
    """One question about many samples.

    Attributes
    ----------
    label
        Label ``y`` of the loss, which need not be that of the samples.
    samples
        Indices into the points of the problem, ``(m,)``.
    penalty
        Multiplier and order.
    reach
        Largest distance of each sample, ``(m,)``, infinite allowed.
    floor
        Values below which a supremum need not be resolved, ``(m,)``.
    tolerance
        Gap up to which it is, relative to ``max(1, |value|)``.
    """

    label: int
    samples: Integers
    penalty: Penalty
    reach: Floats
    floor: Floats
    tolerance: float

    def same(self, other: "Asked") -> bool:
        """Whether this is the same question."""
        arrays = zip(
            (self.samples, self.reach, self.floor),
            (other.samples, other.reach, other.floor),
            strict=True,
        )
        plain = (self.label, self.penalty, self.tolerance)
        return plain == (other.label, other.penalty, other.tolerance) and all(
            np.array_equal(one, two) for one, two in arrays
        )

    def select(self, at: Integers) -> "Asked":
        """Ask about some of the samples only."""
        return self._replace(samples=self.samples[at], reach=self.reach[at], floor=self.floor[at])


class Suprema(NamedTuple):
    """Certified bounds and the best points known.

    Attributes
    ----------
    bounds
        Upper bounds of the suprema (or the floor, where that is higher), ``(m,)``.
    slopes
        Multipliers, at least the one asked, for which they hold without any rounding, ``(m,)``.
    points
        Shape ``(m, n)``.
    """

    bounds: Floats
    slopes: Floats
    points: Floats


class Decision(NamedTuple):
    """Whether something is so; ``None`` where it could not be decided.

    ``point`` is the rounding of a rational point that shows it, shape ``(n,)``.
    """

    holds: bool | None
    point: Floats | None = None


class Oracle(Protocol):
    """An engine: suprema of one problem, label by label; what it learns it keeps."""

    problem: Problem

    @property
    def counts(self) -> Counts:
        """How much work was done."""

    @property
    def slope(self) -> float:
        """Upper bound of the asymptotic slope of every label in play (0 on bounded supports)."""

    def group(self, label: int, samples: Integers) -> Integers:
        """Return numbers of the groups of a label whose samples learn from each other."""

    def groups(self, label: int) -> int:
        """Return how many groups of a label tell each other what they learn; 1 if none do."""

    def explore(self, asked: Asked, lessons: Lessons | None, programs: int) -> Round:
        """Answer as far as some programs go, where groups tell each other what they learn."""

    def errors(self, label: int) -> Errors:
        """Find what :meth:`distances` of all groups of such a label have in common."""

    def suprema(self, asked: Asked) -> Suprema:
        """Answer; :class:`~wdaverify.errors.LimitReached` where a limit ends it."""

    def open_bounds(self, asked: Asked) -> Floats:
        """Bound the suprema without any further work, ``(m,)``."""

    def constant(self, label: int) -> float:
        """Return a Lipschitz constant of the loss with this label, perhaps infinite."""

    def ceiling(self, label: int) -> float:
        """Return an upper bound of the loss with this label, perhaps infinite."""

    def infinite(self, label: int) -> Floats | None:
        """Return a point at which the loss with this label is infinite, if there is one."""

    def ray(self, label: int) -> Ray | None:
        """Return the steepest ray of a label, ``None`` where the loss is bounded along all."""

    def maximisers(self, label: int, sample: int, tail: Tail) -> Floats:
        """Return points that show the supremum at the asymptotic slope to be attained, if any."""

    def distances(self, samples: Integers, errors: Errors | None = None) -> Distances:
        """Bracket the distances of samples of one label; widely, if a limit ends it."""

    def within(self, sample: int, radius: float) -> Decision:
        """Decide exactly whether an error lies in the closed ball around a sample."""
