"""Index arithmetic of convolution and pooling against torch in float64."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.nn import functional

from wdaverify.errors import ProblemError
from wdaverify.importers.layers import arrange
from wdaverify.importers.neurons import Neurons
from wdaverify.importers.piecewise import max_pool
from wdaverify.importers.tensor import Tensor
from wdaverify.importers.windows import (
    Axis,
    average_pool,
    convolve,
    padded_counts,
    same_padding,
    valid_counts,
)


@st.composite
def axis(draw):
    kernel, dilation = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    pad = draw(st.integers(0, kernel // 2))
    size = draw(st.integers(max(1, (kernel - 1) * dilation + 1 - 2 * pad), 7))
    stride = draw(st.integers(1, 3))
    return Axis(size, kernel, stride, dilation, pad, pad, draw(st.sampled_from(["floor", "ceil"])))


AXES = st.tuples(axis(), axis())


def each(axes, name):
    return tuple(getattr(axis, name) for axis in axes)


def evaluated(neurons, tensor, points):
    """Evaluate a tensor through the layered network, ``(N, size)``."""
    twice = tensor.take(np.tile(np.arange(tensor.size), 2))  # a network has two logits or more
    return arrange(neurons, twice).logits(points)[:, : tensor.size]


def image(channels, axes, seed):
    shape = (1, channels, *each(axes, "size"))
    points = np.random.default_rng(seed).normal(size=(3, int(np.prod(shape))))
    neurons = Neurons(points.shape[1])
    return neurons, neurons.inputs(shape), points, torch.from_numpy(points).reshape(3, *shape[1:])


def agree(found, expected, tensor):
    assert tensor.shape[1:] == tuple(expected.shape[1:])
    np.testing.assert_allclose(found, expected.flatten(1).numpy(), rtol=0, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(AXES, st.sampled_from([1, 2]), st.integers(0, 99))
def test_convolution(axes, groups, seed):
    axes = [axis._replace(rounding="floor") for axis in axes]
    neurons, x, points, samples = image(2 * groups, axes, seed)
    rng = np.random.default_rng(seed + 1)
    weight, bias = rng.normal(size=(4, 2, *each(axes, "kernel"))), rng.normal(size=4)
    y = convolve(x, weight, bias, axes, groups)
    expected = functional.conv2d(
        samples,
        torch.from_numpy(weight),
        torch.from_numpy(bias),
        each(axes, "stride"),
        each(axes, "begin"),
        each(axes, "dilation"),
        groups,
    )
    agree(evaluated(neurons, y, points), expected, y)


@settings(max_examples=60, deadline=None)
@given(AXES, st.booleans(), st.integers(0, 99))
def test_average(axes, padded, seed):
    rounding = axes[0].rounding
    axes = [axis._replace(rounding=rounding, dilation=1) for axis in axes]
    neurons, x, points, samples = image(2, axes, seed)
    counts = padded_counts(axes) if padded else valid_counts(axes)
    y = average_pool(x, axes, counts)
    expected = functional.avg_pool2d(
        samples,
        each(axes, "kernel"),
        each(axes, "stride"),
        each(axes, "begin"),
        ceil_mode=rounding == "ceil",
        count_include_pad=padded,
    )
    agree(evaluated(neurons, y, points), expected, y)


@settings(max_examples=60, deadline=None)
@given(AXES, st.booleans(), st.integers(0, 99))
def test_maximum(axes, rectified, seed):
    rounding = axes[0].rounding
    axes = [axis._replace(rounding=rounding) for axis in axes]
    # with dilation a last window may lie beyond the end, where torch answers minus infinity
    assume(all(axis.inside.any(axis=1).all() for axis in axes))
    neurons, x, points, samples = image(2, axes, seed)
    if rectified:
        x, samples = neurons.activate(x), functional.relu(samples)
    y = max_pool(neurons, x, axes)
    expected = functional.max_pool2d(
        samples,
        each(axes, "kernel"),
        each(axes, "stride"),
        each(axes, "begin"),
        each(axes, "dilation"),
        ceil_mode=rounding == "ceil",
    )
    agree(evaluated(neurons, y, points), expected, y)


@pytest.mark.parametrize("size", range(1, 9))
@pytest.mark.parametrize(("kernel", "stride", "dilation"), [(1, 1, 1), (3, 2, 1), (2, 3, 2)])
def test_same_padding_makes_one_window_per_stride(size, kernel, stride, dilation):
    total = same_padding(size, kernel, stride, dilation)
    axis = Axis(size, kernel, stride, dilation, total // 2, total - total // 2)
    assert axis.outputs == -(-size // stride)


@pytest.mark.parametrize(
    "axis",
    [Axis(3, 4), Axis(3, 2, dilation=3), Axis(3, 0), Axis(3, 2, 0), Axis(3, 2, begin=-1)],
)
def test_axis_without_windows(axis):
    with pytest.raises(ProblemError, match="no window fits"):
        _ = axis.outputs


def test_windows_in_the_padding():
    axes = [Axis(3, 1, begin=1)]
    neurons = Neurons(3)
    x = neurons.inputs((1, 1, 3))
    with pytest.raises(ProblemError, match="in the padding"):
        max_pool(neurons, x, axes)
    with pytest.raises(ProblemError, match="nothing to average"):
        average_pool(x, axes, valid_counts(axes))


def test_shapes_that_do_not_fit():
    x = Tensor.constant(np.zeros((1, 3, 4)))
    with pytest.raises(ProblemError, match="no convolution"):
        convolve(x, np.zeros((2, 2, 2)), None, [Axis(4, 2)], 1)
    with pytest.raises(ProblemError, match="no convolution"):
        convolve(x, np.zeros((2, 1, 2)), None, [Axis(4, 2)], 3)
    with pytest.raises(ProblemError, match="biases"):
        convolve(x, np.zeros((2, 3, 2)), np.zeros(3), [Axis(4, 2)], 1)
    with pytest.raises(ProblemError, match="spatial axes"):
        convolve(x, np.zeros((2, 3, 2, 2)), None, [Axis(4, 2), Axis(4, 2)], 1)
