"""Where output goes: a terminal, a pipe, a file; with or without colours, Unicode and a reader."""

import codecs
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, TextIO

from rich.console import Console
from rich.text import Text

__all__ = ["Screen", "colours", "plain", "streams"]

ENDLESS: Final = 100_000
"""Columns of a pipe or a file: nothing there is folded."""

ASCII: Final = {
    "≤": "<=", "≥": ">=", "∞": "inf", "−": "-", "–": "-", "ε": "eps", "κ": "kappa", "ℓ": "l",
    "·": "|", "…": "...", "×": "x", "λ": "lambda", "─": "-", "→": "->", "₁": "1", "₂": "2",
    "₃": "3", "′": "'", "“": '"', "”": '"', "‘": "'", "’": "'", "≠": "!=", "Σ": "sum", "√": "sqrt",
}  # fmt: skip
"""What stands for a character where only ASCII can be written."""

CODEC: Final = "wdaverify.plain"


class Screen(Console):
    """A console that folds nothing in files, falls back to ASCII and outlives its reader.

    Parameters
    ----------
    stderr
        Write to standard error.
    """

    def __init__(self, *, stderr: bool = False) -> None:
        stream = sys.stderr if stderr else sys.stdout
        wide = not stream.isatty() and "COLUMNS" not in os.environ
        super().__init__(stderr=stderr, highlight=False, width=ENDLESS if wide else None)

    def render_str(self, text: str, **more: Any) -> Text:  # noqa: ANN401
        """Return text that can be written, before its width is measured."""
        return super().render_str(plain(text) if self.options.ascii_only else text, **more)

    def on_broken_pipe(self) -> None:
        """Go on in silence: whoever read has seen enough, but other results may be wanted."""
        silence(sys.stderr if self.stderr else sys.stdout)


def plain(text: str) -> str:
    """Return text in ASCII."""
    return "".join(ASCII.get(c, c) if ord(c) > 127 else c for c in text)


def colours() -> bool | None:
    """Return whether to colour, as NO_COLOR, FORCE_COLOR and TERM say; ``None`` lets others see."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return True if os.environ.get("FORCE_COLOR") else None


@contextmanager
def streams() -> Iterator[None]:
    """Write to both streams without ever failing for a character or a reader that left."""
    codecs.register_error(CODEC, _replaced)
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _Patient(before[0]), _Patient(before[1])
    try:
        yield
    finally:
        for stream in before:
            flush(stream)
        sys.stdout, sys.stderr = before


def silence(stream: TextIO) -> None:
    """Send what a stream is still given to nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def flush(stream: TextIO) -> None:
    """Flush a stream, whoever may have stopped to read it."""
    try:
        stream.flush()
    except BrokenPipeError:
        silence(stream)


class _Patient:
    """A stream whose reader may leave and whose encoding may be poor."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=CODEC)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            silence(self._stream)
            return len(text)

    def flush(self) -> None:
        flush(self._stream)


def _replaced(error: UnicodeError) -> tuple[str, int]:
    """Return ASCII for what an encoding does not know."""
    assert isinstance(error, UnicodeEncodeError)
    text = plain(error.object[error.start : error.end])
    return "".join(c if ord(c) < 128 else "?" for c in text), error.end
