"""Partial cells, and how one is split by the next neuron that cuts it.

A side exists where a point shows it; that it does not, a linear program proves. Whatever lies
within ``DOUBT`` of zero is decided in rational arithmetic.
"""

from dataclasses import dataclass

import numpy as np

from wdaverify.arrays import Bools, Floats
from wdaverify.cells.cell import CANCELLED
from wdaverify.cells.decision import ExactCells
from wdaverify.cells.frame import Frame, unit_rows
from wdaverify.convex.highs import LinearProgram, Status
from wdaverify.errors import EnumerationError
from wdaverify.network import AffineMap, ReLUNetwork

__all__ = ["BLIND", "DOUBT", "CellSearch", "Partial"]

DOUBT = 1e-7
"""Distances (to a normalised hyperplane) below which floating point does not decide."""

INSIDE = 1e-9
"""Smallest slack with which a float64 point counts as strictly inside."""

FAR = 1e14
"""A hyperplane farther away than this is left to exact arithmetic."""


BLIND = 1e12
"""Partial cells farther away than this are decided by exact arithmetic throughout."""


@dataclass(slots=True)
class Partial:
    """A partial cell: the signs of the neurons before ``neuron`` are fixed."""

    neuron: int
    pattern: Bools
    path: list[int]
    matrix: Floats
    bound: Floats
    points: Floats  # in the closure of the partial cell; the first strictly inside
    layer: AffineMap  # pre-activations of the layer of ``neuron``, in frame coordinates


