r"""Suprema over all cells of :math:`\ell(x,y_i) - \lambda\|x-x_i\|` within reach, for many samples.

Bounds of all (sample, piece) pairs come from shared cuts. A linear program is solved only for a
pair whose bound still exceeds the incumbent of its sample; its cut is added for every sample and
its point is offered to every sample of the label. Where the vertices of the dual sub-problems are
known (:mod:`.vertices`), bounds and points are closed forms, and programs are for what rounding
leaves open.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import cached_property

import numpy as np

from wdaverify.arrays import Floats, Integers
from wdaverify.errors import SolverError
from wdaverify.exact.cuts import Cut
from wdaverify.exact.lessons import Lessons
from wdaverify.exact.majorants import Part
from wdaverify.exact.penalty import Penalty
from wdaverify.exact.pieces import Pieces
from wdaverify.exact.program import Solution
from wdaverify.exact.refinement import CutTree
from wdaverify.exact.resources import Counts, Programs
from wdaverify.exact.settling import Search
from wdaverify.exact.vertices import Lines, Vertices
from wdaverify.exact.witnesses import Witnesses
from wdaverify.limits import Limits

__all__ = ["Counts", "LabelSupremum", "Programs"]

SETTLED = 1e-10
"""A pair is settled when its bound exceeds the incumbent by less than this (relative to scale)."""

DOUBT = 1e-9
"""An evaluation that misses the formula of its part by more (relative) is made anew nearby."""


class LabelSupremum:
    """The suprema of all samples of one label.

    Parameters
    ----------
    evaluate
        Points ``(M, n)`` to what is maximised there, ``(M,)``; ``-inf`` where one does not count.
    finish
        Pieces ``(M,)`` and solutions there, ``(M, n)``, to the points that are offered.

    Attributes
    ----------
    shared
        Whether what is found is noted for other groups of samples, see :meth:`news`.
    """

    def __init__(  # noqa: PLR0913
        self,
        pieces: Pieces,
        samples: Floats,
        programs: Programs,
        evaluate: Callable[[Floats], Floats],
        finish: Callable[[Integers, Floats], Floats] | None = None,
        *,
        counts: Counts,
        limits: Limits,
    ) -> None:
        self.pieces, self.samples, self.programs = pieces, samples, programs
        self.norm = programs.norm
        self.evaluate, self.counts, self.limits = evaluate, counts, limits
        self.finish = finish or (lambda _, points: points)
        self.pool = CutTree(pieces, self.norm)
        self.witnesses = Witnesses(samples, evaluate(samples), self.norm)
        self._known: tuple[Penalty | None, Lines | None] = None, None
        self._centres: dict[int, Floats] = {}
        self._first, self.shared = len(pieces), False
        self._cuts: list[tuple[int, Cut]] = []
        self._barriers: list[tuple[int, Cut]] = []
        self._points: list[tuple[Floats, Floats]] = []
        counts.pieces += len(pieces)

    def bounds(
        self,
        penalty: Penalty,
        reach: Floats,
        *,
        floor: Floats | None = None,
        tolerance: float = SETTLED,
    ) -> Floats:
        """Solve until every sample is settled; return certified upper bounds ``(N,)``.

        Parameters
        ----------
        reach
            Largest distance of each sample, ``(N,)``, infinite allowed.
        floor
            What a sample need not exceed, ``(N,)``: below it a supremum is not resolved.
        tolerance
            Excess over the incumbent that counts as settled, relative to ``max(1, |incumbent|)``.

        Raises
        ------
        LimitReached
            Time or memory ran out; cuts and witnesses found so far are kept.
        """
        return self.suprema(penalty, reach, np.arange(len(reach)), floor, tolerance)[0]

    def suprema(
        self,
        penalty: Penalty,
        reach: Floats,
        rows: Integers,
        floor: Floats | None = None,
        tolerance: float = SETTLED,
    ) -> tuple[Floats, Floats]:
        """Return :meth:`bounds` of some samples ``(m,)`` and the best points known, ``(m, n)``."""
        search = self.begin(penalty, reach, rows, floor, tolerance)
        search.run()
        return search.upper(), search.points

    def begin(
        self,
        penalty: Penalty,
        reach: Floats,
        rows: Integers,
        floor: Floats | None = None,
        tolerance: float = SETTLED,
    ) -> Search:
        """Return the search for :meth:`suprema`, to be run in rounds."""
        self.counts.suprema += len(rows)
        return Search(self, rows, (penalty, reach), floor, tolerance)

    def add(self, piece: int, cut: Cut) -> None:
        """Add a cut that was found for a sample."""
        self.pool.add(piece, cut)
        if self.shared and piece < self._first:
            self._cuts.append((piece, cut))

    def exclude(self, piece: int, cut: Cut) -> None:
        """Add a cut of the zero function that was found for a sample."""
        self.pool.exclude(piece, cut)
        if self.shared and piece < self._first:
            self._barriers.append((piece, cut))

    def news(self) -> Lessons:
        """Return what was found since the last call, not what was learned from others."""
        features = self.samples.shape[1]
        news = Lessons.of(self._cuts, self._barriers, self._points, features)
        self._cuts, self._barriers, self._points = [], [], []
        return news

    def learn(self, lessons: Lessons) -> None:
        """Take over cuts and points of other samples of the label."""
        self.pool.extend(*lessons[:4])
        for piece, cut in lessons.barriers:
            self.pool.exclude(piece, cut)
        if len(lessons.values):
            self.witnesses.add(lessons.points, lessons.values)

    def open_bounds(self, penalty: Penalty, reach: Floats, rows: Integers) -> Floats:
        """Return what is known, without working anything out: ``(m,)``."""
        table = self.pool.bounds(self.samples[rows], penalty, reach)
        known, lines = self._known
        if lines is not None and known == penalty:
            lines.lower(table, self.samples[rows])
        return np.asarray(table.max(axis=1))

    def table(self, points: Floats, penalty: Penalty, reach: Floats) -> Floats:
        """Bound every piece for some of the samples, ``(m, P)``; see :meth:`CutPool.bounds`."""
        table, lines = self.pool.bounds(points, penalty, reach), self.lines(penalty)
        if lines is not None:
            lines.lower(table, points)
        return table

    def slope(self, penalty: Penalty) -> float:
        """Return the multiplier for which :meth:`table` holds without any rounding."""
        slope, lines = self.pool.slope(penalty), self.lines(penalty)
        return slope if lines is None else max(slope, lines.slope)

    def lines(self, penalty: Penalty) -> Lines | None:
        """Return the lines that are the suprema at a price, ``None`` where they are not known."""
        if penalty.order == 1 and self._known[0] != penalty:
            self.limits.check("solving sub-problems")
            vertices, far = self._vertices, float(np.abs(self.samples).max(initial=0.0))
            lines = None if vertices is None else vertices.at(penalty.multiplier, far)
            self._known = penalty, lines
        return self._known[1] if self._known[0] == penalty else None

    @cached_property
    def _vertices(self) -> Vertices | None:
        return self.programs.corners.of(self.pieces)

    def points(self) -> Floats:
        """Every point found so far, ``(M, n)``."""
        return self.witnesses.points

    def offer(self, piece: int, solution: Solution) -> tuple[Floats, float]:
        """Add the point of a solution to the witnesses; return it with its value."""
        point = self.finish(np.array([piece]), solution.point[None, :])
        value = self.evaluate(point)
        if self.pieces.majorants is not None:
            part = self.pieces.parts[piece]
            expected = self.pieces.majorants.loss(part, solution.point)
            missed = value[0] < expected - DOUBT * max(1.0, abs(expected))
            if missed or self.pieces.majorants.fragile(part, solution.point):
                point, value = self._pushed(piece, point, expected)
        self.witnesses.add(point, value)
        if self.shared:
            self._points.append((point, value))
        return point, float(value[0])

    def _pushed(self, piece: int, point: Floats, expected: float) -> tuple[Floats, Floats]:
        """Push a point at which float64 misses the loss, a tie of logits, into its part."""
        if piece not in self._centres:
            self._centres[piece] = self._centre(piece, point[0])
        steps = 2.0 ** np.arange(-52.0, -8.0, 2.0)[:, None]
        trials = np.concatenate([point, point + steps * (self._centres[piece] - point)])
        values = self.evaluate(trials)
        close = values >= expected - DOUBT * max(1.0, abs(expected))
        good = 1 + np.flatnonzero(close[:-2] & close[1:-1] & close[2:])  # no accident of rounding
        k = int(good[0]) if len(good) else int(values.argmin())
        return trials[k : k + 1], values[k : k + 1]

    def _centre(self, piece: int, point: Floats) -> Floats:
        """Return a point well inside a part near one of its points."""
        program, axes, found = self.programs.of(self.pieces, piece), np.eye(len(point)), [point]
        for axis in np.concatenate([axes, -axes]):
            with suppress(SolverError):  # only a direction less
                answer = program.solve(axis, point, Penalty(0.0), 1.0)
                if isinstance(answer, Solution):
                    found.append(answer.point)
        return np.asarray(np.mean(found, axis=0))

    def replace(self, piece: int, parts: list[Part]) -> None:
        """Replace a piece by a better majorant of it or by parts that cover it."""
        if len(parts) == 1:
            self.pieces = self.pieces.improved(piece, parts[0])
            self.pool.improve(piece, parts[0].gradient, parts[0].offset)
            return
        self.pieces = self.pieces.extended(parts)
        self.counts.pieces += len(parts) - 1
        gradients = np.array([part.gradient for part in parts])
        self.pool.replace(piece, gradients, np.array([part.offset for part in parts]))
