r"""Difference-of-logits ratio on cells: affine majorants on slabs of the ratio.

Once the order of the logits is fixed, the loss is a ratio :math:`q = N/D` of affine functions with
:math:`D = z_{(1)} - z_{(3)} \ge 0`. On the part where :math:`q_0 D\le N\le q_1 D` and
:math:`d_0\le D\le d_1`,

.. math:: q \;\le\; \min\Big\{q_1,\quad q_0 + \frac{N - q_0 D}{d_0},\quad
          q_1 + \frac{N - q_1 D}{d_1}\Big\}.

Where the label is third or lower the truncated loss is 1. With four classes or more the loss itself
is infinite where three other logits tie at the top, and only there.
"""

from dataclasses import replace
from typing import final

import numpy as np

from wdaverify.arrays import Floats
from wdaverify.cells.complex import CellComplex
from wdaverify.cells.recession import is_bounded, steepest_recession
from wdaverify.convex.exact import exact_maximum
from wdaverify.exact.majorants import (
    CANCELLED,
    Domain,
    Majorants,
    Part,
    added,
    largest_differences,
    logit_maps,
    no_rows,
    stacked,
)
from wdaverify.exact.orders import Branch, branches_of, tie
from wdaverify.network import AffineMap
from wdaverify.norms import LInf
from wdaverify.rational import ExactNetwork, Rationals, rationals

__all__ = ["RatioMajorants"]

NARROW = 1e-14
"""A box narrower than this (relative) is not split."""

NEAR_TIE = 1e-7
"""A denominator below this is not divided by."""


FRAGILE = 1e-9
"""Closer to a tie of three logits than this (relative), float64 evaluations are accidents."""


