"""Enumeration of activation cells by simplex dictionaries of many partial cells at once.

Each partial cell carries a vertex and the edges that leave it
(:mod:`~wdaverify.cells.dictionary.lanes`); the neurons of a layer are decided by pivots that stop
at the first change of sign (:mod:`~wdaverify.cells.dictionary.stage`). A side is dropped on proof
only, and a cell is returned with a point that is certainly inside: floating point with error
bounds, else integers. Layers are worked on depth first, so memory does not grow with the cells.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from wdaverify.arrays import Floats
from wdaverify.cells.block import Block
from wdaverify.cells.dictionary.exact import IntegerRows
from wdaverify.cells.dictionary.lanes import Lanes
from wdaverify.cells.dictionary.model import Model
from wdaverify.cells.dictionary.plan import Plan, essential
from wdaverify.cells.dictionary.seat import seat
from wdaverify.cells.dictionary.settle import confirmed, settled
from wdaverify.cells.dictionary.stage import Stage
from wdaverify.cells.enumeration import cells_of
from wdaverify.cells.frame import Frame
from wdaverify.cells.parallel import in_order
from wdaverify.limits import Limits
from wdaverify.network import ReLUNetwork

__all__ = ["dictionary_blocks"]

BYTES = 2**21
"""Size of the arrays of the partial cells that are worked on together."""

ALONE = 100_000
"""Cells after which the rest is dealt out, whatever the number of processes."""

SHARES = 24
"""Shares that are dealt out."""

Share = tuple[list[list[Lanes]], list[list[Lanes]]]
"""Partial cells that wait for each layer, and those that have begun with it."""

FIRST = 1e30
"""Priority of neurons that tie free directions: they are tested before all others."""


def dictionary_blocks(
    network: ReLUNetwork,
    frame: Frame,
    *,
    limits: Limits | None = None,
    progress: Callable[[int], None] | None = None,
    workers: int = 1,
) -> Iterator[Block]:
    """Yield every cell once, in blocks, in a fixed order.

    Parameters
    ----------
    network, frame
        As for :func:`~wdaverify.cells.enumeration.cells_of`, which finds the same patterns.
    limits
        On cells, time and memory, checked at every step.
    progress
        Called with the number of cells found so far.
    workers
        Processes that share what is left after the first ``ALONE`` cells; the cells and their order
        are the same.

    Raises
    ------
    LimitReached
        More cells, time or memory than ``limits`` allow.
    """
    limits = limits or Limits()
    count = 0
    for block in _blocks(network, frame, limits, workers):
        room = min(limits.cells - count, len(block.patterns))
        count += len(block.patterns)
        if room > 0:
            if progress is not None:
                progress(min(count, count - len(block.patterns) + int(room)))
            yield block.at(slice(0, int(room)))
        limits.check("enumerating cells", count)


def _blocks(network: ReLUNetwork, frame: Frame, limits: Limits, workers: int) -> Iterator[Block]:
    if frame.dimension and network.neurons:
        rows, model = IntegerRows(network, frame), Model(network, frame)
        smaller, columns = frame, np.arange(frame.dimension)
        independent = np.zeros(0, dtype=np.int64)
        if not np.all(np.isfinite(model.extent)):
            smaller, columns, independent = essential(rows, frame)
            if len(columns) < frame.dimension:
                rows, model = IntegerRows(network, smaller), Model(network, smaller)
        if model.suitable and len(columns):
            search = _Search(network, smaller, model, rows, independent)
            for block in search.all(limits, workers):
                points = np.zeros((len(block.interiors), frame.dimension))
                points[:, columns] = block.interiors
                yield block._replace(interiors=points)
            return
    for cell in cells_of(network, frame, limits=limits):
        yield Block(cell.pattern[None], cell.cuts[None], cell.interior[None])


class _Search:
    """Partial cells that wait for each layer, and complete cells that wait to be confirmed."""

    def __init__(
        self,
        network: ReLUNetwork,
        frame: Frame,
        model: Model,
        rows: IntegerRows,
        independent: np.ndarray,
    ) -> None:
        self.network, self.model, self.exact = network, model, rows
        self._given = network, frame, independent
        self.plan = Plan.of(network, rows)
        self.layers = len(network.widths)
        priority = [np.zeros(width) for width in network.widths]
        priority[0][independent] = FIRST
        self.stages = [Stage(model, rows, m, priority[m]) for m in range(self.layers)]
        self.waiting: list[list[Lanes]] = [[] for _ in range(self.layers + 1)]
        self.started: list[list[Lanes]] = [[] for _ in range(self.layers)]
        d, H, S = model.dimension, model.neurons, model.support
        lane = 8 * (d * d + 5 * d + 2 * S + 4 * H) + 100
        self.size = int(np.clip(min(BYTES, 32 * BYTES // H) // lane, 16, 1024))
        self.waiting[0].append(self._root(frame))

    def _root(self, frame: Frame) -> Lanes:
        d, H, S = self.model.dimension, self.model.neurons, self.model.support
        factor = np.zeros((1, S + H))
        factor[:, :S] = 1.0
        whole, reals = np.zeros(1, dtype=np.int64), np.zeros(1)
        flags = np.zeros((1, H), dtype=bool)
        root = Lanes(
            self.plan.pattern[None].copy(), flags, flags.copy(), factor, np.zeros((1, H)),
            np.zeros((1, d), dtype=np.int64), np.zeros((1, d, d)), np.ones((1, d)),
            np.zeros((1, d)), self._generic(frame.interior)[None], np.zeros((1, 0)), whole, reals,
            np.zeros((1, d)), np.ones(1), whole.copy(), np.zeros(1, dtype=bool),
        )  # fmt: skip
        root.todo[0, self.model.span(0)] = self.plan.todo[self.model.span(0)]
        seat(self.model, 0, root)
        return root

    def _generic(self, point: Floats) -> Floats:
        """Return a point of the support near a given one, on no hyperplane through that one."""
        slack = self.model.bound - self.model.matrix @ point
        direction = np.random.default_rng(0).normal(size=len(point))
        direction /= np.linalg.norm(direction)
        return point + min(1.0, float(slack.min(initial=2.0)) / 2.0) * direction

    def all(self, limits: Limits, workers: int) -> Iterator[Block]:
        """Yield all blocks: the first ones, then those of disjoint shares of the rest."""
        yield from self.run(limits, most=ALONE)
        shares = self._shares()
        if workers > 1 and len(shares) > 1:
            for blocks in in_order(shares, _Service(*self._given), workers, limits):
                yield from blocks
            return
        for share in shares:
            self.waiting, self.started = share
            yield from self.run(limits)

    def _shares(self) -> list[Share]:
        """Deal out the partial cells; nothing is left."""
        shares: list[Share] = []
        for k in range(SHARES):
            dealt = []
            for lists in (self.waiting, self.started):
                joined = [[Lanes.join(parts)] if parts else [] for parts in lists]
                some = [[p.take(np.arange(k, len(p), SHARES)) for p in ps] for ps in joined]
                dealt.append([[p for p in ps if len(p)] for ps in some])
            if any(ps for lists in dealt for ps in lists):
                shares.append((dealt[0], dealt[1]))
        self.waiting = [[] for _ in self.waiting]
        self.started = [[] for _ in self.started]
        return shares

    def run(self, limits: Limits, most: float = float("inf")) -> Iterator[Block]:
        """Yield blocks of confirmed cells, up to ``most`` of them or a few more."""
        count = 0
        while count < most and (layer := self._next()) is not None:
            if layer == self.layers:
                block = confirmed(self.model, self.exact, Lanes.join(self.waiting[layer]))
                self.waiting[layer].clear()
                count += len(block.patterns)
                yield block
            else:
                for hard in self._advance(layer, limits):
                    yield from settled(self.plan, self.exact, hard, layer)

    def _next(self) -> int | None:
        """Return the deepest layer with enough to do or, if there is none, the first with some."""
        amounts = [_amount(w) for w in self.waiting]
        for layer, started in enumerate(self.started):
            amounts[layer] += _amount(started)
        full = [layer for layer, amount in enumerate(amounts) if amount >= self.size]
        some = [layer for layer, amount in enumerate(amounts) if amount]
        return full[-1] if full else (some[0] if some else None)

    def _advance(self, layer: int, limits: Limits) -> Iterator[Lanes]:
        """Work on a layer until nothing is left or the next one has enough to do.

        Yields the partial cells that are left to exact arithmetic.
        """
        stage, lanes, stack = self.stages[layer], None, self.started[layer]
        while True:
            limits.check("enumerating cells")
            lanes = self._fill(layer, lanes)
            if lanes is None:
                return
            leaving = np.flatnonzero((lanes.neuron < 0) | lanes.hard)
            if len(leaving):
                out = lanes.take(leaving)
                if out.hard.any():
                    yield out.take(np.flatnonzero(out.hard))
                    out = out.take(np.flatnonzero(~out.hard))
                self._promote(layer, out)
                lanes = self._replace(layer, lanes, leaving)
                if lanes is not None and _amount(self.waiting[layer + 1]) >= self.size:
                    stack.append(lanes)
                    return
                continue
            children = stage.step(lanes)
            if children is not None:
                stack.append(children)

    def _fill(self, layer: int, lanes: Lanes | None) -> Lanes | None:
        """Top up from the partial cells that have begun, then from those that wait."""
        parts = [lanes] if lanes is not None else []
        room = self.size - _amount(parts)
        for source in (self.started[layer], self.waiting[layer]):
            while room > 0 and source:
                part = source.pop()
                if len(part) > room:
                    source.append(part.take(slice(0, len(part) - room)))
                    part = part.take(slice(len(part) - room, None))
                if source is self.waiting[layer]:
                    self.stages[layer].enter(part)
                parts.append(part)
                room -= len(part)
        return Lanes.join(parts) if parts else None

    def _replace(self, layer: int, lanes: Lanes, leaving: np.ndarray) -> Lanes | None:
        """Put partial cells that have begun in the places of those that leave."""
        stack = self.started[layer]
        while len(leaving) and stack:
            part = stack.pop()
            if len(part) > len(leaving):
                stack.append(part.take(slice(0, len(part) - len(leaving))))
                part = part.take(slice(len(part) - len(leaving), None))
            lanes.put(leaving[: len(part)], part)
            leaving = leaving[len(part) :]
        if not len(leaving):
            return lanes
        kept = np.delete(np.arange(len(lanes)), leaving)
        return lanes.take(kept) if len(kept) else None

    def _promote(self, layer: int, lanes: Lanes) -> None:
        """Hand partial cells on whose neurons of this layer are all decided."""
        if not len(lanes):
            return
        self.plan.follow(layer, lanes.pattern, lanes.flat)
        here = self.model.span(layer)
        lanes.slope[:, here] = np.where(lanes.pattern[:, here], 1.0, self.network.slopes[layer])
        if layer + 1 < self.layers:
            then = self.model.span(layer + 1)
            lanes.todo[:, then] = self.plan.todo[then]
        self.waiting[layer + 1].append(lanes)


@dataclass(frozen=True, slots=True, eq=False)
class _Service:
    """Enumerates shares in another process."""

    network: ReLUNetwork
    frame: Frame
    independent: np.ndarray

    def __call__(self, limits: Limits) -> Callable[[Share], list[Block]]:
        rows, model = IntegerRows(self.network, self.frame), Model(self.network, self.frame)

        def answer(share: Share) -> list[Block]:
            search = _Search(self.network, self.frame, model, rows, self.independent)
            search.waiting, search.started = share
            return list(search.run(limits))

        return answer


def _amount(parts: list[Lanes]) -> int:
    return sum(len(part) for part in parts)
