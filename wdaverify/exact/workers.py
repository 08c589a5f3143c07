"""Copies of an engine in other processes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from wdaverify.exact.dispatch import Here, Request
from wdaverify.exact.oracle import Oracle
from wdaverify.exact.supremum import Counts
from wdaverify.limits import Limits
from wdaverify.workers.crew import Crew
from wdaverify.workers.worker import Service

__all__ = ["Workers"]


class Workers:
    """Runs requests in several processes; a key goes to the same one while that lives.

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
        self.limits, self.counts = limits, Counts()
        self._crew = Crew(_Copies(make), count, limits)

    def run(self, requests: Sequence[Request]) -> list[Any]:
        """Return a result or a :class:`LimitReached` for each request, in order.

        Raises
        ------
        LimitReached
            Before any worker was there.
        SolverError
            A request that its processes die of, or no processes.
        """
        answers = self._crew.run([(request, request.key) for request in requests])
        for _, counts in answers:
            _add(self.counts, counts)
        return [result for result, _ in answers]

    def close(self) -> None:
        """End the processes; asked again, others take their place."""
        self._crew.close()


def _add(total: Counts, more: Counts) -> None:
    """Add what was done for one request; every copy has the same cells."""
    for field in fields(Counts):
        one, other = getattr(total, field.name), getattr(more, field.name)
        setattr(total, field.name, max(one, other) if field.name == "cells" else one + other)


@dataclass(frozen=True, slots=True)
class _Copies:
    """Makes a service of an engine: a request to its result and what it cost."""

    make: Callable[[Limits], Oracle]

    def __call__(self, limits: Limits) -> Service:
        here = Here(self.make(replace(limits, cells=float("inf"))))

        def answer(request: Request) -> tuple[Any, Counts]:
            before = replace(here.counts)
            (result,) = here.run([request])
            after = here.counts
            spent = {
                f.name: getattr(after, f.name) - getattr(before, f.name) for f in fields(Counts)
            }
            return result, Counts(**spent | {"cells": after.cells})

        return answer
