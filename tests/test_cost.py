"""Transport costs: definitions, and charges that never fall below the exact cost."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from wdaverify.cost import TransportCost
from wdaverify.errors import ProblemError

MANY = settings(deadline=None, max_examples=150, derandomize=True)
ORDERS = (1, 2, 3, math.inf)

FLOATS = st.floats(-1e6, 1e6, allow_subnormal=False)
DYADIC = st.integers(-64, 64).map(lambda k: k / 8)


def pairs(numbers: st.SearchStrategy[float], n: int = 3) -> st.SearchStrategy[np.ndarray]:
    return hnp.arrays(np.float64, (2, n), elements=numbers)


def exact_cost(cost: TransportCost, point: np.ndarray, origin: np.ndarray) -> Fraction:
    """The cost over the rationals; for l2 its square (its fourth power for order 2, …)."""
    moves = [
        abs(Fraction(a) - Fraction(b)) for a, b in zip(point.tolist(), origin.tolist(), strict=True)
    ]
    power = int(cost.order) if cost.finite else 1
    if cost.norm.name == "l2":
        return sum(m * m for m in moves) ** power
    return (sum(moves) if cost.norm.name == "l1" else max(moves)) ** power


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
def test_cost_is_the_length_to_the_order(norm, order):
    moves = np.random.default_rng(0).normal(size=(4, 3))
    length = np.linalg.norm(moves, {"l1": 1, "l2": 2, "linf": np.inf}[norm], axis=1)
    expected = length if math.isinf(order) else length**order
    assert TransportCost(norm, order).of(moves) == pytest.approx(expected)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
@given(pair=pairs(FLOATS))
@MANY
def test_a_charge_is_never_below_the_exact_cost_and_hardly_above(norm, order, pair):
    cost = TransportCost(norm, order)
    charge = Fraction(float(cost.charge(pair[:1], pair[1:])[0]))
    exact = exact_cost(cost, *pair)
    square = 2 if norm == "l2" else 1
    if exact == 0 or exact > Fraction(1, 10**250):  # below, powers underflow
        assert exact <= charge**square <= exact * (1 + Fraction(1, 10**12))


def test_the_plain_cost_does_fall_below_the_exact_one():
    """Companion: without rounding up, about half of all costs are too small."""
    cost = TransportCost("l1", 1)
    pairs_ = np.random.default_rng(0).normal(size=(2, 200, 3))
    plain = cost.of(pairs_[0] - pairs_[1])
    below = [
        Fraction(c) < exact_cost(cost, *p)
        for c, p in zip(plain.tolist(), pairs_.swapaxes(0, 1), strict=True)
    ]
    assert 20 < sum(below) < 180


@pytest.mark.parametrize("order", [1, math.inf])
@pytest.mark.parametrize("norm", ["l1", "linf"])
@given(pair=pairs(DYADIC))
@settings(deadline=None, max_examples=60, derandomize=True)
def test_a_charge_equals_the_cost_where_nothing_rounds(norm, order, pair):
    cost = TransportCost(norm, order)
    assert Fraction(float(cost.charge(pair[:1], pair[1:])[0])) == exact_cost(cost, *pair)


def test_staying_costs_nothing():
    x = np.random.default_rng(0).normal(size=(5, 3))
    for norm in ("l1", "l2", "linf"):
        for order in ORDERS:
            assert TransportCost(norm, order).charge(x, x).tolist() == [0.0] * 5


def test_a_move_is_never_free_however_high_the_order():
    """``1e-7 ** 50`` is below the smallest float64: it must not become a cost of zero."""
    cost = TransportCost("linf", 50)
    assert cost.charge(np.array([[1e-7]]), np.array([[0.0]]))[0] > 0


def test_budgets():
    assert TransportCost("l1", 1).budget(0.3) == 0.3
    assert TransportCost("l1", 2).budget(0.5) == 0.25
    assert TransportCost("l1", math.inf).budget(0.3) == 0.3


def test_orders_are_read_from_numbers_and_text():
    assert TransportCost(order="inf").order == math.inf
    assert not TransportCost(order="inf").finite
    assert TransportCost(order="2") == TransportCost(order=2)


def test_descriptions_tell_costs_apart():
    options = [(norm, order) for norm in ("l1", "l2", "linf") for order in (1, 1.5, 2, math.inf)]
    assert len({TransportCost(*option).describe() for option in options}) == len(options)
    assert "label cost 2" in TransportCost("l1", 1, label_cost=2).describe()


@pytest.mark.parametrize("order", [0.5, -1, 0, math.nan, "two", None, True, [1]])
def test_an_order_below_one_or_no_number_is_refused(order):
    with pytest.raises(ProblemError, match="order"):
        TransportCost(order=order)


@pytest.mark.parametrize("cost", [-1.0, math.nan, "1", True])
def test_a_bad_label_cost_is_refused(cost):
    with pytest.raises(ProblemError, match="label_cost"):
        TransportCost(label_cost=cost)


def test_a_label_cost_needs_a_finite_order():
    with pytest.raises(ProblemError, match="finite order"):
        TransportCost(order=math.inf, label_cost=1.0)


def test_an_unknown_norm_is_refused():
    with pytest.raises(ProblemError, match="'l7'"):
        TransportCost("l7")
