r"""Distances to the error set of one label, :math:`d_i = \min\{\|x-x_i\| : \max_j z_j \ge z_y\}`.

Nodes bound the margin on the ball of the nearest error found so far: where all of them are negative
there is no nearer error. An error is believed only if its margin exceeds the rounding errors of its
evaluation.
"""

from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from wdaverify.arrays import Bools, Floats, Integers
from wdaverify.cost import TransportCost
from wdaverify.evaluation import margins_with_error
from wdaverify.limits import Limits
from wdaverify.loss import Margin, margins
from wdaverify.network import ReLUNetwork
from wdaverify.search.attack import attack
from wdaverify.search.cell import Cell, Finish
from wdaverify.search.lagrangian import dual_bound
from wdaverify.search.program import Node, NodeProgram, Relaxed
from wdaverify.search.refresh import BATCH
from wdaverify.search.rings import Price, Rings, rings_for
from wdaverify.search.scaling import scaled
from wdaverify.search.tree import NODES, Goal, Keep, Tree, TreeState, Work
from wdaverify.support import Support

__all__ = ["DistanceState", "Flips", "LabelDistances"]

COARSE, FINE = 12, 40
"""Halvings of the radius that open nodes are shown to keep clear of: many nodes, left by a limit,
and a few, at which rounding hides what is left."""

SECTIONS, ROUNDS = 64, 6
"""The way from a sample to its error is cut into so many parts, so often."""

CLOSER = ((0.8, 0.95, 1.0), (0.8, 0.95, 1.0))
"""Radii, relative to the nearest error so far, at which every piece is climbed; round by round."""

CLOSER_STEPS = 16

FIRST_RADII = np.geomspace(0.005, 1.0, 12)
"""Radii of the first attack, relative to the farthest point of the box."""


class Flips(NamedTuple):
    """Brackets ``(m,)`` on distances, and errors at the upper ends, ``(m, n)``.

    The upper end is infinite where no error is known; the witness is then the sample.
    """

    lower: Floats
    upper: Floats
    witnesses: Floats


class DistanceState(NamedTuple):
    """A search in the midst of its work: what :class:`Flips` knows, radii of the goal, tree."""

    upper: Floats
    witnesses: Floats
    radii: Floats
    tree: TreeState


class _Nearest(Goal):
    """The goal: no error nearer than the nearest one known, up to the tolerance."""

    def __init__(self, search: "LabelDistances", tolerance: float) -> None:
        self.search, self.tolerance, self.squeezes = search, tolerance, search.squeezes
        self.price = Price(0.0, 1.0)
        self.radii = self._radii()
        self.rings = search.rings(self.radii)

    def enough(self) -> Floats:
        return np.full(len(self.search.samples), -np.finfo(float).tiny)

    def renew(self) -> Bools | None:
        radii = self._radii()
        changed: Bools = radii < self.radii
        if not changed.any():
            return None
        self.radii, self.rings = radii, self.search.rings(radii)
        return changed

    def relax(self, program: NodeProgram, node: Node) -> Relaxed | None:
        return program.nearest(node, self.search.depth)

    def finish(self, cell: Cell) -> Finish | None:
        return cell.nearest(self.search.depth)

    def offer(self, owner: Integers, moves: Floats) -> None:
        self.search.offer(owner, moves)

    def _radii(self) -> Floats:
        net = self.search.scaled
        near = self.search.upper / net.length * (1.0 - self.tolerance)
        near = np.minimum(near, self.search.within / net.length)
        radii: Floats = np.minimum(near, self.search.farthest)
        return radii


