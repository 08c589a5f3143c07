"""The torch reader against torch itself in float64, and every way an input can be wrong."""

import contextlib
import io
import json
import math
import operator
import pickle
import warnings
import zipfile
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from wdaverify.errors import ProblemError, UnsupportedError
from wdaverify.importers import torch_file, torch_operators
from wdaverify.importers.torch_reader import read_exported, read_module, reference_difference
from wdaverify.network import ReLUNetwork


@pytest.fixture(autouse=True)
def _steady():
    """Same random numbers, one thread: the networks are so small that more only get in the way."""
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def wild(module):
    """Give batch normalisation statistics and factors that are not 0 and 1."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(part.running_mean)
            nn.init.uniform_(part.running_var, 0.5, 2.0)
            if part.affine:
                nn.init.normal_(part.weight)
                nn.init.normal_(part.bias)
    return module.double()


def difference(module, network, shape, count=30):
    """Largest difference in float64, relative to the largest output, one sample at a time."""
    points = torch.randn(count, *shape, dtype=torch.float64)
    module.eval()
    with torch.no_grad():
        expected = torch.stack([module(point[None]).ravel() for point in points]).numpy()
    found = network.logits(points.reshape(count, -1).numpy())
    assert found.shape == expected.shape
    return np.abs(found - expected).max() / max(1.0, np.abs(expected).max())


class Lambda(nn.Module):
    """A module of one function, with a linear layer before it if a width is given."""

    def __init__(self, function, before=None):
        super().__init__()
        self.before = nn.Identity() if before is None else nn.Linear(*before)
        self.function = function

    def forward(self, x):
        return self.function(self.before(x))


class Residual(nn.Module):
    """Convolutions around which the input of the block is added, with and without a projection."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.4, 0.5]).reshape(1, 2, 1, 1))
        self.stem = nn.Conv2d(2, 3, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(3)
        self.first = nn.Conv2d(3, 3, 3, padding="same")
        self.second = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.shortcut = nn.Conv2d(3, 4, 1, stride=2)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        x = (x - self.mean) / 0.25
        x = functional.relu(self.norm(self.stem(x)), inplace=True)
        x = x + functional.relu(self.first(x))
        x = functional.leaky_relu(self.second(x) + self.shortcut(x), 0.1)
        return self.head(x.mean(dim=(2, 3)))


class InPlace(nn.Module):
    def forward(self, x):
        y = x * 2
        z = y[:, 1:]
        z.relu_()  # changes y as well
        y += 1
        return y


class Shapes(nn.Module):
    def forward(self, x):
        n = x.size(0)
        a = x.view(n, 2, -1).permute(0, 2, 1).flatten(1)
        b, c = a.chunk(2, dim=1)
        d = torch.stack([b, c, torch.ones_like(b)], dim=1).transpose(1, 2)
        e = torch.cat([d.reshape(n, -1), x.unsqueeze(1).squeeze(1).flip(1)], dim=-1)
        return torch.cat(e.split([5, e.shape[1] - 5], dim=1)[::-1], dim=1)[:, ::2]


def constants(x):
    y = 1 - 2 * (x + torch.tensor([1.0, 2.0, 3.0, 4.0]).double()) / 3
    y = torch.rsub(y, 2.0, alpha=0.5) - torch.arange(4)
    return y @ torch.full((4, 2), 0.3, dtype=torch.float64) - y.sum() + y.mean(1, keepdim=True)


def maxima(x):
    a, b = torch.maximum(x, -0.5 * x), torch.minimum(x, torch.zeros_like(x))
    c = torch.max(functional.relu(x), b.flip(1))
    return torch.cat([a, b, c, x.amax(1, keepdim=True), x.abs()], dim=1)


def clips(x):
    kinds = [
        functional.relu6(3 * x),
        functional.hardtanh(x, -0.5, 0.25),
        x.clamp(min=0.1),
        x.clamp(max=-0.2),
    ]
    return torch.cat([*kinds, x.clamp(-1, 1), functional.leaky_relu(x, 2.0)], dim=1)


def padded(x):
    y = functional.pad(x, (1, 2, 0, 1), value=0.5)
    return torch.cat(
        [y.flatten(1), functional.pad(x, (2, 1, 0, 1), mode="reflect").flatten(1)], dim=1
    )


def flat(*layers):
    return nn.Sequential(*layers, nn.Flatten())


MODULES = {
    "affine": (nn.Linear(4, 3), (4,)),
    "mlp": (nn.Sequential(nn.Linear(4, 7), nn.ReLU(), nn.Linear(7, 3)), (4,)),
    "two-linear": (nn.Sequential(nn.Linear(40, 90), nn.Linear(90, 30), nn.ReLU()), (40,)),
    "no-bias": (nn.Sequential(nn.Linear(4, 7, bias=False), nn.Linear(7, 3)), (4,)),
    "image-mlp": (
        nn.Sequential(nn.Flatten(), nn.Linear(12, 7), nn.ReLU6(), nn.Linear(7, 3)),
        (3, 2, 2),
    ),
    "activations": (
        nn.Sequential(
            nn.Linear(4, 7), nn.LeakyReLU(0.2), nn.Linear(7, 5), nn.PReLU(5), nn.Hardtanh()
        ),
        (4,),
    ),
    "conv-net": (
        nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(inplace=True),
            nn.AvgPool2d(2),
            nn.Conv2d(4, 6, (2, 3), stride=(1, 2), groups=2),
            nn.LeakyReLU(0.05),
            nn.Dropout2d(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(),
            nn.Linear(6, 3),
        ),
        (2, 7, 8),
    ),
    "dilated": (
        flat(nn.Conv2d(2, 4, 3, dilation=(1, 2), padding=(2, 0), groups=2), nn.ReLU()),
        (2, 5, 6),
    ),
    "conv-1d": (
        flat(
            nn.Conv1d(2, 4, 3, padding="same", dilation=2),
            nn.BatchNorm1d(4, affine=False),
            nn.ReLU(),
            nn.MaxPool1d(3, stride=2, padding=1),
            nn.AvgPool1d(2, padding=1, count_include_pad=False),
            nn.AdaptiveAvgPool1d(1),
        ),
        (2, 9),
    ),
    "unbatched": (Lambda(lambda x: functional.avg_pool1d(x, 2)), (8,)),
    "batch-norm-first": (
        nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU()),
        (4,),
    ),
    "max-pool": (
        flat(
            nn.Conv2d(1, 2, 2), nn.ReLU(), nn.MaxPool2d(3, stride=2, padding=1), nn.Conv2d(2, 2, 2)
        ),
        (1, 6, 6),
    ),
    "max-pool-of-affine": (flat(nn.Conv2d(1, 2, 2), nn.MaxPool2d(2, 1), nn.ReLU()), (1, 5, 5)),
    "max-pool-dilated": (
        flat(nn.MaxPool2d(2, stride=1, dilation=(1, 3), ceil_mode=True)),
        (2, 5, 6),
    ),
    "average-ceil": (flat(nn.AvgPool2d(3, stride=2, padding=1, ceil_mode=True)), (2, 6, 7)),
    "average-valid": (
        flat(nn.AvgPool2d(3, stride=2, padding=1, ceil_mode=True, count_include_pad=False)),
        (2, 6, 7),
    ),
    "average-divisor": (flat(nn.AvgPool2d(2, divisor_override=3)), (2, 4, 4)),
    "adaptive": (flat(nn.AdaptiveAvgPool2d((2, None))), (2, 4, 3)),
    "pads": (nn.Sequential(nn.ZeroPad2d((1, 0, 2, -1)), Lambda(padded)), (2, 4, 4)),
    "residual": (Residual(), (2, 6, 6)),
    "in-place": (nn.Sequential(nn.Linear(3, 4), InPlace(), nn.Linear(4, 2)), (3,)),
    "shapes": (nn.Sequential(nn.Linear(6, 8), nn.ReLU(), Shapes()), (6,)),
    "constants": (Lambda(constants, (3, 4)), (3,)),
    "maxima": (Lambda(maxima, (3, 4)), (3,)),
    "clips": (Lambda(clips, (3, 4)), (3,)),
    "weight-norm": (nn.utils.parametrizations.weight_norm(nn.Linear(3, 2)), (3,)),
    "bilinear-in-constants": (Lambda(lambda x: torch.ones(2, 3).double() @ x.T), (3,)),
}
SKIPPED_BATCH = "bilinear-in-constants"


