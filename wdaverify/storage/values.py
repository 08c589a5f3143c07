"""Values of a TOML table, each checked for its type where it is used."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from wdaverify.errors import ProblemError
from wdaverify.storage.places import suggestion

__all__ = ["Table", "check_radii", "number", "shown"]


@dataclass(frozen=True, slots=True)
class Table:
    """A TOML table that knows what its keys are called in messages.

    Parameters
    ----------
    entries
        What the TOML parser returned.
    prefix
        Such as ``"support."``.
    names
        Names in messages of keys whose value comes from elsewhere: ``{"loss": "--loss"}``.
    """

    entries: Mapping[str, Any]
    prefix: str = ""
    names: Mapping[str, str] = field(default_factory=dict)

    def __contains__(self, key: str) -> bool:
        return key in self.entries

    def name(self, key: str) -> str:
        """Return what ``key`` is called in messages."""
        return self.names.get(key, f"{self.prefix}{key}")

    def check_keys(self, known: Collection[str], elsewhere: Collection[str] = ()) -> None:
        """Refuse unknown keys.

        Parameters
        ----------
        known
            The keys that may occur.
        elsewhere
            Keys that belong before the first table.

        Raises
        ------
        ProblemError
            Names the key and the nearest known one.
        """
        for key in self.entries:
            if key not in known:
                where = self.prefix.removesuffix(".")
                hint = suggestion(key, known)
                if key in elsewhere:
                    hint = f"; {key!r} belongs above the line [{where}]"
                name = key if key.isidentifier() else repr(key)
                raise ProblemError(
                    f"{self.prefix}{name}: expected one of the keys {', '.join(known)}"
                    f"{f' in [{where}]' if where else ''}, found an unknown one{hint}"
                )

    def value(self, key: str, wanted: str) -> Any:  # noqa: ANN401  (whatever TOML has)
        """Return the value of a required key.

        Raises
        ------
        ProblemError
            It is missing.
        """
        if key not in self.entries:
            raise ProblemError(f"{self.name(key)}: expected {wanted}, found no such key")
        return self.entries[key]

    def text(self, key: str, wanted: str = "a string") -> str:
        """Return a required string.

        Raises
        ------
        ProblemError
            Missing, or something else.
        """
        value = self.value(key, wanted)
        if not isinstance(value, str):
            raise ProblemError(f"{self.name(key)}: expected {wanted}, found {shown(value)}")
        return value

    def switch(self, key: str) -> bool:
        """Return an optional boolean, false when missing.

        Raises
        ------
        ProblemError
            Something else.
        """
        value = self.entries.get(key, False)
        if not isinstance(value, bool):
            raise ProblemError(f"{self.name(key)}: expected true or false, found {shown(value)}")
        return value

    def numbers(self, key: str) -> list[float]:
        """Return a required list of numbers, infinite ones allowed.

        Raises
        ------
        ProblemError
            Missing, or something else.
        """
        values = self.value(key, "a list of numbers")
        if not isinstance(values, list):
            found = shown(values)
            raise ProblemError(f"{self.name(key)}: expected a list of numbers, found {found}")
        return [number(value, f"{self.name(key)}[{k}]") for k, value in enumerate(values)]

    def number_or_numbers(self, key: str, default: float) -> float | list[float]:
        """Return an optional number, or list of numbers, infinite ones allowed.

        Raises
        ------
        ProblemError
            Something else.
        """
        value = self.entries.get(key, default)
        if isinstance(value, list):
            return self.numbers(key)
        return number(value, self.name(key), "a number or a list of numbers")

    def table(self, key: str) -> "Table":
        """Return a table inside this one, empty when missing.

        Raises
        ------
        ProblemError
            Something else.
        """
        value = self.entries.get(key, {})
        if not isinstance(value, dict):
            raise ProblemError(f"{self.name(key)}: expected a table, found {shown(value)}")
        return Table(value, f"{self.prefix}{key}.")


def number(value: Any, name: str, wanted: str = "a number") -> float:  # noqa: ANN401
    """Return a TOML number, ``"inf"`` or ``"-inf"`` as a float.

    Raises
    ------
    ProblemError
        Something else (a boolean is not a number), NaN, or too large for a float.
    """
    if isinstance(value, str) and value in {"inf", "-inf"}:
        return float(value)
    try:
        result = float(value) if _is_number(value) else math.nan
    except OverflowError:
        result = math.nan
    if math.isnan(result):
        raise ProblemError(f"{name}: expected {wanted}, found {shown(value)}")
    return result


def check_radii(values: Any, name: str) -> tuple[float, ...]:  # noqa: ANN401
    """Return radii as floats.

    Raises
    ------
    ProblemError
        Not a list, an empty one, or one with something else than finite numbers >= 0.
    """
    wanted = "a list of radii, finite numbers >= 0"
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise ProblemError(f"{name}: expected {wanted}, found {shown(values)}")
    if not values:
        raise ProblemError(f"{name}: expected at least one radius, found an empty list")
    for k, value in enumerate(values):
        radius = number(value, f"{name}[{k}]", "a finite number >= 0")
        if radius < 0 or math.isinf(radius):
            raise ProblemError(f"{name}[{k}]: expected a finite number >= 0, found {shown(value)}")
    return tuple(float(value) for value in values)


def shown(value: Any) -> str:  # noqa: ANN401
    """Return a TOML value as its author would recognise it, on one line and not long."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a table"
    try:
        text = repr(value)
    except ValueError:  # an integer of thousands of digits
        return "a number of more digits than can be read"
    return text if len(text) <= 60 else f"{text[:57]}..."


def _is_number(value: Any) -> bool:  # noqa: ANN401
    return isinstance(value, int | float) and not isinstance(value, bool)
