"""Networks as they are run in practice: ONNX in onnxruntime, exported torch programs, or numpy.

All take points rounded to float32 and return logits as float64.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from wdaverify.arrays import Floats
from wdaverify.errors import UnsupportedError
from wdaverify.network import ReLUNetwork

__all__ = ["Runner", "runner_for"]

Runner = Callable[[Floats], Floats]
"""Points ``(M, n)`` to logits ``(M, K)``."""


def runner_for(path: Path | None, network: ReLUNetwork) -> tuple[str, Runner]:
    """Return how a network is run, in words, and what runs it.

    Parameters
    ----------
    path
        The file that the network was read from; ``None`` where it is in a proof file only.
    network
        What was read: run in numpy float32 where the file has no runtime of its own.

    Raises
    ------
    UnsupportedError
        The runtime is not installed.
    """
    suffix = "" if path is None else path.suffix.lower()
    if path is not None and suffix == ".onnx":
        return "onnxruntime, float32", _onnx(path)
    if path is not None and suffix == ".pt2":
        return "torch, float32", _torch(path, network.features)
    return "numpy, float32", lambda points: _layers(network, points)


def _layers(network: ReLUNetwork, points: Floats) -> Floats:
    h = points.astype(np.float32)
    pairs = list(zip(network.weights, network.biases, strict=True))
    for k, (W, b) in enumerate(pairs):
        z = h @ W.T.astype(np.float32) + b.astype(np.float32)
        if k == len(pairs) - 1:
            return z.astype(np.float64)
        slopes = network.slopes[k].astype(np.float32)
        h = np.maximum(z, np.float32(0)) + slopes * np.minimum(z, np.float32(0))
    raise AssertionError


def _onnx(path: Path) -> Runner:
    try:
        import onnxruntime  # noqa: PLC0415  (an optional extra)
    except ImportError:
        raise UnsupportedError(
            "replay: an ONNX network is run by onnxruntime, which is not installed; "
            "pip install 'wdaverify[replay]'"
        ) from None
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    port = session.get_inputs()[0]
    sizes = [size if isinstance(size, int) and size > 0 else 1 for size in port.shape]
    kind = np.float64 if "double" in port.type else np.float32

    def run(points: Floats) -> Floats:
        rows = [
            session.run(None, {port.name: x.astype(np.float32).astype(kind).reshape(sizes)})[0]
            for x in points
        ]
        return np.array(rows, dtype=np.float64).reshape(len(points), -1)

    return run


def _torch(path: Path, features: int) -> Runner:
    import torch  # noqa: PLC0415  (slow)

    program = torch.export.load(str(path))
    module = program.module()
    inputs = program.example_inputs
    shape = inputs[0][0].shape if inputs else (1, features)

    def run(points: Floats) -> Floats:
        with torch.no_grad():
            rows = [
                module(torch.tensor(x, dtype=torch.float32).reshape((1, *shape[1:]))).numpy()
                for x in points
            ]
        return np.array(rows, dtype=np.float64).reshape(len(points), -1)

    return run
