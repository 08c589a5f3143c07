"""Limits on time, memory and cells: long work asks now and then whether it may go on.

It also says how far it is: loops within loops each know their own part of the whole.
"""

import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from wdaverify.errors import LimitReached

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """How long work may take; the clock starts when the object is made.

    Parameters
    ----------
    seconds
        Wall-clock time.
    gigabytes
        Peak resident memory of the process.
    cells
        Number of activation cells.
    stop
        Set from outside (Ctrl-C) to end the work at the next check.
    watch
        Called with a few words on what is being done, perhaps none, and the finished part of the
        work between 0 and 1; functions may be added.
    parts
        Where the loops around the work are, the outermost first: how many of how many are done.
    """

    seconds: float = float("inf")
    gigabytes: float = float("inf")
    cells: float = float("inf")
    start: float = field(default_factory=time.monotonic)
    stop: threading.Event = field(default_factory=threading.Event)
    watch: list[Callable[[str, float], None]] = field(default_factory=list)
    parts: list[tuple[float, float]] = field(default_factory=list)

    @property
    def elapsed(self) -> float:
        """Seconds since the limits were made."""
        return time.monotonic() - self.start

    def report(self, words: str, finished: float = 0.0) -> None:
        """Tell those who watch what is being done, and which part of the innermost loop's turn."""
        if self.watch:
            whole = self.finished(finished)
            for tell in self.watch:
                tell(words, whole)

    def finished(self, inner: float = 0.0) -> float:
        """Return the finished part of the whole, given that of the innermost turn."""
        for done, total in reversed(self.parts):
            inner = (done + inner) / total
        return inner

    @contextmanager
    def part(self, done: float, total: float) -> Iterator[None]:
        """Take a turn of a loop: ``done`` of ``total`` turns lie behind."""
        self.parts.append((done, total))
        self.report("")
        try:
            yield
        finally:
            self.parts.pop()

    @contextmanager
    def rounds(self) -> Iterator[None]:
        """Take a turn of a loop whose end nobody knows: what is finished in it says nothing."""
        with self.part(0, float("inf")):
            yield

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Do something once that only seems to belong to a turn of the loops around it."""
        kept = self.parts.copy()
        self.parts.clear()
        try:
            yield
        finally:
            self.parts[:] = kept

    def reached(self, doing: str) -> LimitReached | None:
        """Return the limit that is exceeded, if one is."""
        try:
            self.check(doing)
        except LimitReached as error:
            return error
        return None

    def check(self, doing: str, cells: int = 0) -> None:
        """Raise when a limit is exceeded.

        Raises
        ------
        LimitReached
            Names the limit and what was reached.
        """
        if self.stop.is_set():
            raise LimitReached(f"{doing}: interrupted")
        if cells > self.cells:
            raise LimitReached(f"{doing}: more than {self.cells:.0f} cells, the limit")
        if self.elapsed > self.seconds:
            found = f", {cells} cells so far" if cells else ""
            raise LimitReached(f"{doing}: time limit of {self.seconds:g} s{found}")
        if self.gigabytes < float("inf") and _peak_gigabytes() > self.gigabytes:
            raise LimitReached(f"{doing}: memory limit of {self.gigabytes:g} GB")


def _peak_gigabytes() -> float:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
