"""The default attack finds every flip that exists: shown where the exact engine lists them all."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

import wdaverify as wv
from wdaverify.bounds.attack import flip_distances
from wdaverify.bounds.nearest_flip import Hunt, nearest_flips
from wdaverify.bounds.region import region_of
from wdaverify.bounds.steps import steps_of
from wdaverify.bounds.torch_network import TorchNetwork
from wdaverify.exact.value import ExactSolver
from wdaverify.norms import NORMS

IRIS = Path(__file__).parents[2] / "problems" / "iris"
HIDDEN = 13
"""Sample of iris whose nearest error is of a class that seems far away."""


def random_problem(seed, norm):
    rng = np.random.default_rng(seed)
    weights = [rng.normal(size=(b, a)) * 2 / np.sqrt(a) for a, b in itertools.pairwise((2, 6, 3))]
    network = wv.ReLUNetwork(weights, [0.4 * rng.normal(size=6), 0.4 * rng.normal(size=3)])
    X = rng.uniform(size=(12, 2))
    labels = network.logits(X).argmax(axis=1)
    cost = wv.TransportCost(norm)
    return wv.Problem(network, X, labels, loss="zero-one", cost=cost, support=wv.Box(0.0, 1.0))


def exact_distances(problem):
    cells = wv.enumerate_cells(problem.network, problem.support)
    return ExactSolver(problem, cells).distances()


@pytest.mark.parametrize("norm", list(NORMS))
def test_every_flip_that_exists_is_found(norm):
    gaps, flips = [], 0
    for seed in range(6):
        problem = random_problem(seed, norm)
        exact, found = exact_distances(problem), flip_distances(problem)
        there = np.isfinite(exact.upper)
        assert (np.isfinite(found) == there).all()
        assert (found[there] >= exact.lower[there] * (1 - 1e-9)).all()
        flips += there.sum()
        gaps.append(found[there] / np.maximum(exact.upper[there], 1e-300) - 1.0)
    assert flips >= 24
    assert np.median(np.concatenate(gaps)) <= 1e-3


def test_a_nearest_error_of_a_class_that_seems_far_is_found():
    problem = wv.load_problem(IRIS).head(HIDDEN + 1).replace(loss="zero-one")
    truth = exact_distances(problem).upper[HIDDEN]
    assert flip_distances(problem)[HIDDEN] <= truth * 1.001


def test_without_the_classes_that_seem_far_it_is_missed():
    problem = wv.load_problem(IRIS).head(HIDDEN + 1)
    model = TorchNetwork(problem.network)
    region = region_of(problem.support, steps_of(problem.cost.norm), model)
    lengths = nearest_flips(
        model, region, model.tensor(problem.points), torch.tensor(problem.labels),
        hunt=Hunt(hops=17), generator=torch.Generator().manual_seed(0),
    ).lengths  # fmt: skip
    assert lengths[HIDDEN] > 0.14  # the exact distance is 0.136
