"""Symbolic tensors and their arrangement in layers, against numpy on numbers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wdaverify.errors import ProblemError, UnsupportedError
from wdaverify.importers.entries import Entries
from wdaverify.importers.layers import arrange
from wdaverify.importers.linear import matmul, multiply
from wdaverify.importers.neurons import Neurons
from wdaverify.importers.piecewise import clip, leaky, maximum, minimum, reduce_max, sum_of
from wdaverify.importers.tensor import Tensor, add, concatenate

FEATURES = 4


def constant(rng, *shape):
    return rng.normal(size=shape)


def linear(rng, neurons, a, x):
    W = constant(rng, a.size, 3)
    return matmul(a, Tensor.constant(W)), x @ W


def shift(rng, neurons, a, x):
    c = constant(rng, a.size)
    return add(a, Tensor.constant(c)), x + c


def scale(rng, neurons, a, x):
    c = constant(rng, a.size)
    return a.scaled(c), x * c


def relu(rng, neurons, a, x):
    return neurons.activate(a), np.maximum(x, 0)


def leak(rng, neurons, a, x):
    slope = 2 * rng.uniform()
    return leaky(neurons, a, slope), np.maximum(x, 0) + slope * np.minimum(x, 0)


def cut(rng, neurons, a, x):
    limit = rng.uniform()
    return clip(neurons, a, -limit, limit), np.clip(x, -limit, limit)


def pick(rng, neurons, a, x):
    index = rng.integers(-1, a.size, size=5)
    return a.take(index, fill=0.5), np.where(index < 0, 0.5, x[:, index])


def largest(rng, neurons, a, x):
    return reduce_max(neurons, a, [0]), x.max(axis=1, keepdims=True)


def joined(neurons, a, b):
    return concatenate([a, b], 0)


UNARY = [linear, shift, scale, relu, leak, cut, pick, largest]
BINARY = {
    joined: lambda x, y: np.concatenate([x, y], axis=1),
    maximum: np.maximum,
    minimum: np.minimum,
    sum_of: np.add,
}


def step(kind, rng, neurons, pool):
    """One more pair of a symbolic tensor ``(m,)`` and its values ``(N, m)``."""
    (a, x), (b, y) = (pool[rng.integers(len(pool))] for _ in range(2))
    if kind in UNARY:
        return kind(rng, neurons, a, x)
    first = np.arange(min(a.size, b.size))
    return kind(neurons, a.take(first), b.take(first)), BINARY[kind](x[:, first], y[:, first])


KINDS = [*UNARY, *BINARY]


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.sampled_from(KINDS), min_size=1, max_size=9))
def test_any_graph_becomes_the_same_function(seed, kinds):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(15, FEATURES))
    neurons = Neurons(FEATURES)
    pool = [(neurons.inputs((FEATURES,)), points)]
    for kind in kinds:
        pool.append(step(kind, rng, neurons, pool))
    output, expected = pool[-1]
    if output.size < 2:
        output, expected = concatenate([output, output], 0), np.repeat(expected, 2, axis=1)
    network = arrange(neurons, output)
    tolerance = 1e-12 * max(1.0, np.abs(expected).max())
    np.testing.assert_allclose(network.logits(points), expected, rtol=0, atol=tolerance)
    assert all(np.all((s >= 0) & (s <= 1)) for s in network.slopes)


def test_neurons_are_carried_only_as_far_as_needed():
    neurons = Neurons(2)
    x = neurons.inputs((2,))
    h = neurons.activate(x)
    g = neurons.activate(neurons.activate(h))
    neurons.activate(x)  # nobody asks for these
    network = arrange(neurons, concatenate([add(g, x), h], 0))
    assert network.widths == (4, 6, 6)
    assert [int(network_slopes.sum()) for network_slopes in network.slopes] == [2, 4, 4]


def test_elements_that_are_constant_make_no_neurons():
    neurons = Neurons(2)
    x = neurons.inputs((2,)).take(np.array([-1, 0, 1, -1]), fill=-2.0)
    h = neurons.activate(x, 0.5)
    np.testing.assert_array_equal(h.offset, [-1, 0, 0, -1])
    assert arrange(neurons, h).widths == (2,)


def test_weights_that_are_zero_stay():
    neurons = Neurons(3)
    W = np.zeros((3, 2))
    h = neurons.activate(matmul(neurons.inputs((3,)), Tensor.constant(W)))
    network = arrange(neurons, matmul(h, Tensor.constant(np.zeros((2, 2)))))
    assert network.widths == (2,)


def test_an_increasing_function_commutes_with_the_maximum():
    neurons = Neurons(4)
    largest = reduce_max(neurons, neurons.activate(neurons.inputs((1, 4)), 0.25), [1])
    network = arrange(neurons, concatenate([largest, largest], 0))
    splits = [int((slopes < 1).sum()) for slopes in network.slopes]
    assert splits == [2, 1, 1]  # three comparisons of inputs, then the activation
    assert network.slopes[-1][0] == 0.25


def test_a_different_order_of_summation_is_the_only_freedom():
    rng = np.random.default_rng(0)
    A, B = rng.normal(size=(30, 40)), rng.normal(size=(40, 50))
    rows, inner = (k.ravel() for k in np.indices(A.shape))
    middle, columns = (k.ravel() for k in np.indices(B.shape))
    product = Entries.collect(middle, columns, B.ravel()).combine(rows, inner, A.ravel())
    np.testing.assert_allclose(product.values.reshape(30, 50), A @ B, rtol=1e-13, atol=1e-13)
    narrow = Entries.collect(middle, columns % 2, B.ravel()).combine(rows, inner, A.ravel())
    expected = A @ np.stack([B[:, ::2].sum(axis=1), B[:, 1::2].sum(axis=1)], axis=1)
    np.testing.assert_allclose(narrow.values.reshape(30, 2), expected, rtol=1e-12, atol=1e-12)


def test_what_is_not_affine_or_too_large():
    x = Neurons(3).inputs((3,))
    with pytest.raises(UnsupportedError, match="not affine"):
        multiply(x, x)
    with pytest.raises(UnsupportedError, match="not affine"):
        matmul(x, x)
    with pytest.raises(ProblemError, match="division by zero"):
        x.divided([1.0, 0.0, 2.0])
    with pytest.raises(UnsupportedError, match="at most"):
        x.take(np.broadcast_to(np.int64(0), (2**27,)))


def test_layers_that_do_not_fit_in_memory():
    neurons = Neurons(40_000)
    h = neurons.activate(neurons.inputs((40_000,)))
    with pytest.raises(UnsupportedError, match="dense layers"):
        arrange(neurons, h)


def test_different_functions_do_not_commute_with_the_maximum():
    neurons = Neurons(2)
    h = neurons.activate(neurons.inputs((1, 2)), [0.8, 0.2])
    network = arrange(neurons, concatenate([reduce_max(neurons, h, [1]), h], 1))
    points = np.random.default_rng(0).normal(size=(20, 2))
    leak = np.maximum(points, 0) + [0.8, 0.2] * np.minimum(points, 0)
    expected = np.concatenate([leak.max(axis=1, keepdims=True), leak], axis=1)
    np.testing.assert_allclose(network.logits(points), expected, atol=1e-15)
