r"""Suprema over all cells of :math:`\ell(x,y_i) - \lambda\|x-x_i\|` within reach, for many samples.

Bounds of all (sample, piece) pairs come from shared cuts. A linear program is solved only for a
pair whose bound still exceeds the incumbent of its sample; its cut is added for every sample and
its point is offered to every sample of the label.
"""

from collections.abc import Callable
from contextlib import suppress

import numpy as np

from wdaverify.arrays import Floats, Integers
from wdaverify.errors import SolverError
from wdaverify.exact.majorants import Part
from wdaverify.exact.penalty import Penalty
from wdaverify.exact.pieces import Pieces
from wdaverify.exact.program import Solution, Unreachable
from wdaverify.exact.refinement import Columns, CutTree
from wdaverify.exact.resources import Counts, Programs
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
        Piece and solution of its program to the point that is offered.
    """

    def __init__(  # noqa: PLR0913
        self,
        pieces: Pieces,
        samples: Floats,
        programs: Programs,
        evaluate: Callable[[Floats], Floats],
        finish: Callable[[int, Floats], Floats] | None = None,
        *,
        counts: Counts,
        limits: Limits,
    ) -> None:
        self.pieces, self.samples, self.programs = pieces, samples, programs
        self.norm = programs.norm
        self.evaluate, self.counts, self.limits = evaluate, counts, limits
        self.finish = finish or (lambda _, point: point)
        self.pool = CutTree(pieces, self.norm)
        self.witnesses = Witnesses(samples, evaluate(samples), self.norm)
        self._centres: dict[int, Floats] = {}
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
        self.counts.suprema += len(rows)
        search = _Search(self, rows, (penalty, reach), floor, tolerance)
        search.run()
        return search.upper(), self.witnesses.points[search.best]

    def open_bounds(self, penalty: Penalty, reach: Floats, rows: Integers) -> Floats:
        """Return what the cuts so far prove, without solving anything: ``(m,)``."""
        return np.asarray(self.pool.bounds(self.samples[rows], penalty, reach).max(axis=1))

    def points(self) -> Floats:
        """Every point found so far, ``(M, n)``."""
        return self.witnesses.points

    def offer(self, piece: int, solution: Solution) -> tuple[Floats, float]:
        """Add the point of a solution to the witnesses; return it with its value."""
        point = self.finish(piece, solution.point)[None, :]
        value = self.evaluate(point)
        if self.pieces.majorants is not None:
            part = self.pieces.parts[piece]
            expected = self.pieces.majorants.loss(part, solution.point)
            missed = value[0] < expected - DOUBT * max(1.0, abs(expected))
            if missed or self.pieces.majorants.fragile(part, solution.point):
                point, value = self._pushed(piece, point, expected)
        self.witnesses.add(point, value)
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


class _Search:
    """One evaluation of all suprema: bounds of all pairs, and what is known from below."""

    def __init__(
        self,
        label: LabelSupremum,
        rows: Integers,
        question: tuple[Penalty, Floats],
        floor: Floats | None,
        tolerance: float,
    ) -> None:
        self.label, self.rows, self.tolerance = label, rows, tolerance
        self.samples = label.samples[rows]
        self.penalty, self.reach = question
        self.best, self.value = label.witnesses.best(*question, rows)
        self.known = self.value.copy() if floor is None else np.maximum(self.value, floor)
        self.table = Columns(label.pool.bounds(self.samples, *question))
        self.asked = Columns(np.zeros(self.table.shape, dtype=bool))
        self.open = np.arange(len(self.known))

    def upper(self) -> Floats:
        """Return the bounds so far, ``(N,)``."""
        return np.asarray(np.maximum(self.table.array.max(axis=1), self.known))

    def run(self) -> None:
        """Solve until every sample is settled; those that are stay so."""
        while True:
            askable = np.where(self.asked.array[self.open], -np.inf, self.table.array[self.open])
            best = askable.argmax(axis=1)
            top = askable[np.arange(len(best)), best]
            kept = top > self.target(self.open)
            self.open, best = self.open[kept], best[kept]
            if len(self.open) == 0:
                return
            samples = self.open
            for piece in np.unique(best).tolist():
                self._settle(piece, samples[best == piece])

    def target(self, samples: Integers) -> Floats:
        """Return what a bound may reach without being looked at again."""
        known = self.known[samples]
        size = np.maximum(1.0, np.abs(np.where(np.isfinite(known), known, 0.0)))
        return np.asarray(known + self.tolerance * size)

    def _settle(self, piece: int, samples: Integers) -> None:
        """Solve for samples whose largest bound is that of one piece, the largest excess first."""
        while True:
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
        self.asked.array[i, piece] = True
        solution = label.programs.of(label.pieces, piece).solve(
            label.pieces.gradients[piece], self.samples[i], self.penalty, float(self.reach[i])
        )
        if isinstance(solution, Unreachable):
            label.pool.exclude(piece, solution.cut)
            out = label.pool.excluded(solution.cut, self.samples, self.reach)
            self.table.array[out, piece] = -np.inf
            return False
        offset = solution.cut.offset + float(label.pieces.offsets[piece])
        label.pool.add(piece, solution.cut._replace(offset=offset))
        self._lower(piece)
        self._offer(i, piece, solution)
        if label.pieces.majorants is None or not self._exceeded(i, piece, solution.point):
            return False
        return self._refine(i, piece, solution.point)

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
        self.best[better] = len(label.witnesses) - 1
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
