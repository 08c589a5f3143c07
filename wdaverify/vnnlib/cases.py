"""Assertions as cases: boxes of inputs, each with a condition on the outputs.

Input conditions are bounds of single variables. Only what mixes inputs and outputs is multiplied
out; a condition on outputs stays the formula it is. Cases with the same box become one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final, NamedTuple

from wdaverify.arrays import Floats, floats
from wdaverify.errors import ProblemError, UnsupportedError
from wdaverify.vnnlib.formula import Comparison, Formula, junction
from wdaverify.vnnlib.linear import Linear, rounded

__all__ = ["MOST_CASES", "Case", "cases"]

MOST_CASES: Final = 10_000
"""Most boxes of a property."""


class Case(NamedTuple):
    """Inputs ``lower <= x <= upper``, shape ``(n,)``, and what their outputs have to satisfy."""

    lower: Floats
    upper: Floats
    condition: Formula


@dataclass(slots=True)
class _Partial:
    """Bounds of some inputs and conditions on outputs, all of which must hold."""

    lower: dict[int, Fraction] = field(default_factory=dict)
    upper: dict[int, Fraction] = field(default_factory=dict)
    outputs: list[Formula] = field(default_factory=list)

    def add(self, other: "_Partial") -> None:
        for index, bound in other.lower.items():
            self.lower[index] = max(bound, self.lower.get(index, bound))
        for index, bound in other.upper.items():
            self.upper[index] = min(bound, self.upper.get(index, bound))
        self.outputs += other.outputs

    def joined(self, other: "_Partial") -> "_Partial":
        both = _Partial(dict(self.lower), dict(self.upper), list(self.outputs))
        both.add(other)
        return both

    def empty(self) -> bool:
        return any(self.upper.get(index, low) < low for index, low in self.lower.items())


def cases(assertions: Sequence[Formula], features: int) -> list[Case]:
    """Return the boxes in which an input may lie, without empty ones.

    Raises
    ------
    ProblemError
        An input without a lower or an upper bound.
    UnsupportedError
        An inequality between inputs, or between inputs and outputs; more than `MOST_CASES` boxes.
    """
    found: dict[tuple[bytes, bytes], tuple[Floats, Floats, list[Formula]]] = {}
    for partial in _every(assertions):
        if partial.empty():
            continue
        lower = floats(_bounds(partial.lower, features, "lower"), "lower bounds")
        upper = floats(_bounds(partial.upper, features, "upper"), "upper bounds")
        entry = found.setdefault((lower.tobytes(), upper.tobytes()), (lower, upper, []))
        entry[2].append(junction(partial.outputs, every=True).rounded())
    return [
        Case(lower, upper, junction(outputs, every=False))
        for lower, upper, outputs in found.values()
    ]


def _bounds(known: dict[int, Fraction], features: int, side: str) -> list[float]:
    if len(known) < features:
        missing = next(index for index in range(features) if index not in known)
        raise ProblemError(f"X_{missing}: expected a lower and an upper bound, found no {side} one")
    return [rounded(known[index]) for index in range(features)]


def _every(parts: Iterable[Formula]) -> list[_Partial]:
    """Return the cases of a conjunction: what is sure first, then one factor after the other."""
    sure = _Partial()
    factors = []
    for part in parts:
        found = _alternatives(part)
        if len(found) == 1:
            sure.add(found[0])
        else:
            factors.append(found)
    result = [sure]
    for factor in factors:
        _check_count(len(result) * len(factor))
        result = [left.joined(right) for left in result for right in factor]
    return result


def _alternatives(formula: Formula) -> list[_Partial]:
    if formula.kinds <= {"Y"}:
        return [_Partial(outputs=[formula])]
    if isinstance(formula, Comparison):
        return [_bound(formula.expression)]
    if formula.every:
        return _every(formula.parts)
    found = [partial for part in formula.parts for partial in _alternatives(part)]
    _check_count(len(found))
    return found


def _bound(expression: Linear) -> _Partial:
    """Return ``a x + c >= 0`` as a bound on ``x``."""
    if "Y" in expression.kinds:
        raise UnsupportedError("expected no inequality between inputs and outputs, found one")
    if len(expression.coefficients) > 1:
        names = ", ".join(f"X_{v.number}" for v in list(expression.coefficients)[:3])
        raise UnsupportedError(f"expected bounds of single inputs, found one of {names} together")
    ((variable, factor),) = expression.coefficients.items()
    bound = {variable.number: -expression.constant / factor}
    return _Partial(lower=bound) if factor > 0 else _Partial(upper=bound)


def _check_count(count: int) -> None:
    if count > MOST_CASES:
        raise UnsupportedError(f"expected at most {MOST_CASES} input boxes, found {count} or more")
