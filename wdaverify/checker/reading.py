"""Lines and numbers of a proof file, within limits; whatever is wrong is a `Rejected`.

Numbers are rationals: a JSON number (the nearest float64; integers exactly) or ``"p/q"``. A vector
of them is held as integers over one common denominator, so that products need no gcd.
"""

import json
import math
import re
import zlib
from collections.abc import Callable, Sequence
from fractions import Fraction
from gzip import GzipFile
from typing import Any, BinaryIO, NamedTuple, TypeVar

__all__ = ["Lines", "Rejected", "Vector", "dot", "entries", "index", "limited", "number", "vector"]

DIGITS = 4000
BITS = 1 << 16
MEMORY = 1 << 31
LINE = 1 << 26
TOTAL = 1 << 32
_FRACTION = re.compile(rf"(-?[0-9]{{1,{DIGITS}}})/([0-9]{{1,{DIGITS}}})", re.ASCII)

JSON = Any
"""What a line of JSON can hold; nothing about it is believed."""
Number = TypeVar("Number", int, Fraction)


class Rejected(Exception):  # noqa: N818  (a verdict, not an error)
    """The proof does not prove what it claims; the message says why."""


class Vector(NamedTuple):
    """The rational vector ``ints / den``, ``den > 0``."""

    ints: Sequence[int]
    den: int


def ratio(value: JSON) -> tuple[int, int]:
    """Return numerator and positive denominator of a JSON number or ``"p/q"``."""
    kind = type(value)
    if kind is float and math.isfinite(value):
        top, bottom = value.as_integer_ratio()
        return top, bottom
    if kind is int and value.bit_length() <= 13_288:  # 4,000 digits
        return value, 1
    match = _FRACTION.fullmatch(value) if kind is str else None
    if match is None or int(match[2]) == 0:
        raise Rejected(f'expected a number or "p/q", found {shown(value)}')
    return int(match[1]), int(match[2])


def number(value: JSON) -> Fraction:
    """Return a JSON number or ``"p/q"`` as a rational."""
    return Fraction(*ratio(value))


def vector(values: JSON, length: int | None = None) -> Vector:
    """Return a JSON list of numbers over one denominator, at most 65,536 bits long."""
    pairs = [ratio(v) for v in entries(values, length)]
    den = common([bottom for _, bottom in pairs])
    affordable(len(pairs), den)
    return Vector([top * (den // bottom) for top, bottom in pairs], den)


def common(dens: Sequence[int]) -> int:
    """Return the least common denominator."""
    found = 1
    for den in dens:
        if found % den:
            found = limited(math.lcm(found, den))
    return found


def fractions(values: Sequence[Fraction]) -> Vector:
    """Return rationals over one denominator."""
    den = common([v.denominator for v in values])
    return Vector([v.numerator * (den // v.denominator) for v in values], den)


def dot(a: Vector, b: Vector) -> Fraction:
    """Return the inner product."""
    return Fraction(sum(x * y for x, y in zip(a.ints, b.ints, strict=True)), a.den * b.den)


def bits(value: int | Fraction) -> int:
    """Return the length of numerator or denominator, whichever is longer."""
    return max(value.numerator.bit_length(), value.denominator.bit_length())


def limited(value: Number) -> Number:
    """Return the number if it has at most 65,536 bits, so that nobody can grow it at will."""
    if bits(value) > BITS:
        raise Rejected(f"a number grows beyond {BITS} bits")
    return value


def affordable(count: int, den: int) -> None:
    """Refuse that many integers over a common denominator, where that takes 256 MiB or more."""
    if count * den.bit_length() >= MEMORY:
        raise Rejected(f"{count} numbers over a denominator of {den.bit_length()} bits")


def entries(value: JSON, length: int | None = None) -> list[Any]:
    """Return a JSON list, of that length where one is given."""
    if type(value) is not list or (length is not None and len(value) != length):
        found = f"a list of {len(value)}" if type(value) is list else type(value).__name__
        raise Rejected(f"expected a list{'' if length is None else f' of {length}'}, found {found}")
    return value


def index(value: JSON, count: int, what: str) -> int:
    """Return an integer from 0 to ``count - 1``."""
    if type(value) is not int or not 0 <= value < count:
        raise Rejected(f"{what}: expected 0 to {count - 1}, found {shown(value)}")
    return value


def shown(value: JSON) -> str:
    """Return what a message shows of a JSON value."""
    return repr(value)[:40] if type(value) in (str, int, float) else type(value).__name__


def table(value: JSON, allowed: frozenset[str], required: frozenset[str] = frozenset()) -> JSON:
    """Return a JSON object whose keys are among those allowed and include those required."""
    if type(value) is not dict:
        raise Rejected(f"expected an object, found {shown(value)}")
    if not required <= value.keys() <= allowed:
        wrong = min((required - value.keys()) | (value.keys() - allowed))
        raise Rejected(f"an object lacks a key, or has one too many: {wrong[:40]!r}")
    return value


class Lines:
    """The lines of a gzip stream, one JSON value each; ``count`` is the number of the last.

    Parameters
    ----------
    told
        Called now and then with the number of compressed bytes read.
    """

    def __init__(self, file: BinaryIO, told: Callable[[int], None] | None = None) -> None:
        self._raw, self._told = file, told
        self._file = GzipFile(fileobj=file)
        self._size = 0
        self.count = 0

    def raw(self) -> bytes:
        """Return the next line without its end; empty at the end of the file."""
        try:
            line = self._file.readline(LINE + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise Rejected(f"the gzip stream is damaged: {error}") from None
        self.count += 1
        if self._told is not None:
            self._told(self._raw.tell())
        self._size += len(line)
        if len(line) > LINE or self._size > TOTAL:
            raise Rejected(f"more than {LINE} bytes in a line or {TOTAL} in all")
        if line and not line.endswith(b"\n"):
            raise Rejected("the last line has no end")
        if line == b"\n":
            raise Rejected("an empty line")
        return line[:-1]

    def next(self) -> JSON:
        """Return the JSON value of the next line."""
        line = self.raw()
        if not line:
            raise Rejected("the file ends early")
        return parse(line)


def parse(line: bytes) -> JSON:
    """Return the JSON value of a line."""
    try:
        return json.loads(line.decode("utf-8"), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise Rejected(f"not JSON: {str(error)[:80]}") from None


def _refuse(name: str) -> JSON:
    raise Rejected(f"{name} is not a number here")
