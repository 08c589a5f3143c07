r"""Lipschitz constants without cells: best-first search over partial activation patterns.

A node fixes some signs; the interval bound of its gradient's dual norm bounds every cell below it.
A neuron that matters most is split next. Decided neurons whose pre-activation is affine give
half-spaces; a node without interior is dropped. From below, the dual norm of the gradient at any
point whose pattern is certain. When a limit ends the search the bracket is valid all the same.
"""

import heapq
from dataclasses import dataclass, field
from itertools import count

import numpy as np

from wdaverify.arrays import Bools, Floats
from wdaverify.bounds.body import Body
from wdaverify.bounds.constants import CANCELLED, Constants, head_of, rounding_room, top_rows
from wdaverify.bounds.partial import Partial, Signs
from wdaverify.cells.frame import unit_rows
from wdaverify.convex.exact import exact_interior_point
from wdaverify.limits import Limits
from wdaverify.rational import ExactNetwork, rationals

__all__ = ["searched_constants"]

BATCH = 16
"""Nodes that are split at once."""

CLOSED = 1e-12
"""Relative gap at which a search ends."""

STARTS = 512
"""Points at which gradients are looked at before the search."""


@dataclass(frozen=True, slots=True, eq=False)
class _Node:
    signs: Signs
    branched: Bools
    weights: Floats
    checked: int


@dataclass(slots=True)
class _Search:
    """The search for one pair."""

    body: Body
    partial: Partial
    head: Floats
    tops: Floats
    lower: float
    doubt: float = 0.0
    nodes: int = 0
    queue: list[tuple[float, int, _Node]] = field(default_factory=list)
    order: "count[int]" = field(default_factory=count)

    def run(self, floor: float, nodes: int, limits: Limits) -> float:
        """Return an upper bound; no better than ``floor`` is needed."""
        root = self.partial.unknown()[None, :]
        self._push(root, np.zeros(root.shape, dtype=bool), np.array([np.inf]), [0])
        while self.queue:
            enough = max(self.lower, floor, self.doubt) * (1.0 + CLOSED)
            if -self.queue[0][0] <= enough or self.nodes >= nodes:
                break
            if limits.reached("searching gradients") is not None:
                break
            taken = [heapq.heappop(self.queue) for _ in range(min(BATCH, len(self.queue)))]
            self.nodes += len(taken)
            limits.report(f"{self.nodes:,} partial patterns")
            for bound, _, node in taken:
                if -bound > enough:
                    self._split(node, -bound)
        top = -self.queue[0][0] if self.queue else 0.0
        return max(self.lower, self.doubt, top)

    def _split(self, node: _Node, bound: float) -> None:
        open_ = np.flatnonzero(node.signs == 0)
        G, h = self.partial.rows(node.signs, node.branched)
        leaf = len(open_) == 0
        if leaf:
            G, h = self._with_tops(G, h, node.signs)
        if leaf or len(G) > node.checked:
            found = self.body.inside(*unit_rows(G, h))
            if found.empty:
                return
            self.offer(found.point[None, :])
            if leaf:
                if self.lower < bound * (1.0 - CLOSED) and not self._empty(node):
                    self.doubt = max(self.doubt, bound)
                return
        neuron = open_[int(np.argmax(node.weights[open_]))]
        signs, branched = np.tile(node.signs, (2, 1)), np.tile(node.branched, (2, 1))
        signs[0, neuron], signs[1, neuron] = 1, -1
        branched[:, neuron] = True
        self._push(signs, branched, np.full(2, bound), [len(G)] * 2)

    def _push(self, signs: Signs, branched: Bools, bounds: Floats, checked: list[int]) -> None:
        signs, possible = self.partial.implied(signs)
        if len(self.tops):
            rivals = self.partial.upper(signs, self.tops)
            possible &= np.all(rivals >= 0, axis=1)
        found = self.partial.gradients(signs, self.head)
        bounds = np.minimum(bounds, found.bounds)
        for b in np.flatnonzero(possible).tolist():
            node = _Node(signs[b], branched[b], found.weights[b], checked[b])
            heapq.heappush(self.queue, (-float(bounds[b]), next(self.order), node))

    def offer(self, points: Floats) -> None:
        """Look at the gradients at points whose pattern is beyond doubt."""
        points = points[self.body.holds(points)]
        if len(points) == 0:
            return
        network = self.body.network
        errors = network.rounding_errors(points)
        z = network.preactivations(points)
        wide = np.concatenate([*errors[:-1], np.zeros((len(points), 0))], axis=1)
        certain = np.all((np.abs(z) > wide) | network.linear, axis=1)
        if len(self.tops):
            logits = network.logits(points)
            certain &= np.all(logits @ self.tops.T > errors[-1] @ np.abs(self.tops).T, axis=1)
        if certain.any():
            patterns = np.unique(network.patterns(points[certain]), axis=0)
            gradients = self.head @ network.affine_maps(patterns)[1].matrix
            self.lower = max(self.lower, float(self.body.norm.dual_length(gradients).max()))

    def _with_tops(self, G: Floats, h: Floats, signs: Signs) -> tuple[Floats, Floats]:
        if len(self.tops) == 0:
            return G, h
        J, c = self.body.network.affine_maps(signs > 0)[1]
        rows = self.tops @ J
        plain = np.linalg.norm(rows, axis=1) > CANCELLED * self.partial.largest_rows(self.tops)
        return (
            np.concatenate([G, -rows[plain]]),
            np.concatenate([h, (self.tops @ c)[plain]]),
        )

    def _empty(self, node: _Node) -> bool:
        """Decide over the rationals whether a leaf without visible room has no interior.

        A neuron that is identically zero has either sign everywhere.
        """
        if not self.body.exact:
            return False
        pattern, network = node.signs > 0, ExactNetwork(self.body.network)
        A, b = [rationals(self.body.rows.matrix)], [rationals(self.body.rows.offset)]
        for k, part in enumerate(self.partial.parts):
            J, c = network.layer(k, pattern)
            at = node.branched[part]
            side = rationals(np.where(pattern[part][at], -1.0, 1.0))
            A.append(side[:, None] * J[at])
            b.append(-side * c[at])
        if len(self.tops):
            J, c = network.layer(len(self.partial.parts), pattern)
            A.append(-rationals(self.tops) @ J)
            b.append(rationals(self.tops) @ c)
        matrix, offset = np.concatenate(A), np.concatenate(b)
        flat = np.array([not any(row) for row in matrix], dtype=bool)
        if any(v < 0 for v in offset[flat]):
            return True
        return exact_interior_point(matrix[~flat], offset[~flat]) is None


