r"""One layer of the enumeration: partial cells in lockstep, each at its own neuron and pivot.

A neuron :math:`z` under test has side :math:`\sigma` at the vertex of the cell. The simplex method
decreases :math:`\sigma z` along edges until it changes sign (the cell is split there; the vertex on
the hyperplane belongs to the new cell, the last one before to the old) or is optimal: then the
multipliers prove that the other side is empty, by a Lagrangian bound of the original rows with
rounding errors charged. What neither shows is decided over the integers.
"""

import numpy as np

from wdaverify.arrays import Bools, Floats, Integers
from wdaverify.cells.dictionary.bounds import certified
from wdaverify.cells.dictionary.exact import IntegerRows
from wdaverify.cells.dictionary.lanes import FREE, Lanes, Move, pivot
from wdaverify.cells.dictionary.model import Model
from wdaverify.cells.dictionary.seat import seat

__all__ = ["CANCELLED", "PATIENCE", "PRICE", "Stage", "along_edges"]

NEAR = 1e-10
"""Distances (relative to the size of the vertex) that do not count as a change of sign."""

PRICE = 1e-11
"""A unit edge must decrease the distance by this much to be taken."""

RATE = 1e-11
"""A unit edge must approach a row by this much to be stopped by it."""

CANCELLED = 1e-7
"""Gradients this much smaller than their summands are left to exact arithmetic."""

REMOTE = 1e8
"""Vertices farther away are left to exact arithmetic."""

FLAT = 1e-9
"""Edges that leave their row this slowly are left to exact arithmetic."""

PATIENCE = 8
"""Pivots per dimension after which a test is left to exact arithmetic; Bland's rule is used from
a quarter on."""


TIED, EAGER = 1e-6, 1e9
"""Slope from which a neuron ties a free direction, and by how much this is preferred."""


