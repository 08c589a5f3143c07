"""A file of records that only grows: what a crash leaves of it is a valid beginning.

Every record is its length, a checksum and its bytes. The checksum covers the one before it as well,
so that a record is believed only where all before it are: a torn or altered one ends the file.
"""

import fcntl
import hashlib
import os
import struct
import time
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import NamedTuple

__all__ = ["LARGEST", "Busy", "Place", "RecordFile"]

MAGIC = b"wdaverify records 1\n"

LENGTH = struct.Struct("<Q")
CHECKSUM = 16
HEAD = LENGTH.size + CHECKSUM

LARGEST = 2**33
"""Most bytes of a file."""

SYNC = 1.0
"""Seconds after which what was written is forced to the disk, against a loss of power."""

NEW = 0o600
"""Permissions of a new file: its owner's alone."""


class Busy(OSError):  # noqa: N818  (a state, not a fault)
    """Another process works on the file."""


class Place(NamedTuple):
    """Where the bytes of a record are."""

    offset: int
    size: int


class RecordFile:
    """A file of records, opened for this process alone.

    Parameters
    ----------
    path
        Made if need be, with its folders.

    Raises
    ------
    Busy
        Another process has it.
    OSError
        It cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._file = path, _locked(path)
        self._chain, self._end, self._synced = b"", 0, time.monotonic()

    def begin(self, header: bytes) -> None:
        """Forget everything; the first record is the header.

        Raises
        ------
        OSError
            What is there is no file of records, and is left alone.
        """
        start = self._read(0, len(MAGIC))
        if not MAGIC.startswith(start):
            raise OSError(f"expected a file of records, found one that begins {start!r}")
        self._chain, self._end = b"", 0
        self._file.truncate(0)
        self._write(MAGIC)
        self.append(header)
        self.sync()

    def recover(self, header: bytes) -> tuple[list[Place], int] | None:
        """Return the valid records after the header, and how many bytes at the end are none.

        Those bytes are cut off. ``None`` where the file has another header, or none.
        """
        size = os.fstat(self._file.fileno()).st_size
        if self._read(0, len(MAGIC)) != MAGIC or size > LARGEST:
            return None
        self._chain, self._end = b"", len(MAGIC)
        places = list(self._valid(size))
        if not places or places[0].size != len(header) or self.read(places[0]) != header:
            return None
        if self._end < size:
            self._file.truncate(self._end)
        return places[1:], size - self._end

    def append(self, body: bytes) -> Place:
        """Write a record.

        Raises
        ------
        OSError
            No space, for instance: the file ends where it did before.
        """
        if self._end + HEAD + len(body) > LARGEST:
            raise OSError(f"more than {LARGEST} bytes")
        length, place = LENGTH.pack(len(body)), Place(self._end + HEAD, len(body))
        chain = _checksum(self._chain, length, body)
        self._write(length + chain + body)
        self._chain = chain
        if time.monotonic() >= self._synced + SYNC:
            self.sync()
        return place

    def read(self, place: Place) -> bytes:
        """Return the bytes of a record."""
        return self._read(place.offset, place.size)

    def sync(self) -> None:
        """Force everything to the disk."""
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()

    def close(self, *, remove: bool = False) -> None:
        """Let others have the file, or remove it."""
        if not self._file.closed:
            if remove:
                self.path.unlink(missing_ok=True)
            else:
                self.sync()
            self._file.close()

    def _valid(self, size: int) -> Iterator[Place]:
        while True:
            head = self._read(self._end, HEAD)
            if len(head) < HEAD:
                return
            (length,) = LENGTH.unpack(head[: LENGTH.size])
            place = Place(self._end + HEAD, length)
            if place.offset + length > size:
                return
            chain = _checksum(self._chain, head[: LENGTH.size], self.read(place))
            if chain != head[LENGTH.size :]:
                return
            self._chain, self._end = chain, place.offset + length
            yield place

    def _read(self, offset: int, size: int) -> bytes:
        parts: list[bytes] = []
        while size > 0 and (part := os.pread(self._file.fileno(), size, offset)):
            parts.append(part)
            offset, size = offset + len(part), size - len(part)
        return b"".join(parts)

    def _write(self, data: bytes) -> None:
        done = 0
        try:
            while done < len(data):
                done += os.pwrite(self._file.fileno(), data[done:], self._end + done)
        except OSError:
            self._file.truncate(self._end)
            raise
        self._end += done


def _checksum(before: bytes, length: bytes, body: bytes) -> bytes:
    sha = hashlib.blake2b(before + length, digest_size=CHECKSUM)
    sha.update(body)
    return sha.digest()


def _locked(path: Path) -> FileIO:
    """Open a file for this process alone; one that its last owner has just removed is made anew."""
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = FileIO(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, NEW), "r+")
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise Busy(f"{path}: another process works on it") from None
        if _same(path, file):
            return file
        file.close()


def _same(path: Path, file: FileIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False
