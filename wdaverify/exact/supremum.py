r"""Suprema over all cells of :math:`\ell(x,y_i) - \lambda\|x-x_i\|` within reach, for many samples.

Bounds of all (sample, piece) pairs come from shared cuts. A linear program is solved only for a
pair whose bound still exceeds the incumbent of its sample; its cut is added for every sample and
its point is offered to every sample of the label.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from wdaverify.arrays import Floats, Integers
from wdaverify.cells.complex import CellComplex
from wdaverify.exact.cuts import CutPool
from wdaverify.exact.pieces import Pieces
from wdaverify.exact.program import PieceProgram, Unreachable
from wdaverify.limits import Limits
from wdaverify.norms import GroundNorm

__all__ = ["Counts", "LabelSupremum", "Programs", "Witnesses"]

SETTLED = 1e-10
"""A pair is settled when its bound exceeds the incumbent by less than this (relative to scale)."""


@dataclass(slots=True)
class Counts:
    """How much work was done."""

    cells: int = 0
    pieces: int = 0
    programs: int = 0
    suprema: int = 0

    def as_dict(self) -> dict[str, int]:
        """Return the counts by name."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(slots=True)
class Programs:
    """The programs of the most recently used pieces."""

    cells: CellComplex
    norm: GroundNorm
    capacity: int = 2000
    kept: OrderedDict[tuple[int, int, int], PieceProgram] = field(default_factory=OrderedDict)

    def of(self, pieces: Pieces, piece: int) -> PieceProgram:
        """Return the program of a piece; pieces without a threshold share that of their cell."""
        cell = int(pieces.cells[piece])
        target = -1 if pieces.thresholds is None else int(pieces.targets[piece])
        key = (-1 if pieces.thresholds is None else pieces.label, cell, target)
        if key in self.kept:
            self.kept.move_to_end(key)
            return self.kept[key]
        program = PieceProgram(pieces.rows(self.cells, piece), self.cells.support, self.norm)
        self.kept[key] = program
        if len(self.kept) > self.capacity:
            self.kept.popitem(last=False)
        return program


@dataclass(slots=True)
class Witnesses:
    """Points found for one label with the value that the sub-problems give them.

    Attributes
    ----------
    points, values
        ``(M, n)`` and ``(M,)``.
    """

    points: Floats
    values: Floats

    def add(self, points: Floats, values: Floats) -> None:
        """Append points."""
        self.points = np.concatenate([self.points, points])
        self.values = np.concatenate([self.values, values])


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
        self.pool = CutPool(pieces, self.norm)
        self.witnesses = Witnesses(samples, evaluate(samples))
        counts.pieces += len(pieces)

    def bounds(self, multiplier: float, reach: Floats) -> Floats:
        """Solve until every sample is settled; return certified upper bounds ``(N,)``.

        Parameters
        ----------
        reach
            Largest distance of each sample, ``(N,)``, infinite allowed.

        Raises
        ------
        LimitReached
            Time or memory ran out; cuts and witnesses found so far are kept.
        """
        table = self.pool.bounds(self.samples, multiplier, reach)
        asked = np.zeros(table.shape, dtype=bool)
        incumbents = self._incumbents(multiplier, reach)
        self.counts.suprema += len(self.samples)
        while True:
            askable = np.where(asked, -np.inf, table)
            best = askable.argmax(axis=1)
            top = askable[np.arange(len(table)), best]
            open_ = np.flatnonzero(top > incumbents + self._slack(incumbents))
            if len(open_) == 0:
                return np.asarray(np.maximum(table.max(axis=1), incumbents))
            self.limits.check("solving sub-problems")
            for piece in np.unique(best[open_]).tolist():
                for i in open_[best[open_] == piece].tolist():
                    if table[i, piece] > incumbents[i] + self._slack(incumbents[i]):
                        asked[i, piece] = True
                        found = self._learn(i, piece, table, (multiplier, reach))
                        incumbents = np.maximum(incumbents, found)

    def points(self) -> Floats:
        """Every point found so far, ``(M, n)``."""
        return self.witnesses.points

    def _slack(self, incumbents: Floats) -> Floats:
        return SETTLED * np.maximum(1.0, np.abs(np.where(np.isfinite(incumbents), incumbents, 0.0)))

    def _learn(self, i: int, piece: int, table: Floats, penalty: tuple[float, Floats]) -> Floats:
        """Solve one pair, add its cut and its point; return the point's value for all samples."""
        multiplier, reach = penalty
        self.counts.programs += 1
        solution = self.programs.of(self.pieces, piece).solve(
            self.pieces.gradients[piece], self.samples[i], multiplier, float(reach[i])
        )
        if isinstance(solution, Unreachable):
            self.pool.exclude(piece, solution.cut)
            table[self.pool.excluded(solution.cut, self.samples, reach), piece] = -np.inf
            return np.full(len(self.samples), -np.inf)
        index = np.array([len(self.pool.offsets)])
        offset = solution.cut.offset + float(self.pieces.offsets[piece])
        self.pool.add(piece, solution.cut._replace(offset=offset))
        lines = self.pool.lines(self.samples, index, multiplier, reach)[:, 0]
        table[:, piece] = np.minimum(table[:, piece], lines)
        point = self.finish(piece, solution.point)[None, :]
        value = self.evaluate(point)
        self.witnesses.add(point, value)
        distance = self.norm.length(self.samples - point)
        inside = distance <= reach * (1.0 + 1e-12)
        return np.where(inside, value[0] - multiplier * distance, -np.inf)

    def best(self, multiplier: float, reach: Floats) -> Integers:
        """Return the best known point of each sample, as an index into the witnesses, ``(N,)``."""
        return self._best(multiplier, reach)[0]

    def _incumbents(self, multiplier: float, reach: Floats) -> Floats:
        return self._best(multiplier, reach)[1]

    def _best(self, multiplier: float, reach: Floats) -> tuple[Integers, Floats]:
        index = np.empty(len(self.samples), dtype=np.int64)
        value = np.empty(len(self.samples))
        for i, sample in enumerate(self.samples):
            distance = self.norm.length(self.witnesses.points - sample)
            inside = distance <= reach[i] * (1.0 + 1e-12)
            values = np.where(inside, self.witnesses.values - multiplier * distance, -np.inf)
            index[i] = values.argmax()
            value[i] = values[index[i]]
        return index, value
