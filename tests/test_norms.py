"""Ground norms: definitions, duality, operator norms."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from wdaverify.errors import ProblemError, UnsupportedError
from wdaverify.norms import NORMS, GroundNorm, norm_named

MANY = settings(deadline=None, max_examples=100, derandomize=True)
ORDER = {"l1": 1, "l2": 2, "linf": np.inf}
DUAL = {"l1": np.inf, "l2": 2, "linf": 1}
EVERY = pytest.mark.parametrize("norm", list(NORMS.values()), ids=list(NORMS))

vectors = hnp.arrays(np.float64, (2, 4), elements=st.floats(-100, 100, width=32))


@EVERY
@given(pair=vectors)
@MANY
def test_lengths_are_those_of_numpy(norm, pair):
    assert norm.length(pair) == pytest.approx(np.linalg.norm(pair, ORDER[norm.name], axis=1))
    assert norm.dual_length(pair) == pytest.approx(np.linalg.norm(pair, DUAL[norm.name], axis=1))


@EVERY
@given(pair=vectors)
@MANY
def test_duality(norm, pair):
    """``a·u <= ‖a‖* ‖u‖``, with equality at the dual direction."""
    a, u = pair
    assert a @ u <= norm.dual_length(a) * norm.length(u) * (1 + 1e-12) + 1e-12
    best = norm.dual_direction(a)
    assert norm.length(best) <= 1 + 1e-12
    assert a @ best == pytest.approx(norm.dual_length(a), rel=1e-12)


def test_the_dual_length_of_another_norm_breaks_duality():
    a = u = np.ones(3)
    assert a @ u > NORMS["l1"].dual_length(a) * NORMS["linf"].length(u)


@EVERY
def test_lengths_broadcast_over_leading_axes(norm):
    displacements = np.random.default_rng(0).normal(size=(2, 3, 4))
    assert norm.length(displacements).shape == (2, 3)
    assert norm.dual_length(displacements)[1, 2] == norm.dual_length(displacements[1, 2])


def witnesses(norm: GroundNorm, matrix: np.ndarray) -> np.ndarray:
    """Vectors of length one among which the operator norm is attained, ``(k, n)``."""
    n = matrix.shape[1]
    if norm.name == "l1":
        return np.eye(n)
    if norm.name == "linf":
        return np.sign(matrix)
    return np.linalg.svd(matrix)[2][:1]


@EVERY
@pytest.mark.parametrize("seed", range(5))
def test_the_operator_norm_is_attained_and_never_exceeded(norm, seed):
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(3, 4))
    bound = norm.operator_norm(matrix)
    u = rng.normal(size=(200, 4))
    assert np.all(norm.length(u @ matrix.T) <= bound * norm.length(u) * (1 + 1e-12))
    assert norm.length(witnesses(norm, matrix) @ matrix.T).max() == pytest.approx(bound)


@pytest.mark.parametrize("name", ["l1", "linf"])
def test_exact_length_is_the_length_over_the_rationals(name):
    vector = [Fraction(1, 3), Fraction(-2, 7), Fraction(0)]
    expected = {"l1": Fraction(13, 21), "linf": Fraction(1, 3)}[name]
    assert norm_named(name).exact_length(vector) == expected
    assert norm_named(name).exact_length([]) == 0


def test_the_exact_euclidean_length_is_refused():
    with pytest.raises(UnsupportedError, match="l2"):
        norm_named("l2").exact_length([Fraction(1), Fraction(1)])


@EVERY
def test_zero_vectors_and_empty_ones(norm):
    assert norm.dual_direction(np.zeros(3)).tolist() == [0, 0, 0]
    assert norm.length(np.zeros((2, 0))).tolist() == [0, 0]
    assert norm.operator_norm(np.zeros((0, 0))) == 0.0


def test_norms_are_found_by_name_and_equal_by_type():
    for name in NORMS:
        assert norm_named(name) == NORMS[name]
        assert hash(norm_named(name)) == hash(NORMS[name])
    assert norm_named("l1") != norm_named("linf")
    with pytest.raises(ProblemError, match="'l3'"):
        norm_named("l3")