@pytest.mark.parametrize("name", [name for name in MODULES if name != SKIPPED_BATCH])
def test_module(name):
    module, shape = MODULES[name]
    module = wild(module)
    assert difference(module, read_module(module, shape), shape) < 1e-12


def test_batch_that_does_not_survive():
    module, shape = MODULES[SKIPPED_BATCH]
    with pytest.raises(ProblemError, match=r"expected an output of shape \(1, K\), found \(2, 1\)"):
        read_module(module.double(), shape)


@pytest.mark.parametrize("name", ["conv-net", "conv-1d", "residual", "max-pool", "shapes"])
@pytest.mark.parametrize("decomposed", [False, True])
def test_exported_file_is_the_same_network(tmp_path, name, decomposed):
    module, shape = MODULES[name]
    module = wild(module).eval()
    program = torch.export.export(module, (torch.zeros(1, *shape, dtype=torch.float64),))
    if decomposed:
        program = core_aten(program)
    path = tmp_path / "network.pt2"
    torch.export.save(program, path)
    network = read_exported(path)
    assert difference(module, network, shape) < 1e-12
    if not decomposed:
        assert network.digest == read_module(module, shape).digest


def core_aten(program):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*LeafSpec", FutureWarning)
        return program.run_decompositions()


def test_dynamic_batch(tmp_path):
    module, shape = MODULES["conv-net"]
    module = nn.Sequential(wild(module), Lambda(lambda x: x.view(x.size(0), -1))).eval()
    example = torch.zeros(3, *shape, dtype=torch.float64)
    program = torch.export.export(
        module, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},)
    )
    path = tmp_path / "network.pt2"
    torch.export.save(program, path)
    assert difference(module, read_exported(path), shape) < 1e-12


