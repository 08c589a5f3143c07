"""Convolution and pooling of ONNX: the attributes that describe the windows."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from wdaverify.errors import ProblemError
from wdaverify.importers import piecewise, windows
from wdaverify.importers.onnx_node import Node
from wdaverify.importers.tensor import Tensor

__all__ = ["average_pool", "conv", "max_pool"]


def conv(node: Node) -> Tensor:
    """Return the output of Conv."""
    x, weight = node.tensor(), node.constant(1)
    kernel = weight.shape[2:]
    if tuple(node.attribute("kernel_shape", kernel)) != kernel:
        raise ProblemError(f"kernel_shape differs from the weights' shape {weight.shape}")
    bias = node.constant(2) if node.has(2) else None
    return windows.convolve(x, weight, bias, _axes(node, x, kernel), node.attribute("group", 1))


def average_pool(node: Node) -> Tensor:
    """Return the output of AveragePool."""
    x = node.tensor()
    axes = _axes(node, x, node.attribute("kernel_shape"))
    padded = node.attribute("count_include_pad", 0)
    counts = windows.padded_counts(axes) if padded else windows.valid_counts(axes)
    return windows.average_pool(x, axes, counts)


def max_pool(node: Node) -> Tensor:
    """Return the first output of MaxPool."""
    x = node.tensor()
    return piecewise.max_pool(node.neurons, x, _axes(node, x, node.attribute("kernel_shape")))


def _axes(node: Node, x: Tensor, kernel: Sequence[int]) -> list[windows.Axis]:
    rank = len(kernel)
    sizes = x.shape[2:]
    ones, nothing = [1] * rank, [0] * (2 * rank)
    strides = node.attribute("strides", ones)
    dilations = node.attribute("dilations", ones)
    auto_pad = node.attribute("auto_pad", "NOTSET")
    pads = list(node.attribute("pads", nothing)) if auto_pad == "NOTSET" else nothing
    if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        spans = zip(sizes, kernel, strides, dilations, strict=True)
        excess = np.array([windows.same_padding(*span) for span in spans])
        less, more = excess // 2, excess - excess // 2
        halves = (less, more) if auto_pad == "SAME_UPPER" else (more, less)
        pads = [int(pad) for half in halves for pad in half]
    elif auto_pad not in ("NOTSET", "VALID"):
        raise ProblemError(f"expected a known auto_pad, found {auto_pad!r}")
    rounding: Literal["floor", "ceil"] = "ceil" if node.attribute("ceil_mode", 0) else "floor"
    numbers = zip(sizes, kernel, strides, dilations, pads[:rank], pads[rank:], strict=True)
    return [
        windows.Axis(size, length, stride, dilation, begin, end, rounding)
        for size, length, stride, dilation, begin, end in numbers
    ]
