r"""Recession cones: whether a cell is bounded, and how steeply a piece grows along its rays.

A polyhedron :math:`\{Gx \le h\}` is bounded exactly when :math:`\{u : Gu \le 0\} = \{0\}`: when
``G`` has full column rank and some :math:`\eta > 0` gives :math:`G^\top\eta = 0`.
"""

import math
from typing import NamedTuple

import numpy as np

from wdaverify.arrays import Floats
from wdaverify.convex.exact import exact_maximum
from wdaverify.convex.highs import LinearProgram, Status
from wdaverify.convex.projection import ActiveSet, Projection, project
from wdaverify.errors import SolverError
from wdaverify.norms import GroundNorm
from wdaverify.rational import Rationals, rationals

__all__ = ["Slope", "is_bounded", "rank", "steepest_recession"]


def is_bounded(matrix: Rationals) -> bool:
    """Whether ``{x : matrix x <= bound}`` (not empty) is bounded, for any bound.

    Parameters
    ----------
    matrix
        Rational, shape ``(m, d)``.
    """
    m, d = matrix.shape
    if d == 0 or m <= d:
        return bool(d == 0)
    G = matrix.astype(np.float64)
    G = G / np.linalg.norm(G, axis=1, keepdims=True)
    if _positively_spans(G):
        return True
    total = -matrix.sum(axis=0)
    rows = np.concatenate([matrix, total[None, :]])
    zero = rationals(np.append(np.zeros(m), 1.0))
    optimum = exact_maximum(total, rows, zero)
    assert optimum is not None
    assert optimum.value is not None
    if optimum.value > 0:
        return False
    return bool(rank(matrix) == d)


def _positively_spans(G: Floats) -> bool:
    """Whether floating point proves that the rows span the space positively.

    An ``η >= 1`` whose residual ``r = Gᵀη`` can be absorbed, ``‖(Gᵀ)⁺ r‖ < 1/2``, shows that a
    positive solution exists nearby.
    """
    m, d = G.shape
    singular = np.linalg.svd(G, compute_uv=False)
    if singular[-1] < 1e-8:
        return False
    program = LinearProgram(np.ones(m), np.full(m, np.inf))
    program.add_rows(np.ascontiguousarray(G.T), np.zeros(d), np.zeros(d))
    answer = program.maximize(-np.ones(m))
    if answer.status is not Status.OPTIMAL:
        return False
    eta = np.maximum(answer.point, 1.0)
    residual = np.linalg.norm(G.T @ eta) + 1e-13 * m * float(eta.max())
    return bool(residual / singular[-1] < 0.5)


def rank(matrix: Rationals) -> int:
    """Rank over the rationals by elimination."""
    rows = [list(row) for row in matrix]
    rank = 0
    for column in range(matrix.shape[1]):
        found = next((i for i in range(rank, len(rows)) if rows[i][column] != 0), None)
        if found is None:
            continue
        rows[rank], rows[found] = rows[found], rows[rank]
        for i in range(rank + 1, len(rows)):
            factor = rows[i][column] / rows[rank][column]
            rows[i] = [v - factor * w for v, w in zip(rows[i], rows[rank], strict=True)]
        rank += 1
    return rank


class Slope(NamedTuple):
    """Steepest growth along recession directions.

    ``lower`` is reached by ``direction`` (norm at most 1, up to the solver's tolerance); no
    direction of the cone exceeds ``upper``.
    """

    lower: float
    upper: float
    direction: Floats


def steepest_recession(a: Floats, matrix: Floats, norm: GroundNorm) -> Slope:
    r"""Solve ``max a·u`` over ``matrix u <= 0``, ``‖u‖ <= 1``.

    The bound is dual: :math:`\|a - G^\top\eta\|_*` for the multipliers :math:`\eta\ge0`. For l2
    the maximum is the length of the projection of ``a`` on the cone (Moreau, 1962).

    Parameters
    ----------
    a, matrix
        Shapes ``(n,)`` and ``(m, n)``.
    """
    size = float(norm.dual_length(a))
    unit = 2.0 ** math.floor(math.log2(size)) if size > 0 else 1.0  # solvers know no other scale
    point, eta = (_projected if norm.name == "l2" else _programmed)(a / unit, matrix, norm)
    eta = unit * eta
    return Slope(float(a @ point), float(norm.dual_length(a - matrix.T @ eta)), point)


def _projected(a: Floats, matrix: Floats, norm: GroundNorm) -> tuple[Floats, Floats]:
    """Return the direction of the projection of ``a`` on the cone, and its multipliers."""
    lengths = np.linalg.norm(matrix, axis=1)
    rows = matrix / np.where(lengths > 0, lengths, 1.0)[:, None]
    active = ActiveSet(rows)
    found = project(active, np.zeros(len(rows)), a, 1e-14)
    if not isinstance(found, Projection):
        exact = ActiveSet(rationals(rows))
        found = project(exact, rationals(np.zeros(len(rows))), rationals(a))
        active = exact
    if not isinstance(found, Projection):
        raise SolverError("recession slope: no projection on a cone that holds the origin")
    eta = np.zeros(len(rows))
    eta[active.rows] = np.maximum(found.multipliers.astype(np.float64), 0.0)
    eta /= np.where(lengths > 0, lengths, 1.0)
    u = found.point.astype(np.float64)
    length = float(norm.length(u))
    return (np.zeros_like(a) if length <= 1e-13 else u / length), eta


def _programmed(a: Floats, matrix: Floats, norm: GroundNorm) -> tuple[Floats, Floats]:
    """Return the solution of a linear program (l1 or l∞) and its multipliers."""
    n = len(a)
    if norm.name == "linf":
        program = LinearProgram(-np.ones(n), np.ones(n))
        program.add_rows(matrix, np.zeros(len(matrix)))
        costs = a
    else:  # l1: u = positive − negative part
        program = LinearProgram(np.zeros(2 * n), np.full(2 * n, np.inf))
        program.add_rows(np.hstack([matrix, -matrix]), np.zeros(len(matrix)))
        program.add_rows(np.ones((1, 2 * n)), np.ones(1))
        costs = np.concatenate([a, -a])
    answer = program.maximize(costs)
    if answer.status is not Status.OPTIMAL:
        answer = program.solve_afresh(costs)
    if answer.status is not Status.OPTIMAL:
        raise SolverError(f"recession slope: HiGHS says {answer.status.value}, expected an optimum")
    eta = np.maximum(answer.multipliers[: len(matrix)], 0.0)
    point = answer.point if norm.name == "linf" else answer.point[:n] - answer.point[n:]
    return point, eta
