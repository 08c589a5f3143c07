"""Exact ends of the enumeration: partial cells too small or too far for floating point."""

from collections.abc import Iterator

import numpy as np

from wdaverify.arrays import Bools, Floats
from wdaverify.cells.block import Block
from wdaverify.cells.dictionary.exact import IntegerRows
from wdaverify.cells.dictionary.lanes import Lanes
from wdaverify.cells.dictionary.model import Model
from wdaverify.cells.dictionary.plan import Plan
from wdaverify.rational import Rationals

__all__ = ["confirmed", "settled"]


@np.errstate(over="ignore", divide="ignore", invalid="ignore")
def confirmed(model: Model, exact: IntegerRows, lanes: Lanes) -> Block:
    """Return the complete cells that have interior, each with a point certainly inside."""
    cuts = lanes.factor[:, model.support :] != 0
    points = lanes.point
    exists = model.inside(points, lanes.pattern, cuts)
    if not exists.all():
        points = points.copy()
    for share in (1.0, 0.5):
        left = np.flatnonzero(~exists)
        if len(left):
            part = lanes.take(left)
            tried = part.point + share * (_along_edges(model, part) - part.point)
            points[left] = tried
            exists[left] = model.inside(tried, part.pattern, cuts[left])
    for i in np.flatnonzero(~exists):
        point = exact.interior(np.flatnonzero(cuts[i]).tolist(), lanes.pattern[i])
        if point is not None:
            points[i], exists[i] = point.astype(np.float64), True
    return Block(lanes.pattern[exists], cuts[exists], points[exists])


def _along_edges(model: Model, lanes: Lanes) -> Floats:
    """Return points between all edges of the vertices, halfway to the next row."""
    layer = len(model.widths) - 1
    along = np.where(lanes.basis[:, :, None] >= 0, lanes.edges, 0.0).sum(axis=1)
    slack = model.forward(lanes.vertex, lanes.slope, layer) * lanes.factor
    change = model.forward(along, lanes.slope, layer, affine=False) * lanes.factor
    steps = np.full_like(change, 2.0)
    np.divide(np.maximum(slack, 0.0), -change, out=steps, where=change < -1e-12)
    return np.asarray(lanes.vertex + steps.min(axis=1, initial=2.0)[:, None] / 2.0 * along)


def settled(plan: Plan, exact: IntegerRows, lanes: Lanes, layer: int) -> Iterator[Block]:
    """Enumerate what lies below partial cells of a layer over the rationals."""
    S = len(exact.support)
    for i in range(len(lanes)):
        cuts = np.flatnonzero(lanes.factor[i, S:]).tolist()
        point = exact.interior(cuts, lanes.pattern[i])
        if point is not None:
            first = _Partial(
                lanes.pattern[i].copy(), lanes.flat[i].copy(), cuts, layer,
                np.flatnonzero(lanes.todo[i]).tolist(), point,
            )  # fmt: skip
            yield from _below(plan, exact, first)


class _Partial:
    def __init__(
        self, pattern: Bools, flat: Bools, cuts: list[int], layer: int, todo: list[int],
        point: Rationals,
    ) -> None:  # fmt: skip
        self.pattern, self.flat, self.cuts = pattern, flat, cuts
        self.layer, self.todo, self.point = layer, todo, point

    def child(self, neuron: int, point: Rationals, *, on: bool) -> "_Partial":
        pattern = self.pattern.copy()
        pattern[neuron] = on
        return _Partial(
            pattern, self.flat.copy(), [*self.cuts, neuron], self.layer, self.todo.copy(), point
        )


def _below(plan: Plan, exact: IntegerRows, first: _Partial) -> Iterator[Block]:
    stack = [first]
    while stack:
        partial = stack.pop()
        children = _descend(plan, exact, partial)
        stack.extend(children)
        if not children:
            cuts = np.zeros((1, exact.neurons), dtype=bool)
            cuts[0, partial.cuts] = True
            yield Block(partial.pattern[None], cuts, partial.point.astype(np.float64)[None])


def _descend(plan: Plan, exact: IntegerRows, partial: _Partial) -> list[_Partial]:
    """Decide neurons until one splits; return both children, or nothing at a whole cell."""
    layers = len(exact.starts) - 1
    while True:
        while partial.todo:
            k = partial.todo.pop()
            row = exact.neuron(k, partial.pattern)
            value = row[:-1] @ partial.point + row[-1]
            if not any(row[:-1]):
                partial.pattern[k], partial.flat[k] = value > 0, value == 0
                continue
            partial.pattern[k] = value <= 0
            other = exact.interior([*partial.cuts, k], partial.pattern)
            if other is None:
                partial.pattern[k] = value > 0
            elif value != 0:
                return [
                    partial.child(k, partial.point, on=value > 0),
                    partial.child(k, other, on=value <= 0),
                ]
            else:
                sides = exact.sides(partial.cuts, k, partial.pattern)
                return [partial.child(k, point, on=on) for on, point in sides]
        plan.follow(partial.layer, partial.pattern, partial.flat)
        partial.layer += 1
        if partial.layer == layers:
            return []
        span = slice(int(exact.starts[partial.layer]), int(exact.starts[partial.layer + 1]))
        partial.todo = (np.flatnonzero(plan.todo[span]) + span.start).tolist()
