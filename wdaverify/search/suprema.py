r"""Suprema :math:`\varphi_i(\lambda) = \sup_x \ell(x, y) - \lambda\|x - x_i\|^p` of one label."""

from typing import NamedTuple

import numpy as np

from wdaverify.arrays import Floats, Integers
from wdaverify.cost import TransportCost
from wdaverify.limits import Limits
from wdaverify.loss import Loss
from wdaverify.network import AffineMap, ReLUNetwork
from wdaverify.norms import GroundNorm
from wdaverify.search.attack import attack
from wdaverify.search.program import Node, NodeProgram, Relaxed
from wdaverify.search.rings import Price, Rings, rings_for
from wdaverify.search.scaling import Scaled, scaled
from wdaverify.search.tree import NODES, Goal, Keep, Tree, TreeState, Work
from wdaverify.support import Support

__all__ = ["LabelSearch", "SearchState", "Suprema"]

LADDERS = {
    "linf": (0.05, 0.15, 0.4),
    "l1": (0.1, 0.3, 0.8, 2.0),
    "l2": (0.07, 0.2, 0.35, 0.5, 0.7, 1.0, 1.5, 2.5),
}


class Suprema(NamedTuple):
    """Certified upper bounds ``(m,)``, the best points ``(m, n)`` and their values ``(m,)``."""

    bounds: Floats
    points: Floats
    values: Floats


class SearchState(NamedTuple):
    """A search in the midst of a question: points found, incumbents, tree."""

    witnesses: tuple[Integers, Floats, Floats, Floats]
    best: Floats
    tree: TreeState


class Witnesses:
    """Points found for the samples of one label, evaluated in float64 as the loss defines it."""

    def __init__(self, samples: Floats, norm: GroundNorm) -> None:
        self.samples, self.norm = samples, norm
        self.owner = np.zeros(0, dtype=np.int64)
        self.points = np.zeros((0, samples.shape[1]))
        self.losses = np.zeros(0)
        self.lengths = np.zeros(0)

    def add(self, owner: Integers, points: Floats, losses: Floats, lengths: Floats) -> None:
        """Append points."""
        self.owner = np.concatenate([self.owner, owner])
        self.points = np.concatenate([self.points, points])
        self.losses = np.concatenate([self.losses, losses])
        self.lengths = np.concatenate([self.lengths, lengths])

    def replace(self, owner: Integers, points: Floats, losses: Floats, lengths: Floats) -> None:
        """Take these points instead of all that are known."""
        self.owner, self.points, self.losses, self.lengths = owner, points, losses, lengths

    def arrays(self) -> tuple[Integers, Floats, Floats, Floats]:
        """Return what was added."""
        return self.owner, self.points, self.losses, self.lengths

    def best(self, price: Price, reach: Floats) -> tuple[Floats, Integers]:
        """Return the best value of each sample and which point has it, ``(N,)``."""
        values = self.losses - price.of(self.lengths)
        values[self.lengths > reach[self.owner]] = -np.inf
        order = np.argsort(values, kind="stable")
        index = np.zeros(len(self.samples), dtype=np.int64)
        index[self.owner[order]] = order
        return values[index], index


class _Supremum(Goal):
    """The goal of one call: incumbents at one price within reach."""

    def __init__(
        self,
        search: "LabelSearch",
        rings: Rings,
        multiplier: float,
        reach: Floats,
        floor: Floats,
        tolerance: float,
    ) -> None:
        self.search, self.rings, self.reach, self.tolerance = search, rings, reach, tolerance
        self.floor = floor
        net, order = search.scaled, search.order
        self.real = Price(multiplier, order)
        self.price = Price(multiplier * net.length**order / net.unit, order)
        self.best = search.witnesses.best(self.real, reach)[0]

    def enough(self) -> Floats:
        known = np.maximum(self.best, self.floor)
        slack = 0.5 * self.tolerance * np.maximum(1.0, np.abs(known))
        enough: Floats = (known + slack) / self.search.scaled.unit
        return enough

    def relax(self, program: NodeProgram, node: Node) -> Relaxed | None:
        return program.solve(node, self.price.multiplier)

    def offer(self, owner: Integers, moves: Floats) -> None:
        search = self.search
        points, lengths = search.places(owner, moves, self.reach)
        losses = search.evaluate(points)
        values = losses - self.real.of(lengths)
        values[lengths > self.reach[owner]] = -np.inf
        order = np.lexsort((values, owner))
        last = np.append(owner[order][1:] != owner[order][:-1], True)[: len(order)]
        top = order[last]
        top = top[values[top] > self.best[owner[top]]]
        if len(top):
            self.best[owner[top]] = values[top]
            search.witnesses.add(owner[top], points[top], losses[top], lengths[top])


