r"""Symbolic tensors: affine functions of the neurons, :math:`t = E h + c`, with a shape.

Moving data about (reshape, transpose, slice, pad) is a choice of rows; a layer without activation
is a product with a constant matrix; two layers without an activation between them become one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import final

import numpy as np
import numpy.typing as npt

from wdaverify.arrays import Floats, Integers
from wdaverify.errors import ProblemError, UnsupportedError
from wdaverify.importers.entries import Entries, check_size

__all__ = ["Tensor", "add", "concatenate", "matmul", "multiply"]


@final
@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """An affine function of the neurons."""

    shape: tuple[int, ...]
    entries: Entries
    """Rows are the elements in C order, columns the neurons."""
    offset: Floats
    """Shape ``(size,)``."""

    @classmethod
    def constant(cls, values: npt.ArrayLike) -> "Tensor":
        """Return the tensor that does not depend on any neuron."""
        array = np.asarray(values, dtype=np.float64)
        return cls(array.shape, Entries(np.zeros(0, np.int64), np.zeros(0)), array.ravel())

    @property
    def size(self) -> int:
        """Number of elements."""
        return len(self.offset)

    @property
    def is_constant(self) -> bool:
        """Whether no element depends on a neuron."""
        return not len(self.entries)

    @property
    def is_selection(self) -> bool:
        """Whether every element is the value of one neuron, unchanged."""
        return (
            len(self.entries) == self.size
            and bool(np.all(self.entries.values == 1.0))
            and not self.offset.any()
            and bool(np.array_equal(self.entries.rows, np.arange(self.size)))
        )

    @property
    def positions(self) -> Integers:
        """The number of each element in C order, in the tensor's shape."""
        return np.arange(self.size, dtype=np.int64).reshape(self.shape)

    def reshape(self, shape: Sequence[int]) -> "Tensor":
        """Return the same elements in another shape."""
        return Tensor(self.positions.reshape(shape).shape, self.entries, self.offset)

    def take(self, positions: npt.NDArray[np.integer], *, fill: float = 0.0) -> "Tensor":
        """Return the elements at ``positions`` (any shape); -1 stands for the constant ``fill``."""
        index = positions.ravel().astype(np.int64)
        if np.array_equal(index, np.arange(self.size)):
            return Tensor(positions.shape, self.entries, self.offset)
        check_size(len(index), "elements in a tensor")
        rows = np.flatnonzero(index >= 0)
        entries = self.entries.combine(rows, index[rows], np.ones(len(rows)))
        offset = np.full(len(index), fill)
        offset[rows] = self.offset[index[rows]]
        return Tensor(positions.shape, entries, offset)

    def combine(
        self, shape: tuple[int, ...], rows: Integers, inner: Integers, factors: Floats
    ) -> "Tensor":
        """Return ``A @ self`` in ``shape``, where ``A[rows[t], inner[t]] += factors[t]``."""
        entries = self.entries.combine(rows, inner, factors)
        terms = factors * self.offset[inner]
        return Tensor(shape, entries, np.bincount(rows, terms, minlength=prod(shape)))

    def scaled(self, factor: npt.ArrayLike) -> "Tensor":
        """Return the elementwise product with a constant; NumPy broadcasting."""
        factors, tensor = _broadcast(np.asarray(factor, dtype=np.float64), self)
        values = tensor.entries.values * factors[tensor.entries.rows]
        return Tensor(tensor.shape, Entries(tensor.entries.keys, values), tensor.offset * factors)

    def divided(self, divisor: npt.ArrayLike) -> "Tensor":
        """Return the elementwise quotient by a constant (one rounding, not two).

        Raises
        ------
        ProblemError
            A divisor is zero.
        """
        divisors, tensor = _broadcast(np.asarray(divisor, dtype=np.float64), self)
        if not divisors.all():
            raise ProblemError("division by zero")
        values = tensor.entries.values / divisors[tensor.entries.rows]
        return Tensor(tensor.shape, Entries(tensor.entries.keys, values), tensor.offset / divisors)


