"""The verbs of the attack against brute force, closed forms and cvxpy; checks shown to fail."""

import cvxpy as cp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wdaverify.bounds.flips import approach, shorten
from wdaverify.bounds.region import region_of
from wdaverify.bounds.selection import frontier
from wdaverify.bounds.steps import steps_of
from wdaverify.bounds.torch_network import TorchNetwork, device_named, dtype_named, losses
from wdaverify.cost import TransportCost
from wdaverify.errors import ProblemError
from wdaverify.loss import LOSSES
from wdaverify.network import ReLUNetwork
from wdaverify.norms import NORMS
from wdaverify.problem import Problem
from wdaverify.support import Box, Polytope

ORDERS = {"l1": 1, "l2": 2, "linf": "inf"}
norms = pytest.mark.parametrize("norm", list(NORMS))


def tensor(array):
    return torch.tensor(np.asarray(array, dtype=np.float64))


def draws(seed, rows, n):
    return np.random.default_rng(seed).normal(size=(rows, n))


def random_network(widths, seed, *, slopes=None):
    rng = np.random.default_rng(seed)
    shapes = list(zip(widths[1:], widths[:-1], strict=True))
    weights = [rng.normal(size=shape) for shape in shapes]
    biases = [0.3 * rng.normal(size=shape[0]) for shape in shapes]
    return ReLUNetwork(weights, biases, slopes)


# --- norms -----------------------------------------------------------------------------------


@norms
def test_length_is_that_of_the_ground_norm(norm):
    d = draws(0, 20, 4)
    assert np.allclose(steps_of(NORMS[norm]).length(tensor(d)), NORMS[norm].length(d), rtol=1e-15)


@norms
def test_steepest_direction_attains_the_dual_norm(norm):
    g = draws(1, 50, 5) * 10.0 ** draws(2, 50, 1)
    u = steps_of(NORMS[norm]).steepest(tensor(g)).numpy()
    assert (NORMS[norm].length(u) <= 1 + 1e-15).all()
    assert np.allclose((g * u).sum(axis=1), NORMS[norm].dual_length(g), rtol=1e-14)


@norms
@pytest.mark.parametrize("size", [0.0, 1e-200, 1e200])
def test_steepest_direction_of_extreme_gradients(norm, size):
    u = steps_of(NORMS[norm]).steepest(tensor([[size, -2 * size]])).numpy()
    assert NORMS[norm].length(u)[0] == pytest.approx(float(size > 0), abs=1e-15)


def displaced(d, p, v):
    """Largest ``(d − p) · (v − p)``: at most 0 for all ``v`` of a convex set iff ``p`` projects."""
    return ((d - p) * (v - p)).sum(axis=-1).max()


@norms
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 7), radius=st.floats(0.01, 3.0))
def test_projection_satisfies_the_variational_inequality(norm, seed, n, radius):
    steps, ground = steps_of(NORMS[norm]), NORMS[norm]
    d = 2.0 * draws(seed, 1, n)
    p = steps.project(tensor(d), tensor([radius])).numpy()
    assert ground.length(p)[0] <= radius * (1 + 1e-14)
    if ground.length(d)[0] <= radius:
        assert (p == d).all()
    ball = draws(seed + 1, 300, n)
    ball *= (radius / ground.length(ball))[:, None]
    corners = radius * np.concatenate([np.eye(n), -np.eye(n), np.sign(d) * (norm == "linf")])
    assert displaced(d, p, np.concatenate([ball, corners])) <= 1e-12


@pytest.mark.parametrize("norm", ["l1", "linf"])
def test_variational_inequality_rejects_shrinking(norm):
    """Shrinking a vector until it fits is the projection for l2 only: the check above sees it."""
    d = np.array([[3.0, 1.0, 0.1]])
    shrunk = d / NORMS[norm].length(d)
    corners = np.concatenate([np.eye(3), np.sign(d) if norm == "linf" else d / d.sum()])
    assert displaced(d, shrunk, corners) > 0.1


@norms
def test_projection_agrees_with_cvxpy(norm):
    d, radii = draws(3, 4, 5), np.array([0.3, 1.0, 2.0, 50.0])
    found = steps_of(NORMS[norm]).project(tensor(d), tensor(radii)).numpy()
    for row, radius, p in zip(d, radii, found, strict=True):
        v = cp.Variable(5)
        cp.Problem(
            cp.Minimize(cp.sum_squares(v - row)), [cp.norm(v, ORDERS[norm]) <= radius]
        ).solve(solver=cp.CLARABEL)
        assert np.allclose(v.value, p, atol=1e-5)


@norms
def test_random_directions_have_norm_one_and_every_sign(norm):
    u = steps_of(NORMS[norm]).scatter(tensor(draws(4, 200, 3))).numpy()
    assert np.allclose(NORMS[norm].length(u), 1.0)
    assert len({tuple(row) for row in np.sign(u).astype(int).tolist()}) == 8


