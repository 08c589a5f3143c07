"""Disjoint subtrees in several processes, their answers in the order of the requests."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from wdaverify.limits import Limits
from wdaverify.workers.crew import Crew
from wdaverify.workers.worker import Make

__all__ = ["in_order"]

AHEAD = 2
"""Requests for each worker that are on their way: one that it works on, one that is pickled."""


def in_order(requests: Sequence[Any], make: Make, workers: int, limits: Limits) -> Iterator[Any]:
    """Yield the answers to requests in their order; a process that is free takes the next one.

    Parameters
    ----------
    make
        Makes what answers, in each process; picklable.

    Raises
    ------
    LimitReached
        In one of the processes.
    """
    crew = Crew(make, min(workers, len(requests)), limits)
    waiting = iter(enumerate(requests))
    places: dict[int, int] = {}
    answers: dict[int, Any] = {}
    try:
        for index in range(len(requests)):
            while index not in answers:
                for k, request in itertools.islice(waiting, AHEAD * workers - len(places)):
                    places[crew.submit(request)] = k
                ticket, answer = crew.collect()
                answers[places.pop(ticket)] = answer
            yield answers.pop(index)
    finally:
        crew.close()
