r"""Facets of complete cells by pivots: which cuts of a cell are not implied by its other rows.

For every cut the simplex method decreases its slack over the cell. Where it ends above zero, the
multipliers of the other rows prove the cut redundant. Where it reaches the row, a point of the row
between the edges that stay on it is moved outwards; strictly inside all other rows it proves a
facet. What neither shows is decided over the integers.
"""

from typing import NamedTuple

import numpy as np

from wdaverify.arrays import Floats, Integers
from wdaverify.cells.block import Block
from wdaverify.cells.dictionary.bounds import certified
from wdaverify.cells.dictionary.exact import IntegerRows
from wdaverify.cells.dictionary.lanes import FREE, Lanes, Move, pivot
from wdaverify.cells.dictionary.model import Model
from wdaverify.cells.dictionary.seat import seat
from wdaverify.cells.dictionary.stage import CANCELLED, PATIENCE, PRICE, Stage, along_edges
from wdaverify.cells.frame import Frame
from wdaverify.network import ReLUNetwork

__all__ = ["FacetFinder", "Facets"]


class Facets(NamedTuple):
    """Facets of a block of cells, one row for each."""

    cells: Integers
    """Which cell of the block."""
    neurons: Integers
    """The neuron whose hyperplane carries the facet."""
    points: Floats
    """In the relative interior, up to rounding, in the coordinates of the frame, ``(F, d)``."""