def searched_constants(
    body: Body,
    *,
    margin: bool = False,
    points: Floats | None = None,
    labels: tuple[int, ...] | None = None,
    nodes: int = 20_000,
    limits: Limits | None = None,
) -> Constants:
    """Bracket the constants of all pairs by search.

    Parameters
    ----------
    body
        Only gradients of cells that meet it with interior count.
    margin
        Whether only the top wrong class counts.
    points
        Points to begin with, with all features, ``(N, n)``.
    labels
        Labels whose constants matter; pairs of others, and those that cannot change the constant
        of one of these, are not searched further than that takes. All pairs when omitted.
    nodes
        Nodes of all searches together.
    """
    K, limits = body.network.classes, limits or Limits()
    lower, upper = np.zeros((K, K)), np.zeros((K, K))
    if len(body.lower) == 0:
        return Constants(lower, upper, "search")
    free = body.free
    starts = body.samples(STARTS, np.zeros((0, len(body.lower))) if points is None
                          else np.asarray(points)[:, free])  # fmt: skip
    partial, used = Partial(body), 0
    pairs = [(y, j) for y in range(K) for j in range(K) if (j != y if margin else j > y)]
    searches = {}
    for y, j in pairs:
        tops = top_rows(K, y, j) if margin else np.zeros((0, K))
        searches[y, j] = _Search(body, partial, head_of(K, y, j), tops, 0.0)
        searches[y, j].offer(starts)
        lower[y, j] = searches[y, j].lower
    for done, (y, j) in enumerate(sorted(pairs, key=lambda pair: -lower[pair])):
        floor = _floor(lower if margin else np.maximum(lower, lower.T), y, j, labels, margin)
        share = max(1, (nodes - used) // (len(pairs) - done))
        search = searches[y, j]
        upper[y, j] = search.run(floor, share if nodes > used else 0, limits)
        lower[y, j], used = search.lower, used + search.nodes
    room = rounding_room(body.network, body.norm)
    if not margin:
        lower, upper = np.maximum(lower, lower.T), np.maximum(upper, upper.T)
    off = ~np.eye(K, dtype=bool)
    return Constants(
        np.where(off, np.maximum(lower - room, 0.0), 0.0),
        np.where(off, upper + room, 0.0), "search", used,
    )  # fmt: skip


def _floor(
    lower: Floats,
    label: int,
    target: int,
    labels: tuple[int, ...] | None,
    margin: bool,  # noqa: FBT001
) -> float:
    """Return what a pair has to exceed to matter for a label that does."""
    if labels is None:
        return 0.0
    ends = (label,) if margin else (label, target)
    matter = [float(lower[y].max()) for y in ends if y in labels]
    return min(matter) if matter else np.inf
