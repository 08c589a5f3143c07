"""Random small questions, shared by the tests of the search."""

import math

import numpy as np
from reference.question import Question

from wdaverify import Box, Problem, ReLUNetwork, TransportCost
from wdaverify.search.suprema import LabelSearch


def random_network(rng, widths, *, slopes=False):
    shapes = list(zip(widths[1:], widths[:-1], strict=True))
    weights = [1.5 * rng.normal(size=shape) / math.sqrt(shape[1]) for shape in shapes]
    biases = [0.7 * rng.normal(size=shape[0]) for shape in shapes]
    chosen = [rng.choice([0.0, 0.1, 1.0], size=len(b)) for b in biases[:-1]] if slopes else None
    return ReLUNetwork(weights, biases, chosen)


def random_problem(seed, *, norm="linf", order=1.0, loss="margin", widths=None, samples=4):
    rng = np.random.default_rng(seed)
    if widths is None:
        hidden = rng.integers(1, 7, size=int(rng.integers(0, 4))).tolist()
        widths = [int(rng.integers(1, 4)), *hidden, int(rng.integers(2, 4))]
    network = random_network(rng, widths, slopes=bool(seed % 2))
    lower = rng.uniform(-1.5, -0.2, size=widths[0])
    upper = lower + rng.uniform(0.5, 2.0, size=widths[0])
    if seed % 3 == 0 and widths[0] > 1:
        upper[0] = lower[0]
    points = rng.uniform(lower, upper, size=(samples, widths[0]))
    labels = np.zeros(samples, dtype=np.int64)
    cost = TransportCost(norm, order)
    return Problem(network, points, labels, loss=loss, cost=cost, support=Box(lower, upper))


def search_of(problem, **options):
    return LabelSearch(
        problem.network, problem.support, problem.loss, problem.cost, problem.points, 0, **options
    )


def question_of(problem):
    """The same question for the reference engines."""
    return Question(
        weights=problem.network.weights,
        biases=problem.network.biases,
        slopes=problem.network.slopes,
        points=problem.points,
        labels=problem.labels,
        loss=problem.loss.name,
        norm=problem.cost.norm.name,
        order=problem.cost.order,
        lower=problem.support.lower,
        upper=problem.support.upper,
    )


def dense_points(rng, problem, count):
    """Points of the box, many of them on its faces and near a sample."""
    lower, upper = problem.support.lower, problem.support.upper
    points = rng.uniform(lower, upper, size=(count, len(lower)))
    faces = rng.integers(0, 4, size=points.shape)
    points = np.where(faces == 0, lower, np.where(faces == 1, upper, points))
    near = problem.points[rng.integers(0, len(problem), size=count)]
    shrink = rng.uniform(0, 1, size=(count, 1)) ** 3
    return np.concatenate([points, near + shrink * (points - near)])
