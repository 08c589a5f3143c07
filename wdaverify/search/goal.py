"""What a search wants, and what it cost: the tree knows neither suprema nor distances."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from wdaverify.arrays import Bools, Floats, Integers
from wdaverify.search.cell import Cell, Finish
from wdaverify.search.program import Node, NodeProgram, Relaxed
from wdaverify.search.rings import Price, Rings

__all__ = ["Goal", "Work"]


@dataclass(slots=True)
class Work:
    """How much work was done."""

    nodes: int = 0
    programs: int = 0
    suprema: int = 0


class Goal(ABC):
    """What a search of one label wants: what a move costs, what is known, what is enough."""

    price: Price
    rings: Rings
    squeezes: bool = False
    """Whether only that part of a node matters in which its objective is not negative."""

    @abstractmethod
    def enough(self) -> Floats:
        """Bound at or below which a node of each sample needs no more work, ``(N,)``."""

    def renew(self) -> Bools | None:
        """Update `rings` by what is known; say for which samples ``(N,)`` bounds have changed."""
        return None

    @abstractmethod
    def relax(self, program: NodeProgram, node: Node) -> Relaxed | None:
        """Solve the relaxation of a node."""

    def finish(self, cell: Cell) -> Finish | None:
        """Solve a decided node for l2."""
        return cell.finish(self.price)

    @abstractmethod
    def offer(self, owner: Integers, moves: Floats) -> None:
        """Consider moves ``(B, n)`` of samples ``(B,)`` as points."""
