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
from wdaverify.errors import ProblemError
from wdaverify.importers.entries import ELEMENTS, Entries, check_size

__all__ = ["Tensor", "add", "concatenate"]


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
        check_size(positions.size, "elements in a tensor", ELEMENTS)
        index = positions.ravel().astype(np.int64)
        if np.array_equal(index, np.arange(self.size)):
            return Tensor(positions.shape, self.entries, self.offset)
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
        offset: Floats = np.bincount(rows, terms, minlength=prod(shape)).astype(np.float64)
        return Tensor(shape, entries, offset)

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


def _broadcast(factor: Floats, tensor: Tensor) -> tuple[Floats, Tensor]:
    shape = np.broadcast_shapes(factor.shape, tensor.shape)
    spread = tensor.take(np.broadcast_to(tensor.positions, shape))
    return np.broadcast_to(factor, shape).ravel(), spread
