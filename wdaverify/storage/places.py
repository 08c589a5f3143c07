"""Where a complaint comes from: every message is one line, ``PATH: key: expected …, found …``."""

import difflib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from wdaverify.errors import ProblemError, UnsupportedError

__all__ = ["complaints_on_one_line", "existing_file", "keys_placed", "suggestion"]


@contextmanager
def complaints_on_one_line() -> Iterator[None]:
    """Escape line breaks (a path may hold some) and silence numpy: the checks speak instead.

    Raises
    ------
    ProblemError, UnsupportedError
        What was raised inside, on one line.
    """
    try:
        with np.errstate(all="ignore"):
            yield
    except (ProblemError, UnsupportedError) as error:
        lines = str(error).splitlines()
        if len(lines) < 2:
            raise
        raise type(error)("\\n".join(lines)) from error


@contextmanager
def keys_placed(path: Path, places: Mapping[str, str]) -> Iterator[None]:
    """Put in front of ``key: …`` the file that the key stands in.

    Parameters
    ----------
    path
        The file that is meant unless ``places`` knows better.
    places
        Replacement of the key, such as ``{"points": "…/data.npz: points"}``.

    Raises
    ------
    ProblemError
        One was raised inside.
    """
    try:
        yield
    except ProblemError as error:
        key, colon, rest = str(error).partition(":")
        raise ProblemError(f"{places.get(key, f'{path}: {key}')}{colon}{rest}") from error


def existing_file(path: Path, wanted: str) -> Path:
    """Return ``path`` if it is a file.

    Raises
    ------
    ProblemError
        It is not; the message does not name the path.
    """
    try:
        path.stat()
        found = "a folder" if path.is_dir() else ""
    except (FileNotFoundError, NotADirectoryError, ValueError):  # a null byte is a ValueError
        found = "no such file"
    except OSError as error:
        found = str(error.strerror)
    if found:
        raise ProblemError(f"expected {wanted}, found {found}")
    return path


def suggestion(word: str, known: Collection[str]) -> str:
    """Return ``; did you mean …?`` if ``word`` resembles one of ``known``, else nothing."""
    nearest = difflib.get_close_matches(word.lower(), known, n=1)
    return f"; did you mean {nearest[0]!r}?" if nearest else ""
