r"""Ground norms :math:`\|\cdot\|_r`, :math:`r \in \{1, 2, \infty\}`, and their duals.

The norm supplies the verbs: length, dual length, operator norm and farthest point of a box.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from fractions import Fraction
from typing import ClassVar, Final, final

import numpy as np

from wdaverify.arrays import Floats
from wdaverify.errors import ProblemError, UnsupportedError

__all__ = ["L1", "L2", "NORMS", "GroundNorm", "LInf", "norm_named"]


class GroundNorm(ABC):
    """A norm on the input space, stateless."""

    name: ClassVar[str]
    polyhedral: ClassVar[bool]

    @abstractmethod
    def length(self, vectors: Floats) -> Floats:
        """Norm of each row: ``(..., n) -> (...)``."""

    @abstractmethod
    def dual_length(self, vectors: Floats) -> Floats:
        """Dual norm of each row: ``(..., n) -> (...)``."""

    @abstractmethod
    def operator_norm(self, matrix: Floats) -> float:
        """Operator norm of ``matrix (out, in)`` from this norm to this norm."""

    @abstractmethod
    def exact_length(self, vector: Sequence[Fraction]) -> Fraction:
        """Norm of a rational vector, as a rational.

        Raises
        ------
        UnsupportedError
            The norm is not rational-valued (l2).
        """

    @abstractmethod
    def dual_direction(self, vector: Floats) -> Floats:
        """Return a ``u`` with norm at most 1 that maximises ``vector · u``, shape ``(n,)``."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(self.name)


@final
class L1(GroundNorm):
    """Sum of absolute values; its dual is l∞."""

    name = "l1"
    polyhedral = True

    def length(self, vectors: Floats) -> Floats:  # noqa: D102
        lengths: Floats = np.abs(vectors).sum(axis=-1)
        return lengths

    def dual_length(self, vectors: Floats) -> Floats:  # noqa: D102
        lengths: Floats = np.abs(vectors).max(axis=-1, initial=0.0)
        return lengths

    def operator_norm(self, matrix: Floats) -> float:  # noqa: D102
        return float(np.abs(matrix).sum(axis=0).max(initial=0.0))

    def exact_length(self, vector: Sequence[Fraction]) -> Fraction:  # noqa: D102
        return sum((abs(v) for v in vector), Fraction(0))

    def dual_direction(self, vector: Floats) -> Floats:  # noqa: D102
        direction = np.zeros_like(vector)
        k = int(np.argmax(np.abs(vector)))
        direction[k] = np.sign(vector[k])
        return direction


@final
class L2(GroundNorm):
    """Euclidean norm, its own dual."""

    name = "l2"
    polyhedral = False

    def length(self, vectors: Floats) -> Floats:  # noqa: D102
        lengths: Floats = np.sqrt(np.square(vectors).sum(axis=-1))
        return lengths

    def dual_length(self, vectors: Floats) -> Floats:  # noqa: D102
        return self.length(vectors)

    def operator_norm(self, matrix: Floats) -> float:  # noqa: D102
        return float(np.linalg.norm(matrix, 2)) if matrix.size else 0.0

    def exact_length(self, vector: Sequence[Fraction]) -> Fraction:  # noqa: D102
        raise UnsupportedError(f"the l2 norm of {len(vector)} rationals need not be rational")

    def dual_direction(self, vector: Floats) -> Floats:  # noqa: D102
        length = self.length(vector)
        return vector / length if length > 0 else np.zeros_like(vector)


@final
class LInf(GroundNorm):
    """Largest absolute value; its dual is l1."""

    name = "linf"
    polyhedral = True

    def length(self, vectors: Floats) -> Floats:  # noqa: D102
        lengths: Floats = np.abs(vectors).max(axis=-1, initial=0.0)
        return lengths

    def dual_length(self, vectors: Floats) -> Floats:  # noqa: D102
        lengths: Floats = np.abs(vectors).sum(axis=-1)
        return lengths

    def operator_norm(self, matrix: Floats) -> float:  # noqa: D102
        return float(np.abs(matrix).sum(axis=1).max(initial=0.0))

    def exact_length(self, vector: Sequence[Fraction]) -> Fraction:  # noqa: D102
        return max((abs(v) for v in vector), default=Fraction(0))

    def dual_direction(self, vector: Floats) -> Floats:  # noqa: D102
        return np.sign(vector)


NORMS: Final[dict[str, GroundNorm]] = {norm.name: norm for norm in (L1(), L2(), LInf())}


def norm_named(name: str) -> GroundNorm:
    """Return the norm called ``l1``, ``l2`` or ``linf``.

    Raises
    ------
    ProblemError
        No such norm.
    """
    if name not in NORMS:
        raise ProblemError(f"norm: expected one of {', '.join(NORMS)}, found {name!r}")
    return NORMS[name]
