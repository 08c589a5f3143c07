"""What a long run has found so far, kept where a crash cannot reach it.

A checkpoint is a file of named records (:mod:`wdaverify.records`) about one question under one set
of options; its header says which, and under another header nothing in it is used. Records wait in
memory until a run is a minute old, so that short runs leave no trace.
"""

import hashlib
import json
import os
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from wdaverify.problem import Problem
from wdaverify.records import Busy, Place, RecordFile
from wdaverify.states import States

__all__ = ["AFTER", "Checkpoint", "cache_folder", "checkpoint_at", "question_digest"]

AFTER = 60.0
"""Seconds of work that are worth a file."""

SUFFIX = ".checkpoint"
OLD = 30 * 24 * 3600.0
"""Seconds after which a file in the cache that nobody came back to is removed."""

NAME = struct.Struct("<H")
PACKAGES = ("wdaverify", "numpy", "highspy", "torch")
FORMAT = 1


def cache_folder() -> Path:
    """Return the folder of checkpoints: ``$XDG_CACHE_HOME/wdaverify``, or in ``~/.cache``."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(given) if given and Path(given).is_absolute() else Path.home() / ".cache"
    return base / "wdaverify"


def question_digest(problem: Problem) -> str:
    """Return the SHA-256 of network, data, loss, cost and support, in hexadecimal."""
    sha = hashlib.sha256()
    loss, cost, support = problem.loss, problem.cost, problem.support
    words = [problem.network.digest, loss.name, cost.norm.name, repr(cost.order)]
    words += [repr(cost.label_cost), type(support).__name__]
    names = getattr(support, "__slots__", ())
    arrays = [problem.points, problem.labels, problem.weights]
    arrays += [np.asarray(getattr(support, name)) for name in names]
    arrays += [getattr(cost.norm, "scales", np.zeros(0))]
    if loss.piecewise_affine:  # a registered loss may have changed behind its name
        classes = problem.network.classes
        arrays += [v for y in range(classes) for v in loss.pieces(classes, y)]
    sha.update("\n".join(words).encode())
    for array in arrays:
        sha.update(f"\n{array.dtype.str}{array.shape}\n".encode() + array.tobytes())
    return sha.hexdigest()


class Checkpoint:
    """Named records of one run, in memory first and then in a file.

    Parameters
    ----------
    path
        The file.
    problem, options
        What the run is about: the file is used for exactly that.
    resume
        Whether to begin with what the file holds, and to write from the beginning.
    after
        Seconds after which the file is written.

    Attributes
    ----------
    notes
        What a person should know, a line each.
    found
        Number of records that were there.
    states
        Where states of searches are kept beside the file.
    """

    def __init__(
        self,
        path: Path,
        problem: Problem,
        options: Mapping[str, Any],
        *,
        resume: bool = False,
        after: float = AFTER,
    ) -> None:
        self.path, self.found = path, 0
        self.notes: list[str] = []
        self._settled = False
        self._header = header_of(problem, options)
        self.states = States(_beside(path), self._header, 0.0 if resume else after)
        self._memory: dict[bytes, bytes] | None = {}
        self._places: dict[bytes, Place] = {}
        self._file: RecordFile | None = None
        self._lock = threading.RLock()
        self._timer: threading.Timer | None = None
        if resume or after <= 0:
            self._open(resume=resume)
        else:
            self._timer = threading.Timer(after, self._open)
            self._timer.daemon = True
            self._timer.start()

    @property
    def written(self) -> bool:
        """Whether there is a file to come back to."""
        return self._file is not None

    def get(self, name: bytes) -> bytes | None:
        """Return the record of a name, ``None`` where there is none."""
        with self._lock:
            if self._memory is not None:
                return self._memory.get(name)
            if self._file is None or name not in self._places:
                return None
            return self._file.read(self._places[name])

    def put(self, name: bytes, value: bytes) -> None:
        """Add a record; a later one of the same name counts."""
        with self._lock:
            if self._settled:
                return
            if self._memory is not None:
                self._memory[name] = value
            elif self._file is not None:
                try:
                    self._places[name] = self._append(self._file, name, value)
                except OSError as error:
                    self._give_up(error)

    def settle(self) -> None:
        """Write nothing further: the work is over, but its result is not out yet."""
        with self._lock:
            self._stop()
            if self._file is not None:
                with suppress(OSError):
                    self._file.sync()

    def close(self, *, done: bool = False) -> None:
        """Let the file go. It stays for another run, unless the work is done."""
        with self._lock:
            self._stop()
            if self._file is not None:
                with suppress(OSError):
                    self._file.close(remove=done)
                if done:
                    self.states.clear()
            self._file = None

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._settled = True

    def _open(self, *, resume: bool = False) -> None:
        """Go over from memory to the file."""
        with self._lock:
            if self._settled:
                return
            memory, self._memory = self._memory or {}, None
            try:
                self._file = file = RecordFile(self.path)
                if resume:
                    self._recover(file)
                else:
                    file.begin(self._header)
                    self.states.clear()
                for name, value in memory.items():
                    self._places[name] = self._append(file, name, value)
            except Busy:
                self._file = None
                self.notes.append(f"no checkpoint: another process writes {self.path}")
            except OSError as error:
                self._give_up(error)

    def _recover(self, file: RecordFile) -> None:
        recovered = file.recover(self._header)
        if recovered is None:
            new = self.path.stat().st_size == 0
            why = "nothing to resume" if new else "not of this question, options and version"
            file.begin(self._header)
            self.states.clear()
            self.notes.append(f"{self.path}: {why}; from the beginning")
            return
        places, dropped = recovered
        for place in places:
            name, offset = _split(file.read(place))
            self._places[name] = Place(place.offset + offset, place.size - offset)
        self.found = len(self._places)
        torn = f", {dropped} bytes of a torn record dropped" if dropped else ""
        self.notes.append(f"resumed: {self.found} records{torn}")

    @staticmethod
    def _append(file: RecordFile, name: bytes, value: bytes) -> Place:
        head = NAME.pack(len(name)) + name
        place = file.append(head + value)
        return Place(place.offset + len(head), len(value))

    def _give_up(self, error: OSError) -> None:
        """Go on without a file; what is in it stays valid."""
        reason = error.strerror or str(error) or type(error).__name__
        self.notes.append(f"no checkpoint: {self.path}: {reason}")
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
        self._memory, self._file, self._places = None, None, {}


def header_of(problem: Problem, options: Mapping[str, Any]) -> bytes:
    """Return what a checkpoint is about, in canonical JSON: question, options and versions."""
    about = {
        "format": FORMAT,
        "question": question_digest(problem),
        "options": {name: repr(value) for name, value in options.items()},
        "versions": {name: _version(name) for name in PACKAGES},
    }
    return json.dumps(about, sort_keys=True, separators=(",", ":")).encode()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def cached(problem: Problem, options: Mapping[str, Any]) -> Path:
    """Return the file in the cache that belongs to a question and options."""
    digest = hashlib.sha256(header_of(problem, options)).hexdigest()
    return cache_folder() / (digest[:32] + SUFFIX)


def remove_old(folder: Path, age: float = OLD) -> None:
    """Remove checkpoints that nobody came back to."""
    with suppress(OSError):
        for path in folder.glob("*" + SUFFIX):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > age:
                    States(_beside(path), b"").clear()
                    RecordFile(path).close(remove=True)


@contextmanager
def checkpoint_at(
    place: "str | Path | Checkpoint | None", problem: Problem, options: Mapping[str, Any]
) -> Iterator[Checkpoint | None]:
    """Open the checkpoint of a call: a file is gone on from where it is about the same question.

    It is closed at the end, and stays; an open one and ``None`` are passed on.
    """
    if place is None or isinstance(place, Checkpoint):
        yield place
        return
    opened = Checkpoint(Path(place), problem, options, resume=True)
    try:
        yield opened
    finally:
        opened.close()


def _beside(path: Path) -> Path:
    """Return the folder of states that belongs to a file."""
    return path.with_name(path.name + ".states")


def _split(record: bytes) -> tuple[bytes, int]:
    """Return the name of a record and where its value begins."""
    (length,) = NAME.unpack_from(record)
    end = NAME.size + length
    return record[NAME.size : end], end
