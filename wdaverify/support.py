r"""The support :math:`\mathcal{X}`: the set inside which mass may move.

A :class:`Box` (all of :math:`\mathbb{R}^n` is the box without finite bounds) or a
:class:`Polytope` :math:`\{x : Ax \le b\}`. Both give themselves as rows ``A x <= b``.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Self, final

import numpy as np
import numpy.typing as npt

from wdaverify.arrays import Bools, Floats, floats
from wdaverify.errors import ProblemError
from wdaverify.network import AffineMap
from wdaverify.tolerances import ROUNDING

__all__ = ["Box", "Polytope", "Support"]


class Support(ABC):
    """A closed polyhedron of the input space."""

    @abstractmethod
    def bind(self, features: int) -> Self:
        """Return this support in dimension ``features``, scalars broadcast.

        Raises
        ------
        ProblemError
            The support has another dimension.
        """

    @property
    @abstractmethod
    def rows(self) -> AffineMap:
        """Matrix ``A (m, n)`` and vector ``b (m,)`` with ``A x <= b`` on the support."""

    @property
    @abstractmethod
    def bounds(self) -> tuple[Floats, Floats]:
        """Lower and upper bound of each feature that the description itself states, ``(n,)``."""

    @abstractmethod
    def excess(self, points: Floats) -> Floats:
        """How far each point lies outside, 0 inside: ``(N, n) -> (N,)``."""

    def contains(self, points: Floats) -> Bools:
        """Whether each point lies inside: ``(N, n) -> (N,)``."""
        inside: Bools = self.excess(points) == 0
        return inside

    @abstractmethod
    def describe(self) -> str:
        """Return a short phrase for people."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class Box(Support):
    """``{x : lower <= x <= upper}``, bounds may be infinite.

    Parameters
    ----------
    lower, upper
        A number, or one number per feature.

    Raises
    ------
    ProblemError
        NaN, ``lower > upper``, or shapes that do not match.
    """

    lower: Floats
    upper: Floats

    def __init__(self, lower: npt.ArrayLike = -np.inf, upper: npt.ArrayLike = np.inf) -> None:
        low = floats(lower, "support lower", infinite=True)
        high = floats(upper, "support upper", infinite=True)
        if low.ndim > 1 or high.ndim > 1 or (low.ndim and high.ndim and low.shape != high.shape):
            raise ProblemError(
                f"support: expected numbers or one per feature, found lower of shape {low.shape} "
                f"and upper of shape {high.shape}"
            )
        bad = np.atleast_1d((low > high) | (low == np.inf) | (high == -np.inf))
        if bad.any():
            k = int(np.argmax(bad))
            pair = [float(np.broadcast_to(v, bad.shape)[k]) for v in (low, high)]
            raise ProblemError(
                f"support: expected lower <= upper, found {pair[0]:g} > {pair[1]:g} at feature {k}"
                if pair[0] > pair[1]
                else f"support: empty at feature {k}: lower {pair[0]:g}, upper {pair[1]:g}"
            )
        object.__setattr__(self, "lower", low)
        object.__setattr__(self, "upper", high)

    def bind(self, features: int) -> "Box":  # noqa: D102
        for name, bound in (("lower", self.lower), ("upper", self.upper)):
            if bound.ndim and bound.shape != (features,):
                raise ProblemError(
                    f"support {name}: expected a number or shape ({features},), "
                    f"found shape {bound.shape}"
                )
        ones = np.ones(features)
        return Box(self.lower * ones, self.upper * ones)

    @property
    def rows(self) -> AffineMap:  # noqa: D102
        identity = np.eye(len(self.upper))
        above, below = np.isfinite(self.upper), np.isfinite(self.lower)
        return AffineMap(
            np.concatenate([identity[above], -identity[below]]),
            np.concatenate([self.upper[above], -self.lower[below]]),
        )

    @property
    def bounds(self) -> tuple[Floats, Floats]:  # noqa: D102
        return self.lower, self.upper

    def excess(self, points: Floats) -> Floats:  # noqa: D102
        outside = np.maximum(points - self.upper, self.lower - points)
        excess: Floats = np.maximum(outside.max(axis=-1, initial=0.0), 0.0)
        return excess

    def describe(self) -> str:  # noqa: D102
        low, high = np.unique(self.lower), np.unique(self.upper)
        if np.isinf(low).all() and np.isinf(high).all():
            return "the whole space"
        if len(low) == len(high) == 1:
            return f"box [{low[0]:g}, {high[0]:g}]"
        return f"box with bounds in [{low[0]:g}, {high[-1]:g}]"


@final
@dataclass(frozen=True, slots=True, eq=False)
class Polytope(Support):
    """``{x : A x <= b}``, possibly unbounded.

    Parameters
    ----------
    A
        Shape ``(m, n)``.
    b
        Shape ``(m,)``.

    Raises
    ------
    ProblemError
        Shapes that do not match, or entries that are not finite.

    Notes
    -----
    Whether a float64 point satisfies a general row depends on rounding; a point counts as inside
    when it violates no row by more than the rounding error of evaluating that row.
    """

    A: Floats
    b: Floats

    def __init__(self, A: npt.ArrayLike, b: npt.ArrayLike) -> None:
        matrix, vector = floats(A, "support A", ndim=2), floats(b, "support b", ndim=1)
        if len(matrix) != len(vector):
            raise ProblemError(
                f"support: A has shape {matrix.shape} but b has shape {vector.shape}"
            )
        object.__setattr__(self, "A", matrix)
        object.__setattr__(self, "b", vector)

    def bind(self, features: int) -> "Polytope":  # noqa: D102
        if self.A.shape[1] != features:
            raise ProblemError(
                f"support: expected A of shape (m, {features}), found {self.A.shape}"
            )
        return self

    @property
    def rows(self) -> AffineMap:  # noqa: D102
        return AffineMap(self.A, self.b)

    @property
    def bounds(self) -> tuple[Floats, Floats]:  # noqa: D102
        n = self.A.shape[1]
        lower, upper = np.full(n, -np.inf), np.full(n, np.inf)
        for row, bound in zip(self.A, self.b, strict=True):
            features = np.flatnonzero(row)
            if len(features) != 1:
                continue
            j = int(features[0])
            with np.errstate(over="ignore"):  # beyond float64: no bound
                end = bound / row[j]
            if row[j] > 0:
                upper[j] = min(upper[j], np.nextafter(end, np.inf))
            else:
                lower[j] = max(lower[j], np.nextafter(end, -np.inf))
        return lower, upper

    def excess(self, points: Floats) -> Floats:  # noqa: D102
        slack = points @ self.A.T - self.b
        steps = 2 * (self.A.shape[1] + 2) * ROUNDING
        rounding = steps * (np.abs(points) @ np.abs(self.A.T) + np.abs(self.b))
        outside = np.where(slack > rounding, slack, 0.0)
        return np.asarray(outside.max(axis=-1, initial=0.0))

    def describe(self) -> str:  # noqa: D102
        return f"polytope with {len(self.b)} rows"
