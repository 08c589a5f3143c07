r"""Lipschitz constants of the loss, label by label, and the upper bounds that they give.

With :math:`\ell(x,y) \le \ell(x_i,y) + L_y\|x-x_i\|` (margin, hinge, cross-entropy)

.. math:: v_p(\varepsilon) \le \sum_i\mu_i\ell_i + \varepsilon\Big(\sum_i\mu_i L_{y_i}^q\Big)^{1/q},
          \qquad \tfrac1p+\tfrac1q = 1,

for ``p = 1`` with :math:`\max_i L_{y_i}`. A zero-one loss cannot flip nearer than
:math:`d_i \ge \max(0, -\mathrm{margin}_i)/L_{y_i}`, which gives an outer envelope. Nothing here
knows cells or solvers. Where labels move, all of them count, and the multiplier is searched.
"""

import math
from dataclasses import dataclass

import numpy as np

from wdaverify.arrays import Floats
from wdaverify.bounds.constants import Constants
from wdaverify.envelope import Envelope, majorant
from wdaverify.errors import UnsupportedError
from wdaverify.evaluation import certain_losses, margins_with_error
from wdaverify.layers import layer_product
from wdaverify.loss import DLR, ZeroOne
from wdaverify.merging import merge
from wdaverify.problem import Problem
from wdaverify.tolerances import ROUNDING

__all__ = ["NO_CONSTANT", "Certificate", "layer_product", "lipschitz_bound"]

NO_CONSTANT = (
    "the ratio of DLR has no Lipschitz constant: near a tie of three logits it changes "
    "arbitrarily fast"
)


@dataclass(frozen=True, slots=True, eq=False)
class Certificate:
    """Lipschitz constants of the margin, or of a loss with its own pieces, and what they bound.

    Attributes
    ----------
    constants
        One per label, ``(K,)``; labels without samples included.
    bracket
        The same for every pair of classes, and from below, where the method knows.
    """

    problem: Problem
    method: str
    constants: Floats
    bracket: Constants | None = None

    @property
    def constant(self) -> float:
        """Largest constant among the labels that mass can have."""
        return float(self.constants[list(self.problem.possible_labels)].max())

    def bound(self, radius: float) -> float:
        """Upper bound on the worst-case value at a radius."""
        return lipschitz_bound(self.problem, self.constants, radius)


def lipschitz_bound(problem: Problem, constants: Floats, radius: float) -> float:
    """Return the upper bound on the worst-case value that Lipschitz constants give.

    Parameters
    ----------
    constants
        Constant of the margin for each label, ``(K,)``; it also serves hinge, zero-one and (not
        the margin constant, which counts the top wrong class only) cross-entropy. For a loss with
        pieces of its own, the constant of the loss.

    Raises
    ------
    UnsupportedError
        DLR has no Lipschitz constant.
    """
    if isinstance(problem.loss, DLR):
        raise UnsupportedError(f"Lipschitz bound: {NO_CONSTANT}")
    if isinstance(problem.loss, ZeroOne):
        return _flip_bound(problem, constants, radius)
    if problem.cost.label_cost is not None:
        return _bound_with_label_moves(problem, constants, radius)
    active = problem.active
    mu, L = problem.probabilities[active], constants[problem.labels[active]]
    order = problem.cost.order
    if order == 1:
        growth = float(L.max())
    elif problem.cost.finite:
        dual = order / (order - 1.0)
        top = float(L.max())
        growth = top * float(mu @ (L / top) ** dual) ** (1.0 / dual) if top > 0 else 0.0
    else:
        growth = float(mu @ L)
    value = problem.nominal + radius * growth
    return value + (len(problem) + 8) * ROUNDING * (abs(problem.nominal) + radius * growth)


def _bound_with_label_moves(problem: Problem, constants: Floats, radius: float) -> float:
    r"""Minimise a convex function of the multiplier over a grid that is refined.

    .. math:: \lambda\varepsilon^p + \sum_i\mu_i\max_y\big[\ell(x_i, y) + c_p(L_y, \lambda)
              - \lambda\kappa\,1[y\ne y_i]\big]
    """
    active, classes = problem.active, range(problem.network.classes)
    X, mu = problem.points[active], problem.probabilities[active]
    losses = np.array([problem.evaluate(X, np.full(len(X), y)) for y in classes]).T
    moved = problem.labels[active][:, None] != np.arange(problem.network.classes)
    order, price = problem.cost.order, problem.cost.label_cost or 0.0
    budget, steepest = problem.cost.budget(radius), max(float(constants.max()), 1e-300)

    def dual(multiplier: float) -> float:
        gains = np.zeros_like(constants)  # c_1, finite from the steepest on
        if order > 1:
            free = (constants / (multiplier * order)) ** (1.0 / (order - 1.0))
            gains = (order - 1.0) / order * constants * free
        grown = losses + gains - multiplier * price * moved
        size = multiplier * budget + float(mu @ np.abs(grown).max(axis=1))
        return multiplier * budget + float(mu @ grown.max(axis=1)) + 64 * ROUNDING * size

    low, high = (0.0, 40.0) if order == 1 else (-40.0, 40.0)
    best = math.inf
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(12):
            exponents = np.linspace(low, high, 33)
            values = [dual(steepest * 2.0 ** float(e)) for e in exponents]
            values = [v if v == v else math.inf for v in values]  # noqa: PLR0124  (NaN: overflow)
            k = int(np.argmin(values))
            best = min(best, values[k])
            low, high = exponents[max(k - 1, 0)], exponents[min(k + 1, 32)]
    return best


def _flip_bound(problem: Problem, constants: Floats, radius: float) -> float:
    distances = _flip_distances(problem, constants)
    wrong = certain_losses(problem, problem.points, problem.labels)
    if not problem.cost.finite:
        return float(problem.probabilities @ ((distances <= radius) | (wrong > 0)))
    relabelled = math.inf if problem.cost.label_cost is None else problem.cost.label_cost
    envelopes = [
        _step(float(loss), min(distance**problem.cost.order, relabelled))
        for loss, distance in zip(wrong, distances, strict=True)
    ]
    return merge(envelopes, problem.probabilities).value(problem.cost.budget(radius))


def _flip_distances(problem: Problem, constants: Floats) -> Floats:
    """Lower bounds on the distances to the error set, ``(N,)``."""
    values, errors = margins_with_error(problem.network, problem.points, problem.labels)
    room = np.maximum(0.0, -values - errors)
    L = constants[problem.labels]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(room == 0, 0.0, np.where(L > 0, room / L, np.inf)) * (1 - 4 * ROUNDING)


def _step(loss: float, cost: float) -> Envelope:
    """Outer envelope of one sample: 1 from transport cost ``cost`` on."""
    if loss > 0 or not math.isfinite(cost):
        return majorant(np.zeros(1), np.array([loss]))
    return majorant(np.array([0.0, cost]), np.array([float(cost <= 0), 1.0]))
