r"""Sparse matrices over neurons: the linear parts of symbolic tensors.

An entry :math:`(i, j, v)` says that row ``i`` contains ``v`` times neuron ``j``. Row and column
share the integer key :math:`2^{32} i + j`; keys increase strictly, so no pair occurs twice and the
rows are stored one after the other. The one operation is the product

.. math:: (A E)_{ij} = \sum_k A_{ik} E_{kj}.

An entry that is there with the value zero stays: a weight of the file that happens to be zero must
not change the shape of the network.
"""

from dataclasses import dataclass
from typing import Final, final

import numpy as np

from wdaverify.arrays import Floats, Integers
from wdaverify.errors import UnsupportedError

__all__ = ["ELEMENTS", "LARGEST", "Entries", "check_size"]

LARGEST: Final = 2**26
"""Most entries of one matrix (some GiB of memory with all that it takes to multiply it)."""

ELEMENTS: Final = 2**20
"""Most elements of one symbolic tensor, and most neurons (ImageNet's first layer: 0.8 million)."""

_SHIFT: Final = 32
_COLUMN: Final = 2**_SHIFT - 1
_CROWDED: Final = 8  # so many terms per entry of the result make the dense product the faster one


@final
@dataclass(frozen=True, slots=True, eq=False)
class Entries:
    """A sparse matrix; see the module docstring."""

    keys: Integers
    """Shape ``(entries,)``, strictly increasing."""
    values: Floats
    """Shape ``(entries,)``."""

    @classmethod
    def collect(cls, rows: Integers, columns: Integers, values: Floats) -> "Entries":
        """Sum the triplets ``(rows[t], columns[t], values[t])``."""
        return _sum((rows << _SHIFT) | columns, values)

    @property
    def rows(self) -> Integers:
        """Row of each entry."""
        return self.keys >> _SHIFT

    @property
    def columns(self) -> Integers:
        """Column of each entry."""
        return self.keys & _COLUMN

    def __len__(self) -> int:
        return len(self.keys)

    def plus(self, other: "Entries") -> "Entries":
        """Return the sum of two matrices."""
        if not len(other) or not len(self):
            return self if len(self) else other
        keys = np.concatenate([self.keys, other.keys])
        return _sum(keys, np.concatenate([self.values, other.values]))

    def combine(self, rows: Integers, inner: Integers, factors: Floats) -> "Entries":
        """Return ``A @ self`` where ``A[rows[t], inner[t]] += factors[t]``.

        Products with the factor 1 and sums of one term are exact: data movement never rounds.
        """
        height = int(inner.max(initial=-1)) + 1
        first = np.searchsorted(self.keys, np.arange(height + 1, dtype=np.int64) << _SHIFT)
        terms = first[inner + 1] - first[inner]
        total = int(terms.sum())
        if total > _CROWDED * len(factors):
            columns = np.unique(self.columns)
            width = int(rows.max()) + 1
            if _CROWDED * width * len(columns) < total and width * height <= LARGEST:
                return self._dense_product(rows, inner, factors, columns)
        check_size(total, "terms in one affine map")
        term = np.repeat(first[inner] - (np.cumsum(terms) - terms), terms) + np.arange(total)
        keys = (np.repeat(rows, terms) << _SHIFT) | self.columns[term]
        return _sum(keys, np.repeat(factors, terms) * self.values[term])

    def _dense_product(
        self, rows: Integers, inner: Integers, factors: Floats, columns: Integers
    ) -> "Entries":
        left = np.zeros((int(rows.max()) + 1, int(inner.max()) + 1))
        np.add.at(left, (rows, inner), factors)
        right = np.zeros((left.shape[1], len(columns)))
        used = self.rows < len(right)
        place = np.searchsorted(columns, self.columns[used])
        right[self.rows[used], place] = self.values[used]
        product = left @ right
        keys = (np.arange(len(left), dtype=np.int64)[:, None] << _SHIFT) | columns
        return Entries(keys.ravel(), product.ravel())


def check_size(count: int, what: str, most: int = LARGEST) -> None:
    """Refuse what would fill the memory.

    Raises
    ------
    UnsupportedError
        ``count`` exceeds ``most``.
    """
    if count > most:
        raise UnsupportedError(f"expected at most {most} {what}, found {count}")


def _sum(keys: Integers, values: Floats) -> Entries:
    if np.any(keys[1:] <= keys[:-1]):
        order = np.argsort(keys, kind="stable")
        keys, values = keys[order], values[order]
        starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
        if len(starts) < len(keys):
            keys, values = keys[starts], np.add.reduceat(values, starts)
    return Entries(keys, values)
