"""The operators of ONNX, each as operations on symbolic tensors.

Names, attributes and defaults are those of https://onnx.ai/onnx/operators/. An operator that only
moves data is carried out by the reference implementation of ONNX on the positions of the elements,
a node whose inputs are constant on its constants.
"""

from collections.abc import Callable, Sequence
from functools import reduce
from math import prod
from typing import Final

import numpy as np
import onnx

from wdaverify.arrays import Integers
from wdaverify.errors import ProblemError, UnsupportedError
from wdaverify.importers.entries import ELEMENTS, check_size
from wdaverify.importers.linear import matmul, multiply, normalise, reduce_sum
from wdaverify.importers.onnx_node import FLOATS, Node, Value, lift
from wdaverify.importers.onnx_windows import average_pool, conv, max_pool
from wdaverify.importers.piecewise import clip, leaky, maximum, minimum, reduce_max, sum_of
from wdaverify.importers.tensor import Tensor, concatenate
from wdaverify.registry import Registry, load_extensions

__all__ = ["OPERATORS", "supported", "translate"]

_RANDOM: Final = ("Bernoulli", "Multinomial", "RandomNormal", "RandomUniform")
_EPSILON: Final = float(np.float32(1e-5))  # attributes of ONNX are float32, also by default
_ALPHA: Final = float(np.float32(0.01))


def translate(node: Node) -> list[Value]:
    """Return the outputs of a node.

    Raises
    ------
    ProblemError
        Operands that contradict each other.
    UnsupportedError
        The operator is not known or not piecewise affine; the message lists those that are.
    """
    op = node.proto.op_type
    if node.proto.domain not in ("", "ai.onnx"):
        op = f"{node.proto.domain}::{op}"
        return [_registered(op)(node)]
    constants = [value for value in node.inputs if not isinstance(value, Tensor)]
    if len(constants) == len(node.inputs) and _is_repeatable(node):
        return [lift(output) for output in node.evaluate(*constants)]
    if op == "Shape":
        start, end = node.attribute("start", 0), node.attribute("end")
        return [np.array(node.tensor().shape[start:end], dtype=np.int64)]
    if op in _MOVES:
        return _moved(node)
    return [_registered(op)(node)]


def _registered(op: str) -> Callable[[Node], Tensor]:
    if op not in OPERATORS:
        load_extensions()
    if op not in OPERATORS:
        raise _unsupported(op)
    return OPERATORS[op]


def _unsupported(op: str) -> UnsupportedError:
    hint = "; remove it, the losses read logits" if op in ("Softmax", "LogSoftmax") else ""
    return UnsupportedError(
        f"operator {op} is not supported{hint}; supported: {', '.join(supported())}"
    )


def _is_repeatable(node: Node) -> bool:
    simple = not any(a.HasField("g") or a.graphs for a in node.proto.attribute)
    return simple and not node.proto.op_type.startswith(_RANDOM)


def _moved(node: Node) -> list[Value]:
    x = node.tensor()
    shapes = [value for value in node.inputs[1:] if not isinstance(value, Tensor)]
    return [x.take(positions) for positions in node.evaluate(x.positions, *shapes)]


def _add(node: Node) -> Tensor:
    if node.attribute("broadcast"):
        raise UnsupportedError("the attribute broadcast of operator sets before 7")
    return sum_of(node.neurons, node.tensor(0), node.tensor(1))


def _subtract(node: Node) -> Tensor:
    return sum_of(node.neurons, node.tensor(0), node.tensor(1).scaled(-1.0))


def _sum(node: Node) -> Tensor:
    return _folded(node, sum_of)


def _folded(node: Node, pair: Callable[..., Tensor]) -> Tensor:
    operands = [node.tensor(k) for k in range(len(node.inputs))]
    return reduce(lambda left, right: pair(node.neurons, left, right), operands)


def _gemm(node: Node) -> Tensor:
    a, b = node.tensor(0), node.tensor(1)
    if node.attribute("transA", 0):
        a = a.take(a.positions.T)
    if node.attribute("transB", 0):
        b = b.take(b.positions.T)
    product = matmul(a, b)
    alpha, beta = node.attribute("alpha", 1.0), node.attribute("beta", 1.0)
    if alpha != 1.0:
        product = product.scaled(alpha)
    return sum_of(node.neurons, product, node.tensor(2).scaled(beta)) if node.has(2) else product


def _batch_norm(node: Node) -> Tensor:
    if node.attribute("training_mode", 0) or not node.attribute("spatial", 1):
        raise UnsupportedError("only inference with one mean and variance per channel")
    scale, shift, mean, variance = (node.constant(k) for k in (1, 2, 3, 4))
    factor = scale / np.sqrt(variance + node.attribute("epsilon", _EPSILON))
    return normalise(node.tensor(), factor, shift - mean * factor)


def _clip(node: Node) -> Tensor:
    lower = node.number(1) if node.has(1) else node.attribute("min", -np.inf)
    upper = node.number(2) if node.has(2) else node.attribute("max", np.inf)
    return clip(node.neurons, node.tensor(), lower, upper)


