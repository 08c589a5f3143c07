"""The whole dual over listed cells, in cvxpy.

    min lambda radius^p + sum_i mu_i s_i   over lambda >= 0, s, eta >= 0   s.t. for every cell
    {G x <= h} (support included), piece (a, b) and sample i of its label, with g = a - G' eta:
        g . x_i + h . eta + b + c_p(|g|_*, lambda) <= s_i        (+ lambda label_cost)

``c_1(s, lambda) = 0`` where ``s <= lambda``, else infinite; for p > 1, ``q = p / (p - 1)``,
``c_p(s, lambda) = (p - 1) lambda (s / (p lambda))^q``, a second-order cone for p = 2, else a power
cone: ``(c / k)^(1/q) lambda^(1/p) >= s`` with ``k = (p - 1) / p^q``.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cvxpy as cp
import numpy as np
from numpy.typing import NDArray

from reference.cells import ReferenceCell
from reference.question import DUAL_ORDER, NORM_ORDER, Array, Question

Piece = tuple[Array, float]
Expression = cp.Expression


@dataclass(frozen=True, slots=True)
class ListedCell:
    """``{x : G x <= h}`` with the affine pieces ``a . x + b`` of the loss of each label."""

    G: Array
    h: Array
    pieces: Mapping[int, Sequence[Piece]]


def listed_cells(question: Question, cells: Sequence[ReferenceCell]) -> list[ListedCell]:
    """Pieces of margin or hinge (one flat piece, differences raised by 1) on reference cells."""
    moves = math.isfinite(question.label_cost)
    labels = range(question.classes) if moves else [int(y) for y in np.unique(question.labels)]
    return [
        ListedCell(cell.G, cell.h, {y: _pieces(question, cell, y) for y in labels})
        for cell in cells
    ]


def _pieces(question: Question, cell: ReferenceCell, label: int) -> list[Piece]:
    if question.loss not in ("margin", "hinge"):
        raise NotImplementedError(f"{question.loss} is not max-affine: see simplices")
    shift = float(question.loss == "hinge")
    flat: list[Piece] = [(np.zeros(question.dimension), 0.0)] if shift else []
    others = [j for j in range(question.classes) if j != label]
    return flat + [
        (cell.J[j] - cell.J[label], float(cell.c[j] - cell.c[label]) + shift) for j in others
    ]


def dual_value(
    cells: Sequence[ListedCell],
    points: Array,
    labels: NDArray[np.int64],
    probabilities: Array,
    norm: str,
    radius: float,
    *,
    order: float = 1.0,
    label_cost: float = math.inf,
) -> float:
    """Optimal value of the dual of a finite order.  HiGHS for linear programs, else Clarabel.

    With a finite `label_cost` the pieces of every listed label bind every sample, lowered by
    ``lambda label_cost`` where the label is not the sample's own.
    """
    if math.isinf(order):
        raise NotImplementedError("finite orders only")
    multiplier = cp.Variable(nonneg=True)
    s = cp.Variable(len(points))
    rows: list[cp.Constraint] = []
    for cell in cells:
        for label, pieces in cell.pieces.items():
            price = np.where(labels == label, 0.0, label_cost)
            here = np.flatnonzero(np.isfinite(price))
            for piece in pieces if len(here) else []:
                g, value, signs = _weak_duality(cell, piece, points[here])
                c, r, cone = _conjugate_cost(multiplier, len(here), order)
                top = s[here] + multiplier * price[here]
                rows += [*signs, value + c <= top, *_dual_norm_rows(g, r, norm), *cone]
    objective = cp.Minimize(multiplier * radius**order + probabilities @ s)
    return _solved(cp.Problem(objective, rows), linear=order == 1 and norm != "l2")


def _weak_duality(
    cell: ListedCell, piece: Piece, points: Array
) -> tuple[Expression, Expression, list[cp.Constraint]]:
    """``g`` (n, N), ``g . x_i + h . eta + b`` (N,) and ``eta >= 0``; one column per sample."""
    a, b = piece
    g = cp.Constant(np.tile(a[:, None], len(points)))
    value = cp.Constant(np.full(len(points), b))
    signs: list[cp.Constraint] = []
    if len(cell.h):
        eta = cp.Variable((len(cell.h), len(points)))
        g, value, signs = g - cell.G.T @ eta, value + cell.h @ eta, [eta >= 0]
    return g, value + cp.sum(cp.multiply(g, points.T), axis=0), signs


def _conjugate_cost(
    multiplier: cp.Variable, count: int, order: float
) -> tuple[Expression, Expression, list[cp.Constraint]]:
    """``c``, ``r`` (count,) and rows that say ``c_p(r, lambda) <= c``."""
    multipliers = multiplier * np.ones(count)
    if order == 1:
        return cp.Constant(np.zeros(count)), multipliers, []
    c, r = cp.Variable(count), cp.Variable(count)
    if order != 2:
        scale = order ** (order / (order - 1.0)) / (order - 1.0)
        share = np.full(count, 1.0 - 1.0 / order)
        return c, r, [cp.constraints.PowCone3D(scale * c, multipliers, r, share), r >= 0]
    cone = cp.SOC(multipliers + c, cp.vstack([r, multipliers - c]), axis=0)  # r^2 <= 4 lambda c
    return c, r, [cone]


def _dual_norm_rows(g: Expression, top: Expression, norm: str) -> list[cp.Constraint]:
    """``|g|_* <= top`` column by column (written out for l1, where cvxpy's norm warns)."""
    if norm == "l1":
        tops = np.ones((g.shape[0], 1)) @ cp.reshape(top, (1, g.shape[1]), order="C")
        return [g <= tops, -g <= tops]
    return [cp.norm(g, DUAL_ORDER[norm], axis=0) <= top]


def flip_distances(
    question: Question, cells: Sequence[ReferenceCell], *, norm: str | None = None
) -> Array:
    """``d_i = min { |x - x_i| : x in a cell, z_j(x) >= z_y(x) }`` over all cells and j, (N,)."""
    norm = norm or question.norm
    best = np.full(len(question.points), np.inf)
    for label in np.unique(question.labels):
        here = np.flatnonzero(question.labels == label)
        for cell in cells:
            for j in range(question.classes):
                if j != label:
                    a, b = cell.J[j] - cell.J[label], float(cell.c[j] - cell.c[label])
                    found = _nearest(cell, a, b, question.points[here], norm)
                    best[here] = np.minimum(best[here], found)
    return best


def _nearest(cell: ReferenceCell, a: Array, b: float, points: Array, norm: str) -> Array:
    """Distances of all points to ``{G x <= h, a . x + b >= 0}`` in one separable program."""
    X = cp.Variable(points.shape)
    lengths = cp.norm(X - points, NORM_ORDER[norm], axis=1)
    rows = [X @ a + b >= 0]
    if len(cell.h):
        rows.append(np.tile(cell.h, (len(points), 1)) >= X @ cell.G.T)
    problem = cp.Problem(cp.Minimize(cp.sum(lengths)), rows)
    problem.solve(solver=cp.CLARABEL if norm == "l2" else cp.HIGHS)
    if problem.status == cp.INFEASIBLE:
        return np.full(len(points), np.inf)
    if problem.status != cp.OPTIMAL:
        raise RuntimeError(f"cvxpy ended with {problem.status}")
    return np.asarray(lengths.value)


def _solved(problem: cp.Problem, *, linear: bool) -> float:
    problem.solve(solver=cp.HIGHS if linear else cp.CLARABEL)
    if problem.status != cp.OPTIMAL:
        raise RuntimeError(f"cvxpy ended with {problem.status}")
    return float(problem.value)
