"""What a worker does: joins, makes its service, answers requests until the other end is closed."""

import importlib.metadata
import os
import pickle
import queue
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from wdaverify.errors import SolverError
from wdaverify.limits import Limits
from wdaverify.workers.wire import GONE, Address, dial

__all__ = ["STOP", "Answer", "Hello", "Make", "Order", "Service", "Setup", "hello", "work"]

Service = Callable[[Any], Any]
"""Answers requests."""

Make = Callable[[Limits], Service]
"""Makes a service under limits."""

STOP = "stop"
"""Message: end what is being done at the next check."""

GRACE = 10.0
"""Seconds in which a process whose work is no longer wanted must have ended it."""

FORGET = b"5"
"""Written to Linux's ``clear_refs``: peak memory counts from now on."""


class Hello(NamedTuple):
    """Who joins, and what it would answer with."""

    name: str
    versions: dict[str, str]


class Setup(NamedTuple):
    """What a worker is made for: a pickled :data:`Make` and its limits."""

    make: bytes
    seconds: float
    gigabytes: float
    cells: float


class Order(NamedTuple):
    """A request, and those that its service must have answered before."""

    ticket: int
    request: Any
    history: Sequence[Any]


class Answer(NamedTuple):
    """An answer, or what was raised, and the seconds it took."""

    ticket: int
    content: Any
    seconds: float


def hello() -> Hello:
    """Introduce this process."""
    packages = ("wdaverify", "numpy", "scipy", "highspy")
    versions = {name: importlib.metadata.version(name) for name in packages}
    place = f"{socket.gethostname()}:{os.getpid()}"
    if threading.current_thread() is not threading.main_thread():
        place += f".{threading.get_native_id()}"
    return Hello(place, versions)


def work(addresses: Sequence[Address], key: bytes, *, own: bool) -> None:
    """Join and answer until the other end is closed: the task that joblib places.

    Parameters
    ----------
    addresses, key
        Where to join. Nobody there means that the work is over.
    own
        Whether this process is for us alone: then it may be ended if it does not end by itself.
    """
    end, parent = dial(addresses, key), os.getppid()
    if end is None:
        return
    with end, suppress(*GONE), _undisturbed():
        end.send(hello())
        setup = end.recv()
        if setup is not None:
            _forget_peak()
            _serve(end, setup, own=own)
    if own:
        threading.Thread(target=_follow, args=(parent,), daemon=True).start()


def _follow(parent: int) -> None:
    """End this process soon after its parent, which may have been killed; joblib would wait."""
    for _ in range(50):
        if os.getppid() != parent:
            os._exit(1)
        time.sleep(0.1)


def _serve(end: Connection, setup: Setup, *, own: bool) -> None:
    stop, over = threading.Event(), threading.Event()
    orders: queue.SimpleQueue[list[Order] | None] = queue.SimpleQueue()
    limits = Limits(seconds=setup.seconds, gigabytes=setup.gigabytes, cells=setup.cells, stop=stop)
    threading.Thread(target=_listen, args=(end, orders, stop, over, own), daemon=True).start()
    service: Service | Exception
    try:
        try:
            service = pickle.loads(setup.make)(limits)  # noqa: S301  (from whoever knew the secret)
        except Exception as error:  # noqa: BLE001  (whatever it is belongs to the other end)
            service = error
        while (some := orders.get()) is not None:
            _send(end, [_answered(service, order) for order in some])
    finally:
        over.set()


def _listen(
    end: Connection,
    orders: "queue.SimpleQueue[list[Order] | None]",
    stop: threading.Event,
    over: threading.Event,
    own: bool,  # noqa: FBT001
) -> None:
    """Take what comes in while the service works; when the other end is gone, so is the work."""
    with suppress(*GONE):
        while True:
            message = end.recv()
            if message == STOP:
                stop.set()
            else:
                orders.put(message)
    stop.set()
    orders.put(None)
    if own and not over.wait(GRACE):
        os._exit(1)


def _answered(service: Service | Exception, order: Order) -> Answer:
    start = time.perf_counter()
    try:
        if isinstance(service, Exception):
            raise service  # noqa: TRY301  (as if the request had raised it)
        for request in order.history:
            with suppress(Exception):  # it was answered so when it was asked
                service(request)
        start = time.perf_counter()
        content = service(order.request)
    except Exception as error:  # noqa: BLE001  (whatever it is belongs to the other end)
        content = error
    return Answer(order.ticket, content, time.perf_counter() - start)


def _send(end: Connection, answers: list[Answer]) -> None:
    """Send answers; what cannot be pickled becomes an error."""
    try:
        message = pickle.dumps(answers)
    except Exception:  # noqa: BLE001  (any error of any __reduce__)
        told = [a._replace(content=SolverError(f"worker: {a.content!r}")) for a in answers]
        message = pickle.dumps(told)
    end.send_bytes(message)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Leave Ctrl-C, which reaches every process of a terminal, to the one that is in charge."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def _forget_peak() -> None:
    """Let the peak of memory, which a limit may be on, begin now: the process may be used again."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_bytes(FORGET)
