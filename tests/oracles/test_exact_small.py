"""Random small problems: the exact engine against oracles that share no code with it.

- order 1, margin and hinge: the whole dual in cvxpy over exactly enumerated reference cells;
- zero-one: distances by cvxpy over the same cells, then a knapsack of its own;
- order inf: integer programs without cells;
- one and two dimensions: brute force on a grid;
- on a line: the kinks of the loss, which are all that a worst case needs.
"""

import math

import numpy as np
import pytest
from reference.cells import reference_cells
from reference.dual_cvxpy import dual_value, flip_distances, listed_cells
from reference.grid import grid_value
from reference.milp import worst_case_value
from reference.question import Question, forward, loss, preactivations
from reference.transport import transport_program

from wdaverify import Box, Polytope, Problem, ReLUNetwork, TransportCost, enumerate_cells
from wdaverify.exact.value import ExactSolver

TOLERANCE = 1e-7
FAR = 1e6  # zeros beyond are constants with a rounded slope
SPACES = ("box", "polytope", "space", "half", "wedge")


def random_network(rng, features, classes):
    """At most two hidden layers of 1 to 4 neurons; every third net has dyadic weights."""
    widths = [features, *rng.integers(1, 5, size=rng.integers(1, 3)).tolist(), classes]
    shapes = list(zip(widths[1:], widths[:-1], strict=True))
    weights = [1.5 * rng.normal(size=shape) / math.sqrt(shape[1]) for shape in shapes]
    biases = [0.5 * rng.normal(size=width) for width in widths[1:]]
    slopes = None
    if rng.random() < 0.25:
        slopes = [rng.choice([0.0, 0.1, 0.5], size=width) for width in widths[1:-1]]
    if rng.random() < 1 / 3:
        weights, biases = ([np.round(4 * v) / 4 for v in vs] for vs in (weights, biases))
    return ReLUNetwork(weights, biases, slopes)


def random_support(rng, kind, points):
    """A support of the kind that holds the points, some of them on its boundary."""
    n = points.shape[1]
    if kind == "box":
        return Box(-1.0, 1.0)
    if kind == "space":
        return Box()
    if kind == "half":
        lower = np.where(rng.random(n) < 0.5, -1.0, -np.inf)
        return Box(lower, np.where(rng.random(n) < 0.5, 1.0, np.inf))
    A = rng.normal(size=(2, n))
    b = (A @ points.T).max(axis=1) + rng.uniform(0.0, 0.3, size=2)
    if kind == "wedge":
        return Polytope(A, b)
    eye = np.eye(n)
    return Polytope(np.vstack([A, eye, -eye]), np.concatenate([b, np.ones(2 * n)]))


def random_problem(seed, *, loss, order, kind, norm=None, features=None):
    """One to six samples, some wrong, some of weight zero, some twice."""
    rng = np.random.default_rng(seed)
    features = features or int(rng.integers(1, 4))
    network = random_network(rng, features, int(rng.integers(2, 5)))
    count = int(rng.integers(1, 7))
    points = rng.uniform(-1.0, 1.0, size=(count, features))
    points[-1] = points[0]
    labels = network.logits(points).argmax(axis=1)
    labels = np.where(rng.random(count) < 0.3, (labels + 1) % network.classes, labels)
    weights = rng.integers(0, 4, size=count).astype(float)
    weights[0] = 1.0 if not weights.any() else weights[0]
    return Problem(
        network,
        points,
        labels,
        loss=loss,
        cost=TransportCost(norm or str(rng.choice(["l1", "linf"])), order),
        support=random_support(rng, kind, points),
        weights=weights,
    )


def question_of(problem):
    """The same question for the oracles; samples of weight zero are left out by hand."""
    there = np.flatnonzero(problem.weights > 0)
    support = problem.support
    box = isinstance(support, Box)
    return Question(
        weights=problem.network.weights,
        biases=problem.network.biases,
        slopes=problem.network.slopes,
        points=problem.points[there],
        labels=problem.labels[there],
        probabilities=problem.weights[there] / problem.weights.sum(),
        loss=problem.loss.name,
        norm=problem.cost.norm.name,
        order=problem.cost.order,
        lower=support.lower if box else -np.inf,
        upper=support.upper if box else np.inf,
        A=None if box else support.A,
        b=None if box else support.b,
    )


def values(problem, radii):
    """Answers of one solver, kept between radii."""
    solver = ExactSolver(problem, enumerate_cells(problem.network, problem.support))
    return [solver.solve(radius) for radius in radii]


def assert_is(found, lower, upper):
    """Both ends of the bracket found meet the oracle's bracket, within the tolerance."""
    room = TOLERANCE * max(1.0, abs(lower), abs(upper))
    assert upper - lower <= room, "the oracle did not decide"
    assert lower - room <= found.lower <= upper + room
    assert lower - room <= found.upper <= upper + room
    assert found.status == "exact"


