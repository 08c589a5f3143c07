r"""One sample and one affine function of the logits, over the whole support, by integer programs.

.. math:: \max\; c\cdot z(x) + d - \lambda t^p \qquad\text{and}\qquad
          \min\; t\ \text{ s.t. }\ c\cdot z(x) + d\ge 0
          \qquad\text{over } x\in\mathcal{X},\ \|x-x_i\|\le t\le T

For ``p > 1`` the price ``t^p`` is a maximum of tangents, an outer approximation whose bound stays
one, added until it is tight.
"""

from functools import cached_property
from typing import Final

import numpy as np

from wdaverify.arrays import Bools, Floats
from wdaverify.cells.frame import bounding_box
from wdaverify.convex.big_m import NetworkProgram
from wdaverify.convex.highs import Status
from wdaverify.convex.mixed import PLAIN, SHARPER, MixedAnswer
from wdaverify.errors import SolverError
from wdaverify.evaluation import certain_losses
from wdaverify.exact.penalty import Penalty
from wdaverify.exact.polish import KnownPoints, Polisher, Query
from wdaverify.exact.supremum import Counts
from wdaverify.limits import Limits
from wdaverify.loss import ZeroOne
from wdaverify.network import AffineMap
from wdaverify.problem import Problem
from wdaverify.support import Box
from wdaverify.tolerances import scale

__all__ = ["IntegerPrograms"]

STRICT: Final = 1e3
"""Scale of rows whose violation within HiGHS' tolerance would show in the result."""

ENOUGH: Final = 1e-8
"""Relative gap between bound and polished point up to which neither is doubted or refined."""

COARSE: Final = 1e-5
"""Relative gap beyond which a second opinion is asked for with default tolerances."""

ROUNDS: Final = 40
"""Times that tangents are added."""

TANGENTS: Final = 8
"""Tangents at the start."""

SAME: Final = 1e-9
"""Relative difference of distances below which a tangent is already there."""

OUTWARD: Final = 1e-14
"""Relative margin of a region around the ball, against rounding."""

NEARER: Final = 1e-9
"""Relative margin of a distance below HiGHS' bound."""