@final
class RatioMajorants(Majorants):
    """Majorants of the difference-of-logits ratio of one label.

    ``kind`` of a part is its order of the logits, the box holds the ratio and the denominator.
    """

    def __init__(self, complex_: CellComplex, label: int, *, truncated: bool) -> None:
        self.complex, self.label = complex_, label
        self.maps = logit_maps(complex_)
        K = complex_.network.classes
        self.bounded = truncated or K == 3
        self.compact = is_bounded(complex_.frame.matrix)
        self.branches = branches_of(K, label, bounded=self.bounded)

    def parts(self) -> list[Part]:  # noqa: D102
        found = []
        for cell, differences in enumerate(largest_differences(self.complex)):
            for kind in range(len(self.branches)):
                found += self._part(cell, kind, differences)
        return found + self._ties(found)

    @property
    def ceiling(self) -> float:
        """Upper bound of the loss over the support."""
        return max(float(part.upper[0]) for part in self.parts())

    def coordinates(self, part: Part, point: Floats) -> Floats:  # noqa: D102
        N, D = self._terms(part, point)
        ratio = N / D if D > 0 else part.upper[0]
        return np.asarray(np.clip([ratio, D], part.lower, part.upper))

    def loss(self, part: Part, point: Floats) -> float:  # noqa: D102
        if self.branches[part.kind].numerator is None:
            return float(part.upper[0])
        return float(self.coordinates(part, point)[0])

    def fragile(self, part: Part, point: Floats) -> bool:  # noqa: D102
        z = self.maps.matrices[part.cell] @ point + self.maps.offsets[part.cell]
        top = np.sort(z)[-3:]
        return bool(top[2] - top[0] <= FRAGILE * max(1.0, float(np.abs(z).max())))

    def planed(self, part: Part, at: Floats) -> Part:  # noqa: D102
        (q0, d0), (q1, d1) = part.lower, part.upper
        q, d = np.clip(at, part.lower, part.upper)
        offers = [(q1, 0.0, 0.0, q1)]  # value at the place, weights of N and D, constant
        if d0 > NEAR_TIE and (d1 < np.inf or q1 == np.inf):
            offers.append((q0 + (q - q0) * d / d0, 1.0 / d0, -q0 / d0, q0))
        if NEAR_TIE < d1 < np.inf and q1 < np.inf:
            offers.append((q1 + (q - q1) * d / d1, 1.0 / d1, -q1 / d1, q1))
        _, of_numerator, of_denominator, constant = min(offers)
        branch = self.branches[part.kind]
        if branch.numerator is None:
            return replace(part, offset=constant)
        J, c = self.maps.matrices[part.cell], self.maps.offsets[part.cell]
        (i, j), (k, m) = branch.numerator, branch.denominator
        gradient = of_numerator * (J[i] - J[j]) + of_denominator * (J[k] - J[m])
        offset = of_numerator * (c[i] - c[j]) + of_denominator * (c[k] - c[m]) + constant
        return replace(part, gradient=gradient, offset=float(offset))

    def split(self, part: Part, at: Floats) -> list[Part]:  # noqa: D102
        place = self._place(part, at)
        return [] if place is None else self._halves(part, *place, at)

    def _halves(self, part: Part, axis: int, value: float, at: Floats) -> list[Part]:
        """Split where the ratio (axis 0) or the denominator (axis 1) has a value."""
        D, N = (self._affine(part, pair) for pair in self._pairs(part))
        a, b = D.matrix, D.offset - value
        if axis == 0:
            scale = np.abs(N.matrix) + abs(value) * np.abs(D.matrix)
            a, b = N.matrix - value * D.matrix, N.offset - value * D.offset
            a = np.where(np.abs(a) <= CANCELLED * scale, 0.0, a)
        children = []
        for sign in (1.0, -1.0):
            row = AffineMap(sign * a[None, :], np.array([-sign * b]))
            box = part.lower.copy(), part.upper.copy()
            box[1 if sign > 0 else 0][axis] = value
            rows = added(self.complex[part.cell], part.rows, row)
            child = replace(part, rows=rows, lower=box[0], upper=box[1], improved=0)
            if box[1][0] == np.inf and part.lower[1] <= NEAR_TIE < value:
                child = self._capped(child)
            children.append(self.planed(child, at))
        return children

    def _capped(self, part: Part) -> Part:
        """Bound the ratio on a part whose denominator is bounded away from 0 at last."""
        D, N = (self._affine(part, pair) for pair in self._pairs(part))
        domain = Domain(
            self.complex, stacked(self.complex[part.cell].half_spaces, part.rows),
            self.complex[part.cell].interior, bounded=self.compact,
        )  # fmt: skip
        least = float(part.lower[1])
        if least > NEAR_TIE:
            part.upper[0] = self._highest(domain, N, D, least)
        return part

    def _place(self, part: Part, at: Floats) -> tuple[int, float] | None:
        """Return the axis to split and where."""
        (q0, d0), (q1, d1) = part.lower, part.upper
        if self.branches[part.kind].numerator is None or at[1] <= NEAR_TIE:
            return None
        if q1 == np.inf and d0 <= NEAR_TIE:  # the denominator is not bounded away from 0
            return 1, float(at[1]) / 2.0
        far = q1 if q1 < np.inf else q0 + max(1.0, q0)
        with np.errstate(divide="ignore"):
            widths = np.array([far - q0, np.log(d1) - np.log(d0)])
        if widths[0] <= NARROW * max(1.0, abs(q0)) or widths[1] <= NARROW:
            return None
        middles = np.array(
            [(q0 + far) / 2.0 if q1 < np.inf else far, np.sqrt(d0 * d1) if d0 > 0 else d1 / 2.0]
        )
        if d1 == np.inf:
            middles[1] = 2.0 * max(1.0, float(at[1]))
        inside = (at > part.lower) & (at < part.upper)
        for places in (at, middles):
            for axis in np.argsort(-widths).tolist():
                if inside[axis] or places is middles:
                    return axis, float(places[axis])
        return None

    def _terms(self, part: Part, point: Floats) -> tuple[float, float]:
        branch = self.branches[part.kind]
        if branch.numerator is None:
            return float(part.upper[0]), 1.0
        z = self.maps.matrices[part.cell] @ point + self.maps.offsets[part.cell]
        (i, j), (k, m) = branch.numerator, branch.denominator
        return float(z[i] - z[j]), float(z[k] - z[m])

    def _part(self, cell: int, kind: int, differences: Floats) -> list[Part]:
        branch = self.branches[kind]
        if any(differences[k, j] < 0 for j, k in branch.pairs):
            return []
        J, c = self.maps.matrices[cell], self.maps.offsets[cell]
        open_ = [(j, k) for j, k in branch.pairs if differences[j, k] > 0]
        matrix = np.array([J[j] - J[k] for j, k in open_]).reshape(-1, J.shape[1])
        bound = np.array([c[k] - c[j] for j, k in open_])
        rows = added(self.complex[cell], no_rows(J.shape[1]), AffineMap(matrix, bound))
        part = Part(cell, kind, rows, np.zeros(J.shape[1]), 0.0, np.ones(2), np.ones(2))
        lower, upper = np.array([branch.lowest, 0.0]), np.array([branch.highest, np.inf])
        if branch.numerator is not None:
            k, m = branch.denominator
            lower[1], upper[1] = max(0.0, -differences[m, k]), max(0.0, differences[k, m])
            if branch.highest == np.inf:
                return self._below(Part(cell, kind, rows, part.gradient, 0.0, lower, upper))
        return [self._started(replace(part, lower=lower, upper=upper))]

    def _started(self, part: Part) -> Part:
        return self.planed(part, self.coordinates(part, self.complex[part.cell].interior))

    def _below(self, part: Part) -> list[Part]:
        """Return a part with the label below the third place, in two where the ratio may grow.

        Along rays on which the denominator stays the ratio grows by ``N'u / D``, most where the
        denominator is least. Where it is large, the majorant must not grow faster than that.
        """
        D, N = (self._affine(part, pair) for pair in self._pairs(part))
        domain = Domain(
            self.complex, stacked(self.complex[part.cell].half_spaces, part.rows),
            self.complex[part.cell].interior, bounded=self.compact,
        )  # fmt: skip
        least, base = domain.least(D)
        part.lower[1] = max(part.lower[1], least)
        part = replace(part, base=base)
        if part.lower[1] <= NEAR_TIE:
            return [self._started(part)]
        steepest = 0.0
        if not self.compact:
            matrix = [domain.rows.matrix, self.complex.support.rows.matrix, D.matrix[None, :]]
            steepest = steepest_recession(N.matrix, np.concatenate(matrix), LInf()).lower
        if steepest <= CANCELLED * float(np.abs(N.matrix).sum()):
            part.upper[0] = self._highest(domain, N, D, part.lower[1])
            return [self._started(part)]
        growth = len(D.matrix) * float(np.abs(N.matrix - D.matrix).sum()) / steepest
        at = np.array([1.0, part.lower[1] * max(2.0, growth)])
        return self._halves(part, 1, float(at[1]), at)

    def _highest(self, domain: Domain, N: AffineMap, D: AffineMap, least: float) -> float:
        """Bound a ratio whose denominator is at least ``least``: ``N <= y D + rest``."""
        for y in 2.0 ** np.arange(60.0):
            rest = domain.largest(AffineMap(N.matrix - y * D.matrix, N.offset - y * D.offset))
            if rest < np.inf:
                return float(y + max(0.0, rest) / least)
        return np.inf

    def growing(self) -> list[Part]:
        """Return parts whose gradients along rays are the fastest growth of the loss."""
        found = []
        for part in self.parts():
            if part.base is not None and part.upper[0] == np.inf and part.lower[1] > NEAR_TIE:
                D, N = (self._affine(part, pair) for pair in self._pairs(part))
                row = AffineMap(D.matrix[None, :], np.array([part.lower[1] - float(D.offset)]))
                rows = added(self.complex[part.cell], part.rows, row)
                gradient = N.matrix / part.lower[1]
                found.append(replace(part, rows=rows, gradient=gradient, offset=0.0))
        return found

    def _pairs(self, part: Part) -> tuple[tuple[int, int], tuple[int, int]]:
        branch = self.branches[part.kind]
        assert branch.numerator is not None
        return branch.denominator, branch.numerator

    def _affine(self, part: Part, pair: tuple[int, int]) -> AffineMap:
        """Return a difference of logits on the cell of a part."""
        J, c = self.maps.matrices[part.cell], self.maps.offsets[part.cell]
        return AffineMap(J[pair[0]] - J[pair[1]], c[pair[0]] - c[pair[1]])

    def _ties(self, parts: list[Part]) -> list[Part]:
        """Return the parts, mostly thin, where the loss is infinite."""
        found, seen = [], set()
        exact = ExactNetwork(self.complex.network)
        for part in parts:
            top = frozenset(self.branches[part.kind].tops)
            if part.upper[0] < np.inf or (part.cell, top) in seen:
                continue
            seen.add((part.cell, top))
            branch = tie(self.complex.network.classes, sorted(top))
            point = self._exact_point(exact, part.cell, branch)
            if point is not None:
                self.infinite = point.astype(np.float64)
                self.branches.append(branch)
                differences = np.full((len(branch.pairs),) * 2, np.inf)
                found += self._part(part.cell, len(self.branches) - 1, differences)
        return found

    def _exact_point(self, exact: ExactNetwork, cell: int, branch: Branch) -> Rationals | None:
        """Return a point of a cell with this order of the logits, over the rationals."""
        pattern, cuts = self.complex[cell].pattern, self.complex[cell].cuts
        widths = self.complex.network.widths
        starts = np.concatenate([[0], np.cumsum(widths)]).astype(int)
        matrix, bound = [], []
        for k in np.flatnonzero(cuts).tolist():
            layer = int(np.searchsorted(starts, k, side="right")) - 1
            J, c = exact.layer(layer, pattern)
            sign = -1 if pattern[k] else 1
            matrix.append(sign * J[k - int(starts[layer])])
            bound.append(-sign * c[k - int(starts[layer])])
        J, c = exact.layer(len(widths), pattern)
        matrix += [J[j] - J[k] for j, k in branch.pairs]
        bound += [c[k] - c[j] for j, k in branch.pairs]
        A, e = (rationals(v) for v in self.complex.support.rows)
        rows = np.array(matrix, dtype=object).reshape(-1, self.complex.network.features)
        offsets = np.concatenate([np.array(bound, dtype=object), e])
        zero = rationals(np.zeros(self.complex.network.features))
        optimum = exact_maximum(zero, np.concatenate([rows, A]), offsets)
        return None if optimum is None else optimum.point