def shuffled_radii(seed):
    radii = [0.0, 0.0625, 0.3, 1.0, 2.5]
    return np.random.default_rng(seed).permutation(radii)[:3].tolist()


@pytest.mark.parametrize("kind", SPACES)
@pytest.mark.parametrize("loss", ["margin", "hinge"])
@pytest.mark.parametrize("seed", range(4))
def test_order_one_is_the_dual_over_reference_cells(kind, loss, seed):
    problem = random_problem(seed, loss=loss, order=1, kind=kind)
    question = question_of(problem)
    cells = listed_cells(question, reference_cells(question))
    mu = question.probabilities
    radii = shuffled_radii(seed)
    for radius, found in zip(radii, values(problem, radii), strict=True):
        dual = dual_value(cells, question.points, question.labels, mu, question.norm, radius)
        assert_is(found, dual, dual)


@pytest.mark.parametrize("kind", SPACES)
@pytest.mark.parametrize("loss", ["margin", "hinge"])
@pytest.mark.parametrize("seed", range(100, 103))
def test_order_infinity_is_the_integer_program(kind, loss, seed):
    problem = random_problem(seed, loss=loss, order=math.inf, kind=kind)
    question = question_of(problem)
    radii = shuffled_radii(seed)
    for radius, found in zip(radii, values(problem, radii), strict=True):
        assert_is(found, *worst_case_value(question, radius))


def knapsack(distances, probabilities, radius, order):
    """Cheapest flips first, until ``radius ** order`` is spent."""
    if math.isinf(order):
        return float(probabilities[distances <= radius].sum())
    left, value = radius**order, 0.0
    for distance, mass in sorted(zip(distances.tolist(), probabilities.tolist(), strict=True)):
        if not math.isfinite(distance):
            break
        price = distance**order
        flipped = mass if price * mass <= left else left / price
        left, value = left - price * flipped, value + flipped
    return value


@pytest.mark.parametrize("kind", SPACES)
@pytest.mark.parametrize("order", [1, 1.5, 2, math.inf])
@pytest.mark.parametrize("seed", [200, 201])
def test_zero_one_is_the_knapsack_over_reference_distances(kind, order, seed):
    problem = random_problem(seed, loss="zero-one", order=order, kind=kind)
    question = question_of(problem)
    z = forward(question, question.points)
    rows = np.arange(len(z))
    own = z[rows, question.labels].copy()
    z[rows, question.labels] = -np.inf
    distances = flip_distances(question, reference_cells(question))
    distances = np.where(z.max(axis=1) >= own, 0.0, distances)
    radii = [r for r in shuffled_radii(seed) if np.all(np.abs(distances - r) > 1e-6) or r == 0]
    for radius, found in zip(radii, values(problem, radii), strict=True):
        value = knapsack(distances, question.probabilities, radius, order)
        assert_is(found, value, value)


@pytest.mark.parametrize("loss", ["margin", "hinge", "zero-one"])
@pytest.mark.parametrize("norm", ["l1", "linf"])
def test_order_one_is_the_integer_program_too(loss, norm):
    problem = random_problem(301, loss=loss, order=1, kind="box", norm=norm, features=2)
    for radius, found in zip((0.05, 0.4), values(problem, (0.05, 0.4)), strict=True):
        assert_is(found, *worst_case_value(question_of(problem), radius))


@pytest.mark.parametrize("loss", ["margin", "hinge", "zero-one"])
@pytest.mark.parametrize("order", [1, math.inf])
@pytest.mark.parametrize("features", [1, 2])
def test_the_grid_brackets_the_value(loss, order, features):
    for seed in (400, 401):
        problem = random_problem(seed, loss=loss, order=order, kind="box", features=features)
        question = question_of(problem)
        for radius, found in zip((0.1, 0.7), values(problem, (0.1, 0.7)), strict=True):
            lower, upper = grid_value(question, radius, 401 if features == 1 else 41)
            assert lower - TOLERANCE <= found.lower <= upper + TOLERANCE
            assert lower - TOLERANCE <= found.upper <= upper + TOLERANCE


# --- on a line -----------------------------------------------------------------------------------


def with_crossings(kinks, functions):
    """Kinks and all zeros of functions that are affine between (and beyond) them."""
    kinks = np.unique(kinks)
    ends = np.concatenate([[kinks[0] - 1], kinks, [kinks[-1] + 1]])
    found = [kinks]
    values = functions(ends)
    for k in range(len(ends) - 1):
        for left, right in zip(values[k], values[k + 1], strict=True):
            slope = (right - left) / (ends[k + 1] - ends[k])
            zero = ends[k] - left / slope if slope != 0 else np.nan
            low = -np.inf if k == 0 else ends[k]
            high = np.inf if k == len(ends) - 2 else ends[k + 1]
            found.append([zero] if low < zero < high and abs(zero) < FAR else [])
    return np.unique(np.concatenate(found))


