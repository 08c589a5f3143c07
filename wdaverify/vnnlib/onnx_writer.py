r"""A layered network as ONNX: ``Gemm``, ``Relu`` and ``LeakyRelu``, which every verifier knows.

Layers of slope 1 have no activation. Where slopes differ within a layer, or are no float32 (the
type of ``LeakyRelu``'s parameter), or runtimes have no ``LeakyRelu`` (float64), a neuron with a
slope ``s`` becomes two,
:math:`\sigma_s(z) = (z)_+ - s\,(-z)_+`.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from wdaverify.arrays import Floats
from wdaverify.errors import ProblemError
from wdaverify.network import ReLUNetwork

__all__ = ["onnx_bytes"]

_OPSET: Final = 13
_IR: Final = 8


def onnx_bytes(network: ReLUNetwork, *, double: bool = False) -> bytes:
    """Return an ONNX model with one input ``X (1, n)`` and one output ``Y (1, K)``.

    Parameters
    ----------
    network
        The network.
    double
        Keep float64; else every number is rounded to the nearest float32.

    Raises
    ------
    ProblemError
        A number beyond the range of float32.
    """
    import onnx  # noqa: PLC0415  (slow)

    graph = _Graph(np.float64 if double else np.float32)
    before: list[Floats] = []  # matrices between the neurons as written and as the network has them
    for k, (W, b) in enumerate(zip(network.weights, network.biases, strict=True)):
        own = W @ before.pop() if before and _unit(before[-1]) else W
        for matrix in before:
            graph.gemm(matrix, np.zeros(len(matrix)))
        before = []
        slopes = network.slopes[k] if k < len(network.slopes) else None
        if slopes is None or not _split(slopes, double=double):
            graph.gemm(own, b)
            if slopes is not None:
                graph.activate(float(slopes[0]) if len(slopes) else 1.0)
            continue
        at = np.flatnonzero(slopes)
        graph.gemm(np.concatenate([own, -own[at]]), np.concatenate([b, -b[at]]))
        graph.activate(0.0)
        before = [np.concatenate([np.eye(len(b)), -(np.eye(len(b)) * slopes)[:, at]], axis=1)]
    model = onnx.helper.make_model(
        graph.finish(network.features, network.classes),
        opset_imports=[onnx.helper.make_opsetid("", _OPSET)],
        producer_name="wdaverify",
    )
    model.ir_version = _IR
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _split(slopes: Floats, *, double: bool) -> bool:
    """Whether a layer needs two neurons for one."""
    if np.isin(slopes, (0.0, 1.0)).all():
        return len(np.unique(slopes)) > 1
    uniform = len(np.unique(slopes)) == 1 and slopes[0] == np.float32(slopes[0])
    return double or not uniform


def _unit(matrix: Floats) -> bool:
    """Whether a product with a matrix rounds nothing: one entry of size 1 in each column."""
    return bool(np.isin(matrix, (-1.0, 0.0, 1.0)).all())


class _Graph:
    """Nodes and constants, one after the other."""

    def __init__(self, dtype: npt.DTypeLike) -> None:
        self._dtype = np.dtype(dtype)
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._last = "X"

    def gemm(self, W: Floats, b: Floats) -> None:
        count = len(self._constants) // 2
        inputs = [self._last, self._constant(f"W{count}", W), self._constant(f"b{count}", b)]
        self._node("Gemm", inputs, transB=1)

    def activate(self, slope: float) -> None:
        if slope == 0:
            self._node("Relu", [self._last])
        elif slope != 1:
            self._node("LeakyRelu", [self._last], alpha=slope)

    def finish(self, features: int, classes: int) -> Any:  # noqa: ANN401  (onnx has no types)
        from onnx import helper  # noqa: PLC0415

        kind = helper.np_dtype_to_tensor_dtype(self._dtype)
        ports = [
            helper.make_tensor_value_info(name, kind, [1, size])
            for name, size in (("X", features), ("Y", classes))
        ]
        self._nodes[-1].output[0] = "Y"
        return helper.make_graph(self._nodes, "network", ports[:1], ports[1:], self._constants)

    def _node(self, operator: str, inputs: list[str], **attributes: float) -> None:
        from onnx import helper  # noqa: PLC0415

        self._last = f"h{len(self._nodes)}"
        name = f"{operator}_{len(self._nodes)}"
        self._nodes.append(
            helper.make_node(operator, inputs, [self._last], name=name, **attributes)
        )

    def _constant(self, name: str, values: Floats) -> str:
        from onnx import numpy_helper  # noqa: PLC0415

        with np.errstate(over="ignore", under="ignore"):
            written = np.asarray(values).astype(self._dtype)
        if not np.isfinite(written).all():
            raise ProblemError(
                f"{name}: expected numbers within the range of float32, found "
                f"{np.abs(values).max():g}; write float64"
            )
        self._constants.append(numpy_helper.from_array(written, name))
        return name
