"""Copies of an engine in processes of their own."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import fields
from multiprocessing.connection import Client, Connection, Listener
from types import FrameType
from typing import Any

from wdaverify.errors import SolverError
from wdaverify.exact.dispatch import Here, Request
from wdaverify.exact.oracle import Oracle
from wdaverify.exact.supremum import Counts
from wdaverify.limits import Limits

__all__ = ["Workers", "serve"]

WAIT = 0.1
"""Seconds between two looks at whether the work was interrupted."""

KEY = 32
"""Bytes of the secret by which both ends know each other."""


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
        self._ends: list[Connection] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        key, share = os.urandom(KEY), limits.gigabytes / (count + 1)
        with Listener(authkey=key) as door:
            for _ in range(count):
                self._processes.append(_started(door, key))
                end = door.accept()
                end.send((make, limits.seconds - limits.elapsed, share))
                self._ends.append(end)

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
            try:
                self._ends[worker].send([requests[k] for k in share])
            except ConnectionError:
                raise self._gone(worker) from None
        for worker, share in shares.items():
            answers, self._counts[worker] = self._receive(worker)
            for k, answer in zip(share, answers, strict=True):
                results[k] = answer
        return results

    def close(self) -> None:
        """End the processes."""
        for end, process in zip(self._ends, self._processes, strict=True):
            end.close()
            process.wait(timeout=10.0)

    def _place(self, key: tuple[int, int]) -> int:
        """Give keys to processes in turn, in the order in which they first appear."""
        return self._places.setdefault(key, len(self._places) % len(self._ends))

    def _gone(self, worker: int) -> SolverError:
        process = self._processes[worker].pid
        return SolverError(f"workers: process {process} ended without an answer")

    def _receive(self, worker: int) -> tuple[list[Any], Counts]:
        end, process, told = self._ends[worker], self._processes[worker], False
        try:
            while not end.poll(WAIT):
                if self.limits.stop.is_set() and not told:
                    process.send_signal(signal.SIGINT)
                    told = True
            answers, counts = end.recv()
        except (EOFError, ConnectionError):
            raise self._gone(worker) from None
        if isinstance(answers, Exception):
            raise answers
        return answers, counts


def _started(door: Listener, key: bytes) -> "subprocess.Popen[bytes]":
    """Start a process that knocks at a door; it does not run the calling script again."""
    program = f"from wdaverify.exact.workers import serve; serve({door.address!r})"
    process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE)  # noqa: S603
    assert process.stdin is not None
    process.stdin.write(key)
    process.stdin.close()
    return process


def serve(address: str) -> None:
    """Answer requests until the other end is closed: what each process does."""
    stop = threading.Event()

    def interrupt(_: int, __: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGINT, interrupt)
    with Client(address, authkey=sys.stdin.buffer.read(KEY)) as end:
        make, seconds, gigabytes = end.recv()
        here = Here(make(Limits(seconds=seconds, gigabytes=gigabytes, stop=stop)))
        while True:
            try:
                requests = end.recv()
            except EOFError:
                return
            try:
                end.send((here.run(requests), here.counts))
            except Exception as error:  # noqa: BLE001  (whatever it is belongs to the other end)
                end.send((error, here.counts))