class FacetFinder:
    """Facets of the cells of one network on one frame."""

    def __init__(self, network: ReLUNetwork, frame: Frame) -> None:
        self.network = network
        self.model, self.exact = Model(network, frame), IntegerRows(network, frame)
        self.last = len(network.widths) - 1
        self.stage = Stage(self.model, self.exact, self.last, np.zeros(network.widths[self.last]))
        self.patience = PATIENCE * (frame.dimension + 4)

    def of(self, block: Block) -> Facets:
        """Return the facets that cuts give to every cell, in order of cells and neurons."""
        lanes = self._lanes(block)
        found: list[tuple[int, int, Floats]] = []
        cell = np.arange(len(lanes))
        self._aim(lanes, cell)
        while True:
            busy = np.flatnonzero(lanes.neuron >= 0)
            if not len(busy):
                break
            if len(busy) < len(lanes):
                lanes, cell = lanes.take(busy), cell[busy]
            self._step(lanes, cell, found)
        found.sort(key=lambda facet: facet[:2])
        d = self.model.dimension
        return Facets(
            np.array([facet[0] for facet in found], dtype=np.int64),
            np.array([facet[1] for facet in found], dtype=np.int64),
            np.array([facet[2] for facet in found]).reshape(len(found), d),
        )

    def _lanes(self, block: Block) -> Lanes:
        B, (d, H, S) = len(block.patterns), (
            self.model.dimension, self.model.neurons, self.model.support,
        )  # fmt: skip
        slopes = np.concatenate(self.network.slopes)
        lanes = Lanes(
            block.patterns.copy(), np.zeros((B, H), dtype=bool), block.cuts.copy(),
            np.zeros((B, S + H)), np.where(block.patterns, 1.0, slopes),
            np.zeros((B, d), dtype=np.int64), np.zeros((B, d, d)), np.ones((B, d)),
            np.zeros((B, d)), block.interiors.copy(), np.zeros((B, 0)),
            np.zeros(B, dtype=np.int64), np.ones(B), np.zeros((B, d)), np.ones(B),
            np.zeros(B, dtype=np.int64), np.zeros(B, dtype=bool),
        )  # fmt: skip
        lanes.factor[:, :S] = 1.0
        cell, neuron = np.nonzero(block.cuts)
        rows = self.model.gradients(neuron + S, lanes.slope[cell])
        norm = np.sqrt(np.einsum("bi,bi->b", rows, rows))
        side = np.where(block.patterns[cell, neuron], 1.0, -1.0)
        lanes.factor[cell, neuron + S] = side / np.where(norm > 0, norm, 1.0)
        size = np.array([self.model.sizes[m].max() for m in self.model.layer_of])[neuron]
        lanes.hard[cell[norm <= CANCELLED * size]] = True
        if self.model.suitable:
            seat(self.model, self.last, lanes)
        else:
            lanes.hard[:] = True
        return lanes

    def _aim(self, lanes: Lanes, index: Integers) -> None:
        """Choose the next cut of lanes, −1 when there is none."""
        todo = lanes.todo[index]
        neuron = np.where(todo.any(axis=1), todo.argmax(axis=1), -1)
        lanes.neuron[index], lanes.steps[index] = neuron, 0
        index, neuron = index[neuron >= 0], neuron[neuron >= 0]
        row = self.model.gradients(neuron + self.model.support, lanes.slope[index])
        lanes.row[index], lanes.norm[index] = row, np.sqrt(np.einsum("bi,bi->b", row, row))
        lanes.side[index] = np.where(lanes.pattern[index, neuron], 1.0, -1.0)

    @np.errstate(over="ignore", divide="ignore", invalid="ignore")
    def _step(self, lanes: Lanes, cell: Integers, found: list[tuple[int, int, Floats]]) -> None:
        every, S = np.arange(len(lanes)), self.model.support
        prices = along_edges(lanes.edges, lanes.row) * (lanes.side / lanes.norm)[:, None]
        price = np.where(lanes.basis == FREE, -np.abs(prices), prices)
        column = price.argmin(axis=1)
        tied = lanes.basis == (S + lanes.neuron)[:, None]
        tired = (lanes.steps > self.patience) | lanes.hard
        on = tied.any(axis=1) & ~tired
        optimal = (price[every, column] >= -PRICE) & ~on & ~tired
        closed = np.flatnonzero(on | optimal | tired)
        certain = np.zeros(len(lanes), dtype=bool)
        index = np.flatnonzero(optimal)
        certain[index] = certified(self.model, self.last, lanes, index, prices[index])
        index = np.flatnonzero(on)
        points, shown = self._witnesses(lanes, index, tied[index].argmax(axis=1))
        certain[index] = shown
        for i, point in zip(index[shown], points[shown], strict=True):
            found.append((int(cell[i]), int(lanes.neuron[i]), point))
        for i in closed[~certain[closed]]:
            point = self._exactly(lanes, int(i))
            if point is not None:
                found.append((int(cell[i]), int(lanes.neuron[i]), point))
        lanes.steps += 1
        self._ahead(lanes, np.flatnonzero(~(on | optimal | tired)), column, prices)
        lanes.todo[closed, lanes.neuron[closed]] = False
        self._aim(lanes, closed)

    def _ahead(self, lanes: Lanes, index: Integers, column: Integers, prices: Floats) -> None:
        """Pivot, the aimed row counting as an obstacle like the others."""
        if not len(index):
            return
        part = lanes.take(index)
        column = column[index]
        along = part.edges[np.arange(len(index)), column]
        along[prices[index, column] > 0] *= -1.0
        slack = self.model.forward(part.vertex, part.slope, self.last) * part.factor
        rows, step = self.stage.blocking(part, slack, along)
        raw = (
            self.model.gradients(rows, part.slope)
            * part.factor[np.arange(len(index)), rows][:, None]
        )
        lanes.hard[index[~np.isfinite(step)]] = True
        good = np.flatnonzero(np.isfinite(step))
        move = Move(column, along, step).take(good)
        gradient = along_edges(part.edges, raw)[good]
        pivot(lanes, index[good], move, rows[good], gradient)

    def _witnesses(
        self, lanes: Lanes, index: Integers, column: Integers
    ) -> tuple[Floats, np.ndarray]:
        """Return points between the edges on the aimed rows, and whether they prove facets."""
        part = lanes.take(index)
        every, S = np.arange(len(index)), self.model.support
        weights = np.where(part.basis == FREE, 0.0, 1.0)
        weights[every, column] = 0.0
        along = (weights[:, :, None] * part.edges).sum(axis=1)
        slack = self.model.forward(part.vertex, part.slope, self.last) * part.factor
        change = self.model.forward(along, part.slope, self.last, affine=False) * part.factor
        change[every, S + part.neuron] = 0.0
        steps = np.full_like(change, 2.0)
        np.divide(np.maximum(slack, 0.0), -change, out=steps, where=change < -1e-12)
        points = part.vertex + steps.min(axis=1, initial=2.0)[:, None] / 2.0 * along
        slack = self.model.forward(points, part.slope, self.last) * part.factor
        slack[(part.factor == 0.0)] = np.inf
        slack[every, S + part.neuron] = np.inf
        room = np.minimum(slack.min(axis=1), 1.0)
        outside = (
            points
            - (part.side * room / 2.0 / part.norm**2)[:, None] * part.row * part.norm[:, None]
        )
        return points, self._proves(part, outside)

    def _proves(self, part: Lanes, points: Floats) -> np.ndarray:
        """Whether points certainly violate the aimed row and no other one."""
        every, S = np.arange(len(part)), self.model.support
        raw = self.model.forward(points, part.slope, self.last)
        size = self.model.sizes_at(points, part.slope, self.last)
        signed = raw * np.sign(part.factor)
        signed[every, S + part.neuron] *= -1.0
        certain = (signed > self.model.gamma * size) | (part.factor == 0.0)
        return np.asarray(certain.all(axis=1))

    def _exactly(self, lanes: Lanes, i: int) -> Floats | None:
        """Decide one cut over the integers; return a point of its facet, if it has one."""
        neuron, pattern = int(lanes.neuron[i]), lanes.pattern[i]
        basis = lanes.basis[i][lanes.basis[i] != FREE]
        if self.model.support + neuron not in basis and not lanes.hard[i]:
            side = 1 if pattern[neuron] else -1
            if self.exact.holds(basis, neuron, side, pattern):
                return None
        cuts = np.flatnonzero(lanes.factor[i, self.model.support :]).tolist()
        return self.exact.facet(cuts, neuron, pattern)
