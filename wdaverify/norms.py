r"""Ground norms :math:`\|\cdot\|_r`, :math:`r \in \{1, 2, \infty\}`, and their duals.

The norm supplies the verbs: length, dual length, operator norm and farthest point of a box.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from fractions import Fraction
from typing import ClassVar, Final, final

import numpy as np
import numpy.typing as npt

from wdaverify.arrays import Floats, floats
from wdaverify.errors import ProblemError, UnsupportedError
from wdaverify.registry import Registry

__all__ = ["L1", "L2", "NORMS", "GroundNorm", "LInf", "ScaledNorm", "norm_named"]


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

    def check(self, features: int) -> None:  # noqa: B027  (most norms have nothing to say)
        """Complain about a norm that is none on so many features; a plain one serves any number."""

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


@final
class ScaledNorm(GroundNorm):
    r"""A plain norm of features in units of their own, :math:`\|(s_1x_1, \dots, s_nx_n)\|_r`.

    Questions in it are answered in the scaled coordinates, where the norm is plain
    (:mod:`wdaverify.units`).

    Parameters
    ----------
    name
        Its name, for registering it.
    base
        ``l1``, ``l2`` or ``linf``.
    scales
        One positive number for each feature: length per input unit.

    Raises
    ------
    ProblemError
        The base is not plain, or a scale is not positive and finite.
    """

    def __init__(self, name: str, base: str, scales: npt.ArrayLike) -> None:
        plain = NORMS.named(base)
        if isinstance(plain, ScaledNorm):
            raise ProblemError(f"norm {name}: expected a plain base such as l1, found {base!r}")
        found = floats(scales, f"norm {name}: scales", ndim=1)
        if len(found) == 0 or not (found > 0).all():
            raise ProblemError(
                f"norm {name}: expected positive scales, one for each feature, found {scales!r}"
            )
        self.name, self.base, self.scales = name, plain, found  # type: ignore[misc]
        self.polyhedral = plain.polyhedral  # type: ignore[misc]

    def check(self, features: int) -> None:
        """Complain about another number of features.

        Raises
        ------
        ProblemError
            Names the norm and both numbers.
        """
        if len(self.scales) != features:
            raise ProblemError(
                f"norm {self.name}: {len(self.scales)} scales do not fit a network with "
                f"{features} inputs"
            )

    def length(self, vectors: Floats) -> Floats:  # noqa: D102
        return self.base.length(vectors * self.scales)

    def dual_length(self, vectors: Floats) -> Floats:  # noqa: D102
        return self.base.dual_length(vectors / self.scales)

    def operator_norm(self, matrix: Floats) -> float:  # noqa: D102
        return self.base.operator_norm(matrix * self.scales[:, None] / self.scales)

    def exact_length(self, vector: Sequence[Fraction]) -> Fraction:  # noqa: D102
        scales = [Fraction(s) for s in self.scales.tolist()]
        return self.base.exact_length([s * v for s, v in zip(scales, vector, strict=True)])

    def dual_direction(self, vector: Floats) -> Floats:  # noqa: D102
        return self.base.dual_direction(vector / self.scales) / self.scales

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, ScaledNorm)
            and (self.name, self.base) == (other.name, other.base)
            and np.array_equal(self.scales, other.scales)
        )

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"ScaledNorm({self.name!r}, {self.base.name!r}, {self.scales.tolist()})"


NORMS: Final[Registry[GroundNorm]] = Registry(
    "norm", ((norm.name, norm) for norm in (L1(), L2(), LInf()))
)


def norm_named(name: str) -> GroundNorm:
    """Return the norm called ``l1``, ``l2`` or ``linf``, or as a registered one is called.

    Raises
    ------
    ProblemError
        No such norm.
    """
    return NORMS.named(name)
