"""Assertions as formulas: linear expressions that must not be negative, joined by and, or."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from wdaverify.errors import ProblemError, UnsupportedError
from wdaverify.vnnlib.linear import Linear, Variable, linear, rounded, weighted_sum
from wdaverify.vnnlib.text import Expression, shown

__all__ = ["Comparison", "Formula", "Junction", "formula", "junction"]


@dataclass(frozen=True)
class Comparison:
    """``left >= right`` as ``expression >= 0``."""

    expression: Linear

    @property
    def kinds(self) -> frozenset[str]:
        """Which kinds of variables occur."""
        return frozenset(self.expression.kinds)

    def holds(self, value: Callable[[Linear], bool]) -> bool:
        """Whether it holds where ``value`` decides about expressions."""
        return value(self.expression)

    def rounded(self) -> "Comparison":
        """Return it with every number rounded to float64."""
        terms = self.expression.coefficients.items()
        coefficients = {v: r for v, a in terms if (r := Fraction(rounded(a)))}
        return Comparison(Linear(coefficients, Fraction(rounded(self.expression.constant))))


@dataclass(frozen=True)
class Junction:
    """All of the parts (``and``), or one at least (``or``)."""

    every: bool
    parts: tuple["Formula", ...]

    @cached_property
    def kinds(self) -> frozenset[str]:
        """Which kinds of variables occur."""
        return frozenset().union(*(part.kinds for part in self.parts))

    def holds(self, value: Callable[[Linear], bool]) -> bool:
        """Whether it holds where ``value`` decides about expressions."""
        decide = all if self.every else any
        return decide(part.holds(value) for part in self.parts)

    def rounded(self) -> "Junction":
        """Return it with every number rounded to float64."""
        return Junction(self.every, tuple(part.rounded() for part in self.parts))


Formula = Comparison | Junction


def junction(parts: Iterable[Formula], *, every: bool) -> Formula:
    """Return ``and`` or ``or`` of formulas, flat, or the formula itself where it is one."""
    flat = tuple(_flat(parts, every=every))
    return flat[0] if len(flat) == 1 else Junction(every, flat)


def formula(expression: Expression, known: Mapping[str, Variable]) -> Formula:
    """Return what an assertion says.

    Raises
    ------
    ProblemError
        No formula, or a variable that is not declared.
    UnsupportedError
        Strict inequalities, negation and whatever else VNN-LIB 1.0 properties do not have.
    """
    if isinstance(expression, str) or not expression or not isinstance(expression[0], str):
        raise ProblemError(f"expected (<= …), (>= …), (and …) or (or …), found {shown(expression)}")
    operator, *parts = expression
    if operator in {"and", "or"}:
        if not parts:
            raise ProblemError(f"expected a formula after {operator!r}, found none")
        inner = (formula(part, known) for part in parts)
        return junction(inner, every=operator == "and")
    if operator not in {"<=", ">=", "="}:
        raise UnsupportedError(f"expected <=, >=, =, and, or, found {shown(operator)}")
    if len(parts) != 2:
        raise ProblemError(f"expected two sides of {operator!r}, found {len(parts)}")
    left, right = (linear(part, known) for part in parts)
    above, below = Comparison(_minus(left, right)), Comparison(_minus(right, left))
    if operator == "=":
        return Junction(True, (above, below))
    return above if operator == ">=" else below


def _flat(parts: Iterable[Formula], *, every: bool) -> Iterator[Formula]:
    """Yield parts, those of a part of the same kind in its place."""
    for part in parts:
        if isinstance(part, Junction) and part.every == every:
            yield from part.parts
        else:
            yield part


def _minus(left: Linear, right: Linear) -> Linear:
    return weighted_sum(((Fraction(1), left), (Fraction(-1), right)))
