"""Projections on polyhedra: conditions of optimality, over the rationals without any rounding."""

from fractions import Fraction

import cvxpy as cp
import numpy as np
import pytest

from wdaverify.convex.projection import ActiveSet, Infeasible, Projection, project
from wdaverify.rational import rationals


def polyhedron(seed, features=5, rows=12):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, features + 1))
    G = rng.normal(size=(int(rng.integers(1, rows)), n))
    s = G @ rng.uniform(-1, 1, size=n) + rng.uniform(0, 0.5, size=len(G))
    return G, s, 3.0 * rng.normal(size=n)


def optimal(active, room, target, found, tolerance):
    """Whether point and multipliers satisfy the conditions of Karush, Kuhn and Tucker."""
    G, rows = active.matrix, active.rows
    inside = np.all(G @ found.point - room <= tolerance)
    tight = np.all(abs(G[rows] @ found.point - room[rows]) <= tolerance)
    still = np.all(abs(target - found.point - found.multipliers @ G[rows]) <= tolerance)
    return bool(inside and tight and still and np.all(found.multipliers >= -tolerance))


@pytest.mark.parametrize("seed", range(40))
def test_float_projections_are_optimal(seed):
    G, s, z = polyhedron(seed)
    active = ActiveSet(G)
    found = project(active, s, z, 1e-12)
    assert optimal(active, s, z, found, 1e-9)
    u = cp.Variable(len(z))
    cp.Problem(cp.Minimize(cp.sum_squares(u - z)), [G @ u <= s]).solve(solver="CLARABEL")
    np.testing.assert_allclose(found.point, u.value, atol=1e-5)


@pytest.mark.parametrize("seed", range(15))
def test_rational_projections_are_optimal_without_any_rounding(seed):
    G, s, z = (rationals(v) for v in polyhedron(seed, features=4, rows=8))
    active = ActiveSet(G)
    found = project(active, s, z)
    assert optimal(active, s, z, found, 0)
    assert all(isinstance(v, Fraction) for v in found.point)


@pytest.mark.parametrize("seed", range(20))
def test_any_active_set_is_a_start(seed):
    G, s, z = polyhedron(seed)
    active = ActiveSet(G)
    rng = np.random.default_rng(seed)
    for _ in range(10):
        room, target = s + rng.uniform(0, 0.3, size=len(s)), z + rng.normal(size=len(z))
        warm, fresh = project(active, room, target, 1e-12), project(ActiveSet(G), room, target)
        np.testing.assert_allclose(warm.point, fresh.point, atol=1e-8)


@pytest.mark.parametrize("lift", [lambda v: v, rationals])
def test_an_empty_polyhedron_is_proved_empty(lift):
    for seed in range(10):
        G, s, z = polyhedron(seed)
        G, s = np.vstack([G, -G[:1]]), np.append(s, -s[0] - 0.1)
        found = project(ActiveSet(lift(G)), lift(s), lift(z))
        assert isinstance(found, Infeasible)
        eta = found.multipliers.astype(float)
        assert np.all(eta >= 0)
        np.testing.assert_allclose(eta @ G, 0.0, atol=1e-9)
        assert eta @ s < 0


def test_rows_that_coincide_oppose_or_vanish():
    G = np.array([[1.0, 0.0], [1.0, 0.0], [2.0, 0.0], [-1.0, 0.0], [0.0, 0.0]])
    s = np.array([0.5, 0.5, 1.0, -0.5, 0.0])
    for lift in (np.asarray, rationals):
        found = project(ActiveSet(lift(G)), lift(s), lift(np.array([3.0, 4.0])))
        assert isinstance(found, Projection)
        np.testing.assert_array_equal(found.point.astype(float), [0.5, 4.0])


def test_nearly_parallel_rows():
    for angle in (1e-3, 1e-6):
        G = np.array([[1.0, 0.0], [1.0, angle]])
        active = ActiveSet(G)
        target = np.array([2.0, 3.0])
        found = project(active, np.zeros(2), target)
        exact = project(ActiveSet(rationals(G)), rationals(np.zeros(2)), rationals(target))
        np.testing.assert_allclose(found.point, exact.point.astype(float), atol=1e-9)


def test_the_conditions_notice_a_point_that_is_not_the_projection():
    G, s, z = polyhedron(3)
    active = ActiveSet(G)
    found = project(active, s, z, 1e-12)
    assert len(active.rows) > 0
    assert not optimal(active, s, z, found._replace(point=found.point + 1e-3), 1e-9)
    assert not optimal(active, s, z, found._replace(multipliers=found.multipliers + 1e-3), 1e-9)
    assert not optimal(active, s - 1e-3, z, found, 1e-9)
