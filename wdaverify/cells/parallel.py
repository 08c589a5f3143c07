"""Disjoint subtrees in several processes, their answers in the order of the requests."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from wdaverify.limits import Limits
from wdaverify.processes import Processes, Service

__all__ = ["in_order"]


def in_order(
    requests: Sequence[Any], make: Callable[[Limits], Service], workers: int, limits: Limits
) -> Iterator[Any]:
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
    processes = Processes(make, min(workers, len(requests)), limits)
    waiting = iter(range(len(requests)))
    busy: dict[int, int] = {}
    answers: dict[int, Any] = {}
    done = False
    try:
        free = list(range(len(processes)))
        for index in range(len(requests)):
            while index not in answers:
                for worker in free:
                    following = next(waiting, None)
                    if following is not None:
                        processes.send(worker, requests[following])
                        busy[worker] = following
                worker = processes.first(list(busy))
                answers[busy.pop(worker)] = processes.receive(worker)
                free = [worker]
            yield answers.pop(index)
        done = True
    finally:
        processes.close(interrupt=not done)
