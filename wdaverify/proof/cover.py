r"""Cuts on the leaves of a skeleton that bound every sample of a label: a shared tree.

On a cell the objective is affine. Its own line bounds most samples; a program for the sample that
exceeds its bound most gives multipliers whose line is then tried on all others. A sample whose own
program exceeds its bound raises it: nothing is left unproved, the loss is seen in the end.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from wdaverify.arrays import Floats, Integers
from wdaverify.errors import SolverError
from wdaverify.exact.penalty import Penalty
from wdaverify.exact.program import PieceProgram, Unreachable
from wdaverify.limits import Limits
from wdaverify.proof.lemmas import Multipliers
from wdaverify.proof.numbers import sparse
from wdaverify.proof.shells import Line, Shells
from wdaverify.proof.skeleton import Branch, Skeleton

__all__ = ["Aim", "Cover"]

Todo = dict[int, Integers]

TOUCHING = 1e-9
"""Relative widening of a reach that ends at a cell."""

INFINITE = 1e25
"""A float bound beyond this is one that transport without end has made."""


class Aim(NamedTuple):
    """What is to be shown for one label.

    Attributes
    ----------
    samples
        Positions among the samples of the question, ``(m,)``.
    points, reach
        Where they are and how far they may move, ``(m, n)`` and ``(m,)``.
    limits
        What bounds may reach, ``(m,)``; raised where need be. ``None``: they must be negative.
    asked
        The price under which programs are solved.
    proved
        The price that the proof names, perhaps a trifle higher.
    constant
        Added to the margin (hinge: 1).
    """

    label: int
    samples: Integers
    points: Floats
    reach: Floats
    limits: Floats | None
    asked: Penalty
    proved: Penalty
    constant: float


class Cover:
    """The nodes of the tree of one label.

    Attributes
    ----------
    failed
        Samples of which a bound is not negative although it must be.
    """

    def __init__(
        self, skeleton: Skeleton, programs: dict[int, PieceProgram], aim: Aim, limits: Limits
    ) -> None:
        self.skeleton, self.programs, self.aim, self.limits = skeleton, programs, aim, limits
        geometry = skeleton.geometry
        self.shells = Shells(aim.points, geometry.region.box, geometry.norm, aim.reach, aim.proved)
        self.failed: set[int] = set()
        self._tiny = 1e-13 * (1.0 + np.abs(aim.points).max(initial=0.0))
        self.targets = self._targets()

    def _targets(self) -> list[int]:
        """Return the keys of what is open: classes other than the label."""
        return [j for j in range(self.skeleton.cells.network.classes) if j != self.aim.label]

    def nodes(self) -> Iterator[dict[str, Any]]:
        """Return the nodes in preorder."""
        everyone = np.arange(len(self.aim.samples))
        pending: list[tuple[int, Todo]] = [(0, dict.fromkeys(self.targets, everyone))]
        while pending:
            self.limits.check("writing the proof")
            k, todo = pending.pop()
            self.limits.report(f"label {self.aim.label}", k / len(self.skeleton.branches))
            branch = self.skeleton.branches[k]
            if not todo:
                yield {}
                continue
            todo, cuts = self._outside(branch, todo)
            node: dict[str, Any] = {"cuts": cuts} if cuts else {}
            if not todo:
                yield node
                continue
            if branch.lemmas:
                node["lemmas"] = [
                    [lemma.neuron, "on" if lemma.on else "off", as_item(lemma.multipliers)]
                    for lemma in branch.lemmas
                ]
            if branch.split >= 0:
                node["split"] = branch.split
                yield node
                off = k + 1
                on = off + self.skeleton.branches[off].size
                pending += [(on, todo), (off, todo)]
            else:
                yield from self._leaf(branch.cell, todo, node)

    def _outside(self, branch: Branch, todo: Todo) -> tuple[Todo, list[dict[str, Any]]]:
        """Drop samples that cannot reach beyond the hyperplane of the split above."""
        if branch.above is None or not np.isfinite(self.aim.reach).any():
            return todo, []
        open_ = np.unique(np.concatenate(list(todo.values())))
        row = branch.above
        line = Line(-row.normal, row.end)
        out = self.shells.bounds(line, open_, free=True) < -self._tiny
        if not out.any():
            return todo, []
        cut = {"empty": True, "neurons": sparse([(row.neuron, 1.0)])}
        return _without(todo, open_[out]), [cut]

    def _leaf(self, cell: int, todo: Todo, node: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Return the node of a leaf with its cuts."""
        cuts: list[dict[str, Any]] = node.get("cuts", [])
        todo = dict(todo)  # a sibling holds the same one
        maps = self.skeleton.cells.logit_maps
        for j in self.targets:
            a = maps.matrix[cell, j] - maps.matrix[cell, self.aim.label]
            b = float(maps.offset[cell, j] - maps.offset[cell, self.aim.label])
            cuts = cuts + self._target(cell, j, Line(a, b + self.aim.constant), todo)
        yield node | {"cuts": cuts}

    def _target(self, cell: int, j: int, own: Line, todo: Todo) -> list[dict[str, Any]]:
        """Bound one margin on a cell."""
        open_ = todo.get(j, np.zeros(0, dtype=np.int64))
        if len(open_) == 0:
            return []
        bounds = self.shells.bounds(own, open_)
        cuts: list[dict[str, Any]] = []
        done = self._enough(bounds, open_)
        if done.any():
            cuts.append({"target": j})
        open_, bounds = open_[~done], bounds[~done]
        while len(open_):
            excess = bounds - self._limit(open_)
            i = int(open_[np.argmax(excess)])
            line, multipliers, empty = self._program(cell, own, i)
            found = self.shells.bounds(line, open_, free=empty)
            done = found < -self._tiny if empty else self._enough(found, open_)
            place = int(np.flatnonzero(open_ == i)[0])
            if not done[place]:
                self._raise(i, float(found[place]), empty=empty)
                done = found < -self._tiny if empty else self._enough(found, open_)
                done[place] = True
            head: dict[str, Any] = {"empty": True} if empty else {"target": j}
            cuts.append(head | as_item(multipliers))
            if empty:
                left = _without(todo, open_[done])
                todo.clear()
                todo.update(left)
            bounds = bounds if empty else np.minimum(bounds, found)
            open_, bounds = open_[~done], bounds[~done]
        return cuts

    def _program(self, cell: int, own: Line, i: int) -> tuple[Line, Multipliers, bool]:
        """Solve for one sample on a cell: a line, its multipliers, whether it bounds zero.

        A cell that only just is out of reach is asked about within a wider reach.
        """
        rows, aim = self.skeleton.facets(cell), self.aim
        if cell not in self.programs:
            self.programs[cell] = self.skeleton.geometry.program(rows)
        program, nothing = self.programs[cell], Line(np.zeros_like(own.gradient), 0.0)
        reach = float(aim.reach[i])
        for wider in (1.0, 1.0 + TOUCHING, 1.0 + 1e3 * TOUCHING):
            found = program.solve(own.gradient, aim.points[i], aim.asked, reach * wider)
            empty, eta = isinstance(found, Unreachable), found.cut.multipliers
            if eta is None:
                continue
            base = nothing if empty else own
            line = Line(
                base.gradient - eta @ program.matrix,
                base.constant + float(eta @ program.bound),
                found.cut.gradient,
                base.constant + found.cut.offset,
            )
            if not empty or self.shells.bounds(line, np.array([i]), free=True)[0] < -self._tiny:
                return line, self.skeleton.geometry.read(rows, eta), empty
        raise SolverError("proof: every solver failed on the sub-problem of a cell")

    def _limit(self, samples: Integers) -> Floats:
        if self.aim.limits is None:
            return np.full(len(samples), -self._tiny)
        return self.aim.limits[samples]

    def _enough(self, bounds: Floats, samples: Integers) -> Any:  # noqa: ANN401
        return bounds <= self._limit(samples)

    def _raise(self, i: int, bound: float, *, empty: bool) -> None:
        """Raise what the bound of a sample may reach."""
        if empty or self.aim.limits is None:
            self.failed.add(i)
        elif not np.isfinite(bound) or bound > INFINITE:
            raise SolverError(
                f"proof: the multiplier {self.aim.proved.multiplier!r} does not bound sample "
                f"{int(self.aim.samples[i])}"
            )
        else:
            self.aim.limits[i] = max(self.aim.limits[i], bound)


def as_item(multipliers: Multipliers) -> dict[str, Any]:
    """Return multipliers as the file has them."""
    item = {"neurons": sparse(multipliers.neurons), "rows": sparse(multipliers.rows)}
    return {key: value for key, value in item.items() if value}


def _without(todo: Todo, samples: Integers) -> Todo:
    left = {j: group[~np.isin(group, samples)] for j, group in todo.items()}
    return {j: group for j, group in left.items() if len(group)}
