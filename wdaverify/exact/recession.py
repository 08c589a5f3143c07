r"""Escape of mass: the asymptotic slope of each label, seen from the cells.

.. math:: S_y = \max_{D,j}\max\{a\cdot u : G_D u\le 0,\ u\in\operatorname{rec}\mathcal{X},\
          \|u\|\le1\}

For order 1 the supremum :math:`\varphi_i(\lambda)` is infinite exactly when
:math:`\lambda<S_{y_i}`. (The certificate computes the same number without cells, from the network
without biases.)
"""

import numpy as np

from wdaverify.atoms import Ray
from wdaverify.cells.complex import CellComplex
from wdaverify.cells.recession import is_bounded, steepest_recession
from wdaverify.exact.pieces import Pieces
from wdaverify.norms import GroundNorm

__all__ = ["escape"]


def escape(cells: CellComplex, pieces: Pieces, norm: GroundNorm) -> tuple[Ray | None, float]:
    """Return the steepest ray of a label and an upper bound on its slope.

    The ray is ``None``, and the bound 0, where the loss is bounded along every ray.
    """
    if is_bounded(cells.frame.matrix):
        return None, 0.0
    lengths = norm.dual_length(pieces.gradients)
    support = cells.support.rows.matrix
    best: Ray | None = None
    reached, bound = 0.0, 0.0
    for piece in np.argsort(-lengths, kind="stable").tolist():
        if lengths[piece] <= reached:
            break
        cell = cells[int(pieces.cells[piece])]
        matrix = np.concatenate([cell.half_spaces.matrix, support])
        slope = steepest_recession(pieces.gradients[piece], matrix, norm)
        bound = max(bound, slope.upper)
        if slope.lower > reached + 1e-12 * (1.0 + reached):
            reached = slope.lower
            best = Ray(cell.interior, slope.direction, slope.lower)
    return best, bound
