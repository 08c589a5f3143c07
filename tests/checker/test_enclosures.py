"""Enclosures against the decimal module at 80 digits."""

import random
from decimal import Decimal, getcontext, localcontext
from fractions import Fraction

import pytest

from wdaverify.checker.enclosures import exp, log, power, sqrt
from wdaverify.checker.reading import Rejected


def decimal(x):
    with localcontext() as context:
        context.prec = 120
        return Decimal(x.numerator) / Decimal(x.denominator)


@pytest.fixture(autouse=True)
def _digits():
    before = getcontext().prec
    getcontext().prec = 80
    yield
    getcontext().prec = before


def rationals(seed, count, *, top, positive):
    rng = random.Random(seed)
    for _ in range(count):
        kind = rng.randrange(4)
        if kind == 0:
            x = Fraction(rng.uniform(-top, top))
        elif kind == 1:
            x = Fraction(rng.randrange(-50, 50), rng.randrange(1, 60))
        elif kind == 2:
            x = Fraction(2.0 ** rng.randrange(-60, 4)) * rng.choice([1, -1])
        else:
            x = Fraction(rng.getrandbits(200), rng.getrandbits(190) + 1) % int(top)
        yield abs(x) + (x == 0) if positive else x


def assert_tight(ends, true):
    """The enclosure holds, and its width is below 1e-40 of the value."""
    low, high = ends
    slack = abs(true) * Decimal("1e-70")
    assert decimal(low) <= true + slack
    assert decimal(high) >= true - slack
    assert high - low <= Fraction(1, 10**40) * (abs(low) + Fraction(1, 10**5))


def test_square_root():
    for x in rationals(1, 400, top=1e6, positive=True):
        low, high = sqrt(x)
        assert low * low <= x <= high * high
        assert high - low <= high / 2**100


def test_square_root_of_a_square_is_exact():
    assert sqrt(Fraction(9, 16)) == (Fraction(3, 4), Fraction(3, 4))
    assert sqrt(Fraction(0)) == (0, 0)


def test_exponential():
    for x in rationals(2, 400, top=300, positive=False):
        assert_tight(exp(x), decimal(x).exp())
    assert_tight(exp(Fraction(0)), Decimal(1))


def test_logarithm():
    for x in rationals(3, 400, top=1e9, positive=True):
        assert_tight(log(x), decimal(x).ln())
    assert log(Fraction(1))[0] == 0


def test_logarithm_just_below_and_above_powers_of_two():
    for k in range(-70, 70):
        for delta in (Fraction(-1, 2**90), Fraction(0), Fraction(1, 2**90)):
            x = Fraction(2) ** k * (1 + delta)
            low, high = log(x)
            assert decimal(low) <= decimal(x).ln() <= decimal(high) or k == 0 == delta
            assert low <= high


def test_exponential_next_to_multiples_of_log_two():
    """Where the reduction's integer could be off by one the remainder stays in range."""
    low, high = log(Fraction(2))
    for k in range(-40, 40):
        for x in (k * low, k * high, k * (low + high) / 2):
            ends = exp(x)
            true = decimal(x).exp()
            assert decimal(ends[0]) <= true * (1 + Decimal("1e-75"))
            assert decimal(ends[1]) >= true * (1 - Decimal("1e-75"))


def test_power():
    for x in rationals(4, 200, top=1e4, positive=True):
        for q in (Fraction(1.5), Fraction(3), Fraction(1, 3), Fraction(2.7), Fraction(11, 10)):
            assert_tight(power(x, q), (decimal(x).ln() * decimal(q)).exp())


def test_whole_powers_are_exact():
    x = Fraction(7, 3)
    assert power(x, Fraction(5)) == (x**5, x**5)
    assert power(Fraction(0), Fraction(1.5)) == (0, 0)


def test_out_of_reach():
    low, high = exp(Fraction(-(10**6)))
    assert low == 0 < high < Fraction(1, 2**20000)
    with pytest.raises(Rejected, match="beyond"):
        exp(Fraction(10**6))