def add(left: Tensor, right: Tensor) -> Tensor:
    """Return the elementwise sum; NumPy broadcasting."""
    shape = np.broadcast_shapes(left.shape, right.shape)
    a, b = (t.take(np.broadcast_to(t.positions, shape)) for t in (left, right))
    return Tensor(shape, a.entries.plus(b.entries), a.offset + b.offset)


def multiply(left: Tensor, right: Tensor) -> Tensor:
    """Return the elementwise product of two tensors, one of them constant.

    Raises
    ------
    UnsupportedError
        Neither is constant: the product is not piecewise affine.
    """
    if not right.is_constant:
        left, right = right, left
    if not right.is_constant:
        raise UnsupportedError("the product of two tensors that depend on the input is not affine")
    return left.scaled(right.offset.reshape(right.shape))


def concatenate(tensors: Sequence[Tensor], axis: int) -> Tensor:
    """Join tensors along an existing axis."""
    starts = np.cumsum([0, *(t.size for t in tensors)])
    stacked = Tensor(
        (int(starts[-1]),),
        Entries.collect(
            np.concatenate([t.entries.rows + k for t, k in zip(tensors, starts, strict=False)]),
            np.concatenate([t.entries.columns for t in tensors]),
            np.concatenate([t.entries.values for t in tensors]),
        ),
        np.concatenate([t.offset for t in tensors]),
    )
    parts = [t.positions + k for t, k in zip(tensors, starts, strict=False)]
    return stacked.take(np.concatenate(parts, axis=axis))


def matmul(left: Tensor, right: Tensor) -> Tensor:
    """Return the matrix product of two tensors, one of them constant, as ``numpy.matmul`` does.

    Raises
    ------
    ProblemError
        Shapes that do not match.
    UnsupportedError
        Neither is constant.
    """
    if not left.shape or not right.shape:
        raise ProblemError(f"no matrix product of shapes {left.shape} and {right.shape}")
    a = left.reshape((1, *left.shape)) if len(left.shape) == 1 else left
    b = right.reshape((*right.shape, 1)) if len(right.shape) == 1 else right
    if a.shape[-1] != b.shape[-2]:
        raise ProblemError(f"no matrix product of shapes {left.shape} and {right.shape}")
    if b.is_constant:
        product = _times(a, b.offset.reshape(b.shape))
    elif a.is_constant:  # W x = (xᵀ Wᵀ)ᵀ
        W = np.swapaxes(a.offset.reshape(a.shape), -1, -2)
        product = _transposed(_times(_transposed(b), W))
    else:
        raise UnsupportedError("the product of two tensors that depend on the input is not affine")
    keep = list(product.shape)
    if len(right.shape) == 1:
        del keep[-1]
    if len(left.shape) == 1:
        del keep[-1 if len(right.shape) == 1 else -2]
    return product.reshape(keep)


def _times(x: Tensor, W: Floats) -> Tensor:
    """``x (..., M, K) @ W (..., K, N)``."""
    batch = np.broadcast_shapes(x.shape[:-2], W.shape[:-2])
    M, N, K = x.shape[-2], W.shape[-1], W.shape[-2]
    shape = (*batch, M, N)
    check_size(prod(shape) * K, "products in one matrix product")
    rows = np.arange(prod(shape), dtype=np.int64).reshape(*shape, 1)
    inner = x.positions[..., :, None, :]
    factors = np.swapaxes(W, -1, -2)[..., None, :, :]
    full = (*shape, K)
    r, i, f = (np.broadcast_to(a, full).ravel() for a in (rows, inner, factors))
    return x.combine(shape, r, i, f)


def _transposed(x: Tensor) -> Tensor:
    return x.take(np.swapaxes(x.positions, -1, -2))


def _broadcast(factor: Floats, tensor: Tensor) -> tuple[Floats, Tensor]:
    shape = np.broadcast_shapes(factor.shape, tensor.shape)
    spread = tensor.take(np.broadcast_to(tensor.positions, shape))
    return np.broadcast_to(factor, shape).ravel(), spread
