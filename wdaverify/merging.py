r"""The merge of growth envelopes: every side of the sandwich ends here.

.. math:: v_p(\varepsilon) = \max\Big\{\sum_i \mu_i\,\hat g_i(s_i) :
          \sum_i \mu_i s_i \le \varepsilon^p,\ s_i \ge 0\Big\}

For concave piecewise linear envelopes one sort of all segments by slope gives the value for every
radius, the multiplier and the worst-case distribution.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from wdaverify.arrays import Floats, Integers
from wdaverify.envelope import ALMOST, Envelope

__all__ = ["Allocation", "Escape", "Merge", "Segments", "Share", "merge", "merge_segments"]


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

    def at(self, budgets: Floats) -> Floats:
        """Evaluate :meth:`value` at many budgets, any shape."""
        beyond = np.maximum(0.0, budgets - self.budgets[-1])
        return np.asarray(np.interp(budgets, self.budgets, self.values) + self.final_slope * beyond)

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


class Segments(NamedTuple):
    """Breakpoints of the envelopes of all samples, by sample and then by cost.

    Attributes
    ----------
    owners, costs, losses
        Shape ``(m,)``; each sample begins with cost 0.
    slopes
        Slope of the final ray of each sample, ``(N,)``.
    """

    owners: Integers
    costs: Floats
    losses: Floats
    slopes: Floats


def merge(envelopes: Sequence[Envelope], probabilities: Floats) -> Merge:
    """Sort the segments of all envelopes by slope.

    Parameters
    ----------
    envelopes
        One per sample.
    probabilities
        Weight of each sample, shape ``(N,)``; samples of weight zero take no part.
    """
    owners = np.repeat(np.arange(len(envelopes)), [len(e.costs) for e in envelopes])
    costs = np.concatenate([e.costs for e in envelopes])
    losses = np.concatenate([e.losses for e in envelopes])
    slopes = np.array([e.slope for e in envelopes])
    return merge_segments(Segments(owners, costs, losses, slopes), probabilities)


def merge_segments(found: Segments, probabilities: Floats) -> Merge:
    """Sort the segments of all samples by slope; see :func:`merge`."""
    slopes = np.where(probabilities > 0, found.slopes, 0.0)
    escaping = int(slopes.argmax()) if slopes.max(initial=0.0) > 0 else -1
    final = float(slopes[escaping]) if escaping >= 0 else 0.0
    firsts = np.flatnonzero(np.append([True], found.owners[1:] != found.owners[:-1]))
    inside = (found.owners[1:] == found.owners[:-1]) & (probabilities[found.owners[1:]] > 0)
    at = np.flatnonzero(inside)
    samples = found.owners[at]
    starts = at - firsts[np.searchsorted(firsts, at, side="right") - 1]
    spans, gains = np.diff(found.costs)[at], np.diff(found.losses)[at]
    with np.errstate(over="ignore"):  # a cost that all but vanishes has a slope without bound
        steepness = gains / spans
    order = np.lexsort((starts, samples, -steepness))
    order = order[steepness[order] >= final * ALMOST]
    mass = probabilities[samples][order]
    heavy = firsts[probabilities[found.owners[firsts]] > 0]
    nominal = sum((probabilities[found.owners[heavy]] * found.losses[heavy]).tolist())
    return Merge(
        probabilities,
        samples[order],
        starts[order],
        steepness[order],
        np.concatenate([[0.0], np.cumsum(mass * spans[order])]),
        np.concatenate([[nominal], nominal + np.cumsum(mass * gains[order])]),
        final,
        escaping,
    )
