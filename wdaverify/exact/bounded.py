"""What the engines for bounded supports and max-affine losses have in common."""

from abc import ABC, abstractmethod
from typing import ClassVar

from wdaverify.arrays import Floats
from wdaverify.distribution import Ray
from wdaverify.errors import UnsupportedError
from wdaverify.exact.distances import Errors
from wdaverify.exact.fallback import layer_constant
from wdaverify.exact.lessons import Lessons, Round
from wdaverify.exact.oracle import Asked
from wdaverify.exact.recession import Tail
from wdaverify.problem import Problem

__all__ = ["BoundedOracle"]


class BoundedOracle(ABC):
    """An engine that never meets a ray or an infinite loss."""

    name: ClassVar[str]
    problem: Problem

    @staticmethod
    @abstractmethod
    def refuses(problem: Problem) -> str | None:
        """Return what keeps this engine from a question, ``None`` if nothing does."""

    @classmethod
    def check(cls, problem: Problem) -> None:
        """Raise unless this engine answers the question.

        Raises
        ------
        UnsupportedError
            Names the part of the question that is not covered.
        """
        reason = cls.refuses(problem)
        if reason is not None:
            raise UnsupportedError(f"engine: {cls.name} does not cover {reason}; try cells")

    @property
    def slope(self) -> float:
        """Asymptotic slope: 0, the support being bounded."""
        return 0.0

    def ray(self, label: int) -> Ray | None:  # noqa: ARG002  (no ray on a bounded support)
        """Return ``None``: the support is bounded."""
        return None

    def maximisers(self, label: int, sample: int, tail: Tail) -> Floats:  # noqa: ARG002
        """Return no points: there is no ray to end."""
        return self.problem.points[:0]

    def infinite(self, label: int) -> Floats | None:  # noqa: ARG002  (no DLR here)
        """Return ``None``: the losses covered are finite."""
        return None

    def groups(self, label: int) -> int:  # noqa: ARG002
        """Return 1: groups learn on their own."""
        return 1

    def explore(self, asked: Asked, lessons: Lessons | None, programs: int) -> Round:
        """Never asked: see :meth:`groups`."""
        raise NotImplementedError

    def errors(self, label: int) -> Errors:
        """Never asked: see :meth:`groups`."""
        raise NotImplementedError

    def constant(self, label: int) -> float:
        """Return the product of the layers' norms."""
        return layer_constant(self.problem, label)
