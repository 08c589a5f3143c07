"""ONNX files made by hand, and what other programs say about them."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper

INPUT, OUTPUT = "x", "y"


def node(op: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs.split(), output.split(), name=f"{op}_{output}", **attributes)


def model(
    nodes: Sequence[onnx.NodeProto],
    constants: Mapping[str, Any],
    shape: Sequence[int | str | None],
    *,
    opset: int = 17,
    element: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    """A model from ``x`` to ``y``; float constants become float32."""
    initialisers = [
        numpy_helper.from_array(_stored(np.asarray(value), element), name)
        for name, value in constants.items()
    ]
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [helper.make_tensor_value_info(INPUT, element, shape)],
        [helper.make_tensor_value_info(OUTPUT, element, None)],
        initialisers,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def save(proto: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "network.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def runtime(path: Path, points: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Outputs of onnxruntime in float32, without its optimisations, one point at a time."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    samples = points.astype(np.float32).reshape(-1, *shape)
    return np.stack([session.run(None, {name: sample})[0].ravel() for sample in samples])


def export(module: torch.nn.Module, shape: Sequence[int], folder: Path) -> Path:
    path = folder / "exported.onnx"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*LeafSpec", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)  # onnxscript and its dependencies
        torch.onnx.export(
            module.eval(), (torch.zeros(1, *shape),), path, dynamo=True, verbose=False
        )
    return path


def _stored(value: np.ndarray, element: int) -> np.ndarray:
    if value.dtype.kind != "f":
        return value
    return value.astype(helper.tensor_dtype_to_np_dtype(element))
