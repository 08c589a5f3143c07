"""Arrays of numbers out of npz files: nothing in them is run, nothing absurd is allocated."""

import lzma
import struct
import tokenize
import warnings
import zipfile
from collections.abc import Callable, Collection, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from wdaverify.errors import ProblemError
from wdaverify.importers.place import MALFORMED, one_line
from wdaverify.storage.places import existing_file, suggestion

__all__ = ["LARGEST", "choose", "read_npz"]

LARGEST: Final = 2 * 10**9
"""Most bytes that the arrays of one file may take as float64."""

_EXPECTED: Final = "expected an npz archive (numpy.savez)"
_SUFFIX: Final = ".npy"
_BROKEN: Final = (
    *MALFORMED,
    EOFError,
    lzma.LZMAError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
)
_HEADERS: Final = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}

Array = npt.NDArray[Any]


def read_npz(
    path: Path,
    wanted: Callable[[Sequence[str]], Sequence[str]],
    *,
    text: Collection[str] = (),
) -> dict[str, Array]:
    """Return the wanted arrays of an npz file.

    Parameters
    ----------
    path
        The file.
    wanted
        Given the names in the file, returns those to read or raises a `ProblemError`.
    text
        Names of arrays that may also hold strings of fixed length.

    Raises
    ------
    ProblemError
        Not an npz archive, a broken one, one that holds something else than numbers, or more than
        `LARGEST` bytes of them; the message begins with the path.
    """
    try:
        with warnings.catch_warnings(), zipfile.ZipFile(existing_file(path, "a file")) as archive:
            warnings.simplefilter("ignore")  # of numpy, about arrays of Python 2
            names = [n.removesuffix(_SUFFIX) for n in archive.namelist() if n.endswith(_SUFFIX)]
            chosen = wanted(names)
            kinds = {name: "fiubU" if name in text else "fiub" for name in chosen}
            _check_total({name: _bytes(archive, name, kinds[name]) for name in chosen})
            return {name: _read(archive, name) for name in chosen}
    except ProblemError as error:
        raise ProblemError(f"{path}: {error}") from error
    except zipfile.BadZipFile as error:
        raise ProblemError(f"{path}: {_EXPECTED}, found {_found(path, error)}") from error
    except _BROKEN as error:
        raise ProblemError(f"{path}: {_EXPECTED}, found a broken one: {one_line(error)}") from error


def choose(
    found: Sequence[str], required: Sequence[str], optional: Sequence[str] = ()
) -> list[str]:
    """Return the required names and those optional ones that are there; others are left alone.

    Raises
    ------
    ProblemError
        A required name is missing, or a strange name is one letter away from an optional one.
    """
    there = ", ".join(repr(name) for name in found[:20]) or "none"
    for name in required:
        if name not in found:
            raise ProblemError(
                f"{name}: expected arrays {', '.join([*required, *optional])}, found {there}"
            )
    absent = [name for name in optional if name not in found]
    for name in found:
        if name not in required and (meant := suggestion(name, absent)):
            raise ProblemError(f"{name!r}: found an array of that name{meant}")
    return [*required, *(name for name in optional if name in found)]


def _check_total(sizes: Mapping[str, int]) -> None:
    total = sum(sizes.values())
    if total > LARGEST:
        raise ProblemError(f"expected at most {LARGEST} bytes of arrays, found {total}")


def _bytes(archive: zipfile.ZipFile, name: str, kinds: str) -> int:
    """Return the size of an array as float64, from its header alone."""
    entry = archive.getinfo(name + _SUFFIX)
    with archive.open(entry) as file:
        version = np.lib.format.read_magic(file)
        if version not in _HEADERS:
            raise ProblemError(f"{name}: expected numbers, found npy version {version}")
        shape, _, dtype = _HEADERS[version](file)
        start = file.tell()
    if dtype.kind not in kinds:
        what = "Python objects" if dtype.hasobject else str(dtype)[:60]
        wanted = "real numbers or strings of fixed length" if "U" in kinds else "real numbers"
        raise ProblemError(f"{name}: expected {wanted}, found an array of {what}")
    if min(shape, default=0) < 0:
        raise ProblemError(f"{name}: expected a shape without negative sizes, found {shape}")
    size = prod(max(length, 1) for length in shape) * max(dtype.itemsize, 8)
    if size > LARGEST:
        raise ProblemError(f"{name}: expected at most {LARGEST} bytes, found shape {shape}")
    if start + prod(shape) * dtype.itemsize > entry.file_size:
        raise ProblemError(
            f"{name}: expected {prod(shape) * dtype.itemsize} bytes for shape {shape}, "
            f"found {entry.file_size - start}"
        )
    return size


def _read(archive: zipfile.ZipFile, name: str) -> Array:
    with archive.open(name + _SUFFIX) as file:
        array: Array = np.lib.format.read_array(file, allow_pickle=False)
    return array


def _found(path: Path, error: zipfile.BadZipFile) -> str:
    with path.open("rb") as file:
        start = file.read(12)
    if start.startswith(b"\x93NUMPY"):
        return "a single npy array"
    if start.startswith(b"PK"):
        return f"a broken one: {one_line(error)}"
    return f"a file beginning {start!r}" if start else "an empty file"
