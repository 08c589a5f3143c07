r"""Whether a polyhedron has interior: a point with room, or multipliers that leave none.

.. math:: \max\ r \quad\text{s.t.}\quad Gx + r\,\omega \le h, \qquad
          r \le \eta\cdot h - (G^\top\eta)\cdot x \ \text{ for } \eta\ge0,\ \eta\cdot\omega = 1
"""

from typing import NamedTuple

import numpy as np

from wdaverify.arrays import Floats
from wdaverify.convex.highs import LinearProgram

__all__ = ["Interior", "widest"]

ROOM = 1e-9
"""Room within which floating point does not decide."""

LARGEST = 1.0
"""No more room than this is looked for: an unbounded set has no widest place."""


class Interior(NamedTuple):
    """What is known: ``certain`` that `point` lies inside, ``empty``, or neither."""

    point: Floats
    empty: bool
    certain: bool


def widest(
    matrix: Floats, offset: Floats, sizes: Floats, weights: Floats | None = None
) -> Interior:
    """Look for a point with ``matrix x < offset`` in every row.

    Parameters
    ----------
    sizes
        Bounds on ``|x|``, infinite where there are none, ``(n,)``; they absorb what rounding leaves
        of ``Gᵀη``. Where they are infinite, ten times the size of the point is taken.
    weights
        What one unit of room costs each row, ``(m,)``; the lengths of the rows when omitted.
    """
    n = matrix.shape[1]
    if weights is None:
        lengths = np.linalg.norm(matrix, axis=1)
        matrix, offset = matrix[lengths > 0], offset[lengths > 0]
        weights = lengths[lengths > 0]
    lower, upper = np.append(np.full(n, -np.inf), -np.inf), np.append(np.full(n, np.inf), LARGEST)
    program = LinearProgram(lower, upper, tolerance=1e-9)
    program.add_rows(np.column_stack([matrix, weights]), offset)
    answer = program.maximize(np.append(np.zeros(n), 1.0))
    point = answer.point[:n] if len(answer.point) == n + 1 else np.zeros(n)
    needs = weights > 0
    slack = offset - matrix @ point
    scale = ROOM * (1.0 + float(np.abs(point).max(initial=0.0)))
    if float((slack[needs] / weights[needs]).min(initial=LARGEST)) > scale and np.all(
        slack[~needs] >= -scale
    ):
        return Interior(point, empty=False, certain=True)
    eta = np.maximum(answer.multipliers, 0.0)
    total = float(eta @ weights) if len(eta) == len(offset) else 0.0
    if total <= 0:
        return Interior(point, empty=False, certain=False)
    eta = eta / total
    reach = np.where(np.isfinite(sizes), sizes, 10.0 * (1.0 + np.abs(point)))
    left = float(np.abs(eta @ matrix) @ reach)
    error = 1e-14 * float(eta @ np.abs(offset)) * len(offset)
    return Interior(point, empty=float(eta @ offset) + left + error < -scale, certain=False)