def _cast(node: Node) -> Tensor:
    target = onnx.TensorProto.DataType.Name(node.attribute("to", 1))
    if target not in FLOATS:
        raise UnsupportedError(f"a cast to {target} is not affine")
    return node.tensor()


def _dropout(node: Node) -> Tensor:
    if node.has(2) and node.number(2):
        raise UnsupportedError("only inference: training_mode is true")
    return node.tensor()


def _concat(node: Node) -> Tensor:
    tensors = [node.tensor(k) for k in range(len(node.inputs))]
    return concatenate(tensors, node.attribute("axis", 1))


def _pad(node: Node) -> Tensor:
    mode = node.attribute("mode", "constant")
    if mode not in ("constant", "reflect", "edge", "wrap"):
        raise ProblemError(f"expected a known padding mode, found {mode!r}")
    x = node.tensor()
    pads = node.integers(1) if node.has(1) else list(node.attribute("pads"))
    fill = node.constant(2).item() if node.has(2) else node.attribute("value", 0.0)
    axes = (node.integers(3) if node.has(3) else None) or list(range(len(x.shape)))
    widths = dict(zip(axes, zip(pads[: len(axes)], pads[len(axes) :], strict=True), strict=True))
    positions = x.positions
    for axis, (begin, end) in widths.items():
        positions = _padded(np.moveaxis(positions, axis, 0), begin, end, mode)
        positions = np.moveaxis(positions, 0, axis)
    return x.take(positions, fill=fill)


def _padded(positions: Integers, begin: int, end: int, mode: str) -> Integers:
    """Pad the first axis; a negative width removes elements."""
    kept = positions[max(-begin, 0) : len(positions) - max(-end, 0)]
    width = [(max(begin, 0), max(end, 0)), *((0, 0) for _ in positions.shape[1:])]
    length = len(kept) + sum(width[0])
    check_size(length * prod(kept.shape[1:]), "elements in a tensor", ELEMENTS)
    if mode == "constant":
        return np.pad(kept, width, constant_values=-1)
    return np.pad(kept, width, mode=mode)  # type: ignore[call-overload,no-any-return]


def _reduced(x: Tensor, node: Node, reduction: Callable[[Tensor, Sequence[int]], Tensor]) -> Tensor:
    axes = node.axes(1)
    if not axes and node.attribute("noop_with_empty_axes", 0):
        return x
    axes = [axis % len(x.shape) for axis in axes or range(len(x.shape))]
    result = reduction(x, axes)
    if node.attribute("keepdims", 1):
        return result
    return result.reshape([size for k, size in enumerate(result.shape) if k not in axes])


def _spatial(x: Tensor) -> list[int]:
    return list(range(2, len(x.shape)))


_BUILT_IN: Final[dict[str, Callable[[Node], Tensor]]] = {
    "Abs": lambda node: leaky(node.neurons, node.tensor(), -1.0),
    "Add": _add,
    "AveragePool": average_pool,
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": _concat,
    "Conv": conv,
    "Div": lambda node: node.tensor().divided(node.constant(1)),
    "Dropout": _dropout,
    "Gemm": _gemm,
    "GlobalAveragePool": lambda node: reduce_sum(node.tensor(), _spatial(node.tensor()), mean=True),
    "GlobalMaxPool": lambda node: reduce_max(node.neurons, node.tensor(), _spatial(node.tensor())),
    "LeakyRelu": lambda node: leaky(node.neurons, node.tensor(), node.attribute("alpha", _ALPHA)),
    "MatMul": lambda node: matmul(node.tensor(0), node.tensor(1)),
    "Max": lambda node: _folded(node, maximum),
    "MaxPool": max_pool,
    "Min": lambda node: _folded(node, minimum),
    "Mul": lambda node: multiply(node.tensor(0), node.tensor(1)),
    "Neg": lambda node: node.tensor().scaled(-1.0),
    "PRelu": lambda node: leaky(node.neurons, node.tensor(), node.constant(1)),
    "Pad": _pad,
    "ReduceMax": lambda node: _reduced(
        node.tensor(), node, lambda x, axes: reduce_max(node.neurons, x, axes)
    ),
    "ReduceMean": lambda node: _reduced(
        node.tensor(), node, lambda x, axes: reduce_sum(x, axes, mean=True)
    ),
    "ReduceSum": lambda node: _reduced(node.tensor(), node, reduce_sum),
    "Relu": lambda node: node.neurons.activate(node.tensor()),
    "Sub": _subtract,
    "Sum": _sum,
}
_MOVED: Final = (
    "DepthToSpace Expand Flatten Gather Identity Reshape Slice SpaceToDepth Split Squeeze Tile "
    "Transpose Unsqueeze"
)
_MOVES: Final = tuple(_MOVED.split())
OPERATORS: Final[Registry[Callable[[Node], Tensor]]] = Registry("ONNX operator", _BUILT_IN.items())
"""What each operator does; operators of other domains are called ``domain::name``."""


def supported() -> tuple[str, ...]:
    """Return the names of all operators that may depend on the input, and of constants."""
    return tuple(sorted([*OPERATORS, *_MOVES, "Constant", "Shape"]))
