"""Envelopes against brute force, the merge against the transport linear program."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from reference.transport import transport_program

from wdaverify.arrays import Floats
from wdaverify.envelope import Envelope, majorant, minorant
from wdaverify.merging import Allocation, Merge, merge

MANY = settings(deadline=None, max_examples=120, derandomize=True)
FEW = settings(deadline=None, max_examples=40, derandomize=True)

COSTS = st.one_of(st.integers(0, 6).map(float), st.floats(1e-3, 10))
LOSSES = st.one_of(st.integers(-3, 3).map(float), st.floats(-5, 5))


@st.composite
def clouds(draw: st.DrawFn) -> tuple[Floats, Floats]:
    """Costs, one of them 0, and losses of up to eight points."""
    size = draw(st.integers(1, 8))
    costs = [0.0, *draw(st.lists(COSTS, min_size=size - 1, max_size=size - 1))]
    losses = draw(st.lists(LOSSES, min_size=size, max_size=size))
    order = draw(st.permutations(range(size)))
    return np.array(costs)[order], np.array(losses)[order]


SLOPES = st.one_of(st.just(0.0), st.floats(0.01, 3))


def hull_value(costs: Floats, losses: Floats, slope: float, s: float) -> float:
    """Best mean loss of at most two points (or one and the ray) of mean cost at most ``s``."""
    points = list(zip(costs.tolist(), losses.tolist(), strict=True))
    best = max(loss + slope * (s - cost) for cost, loss in points if cost <= s)
    for (c, ell), (d, m) in product(points, points):
        if c <= s < d:
            best = max(best, ell + (m - ell) * (s - c) / (d - c))
    return best


def is_concave_and_rising(envelope: Envelope) -> bool:
    slopes = np.diff(envelope.losses) / np.diff(envelope.costs)
    slopes = np.append(slopes, envelope.slope)
    return bool(np.all(np.diff(slopes) <= 1e-9 * (1 + slopes[:-1])) and np.all(slopes >= 0))


@given(cloud=clouds(), slope=SLOPES, s=st.floats(0, 15))
@MANY
def test_the_majorant_is_the_concave_hull(cloud, slope, s):
    envelope = majorant(*cloud, slope=slope)
    assert envelope(np.array(s)) == pytest.approx(hull_value(*cloud, slope, s), abs=1e-9)


@given(cloud=clouds(), slope=SLOPES)
@MANY
def test_the_majorant_is_concave_and_lies_above_its_points(cloud, slope):
    costs, losses = cloud
    envelope = majorant(costs, losses, slope=slope)
    assert is_concave_and_rising(envelope)
    assert envelope.costs[0] == 0
    assert np.all(envelope(costs) >= losses - 1e-9)


@given(cloud=clouds(), slope=SLOPES)
@MANY
def test_breakpoints_are_points_of_the_table(cloud, slope):
    costs, losses = cloud
    envelope = majorant(costs, losses, np.arange(len(costs)), slope=slope)
    assert costs[envelope.atoms].tolist() == envelope.costs.tolist()
    assert losses[envelope.atoms].tolist() == envelope.losses.tolist()


def test_the_check_of_concavity_can_fail():
    dented = Envelope(np.array([0.0, 1, 2]), np.array([0.0, 0, 2]), np.array([-1, -1, -1]))
    assert not is_concave_and_rising(dented)
    falling = Envelope(np.array([0.0, 1]), np.array([1.0, 0]), np.array([-1, -1]))
    assert not is_concave_and_rising(falling)


def test_collinear_and_repeated_points_are_dropped():
    envelope = majorant(np.array([0.0, 1, 2, 2, 0]), np.array([0.0, 1, 2, 2, -1]))
    assert envelope.costs.tolist() == [0, 2]


def test_a_steep_ray_swallows_flatter_segments():
    envelope = majorant(np.array([0.0, 1, 3]), np.array([0.0, 2, 3]), slope=1.0, ray=7)
    assert envelope.costs.tolist() == [0, 1]
    assert (envelope.slope, envelope.ray) == (1.0, 7)


@given(data=st.data(), s=st.floats(0, 20))
@MANY
def test_the_minorant_is_the_least_line(data, s):
    size = data.draw(st.integers(1, 7))
    intercepts = np.array(data.draw(st.lists(LOSSES, min_size=size, max_size=size)))
    slopes = np.array(data.draw(st.lists(SLOPES, min_size=size, max_size=size)))
    envelope = minorant(intercepts, slopes)
    grid = np.append(np.linspace(0, 20, 41), s)
    expected = (intercepts[:, None] + slopes[:, None] * grid).min(axis=0)
    assert envelope(grid) == pytest.approx(expected, abs=1e-8)
    assert is_concave_and_rising(envelope)


def test_the_minorant_ignores_infinite_lines():
    envelope = minorant(np.array([np.inf, 1.0, np.inf]), np.array([0.0, 2.0, 5.0]))
    assert envelope(np.array([0.0, 3.0])).tolist() == [1.0, 7.0]


def test_majorant_and_minorant_of_a_growth_function_sandwich_it():
    """Points on a concave curve and tangents to it: inner below, outer above."""
    s = np.linspace(0.25, 4, 7)
    inner = majorant(np.append(0.0, s), np.append(0.0, np.sqrt(s)))
    outer = minorant(np.sqrt(s) / 2, 0.5 / np.sqrt(s))
    grid = np.linspace(0, 5, 101)
    assert np.all(inner(grid) <= np.sqrt(grid) + 1e-12)
    assert np.all(outer(grid) >= np.sqrt(grid) - 1e-12)


# the merge ---------------------------------------------------------------------------------


@st.composite
def samples(draw: st.DrawFn) -> tuple[Floats, Floats, Floats, Floats]:
    """Costs and losses (N, M), probabilities and ray slopes (N,); some probabilities vanish."""
    N, M = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    table = st.lists(st.lists(COSTS, min_size=M, max_size=M), min_size=N, max_size=N)
    costs = np.array(draw(table))
    costs[:, 0] = 0.0
    losses = np.array(
        draw(st.lists(st.lists(LOSSES, min_size=M, max_size=M), min_size=N, max_size=N))
    )
    weights = np.array(draw(st.lists(st.integers(0, 5), min_size=N, max_size=N)), dtype=float)
    assume(weights.any())
    rays = np.array(draw(st.lists(SLOPES, min_size=N, max_size=N)))
    return costs, losses, weights / weights.sum(), rays


def envelopes_of(costs: Floats, losses: Floats, rays: Floats) -> list[Envelope]:
    tables = zip(costs, losses, rays, strict=True)
    return [majorant(c, ell, np.arange(len(c)), slope=float(r)) for c, ell, r in tables]


def final_slope(probabilities: Floats, rays: Floats) -> float:
    return float(rays[probabilities > 0].max())


BUDGETS = st.one_of(st.just(0.0), st.floats(1e-3, 12))


@given(case=samples(), budget=BUDGETS)
@MANY
def test_the_merge_is_the_transport_program(case, budget):
    costs, losses, mu, rays = case
    merged = merge(envelopes_of(costs, losses, rays), mu)
    value, _, _ = transport_program(losses, costs, mu, budget, ray=final_slope(mu, rays))
    assert merged.value(budget) == pytest.approx(value, abs=1e-7)


@given(case=samples())
@FEW
def test_the_merge_is_the_transport_program_at_every_corner(case):
    costs, losses, mu, rays = case
    merged = merge(envelopes_of(costs, losses, rays), mu)
    for budget, value in zip(merged.budgets.tolist(), merged.values.tolist(), strict=True):
        ray = final_slope(mu, rays)
        assert transport_program(losses, costs, mu, budget, ray=ray)[0] == pytest.approx(
            value, abs=1e-7
        )
        assert merged.value(budget) == value


def test_the_transport_program_notices_a_wrong_envelope():
    """Companion: an envelope that forgets a point gives another value than the program."""
    costs, losses, mu = np.array([[0.0, 1.0]]), np.array([[0.0, 1.0]]), np.ones(1)
    forgetful = merge([majorant(costs[0, :1], losses[0, :1])], mu)
    assert forgetful.value(1.0) != pytest.approx(transport_program(losses, costs, mu, 1.0)[0])


@given(case=samples(), budget=BUDGETS)
@MANY
def test_the_multiplier_is_the_right_hand_slope(case, budget):
    merged = merge(envelopes_of(case[0], case[1], case[3]), case[2])
    for b in (budget, *merged.budgets.tolist()):
        following = merged.budgets[merged.budgets > b]
        step = min(1e-3, (float(following[0]) - b) / 2) if len(following) else 1e-3
        assume(step > 1e-7)
        slope = (merged.value(b + step) - merged.value(b)) / step
        assert merged.multiplier(b) == pytest.approx(slope, rel=1e-6, abs=1e-6)


@given(case=samples(), budgets=st.lists(BUDGETS, min_size=3, max_size=3, unique=True))
@MANY
def test_the_value_is_monotone_and_concave_in_the_budget(case, budgets):
    merged = merge(envelopes_of(case[0], case[1], case[3]), case[2])
    a, b, c = sorted(budgets)
    low, middle, high = (merged.value(v) for v in (a, b, c))
    assert low <= middle + 1e-12
    assert middle <= high + 1e-12
    assert middle >= ((c - b) * low + (b - a) * high) / (c - a) - 1e-9
    assert merged.multiplier(a) >= merged.multiplier(c) - 1e-12


def exactly_spent(allocation: Allocation, envelopes: list[Envelope]) -> Fraction:
    """Cost of the shares over the rationals."""
    return sum(
        (
            Fraction(float(s.mass)) * Fraction(float(envelopes[s.sample].costs[s.breakpoint]))
            for s in allocation.shares
        ),
        Fraction(0),
    )


def achieved(allocation: Allocation, envelopes: list[Envelope], merged: Merge) -> float:
    """Expected loss of the shares, and what the escaping budget earns."""
    total = sum(s.mass * envelopes[s.sample].losses[s.breakpoint] for s in allocation.shares)
    escape = allocation.escape
    return float(total) + (0.0 if escape is None else merged.final_slope * escape.budget)


@given(case=samples(), budget=BUDGETS)
@MANY
def test_an_allocation_reaches_the_value_with_one_more_share_than_samples(case, budget):
    envelopes, mu = envelopes_of(case[0], case[1], case[3]), case[2]
    merged = merge(envelopes, mu)
    for b in (budget, *merged.budgets.tolist()):
        allocation = merged.allocate(b)
        assert achieved(allocation, envelopes, merged) == pytest.approx(merged.value(b), abs=1e-9)
        assert len(allocation.shares) <= np.count_nonzero(mu) + 1
        sent = np.zeros(len(mu))
        for share in allocation.shares:
            assert share.mass >= 0
            sent[share.sample] += share.mass
        assert sent == pytest.approx(mu, abs=1e-15)


ULPS = 1 + Fraction(1, 2**48)


@given(case=samples(), budget=BUDGETS)
@MANY
def test_an_allocation_spends_no_more_than_the_budget_and_some_ulps(case, budget):
    """To the last ulp the budget is the business of `Atoms.distribution`."""
    envelopes, mu = envelopes_of(case[0], case[1], case[3]), case[2]
    merged = merge(envelopes, mu)
    for b in (budget, *merged.budgets.tolist()):
        allocation = merged.allocate(b)
        escape = 0.0 if allocation.escape is None else float(allocation.escape.budget)
        spent = exactly_spent(allocation, envelopes) + Fraction(escape)
        assert spent <= Fraction(b) * ULPS


@given(data=st.data(), budget=st.floats(1e-3, 1))
@MANY
def test_a_split_never_overspends(data, budget):
    """One sample between two breakpoints: exact, without any ulp to spare."""
    length, gain = data.draw(st.floats(1, 10)), data.draw(st.floats(0.01, 5))
    envelopes = [majorant(np.array([0.0, length]), np.array([0.0, gain]))]
    allocation = merge(envelopes, np.ones(1)).allocate(budget)
    assert exactly_spent(allocation, envelopes) <= Fraction(budget)
    assert float(exactly_spent(allocation, envelopes)) == pytest.approx(budget, rel=1e-12)


def test_overspending_is_noticed():
    """Companion: the sum over the rationals sees one ulp."""
    envelopes = [majorant(np.array([0.0, 1.0]), np.array([0.0, 1.0]))]
    allocation = merge(envelopes, np.ones(1)).allocate(1.0)
    assert exactly_spent(allocation, envelopes) > Fraction(np.nextafter(1.0, 0.0))


def test_the_steepest_ray_of_positive_weight_takes_what_is_left():
    flat = majorant(np.array([0.0, 1.0]), np.array([0.0, 4.0]))
    steep = majorant(np.array([0.0]), np.array([0.0]), slope=2.0)
    steeper = majorant(np.array([0.0]), np.array([0.0]), slope=9.0)
    merged = merge([flat, steep, steeper], np.array([0.5, 0.5, 0.0]))
    assert (merged.final_slope, merged.escaping) == (2.0, 1)
    assert merged.value(3.0) == pytest.approx(2.0 + 2.0 * 2.5)
    escape = merged.allocate(3.0).escape
    assert escape is not None
    assert (escape.sample, escape.budget) == (1, 2.5)
    assert merged.allocate(0.5).escape is None
    assert merged.multiplier(0.5) == 2.0


def test_segments_flatter_than_the_ray_are_never_bought():
    flat = majorant(np.array([0.0, 1.0]), np.array([0.0, 1.0]))
    steep = majorant(np.array([0.0]), np.array([0.0]), slope=2.0)
    merged = merge([flat, steep], np.array([0.5, 0.5]))
    assert len(merged.slopes) == 0
    assert merged.value(1.0) == 2.0


def test_without_rays_the_value_saturates():
    merged = merge([majorant(np.array([0.0, 1.0]), np.array([1.0, 3.0]))], np.ones(1))
    assert [merged.value(b) for b in (0.0, 0.5, 1.0, 9.0)] == [1, 2, 3, 3]
    assert [merged.multiplier(b) for b in (0.0, 0.5, 1.0, 9.0)] == [2, 2, 0, 0]
    assert merged.escaping == -1


def test_samples_of_weight_zero_take_no_part():
    envelope = majorant(np.array([0.0, 1.0]), np.array([0.0, 1.0]))
    merged = merge([envelope, envelope], np.array([1.0, 0.0]))
    assert merged.samples.tolist() == [0]
    assert {share.sample for share in merged.allocate(0.5).shares} == {0}


@pytest.mark.parametrize("seed", range(4))
def test_nearly_collinear_points_keep_their_order(seed):
    """Segments of one sample whose slopes differ by rounding must be spent from the left."""
    rng = np.random.default_rng(seed)
    for _ in range(100):
        costs = np.append(0.0, np.sort(rng.random(4)))
        envelope = majorant(costs, costs * rng.random() + rng.integers(-1, 2, 5) * 2.0**-52)
        merged = merge([envelope], np.ones(1))
        assert merged.breakpoints.tolist() == sorted(merged.breakpoints.tolist())
