"""Copies of an engine in processes of their own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from wdaverify.exact.dispatch import Here, Request
from wdaverify.exact.oracle import Oracle
from wdaverify.exact.supremum import Counts
from wdaverify.limits import Limits
from wdaverify.processes import Processes, Service

__all__ = ["Workers"]


class Workers:
    """Runs requests in several processes; a key always goes to the same one.

    Parameters
    ----------
    make
        Makes the engine, under limits, in each process; picklable.
    count
        Number of processes.
    limits
        Of the whole work; each process gets an equal share of the memory.
    """

    def __init__(self, make: Callable[[Limits], Oracle], count: int, limits: Limits) -> None:
        self.limits, self._counts = limits, [Counts() for _ in range(count)]
        self._places: dict[tuple[int, int], int] = {}
        self._processes = Processes(_Copies(make), count, limits)

    @property
    def counts(self) -> Counts:
        """Work done by all processes together."""
        total = Counts()
        for field in fields(Counts):
            values = [getattr(counts, field.name) for counts in self._counts]
            shared = field.name == "cells"  # every copy has the same ones
            setattr(total, field.name, max(values) if shared else sum(values))
        return total

    def run(self, requests: Sequence[Request]) -> list[Any]:
        """Return a result or a :class:`LimitReached` for each request, in order.

        Raises
        ------
        SolverError
            A process ended without an answer.
        """
        places = [self._place(request.key) for request in requests]
        results: list[Any] = [None] * len(requests)
        shares = {
            worker: [k for k, place in enumerate(places) if place == worker]
            for worker in sorted(set(places))
        }
        for worker, share in shares.items():
            self._processes.send(worker, [requests[k] for k in share])
        for worker, share in shares.items():
            answers, self._counts[worker] = self._processes.receive(worker)
            for k, answer in zip(share, answers, strict=True):
                results[k] = answer
        return results

    def close(self) -> None:
        """End the processes."""
        self._processes.close()

    def _place(self, key: tuple[int, int]) -> int:
        """Give keys to processes in turn, in the order in which they first appear."""
        return self._places.setdefault(key, len(self._places) % len(self._processes))


@dataclass(frozen=True, slots=True)
class _Copies:
    """Makes a service of an engine."""

    make: Callable[[Limits], Oracle]

    def __call__(self, limits: Limits) -> Service:
        here = Here(self.make(replace(limits, cells=float("inf"))))

        def answer(requests: Sequence[Request]) -> tuple[list[Any], Counts]:
            return here.run(requests), here.counts

        return answer