class Stage:
    """Tests of the neurons of one layer."""

    def __init__(self, model: Model, exact: IntegerRows, layer: int, priority: Floats) -> None:
        self.model, self.exact, self.layer = model, exact, layer
        self.span, self.S = model.span(layer), model.support
        self.priority = priority
        self.patience = PATIENCE * (model.dimension + 4)

    def enter(self, lanes: Lanes) -> None:
        """Begin the first test of partial cells that are new to this layer."""
        lanes.values = np.empty((len(lanes), self.span.stop - self.span.start))
        self._renew(lanes, np.arange(len(lanes)))

    def begin(self, lanes: Lanes, index: Integers) -> None:
        """Choose the next neuron: the one whose hyperplane is farthest from the point inside."""
        while len(index):
            todo = lanes.todo[index, self.span]
            score = np.where(todo, np.abs(lanes.values[index]) + self.priority, -1.0)
            choice = score.argmax(axis=1)
            open_ = score[np.arange(len(index)), choice] >= 0
            lanes.neuron[index[~open_]] = -1
            index, k = index[open_], choice[open_] + self.span.start
            slope = lanes.slope[index]
            row = self.model.gradients(k + self.S, slope)
            norm = np.sqrt(np.einsum("bi,bi->b", row, row))
            lanes.neuron[index], lanes.row[index], lanes.norm[index] = k, row, norm
            lanes.steps[index] = 0
            small = norm <= CANCELLED * self.model.sizes_of(k, slope, self.layer)
            for i in index[small]:
                self._cancelled(lanes, int(i))
            index = index[small]
            index = index[~lanes.hard[index]]

    def _cancelled(self, lanes: Lanes, i: int) -> None:
        """Decide a neuron that is constant on the cell; one that nearly is makes the cell hard."""
        k = int(lanes.neuron[i])
        row = self.exact.neuron(k, lanes.pattern[i])
        if any(row[:-1]):
            lanes.hard[i] = True
            return
        lanes.pattern[i, k], lanes.flat[i, k] = row[-1] > 0, row[-1] == 0
        lanes.todo[i, k] = False

    @np.errstate(over="ignore", divide="ignore", invalid="ignore")
    def step(self, lanes: Lanes) -> Lanes | None:
        """Let every lane make one step; return the new partial cells.

        Infinite numbers and NaN fail every comparison that proves something.
        """
        every = np.arange(len(lanes))
        slack = self.model.forward(lanes.vertex, lanes.slope, self.layer)
        z = slack[every, self.S + lanes.neuron] / lanes.norm
        slack *= lanes.factor[:, : slack.shape[1]]
        near = NEAR * (1.0 + np.abs(lanes.vertex).max(axis=1))
        self._start(lanes, z, near)
        z *= lanes.side
        prices = along_edges(lanes.edges, lanes.row) * (lanes.side / lanes.norm)[:, None]
        column, slope = self._entering(lanes, prices)
        along = lanes.edges[every, column]
        along[prices[every, column] > 0] *= -1.0
        rows, length = self.blocking(lanes, slack, along)
        tired = lanes.steps > self.patience
        moving = (slope < -PRICE) & ~tired
        lanes.steps += 1
        crossing = moving & (z + length * slope < -near)
        closed, cross = np.flatnonzero(~moving), np.flatnonzero(crossing)
        ahead = np.flatnonzero(moving & ~crossing)
        move = Move(column, along, length)
        children = self._decide(lanes, closed, prices, ~tired[closed])
        if len(ahead):
            self._advance(lanes, ahead, move.take(ahead), rows[ahead])
        if len(cross):
            heights = (z[cross], slope[cross])
            children.append(self._split(lanes, cross, move.take(cross), prices[cross], heights))
        return Lanes.join(children) if children else None

    def blocking(self, lanes: Lanes, slack: Floats, along: Floats) -> tuple[Integers, Floats]:
        """Return the first row that each direction meets and how far it is."""
        change = self.model.forward(along, lanes.slope, self.layer, affine=False)
        change *= lanes.factor[:, : change.shape[1]]
        ratio = np.full_like(change, np.inf)
        np.divide(np.maximum(slack, 0.0), -change, out=ratio, where=change < -RATE)
        rows = ratio.argmin(axis=1)
        return rows, ratio[np.arange(len(rows)), rows]

    def _advance(self, lanes: Lanes, index: Integers, move: Move, rows: Integers) -> None:
        """Pivot, and mark lanes whose new vertex floating point does not describe well."""
        raw = self.model.gradients(rows, lanes.slope[index])
        raw *= lanes.factor[index, rows][:, None]
        pivot(lanes, index, move, rows, along_edges(lanes.edges[index], raw))
        remote = np.abs(lanes.vertex[index]).max(axis=1) > REMOTE
        flat = lanes.rate[index].min(axis=1) < FLAT
        lanes.hard[index[remote | flat]] = True

    def _start(self, lanes: Lanes, z: Floats, near: Floats) -> None:
        """Fix the side of tests that begin: that of the vertex or, too near, of the point."""
        fresh = np.flatnonzero(lanes.steps == 0)
        inside = lanes.values[fresh, lanes.neuron[fresh] - self.span.start]
        clear = np.abs(z[fresh]) > near[fresh]
        lanes.side[fresh] = np.where(np.where(clear, z[fresh], inside) >= 0, 1.0, -1.0)

    def _entering(self, lanes: Lanes, y: Floats) -> tuple[Integers, Floats]:
        """Return the steepest edge of each lane and its slope; Bland's rule in the long run.

        Free directions come first, so that neurons tie them.
        """
        price = np.where(lanes.basis == FREE, -np.abs(y), y)
        column = np.where((lanes.basis == FREE) & (price < -TIED), price - EAGER, price).argmin(
            axis=1
        )
        stalled = np.flatnonzero(lanes.steps > self.patience // 4)
        if len(stalled):
            number = np.where(price[stalled] < -PRICE, lanes.basis[stalled], np.iinfo(int).max)
            column[stalled] = number.argmin(axis=1)
        return column, price[np.arange(len(y)), column]

    def _decide(self, lanes: Lanes, index: Integers, y: Floats, fit: Bools) -> list[Lanes]:
        """Close the tests of lanes at an optimum: one side only, or a doubt."""
        if not len(index):
            return []
        shown = np.zeros(len(index), dtype=bool)
        shown[fit] = certified(self.model, self.layer, lanes, index[fit], y[index[fit]])
        one = index[shown]
        lanes.pattern[one, lanes.neuron[one]] = lanes.side[one] > 0
        lanes.todo[one, lanes.neuron[one]] = False
        children = []
        for i in index[~shown]:
            children += self._doubt(lanes, int(i))
        self.begin(lanes, index)
        return children

    def _doubt(self, lanes: Lanes, i: int) -> list[Lanes]:
        """Decide over the integers whether the side away from the vertex exists."""
        k, side, pattern = int(lanes.neuron[i]), int(lanes.side[i]), lanes.pattern[i]
        basis = lanes.basis[i]
        pattern[k], lanes.todo[i, k] = side > 0, False
        basis = basis[basis != FREE]
        if self.exact.holds_within(basis, k, side, pattern):
            return []
        if self.exact.holds(basis, k, side, pattern):
            return []
        far = lanes.take(np.array([i]))
        far.pattern[0, k] = side < 0
        if not self._reseat(far, k):
            return []
        near = lanes.take(np.array([i]))
        near.hard[0] = not self._reseat(near, k)
        lanes.put(np.array([i]), near)
        return [far]

    def _reseat(self, lane: Lanes, neuron: int) -> bool:
        """Give one partial cell its side of a neuron and a vertex; whether it has interior."""
        side = 1.0 if lane.pattern[0, neuron] else -1.0
        lane.factor[0, self.S + neuron] = side / lane.norm[0]
        cuts = np.flatnonzero(lane.factor[0, self.S :])
        point = self.exact.interior(cuts.tolist(), lane.pattern[0])
        if point is None:
            return False
        lane.point[0] = point.astype(np.float64)
        seat(self.model, self.layer, lane)
        self._renew(lane, np.zeros(1, dtype=np.int64))
        return True

    def _split(
        self,
        lanes: Lanes,
        index: Integers,
        move: Move,
        prices: Floats,
        heights: tuple[Floats, Floats],
    ) -> Lanes:
        """Split cells on an edge: the lanes keep the side of the vertex, the others are returned.

        ``heights`` are the signed distances of the vertices and their changes along the edges.
        """
        (z, slope), along = heights, move.along
        every, k, side = np.arange(len(index)), lanes.neuron[index], lanes.side[index]
        far = lanes.take(index)
        crossing = z / -slope
        inner = side * lanes.values[index, k - self.span.start] / lanes.norm[index]
        end = np.where(np.isfinite(move.step), move.step, crossing + np.maximum(1.0, crossing))
        beyond = far.vertex + end[:, None] * along
        far.point = _towards(far.point, -inner, beyond, -(z + end * slope))
        lanes.point[index] = _towards(lanes.point[index], inner, lanes.vertex[index], z)
        scale = side / lanes.norm[index]
        lanes.factor[index, self.S + k], far.factor[every, self.S + k] = scale, -scale
        lanes.pattern[index, k], far.pattern[every, k] = side > 0, side < 0
        lanes.todo[index, k] = far.todo[every, k] = False
        move = move._replace(step=crossing)
        pivot(far, every, move, self.S + k, prices, turn=1.0)
        free = np.flatnonzero(lanes.basis[index, move.column] == FREE)
        if len(free):
            pivot(lanes, index[free], move.take(free), self.S + k[free], prices[free])
        self._renew(far, every)
        self._renew(lanes, index)
        return far

    def _renew(self, lanes: Lanes, index: Integers) -> None:
        """Evaluate the layer at new points inside, and begin the next tests."""
        raw = self.model.forward(lanes.point[index], lanes.slope[index], self.layer)
        lanes.values[index] = raw[:, self.S + self.span.start :]
        self.begin(lanes, index)


def along_edges(edges: Floats, gradients: Floats) -> Floats:
    """Return derivatives along all edges, ``(B, d)``."""
    return np.asarray((edges @ gradients[:, :, None])[:, :, 0])


def _towards(point: Floats, value: Floats, other: Floats, reached: Floats) -> Floats:
    """Move points towards others until a function is positive: beyond its zero, halfway."""
    zero = np.where(value < 0, -value / (reached - value), 0.0)
    share = np.where(value > 0.1 * reached, 0.0, (1.0 + zero) / 2.0)
    share = np.where(np.isfinite(share), share, 0.0)
    return np.asarray(point + share[:, None] * (other - point))
