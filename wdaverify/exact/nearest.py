"""The nearest point of a polyhedron over the rationals, where a tie must be decided."""

from fractions import Fraction
from typing import NamedTuple

import numpy as np

from wdaverify.convex.exact import exact_maximum
from wdaverify.norms import GroundNorm
from wdaverify.rational import Rationals, rationals

__all__ = ["Nearest", "exact_nearest"]


class Nearest(NamedTuple):
    """A nearest point and its distance."""

    point: Rationals
    distance: Fraction


def exact_nearest(
    matrix: Rationals, bound: Rationals, sample: Rationals, norm: GroundNorm
) -> Nearest | None:
    """Solve ``min ‖x − sample‖`` over ``matrix x <= bound`` for l1 or l∞; ``None`` if empty.

    Parameters
    ----------
    matrix, bound, sample
        Rational, shapes ``(m, n)``, ``(m,)`` and ``(n,)``.
    """
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
