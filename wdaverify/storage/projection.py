r"""Nearest points of the support: :math:`\min_d \|d\|` subject to :math:`A(x + d) \le b`.

The linear program is stated in units of the point's own excess, so that 2e-16 is as visible to the
solver as 2; what its rounding leaves outside is pulled towards an interior point, by at most
one millionth of the way.
"""

from typing import Final

import numpy as np

from wdaverify.arrays import Floats
from wdaverify.convex.highs import LinearProgram, Status
from wdaverify.errors import ProblemError, SolverError
from wdaverify.norms import L1, GroundNorm
from wdaverify.support import Box, Polytope, Support

__all__ = ["project"]

_PULLS: Final = tuple(2.0**k for k in range(-56, -19))


def project(support: Support, points: Floats, norm: GroundNorm) -> Floats:
    """Return the points with those outside the support replaced by nearest ones inside.

    Parameters
    ----------
    support
        Bound to dimension ``n``.
    points
        Shape ``(N, n)``.
    norm
        Ground norm; for a polytope and l2 the l∞-nearest point is taken instead (any point will
        do that is documented, and this one comes from a linear program). On a box the result is
        nearest in each of the norms.

    Raises
    ------
    ProblemError
        The polytope is empty, or rounding keeps every candidate outside; names the point.
    """
    if isinstance(support, Box):
        return np.clip(points, support.lower, support.upper)
    if not isinstance(support, Polytope):
        raise ProblemError(f"support: expected a box or a polytope, found {support.describe()}")
    result = points.copy()
    outside = np.flatnonzero(support.excess(points) > 0)
    if len(outside):
        centre = _interior_point(support)
        for k in outside:
            found = _settle(support, _nearest(support, points[k], norm), centre)
            if found is None:
                raise ProblemError(
                    f"points: expected a point inside the support near the one at index {k}, "
                    f"found none within rounding; move it by hand"
                )
            result[k] = found
    return result


def _nearest(support: Polytope, point: Floats, norm: GroundNorm) -> Floats:
    """Solve for ``d = unit · (p − q)``, ``p, q >= 0``: least sum (l1) or least maximum ``t``."""
    n = len(point)
    unit = float(support.excess(point[None])[0])
    room = (support.b - support.A @ point) / unit
    program = LinearProgram(np.zeros(2 * n + 1), np.full(2 * n + 1, np.inf))
    program.add_rows(
        np.concatenate([support.A, -support.A, np.zeros((len(room), 1))], axis=1), room
    )
    if norm == L1():
        costs = np.append(-np.ones(2 * n), 0.0)
    else:
        costs = np.append(np.zeros(2 * n), -1.0)
        rows = np.concatenate([np.eye(n), np.eye(n), -np.ones((n, 1))], axis=1)
        program.add_rows(rows, np.zeros(n))
    d = _solve(program, costs)
    return point + unit * (d[:n] - d[n : 2 * n])


def _interior_point(support: Polytope) -> Floats:
    """Return the centre of the largest ball of radius at most 1 inside the polytope, ``(n,)``."""
    n = support.A.shape[1]
    lengths = np.linalg.norm(support.A, axis=1, keepdims=True)
    program = LinearProgram(np.append(np.full(n, -np.inf), 0.0), np.append(np.full(n, np.inf), 1.0))
    program.add_rows(np.concatenate([support.A, lengths], axis=1), support.b)
    return _solve(program, np.append(np.zeros(n), 1.0))[:n]


def _solve(program: LinearProgram, costs: Floats) -> Floats:
    """Maximise over a program that is bounded."""
    try:
        answer = program.maximize(costs)
    except SolverError as error:
        raise ProblemError(f"support: expected numbers that a solver can take: {error}") from error
    if answer.status in {Status.INFEASIBLE, Status.UNBOUNDED}:
        raise ProblemError("support: expected a polytope with points in it, found an empty one")
    return answer.point


def _settle(support: Polytope, point: Floats, centre: Floats) -> Floats | None:
    """Return a point inside, on the way from ``point`` to ``centre``, as near as rounding lets."""
    steps = np.array([0.0, *_PULLS])[:, None]
    candidates = point + steps * (centre - point)
    finite = np.isfinite(candidates).all(axis=1)
    inside = np.flatnonzero(finite & support.contains(candidates))
    return candidates[inside[0]] if len(inside) else None
