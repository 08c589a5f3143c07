"""Numbers of a proof file: floats where they are meant exactly, ``"p/q"`` elsewhere."""

import math
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

from wdaverify.errors import SolverError

__all__ = ["as_json", "sparse"]


def as_json(value: Fraction | float) -> float | int | str:
    """Return a number as the file has it: exactly."""
    if isinstance(value, Fraction):
        if value.denominator == 1 and abs(value.numerator) < 1 << 53:
            return int(value.numerator)
        try:
            near = float(value)
        except OverflowError:
            return str(value) if value.denominator != 1 else f"{value}/1"
        if Fraction(near) == value:
            return near
        return f"{value.numerator}/{value.denominator}"
    if not math.isfinite(value):
        raise SolverError(f"proof: a number came out as {value}, nothing can be shown with it")
    return int(value) if value == int(value) and abs(value) < 1 << 53 else float(value)


def sparse(pairs: Iterable[tuple[int, Fraction | float]]) -> list[Any]:
    """Return ``[k, value, k, value, …]`` in rising order, zeros left out."""
    flat: list[Any] = []
    for k, value in sorted(pairs, key=lambda pair: pair[0]):
        if value:
            flat += [k, as_json(value)]
    return flat
