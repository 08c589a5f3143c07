"""What suprema share: programs that are kept warm, and counts of the work."""

from collections import OrderedDict
from dataclasses import dataclass

from wdaverify.cells.complex import CellComplex
from wdaverify.exact.pieces import Pieces
from wdaverify.exact.program import PieceProgram
from wdaverify.exact.vertices import Corners
from wdaverify.norms import GroundNorm

__all__ = ["Counts", "Programs"]


@dataclass(slots=True)
class Counts:
    """How much work was done."""

    cells: int = 0
    nodes: int = 0
    pieces: int = 0
    programs: int = 0
    suprema: int = 0

    def as_dict(self) -> dict[str, int]:
        """Return the counts by name."""
        return {name: getattr(self, name) for name in self.__slots__}


class Programs:
    """The programs of the most recently used pieces, and the corners that spare most of them.

    Parameters
    ----------
    corners
        Those of the same cells and norm, to share them; listed when first needed if omitted.
    capacity
        Programs that are kept.
    """

    def __init__(
        self,
        cells: CellComplex,
        norm: GroundNorm,
        corners: Corners | None = None,
        *,
        capacity: int = 2000,
    ) -> None:
        self.cells, self.norm, self.capacity = cells, norm, capacity
        self.corners = corners or Corners(cells, norm)
        self.kept: OrderedDict[tuple[int, int, int], PieceProgram] = OrderedDict()

    def of(self, pieces: Pieces, piece: int) -> PieceProgram:
        """Return the program of a piece; pieces without a threshold share that of their cell."""
        cell, target = int(pieces.cells[piece]), int(pieces.targets[piece])
        if pieces.parts:
            key = (pieces.label, -1, piece)
        elif pieces.thresholds is None:
            key = (-1, cell, -1)
        else:
            key = (pieces.label, cell, target)
        if key in self.kept:
            self.kept.move_to_end(key)
            return self.kept[key]
        program = PieceProgram(pieces.rows(self.cells, piece), self.cells.support, self.norm)
        self.kept[key] = program
        if len(self.kept) > self.capacity:
            self.kept.popitem(last=False)
        return program
