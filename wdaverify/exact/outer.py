r"""Outer envelopes: supporting lines of every sample's growth envelope, and the bound they give.

Every evaluation of :math:`\varphi_i` at a multiplier is a line above the envelope,

.. math:: \hat g_i(s) \le \varphi_i(\lambda) + \lambda s,\qquad
          v_p(\varepsilon) \le \lambda\varepsilon^p + \sum_i\mu_i\varphi_i(\lambda).
"""

import numpy as np

from wdaverify.arrays import Floats
from wdaverify.envelope import minorant
from wdaverify.merging import Merge, merge

__all__ = ["OuterLines"]


class OuterLines:
    """Lines above the envelopes of all samples.

    Parameters
    ----------
    probabilities
        Weight of each sample, ``(N,)``.
    """

    def __init__(self, probabilities: Floats) -> None:
        self._probabilities = probabilities
        self._heavy = probabilities > 0
        self._rounds: list[tuple[Floats, Floats]] = []
        self._single: dict[int, list[tuple[float, float]]] = {}

    def add(self, slopes: Floats, intercepts: Floats) -> None:
        """Add one line for every sample: shapes ``(N,)``."""
        self._rounds.append((slopes, intercepts))

    def add_single(self, sample: int, slope: float, intercept: float) -> None:
        """Add a line for one sample."""
        self._single.setdefault(sample, []).append((slope, intercept))

    def bound(self, budget: float) -> float:
        """Return the best bound that uses one line of each sample, all of one round."""
        heavy, mu = self._heavy, self._probabilities[self._heavy]
        return min(
            (
                float(slopes[heavy].max() * budget + mu @ intercepts[heavy])
                for slopes, intercepts in self._rounds
            ),
            default=np.inf,
        )

    def multiplier(self, budget: float) -> float | None:
        """Return the multiplier of the round that :meth:`bound` takes, ``None`` without one."""
        heavy, mu = self._heavy, self._probabilities[self._heavy]
        bounds = [
            (
                float(slopes[heavy].max() * budget + mu @ intercepts[heavy]),
                float(slopes[heavy].max()),
            )
            for slopes, intercepts in self._rounds
        ]
        return min(bounds)[1] if bounds and min(bounds)[0] < np.inf else None

    def merge(self) -> Merge | None:
        """Merge the minima of all lines; ``None`` where a sample of positive weight has none."""
        if not self._rounds:
            return None
        slopes = np.array([s for s, _ in self._rounds])
        intercepts = np.array([c for _, c in self._rounds])
        if not np.isfinite(intercepts).any(axis=0)[self._heavy].all():
            return None
        flat = minorant(np.zeros(1), np.zeros(1))
        envelopes = [flat] * len(self._heavy)
        for i in np.flatnonzero(self._heavy).tolist():
            single = np.array(self._single.get(i, [])).reshape(-1, 2)
            envelopes[i] = minorant(
                np.append(intercepts[:, i], single[:, 1]), np.append(slopes[:, i], single[:, 0])
            )
        return merge(envelopes, self._probabilities)
