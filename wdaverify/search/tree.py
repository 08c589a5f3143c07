r"""Branch and bound over the nodes of one label, in batches over all samples.

A batch of the most promising open nodes gets its bounds refreshed and a few ascent steps on its
multipliers; moves met on the way are offered as points. What stays open gets a linear program where
it has no branching score left to split by, and is split at the neuron of the largest score.
"""

import numpy as np

from wdaverify.arrays import Bools, Floats, Integers
from wdaverify.limits import Limits
from wdaverify.search.goal import Goal, Work
from wdaverify.search.lagrangian import (
    Aim,
    Pace,
    Region,
    ascend,
    dual_bound,
    first_multipliers,
)
from wdaverify.search.nodes import Nodes
from wdaverify.search.program import NodeProgram
from wdaverify.search.relaxation import first_bounds, tighten
from wdaverify.search.rings import Rings
from wdaverify.search.scaling import Scaled
from wdaverify.search.single import NodeSolver

__all__ = ["NODES", "Goal", "Tree", "Work"]

BATCH = 1024
"""Nodes worked on at a time."""

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


NODES = 200_000
"""So many nodes a tree may have before it forgets those that are done."""

NARROW = 32
"""Nodes worked on at a time, the newest first, while there is no room for more."""

DONE = 0.25
"""Share of nodes that must be done for forgetting them to be worth the copying."""


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
        self._planted = np.zeros(len(scaled.origins), dtype=bool)
        self._partial = np.zeros(len(scaled.origins), dtype=bool)
        self._forgotten = np.full(len(scaled.origins), -np.inf)
        self._layer_of = np.repeat(
            np.arange(len(scaled.layers)), [p.stop - p.start for p in scaled.layers]
        )
        self._first = first_bounds(scaled, rings)

    def settle(self, wanted: Bools, goal: Goal) -> None:
        """Work until every node of the wanted samples ``(N,)`` is bounded by what is enough.

        Raises
        ------
        LimitReached
            The values of the nodes are valid bounds all the same.
        """
        self._uproot(wanted & self._partial)
        self._plant(wanted & ~self._planted)
        self._reprice(self.nodes.of(wanted), goal)
        self._single.extrapolate(self._excess(wanted, goal), goal)
        stuck = np.zeros(0, dtype=np.int64)
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
                return
            self.limits.check("searching activation patterns")
            if crowded:
                open_ = open_[-NARROW:]
            elif len(open_) > BATCH:
                open_ = np.sort(open_[np.argpartition(-excess[open_], BATCH)[:BATCH]])
            stuck = np.concatenate([stuck, self._work_on(open_, goal)])

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
            self._reprice(
                rows[self.nodes.value[rows] > goal.enough()[self.nodes.owner[rows]]], goal
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
        samples = np.flatnonzero(new)
        if len(samples) == 0:
            return
        pieces, rings = len(self.scaled.gradients), self.rings.outer.shape[1]
        owner = np.repeat(samples, pieces * rings)
        piece = np.tile(np.repeat(np.arange(pieces), rings), len(samples))
        ring = np.tile(np.arange(rings), len(samples) * pieces)
        real = self.rings.outer[owner, ring] > self.rings.inner[owner, ring]
        real |= ring == 0
        owner, piece, ring = owner[real], piece[real], ring[real]
        size = self.scaled.magnitudes * (1.0 + self.scaled.relative_error)
        lower, upper = np.tile(-size, (len(owner), 1)), np.tile(size, (len(owner), 1))
        first = self.scaled.layers[0]
        lower[:, first] = self._first[0][owner, ring]
        upper[:, first] = self._first[1][owner, ring]
        # the bounds do not depend on the piece: compute them once per sample and ring
        _, once, back = np.unique(owner * rings + ring, return_index=True, return_inverse=True)
        low, high = lower[once], upper[once]
        for k in range(1, len(self.scaled.layers)):
            tighten(self.scaled, self.rings, (owner[once], ring[once]), (low, high), k)
        region = Region(owner, piece, ring, low[back], high[back])
        nu = first_multipliers(self.scaled, region)
        self.nodes.add(region, nu, np.full(len(owner), np.inf), len(self.scaled.layers))
        self._planted |= new

    def _reprice(self, rows: Integers, goal: Goal) -> None:
        """Evaluate all leaves at a new price."""
        for start in range(0, len(rows), BATCH):
            part = rows[start : start + BATCH]
            region = self.nodes.region(part)
            bound = dual_bound(
                self.scaled,
                goal.rings.at(region.owner, region.ring),
                region,
                self.nodes.nu[part],
                goal.price,
            )
            empty = (
                goal.rings.inner[region.owner, region.ring]
                > (goal.rings.outer[region.owner, region.ring])
            )
            self.nodes.value[part] = np.where(empty, -np.inf, bound.value)

    def _work_on(self, rows: Integers, goal: Goal) -> Integers:
        """Bound, then split what stays open; return rows of which nothing better is known."""
        nodes = self.nodes
        self.work.nodes += len(rows)
        self._refresh(rows)
        region = nodes.region(rows)
        empty = np.asarray((region.lower > region.upper).any(axis=1))
        nodes.value[rows[empty]] = -np.inf
        rows = rows[~empty]
        region = region.select(~empty)
        self._start(rows, region, goal)
        open_ = nodes.value[rows] > goal.enough()[region.owner]
        rows, region = rows[open_], region.select(open_)
        aim = Aim(goal.enough()[region.owner], FIRST)
        found = ascend(self.scaled, goal.rings, region, nodes.nu[rows], goal.price, aim)
        nodes.nu[rows], nodes.value[rows] = found.nu, found.value
        goal.offer(region.owner, found.move)
        still = found.value > goal.enough()[region.owner]
        return self._branch(rows[still], goal)

    def _start(self, rows: Integers, region: Region, goal: Goal) -> None:
        """Begin with the inherited multipliers or those of back-substitution."""
        nodes = self.nodes
        inherited, fresh = nodes.nu[rows], first_multipliers(self.scaled, region)
        shell = goal.rings.at(region.owner, region.ring)
        value = dual_bound(self.scaled, shell, region, fresh, goal.price).value
        old = dual_bound(self.scaled, shell, region, inherited, goal.price).value
        nodes.nu[rows] = np.where((value < old)[:, None], fresh, inherited)
        nodes.value[rows] = np.minimum(value, old)

    def _branch(self, rows: Integers, goal: Goal) -> Integers:
        """Score, solve or split what stays open; return rows that nothing improves."""
        nodes = self.nodes
        some = rows[self._unscored(rows, goal)]
        if len(some) >= CROWD or self.program.curved:
            rows = rows[~self._climb(some, goal, rows)]
        ask = ~self._undecided(rows).any(axis=1)
        if not self.program.curved:
            ask |= self._unscored(rows, goal)
        before = nodes.value[rows]
        found = []
        for row in rows[ask].tolist():
            if nodes.value[row] > goal.enough()[nodes.owner[row]]:
                found += self._single.solve(row, goal)
        if found:
            self._single.improve(np.array([row for row, _ in found]), [nu for _, nu in found], goal)
        open_ = nodes.value[rows] > goal.enough()[nodes.owner[rows]]
        same = before[open_] <= nodes.value[rows[open_]]
        rows = rows[open_]
        undecided = self._undecided(rows)
        free = undecided.any(axis=1)
        self._split(rows[free], undecided[free])
        return rows[~free & same]

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

    def _refresh(self, rows: Integers) -> None:
        """Recompute bounds of layers behind the last splits."""
        nodes = self.nodes
        for k in range(1, len(self.scaled.layers)):
            part = rows[nodes.stale[rows] <= k]
            if len(part) == 0:
                continue
            bounds = nodes.lower[part], nodes.upper[part]
            tighten(self.scaled, self.rings, (nodes.owner[part], nodes.ring[part]), bounds, k)
            nodes.lower[part], nodes.upper[part] = bounds
        nodes.stale[rows] = len(self.scaled.layers)