def kinks_on_the_line(question):
    """Every point of the line where a neuron, or a difference of logits (hinge: + 1), is zero."""
    kinks = np.zeros(1)
    for layer in range(len(question.weights) - 1):
        kinks = with_crossings(kinks, lambda x, k=layer: preactivations(question, x[:, None])[k])

    def differences(x):
        z = forward(question, x[:, None])
        pairs = [(j, y) for j in range(question.classes) for y in range(question.classes) if j != y]
        return np.stack([z[:, j] - z[:, y] + one for j, y in pairs for one in (0.0, 1.0)], axis=1)

    return with_crossings(kinks, differences)


def candidates_on_the_line(question, radius):
    """Losses and lengths (N, M) of all kinks, samples, ends of the support and of the balls."""
    balls = np.concatenate([question.points - radius, question.points + radius]).ravel()
    ends = np.array([question.lower[0], question.upper[0]])
    places = np.concatenate([kinks_on_the_line(question), ends, balls, question.points.ravel()])
    places = places[np.isfinite(places) & (places >= ends[0]) & (places <= ends[1])]
    losses = np.array([loss(question, places[:, None], y) for y in question.labels])
    return losses, np.abs(places[None, :] - question.points), places


def tail_of(question, label):
    """Steepest ray of a label on the line: its slope, and the lines ``c + s x`` of both sides."""
    sides = []
    for sign, end in ((1.0, question.upper[0]), (-1.0, question.lower[0])):
        if math.isinf(end):
            far = sign * np.array([1e4, 2e4])
            values = loss(question, far[:, None], label)
            slope = (values[1] - values[0]) / 1e4
            sides.append((sign, slope, values[0] - slope * 1e4))
    return max([0.0, *(slope for _, slope, _ in sides)]), sides


@pytest.mark.parametrize("kind", ["box", "space", "half"])
@pytest.mark.parametrize("name", ["margin", "hinge"])
@pytest.mark.parametrize("order", [1, math.inf])
def test_on_a_line_the_kinks_decide(kind, name, order):
    for seed in range(500, 512):
        problem = random_problem(seed, loss=name, order=order, kind=kind, features=1)
        question = question_of(problem)
        mu, labels = question.probabilities, np.unique(question.labels)
        radii = shuffled_radii(seed)
        for radius, found in zip(radii, values(problem, radii), strict=True):
            losses, lengths, _ = candidates_on_the_line(question, radius)
            if order == 1:
                ray = max(tail_of(question, int(y))[0] for y in labels)
                value = transport_program(losses, lengths, mu, radius, ray=ray)[0]
            else:
                value = mu @ np.where(lengths <= radius * (1 + 1e-12), losses, -np.inf).max(axis=1)
            assert_is(found, value, value)


def is_attained(question, radius):
    """Whether one sample on the line attains its supremum, None where rounding would decide.

    The last ray of its envelope is ``A + S t`` with ``A = max loss − S t``.  Beyond the farthest
    place that attains A only a side whose own tail is this line goes on attaining it.
    """
    slope, sides = tail_of(question, int(question.labels[0]))
    if slope <= 1e-6:
        return True if slope == 0 else None
    losses, lengths, _ = candidates_on_the_line(question, radius)
    rises = losses[0] - slope * lengths[0]
    top = rises.max()
    near = rises >= top - 1e-9
    farthest = lengths[0][near].max()
    x = question.points[0, 0]
    offsets = [c + sign * s * x for sign, s, c in sides if s >= slope - 1e-9]
    gaps = [abs(c - top) for c in offsets]
    close = [g < 1e-7 for g in gaps]
    if abs(farthest - radius) < 1e-6 or any(1e-7 <= g < 1e-5 for g in gaps):
        return None
    return bool(radius < farthest) or any(close)


def test_on_a_line_it_is_known_whether_the_supremum_is_attained():
    seen = {True: 0, False: 0}
    for seed in range(600, 680):
        problem = random_problem(seed, loss="margin", order=1, kind="space", features=1)
        problem = problem.replace(weights=np.ones(len(problem))).head(1)
        question = question_of(problem)
        for radius, found in zip((0.3, 3.0), values(problem, (0.3, 3.0)), strict=True):
            expected = is_attained(question, radius)
            if expected is not None:
                assert found.attained is expected, f"seed {seed}, radius {radius}"
                seen[expected] += 1
    assert min(seen.values()) >= 10


def test_a_neighbouring_problem_is_told_apart():
    problem = random_problem(1, loss="margin", order=1, kind="box", features=2)
    *biases, last = (bias.copy() for bias in problem.network.biases)
    last[problem.labels[0]] += 1e-5
    moved = ReLUNetwork(problem.network.weights, [*biases, last], problem.network.slopes)
    question = question_of(problem.replace(network=moved))
    (found,) = values(problem, [0.3])
    with pytest.raises(AssertionError):
        assert_is(found, *worst_case_value(question, 0.3))
