r"""Branch and bound over the nodes of one label, in batches over all samples.

A batch of the most promising open nodes gets its bounds refreshed and a few ascent steps on its
multipliers; moves met on the way are offered as points. What stays open gets a linear program where
it has no branching score left to split by, and is split at the neuron of the largest score.
"""

from collections.abc import Callable  # noqa: TC003  (an attribute has this type)
from typing import Any, NamedTuple, Protocol

import numpy as np

from wdaverify.arrays import Bools, Floats, Integers
from wdaverify.limits import Limits
from wdaverify.search.goal import Goal, Work
from wdaverify.search.lagrangian import (
    Aim,
    Pace,
    ascend,
    first_multipliers,
)
from wdaverify.search.nodes import FIELDS, Nodes
from wdaverify.search.program import NodeProgram
from wdaverify.search.refresh import BATCH, refresh, reprice, start
from wdaverify.search.relaxation import first_bounds, roots
from wdaverify.search.rings import Rings
from wdaverify.search.scaling import Scaled
from wdaverify.search.single import NodeSolver
from wdaverify.search.squeeze import Squeezer

__all__ = ["NODES", "Goal", "Keep", "Tree", "TreeState", "Work"]

FIRST = Pace(5, 0.5, 0.1)
"""Ascent of every node that is opened."""

LONG = Pace(60, 0.0, 1.0)
"""Ascent of nodes without a score that could explain how far they are open."""

LONGEST = Pace(100, 0.0, 1.0)
"""The same where the norm is curved and linear programs cost too much."""

FRESH = 2
"""A branching score serves this many levels of descendants."""

EXPLAINED = 0.5
"""Share of a node's excess that its scores must add up to."""

CROWD = 20
"""So many nodes at least make a long ascent of a batch cheaper than linear programs."""


SQUEEZES = 12
"""So often the intervals of a node are narrowed at most."""

WIDE = 14
"""Neurons whose relaxation the last optimum must exploit for a squeeze to pay."""

PAYS = 0.1
"""Share of the excess that a squeeze must remove for another to be worth it."""

NODES = 200_000
"""So many nodes a tree may have before it forgets those that are done."""

NARROW = 32
"""Nodes worked on at a time, the newest first, while there is no room for more."""

PROGRAM = 10
"""Nodes whose work is that of one program."""

MILESTONE = 5000
"""Nodes after which programs begin anew, so that a search can go on from there in another
process to the same end."""

DONE = 0.25
"""Share of nodes that must be done for forgetting them to be worth the copying."""


class TreeState(NamedTuple):
    """A tree in the midst of its work, as arrays.

    Attributes
    ----------
    nodes
        Their fields.
    samples
        Which are planted, which partly forgotten, and what the forgotten nodes bound.
    optima
        See :func:`packed`.
    stuck
        Nodes that nothing improves.
    """

    nodes: tuple[Any, ...]
    samples: tuple[Bools, Bools, Floats]
    optima: tuple[Integers, Floats, Floats]
    stuck: Integers


class Keep(Protocol):
    """Keeps states of a search."""

    def due(self) -> bool:
        """Whether it is time for one."""

    def __call__(self, state: object) -> None:
        """Keep it."""


def packed(optima: dict[int, list[tuple[float, Floats]]]) -> tuple[Integers, Floats, Floats]:
    """Return rows, prices and multipliers of optima, one after the other."""
    flat = [(row, price, nu) for row, known in optima.items() for price, nu in known]
    return (
        np.array([row for row, _, _ in flat], dtype=np.int64),
        np.array([price for _, price, _ in flat], dtype=np.float64),
        np.array([nu for _, _, nu in flat], dtype=np.float64),
    )


def unpacked(flat: tuple[Integers, Floats, Floats]) -> dict[int, list[tuple[float, Floats]]]:
    """Return what was packed."""
    optima: dict[int, list[tuple[float, Floats]]] = {}
    for row, price, nu in zip(flat[0].tolist(), flat[1].tolist(), flat[2], strict=True):
        optima.setdefault(row, []).append((price, nu))
    return optima


