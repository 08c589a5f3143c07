"""Answers of an engine, kept in a checkpoint and given again by a run that goes on from it.

What an engine answers depends on what it was asked before with the same key, and on nothing else.
So answers are found again by key, place in the order and arguments. An engine that starts anew
lacks what those questions had taught it: before it is asked something new, they are asked once
more, as long as that is quick, and then the answers are the same to the last bit.
"""

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from typing import Any, Final, NamedTuple, Protocol, runtime_checkable

from wdaverify.checkpoint import Checkpoint
from wdaverify.encoding import decode, encode
from wdaverify.errors import LimitReached
from wdaverify.exact.cuts import Cut
from wdaverify.exact.dispatch import Request, Runner
from wdaverify.exact.distances import Distances, Errors
from wdaverify.exact.growth import Growth
from wdaverify.exact.lessons import Lessons, Round
from wdaverify.exact.oracle import Asked, Decision, Suprema
from wdaverify.exact.penalty import Penalty
from wdaverify.exact.recession import Tail
from wdaverify.exact.supremum import Counts

__all__ = ["Journal"]

WARMING: Final = 30.0
"""Seconds that a run may spend on questions whose answers it knows."""

TYPES: Final[Mapping[str, type]] = {
    kind.__name__: kind
    for kind in (
        Asked,
        Cut,
        Decision,
        Distances,
        Errors,
        Growth,
        Lessons,
        Penalty,
        Round,
        Suprema,
        Tail,
    )
}

WORK: Final = tuple(field.name for field in fields(Counts) if field.name != "cells")
"""What is counted and adds up."""

Key = tuple[int, int]
Work = tuple[int, ...]
_NONE: Final[Work] = (0,) * len(WORK)


@runtime_checkable
class Streaming(Protocol):
    """A runner that gives every result as soon as it is there."""

    def stream(self, requests: Sequence[Request]) -> Iterator[tuple[int, Any]]:
        """Yield places of requests and their results, in any order."""


class _Record(NamedTuple):
    """An answer, the seconds it took, the work that was counted and the cells of the engine."""

    answer: Any
    seconds: float
    work: tuple[int, ...]
    cells: int


class Journal:
    """A runner that asks another one only for what is not in the checkpoint.

    Parameters
    ----------
    inner
        Who does the work.
    checkpoint
        Where the answers are.
    restores
        Whether the engine can take up kept states (``restore``).
    """

    def __init__(self, inner: Runner, checkpoint: Checkpoint, *, restores: bool = False) -> None:
        self.inner, self.checkpoint, self.restores = inner, checkpoint, restores
        self._number: dict[Key, int] = {}
        self._past: dict[Key, list[tuple[Request, float]]] = {}
        self._live: set[Key] = set()
        self._seen: set[Key] = set()
        self._spent, self._stopped, self._cells = 0.0, False, 0
        self._known, self._again = _NONE, _NONE

    @property
    def counts(self) -> Counts:
        """How much work was done, that of earlier runs included."""
        total = Counts(cells=max(self.inner.counts.cells, self._cells))
        work = _minus(_plus(self._work(), self._known), self._again)
        for name, value in zip(WORK, work, strict=True):
            setattr(total, name, value)
        return total

    def run(self, requests: Sequence[Request]) -> list[Any]:
        """Return a result or a :class:`LimitReached` for each request, in order."""
        if self._stopped:
            return self.inner.run(requests)
        names = [self._name(request) for request in requests]
        results = [
            self._recall(request, name) for request, name in zip(requests, names, strict=True)
        ]
        asked = [k for k, result in enumerate(results) if result is None]
        self._warm([requests[k] for k in asked])
        for k, record in self._ask([requests[k] for k in asked]):
            results[asked[k]] = record
            self._keep(names[asked[k]], record)
        return [None if record is None else record.answer for record in results]

    def close(self) -> None:
        """End what works for the inner runner."""
        close = getattr(self.inner, "close", None)
        if close is not None:
            close()

    def _name(self, request: Request) -> bytes:
        """Return what a request is found by: key, place in the order and arguments."""
        number = self._number.get(request.key, 0)
        self._number[request.key] = number + 1
        place = repr((request.key, number, request.method)).encode()
        sha = hashlib.sha256(place + encode(request.arguments, TYPES))
        return b"answer " + sha.digest()

    def _recall(self, request: Request, name: bytes) -> _Record | None:
        """Return what is known; a key of which something is not known is asked from there on."""
        data = None if request.key in self._live else self.checkpoint.get(name)
        record = None if data is None else _decoded(data)
        if record is None:
            self._live.add(request.key)
            return None
        self._known, self._cells = _plus(self._known, record.work), record.cells
        self._past.setdefault(request.key, []).append((request, record.seconds))
        return record

    def _keep(self, name: bytes, record: _Record) -> None:
        """Keep an answer, unless a limit shaped it or came before it."""
        self._stopped = self._stopped or _limited(record.answer)
        if self._stopped:
            return
        with suppress(TypeError):  # no such type is known: it is asked for again
            self.checkpoint.put(name, encode(tuple(record), TYPES))

    def _warm(self, requests: Sequence[Request]) -> None:
        """Ask again what came before with the same keys, as long as that is quick."""
        again: list[Request] = []
        for request in requests:
            past = self._past.pop(request.key, [])
            past = past[self._restored(past, request) :]
            seconds = sum(seconds for _, seconds in past)
            if self.restores or self._spent + seconds <= WARMING:
                self._spent += seconds
                again += [before for before, _ in past]
        if again:
            before = self._work()
            self.inner.run(again)
            self._again = _plus(self._again, _minus(self._work(), before))

    def _restored(self, past: list[tuple[Request, float]], request: Request) -> int:
        """Let the engine take up a kept state; return how much of the past is in it."""
        questions = [*(before for before, _ in past), request]
        first = request.key not in self._seen
        self._seen.add(request.key)
        if not (self.restores and first and all(q.method == "suprema" for q in questions)):
            return 0
        arguments = ([q.arguments[0] for q in questions],)
        (known,) = self.inner.run([Request(request.key, "restore", arguments)])
        return 0 if isinstance(known, LimitReached) else int(known)

    def _ask(self, requests: Sequence[Request]) -> Iterator[tuple[int, _Record]]:
        """Yield answers as they come, each with the time and work since the one before."""
        if not requests:
            return
        inner, before, start = self.inner, self._work(), time.monotonic()
        if isinstance(inner, Streaming):
            answers = inner.stream(requests)
        else:
            answers = iter(enumerate(inner.run(requests)))
        for k, answer in answers:
            now, work = time.monotonic(), self._work()
            yield k, _Record(answer, now - start, _minus(work, before), inner.counts.cells)
            before, start = work, time.monotonic()

    def _work(self) -> Work:
        return tuple(getattr(self.inner.counts, name) for name in WORK)


def _decoded(data: bytes) -> _Record | None:
    try:
        return _Record(*decode(data, TYPES))
    except (ValueError, TypeError):
        return None


def _plus(a: Work, b: Work) -> Work:
    return tuple(x + y for x, y in zip(a, b, strict=True))


def _minus(a: Work, b: Work) -> Work:
    return tuple(x - y for x, y in zip(a, b, strict=True))


def _limited(answer: Any) -> bool:  # noqa: ANN401
    """Whether a limit shaped an answer."""
    parts = answer if isinstance(answer, list) else [answer]
    return isinstance(answer, LimitReached) or any(
        getattr(part, "reached", None) is not None for part in parts
    )
