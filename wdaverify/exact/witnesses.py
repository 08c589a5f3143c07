r"""Points that show how large the suprema of one label are at least.

A point found for one sample is offered to all: :math:`\ell(x) - \lambda\|x-x_i\|^p` for the best
known ``x`` within reach is the incumbent of sample ``i``.
"""

import numpy as np

from wdaverify.arrays import Floats, Integers
from wdaverify.exact.penalty import Penalty
from wdaverify.norms import GroundNorm

__all__ = ["Witnesses"]

CHUNK = 2_000_000
"""Numbers in one block of distances."""

ROUNDING = 1e-12
"""Relative excess over the reach that is rounding."""


class Witnesses:
    """Points found for the samples of one label, the samples themselves first.

    Attributes
    ----------
    samples
        ``(N, n)``.
    points, values
        ``(M, n)`` and what is maximised there, ``(M,)``. Sample ``i`` is point ``i`` and is offered
        to no other sample.
    """

    def __init__(self, samples: Floats, values: Floats, norm: GroundNorm) -> None:
        self.samples, self.norm = samples, norm
        self._columns = np.ascontiguousarray(samples.T)
        self._points, self._values = [samples], [values]

    @property
    def points(self) -> Floats:
        """Every point, ``(M, n)``."""
        if len(self._points) > 1:
            self._points = [np.concatenate(self._points)]
        return self._points[0]

    @property
    def values(self) -> Floats:
        """Its value, ``(M,)``."""
        if len(self._values) > 1:
            self._values = [np.concatenate(self._values)]
        return self._values[0]

    def add(self, points: Floats, values: Floats) -> None:
        """Append points ``(k, n)`` that are offered to every sample."""
        self._points.append(points)
        self._values.append(values)

    def __len__(self) -> int:
        return sum(map(len, self._values))

    def best(self, penalty: Penalty, reach: Floats, rows: Integers) -> tuple[Integers, Floats]:
        """Return the best point of some samples and its value less the price, ``(m,)`` each.

        Parameters
        ----------
        reach, rows
            Largest distance of each sample, and which samples, ``(m,)``.
        """
        N, m = len(self.samples), len(rows)
        index, value = rows.copy(), self.values[rows]
        points, values = self.points[N:], self.values[N:]
        step = max(1, CHUNK // max(1, m))
        for start in range(0, len(points), step):
            some = slice(start, start + step)
            offered = self.offer(points[some], values[some], penalty, reach, rows)
            top = offered.argmax(axis=1)
            best = offered[np.arange(m), top]
            better = best > value
            index[better], value[better] = N + start + top[better], best[better]
        return index, value

    def offer(
        self,
        points: Floats,
        values: Floats,
        penalty: Penalty,
        reach: Floats,
        rows: Integers,
    ) -> Floats:
        """Return value less price of some points for samples, ``-inf`` beyond reach: ``(m, k)``."""
        distances = self._distances(rows, points)
        offered = values - penalty.of(distances)
        return np.where(distances <= reach[:, None] * (1.0 + ROUNDING), offered, -np.inf)

    def _distances(self, samples: Integers, points: Floats) -> Floats:
        """Return all distances ``(m, k)``, feature by feature: a short last axis is slow."""
        X, Y = self._columns[:, samples], points.T
        far = np.zeros((X.shape[1], Y.shape[1]))
        for x, y in zip(X, Y, strict=True):
            step = np.abs(x[:, None] - y)
            if self.norm.name == "linf":
                np.maximum(far, step, out=far)
            else:
                far += step if self.norm.name == "l1" else step * step
        return np.sqrt(far) if self.norm.name == "l2" else far