def test_plain_chain_keeps_the_weights():
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
    network = read_module(module, (2, 2))
    for k, layer in enumerate([module[1], module[3]]):
        np.testing.assert_array_equal(network.weights[k], layer.weight.detach().double().numpy())
        np.testing.assert_array_equal(network.biases[k], layer.bias.detach().double().numpy())
    assert network.digest == ReLUNetwork(network.weights, network.biases).digest


def test_convolution_keeps_the_weights():
    conv = nn.Conv1d(1, 2, 2)
    W = read_module(flat(conv), (1, 3)).weights[0]
    a, b = conv.weight.detach().double().numpy()[:, 0]
    np.testing.assert_array_equal(
        W, [[a[0], a[1], 0], [0, a[0], a[1]], [b[0], b[1], 0], [0, b[0], b[1]]]
    )


def test_folding_rounds_in_float64():
    module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    wild(module).float()
    found = read_module(module, (2,)).weights[0][0, 0]
    weight, norm = Fraction(module[0].weight[0, 0].item()), module[1]
    square = Fraction(norm.running_var[0].item()) + Fraction(norm.eps)
    expected = weight * Fraction(norm.weight[0].item()) / Fraction(float(square) ** 0.5)
    assert abs(Fraction(float(found)) - expected) <= abs(expected) * Fraction(4, 2**53)


def test_module_is_left_as_it_was():
    module = wild(MODULES["conv-net"][0]).train()
    module[1].eval()
    modes = [part.training for part in module.modules()]
    state = {name: value.clone() for name, value in module.state_dict().items()}
    read_module(module, (2, 7, 8))
    assert [part.training for part in module.modules()] == modes
    assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())
    assert all(parameter.grad is None for parameter in module.parameters())
    with pytest.raises(ProblemError):
        read_module(module, (2, 7))
    assert [part.training for part in module.modules()] == modes


def test_float32_module_is_read_in_float64():
    module = MODULES["mlp"][0].float()
    network = read_module(module, (4,))
    assert difference(module.double(), network, (4,)) < 1e-14


def test_method_of_the_network():
    module = nn.Linear(3, 2)
    network = ReLUNetwork.from_torch(module, input_shape=(3,))
    np.testing.assert_array_equal(network.weights[0], module.weight.detach().numpy())


