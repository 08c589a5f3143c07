r"""Growth envelopes and their merge: every side of the sandwich ends here.

The *growth envelope* of sample ``i`` is the least concave majorant :math:`\hat g_i` of

.. math:: s \mapsto g_i(s^{1/p}), \qquad
          g_i(t) = \sup\{\ell(x, y_i) : x\in\mathcal{X},\ \|x - x_i\| \le t\},

and the worst-case value is the best way to spend the budget on all of them together,

.. math:: v_p(\varepsilon) = \max\Big\{\sum_i \mu_i\,\hat g_i(s_i) :
          \sum_i \mu_i s_i \le \varepsilon^p,\ s_i \ge 0\Big\}.

For concave piecewise linear envelopes one sort of all segments by slope gives the value for every
radius, the multiplier and the worst-case distribution. Feasible points give inner envelopes (the
attack), supporting lines give outer ones (the dual), Lipschitz rays give the certificate.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from wdaverify.arrays import Floats, Integers

__all__ = ["Allocation", "Envelope", "Escape", "Merge", "Share", "majorant", "merge", "minorant"]


ALMOST: Final = 1.0 - 1e-9
"""A segment as steep as a ray, up to rounding, goes before it: there the supremum is attained."""


@dataclass(frozen=True, slots=True, eq=False)
class Envelope:
    """A concave, non-decreasing piecewise linear function of the transport cost.

    Attributes
    ----------
    costs, losses
        Breakpoints, shape ``(m,)``, costs rising from 0.
    atoms
        Which atom of the caller's table each breakpoint is, ``-1`` where it is none, ``(m,)``.
    slope
        Slope of the ray after the last breakpoint.
    ray
        Which recession direction of the caller's table the ray is, ``-1`` where it is none.
    """

    costs: Floats
    losses: Floats
    atoms: Integers
    slope: float = 0.0
    ray: int = -1

    def __call__(self, costs: Floats) -> Floats:
        """Evaluate at transport costs of any shape."""
        inside = np.interp(costs, self.costs, self.losses)
        losses: Floats = inside + self.slope * np.maximum(0.0, costs - self.costs[-1])
        return losses


def majorant(
    costs: Floats,
    losses: Floats,
    atoms: Integers | None = None,
    *,
    slope: float = 0.0,
    ray: int = -1,
) -> Envelope:
    """Return the least concave non-decreasing majorant of points and a final ray.

    Parameters
    ----------
    costs, losses, atoms
        Points, shape ``(m,)``; one of them has cost 0.
    slope, ray
        Slope at which mass can escape for ever, and its direction.
    """
    if atoms is None:
        atoms = np.full(len(costs), -1)
    order = np.lexsort((-losses, costs))
    hull: list[int] = []
    for k in order.tolist():
        if hull and (losses[k] <= losses[hull[-1]] or costs[k] <= costs[hull[-1]]):
            continue
        while len(hull) >= 2 and _below(costs, losses, hull[-2], hull[-1], k):
            hull.pop()
        hull.append(k)
    while len(hull) >= 2 and _slope(costs, losses, hull[-2], hull[-1]) < slope * ALMOST:
        hull.pop()
    return Envelope(costs[hull], losses[hull], atoms[hull], slope, ray)


def _below(costs: Floats, losses: Floats, a: int, b: int, c: int) -> bool:
    """Whether ``b`` lies on or below the chord from ``a`` to ``c``.

    Decided by the slopes that :func:`merge` sorts by, so that rounding cannot reverse two
    segments of one sample there.
    """
    return _slope(costs, losses, a, b) <= _slope(costs, losses, b, c)


def _slope(costs: Floats, losses: Floats, a: int, b: int) -> float:
    with np.errstate(over="ignore"):  # a cost that all but vanishes has a slope without bound
        return float((losses[b] - losses[a]) / (costs[b] - costs[a]))


def minorant(intercepts: Floats, slopes: Floats) -> Envelope:
    """Return the minimum over lines ``intercept + slope · s``, ``s >= 0``, as an envelope.

    Parameters
    ----------
    intercepts, slopes
        Shape ``(m,)``, slopes non-negative; infinite intercepts are ignored, one is finite.
    """
    order = [k for k in np.lexsort((intercepts, -slopes)).tolist() if np.isfinite(intercepts[k])]
    kept: list[int] = []
    starts: list[float] = []
    for k in order:
        start = 0.0
        while kept:
            last = kept[-1]
            if slopes[last] == slopes[k]:
                start = np.inf if intercepts[last] <= intercepts[k] else starts[-1]
            else:
                start = (intercepts[k] - intercepts[last]) / (slopes[last] - slopes[k])
            if start > starts[-1]:
                break
            kept.pop()
            starts.pop()
            start = 0.0
        if start < np.inf:
            kept.append(k)
            starts.append(start)
    costs = np.array(starts)
    losses = intercepts[kept] + slopes[kept] * costs
    return Envelope(costs, losses, np.full(len(kept), -1), float(slopes[kept[-1]]))


class Share(NamedTuple):
    """Mass ``mass`` of sample ``sample`` at breakpoint ``breakpoint`` of its envelope."""

    sample: int
    breakpoint: int
    mass: float


class Escape(NamedTuple):
    """Budget ``budget`` spent on the ray of sample ``sample``: mass that travels for ever."""

    sample: int
    budget: float


class Allocation(NamedTuple):
    """How a merge spends a budget."""

    shares: tuple[Share, ...]
    escape: Escape | None


@dataclass(frozen=True, slots=True, eq=False)
class Merge:
    """All segments of all envelopes, steepest first.

    Attributes
    ----------
    probabilities
        Weight of each sample, ``(N,)``.
    samples, breakpoints
        Sample of each segment and the breakpoint at which it starts, ``(S,)``.
    slopes
        Gain per unit of cost, non-increasing, ``(S,)``.
    budgets, values
        Corners of the value as a function of the budget, ``(S + 1,)``, from budget 0.
    final_slope
        Slope of the value after its last corner.
    escaping
        Sample whose ray that is, ``-1`` when ``final_slope`` is 0.
    """

    probabilities: Floats
    samples: Integers
    breakpoints: Integers
    slopes: Floats
    budgets: Floats
    values: Floats
    final_slope: float
    escaping: int

    def value(self, budget: float) -> float:
        """Worst-case value over these envelopes at a budget."""
        inside = float(np.interp(budget, self.budgets, self.values))
        return inside + self.final_slope * max(0.0, budget - float(self.budgets[-1]))

    def multiplier(self, budget: float) -> float:
        """Right-hand slope of the value at a budget; a corner within rounding counts as reached."""
        k = int(np.searchsorted(self.budgets[1:], budget * (1.0 + 1e-12), side="right"))
        return float(self.slopes[k]) if k < len(self.slopes) else self.final_slope

    def allocate(self, budget: float) -> Allocation:
        """Return where the mass of every sample goes: ``N + 1`` shares suffice.

        The budget holds up to the rounding of the sums; who needs it exactly checks the charges
        (:meth:`wdaverify.atoms.Atoms.distribution` does).
        """
        used = int(np.searchsorted(self.budgets[1:], budget, side="right"))
        at = np.zeros(len(self.probabilities), dtype=np.int64)
        np.add.at(at, self.samples[:used], 1)
        masses = self.probabilities
        heavy = np.flatnonzero(masses > 0).tolist()
        shares = {i: [Share(i, int(at[i]), float(masses[i]))] for i in heavy}
        rest = budget - float(self.budgets[used])
        if used < len(self.slopes) and rest > 0:
            i, k = int(self.samples[used]), int(self.breakpoints[used])
            length = float(self.budgets[used + 1] - self.budgets[used])
            moved = float(masses[i]) * min(1.0, rest / length) * (1.0 - 2.0**-50)
            shares[i] = [Share(i, k, float(masses[i]) - moved), Share(i, k + 1, moved)]
        escape = None
        if used == len(self.slopes) and rest > 0 and self.final_slope > 0:
            escape = Escape(self.escaping, rest)
        return Allocation(tuple(share for group in shares.values() for share in group), escape)


def merge(envelopes: Sequence[Envelope], probabilities: Floats) -> Merge:
    """Sort the segments of all envelopes by slope.

    Parameters
    ----------
    envelopes
        One per sample.
    probabilities
        Weight of each sample, shape ``(N,)``; samples of weight zero take no part.
    """
    active = [int(i) for i in np.flatnonzero(probabilities > 0)]
    final, escaping = 0.0, -1
    for i in active:
        if envelopes[i].slope > final:
            final, escaping = envelopes[i].slope, i
    counts = [len(envelopes[i].costs) - 1 for i in active]
    samples = np.repeat(np.array(active, dtype=np.int64), counts)
    starts = np.concatenate([np.arange(c) for c in counts] or [np.zeros(0, dtype=np.int64)])
    mass = probabilities[samples]
    spans = np.concatenate([np.diff(envelopes[i].costs) for i in active])
    gains = np.concatenate([np.diff(envelopes[i].losses) for i in active])
    with np.errstate(over="ignore"):  # a cost that all but vanishes has a slope without bound
        slopes = gains / spans
    order = np.lexsort((starts, samples, -slopes))
    order = order[slopes[order] >= final * ALMOST]
    nominal = sum(float(probabilities[i] * envelopes[i].losses[0]) for i in active)
    return Merge(
        probabilities,
        samples[order],
        starts[order],
        slopes[order],
        np.concatenate([[0.0], np.cumsum((mass * spans)[order])]),
        np.concatenate([[nominal], nominal + np.cumsum((mass * gains)[order])]),
        final,
        escaping,
    )