def rooms_and_gradients(seed):
    rng = np.random.default_rng(seed)
    g, rooms = rng.normal(size=(6, 5)), rng.exponential(size=(6, 5))
    g[0, 1] = 0.0
    rooms[1] = np.inf
    rooms[2, :2] = 0.0
    return g, rooms


def boxed(g, rooms):
    """A cvxpy variable between 0 and its room in the direction of the gradient."""
    v = cp.Variable(len(g))
    limits = np.where(np.isfinite(rooms), rooms, 1e3)
    return v, [
        cp.multiply(np.sign(g), v) >= 0,
        cp.multiply(np.sign(g), v) <= limits,
        v[g == 0] == 0,
    ]


@norms
def test_fill_is_the_best_corner(norm):
    g, rooms = rooms_and_gradients(5)
    radii = np.array([0.5, 0.7, 1.0, 2.0, 0.01, 100.0])
    moves = steps_of(NORMS[norm]).fill(tensor(g), tensor(rooms), tensor(radii)).numpy()
    assert (NORMS[norm].length(moves) <= radii * (1 + 1e-14)).all()
    assert (np.abs(moves) <= rooms).all()
    assert (moves * g >= 0).all()
    for row, room, radius, d in zip(g, rooms, radii, moves, strict=True):
        v, box = boxed(row, room)
        best = cp.Problem(cp.Maximize(row @ v), [*box, cp.norm(v, ORDERS[norm]) <= radius])
        best.solve(solver=cp.CLARABEL)
        assert row @ d == pytest.approx(best.value, abs=1e-6)


@norms
def test_meet_is_the_shortest_way_to_a_half_space(norm):
    g, rooms = rooms_and_gradients(6)
    most = (np.abs(g) * np.where(np.isfinite(rooms), rooms, 1.0)).sum(axis=1)
    rises = most * np.array([0.5, 3.0, 0.9, 0.1, 0.99, 0.3])
    moves = steps_of(NORMS[norm]).meet(tensor(g), tensor(rooms), tensor(rises)).numpy()
    assert ((g * moves).sum(axis=1) >= rises * (1 - 1e-14)).all()
    assert (np.abs(moves) <= rooms).all()
    for row, room, rise, d in zip(g, rooms, rises, moves, strict=True):
        v, box = boxed(row, room)
        best = cp.Problem(cp.Minimize(cp.norm(v, ORDERS[norm])), [*box, row @ v >= rise])
        best.solve(solver=cp.CLARABEL)
        assert NORMS[norm].length(d) == pytest.approx(best.value, abs=1e-6)


@norms
def test_meet_ends_at_the_corner_of_a_box_that_is_too_small(norm):
    g, rooms = tensor([[1.0, -2.0, 0.0]]), tensor([[0.5, 0.25, 7.0]])
    moves = steps_of(NORMS[norm]).meet(g, rooms, tensor([10.0])).numpy()
    assert np.allclose(moves[0, :2], [0.5, -0.25])


# --- regions ---------------------------------------------------------------------------------

TRIANGLE = Polytope([[-1.0, 0.0], [0.0, -1.0], [1.0, 1.0]], [0.0, 0.0, 1.0])
SEGMENT = Polytope([[1.0, 1.0], [-1.0, -1.0], [1.0, 0.0], [-1.0, 0.0]], [1.0, -1.0, 1.0, 0.0])
NO_ROWS = Polytope(np.zeros((1, 2)), [1.0])


def region(support, norm):
    return region_of(
        support.bind(2), steps_of(NORMS[norm]), TorchNetwork(random_network([2, 2], 0))
    )


@norms
@pytest.mark.parametrize("support", [Box(0.0, 1.0), Box([0.0, -np.inf], 1.0), TRIANGLE, SEGMENT])
def test_region_keeps_points_inside_support_and_reach(support, norm):
    rng = np.random.default_rng(7)
    a = rng.uniform(0, 1, size=(200, 1))
    origins = np.concatenate([a, 1 - a], axis=1)  # on the edge that the supports share
    reaches = rng.exponential(0.5, size=200)
    points = origins + rng.normal(size=(200, 2))
    inside = region(support, norm).project(tensor(points), tensor(origins), tensor(reaches)).numpy()
    assert support.bind(2).contains(inside).all()
    assert (NORMS[norm].length(inside - origins) <= reaches * (1 + 1e-13)).all()
    moved = NORMS[norm].length(inside - origins) > 1e-3
    assert moved.mean() > 0.4  # also along the segment, which has no interior


def test_region_without_rows_is_the_ball():
    free = region(NO_ROWS, "l2")
    points = tensor([[3.0, 4.0]])
    assert np.allclose(free.project(points, 0 * points, tensor([1.0])), [[0.6, 0.8]])
    assert (free.free(points, points) == points).all()


