"""What a certificate proves, what it may use, and what it answers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from wdaverify.cells.complex import CellComplex
from wdaverify.errors import UnsupportedError
from wdaverify.limits import Limits
from wdaverify.problem import Problem

__all__ = ["Ceiling", "Certified", "Means", "Method", "Statement"]

NODES: Final = 20_000
"""Partial patterns that a search for constants may look at."""


class Certified(Protocol):
    """An upper bound on the worst-case value for every radius."""

    @property
    def problem(self) -> Problem:
        """The question."""

    @property
    def method(self) -> str:
        """Name in the registry."""

    def bound(self, radius: float) -> float:
        """Upper bound on the worst-case value at a radius."""


@dataclass(frozen=True, slots=True, eq=False)
class Means:
    """What a certificate may use.

    Attributes
    ----------
    cells
        Activation cells, where they are listed; else the constants are searched.
    nodes
        Partial patterns that one search may look at.
    """

    cells: CellComplex | None = None
    limits: Limits = field(default_factory=Limits)
    nodes: int = NODES


@dataclass(frozen=True, slots=True)
class Statement:
    """What a number proves.

    Attributes
    ----------
    proves
        The statement in a line.
    covers
        Orders, norms, supports and losses for which it holds.
    refuses
        Why it proves nothing about a question, ``None`` if it does.
    """

    name: str
    proves: str
    covers: str
    refuses: Callable[[Problem], str | None]

    def sentence(self, problem: Problem) -> str:
        """Return what is proved, where, and the question it is asked about."""
        return (
            f"{self.proves}; holds for {self.covers}; here {problem.cost.describe()}, "
            f"{problem.support.describe()}, {problem.loss.name}"
        )

    def check(self, problem: Problem) -> None:
        """Refuse a question about which nothing is proved.

        Raises
        ------
        UnsupportedError
            With the reason.
        """
        reason = self.refuses(problem)
        if reason is not None:
            raise UnsupportedError(f"{self.name}: {reason}")


@dataclass(frozen=True, slots=True)
class Method(Statement):
    """A way to an upper bound.

    Attributes
    ----------
    make
        Make the certificate of a question that is not refused.
    searches
        Whether it searches partial patterns where no cells are listed.
    standard
        Whether a sandwich uses it unasked.
    """

    make: Callable[[Problem, Means], Certified]
    searches: bool = False
    standard: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Ceiling:
    """The largest value that the loss can take at all."""

    problem: Problem
    method: str = "ceiling"

    def bound(self, radius: float) -> float:  # noqa: ARG002  (the same for every radius)
        """Return 1."""
        return 1.0
