"""Losses against their definitions written out for one sample at a time."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from wdaverify.errors import ProblemError, UnsupportedError
from wdaverify.loss import DLR, LOSSES, Hinge, Loss, Margin, loss_named

MANY = settings(deadline=None, max_examples=150, derandomize=True)


def naive_margin(z: list[float], y: int) -> float:
    return max(value for j, value in enumerate(z) if j != y) - z[y]


def naive_cross_entropy(z: list[float], y: int) -> float:
    top = max(z)
    return top + math.log(math.fsum(math.exp(value - top) for value in z)) - z[y]


def naive_dlr(z: list[float], y: int) -> float:
    first, _, third = sorted(z, reverse=True)[:3]
    return naive_margin(z, y) / (first - third)


NAIVE = {
    "margin": naive_margin,
    "hinge": lambda z, y: max(0.0, 1.0 + naive_margin(z, y)),
    "zero-one": lambda z, y: float(naive_margin(z, y) >= 0),
    "cross-entropy": naive_cross_entropy,
    "dlr": naive_dlr,
    "truncated-dlr": lambda z, y: min(1.0, naive_dlr(z, y)),
}


def evaluate(name: str, logits: object, label: int) -> float:
    z = np.asarray(logits, dtype=np.float64)[None, :]
    return float(loss_named(name).evaluate(z, np.array([label]))[0])


# quarters in a small range: ties are common
TIES = st.integers(-8, 8).map(lambda k: k / 4)
WIDE = st.floats(-50, 50, width=32)


@st.composite
def logits_and_label(draw: st.DrawFn, least: int = 2) -> tuple[list[float], int]:
    K = draw(st.integers(least, 6))
    numbers = draw(st.sampled_from([TIES, WIDE]))
    z = draw(hnp.arrays(np.float64, K, elements=numbers)).tolist()
    return z, draw(st.integers(0, K - 1))


@pytest.mark.parametrize("name", ["margin", "hinge", "zero-one", "cross-entropy"])
@given(case=logits_and_label())
@MANY
def test_losses_equal_their_definitions(name, case):
    z, y = case
    assert evaluate(name, z, y) == pytest.approx(NAIVE[name](z, y), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("name", ["dlr", "truncated-dlr"])
@given(case=logits_and_label(least=3))
@MANY
def test_dlr_equals_its_definition_where_it_has_one(name, case):
    z, y = case
    if max(z) > sorted(z)[-3]:
        assert evaluate(name, z, y) == pytest.approx(NAIVE[name](z, y), rel=1e-12, abs=1e-12)


@given(case=logits_and_label(least=3))
@MANY
def test_dlr_is_at_least_minus_one_and_for_three_classes_at_most_one(case):
    z, y = case
    value = evaluate("dlr", z, y)
    assert value >= -1 - 1e-12
    if len(z) == 3:
        assert value <= 1 + 1e-12


def test_dlr_of_four_classes_exceeds_one():
    assert evaluate("dlr", [0.01, 0.0, 0.0, -1.0], 3) == pytest.approx(101.0)


@pytest.mark.parametrize(
    ("tie", "label", "towards", "limit"),
    [
        ([2.0, 2.0, 2.0], 0, [0.0, 1.0, 1.0], 1.0),
        ([2.0, 2.0, 2.0, 1.0], 2, [1.0, 1.0, 0.0, 0.0], 1.0),
        ([2.0, 2.0, 2.0, 1.0], 3, [1.0, 0.0, 0.0, 0.0], math.inf),
    ],
)
def test_dlr_at_a_tie_is_the_largest_limit(tie, label, towards, limit):
    """The value at the tie is approached along ``towards`` and exceeded nowhere near."""
    value = evaluate("dlr", tie, label)
    assert value == limit
    step = 2.0**-30
    near = evaluate("dlr", np.array(tie) + step * np.array(towards), label)
    assert near == pytest.approx(1.0) if limit == 1.0 else near >= 2.0**29
    noise = np.random.default_rng(0).uniform(-1e-6, 1e-6, size=(500, len(tie)))
    around = DLR().evaluate(np.array(tie) + noise, np.full(500, label))
    assert np.all(around <= value + 1e-9)


def test_truncated_dlr_is_one_at_every_tie():
    assert evaluate("truncated-dlr", [2.0, 2.0, 2.0, 1.0], 3) == 1.0


@pytest.mark.parametrize("z", [[1e3, -1e3, 0.0], [800.0, 800.0, 800.0], [-1e300, 1e300, 0.0]])
def test_cross_entropy_does_not_overflow(z):
    for y in range(3):
        assert evaluate("cross-entropy", z, y) == pytest.approx(
            naive_cross_entropy(z, y), rel=1e-12
        )


@given(case=logits_and_label())
@MANY
def test_cross_entropy_lies_within_log_classes_of_the_positive_margin(case):
    z, y = case
    excess = evaluate("cross-entropy", z, y) - max(0.0, naive_margin(z, y))
    assert -1e-12 <= excess <= math.log(len(z)) + 1e-12


def test_a_tie_is_an_error_for_zero_one():
    assert evaluate("zero-one", [1.0, 1.0], 0) == 1.0
    assert evaluate("zero-one", [np.nextafter(1.0, 2.0), 1.0], 0) == 0.0


@pytest.mark.parametrize("loss", [Margin(), Hinge()])
@given(case=logits_and_label())
@MANY
def test_the_largest_piece_is_the_loss(loss, case):
    z, y = case
    matrix, offset = loss.pieces(len(z), y)
    value = float(loss.evaluate(np.array([z]), np.array([y]))[0])
    assert float((matrix @ z + offset).max()) == pytest.approx(value, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(("loss", "extra"), [(Margin(), 0), (Hinge(), 1)])
def test_no_piece_can_be_missed(loss: Loss, extra: int):
    """Each piece is the largest somewhere: dropping one would change the loss."""
    matrix, offset = loss.pieces(4, 2)
    assert len(matrix) == 3 + extra
    for k in range(len(matrix)):
        z = 10.0 * matrix[k]
        assert int(np.argmax(matrix @ z + offset)) == k or not matrix[k].any()


@pytest.mark.parametrize("name", ["cross-entropy", "dlr", "truncated-dlr"])
def test_a_loss_that_is_no_maximum_of_affine_pieces_says_so(name):
    with pytest.raises(UnsupportedError, match=name):
        loss_named(name).pieces(3, 0)


def test_losses_are_found_by_name_and_equal_by_type():
    assert {name: loss.name for name, loss in LOSSES.items()} == {n: n for n in NAIVE}
    assert loss_named("hinge") == Hinge()
    assert hash(loss_named("hinge")) == hash(Hinge())
    assert loss_named("hinge") != Margin()
    with pytest.raises(ProblemError, match="'brier'"):
        loss_named("brier")
