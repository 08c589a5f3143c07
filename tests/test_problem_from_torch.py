"""`Problem.from_torch`: models and data as people have them, compared with torch's own forward."""

import copy

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import wdaverify as wv

STD, MEAN = [0.2, 0.3], [0.4, 0.5]


class Attributes(nn.Module):
    def __init__(self):
        super().__init__()
        self.mean, self.std = (torch.tensor(v).view(-1, 1, 1) for v in (MEAN, STD))

    def forward(self, x):
        return (x - self.mean) / self.std


class Buffers(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(STD).view(-1, 1, 1))

    def forward(self, x):
        return x.sub(self.mean).div(self.std)


class Parameters(Buffers):
    def __init__(self):
        nn.Module.__init__(self)
        self.mean = nn.Parameter(torch.tensor(MEAN).view(1, -1, 1, 1), requires_grad=False)
        self.std = nn.Parameter(torch.tensor(STD).view(1, -1, 1, 1))


class Torchvision(nn.Module):
    """As `torchvision.transforms.Normalize` computes: in place, with an `if` about constants."""

    def forward(self, x):
        mean = torch.as_tensor(MEAN, dtype=x.dtype, device=x.device)
        std = torch.as_tensor(STD, dtype=x.dtype, device=x.device)
        if (std == 0).any():
            raise ValueError("std evaluated to zero")
        if float(std.view(-1, 1, 1).sum()) < 0:
            return x
        return x.clone().sub_(mean.view(-1, 1, 1)).div_(std.view(-1, 1, 1))


class Assigned(nn.Module):
    def forward(self, x):
        x = x.clone()
        for c in range(2):
            x[:, c] = (x[:, c] - MEAN[c]) / STD[c]
        return x


class Einsum(nn.Module):
    def forward(self, x):
        mean = torch.tensor(MEAN).view(1, -1, 1, 1).type_as(x)
        return torch.einsum("nchw,c->nchw", x - mean, 1 / torch.tensor(STD))


class Addcdiv(nn.Module):
    def forward(self, x):
        mean, std = (torch.tensor(v).view(1, -1, 1, 1).expand_as(x) for v in (MEAN, STD))
        return torch.addcdiv(-mean / std, x, std)


class Addcmul(nn.Module):
    def forward(self, x):
        mean, std = (torch.tensor(v).view(1, -1, 1, 1) for v in (MEAN, STD))
        return torch.addcmul(-mean / std, x, 1 / std, value=1.0)


class ChannelsLast(nn.Module):
    def forward(self, x):
        y = (x.permute(0, 2, 3, 1) - torch.tensor(MEAN)) / torch.tensor(STD)
        return y.permute(0, 3, 1, 2)


LAYERS = [
    *(Attributes, Buffers, Parameters, Torchvision, Assigned, Einsum, Addcdiv, Addcmul),
    *(ChannelsLast, lambda: nn.BatchNorm2d(2)),
]


def model_with(layer):
    torch.manual_seed(0)
    return nn.Sequential(
        layer, nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 3)
    )


def forward(model, points):
    """Logits in float64, by torch."""
    with torch.no_grad():
        return copy.deepcopy(model).eval().double()(torch.as_tensor(points).double()).numpy()


def images():
    return torch.rand(6, 2, 4, 4, generator=torch.Generator().manual_seed(1))


LABELS = [0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.__name__)
def test_a_normalisation_layer_inside_the_model(layer):
    model, X = model_with(layer()), images()
    for _ in range(3):
        model(X)  # batch normalisation learns its statistics
    before = copy.deepcopy(model.state_dict())
    problem = wv.Problem.from_torch(model, X, LABELS, support=wv.Box(0.0, 1.0))
    assert all(part.training for part in model.modules())  # as it was
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    with torch.no_grad():
        expected = model.eval()(X).numpy()
    found = problem.network.logits(problem.points)
    assert np.abs(found - expected).max() < 2e-5
    wrong = problem.network.logits(X.numpy().transpose(0, 2, 3, 1).reshape(6, -1))
    assert np.abs(wrong - expected).max() > 0.01  # the order of the axes matters


def test_an_if_about_the_input_is_refused(capfd):
    class Branches(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    class Written(nn.Module):
        """A constant that the input has been written into is none."""

        def forward(self, x):
            scale = torch.tensor([1.0, 2.0])
            scale.add_(x[0, :, 0, 0])
            return x if scale.sum() > 0 else -x

    for layer in (Branches, Written):
        with pytest.raises(wv.ProblemError, match=r"torch\.export fails") as caught:
            wv.Problem.from_torch(model_with(layer()), images(), LABELS)
        assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 3))


