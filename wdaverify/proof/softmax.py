r"""Cuts for cross-entropy: on each cell a tree of splits by margins :math:`m_j = z_j - z_y`.

On a box of margins an affine function :math:`\theta\cdot m + c` lies above
:math:`\log(1+\sum_j e^{m_j})` as soon as it does at the corners. Where the program of a sample
shows that it is too high there, it is placed anew at that point, then the box is split there:
the function is convex, so its maxima sit at vertices, where chords are exact.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from wdaverify.arrays import Floats, Integers
from wdaverify.errors import SolverError, UnsupportedError
from wdaverify.exact.penalty import Penalty
from wdaverify.exact.program import PieceProgram, Solution
from wdaverify.exact.softmax import envelope_plane
from wdaverify.proof.cover import Cover, Todo
from wdaverify.proof.lemmas import Row
from wdaverify.proof.numbers import sparse
from wdaverify.proof.shells import Line

__all__ = ["SoftmaxCover"]

EXCHANGES = 2
"""Majorants tried on a box before it is split."""

DEEPEST = 60
"""Splits by margins above a box that is not split again."""

ABOVE = 1e-13
"""Room between majorant and loss at the corners, for the rounding of both."""

ENOUGH = 1e-10
"""Excess of a majorant at a point, relative to the loss, that is not worth a split."""

SEVERAL = 2
"""So many margins without an upper end need slopes that add up."""

TAME = 20.0
"""Largest margin at which a box without ends is split first."""

MOVED = 1e-8
"""How far the end of an empty half is moved into the other one, relative to its size."""

WIDE = 1e-10
"""How far beyond the largest margin of a cell its box ends, relative to its size."""


@dataclass(frozen=True, slots=True, eq=False)
class _Box:
    """Bounds of the margins ``(K,)`` on a part of a cell, and the splits that made them.

    ``splits`` holds ``(j, τ, side, end)`` from the top: ``side · (m_j - τ) <= 0``. Programs use
    ``end`` for ``τ``: where a half is empty it is moved out until it is not.
    """

    cell: int
    lower: Floats
    upper: Floats
    splits: tuple[tuple[int, float, int, float], ...] = ()

    def half(self, j: int, at: float, side: int) -> "_Box":
        """Return the part at or below ``τ`` (side 1), or above it (side -1)."""
        ends = self.lower.copy(), self.upper.copy()
        ends[side > 0][j] = at
        splits = (*self.splits, (j, at, side, at))
        return replace(self, lower=ends[0], upper=ends[1], splits=splits)

    def moved(self, end: float) -> "_Box":
        """Return the box with another end of the last split for programs."""
        j, at, side, _ = self.splits[-1]
        return replace(self, splits=(*self.splits[:-1], (j, at, side, end)))


class SoftmaxCover(Cover):
    """The nodes of the tree of one label, for cross-entropy."""

    def _targets(self) -> list[int]:
        return [-1]

    def _leaf(self, cell: int, todo: Todo, node: dict[str, Any]) -> Iterator[dict[str, Any]]:
        classes = self.skeleton.cells.network.classes
        lower, upper = np.full(classes, -np.inf), np.full(classes, np.inf)
        lower[self.aim.label] = upper[self.aim.label] = 0.0
        pending = [(_Box(cell, lower, upper), todo[-1], node)]
        while pending:
            self.limits.check("writing the proof")
            box, open_, item = pending.pop()
            cuts: list[dict[str, Any]] = item.get("cuts", [])
            split = self._first_split(box) if len(open_) else None
            if len(open_) and split is None:
                more, open_, split = self._bounded(box, open_)
                cuts = cuts + more
            elif split is not None and split[2] is not None:
                yield item | {"margin": split[0], "at": split[1]}
                pending.append(self._nothing(box, split))  # the second half holds no point
                pending.append((box.half(split[0], split[1], 1), open_, {}))
                continue
            node = item | ({"cuts": cuts} if cuts else {})
            if len(open_) == 0 or split is None:
                yield node
                continue
            yield node | {"margin": split[0], "at": split[1]}
            pending += [(box.half(split[0], split[1], side), open_, {}) for side in (-1, 1)]

    def _nothing(self, box: _Box, split: tuple[int, float, Any]) -> Any:  # noqa: ANN401
        """Return the half above every margin of the cell, closed."""
        given = {key: value for key, value in split[2].items() if value}
        cut = {"empty": True, "margins": [len(box.splits), 1]} | given
        return box.half(split[0], split[1], -1), np.zeros(0, dtype=np.int64), {"cuts": [cut]}

    def _first_split(self, box: _Box) -> tuple[int, float, Any] | None:
        """Return where to split while a margin has no end at all, with multipliers if one is."""
        for j in range(len(box.lower)):
            if np.isfinite(box.lower[j]) or np.isfinite(box.upper[j]):
                continue
            line = self._margin(box.cell, j)
            rows = self.skeleton.facets(box.cell)
            program = self._program_of(box.cell, rows)
            point = self.skeleton.interiors[box.cell]
            try:
                found = program.solve(line.gradient, point, Penalty(0.0))
            except SolverError:
                found = None
            if not isinstance(found, Solution) or found.cut.multipliers is None:
                return j, float(np.clip(line.gradient @ point + line.constant, -TAME, TAME)), None
            eta = found.cut.multipliers
            top = found.bound + line.constant
            at = top + WIDE * max(1.0, abs(top))
            rest = Line(line.gradient - eta @ program.matrix,
                        line.constant + float(eta @ program.bound) - at)  # fmt: skip
            if self._highest(rest, program) >= 0:
                return j, float(np.clip(line.gradient @ point + line.constant, -TAME, TAME)), None
            given = self.skeleton.geometry.read(rows, eta)
            return j, at, {"neurons": sparse(given.neurons), "rows": sparse(given.rows)}
        return None

    @staticmethod
    def _highest(line: Line, program: PieceProgram) -> float:
        """Return the maximum of a line over the box of the support, if that is bounded."""
        g = line.gradient
        if not np.all(np.isfinite([program.lower, program.upper])):
            return np.inf
        return float(line.constant + g @ np.where(g > 0, program.upper, program.lower))

    def _bounded(
        self, box: _Box, open_: Integers
    ) -> tuple[list[dict[str, Any]], Integers, tuple[int, float, Any] | None]:
        """Bound samples on a box; return cuts, who is left, and where to split for them."""
        cuts: list[dict[str, Any]] = []
        at = self._centre(box)
        tried = 0
        while len(open_):
            theta, constant = self._majorant(box, at)
            own = self._line(box.cell, theta, constant)
            head = {"theta": [float(v) for v in theta], "const": constant}
            done = self._enough(self.shells.bounds(own, open_), open_)
            if done.any():
                cuts.append(head)
                open_ = open_[~done]
                continue
            i = int(open_[np.argmax(self.shells.bounds(own, open_) - self._limit(open_))])
            found = self._solved(box, own, i)
            line, item, point = found
            bounds = self.shells.bounds(line, open_, free=point is None)
            done = bounds < -self._tiny if point is None else self._enough(bounds, open_)
            if point is not None:
                self._learn(box, point, i)
                done = self._enough(bounds, open_)
            if done.any():
                cuts.append(item | ({"empty": True} if point is None else head))
                open_ = open_[~done]
                continue
            place = int(np.flatnonzero(open_ == i)[0])
            now = point if point is not None else self.aim.points[i]
            at = self._margins(box.cell, now)
            excess = float(theta @ at) + constant - _loss(at)
            tried += 1
            if tried <= EXCHANGES and excess > ENOUGH * max(1.0, _loss(at)):
                continue
            split = self._split(box, at)
            if split is None or len(box.splits) >= DEEPEST or point is None:
                self._raise(i, float(bounds[place]), empty=point is None)
                tried = 0
                continue
            return cuts, open_, split
        return cuts, open_, None

    def _learn(self, box: _Box, point: Floats, i: int) -> None:
        """Raise what is allowed to the value of a point."""
        length = float(self.shells.norm.length(point - self.aim.points[i]))
        if length > float(self.aim.reach[i]) * (1.0 + 1e-12):
            return
        value = _loss(self._margins(box.cell, point)) - float(self.aim.proved.of(length))
        assert self.aim.limits is not None
        slack = ENOUGH * max(1.0, abs(value))
        self.aim.limits[i] = max(self.aim.limits[i], value + slack)

    def _solved(self, box: _Box, own: Line, i: int) -> tuple[Line, dict[str, Any], Floats | None]:
        """Solve for a sample on a box: a line, its multipliers, the point (none: out of reach)."""
        rows, extra = self.skeleton.facets(box.cell), self._rows(box)
        program = self._program_of(box.cell, rows) if not extra else self._with(rows, extra)
        aim = self.aim
        try:
            found = program.solve(own.gradient, aim.points[i], aim.asked, float(aim.reach[i]))
        except SolverError:
            if np.isinf(box.upper).sum() < SEVERAL:
                raise
            raise UnsupportedError(
                "prove: the margins of several classes grow for ever in one cell; the proof file "
                "has no majorant of cross-entropy there (bound the support)"
            ) from None
        if found.cut.multipliers is None and extra:
            extra = self._rows(self._widened(box))
            program = self._with(rows, extra)
            found = program.solve(own.gradient, aim.points[i], aim.asked, float(aim.reach[i]))
        eta = found.cut.multipliers
        if eta is None:
            raise SolverError("proof: a sub-problem has no multipliers; every solver failed on it")
        ends = np.array([row.end for row in self._true_rows(box, extra)])
        bound = np.concatenate([ends, program.bound[len(extra) :]])
        solved = isinstance(found, Solution)
        base = own if solved else Line(np.zeros_like(own.gradient), 0.0)
        line = Line(
            base.gradient - eta @ program.matrix, base.constant + float(eta @ bound),
            found.cut.gradient,
            base.constant + found.cut.offset + float(eta @ (bound - program.bound)),
        )  # fmt: skip
        count = len(extra)
        given = self.skeleton.geometry.read(rows, np.concatenate([eta[count:]]))
        margins = [(row.neuron, float(v / row.size)) for row, v in zip(extra, eta, strict=False)]
        item = {
            "neurons": sparse(given.neurons),
            "rows": sparse(given.rows),
            "margins": sparse(margins),
        }
        item = {key: value for key, value in item.items() if value}
        return line, item, found.point if isinstance(found, Solution) else None

    def _program_of(self, cell: int, rows: list[Row]) -> PieceProgram:
        if cell not in self.programs:
            self.programs[cell] = self.skeleton.geometry.program(rows)
        return self.programs[cell]

    def _with(self, rows: list[Row], extra: list[Row]) -> PieceProgram:
        return self.skeleton.geometry.program([*extra, *rows])

    def _rows(self, box: _Box) -> list[Row]:
        """Return the splits as rows; ``neuron`` is their number."""
        rows = []
        for d, (j, _, side, end) in enumerate(box.splits):
            line = self._margin(box.cell, j)
            size = float(np.linalg.norm(line.gradient)) or 1.0
            rows.append(
                Row(d, side, side * line.gradient / size, side * (end - line.constant) / size, size)
            )
        return rows

    def _true_rows(self, box: _Box, extra: list[Row]) -> list[Row]:
        """Return the rows with the ends that the file names."""
        found = []
        for row, (j, at, side, _) in zip(extra, box.splits, strict=True):
            line = self._margin(box.cell, j)
            found.append(row._replace(end=side * (at - line.constant) / row.size))
        return found

    def _widened(self, box: _Box) -> _Box:
        """Move the last split of an empty box out until it is not empty.

        A chord continued beyond its ends lies below the loss: it bounds what little is left.
        """
        j, at, side, _ = box.splits[-1]
        rows = self.skeleton.facets(box.cell)
        program = self._with(rows, self._rows(replace(box, splits=box.splits[:-1])))
        line = self._margin(box.cell, j)
        point = self.skeleton.interiors[box.cell]
        found = program.solve(-side * line.gradient, point, Penalty(0.0))
        if not isinstance(found, Solution):
            return box
        end = float(line.gradient @ found.point + line.constant)
        return box.moved(end + side * MOVED * max(1.0, abs(end), abs(at)))

    def _margin(self, cell: int, j: int) -> Line:
        maps = self.skeleton.cells.logit_maps
        y = self.aim.label
        a = maps.matrix[cell, j] - maps.matrix[cell, y]
        return Line(a, float(maps.offset[cell, j] - maps.offset[cell, y]))

    def _margins(self, cell: int, point: Floats) -> Floats:
        maps = self.skeleton.cells.logit_maps
        z = maps.matrix[cell] @ point + maps.offset[cell]
        return np.asarray(z - z[self.aim.label])

    def _line(self, cell: int, theta: Floats, constant: float) -> Line:
        maps = self.skeleton.cells.logit_maps
        weights = theta.copy()
        weights[self.aim.label] = -theta.sum()
        return Line(weights @ maps.matrix[cell], float(weights @ maps.offset[cell]) + constant)

    def _centre(self, box: _Box) -> Floats:
        low = np.where(np.isfinite(box.lower), box.lower, box.upper - 1.0)
        high = np.where(np.isfinite(box.upper), box.upper, low + 1.0)
        return np.clip(self._margins(box.cell, self.skeleton.interiors[box.cell]), low, high)

    def _majorant(self, box: _Box, at: Floats) -> tuple[Floats, float]:
        """Return ``θ`` and the constant of a majorant on the box, low at a point of it."""
        endless = np.isinf(box.upper)
        lower = np.where(endless, box.lower, box.lower)
        upper = np.where(endless, box.lower, box.upper)
        d = np.clip(at, np.where(np.isfinite(lower), lower, -np.inf), upper)
        theta, constant = envelope_plane(lower, upper, self.aim.label, d)
        theta = np.where(endless, 1.0, theta)
        theta[self.aim.label] = 0.0
        constant -= float(box.lower[endless].sum())
        size = (
            1.0
            + abs(constant)
            + float((np.abs(theta) * np.where(np.isfinite(upper), np.abs(upper), 0.0)).sum())
        )
        return theta, constant + ABOVE * size

    def _split(self, box: _Box, at: Floats) -> tuple[int, float, Any] | None:
        """Return the margin whose chord is most above the exponential, and where."""
        best, chosen = 0.0, None
        for j in range(len(at)):
            low, high = float(box.lower[j]), float(box.upper[j])
            if np.isfinite(low) and high - low <= 1e-12 * max(1.0, abs(low)):
                continue
            wide = high - low
            place = float(at[j])
            near = 1e-9 * max(1.0, abs(place)) if np.isfinite(wide) else 0.0
            if not low + near < place < high - near:
                place = (low + high) / 2 if np.isfinite(wide) else (
                    high - 2.0 if np.isfinite(high) else low + 2.0)  # fmt: skip
            gain = _excess(low, high, place)
            if gain > best:
                best, chosen = gain, (j, place, None)
        return chosen


def _loss(margins: Floats) -> float:
    """Return ``log Σ_j exp m_j`` (entry 0 at the label)."""
    top = float(margins.max())
    return top + float(np.log(np.exp(margins - top).sum()))


def _excess(low: float, high: float, at: float) -> float:
    """Return how far the chord of ``log(1 + e^m)`` lies above it at a point of ``[low, high]``."""
    here, first, last = (float(np.logaddexp(0.0, v)) for v in (at, low, high))
    if np.isinf(low):
        return last - here
    if np.isinf(high):
        return first + (at - low) - here
    share = (at - low) / (high - low)
    return first * (1.0 - share) + last * share - here
