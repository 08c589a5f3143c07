"""Values as TOML spells them, and the words beside them."""

import math
from collections.abc import Sequence
from typing import Final

from wdaverify.arrays import Floats
from wdaverify.errors import ProblemError

__all__ = [
    "LOSS_WORDS",
    "NORM_WORDS",
    "REGISTERED",
    "assigned",
    "bound_value",
    "float_value",
    "list_value",
    "order_value",
    "price_words",
    "printable",
    "remarks",
    "string_value",
]

LOSS_WORDS: Final = {
    "margin": "max_{j != y} z_j - z_y",
    "hinge": "max(0, 1 + margin)",
    "zero-one": "1 where margin >= 0 (a tie is an error), else 0",
    "cross-entropy": "log sum_j exp(z_j - z_y)",
    "dlr": "margin / (largest - third largest logit)",
    "truncated-dlr": "min(dlr, 1)",
}
NORM_WORDS: Final = {
    "l1": "sum of the absolute coordinates of a move",
    "l2": "Euclidean length of a move",
    "linf": "largest absolute coordinate of a move",
}
REGISTERED: Final = "registered by an extension, which must be loaded"
_ESCAPES: Final = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def printable(text: str) -> str:
    """Return text on one line, with a space for whatever does not show."""
    return "".join(c if c.isprintable() else " " for c in text)


def remarks(description: str) -> list[str]:
    """Return lines of TOML that say this and mean nothing."""
    lines = [printable(line) for line in description.splitlines()]
    return [*(f"# {line}".rstrip() for line in lines), ""] if lines else []


def assigned(assignment: str, remark: str) -> str:
    """Return a line of TOML with an aligned remark."""
    return f"{assignment:<31} # {remark}"


def price_words(order: float) -> str:
    """Return what an order means."""
    if math.isinf(order):
        return "every bit of mass moves by at most the radius"
    return "cost of a move = its length" if order == 1 else "cost of a move = its length ** order"


def bound_value(bound: Floats) -> str:
    """Return one number where all are equal, else a list."""
    values = bound.tolist()
    if len({float_value(value) for value in values}) == 1:
        return float_value(values[0])
    return list_value(values)


def list_value(values: Sequence[float]) -> str:
    """Return a list of floats, on several lines if it is long."""
    items = [float_value(value) for value in values]
    line = f"[{', '.join(items)}]"
    if len(line) <= 80:
        return line
    rows = [", ".join(items[k : k + 8]) for k in range(0, len(items), 8)]
    return "[\n" + "".join(f"  {row},\n" for row in rows) + "]"


def order_value(order: float) -> str:
    """Return an order."""
    if math.isinf(order):
        return '"inf"'
    return str(int(order)) if order.is_integer() and order < 1e6 else float_value(order)


def float_value(value: float) -> str:
    """Return a float, unrounded."""
    return repr(float(value))


def string_value(text: str) -> str:
    """Return a string in quotes.

    Raises
    ------
    ProblemError
        Text that has no UTF-8.
    """
    if any("\ud800" <= c <= "\udfff" for c in text):
        raise ProblemError(f"expected text that can be written as UTF-8, found {text!r}")
    escaped = (_ESCAPES.get(c) or (c if c.isprintable() else f"\\U{ord(c):08x}") for c in text)
    return f'"{"".join(escaped)}"'
