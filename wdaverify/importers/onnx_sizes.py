"""What a small ONNX file would grow to, found out before it does.

A constant node (Expand, ConstantOfShape, a sum that broadcasts, …) may ask for any amount of
memory; local functions that call each other twice double with every level. The shape inference of
ONNX tells the size of an output from its inputs; the number of nodes of a function is the sum over
what it calls.
"""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper, shape_inference

from wdaverify.errors import ProblemError, UnsupportedError
from wdaverify.importers.entries import check_size

__all__ = ["check_functions", "check_outputs"]

NODES: Final = 10**5
"""Most nodes of a graph once its local functions are put in their places."""

_FAULTS: Final = (
    onnx.checker.ValidationError,
    onnx.defs.SchemaError,
    onnx.shape_inference.InferenceError,
)
_SMALL: Final = 64
"""Most elements of an input whose values can decide the shape of an output."""


def check_outputs(
    node: Any,  # noqa: ANN401  (onnx classes are generated, without types)
    inputs: Sequence[npt.NDArray[Any]],
    opsets: Mapping[str, int],
) -> None:
    """Refuse a node that would fill the memory.

    Parameters
    ----------
    node
        The ``onnx.NodeProto``.
    inputs
        An array for each input that is not left out.
    opsets
        Version of each operator set.

    Raises
    ------
    UnsupportedError
        An output would have more than 2²⁶ elements.
    """
    try:
        shapes = _output_shapes(node, inputs, opsets)
    except (*_FAULTS, RuntimeError, TypeError, ValueError):
        return  # the node itself is at fault, which its evaluation says better
    for shape in shapes:
        check_size(prod(max(size, 1) for size in shape), "elements in a constant")


def check_functions(model: Any) -> None:  # noqa: ANN401
    """Refuse local functions that call themselves, or each other too often.

    Raises
    ------
    ProblemError
        A function calls itself.
    UnsupportedError
        There would be more than `NODES` nodes.
    """
    functions = {(f.domain, f.name): f for f in model.functions}
    sizes: dict[tuple[str, str], int] = {}
    for start in functions:
        _measure(start, functions, sizes)
    total = sum(sizes.get((node.domain, node.op_type), 1) for node in model.graph.node)
    if total > NODES:
        raise UnsupportedError(f"expected at most {NODES} nodes, found {total} after inlining")


def _measure(
    start: tuple[str, str],
    functions: Mapping[tuple[str, str], Any],
    sizes: dict[tuple[str, str], int],
) -> None:
    """Count the nodes of a function and of those it calls, without recursion."""
    stack, open_calls = [start], set[tuple[str, str]]()
    while stack:
        key = stack[-1]
        calls = [(node.domain, node.op_type) for node in functions[key].node]
        missing = [call for call in calls if call in functions and call not in sizes]
        if missing and key not in open_calls:
            open_calls.add(key)
            stack += missing
            continue
        if missing:
            raise ProblemError(f"the local function {key[1]!r} calls itself")
        sizes[key] = sum(sizes.get(call, 1) for call in calls)
        stack.pop()


def _output_shapes(
    node: Any,  # noqa: ANN401
    inputs: Sequence[npt.NDArray[Any]],
    opsets: Mapping[str, int],
) -> list[list[int]]:
    version = opsets.get("", opsets.get("ai.onnx", 1))
    schema = onnx.defs.get_schema(node.op_type, version, "")
    plain = onnx.NodeProto()
    plain.CopyFrom(node)
    del plain.attribute[:]  # one that is not known would only stop the inference
    plain.attribute.extend(a for a in node.attribute if a.name in schema.attributes)
    names = [name for name in node.input if name]
    types, values = {}, {}
    for name, array in zip(names, inputs, strict=True):
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        types[name] = helper.make_tensor_type_proto(kind, array.shape)
        if array.size <= _SMALL:
            values[name] = numpy_helper.from_array(np.asarray(array), name)
    found = shape_inference.infer_node_outputs(
        schema, plain, types, values, opset_imports=[helper.make_opsetid("", version)]
    )
    shapes = [value.tensor_type.shape.dim for value in found.values()]
    return [[int(dim.dim_value) for dim in dims] for dims in shapes]