@pytest.mark.parametrize("support", [Box(0.0, 1.0), TRIANGLE])
def test_gradients_do_not_point_straight_out(support):
    at, g = tensor([[0.0, 0.5]]), tensor([[-2.0, 1.0]])
    assert region(support, "l2").free(g, at).tolist() == [[0.0, 1.0]]


def test_corner_of_ball_and_box():
    boxed_region = region(Box(0.0, 1.0), "l1")
    corner = boxed_region.corner(tensor([[3.0, 2.0]]), tensor([[0.75, 0.5]]), tensor([0.5]))
    assert corner.tolist() == [[1.0, 0.75]]


# --- network, losses, selection --------------------------------------------------------------


@pytest.mark.parametrize("slopes", [None, [[0.1, 0.0, 1.0, 0.5], [0.0, 0.2, 0.0]]])
def test_torch_network_agrees_with_numpy(slopes):
    network = random_network([3, 4, 3, 5], 8, slopes=slopes)
    X = draws(9, 40, 3)
    twin = TorchNetwork(network)
    assert np.allclose(twin.logits(tensor(X)), network.logits(X), rtol=1e-13, atol=1e-13)
    logits, gradient = twin.gradient(tensor(X), lambda z: z[:, 2])
    assert np.allclose(logits, network.logits(X), rtol=1e-13, atol=1e-13)
    step = 1e-7
    for k in range(3):
        ahead = network.logits(X + step * np.eye(3)[k])[:, 2]
        assert np.allclose((ahead - network.logits(X)[:, 2]) / step, gradient[:, k], atol=1e-5)


@pytest.mark.parametrize("name", list(LOSSES))
def test_torch_losses_agree_with_numpy(name):
    z, y = draws(10, 60, 4) * 3, np.random.default_rng(11).integers(0, 4, size=60)
    found = losses(LOSSES[name], tensor(z), torch.tensor(y)).numpy()
    assert np.allclose(found, LOSSES[name].evaluate(z, y), rtol=1e-13, atol=1e-13)


def test_single_precision():
    twin = TorchNetwork(random_network([2, 3, 2], 12), dtype=dtype_named("float32"))
    assert twin.logits(twin.tensor(draws(13, 5, 2))).dtype == torch.float32


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: device_named("abacus"), "found 'abacus'"),
        (lambda: device_named("meta"), "expected cpu or cuda"),
        (lambda: device_named("cuda:99"), "CUDA device"),
        (lambda: dtype_named("float16"), "found 'float16'"),
    ],
)
def test_devices_and_types_that_are_not_there(call, message):
    with pytest.raises(ProblemError, match=message):
        call()


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 4), st.integers(-3, 3)), min_size=1, max_size=25
    )
)
def test_frontier_against_brute_force(rows):
    keys, lengths, values = (torch.tensor(v) for v in zip(*rows, strict=True))
    kept = frontier(keys, lengths.double(), values.double()).tolist()
    expected = {
        k
        for k, (key, length, value) in enumerate(rows)
        if not any(
            other == key
            and (near, -v, j) < (length, -value, k)
            and v >= value
            for j, (other, near, v) in enumerate(rows)
        )
    }  # fmt: skip
    assert set(kept) == expected
    assert kept == sorted(kept, key=lambda k: (rows[k][0], rows[k][1], rows[k][2]))


def test_frontier_leaves_out_what_is_no_number():
    values = torch.tensor([float("nan"), 1.0, float("inf")])
    assert frontier(torch.zeros(3), torch.arange(3.0), values).tolist() == [1, 2]


# --- flips -----------------------------------------------------------------------------------


@norms
def test_flips_are_halved_and_slid_to_the_nearest_point(norm):
    a = np.array([2.0, -1.0, 0.5])
    network = ReLUNetwork([np.stack([0 * a, a])], [[0.0, -1.0]])  # an error where a · x >= 1
    X = draws(14, 20, 3) * 0.2
    X = X[X @ a < 0.9]
    problem = Problem(
        network, X, np.zeros(len(X)), loss="zero-one", cost=TransportCost(norm), support=Box(-9, 9)
    )
    owners = np.arange(len(X))
    far = X + 4.0 * a + draws(15, len(X), 3)
    half = approach(problem, far, owners)
    assert np.allclose(half @ a, 1.0, rtol=1e-14)
    assert (problem.evaluate(half, problem.labels) == 1).all()
    assert (problem.evaluate(X + (1 - 1e-12) * (half - X), problem.labels) == 0).all()
    twin = TorchNetwork(network)
    near = shorten(
        problem, twin, region_of(problem.support, steps_of(NORMS[norm]), twin), half, owners
    )
    distance = NORMS[norm].length(near - X)
    assert np.allclose(distance, (1 - X @ a) / NORMS[norm].dual_length(a), rtol=1e-9)
    assert (problem.evaluate(near, problem.labels) == 1).all()
    assert (distance < NORMS[norm].length(half - X) * (1 - 1e-6)).any()  # halving is not enough
