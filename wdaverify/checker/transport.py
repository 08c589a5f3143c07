r"""The term in ``x``: ``max { g·x - price ‖x - x_i‖^p : x in the box, t0 <= ‖x - x_i‖ <= t1 }``.

``h(t) = max { g·d : ‖d‖ <= t, x_i + d in the box }`` is written (or, for l2, bounded) as an offset
and a concave piecewise linear function from 0, given as segments ``(length, slope)``.
"""

from fractions import Fraction
from operator import mul
from typing import NamedTuple

from wdaverify.checker.enclosures import power, sqrt
from wdaverify.checker.question import Question
from wdaverify.checker.reading import Rejected, Vector, fractions

__all__ = ["Affine", "Price", "Ring", "everywhere", "is_below", "maximum", "ring_of"]

INFINITE = float("inf")
Segments = list[tuple[int | None, int]]
"""Lengths over the ring's denominator (None: no end), falling slopes over the gradient's."""


Shape = tuple[Fraction, Segments, int]
"""Offset, segments, and the denominator of their slopes."""
Bound = tuple[Fraction, int, int]
"""``(more, top, bottom)``: the number ``more + top / bottom``."""


class Affine(NamedTuple):
    """The function ``constant + gradient · x``."""

    constant: Fraction
    gradient: Vector


class Price(NamedTuple):
    """The price ``rate · t ** order`` of a distance."""

    rate: Fraction
    order: Fraction


FREE = Price(Fraction(0), Fraction(1))


class Ring(NamedTuple):
    """Points of the box at a distance ``inner`` to ``outer`` (None: any) of a centre.

    All integers are over the common denominator ``den``; ``up`` and ``down`` are the rooms between
    the centre and the box, or ``outer`` where that is nearer; None without a bound.
    """

    norm: str
    den: int
    centre: list[int]
    up: list[int | None]
    down: list[int | None]
    inner: int
    outer: int | None


def ring_of(q: Question, centre: Vector, inner: Fraction, outer: Fraction | None) -> Ring:
    """Return a ring around a point of the box."""
    if inner < 0 or (outer is not None and outer < inner):
        raise Rejected("a ring needs 0 <= t0 <= t1")
    x = [Fraction(v, centre.den) for v in centre.ints]
    n, none = len(x), Fraction(0)
    up = [None if u is None else u - v for v, u in zip(x, q.upper, strict=True)]
    down = [None if low is None else v - low for v, low in zip(x, q.lower, strict=True)]
    rooms = [outer if r is None or (outer is not None and outer < r) else r for r in (*up, *down)]
    ints, den = fractions([*x, inner, outer or none, *(r or none for r in rooms)])
    found = [None if r is None else v for v, r in zip(ints[n + 2 :], rooms, strict=True)]
    end = None if outer is None else ints[n + 1]
    return Ring(q.norm, den, list(ints[:n]), found[:n], found[n:], ints[n], end)


def everywhere(q: Question) -> Ring:
    """Return the whole box as a ring, around its point nearest to 0."""
    ends = zip(q.lower, q.upper, strict=True)
    zero = Fraction(0)
    centre = [max(zero if low is None else low, min(zero, zero if high is None else high))
              for low, high in ends]  # fmt: skip
    return ring_of(q, fractions(centre), zero, None)


def maximum(affine: Affine, ring: Ring, price: Price = FREE) -> Fraction | None:
    """Bound ``affine(x) - price`` over the ring; None where it is unbounded."""
    found = [more + Fraction(top, bottom) for more, top, bottom in _bounds(affine, ring, price)]
    return min(found, default=None)


def is_below(
    affine: Affine, ring: Ring, limit: Fraction, price: Price = FREE, *, strictly: bool = False
) -> bool:
    """Whether the `maximum` is at most a limit, without a gcd."""
    high, low = limit.numerator, limit.denominator
    for more, top, bottom in _bounds(affine, ring, price):
        gap = high * bottom * more.denominator
        gap -= (top * more.denominator + more.numerator * bottom) * low
        if gap > 0 or (gap == 0 and not strictly):
            return True
    return False


def _bounds(affine: Affine, ring: Ring, price: Price) -> list[Bound]:
    """Return upper bounds of the maximum; none where it is infinite."""
    constant, (g, den) = affine
    at = sum(map(mul, g, ring.centre))
    pairs = [(abs(v), ring.up[k] if v > 0 else ring.down[k]) for k, v in enumerate(g) if v]
    if ring.norm == "l2":
        constant += Fraction(at, den * ring.den)
        shapes = _euclidean(pairs, den, ring, price)
        found = [_highest(constant + more, 0, h, unit, ring, price) for more, h, unit in shapes]
    elif ring.norm == "linf" and not price.rate:
        return _freely(constant, at, pairs, den * ring.den)
    else:
        segments = _cube(pairs) if ring.norm == "linf" else _knapsack(pairs)
        found = [_highest(constant, at, segments, den, ring, price)]
    return [bound for bound in found if bound is not None]


def _freely(
    constant: Fraction, start: int, pairs: list[tuple[int, int | None]], den: int
) -> list[Bound]:
    """Return ``constant + start + Σ |g_k| r_k``: l∞ at no price, rooms within the ring."""
    total = start
    for v, room in pairs:
        if room is None:
            return []
        total += v * room
    return [(constant, total, den)]


