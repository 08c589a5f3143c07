"""Networks as ONNX: onnxruntime computes the same, and our reader reads the same numbers."""

import numpy as np
import pytest
from vnnlib.samples import network

import wdaverify as wv
from wdaverify.importers.onnx_reader import read_onnx
from wdaverify.vnnlib.onnx_writer import onnx_bytes

POINTS = np.random.default_rng(0).normal(size=(200, 2))
SLOPES = {
    "relu": [np.zeros(6), np.zeros(5)],
    "leaky, a float32": [np.full(6, 0.25), np.full(5, 0.5)],
    "leaky, no float32": [np.full(6, 0.01), np.full(5, 0.1)],
    "linear": [np.ones(6), np.zeros(5)],
    "all linear": [np.ones(6), np.ones(5)],
    "mixed": [np.array([0.0, 1, 0, 1, 0.25, 0]), np.array([1.0, 0, 0, 0.3, 0.01])],
    "zeros and ones": [np.array([0.0, 1, 0, 1, 1, 0]), np.array([1.0, 0, 0, 1, 0])],
}


def run(data, points, dtype):
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(data, providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == [1, points.shape[1]]
    return np.array([session.run(["Y"], {"X": x[None].astype(dtype)})[0][0] for x in points])


@pytest.mark.parametrize("name", SLOPES)
@pytest.mark.parametrize("double", [False, True])
def test_onnxruntime_computes_the_same(name, double, tmp_path):
    net = network(1, slopes=SLOPES[name])
    data = onnx_bytes(net, double=double)
    dtype, tolerance = (np.float64, 1e-13) if double else (np.float32, 1e-5)
    points = POINTS.astype(np.float32).astype(np.float64)
    assert np.abs(run(data, points, dtype) - net.logits(points)).max() <= tolerance
    (tmp_path / "n.onnx").write_bytes(data)
    again = read_onnx(tmp_path / "n.onnx")
    assert np.abs(again.logits(points) - net.logits(points)).max() <= tolerance


@pytest.mark.parametrize("problem", ["moons", "iris", "breast", "digits"])
def test_double_reads_back_bit_for_bit(problem, tmp_path):
    net = wv.load_problem(f"problems/{problem}").network
    (tmp_path / "n.onnx").write_bytes(onnx_bytes(net, double=True))
    assert read_onnx(tmp_path / "n.onnx").digest == net.digest
    (tmp_path / "n.onnx").write_bytes(onnx_bytes(net))
    again = read_onnx(tmp_path / "n.onnx")
    for mine, theirs in zip(net.weights, again.weights, strict=True):
        assert np.array_equal(mine.astype(np.float32), theirs)


def test_a_wrong_weight_is_noticed(tmp_path):
    net = network(1)
    W = [w.copy() for w in net.weights]
    W[2] += 1e-3
    data = onnx_bytes(wv.ReLUNetwork(W, net.biases), double=True)
    assert np.abs(run(data, POINTS, np.float64) - net.logits(POINTS)).max() > 1e-4


def test_what_float32_does_not_hold_is_refused():
    net = wv.ReLUNetwork([[[1e39], [1.0]]], [[0.0, 0.0]])
    with pytest.raises(wv.ProblemError, match="W0: expected numbers within the range of float32"):
        onnx_bytes(net)
    onnx_bytes(net, double=True)
