"""States of long searches as files, each written whole or not at all, the newest only.

A state that was cut short, altered, or made for another question is none.
"""

import hashlib
import os
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wdaverify.encoding import Types, decode, encode

__all__ = ["States"]

MAGIC = b"wdaverify state 1\n"
CHECKSUM = 32

LARGEST = 2**30
"""Most bytes of a state."""


@dataclass(slots=True)
class States:
    """A folder of states.

    Parameters
    ----------
    folder
        Made when the first state is written.
    stamp
        What the states are about.
    after
        Seconds before the first one is written.
    """

    folder: Path
    stamp: bytes
    after: float = 0.0
    _start: float = field(default_factory=time.monotonic, init=False)

    @property
    def ready(self) -> bool:
        """Whether states are written already."""
        return time.monotonic() >= self._start + self.after

    def save(self, name: str, value: Any, types: Types) -> None:  # noqa: ANN401
        """Write a state in place of the one before; where that fails, nothing is written."""
        data = encode(value, types)
        if len(data) <= LARGEST:
            with suppress(OSError):
                self._write(name, data)

    def load(self, name: str, types: Types) -> Any:  # noqa: ANN401
        """Return a state, ``None`` where there is none."""
        try:
            path = self.folder / name
            if path.stat().st_size > len(MAGIC) + CHECKSUM + LARGEST:
                return None
            content = path.read_bytes()
        except OSError:
            return None
        head, data = content[: len(MAGIC) + CHECKSUM], content[len(MAGIC) + CHECKSUM :]
        return decode(data, types) if head == self._head(data) else None

    def clear(self) -> None:
        """Remove every state, those of unfinished writes as well, and the folder."""
        with suppress(OSError):
            for path in self.folder.iterdir():
                path.unlink(missing_ok=True)
            self.folder.rmdir()

    def _write(self, name: str, data: bytes) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary = self.folder / f".{name}.{os.getpid()}"
        try:
            with temporary.open("wb") as file:
                file.write(self._head(data))
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.folder / name)
        finally:
            temporary.unlink(missing_ok=True)

    def _head(self, data: bytes) -> bytes:
        sha = hashlib.blake2b(self.stamp, digest_size=CHECKSUM)
        sha.update(data)
        return MAGIC + sha.digest()
