r"""Moves inside the box whose length lies in a ring: closed-form maxima of linear minus cost.

.. math:: \max\{ g\cdot u - \lambda t^p : u \in \text{box},\ \|u\| \le t,\ t_0 \le t \le t_1 \}

bounds :math:`g\cdot u-\lambda\|u\|^p` on the ring :math:`t_0\le\|u\|\le t_1`. The best ``g · u``
within ``t`` is concave in ``t``; for l1 and l∞ it is piecewise linear, with slopes ``S`` that fall
from segment to segment, so the maximum collects every segment as long as it pays.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import numpy as np

from wdaverify.arrays import Floats, Integers
from wdaverify.norms import GroundNorm
from wdaverify.search.price import Price, balance

__all__ = ["Price", "Rings", "Shell", "rings_for"]


class Shell(ABC):
    """The rings of ``B`` nodes, gathered once for many evaluations.

    Attributes
    ----------
    inner, outer
        Radii, ``(B,)``.
    """

    inner: Floats
    outer: Floats

    @abstractmethod
    def maximum(self, g: Floats, price: Price) -> tuple[Floats, Floats]:
        """Return the maxima ``(B,)`` of ``g (B, n)`` and moves ``(B, n)`` that attain them."""


@dataclass(frozen=True, slots=True, eq=False)
class Rings(ABC):
    """Boxes around ``N`` samples and ``R`` rings in each.

    Attributes
    ----------
    lower, upper
        Box around each sample, ``(N, n)``.
    inner, outer
        Radii of the rings, ``(N, R)``.
    """

    lower: Floats
    upper: Floats
    inner: Floats
    outer: Floats

    @abstractmethod
    def at(self, owner: Integers, ring: Integers) -> Shell:
        """Return the rings of nodes, ``(B,)`` and ``(B,)``."""

    def reach(self, A: Floats, owner: Integers, ring: Integers) -> Floats:
        """Return maxima of linear functions ``(B, q, n)`` within the outer radius, ``(B, q)``."""
        B, q, n = A.shape
        whole = type(self)(self.lower, self.upper, np.zeros_like(self.inner), self.outer)
        shell = whole.at(np.repeat(owner, q), np.repeat(ring, q))
        return shell.maximum(A.reshape(B * q, n), Price(0.0, 1.0))[0].reshape(B, q)


@final
@dataclass(frozen=True, slots=True, eq=False)
class CubeRings(Rings):
    """l∞: features move together until each meets its room.

    Rooms below a ring only add a constant and rooms beyond it only a slope; those that end inside
    are sorted once per sample and ring.
    """

    order: Integers
    """Sides whose room ends inside the ring, by falling room, padded with ``2n``, ``(N, R, q)``."""
    ends: Floats
    """Their rooms, ``(N, R, q)``."""
    counts: Integers
    """How many there are, ``(N, R)``."""

    def __init__(self, lower: Floats, upper: Floats, inner: Floats, outer: Floats) -> None:
        rooms = np.concatenate([upper, -lower], axis=1)[:, None, :]
        low, high = inner[:, :, None], outer[:, :, None]
        inside = (rooms > low) & (rooms < high)
        counts = inside.sum(axis=2)
        key = np.where(inside, -rooms, np.inf)
        order = np.argsort(key, axis=2, kind="stable")[:, :, : int(counts.max(initial=0))]
        ends = -np.take_along_axis(key, order, axis=2)
        padding = np.isinf(ends)
        order[padding] = rooms.shape[2]
        ends = np.where(padding, low, ends)
        values = (lower, upper, inner, outer, order, ends, counts)
        for name, value in zip(_SLOTS, values, strict=True):
            object.__setattr__(self, name, value)

    def at(self, owner: Integers, ring: Integers) -> Shell:
        return _Cubes(self, owner, ring)

    def reach(self, A: Floats, owner: Integers, ring: Integers) -> Floats:
        outer = self.outer[owner, ring][:, None]
        low = np.maximum(self.lower[owner], -outer)
        high = np.minimum(self.upper[owner], outer)
        middle, half = (high + low) / 2, (high - low) / 2
        size = np.abs(A)
        return (A @ middle[:, :, None] + size @ half[:, :, None])[:, :, 0]


_SLOTS = ("lower", "upper", "inner", "outer", "order", "ends", "counts")


@final
class _Cubes(Shell):
    def __init__(self, rings: CubeRings, owner: Integers, ring: Integers) -> None:
        self.inner, self.outer = rings.inner[owner, ring], rings.outer[owner, ring]
        self.lower, self.upper = rings.lower[owner], rings.upper[owner]
        low, high = self.inner[:, None], self.outer[:, None]
        up, down = np.minimum(self.upper, low), np.minimum(-self.lower, low)
        self.middle, self.half = (up - down) / 2, (up + down) / 2
        up, down = self.upper >= high, -self.lower >= high
        self.tilt, self.mass = (up * 1.0 - down) / 2, (up * 1.0 + down) / 2
        inside = int(rings.counts[owner, ring].max(initial=0))
        ends = rings.ends[owner, ring, :inside]
        self.far = np.concatenate([high, ends], axis=1)
        self.near = np.concatenate([ends, low], axis=1)
        sides = 2 * self.lower.shape[1] + 1
        self.order = rings.order[owner, ring, :inside] + sides * np.arange(len(owner))[:, None]

    def maximum(self, g: Floats, price: Price) -> tuple[Floats, Floats]:
        B, n = g.shape
        size = np.abs(g)
        start = np.einsum("ij,ij->i", g, self.middle) + np.einsum("ij,ij->i", size, self.half)
        slopes = np.empty(self.far.shape)
        slopes[:, 0] = np.einsum("ij,ij->i", g, self.tilt) + np.einsum("ij,ij->i", size, self.mass)
        if self.order.shape[1]:
            sides = np.zeros((B, 2 * n + 1))
            np.maximum(g, 0.0, out=sides[:, :n])
            np.maximum(-g, 0.0, out=sides[:, n : 2 * n])
            slopes[:, 1:] = sides.ravel()[self.order]
            np.cumsum(slopes, axis=1, out=slopes)
        gain, advance = _collect(slopes, self.near, self.far, price)
        stop = (self.inner + advance)[:, None]
        move = np.clip(np.sign(g) * stop, self.lower, self.upper)
        return start - price.of(self.inner) + gain, move


@final
@dataclass(frozen=True, slots=True, eq=False)
class DiamondRings(Rings):
    """l1: the feature with the steepest slope moves first, until it meets its room."""

    def at(self, owner: Integers, ring: Integers) -> Shell:
        return _Diamonds(self, owner, ring)


class _Plain(Shell):
    """The boxes and radii of nodes."""

    def __init__(self, rings: Rings, owner: Integers, ring: Integers) -> None:
        self.inner, self.outer = rings.inner[owner, ring], rings.outer[owner, ring]
        self.lower, self.upper = rings.lower[owner], rings.upper[owner]


@final
class _Diamonds(_Plain):
    def maximum(self, g: Floats, price: Price) -> tuple[Floats, Floats]:
        size = np.abs(g)
        order = np.argsort(-size, axis=1, kind="stable")
        rooms = np.where(g > 0, self.upper, -self.lower)
        slopes = np.take_along_axis(size, order, axis=1)
        rooms = np.take_along_axis(rooms, order, axis=1)
        far = rooms.cumsum(axis=1)
        near = np.concatenate([np.zeros((len(far), 1)), far[:, :-1]], axis=1)
        inner, outer = self.inner[:, None], self.outer[:, None]
        base = np.minimum(far, inner) - np.minimum(near, inner)
        start = np.einsum("ij,ij->i", slopes, base)
        gain, advance = _collect(
            slopes, np.clip(near, inner, outer), np.clip(far, inner, outer), price
        )
        moved = np.clip(inner + advance[:, None] - near, 0.0, rooms)
        move = np.empty_like(moved)
        np.put_along_axis(move, order, moved, axis=1)
        return start - price.of(self.inner) + gain, np.sign(g) * move


@final
@dataclass(frozen=True, slots=True, eq=False)
class RoundRings(Rings):
    r"""l2: for any ``y``, :math:`g\cdot u \le \sum_k |g_k-y_k|\,room_k + \|y\|\,\|u\|`.

    The best ``y`` is ``min(|g|, κ room)`` with the sign of ``g``, the move ``y / κ``; features with
    ``|g| <= κ room`` are free, the others at their room. The bound holds for any ``κ``.
    """

    def at(self, owner: Integers, ring: Integers) -> Shell:
        return _Rounds(self, owner, ring)


@final
class _Rounds(_Plain):
    def maximum(self, g: Floats, price: Price) -> tuple[Floats, Floats]:
        size = np.abs(g)
        rooms = np.where(g > 0, self.upper, -self.lower)
        kappa = balance(size, rooms, self.inner, self.outer, price)[:, None]
        y = np.minimum(size, kappa * rooms)
        steep = np.sqrt(np.einsum("ij,ij->i", y, y))
        stop = price.stop(steep, self.inner, self.outer)
        value = np.einsum("ij,ij->i", size - y, rooms) + steep * stop - price.of(stop)
        return value, np.sign(g) * (y / kappa)


def _collect(slopes: Floats, near: Floats, far: Floats, price: Price) -> tuple[Floats, Floats]:
    """Sum what segments gain beyond their cost, and how far that leads: ``(B, q) -> (B,)``."""
    if price.order == 1 or price.multiplier == 0:
        length = far - near
        worth = slopes > price.multiplier
        gain = np.maximum(slopes - price.multiplier, 0.0)
        return np.einsum("ij,ij->i", gain, length), np.einsum("ij,ij->i", worth, length)
    stop = price.stop(slopes, near, far)
    gain = slopes * (stop - near) - (price.of(stop) - price.of(near))
    return np.maximum(gain, 0.0).sum(axis=1), (stop - near).sum(axis=1)


_KINDS: dict[str, type[Rings]] = {"l1": DiamondRings, "l2": RoundRings, "linf": CubeRings}


def rings_for(
    norm: GroundNorm, lower: Floats, upper: Floats, inner: Floats, outer: Floats
) -> Rings:
    """Return the rings of a norm: boxes ``(N, n)``, radii ``(N, R)``."""
    return _KINDS[norm.name](lower, upper, inner, outer)
