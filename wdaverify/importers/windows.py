r"""Sliding windows by index arithmetic: convolution and pooling as one sparse matrix.

Window ``o`` of an axis touches the places :math:`o\,s + j\,d - b` for ``j`` in the kernel, with
stride ``s``, dilation ``d`` and ``b`` places of padding in front; outside the axis lies padding.
"""

from collections.abc import Sequence
from math import ceil, prod
from typing import Final, Literal, NamedTuple

import numpy as np

from wdaverify.arrays import Bools, Floats, Integers
from wdaverify.errors import ProblemError
from wdaverify.importers.entries import ELEMENTS, check_size
from wdaverify.importers.tensor import Tensor

__all__ = ["Axis", "average_pool", "convolve", "padded_counts", "same_padding", "valid_counts"]


PLACES: Final = 2**24
"""Most places in all windows of one channel (ImageNet's first layer has 2.4 million)."""


class Axis(NamedTuple):
    """One spatial axis and the windows that slide along it."""

    size: int
    kernel: int
    stride: int = 1
    dilation: int = 1
    begin: int = 0
    """Padding in front."""
    end: int = 0
    """Padding behind."""
    rounding: Literal["floor", "ceil"] = "floor"
    """``ceil`` admits a last window that reaches beyond the padding behind."""

    @property
    def outputs(self) -> int:
        """Number of windows.

        Raises
        ------
        ProblemError
            Parameters that admit no window.
        """
        span = (self.kernel - 1) * self.dilation + 1
        room = self.size + self.begin + self.end - span
        positive = min(self.size, self.kernel, self.stride, self.dilation) > 0
        if not positive or min(self.begin, self.end, room) < 0:
            raise ProblemError(f"no window fits: {self}")
        if self.rounding == "floor":
            return room // self.stride + 1
        count = ceil(room / self.stride) + 1
        # a window that would start in the padding behind is left out
        return count - ((count - 1) * self.stride >= self.size + self.begin)

    @property
    def places(self) -> Integers:
        """Place of each kernel element of each window, ``(outputs, kernel)``; may lie outside."""
        check_size(self.outputs * self.kernel, "places in the windows of one axis", PLACES)
        start = np.arange(self.outputs, dtype=np.int64) * self.stride - self.begin
        return start[:, None] + np.arange(self.kernel, dtype=np.int64) * self.dilation

    @property
    def inside(self) -> Bools:
        """Which places are not padding, ``(outputs, kernel)``."""
        return (self.places >= 0) & (self.places < self.size)


def same_padding(size: int, kernel: int, stride: int, dilation: int) -> int:
    """Return the total padding with which ``ceil(size / stride)`` windows fit."""
    span = (kernel - 1) * dilation + 1
    return max((ceil(size / stride) - 1) * stride + span - size, 0)


def convolve(
    x: Tensor, weight: Floats, bias: Floats | None, axes: Sequence[Axis], groups: int
) -> Tensor:
    """Return the convolution of ``x (1, C, *sizes)`` with ``weight (O, C / groups, *kernel)``.

    Raises
    ------
    ProblemError
        Shapes that do not match.
    """
    outputs, depth = weight.shape[:2]
    channels = _channels(x, axes)
    if groups < 1 or channels != groups * depth or outputs % groups:
        raise ProblemError(
            f"no convolution of shape {x.shape} with weights {weight.shape} in {groups} group(s)"
        )
    window = _windows(axes)  # (P, J)
    check_size(outputs * len(window), "elements in a tensor", ELEMENTS)
    check_size(outputs * depth * window.size, "products in one convolution")
    area = prod(axis.size for axis in axes)
    group = np.arange(outputs, dtype=np.int64) // (outputs // groups)
    channel = group[:, None] * depth + np.arange(depth)  # (O, D): input channels of an output
    full = (outputs, len(window), depth, window.shape[1])
    rows = np.arange(outputs * len(window), dtype=np.int64).reshape(full[:2])[:, :, None, None]
    inner = channel[:, None, :, None] * area + np.maximum(window, 0)[:, None, :]
    factors = weight.reshape(outputs, 1, depth, -1)
    inside = np.broadcast_to((window >= 0)[:, None, :], full)
    r, i, f = (np.broadcast_to(a, full)[inside] for a in (rows, inner, factors))
    shape = (1, outputs, *(axis.outputs for axis in axes))
    result = x.combine(shape, r, i, f)
    if bias is None:
        return result
    if bias.shape != (outputs,):
        raise ProblemError(f"expected {outputs} biases, found shape {bias.shape}")
    return Tensor(shape, result.entries, result.offset + np.repeat(bias, len(window)))


def average_pool(x: Tensor, axes: Sequence[Axis], counts: Integers) -> Tensor:
    """Return the sum of each window of ``x (1, C, *sizes)`` divided by its entry of ``counts``."""
    channels = _channels(x, axes)
    window = _windows(axes)
    check_size(channels * window.size, "terms in one pooling")
    area = prod(axis.size for axis in axes)
    full = (channels, *window.shape)
    rows = np.arange(channels * len(window), dtype=np.int64).reshape(full[:2])[:, :, None]
    inner = np.arange(channels, dtype=np.int64)[:, None, None] * area + np.maximum(window, 0)
    if not counts.all():
        raise ProblemError(f"a window of {axes} has nothing to average")
    factors = (1.0 / counts)[:, None]
    inside = np.broadcast_to(window >= 0, full)
    r, i, f = (np.broadcast_to(a, full)[inside] for a in (rows, inner, factors))
    return x.combine((1, channels, *(axis.outputs for axis in axes)), r, i, f)


def valid_counts(axes: Sequence[Axis]) -> Integers:
    """Return how many elements of each window are not padding, ``(P,)``."""
    return _product([axis.inside.sum(axis=1) for axis in axes])


def padded_counts(axes: Sequence[Axis]) -> Integers:
    """Return how many elements of each window lie in the padded tensor, ``(P,)``.

    Only a window that reaches beyond the padding behind (``ceil``) has fewer than the kernel.
    """
    return _product([(axis.places < axis.size + axis.end).sum(axis=1) for axis in axes])


def _product(counts: Sequence[Integers]) -> Integers:
    total = np.ones(1, dtype=np.int64)
    for count in counts:
        total = (total[:, None] * count).ravel()
    return total


def _windows(axes: Sequence[Axis]) -> Integers:
    """Flat spatial position of each element of each window, -1 for padding, ``(P, J)``."""
    windows = np.zeros((1, 1), dtype=np.int64)
    for axis in axes:
        places = np.where(axis.inside, axis.places, -1)
        count = len(windows) * len(places) * windows.shape[1] * axis.kernel
        check_size(count, "places in the windows", PLACES)
        flat = windows[:, None, :, None] * axis.size + places[:, None, :]
        outside = (windows < 0)[:, None, :, None] | (places < 0)[:, None, :]
        windows = np.where(outside, -1, flat).reshape(len(windows) * len(places), -1)
    return windows


def _channels(x: Tensor, axes: Sequence[Axis]) -> int:
    if len(x.shape) != len(axes) + 2 or x.shape[0] != 1:
        raise ProblemError(
            f"expected shape (1, channels) and {len(axes)} spatial axes, found {x.shape}"
        )
    return x.shape[1]