class IntegerPrograms:
    """Integer programs of one problem on a bounded support; they add to the points known."""

    def __init__(self, problem: Problem, counts: Counts, limits: Limits) -> None:
        self.problem, self.counts, self.limits = problem, counts, limits
        self.box = bounding_box(problem.support)
        self._polisher = Polisher(problem)
        self._tops: dict[bytes, tuple[float, Floats]] = {}

    def region(self, sample: Floats, reach: float) -> NetworkProgram:
        """Encode the network over the bounding box of the support within reach of a sample."""
        wide = reach * (1.0 + OUTWARD)
        least, most = self.box
        lower, upper = np.maximum(least, sample - wide), np.minimum(most, sample + wide)
        whole = np.array_equal(lower, least) and np.array_equal(upper, most)
        return self.whole if whole else self._encoded(lower, upper)

    @cached_property
    def whole(self) -> NetworkProgram:
        """The network over the bounding box of the support."""
        return self._encoded(*self.box)

    def maximum(
        self, region: NetworkProgram, query: Query, known: KnownPoints, tolerance: float
    ) -> float:
        """Bound a query from above, by HiGHS' word."""
        program, t = self._with_distance(region, query)
        price = _Tangents(program, t, query) if query.curved else None
        costs, offset = self._objective(program, query)
        costs[t if price is None else price.column] = -query.penalty.multiplier
        bound, enough = np.inf, max(ENOUGH, tolerance)
        for _ in range(ROUNDS):
            answer = self._solve(program, costs, known.value(query) - offset)
            bound = min(bound, answer.bound + offset)
            lengths = self._improve(program, answer.point, query, known)
            value = known.value(query)
            if bound - value <= enough * scale(value):
                return bound
            if price is None or not price.add(np.append(lengths, answer.point[t])):
                break
        value = known.value(query)
        again = self._again(program, costs, value - offset, bound - value)
        if again is not None:
            self._improve(program, again.point, query, known)
            bound = min(bound, again.bound + offset)
        return bound

    def distance(self, query: Query, known: KnownPoints) -> float:
        """Bound the distance to ``row · z + offset >= 0`` from below, by HiGHS' word.

        The largest ``row · z + offset`` comes first: with its sign known, "infeasible" is either
        confirmed or a contradiction.
        """
        top, where = self._top(query)
        if top < 0:
            return np.inf
        known.add(where)
        program, t = self._with_distance(self.whole, query)
        costs, offset = self._objective(program, query)
        program.add_rows(STRICT * costs[None, :], np.full(1, -STRICT * offset), np.full(1, np.inf))
        costs = np.zeros(len(costs))
        costs[t] = -1.0
        answer = self._solve(program, costs, -known.nearest(query))
        if answer.status is Status.INFEASIBLE:
            return 0.0  # the errors are a tie within rounding, if there are any
        self._push(program, answer.point, query, known)
        bound, nearest = answer.bound, known.nearest(query)
        if bound + nearest > ENOUGH * scale(nearest) and nearest < np.inf:
            again = self._again(program, costs, -nearest, bound + nearest)
            if again is not None:
                self._push(program, again.point, query, known)
                bound = min(bound, again.bound)
        return max(0.0, -bound - NEARER * (1.0 + float(np.abs(query.sample).max())))

    def _top(self, query: Query) -> tuple[float, Floats]:
        """Bound ``row · z + offset`` on the support; return also points where it is large."""
        key = query.row.tobytes()
        if key not in self._tops:
            known = KnownPoints(self.problem)
            centre = query._replace(sample=self.problem.points[0], penalty=Penalty(0.0))
            bound = self.maximum(self.whole, centre, known, ENOUGH)
            self._tops[key] = bound, known.points[len(self.problem) :]
        return self._tops[key]

    def _encoded(self, lower: Floats, upper: Floats) -> NetworkProgram:
        rows = self.problem.support.rows
        if isinstance(self.problem.support, Box):  # its rows are the bounds
            rows = AffineMap(rows.matrix[:0], rows.offset[:0])
        return NetworkProgram.of(self.problem.network, lower, upper, rows)

    def _solve(self, program: NetworkProgram, costs: Floats, known: float) -> MixedAnswer:
        self.counts.programs += 1
        return program.maximize(costs, limits=self.limits, known=known)

    def _again(
        self, program: NetworkProgram, costs: Floats, known: float, gap: float
    ) -> MixedAnswer | None:
        """Ask for a second opinion on a gap, ``None`` if it makes no sense.

        A bound that it lowers stays above the known point, so it is wrong by the gap at most.
        """
        self.counts.programs += 1
        settings = SHARPER if gap <= COARSE * scale(known) else PLAIN[1:]
        try:
            answer = program.maximize(costs, limits=self.limits, known=known, settings=settings)
        except SolverError:
            return None
        return answer if answer.status is Status.OPTIMAL else None

    def _with_distance(self, region: NetworkProgram, query: Query) -> tuple[NetworkProgram, int]:
        """Append columns and rows of ``‖x − x_i‖ <= t <= T``; return the index of ``t``."""
        program, n, norm = region.copy(), len(query.sample), self.problem.cost.norm
        far = np.maximum(program.upper[:n] - query.sample, query.sample - program.lower[:n])
        t = len(program.lower)
        program.add_columns(np.zeros(1), np.array([min(query.reach, float(norm.length(far)))]))
        parts = np.full(n, t)
        if norm.name == "l1":
            parts = program.add_columns(np.zeros(n), far)
        each = np.arange(n)
        rows = np.zeros((2 * n + 1, len(program.lower)))
        rows[each, each], rows[n + each, each] = 1.0, -1.0
        rows[each, parts] = rows[n + each, parts] = -1.0
        rows[2 * n, parts[parts != t]] = 1.0
        rows[2 * n, t] = -1.0
        sides = np.concatenate([query.sample, -query.sample, np.zeros(1)])
        program.add_rows(rows, np.full(2 * n + 1, -np.inf), sides)
        return program, t

    def _objective(self, program: NetworkProgram, query: Query) -> tuple[Floats, float]:
        """Return ``row · z + offset`` as costs of the columns and a constant."""
        network = self.problem.network
        costs = np.zeros(len(program.lower))
        costs[: program.outputs.shape[1]] = query.row @ network.weights[-1] @ program.outputs
        return costs, float(query.row @ network.biases[-1]) + query.offset

    def _patterns(self, program: NetworkProgram, point: Floats) -> list[Bools]:
        """Return the patterns of a solution by the forward pass and by its binaries."""
        chosen = program.pattern(point) | self.problem.network.linear
        here = self.problem.network.patterns(point[None, : self.problem.network.features])[0]
        return [here] if np.array_equal(here, chosen) else [here, chosen]

    def _improve(
        self, program: NetworkProgram, point: Floats, query: Query, known: KnownPoints
    ) -> Floats:
        """Offer the best points of the cells a solution lies in; return how far away they are."""
        x = self._inside(point[: len(query.sample)], query)
        found = [x[None, :]]
        for pattern in self._patterns(program, point):
            self.limits.check("solving integer programs")
            found.append(self._polisher.best(pattern, query, x))
        points = np.concatenate(found)
        points = np.array([self._inside(one, query) for one in points])
        known.add(points)
        return self.problem.cost.norm.length(points - query.sample)

    def _push(
        self, program: NetworkProgram, point: Floats, query: Query, known: KnownPoints
    ) -> None:
        """Offer the nearest errors of the cells a solution lies in, deep enough to be certain."""
        label = int(query.row.argmin())
        question = self.problem.replace(loss=ZeroOne())
        steps = np.append(0.0, 2.0 ** np.arange(-52.0, 1.0, 2.0))[:, None]
        for pattern in self._patterns(program, point):
            found = self._polisher.nearest(pattern, query)
            if len(found) == 0:
                continue
            trials = found[0] + steps * (found[1] - found[0])
            trials = np.array([self._inside(trial, query) for trial in trials])
            certain = certain_losses(question, trials, np.full(len(trials), label)) > 0
            certain &= self.problem.support.contains(trials)
            known.add(trials[certain][:1])

    def _inside(self, point: Floats, query: Query) -> Floats:
        """Move a point that violates support or reach by a rounding error towards the sample."""
        support, norm = self.problem.support, self.problem.cost.norm
        point = np.clip(point, *support.bounds)
        for step in (0.0, *2.0 ** np.arange(-52.0, -18.0, 2.0)):
            trial: Floats = point + step * (query.sample - point)
            near = bool(norm.length(trial - query.sample) <= query.reach)
            if near and support.contains(trial[None, :])[0]:
                return trial
        return query.sample


class _Tangents:
    """A column ``cost >= t^p``, by tangents of a program that is its own."""

    def __init__(self, program: NetworkProgram, t: int, query: Query) -> None:
        self._program, self._t, self._order = program, t, query.penalty.order
        far = program.upper[t]
        self._at = np.zeros(0)
        self.column = int(program.add_columns(np.zeros(1), np.array([far**self._order]))[0])
        self.add(far * np.arange(1.0, TANGENTS + 1.0) / TANGENTS)

    def add(self, lengths: Floats) -> bool:
        """Add tangents at some distances; return whether one was new."""
        before = len(self._at)
        for s in lengths[lengths > 0].tolist():
            if (np.abs(self._at - s) <= SAME * s).any():
                continue
            self._at = np.append(self._at, s)
            row = np.zeros((1, self.column + 1))
            row[0, self.column], row[0, self._t] = 1.0, -self._order * s ** (self._order - 1.0)
            side = np.array([-(self._order - 1.0) * s**self._order])
            self._program.add_rows(STRICT * row, STRICT * side, np.full(1, np.inf))
        return len(self._at) > before