class LabelDistances:
    """Distances of samples of one label to their nearest error.

    Parameters
    ----------
    samples
        Shape ``(N, n)``, inside the support.
    label
        The right class of all of them.
    limits, work
        Asked and counted on the way.
    room
        Number of nodes kept at a time.
    squeezes
        Whether intervals may be narrowed to where errors can be: faster for many undecided
        neurons, but the tree alone then no longer shows its bounds.
    within
        Distance beyond which errors do not matter, perhaps one for each sample: lower bounds end
        there.

    Raises
    ------
    UnsupportedError
        The support is not a bounded box.
    """

    def __init__(  # noqa: PLR0913
        self,
        network: ReLUNetwork,
        support: Support,
        cost: TransportCost,
        samples: Floats,
        label: int,
        *,
        limits: Limits | None = None,
        work: Work | None = None,
        room: int = NODES,
        squeezes: bool = True,
        within: float | Floats = np.inf,
    ) -> None:
        self.squeezes, self.within = squeezes, within
        self.network, self.norm, self.label, self.samples = network, cost.norm, label, samples
        self.limits, self.work, self.room = limits or Limits(), work or Work(), room
        self.low, self.high = support.bind(network.features).bounds
        pieces = Margin().pieces(network.classes, label)
        self.scaled = scaled(network, support, pieces, samples)
        box = np.maximum(self.scaled.upper, -self.scaled.lower)
        self.farthest: Floats = self.norm.length(box) * (1.0 + 2.0**-48)
        self.upper = np.where(self._errs(samples), 0.0, np.inf)
        self.witnesses = samples.copy()
        self._tree: Tree | None = None
        self.keep: Keep | None = None
        self._proved = np.zeros(len(samples))

    @property
    def depth(self) -> float:
        """Scaled margin that an error must have to be beyond the doubt of rounding."""
        net = self.scaled
        size = np.abs(net.gradients) @ net.magnitudes[net.layers[-1]] + np.abs(net.offsets)
        return float(4.0 * net.relative_error * size.max())

    def distances(
        self, index: Integers, *, tolerance: float = 1e-9, begun: DistanceState | None = None
    ) -> Flips:
        """Bracket the distances of some samples, ``(m,)``, to a relative tolerance.

        Parameters
        ----------
        begun
            A state in the midst of this very question, to go on from.

        Raises
        ------
        LimitReached
            Time or memory ran out; `open_bounds` tells what is known.
        """
        wanted = np.zeros(len(self.samples), dtype=bool)
        wanted[index] = self.upper[index] > 0
        self.work.suprema += len(index)
        if begun is None:
            self._attack(np.flatnonzero(wanted & np.isinf(self.upper)))
        else:
            self.upper, self.witnesses = begun.upper, begun.witnesses
        goal = _Nearest(self, tolerance)
        if begun is not None:
            goal.radii, goal.rings = begun.radii, self.rings(begun.radii)
        if self._tree is None:
            program = NodeProgram(self.scaled, self.norm)
            self._tree = Tree(
                self.scaled,
                goal.rings,
                program,
                work=self.work,
                limits=self.limits,
                room=self.room,
            )
        self._tree.keep = partial(self._kept, self._tree, goal)
        if begun is None:
            self._tree.settle(wanted, goal)
        else:
            self._tree.proceed(wanted, goal, begun.tree)
        open_ = self._tree.bounds() >= 0
        proved = np.where(wanted & ~open_, goal.radii, 0.0) * self.scaled.length
        self._proved = np.maximum(self._proved, proved)
        none = wanted & ~open_ & np.isinf(self.upper) & np.isinf(self.within)
        self._proved[none] = np.inf
        return self.open_bounds(index)

    def _kept(self, tree: Tree, goal: _Nearest, stuck: Integers) -> None:
        if self.keep is not None and self.keep.due():
            tree_state = tree.state(stuck)
            self.keep(DistanceState(self.upper, self.witnesses, goal.radii, tree_state))

    def open_bounds(self, index: Integers) -> Flips:
        """Return what is known of some samples, valid also after a limit."""
        lower = self._proved[index]
        for k, i in enumerate(index.tolist()):
            if lower[k] == 0 and self.upper[i] > 0 and self._tree is not None:
                lower[k] = self._cleared(self._tree, i)
        lower = np.minimum(lower * (1.0 - 2.0**-48), self.upper[index])
        return Flips(lower, self.upper[index], self.witnesses[index])

    @property
    def tree(self) -> Tree | None:
        """The tree of all samples, with its rings as they are now; ``None`` before the search."""
        return self._tree

    def offer(self, owner: Integers, moves: Floats) -> None:
        """Keep moves ``(B, n)`` that lead to an error nearer than the known ones."""
        points = np.clip(self.samples[owner] + self.scaled.length * moves, self.low, self.high)
        errors = self._errs(points)
        self._keep(owner[errors], self._shortened(owner[errors], points[errors]))

    def rings(self, radii: Floats) -> Rings:
        """Return one ring for each sample, a ball of some radius ``(N,)``."""
        net = self.scaled
        outer = np.maximum(radii, 0.0)[:, None]
        return rings_for(self.norm, net.lower, net.upper, np.zeros_like(outer), outer)

    def _keep(self, owner: Integers, points: Floats) -> None:
        """Keep errors that are nearer than the known ones."""
        lengths = self.norm.length(points - self.samples[owner])
        order = np.lexsort((-lengths, owner))
        near = order[lengths[order] < self.upper[owner[order]]]
        self.upper[owner[near]], self.witnesses[owner[near]] = lengths[near], points[near]

    def _errs(self, points: Floats) -> Bools:
        """Whether points are errors beyond the doubt of rounding."""
        values, errors = self._margins(points)
        certain: Bools = values > errors
        return certain

    def _margins(self, points: Floats) -> tuple[Floats, Floats]:
        """Return margins and bounds of their rounding errors, ``(B,)`` each."""
        labels = np.full(len(points), self.label, dtype=np.int64)
        return margins_with_error(self.network, points, labels)

    def _shortened(self, owner: Integers, points: Floats) -> Floats:
        """Section the way from each sample to its error, towards the nearest one seen."""
        if len(owner) == 0:
            return points
        origins, index = self.samples[owner], np.arange(len(owner))
        ways = points - origins
        doubt = 2.0 * self._margins(points)[1]
        parts = np.arange(1, SECTIONS + 1) / SECTIONS
        safe, wrong = np.zeros(len(owner)), np.ones(len(owner))
        for _ in range(ROUNDS):
            cuts = safe[:, None] + (wrong - safe)[:, None] * parts
            cuts[:, -1] = wrong
            trials = self._inside(origins[:, None, :] + cuts[:, :, None] * ways[:, None, :])
            logits = self.network.logits(trials.reshape(-1, trials.shape[2]))
            values = margins(logits, np.full(len(logits), self.label)).reshape(cuts.shape)
            errs = values > doubt[:, None]
            errs[:, -1] = True
            first = errs.argmax(axis=1)
            safe = np.where(first > 0, cuts[index, first - 1], safe)
            wrong = cuts[index, first]
        shortened = self._inside(origins + wrong[:, None] * ways)
        return np.where(self._errs(shortened)[:, None], shortened, points)

    def _inside(self, points: Floats) -> Floats:
        return np.clip(points, self.low, self.high)

    def _attack(self, index: Integers) -> None:
        """Look for errors by gradients, then for nearer ones."""
        if len(index) == 0:
            return
        net, R = self.scaled, len(FIRST_RADII)
        rings = self._balls(FIRST_RADII)
        owner, ring = np.repeat(index, R), np.tile(np.arange(R), len(index))
        self.offer(owner, attack(net, rings, owner, ring)[0])
        P = len(net.gradients)
        for radii in CLOSER:
            rings, R = self._balls(radii), len(radii)
            owner, piece = np.repeat(index, P * R), np.tile(np.arange(P).repeat(R), len(index))
            ring = np.tile(np.arange(R), len(index) * P)
            moves, _ = attack(net, rings, owner, ring, piece=piece, steps=CLOSER_STEPS)
            self.offer(owner, moves)

    def _balls(self, radii: npt.ArrayLike) -> Rings:
        """Return balls of some radii ``(R,)``, relative to the nearest error known."""
        base = np.minimum(self.upper / self.scaled.length, self.farthest)
        outer = base[:, None] * np.asarray(radii, dtype=np.float64)[None, :]
        net = self.scaled
        return rings_for(self.norm, net.lower, net.upper, np.zeros_like(outer), outer)

    def _cleared(self, tree: Tree, sample: int) -> float:
        """Return a radius within which all nodes of a sample have a negative margin."""
        mask = np.zeros(len(self.samples), dtype=bool)
        mask[sample] = True
        rows = tree.nodes.of(mask)
        high = min(self.upper[sample] / self.scaled.length, float(tree.rings.outer[sample, 0]))
        low = 0.0
        if len(rows) == 0:
            return 0.0
        for _ in range(FINE if len(rows) <= BATCH else COARSE):
            middle = (low + high) / 2
            if self._margin(tree, rows, middle) < 0:
                low = middle
            else:
                high = middle
        return low * self.scaled.length

    def _margin(self, tree: Tree, rows: Integers, radius: float) -> float:
        """Bound the margin of some nodes within a radius."""
        rings = self.rings(np.full(len(self.samples), radius))
        top = -np.inf
        for start in range(0, len(rows), BATCH):
            part = rows[start : start + BATCH]
            region = tree.nodes.region(part)
            empty = (region.lower > region.upper).any(axis=1)
            shell = rings.at(region.owner, region.ring)
            nu, price = tree.nodes.nu[part], Price(0.0, 1.0)
            value = dual_bound(self.scaled, shell, region, nu, price).value
            top = max(top, float(np.where(empty, -np.inf, value).max()))
        return top
