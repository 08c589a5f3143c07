"""The minimum-distance attack against cvxpy and grids; its invariants; checks shown to fail."""

import itertools

import cvxpy as cp
import numpy as np
import pytest
import torch

from wdaverify.bounds.descent import Nearest, Seekers
from wdaverify.bounds.nearest_flip import Hunt, nearest_flips
from wdaverify.bounds.published import Settings
from wdaverify.bounds.reference import reference_wdapp
from wdaverify.bounds.region import region_of
from wdaverify.bounds.steps import steps_of
from wdaverify.bounds.torch_network import TorchNetwork
from wdaverify.network import ReLUNetwork
from wdaverify.norms import NORMS
from wdaverify.support import Box, Polytope

ORDERS = {"l1": 1, "l2": 2, "linf": "inf"}
norms = pytest.mark.parametrize("norm", list(NORMS))
TRIANGLE = Polytope([[-1.0, 0.0], [0.0, -1.0], [1.0, 1.0]], [0.0, 0.0, 1.0])


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def random_network(widths, seed):
    rng = np.random.default_rng(seed)
    shapes = list(itertools.pairwise(widths))
    weights = [rng.normal(size=(b, a)) * 2 / np.sqrt(a) for a, b in shapes]
    biases = [0.4 * rng.normal(size=b) for _, b in shapes]
    middle = ReLUNetwork(weights, biases).logits(rng.uniform(size=(500, widths[0]))).mean(axis=0)
    biases[-1] = biases[-1] - middle  # no class rules the box
    return ReLUNetwork(weights, biases)


def attacked(network, support, norm, X, y, *, seed=0, device="cpu", dtype=torch.float64, **options):
    """Attack; return model, region and what was found."""
    model = TorchNetwork(network, device=device, dtype=dtype)
    region = region_of(support.bind(X.shape[1]), steps_of(NORMS[norm]), model)
    found = nearest_flips(
        model, region, model.tensor(X), torch.tensor(y, device=device),
        generator=torch.Generator().manual_seed(seed), **options,
    )  # fmt: skip
    return model, region, found


def margins(network, points, labels):
    logits = network.logits(points)
    own = logits[np.arange(len(points)), labels]
    logits = logits.copy()
    logits[np.arange(len(points)), labels] = -np.inf
    return logits.max(axis=1) - own


@norms
@pytest.mark.parametrize("support", [Box(), Box(0.0, 1.0)])
def test_affine_networks_have_the_distance_of_cvxpy(norm, support):
    """One convex program for each wrong class: the least of them is the distance."""
    network = random_network([4, 3], 1)
    X = np.random.default_rng(2).uniform(0.1, 0.9, size=(6, 4))
    y = network.logits(X).argmax(axis=1)
    _, _, found = attacked(network, support, norm, X, y)
    A, b = network.weights[0], network.biases[0]
    bounded = np.isfinite(support.upper).all()
    for x, label, length in zip(X, y, found.lengths.tolist(), strict=True):
        best = np.inf
        for j in set(range(3)) - {int(label)}:
            v = cp.Variable(4)
            rows = [(A[j] - A[label]) @ v + b[j] - b[label] >= 0]
            rows += [v >= 0, v <= 1] if bounded else []
            program = cp.Problem(cp.Minimize(cp.norm(v - x, ORDERS[norm])), rows)
            program.solve(solver=cp.CLARABEL)
            best = min(best, program.value if program.status == "optimal" else np.inf)
        assert length == pytest.approx(best, rel=1e-5)


def grid_distances(network, X, y, norm, count):
    """Distance of each sample to the nearest misclassified point of a grid of the unit square."""
    axis = np.linspace(0.0, 1.0, count)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    winners = network.logits(grid).argmax(axis=1)
    lengths = NORMS[norm].length(X[:, None] - grid[None])
    return np.where(winners[None] != y[:, None], lengths, np.inf).min(axis=1)


@norms
def test_no_point_of_a_grid_is_nearer(norm):
    network = random_network([2, 8, 8, 3], 5)
    X = np.random.default_rng(6).uniform(0, 1, size=(40, 2))
    y = network.logits(X).argmax(axis=1)
    _, _, found = attacked(network, Box(0.0, 1.0), norm, X, y)
    grid = grid_distances(network, X, y, norm, 301)
    lengths = found.lengths.numpy()
    assert (lengths <= grid).all()
    assert (grid - lengths <= 2.0 / 300).mean() > 0.9  # the grid is hardly finer: thin corners
    _, _, lazy = attacked(network, Box(0.0, 1.0), norm, X, y, hunt=Hunt(steps=1, hops=0, top_k=1))
    assert (lazy.lengths.numpy() > grid + 1e-3).any()  # the check sees an attack that is too lazy


