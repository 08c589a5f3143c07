"""The ONNX reader against onnxruntime, and every way a file can be wrong."""

from itertools import pairwise

import numpy as np
import onnx
import pytest
import torch
from importers.samples import export, model, node, runtime, save
from onnx import TensorProto, external_data_helper, helper
from torch import nn

from wdaverify.errors import ProblemError, UnsupportedError, WDAVerifyError
from wdaverify.importers.onnx_reader import read_onnx, reference_difference

RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def flattened(nodes):
    """Let ``y`` be the flattened output ``t`` of other nodes."""
    return [*nodes, node("Flatten", "t", "y")]


def difference(path, network, shape, points=None):
    """Largest difference from onnxruntime, relative to the largest output."""
    points = RNG.normal(size=(20, int(np.prod(shape)))) if points is None else points
    expected = runtime(path, points, shape)
    found = network.logits(points.astype(np.float32))
    assert found.shape == expected.shape
    return np.abs(found - expected).max() / max(1.0, np.abs(expected).max())


# --- plain chains keep the weights of the file, bit for bit -----------------------------------


def weights(widths):
    pairs = zip(widths[1:], widths, strict=False)
    return [(normal(m, n), normal(m)) for m, n in pairs]


def assert_layers(network, expected):
    for found, (W, b) in zip(
        zip(network.weights, network.biases, strict=True), expected, strict=True
    ):
        np.testing.assert_array_equal(found[0], W.astype(np.float64))
        np.testing.assert_array_equal(found[1], b.astype(np.float64))
    assert not any(slope.any() for slope in network.slopes)


@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("batch", [1, "N", None])
def test_gemm_chain_is_exact(tmp_path, transposed, batch):
    layers = weights([3, 5, 4, 2])
    layers[1][0][2] = 0.0  # a row of zeros and a column of zeros are weights like any other
    layers[1][0][:, 3] = 0.0
    constants, nodes, name = {}, [], "x"
    for k, (W, b) in enumerate(layers):
        constants |= {f"W{k}": W if transposed else W.T, f"b{k}": b}
        last = k == len(layers) - 1
        gemm = "y" if last else f"z{k}"
        nodes.append(node("Gemm", f"{name} W{k} b{k}", gemm, transB=transposed))
        if not last:
            name = f"h{k}"
            nodes.append(node("Relu", f"z{k}", name))
    path = save(model(nodes, constants, [batch, 3]), tmp_path)
    network = read_onnx(path)
    assert_layers(network, layers)
    assert difference(path, network, (1, 3)) < 1e-5


def test_matmul_add_chain_is_exact(tmp_path):
    (V, c), (W, d) = layers = weights([3, 5, 2])
    nodes = [
        node("Flatten", "x", "f"),
        node("MatMul", "f V", "u"),
        node("Add", "c u", "v"),
        node("Relu", "v", "h"),
        node("MatMul", "h W", "w"),
        node("Add", "w d", "y"),
    ]
    path = save(model(nodes, {"V": V.T, "c": c, "W": W.T, "d": d}, [1, 1, 3, 1]), tmp_path)
    assert_layers(read_onnx(path), layers)


def test_vector_input_and_left_matrix(tmp_path):
    (V, c), (W, d) = layers = weights([3, 5, 2])
    nodes = [
        node("MatMul", "V x", "u"),
        node("Add", "u c", "v"),
        node("Relu", "v", "h"),
        node("MatMul", "W h", "w"),
        node("Add", "w d", "y"),
    ]
    path = save(model(nodes, {"V": V, "c": c, "W": W, "d": d}, [3]), tmp_path)
    network = read_onnx(path)
    assert_layers(network, layers)
    assert difference(path, network, (3,)) < 1e-5


@pytest.mark.parametrize(
    ("element", "dtype"),
    [(TensorProto.DOUBLE, np.float64), (TensorProto.FLOAT16, np.float16)],
)
def test_other_floats_lift_exactly(tmp_path, element, dtype):
    W = RNG.normal(size=(3, 2))
    path = save(model([node("MatMul", "x W", "y")], {"W": W}, [1, 3], element=element), tmp_path)
    np.testing.assert_array_equal(read_onnx(path).weights[0], W.astype(dtype).T)


