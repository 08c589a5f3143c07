"""What users register is solved rightly, checked by a grid that knows neither cells nor solver."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

import wdaverify as wv
from wdaverify.importers.piecewise import clip
from wdaverify.importers.tensor import Tensor, add

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.usefixtures("registries")
RADIUS = 0.15
SIDE = 41

COSTLY = """
import numpy as np
import wdaverify as wv

PRICES = np.array([[0.0, 1.0, 4.0], [1.0, 0.0, 2.0], [0.5, 1.0, 0.0]])


@wv.register_loss
class Costly(wv.MaxAffineLoss):
    name = "costly"
    classes = 3

    def pieces(self, classes, label):
        others = [j for j in range(classes) if j != label]
        matrix = np.eye(classes)[others]
        matrix[:, label] = -1.0
        return wv.AffineMap(PRICES[label, others][:, None] * matrix, np.zeros(len(others)))
"""


def network(seed: int = 3) -> wv.ReLUNetwork:
    rng = np.random.default_rng(seed)
    weights = [rng.standard_normal((5, 2)), rng.standard_normal((3, 5))]
    return wv.ReLUNetwork(weights, [rng.standard_normal(5), rng.standard_normal(3)])


def question(**changes) -> wv.Problem:
    rng = np.random.default_rng(5)
    points = rng.uniform(-0.8, 0.8, size=(4, 2))
    return wv.Problem(network(), points, [0, 1, 2, 0], support=wv.Box(-1.0, 1.0)).replace(**changes)


def logits(points):
    net = network()
    hidden = np.maximum(points @ net.weights[0].T + net.biases[0], 0.0)
    return hidden @ net.weights[1].T + net.biases[1]


def on_a_grid(problem, loss, length) -> float:
    """Best distribution on a grid, by one linear program: a lower bound of the value."""
    axis = np.linspace(-1.0, 1.0, SIDE)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    losses, costs, owners = [], [], []
    for i, (x, y) in enumerate(zip(problem.points, problem.labels, strict=True)):
        points = np.vstack([x, grid])
        losses.append(loss(logits(points), int(y)))
        costs.append(length(points - x))
        owners.append(np.full(len(points), i))
    owner, count = np.concatenate(owners), len(problem)
    found = linprog(
        -np.concatenate(losses), A_ub=np.concatenate(costs)[None], b_ub=[RADIUS],
        A_eq=(owner == np.arange(count)[:, None]).astype(float), b_eq=np.full(count, 1 / count),
    )  # fmt: skip
    return -found.fun


def close(problem, lower: float, steepest: float) -> None:
    """Compare: every point is within half a mesh of the grid, and both loss and cost pay for it."""
    mesh = 2.0 / (SIDE - 1)
    exact = wv.solve(problem, radius=RADIUS)
    assert exact.status == "exact"
    assert lower - 1e-9 <= exact.upper
    assert exact.lower <= lower + steepest * mesh


def margin(z, y):
    others = np.delete(z, y, axis=1)
    return others.max(axis=1) - z[:, y]


def linf(moves):
    return np.abs(moves).max(axis=1)


def steepness() -> float:
    """Product of the layers' l∞ norms, twice for a difference of logits."""
    return 2.0 * float(np.prod([np.abs(W).sum(axis=1).max() for W in network().weights]))


def register(text: str, folder: Path, monkeypatch, name: str = "mine.py") -> None:
    (folder / name).write_text(text)
    monkeypatch.setenv("WDAVERIFY_EXTENSIONS", str(folder / name))


def test_a_loss(tmp_path, monkeypatch):
    register(COSTLY, tmp_path, monkeypatch)
    problem = question(loss=wv.Problem(network(), [[0, 0]], [0], loss="costly").loss)
    prices = np.array([[0.0, 1.0, 4.0], [1.0, 0.0, 2.0], [0.5, 1.0, 0.0]])

    def costly(z, y):
        return np.delete(prices[y] * (z - z[:, [y]]), y, axis=1).max(axis=1)

    lower = on_a_grid(problem, costly, linf)
    close(problem, lower, 4.0 * steepness())
    assert abs(lower - on_a_grid(problem, margin, linf)) > 0.1  # the grid tells losses apart
    both = wv.sandwich(problem, [0.05, RADIUS])
    assert all(row.attack <= row.upper <= row.certificate + 1e-9 for row in both.rows)
    with pytest.raises(wv.UnsupportedError, match="costly"):
        wv.prove(problem, radius=RADIUS, path=tmp_path / "no.proof")


