"""Tables of text: a header, a row of numbers per sample, and one column that holds the labels.

The separator is the comma, semicolon or tab that the header has most of. Nothing is guessed about
a cell: what is not a number is named with its line and column.
"""

import csv
import math
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple, TextIO

import numpy as np

from wdaverify.arrays import Floats
from wdaverify.errors import ProblemError
from wdaverify.importers.place import one_line
from wdaverify.samples import MISSING
from wdaverify.storage.archive import LARGEST
from wdaverify.storage.places import existing_file, suggestion

__all__ = ["LABEL_COLUMNS", "NumberTable", "read_table"]

LABEL_COLUMNS: Final = ("label", "labels", "class", "target", "y")
"""Names by which a column of labels is known, in small letters."""

_SEPARATORS: Final = {",": "comma", ";": "semicolon", "\t": "tab"}
_LOGICAL: Final = {"true": 1.0, "false": 0.0}
_LONGEST: Final = 2 * 10**7
"""Most characters of the header, which has the names of all features."""


class NumberTable(NamedTuple):
    """A table as it was read."""

    points: Floats
    """Shape ``(N, n)``."""
    labels: tuple[str, ...]
    """The label of each row, as the file spells it."""
    lines: tuple[int, ...]
    """The line of the file that each row stands in."""
    features: tuple[str, ...]
    """Names of the ``n`` columns."""
    notes: tuple[str, ...]
    """What was understood: which column holds the labels, what was left out."""


def read_table(path: Path, label_column: str | None = None) -> NumberTable:
    """Read a file of comma-separated values.

    Parameters
    ----------
    path
        UTF-8 text whose first line names the columns.
    label_column
        Name of the column of labels. When omitted: the one called like one of `LABEL_COLUMNS`,
        else the last.

    Raises
    ------
    ProblemError
        Not such a table; the message names line and column.
    """
    existing_file(path, "a table")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _read(file, label_column)
    except UnicodeDecodeError as error:
        raise ProblemError(
            f"expected a table in UTF-8, found the byte {error.object[error.start]:#04x}"
        ) from None
    except csv.Error as error:
        raise ProblemError(f"expected comma-separated values, found a mistake: {error}") from None
    except OSError as error:
        raise ProblemError(f"expected a table, found {one_line(error)}") from None


def _read(file: TextIO, label_column: str | None) -> NumberTable:
    header, separator = _header(file)
    column, why = _label(header, label_column)
    note = f"labels: column {header[column]!r} ({why})"
    rows = csv.reader(file, delimiter=separator, strict=True)
    numbers, labels, lines = _body(rows, header, column)
    features = [name for k, name in enumerate(header) if k != column]
    if not lines:
        raise ProblemError("line 2: expected at least one sample, found none below the header")
    points = np.frombuffer(numbers, dtype=np.float64).reshape(len(lines), len(features))
    notes = [note]
    if separator != ",":
        notes.append(f"columns are separated by a {_SEPARATORS[separator]}")
    if not features[0].strip() and np.array_equal(points[:, 0], np.arange(len(points))):
        features, points = features[1:], points[:, 1:]
        notes.append("the first column has no name and counts the rows: left out")
    if not features:
        raise ProblemError(f"line 1: expected columns of features, found only {header[column]!r}")
    return NumberTable(points, tuple(labels), tuple(lines), tuple(features), tuple(notes))


def _header(file: TextIO) -> tuple[list[str], str]:
    first = file.readline(_LONGEST)
    if not first.strip():
        raise ProblemError("line 1: expected a header with the names of the columns, found none")
    if "\0" in first:
        raise ProblemError("expected a table of text, found a binary file")
    separator = max(_SEPARATORS, key=first.count)
    header = next(csv.reader([first], delimiter=separator, strict=True))
    header = [name.strip() for name in header]
    if len(header) < 2:
        raise ProblemError(
            f"line 1: expected names of columns with commas between them, found {header[0][:60]!r}"
        )
    if all(_number(name) is not None for name in header):
        raise ProblemError(
            "line 1: expected a header with the names of the columns, found only numbers"
        )
    return header, separator


def _label(header: Sequence[str], wanted: str | None) -> tuple[int, str]:
    """Return the place of the column of labels, and why it is this one."""
    if wanted is not None:
        places = [k for k, name in enumerate(header) if name == wanted]
        if len(places) == 1:
            return places[0], "as asked"
        found = "several" if places else "none"
        shown = ", ".join(header[:20]) + (", …" if len(header) > 20 else "")
        raise ProblemError(
            f"--label-column: expected one of the columns {shown}, found {found} called "
            f"{wanted!r}{suggestion(wanted, header)}"
        )
    places = [k for k, name in enumerate(header) if name.lower() in LABEL_COLUMNS]
    if len(places) > 1:
        found = " and ".join(repr(header[k]) for k in places)
        raise ProblemError(
            f"line 1: expected one column of labels, found {found}; choose with --label-column"
        )
    if places:
        return places[0], "by its name"
    return len(header) - 1, "the last one; --label-column names another"


def _body(
    rows: Iterator[list[str]], header: Sequence[str], column: int
) -> tuple["array[float]", list[str], list[int]]:
    numbers: array[float] = array("d")
    labels: list[str] = []
    lines: list[int] = []
    for line, cells in enumerate(rows, start=2):
        if not cells or (len(cells) == 1 and not cells[0].strip()):
            continue  # an empty line
        if len(cells) != len(header):
            raise ProblemError(
                f"line {line}: expected {len(header)} cells as in the header, found {len(cells)}"
            )
        label = cells.pop(column)
        if label.strip().lower() in MISSING:
            raise ProblemError(
                f"line {line}, column {header[column]!r}: expected a label, found a missing one"
            )
        labels.append(label.strip())
        lines.append(line)
        numbers.extend(_numbers(cells, line, header, column))
        if len(numbers) * 8 > LARGEST:
            raise ProblemError(
                f"line {line}: expected at most {LARGEST} bytes of numbers, found more"
            )
    return numbers, labels, lines


def _numbers(cells: Sequence[str], line: int, header: Sequence[str], column: int) -> list[float]:
    values = []
    for k, cell in enumerate(cells):
        value = _number(cell)
        if value is None or not math.isfinite(value):
            name = header[k if k < column else k + 1]
            missing = cell.strip().lower() in MISSING
            found = "a missing one" if missing else repr(cell.strip()[:40])
            raise ProblemError(
                f"line {line}, column {name[:60]!r}: expected a finite number, found {found}"
            )
        values.append(value)
    return values


def _number(cell: str) -> float | None:
    """Return a cell as a number, ``true`` and ``false`` as 1 and 0; ``None`` if it is neither."""
    try:
        return float(cell) if "_" not in cell else None  # Python would read 1_0 as 10
    except ValueError:
        return _LOGICAL.get(cell.strip().lower())
