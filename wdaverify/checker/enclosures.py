r"""Proven rational enclosures ``(lower, upper)`` of roots, exp, log and real powers.

Fixed point with `P` binary places. Every helper takes a direction: down floors each step and drops
the (positive) tail of the series, up ceils each step and adds a bound of the tail.
"""

from fractions import Fraction
from math import isqrt

from wdaverify.checker.reading import BITS, Rejected, bits

__all__ = ["exp", "log", "power", "sqrt"]

P = 160
ONE = 1 << P
REACH = 1 << 15
"""Largest power of two that `exp` returns."""


def _div(top: int, bottom: int, *, up: bool) -> int:
    """Return ``top / bottom`` rounded to an integer, ``bottom > 0``."""
    return -(-top // bottom) if up else top // bottom


def sqrt(x: Fraction) -> tuple[Fraction, Fraction]:
    """Enclose the square root of ``x >= 0``; exact where it is rational."""
    product, den = x.numerator * x.denominator, x.denominator
    root = isqrt(product)
    if root * root == product:
        return Fraction(root, den), Fraction(root, den)
    shift = max(0, P - product.bit_length() // 2)
    root = isqrt(product << 2 * shift)
    return Fraction(root, den << shift), Fraction(root + 1, den << shift)


def _atanh_twice(u: int, *, up: bool) -> int:
    """Return ``2 atanh(u) = 2 (u + u³/3 + u⁵/5 + …)`` for ``0 <= u <= ONE/3``."""
    square = _div(u * u, ONE, up=up)
    total, term, n = 0, u, 1
    while term > 1:
        total += _div(term, n, up=up)
        term, n = _div(term * square, ONE, up=up), n + 2
    return 2 * (total + (2 * term + 2 if up else 0))  # the tail is at most term · 9/8


LOG2 = tuple(_atanh_twice(_div(ONE, 3, up=up), up=up) for up in (False, True))


def log(x: Fraction) -> tuple[Fraction, Fraction]:
    """Enclose the logarithm of ``x > 0``: ``x = 2^k m``, ``log m = 2 atanh((m-1)/(m+1))``."""
    k = x.numerator.bit_length() - x.denominator.bit_length()
    if x < Fraction(2) ** k:
        k -= 1
    m = x / Fraction(2) ** k  # in [1, 2)
    u = (m - 1) / (m + 1) * ONE
    ends = []
    for up in (False, True):
        part = _atanh_twice(_div(u.numerator, u.denominator, up=up), up=up)
        ends.append(Fraction(part + k * LOG2[up == (k > 0)], ONE))
    return ends[0], ends[1]


def exp(x: Fraction) -> tuple[Fraction, Fraction]:
    """Enclose ``e^x = 2^k e^r`` with ``r = x - k log 2`` in about ``[0, log 2]``."""
    if abs(x) > REACH // 2:
        if x > 0:
            raise Rejected(f"exp of a number beyond {REACH // 2}")
        return Fraction(0), exp(Fraction(-REACH // 2))[1]
    k = _div(x.numerator * ONE, x.denominator * LOG2[x > 0], up=False)  # so that r >= 0
    scaled = x * ONE
    ends = []
    for up in (False, True):
        r = _div(scaled.numerator, scaled.denominator, up=up) - k * LOG2[up != (k > 0)]
        ends.append(Fraction(_taylor(r, up=up), ONE) * Fraction(2) ** k)
    return ends[0], ends[1]


def _taylor(r: int, *, up: bool) -> int:
    """Return ``e^r = 1 + r + r²/2! + …`` for ``0 <= r <= ONE``."""
    total, term, n = 0, ONE, 1
    while term > 1:
        total += term
        term, n = _div(term * r, n * ONE, up=up), n + 1
    return total + (2 * term + 2 if up else 0)  # from n >= 2 on the terms halve at least


def power(x: Fraction, q: Fraction) -> tuple[Fraction, Fraction]:
    """Enclose ``x^q`` for ``x >= 0``, ``q > 0``; exact for whole ``q`` and short ``x``."""
    if x in {0, 1}:
        return x, x
    if q.denominator == 1 and q * max(bits(x), 1024) <= BITS:
        return x**q.numerator, x**q.numerator
    low, high = log(x)
    return exp(low * q)[0], exp(high * q)[1]
