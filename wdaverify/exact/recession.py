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
from wdaverify.atoms import Ray
from wdaverify.cells.complex import CellComplex
from wdaverify.cells.recession import is_bounded, steepest_recession
from wdaverify.exact.pieces import Pieces
from wdaverify.exact.program import Solution
from wdaverify.exact.supremum import Programs
from wdaverify.norms import GroundNorm

__all__ = ["Escape", "Tail", "escape", "tail_points"]

STEEP = 1.0 - 1e-9
"""Pieces whose slope along rays reaches the largest one up to this factor count as steepest."""


class Escape(NamedTuple):
    """How the loss of one label grows along rays.

    Attributes
    ----------
    ray
        A steepest ray, ``None`` where the loss is bounded along every ray.
    bound
        Upper bound on the slope of every ray.
    steepest
        Pieces with a ray that steep, each with its direction.
    """

    ray: Ray | None
    bound: float
    steepest: tuple[tuple[int, Floats], ...]


class Tail(NamedTuple):
    """The last ray of a sample's envelope, ``intercept + slope · t``, wanted up to ``t = far``."""

    slope: float
    intercept: float
    far: float


def escape(cells: CellComplex, pieces: Pieces, norm: GroundNorm) -> Escape:
    """Return the steepest rays of a label and an upper bound on their slope."""
    if is_bounded(cells.frame.matrix):
        return Escape(None, 0.0, ())
    lengths = norm.dual_length(pieces.gradients)
    support = cells.support.rows.matrix
    rays: list[tuple[int, Ray]] = []
    reached, bound = 0.0, 0.0
    for piece in np.argsort(-lengths, kind="stable").tolist():
        if lengths[piece] < reached * STEEP or lengths[piece] == 0:
            break
        cell = cells[int(pieces.cells[piece])]
        matrix = np.concatenate([cell.half_spaces.matrix, support])
        slope = steepest_recession(pieces.gradients[piece], matrix, norm)
        bound, reached = max(bound, slope.upper), max(reached, slope.lower)
        rays.append((piece, Ray(cell.interior, slope.direction, slope.lower)))
    bound = max(bound, reached)
    if reached <= 1e-12 * lengths.max(initial=0.0):
        return Escape(None, bound, ())
    steepest = tuple((k, ray.direction) for k, ray in rays if ray.slope >= reached * STEEP)
    best = max((ray for _, ray in rays), key=lambda ray: ray.slope)
    return Escape(best, bound, steepest)


def tail_points(
    found: Escape, pieces: Pieces, programs: Programs, sample: Floats, tail: Tail
) -> Floats:
    """Return points that show the supremum to be attained, if it is, shape ``(2 k, n)``.

    Where a steepest piece holds a maximiser of ``ℓ − S ‖x − x_i‖`` over all pieces, the loss
    beyond it grows with the full slope ``S``, so mass need not travel for ever: the maximiser and
    a point far beyond it lie on the last ray of the envelope.
    """
    points = []
    for piece, direction in found.steepest:
        program = programs.of(pieces, piece)
        solution = program.solve(pieces.gradients[piece], sample, tail.slope)
        assert isinstance(solution, Solution)  # nothing is out of an infinite reach
        value = solution.bound + float(pieces.offsets[piece])
        if value >= tail.intercept - 1e-9 * max(1.0, abs(tail.intercept)):
            points += [solution.point, solution.point + tail.far * direction]
    return np.array(points).reshape(-1, len(sample))
