r"""The strong-duality certificate of Sinha et al. (2018), where it proves something.

If :math:`\ell(\cdot, y)` is :math:`\beta`-smooth, then for :math:`2\gamma > \beta` the inner
problem :math:`\varphi_i(\gamma) = \sup_x \ell(x, y_i) - \gamma\|x - x_i\|_2^2` is concave, and

.. math:: v_2(\varepsilon) \le \gamma\varepsilon^2 + \sum_i \mu_i\,\varphi_i(\gamma).

A network with ReLU has kinks and no :math:`\beta`. Cross-entropy of affine logits ``Ax + b`` has
:math:`\beta = \tfrac12\|PA\|_2^2`, ``P`` the projection along the vector of ones: its Hessian in
the logits is at most :math:`\tfrac12 P`. An inner point proves nothing by itself: with gradient
``g`` and strong concavity :math:`m = 2\gamma - \beta` the supremum exceeds its value by at most
:math:`\max_x g\cdot(x - \hat x) - \tfrac m2\|x - \hat x\|^2`.
"""

import math
from dataclasses import dataclass

import numpy as np

from wdaverify.arrays import Floats, Integers
from wdaverify.loss import CrossEntropy
from wdaverify.problem import Problem
from wdaverify.support import Box
from wdaverify.tolerances import ROUNDING

__all__ = ["StrongDuality", "duality_refuses", "smoothness"]

STEPS = 200
"""Gradient steps for each multiplier."""

STEEPEST = 2.0**40
"""Largest multiplier looked at, relative to the smoothness."""


@dataclass(frozen=True, slots=True, eq=False)
class StrongDuality:
    """Upper bound by a concave inner problem.

    Attributes
    ----------
    smoothness
        Lipschitz constant of the gradient of the loss in the input, rounded up.
    """

    problem: Problem
    method: str
    smoothness: float

    def bound(self, radius: float) -> float:
        """Upper bound on the worst-case value at a radius."""
        low, high = math.log2(0.52 * self.smoothness), math.log2(STEEPEST * self.smoothness)
        best = math.inf
        for _ in range(6):
            exponents = np.linspace(low, high, 9)
            values = [self.dual(2.0 ** float(e), radius) for e in exponents]
            k = int(np.argmin(values))
            best = min(best, values[k])
            low, high = exponents[max(k - 1, 0)], exponents[min(k + 1, 8)]
        return best

    def dual(self, multiplier: float, radius: float) -> float:
        """Return ``γ ε² + Σ μ_i φ_i(γ)``, each supremum bounded from above."""
        problem = self.problem
        at = problem.active
        X, y, mu = problem.points[at], problem.labels[at], problem.probabilities[at]
        lower, upper = problem.support.bounds
        x = X
        for _ in range(STEPS):
            moved = x + self._slope(x, X, y, multiplier) / (2.0 * multiplier)
            x = np.clip(moved, lower, upper)
        g = self._slope(x, X, y, multiplier)
        curvature = 2.0 * multiplier - self.smoothness
        step = np.clip(x + g / curvature, lower, upper) - x
        rise = (g * step - 0.5 * curvature * step**2).sum(axis=1)
        away = np.square(x - X).sum(axis=1)
        losses = problem.evaluate(x, y)
        phi = losses - multiplier * away + np.maximum(rise, 0.0)
        size = np.abs(losses) + multiplier * away + np.abs(g).sum(axis=1) + 1.0
        error = 64.0 * (sum(problem.network.weights[0].shape) + len(mu)) * ROUNDING
        total = multiplier * radius**2 + float(mu @ phi)
        return float(total) + error * (abs(multiplier * radius**2) + float(mu @ size))

    def _slope(self, x: Floats, X: Floats, y: Integers, multiplier: float) -> Floats:
        """Gradient of ``ℓ(x, y) − γ ‖x − X‖²``, ``(N, n)``."""
        (A,), z = self.problem.network.weights, self.problem.network.logits(x)
        odds = np.exp(z - z.max(axis=1, keepdims=True))
        odds = odds / odds.sum(axis=1, keepdims=True)
        odds[np.arange(len(y)), y] -= 1.0
        return np.asarray(odds @ A - 2.0 * multiplier * (x - X))


def duality_refuses(problem: Problem) -> str | None:
    """Return why the certificate proves nothing about a question, ``None`` if it does."""
    network, cost = problem.network, problem.cost
    reasons = (
        (
            not network.linear.all(),
            "needs a smooth network; one with ReLU has kinks, and no constant of smoothness",
        ),
        (len(network.weights) > 1, "needs affine logits in one layer, found several"),
        (
            not isinstance(problem.loss, CrossEntropy),
            f"needs a smooth loss, cross-entropy; found {problem.loss.name}",
        ),
        (
            cost.norm.name != "l2" or cost.order != 2,
            f"needs the squared cost l2, order 2; found {cost.norm.name}, order {cost.order:g}",
        ),
        (cost.label_cost is not None, "needs labels that do not move, found a label cost"),
        (
            not isinstance(problem.support, Box),
            "needs a box or the whole space as support, found a polytope",
        ),
        (
            len(network.weights) == 1 and not smoothness(problem),
            "needs logits that depend on the input, found a constant loss",
        ),
    )
    return next((reason for refused, reason in reasons if refused), None)


def smoothness(problem: Problem) -> float:
    """Return ``½ ‖PA‖₂²``, rounded up, for cross-entropy of affine logits."""
    (A,) = problem.network.weights
    centred = A - A.mean(axis=0)
    if not centred.any():
        return 0.0
    steps = 64.0 * max(A.shape) * ROUNDING
    largest, size = float(np.linalg.norm(centred, 2)), float(np.linalg.norm(A))
    return float(0.5 * largest**2 * (1.0 + steps) + steps * size**2)
