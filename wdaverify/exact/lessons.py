"""What groups of samples of one label tell each other: dual cuts and points.

A cut bounds the suprema of every sample of the label, and a point is a candidate for each. Groups
that are worked on in different places exchange both, always in the same order, so that results do
not depend on where a group is. The first group is settled alone, then the second one, which knows
what the first has found, then two, four, eight: most of what there is to find is found by few.
Within such a stage groups exchange between rounds of a limited number of programs.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from wdaverify.arrays import Floats, Integers
from wdaverify.exact.cuts import Cut

__all__ = ["FIRST", "GROUP", "Blackboard", "Lessons", "Round", "stage"]

GROUP = 128
"""Samples of a label that share everything at once; such groups exchange what they learn."""

FIRST = 16
"""Programs of a group in the first round; each round of one question has twice as many."""


def stage(group: int) -> int:
    """Return when the turn of a group comes: 0, 1, 2, 2, 3, 3, 3, 3, 4 and so on."""
    return group.bit_length()


class Lessons(NamedTuple):
    """Cuts of pieces as they were at first, cuts that exclude pieces, and points.

    Attributes
    ----------
    pieces, gradients, offsets, steepness
        Of the cuts: ``(C,)``, ``(C, n)``, ``(C,)``, ``(C,)``.
    barriers
        Pieces and cuts of the zero function, see :meth:`CutPool.exclude`.
    points, values
        ``(M, n)`` and the loss there, ``(M,)``.
    """

    pieces: Integers
    gradients: Floats
    offsets: Floats
    steepness: Floats
    barriers: list[tuple[int, Cut]]
    points: Floats
    values: Floats

    def __bool__(self) -> bool:
        return bool(len(self.pieces) or self.barriers or len(self.values))

    @classmethod
    def of(
        cls,
        cuts: Sequence[tuple[int, Cut]],
        barriers: Sequence[tuple[int, Cut]],
        points: Sequence[tuple[Floats, Floats]],
        features: int,
    ) -> "Lessons":
        """Put together what was noted one by one."""
        none = np.zeros((0, features))
        return cls(
            np.array([piece for piece, _ in cuts], dtype=np.int64),
            np.array([cut.gradient for _, cut in cuts]).reshape(-1, features),
            np.array([cut.offset for _, cut in cuts]),
            np.array([cut.steepness for _, cut in cuts]),
            [(piece, cut._replace(multipliers=None)) for piece, cut in barriers],
            np.concatenate([none, *(rows for rows, _ in points)]),
            np.concatenate([np.zeros(0), *(values for _, values in points)]),
        )

    @classmethod
    def joined(cls, parts: Sequence["Lessons"]) -> "Lessons":
        """Return several as one, in their order."""
        return cls(
            np.concatenate([part.pieces for part in parts]),
            np.concatenate([part.gradients for part in parts]),
            np.concatenate([part.offsets for part in parts]),
            np.concatenate([part.steepness for part in parts]),
            [barrier for part in parts for barrier in part.barriers],
            np.concatenate([part.points for part in parts]),
            np.concatenate([part.values for part in parts]),
        )


class Round(NamedTuple):
    """What a group answers after a limited number of programs.

    Attributes
    ----------
    bounds, slopes, points
        As in :class:`~wdaverify.exact.oracle.Suprema`.
    settled
        Whether nothing is left to do.
    news
        For the other groups.
    """

    bounds: Floats
    slopes: Floats
    points: Floats
    settled: bool
    news: Lessons


class Blackboard:
    """All news of the groups of one label, and how much of it each group has read."""

    def __init__(self) -> None:
        self._news: list[tuple[int, Lessons]] = []
        self._read: dict[int, int] = {}

    def write(self, group: int, news: Lessons) -> None:
        """Add what a group has learned."""
        if news:
            self._news.append((group, news))

    def read(self, group: int) -> Lessons | None:
        """Return what others have written since a group last read, if anything."""
        start = self._read.get(group, 0)
        self._read[group] = len(self._news)
        new = [lessons for writer, lessons in self._news[start:] if writer != group]
        return Lessons.joined(new) if new else None
