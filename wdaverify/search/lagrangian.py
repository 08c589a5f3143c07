r"""Bounds of nodes from multipliers on the definitions of the pre-activations.

.. math:: D(\nu) = \beta_j + \nu_1\cdot c_i + \sum_{l\ge2}\nu_l\cdot b_l
          + \sum_{k}\max_{z\in[l_k,u_k]}\bigl(\alpha_k\,\text{act}(z)-\nu_k z\bigr)
          + \max_u\bigl(\nu_1^\top W_1 u - \lambda\|u\|^p\bigr),
          \qquad \alpha_l = W_{l+1}^\top\nu_{l+1},\ \alpha_L = w_j

is an upper bound on the node for every ``ν`` and every ``λ``: a neuron's maximum lies at an end of
its interval or at 0, the move's is known in closed form.
"""

from typing import NamedTuple

import numpy as np

from wdaverify.arrays import Bools, Floats, Integers
from wdaverify.search.rings import Price, Rings, Shell
from wdaverify.search.scaling import Scaled, activate

__all__ = ["Aim", "Bound", "Pace", "Region", "ascend", "dual_bound", "first_multipliers", "score"]


NARROW = 1e-6
"""Intervals shorter than this (in units of the neuron's magnitude) count as this long."""


STRIDE = 10
"""Steps between two looks at which nodes are done."""


class Region(NamedTuple):
    """What a bound needs to know of ``B`` nodes: bounds ``(B, m)``, the rest ``(B,)``."""

    owner: Integers
    piece: Integers
    ring: Integers
    lower: Floats
    upper: Floats

    def select(self, index: Integers | Bools) -> "Region":
        """Return some of the nodes."""
        owner, piece, ring = (v[index] for v in (self.owner, self.piece, self.ring))
        return Region(owner, piece, ring, self.lower[index], self.upper[index])


class Bound(NamedTuple):
    """Values ``(B,)``, their maximisers and subgradients."""

    value: Floats
    move: Floats
    z: Floats
    """Maximising pre-activations, ``(B, m)``."""
    alpha: Floats
    """Coefficients of the activations, ``(B, m)``."""


def dual_bound(
    scaled: Scaled,
    shell: Shell,
    region: Region,
    nu: Floats,
    price: Price,
    tilt: Floats | None = None,
) -> Bound:
    """Evaluate ``D(ν)``, rounding included, for multipliers ``(B, m)``.

    With ``tilt`` ``(B, m)`` the objective has ``tilt · z`` added to it.
    """
    alpha = coefficients(scaled, region.piece, nu)
    first = scaled.layers[0]
    g = nu[:, first] @ scaled.weights[0]
    value, move = shell.maximum(g, price)
    value = value + np.einsum("ij,ij->i", nu[:, first], scaled.origins[region.owner])
    for part, b in zip(scaled.layers[1:], scaled.biases[1:], strict=True):
        value += nu[:, part] @ b
    rest = nu if tilt is None else nu - tilt
    top, z = _neuron_maxima(alpha, rest, region, scaled.slopes)
    value += top.sum(axis=1) + scaled.offsets[region.piece]
    size = np.abs(nu) if tilt is None else np.abs(nu) + np.abs(tilt)
    value += _rounding(scaled, shell, region, size, price)
    return Bound(value, move, z, alpha)


def coefficients(scaled: Scaled, piece: Integers, nu: Floats) -> Floats:
    """Return ``α``, the coefficient of each activation, ``(B, m)``."""
    alpha = np.empty_like(nu)
    alpha[:, scaled.layers[-1]] = scaled.gradients[piece]
    for k in range(1, len(scaled.layers)):
        alpha[:, scaled.layers[k - 1]] = nu[:, scaled.layers[k]] @ scaled.weights[k]
    return alpha


def _neuron_maxima(
    alpha: Floats, nu: Floats, region: Region, slopes: Floats
) -> tuple[Floats, Floats]:
    """Maximise ``α act(z) − ν z`` over ``{lower, 0, upper}``; return values and maximisers."""
    low, high = region.lower, region.upper
    at_low = alpha * activate(low, slopes) - nu * low
    at_high = alpha * activate(high, slopes) - nu * high
    top = np.maximum(at_low, at_high)
    z = np.where(at_high >= at_low, high, low)
    kink = (top < 0) & (low < 0) & (high > 0)
    return np.where(kink, 0.0, top), np.where(kink, 0.0, z)


def _rounding(scaled: Scaled, shell: Shell, region: Region, size: Floats, price: Price) -> Floats:
    """Bound the rounding error of ``D``: every term is a sum of products along the layers.

    ``size`` is the size of the multipliers, ``(B, m)``.
    """
    last = scaled.magnitudes[scaled.layers[-1]]
    fixed = np.abs(scaled.gradients) @ last + np.abs(scaled.offsets)
    total = size @ scaled.magnitudes + fixed[region.piece]
    total += price.of(shell.outer)
    return 4.0 * scaled.relative_error * total


def subgradient(scaled: Scaled, region: Region, bound: Bound) -> Floats:
    """Return the residuals ``W_l h_{l-1} + b_l − z_l`` at the maximisers, ``(B, m)``."""
    G = -bound.z
    first = scaled.layers[0]
    G[:, first] += bound.move @ scaled.weights[0].T + scaled.origins[region.owner]
    h = activate(bound.z, scaled.slopes)
    for k in range(1, len(scaled.layers)):
        here, before = scaled.layers[k], scaled.layers[k - 1]
        G[:, here] += h[:, before] @ scaled.weights[k].T + scaled.biases[k]
    return G


