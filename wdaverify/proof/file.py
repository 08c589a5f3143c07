"""The proof file: lines gathered on the side, then written whole or not at all."""

import gzip
import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple, Self

from wdaverify.checker.verdict import check_file
from wdaverify.limits import Limits
from wdaverify.proof.numbers import as_json
from wdaverify.storage.files import replacing

__all__ = ["Body", "Claim", "Refuted", "write_proof"]

LEVEL = 6
"""Compression."""


class Refuted(Exception):  # noqa: N818  (not an error yet: margins may have been too small)
    """The checker rejects what was written; the message says where and why."""


class Claim(NamedTuple):
    """What a file claims: its kind, and the exact ends that it proves."""

    kind: str
    lower: Fraction
    upper: Fraction


class Body:
    """The trees of a proof, kept in a temporary file: the bounds before them are known last."""

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  (closed by the block)
        self.lines = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def add(self, items: Iterable[dict[str, Any]]) -> None:
        """Append lines."""
        for item in items:
            self._file.write(encoded(item))
            self.lines += 1

    def chunks(self) -> Iterable[bytes]:
        """Return everything from the beginning."""
        self._file.seek(0)
        while chunk := self._file.read(1 << 20):
            yield chunk
        self._file.seek(0, 2)


def encoded(item: dict[str, Any]) -> bytes:
    """Return a line."""
    return json.dumps(item, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def write_proof(
    path: Path, question: bytes, claim: Claim, parts: tuple[list[dict[str, Any]], Body],
    *, checked: bool, limits: Limits | None = None,
) -> None:  # fmt: skip
    """Write a proof: the checker may look at it before it takes its name.

    Parameters
    ----------
    question
        The question line, without its end.
    parts
        Lines before the trees, and the trees.
    limits
        Of the check.

    Raises
    ------
    ProblemError
        The file cannot be written; nothing is left of it then.
    Refuted
        The checker rejects it; nothing is left of it.
    LimitReached
        The check was not finished; nothing is left of the file.
    """
    first, body = parts
    header = {
        "format": "wdaverify-proof", "version": 1, "kind": claim.kind,
        "question": hashlib.sha256(question).hexdigest(),
        "lower": as_json(claim.lower), "upper": as_json(claim.upper),
        "tool": f"wdaverify {version('wdaverify')}",
    }  # fmt: skip
    with replacing(path) as raw:
        with gzip.GzipFile("", "wb", LEVEL, raw, mtime=0) as file:
            file.write(encoded(header) + question + b"\n")
            for item in first:
                file.write(encoded(item))
            for chunk in body.chunks():
                file.write(chunk)
            file.write(encoded({"end": 2 + len(first) + body.lines}))
        raw.flush()
        if checked and Path(raw.name).is_file():
            verdict = check_file(raw.name, _watched(limits or Limits(), raw.tell()))
            if not verdict.accepted:
                raise Refuted(f"line {verdict.line}: {verdict.reason}")


def _watched(limits: Limits, size: int) -> Callable[[int], None]:
    """Return what the checker calls before every line: the limits hold for it too."""

    def told(read: int) -> None:
        limits.check("checking the proof")
        limits.report("checking the file", read / max(size, 1))

    return told
