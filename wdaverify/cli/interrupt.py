"""Ctrl-C: once to stop with what is known, twice to stop at once."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from wdaverify.limits import Limits

__all__ = ["listen", "signals_restored"]

SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""Ctrl-C, and what a batch system sends some time before it kills."""


def listen(limits: Limits) -> None:
    """Turn the first signal into a stop at the next check; the second does what it always did.

    It stays so until the results are written: a Ctrl-C that comes just then must not lose them.
    Outside the main thread, where signals cannot be caught, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def stop(_: int, __: FrameType | None) -> None:
        limits.stop.set()
        for number, old in before.items():
            signal.signal(number, old)

    for number in SIGNALS:
        signal.signal(number, stop)


@contextmanager
def signals_restored() -> Iterator[None]:
    """Leave the signals as they were found."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
