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

from wdaverify.arrays import Bools, Floats
from wdaverify.bounds.body import body_of
from wdaverify.bounds.gradient_search import searched_constants
from wdaverify.cells.cell import Cell, Listing
from wdaverify.cells.frame import frame_of
from wdaverify.cells.recession import is_bounded, steepest_recession
from wdaverify.cells.stream import cell_blocks
from wdaverify.errors import LimitReached, ProblemError, UnsupportedError
from wdaverify.layers import layer_product
from wdaverify.limits import Limits
from wdaverify.loss import CrossEntropy, Hinge, Margin
from wdaverify.problem import Problem
from wdaverify.support import Box, Polytope, Support

__all__ = ["AsymptoticSlope", "asymptotic_slope", "slope_refuses"]

SEEN = 1e-9
"""Relative error within which a witness shows its slope."""


@dataclass(frozen=True, slots=True, eq=False)
class AsymptoticSlope:
    """Bracket on ``S`` over the labels of positive weight, with its witness.

    Attributes
    ----------
    lower, upper
        ``lower`` is reached along ``direction``.
    label, target
        Label whose loss grows like that, and the wrong class that makes it grow.
    direction
        Unit direction of the recession cone, ``(n,)``.
    pattern
        Activation pattern of a cell that goes on for ever in this direction and on which the
        margin has this slope, ``(neurons,)``; ``None`` where ``lower`` is 0.
    stopped
        Message of the limit that ended the work early, if any: ``upper`` is then a crude bound.
    """

    lower: float
    upper: float
    label: int
    target: int
    direction: Floats
    pattern: Bools | None = None
    stopped: str | None = None

    def bound(self, problem: Problem, radius: float) -> float:
        """Lower bound on the worst-case value (order 1), approached and in general not attained."""
        return problem.nominal + radius * self.lower


@dataclass(slots=True)
class _Steepest:
    """The steepest ray so far."""

    lower: float
    upper: float
    label: int
    target: int
    direction: Floats
    within: Floats


def asymptotic_slope(problem: Problem, *, limits: Limits | None = None) -> AsymptoticSlope:
    """Return the steepest growth of the loss along rays of the support.

    Where a limit ends the work, the bracket is wide but valid.

    Raises
    ------
    UnsupportedError
        The order is not 1, the support is bounded, or the loss does not grow like the margin:
        in these cases the slope proves nothing.
    """
    refused = slope_refuses(problem)
    if refused is not None:
        raise UnsupportedError(f"asymptotic-slope: {refused}")
    zero = np.zeros(problem.network.features)
    label = problem.active_labels[0]
    best = _Steepest(0.0, 0.0, label, int(label == 0), zero, zero)
    stopped = None
    try:
        for cone, rows in _cones(problem, limits):
            _look(problem, cone, rows, best)
    except LimitReached as reached:
        stopped = str(reached)
        best.upper = max(best.upper, _crude(problem))
    pattern = _witness(problem, best) if best.lower > 0 else None
    upper = max(best.lower, best.upper)
    return AsymptoticSlope(
        best.lower, upper, best.label, best.target, best.direction, pattern, stopped
    )


def _look(problem: Problem, cone: Cell, rows: Floats, best: _Steepest) -> None:
    """Improve the steepest ray by those of one cone."""
    norm, classes = problem.cost.norm, problem.network.classes
    for label in problem.active_labels:
        targets = [j for j in range(classes) if j != label]
        gradients = Margin().pieces(classes, label).matrix @ cone.affine_map.matrix
        for target, a in zip(targets, gradients, strict=True):
            if norm.dual_length(a) <= best.lower:
                continue
            slope = steepest_recession(a, rows, norm)
            best.upper = max(best.upper, slope.upper)
            if slope.lower > best.lower:
                best.lower, best.direction = slope.lower, slope.direction
                best.label, best.target, best.within = label, target, cone.interior


def _crude(problem: Problem) -> float:
    """Bound every slope of the network without biases by its Lipschitz constants."""
    network, norm = problem.network.without_biases(), problem.cost.norm
    labels = list(problem.active_labels)
    product = float(layer_product(network, norm)[labels].max())
    try:
        found = searched_constants(body_of(network, problem.support, norm), nodes=0)
    except UnsupportedError:
        return product
    return min(product, found.bracket(problem.active_labels)[1])


def _witness(problem: Problem, best: _Steepest) -> Bools | None:
    """Return the pattern of a cell of the network itself that contains the ray, far out."""
    network = problem.network
    start = problem.points[problem.active[0]]
    for exponent in range(0, 64, 4):
        pattern = network.patterns((start + 2.0**exponent * best.within)[None, :])[0]
        hidden, logits = network.affine_maps(pattern)
        slope = (logits.matrix[best.target] - logits.matrix[best.label]) @ best.direction
        growth = np.where(pattern, 1.0, -1.0) * (hidden.matrix @ best.direction)
        sizes = 1.0 + np.abs(hidden.matrix).sum(axis=1)
        if abs(slope - best.lower) <= SEEN * best.lower and np.all(
            (growth >= -SEEN * sizes) | network.linear
        ):
            return np.asarray(pattern)
    return None


def slope_refuses(problem: Problem) -> str | None:
    """Return why the slope proves nothing about a question, ``None`` if it does."""
    if problem.cost.order != 1:
        return f"proves a bound for order 1 only, found {problem.cost.order:g}"
    if not isinstance(problem.loss, Margin | Hinge | CrossEntropy):
        return f"needs margin, hinge or cross-entropy, found {problem.loss.name}"
    if is_bounded(frame_of(problem.support).matrix):
        return "says nothing on a bounded support (S = 0)"
    return None


def _cones(problem: Problem, limits: Limits | None) -> Iterator[tuple[Cell, Floats]]:
    """Yield the cells of the network without biases in the recession cone, with their rows."""
    network = problem.network.without_biases()
    rows = problem.support.rows.matrix
    for k, sign, slice_ in _slices(problem.support):
        try:
            frame = frame_of(slice_)
        except ProblemError:  # the cone does not reach this side
            continue
        side = np.zeros((1, network.features))
        side[0, k] = -sign
        for block in cell_blocks(network, frame, limits=limits):
            for cell in Listing(network, frame, block):
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
