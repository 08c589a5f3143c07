"""Where in a file a complaint comes from: one line of text in front of every message."""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from wdaverify.errors import ProblemError, UnsupportedError

__all__ = ["MALFORMED", "at", "one_line"]

MALFORMED: Final = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    SystemError,
    TypeError,
    ValueError,
    zlib.error,
)
"""What numpy, onnx and torch raise when a file contradicts itself (not: bugs such as NameError)."""


@contextmanager
def at(place: str) -> Iterator[None]:
    """Prefix the errors raised inside with ``place``; what others raise becomes a `ProblemError`.

    Raises
    ------
    ProblemError
        A `ProblemError`, or any of `MALFORMED`, was raised inside.
    UnsupportedError
        An `UnsupportedError` was raised inside.
    """
    try:
        yield
    except UnsupportedError as error:
        raise UnsupportedError(f"{place}: {error}") from error
    except ProblemError as error:
        raise ProblemError(f"{place}: {error}") from error
    except MALFORMED as error:
        raise ProblemError(f"{place}: malformed: {one_line(error)}") from error


def one_line(error: BaseException) -> str:
    """Return the type and the start of the message of ``error`` on one line."""
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words[:200]}" if words else type(error).__name__
