"""The term in x against dense grids and a linear program, for every norm and order."""

import math
import random
from contextlib import suppress
from fractions import Fraction

import numpy as np
import pytest
from scipy.optimize import linprog

from wdaverify.checker.question import read_question
from wdaverify.checker.reading import Rejected, fractions
from wdaverify.checker.transport import Affine, Price, everywhere, maximum, ring_of
from wdaverify.cost import TransportCost
from wdaverify.network import ReLUNetwork
from wdaverify.problem import Problem
from wdaverify.proof.question import question_line
from wdaverify.support import Box

INF = math.inf


def question(norm, lower, upper, order=1):
    n = len(lower)
    network = ReLUNetwork([np.zeros((2, n))], [np.zeros(2)])
    centre = np.clip(np.zeros(n), lower, upper)
    problem = Problem(
        network, [centre], [0], cost=TransportCost(norm, order), support=Box(lower, upper)
    )
    return read_question(question_line(problem, 1.0))


def affine(g, constant=0):
    return Affine(Fraction(constant), fractions([Fraction(v) for v in g]))


def length(norm, d):
    return {"l1": np.abs(d).sum(-1), "l2": np.sqrt((d**2).sum(-1)), "linf": np.abs(d).max(-1)}[norm]


def cases(seed, count):
    rng = random.Random(seed)
    for _ in range(count):
        n = rng.choice([1, 2, 2])
        lower = [rng.choice([-INF, -1.0, -0.25, 0.0]) for _ in range(n)]
        upper = [rng.choice([INF, 1.5, 0.125, 0.0]) for _ in range(n)]
        inner = rng.choice([0, 0, Fraction(1, 3), Fraction(1, 2)])
        outer = rng.choice([None, inner, inner + Fraction(2, 7), inner + 1])
        g = [rng.choice([0, 1, -1, 0.5, rng.uniform(-2, 2)]) for _ in range(n)]
        rate = rng.choice([0, Fraction(1, 2), 1, Fraction(rng.uniform(0, 2))])
        yield lower, upper, Fraction(inner), outer, g, Fraction(rate)


def grid_maximum(norm, order, case, reach=4.0, steps=161):
    """Return the maximum over a grid of the ring, -inf where no grid point lies in it."""
    lower, upper, inner, outer, g, rate = case
    n = len(g)
    axes = [
        np.unique(np.concatenate([np.linspace(max(lo, -reach), min(up, reach), steps),
                                  np.clip(float(outer or 0) * np.array([-1, 1]), lo, up),
                                  np.linspace(max(lo, -10 * reach), min(up, 10 * reach), 81)]))
        for lo, up in zip(lower, upper, strict=True)
    ]  # fmt: skip
    x = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, n)
    t = length(norm, x)
    inside = (t >= float(inner)) & (t <= (INF if outer is None else float(outer)))
    values = x @ np.array(g, dtype=float) - float(rate) * t ** float(order)
    return values[inside].max(initial=-INF)


@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
@pytest.mark.parametrize("order", [1, 1.5, 2, 3])
def test_never_below_a_grid(norm, order):
    for case in cases(f"{norm} {order}", 60):
        lower, upper, inner, outer, g, rate = case
        q = question(norm, lower, upper)
        bound = maximum(affine(g), ring_of(q, q.points[0], inner, outer),
                        Price(rate, Fraction(order)))  # fmt: skip
        if bound is not None:
            assert float(bound) >= grid_maximum(norm, order, case) - 1e-12


@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
@pytest.mark.parametrize("order", [1, 1.5, 2, 3])
def test_tight(norm, order):
    """From inner radius 0 the bound is attained: the grid comes near."""
    for case in cases(f"{norm} {order} tight", 60):
        lower, upper, inner, outer, g, rate = case
        if inner:
            continue
        q = question(norm, lower, upper)
        bound = maximum(affine(g), ring_of(q, q.points[0], inner, outer),
                        Price(rate, Fraction(order)))  # fmt: skip
        if bound is None:
            near, far = (grid_maximum(norm, order, case, reach) for reach in (50.0, 5000.0))
            assert far > near + 1
        elif bound < 3 and (rate >= 0.5 or order == 1):
            assert float(bound) <= grid_maximum(norm, order, case) + 0.1


