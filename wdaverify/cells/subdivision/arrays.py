"""Arrays of the subdivision: columns that grow, sign vectors as words, equal words side by side."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from wdaverify.arrays import Bools, Integers
from wdaverify.errors import EnumerationError

__all__ = ["Growing", "Words", "bits_of", "grouped", "hashed", "paired", "unpacked"]

Words = npt.NDArray[np.uint64]
"""Packed bits, ``(words, N)``: one column per item, the first bit the most significant."""

FACTORS = np.random.default_rng(20).integers(0, 2**63, size=64, dtype=np.uint64) * 2 + 1
SHIFT = np.uint64(32)


class Growing:
    """A two-dimensional array that columns are appended to."""

    def __init__(self, columns: npt.NDArray[Any]) -> None:
        self._buffer, self.size = columns, columns.shape[1]

    @property
    def now(self) -> npt.NDArray[Any]:
        """The columns so far."""
        return self._buffer[:, : self.size]

    def append(self, columns: npt.NDArray[Any]) -> None:
        """Append columns, ``(rows, N)``."""
        size = self.size + columns.shape[1]
        if size > self._buffer.shape[1]:
            rows, dtype = len(self._buffer), self._buffer.dtype
            larger = np.empty((rows, size + size // 2), dtype=dtype)
            larger[:, : self.size] = self.now
            self._buffer = larger
        self._buffer[:, self.size : size] = columns
        self.size = size


def bits_of(count: int) -> Words:
    """Return the words in which only bit ``k`` is set, for each ``k``: ``(words, count)``."""
    index = np.arange(count)
    bits = np.zeros((-(-count // 64), count), dtype=np.uint64)
    bits[index // 64, index] = np.uint64(1) << (63 - index % 64).astype(np.uint64)
    return bits


def unpacked(words: Words, count: int) -> Bools:
    """Return the first bits of each column: ``(words, N) -> (N, count)``."""
    octets = np.ascontiguousarray(words.T).astype(">u8").view(np.uint8)
    return np.unpackbits(octets, axis=1, count=count).view(np.bool_)


def hashed(words: Words) -> Words:
    """Mix the words of each column into one, shape ``(N,)``; a single word is its own hash."""
    if len(words) == 1:
        return np.asarray(words[0])
    mixed = (words ^ (words >> SHIFT)) * np.resize(FACTORS, (len(words), 1))
    mixed ^= mixed >> SHIFT  # both low and high bits have spread over the word
    mixed *= FACTORS[0]
    return np.asarray(np.add.reduce(mixed ^ (mixed >> SHIFT), axis=0))


def paired(words: Words, sorted_by: Callable[[Words], Integers] = np.argsort) -> Integers:
    """Return the two places of each column, ``(2, N / 2)``, in increasing order.

    Parameters
    ----------
    sorted_by
        Returns an order in which keys ascend; how it orders equal ones does not matter.

    Raises
    ------
    EnumerationError
        Some column is not there exactly twice.
    """
    keys = hashed(words)
    order = sorted_by(keys)
    if not _in_pairs(words, keys, order):
        order = np.lexsort(words[::-1])
        if not _in_pairs(words, _ranks(words, order), order):
            raise EnumerationError("a neuron cuts a polygon elsewhere than in two edges")
    first, second = order[0::2], order[1::2]
    return np.stack([np.minimum(first, second), np.maximum(first, second)])


def grouped(words: Words) -> tuple[Integers, Integers]:
    """Return an order in which equal columns are adjacent, and where each group starts.

    The groups ascend.
    """
    keys = hashed(words)
    order = np.argsort(keys)
    starts = _starts(words.take(order, axis=1))
    if len(words) == 1:
        return order, starts
    if len(starts) != len(_starts(keys[order][None, :])):  # different columns of the same hash
        order = np.lexsort(words[::-1])
        return order, _starts(words.take(order, axis=1))
    rank = np.lexsort(words[::-1].take(order[starts], axis=1))
    lengths = np.diff(np.append(starts, len(order)))[rank]
    first = np.cumsum(lengths) - lengths
    return order[np.repeat(starts[rank] - first, lengths) + np.arange(len(order))], first


def _in_pairs(words: Words, keys: npt.NDArray[Any], order: Integers) -> bool:
    """Whether neighbours are equal two by two; no two pairs in a row have the same key."""
    first, second = order[0::2], order[1::2]
    return (
        len(first) == len(second)
        and not np.any(words.take(first, axis=1) != words.take(second, axis=1))
        and not np.any(keys[second[:-1]] == keys[first[1:]])
    )


def _ranks(words: Words, order: Integers) -> Integers:
    ranks = np.zeros(len(order), dtype=np.int64)
    ranks[order[_starts(words.take(order, axis=1))[1:]]] = 1
    ranks[order] = np.cumsum(ranks[order])
    return ranks


def _starts(words: Words) -> Integers:
    """Return the columns that differ from the one before, the first included."""
    changed = np.any(words[:, 1:] != words[:, :-1], axis=0)
    return np.concatenate([np.zeros(min(1, words.shape[1]), int), 1 + np.flatnonzero(changed)])
