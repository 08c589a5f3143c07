r"""Linear expressions in the variables ``X_i`` and ``Y_j``, :math:`\sum_k a_k v_k + c`.

Decimals are read exactly and added and multiplied over the rationals; what comes out is rounded to
float64 once.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, NamedTuple

from wdaverify.errors import ProblemError, UnsupportedError
from wdaverify.vnnlib.text import Expression, shown

__all__ = ["Linear", "Variable", "linear", "rounded", "variable_named", "weighted_sum"]

BITS: Final = 1 << 14
"""Most binary digits of a number on the way."""

_NUMBER: Final = re.compile(
    r"[+-]?(\d{1,400}\.?\d{0,400}|\.\d{1,400})([eE][+-]?\d{1,3})?", re.ASCII
)
_VARIABLE: Final = re.compile(r"[XY]_(0|[1-9]\d{0,8})", re.ASCII)


class Variable(NamedTuple):
    """``X_i`` or ``Y_j``."""

    kind: str
    """``"X"`` or ``"Y"``."""
    number: int


@dataclass(frozen=True, slots=True)
class Linear:
    """``Σ coefficients[v] · v + constant``, no coefficient zero."""

    coefficients: Mapping[Variable, Fraction]
    constant: Fraction

    @property
    def kinds(self) -> set[str]:
        """Which kinds of variables occur."""
        return {variable.kind for variable in self.coefficients}


def linear(expression: Expression, known: Mapping[str, Variable]) -> Linear:
    """Return an arithmetic expression as a linear one.

    Parameters
    ----------
    expression
        Built of ``+``, ``-``, ``*``, numbers and variables.
    known
        The declared variables.

    Raises
    ------
    ProblemError
        Not such an expression, or a variable that is not declared.
    UnsupportedError
        Another operator, or a product of variables.
    """
    if isinstance(expression, str):
        return _atom(expression, known)
    if not expression or not isinstance(expression[0], str):
        raise ProblemError(f"expected a sum or a product, found {shown(expression)}")
    operator, *parts = expression
    if operator not in {"+", "-", "*"}:
        raise UnsupportedError(f"expected +, - or *, found {shown(operator)}")
    if not parts:
        raise ProblemError(f"expected an operand after {operator!r}, found none")
    values = [linear(part, known) for part in parts]
    if operator == "*":
        return _product(values, expression)
    if operator == "+":
        return weighted_sum((Fraction(1), value) for value in values)
    signs = (1, *[-1] * (len(values) - 1)) if len(values) > 1 else (-1,)
    return weighted_sum((Fraction(s), value) for s, value in zip(signs, values, strict=True))


def weighted_sum(terms: Iterable[tuple[Fraction, Linear]]) -> Linear:
    """Return ``Σ factor · expression``."""
    sums: dict[Variable, Fraction] = {}
    constant = Fraction(0)
    for factor, term in terms:
        for variable, value in term.coefficients.items():
            sums[variable] = _small(sums.get(variable, 0) + factor * value)
        constant = _small(constant + factor * term.constant)
    return Linear({variable: value for variable, value in sums.items() if value}, constant)


def rounded(value: Fraction) -> float:
    """Return the nearest float64.

    Raises
    ------
    ProblemError
        Beyond the range of float64.
    """
    try:
        return float(value)
    except OverflowError:
        raise ProblemError("expected numbers within the range of float64, found more") from None


def variable_named(word: str) -> Variable:
    """Return the variable of a name.

    Raises
    ------
    UnsupportedError
        Neither ``X_0, X_1, …`` nor ``Y_0, Y_1, …``.
    """
    if not _VARIABLE.fullmatch(word):
        raise UnsupportedError(
            f"expected variables X_0, X_1, … (inputs) and Y_0, Y_1, … (outputs), "
            f"found {shown(word)}"
        )
    return Variable(word[0], int(word[2:]))


def _atom(word: str, known: Mapping[str, Variable]) -> Linear:
    if word in known:
        return Linear({known[word]: Fraction(1)}, Fraction(0))
    if not _NUMBER.fullmatch(word) or math.isinf(float(word)):
        wanted = "a number within the range of float64 or a declared variable"
        raise ProblemError(f"expected {wanted}, found {shown(word)}")
    return Linear({}, Fraction(word))


def _product(values: Sequence[Linear], whole: Expression) -> Linear:
    """Return the product of factors of which one at most has variables."""
    factor, term = Fraction(1), Linear({}, Fraction(1))
    for value in values:
        if not value.coefficients:
            factor = _small(factor * value.constant)
        elif term.coefficients:
            raise UnsupportedError(
                f"expected a linear expression, found a product of variables: {shown(whole)}"
            )
        else:
            term = value
    return weighted_sum([(factor, term)])


def _small(value: Fraction) -> Fraction:
    if value.numerator.bit_length() + value.denominator.bit_length() > BITS:
        raise ProblemError(f"expected numbers of at most {BITS} binary digits, found more")
    return value
