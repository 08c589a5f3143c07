r"""Difference-of-logits ratio on cells: affine majorants on slabs of the ratio.

Once the order of the logits is fixed, the loss is a ratio :math:`q = N/D` of affine functions with
:math:`D = z_{(1)} - z_{(3)} \ge 0`. On the part where :math:`q_0 D\le N\le q_1 D` and
:math:`d_0\le D\le d_1`,

.. math:: q \;\le\; \min\Big\{q_1,\quad q_0 + \frac{N - q_0 D}{d_0},\quad
          q_1 + \frac{N - q_1 D}{d_1}\Big\}.

Where the label is third or lower the truncated loss is 1. With four classes or more the loss itself
is infinite where three other logits tie at the top, and only there.
"""

import itertools
from dataclasses import replace
from typing import NamedTuple, final

import numpy as np

from wdaverify.arrays import Floats
from wdaverify.cells.complex import CellComplex
from wdaverify.cells.recession import is_bounded
from wdaverify.convex.exact import exact_maximum
from wdaverify.errors import UnsupportedError
from wdaverify.exact.majorants import (
    Domain,
    Majorants,
    Part,
    added,
    largest_differences,
    logit_maps,
    no_rows,
    stacked,
)
from wdaverify.network import AffineMap
from wdaverify.rational import ExactNetwork, Rationals, rationals

__all__ = ["RatioMajorants"]

NARROW = 1e-14
"""A box narrower than this (relative) is not split."""

NEAR_TIE = 1e-7
"""A denominator below this is not divided by."""


FRAGILE = 1e-9
"""Closer to a tie of three logits than this (relative), float64 evaluations are accidents."""


class _Branch(NamedTuple):
    """An order of the logits: ``z_j <= z_k`` for each pair, and the ratio it leads to.

    ``numerator (i, j)`` means ``z_i − z_j``; ``None`` where the loss is constant.
    """

    pairs: tuple[tuple[int, int], ...]
    lowest: float
    highest: float
    numerator: tuple[int, int] | None = None
    denominator: tuple[int, int] = (0, 0)
    tops: tuple[int, ...] = ()


