"""Samples as people have them: tensors, data frames, images, class names. Out come rows and labels.

Neither torch nor pandas is imported: what they return is asked for its values. Whatever has more
than two axes is flattened in C order, as the readers of networks flatten their inputs.
"""

from collections import Counter
from collections.abc import Sequence
from math import prod
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from wdaverify.arrays import Integers, floats, integers
from wdaverify.errors import ProblemError

__all__ = ["Labels", "class_indices", "flattened", "separated", "values_of"]

MISSING: Final = frozenset({"", "?", "na", "n/a", "nan", "none", "null", "<na>"})
"""What files write where a value is missing, in small letters."""

Array = npt.NDArray[Any]


class Labels(NamedTuple):
    """Labels as classes of a network."""

    indices: Integers
    """Class of each sample, ``0 … K−1``, shape ``(N,)``."""
    names: tuple[str, ...]
    """What the data call the classes, in the order of the logits; empty if just 0 … K−1."""
    how: str
    """How the labels were understood, in a few words."""


def values_of(values: Any, name: str) -> Array:  # noqa: ANN401  (whatever holds numbers)
    """Return the values of a tensor, a data frame or anything that numpy takes, as an array.

    Raises
    ------
    ProblemError
        Rows of different lengths, or a column of a data frame that holds no numbers.
    """
    if hasattr(values, "detach"):  # a torch tensor
        values = values.detach().cpu()
        values = (values.double() if values.is_floating_point() else values).numpy()
    elif hasattr(values, "columns") and hasattr(values, "dtypes"):  # a data frame
        values = _columns(values, name)
    elif hasattr(values, "to_numpy"):
        values = values.to_numpy()
    try:
        return np.asarray(values)
    except (TypeError, ValueError):
        raise ProblemError(
            f"{name}: expected an array, found {type(values).__name__} with rows of other lengths"
        ) from None


def separated(X: Any, y: Any) -> tuple[Any, Any]:  # noqa: ANN401
    """Return features and labels, where ``y`` may name a column of the data frame ``X``.

    Raises
    ------
    ProblemError
        ``X`` has no such column, or is no data frame.
    """
    if not isinstance(y, str):
        return X, y
    if not hasattr(X, "columns"):
        raise ProblemError(
            f"y: expected labels, found the name {y!r}, which needs a data frame as X"
        )
    if list(X.columns).count(y) != 1:
        shown = ", ".join(str(column) for column in list(X.columns)[:20])
        raise ProblemError(f"y: expected the name of a column ({shown}), found {y!r}")
    return X.drop(columns=y), X[y]


def flattened(
    X: Any,  # noqa: ANN401
    shape: Sequence[int] | None = None,
) -> tuple[Array, tuple[int, ...]]:
    """Return samples as rows, and the shape of one sample as a network takes it.

    Parameters
    ----------
    X
        Shape ``(N, n)`` or, for images, ``(N, C, H, W)``.
    shape
        Shape of one sample where the network wants another than ``X`` has: rows of 64 numbers for
        a network that takes ``(1, 8, 8)``.

    Raises
    ------
    ProblemError
        Not numbers, no axis for the features, or samples that do not have this shape; axes in
        another order, such as channels last, are refused and not guessed.
    """
    array = values_of(X, "points")
    if array.ndim < 2:
        raise ProblemError(f"points: expected shape (N, n) or (N, C, H, W), found {array.shape}")
    found = tuple(int(size) for size in array.shape[1:])
    wanted = found if shape is None else tuple(int(size) for size in shape)
    _check_axes(found, wanted)
    rows = array.reshape(len(array), prod(found))
    if rows.dtype.kind == "O":  # integers beside floats in a data frame, Python's own numbers
        try:
            rows = rows.astype(np.float64)
        except (TypeError, ValueError):
            raise ProblemError("points: expected real numbers, found other objects") from None
    floats(rows, "points")
    return rows, wanted


