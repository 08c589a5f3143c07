"""What is shown of the worst case at one radius: moves, pictures or features, and sums."""

from collections.abc import Sequence
from dataclasses import dataclass

from wdaverify.problem import Problem
from wdaverify.report.features import Carried, carried
from wdaverify.report.images import Picture, Shape, pictures
from wdaverify.report.moves import Move
from wdaverify.verification import Row

__all__ = ["Panel", "panel"]

MOVES = 20
"""Moves in a table; the rest is counted."""
FAR = 1e6
"""Distance, in radii, beyond which mass is said to escape."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One radius.

    Attributes
    ----------
    moves
        All, those first that the adversary prefers.
    pictures
        Of the first moves, where samples are pictures.
    carried
        The features that move, where they are not.
    """

    row: Row
    moves: Sequence[Move]
    pictures: Sequence[Picture]
    carried: Carried | None

    @property
    def shown(self) -> Sequence[Move]:
        """Moves in the table."""
        return self.moves[:MOVES]

    @property
    def rest(self) -> Sequence[Move]:
        """Moves that are only counted."""
        return self.moves[MOVES:]

    @property
    def samples(self) -> int:
        """How many samples have mass that moves."""
        return len({m.sample for m in self.moves})

    @property
    def mass(self) -> float:
        """Mass that moves."""
        return sum(m.mass for m in self.moves)

    @property
    def flipped(self) -> float:
        """Mass that moves from a right prediction to an error."""
        return sum(m.mass for m in self.moves if m.becomes_error)

    @property
    def far(self) -> int:
        """Moves whose mass escapes."""
        return sum(m.distance > FAR * max(self.row.radius, 1.0) for m in self.moves)

    @property
    def rest_mass(self) -> float:
        """Mass of the moves that are only counted."""
        return sum(m.mass for m in self.rest)

    @property
    def rest_gain(self) -> float:
        """What these moves add to the value."""
        return sum(m.gain for m in self.rest)


def panel(problem: Problem, row: Row, moves: Sequence[Move], shape: Shape | None) -> Panel:
    """Return what is shown at one radius; ``shape`` is that of pictures, ``None`` for tables."""
    tabular = shape is None and problem.network.features > 1
    return Panel(
        row,
        moves,
        [] if shape is None else pictures(problem, moves, shape),
        carried(problem, moves, None) if tabular else None,
    )
