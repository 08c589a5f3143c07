"""Activation cells that meet the support in full dimension, in exact rational arithmetic.

A cell is split neuron by neuron, layer by layer.  On a cell with interior a neuron is affine,
``z = w . x + c``; its open side ``{z > 0}`` meets the interior exactly if ``sup_cell z > 0``.  That
one sign is decided without rounding: every float64 is a rational, affine maps are composed in
`fractions.Fraction`, each cell carries a rational interior point ``p``, and the supremum is
found by a simplex method with Bland's rule on ``max w . d, G d <= h - G p``, whose origin is
feasible because ``p`` is interior.  No tolerance and no floating-point solver is involved, so
networks without biases, with repeated or dead neurons, quantised weights or hyperplanes on the
walls of the box are treated like any other.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from scipy.optimize import linprog

from reference.question import Array, Question, support_rows

Row = list[Fraction]


@dataclass(frozen=True, slots=True)
class ReferenceCell:
    """``{x : G x <= h}`` (support rows first), logits ``J x + c``, an interior point."""

    pattern: tuple[int, ...]
    G: Array
    h: Array
    J: Array
    c: Array
    interior: Array


@dataclass(frozen=True, slots=True)
class _Partial:
    """A cell of the neurons decided so far; `maps` are ``(w, c)`` of the current layer's inputs."""

    pattern: tuple[int, ...]
    rows: list[tuple[Row, Fraction]]
    point: Row
    maps: list[tuple[Row, Fraction]]


def reference_patterns(
    weights: Sequence[Array],
    biases: Sequence[Array],
    lower: Any,
    upper: Any,
    A: Any = None,
    b: Any = None,
    *,
    slopes: Any = None,
) -> set[tuple[int, ...]]:
    """Patterns (0/1 per hidden neuron) whose cell meets the support in full dimension.

    A neuron that is identically zero on a cell counts as off.  The support
    ``{lower <= x <= upper, A x <= b}`` may be unbounded; it must have an interior.
    """
    n = np.asarray(weights[0]).shape[1]
    question = Question(
        weights=weights,
        biases=biases,
        points=np.zeros((1, n)),
        labels=np.zeros(1, dtype=int),
        lower=lower,
        upper=upper,
        A=A,
        b=b,
        slopes=slopes,
    )
    return {cell.pattern for cell in reference_cells(question)}


def reference_cells(question: Question) -> list[ReferenceCell]:
    """List every full-dimensional cell, rounded to float64 at the very end."""
    cells = [_support_cell(question)]
    for k, slope in enumerate(question.slopes):
        W, bias = _exact(question.weights[k]), _exact(question.biases[k])
        cells = [child for cell in cells for child in _split_layer(cell, W, bias, _exact(slope))]
    W, bias = _exact(question.weights[-1]), _exact(question.biases[-1])
    return [_rounded(cell, W, bias) for cell in cells]


def _exact(values: Array) -> Any:
    if values.ndim == 2:
        return [_exact(row) for row in values]
    return [Fraction(float(value)) for value in values]


def _dot(left: Row, right: Row) -> Fraction:
    return sum((a * b for a, b in zip(left, right, strict=True)), Fraction(0))


def _affine(weights: Row, bias: Fraction, maps: list[tuple[Row, Fraction]]) -> tuple[Row, Fraction]:
    """Compose ``weights . h + bias`` with ``h_k = maps_k(x)``."""
    columns = zip(*(row for row, _ in maps), strict=True)
    slope = [_dot(weights, list(column)) for column in columns]
    return slope, bias + _dot(weights, [offset for _, offset in maps])


def _split_layer(cell: _Partial, W: list[Row], bias: Row, slopes: Row) -> list[_Partial]:
    """All ways through one layer; each result's maps are the outputs of this layer."""
    neurons = [_affine(row, offset, cell.maps) for row, offset in zip(W, bias, strict=True)]
    parts = [_Partial(cell.pattern, cell.rows, cell.point, [])]
    for (w, c), slope in zip(neurons, slopes, strict=True):
        parts = [child for part in parts for child in _split(part, w, c, slope)]
    return parts


def _split(part: _Partial, w: Row, c: Fraction, slope: Fraction) -> list[_Partial]:
    """The sides of ``w . x + c = 0`` that are full-dimensional within the cell."""
    children = []
    minus = [-value for value in w]
    on = _point_above(part, w, c)
    if on is not None:
        rows = [*part.rows, (minus, c)]
        children.append(_Partial((*part.pattern, 1), rows, on, [*part.maps, (w, c)]))
    off = _point_above(part, minus, -c)
    if off is None and on is None:  # identically zero: off, and no row
        off, w, c = part.point, [Fraction(0)] * len(w), Fraction(0)
    if off is not None:
        image = ([slope * value for value in w], slope * c)
        rows = [*part.rows, (w, -c)]
        children.append(_Partial((*part.pattern, 0), rows, off, [*part.maps, image]))
    return children


