"""One evaluation of the suprema of a label: bounds from above, points from below, until they meet.

Closed forms first, where they are known; then the pair of sample and piece with the largest excess
is solved by a program, which teaches about the other samples too.
"""

import math
from typing import TYPE_CHECKING

import numpy as np

from wdaverify.arrays import Floats, Integers
from wdaverify.exact.lessons import Lessons
from wdaverify.exact.penalty import Penalty
from wdaverify.exact.program import Solution, Unreachable
from wdaverify.exact.refinement import Columns

if TYPE_CHECKING:
    from wdaverify.exact.supremum import LabelSupremum

__all__ = ["Search"]


class Search:
    """One evaluation of all suprema: bounds of all pairs, and what is known from below."""

    def __init__(
        self,
        label: "LabelSupremum",
        rows: Integers,
        question: tuple[Penalty, Floats],
        floor: Floats | None,
        tolerance: float,
    ) -> None:
        self.label, self.rows, self.tolerance = label, rows, tolerance
        self.samples = label.samples[rows]
        self.penalty, self.reach = question
        best, self.value = label.witnesses.best(*question, rows)
        self.points = label.witnesses.points[best]
        self.known = self.value.copy() if floor is None else np.maximum(self.value, floor)
        self.table = Columns(label.table(self.samples, *question))
        self.asked = Columns(np.zeros(self.table.shape, dtype=bool))
        self.open = np.arange(len(self.known))
        self._left = math.inf
        self._meet()

    @property
    def settled(self) -> bool:
        """Whether nothing is left to do."""
        return len(self.open) == 0

    def upper(self) -> Floats:
        """Return the bounds so far, ``(N,)``."""
        return np.asarray(np.maximum(self.table.array.max(axis=1), self.known))

    def run(self, programs: float = math.inf) -> None:
        """Solve until every sample is settled, or so many programs; who is settled stays so."""
        self._left = programs
        while self._left > 0:
            askable = np.where(self.asked.array[self.open], -np.inf, self.table.array[self.open])
            best = askable.argmax(axis=1)
            top = askable[np.arange(len(best)), best]
            kept = top > self.target(self.open)
            self.open, best = self.open[kept], best[kept]
            if self.settled:
                return
            left, every = len(self.open), len(self.known)
            self.label.limits.report(f"{left} of {every} samples open", 1.0 - left / every)
            samples = self.open
            for piece in np.unique(best).tolist():
                self._settle(piece, samples[best == piece])

    def _meet(self) -> None:
        """Offer open samples the points at which their largest lines are reached.

        Where several lines of a piece tie, the point of one may miss the piece: it counts only
        inside the support.
        """
        label, lines = self.label, self.label.lines(self.penalty)
        pieces = self.table.array.argmax(axis=1)
        top = self.table.array[np.arange(len(pieces)), pieces]
        some = np.flatnonzero(top > self.target(self.open))
        if lines is None or len(some) == 0:
            return
        support = label.programs.cells.support
        points = np.clip(lines.points(self.samples[some], pieces[some]), *support.bounds)
        points = label.finish(pieces[some], points)
        lengths = label.norm.length(points - self.samples[some])
        values = label.evaluate(points) - self.penalty.of(lengths)
        better = (values > self.value[some]) & (lengths <= self.reach[some])
        better &= support.contains(points)
        some = some[better]
        self.points[some], self.value[some] = points[better], values[better]
        self.known[some] = np.maximum(self.known[some], values[better])

    def target(self, samples: Integers) -> Floats:
        """Return what a bound may reach without being looked at again."""
        known = self.known[samples]
        size = np.maximum(1.0, np.abs(np.where(np.isfinite(known), known, 0.0)))
        return np.asarray(known + self.tolerance * size)

    def _settle(self, piece: int, samples: Integers) -> None:
        """Solve for samples whose largest bound is that of one piece, the largest excess first."""
        while self._left > 0:
            self.label.limits.check("solving sub-problems")
            bounds, target = self.table.array[samples, piece], self.target(samples)
            left = (bounds > target) & ~self.asked.array[samples, piece]
            samples = samples[left]
            if len(samples) == 0:
                return
            excess = bounds[left] - target[left]
            if self._ask(int(samples[excess.argmax()]), piece):
                return

    def _ask(self, i: int, piece: int) -> bool:
        """Solve one pair and learn from it; return whether the piece was replaced."""
        label = self.label
        label.counts.programs += 1
        self._left -= 1
        self.asked.array[i, piece] = True
        solution = label.programs.of(label.pieces, piece).solve(
            label.pieces.gradients[piece], self.samples[i], self.penalty, float(self.reach[i])
        )
        if isinstance(solution, Unreachable):
            label.exclude(piece, solution.cut)
            out = label.pool.excluded(solution.cut, self.samples, self.reach)
            self.table.array[out, piece] = -np.inf
            return False
        offset = solution.cut.offset + float(label.pieces.offsets[piece])
        label.add(piece, solution.cut._replace(offset=offset))
        self._lower(piece)
        self._offer(i, piece, solution)
        if label.pieces.majorants is None or not self._exceeded(i, piece, solution.point):
            return False
        return self._refine(i, piece, solution.point)

    def learn(self, lessons: Lessons) -> None:
        """Apply what the label has just learned from other groups to the open samples."""
        label = self.label
        if label.pool.split:
            np.minimum(
                self.table.array, label.table(self.samples, self.penalty, self.reach),
                out=self.table.array,
            )  # fmt: skip
        else:
            count = len(label.pool.offsets)
            lines = self._lines(np.arange(count - len(lessons.pieces), count))
            for piece, line in zip(lessons.pieces.tolist(), lines.T, strict=True):
                column = self.table.array[self.open, piece]
                self.table.array[self.open, piece] = np.minimum(column, line)
            for piece, cut in lessons.barriers:
                out = label.pool.excluded(cut, self.samples, self.reach)
                self.table.array[out, piece] = -np.inf
        if len(lessons.values) and not self.settled:
            self._take_up(lessons)

    def _take_up(self, lessons: Lessons) -> None:
        """Offer points of other groups to the open samples."""
        reach, rows = self.reach[self.open], self.rows[self.open]
        offered = self.label.witnesses.offer(
            lessons.points, lessons.values, self.penalty, reach, rows
        )
        best = offered.argmax(axis=1)
        values = offered[np.arange(len(best)), best]
        better = values > self.value[self.open]
        some = self.open[better]
        self.value[some], self.points[some] = values[better], lessons.points[best[better]]
        self.known[some] = np.maximum(self.known[some], values[better])

    def _lower(self, piece: int) -> None:
        """Lower the bounds of the open samples on a piece by the cut found last."""
        index = np.array([len(self.label.pool.offsets) - 1])
        self.table.array[self.open, piece] = np.minimum(
            self.table.array[self.open, piece], self._lines(index)[:, 0]
        )

    def _lines(self, cuts: Integers) -> Floats:
        points, reach = self.samples[self.open], self.reach[self.open]
        return self.label.pool.lines(points, cuts, self.penalty, reach)

    def _offer(self, i: int, piece: int, solution: Solution) -> None:
        """Offer the point of a solution to the open samples."""
        label = self.label
        point, value = label.offer(piece, solution)
        reach, rows = self.reach[self.open], self.rows[self.open]
        offered = label.witnesses.offer(point, np.array([value]), self.penalty, reach, rows)[:, 0]
        better = self.open[offered > self.value[self.open]]
        self.value[self.open] = np.maximum(self.value[self.open], offered)
        self.points[better] = point
        self.known[self.open] = np.maximum(self.known[self.open], offered)
        if label.pieces.parts and label.pieces.parts[piece].lower[0] == np.inf:  # so is the loss
            self.known[i] = np.inf

    def _exceeded(self, i: int, piece: int, point: Floats) -> bool:
        """Whether a bound is still too high, and the majorant at its point to blame for it."""
        label, target = self.label, self.target(np.array([i]))[0]
        reached = float(label.pieces.gradients[piece] @ point) + label.pieces.offsets[piece]
        reached -= float(self.penalty.of(label.norm.length(point - self.samples[i])))
        return bool(self.table.array[i, piece] > target and reached > target)

    def _refine(self, i: int, piece: int, point: Floats) -> bool:
        """Improve the majorant of a piece at a point, or split the piece there."""
        label = self.label
        assert label.pieces.majorants is not None
        parts = label.pieces.majorants.refine(label.pieces.parts[piece], point)
        if not parts:
            return False
        count = len(label.pool.offsets)
        label.replace(piece, parts)
        if len(parts) == 1:
            self._lower(piece)
            self.asked.array[i, piece] = False
            return False
        old = self.table.array[:, piece].copy()
        lines = np.repeat(old[:, None], len(parts), axis=1)
        cuts = np.arange(count, len(label.pool.offsets))
        lines[self.open] = np.minimum(lines[self.open], self._lines(cuts))
        self.table.array[:, piece] = -np.inf
        self.table.append(lines)
        self.asked.append(np.zeros(lines.shape, dtype=bool))
        return True