def class_indices(
    labels: Any,  # noqa: ANN401
    classes: int,
    names: Sequence[str] | None = None,
) -> Labels:
    """Return labels as indices of logits.

    Integers from 0 to K − 1 are taken as they are, whether they are stored as integers, floats,
    booleans or text; rows of a one-hot array give the place of their 1. Any other K values, such
    as K names or 1 … K, are put in sorted order.

    Parameters
    ----------
    labels
        Shape ``(N,)``, ``(N, 1)`` or one-hot ``(N, K)``.
    classes
        Number K of logits.
    names
        What the data call the classes, in the order of the logits; decides what is left open.

    Raises
    ------
    ProblemError
        A missing label, one that is none of K classes, or names that leave open which is which.
    """
    array = values_of(labels, "labels")
    array = getattr(labels, "cat", labels).codes.to_numpy() if _categorical(labels) else array
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim == 2:
        return _named(_one_hot(array, classes), classes, names)
    if array.ndim != 1:
        raise ProblemError(f"labels: expected shape (N,) or one-hot (N, K), found {array.shape}")
    if _categorical(labels):
        return _of_categories(labels, array, classes, names)
    numbers = _numbers(array)
    keys = [str(v) for v in (array if numbers is None else numbers).tolist()]
    if names is not None:
        return _looked_up(keys, classes, names)
    if numbers is not None and not len(_outside(numbers, classes)):
        how = f"{'one number' if len(set(keys)) == 1 else 'numbers'} from 0 to {classes - 1}"
        return Labels(integers(numbers, "labels"), (), f"{how}, as they are")
    kinds = sorted({int(key) for key in keys}) if numbers is not None else sorted(set(keys))
    if len(kinds) != classes:
        raise ProblemError(_open_question(kinds, classes, numbers))
    ordered = tuple(str(kind) for kind in kinds)
    return _looked_up(keys, classes, ordered)._replace(how=f"{classes} values in sorted order")


def _columns(frame: Any, name: str) -> Array:  # noqa: ANN401
    for column, dtype in zip(frame.columns, frame.dtypes, strict=True):
        if getattr(dtype, "kind", "O") not in "fiub":
            raise ProblemError(
                f"{name}: expected numbers in each column, found {dtype} in column {column!r}"
            )
    for column in frame.columns[np.asarray(frame.isna().any(axis=0))]:
        row = int(np.argmax(np.asarray(frame.isna())[:, list(frame.columns).index(column)]))
        raise ProblemError(
            f"{name}: expected finite numbers, found a missing one in column {column!r}, row {row}"
        )
    array: Array = frame.to_numpy(dtype=np.float64)
    return array


