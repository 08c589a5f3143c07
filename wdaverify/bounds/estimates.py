r"""The first-order estimate of Bai et al. (2023): near a radius of 0, and proving nothing.

.. math:: v_p(\varepsilon) \approx \sum_i\mu_i\ell_i
          + \varepsilon\Big(\sum_i\mu_i\|\nabla_x\ell(x_i, y_i)\|_*^q\Big)^{1/q},
          \qquad \tfrac1p+\tfrac1q=1

It may lie on either side of the value, and never enters the sandwich.
"""

import numpy as np

from wdaverify.arrays import Floats
from wdaverify.errors import UnsupportedError
from wdaverify.loss import DLR, CrossEntropy, Hinge, TruncatedDLR, ZeroOne
from wdaverify.problem import Problem

__all__ = ["estimate_refuses", "first_order_estimate", "input_gradients"]


def estimate_refuses(problem: Problem) -> str | None:
    """Return why there is no estimate, ``None`` if there is one."""
    if isinstance(problem.loss, ZeroOne):
        return "needs a loss with a gradient; that of zero-one is 0 wherever it exists"
    if problem.cost.label_cost is not None:
        return "needs labels that do not move, found a label cost"
    return None


def first_order_estimate(problem: Problem, radius: float) -> float:
    """Return the estimate; a number for comparison, not a bound.

    Raises
    ------
    UnsupportedError
        See :func:`estimate_refuses`.
    """
    refused = estimate_refuses(problem)
    if refused is not None:
        raise UnsupportedError(f"first-order: {refused}")
    at = problem.active
    mu, order = problem.probabilities[at], problem.cost.order
    steepness = problem.cost.norm.dual_length(input_gradients(problem)[at])
    top = float(steepness.max())
    if order == 1 or top == 0:
        return problem.nominal + radius * top
    dual = order / (order - 1.0) if problem.cost.finite else 1.0
    growth = top * float(mu @ (steepness / top) ** dual) ** (1.0 / dual)
    return float(problem.nominal + radius * growth)


def input_gradients(problem: Problem) -> Floats:
    """Return the gradient of the loss in the input at every sample, ``(N, n)``.

    On a kink it is that of the cell and of the class that float64 picks.
    """
    network = problem.network
    z = network.logits(problem.points)
    J = network.affine_maps(network.patterns(problem.points))[1].matrix
    return np.asarray(np.einsum("nk,nkf->nf", _logit_gradients(problem, z), J))


def _logit_gradients(problem: Problem, z: Floats) -> Floats:
    """Gradient of the loss in the logits, ``(N, K)``."""
    N, y = np.arange(len(z)), problem.labels
    if isinstance(problem.loss, CrossEntropy):
        odds = np.exp(z - z.max(axis=1, keepdims=True))
        odds /= odds.sum(axis=1, keepdims=True)
        odds[N, y] -= 1.0
        return np.asarray(odds)
    if problem.loss.piecewise_affine and not problem.loss.of_margin:
        return np.array([_steepest_row(problem, *sample) for sample in zip(z, y, strict=True)])
    others = z.copy()
    others[N, y] = -np.inf
    best = others.argmax(axis=1)
    margin = np.zeros_like(z)
    margin[N, best], margin[N, y] = 1.0, -1.0
    if isinstance(problem.loss, Hinge):
        return margin * (problem.loss.evaluate(z, y) > 0)[:, None]
    if not isinstance(problem.loss, DLR):
        return margin
    ranks = np.argsort(-z, axis=1, kind="stable")
    spread = np.zeros_like(z)
    spread[N, ranks[:, 0]], spread[N, ranks[:, 2]] = 1.0, -1.0
    width = (z[N, ranks[:, 0]] - z[N, ranks[:, 2]])[:, None]
    ratio = ((z[N, best] - z[N, y])[:, None]) / np.where(width > 0, width, 1.0)
    gradient = np.where(width > 0, (margin - ratio * spread) / np.where(width > 0, width, 1.0), 0.0)
    if isinstance(problem.loss, TruncatedDLR):
        gradient = gradient * (ratio < 1.0)
    return np.asarray(gradient)


def _steepest_row(problem: Problem, logits: Floats, label: int) -> Floats:
    """Return the coefficients of the largest piece of a piecewise affine loss, ``(K,)``."""
    C, c = problem.loss.pieces(len(logits), int(label))
    return np.asarray(C[int((C @ logits + c).argmax())])
