r"""What a move costs, and for l2 where the marginal cost meets the slope of the gain."""

from typing import NamedTuple

import numpy as np

from wdaverify.arrays import Bools, Floats

__all__ = ["Price", "balance"]

HALVINGS = 48
"""Bisection steps for l2 and orders other than 1 and 2, of the logarithm of ``κ²``."""

SMALLEST, LARGEST = 1e-150, 1e150
"""Range of ``κ``."""


class Price(NamedTuple):
    """What a move of length ``t`` costs: ``multiplier · t ** order``."""

    multiplier: float
    order: float

    def of(self, lengths: Floats) -> Floats:
        """Cost of lengths of any shape."""
        if self.order == 1:
            return self.multiplier * lengths
        return self.multiplier * lengths**self.order

    def stop(self, slopes: Floats, near: Floats, far: Floats) -> Floats:
        """Return where in ``[near, far]`` the marginal cost reaches the slope."""
        if self.order == 1 or self.multiplier == 0:
            return np.where(slopes > self.multiplier, far, near)
        scale = np.maximum(slopes, 0.0) / (self.multiplier * self.order)
        power = scale if self.order == 2 else scale ** (1.0 / (self.order - 1.0))
        return np.clip(power, near, far)


def balance(size: Floats, rooms: Floats, inner: Floats, outer: Floats, price: Price) -> Floats:
    r"""Return ``κ`` where the slope ``|y(κ)|`` meets the marginal cost at length ``|y(κ)| / κ``.

    With :math:`q = \kappa^2`, :math:`S(q) = |y|^2 = \sum_k\min(g_k^2, q\,room_k^2)` is linear,
    ``A + R q``, between the sorted ratios of slope and room. Below the right ``q`` the length
    :math:`\sqrt{S/q}` is beyond the outer radius, or beyond the inner one and too dear.
    """
    roomy = rooms * rooms
    squares = np.where(roomy > 0, size * size, 0.0)
    ratios = squares / np.where(roomy > 0, roomy, 1.0)
    B, n = ratios.shape
    order = ratios.argsort(axis=1) + n * np.arange(B)[:, None]
    ratios = ratios.ravel()[order]
    A, R = np.zeros((B, n + 1)), np.empty((B, n + 1))
    squares.ravel()[order].cumsum(axis=1, out=A[:, 1:])
    R[:, -1] = 0.0
    roomy.ravel()[order[:, ::-1]].cumsum(axis=1, out=R[:, n - 1 :: -1] if n else R[:, :0])
    S = A[:, 1:] + R[:, 1:] * ratios
    near, far = inner * inner, outer * outer
    dear = (near[:, None] * ratios < S) & _dear(S, ratios, price)
    below = (ratios == 0) | (far[:, None] * ratios < S) | dear
    segment = (np.arange(B), below.sum(axis=1))
    A, R = A[segment], R[segment]
    q = np.minimum(_root(A, near - R), _priced(A, R, price))
    q = np.maximum(q, np.where(far > R, _root(A, far - R), 0.0))
    return np.asarray(np.clip(np.sqrt(q), SMALLEST, LARGEST))


def _root(A: Floats, slope: Floats) -> Floats:
    """Return where ``A = slope q``, infinite unless it rises."""
    rises = slope > 0
    return np.where(rises, A / np.where(rises, slope, 1.0), np.inf)


def _dear(S: Floats, q: Floats, price: Price) -> Bools:
    """Whether the marginal cost at length ``√(S/q)`` exceeds the slope ``√S``."""
    rate = price.multiplier * price.order
    if price.order == 1:
        return np.asarray(rate * rate > S)
    if price.order == 2:
        return np.asarray(rate * rate > q)
    with np.errstate(divide="ignore"):  # log of rate² S^(p−2) > q^(p−1)
        S, q = np.log(S), np.log(q)
    gap = 2.0 * np.log(rate) if rate > 0 else -np.inf
    with np.errstate(invalid="ignore"):
        return np.asarray(gap + (price.order - 2.0) * S > (price.order - 1.0) * q)


def _priced(A: Floats, R: Floats, price: Price) -> Floats:
    """Return ``q`` where the marginal cost is the slope, if ``S`` were ``A + R q`` everywhere."""
    rate = price.multiplier * price.order
    if rate == 0 or price.order == 2:
        return np.full(len(A), rate * rate)
    if price.order == 1:
        return np.where(rate * rate > A, _root(rate * rate - A, R), 0.0)
    low, high = np.full(len(A), -300.0), np.full(len(A), 300.0)
    for _ in range(HALVINGS):
        q = 10.0 ** ((low + high) / 2)
        dear = _dear(A + R * q, q, price)
        low, high = np.where(dear, (low + high) / 2, low), np.where(dear, high, (low + high) / 2)
    return np.asarray(10.0**high)