def check_flips(network, support, norm, X, y, found, *, targets=0.0):
    """Raise unless points lie in the support, past the boundary, at the distance stated."""
    points, lengths = found.points.double().cpu().numpy(), found.lengths.double().cpu().numpy()
    known = np.isfinite(lengths)
    assert support.bind(X.shape[1]).contains(points).all(), "outside the support"
    assert np.allclose(NORMS[norm].length(points - X)[known], lengths[known]), "distance"
    assert (margins(network, points, y) >= targets - 1e-12)[known].all(), "not past the boundary"
    others, owners = found.others.double().cpu().numpy(), found.owners.cpu().numpy()
    reached = np.broadcast_to(targets, len(X))[owners]
    assert (margins(network, others, y[owners]) >= reached - 1e-12).all(), "not past the boundary"
    away = NORMS[norm].length(others - X[owners])
    assert (away >= lengths[owners] - 1e-12).all(), "a nearer point was forgotten"


@norms
@pytest.mark.parametrize("support", [Box(), Box(0.0, 1.0), TRIANGLE])
def test_what_is_found_lies_in_the_support_past_the_boundary(norm, support):
    network = random_network([2, 6, 6, 4], 7)
    X = np.random.default_rng(8).uniform(0, 0.5, size=(30, 2))
    y = network.logits(X).argmax(axis=1)
    _, _, found = attacked(network, support, norm, X, y)
    check_flips(network, support, norm, X, y, found)
    assert found.lengths.isfinite().all()
    near = found._replace(points=torch.tensor(X) + 0.99 * (found.points - torch.tensor(X)))
    near = near._replace(lengths=0.99 * found.lengths)
    with pytest.raises(AssertionError, match="not past the boundary"):
        check_flips(network, support, norm, X, y, near)


@norms
def test_margin_targets(norm):
    network = random_network([3, 8, 3], 9)
    X = np.random.default_rng(10).uniform(0.2, 0.8, size=(20, 3))
    y = network.logits(X).argmax(axis=1)
    lengths = []
    for target in (-0.2, 0.0, 0.3):
        targets = torch.full((20,), target, dtype=torch.float64)
        _, _, found = attacked(network, Box(0.0, 1.0), norm, X, y, targets=targets)
        check_flips(network, Box(0.0, 1.0), norm, X, y, found, targets=target)
        past = margins(network, X, y) >= target
        assert (found.lengths.numpy()[past] == 0).all()
        lengths.append(found.lengths.numpy())
    assert (lengths[0] <= lengths[1] + 1e-9).all()
    assert (lengths[1] <= lengths[2] * (1 + 1e-6) + 1e-9).mean() > 0.9


def test_samples_that_are_wrong_stay_and_regions_without_flips_have_none():
    network = random_network([3, 8, 3], 9)
    X = np.full((2, 3), 0.5)
    y = network.logits(X).argmax(axis=1)
    y[1] = (y[1] + 1) % 3
    point = Box([0.5] * 3, [0.5] * 3)
    _, _, found = attacked(network, point, "linf", X, y)
    assert found.lengths.tolist() == [np.inf, 0.0]
    assert found.points.tolist() == X.tolist()
    assert len(found.owners) == 0


@norms
def test_same_seed_same_points_other_seed_other_points(norm):
    network = random_network([6, 20, 20, 4], 11)
    X = np.random.default_rng(12).uniform(0, 1, size=(40, 6))
    y = network.logits(X).argmax(axis=1)
    state = torch.random.get_rng_state()
    a, b, c = (attacked(network, Box(0, 1), norm, X, y, seed=s)[2] for s in (3, 3, 4))
    assert torch.equal(a.points, b.points)
    assert torch.equal(a.lengths, b.lengths)
    assert not torch.equal(a.others, c.others)
    assert torch.equal(state, torch.random.get_rng_state())