def _point_above(part: _Partial, w: Row, c: Fraction) -> Row | None:
    """An interior point of the cell with ``w . x + c > 0``, None if there is none."""
    at_point = _dot(w, part.point) + c
    if at_point > 0:
        return part.point
    if not any(w):
        return None
    G = [row for row, _ in part.rows]
    slack = [side - _dot(row, part.point) for row, side in part.rows]
    move = _move_beyond(G, slack, w, -at_point)
    if move is None:
        return None
    least = -at_point / _dot(w, move)  # z = 0 there, z > 0 up to and including the whole move
    share = (least + 1) / 2
    point = [x + share * d for x, d in zip(part.point, move, strict=True)]
    return _shortened(point, [*part.rows, ([-value for value in w], c)])


def _shortened(point: Row, rows: list[tuple[Row, Fraction]]) -> Row:
    """A nearby interior point with a short binary expansion: keeps the numbers small."""
    for bits in (8, 16, 32, 64, 128):
        rounded = [Fraction(round(x * 2**bits), 2**bits) for x in point]
        if _is_interior(rounded, rows):
            return rounded
    return point


def _is_interior(point: Row, rows: list[tuple[Row, Fraction]]) -> bool:
    return all(_dot(row, point) < side for row, side in rows if any(row))


def _move_beyond(G: list[Row], slack: Row, w: Row, level: Fraction) -> Row | None:
    """Some ``d`` with ``G d <= slack`` and ``w . d > level >= 0``, None if there is none.

    Simplex method from the origin, Bland's rule, on ``d_k = v_k - v_n``, ``v >= 0``; it stops as
    soon as the level is passed.
    """
    n = len(w)
    table = [_whole([*row, -sum(row), side]) for row, side in zip(G, slack, strict=True)]
    cost = [*w, -sum(w), Fraction(0)]  # last entry: minus the objective reached so far
    basic = list(range(n + 1, n + 1 + len(table)))
    nonbasic = list(range(n + 1))
    while -cost[-1] <= level:
        entering = min((v for v, r in zip(nonbasic, cost[:-1], strict=True) if r > 0), default=-1)
        if entering < 0:
            return None
        k = nonbasic.index(entering)
        ratios = [(row[-1] / row[k], basic[i], i) for i, row in enumerate(table) if row[k] > 0]
        if not ratios:
            return _ray(table, basic, nonbasic, k, (level + cost[-1]) / cost[k] + 1)
        i = min(ratios)[2]
        _pivot(table, cost, i, k)
        basic[i], nonbasic[k] = nonbasic[k], basic[i]
    return _move(dict(zip(basic, (row[-1] for row in table), strict=True)), n)


def _whole(row: Row) -> Row:
    """The same inequality with integer entries."""
    scale = math.lcm(*(value.denominator for value in row))
    return [value * scale for value in row]


def _pivot(table: list[Row], cost: Row, i: int, k: int) -> None:
    """Exchange basic row `i` and non-basic column `k` of the dictionary."""
    pivot_row, pivot = table[i], table[i][k]
    for row in (*table[:i], *table[i + 1 :], cost):
        factor = row[k] / pivot
        if factor:
            row[:] = [a - factor * b for a, b in zip(row, pivot_row, strict=True)]
            row[k] = -factor
    table[i] = [value / pivot for value in pivot_row]
    table[i][k] = 1 / pivot


def _ray(table: list[Row], basic: list[int], nonbasic: list[int], k: int, step: Fraction) -> Row:
    """The point reached by raising non-basic column `k`, which nothing limits, by `step`."""
    values = {basic[i]: row[-1] - step * row[k] for i, row in enumerate(table)}
    return _move(values | {nonbasic[k]: step}, len(nonbasic) - 1)


def _move(values: dict[int, Fraction], n: int) -> Row:
    shift = values.get(n, Fraction(0))
    return [values.get(k, Fraction(0)) - shift for k in range(n)]


def _support_cell(question: Question) -> _Partial:
    A, b = support_rows(question)
    rows = list(zip(_exact(A), _exact(b), strict=True)) if len(A) else []
    point = [Fraction(float(x)) for x in _inner_point(A, b)]
    if not _is_interior(point, rows):
        raise ValueError("the support has no interior, or one too thin for float64")
    n = question.dimension
    maps = [([Fraction(int(i == k)) for i in range(n)], Fraction(0)) for k in range(n)]
    return _Partial((), rows, point, maps)


def _inner_point(A: Array, b: Array) -> Array:
    """Centre of a largest ball (of radius at most 1) in ``A x <= b``; checked by the caller."""
    n = A.shape[1]
    if not len(A):
        return np.zeros(n)
    rows = np.hstack([A, np.linalg.norm(A, axis=1, keepdims=True)])
    bounds = [(None, None)] * n + [(None, 1.0)]
    return linprog([0.0] * n + [-1.0], A_ub=rows, b_ub=b, bounds=bounds, method="highs").x[:n]


def _rounded(cell: _Partial, W: list[Row], bias: Row) -> ReferenceCell:
    logits = [_affine(row, offset, cell.maps) for row, offset in zip(W, bias, strict=True)]
    rows = [(row, side) for row, side in cell.rows if any(row)]
    n = len(cell.point)
    return ReferenceCell(
        pattern=cell.pattern,
        G=np.array([row for row, _ in rows], dtype=float).reshape(-1, n),
        h=np.array([side for _, side in rows], dtype=float),
        J=np.array([row for row, _ in logits], dtype=float),
        c=np.array([offset for _, offset in logits], dtype=float),
        interior=np.array(cell.point, dtype=float),
    )
