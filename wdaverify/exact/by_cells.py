"""The engine that enumerates cells: sub-problems of their pieces, settled by shared cuts."""

from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np

from wdaverify.arrays import Floats, Integers
from wdaverify.cells.complex import CellComplex
from wdaverify.cells.recession import is_bounded
from wdaverify.distribution import Ray
from wdaverify.errors import LimitReached
from wdaverify.exact.distances import Distances, Errors, ErrorSet
from wdaverify.exact.growth import Growth, GrowthSearch
from wdaverify.exact.lessons import GROUP, Lessons, Round
from wdaverify.exact.oracle import Asked, Decision, Suprema
from wdaverify.exact.pieces import Pieces, asymptotic_pieces, ceiling, loss_pieces
from wdaverify.exact.recession import Tail, escape, tail_points
from wdaverify.exact.supremum import Counts, LabelSupremum, Programs
from wdaverify.exact.unlisted import UnlistedOracle
from wdaverify.exact.vertices import Corners
from wdaverify.limits import Limits
from wdaverify.problem import Problem

if TYPE_CHECKING:
    from wdaverify.exact.settling import Search

__all__ = ["CellOracle"]

Key = tuple[int, int]
"""A label and the number of a group of its samples."""


class CellOracle:
    """Suprema over the activation cells of the problem's network on its support.

    Parameters
    ----------
    cells
        The activation cells of the problem's network on its support.
    size
        Samples of a label in a group; see :mod:`~wdaverify.exact.lessons`.
    """

    def __init__(
        self, problem: Problem, cells: CellComplex, limits: Limits, *, size: int = GROUP
    ) -> None:
        self.problem, self.cells, self.limits, self.size = problem, cells, limits, size
        self.counts = Counts(cells=len(cells))
        self._corners = Corners(cells, problem.cost.norm)
        self._kept: dict[Key, Programs] = {}
        self._suprema: dict[Key, LabelSupremum] = {}
        self._begun: dict[Key, tuple[Asked, Search]] = {}
        self._pieces: dict[int, Pieces] = {}
        self._asymptotic: dict[int, Pieces] = {}
        self._escapes: dict[int, tuple[Ray | None, float]] = {}
        self._error_sets: dict[int, ErrorSet] = {}

    @cached_property
    def _samples(self) -> dict[int, Integers]:
        """Samples of each label in play: with label moves all of them."""
        problem = self.problem
        if problem.cost.label_cost is not None:
            return dict.fromkeys(range(problem.network.classes), problem.active)
        return {
            label: problem.active[problem.labels[problem.active] == label]
            for label in problem.active_labels
        }

    @property
    def slope(self) -> float:
        """Upper bound of the asymptotic slope of every label in play."""
        return max(self._escape(label)[1] for label in self._samples)

    def ray(self, label: int) -> Ray | None:
        """Return the steepest ray of a label."""
        return self._escape(label)[0]

    def constant(self, label: int) -> float:
        """Return the cell Lipschitz constant of the loss with this label, perhaps infinite."""
        gradients = self._affine(label).gradients
        steepest = float(self.problem.cost.norm.dual_length(gradients).max())
        return steepest if self.problem.loss.lipschitz else np.inf

    def ceiling(self, label: int) -> float:
        """Return an upper bound of the loss with this label, perhaps infinite."""
        return ceiling(self.cells, self.problem.loss, label)

    def infinite(self, label: int) -> Floats | None:
        """Return a point at which the loss with this label is infinite, if there is one."""
        return self._every_piece(label).infinite

    def suprema(self, asked: Asked) -> Suprema:
        """Settle every sample asked about."""
        search, rows = self._searched(asked), self._rows(asked)
        bounds, points = search.suprema(
            asked.penalty, asked.reach, rows, asked.floor, asked.tolerance
        )
        slope = search.slope(asked.penalty)
        return Suprema(bounds, np.full(len(rows), slope), points)

    def explore(self, asked: Asked, lessons: Lessons | None, programs: int) -> Round:
        """Settle samples of one group as far as a number of programs goes.

        Parameters
        ----------
        asked
            The same object again goes on where the last round ended, or the same values.
        lessons
            What other groups have learned since.
        """
        search = self._searched(asked)
        search.shared = True
        if lessons is not None:
            search.learn(lessons)
        key = self._key(asked.label, asked.samples)
        before, begun = self._begun.get(key, (None, None))
        if begun is None or before is None or not before.same(asked):
            begun = search.begin(
                asked.penalty, asked.reach, self._rows(asked), asked.floor, asked.tolerance
            )
        elif lessons is not None:
            begun.learn(lessons)
        self._begun[key] = asked, begun
        begun.run(programs)
        if begun.settled:
            del self._begun[key]
        slopes = np.full(len(asked.samples), search.slope(asked.penalty))
        return Round(begun.upper(), slopes, begun.points, begun.settled, search.news())

    def open_bounds(self, asked: Asked) -> Floats:
        """Bound the suprema by the cuts known so far."""
        search = self._searched(asked)
        return search.open_bounds(asked.penalty, asked.reach, self._rows(asked))

    def maximisers(self, label: int, sample: int, tail: Tail) -> Floats:
        """See :func:`tail_points`."""
        key = self._key(label, np.array([sample]))
        place = int(np.searchsorted(self._members(key), sample))
        return tail_points(self._search(key), place, tail)

    def group(self, label: int, samples: Integers) -> Integers:
        """Return numbers of groups that share everything; see :mod:`~wdaverify.exact.lessons`."""
        known = self._samples.get(label, samples[:0])  # samples without weight belong to none
        return np.searchsorted(known, samples) // self.size

    def groups(self, label: int) -> int:
        """Return the number of groups of a label."""
        return max(1, -(-len(self._samples.get(label, ())) // self.size))

    def errors(self, label: int) -> Errors:
        """Find the pieces of a label that hold errors, a limit ending it."""
        return self._error_set(label, None).errors

    def distances(self, samples: Integers, errors: Errors | None = None) -> Distances:
        """Bracket the distances of samples of one group; widely, if a limit ends it.

        Parameters
        ----------
        errors
            What :meth:`errors` found, to spare the search.
        """
        label = int(self.problem.labels[samples[0]])
        try:
            found = self._error_set(label, errors)
            return found.distances(samples, self._programs(self._key(label, samples)))
        except LimitReached as limit:
            return UnlistedOracle(self.problem, limit).distances(samples)

    def growth(self, samples: Integers, farthest: Floats, tolerance: float) -> list[Growth]:
        """Enclose the growth functions of samples of one label (piecewise affine losses).

        Parameters
        ----------
        farthest
            Distances beyond which there is no support, finite, ``(m,)``.
        tolerance
            Relative difference of the bounds that is left open.
        """
        label = int(self.problem.labels[samples[0]])
        key = self._key(label, samples)
        search = self._search(key)
        follow = GrowthSearch(search, self.problem.cost.charge, tolerance)
        rows = np.searchsorted(self._members(key), samples)
        ends = zip(rows.tolist(), farthest.tolist(), strict=True)
        return [follow.growth(row, end) for row, end in ends]

    def within(self, sample: int, radius: float) -> Decision:
        """Decide over the rationals whether an error lies in a closed ball."""
        errors = self._error_set(int(self.problem.labels[sample]), None)
        point = errors.reaches(self.problem.points[sample], radius)
        if point is None:
            return Decision(holds=False)
        return Decision(holds=True, point=point.astype(np.float64))

    def _error_set(self, label: int, errors: Errors | None) -> ErrorSet:
        if label not in self._error_sets:
            self._error_sets[label] = ErrorSet(
                self.problem, self.cells, label, self.counts, self.limits, errors
            )
        return self._error_sets[label]

    def _key(self, label: int, samples: Integers) -> Key:
        """Return the label and the group of samples that are all of one."""
        return label, int(self.group(label, samples[:1])[0])

    def _members(self, key: Key) -> Integers:
        """Return the samples of a group."""
        label, number = key
        return self._samples[label][number * self.size : (number + 1) * self.size]

    def _programs(self, key: Key) -> Programs:
        """Programs of a group: no other group warms them."""
        if key not in self._kept:
            self._kept[key] = Programs(self.cells, self.problem.cost.norm, self._corners)
        return self._kept[key]

    def _affine(self, label: int) -> Pieces:
        if label not in self._asymptotic:
            self._asymptotic[label] = asymptotic_pieces(self.cells, self.problem.loss, label)
        return self._asymptotic[label]

    def _escape(self, label: int) -> tuple[Ray | None, float]:
        if label not in self._escapes:
            self._escapes[label] = self._steepest_ray(label)
        return self._escapes[label]

    def _steepest_ray(self, label: int) -> tuple[Ray | None, float]:
        if is_bounded(self.cells.frame.matrix):
            return None, 0.0
        pieces, norm = self._affine(label), self.problem.cost.norm
        vertices = self._corners.of(pieces)
        lengths = norm.dual_length(pieces.gradients) if vertices is None else vertices.slopes()
        return escape(self.cells, pieces, norm, lengths)

    def _every_piece(self, label: int) -> Pieces:
        """Return the pieces of the loss, before any is split."""
        if self.problem.loss.piecewise_affine:
            return self._affine(label)
        if label not in self._pieces:
            self._pieces[label] = loss_pieces(self.cells, self.problem.loss, label)
        return self._pieces[label]

    def _searched(self, asked: Asked) -> LabelSupremum:
        return self._search(self._key(asked.label, asked.samples))

    def _search(self, key: Key) -> LabelSupremum:
        if key not in self._suprema:
            self._suprema[key] = LabelSupremum(
                self._every_piece(key[0]),
                self.problem.points[self._members(key)],
                self._programs(key),
                partial(self._evaluate, key[0]),
                self._inside,
                counts=self.counts,
                limits=self.limits,
            )
        return self._suprema[key]

    def _rows(self, asked: Asked) -> Integers:
        """Places of the samples asked about among those of the group."""
        return np.searchsorted(self._members(self._key(asked.label, asked.samples)), asked.samples)

    def _evaluate(self, label: int, points: Floats) -> Floats:
        return self.problem.evaluate(points, np.full(len(points), label))

    def _inside(self, _: Integers, points: Floats) -> Floats:
        """Move solutions that violate the support by a rounding error towards its interior."""
        support, centre = self.problem.support, self.cells[0].interior
        points = points.copy()
        outside = np.flatnonzero(~support.contains(points))
        for step in 2.0 ** np.arange(-50.0, -28.0, 2.0):
            if len(outside) == 0:
                break
            trials = points[outside] + step * (centre - points[outside])
            inside = support.contains(trials)
            points[outside[inside]] = trials[inside]
            outside = outside[~inside]
        return points
