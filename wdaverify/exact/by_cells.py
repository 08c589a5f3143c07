"""The engine that enumerates cells: sub-problems of their pieces, settled by shared cuts."""

from functools import cached_property, partial

import numpy as np

from wdaverify.arrays import Floats, Integers
from wdaverify.cells.complex import CellComplex
from wdaverify.cells.recession import is_bounded
from wdaverify.distribution import Ray
from wdaverify.errors import LimitReached
from wdaverify.exact.distances import Distances, ErrorSet
from wdaverify.exact.growth import Growth, GrowthSearch
from wdaverify.exact.oracle import Asked, Decision, Suprema
from wdaverify.exact.pieces import Pieces, asymptotic_pieces, ceiling, loss_pieces
from wdaverify.exact.recession import Tail, escape, tail_points
from wdaverify.exact.supremum import Counts, LabelSupremum, Programs
from wdaverify.exact.unlisted import UnlistedOracle
from wdaverify.exact.vertices import Corners
from wdaverify.limits import Limits
from wdaverify.problem import Problem

__all__ = ["CellOracle"]


class CellOracle:
    """Suprema over the activation cells of the problem's network on its support.

    Parameters
    ----------
    cells
        The activation cells of the problem's network on its support.
    """

    def __init__(self, problem: Problem, cells: CellComplex, limits: Limits) -> None:
        self.problem, self.cells, self.limits = problem, cells, limits
        self.counts = Counts(cells=len(cells))
        self._corners = Corners(cells, problem.cost.norm)
        self._kept: dict[int, Programs] = {}
        self._suprema: dict[int, LabelSupremum] = {}
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
        return self._search(label).pieces.infinite

    def suprema(self, asked: Asked) -> Suprema:
        """Settle every sample asked about."""
        search, rows = self._search(asked.label), self._rows(asked)
        bounds, points = search.suprema(
            asked.penalty, asked.reach, rows, asked.floor, asked.tolerance
        )
        slope = search.slope(asked.penalty)
        return Suprema(bounds, np.full(len(rows), slope), points)

    def open_bounds(self, asked: Asked) -> Floats:
        """Bound the suprema by the cuts known so far."""
        search = self._search(asked.label)
        return search.open_bounds(asked.penalty, asked.reach, self._rows(asked))

    def maximisers(self, label: int, sample: int, tail: Tail) -> Floats:
        """See :func:`tail_points`."""
        place = int(np.searchsorted(self._samples[label], sample))
        return tail_points(self._search(label), place, tail)

    def group(self, label: int, samples: Integers) -> Integers:  # noqa: ARG002
        """All samples of a label learn from each other."""
        return np.zeros(len(samples), dtype=np.int64)

    def distances(self, samples: Integers) -> Distances:
        """Bracket the distances of samples of one label; widely, if a limit ends it."""
        label = int(self.problem.labels[samples[0]])
        try:
            return self._errors(label).distances(samples, self._programs(label))
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
        search = self._search(label)
        follow = GrowthSearch(search, self.problem.cost.charge, tolerance)
        rows = np.searchsorted(self._samples[label], samples)
        ends = zip(rows.tolist(), farthest.tolist(), strict=True)
        return [follow.growth(row, end) for row, end in ends]

    def within(self, sample: int, radius: float) -> Decision:
        """Decide over the rationals whether an error lies in a closed ball."""
        errors = self._errors(int(self.problem.labels[sample]))
        point = errors.reaches(self.problem.points[sample], radius)
        if point is None:
            return Decision(holds=False)
        return Decision(holds=True, point=point.astype(np.float64))

    def _errors(self, label: int) -> ErrorSet:
        if label not in self._error_sets:
            self._error_sets[label] = ErrorSet(
                self.problem, self.cells, label, self.counts, self.limits
            )
        return self._error_sets[label]

    def _programs(self, label: int) -> Programs:
        """Programs of a label: no other label warms them."""
        if label not in self._kept:
            self._kept[label] = Programs(self.cells, self.problem.cost.norm, self._corners)
        return self._kept[label]

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

    def _search(self, label: int) -> LabelSupremum:
        if label not in self._suprema:
            affine = self.problem.loss.piecewise_affine
            self._suprema[label] = LabelSupremum(
                self._affine(label)
                if affine
                else loss_pieces(self.cells, self.problem.loss, label),
                self.problem.points[self._samples[label]],
                self._programs(label),
                partial(self._evaluate, label),
                self._inside,
                counts=self.counts,
                limits=self.limits,
            )
        return self._suprema[label]

    def _rows(self, asked: Asked) -> Integers:
        """Places of the samples asked about among those of the label."""
        return np.searchsorted(self._samples[asked.label], asked.samples)

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