def _check_axes(found: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    if prod(found) != prod(wanted):
        raise ProblemError(
            f"points: samples of shape {found} do not fit the network, which takes {wanted}"
        )
    squeezed, target = ([size for size in v if size != 1] for v in (found, wanted))
    if len(squeezed) > 1 and len(target) > 1 and squeezed != target:
        last = len(found) == 3 and found == (*wanted[1:], wanted[0])
        hint = "; channels last? X.transpose(0, 3, 1, 2) puts them first" if last else ""
        raise ProblemError(
            f"points: expected samples of shape {wanted}, as the network takes them, "
            f"found {found}{hint}"
        )


def _categorical(labels: Any) -> bool:  # noqa: ANN401
    return hasattr(getattr(labels, "dtype", None), "categories")


def _of_categories(
    labels: Any,  # noqa: ANN401
    codes: Array,
    classes: int,
    names: Sequence[str] | None,
) -> Labels:
    """Return the codes of a pandas categorical, whose own order says which class is which."""
    categories = tuple(str(value) for value in labels.dtype.categories)
    if (codes < 0).any():
        raise ProblemError(
            f"labels: expected a class, found a missing one at index {np.argmax(codes < 0)}"
        )
    if names is not None:
        return _looked_up([categories[code] for code in codes], classes, names)
    if len(categories) != classes:
        raise ProblemError(_open_question(categories, classes, None))
    how = f"{classes} categories, in the order of the data frame"
    return Labels(integers(codes, "labels"), categories, how)


def _one_hot(array: Array, classes: int) -> Integers:
    if array.shape[1] != classes:
        raise ProblemError(
            f"labels: expected shape (N,) or one-hot (N, {classes}), as the network has {classes} "
            f"logits, found {array.shape}"
        )
    values = floats(array, "labels")
    bad = np.flatnonzero(((values != 0) & (values != 1)).any(axis=1) | (values.sum(axis=1) != 1))
    if len(bad):
        row = np.array2string(values[bad[0], :8], separator=", ")
        raise ProblemError(
            f"labels: expected one-hot rows (one 1, else 0), found {row} at index {bad[0]}"
        )
    return integers(values.argmax(axis=1), "labels")


def _named(indices: Integers, classes: int, names: Sequence[str] | None) -> Labels:
    given = () if names is None else tuple(names)
    if names is not None:
        _check_names(given, classes)
    return Labels(indices, given, "one-hot rows")


def _numbers(array: Array) -> Integers | None:
    """Return labels that are whole numbers, also as text; ``None`` if they are names.

    Raises
    ------
    ProblemError
        A missing label, or a number that is not whole.
    """
    _check_text(array)
    cells = array.tolist()
    for index, cell in enumerate(cells):
        if cell is None or str(cell).strip().lower() in MISSING:
            raise ProblemError(f"labels: expected a class, found a missing one at index {index}")
    try:
        values = [_number(cell) for cell in cells]
    except ValueError:
        return None
    for index, value in enumerate(values):
        if not value.is_integer() or abs(value) > 2**53:
            raise ProblemError(
                f"labels: expected whole numbers or names of classes, found {value:g} at index "
                f"{index}"
            )
    return integers(np.array(values, dtype=np.float64).astype(np.int64), "labels")


def _check_text(array: Array) -> None:
    """Refuse what is no character: numpy stores any 32 bits."""
    if array.dtype.kind == "U" and array.dtype.itemsize:
        code = np.dtype(np.uint32).newbyteorder(array.dtype.byteorder)
        codes = np.ascontiguousarray(array).view(code).reshape(len(array), -1)
        bad = np.flatnonzero(((codes > 0x10FFFF) | (codes >> 11 == 0x1B)).any(axis=1))
        if len(bad):
            raise ProblemError(
                f"labels: expected text, found characters that do not exist at index {bad[0]}"
            )


def _number(cell: Any) -> float:  # noqa: ANN401
    if isinstance(cell, str) and "_" in cell:  # Python would read 1_0 as 10
        raise ValueError
    try:
        return float(cell)
    except TypeError:
        raise ValueError from None
    except OverflowError:
        return float("inf")


def _outside(numbers: Integers, classes: int) -> Integers:
    return np.flatnonzero((numbers < 0) | (numbers >= classes))


def _looked_up(keys: Sequence[str], classes: int, names: Sequence[str]) -> Labels:
    _check_names(names, classes)
    places = {name: k for k, name in enumerate(names)}
    for index, key in enumerate(keys):
        if key not in places:
            raise ProblemError(
                f"labels: expected one of the classes {_some(names)}, found {key!r} at index "
                f"{index}"
            )
    values = np.array([places[key] for key in keys], dtype=np.int64)
    return Labels(integers(values, "labels"), tuple(names), "names in the order given")


def _check_names(names: Sequence[str], classes: int) -> None:
    if len(names) != classes:
        raise ProblemError(
            f"classes: expected {classes} names, one for each logit, found {len(names)}"
        )
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ProblemError(f"classes: expected different names, found {twice[0]!r} twice")


def _open_question(kinds: Sequence[Any], classes: int, numbers: Integers | None) -> str:
    found = f"found {len(kinds)} different values ({_some(kinds)})"
    if numbers is not None:
        place = _outside(numbers, classes)[0]
        return (
            f"labels: expected 0 to {classes - 1} (the network has {classes} logits), "
            f"found {numbers[place]} at index {place}; other labels are understood if there are "
            f"{classes} of them, {found}"
        )
    return (
        f"labels: expected {classes} classes, one for each logit, {found}; "
        f"name all classes in the order of the logits (classes=, --classes)"
    )


def _some(values: Sequence[Any]) -> str:
    shown = ", ".join(str(value)[:40] for value in values[:8])
    return shown + (", …" if len(values) > 8 else "")
