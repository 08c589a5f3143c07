"""Services for the tests, and a way to end a process that answers."""

import os
import signal
import time
from pathlib import Path


def counting(_):
    """Return a service whose answers depend on all that was asked before with the same key."""
    seen = {}

    def answer(request):
        key, number = request
        if key not in seen:
            time.sleep(0.05)  # so that the other worker gets some keys
        seen[key] = 31 * seen.get(key, 7) + number
        return seen[key], os.getpid()

    return answer


def deadly(limits):
    """Return the same, but a word ends its process."""
    service = counting(limits)

    def answer(request):
        if request[1] == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        return service(request)

    return answer


def slow(limits):
    """Return a service that takes the seconds that it is told."""

    def answer(seconds):
        limits.stop.wait(seconds)
        limits.check("sleeping")
        return os.getpid()

    return answer


def failing(_):
    """Return a service that raises what cannot be pickled."""

    class LocalError(Exception):
        pass

    def answer(_):
        raise LocalError("of no module")

    return answer


def alive(pid):
    """Whether a process is there and no zombie, after a little while."""
    for _ in range(100):
        try:
            status = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
            state = status.rsplit(")", 1)[1].split()[0]
        except OSError:
            return False
        if state == "Z":
            return False
        time.sleep(0.1)
    return True