@pytest.mark.parametrize("base", ["l1", "linf"])
def test_a_norm(base):
    scales = np.array([1.0, 3.0])
    norm = wv.register_norm(wv.ScaledNorm(f"tall-{base}", base, scales))
    problem = question(cost=wv.TransportCost(norm, order=1))
    order = 1 if base == "l1" else np.inf

    def length(moves):
        return np.linalg.norm(moves * scales, ord=order, axis=1)

    lower = on_a_grid(problem, margin, length)
    close(problem, lower, 3.0 * steepness())
    exact = wv.solve(problem, radius=RADIUS)
    found = wv.attack(problem, radius=RADIUS, seed=0)
    for worst, value in ((exact.worst_case, exact.lower), (found.distribution, found.value)):
        moves = length(worst.points - problem.points[worst.origin])  # in the user's units
        assert moves @ worst.weights <= RADIUS * (1.0 + 1e-12)
        assert np.abs(worst.points).max() <= 1.0
        assert worst.risk(problem) == pytest.approx(value, abs=1e-12)
    both = wv.sandwich(problem, [RADIUS])
    (row,) = both.rows
    np.testing.assert_array_equal(row.exact.worst_case.points, exact.worst_case.points)
    plain = question(cost=wv.TransportCost(base, order=1))
    assert wv.solve(plain, radius=RADIUS).lower > wv.solve(problem, radius=RADIUS).upper + 0.01


def test_a_norm_of_an_affine_network_in_closed_form():
    scales = np.array([2.0, 0.3])
    norm = wv.register_norm(wv.ScaledNorm("lean", "l2", scales))
    affine = wv.ReLUNetwork([[[1.0, -2.0], [0.5, 3.0]]], [[0.0, 1.0]])
    problem = wv.Problem(affine, [[0.0, 0.0]], [0], cost=wv.TransportCost(norm, order=1))
    steepest = np.linalg.norm(np.array([-0.5, 5.0]) / scales)  # nominal + ε ‖a‖*
    found = wv.solve(problem, radius=0.7)
    assert found.lower == pytest.approx(1.0 + 0.7 * steepest, rel=1e-9)
    assert found.upper == pytest.approx(1.0 + 0.7 * steepest, rel=1e-9)


def certificate(name: str, room: float) -> None:
    @wv.register_certificate(name, proves="nothing new", covers="everything")
    def make(problem):
        value = wv.solve(problem, radius=RADIUS).upper
        return lambda _: value + room


def test_a_certificate_joins_every_sandwich():
    certificate("roomy", 0.5)
    both = wv.sandwich(question(), [RADIUS])
    (row,) = both.rows
    assert both.upper_bounds["roomy"] == [pytest.approx(row.upper + 0.5)]
    assert wv.certify(question(), radius=RADIUS, method="roomy").value >= row.upper


def test_a_certificate_that_is_too_small_is_noticed():
    certificate("greedy", -0.5)
    with pytest.raises(wv.SandwichViolation, match="greedy"):
        wv.sandwich(question(), [RADIUS])


def test_an_attack_proposes_and_is_not_believed():
    problem = question()

    @wv.register_attack("corners")
    def corners(problem, radius, rng):
        points = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, 1.0], [1.0, -1.0], [9.0, 9.0]])
        return np.tile(points, (4, 1)), np.repeat(np.arange(4), 5)

    found = wv.attack(problem, radius=RADIUS, method="corners", seed=0)
    exact = wv.solve(problem, radius=RADIUS)
    assert problem.nominal < found.value <= exact.upper + 1e-12
    worst = found.distribution
    assert np.abs(worst.points).max() <= 1.0  # the point outside is not among them
    assert worst.transport_cost(problem) <= RADIUS + 1e-12
    assert worst.risk(problem) == found.value


def test_a_layer_is_what_torch_computes():
    called = []

    @wv.register_layer(onnx="HardSigmoid", torch="aten.hardsigmoid")
    def hard_sigmoid(layer):
        called.append(layer.source)
        line = add(layer.input.scaled(1 / 6), Tensor.constant(0.5))
        return clip(layer.neurons, line, 0.0, 1.0)

    torch.manual_seed(0)
    layers = torch.nn.Linear(2, 4), torch.nn.Hardsigmoid(), torch.nn.Linear(4, 2)
    model = torch.nn.Sequential(*layers).double().eval()
    found = wv.ReLUNetwork.from_torch(model, input_shape=(2,))
    x = 8.0 * torch.randn(200, 2, dtype=torch.float64)
    assert abs(found.logits(x.numpy()) - model(x).detach().numpy()).max() < 1e-12
    assert called == ["torch"]


