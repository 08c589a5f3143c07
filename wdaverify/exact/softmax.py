r"""Cross-entropy on cells: affine majorants from the vertices of boxes of logit differences.

Where ``k`` is the top logit, with the differences :math:`d_j = z_j - z_k \le 0`,

.. math:: \log\sum_j e^{z_j-z_y} = (z_k - z_y) + f(d),\qquad
          f(d)=\log\Big(1+\sum_{j\ne k}e^{d_j}\Big).

``f`` is convex, so an affine function lies above it on a box as soon as it does at the vertices.
The best one at a point is the concave envelope of the vertex values. ``f`` grows in every ``d_j``,
so on a coordinate that is unbounded below it is replaced by its value at the upper end.
"""

import itertools
from dataclasses import replace
from typing import final

import numpy as np

from wdaverify.arrays import Bools, Floats
from wdaverify.cells.complex import CellComplex
from wdaverify.convex.highs import LinearProgram
from wdaverify.exact.majorants import (
    Majorants,
    Part,
    added,
    largest_differences,
    logit_maps,
    no_rows,
)
from wdaverify.network import AffineMap

__all__ = ["SoftmaxMajorants", "envelope_plane"]

THIN = 1e-12
"""A box thinner than this counts as a point of that coordinate."""

ROUNDING = 1e-15
"""A chord this close to the exponential is not split."""

VERTICES = 7
"""More free coordinates than this: tangent of the sum of chords instead of the envelope."""


@final
class SoftmaxMajorants(Majorants):
    """Majorants of the cross-entropy of one label.

    ``kind`` of a part is its top logit, ``lower`` and ``upper`` bound ``z_j − z_top``, ``(K,)``.
    """

    def __init__(self, complex_: CellComplex, label: int) -> None:
        self.complex, self.label = complex_, label
        self.maps = logit_maps(complex_)

    def parts(self) -> list[Part]:  # noqa: D102
        differences = largest_differences(self.complex)
        found = []
        for cell, largest in enumerate(differences):
            for top in range(len(largest)):
                found += self._part(cell, top, largest)
        return found

    def coordinates(self, part: Part, point: Floats) -> Floats:  # noqa: D102
        J, c = self.maps.matrices[part.cell], self.maps.offsets[part.cell]
        z = J @ point + c
        return np.asarray(np.clip(z - z[part.kind], part.lower, part.upper))

    def loss(self, part: Part, point: Floats) -> float:  # noqa: D102
        J, c = self.maps.matrices[part.cell], self.maps.offsets[part.cell]
        z = J @ point + c
        top = z.max()
        return float(top - z[self.label] + np.log(np.exp(z - top).sum()))

    def planed(self, part: Part, at: Floats) -> Part:  # noqa: D102
        at = np.clip(at, part.lower, part.upper)
        weights, constant = envelope_plane(part.lower, part.upper, part.kind, at)
        J, c = self.maps.matrices[part.cell], self.maps.offsets[part.cell]
        gradient = J[part.kind] - J[self.label] + weights @ (J - J[part.kind])
        offset = c[part.kind] - c[self.label] + weights @ (c - c[part.kind]) + constant
        return replace(part, gradient=gradient, offset=float(offset))

    def split(self, part: Part, at: Floats) -> list[Part]:  # noqa: D102
        place = at
        excess = _chords(part.lower, part.upper, place) - np.exp(place)
        if excess.max() <= ROUNDING:  # a vertex of the box: several majorants, none tight elsewhere
            place = _middles(part)
            excess = _chords(part.lower, part.upper, place) - np.exp(place)
        j = int(excess.argmax())
        if excess[j] <= ROUNDING:
            return []
        return [self.planed(child, at) for child in self._halves(part, j, float(place[j]))]

    def _part(self, cell: int, top: int, largest: Floats) -> list[Part]:
        upper, lower = np.minimum(largest[:, top], 0.0), -largest[top]
        if np.any(largest[top] < 0):  # another logit is always above
            return []
        J, c = self.maps.matrices[cell], self.maps.offsets[cell]
        crossing = np.flatnonzero(largest[:, top] > 0)
        tops = AffineMap(J[crossing] - J[top], c[top] - c[crossing])
        rows = added(self.complex[cell], no_rows(J.shape[1]), tops)
        part = Part(cell, top, rows, np.zeros(J.shape[1]), 0.0, np.minimum(lower, upper), upper)
        start = np.clip(c - c[top] + (J - J[top]) @ self.complex[cell].interior, part.lower, upper)
        return [self.planed(part, start)]

    def _halves(self, part: Part, j: int, at: float) -> list[Part]:
        J, c = self.maps.matrices[part.cell], self.maps.offsets[part.cell]
        a, b = J[j] - J[part.kind], c[j] - c[part.kind]
        children = []
        for sign, lower, upper in ((1.0, part.lower[j], at), (-1.0, at, part.upper[j])):
            row = AffineMap(sign * a[None, :], np.array([sign * (at - b)]))
            box = part.lower.copy(), part.upper.copy()
            box[0][j], box[1][j] = lower, upper
            rows = added(self.complex[part.cell], part.rows, row)
            child = replace(part, rows=rows, lower=box[0], upper=box[1], improved=0)
            children.append(child)
        return children


