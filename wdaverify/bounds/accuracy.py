r"""Distributional accuracy, as the WDA paper reports it, and its sweep over ``κ``.

.. math:: A_\kappa(\varepsilon) = \Big(1 - \frac1\kappa\Big)\, A_{\mathrm{clean}}
          + \frac1\kappa\, A_{\mathrm{adv}}\big(\kappa^{1/p}\varepsilon\big)

where :math:`A_{\mathrm{adv}}(\rho)` is the share of the samples that are classified correctly and
for which no misclassified point is known within ``ρ``. It is the accuracy of the distribution that
moves the share ``1/κ`` of every sample by at most :math:`\kappa^{1/p}\varepsilon`, hence at least
the worst-case accuracy, whose lower-bound attack chooses a ``κ`` for every sample.
"""

import math
from collections.abc import Sequence

import numpy as np

from wdaverify.arrays import Floats
from wdaverify.bounds.attack import flip_distances
from wdaverify.errors import ProblemError
from wdaverify.problem import Problem

__all__ = ["KAPPAS", "accuracy_of", "distributional_accuracy", "kappa_sweep"]

KAPPAS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
"""The sweep, where none is asked for."""


def accuracy_of(
    distances: Floats, weights: Floats, *, radius: float, kappa: float = 1.0, order: float = 1.0
) -> float:
    """Return the distributional accuracy that flip distances allow.

    Parameters
    ----------
    distances
        Of each sample to a misclassified point, 0 where it is wrong itself, ``(N,)``.
    weights
        Summing to 1, ``(N,)``.
    radius, kappa, order
        ``ε``, ``κ`` and ``p``.

    Raises
    ------
    ProblemError
        A κ below 1, or one other than 1 for order infinity.
    """
    if not 1.0 <= kappa < math.inf:
        raise ProblemError(f"kappa: expected a finite number >= 1, found {kappa:g}")
    if kappa != 1.0 and math.isinf(order):
        raise ProblemError(f"kappa: with order inf no mass stays behind, found {kappa:g}, not 1")
    reach = radius if math.isinf(order) else kappa ** (1.0 / order) * radius
    clean = float(weights @ (distances > 0))
    adversarial = float(weights @ ((distances > 0) & (distances > reach)))
    return (1.0 - 1.0 / kappa) * clean + adversarial / kappa


def distributional_accuracy(
    problem: Problem,
    *,
    radius: float,
    kappa: float = 1.0,
    distances: Floats | None = None,
    seed: int = 0,
) -> float:
    """Return the distributional accuracy of a problem's network at one radius and one ``κ``.

    Parameters
    ----------
    distances
        From :func:`~wdaverify.bounds.attack.flip_distances`, which is called where omitted.

    Raises
    ------
    ProblemError
        A κ below 1, or one other than 1 for order infinity.
    """
    return float(
        kappa_sweep(problem, radius=radius, kappas=[kappa], distances=distances, seed=seed)[0]
    )


def kappa_sweep(
    problem: Problem,
    *,
    radius: float,
    kappas: Sequence[float] = KAPPAS,
    distances: Floats | None = None,
    seed: int = 0,
) -> Floats:
    """Return the distributional accuracy for each ``κ``, shape ``(len(kappas),)``.

    Parameters
    ----------
    distances
        From :func:`~wdaverify.bounds.attack.flip_distances`, which is called where omitted.

    Raises
    ------
    ProblemError
        A κ below 1, or one other than 1 for order infinity.
    """
    known = flip_distances(problem, seed=seed) if distances is None else distances
    return np.array(
        [
            accuracy_of(
                known, problem.probabilities, radius=radius, kappa=kappa, order=problem.cost.order
            )
            for kappa in kappas
        ]
    )
