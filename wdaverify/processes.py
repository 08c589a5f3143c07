"""The same work in several processes: started, asked, interrupted and ended."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from multiprocessing.connection import Client, Connection, Listener, wait
from types import FrameType
from typing import Any

from wdaverify.errors import SolverError
from wdaverify.limits import Limits

__all__ = ["Processes", "Service", "serve"]

WAIT = 0.1
"""Seconds between two looks at whether the work was interrupted."""

KEY = 32
"""Bytes of the secret by which both ends know each other."""

Service = Callable[[Any], Any]
"""Answers requests."""


class Processes:
    """Several processes, each with a service of its own.

    Parameters
    ----------
    make
        Makes the service, under limits, in each process; picklable.
    count
        Number of processes.
    limits
        Of the whole work; each process gets an equal share of the memory.
    """

    def __init__(self, make: Callable[[Limits], Service], count: int, limits: Limits) -> None:
        self.limits = limits
        self._ends: list[Connection] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        key, share = os.urandom(KEY), limits.gigabytes / (count + 1)
        with Listener(authkey=key) as door:
            for _ in range(count):
                self._processes.append(_started(door, key))
                end = door.accept()
                end.send((make, limits.seconds - limits.elapsed, share, limits.cells))
                self._ends.append(end)

    def __len__(self) -> int:
        return len(self._ends)

    def send(self, worker: int, request: Any) -> None:  # noqa: ANN401
        """Give a process a request; it must have answered the one before.

        Raises
        ------
        SolverError
            The process has ended.
        """
        try:
            self._ends[worker].send(request)
        except ConnectionError:
            raise self._gone(worker) from None

    def receive(self, worker: int) -> Any:  # noqa: ANN401
        """Wait for the answer of a process; an interrupt is passed on.

        Raises
        ------
        SolverError
            The process ended without an answer.
        """
        end, told = self._ends[worker], False
        try:
            while not end.poll(WAIT):
                if self.limits.stop.is_set() and not told:
                    self._interrupt(range(len(self)))
                    told = True
            answer = end.recv()
        except (EOFError, ConnectionError):
            raise self._gone(worker) from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def first(self, among: Sequence[int]) -> int:
        """Wait until one of some processes has an answer; an interrupt is passed on."""
        told = False
        while True:
            ready = wait([self._ends[worker] for worker in among], WAIT)
            if ready:
                return next(worker for worker in among if self._ends[worker] is ready[0])
            if self.limits.stop.is_set() and not told:
                self._interrupt(among)
                told = True

    def close(self, *, interrupt: bool = False) -> None:
        """End the processes, at once if what they do is no longer of interest."""
        for process in self._processes:
            if interrupt and process.poll() is None:
                process.send_signal(signal.SIGINT)
        for end, process in zip(self._ends, self._processes, strict=True):
            end.close()
            process.wait(timeout=10.0)

    def _interrupt(self, workers: Iterable[int]) -> None:
        for worker in workers:
            self._processes[worker].send_signal(signal.SIGINT)

    def _gone(self, worker: int) -> SolverError:
        process = self._processes[worker].pid
        return SolverError(f"workers: process {process} ended without an answer")


def _started(door: Listener, key: bytes) -> "subprocess.Popen[bytes]":
    """Start a process that knocks at a door; it does not run the calling script again."""
    program = f"from wdaverify.processes import serve; serve({door.address!r})"
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
    threading.Thread(target=_outlive, args=(os.getppid(), stop), daemon=True).start()
    with Client(address, authkey=sys.stdin.buffer.read(KEY)) as end:
        make, seconds, gigabytes, cells = end.recv()
        service = make(Limits(seconds=seconds, gigabytes=gigabytes, cells=cells, stop=stop))
        while True:
            try:
                request = end.recv()
            except (EOFError, ConnectionError):
                return
            try:
                answer = service(request)
            except Exception as error:  # noqa: BLE001  (whatever it is belongs to the other end)
                answer = error
            try:
                end.send(answer)
            except ConnectionError:
                return


def _outlive(parent: int, stop: threading.Event) -> None:
    """Stop the work of this process when the one that asked for it has ended, however it did."""
    while os.getppid() == parent:
        time.sleep(WAIT)
    stop.set()
