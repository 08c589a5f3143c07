r"""The slow, independent engine: a big-M integer program for each sample and target class.

.. math:: \varphi_{i,j}(\lambda) = \max\; c_j\cdot z(x) + d_j - \lambda t^p,\qquad
          d_{i,j} = \min\; t \ \text{ s.t. }\ c_j\cdot z(x) + d_j\ge 0
          \qquad\text{over } x\in\mathcal{X},\ \|x-x_i\|\le t\le T

with ``c_j · z + d_j`` the affine functions of the logits whose maximum is the loss. No cells, no
enumeration, no shared duals: what it has in common with the other engines is the question and, for
the points that it offers, the linear program of the cell in which the solver's point lies.

The upper bounds are HiGHS' word, moved out by what its tree may leave out (see
:mod:`wdaverify.convex.mixed`): rows and integrality hold to 1e-6 only, times multipliers that
nobody knows, and nothing proves a tree. So this engine is a second opinion and no certificate. What
contradicts a known point, or its own residuals, is asked again with other settings; the lower
bounds are losses of points, evaluated in float64.
"""

from dataclasses import replace

import numpy as np

from wdaverify.arrays import Floats, Integers
from wdaverify.cells.frame import bounding_box
from wdaverify.errors import LimitReached
from wdaverify.exact.bounded import BoundedOracle
from wdaverify.exact.distances import Distances, Errors, unknown_distances
from wdaverify.exact.fallback import interval_ceiling
from wdaverify.exact.integer import IntegerPrograms
from wdaverify.exact.oracle import Asked, Decision, Suprema
from wdaverify.exact.penalty import Penalty
from wdaverify.exact.polish import KnownPoints, Query
from wdaverify.exact.supremum import Counts
from wdaverify.limits import Limits
from wdaverify.loss import Margin, ZeroOne
from wdaverify.problem import Problem
from wdaverify.support import Box

__all__ = ["MilpOracle"]


class MilpOracle(BoundedOracle):
    """Suprema by integer programs, on bounded supports; every sample is on its own.

    Raises
    ------
    UnsupportedError
        The question is not covered; see :meth:`check`.
    """

    name = "milp"

    def __init__(self, problem: Problem, limits: Limits) -> None:
        self.check(problem)
        self.problem, self.limits = problem, limits
        self.counts = Counts()
        self._programs = IntegerPrograms(problem, self.counts, limits)
        self._known: dict[tuple[int, int], KnownPoints] = {}

    @staticmethod
    def refuses(problem: Problem) -> str | None:
        """Return what keeps this engine from a question, ``None`` if nothing does."""
        if not (problem.loss.piecewise_affine or isinstance(problem.loss, ZeroOne)):
            return f"the loss {problem.loss.name}: not a maximum of affine functions"
        if not problem.cost.norm.polyhedral:
            return f"the norm {problem.cost.norm.name}: not linear in a program"
        if not np.isfinite(np.concatenate(bounding_box(problem.support))).all():
            return "an unbounded support: its neurons have no bounds to take for the big M"
        return None

    def ceiling(self, label: int) -> float:
        """Return an interval bound of the loss."""
        return interval_ceiling(self.problem.replace(support=Box(*self._programs.box)), label)

    def within(self, sample: int, radius: float) -> Decision:  # noqa: ARG002
        """Return no decision: this engine has no rational arithmetic."""
        return Decision(None)

    def open_bounds(self, asked: Asked) -> Floats:
        """Bound the suprema by the layer product and by intervals."""
        points, constant = self.problem.points[asked.samples], self.constant(asked.label)
        losses = self.problem.evaluate(points, np.full(len(points), asked.label))
        grown = asked.penalty.best(losses, constant, asked.reach, constant)
        return np.minimum(grown, self.ceiling(asked.label))

    def group(self, label: int, samples: Integers) -> Integers:  # noqa: ARG002
        """Return the samples: each is a group of its own."""
        return samples

    def suprema(self, asked: Asked) -> Suprema:
        """Solve the programs of every sample asked about."""
        points = self.problem.points[asked.samples].copy()
        bounds = asked.floor.copy()
        for k, i in enumerate(asked.samples.tolist()):
            self.counts.suprema += 1
            known = self._known_to(asked.label, i)
            bound, points[k] = self._supremum(asked, points[k], float(asked.reach[k]), known)
            bounds[k] = max(bounds[k], bound)
        return Suprema(bounds, np.full(len(points), asked.penalty.multiplier), points)

    def distances(self, samples: Integers, errors: Errors | None = None) -> Distances:  # noqa: ARG002
        """Bracket the distances of samples of one label; widely, if a limit ends it."""
        found = unknown_distances(self.problem, samples, None)
        norm, label = self.problem.cost.norm, int(self.problem.labels[samples[0]])
        for k in np.flatnonzero(found.upper > 0).tolist():
            sample, known = self.problem.points[samples[k]], self._known_to(label, int(samples[k]))
            try:
                found.lower[k] = self._distance(label, sample, known)
            except LimitReached as reached:
                return replace(found, reached=reached)
            nearby = known.errors(label)
            lengths = norm.length(nearby - sample)
            if len(nearby):
                found.upper[k] = lengths.min()
                found.witnesses[k] = nearby[int(lengths.argmin())]
            found.lower[k] = min(found.lower[k], found.upper[k])
        return found

    def _known_to(self, label: int, sample: int) -> KnownPoints:
        """Return the points that questions about a sample with this label have led to."""
        return self._known.setdefault((label, sample), KnownPoints(self.problem))

    def _supremum(
        self, asked: Asked, sample: Floats, reach: float, known: KnownPoints
    ) -> tuple[float, Floats]:
        """Bound one supremum and return the best point known."""
        programs = self._programs
        region = programs.region(sample, reach)
        C, c = self.problem.loss.pieces(self.problem.network.classes, asked.label)
        bound = -np.inf
        for row, offset in zip(C, c.tolist(), strict=True):
            query = Query(row, offset, sample, asked.penalty, reach)
            top = offset
            if row.any():
                top = programs.maximum(region, query, known, asked.tolerance)
            bound = max(bound, top)
        values = (known.logits @ C.T + c).max(axis=1)
        values -= known.prices(sample, asked.penalty, reach)
        best = int(values.argmax())
        return max(bound, float(values[best])), known.points[best]

    def _distance(self, label: int, sample: Floats, known: KnownPoints) -> float:
        """Bound the distance of a sample to the errors of a label from below."""
        C, c = Margin().pieces(self.problem.network.classes, label)
        queries = (
            Query(row, offset, sample, Penalty(1.0), np.inf)
            for row, offset in zip(C, c.tolist(), strict=True)
        )
        return min(self._programs.distance(query, known) for query in queries)
