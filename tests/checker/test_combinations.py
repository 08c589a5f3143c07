"""Every loss, norm, order and support: what a proof proves holds the engine's value."""

import itertools
import math
import random

import numpy as np
import pytest
from checker.dumb_prover import dumb_proof
from checker.forge import write

from wdaverify import Box, Polytope, Problem, ReLUNetwork, TransportCost, solve
from wdaverify.checker.verdict import check_file

CASES = list(itertools.product(
    ["margin", "hinge", "zero-one", "cross-entropy"], ["l1", "l2", "linf"],
    [1, 1.5, 2, 3, math.inf],
    ["box", "polytope", "space"], [None, 0.5],
))  # fmt: skip


def question(loss, norm, order, support, label_cost, seed, *, classes=None):
    rng = np.random.default_rng(seed)
    n, classes = 2, classes or (2 if loss == "cross-entropy" else 3)
    widths = [n, 2, classes]
    weights = [rng.normal(size=(b, a)) for a, b in itertools.pairwise(widths)]
    slopes = [rng.choice([0.0, 0.25, 1.0], size=2)]
    network = ReLUNetwork(weights, [rng.normal(size=b) / 2 for b in widths[1:]], slopes)
    rows = np.vstack([np.eye(n), -np.eye(n), np.ones((1, n))])
    region = {
        "box": Box(-1.0, 1.0), "space": Box(),
        "polytope": Polytope(rows, [1.0, 1.0, 1.0, 1.0, 0.5]),
    }[support]  # fmt: skip
    points = rng.uniform(-0.75, 0.2, size=(3, n))
    return Problem(
        network, points, rng.integers(0, classes, size=3), loss=loss, support=region,
        cost=TransportCost(norm, order, label_cost), weights=rng.choice([1.0, 2.0], size=3),
    )  # fmt: skip


def holds(case, tmp_path, seed=None, **changes):
    if case[4] is not None and case[2] == math.inf:
        return
    seed = CASES.index(case) if seed is None else seed
    problem = question(*case, seed, **changes)
    radius = (0.05, 0.25)[seed % 2]
    verdict = check_file(
        write(tmp_path / "proof", dumb_proof(problem, radius, random.Random(seed)))
    )
    assert verdict.accepted, verdict
    value = solve(problem, radius=radius)
    scale = 1e-7 * max(1.0, abs(value.lower), abs(value.upper))
    assert float(verdict.lower) <= value.upper + scale
    assert float(verdict.upper) >= value.lower - scale


@pytest.mark.parametrize("case", CASES[::7], ids=str)
def test_holds_the_value(case, tmp_path):
    holds(case, tmp_path)


def test_cross_entropy_of_three_classes(tmp_path):
    holds(("cross-entropy", "linf", 1, "box", None), tmp_path, 1, classes=3)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=str)
def test_holds_the_value_of_every_combination(case, tmp_path):
    for seed in range(5):
        holds(case, tmp_path, seed)
