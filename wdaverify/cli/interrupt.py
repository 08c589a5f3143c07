"""Ctrl-C: once to stop with what is known, twice to stop at once."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from wdaverify.limits import Limits

__all__ = ["interruptible"]

SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""Ctrl-C, and what a batch system sends some time before it kills."""


@contextmanager
def interruptible(limits: Limits) -> Iterator[None]:
    """Turn the first signal into a stop at the next check; the second one does what it always did.

    Outside the main thread, where signals cannot be caught, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def restore() -> None:
        for number, old in before.items():
            signal.signal(number, old)

    def stop(_: int, __: FrameType | None) -> None:
        limits.stop.set()
        restore()

    for number in SIGNALS:
        signal.signal(number, stop)
    try:
        yield
    finally:
        restore()
