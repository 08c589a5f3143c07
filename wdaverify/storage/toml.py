"""A question as TOML for people: aligned remarks, floats by ``repr``, so nothing is rounded."""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from wdaverify.arrays import Floats
from wdaverify.errors import ProblemError
from wdaverify.problem import Problem
from wdaverify.storage.question import Expected
from wdaverify.support import Box

__all__ = ["render"]

_LOSSES: Final = {
    "margin": "max_{j != y} z_j - z_y",
    "hinge": "max(0, 1 + margin)",
    "zero-one": "1 where margin >= 0 (a tie is an error), else 0",
    "cross-entropy": "log sum_j exp(z_j - z_y)",
    "dlr": "margin / (largest - third largest logit)",
    "truncated-dlr": "min(dlr, 1)",
}
_NORMS: Final = {
    "l1": "sum of the absolute coordinates of a move",
    "l2": "Euclidean length of a move",
    "linf": "largest absolute coordinate of a move",
}
_REGISTERED: Final = "registered by an extension, which must be loaded"
_ESCAPES: Final = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def render(
    problem: Problem, radii: Sequence[float], expected: Expected | None, description: str
) -> str:
    """Return the text of `problem.toml` for arrays in the usual files beside it."""
    cost = problem.cost
    lines = [
        *_remark(description),
        f"name = {_string(problem.name)}",
        'network = "network.npz"',
        'data = "data.npz"',
        _line(f"loss = {_string(problem.loss.name)}", _LOSSES.get(problem.loss.name, _REGISTERED)),
        _line(f"norm = {_string(cost.norm.name)}", _NORMS.get(cost.norm.name, _REGISTERED)),
        _line(f"order = {_order(cost.order)}", _price(cost.order)),
        f"radii = {_list(radii)}",
    ]
    if cost.label_cost is not None:
        moving = f"label_cost = {_float(cost.label_cost)}"
        lines.append(_line(moving, "cost of giving a unit of mass another label"))
    lines += _support(problem)
    if expected is not None:
        lines += ["", "[expected]", f"values = {_list(expected.values)}"]
        lines.append(f"source = {_string(expected.source)}")
    return "\n".join(lines) + "\n"


def _remark(description: str) -> list[str]:
    lines = ["".join(c if c.isprintable() else " " for c in v) for v in description.splitlines()]
    return [*(f"# {line}".rstrip() for line in lines), ""] if lines else []


def _line(assignment: str, remark: str) -> str:
    return f"{assignment:<31} # {remark}"


def _price(order: float) -> str:
    if math.isinf(order):
        return "every bit of mass moves by at most the radius"
    return "cost of a move = its length" if order == 1 else "cost of a move = its length ** order"


def _support(problem: Problem) -> list[str]:
    support = problem.support
    if not isinstance(support, Box):
        return ["", "[support]", _line('polytope = "support.npz"', "A x <= b")]
    if np.isneginf(support.lower).all() and np.isposinf(support.upper).all():
        return ["", "# no [support]: all of R^n"]
    bounds = {"lower": support.lower, "upper": support.upper}
    return ["", "[support]", *(f"{key} = {_bound(bound)}" for key, bound in bounds.items())]


def _bound(bound: Floats) -> str:
    values = bound.tolist()
    if len({_float(value) for value in values}) == 1:
        return _float(values[0])
    return _list(values)


def _list(values: Sequence[float]) -> str:
    items = [_float(value) for value in values]
    line = f"[{', '.join(items)}]"
    if len(line) <= 80:
        return line
    rows = [", ".join(items[k : k + 8]) for k in range(0, len(items), 8)]
    return "[\n" + "".join(f"  {row},\n" for row in rows) + "]"


def _order(order: float) -> str:
    if math.isinf(order):
        return '"inf"'
    return str(int(order)) if order.is_integer() and order < 1e6 else _float(order)


def _float(value: float) -> str:
    return repr(float(value))


def _string(text: str) -> str:
    if any("\ud800" <= c <= "\udfff" for c in text):
        raise ProblemError(f"expected text that can be written as UTF-8, found {text!r}")
    escaped = (_ESCAPES.get(c) or (c if c.isprintable() else f"\\U{ord(c):08x}") for c in text)
    return f'"{"".join(escaped)}"'