@final
class RatioMajorants(Majorants):
    """Majorants of the difference-of-logits ratio of one label.

    ``kind`` of a part is its order of the logits, the box holds the ratio and the denominator.

    Raises
    ------
    UnsupportedError
        The loss may grow without bound along a ray.
    """

    def __init__(self, complex_: CellComplex, label: int, *, truncated: bool) -> None:
        self.complex, self.label = complex_, label
        self.maps = logit_maps(complex_)
        K = complex_.network.classes
        self.bounded = truncated or K == 3
        if not self.bounded and not is_bounded(complex_.frame.matrix):
            raise UnsupportedError(
                f"dlr with {K} classes may grow without bound on an unbounded support: "
                f"expected a bounded support, 3 classes or truncated-dlr"
            )
        self.branches = _branches(K, label, bounded=self.bounded)

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
        return np.clip([ratio, D], part.lower, part.upper)

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
        if NEAR_TIE < d0 and d1 < np.inf:
            offers.append((q0 + (q - q0) * d / d0, 1.0 / d0, -q0 / d0, q0))
        if NEAR_TIE < d1 < np.inf and q1 < np.inf:
            offers.append((q1 + (q - q1) * d / d1, 1.0 / d1, -q1 / d1, q1))
        _, of_numerator, of_denominator, constant = min(offers)
        branch = self.branches[part.kind]
        if branch.numerator is None:
            return replace(part, offset=constant)
        J, c = self.maps.matrices[part.cell], self.maps.offsets[part.cell]
        (i, j), (k, l) = branch.numerator, branch.denominator
        gradient = of_numerator * (J[i] - J[j]) + of_denominator * (J[k] - J[l])
        offset = of_numerator * (c[i] - c[j]) + of_denominator * (c[k] - c[l]) + constant
        return replace(part, gradient=gradient, offset=float(offset))

    def split(self, part: Part, at: Floats) -> list[Part]:  # noqa: D102
        place = self._place(part, at)
        if place is None:
            return []
        axis, value = place
        J, c = self.maps.matrices[part.cell], self.maps.offsets[part.cell]
        branch = self.branches[part.kind]
        assert branch.numerator is not None
        (i, j), (k, l) = branch.numerator, branch.denominator
        a, b = J[k] - J[l], c[k] - c[l]  # D - value
        b = b - value
        if axis == 0:  # N − value D
            scale = np.abs(J[i] - J[j]) + abs(value) * np.abs(J[k] - J[l])
            a, b = J[i] - J[j] - value * (J[k] - J[l]), c[i] - c[j] - value * (c[k] - c[l])
            a = np.where(np.abs(a) <= 1e-14 * scale, 0.0, a)
        children = []
        for sign in (1.0, -1.0):
            row = AffineMap(sign * a[None, :], np.array([-sign * b]))
            box = part.lower.copy(), part.upper.copy()
            box[1 if sign > 0 else 0][axis] = value
            rows = added(self.complex[part.cell], part.rows, row)
            child = replace(part, rows=rows, lower=box[0], upper=box[1], improved=0)
            if box[1][0] == np.inf and box[0][1] > 0:
                largest = largest_differences(self.complex)[part.cell]
                box[1][0] = self._highest(branch, largest, float(box[0][1]))
            children.append(self.planed(child, at))
        return children

    def _place(self, part: Part, at: Floats) -> tuple[int, float] | None:
        """Return the axis to split and where."""
        (q0, d0), (q1, d1) = part.lower, part.upper
        if self.branches[part.kind].numerator is None or at[1] <= NEAR_TIE:
            return None
        if q1 == np.inf:  # the denominator is not bounded away from 0
            return 1, float(at[1]) / 2.0
        with np.errstate(divide="ignore"):
            widths = np.array([q1 - q0, np.log(d1) - np.log(d0)])
        if widths[0] <= NARROW * max(1.0, abs(q0)) or widths[1] <= NARROW:
            return None
        middles = np.array([(q0 + q1) / 2.0, np.sqrt(d0 * d1) if d0 > 0 else d1 / 2.0])
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
        (i, j), (k, l) = branch.numerator, branch.denominator
        return float(z[i] - z[j]), float(z[k] - z[l])

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
            k, l = branch.denominator
            lower[1], upper[1] = max(0.0, -differences[l, k]), max(0.0, differences[k, l])
            if branch.highest == np.inf:
                lower[1] = max(lower[1], self._least(cell, rows, branch))
                upper[0] = self._highest(branch, differences, float(lower[1]))
        part = replace(part, lower=lower, upper=upper)
        return [self.planed(part, self.coordinates(part, self.complex[cell].interior))]

    def _least(self, cell: int, rows: AffineMap, branch: _Branch) -> float:
        """Bound the denominator on a part from below."""
        J, c = self.maps.matrices[cell], self.maps.offsets[cell]
        k, l = branch.denominator
        whole = stacked(self.complex[cell].half_spaces, rows)
        domain = Domain(self.complex, whole, self.complex[cell].interior, bounded=True)
        return -domain.largest(AffineMap(J[l] - J[k], c[l] - c[k]))

    def _highest(self, branch: _Branch, differences: Floats, least: float) -> float:
        """Bound a ratio whose denominator is at least ``least``."""
        assert branch.numerator is not None
        return max(1.0, differences[branch.numerator] / least) if least > NEAR_TIE else np.inf

    def _ties(self, parts: list[Part]) -> list[Part]:
        """Return the parts, mostly thin, where the loss is infinite."""
        found, seen = [], set()
        exact = ExactNetwork(self.complex.network)
        for part in parts:
            top = frozenset(self.branches[part.kind].tops)
            if part.upper[0] < np.inf or (part.cell, top) in seen:
                continue
            seen.add((part.cell, top))
            branch = _tie(self.complex.network.classes, sorted(top))
            point = self._exact_point(exact, part.cell, branch)
            if point is not None:
                self.infinite = point.astype(np.float64)
                self.branches.append(branch)
                differences = np.full((len(branch.pairs),) * 2, np.inf)
                found += self._part(part.cell, len(self.branches) - 1, differences)
        return found

    def _exact_point(self, exact: ExactNetwork, cell: int, branch: _Branch) -> Rationals | None:
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


def _branches(classes: int, label: int, *, bounded: bool) -> list[_Branch]:
    """Return the orders of the logits that matter, which together cover every case."""
    others = [j for j in range(classes) if j != label]
    found = []
    for first, third in itertools.permutations(others, 2):
        rest = [j for j in others if j not in (first, third)]
        below = [(j, third) for j in rest]
        order = ((first, label), (third, first), *below)  # the label on top, then ``first``
        found.append(_Branch(order, -1.0, 0.0, (first, label), (label, third)))
        order = ((label, first), (third, label), *below)  # ``first`` on top, then the label
        found.append(_Branch(order, 0.0, 1.0, (first, label), (first, third)))
    for pair in itertools.combinations(others, 2):
        rest = [] if bounded else [j for j in others if j not in pair]
        order = (*((label, j) for j in pair), *((j, label) for j in rest))
        found.append(_Branch(order, 1.0, 1.0))
    if not bounded:
        for top in itertools.permutations(others, 3):
            rest = [j for j in range(classes) if j not in top]
            order = ((top[1], top[0]), (top[2], top[1]), *((j, top[2]) for j in rest))
            found.append(_Branch(order, 1.0, np.inf, (top[0], label), (top[0], top[2]), top))
    return found


def _tie(classes: int, top: list[int]) -> _Branch:
    """Return the case of three equal logits on top."""
    a, b, c = top
    rest = [(j, a) for j in range(classes) if j not in top]
    return _Branch(((a, b), (b, c), (c, a), *rest), np.inf, np.inf)
