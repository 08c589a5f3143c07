"""Batches that fit into memory: one that does not is split, and the work goes on."""

from collections.abc import Callable

import torch

__all__ = ["in_batches"]

SHORTAGES = ("out of memory", "can't allocate memory")
"""What torch says when memory is short: CUDA, and the CPU allocator."""


def in_batches(count: int, rows: int, work: Callable[[int, int], None]) -> None:
    """Do ``work(start, stop)`` for all of ``0 … count−1``, at most ``rows`` at a time.

    Where memory does not suffice, half as many rows are tried, and kept for what follows.

    Raises
    ------
    RuntimeError
        What ``work`` raises, also when memory does not suffice for a single row.
    """
    start = 0
    while start < count:
        stop = min(start + rows, count)
        if _fits(work, start, stop):
            start = stop
        else:
            rows = max(1, (stop - start) // 2)


def _fits(work: Callable[[int, int], None], start: int, stop: int) -> bool:
    try:
        work(start, stop)
    except (MemoryError, RuntimeError) as error:
        short = isinstance(error, MemoryError) or any(s in str(error) for s in SHORTAGES)
        if not short or stop - start <= 1:
            raise
    else:
        return True
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return False