def test_bfloat16_lifts_exactly(tmp_path):
    proto = model([node("MatMul", "x W", "y")], {}, [1, 3], element=TensorProto.BFLOAT16)
    W = helper.make_tensor("W", TensorProto.BFLOAT16, [3, 2], [1.0, 0.1, -2.0, 0.3, 5.0, 0.0])
    proto.graph.initializer.append(W)
    found = read_onnx(save(proto, tmp_path)).weights[0]
    np.testing.assert_array_equal(found[0], [1.0, -2.0, 5.0])
    assert abs(found[1, 0] - 0.1) < 1e-3


# --- operators, each against onnxruntime ------------------------------------------------------

C = (1, 4, 6, 7)  # an image that is not square
K1, K2, W4 = normal(3, 4, 3), normal(6, 4, 3, 2), normal(4, 2, 3, 3)
BATCH_NORM = {"s": normal(4), "b": normal(4), "m": normal(4), "v": np.exp(normal(4))}
AXES23 = {"a": np.array([2, 3])}


def conv(**attributes):
    return [node("Conv", "x W b", "t", **attributes)], {"W": K2, "b": normal(6)}, C


def pool(op, **attributes):
    return [node(op, "x", "t", **attributes)], {}, C


OPERATORS = {
    "gemm-alpha-beta": (
        [node("Gemm", "x W b", "t", alpha=0.3, beta=-2.0)],
        {"W": normal(5, 4), "b": normal(1, 4)},
        (1, 5),
    ),
    "gemm-trans-a": (
        [node("Transpose", "x", "u"), node("Gemm", "u W", "t", transA=1)],
        {"W": normal(5, 4)},
        (1, 5),
    ),
    "gemm-scalar-bias": (
        [node("Gemm", "x W b", "t")],
        {"W": normal(5, 4), "b": normal()},
        (1, 5),
    ),
    "matmul-batched": ([node("MatMul", "x W", "t")], {"W": normal(4, 7, 2)}, C),
    "matmul-left": ([node("MatMul", "W x", "t")], {"W": normal(2, 6)}, C),
    "standardise": (
        [node("Sub", "x m", "u"), node("Div", "u d", "t")],
        {"m": normal(1, 4, 1, 1), "d": np.exp(normal(1, 4, 1, 1))},
        C,
    ),
    "constant-minus": ([node("Sub", "c x", "t")], {"c": normal(5)}, (1, 5)),
    "mul-broadcast": ([node("Mul", "c x", "t")], {"c": normal(3, 1)}, (1, 1, 5)),
    "neg-sum": (
        [node("Neg", "x", "u"), node("Relu", "x", "v"), node("Sum", "u v c", "t")],
        {"c": normal(5)},
        (1, 5),
    ),
    "relu-of-constant": (
        [node("Relu", "c", "u"), node("Concat", "x u", "t", axis=1)],
        {"c": normal(1, 5)},
        (1, 5),
    ),
    "leaky": ([node("LeakyRelu", "x", "t", alpha=0.2)], {}, (1, 5)),
    "leaky-default": ([node("LeakyRelu", "x", "t")], {}, (1, 5)),
    "leaky-steep": ([node("LeakyRelu", "x", "t", alpha=-1.5)], {}, (1, 5)),
    "prelu": ([node("PRelu", "x c", "t")], {"c": np.abs(normal(4, 1, 1)) / 5}, C),
    "abs": ([node("Abs", "x", "t")], {}, (1, 5)),
    "clip": ([node("Clip", "x l u", "t")], {"l": np.float32(-0.3), "u": np.float32(0.8)}, (1, 5)),
    "clip-lower": ([node("Clip", "x l", "t")], {"l": np.float32(-0.3)}, (1, 5)),
    "clip-upper": (
        [helper.make_node("Clip", ["x", "", "u"], ["t"])],
        {"u": np.float32(0.3)},
        (1, 5),
    ),
    "max": ([node("Max", "x c x", "t")], {"c": normal(5)}, (1, 5)),
    "max-of-tensors": (
        [
            node("Relu", "x", "u"),
            node("MatMul", "x W", "v"),
            node("Neg", "x", "w"),
            node("Max", "u v w", "t"),
        ],
        {"W": normal(5, 5)},
        (1, 5),
    ),
    "min": (
        [node("Mul", "x c", "u"), node("Min", "x u d", "t")],
        {"c": normal(5), "d": normal(5)},
        (1, 5),
    ),
    "conv": conv(),
    "conv-pads-strides": conv(pads=[1, 0, 2, 1], strides=[2, 3]),
    "conv-dilations": conv(dilations=[2, 3]),
    "conv-same-upper": conv(auto_pad="SAME_UPPER", strides=[2, 2]),
    "conv-same-lower": conv(auto_pad="SAME_LOWER", strides=[1, 3]),
    "conv-valid": conv(auto_pad="VALID"),
    "conv-groups": ([node("Conv", "x W", "t", group=2, pads=[1, 1, 1, 1])], {"W": W4}, C),
    "conv-depthwise": ([node("Conv", "x W", "t", group=4)], {"W": normal(8, 1, 2, 2)}, C),
    "conv-1d": ([node("Conv", "x W", "t", pads=[2, 1], strides=[2])], {"W": K1}, (1, 4, 9)),
    "conv-conv": (
        [node("Conv", "x W", "u"), node("Conv", "u V", "t")],
        {"W": K2, "V": normal(3, 6, 2, 2)},
        C,
    ),
    "batch-norm": ([node("BatchNormalization", "x s b m v", "t", epsilon=0.01)], BATCH_NORM, C),
    "batch-norm-flat": ([node("BatchNormalization", "x s b m v", "t")], BATCH_NORM, (1, 4)),
    "average": pool("AveragePool", kernel_shape=[2, 3]),
    "average-pads": pool("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2]),
    "average-pads-counted": pool(
        "AveragePool", kernel_shape=[3, 3], pads=[1, 0, 1, 1], count_include_pad=1
    ),
    "average-ceil": pool("AveragePool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
    "average-same": pool("AveragePool", kernel_shape=[3, 3], auto_pad="SAME_UPPER"),
    "global-average": pool("GlobalAveragePool"),
    "global-max": pool("GlobalMaxPool"),
    "max-pool": pool("MaxPool", kernel_shape=[2, 2], strides=[2, 2]),
    "max-pool-overlap": pool("MaxPool", kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2]),
    "max-pool-dilated": pool("MaxPool", kernel_shape=[2, 3], dilations=[3, 2]),
    "max-pool-ceil": pool("MaxPool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
    "max-pool-same": pool("MaxPool", kernel_shape=[2, 4], auto_pad="SAME_LOWER"),
    "relu-max-pool": (
        [node("Relu", "x", "u"), node("MaxPool", "u", "t", kernel_shape=[2, 3], strides=[1, 2])],
        {},
        C,
    ),
    "max-pool-1d": ([node("MaxPool", "x", "t", kernel_shape=[3])], {}, (1, 2, 9)),
    "reduce-mean": ([node("ReduceMean", "x", "t", axes=[2, -1], keepdims=0)], {}, C),
    "reduce-sum": ([node("ReduceSum", "x a", "t")], AXES23, C),
    "reduce-max": ([node("ReduceMax", "x", "t", axes=[1])], {}, C),
    "reduce-all": ([node("ReduceMean", "x", "u"), node("Add", "x u", "t")], {}, (1, 5)),
    "pad": (
        [node("Pad", "x p c", "t")],
        {"p": np.array([0, 1, 0, 2, 0, 0, 1, 3]), "c": np.float32(0.7)},
        C,
    ),
    "pad-crop": ([node("Pad", "x p", "t")], {"p": np.array([0, 0, -1, 2, 0, -1, 1, -3])}, C),
    "pad-reflect": (
        [node("Pad", "x p", "t", mode="reflect")],
        {"p": np.array([0, 0, 2, 1, 0, 0, 1, 3])},
        C,
    ),
    "pad-edge": (
        [node("Pad", "x p", "t", mode="edge")],
        {"p": np.array([0, 0, 2, 1, 0, 0, 1, 3])},
        C,
    ),
    "slice": (
        [node("Slice", "x s e a d", "t")],
        {"s": [0, 6], "e": [4, -9], "a": [2, 3], "d": [2, -2]},
        C,
    ),
    "split": (
        [node("Split", "x s", "u v w", axis=3), node("Concat", "w u", "t", axis=3)],
        {"s": [2, 3, 2]},
        C,
    ),
    "gather": ([node("Gather", "x i", "t", axis=2)], {"i": np.array([4, 0, 0])}, C),
    "expand-tile": (
        [node("Expand", "x e", "u"), node("Tile", "u r", "t")],
        {"e": [1, 3, 5], "r": [1, 1, 2]},
        (1, 1, 5),
    ),
    "squeeze": (
        [node("Unsqueeze", "x a", "u"), node("Squeeze", "u b", "t")],
        {"a": [0, 2], "b": [0]},
        (1, 5),
    ),
    "concat-constant": ([node("Concat", "x c x", "t", axis=1)], {"c": normal(1, 3)}, (1, 5)),
    "reshape": (
        [node("Reshape", "x r", "u"), node("Transpose", "u", "t", perm=[0, 2, 1])],
        {"r": [0, -1, 6]},
        C,
    ),
    "reshape-shape": (
        [
            node("Shape", "x", "s"),
            node("Gather", "s zero", "first"),
            node("Unsqueeze", "first axis", "n"),
            node("Concat", "n minus", "r", axis=0),
            node("Reshape", "x r", "t"),
        ],
        {"zero": np.array(0), "axis": [0], "minus": [-1]},
        C,
    ),
    "dropout-identity-cast": (
        [
            node("Dropout", "x", "u"),
            node("Identity", "u", "v"),
            node("Cast", "v", "w", to=TensorProto.DOUBLE),
            node("Cast", "w", "t", to=TensorProto.FLOAT),
        ],
        {},
        (1, 5),
    ),
    "constants": (
        [
            helper.make_node("Constant", [], ["c"], value_floats=[1.0, -2.0, 0.5]),
            node("Mul", "c two", "d"),
            node("Add", "x d", "t"),
        ],
        {"two": np.float32(2.0)},
        (1, 3),
    ),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_operator(tmp_path, name):
    nodes, constants, shape = OPERATORS[name]
    lists = {k: np.array(v) if isinstance(v, list) else v for k, v in constants.items()}
    path = save(model(flattened(nodes), lists, shape), tmp_path)
    network = read_onnx(path)
    assert difference(path, network, shape) < 1e-5
    # the same operator between two activations, so that it meets neurons and offsets
    size = int(np.prod(shape))
    first = [node("Flatten", "x", "f"), node("Gemm", "f A a", "z"), node("Relu", "z", "h")]
    inner = [node("Reshape", "h form", "reshaped")]
    for n in nodes:
        copy = onnx.NodeProto()
        copy.CopyFrom(n)
        copy.input[:] = ["reshaped" if i == "x" else f"{i}_" if i in lists else i for i in n.input]
        inner.append(copy)
    extra = {"A": normal(size, size), "a": normal(size), "form": np.array(shape)}
    extra |= {f"{k}_": v for k, v in lists.items()}
    last = [node("Flatten", "t", "g"), node("Relu", "g", "y")]
    path = save(model([*first, *inner, *last], extra, shape), tmp_path)
    assert difference(path, read_onnx(path), shape) < 1e-5


OLD = {
    "pad-2": (2, [node("Pad", "x", "t", pads=[0, 0, 1, 0, 0, 0, 0, 2], value=0.5)], C),
    "clip-6": (6, [node("Clip", "x", "t", min=-0.5, max=0.25)], C),
    "squeeze-11": (
        11,
        [node("Unsqueeze", "x", "u", axes=[2]), node("Squeeze", "u", "t", axes=[2])],
        C,
    ),
    "slice-9": (9, [node("Slice", "x", "t", starts=[1], ends=[4], axes=[2])], C),
    "dropout-7": (7, [node("Dropout", "x", "t", ratio=0.5)], C),
    "split-11": (11, [node("Split", "x", "t u", axis=1, split=[1, 3])], C),
    "reduce-mean-18": (18, [node("ReduceMean", "x", "t", keepdims=0)], C),
}


@pytest.mark.parametrize("name", OLD)
def test_operator_of_another_opset(tmp_path, name):
    opset, nodes, shape = OLD[name]
    nodes = [
        *nodes,
        node("Add", "x one", "u_"),
        node("Flatten", "u_", "v_"),
        node("Flatten", "t", "w_"),
    ]
    if name == "reduce-mean-18":
        nodes[-1] = node("Expand", "t form", "w_")
    nodes.append(node("Concat", "v_ w_", "y", axis=1))
    constants = {"one": np.float32(1.0), "form": np.array([1, 2])}
    path = save(model(nodes, constants, shape, opset=max(opset, 7)), tmp_path)
    assert difference(path, read_onnx(path), shape) < 1e-5


# --- whole networks ---------------------------------------------------------------------------


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Linear(6, 3)
        self.a, self.b = nn.Linear(3, 4), nn.Linear(4, 3)
        self.head = nn.Linear(3, 2)

    def forward(self, x):
        z = self.stem((x - 0.1) / 0.5)
        z = z + self.b(torch.relu(self.a(z)))
        return self.head(torch.relu(z))


MODULES = {
    "mlp": (nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), (4,)),
    "residual": (Residual(), (6,)),
    "conv": (
        nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Linear(36, 3),
        ),
        (2, 6, 6),
    ),
    "max-pool": (
        nn.Sequential(
            nn.Conv2d(1, 4, 3, groups=1, dilation=2),
            nn.LeakyReLU(0.1),
            nn.MaxPool2d(3, stride=2, padding=1),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(),
            nn.Linear(4, 2),
        ),
        (1, 8, 8),
    ),
}


@pytest.mark.parametrize("name", MODULES)
def test_export_of_torch(tmp_path, name):
    module, shape = MODULES[name]
    path = export(module, shape, tmp_path)
    network = read_onnx(path)
    assert difference(path, network, (1, *shape)) < 1e-5


def test_skip_connection_makes_no_hyperplane(tmp_path):
    path = export(Residual(), (6,), tmp_path)
    network = read_onnx(path)
    assert network.widths == (7, 3)  # 4 neurons and the 3 elements of the stem passed by
    np.testing.assert_array_equal(network.slopes[0], [0, 0, 0, 0, 1, 1, 1])
    assert not network.slopes[1].any()


def test_max_pool_makes_one_relu_per_comparison(tmp_path):
    nodes = [
        node("Relu", "x", "u"),
        node("MaxPool", "u", "v", kernel_shape=[2, 2], strides=[2, 2]),
        node("Flatten", "v", "y"),
    ]
    path = save(model(nodes, {}, (1, 1, 4, 4)), tmp_path)
    network = read_onnx(path)
    # 4 windows, 3 comparisons each, then ReLU: 12 + 4 neurons that split, the others pass on
    assert [int((s == 0).sum()) for s in network.slopes] == [8, 4, 4]
    assert [int((s == 1).sum()) for s in network.slopes] == [8, 4, 0]


def test_neurons_that_nobody_uses_are_dropped(tmp_path):
    nodes = [
        node("Relu", "x", "u"),
        node("Slice", "u s e a", "v"),
        node("Softmax", "u", "unused"),
        node("Gemm", "v W", "y"),
    ]
    constants = {"s": np.array([1]), "e": np.array([3]), "a": np.array([1]), "W": normal(2, 2)}
    path = save(model(nodes, constants, (1, 4)), tmp_path)
    assert read_onnx(path).widths == (2,)


def test_constant_network(tmp_path):
    nodes = [node("Mul", "x zero", "u"), node("Gemm", "u W b", "y")]
    constants = {"zero": np.float32(0.0), "W": normal(4, 2), "b": normal(2)}
    path = save(model(nodes, constants, (1, 4)), tmp_path)
    assert difference(path, read_onnx(path), (1, 4)) < 1e-6


def test_the_comparison_can_fail(tmp_path):
    nodes, constants, shape = OPERATORS["conv-pads-strides"]
    path = save(model(flattened(nodes), constants, shape), tmp_path)
    network = read_onnx(path)
    constants["W"] = constants["W"].copy()
    constants["W"][2, 1, 0, 1] += 0.01
    other = save(model(flattened(nodes), constants, shape), tmp_path)
    assert difference(other, network, shape) > 1e-4


def test_reference_difference(tmp_path):
    nodes, constants, shape = OPERATORS["conv-pads-strides"]
    path = save(model(flattened(nodes), constants, shape), tmp_path)
    network = read_onnx(path)
    points = RNG.normal(size=(3, 168)).astype(np.float32)
    assert 0 < reference_difference(path, network, points) < 1e-4
    constants = constants | {"b": constants["b"] + np.float32(0.5)}
    other = save(model(flattened(nodes), constants, shape), tmp_path)
    assert reference_difference(other, network, points) == pytest.approx(0.5, abs=1e-3)


def test_local_functions_are_inlined(tmp_path):
    proto = model([helper.make_node("Twice", ["x"], ["y"], domain="own")], {}, (1, 3))
    opsets = [helper.make_opsetid("", 17)]
    body = [helper.make_node("Add", ["a", "a"], ["b"])]
    proto.functions.append(helper.make_function("own", "Twice", ["a"], ["b"], body, opsets))
    proto.opset_import.append(helper.make_opsetid("own", 1))
    np.testing.assert_array_equal(read_onnx(save(proto, tmp_path)).weights[0], 2 * np.eye(3))


# --- files that are wrong ---------------------------------------------------------------------


def refused(path, kind, *parts):
    with pytest.raises(kind) as caught:
        read_onnx(path)
    message = str(caught.value)
    assert type(caught.value) is kind
    assert message.startswith(str(path))
    assert "\n" not in message
    for part in parts:
        assert part in message


def good(**changes):
    options = {"nodes": [node("Gemm", "x W b", "z"), node("Relu", "z", "y")], "shape": [1, 3]}
    options |= {"constants": {"W": normal(3, 2), "b": normal(2)}} | changes
    return model(**options)


@pytest.mark.parametrize(
    ("content", "found"),
    [(b"", "an empty file"), (b"hello world", "hello world"), (b"PK\x03\x04zip", "beginning")],
)
def test_not_onnx(tmp_path, content, found):
    path = tmp_path / "network.onnx"
    path.write_bytes(content)
    refused(path, ProblemError, ": expected an ONNX model, found", found)


def test_no_file(tmp_path):
    refused(tmp_path / "none.onnx", ProblemError, "expected an ONNX model, found No such file")
    refused(tmp_path, ProblemError, "expected an ONNX model, found Is a directory")


@pytest.mark.parametrize("op", ["Softmax", "Sigmoid", "Loop", "MatMulInteger"])
def test_unsupported_operator(tmp_path, op):
    nodes = [node("Relu", "x", "u"), helper.make_node(op, ["u"], ["y"], name="final")]
    path = save(good(nodes=nodes), tmp_path)
    refused(path, UnsupportedError, f"operator {op}", "'final'", "'y'", "AveragePool", "Relu")


@pytest.mark.parametrize("side", ["input", "output"])
def test_several_inputs_or_outputs(tmp_path, side):
    proto = good()
    getattr(proto.graph, side).append(helper.make_tensor_value_info("z", TensorProto.FLOAT, [1]))
    refused(save(proto, tmp_path), UnsupportedError, f"expected one {side}, found 2", "z")


@pytest.mark.parametrize(
    ("shape", "part"),
    [
        ([1, "features"], "fixed sizes"),
        (["N"], "fixed sizes"),
        ([7, 3], "batch size 1"),
        ([], "expected a shape"),
        (None, "expected a shape"),
        ([1, 0], "fixed sizes"),
    ],
)
def test_input_shape(tmp_path, shape, part):
    refused(save(good(shape=shape), tmp_path), ProblemError, "input 'x'", part)


def test_integer_input(tmp_path):
    proto = good()
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    refused(save(proto, tmp_path), UnsupportedError, "input 'x'", "INT64")


def test_missing_initialiser(tmp_path):
    refused(save(good(constants={"W": normal(3, 2)}), tmp_path), ProblemError, "Gemm", "'b'")


def test_output_of_nothing(tmp_path):
    refused(save(good(nodes=[node("Relu", "x", "z")]), tmp_path), ProblemError, "output 'y'")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weight_that_is_not_finite(tmp_path, bad):
    W = normal(3, 2)
    W[1, 0] = bad
    path = save(good(constants={"W": W, "b": normal(2)}), tmp_path)
    refused(path, ProblemError, "Gemm", "'W'", str(bad), "(1, 0)")


def test_integer_weights(tmp_path):
    path = save(good(constants={"W": np.ones((3, 2), np.int64), "b": normal(2)}), tmp_path)
    refused(path, UnsupportedError, "'W'", "int64")


def test_weights_that_do_not_fit(tmp_path):
    path = save(good(constants={"W": normal(4, 2), "b": normal(2)}), tmp_path)
    refused(path, ProblemError, "Gemm", "(1, 3)", "(4, 2)")
    path = save(good(constants={"W": normal(3, 2), "b": normal(3)}), tmp_path)
    refused(path, ProblemError, "Gemm", "malformed")


def test_one_logit(tmp_path):
    path = save(good(constants={"W": normal(3, 1), "b": normal(1)}), tmp_path)
    refused(path, ProblemError, "logits")


def test_batch_that_does_not_survive(tmp_path):
    nodes = [node("Reshape", "x r", "y")]
    path = save(good(nodes=nodes, constants={"r": np.array([2, 2])}, shape=[1, 4]), tmp_path)
    refused(path, ProblemError, "(1, K)", "(2, 2)")


@pytest.mark.parametrize(
    ("nodes", "kind", "part"),
    [
        ([node("Mul", "x x", "y")], UnsupportedError, "not affine"),
        ([node("MatMul", "x x", "y")], ProblemError, "no matrix product"),
        ([node("Div", "b x", "y")], UnsupportedError, "expected a constant"),
        ([node("Cast", "x", "y", to=TensorProto.INT32)], UnsupportedError, "INT32"),
        ([node("Reshape", "x x", "y")], UnsupportedError, "first input"),
        ([node("Reshape", "x s", "y")], ProblemError, "malformed"),
        ([node("Transpose", "x", "y", perm=[0, 5])], ProblemError, "malformed"),
        ([node("Conv", "x W", "y")], ProblemError, "Conv"),
        ([node("MaxPool", "x", "y", kernel_shape=[2])], ProblemError, "MaxPool"),
        ([node("Dropout", "x r t", "y")], UnsupportedError, "inference"),
        ([node("Add", "x missing", "y")], ProblemError, "'missing'"),
        ([node("Clip", "x hi lo", "y")], ProblemError, "limits"),
        ([node("Div", "x zero", "y")], ProblemError, "division by zero"),
        ([node("Mul", f"{a} huge", b) for a, b in pairwise("xacdefghijy")], ProblemError, "finite"),
        (
            [node("Relu", "x", "u"), node("Relu", "x", "u"), node("Relu", "u", "y")],
            ProblemError,
            "twice",
        ),
        ([helper.make_node("Relu", ["x"], ["y"], domain="com.acme")], UnsupportedError, "com.acme"),
        ([helper.make_node("Gemm", ["x"], ["y"])], ProblemError, "input number 1"),
        ([node("Pad", "x many", "y")], WDAVerifyError, "Pad"),
    ],
)
def test_contradictory_nodes(tmp_path, nodes, kind, part):
    constants = {
        "W": normal(3, 2),
        "b": normal(3),
        "s": np.array([5, 5]),
        "r": np.float32(0.5),
        "t": np.array(True),
        "lo": np.float32(-1),
        "hi": np.float32(1),
        "zero": np.float32(0),
        "huge": np.float32(1e38),
        "many": np.array([0, 2**62, 0, 0]),
    }
    path = save(good(nodes=nodes, constants=constants), tmp_path)
    if kind is WDAVerifyError:
        with pytest.raises(kind, match=part):
            read_onnx(path)
    else:
        refused(path, kind, part)


def test_external_data(tmp_path):
    proto = good()
    expected = read_onnx(save(proto, tmp_path)).digest
    external_data_helper.convert_model_to_external_data(proto, location="weights", size_threshold=0)
    path = tmp_path / "external.onnx"
    onnx.save(proto, path)
    assert read_onnx(path).digest == expected
    (tmp_path / "weights").write_bytes(b"short")
    refused(path, ProblemError, "'W'")
    (tmp_path / "weights").unlink()
    refused(path, ProblemError, "'W'", "external data", "weights")


def test_external_data_outside_the_folder(tmp_path):
    proto = good()
    (tmp_path / "secret").write_bytes(b"0" * 64)
    (tmp_path / "folder").mkdir()
    external_data_helper.convert_model_to_external_data(proto, size_threshold=0)
    for tensor in proto.graph.initializer:
        external_data_helper.set_external_data(tensor, "../secret")
        tensor.ClearField("raw_data")
    refused(save(proto, tmp_path / "folder"), ProblemError, "external data")


def test_corrupted_files_never_raise_anything_else(tmp_path):
    nodes = [
        node("Conv", "x W", "u", pads=[1, 0]),
        node("Relu", "u", "v"),
        node("MaxPool", "v", "w", kernel_shape=[2]),
        node("Reshape", "w r", "y"),
    ]
    constants = {"W": normal(2, 1, 2), "r": np.array([1, -1])}
    data = model(nodes, constants, (1, 1, 4)).SerializeToString()
    path = tmp_path / "network.onnx"
    rng = np.random.default_rng(1)
    messages = []
    for k in range(400):
        broken = bytearray(data[: rng.integers(len(data))] if k % 4 == 0 else data)
        for _ in range(rng.integers(1, 4)):
            if broken:
                broken[rng.integers(len(broken))] = rng.integers(256)
        path.write_bytes(bytes(broken))
        try:
            read_onnx(path)
        except WDAVerifyError as error:
            messages.append(str(error))
    assert len(messages) > 200
    assert not any("\n" in message for message in messages)


# ---- files that would grow ----------------------------------------------------------------------

GROWING = {
    "Expand": ([node("Expand", "one wide", "big")], {"wide": np.array([2**20, 2**20])}),
    "ConstantOfShape": ([node("ConstantOfShape", "wide", "big")], {"wide": np.array([2**40, 3])}),
    "Tile": ([node("Tile", "one wide", "big")], {"wide": np.array([2**40, 3])}),
    "Range": (
        [node("Range", "zero wide step", "big")],
        {"zero": np.array(0), "wide": np.array(2**50), "step": np.array(1)},
    ),
    "Mul": (
        [node("Mul", "row column", "big")],
        {"row": np.ones((1, 2**14)), "column": np.ones((2**14, 1))},
    ),
    "unknown-attribute": (
        [node("Expand", "one wide", "big", alpha=1.0)],
        {"wide": np.array([2**20, 2**20])},
    ),
}


@pytest.mark.parametrize("name", GROWING)
def test_a_constant_that_would_fill_the_memory(tmp_path, name):
    nodes, constants = GROWING[name]
    nodes = [*nodes, node("ReduceSum", "big", "s", keepdims=0), node("Add", "x s", "y")]
    constants = {"one": np.ones((1, 1)), **constants}
    path = save(model(nodes, constants, (1, 3)), tmp_path)
    refused(path, UnsupportedError, "elements in a constant, found")


@pytest.mark.parametrize(
    ("nodes", "constants"),
    [
        ([node("Expand", "x wide", "y")], {"wide": np.array([2**20, 3])}),
        ([node("Tile", "x wide", "y")], {"wide": np.array([1, 2**20])}),
        ([node("Pad", "x wide", "y")], {"wide": np.array([0, 2**40, 0, 0])}),
    ],
    ids=["Expand", "Tile", "Pad"],
)
def test_a_tensor_that_would_fill_the_memory(tmp_path, nodes, constants):
    path = save(model(nodes, constants, (1, 3)), tmp_path)
    refused(path, UnsupportedError, "elements in a ")


def test_an_input_that_would_fill_the_memory(tmp_path):
    path = save(model([node("Relu", "x", "y")], {}, (1, 2**21)), tmp_path)
    refused(path, UnsupportedError, "expected at most 1048576 inputs, found 2097152")


def functions(*calls):
    """Local functions f0, f1, …, each made of calls of others."""
    proto = model([helper.make_node("f0", ["x"], ["y"], domain="mine")], {}, (1, 3))
    for k, names in enumerate(calls):
        inner = [
            helper.make_node(
                name,
                ["a" if j == 0 else f"t{j}"],
                ["b" if j == len(names) - 1 else f"t{j + 1}"],
                domain="mine" if name.startswith("f") else "",
            )
            for j, name in enumerate(names)
        ]
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
        proto.functions.append(helper.make_function("mine", f"f{k}", ["a"], ["b"], inner, opsets))
    proto.opset_import.append(helper.make_opsetid("mine", 1))
    return proto


def test_functions_that_call_each_other(tmp_path):
    fine = functions(["f1", "f1"], ["f2", "f2"], ["Relu"])
    assert read_onnx(save(fine, tmp_path)).features == 3
    doubling = functions(*([f"f{k + 1}"] * 2 for k in range(30)), ["Relu"])
    refused(save(doubling, tmp_path), UnsupportedError, f"found {2**30} after inlining")
    for circle in (functions(["f0"]), functions(["f1", "Relu"], ["f2"], ["f1"])):
        refused(save(circle, tmp_path), ProblemError, "calls itself")


def test_without_the_check_of_sizes_a_constant_is_made(tmp_path, monkeypatch):
    """The refusal comes from the check, and not from the memory."""
    monkeypatch.setattr("wdaverify.importers.onnx_node.check_outputs", lambda *_: None)
    nodes = [node("Expand", "one wide", "big"), node("ReduceSum", "big", "s", keepdims=0)]
    constants = {"one": np.ones((1, 1)), "wide": np.array([2**13, 2**13 + 1])}
    path = save(model([*nodes, node("Add", "x s", "y")], constants, (1, 3)), tmp_path)
    assert read_onnx(path).features == 3
