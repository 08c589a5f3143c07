r"""Escape of mass: the asymptotic slope of each label, seen from the cells.

.. math:: S_y = \max_{D,j}\max\{a\cdot u : G_D u\le 0,\ u\in\operatorname{rec}\mathcal{X},\
          \|u\|\le1\}

For order 1 the supremum :math:`\varphi_i(\lambda)` is infinite exactly when
:math:`\lambda<S_{y_i}`. (The certificate computes the same number without cells, from the network
without biases.)
"""

from typing import NamedTuple

import numpy as np

from wdaverify.arrays import Floats
from wdaverify.cells.complex import CellComplex
from wdaverify.cells.recession import steepest_recession
from wdaverify.distribution import Ray
from wdaverify.exact.penalty import Penalty
from wdaverify.exact.pieces import Pieces
from wdaverify.exact.program import Solution
from wdaverify.exact.supremum import LabelSupremum
from wdaverify.norms import GroundNorm

__all__ = ["Tail", "escape", "tail_points"]


TIED = 1e-13
"""Relative excess of a bound over the steepest ray that is not looked into."""


class Tail(NamedTuple):
    """The last ray of a sample's envelope, ``intercept + slope · t``, wanted up to ``t = far``."""

    slope: float
    intercept: float
    far: float


def escape(
    cells: CellComplex, pieces: Pieces, norm: GroundNorm, lengths: Floats | None = None
) -> tuple[Ray | None, float]:
    """Return the steepest ray of a label and an upper bound on the slope of every ray.

    The ray is ``None`` where the loss is bounded along every ray.

    Parameters
    ----------
    lengths
        Bounds of the slopes of pieces, ``(P,)``; the dual norms of their gradients when omitted.
    """
    support = cells.support.rows.matrix
    best: Ray | None = None
    steepness = norm.dual_length(pieces.gradients)
    lengths = steepness if lengths is None else lengths
    reached, bound = 1e-12 * float(steepness.max(initial=0.0)), 0.0
    for piece in np.argsort(-lengths, kind="stable").tolist():
        if lengths[piece] <= reached * (1.0 + TIED):
            bound = max(bound, float(lengths[piece]) if best is not None else 0.0)
            break
        matrix = np.concatenate([pieces.rows(cells, piece).matrix, support])
        slope = steepest_recession(pieces.gradients[piece], matrix, norm)
        bound = max(bound, slope.upper)
        if slope.lower > reached:
            reached, best = (
                slope.lower,
                Ray(pieces.base(cells, piece), slope.direction, slope.lower),
            )
    return best, bound


def tail_points(search: LabelSupremum, sample: int, tail: Tail) -> Floats:
    """Return points that show the supremum to be attained, if it is, shape ``(k, n)``.

    Where a piece holds a maximiser of ``ℓ − S ‖x − x_i‖`` away from the sample, as steep a gain is
    had at a finite distance, so mass need not travel for ever. A multiplier a hair below ``S``
    picks the farthest such point of each piece.
    """
    X = search.samples[sample : sample + 1]
    bounds = search.table(X, Penalty(tail.slope), np.full(1, np.inf))[0]
    tied = bounds >= tail.intercept - 1e-9 * max(1.0, abs(tail.intercept))
    points = []
    for piece in np.flatnonzero(tied).tolist():
        gradient = search.pieces.gradients[piece] / tail.slope  # unit scale: HiGHS ignores 1e-7
        program = search.programs.of(search.pieces, piece)
        solution = program.solve(gradient, X[0], Penalty(1.0 - 1e-6), tail.far)
        if isinstance(solution, Solution):
            points.append(solution.point)
    return np.array(points).reshape(-1, X.shape[1])
