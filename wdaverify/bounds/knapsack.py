r"""Spending a transport budget on the cheapest flips.

.. math:: \max_\alpha \sum_i \mu_i \alpha_i \quad\text{s.t.}\quad
          \sum_i \mu_i \alpha_i d_i^p \le \varepsilon^p, \quad 0 \le \alpha \le 1,

solved by flipping the nearest samples first; for order infinity all within ``ε``.
"""

import math

import numpy as np

from wdaverify.arrays import Floats

__all__ = ["allocate"]


def allocate(distances: Floats, weights: Floats, radius: float, order: float) -> Floats:
    """Return the share ``α`` of each sample that is moved to its flip, ``(N,)``.

    Parameters
    ----------
    distances
        Distance to the flip of each sample, infinite where there is none, ``(N,)``.
    weights
        ``μ``, summing to 1, ``(N,)``.
    radius, order
        ``ε`` and ``p``.
    """
    if math.isinf(order):
        return np.where(distances <= radius, 1.0, 0.0)
    index = np.argsort(distances, kind="stable")
    index = index[np.isfinite(distances[index])]
    costs = weights[index] * distances[index] ** order
    left = radius**order - (np.cumsum(costs) - costs)
    shares = np.zeros(len(distances))
    paid = np.divide(left, costs, out=np.ones(len(costs)), where=costs > 0)
    shares[index] = np.clip(paid, 0.0, 1.0)
    return shares
