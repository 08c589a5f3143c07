"""Cells in order of their distance from a point, one by one, and those that meet a ball.

Partial cells wait in a heap, the nearest first. A child is no nearer than its parent, and as near
where it holds the parent's nearest point; so whole cells leave the heap in order, and nothing far
away is ever looked at.
"""

import heapq
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from wdaverify.arrays import Floats
from wdaverify.cells.cell import Cell, HalfSpaces
from wdaverify.cells.frame import frame_of
from wdaverify.cells.splitting import CellSearch, Partial
from wdaverify.errors import ProblemError, SolverError
from wdaverify.exact.penalty import Penalty
from wdaverify.exact.program import PieceProgram, Solution
from wdaverify.limits import Limits
from wdaverify.network import ReLUNetwork
from wdaverify.norms import GroundNorm
from wdaverify.support import Support

__all__ = ["Met", "cells_by_distance", "cells_in_ball"]

TOUCHING = 1e-9
"""Distance beyond the radius, relative to ``max(1, radius)``, at which a cell still touches."""


class Met(NamedTuple):
    """A cell, its distance from the point, and the point of it that is nearest, ``(n,)``."""

    distance: float
    cell: Cell
    nearest: Floats


def cells_by_distance(
    network: ReLUNetwork,
    support: Support,
    point: Floats,
    norm: GroundNorm,
    *,
    limits: Limits | None = None,
) -> Iterator[Met]:
    """Yield the cells that meet the support with full dimension, the nearest first.

    Parameters
    ----------
    point
        Shape ``(n,)``, in the support or not.
    norm
        Of the distances ``min ‖x − point‖`` over the closed cells.

    Raises
    ------
    LimitReached
        More cells, time or memory than ``limits`` allow.
    ProblemError
        The point has another dimension than the network, or is not finite.
    """
    point = np.asarray(point, dtype=np.float64)
    if point.shape != (network.features,) or not np.isfinite(point).all():
        raise ProblemError(
            f"centre: expected {network.features} finite coordinates, found {point.tolist()}"
        )
    walk = _Walk(network, support.bind(network.features), point, norm)
    return walk.run(limits or Limits())


def cells_in_ball(
    network: ReLUNetwork,
    support: Support,
    centre: Floats,
    radius: float,
    norm: GroundNorm,
    *,
    limits: Limits | None = None,
) -> Iterator[Met]:
    """Yield the cells that meet the closed ball, the nearest first; see `cells_by_distance`."""
    if not 0 <= radius < np.inf:
        raise ProblemError(f"radius: expected a finite number >= 0, found {radius}")
    for met in cells_by_distance(network, support, centre, norm, limits=limits):
        if met.distance > radius + TOUCHING * max(1.0, radius):
            return
        yield met


class _Walk:
    def __init__(
        self, network: ReLUNetwork, support: Support, point: Floats, norm: GroundNorm
    ) -> None:
        self.network, self.support, self.point, self.norm = network, support, point, norm
        self.frame = frame_of(support)
        self.search = CellSearch(network, self.frame)
        self.rows = HalfSpaces(network, self.frame)

    def run(self, limits: Limits) -> Iterator[Met]:
        root = self.search.root()
        heap = [(*self._nearest(root), 0, root)]
        count = met = 0
        while heap:
            limits.check("walking through cells", met)
            distance, nearest, _, partial = heapq.heappop(heap)
            children = self.search.descend(partial)
            if not children:
                met += 1
                yield Met(distance, self._cell(partial), np.array(nearest))
            for child in children:
                count += 1
                w, b = child.matrix[-1], child.bound[-1]
                inside = float(w @ self.frame.coordinates(np.array(nearest))) <= b
                found = (distance, nearest) if inside else self._nearest(child)
                heapq.heappush(heap, (max(distance, found[0]), found[1], count, child))

    def _nearest(self, partial: Partial) -> tuple[float, tuple[float, ...]]:
        """Return the distance of a partial cell and its nearest point."""
        cell = self._cell(partial)
        program = PieceProgram(cell.half_spaces, self.support, self.norm)
        found = program.solve(np.zeros(len(self.point)), self.point, Penalty(1.0))
        if not isinstance(found, Solution):
            raise SolverError("walk: a partial cell with interior has no nearest point")
        return max(0.0, -found.bound), tuple(found.point.tolist())

    def _cell(self, partial: Partial) -> Cell:
        cuts = np.zeros(self.network.neurons, dtype=bool)
        cuts[partial.path] = True
        hidden, logits = self.network.affine_maps(partial.pattern)
        half_spaces = self.rows.of(partial.pattern, cuts, hidden)
        interior = self.frame.points(partial.points[0])
        return Cell(partial.pattern, cuts, interior, half_spaces, logits)