def test_a_layer_that_nobody_registered_is_refused():
    layers = torch.nn.Linear(2, 4), torch.nn.Hardswish(), torch.nn.Linear(4, 2)
    with pytest.raises(wv.UnsupportedError, match="hardswish"):
        wv.ReLUNetwork.from_torch(torch.nn.Sequential(*layers).double(), input_shape=(2,))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: wv.register_loss(wv.Problem), "expected|cannot be made"),
        (lambda: wv.register_norm("l3"), "expected a ScaledNorm"),
        (lambda: wv.register_norm(wv.ScaledNorm("linf", "l1", [1.0])), "registered already"),
        (lambda: wv.register_attack("a")(lambda problem: None), r"\(problem, radius, rng\)"),
        (lambda: wv.register_certificate("c", proves="", covers="")(lambda: 0), "problem"),
        (lambda: wv.register_certificate("a b", proves="", covers="")(lambda p: 0), "spaces"),
        (wv.register_layer, "onnx= or torch="),
        (lambda: wv.register_layer(onnx="Relu")(lambda layer: None), "registered already"),
    ],
)
def test_wrong_registrations_are_refused_in_a_line(make, words):
    with pytest.raises(wv.ProblemError, match=words) as found:
        make()
    assert "\n" not in str(found.value)


def test_pieces_that_are_not_the_loss_are_noticed():
    class Wrong(wv.MaxAffineLoss):
        name = "wrong"

        def pieces(self, classes, label):
            return wv.AffineMap(np.eye(classes), np.zeros(classes))

        def evaluate(self, logits, labels):
            return logits.min(axis=1)

    with pytest.raises(wv.ProblemError, match="evaluate is not the maximum"):
        wv.register_loss(Wrong)


def command(*arguments: str, extensions: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"WDAVERIFY_EXTENSIONS": extensions, "PYTHONPATH": str(ROOT)}
    line = [sys.executable, "-m", "wdaverify", *arguments]
    return subprocess.run(
        line, env=environment, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )


def test_the_command_line_finds_an_extension(tmp_path):
    (tmp_path / "mine.py").write_text(COSTLY)
    arguments = ("exact", "problems/iris", "--samples", "3", "--radius", "0.05")
    for workers in ("1", "2"):
        line = (*arguments, "--loss", "costly", "--workers", workers)
        done = command(*line, extensions=str(tmp_path / "mine.py"))
        assert done.returncode == 0, done.stderr
        assert "costly" in done.stdout
    lost = command(*arguments, "--loss", "costly", extensions=str(tmp_path / "none.py"))
    assert lost.returncode == 2
    assert "none.py" in lost.stderr
    assert lost.stderr.count("\n") == 1


SCALED = """
import wdaverify as wv

wv.register_norm(wv.ScaledNorm("tall", "linf", [1.0, 3.0]))
wv.register_norm(wv.ScaledNorm("of-four", "l1", [1.0, 3.0, 1.0, 1.0]))
"""


def test_every_command_knows_a_registered_norm(tmp_path):
    (tmp_path / "mine.py").write_text(SCALED)
    moons, norm = "problems/moons", ("--samples", "5", "--norm", "tall")
    data = ("--model", f"{moons}/network.onnx", "--data", f"{moons}/data.npz")
    page = tmp_path / "page.html"
    for line in (
        ("verify", moons, *norm, "--report", str(page), "--plot", str(tmp_path / "a.png")),
        ("curve", moons, *norm, "--plot", str(tmp_path / "c.png")),
        ("new", str(tmp_path / "new"), *data, "--norm", "tall"),
    ):
        done = command(*line, extensions=str(tmp_path / "mine.py"))
        assert done.returncode == 0, done.stderr
    assert "tall" in page.read_text()
    assert "<polygon" in page.read_text() or "<path" in page.read_text()  # cells are drawn


@pytest.mark.parametrize("line", [("exact", "problems/moons"), ("new",)], ids=" ".join)
def test_scales_for_other_features_are_refused(tmp_path, line):
    (tmp_path / "mine.py").write_text(SCALED)
    if line == ("new",):
        moons = ROOT / "problems" / "moons"
        line = ("new", tmp_path / "new", "--model", moons / "network.onnx")
        line += ("--data", moons / "data.npz")
    words = map(str, (*line, "--norm", "of-four"))
    done = command(*words, extensions=str(tmp_path / "mine.py"))
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert "of-four" in done.stderr
    assert not (tmp_path / "new").exists()