@pytest.mark.parametrize("norm", ["l1", "linf"])
def test_equals_the_linear_program(norm):
    rng = random.Random(5)
    for _ in range(100):
        n = rng.choice([1, 2, 4])
        lower = [-rng.choice([0.0, 0.5, rng.random()]) for _ in range(n)]
        upper = [rng.choice([0.0, 0.5, 1.0, rng.random()]) for _ in range(n)]
        g, rate = [rng.uniform(-1, 1) for _ in range(n)], rng.uniform(0, 1.5)
        outer = rng.choice([0.3, 0.7, 100.0])
        q = question(norm, lower, upper)
        bound = maximum(affine(g), ring_of(q, q.points[0], Fraction(0), Fraction(outer)),
                        Price(Fraction(rate), Fraction(1)))  # fmt: skip
        assert float(bound) == pytest.approx(program(norm, lower, upper, g, rate, outer), abs=1e-9)


def program(norm, lower, upper, g, rate, outer):
    """Maximise over x and the sizes u >= |x| (l1) or one size (linf)."""
    n = len(g)
    m = n if norm == "l1" else 1
    sizes = np.eye(n) if norm == "l1" else np.ones((n, 1))
    A = np.block([[np.eye(n), -sizes], [-np.eye(n), -sizes], [np.zeros((1, n)), np.ones((1, m))]])
    b = [0.0] * (2 * n) + [outer]
    c = np.concatenate([-np.array(g), np.full(m, rate)])
    bounds = [*zip(lower, upper, strict=True), *[(0, None)] * m]
    return -linprog(c, A_ub=A, b_ub=b, bounds=bounds).fun


def test_exact_where_it_should_be():
    q = question("linf", [-3.0], [3.0])
    ring = ring_of(q, fractions([Fraction(-1)]), Fraction(0), None)
    assert maximum(affine([1]), ring, Price(Fraction(3, 4), Fraction(1))) == 0
    assert maximum(affine([1]), ring, Price(Fraction(1, 3), Fraction(1))) == Fraction(5, 3)
    assert maximum(affine([0.5], 7), ring, Price(Fraction(1), Fraction(1))) == Fraction(13, 2)


def test_order_two_is_exact_in_the_interior():
    q = question("linf", [-INF], [INF])
    ring = everywhere(q)
    assert maximum(affine([3]), ring, Price(Fraction(1), Fraction(2))) == Fraction(9, 4)


def test_unbounded_is_none():
    q = question("linf", [-INF, 0.0], [INF, 1.0])
    assert maximum(affine([1, 1]), everywhere(q)) is None
    assert maximum(affine([0, 1]), everywhere(q)) == 1
    assert maximum(affine([1, 1]), everywhere(q), Price(Fraction(1), Fraction(1))) == 1
    assert maximum(affine([1, 1]), everywhere(q), Price(Fraction(1, 2), Fraction(1))) is None


def test_pythagoras():
    q = question("l2", [-INF, -INF], [INF, INF])
    ring = ring_of(q, q.points[0], Fraction(0), Fraction(2))
    assert maximum(affine([3, -4]), ring) == 10
    assert maximum(affine([3, -4]), ring, Price(Fraction(5), Fraction(1))) == 0


def test_the_box_everywhere_is_around_a_point_of_the_box():
    q = question("l2", [2.0, -INF], [3.0, -1.0])
    assert maximum(affine([1, 0]), everywhere(q)) == 3
    assert maximum(affine([-1, 1]), everywhere(q)) == -3


def test_rings_are_checked():
    q = question("l2", [-INF], [INF])
    with pytest.raises(Rejected):
        ring_of(q, q.points[0], Fraction(1), Fraction(1, 2))
    with pytest.raises(Rejected):
        ring_of(q, q.points[0], Fraction(-1), None)


def test_numbers_beyond_floating_point_do_not_crash():
    q = question("l2", [-1.0, -INF], [1.0, INF])
    huge = Fraction(10) ** 400
    for g in ([huge, 0], [1, 1 / huge], [huge, 1 / huge]):
        for rate in (huge, 1 / huge, Fraction(0)):
            for order in (1, 2, Fraction(3, 2)):
                for outer in (None, huge, 1 / huge):
                    ring = ring_of(q, q.points[0], Fraction(0), outer)
                    with suppress(Rejected):
                        maximum(affine(g), ring, Price(rate, Fraction(order)))
