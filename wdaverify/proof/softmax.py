r"""Cuts for cross-entropy: on each cell a tree of splits by margins :math:`m_j = z_j - z_y`.

On a box of margins an affine function :math:`\theta\cdot m + c` lies above
:math:`\log(1+\sum_j e^{m_j})` as soon as it does at the corners. Where the program of a sample
shows that it is too high there, it is placed anew at that point, then the box is split there:
the function is convex, so its maxima sit at vertices, where chords are exact.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from wdaverify.arrays import Floats, Integers
from wdaverify.errors import SolverError, UnsupportedError
from wdaverify.exact.penalty import Penalty
from wdaverify.exact.program import PieceProgram, Solution
from wdaverify.proof.boxes import MarginBox, log_sum, majorant, splitting
from wdaverify.proof.cover import Cover, Todo
from wdaverify.proof.lemmas import Row
from wdaverify.proof.numbers import sparse
from wdaverify.proof.shells import Line

__all__ = ["SoftmaxCover"]

EXCHANGES = 2
"""Majorants tried on a box before it is split."""

DEEPEST = 300
"""Splits by margins above a box that is not split again."""

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


class SoftmaxCover(Cover):
    """The nodes of the tree of one label, for cross-entropy."""

    def _targets(self) -> list[int]:
        return [-1]

    def _leaf(self, cell: int, todo: Todo, node: dict[str, Any]) -> Iterator[dict[str, Any]]:
        classes = self.skeleton.cells.network.classes
        lower, upper = np.full(classes, -np.inf), np.full(classes, np.inf)
        lower[self.aim.label] = upper[self.aim.label] = 0.0
        pending = [(MarginBox(cell, lower, upper), todo[-1], node)]
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

    def _nothing(self, box: MarginBox, split: tuple[int, float, Any]) -> Any:  # noqa: ANN401
        """Return the half above every margin of the cell, closed."""
        given = {key: value for key, value in split[2].items() if value}
        cut = {"empty": True, "margins": [len(box.splits), 1]} | given
        return box.half(split[0], split[1], -1), np.zeros(0, dtype=np.int64), {"cuts": [cut]}

    def _first_split(self, box: MarginBox) -> tuple[int, float, Any] | None:
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
        self, box: MarginBox, open_: Integers
    ) -> tuple[list[dict[str, Any]], Integers, tuple[int, float, Any] | None]:
        """Bound samples on a box; return cuts, who is left, and where to split for them."""
        cuts: list[dict[str, Any]] = []
        at = self._centre(box)
        tried = 0
        while len(open_):
            theta, constant = majorant(box, self.aim.label, at)
            own = self._line(box.cell, theta, constant)
            if not np.isfinite(constant):
                raise SolverError("proof: a margin of a cell is too large for its exponential")
            head = {"theta": [float(v) for v in theta], "const": constant}
            done = self._enough(self.shells.bounds(own, open_), open_)
            if done.any():
                cuts.append(head)
                open_ = open_[~done]
                continue
            i = int(open_[np.argmax(self.shells.bounds(own, open_) - self._limit(open_))])
            cut, bounds, point = self._cut(box, (own, head), i, open_)
            done = self._enough(bounds, open_)
            if done.any():
                cuts.append(cut)
                open_ = open_[~done]
                continue
            at = self._margins(box.cell, point)
            excess = float(theta @ at) + constant - log_sum(at)
            tried += 1
            if tried <= EXCHANGES and excess > ENOUGH * max(1.0, log_sum(at)):
                continue
            split = splitting(box, at)
            if split is not None and len(box.splits) < DEEPEST:
                return cuts, open_, (*split, None)
            self._raise(i, float(bounds[open_ == i][0]), empty=False)
            tried = 0
        return cuts, open_, None

    def _cut(
        self, box: MarginBox, majorised: tuple[Line, dict[str, Any]], i: int, open_: Integers
    ) -> tuple[dict[str, Any], Floats, Floats]:
        """Solve for a sample; return a cut, bounds of the open samples, and the point.

        Samples out of reach of the box have the bound minus infinity.
        """
        own, head = majorised
        line, item, point = self._solved(box, own, i)
        if point is not None:
            self._learn(box, point, i)
            return item | head, self.shells.bounds(line, open_), point
        out = self.shells.bounds(line, open_, free=True) < -self._tiny
        if not out.any():
            raise SolverError("proof: a part of a cell is not shown to be out of reach")
        return item | {"empty": True}, np.where(out, -np.inf, np.inf), self.aim.points[i]

    def _learn(self, box: MarginBox, point: Floats, i: int) -> None:
        """Raise what is allowed to the value of a point."""
        length = float(self.shells.norm.length(point - self.aim.points[i]))
        if length > float(self.aim.reach[i]) * (1.0 + 1e-12):
            return
        value = log_sum(self._margins(box.cell, point)) - float(self.aim.proved.of(length))
        assert self.aim.limits is not None
        slack = ENOUGH * max(1.0, abs(value))
        self.aim.limits[i] = max(self.aim.limits[i], value + slack)

    def _solved(
        self, box: MarginBox, own: Line, i: int
    ) -> tuple[Line, dict[str, Any], Floats | None]:
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

    def _rows(self, box: MarginBox) -> list[Row]:
        """Return the splits as rows; ``neuron`` is their number."""
        rows = []
        for d, (j, _, side, end) in enumerate(box.splits):
            line = self._margin(box.cell, j)
            size = float(np.linalg.norm(line.gradient)) or 1.0
            rows.append(
                Row(d, side, side * line.gradient / size, side * (end - line.constant) / size, size)
            )
        return rows

    def _true_rows(self, box: MarginBox, extra: list[Row]) -> list[Row]:
        """Return the rows with the ends that the file names."""
        found = []
        for row, (j, at, side, _) in zip(extra, box.splits, strict=True):
            line = self._margin(box.cell, j)
            found.append(row._replace(end=side * (at - line.constant) / row.size))
        return found

    def _widened(self, box: MarginBox) -> MarginBox:
        """Move splits of an empty box out, from the top, until it is not empty.

        A chord continued beyond its ends lies below the loss: it bounds what little is left.
        """
        rows, point = self.skeleton.facets(box.cell), self.skeleton.interiors[box.cell]
        wide = replace(box, splits=())
        for j, at, side, _ in box.splits:
            end = at
            program = self._with(rows, self._rows(wide))
            line = self._margin(box.cell, j)
            found = None
            with suppress(SolverError):  # no end in that direction: this half is not empty
                found = program.solve(-side * line.gradient, point, Penalty(0.0))
            if isinstance(found, Solution):
                least = side * float(line.gradient @ found.point + line.constant)
                room = MOVED * max(1.0, abs(least), abs(at))
                end = side * max(side * end, least + room)
            wide = replace(wide, splits=(*wide.splits, (j, at, side, end)))
        return wide

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

    def _centre(self, box: MarginBox) -> Floats:
        low = np.where(np.isfinite(box.lower), box.lower, box.upper - 1.0)
        high = np.where(np.isfinite(box.upper), box.upper, low + 1.0)
        return np.clip(self._margins(box.cell, self.skeleton.interiors[box.cell]), low, high)
