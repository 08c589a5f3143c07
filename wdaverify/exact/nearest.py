"""The nearest point of a polyhedron over the rationals, where a tie must be decided."""

import math
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from wdaverify.convex.exact import exact_maximum
from wdaverify.convex.projection import ActiveSet, Projection, project
from wdaverify.norms import GroundNorm
from wdaverify.rational import Rationals, rationals

__all__ = ["Nearest", "exact_nearest"]


DIGITS = 128
"""Binary digits of a root that is not rational."""


class Nearest(NamedTuple):
    """A nearest point and its distance.

    Attributes
    ----------
    point
        Shape ``(n,)``.
    measure
        The distance, squared for l2, where it need not be rational itself.
    exponent
        1, or 2 for l2.
    """

    point: Rationals
    measure: Fraction
    exponent: int = 1

    @property
    def distance(self) -> Fraction:
        """The distance; an irrational one to many more digits than a float64 has."""
        return self.measure if self.exponent == 1 else _root(self.measure)

    def exceeds(self, radius: Fraction) -> bool:
        """Whether the distance is larger than a radius, without any rounding."""
        return bool(self.measure > radius**self.exponent)


def exact_nearest(
    matrix: Rationals, bound: Rationals, sample: Rationals, norm: GroundNorm
) -> Nearest | None:
    """Solve ``min ‖x − sample‖`` over ``matrix x <= bound``; ``None`` if empty.

    Parameters
    ----------
    matrix, bound, sample
        Rational, shapes ``(m, n)``, ``(m,)`` and ``(n,)``.
    """
    if norm.name == "l2":
        zero = rationals(np.zeros(len(sample)))
        found = project(ActiveSet(matrix), bound - matrix @ sample, zero)
        if not isinstance(found, Projection):
            return None
        square = sum((v * v for v in found.point.tolist()), Fraction(0))
        return Nearest(sample + found.point, square, 2)
    n = len(sample)
    extra = n if norm.name == "l1" else 1
    shift = np.eye(n) if norm.name == "l1" else np.ones((n, 1))
    ball = rationals(np.block([[np.eye(n), -shift], [-np.eye(n), -shift]]))
    padding = rationals(np.zeros((len(matrix), extra)))
    A = np.concatenate([np.concatenate([matrix, padding], axis=1), ball])
    b = np.concatenate([bound, sample, -sample])
    costs = rationals(np.append(np.zeros(n), -np.ones(extra)))
    optimum = exact_maximum(costs, A, b)
    if optimum is None:
        return None
    assert optimum.value is not None
    return Nearest(optimum.point[:n], -optimum.value)


def _root(square: Fraction) -> Fraction:
    """Root of a rational: exact where it is rational itself, else to many digits."""
    top, bottom = math.isqrt(square.numerator), math.isqrt(square.denominator)
    if top * top == square.numerator and bottom * bottom == square.denominator:
        return Fraction(top, bottom)
    lift = DIGITS + max(0, square.denominator.bit_length() - square.numerator.bit_length())
    scaled = (square.numerator << 2 * lift) // square.denominator
    return Fraction(math.isqrt(scaled), 1 << lift)