class LabelSearch:
    """The suprema of samples under one label, for any multipliers; one teaches the next.

    Parameters
    ----------
    samples
        Shape ``(N, n)``, inside the support.
    label
        The label under which the loss is taken, for all samples.
    limits, work
        Asked and counted on the way.
    room
        Number of nodes kept at a time.

    Raises
    ------
    UnsupportedError
        The support is not a bounded box, or the loss not a maximum of affine functions.
    """

    def __init__(  # noqa: PLR0913
        self,
        network: ReLUNetwork,
        support: Support,
        loss: Loss,
        cost: TransportCost,
        samples: Floats,
        label: int,
        *,
        limits: Limits | None = None,
        work: Work | None = None,
        room: int = NODES,
    ) -> None:
        self.network, self.loss, self.norm, self.label = network, loss, cost.norm, label
        self.order = cost.order if cost.finite else 1.0
        self.limits, self.work, self.room = limits or Limits(), work or Work(), room
        self.samples = samples
        self.low, self.high = support.bind(network.features).bounds
        pieces = _sloped(loss.pieces(network.classes, label))
        self.scaled: Scaled = scaled(network, support, pieces, samples)
        self.program = NodeProgram(self.scaled, self.norm, self.order)
        self.witnesses = Witnesses(samples, self.norm)
        everyone = np.arange(len(samples))
        self.witnesses.add(everyone, samples, self.evaluate(samples), np.zeros(len(samples)))
        self._trees: dict[bytes, Tree] = {}
        self._asked: tuple[Tree, _Supremum]
        self.keep: Keep | None = None

    def suprema(
        self,
        index: Integers,
        multiplier: float,
        reach: Floats,
        *,
        floor: Floats | None = None,
        tolerance: float = 1e-9,
        begun: "SearchState | None" = None,
    ) -> Suprema:
        """Return the suprema of some samples.

        Parameters
        ----------
        index
            Which samples, ``(m,)``.
        multiplier
            ``λ >= 0`` in loss per unit of distance to the power of the order.
        reach
            Largest distance, infinite allowed, ``(m,)``.
        floor
            A bound that exceeds this by the tolerance at most is good enough, ``(m,)``.
        tolerance
            Bound minus value, relative to ``max(1, |value|)``, at which a sample is settled.
        begun
            A state in the midst of this very question, to go on from.

        Raises
        ------
        LimitReached
            Time or memory ran out; `open_bounds` tells what is known.
        """
        wanted = np.zeros(len(self.samples), dtype=bool)
        wanted[index] = True
        within = np.full(len(self.samples), np.inf)
        within[index] = reach
        limit = np.full(len(self.samples), -np.inf)
        limit[index] = -np.inf if floor is None else floor
        self.work.suprema += len(index)
        tree, goal = self._question(multiplier, within, limit, tolerance)
        self._asked = tree, goal
        tree.keep = self._kept if len(self._trees) == 1 else None
        if begun is None:
            tree.settle(wanted, goal)
        else:
            goal.best = begun.best
            tree.proceed(wanted, goal, begun.tree)
        return self._answer(index)

    def _kept(self, stuck: Integers) -> None:
        tree, goal = self._asked
        if self.keep is not None and self.keep.due():
            self.keep(SearchState(self.witnesses.arrays(), goal.best, tree.state(stuck)))

    def open_bounds(self, index: Integers) -> Suprema:
        """Return what is known of the suprema asked for last, valid also after a limit."""
        return self._answer(index)

    @property
    def last(self) -> tuple[Tree, Goal]:
        """The tree and the goal of the suprema asked for last."""
        return self._asked

    @property
    def diameter(self) -> float:
        """Length of the diagonal of the box."""
        return float(self.norm.length(self.high - self.low))

    def places(self, owner: Integers, moves: Floats, reach: Floats) -> tuple[Floats, Floats]:
        """Return points ``(B, n)`` inside box and reach for scaled moves, and their distances."""
        origins = self.samples[owner]
        points = np.clip(origins + self.scaled.length * moves, self.low, self.high)
        lengths = self.norm.length(points - origins)
        limit = reach[owner]
        far = lengths > limit
        if far.any():
            shrink = (limit[far] / lengths[far] * (1.0 - 2.0**-50))[:, None]
            points[far] = origins[far] + shrink * (points[far] - origins[far])
            lengths[far] = self.norm.length(points[far] - origins[far])
        return points, lengths

    def evaluate(self, points: Floats) -> Floats:
        """Return the loss of points ``(B, n)`` under the label."""
        return self.loss.evaluate(
            self.network.logits(points), np.full(len(points), self.label, dtype=np.int64)
        )

    def _question(
        self, multiplier: float, reach: Floats, floor: Floats, tolerance: float
    ) -> tuple[Tree, _Supremum]:
        net = self.scaled
        scaled_reach = reach / net.length * (1.0 + 2.0**-50)
        box = np.maximum(net.upper, -net.lower)
        end = self.norm.length(box) * (1.0 + 2.0**-48)
        cap = np.minimum(end, scaled_reach)
        flat = multiplier == 0 and bool(np.isfinite(reach).any())
        ladder = () if flat else LADDERS[self.norm.name]
        steps = np.array(ladder).reshape(1, -1) * np.ones((len(end), 1))
        limit = cap[:, None] if flat else end[:, None]
        edges = np.concatenate([np.zeros((len(end), 1)), np.minimum(steps, limit), limit], axis=1)
        key = scaled_reach.tobytes() if flat else b""
        if key not in self._trees:
            if flat:
                self._trees = {k: v for k, v in self._trees.items() if k == b""}
            rings = rings_for(self.norm, net.lower, net.upper, edges[:, :-1], edges[:, 1:])
            self._trees[key] = Tree(
                net, rings, self.program, work=self.work, limits=self.limits, room=self.room
            )
        capped = rings_for(
            self.norm, net.lower, net.upper, edges[:, :-1], np.minimum(edges[:, 1:], cap[:, None])
        )
        return self._trees[key], _Supremum(self, capped, multiplier, reach, floor, tolerance)

    def attack(self, index: Integers, lengths: Floats) -> None:
        """Look for points of some samples by gradients within each of the distances ``(R,)``."""
        net, R = self.scaled, len(lengths)
        outer = np.tile(lengths / net.length, (len(self.samples), 1))
        rings = rings_for(self.norm, net.lower, net.upper, np.zeros_like(outer), outer)
        owner, ring = np.repeat(index, R), np.tile(np.arange(R), len(index))
        moves, _ = attack(net, rings, owner, ring)
        within = np.full(len(self.samples), np.inf)
        points, found = self.places(owner, moves, within)
        self.witnesses.add(owner, points, self.evaluate(points), found)

    def _answer(self, index: Integers) -> Suprema:
        tree, goal = self._asked
        bounds = tree.bounds() * self.scaled.unit
        value, best = self.witnesses.best(goal.real, goal.reach)
        return Suprema(
            np.maximum(bounds, value)[index], self.witnesses.points[best][index], value[index]
        )


def _sloped(pieces: AffineMap) -> AffineMap:
    """Drop constant pieces: a sample itself attains them at no cost."""
    sloped = pieces.matrix.any(axis=1)
    return AffineMap(pieces.matrix[sloped], pieces.offset[sloped])
