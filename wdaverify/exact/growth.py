r"""Growth functions of all samples of a label, for every distance at once.

.. math:: g_i(t) = \max_P g_{i,P}(t),\qquad
          g_{i,P}(t) = \sup\{a_P\cdot x + b_P : x\in P,\ \|x-x_i\|\le t\}

Each :math:`g_{i,P}` is concave, because pieces are convex. So the chord between two points of one
piece lies below it, and the least of the piece's dual cuts (:mod:`.cuts`), lines in ``t``, lies
above it. Where the largest cut exceeds the largest chord by most, the piece is asked at that
distance: a point and a cut that meet there. For a polyhedral norm a piece is a parametric linear
program, which has finitely many vertices, and this ends with :math:`g_i` itself.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from wdaverify.arrays import Floats, Integers
from wdaverify.envelope import majorants
from wdaverify.errors import LimitReached
from wdaverify.exact.cuts import Cut, entered
from wdaverify.exact.penalty import Penalty
from wdaverify.exact.program import Unreachable
from wdaverify.exact.ridges import Segments, carried, records, ridge, stretch, summit
from wdaverify.exact.supremum import LabelSupremum

__all__ = ["Growth", "GrowthSearch"]

SAME = 1e-12
"""Distances that differ by less, relative to the largest, are not asked about twice."""

ENTRY = -1.0
"""Stands for the distance, not known yet, at which a piece comes within reach."""

INSIDE = 1e-13
"""Relative violation of a row at which a sample is still inside a cell."""


class Growth(NamedTuple):
    """Two functions that enclose a growth function, linear between corners, constant after them.

    Attributes
    ----------
    radius, lower, upper
        Corners from distance 0, ``(m,)``.
    reached
        The limit that left them far apart, if one did.
    """

    radius: Floats
    lower: Floats
    upper: Floats
    reached: LimitReached | None = None


class _Question(NamedTuple):
    """A piece and a distance at which its bound exceeds what is known from below."""

    piece: int
    distance: float


class GrowthSearch:
    """The growth functions of one label; cuts serve all of its samples, points their own.

    Points of other samples would save a few programs, but every one of them is a corner more.

    Parameters
    ----------
    label
        The pieces, which are affine, with their cuts and programs.
    charge
        Distances of points from a sample, rounded up: ``(M, n), (n,) -> (M,)``.
    tolerance
        Largest difference of bounds, relative to ``max(1, |loss|)``, that is left open.
    """

    def __init__(
        self, label: LabelSupremum, charge: Callable[[Floats, Floats], Floats], tolerance: float
    ) -> None:
        self.label, self.charge, self.tolerance = label, charge, tolerance
        pieces = label.pieces
        self._points: list[Floats] = []
        self._owners: list[int] = []
        self._losses: list[float] = []
        self._heights: list[float] = []
        self._settled: dict[tuple[float, ...], float] = {}
        self._entries = np.zeros(label.pool.size)
        self._inside = [self._pieces_around(x) for x in label.samples]
        self._nominal = label.evaluate(label.samples)
        self._plain = label.samples @ pieces.gradients.T + pieces.offsets

    def growth(self, row: int, farthest: float) -> Growth:
        """Enclose the growth function of a sample up to the size of its support.

        Parameters
        ----------
        row
            Place of the sample among those of the label.
        farthest
            Distance beyond which there is no support.
        """
        if farthest == 0.0:
            return Growth(np.zeros(1), self._nominal[[row]], self._nominal[[row]])
        self._points, self._owners, self._losses, self._heights = [], [], [], []
        self._settled, self._entries = {}, self.label.pool.entries(self.label.samples[row])
        asked: dict[int, list[float]] = {}
        reached: LimitReached | None = None
        while True:
            places, values = self._below(row, farthest)
            excess, questions = self._above(row, places, values, asked)
            reached = self.label.limits.reached("following the growth of the loss")
            if not questions or reached is not None:
                break
            for piece, distance in questions:
                known = asked.setdefault(piece, [])
                if distance == ENTRY:
                    known += [ENTRY, self._enter(row, piece)]
                elif not _known(known, distance, SAME * farthest):
                    known.append(distance)
                    self._ask(row, piece, distance)
        room = np.maximum(np.append(excess, 0.0), np.append(0.0, excess))
        steepest = self.label.norm.dual_length(self.label.pieces.gradients).max()
        if reached is not None and room.max() > steepest * farthest:
            ends, loss = np.array([0.0, farthest]), np.full(2, self._nominal[row])
            return Growth(ends, loss, loss + steepest * ends, reached)
        return Growth(places, values, values + room, reached)

    def _pieces_around(self, sample: Floats) -> Integers:
        """Return the pieces of the cells that hold a sample."""
        cells, found = self.label.programs.cells, []
        for number, cell in enumerate(cells):
            rows = cell.half_spaces
            room = INSIDE * (1.0 + np.abs(rows.offset) + np.abs(rows.matrix) @ np.abs(sample))
            if np.all(rows.matrix @ sample <= rows.offset + room):
                found.append(number)
        return np.flatnonzero(np.isin(self.label.pieces.cells, found))

    def _enter(self, row: int, piece: int) -> float:
        """Find the distance at which a piece comes within reach, and what is known from there."""
        label = self.label
        label.counts.programs += 1
        sample = label.samples[row]
        program = label.programs.of(label.pieces, piece)
        nearest = program.solve(np.zeros(len(sample)), sample, Penalty(1.0))
        self._exclude(row, piece, nearest.cut)
        if isinstance(nearest, Unreachable):
            return np.inf
        self._keep(piece, nearest.point)
        distance = float(self.charge(nearest.point[None, :], sample)[0])
        self._ask(row, piece, distance)
        return distance

    def _ask(self, row: int, piece: int, distance: float) -> None:
        """Solve one piece within one distance of one sample; keep its cut and its point."""
        label, pieces = self.label, self.label.pieces
        label.counts.programs += 1
        gradient, offset = pieces.gradients[piece], float(pieces.offsets[piece])
        program = label.programs.of(pieces, piece)
        solution = program.solve(gradient, label.samples[row], Penalty(0.0), distance)
        if isinstance(solution, Unreachable):
            self._exclude(row, piece, solution.cut)
            return
        label.pool.add(piece, solution.cut._replace(offset=solution.cut.offset + offset))
        self._keep(piece, solution.point)

    def _exclude(self, row: int, piece: int, cut: Cut) -> None:
        """Add a cut that shows how far away a piece is."""
        self.label.pool.exclude(piece, cut)
        entry = entered(cut, self.label.samples[row])
        self._entries[piece] = max(self._entries[piece], entry)

    def _keep(self, piece: int, point: Floats) -> None:
        """Keep a point of a piece, with its loss and the affine function of the piece there."""
        label, pieces = self.label, self.label.pieces
        point = label.finish(np.array([piece]), point[None, :])
        if not label.programs.cells.support.contains(point)[0]:
            return
        loss = float(label.evaluate(point)[0])
        self._points.append(point[0])
        self._owners.append(piece)
        self._losses.append(loss)
        height = float(pieces.gradients[piece] @ point[0]) + float(pieces.offsets[piece])
        self._heights.append(min(loss, height))

    def _below(self, row: int, farthest: float) -> tuple[Floats, Floats]:
        """Corners of the largest chord of two points of one piece, known points carried on."""
        sample, around = self.label.samples[row], self._inside[row]
        points = np.array(self._points).reshape(-1, len(sample))
        near = self.charge(points, sample)
        losses = np.append(self._nominal[row], self._losses)
        distances = np.append(0.0, np.minimum(near, farthest * (1.0 + SAME)))
        flat = records(distances, losses, farthest)
        owners = np.concatenate([around, np.array(self._owners, dtype=np.int64)])
        costs = np.concatenate([np.zeros(len(around)), near])
        heights = np.minimum(self._plain[row, around], self._nominal[row])
        heights = np.concatenate([heights, self._heights])
        chords = _chords(owners, costs, heights, self.label.pool.size)
        kept = (chords.start < farthest) & (chords.high > carried(flat, chords.start))
        flat.end[-1] = max(flat.end[-1], chords.end[kept].max(initial=0.0))
        every = Segments(*(np.append(a, b[kept]) for a, b in zip(flat, chords, strict=True)))
        places, values = ridge(every)
        if places[-1] > farthest:  # a point a rounding error beyond the support
            last = float(np.interp(farthest, places, values))
            within = places < farthest
            places = np.append(places[within], farthest)
            values = np.append(values[within], last)
        return places, values

    def _above(
        self, row: int, places: Floats, values: Floats, asked: dict[int, list[float]]
    ) -> tuple[Floats, list[_Question]]:
        """Bound the excess of the cuts over the chords on every interval; say where to ask."""
        pool, sample = self.label.pool, self.label.samples[row]
        order = np.argsort(pool.owners, kind="stable")
        starts = np.append(np.searchsorted(pool.owners[order], np.arange(pool.size)), len(order))
        level, steepness = (sample @ pool.gradients.T + pool.offsets)[order], pool.steepness[order]
        excess, questions = np.zeros(len(places) - 1), []
        for k, (a, b) in enumerate(zip(places[:-1].tolist(), places[1:].tolist(), strict=True)):
            key = a, b, float(values[k]), float(values[k + 1])
            if key in self._settled:  # and cuts only fall
                excess[k] = self._settled[key]
                continue
            found, excess[k] = self._ask_on(key, (level, steepness, starts), asked, places[-1])
            questions += found
            if not found:
                self._settled[key] = excess[k]
        return excess, questions

    def _ask_on(
        self,
        interval: tuple[float, ...],
        lines: tuple[Floats, Floats, Integers],
        asked: dict[int, list[float]],
        farthest: float,
    ) -> tuple[list[_Question], float]:
        """Bound the excess on one interval, and ask about the piece that exceeds most."""
        (a, b, low, high), (level, steepness, starts), excess = interval, lines, 0.0
        A, B = level + steepness * a - low, level + steepness * b - high
        most = np.minimum.reduceat(np.maximum(A, B), starts[:-1])
        most[self._entries > b] = -np.inf
        found, worth = list[_Question](), self.tolerance * max(1.0, abs(low))
        for piece in np.argsort(-most).tolist():
            if most[piece] <= worth:
                excess = max(excess, most[piece])
                break
            mine = slice(starts[piece], starts[piece + 1])
            s, top = _top(A[mine], B[mine], (self._entries[piece] - a) / (b - a))
            excess = max(excess, top)
            if top <= worth:
                continue
            distance, known = a + s * (b - a), asked.get(piece, [])
            ends: tuple[float, ...] = (distance,)
            if known:
                within = float(self._entries[piece]), float(farthest)
                ends = *stretch(level[mine], steepness[mine], distance, within), distance
            new = [t for t in ends if not _known(known, t, SAME * farthest)]
            if not new and ENTRY not in known:
                new = [ENTRY]
            if new:
                found, worth = [_Question(piece, t) for t in new], top
        return found, float(excess)


def _top(A: Floats, B: Floats, entry: float) -> tuple[float, float]:
    """Return where a piece exceeds most, not before its entry, and by how much."""
    if entry <= 0.0:
        return summit(A, B)
    s, top = summit(A + entry * (B - A), B)
    return entry + s * (1.0 - entry), top


def _known(asked: list[float], distance: float, room: float) -> bool:
    return any(abs(distance - seen) <= room for seen in asked)


def _chords(owners: Integers, costs: Floats, heights: Floats, size: int) -> Segments:
    """Return the rising chords of the concave majorant of each piece's points."""
    if len(owners) == 0:
        return Segments(*np.zeros((4, 0)))
    hull = majorants(owners, costs, heights, np.zeros(size))
    left, right = hull[:-1], hull[1:]
    same = owners[left] == owners[right]
    left, right = left[same], right[same]
    return Segments(costs[left], costs[right], heights[left], heights[right])
