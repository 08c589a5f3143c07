"""Values as bytes: equal to the last bit, and bytes that mean nothing are refused."""

import math
import pickle
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from wdaverify.encoding import decode, encode


class Pair(NamedTuple):
    first: object
    second: object


TYPES = {"Pair": Pair}
numbers = st.sampled_from([np.float64, np.int64, np.bool_, np.float32])
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | numbers.flatmap(lambda kind: arrays(kind, array_shapes(min_dims=0, min_side=0)))
)
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.builds(Pair, inner, inner)
    ),
    max_leaves=6,
)


def same(a, b):
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and math.isnan(a):
        return isinstance(b, float) and math.isnan(b)
    return (
        type(a) is type(b) and a == b and math.copysign(1, a or 0.0) == math.copysign(1, b or 0.0)
        if isinstance(a, float)
        else a == b
    )


@given(values)
def test_what_is_encoded_comes_back(value):
    assert same(value, decode(encode(value, TYPES), TYPES))


@given(values, st.data())
def test_what_is_cut_short_or_altered_is_refused_or_a_plain_value(value, data):
    content = bytearray(encode(value, TYPES))
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    for broken in (bytes(content), bytes(content[:-1])):
        try:
            decode(broken, TYPES)
        except ValueError:
            continue


@pytest.mark.parametrize(
    "value", [object(), {"a": 1}, np.array([object()]), b"bytes", {1}, np.array(["a"])]
)
def test_nothing_else_is_encoded(value):
    with pytest.raises(TypeError):
        encode(value, TYPES)


def test_other_bytes_are_refused():
    for content in (b"", b"abc", pickle.dumps([1]), encode(1, {}) + b"x"):
        with pytest.raises(ValueError):
            decode(content, {})
    with pytest.raises(ValueError):
        decode(encode(Pair(1, 2), TYPES), {})  # a type that the reader does not know
    huge = encode(np.zeros(3), {}).replace(b"[3]", b"[9]")
    with pytest.raises(ValueError, match="72 bytes"):
        decode(huge, {})