def test_more_hops_never_lose():
    network = random_network([6, 20, 20, 4], 13)
    X = np.random.default_rng(14).uniform(0, 1, size=(40, 6))
    y = network.logits(X).argmax(axis=1)
    few, many = (
        attacked(network, Box(0, 1), "linf", X, y, hunt=Hunt(hops=h))[2].lengths for h in (0, 4)
    )
    assert (many <= few + 1e-12).all()
    assert (many < few - 1e-6).any()


@norms
def test_nearer_than_wdapp_and_no_flip_missed(norm):
    """Every flip that the published WDA++ finds is found, nearer on average."""
    network = random_network([8, 24, 24, 5], 15)
    X = np.random.default_rng(16).uniform(0, 1, size=(60, 8))
    y = network.logits(X).argmax(axis=1)
    model, region, found = attacked(network, Box(0, 1), norm, X, y)
    settings = Settings(step=0.05 if norm == "linf" else 0.2)
    rival = reference_wdapp(model, region, model.tensor(X), torch.tensor(y), settings=settings)
    both = rival.lengths.isfinite()
    assert both.float().mean() > 0.5
    assert found.lengths[both].isfinite().all()
    assert found.lengths[both].mean() < 0.995 * rival.lengths[both].mean()


def test_single_precision_finds_nearly_the_same():
    network = random_network([6, 20, 20, 4], 11)
    X = np.random.default_rng(12).uniform(0, 1, size=(40, 6))
    y = network.logits(X).argmax(axis=1)
    double, single = (
        attacked(network, Box(0, 1), "l2", X, y, dtype=d)[2].lengths.double()
        for d in (torch.float64, torch.float32)
    )
    assert torch.allclose(double.mean(), single.mean(), rtol=1e-2)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@norms
def test_gpu_agrees(norm):
    network = random_network([6, 20, 20, 4], 11)
    X = np.random.default_rng(12).uniform(0, 1, size=(40, 6))
    y = network.logits(X).argmax(axis=1)
    here, there = (
        attacked(network, Box(0, 1), norm, X, y, device=d)[2].lengths.cpu() for d in ("cpu", "cuda")
    )
    assert torch.allclose(here, there, rtol=1e-3)


def test_stopping_before_the_first_descent():
    network = random_network([3, 8, 3], 9)
    X = np.random.default_rng(10).uniform(0.2, 0.8, size=(5, 3))
    y = network.logits(X).argmax(axis=1)
    _, _, found = attacked(network, Box(0, 1), "linf", X, y, stop=lambda: True)
    assert (found.lengths == torch.inf).all()


@norms
@pytest.mark.parametrize("support", [Box(-3.0, 3.0), Box()])
def test_vanishing_gradients_do_no_harm(norm, support):
    """Flat around 0; an error where ``x₁ >= 4/3`` (near), and for another class far away."""
    network = ReLUNetwork(
        [[[1.0, 0.0], [0.0, 1.0]], [[0.0, 0.0], [3.0, 0.0], [0.0, 1.0]]],
        [[-1.0, 0.0], [0.0, -1.0, -2.5]],
    )
    X, y = np.array([[0.0, 0.0], [0.0, 1.0], [1.2, 0.0]]), np.zeros(3, dtype=np.int64)
    _, _, found = attacked(network, support, norm, X, y, hunt=Hunt(hops=20))
    assert found.points.isfinite().all()
    assert found.lengths[2].item() == pytest.approx(4 / 3 - 1.2)
    assert (found.lengths >= 4 / 3 - 1.2 - 1e-12).all()
    assert found.lengths[0].item() <= 2.5 + 1e-9


def test_the_table_keeps_the_nearest_and_the_first_of_equals():
    origins = torch.zeros(2, 1, dtype=torch.float64)
    table = Nearest(origins, torch.zeros(2, dtype=torch.int64))
    walkers = Seekers.at(
        torch.tensor([0, 0, 0]), torch.zeros(3, dtype=torch.int64), torch.tensor([1, 2, 3]),
        torch.zeros(3, 1, dtype=torch.float64), torch.tensor([[5.0], [-3.0], [3.0]]).double(),
        torch.zeros(3, dtype=torch.float64), gradients=torch.zeros(3, 1, dtype=torch.float64),
    )  # fmt: skip
    walkers.lengths = torch.tensor([5.0, 3.0, 3.0]).double()
    table.update(walkers)
    assert table.points.tolist() == [[-3.0], [0.0]]
    assert table.classes.tolist() == [2, 0]
    assert table.lengths.tolist() == [3.0, np.inf]
