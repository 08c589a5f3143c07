"""Nearest points in l2 over the rationals."""

import math
from fractions import Fraction

import cvxpy as cp
import numpy as np
import pytest

from wdaverify.exact.nearest import exact_nearest
from wdaverify.norms import norm_named
from wdaverify.rational import rationals

L2 = norm_named("l2")


def nearest(matrix, bound, sample):
    return exact_nearest(*(rationals(np.array(v)) for v in (matrix, bound, sample)), L2)


@pytest.mark.parametrize("seed", range(10))
def test_distance_of_the_conic_program(seed):
    rng = np.random.default_rng(seed)
    G = rng.normal(size=(7, 3))
    h, sample = G @ rng.normal(size=3) + rng.uniform(0, 0.3, size=7), rng.normal(size=3)
    found = nearest(G, h, sample)
    x = cp.Variable(3)
    problem = cp.Problem(cp.Minimize(cp.norm(x - sample)), [G @ x <= h])
    problem.solve(solver="CLARABEL")
    assert float(found.distance) == pytest.approx(problem.value, abs=1e-6)
    assert np.all(rationals(G) @ found.point <= rationals(h))


def test_a_root_that_is_not_rational():
    found = nearest([[1.0, 1.0]], [-1.0], [0.0, 0.0])
    assert found.measure == Fraction(1, 2)
    assert float(found.distance) == math.sqrt(0.5)
    below = Fraction(math.sqrt(0.5))
    assert found.exceeds(below) == (below**2 < Fraction(1, 2))
    assert not found.exceeds(Fraction(1))


def test_a_rational_root_is_exact_and_touching_counts_as_reached():
    found = nearest([[3.0, 4.0]], [-5.0], [0.0, 0.0])
    assert found.distance == 1
    assert not found.exceeds(Fraction(1))
    assert found.exceeds(Fraction(math.nextafter(1.0, 0.0)))


def test_tiny_and_huge_distances():
    for size in (2.0**-300, 2.0**300):
        found = nearest([[1.0, 1.0]], [-size], [0.0, 0.0])
        assert float(found.distance) == pytest.approx(size * math.sqrt(0.5), rel=1e-15)


def test_empty():
    assert nearest([[1.0], [-1.0]], [-1.0, 0.5], [0.0]) is None
