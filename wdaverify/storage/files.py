"""Files written whole or not at all: a temporary neighbour that takes the name at the end."""

import json
import math
import os
import secrets
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from wdaverify.errors import ProblemError

__all__ = ["check_place", "neighbour", "replacing", "write_arrays", "write_json", "writing"]


def write_json(path: str | Path, data: Any) -> None:  # noqa: ANN401  (a tree of JSON values)
    """Write JSON; infinite numbers become ``"inf"`` and ``"-inf"``.

    Parameters
    ----------
    path
        The file, or ``-`` for standard output.
    data
        Mappings with string keys, sequences, numbers, strings, paths, booleans and ``None``, as
        Python or as numpy has them.

    Raises
    ------
    ProblemError
        The file cannot be written.
    ValueError
        A NaN; the message says where.
    TypeError
        A value that JSON does not know; the message says where.
    """
    text = json.dumps(_plain(data, "data"), indent=2, allow_nan=False) + "\n"
    if str(path) == "-":
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    with replacing(Path(path)) as file:
        file.write(text.encode())


def write_arrays(path: str | Path, **arrays: npt.ArrayLike) -> None:
    """Write an npz file under exactly this name.

    Raises
    ------
    ProblemError
        The file cannot be written.
    TypeError
        An array of Python objects.
    """
    checked = {name: np.asarray(array) for name, array in arrays.items()}
    for name, array in checked.items():
        if array.dtype.hasobject:
            raise TypeError(f"{name}: expected numbers or strings, found an array of objects")
    with replacing(Path(path)) as file:
        np.savez(file, allow_pickle=False, **checked)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a file that takes the place of ``path`` when the block ends without an exception.

    What is not a regular file (a pipe, ``/dev/null``) is written directly.

    Raises
    ------
    ProblemError
        The file cannot be written.
    """
    with writing(path):
        if path.is_dir():
            raise ProblemError(f"{path}: expected the name of a file, found a folder")
        if path.exists() and not path.is_file():
            with path.open("wb") as file:
                yield file
            return
        target = path.resolve()  # a link stays one
        temporary = neighbour(target)
        try:
            with temporary.open("xb") as file:
                yield file
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)


def check_place(path: Path) -> None:
    """Find out whether :func:`replacing` can write here, before the work that comes first.

    Raises
    ------
    ProblemError
        The file cannot be written.
    """
    with writing(path):
        if path.exists() and not path.is_file() and not path.is_dir():
            if not path.is_fifo():  # a pipe may have no reader yet, and opening would wait for one
                path.open("ab").close()
            return
        if path.is_dir():
            raise ProblemError(f"{path}: expected the name of a file, found a folder")
        temporary = neighbour(path.resolve())
        temporary.open("xb").close()
        temporary.unlink()


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn errors of the file system into one line.

    Raises
    ------
    ProblemError
        The file cannot be written.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ProblemError(f"{path}: expected a place to write to, found: {reason}") from error


def neighbour(path: Path) -> Path:
    """Return an unused hidden name in the folder of ``path``."""
    return path.parent / f".wdaverify-{os.getpid()}-{secrets.token_hex(6)}"


def _plain(value: Any, place: str) -> Any:  # noqa: ANN401  (one return per JSON type)
    """Return ``value`` as plain Python values."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if math.isnan(value):
            raise ValueError(f"{place}: expected a number, found NaN")
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {_key(k, place): _plain(v, f"{place}.{k}") for k, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return [_plain(v, f"{place}[{k}]") for k, v in enumerate(value)]
    raise TypeError(f"{place}: expected a JSON value, found {type(value).__name__}")


def _key(key: Any, place: str) -> str:  # noqa: ANN401
    if not isinstance(key, str):
        raise TypeError(f"{place}: expected string keys, found {key!r}")
    return key