def test_large_convolutional_network_stays_sparse_on_the_way():
    module = nn.Sequential(
        nn.Conv2d(1, 16, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(1568, 10),
    ).double()
    network = read_module(module, (1, 28, 28))
    assert network.widths == (3136, 1568)
    assert difference(module, network, (1, 28, 28), count=2) < 1e-12


def test_the_comparison_can_fail():
    module, shape = MODULES["residual"]
    network = read_module(wild(module), shape)
    with torch.no_grad():
        module.second.weight[1, 2, 0, 1] += 1e-6
    assert difference(module, network, shape) > 1e-10


# --- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "shape", "part"),
    [
        (nn.Sequential(nn.Linear(3, 2), nn.Softmax(dim=1)), (3,), "aten.softmax.int"),
        (nn.Sequential(nn.Linear(3, 2), nn.Sigmoid()), (3,), "of layer '1': operator aten.sigmoid"),
        (Lambda(lambda x: x * x), (3,), "not affine"),
        (Lambda(lambda x: (x, x)), (3,), "expected one output, found 2"),
        (nn.BatchNorm2d(3, track_running_stats=False), (3, 2, 2), "statistics of the batch"),
        (nn.Sequential(nn.ConvTranspose1d(1, 1, 2), nn.Flatten()), (1, 3), "conv_transpose1d"),
        (nn.Sequential(nn.AdaptiveAvgPool1d(2), nn.Flatten()), (1, 3), "divide"),
        (Lambda(lambda x: x.int()), (3,), "torch.int32"),
        (Lambda(lambda x: torch.div(x, 2, rounding_mode="floor")), (3,), "rounds"),
        (Lambda(lambda x: x + torch.rand(3)), (3,), "aten.rand"),
    ],
)
def test_unsupported_module(module, shape, part):
    with pytest.raises(UnsupportedError) as caught:
        read_module(module, shape)
    assert part in str(caught.value)
    assert str(caught.value).startswith(type(module).__name__)
    if "operator" in str(caught.value):
        assert "aten.relu" in str(caught.value)


@pytest.mark.parametrize(
    ("module", "shape", "part"),
    [
        (torch.relu, (3,), "expected a torch.nn.Module, found builtin"),
        (nn.Linear(3, 2), (), "positive sizes"),
        (nn.Linear(3, 2), (0,), "positive sizes"),
        (nn.Linear(3, 2), 3, "positive sizes, found 3"),
        (nn.Linear(3, 2), (4,), r"input shape \(1, 4\)"),
        (Lambda(lambda x: x if x.sum() > 0 else -x), (3,), "torch.export fails"),
        (nn.Linear(3, 1), (3,), "logits"),
        (Lambda(lambda x: x / torch.zeros(3)), (3,), "division by zero"),
    ],
)
def test_wrong_module(module, shape, part):
    with pytest.raises(ProblemError, match=part) as caught:
        read_module(module, shape)
    assert "\n" not in str(caught.value)


def test_weight_that_is_not_a_number():
    module = nn.Sequential(nn.Linear(3, 2))
    with torch.no_grad():
        module[0].weight[1, 2] = torch.nan
    with pytest.raises(ProblemError, match=r"0\.weight: expected a number, found nan at index \(1"):
        read_module(module, (3,))


def saved(folder, module=None, example=None, **options):
    module = nn.Linear(3, 2) if module is None else module
    example = (torch.zeros(1, 3),) if example is None else example
    path = folder / "network.pt2"
    torch.export.save(torch.export.export(module.eval(), example, **options), path)
    return path


def refused(path, kind, *parts):
    with pytest.raises(kind) as caught:
        read_exported(path)
    message = str(caught.value)
    assert type(caught.value) is kind
    assert message.startswith(str(path))
    assert "\n" not in message
    for part in parts:
        assert part in message


class TwoInputs(nn.Module):
    def forward(self, x, y):
        return x + y


def test_inputs_of_an_exported_program(tmp_path):
    x, dim = torch.zeros(1, 3), torch.export.Dim
    refused(saved(tmp_path, TwoInputs(), (x, x)), UnsupportedError, "expected one input, found 2")
    refused(saved(tmp_path, example=(torch.zeros(2, 3),)), ProblemError, "batch size 1")
    flatten = Lambda(lambda x: 2 * x)
    path = saved(tmp_path, flatten, (torch.zeros(2, 3),), dynamic_shapes={"x": {1: dim("n")}})
    refused(path, ProblemError, "batch size 1")
    path = saved(tmp_path, flatten, (x,), dynamic_shapes={"x": {1: dim("n")}})
    refused(path, ProblemError, "fixed sizes")
    refused(saved(tmp_path, flatten, (x.int(),)), UnsupportedError, "torch.int32")