class Tree:
    """The search trees of all samples of one label.

    Beyond a number of nodes it forgets nodes that are done, so that their samples begin again at
    the next price, and works depth first: open nodes then grow by the depth of the tree only.

    Parameters
    ----------
    rings
        Boxes and rings for which bounds of pre-activations are computed.
    room
        Number of nodes beyond which nodes that are done are forgotten.
    """

    def __init__(
        self,
        scaled: Scaled,
        rings: Rings,
        program: NodeProgram,
        *,
        work: Work,
        limits: Limits,
        room: int = NODES,
    ) -> None:
        self.scaled, self.rings, self.program = scaled, rings, program
        self.work, self.limits, self.room = work, limits, room
        self.nodes = Nodes(scaled.neurons)
        self._single = NodeSolver(scaled, self.nodes, program, work, self._come_closer)
        self._squeezer = Squeezer(scaled, self.nodes, program, work)
        self._planted = np.zeros(len(scaled.origins), dtype=bool)
        self._partial = np.zeros(len(scaled.origins), dtype=bool)
        self._forgotten = np.full(len(scaled.origins), -np.inf)
        self._layer_of = np.repeat(
            np.arange(len(scaled.layers)), [p.stop - p.start for p in scaled.layers]
        )
        self._first = first_bounds(scaled, rings)
        self.keep: Callable[[Integers], None] | None = None

    def settle(self, wanted: Bools, goal: Goal) -> None:
        """Work until every node of the wanted samples ``(N,)`` is bounded by what is enough.

        Raises
        ------
        LimitReached
            The values of the nodes are valid bounds all the same.
        """
        self._uproot(wanted & self._partial)
        self._plant(wanted & ~self._planted)
        reprice(self.scaled, self.nodes, self.nodes.of(wanted), goal)
        self._single.extrapolate(self._excess(wanted, goal), goal)
        self._run(wanted, goal, np.zeros(0, dtype=np.int64))

    def proceed(self, wanted: Bools, goal: Goal, state: "TreeState") -> None:
        """Go on from a state in the midst of :meth:`settle`, as if there had been no break."""
        nodes = self.nodes
        nodes.count, nodes.history = len(state.nodes[0]), None
        for name, values in zip(FIELDS, state.nodes, strict=True):
            setattr(nodes, name, values)
        self._planted, self._partial, self._forgotten = state.samples
        self._single.optima = unpacked(state.optima)
        self._run(wanted, goal, state.stuck)

    def state(self, stuck: Integers) -> "TreeState":
        """Return what :meth:`proceed` needs."""
        count = self.nodes.count
        return TreeState(
            tuple(getattr(self.nodes, name)[:count] for name in FIELDS),
            (self._planted, self._partial, self._forgotten),
            packed(self._single.optima),
            stuck,
        )

    def _run(self, wanted: Bools, goal: Goal, stuck: Integers) -> None:
        done = self._done
        while True:
            self._renew(wanted, goal)
            excess = self._excess(wanted, goal)
            crowded = self.nodes.count + BATCH > self.room
            if crowded and (excess <= 0).sum() > DONE * len(excess):
                stuck = self._forget(wanted, excess <= 0, stuck)
                excess = self._excess(wanted, goal)
            excess[stuck] = -np.inf
            open_ = np.flatnonzero(excess > 0)
            if len(open_) == 0:
                self._pause(stuck)
                return
            self.limits.check("searching activation patterns")
            if self.limits.watch:
                owners = np.unique(self.nodes.owner[open_])
                part = 1.0 - len(owners) / max(1, int(wanted.sum()))
                self.limits.report(f"{len(owners)} samples open, {len(open_):,} nodes", part)
            if crowded:
                open_ = open_[-NARROW:]
            elif len(open_) > BATCH:
                open_ = np.sort(open_[np.argpartition(-excess[open_], BATCH)[:BATCH]])
            stuck = np.concatenate([stuck, self._work_on(open_, goal)])
            if self._done - done >= MILESTONE:
                self._pause(stuck)
                done = self._done

    @property
    def _done(self) -> int:
        return self.work.nodes + PROGRAM * self.work.programs

    def _pause(self, stuck: Integers) -> None:
        """Make what comes independent of all but the state, and offer that."""
        self.program.renew()
        if self.keep is not None:
            self.keep(stuck)

    def _excess(self, wanted: Bools, goal: Goal) -> Floats:
        """Return by how much nodes exceed what is enough, ``(C,)``; no node of others does."""
        owner = self.nodes.owner[: self.nodes.count]
        excess = self.nodes.value[: self.nodes.count] - goal.enough()[owner]
        return np.where(wanted[owner], excess, -np.inf)

    def _forget(self, wanted: Bools, done: Bools, stuck: Integers) -> Integers:
        """Drop nodes that are done, and all of samples not asked about; return the stuck rows.

        What the dropped nodes of a sample bound is kept as one number.
        """
        owner = self.nodes.owner[: self.nodes.count]
        value = self.nodes.value[: self.nodes.count]
        np.maximum.at(self._forgotten, owner[done], value[done])
        self._partial[owner[done]] = True
        self._planted &= wanted
        marks = np.zeros(self.nodes.count, dtype=bool)
        marks[stuck] = True
        self.nodes.keep(~done)
        self._single.optima.clear()
        return np.flatnonzero(marks[~done])

    def _uproot(self, samples: Bools) -> None:
        """Begin again with samples of which nodes have been forgotten."""
        if samples.any():
            self.nodes.keep(~samples[self.nodes.owner[: self.nodes.count]])
            self._single.optima.clear()
            self._planted &= ~samples
            self._partial &= ~samples
            self._forgotten[samples] = -np.inf

    def _renew(self, wanted: Bools, goal: Goal) -> None:
        """Evaluate open leaves again where the goal has come closer."""
        changed = goal.renew()
        if changed is not None:
            self.rings = goal.rings
            rows = self.nodes.of(wanted & changed)
            reprice(
                self.scaled,
                self.nodes,
                rows[self.nodes.value[rows] > goal.enough()[self.nodes.owner[rows]]],
                goal,
            )

    def _come_closer(self, goal: Goal) -> None:
        self._renew(self._planted, goal)

    def bounds(self) -> Floats:
        """Return the largest node value of each sample, ``(N,)``; ``inf`` before it was asked."""
        top = np.where(self._planted, self._forgotten, np.inf)
        count = self.nodes.count
        np.maximum.at(top, self.nodes.owner[:count], self.nodes.value[:count])
        return top

    def _plant(self, new: Bools) -> None:
        """Add the roots of samples: every piece, every ring."""
        if not new.any():
            return
        region = roots(self.scaled, self.rings, self._first, np.flatnonzero(new))
        nu = first_multipliers(self.scaled, region)
        self.nodes.add(region, nu, np.full(len(nu), np.inf), len(self.scaled.layers))
        self._planted |= new

    def _work_on(self, rows: Integers, goal: Goal) -> Integers:
        """Bound, then split what stays open; return rows of which nothing better is known."""
        nodes = self.nodes
        self.work.nodes += len(rows)
        refresh(self.scaled, self.rings, nodes, rows)
        region = nodes.region(rows)
        empty = np.asarray((region.lower > region.upper).any(axis=1))
        nodes.value[rows[empty]] = -np.inf
        rows = rows[~empty]
        region = region.select(~empty)
        start(self.scaled, nodes, rows, goal)
        open_ = nodes.value[rows] > goal.enough()[region.owner]
        rows, region = rows[open_], region.select(open_)
        aim = Aim(goal.enough()[region.owner], FIRST)
        found = ascend(self.scaled, goal.rings, region, nodes.nu[rows], goal.price, aim)
        nodes.nu[rows], nodes.value[rows] = found.nu, found.value
        goal.offer(region.owner, found.move)
        still = found.value > goal.enough()[region.owner]
        return self._branch(rows[still], goal)

    def _branch(self, rows: Integers, goal: Goal) -> Integers:
        """Score, solve or split what stays open; return rows that nothing improves."""
        nodes, wide = self.nodes, np.zeros(len(rows), dtype=bool)
        fresh = self._unscored(rows, goal)
        if fresh.sum() >= CROWD or self.program.curved:
            open_ = ~self._climb(rows[fresh], goal, rows)
            rows, wide = rows[open_], fresh[open_] & self._wide(rows[open_], goal)
        ask = ~self._undecided(rows).any(axis=1)
        if not self.program.curved:
            ask |= self._unscored(rows, goal)
        before = nodes.value[rows]
        self._solve(rows[ask], goal)
        for row in rows[(ask | wide) & self._wide(rows, goal)].tolist():
            self._squeeze(row, goal)
        open_ = nodes.value[rows] > goal.enough()[nodes.owner[rows]]
        same = before[open_] <= nodes.value[rows[open_]]
        rows = rows[open_]
        undecided = self._undecided(rows)
        free = undecided.any(axis=1)
        self._split(rows[free], undecided[free])
        return rows[~free & same]

    def _solve(self, rows: Integers, goal: Goal) -> None:
        """Solve the relaxations of nodes that are still open."""
        found = []
        for row in rows.tolist():
            self.limits.check("searching activation patterns")
            if self.nodes.value[row] > goal.enough()[self.nodes.owner[row]]:
                found += self._single.solve(row, goal)
        if found:
            self._single.improve(np.array([row for row, _ in found]), [nu for _, nu in found], goal)

    def _squeeze(self, row: int, goal: Goal) -> None:
        """Narrow the intervals of a node and solve its relaxation again, as long as that pays."""
        nodes, one = self.nodes, np.array([row])
        for _ in range(SQUEEZES):
            self.limits.check("searching activation patterns")
            excess = nodes.value[row] - goal.enough()[nodes.owner[row]]
            if excess <= 0 or not self._wide(one, goal)[0]:
                return
            self._squeezer.squeeze(row, goal)
            nodes.stale[row] = 1
            refresh(self.scaled, self.rings, nodes, one)
            if (nodes.lower[row] > nodes.upper[row]).any():
                nodes.value[row] = -np.inf
                return
            start(self.scaled, nodes, one, goal)
            self._solve(one, goal)
            if nodes.value[row] - goal.enough()[nodes.owner[row]] > (1.0 - PAYS) * excess:
                return

    def _wide(self, rows: Integers, goal: Goal) -> Bools:
        """Which nodes exploit the relaxations of so many neurons that a squeeze beats splits."""
        if not goal.squeezes or self.program.curved:
            return np.zeros(len(rows), dtype=bool)
        exploited = self._undecided(rows) & (self.nodes.score[rows] > 0)
        return np.asarray(exploited.sum(axis=1) >= WIDE)

    def _unscored(self, rows: Integers, goal: Goal) -> Bools:
        """Which nodes have no score that could explain how far they are open."""
        nodes = self.nodes
        scores = np.where(self._undecided(rows), nodes.score[rows], 0.0).sum(axis=1)
        excess = nodes.value[rows] - goal.enough()[nodes.owner[rows]]
        return np.asarray((nodes.age[rows] >= FRESH) | (scores <= EXPLAINED * excess))

    def _climb(self, some: Integers, goal: Goal, rows: Integers) -> Bools:
        """Ascend longer for some nodes, which scores them; return which rows are closed."""
        nodes = self.nodes
        if len(some):
            region = nodes.region(some)
            goals = goal.enough()[region.owner]
            pace = LONGEST if self.program.curved else LONG
            found = ascend(
                self.scaled, goal.rings, region, nodes.nu[some], goal.price, Aim(goals, pace)
            )
            nodes.nu[some], nodes.value[some] = found.nu, found.value
            nodes.score[some], nodes.age[some] = found.score, 0
            goal.offer(region.owner, found.move)
        return nodes.value[rows] <= goal.enough()[nodes.owner[rows]]

    def _split(self, rows: Integers, undecided: Bools) -> None:
        """Split nodes at the neuron of the largest score, of the widest interval without one."""
        nodes = self.nodes
        scores = np.where(undecided, nodes.score[rows], -1.0)
        blind = scores.max(axis=1, initial=0.0) <= 0
        width = np.minimum(-nodes.lower[rows], nodes.upper[rows])
        scores[blind] = np.where(undecided, width, -1.0)[blind]
        neurons = scores.argmax(axis=1)
        nodes.split(rows, neurons, self._layer_of[neurons])

    def _undecided(self, rows: Integers) -> Bools:
        return self.nodes.undecided(rows, self.scaled.splits)
