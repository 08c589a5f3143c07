"""How both ends meet: a door that workers knock at, over TCP, known to each other by a secret."""

import os
import queue
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, Pipe, answer_challenge, deliver_challenge

__all__ = ["GONE", "Address", "Door", "dial", "hang_up"]

Address = tuple[str, int]

KEY = 32
"""Bytes of the secret."""

PATIENCE = 5.0
"""Seconds for a connection to one address."""

QUIET, PROBES, BETWEEN = 30, 3, 10
"""Seconds of silence, probes and seconds between them until a vanished machine counts as gone."""

HOST = "WDAVERIFY_HOST"
"""Environment variable: name or address of this machine as workers elsewhere see it."""

GONE = (EOFError, OSError)
"""What a connection raises when the other end is gone."""


class Door:
    """Accepts workers until it is closed; the handshakes do not wait for each other.

    Parameters
    ----------
    everywhere
        Whether workers may be on other machines.
    welcome
        Does what is left of the handshake with a worker that knew the secret, in a thread of its
        own, and returns the worker's name; ``None``, or any of :data:`GONE`, sends it away.

    Attributes
    ----------
    addresses, key
        What a worker needs in order to join.
    bell
        Readable when someone has joined.
    """

    def __init__(self, welcome: Callable[[Connection], str | None], *, everywhere: bool) -> None:
        self.key, self._welcome = os.urandom(KEY), welcome
        self._server = socket.create_server(("" if everywhere else "127.0.0.1", 0))
        port = self._server.getsockname()[1]
        names = ["127.0.0.1", *(_names() if everywhere else [])]
        self.addresses: list[Address] = [(name, port) for name in dict.fromkeys(names)]
        self.bell, self._ring = Pipe(duplex=False)
        self._inside: queue.SimpleQueue[tuple[str, Connection]] = queue.SimpleQueue()
        self._lock, self._closed = threading.Lock(), False
        threading.Thread(target=self._accept, daemon=True, name="wdaverify door").start()

    def joined(self) -> list[tuple[str, Connection]]:
        """Return names and connections of those who joined since the last call."""
        found = []
        while self.bell.poll():
            self.bell.recv_bytes()
            found.append(self._inside.get())
        return found

    def close(self) -> None:
        """Let nobody in any more; send those away who have not been asked in."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._server.close()
        for _, end in self.joined():
            hang_up(end)
        self.bell.close()
        self._ring.close()

    def _accept(self) -> None:
        while True:
            try:
                visitor, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._greet, args=(visitor,), daemon=True).start()

    def _greet(self, visitor: socket.socket) -> None:
        end = _connection(visitor)
        try:
            deliver_challenge(end, self.key)
            answer_challenge(end, self.key)
            name = self._welcome(end)
        except (*GONE, AuthenticationError):
            name = None
        with self._lock:
            if self._closed or name is None:
                hang_up(end)
                return
            self._inside.put((name, end))
            self._ring.send_bytes(b"")


def dial(addresses: Sequence[Address], key: bytes) -> Connection | None:
    """Connect to the first address that knows the secret; ``None`` if nobody answers."""
    for address in addresses:
        try:
            end = _connection(socket.create_connection(address, PATIENCE))
        except OSError:
            continue
        try:
            answer_challenge(end, key)
            deliver_challenge(end, key)
        except (*GONE, AuthenticationError):
            end.close()
        else:
            return end
    return None


def hang_up(end: Connection) -> None:
    """Close a connection, also if another process has inherited this end of it."""
    with suppress(OSError), socket.socket(fileno=os.dup(end.fileno())) as line:
        line.shutdown(socket.SHUT_RDWR)
    end.close()


def _connection(made: socket.socket) -> Connection:
    made.settimeout(None)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", QUIET), ("TCP_KEEPCNT", PROBES), ("TCP_KEEPINTVL", BETWEEN)
    ):  # fmt: skip
        if hasattr(socket, name):
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return Connection(made.detach())


def _names() -> list[str]:
    """Return addresses by which other machines may know this one, the likeliest first."""
    given = os.environ.get(HOST)
    if given:
        return [given]
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, suppress(OSError):
        probe.connect(("192.0.2.1", 9))  # sends nothing: asks for the route to the outside
        found.append(str(probe.getsockname()[0]))
    with suppress(OSError):
        found.append(socket.gethostbyname(socket.gethostname()))
    return [*found, socket.gethostname()]