def test_broken_files(tmp_path, capfd):
    data = saved(tmp_path).read_bytes()
    path = tmp_path / "broken.pt2"
    expected = "expected a program written by torch.export.save"
    refused(path, ProblemError, expected, "No such file")
    for content in (b"", b"hello world", data[: len(data) // 2], data[:-40]):
        path.write_bytes(content)
        refused(path, ProblemError, expected)
    for step in range(0, len(data), 97):
        broken = bytearray(data)
        broken[step] ^= 0xFF
        path.write_bytes(bytes(broken))
        with contextlib.suppress(ProblemError, UnsupportedError):  # some bytes do not matter
            read_exported(path)
    assert capfd.readouterr() == ("", "")


def test_other_files_of_torch(tmp_path):
    path = tmp_path / "network.pt2"
    torch.save(nn.Linear(3, 2).state_dict(), path)
    refused(path, ProblemError, "found a file of torch.save")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/b", "c")
    refused(path, ProblemError, "found another zip archive")


class Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemExit('code of the file was run')",))


def rewritten(path, change):
    """Apply ``change(name, data)`` to each part of an archive."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, change(name.partition("/")[2], data))


def test_code_in_a_file_is_not_run(tmp_path):
    buffer = io.BytesIO()
    torch.save(Bomb(), buffer)

    def sample(name, data):
        return buffer.getvalue() if name == "data/sample_inputs/model.pt" else data

    def weight(name, data):
        if name == "data/weights/weight_0":
            return pickle.dumps(Bomb())
        if name == "data/weights/model_weights_config.json":
            config = json.loads(data)
            config["config"]["weight"]["use_pickle"] = True
            return json.dumps(config).encode()
        return data

    def size(name, data):
        if name != "models/model.json":
            return data
        code = b"__import__('os').abort()"
        return data.replace(b'"as_int": 3', b'"as_expr": {"expr_str": "' + code + b'"}')

    for change in (sample, weight, size):
        path = saved(tmp_path)
        rewritten(path, change)
        refused(path, ProblemError, "without code")
    path = saved(tmp_path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("network/data/constants/opaque_obj_0", pickle.dumps(Bomb()))
    refused(path, ProblemError, "without code")


def test_reference_difference(tmp_path):
    module = wild(MODULES["conv-net"][0]).float()
    path = saved(tmp_path, module, (torch.zeros(1, 2, 7, 8),))
    network = read_exported(path)
    points = np.random.default_rng(0).normal(size=(4, 112))
    points = points.astype(np.float32).astype(np.float64)
    assert 0 < reference_difference(path, network, points) < 1e-4
    shifted = ReLUNetwork(
        network.weights, [*network.biases[:-1], network.biases[-1] + 0.5], network.slopes
    )
    assert reference_difference(path, shifted, points) == pytest.approx(0.5, abs=1e-3)


# ---- files that would grow ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x + torch.full((2**31,), 1.0)[:3],
        lambda x: x + torch.arange(2**32)[:3],
        lambda x: x.repeat(1, 2**31)[:, :3],
        lambda x: functional.pad(x, (2**30, 0))[:, -3:],
        lambda x: x.unsqueeze(2).expand(1, 3, 2**30).sum(2),
    ],
    ids=["full", "arange", "repeat", "pad", "expand"],
)
def test_a_tensor_that_would_fill_the_memory(function):
    with pytest.raises(UnsupportedError, match="elements in a constant, found"):
        read_module(Lambda(function), (3,))


def test_an_archive_that_would_fill_the_memory(tmp_path, monkeypatch):
    path = saved(tmp_path)
    assert read_exported(path).features == 3
    monkeypatch.setattr(torch_file, "_LARGEST", 10**6)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("network/data/weights/weight_9", bytes(10**6))
    assert path.stat().st_size < 10**5
    refused(path, ProblemError, "of at most 1000000 bytes, found 10", "unpacked")


def test_functions_of_python_that_take_for_ever():
    for target, arguments in ((operator.pow, (10, 10**9)), (math.factorial, (10**9,))):
        with pytest.raises(UnsupportedError, match="is not supported"):
            torch_operators.evaluate(target, arguments, {})
    assert torch_operators.evaluate(operator.floordiv, (7, 2), {}) == 3
    with pytest.raises(UnsupportedError, match="of 64 bits"):
        torch_operators.evaluate(operator.mul, (2**32, 2**31), {})