def _middles(part: Part) -> Floats:
    lower = np.where(np.isfinite(part.lower), part.lower, part.upper - 2.0)
    return np.asarray((lower + part.upper) / 2.0)


def envelope_plane(lower: Floats, upper: Floats, top: int, d: Floats) -> tuple[Floats, float]:
    """Return an affine majorant of ``log Σ_j exp d_j`` on a box, as low at ``d`` as possible.

    Parameters
    ----------
    lower, upper, d
        ``(K,)``, with entry ``top`` equal to 0; lower ends may be ``−inf``.

    Returns
    -------
    weights, constant
        ``weights · d + constant``, weights ``(K,)``.
    """
    free = np.isfinite(lower) & (upper - lower > THIN)
    free[top] = False
    base = float(np.log(np.exp(upper[~free]).sum()))
    weights = np.zeros(len(lower))
    index = np.flatnonzero(free)
    if len(index) == 0:
        return weights, base
    if len(index) > VERTICES:
        return _tangent(lower, upper, d, free)
    box = np.stack([lower[index], upper[index]])
    corners = np.array(list(itertools.product(*box.T)))
    values = np.logaddexp(base, _log_sum(corners))
    slopes = _slopes(box, values, d[index])
    weights[index] = slopes
    return weights, float((values - corners @ slopes).max())


def _slopes(box: Floats, values: Floats, d: Floats) -> Floats:
    """Slopes at ``d`` of the concave envelope of vertex values, in the order of ``product``."""
    size = box[1] - box[0]
    if len(d) == 1:
        return np.asarray((values[1:] - values[:1]) / size)
    if len(d) == 2:  # the exchanged corners are never below the others: f is submodular
        low, right, left, high = values[0], values[2], values[1], values[3]
        if ((d - box[0]) / size).sum() <= 1.0:
            return np.asarray(np.array([right - low, left - low]) / size)
        return np.asarray(np.array([high - left, high - right]) / size)
    corners = np.array(list(itertools.product((0.0, 1.0), repeat=len(d))))
    program = LinearProgram(np.zeros(len(values)), np.full(len(values), np.inf))
    equal = np.concatenate([np.ones((1, len(values))), corners.T])
    target = np.append(1.0, (d - box[0]) / size)
    program.add_rows(equal, target, target)
    return np.asarray(program.maximize(values).multipliers[1:] / size)


def _tangent(lower: Floats, upper: Floats, d: Floats, free: Bools) -> tuple[Floats, float]:
    """Tangent at ``d`` of the logarithm of the sum of chords (constants where not free)."""
    chords = np.where(free, _chord_slopes(lower, upper), 0.0)
    ends = np.where(free, np.exp(upper) - chords * np.where(free, upper, 0.0), np.exp(upper))
    total = float((chords * np.where(free, d, 0.0) + ends).sum())
    return chords / total, float(np.log(total)) + float(ends.sum()) / total - 1.0


def _chord_slopes(lower: Floats, upper: Floats) -> Floats:
    size = np.maximum(upper - lower, THIN)
    return -np.exp(upper) * np.expm1(-size) / size


def _chords(lower: Floats, upper: Floats, d: Floats) -> Floats:
    """Return the chords of ``exp`` over ``[lower, upper]`` at ``d``, entry by entry."""
    with np.errstate(invalid="ignore"):
        chord = np.exp(upper) + _chord_slopes(lower, upper) * (d - upper)
    return np.where(np.isfinite(lower), chord, np.exp(upper))


def _log_sum(exponents: Floats) -> Floats:
    top = exponents.max(axis=1)
    return np.asarray(top + np.log(np.exp(exponents - top[:, None]).sum(axis=1)))