def _cube(pairs: list[tuple[int, int | None]]) -> Segments:
    """Return ``Σ |g_k| min(t, r_k)``."""
    slope, t = sum(v for v, _ in pairs), 0
    segments: Segments = []
    for room, v in sorted((room, v) for v, room in pairs if room is not None):
        if room > t:
            segments.append((room - t, slope))
            t = room
        slope -= v
    return [*segments, (None, slope)]


def _knapsack(pairs: list[tuple[int, int | None]]) -> Segments:
    """Return the knapsack that moves the coordinates of largest ``|g_k|`` first."""
    return [*((room, v) for v, room in sorted(pairs, key=lambda pair: -pair[0])), (None, 0)]


def _euclidean(
    pairs: list[tuple[int, int | None]], den: int, ring: Ring, price: Price
) -> list[Shape]:
    """Return ``Σ (|g_k| - y_k) r_k + ‖y‖ t`` with ``y_k = min(|g_k|, κ r_k)`` for several κ.

    The numerators of κ are tried over the denominator ``den · 2^64 / ring.den``.
    """
    shapes: list[Shape] = []
    try:
        tried = _kappas(pairs, den, ring, price)
    except (ArithmeticError, ValueError):  # beyond floating point
        tried = []
    for kappa in [None, 0, *tried]:
        y = [(v << 64) if room is None or kappa is None else min(v << 64, kappa * room)
             for v, room in pairs]  # fmt: skip
        spare = sum(((v << 64) - w) * (room or 0) for (v, room), w in zip(pairs, y, strict=True))
        length = sqrt(Fraction(sum(w * w for w in y), (den << 64) ** 2))[1]
        offset = Fraction(spare, (den << 64) * ring.den)
        shapes.append((offset, [(None, length.numerator)], length.denominator))
    return shapes


def _kappas(pairs: list[tuple[int, int | None]], den: int, ring: Ring, price: Price) -> list[int]:
    """Look in floating point for the κ at which the bound is best: bisection on ``t = ‖y‖/κ``."""
    rooms = [(v / den, r / ring.den) for v, r in pairs if r]
    free = sum((v / den) ** 2 for v, r in pairs if r is None)
    inner, outer = ring.inner / ring.den, INFINITE if ring.outer is None else ring.outer / ring.den
    rate, p = float(price.rate), float(price.order)
    low, high = 0.0, max((v / r for v, r in rooms), default=0.0)
    for _ in range(200):
        if high - low <= 4e-16 * high:
            break
        kappa = (low + high) / 2
        length = (free + sum(min(v, kappa * r) ** 2 for v, r in rooms)) ** 0.5
        t = length / kappa
        if t > outer or (t > inner and length < rate * p * t ** (p - 1)):
            low = kappa
        else:
            high = kappa
    return [int(Fraction(low * (1 - 1e-13)) * (den << 64) / ring.den)] if rooms else []


def _highest(
    constant: Fraction, start: int, segments: Segments, den: int, ring: Ring, price: Price
) -> Bound | None:
    """Return ``constant + start + max h(t) - price(t)`` over the ring's distances."""
    rate, extra = _tangent(segments, den, ring, price)
    top, bottom = rate.numerator, rate.denominator
    t, value = 0, start
    for length, slope in segments:
        stop = None if length is None else t + length
        if slope * bottom <= top * den:  # going further than need be does not pay
            if t >= ring.inner:
                break
            stop = ring.inner if stop is None else min(stop, ring.inner)
        if ring.outer is not None:
            stop = ring.outer if stop is None else min(stop, ring.outer)
        if stop is None:
            return None
        value += slope * (stop - t)
        t = stop
    more = constant + extra if extra else constant
    return more, value * bottom - top * t * den, den * ring.den * bottom


def _tangent(segments: Segments, den: int, ring: Ring, price: Price) -> tuple[Fraction, Fraction]:
    """Return ``m`` and ``K`` with ``rate · t^p >= m t - K``, near the best distance.

    ``K = (p-1) λ (m/(λp))^(p/(p-1))`` is taken from above, whatever ``m``.
    """
    if price.order == 1 or price.rate == 0:
        return price.rate, Fraction(0)
    p, rate = price.order, price.rate
    try:
        m = max(_slope(segments, den, ring, price), Fraction(0))
    except (ArithmeticError, ValueError):  # beyond floating point: any slope is sound
        m = Fraction(0)
    if ring.outer is None:
        m = max(m, Fraction(segments[-1][1], den))
    return m, (p - 1) * rate * power(m / (rate * p), p / (p - 1))[1]


def _slope(segments: Segments, den: int, ring: Ring, price: Price) -> Fraction:
    """Look in floating point for the slope of the price at the best distance."""
    p, rate = float(price.order), float(price.rate * price.order)
    inner, outer = ring.inner / ring.den, INFINITE if ring.outer is None else ring.outer / ring.den
    t = 0
    for length, slope in segments:
        stop = INFINITE if length is None else (t + length) / ring.den
        best = _grown(slope / den / rate, 1 / (p - 1))
        if best < stop or stop > outer:
            break
        t += length or 0
    at = min(max(best, inner, t / ring.den), outer)
    if at == best:
        return Fraction(slope, den)
    return Fraction(rate * at ** (p - 1))


def _grown(base: float, exponent: float) -> float:
    try:
        return float(base**exponent)
    except OverflowError:
        return INFINITE