def first_multipliers(scaled: Scaled, region: Region) -> Floats:
    """Return the multipliers of back-substitution: ``ν = α ·`` slope of the bounding line."""
    nu = np.empty_like(region.lower)
    alpha = scaled.gradients[region.piece]
    for k in range(len(scaled.layers) - 1, -1, -1):
        part = scaled.layers[k]
        low, high = region.lower[:, part], region.upper[:, part]
        slopes = scaled.slopes[part]
        below, above = _line_slopes(low, high, slopes)
        nu[:, part] = alpha * np.where(alpha > 0, above, below)
        alpha = nu[:, part] @ scaled.weights[k]
    return nu


def _line_slopes(low: Floats, high: Floats, slopes: Floats) -> tuple[Floats, Floats]:
    on, off = low >= 0, high <= 0
    width = np.where(on | off, 1.0, high - low)
    above = np.where(on, 1.0, np.where(off, slopes, (high - slopes * low) / width))
    below = np.where(on, 1.0, np.where(off, slopes, np.where(high > -low, 1.0, slopes)))
    return below, above


class Pace(NamedTuple):
    """How many steps, how much of the last direction is kept, how far beyond the target to aim."""

    steps: int
    memory: float
    beyond: float


class Aim(NamedTuple):
    """Where to go, ``(B,)``, and how."""

    target: Floats
    pace: Pace


class Ascent(NamedTuple):
    """The best multipliers found, their bounds, the last moves and a first branching score."""

    nu: Floats
    value: Floats
    move: Floats
    score: Floats


def ascend(
    scaled: Scaled,
    rings: Rings,
    region: Region,
    nu: Floats,
    price: Price,
    aim: Aim,
) -> Ascent:
    """Take Polyak steps on ``ν`` towards ``D(ν) = target``; nodes that get there drop out."""
    found = Ascent(
        nu.copy(), np.full(len(nu), np.inf), np.zeros((len(nu), scaled.features)), np.zeros_like(nu)
    )
    todo, left = np.arange(len(nu)), aim.pace.steps
    path = _Path(scaled, nu, region, price)
    while len(todo):
        steps = min(left, STRIDE)
        part, target = region.select(todo), aim.target[todo]
        path.run(rings.at(part.owner, part.ring), part, Aim(target, aim.pace), steps)
        path.store(found, todo)
        left -= steps
        if 0 < left <= aim.pace.steps // 2 < left + steps:
            path.forget()
        going = (path.best > target) & (left > 0)
        path.keep(going)
        todo = todo[going]
    return found


class _Path:
    """Where the ascent of some nodes stands."""

    def __init__(self, scaled: Scaled, nu: Floats, region: Region, price: Price) -> None:
        self.scaled, self.price = scaled, price
        self.nu, self.best_nu = nu, nu.copy()
        self.best = np.full(len(nu), np.inf)
        self.move = np.zeros((len(nu), scaled.features))
        self.weight = 1.0 / np.maximum(region.upper - region.lower, NARROW) ** 2
        self.direction, self.h, self.z = (np.zeros_like(nu) for _ in range(3))
        self.alpha, self.total = np.zeros_like(nu), np.zeros((len(nu), 1))

    def run(self, shell: Shell, region: Region, aim: Aim, steps: int) -> None:
        """Take some steps, and look where the last one led."""
        for _ in range(steps):
            bound = self._look(shell, region)
            G = subgradient(self.scaled, region, bound)
            self.direction = _deflected(self.direction, G, self.weight, aim.pace.memory)
            size = np.einsum("ij,ij,ij->i", self.direction, self.direction, self.weight)
            beyond = aim.pace.beyond * np.maximum(self.best - aim.target, 0.0)
            excess = np.maximum(bound.value - aim.target + beyond, 0.0)
            length = (excess / np.maximum(size, 1e-300))[:, None]
            self.nu = self.nu - length * self.weight * self.direction
            self.h += length * activate(bound.z, self.scaled.slopes)
            self.z += length * bound.z
            self.total += length
        self._look(shell, region)

    def _look(self, shell: Shell, region: Region) -> Bound:
        bound = dual_bound(self.scaled, shell, region, self.nu, self.price)
        better = bound.value < self.best
        self.best = np.where(better, bound.value, self.best)
        self.best_nu[better] = self.nu[better]
        self.move[better] = bound.move[better]
        self.alpha = bound.alpha
        return bound

    def store(self, found: Ascent, rows: Integers) -> None:
        """Write what is known so far."""
        total = np.maximum(self.total, 1e-300)
        found.nu[rows], found.value[rows], found.move[rows] = self.best_nu, self.best, self.move
        found.score[rows] = score(self.scaled, self.z / total, self.h / total, self.alpha)

    def forget(self) -> None:
        """Begin the average of the maximisers afresh: the first ones tell of the start."""
        for total in (self.h, self.z, self.total):
            total[:] = 0.0

    def keep(self, going: Bools) -> None:
        """Go on with some of the nodes."""
        for name in ("nu", "best_nu", "best", "move", "weight", "direction", "h", "z", "alpha",
                     "total"):  # fmt: skip
            setattr(self, name, getattr(self, name)[going])


def _deflected(old: Floats, G: Floats, weight: Floats, memory: float) -> Floats:
    """Mix the subgradient with the last direction where that does not turn it too far."""
    if memory == 0:
        return G
    mixed = memory * old + (1.0 - memory) * G
    along = np.einsum("ij,ij,ij->i", mixed, G, weight)
    enough = along > 0.3 * np.einsum("ij,ij,ij->i", G, G, weight)
    return np.where(enough[:, None], mixed, G)


def score(scaled: Scaled, z: Floats, h: Floats, alpha: Floats) -> Floats:
    """Return how much each neuron's relaxation is exploited, ``|h − act(z)| · |α|``."""
    gaps: Floats = np.abs(h - activate(z, scaled.slopes)) * np.abs(alpha)
    return gaps
