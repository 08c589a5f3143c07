"""Losses of given points, with certainty where the loss jumps.

A zero-one loss jumps on the decision boundary, where a float64 evaluation is a coin toss: there
the sign of the margin is decided by a running error bound and, within it, over the rationals.
"""

import numpy as np

from wdaverify.arrays import Bools, Floats, Integers
from wdaverify.loss import ZeroOne, margins
from wdaverify.network import ReLUNetwork
from wdaverify.problem import Problem
from wdaverify.rational import ExactNetwork, rationals

__all__ = ["certain_losses", "margins_with_error"]


def margins_with_error(
    network: ReLUNetwork, points: Floats, labels: Integers
) -> tuple[Floats, Floats]:
    """Return float64 margins and a bound on their rounding errors, both ``(N,)``."""
    values = margins(network.logits(points), labels)
    errors = 2.0 * network.rounding_errors(points)[-1].max(axis=1) + 2.0**-52 * np.abs(values)
    return values, errors


def certain_losses(problem: Problem, points: Floats, labels: Integers) -> Floats:
    """Evaluate the loss in float64; zero-one decisions are those of the real-valued network.

    Parameters
    ----------
    points, labels
        Shapes ``(M, n)`` and ``(M,)``.
    """
    if not isinstance(problem.loss, ZeroOne):
        return problem.evaluate(points, labels)
    values, errors = margins_with_error(problem.network, points, labels)
    wrong: Bools = values >= 0
    doubtful = np.flatnonzero(np.abs(values) <= errors)
    if len(doubtful):
        exact = ExactNetwork(problem.network)
        for k in doubtful:
            logits = exact.logits(rationals(points[k]))
            own = logits[labels[k]]
            wrong[k] = any(z >= own for j, z in enumerate(logits) if j != labels[k])
    return wrong.astype(np.float64)
