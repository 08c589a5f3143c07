"""Samples from a user's own file: arrays of an npz archive under their usual names, or a table."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from wdaverify.errors import ProblemError
from wdaverify.importers.place import at
from wdaverify.storage.archive import read_npz
from wdaverify.storage.places import complaints_on_one_line, existing_file
from wdaverify.storage.tables import read_table

__all__ = ["Samples", "read_samples"]

PAIRS: Final = (
    ("points", "labels"),
    ("X", "y"),
    ("x", "y"),
    ("x_test", "y_test"),
    ("X_test", "y_test"),
    ("x_train", "y_train"),
    ("X_train", "y_train"),
    ("data", "target"),
    ("data", "labels"),
    ("features", "labels"),
    ("images", "labels"),
    ("inputs", "labels"),
    ("inputs", "targets"),
)
"""Names under which points and labels are looked for, in this order."""

_WEIGHTS: Final = ("weights", "sample_weight")


class Samples(NamedTuple):
    """Samples as the file has them."""

    points: npt.NDArray[Any]
    """Shape ``(N, n)`` or ``(N, C, H, W)``, in the number type of the file."""
    labels: npt.NDArray[Any]
    """Shape ``(N,)`` or one-hot ``(N, K)``: numbers or strings."""
    weights: npt.NDArray[Any] | None
    features: tuple[str, ...]
    """Names of the features; empty if the file has none."""
    notes: tuple[str, ...]
    """What was read, and how that was chosen."""


def read_samples(path: str | Path, label_column: str | None = None) -> Samples:
    """Read samples from a ``.npz`` or a ``.csv`` (``.tsv``) file.

    Parameters
    ----------
    path
        The file.
    label_column
        For tables: the column of labels.

    Raises
    ------
    ProblemError
        Another type of file, or one that cannot be understood; one line that names the place.
    """
    path = Path(path)
    with complaints_on_one_line():
        if path.suffix.lower() == ".npz":
            return _arrays(path, label_column)
        with at(str(path)):
            if path.suffix.lower() not in {".csv", ".tsv"}:
                existing_file(path, "samples")
                raise ProblemError(f"expected samples of type .npz or .csv, found {path.name!r}")
            table = read_table(path, label_column)
        labels = np.array(table.labels, dtype=object)
        return Samples(table.points, labels, None, table.features, table.notes)


def _arrays(path: Path, label_column: str | None) -> Samples:
    if label_column is not None:
        raise ProblemError(
            f"{path}: --label-column: expected a table (.csv), found arrays, which have none"
        )
    chosen: list[str] = []
    others: list[str] = []

    def wanted(found: Sequence[str]) -> list[str]:
        chosen.extend(_choose(found))
        others.extend(name for name in found if name not in chosen)
        return chosen

    text = {labels for _, labels in PAIRS}
    arrays = read_npz(path, wanted, text=text)
    points, labels, *weights = chosen
    return Samples(
        arrays[points],
        arrays[labels],
        arrays[weights[0]] if weights else None,
        (),
        (f"arrays {_quoted(chosen)}{f' (not {_quoted(others)})' if others else ''}",),
    )


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names[:8]) + (", …" if len(names) > 8 else "")


def _choose(found: Sequence[str]) -> list[str]:
    for pair in PAIRS:
        if set(pair) <= set(found):
            return [*pair, *[name for name in _WEIGHTS if name in found][:1]]
    there = ", ".join(repr(name) for name in found[:20]) or "none"
    raise ProblemError(
        f"expected arrays 'points' and 'labels', or 'X' and 'y' (or 'x_test' and 'y_test', …), "
        f"found {there}"
    )
