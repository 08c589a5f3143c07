"""The sandwich on random nets: order, agreement of its parts, limits."""

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import wdaverify as wv

PROBLEMS = Path(__file__).parents[1] / "problems"


def random_problem(seed: int, norm: str, order: float, loss: str, support: wv.Box) -> wv.Problem:
    random = np.random.default_rng(seed)
    widths = [(2, 5, 3), (3, 4, 4, 2), (1, 6, 2)][seed % 3]
    weights = [random.normal(size=(o, i)) / math.sqrt(i) for i, o in pairwise(widths)]
    biases = [random.normal(size=o) / 2 for o in widths[1:]]
    points = random.uniform(-1, 1, size=(5, widths[0]))
    labels = random.integers(widths[-1], size=5)
    return wv.Problem(
        wv.ReLUNetwork(weights, biases), points, labels, loss=loss,
        cost=wv.TransportCost(norm, order), support=support,
        weights=np.maximum(random.integers(0, 3, 5), [1, 0, 0, 0, 0]),
    )  # fmt: skip


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10**6),
    norm=st.sampled_from(["l1", "linf"]),
    order=st.sampled_from([1.0, math.inf]),
    loss=st.sampled_from(["margin", "hinge", "zero-one"]),
    boxed=st.booleans(),
)
def test_attack_exact_and_certificate_are_in_order(seed, norm, order, loss, boxed):
    support = wv.Box(-1.0, 1.0) if boxed else wv.Box()
    problem = random_problem(seed, norm, order, loss, support)
    result = wv.sandwich(problem, radii=[0.0, 0.1, 0.5])  # raises when out of order
    for row in result.rows:
        assert row.status == "exact"
        assert row.attack <= row.upper + 1e-9 * max(1, abs(row.upper))
        assert row.lower <= row.certificate + 1e-9 * max(1, abs(row.certificate))
    assert result.rows[0].upper == pytest.approx(problem.nominal, abs=1e-9)


def test_a_time_limit_gives_brackets_around_the_truth():
    problem = random_problem(1, "linf", 1.0, "margin", wv.Box(-1.0, 1.0))
    truth = wv.solve(problem, radius=0.3)
    early = wv.sandwich(problem, radii=[0.3], limits=wv.Limits(seconds=0.0))
    assert early.stopped is not None
    assert early.rows[0].lower <= truth.upper
    assert early.rows[0].upper >= truth.lower


def test_the_whole_space_has_an_asymptotic_slope_and_a_verdict():
    result = wv.sandwich(wv.load_problem(PROBLEMS / "tight"), radii=[1.0])
    assert result.tight is True
    assert result.slope is not None
    assert result.slope.lower == pytest.approx(4.0)
    loose = wv.sandwich(wv.load_problem(PROBLEMS / "negative-absolute-value"), radii=[1.0])
    assert loose.tight is False


def test_a_bounded_support_has_no_verdict():
    result = wv.sandwich(wv.load_problem(PROBLEMS / "relu-interval"), radii=[1.0])
    assert result.tight is None