@pytest.mark.parametrize("kind", ["numpy", "float32", "torch", "frame", "list", "image"])
def test_data_in_every_form_ask_the_same_question(kind):
    points = np.random.default_rng(0).random((6, 3)).astype(np.float32)
    forms = {
        "numpy": points.astype(float),
        "float32": points,
        "torch": torch.tensor(points, requires_grad=True),
        "frame": pd.DataFrame(points, columns=list("abc")),
        "list": points.tolist(),
        "image": points.reshape(6, 3, 1, 1),
    }
    model = mlp()
    weights = [model[k].weight.detach().double().numpy() for k in (0, 2)]
    biases = [model[k].bias.detach().double().numpy() for k in (0, 2)]
    by_hand = wv.Problem(wv.ReLUNetwork(weights, biases), points.astype(float), LABELS)
    found = wv.Problem.from_torch(model, forms[kind], LABELS, input_shape=(3,), name="x")
    assert found.network.digest == by_hand.network.digest  # float32 lifts exactly
    assert np.array_equal(found.points, by_hand.points)
    assert np.array_equal(found.labels, by_hand.labels)
    assert found.name == "x"


def test_a_data_frame_with_its_column_of_labels():
    frame = pd.DataFrame(np.random.default_rng(0).random((4, 3)), columns=list("abc"))
    frame.insert(1, "kind", ["x", "z", "y", "x"])
    frame["w"] = [1, 2, 3, 4]
    features = frame.drop(columns="w")
    problem = wv.Problem.from_torch(mlp(), features, "kind", weights=frame["w"])
    assert problem.labels.tolist() == [0, 2, 1, 0]
    assert np.array_equal(problem.points, frame[["a", "b", "c"]].to_numpy())
    assert problem.probabilities.tolist() == [0.1, 0.2, 0.3, 0.4]
    asked = wv.Problem.from_torch(mlp(), features, "kind", classes=["z", "y", "x"])
    assert asked.labels.tolist() == [2, 0, 1, 2]
    onehot = wv.Problem.from_torch(mlp(), features.drop(columns="kind"), np.eye(3)[[0, 2, 1, 0]])
    assert np.array_equal(onehot.labels, problem.labels)


def test_everything_else_is_passed_on_and_survives_a_folder(tmp_path):
    cost = wv.TransportCost("l2", 2)
    problem = wv.Problem.from_torch(
        model_with(Buffers()), images(), LABELS, loss="hinge", cost=cost, support=wv.Box(-1.0, 2.0)
    )
    assert (problem.loss.name, problem.cost) == ("hinge", cost)
    assert problem.support.upper.tolist() == [2.0] * 32
    wv.write_problem(tmp_path / "p", problem, [0.1])
    again = wv.load_problem(tmp_path / "p")
    assert again.network.digest == problem.network.digest
    assert np.array_equal(again.points, problem.points)
    assert again.nominal == problem.nominal


@pytest.mark.parametrize(
    ("X", "y", "options", "message"),
    [
        (np.zeros((2, 4)), [0, 1], {}, "torch.export fails for input shape (1, 4)"),
        (np.zeros((2, 3)), [0, 1, 2], {}, "labels: shape (3,) does not fit points"),
        (np.zeros((2, 3)), [0, 3], {}, "labels: expected 0 to 2"),
        (np.zeros((2, 3)), "kind", {}, "y: expected labels, found the name 'kind'"),
        (np.zeros((2, 2, 3)), [0, 1], {"input_shape": (3, 2)}, "expected samples of shape (3, 2)"),
        (np.zeros((2, 3)), [0, 1], {"weights": [1, -1]}, "weights: expected >= 0"),
        (np.full((2, 3), 2.0), [0, 1], {"support": wv.Box(0, 1)}, "lie outside the support"),
    ],
)
def test_what_does_not_fit_is_refused(X, y, options, message):
    with pytest.raises(wv.ProblemError) as caught:
        wv.Problem.from_torch(mlp(), X, y, **options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_problem_module_does_not_import_torch():
    import subprocess  # noqa: PLC0415
    import sys  # noqa: PLC0415

    code = "import sys, wdaverify.problem; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