class CellSearch:
    """Splits partial cells, neuron by neuron."""

    def __init__(self, network: ReLUNetwork, frame: Frame) -> None:
        self.network, self.frame = network, frame
        self.exact = ExactCells(network, frame)
        self.linear = network.linear
        self.starts = np.concatenate([[0], np.cumsum(network.widths)]).astype(int)
        self.layer_of = np.repeat(np.arange(len(network.widths)), network.widths)
        self.support = unit_rows(frame.matrix.astype(np.float64), frame.bound.astype(np.float64))
        self.size = np.abs(frame.basis.astype(np.float64))
        low, high = frame.extent()
        self.extent = np.maximum(np.abs(low), np.abs(high))
        free = np.full(frame.dimension, np.inf)
        self.program = LinearProgram(-free, free)
        self.program.add_rows(*self.support)
        self.fixed_rows = self.program.rows

    def root(self) -> Partial:
        """Return the support, no neuron decided."""
        d, H = self.frame.dimension, self.network.neurons
        return Partial(
            0,
            np.zeros(H, dtype=bool),
            [],
            np.zeros((0, d)),
            np.zeros(0),
            self.frame.interior[None, :],
            self._layer(0, AffineMap(*self._frame_map())),
        )

    def descend(self, partial: Partial) -> list[Partial]:
        """Decide neurons until one splits; return both children, or nothing at a whole cell."""
        self.program.drop_rows(self.fixed_rows)
        self.program.add_rows(partial.matrix, partial.bound)
        while partial.neuron < self.network.neurons:
            k = partial.neuron
            layer = int(self.layer_of[k])
            if k == self.starts[layer] and k > 0:
                partial.layer = self._layer(layer, self._activated(partial, layer - 1))
            row = self._row(partial)
            sides = self._sides(partial, row)
            if len(sides) == 2:
                children = [self._child(partial, row, point, on=on) for on, point in sides.items()]
                return _existing(children, k)
            if not sides:
                raise EnumerationError(f"neuron {k}: neither side meets a cell with interior")
            partial.pattern[k] = next(iter(sides))
            partial.neuron += 1
        return []

    def _frame_map(self) -> tuple[Floats, Floats]:
        return self.frame.basis.astype(np.float64), self.frame.origin.astype(np.float64)

    def _layer(self, layer: int, before: AffineMap) -> AffineMap:
        W, b = self.network.weights[layer], self.network.biases[layer]
        return AffineMap(W @ before.matrix, W @ before.offset + b)

    def _activated(self, partial: Partial, layer: int) -> AffineMap:
        on = partial.pattern[self.starts[layer] : self.starts[layer + 1]]
        factor = np.where(on, 1.0, self.network.slopes[layer])
        return AffineMap(factor[:, None] * partial.layer.matrix, factor * partial.layer.offset)

    def _row(self, partial: Partial) -> tuple[Floats, float] | None:
        """Return the normalised hyperplane of the next neuron, ``None`` if it is constant."""
        k = partial.neuron
        layer = int(self.layer_of[k])
        index = k - self.starts[layer]
        w, b = partial.layer.matrix[index], float(partial.layer.offset[index])
        weights = np.abs(self.network.weights[layer][index])
        summands = weights.sum() if layer else (weights @ self.size).sum()
        if np.abs(w).sum() <= CANCELLED * summands:
            w, b = self.exact.float_row(k, partial.pattern)
        if not np.any(w):
            return None
        (w,), (b,) = unit_rows(w[None, :], np.array([b]))
        return w, float(b)

    def _sides(
        self, partial: Partial, row: tuple[Floats, float] | None
    ) -> dict[bool, Floats | None]:
        """Return the sides of the next neuron that the partial cell meets with full dimension.

        A side is mapped to a point of it at a distance of more than ``DOUBT``, or to ``None``
        when only exact arithmetic knows it.
        """
        k = partial.neuron
        if self.linear[k]:
            return {True: None}
        if row is None:
            return {self.exact.row(k, partial.pattern)[1] > 0: None}
        w, b = row
        if np.abs(partial.points[0]).max(initial=0.0) >= BLIND:
            return self._settle(partial, {}, [False, True], w)
        values = partial.points @ w + b
        sides: dict[bool, Floats | None] = {}
        doubtful = []
        for on, sign in ((False, -1.0), (True, 1.0)):
            best = int(np.argmax(sign * values))
            if sign * values[best] > DOUBT:
                sides[on] = partial.points[best]
                continue
            point, maximum = self._furthest(partial, sign * w, sign * b)
            if maximum > DOUBT:
                sides[on] = point
            elif maximum > -DOUBT:
                doubtful.append(on)
        return self._settle(partial, sides, doubtful, w)

    def _furthest(self, partial: Partial, w: Floats, b: float) -> tuple[Floats, float]:
        """Maximise ``w · u + b`` over the partial cell, capped where the support is unbounded."""
        cap = 1.0 + 2.0 * abs(float(partial.points[0] @ w) + b)
        if abs(b) >= FAR:
            return partial.points[0], 0.0
        rows = self.program.rows
        self.program.add_rows(w[None, :], np.array([cap - b]))
        answer = self.program.maximize(w)
        if answer.status is not Status.OPTIMAL:
            answer = self.program.solve_afresh(w)
        self.program.drop_rows(rows)
        point = answer.point
        if answer.status is not Status.OPTIMAL or not np.all(np.isfinite(point)):
            return point, 0.0
        if self._slack(partial, point) > -INSIDE:
            partial.points = np.concatenate([partial.points, point[None, :]])
        value = float(point @ w) + b
        eta = np.maximum(answer.multipliers, 0.0)
        matrix = np.concatenate([self.support.matrix, partial.matrix, w[None, :]])
        bound = float(eta @ np.append(self._bounds(partial), cap - b)) + b
        bound += self._residual(w - matrix.T @ eta, matrix, eta)
        missed = value > 0 and self._slack(partial, point) < -INSIDE  # a relaxed row
        return point, 0.0 if missed or bound - value > DOUBT / 2 else value

    def _residual(self, residual: Floats, matrix: Floats, eta: Floats) -> float:
        """Charge what the multipliers leave of the row: bounded by the support or by themselves.

        On an unbounded support the residual must be absorbed by the positive multipliers of
        linearly independent rows, as many as dimensions; then an exact dual solution is near.
        """
        if np.all(np.isfinite(self.extent)):
            return float((np.abs(residual) + 1e-14) @ self.extent)
        used = np.flatnonzero(eta > 0)
        if len(used) != len(residual):
            return np.inf
        inverse = np.linalg.pinv(matrix[used].T)
        size = float(np.abs(inverse).sum(axis=1).max())
        correction = np.abs(inverse @ residual) + 1e-14 * size * (1.0 + float(eta.max()))
        return float(DOUBT / 4) if np.all(correction < eta[used]) and size < 1e8 else np.inf

    def _settle(
        self,
        partial: Partial,
        sides: dict[bool, Floats | None],
        doubtful: list[bool],
        w: Floats,
    ) -> dict[bool, Floats | None]:
        """Decide the doubtful sides over the rationals."""
        if not doubtful:
            return sides
        k = partial.neuron
        for row, other in zip(partial.matrix, partial.path, strict=True):
            if abs(abs(float(row @ w)) - 1.0) < DOUBT:
                side = self.exact.repeats(k, other, partial.pattern)
                if side is not None:
                    return {side: None}
        if len(doubtful) == 2:  # too small for floating point altogether
            sides = {}
        for on in doubtful:
            partial.pattern[k] = on
            if self.exact.interior([*partial.path, k], partial.pattern) is not None:
                sides[on] = None
        return sides

    def _child(
        self, partial: Partial, row: tuple[Floats, float] | None, point: Floats | None, *, on: bool
    ) -> Partial | None:
        """Return the child on one side, ``None`` if exact arithmetic finds it empty after all."""
        assert row is not None
        w, b = row
        sign = 1.0 if on else -1.0
        k = partial.neuron
        pattern = partial.pattern.copy()
        pattern[k] = on
        values = sign * (partial.points @ w + b)
        child = Partial(
            k + 1,
            pattern,
            [*partial.path, k],
            np.concatenate([partial.matrix, -sign * w[None, :]]),
            np.append(partial.bound, sign * b),
            partial.points[values >= 0],
            partial.layer,
        )
        centre = self._centre(
            child, partial.points[0], float(values[0]), point, (sign * w, sign * b)
        )
        if centre is None:
            return None
        child.points = np.concatenate([centre[None, :], child.points])
        return child

    def _centre(
        self,
        child: Partial,
        inside: Floats,
        value: float,
        point: Floats | None,
        row: tuple[Floats, float],
    ) -> Floats | None:
        """Return a point strictly inside the child, from one inside its parent."""
        candidates = [inside] if value > DOUBT else []
        if point is not None:
            reached = float(point @ row[0]) + row[1]
            crossing = max(0.0, -value / (reached - value)) if value < 0 else 0.0
            candidates.append(inside + (1.0 + crossing) / 2.0 * (point - inside))
        for candidate in candidates:
            if self._slack(child, candidate) > 100 * INSIDE:
                return candidate
        centre = self._inscribed(child)
        if self._slack(child, centre) > INSIDE:
            return centre
        return self.exact.interior(child.path, child.pattern)

    def _inscribed(self, partial: Partial) -> Floats:
        d = self.frame.dimension
        free = np.full(d, np.inf)
        program = LinearProgram(np.append(-free, 0.0), np.append(free, 1.0))
        matrix = np.concatenate([self.support.matrix, partial.matrix])
        ones = np.ones((len(matrix), 1))
        program.add_rows(np.concatenate([matrix, ones], axis=1), self._bounds(partial))
        return program.maximize(np.append(np.zeros(d), 1.0)).point[:d]

    def _bounds(self, partial: Partial) -> Floats:
        return np.concatenate([self.support.offset, partial.bound])

    def _slack(self, partial: Partial, point: Floats) -> float:
        matrix = np.concatenate([self.support.matrix, partial.matrix])
        return float((self._bounds(partial) - matrix @ point).min(initial=np.inf))


def _existing(children: list[Partial | None], neuron: int) -> list[Partial]:
    """Return the children that exact arithmetic did not find empty; at least one exists."""
    existing = [child for child in children if child is not None]
    if not existing:
        raise EnumerationError(f"neuron {neuron}: neither side meets a cell with interior")
    return existing
