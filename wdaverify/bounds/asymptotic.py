r"""The asymptotic slope, from the network without biases.

:math:`f(tu)/t \to f^0(u)`, so with ``rec`` the recession cone of the support

.. math:: S_y = \max\Big\{\max_{j\ne y}\,[f^0_j(u)-f^0_y(u)]_+ : u\in\operatorname{rec}\mathcal{X},\
          \|u\|\le1\Big\},

and for order 1 the whole budget on the label with the largest slope shows
:math:`v_1(\varepsilon)\ge\sum_i\mu_i\ell_i+\varepsilon S`. The cells of :math:`f^0` are cones: they
are found as the cells of its restriction to :math:`u_k=\pm1`, an arrangement in general position
one dimension lower.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from wdaverify.arrays import Floats
from wdaverify.cells.complex import Cell, enumerate_cells
from wdaverify.cells.frame import frame_of
from wdaverify.cells.recession import is_bounded, steepest_recession
from wdaverify.errors import ProblemError, UnsupportedError
from wdaverify.limits import Limits
from wdaverify.loss import CrossEntropy, Hinge, Margin
from wdaverify.problem import Problem
from wdaverify.support import Box, Polytope, Support

__all__ = ["AsymptoticSlope", "asymptotic_slope", "recession_rows"]


@dataclass(frozen=True, slots=True, eq=False)
class AsymptoticSlope:
    """Bracket on ``S`` over the labels of positive weight, with its witness.

    Attributes
    ----------
    lower, upper
        ``lower`` is reached along ``direction``.
    label
        Label whose loss grows like that.
    direction
        Unit direction of the recession cone, ``(n,)``.
    """

    lower: float
    upper: float
    label: int
    direction: Floats

    def bound(self, problem: Problem, radius: float) -> float:
        """Lower bound on the worst-case value (order 1), approached and in general not attained."""
        return problem.nominal + radius * self.lower


def asymptotic_slope(problem: Problem, *, limits: Limits | None = None) -> AsymptoticSlope:
    """Return the steepest growth of the loss along rays of the support.

    Raises
    ------
    UnsupportedError
        The order is not 1, the support is bounded, or the loss does not grow like the margin:
        in these cases the slope proves nothing.
    LimitReached
        Enumerating the cells of the network without biases took too much.
    """
    _check_applies(problem)
    norm = problem.cost.norm
    network = problem.network.without_biases()
    lower, upper, witness = 0.0, 0.0, (problem.active_labels[0], np.zeros(network.features))
    for label in problem.active_labels:
        coefficients = Margin().pieces(network.classes, label).matrix
        for cone, rows in _cones(problem, limits):
            for a in coefficients @ cone.affine_map.matrix:
                if norm.dual_length(a) <= lower:
                    continue
                slope = steepest_recession(a, rows, norm)
                upper = max(upper, slope.upper)
                if slope.lower > lower:
                    lower, witness = slope.lower, (label, slope.direction)
    return AsymptoticSlope(lower, max(upper, lower), *witness)


def _check_applies(problem: Problem) -> None:
    if problem.cost.order != 1:
        raise UnsupportedError(
            f"asymptotic-slope: proves a bound for order 1 only, found {problem.cost.order:g}"
        )
    if not isinstance(problem.loss, Margin | Hinge | CrossEntropy):
        raise UnsupportedError(
            f"asymptotic-slope: needs margin, hinge or cross-entropy, found {problem.loss.name}"
        )
    if is_bounded(frame_of(problem.support).matrix):
        raise UnsupportedError("asymptotic-slope: says nothing on a bounded support (S = 0)")


def recession_rows(support: Support) -> Floats:
    """Return ``E`` with recession cone ``{u : E u <= 0}``, shape ``(m, n)``."""
    return support.rows.matrix


def _cones(problem: Problem, limits: Limits | None) -> Iterator[tuple[Cell, Floats]]:
    """Yield the cells of the network without biases in the recession cone, with their rows."""
    network = problem.network.without_biases()
    rows = recession_rows(problem.support)
    for k, sign, slice_ in _slices(problem.support):
        try:
            cells = enumerate_cells(network, slice_, limits=limits)
        except ProblemError:  # the cone does not reach this side
            continue
        side = np.zeros((1, network.features))
        side[0, k] = -sign
        for cell in cells:
            yield cell, np.concatenate([cell.half_spaces.matrix, rows, side])


def _slices(support: Support) -> Iterator[tuple[int, float, Support]]:
    """Yield sets ``{u in rec 𝒳 : u_k = ±1}`` that together meet every ray of the cone."""
    if isinstance(support, Box):
        lower = np.where(np.isfinite(support.lower), 0.0, -np.inf)
        upper = np.where(np.isfinite(support.upper), 0.0, np.inf)
        k = int(np.argmax(lower < upper))
        for sign in (-1.0, 1.0):
            if lower[k] <= sign <= upper[k]:
                low, high = lower.copy(), upper.copy()
                low[k] = high[k] = sign
                yield k, sign, Box(low, high)
        return
    E = support.rows.matrix
    for k in range(E.shape[1]):
        axis = np.zeros((1, E.shape[1]))
        axis[0, k] = 1.0
        for sign in (-1.0, 1.0):
            A = np.concatenate([E, axis, -axis])
            yield k, sign, Polytope(A, np.append(np.zeros(len(E)), [sign, -sign]))
