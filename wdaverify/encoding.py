"""Values as bytes and back, to the last bit: JSON for the shape, raw numbers for the arrays.

Nothing in the bytes is ever run: named types are those that the reader knows.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Types", "decode", "encode"]

LENGTH = struct.Struct("<I")
NUMBERS = ("<f8", "<f4", "<i8", "|b1", "|u1", "|i1")
"""Types of numbers in arrays."""

Array = npt.NDArray[Any]
Types = Mapping[str, type]


def encode(value: Any, types: Types) -> bytes:  # noqa: ANN401  (whatever an engine answers)
    """Return numbers, strings, arrays, lists, tuples and instances of known types as bytes.

    Parameters
    ----------
    types
        Named tuples and dataclasses by name.

    Raises
    ------
    TypeError
        Anything else.
    """
    arrays: list[Array] = []
    tree = json.dumps(_tree(value, types, arrays), separators=(",", ":")).encode()
    return b"".join([LENGTH.pack(len(tree)), tree, *(array.tobytes() for array in arrays)])


def decode(data: bytes, types: Types) -> Any:  # noqa: ANN401
    """Return what was encoded.

    Raises
    ------
    ValueError
        The bytes mean nothing.
    """
    try:
        (length,) = LENGTH.unpack_from(data)
        end = LENGTH.size + length
        reader = _Reader(data, end, types)
        value = reader.value(json.loads(data[LENGTH.size : end].decode()))
    except (struct.error, TypeError, KeyError, IndexError, RecursionError) as error:
        raise ValueError(f"expected an encoded value, found: {error}") from error
    if reader.place != len(data):
        raise ValueError(f"expected {reader.place} bytes, found {len(data)}")
    return value


def _tree(value: Any, types: Types, arrays: list[Array]) -> Any:  # noqa: ANN401
    if isinstance(value, np.ndarray):
        kind = value.dtype.newbyteorder("<").str
        if kind not in NUMBERS:
            raise TypeError(f"expected an array of numbers, found {value.dtype}")
        arrays.append(value.astype(kind, copy=False))
        return {"array": kind, "shape": list(value.shape)}
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or type(value) in (bool, int, float, str):
        return value
    name = type(value).__name__
    if types.get(name) is type(value):
        parts = _parts(value)
        return {"type": name, "of": [_tree(part, types, arrays) for part in parts]}
    if type(value) in (list, tuple):
        return {name: [_tree(part, types, arrays) for part in value]}
    raise TypeError(f"expected a value of a known type, found {name}")


def _parts(value: Any) -> list[Any]:  # noqa: ANN401
    if isinstance(value, tuple):
        return list(value)
    assert is_dataclass(value)
    return [getattr(value, field.name) for field in fields(value)]


class _Reader:
    """Reads values; arrays lie one after the other behind the tree."""

    def __init__(self, data: bytes, place: int, types: Types) -> None:
        self.data, self.place, self.types = data, place, types

    def value(self, tree: Any) -> Any:  # noqa: ANN401
        if not isinstance(tree, dict):
            return tree
        if "array" in tree:
            return self._array(tree["array"], tree["shape"])
        if "type" in tree:
            return self.types[tree["type"]](*map(self.value, tree["of"]))
        (name, parts), *_ = tree.items()
        return {"list": list, "tuple": tuple}[name](map(self.value, parts))

    def _array(self, kind: str, shape: list[int]) -> Array:
        if kind not in NUMBERS or any(type(k) is not int or k < 0 for k in shape):
            raise ValueError(f"expected an array of numbers, found {kind} of shape {shape}")
        dtype = np.dtype(kind)
        size = prod(shape) * dtype.itemsize
        if size > len(self.data) - self.place:
            raise ValueError(f"expected {size} bytes for shape {shape}")
        found = np.frombuffer(self.data, dtype, prod(shape), self.place).reshape(shape).copy()
        self.place += size
        return found
