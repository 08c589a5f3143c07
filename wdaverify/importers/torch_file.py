"""Opening a file of ``torch.export.save``, without running code that it may contain.

``torch.export.load`` unpickles parts of the archive without restrictions, loads compiled libraries
and evaluates symbolic sizes as Python; archives where that could do harm are refused before torch
sees them.
"""

import io
import json
import logging
import pickle
import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch

from wdaverify.errors import ProblemError
from wdaverify.importers.place import MALFORMED, one_line

__all__ = ["load"]

_EXPECTED: Final = "expected a program written by torch.export.save"
_LARGEST: Final = 2 * 10**9
# names of sympy's classes may be called, as in Symbol('s0', integer=True), and nothing else
_ARITHMETIC: Final = re.compile(
    r"(?:[A-Z]\w*+|[a-z_]\w*+(?!\s*\()|'\w++'|\d++|\)(?!\s*\()|[\s(+*/%<>=&|~!,-])*+"
)
_CODE: Final = ("data/aotinductor/", "data/constants/custom_obj_", "data/constants/opaque_obj_")


def load(path: Path) -> torch.export.ExportedProgram:
    """Return the exported program in ``path``.

    Raises
    ------
    ProblemError
        Another kind of file, a broken one, or one with parts that would run code when loaded.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _check(archive)
    except zipfile.BadZipFile:
        with path.open("rb") as file:
            start = file.read(12)
        found = f"a file beginning {start!r}" if start else "an empty file"
        raise ProblemError(f"{_EXPECTED}, found {found}") from None
    except OSError as error:
        raise ProblemError(f"{_EXPECTED}, found {error.strerror}") from None
    except MALFORMED as error:
        raise ProblemError(f"{_EXPECTED}, found a broken one: {one_line(error)}") from error
    try:
        with _silent(logging.getLogger("torch.export")):
            return torch.export.load(path)
    except Exception as error:  # torch has exceptions of its own for broken programs
        raise ProblemError(f"{_EXPECTED}, found a broken one: {one_line(error)}") from error


def _check(archive: zipfile.ZipFile) -> None:
    names = [name.partition("/")[2] for name in archive.namelist()]
    if "archive_format" not in names and "serialized_exported_program.json" not in (
        archive.namelist()
    ):
        other = "a file of torch.save" if "data.pkl" in names else "another zip archive"
        raise ProblemError(f"{_EXPECTED}, found {other}")
    total = sum(entry.file_size for entry in archive.infolist())
    if total > _LARGEST:
        raise ProblemError(f"{_EXPECTED} of at most {_LARGEST} bytes, found {total} unpacked")
    if max(Counter(archive.namelist()).values()) > 1:
        raise ProblemError(f"{_EXPECTED}, found two parts of the same name")
    for full, name in zip(archive.namelist(), names, strict=True):
        if name.startswith(_CODE) or not _is_harmless(full, archive.read(full)):
            raise ProblemError(f"{_EXPECTED} without code, found the part {full!r}")


def _is_harmless(name: str, data: bytes) -> bool:
    if name.endswith(".pt"):
        return _is_plain(data)
    if name.endswith(".json"):
        return _has_no_code(data)
    return True


def _is_plain(data: bytes) -> bool:
    """Whether a pickle holds nothing but tensors and containers of them."""
    try:
        torch.load(io.BytesIO(data), weights_only=True)
    except (*MALFORMED, pickle.UnpicklingError):
        return False
    return True


def _has_no_code(data: bytes) -> bool:
    """Whether a description mentions no pickles and, for sizes, nothing but arithmetic."""
    pickled: list[bool] = []
    sizes: list[str] = []

    def note(part: dict[str, Any]) -> None:
        pickled.append(bool(part.get("use_pickle")))
        sizes.append(str(part.get("expr_str", "")))

    json.loads(data, object_hook=note)
    return not any(pickled) and all(_ARITHMETIC.fullmatch(size) for size in sizes)


@contextmanager
def _silent(logger: logging.Logger) -> Iterator[None]:
    """Keep torch from printing a traceback of what we report in one line."""
    disabled = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = disabled
