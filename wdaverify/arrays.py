"""Checked, read-only arrays: data enters the package through these functions once."""

from typing import Any

import numpy as np
import numpy.typing as npt

from wdaverify.errors import ProblemError

__all__ = ["Bools", "Floats", "Integers", "floats", "integers"]

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


def floats(
    values: npt.ArrayLike, name: str, *, ndim: int | None = None, infinite: bool = False
) -> Floats:
    """Return ``values`` as a read-only float64 array without NaN (and, by default, infinities).

    Raises
    ------
    ProblemError
        Not numeric, wrong number of dimensions, or a value that is not allowed; the message
        names the array and the first offending position.
    """
    try:
        array = np.asarray(values)
        real = array.dtype.kind in "fiub"
        if real:
            array = np.array(array, dtype=np.float64)
    except (TypeError, ValueError):
        real = False
    if not real:
        raise ProblemError(f"{name}: expected real numbers, found {_kind(values)}")
    if ndim is not None and array.ndim != ndim:
        raise ProblemError(f"{name}: expected {ndim} dimension(s), found shape {array.shape}")
    bad = np.isnan(array) if infinite else ~np.isfinite(array)
    if bad.any():
        where = tuple(int(k) for k in np.argwhere(bad)[0])
        place = f" at index {where[0] if len(where) == 1 else where}" if where else ""
        wanted = "a number" if infinite else "finite numbers"
        raise ProblemError(f"{name}: expected {wanted}, found {array[where]}{place}")
    array.flags.writeable = False
    return array


def integers(values: npt.ArrayLike, name: str, *, ndim: int = 1) -> Integers:
    """Return ``values`` as a read-only int64 array; floats with integral values are accepted.

    Raises
    ------
    ProblemError
        Not integral, or the wrong number of dimensions.
    """
    array = np.asarray(values)
    if array.ndim != ndim:
        raise ProblemError(f"{name}: expected {ndim} dimension(s), found shape {array.shape}")
    if array.dtype.kind not in "iufb" or (array.dtype.kind == "f" and not _integral(array)):
        raise ProblemError(f"{name}: expected integers, found {_kind(values)}")
    result: Integers = array.astype(np.int64)
    result.flags.writeable = False
    return result


def _integral(array: npt.NDArray[Any]) -> bool:
    return bool(np.all(np.isfinite(array)) and np.all(array == np.round(array)))


def _kind(values: npt.ArrayLike) -> str:
    if isinstance(values, str):
        return repr(values)
    dtype = getattr(values, "dtype", None)
    return f"an array of {dtype}" if dtype is not None else repr(values)[:60]
