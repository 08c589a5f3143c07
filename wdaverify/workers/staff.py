"""The workers of one piece of work: hired when there is work, told to stop, missed when they die.

There is one staff at a time in a process: the workers of another one would wait behind those of
the first for the same places. The first is dismissed then; it is hired again when it is needed.
"""

import atexit
import pickle
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any, ClassVar, NamedTuple, cast

from wdaverify.errors import SolverError
from wdaverify.limits import Limits
from wdaverify.workers.placing import Placing
from wdaverify.workers.wire import GONE, Door, hang_up
from wdaverify.workers.worker import STOP, Hello, Make, Order, Setup, hello

__all__ = ["Event", "Staff"]

WAIT = 0.1
"""Seconds between two looks at whether the work was interrupted."""

GRACE = 20.0
"""Seconds in which the first worker must have joined when a limit is reached already."""

TRIES = 3
"""Times that workers are placed without any answer from them before it is given up."""


class Event(NamedTuple):
    """Something about a worker.

    Attributes
    ----------
    kind
        ``joined``, ``answered``, ``died`` or, after a dismissal, ``left``.
    """

    kind: str
    worker: str
    answers: Any = ()


class Staff:
    """Workers with copies of one service.

    Parameters
    ----------
    make
        Makes the service, under limits, in each worker; picklable.
    count
        How many.
    limits
        Of the whole work; each worker gets an equal share of the memory.
    """

    last: "ClassVar[weakref.ref[Staff] | None]" = None
    """Who was hired last."""

    _turn: ClassVar[threading.RLock] = threading.RLock()

    def __init__(self, make: Make, count: int, limits: Limits) -> None:
        self.limits = limits
        self._placing = Placing(count)
        self._office = _Office(self._placing, _Welcome(make, limits, count))
        self._names: dict[str, Connection] = {}
        self._left: list[Event] = []
        self._told, self._barren, self._since = False, 0, 0.0
        self._closing = weakref.finalize(self, self._office.close)

    def send(self, worker: str, orders: list[Order]) -> None:
        """Give a worker something to do; should it be gone, that is an event to come."""
        if worker in self._names:
            with suppress(*GONE):
                self._names[worker].send(orders)

    def events(self) -> list[Event]:
        """Return what happened to the workers, waiting a little for something to happen.

        Raises
        ------
        LimitReached
            Before any worker joined.
        SolverError
            No worker could be placed, or they die as soon as they have joined.
        """
        with self._turn:
            found, self._left = self._left, []
            if not found:
                self._hire()
                self._interrupt()
                found = list(self._heard())
            return found

    def dismiss(self) -> None:
        """End the workers; what they know is lost."""
        with self._turn:
            self._left += [Event("left", worker) for worker in self._names]
            self._names.clear()
            self._office.close()

    def _hire(self) -> None:
        """Place workers if there are none, nor on their way; dismiss those of another staff."""
        if self._names or (self._office.open and self._placing.running):
            return
        if self._office.open:
            self._despair()
        other = Staff.last() if Staff.last is not None else None
        if other is not None and other is not self:
            other.dismiss()
        Staff.last = weakref.ref(self)
        self._told, self._since = False, time.monotonic()
        self._office.reopen()
        _dismiss_in_the_end()

    def _despair(self) -> None:
        """Give up when joblib's tasks have ended again and again, and nothing was answered."""
        self._barren += 1
        if self._barren >= TRIES:
            raise SolverError(f"workers: placed {TRIES} times in vain, {self._office.complaint}")

    def _interrupt(self) -> None:
        """Pass an interrupt on, once."""
        if self.limits.stop.is_set() and not self._told:
            self._told = True
            for end in self._names.values():
                with suppress(*GONE):
                    end.send(STOP)

    def _heard(self) -> Iterator[Event]:
        ends = {end: name for name, end in self._names.items()}
        ready = wait([self._office.bell, *ends], WAIT)
        if self._office.bell in ready:
            for name, end in self._office.joined():
                self._names[name] = end
                self._told = False
                yield Event("joined", name)
        for end in cast("list[Connection]", ready):
            if end in ends:
                yield self._message(ends[end], end)
        if not self._names and time.monotonic() - self._since > GRACE:
            self.limits.check("waiting for workers")

    def _message(self, worker: str, end: Connection) -> Event:
        try:
            answers = end.recv()
        except GONE:
            del self._names[worker]
            self._office.lose(end)
            return Event("died", worker)
        self._barren = 0
        return Event("answered", worker, answers)


class _Office:
    """What must be closed in the end: the door, the connections, joblib's tasks."""

    def __init__(self, placing: Placing, welcome: "_Welcome") -> None:
        self._placing, self._welcome = placing, welcome
        self._door: Door | None = None
        self._ends: list[Connection] = []

    @property
    def open(self) -> bool:
        """Whether workers are placed, or were."""
        return self._door is not None

    @property
    def bell(self) -> Connection:
        """Readable when someone has joined."""
        assert self._door is not None
        return self._door.bell

    @property
    def complaint(self) -> str:
        """Why there are no workers."""
        assert self._door is not None
        who = f"by joblib's {self._placing.backend} backend"
        if self._welcome.refused:
            return f"{who}: {self._welcome.refused}"
        if self._placing.error is not None:
            error = self._placing.error
            return f"{who}: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
        where = ", ".join(f"{host}:{port}" for host, port in self._door.addresses)
        return f"{who}: nobody answered at {where}"

    def joined(self) -> list[tuple[str, Connection]]:
        """Return those who joined since the last call."""
        assert self._door is not None
        found = self._door.joined()
        self._ends += [end for _, end in found]
        return found

    def lose(self, end: Connection) -> None:
        """Close the connection to a worker that is gone."""
        self._ends.remove(end)
        end.close()

    def reopen(self) -> None:
        """Place workers anew."""
        self.close()
        self._door = Door(self._welcome, everywhere=self._placing.elsewhere)
        self._placing.start(self._door.addresses, self._door.key)

    def close(self) -> None:
        """Send everyone away, and wait until joblib's tasks have ended."""
        if self._door is not None:
            self._door.close()
        for end in self._ends:
            hang_up(end)
        self._ends.clear()
        self._door = None
        self._placing.wait()


class _Welcome:
    """Tells a worker what it is here for, if it would answer as one here would."""

    def __init__(self, make: Make, limits: Limits, count: int) -> None:
        from joblib import wrap_non_picklable_objects  # noqa: PLC0415  (a tenth of a second)

        self._make = pickle.dumps(wrap_non_picklable_objects(make, keep_wrapper=False))
        self._limits, self._share = limits, limits.gigabytes / (count + 1)
        self.refused = ""

    def __call__(self, end: Connection) -> str | None:
        visitor: Hello = end.recv()
        ours = hello().versions
        differing = [name for name in ours if visitor.versions.get(name) != ours[name]]
        if differing:
            name = differing[0]
            self.refused = (
                f"{visitor.name} has {name} {visitor.versions.get(name)}, expected {ours[name]}"
            )
            end.send(None)
            return None
        limits = self._limits
        left = limits.seconds - limits.elapsed
        end.send(Setup(self._make, left, self._share, limits.cells))
        return visitor.name


def _dismiss_in_the_end() -> None:
    """Dismiss who is left when the program ends, before joblib waits for its tasks to end.

    Those who are called first are those who registered last; joblib has been at work before.
    """
    register = getattr(threading, "_register_atexit", atexit.register)
    with suppress(RuntimeError):  # the end has begun
        register(_dismiss_last)


def _dismiss_last() -> None:
    staff = Staff.last() if Staff.last is not None else None
    if staff is not None:
        staff.dismiss()
