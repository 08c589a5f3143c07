"""Convolution and pooling of ATen: arguments that may be one number for all axes."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import numpy as np

from wdaverify.errors import ProblemError, UnsupportedError
from wdaverify.importers import piecewise, windows
from wdaverify.importers.tensor import Tensor
from wdaverify.importers.torch_call import Call

__all__ = ["adaptive_average_pool", "average_pool", "convolve", "max_pool"]


def convolve(call: Call) -> Tensor:
    """Return the output of ``aten::conv1d`` and its relatives; the weights give the rank.

    Raises
    ------
    UnsupportedError
        A transposed convolution.
    """
    if call.get("transposed", default=False):
        raise UnsupportedError("a transposed convolution")
    weight = call.constant("weight")
    bias = None if call.get("bias") is None else call.constant("bias")
    kernel = weight.shape[2:]
    dilations = _each(call.get("dilation"), len(kernel))
    padding = call.get("padding")
    if padding == "same":
        spans = [(size - 1) * dilation for size, dilation in zip(kernel, dilations, strict=True)]
        begins, ends = [span // 2 for span in spans], [span - span // 2 for span in spans]
    else:
        begins = ends = _each(0 if padding == "valid" else padding, len(kernel))
    strides = _each(call.get("stride"), len(kernel))

    def convolved(x: Tensor) -> Tensor:
        numbers = (x.shape[2:], kernel, strides, dilations, begins, ends)
        axes = [windows.Axis(*six) for six in zip(*numbers, strict=True)]
        return windows.convolve(x, weight, bias, axes, call.get("groups"))

    return _batched(call.operand("input"), len(kernel), convolved)


def average_pool(call: Call, rank: int) -> Tensor:
    """Return the output of ``aten::avg_pool1d`` and its relatives."""

    def pooled(x: Tensor) -> Tensor:
        axes = _pool_axes(call, x)
        padded = call.get("count_include_pad")
        counts = windows.padded_counts(axes) if padded else windows.valid_counts(axes)
        divisor = call.get("divisor_override")
        counts = counts if divisor is None else np.full_like(counts, divisor)
        return windows.average_pool(x, axes, counts)

    return _batched(call.operand("self"), rank, pooled)


def adaptive_average_pool(call: Call, rank: int) -> Tensor:
    """Return the output of ``aten::adaptive_avg_pool1d`` and its relatives.

    Raises
    ------
    UnsupportedError
        The output sizes do not divide the input sizes.
    """

    def pooled(x: Tensor) -> Tensor:
        sizes = x.shape[2:]
        outputs = [
            size if output is None else output
            for size, output in zip(sizes, _each(call.get("output_size"), rank), strict=True)
        ]
        if any(k < 1 or size % k for size, k in zip(sizes, outputs, strict=True)):
            raise UnsupportedError(
                f"adaptive pooling from {sizes} to {tuple(outputs)}: expected sizes that divide"
            )
        lengths = [size // k for size, k in zip(sizes, outputs, strict=True)]
        axes = [
            windows.Axis(size, length, length) for size, length in zip(sizes, lengths, strict=True)
        ]
        return windows.average_pool(x, axes, windows.valid_counts(axes))

    return _batched(call.operand("self"), rank, pooled)


def max_pool(call: Call, rank: int) -> Tensor:
    """Return the output of ``aten::max_pool1d`` and its relatives."""

    def pooled(x: Tensor) -> Tensor:
        return piecewise.max_pool(call.neurons, x, _pool_axes(call, x))

    return _batched(call.operand("self"), rank, pooled)


def _pool_axes(call: Call, x: Tensor) -> list[windows.Axis]:
    sizes = x.shape[2:]
    each = partial(_each, rank=len(sizes))
    kernel = each(call.get("kernel_size"))
    strides = each(call.get("stride")) if call.get("stride") else kernel
    padding, dilations = each(call.get("padding")), each(call.get("dilation", 1))
    rounding: Literal["floor", "ceil"] = "ceil" if call.get("ceil_mode") else "floor"
    numbers = zip(sizes, kernel, strides, dilations, padding, strict=True)
    return [
        windows.Axis(size, length, stride, dilation, pad, pad, rounding)
        for size, length, stride, dilation, pad in numbers
    ]


def _each(value: int | Sequence[int], rank: int) -> list[int]:
    numbers = [value] if isinstance(value, int) else list(value)
    return numbers * rank if len(numbers) == 1 else numbers


def _batched(x: Tensor, rank: int, operation: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply to ``(1, C, *sizes)`` what torch also allows on ``(C, *sizes)``."""
    if len(x.shape) == rank + 2:
        return operation(x)
    if len(x.shape) != rank + 1:
        raise ProblemError(f"expected {rank} spatial axes, found shape {x.shape}")
    result = operation(x.reshape((1, *x.shape)))
    return result.reshape(result.shape[1:])
