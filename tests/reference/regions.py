"""Where a loss has one formula: pieces of reference cells in one or two dimensions, with corners.

On a cell the logits are affine, ``z = J x + c``, and for each label

- margin, hinge and cross-entropy are convex functions of ``z``: the whole cell is one region;
- zero-one is 0 on the cell and 1 on ``{z_j >= z_y}`` for each ``j``;
- dlr is ``N / D`` with affine ``N`` and ``D`` once the order of the logits is fixed:
  ``D = z_(1) - z_(3)``, and ``N = z_(2) - z_(1)``, ``z_(1) - z_(2)``, ``D`` or ``z_(1) - z_y``
  where the label stands first, second, third or lower; truncated, it is 1 from the third place on.

An unbounded support is cut into orthants, so that every region has a corner, and then clipped to
the box ``|x_k| <= frame``.  What lies beyond is bounded by a `Tail`, ``loss <= C + S t``.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations, product

import numpy as np

from reference.cells import ReferenceCell, reference_cells
from reference.polygons import Polygon, frame_polygon, on_frame
from reference.question import RATIOS, Array, Question, distance, loss_of_logits

Affine = tuple[Array, float]

TIE = 1e-10  # denominators below (relative to the logits) count as zero: corners are rounded


@dataclass(frozen=True, slots=True)
class Region:
    """A convex polygon (or interval) on which the loss of one label has one formula.

    The loss is that of the logits ``J x + c`` (`ratio` None) or ``N / D`` with ``ratio = (N, D)``;
    `rows` are ``(G, h)`` of ``G x <= h``, without the frame.
    """

    label: int
    polygon: Polygon
    J: Array
    c: Array
    rows: tuple[Array, Array]
    ratio: tuple[Affine, Affine] | None = None

    @property
    def corners(self) -> Array:
        """Corners of the polygon, (k, n)."""
        return self.polygon.corners


@dataclass(frozen=True, slots=True)
class Tail:
    """``loss(x) <= offset + slope |x - x_i|`` outside the frame (offset -inf: nothing is there)."""

    offset: float
    slope: float


NO_TAIL = Tail(-math.inf, 0.0)


def labels_in_play(question: Question) -> list[int]:
    """Labels of the samples; all labels if mass may change its label."""
    if math.isfinite(question.label_cost):
        return list(range(question.classes))
    return [int(y) for y in np.unique(question.labels[question.probabilities > 0])]


def loss_regions(question: Question, frame: float) -> list[Region]:
    """Regions of all labels in play; those thinner than rounding are dropped."""
    found = []
    for cell in reference_cells(question):
        for rows, polygon in _orthants(question, cell, frame):
            for label in labels_in_play(question):
                found += list(_of_label(question, cell, rows, polygon, label))
    return found


def _orthants(
    question: Question, cell: ReferenceCell, frame: float
) -> Iterator[tuple[tuple[Array, Array], Polygon]]:
    """Rows and corners of a cell, or of its parts in each orthant if the support is unbounded."""
    n = question.dimension
    whole = frame_polygon(n, frame)
    polygon = whole.clipped(cell.G, cell.h)
    if not on_frame(polygon.corners, frame).any():
        yield (cell.G, cell.h), polygon
        return
    for signs in product((1.0, -1.0), repeat=n):
        G, h = np.vstack([cell.G, -np.diag(signs)]), np.append(cell.h, np.zeros(n))
        part = whole.clipped(G, h)
        if part.is_solid:
            yield (G, h), part


def _of_label(
    question: Question,
    cell: ReferenceCell,
    rows: tuple[Array, Array],
    polygon: Polygon,
    label: int,
) -> Iterator[Region]:
    J, c, K = cell.J, cell.c, question.classes
    if question.loss == "zero-one":
        n = question.dimension
        one = (np.zeros(n), 1.0)
        yield Region(label, polygon, J, c, rows, ((np.zeros(n), 0.0), one))
        for j in (j for j in range(K) if j != label):
            yield from _part(Region(label, polygon, J, c, rows, (one, one)), [(label, j)])
    elif question.loss in RATIOS:
        for order in permutations(range(K)):
            steps = [(order[k + 1], order[k]) for k in range(K - 1)]
            ratio = _ratio(question.loss, J, c, order, label)
            yield from _part(Region(label, polygon, J, c, rows, ratio), steps)
    else:
        yield Region(label, polygon, J, c, rows)


def _part(region: Region, steps: Sequence[tuple[int, int]]) -> Iterator[Region]:
    """The part of a region where ``z_i <= z_j`` for all steps ``(i, j)``, if it has an interior."""
    polygon, (G, h) = region.polygon, region.rows
    for i, j in steps:
        g, side = region.J[i] - region.J[j], float(region.c[j] - region.c[i])
        if not g.any():
            if side < 0:
                return
            continue
        polygon = polygon.part(g, side)
        if not polygon.is_solid:
            return
        G, h = np.vstack([G, g]), np.append(h, side)
    yield Region(region.label, polygon, region.J, region.c, (G, h), region.ratio)


def _ratio(
    name: str, J: Array, c: Array, order: Sequence[int], label: int
) -> tuple[Affine, Affine]:
    def difference(i: int, j: int) -> Affine:
        return J[i] - J[j], float(c[i] - c[j])

    first, second, third = order[:3]
    place = order.index(label)
    one = (np.zeros(J.shape[1]), 1.0)
    if place == 2 or (place > 2 and name == "truncated-dlr"):
        return one, one
    top = {0: (second, first), 1: (first, second)}.get(place, (first, label))
    return difference(*top), difference(first, third)


# --- what lies beyond the frame ------------------------------------------------------------------


def region_tail(question: Question, region: Region, frame: float, centre: Array) -> Tail:
    """Bound of the loss on the part of a region outside the frame, seen from a sample."""
    outer = on_frame(region.corners, frame)
    if not outer.any():
        return NO_TAIL
    corners = region.corners[~outer]
    G = region.rows[0]
    rays = [ray for ray in _directions(G, question.dimension) if _recedes(G, ray)]
    away = distance(question.norm, corners, centre)
    if region.ratio is not None:
        return _ratio_tail(question, region.ratio, corners, rays, away)
    # convex: along a ray it rises at most as fast as far out, and between corners it is below them
    slopes = region.J - region.J[region.label]
    slope = max(_steepest(question, G, rays, a) for a in slopes)
    offset = float((region_loss(question, region, corners) + slope * away).max())
    return Tail(offset, slope)


def _ratio_tail(
    question: Question,
    ratio: tuple[Affine, Affine],
    corners: Array,
    rays: Sequence[Array],
    away: Array,
) -> Tail:
    """A ratio of sums is at most the largest ratio; along a ray of constant ``D`` it grows.

    A corner with ``N = D = 0`` adds nothing to either sum.
    """
    (gN, bN), (gD, bD) = ratio
    N, D = corners @ gN + bN, corners @ gD + bD
    if np.any((D <= TIE) & (math.sqrt(TIE) < N)):
        return Tail(math.inf, 0.0)
    N, D = N[D > TIE], D[D > TIE]
    offset, slope = float((N / D).max(initial=-math.inf)), 0.0
    for ray in rays:
        rise, spread = float(gN @ ray), float(gD @ ray)
        if spread > 1e-9:
            offset = max(offset, rise / spread)
        elif rise > 1e-12:
            slope = max(slope, rise / float(distance(question.norm, ray, 0.0)) / float(D.min()))
    return Tail(offset + slope * float(away.max()), slope)


def _directions(G: Array, n: int) -> list[Array]:
    if n == 1:
        return [np.ones(1), -np.ones(1)]
    turned = [np.array([-row[1], row[0]]) / np.linalg.norm(row) for row in G]
    return [sign * ray for ray in turned for sign in (1.0, -1.0)]


def _recedes(G: Array, ray: Array) -> bool:
    return bool(np.all(G @ ray <= 1e-12 * np.linalg.norm(G, axis=1)))


def _steepest(question: Question, G: Array, rays: Sequence[Array], a: Array) -> float:
    """``max { a . u : G u <= 0, |u| <= 1 }``: an edge of the cone, or the ball's own maximiser."""
    n, norm = question.dimension, question.norm
    ball = [np.array(u) for u in product((1.0, -1.0), repeat=n)]
    if norm == "l1":
        ball = [sign * row for row in np.eye(n) for sign in (1.0, -1.0)]
    if norm == "l2":
        ball = [a]
    inside = [u for u in ball if _recedes(G, u) and u.any()]
    slopes = [float(a @ u) / float(distance(norm, u, 0.0)) for u in [*rays, *inside]]
    return max([0.0, *slopes])


def region_loss(question: Question, region: Region, points: Array) -> Array:
    """The region's own formula at points, (N,)."""
    if region.ratio is not None:
        (gN, bN), (gD, bD) = region.ratio
        return np.asarray((points @ gN + bN) / (points @ gD + bD))
    labels = np.full(len(points), region.label)
    return loss_of_logits(question.loss, points @ region.J.T + region.c, labels)
