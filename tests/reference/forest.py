"""Simplices of all queries, cut from the regions of a loss, with what bounds need to know of them.

See `reference.simplices` for the bounds.
"""

import math
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from reference.polygons import sectors, simplices
from reference.question import RATIOS, Array, Question, distance, loss_of_logits
from reference.regions import (
    NO_TAIL,
    TIE,
    Region,
    Tail,
    labels_in_play,
    loss_regions,
    region_tail,
)

FRAME, FAR = 1e6, 1e9
"""Half side of the frame; the far one for losses that grow for ever, order 1 (error 1 / frame)."""

Indices = NDArray[np.int64]


@dataclass(slots=True)
class Leaves:
    """Simplices of all queries: corners X (m, k, n), features A (m, k, F), queries (m,).

    Features are the logits, or ``(N, D)`` of a ratio whose gradients are `slopes` (m, 2, n).
    """

    X: Array
    A: Array
    query: Indices
    slopes: Array


@dataclass(slots=True)
class Derived:
    """What follows from the leaves: losses, lengths, tangents (m, k), curvature term (m,)."""

    losses: Array = field(default_factory=lambda: np.zeros((0, 0)))
    lengths: Array = field(default_factory=lambda: np.zeros((0, 0)))
    tangents: Array = field(default_factory=lambda: np.zeros((0, 0)))
    curvature: Array = field(default_factory=lambda: np.zeros(0))


class Forest:
    """Simplices that can be halved; a query is a (sample, label) pair."""

    def __init__(self, question: Question) -> None:
        self.question = question
        self.power = question.order if math.isfinite(question.order) else 1.0
        grows = question.loss not in (*RATIOS, "zero-one")
        self.frame = FAR if grows and question.order == 1 else FRAME
        own = question.labels
        labels = labels_in_play(question)
        self.queries = [
            (i, y)
            for i in range(len(question.points))
            for y in labels
            if y == own[i] or math.isfinite(question.label_cost)
        ]
        self.sample = np.array([i for i, _ in self.queries])
        self.label = np.array([y for _, y in self.queries])
        self.price = np.where(self.label == own[self.sample], 0.0, question.label_cost)
        self.tails = [NO_TAIL] * len(self.queries)
        self.tied: set[tuple[int, float]] = set()
        self.leaves, self.derived = self._roots(loss_regions(question, self.frame))
        self.slope = max([0.0, *(tail.slope for tail in self.tails)])

    def _roots(self, regions: list[Region]) -> tuple[Leaves, Derived]:
        X, A, query, slopes = [], [], [], []
        for q, (i, y) in enumerate(self.queries):
            centre = self.question.points[i]
            for region in (r for r in regions if r.label == y):
                self._join_tail(q, region_tail(self.question, region, self.frame, centre))
                for G, h in sectors(self.question.norm, centre, self._reach(region, centre)):
                    polygon = region.polygon.clipped(G, h)
                    if not polygon.is_solid:
                        continue
                    parts = simplices(polygon.corners, centre)
                    X.append(parts)
                    A.append(self._features(region, parts))
                    query.append(np.full(len(parts), q))
                    slopes.append(np.tile(self._gradients(region), (len(parts), 1, 1)))
        leaves = Leaves(*(np.concatenate(part) for part in (X, A, query, slopes)))
        return leaves, self._derive(leaves)

    def _reach(self, region: Region, centre: Array) -> float:
        curved = self.question.norm == "l2" or self.power > 1
        return 2.0 * float(np.abs(region.corners - centre).max()) if curved else math.inf

    def _join_tail(self, query: int, tail: Tail) -> None:
        known = self.tails[query]
        self.tails[query] = Tail(max(known.offset, tail.offset), max(known.slope, tail.slope))

    def _features(self, region: Region, parts: Array) -> Array:
        if region.ratio is None:
            return np.asarray(parts @ region.J.T + region.c)
        return np.stack([parts @ slope + offset for slope, offset in region.ratio], axis=-1)

    def _gradients(self, region: Region) -> Array:
        n = self.question.dimension
        if region.ratio is None:
            return np.zeros((2, n))
        return np.stack([slope for slope, _ in region.ratio])

    def _derive(self, leaves: Leaves) -> Derived:
        question, p = self.question, self.power
        centres = question.points[self.sample[leaves.query]][:, None, :]
        moves = leaves.X - centres
        lengths = distance(question.norm, moves, 0.0)
        middle = moves.mean(axis=1, keepdims=True)
        far = distance(question.norm, middle, 0.0)[:, 0]
        normal = _gradient(question.norm, middle[:, 0])
        along = np.einsum("mkn,mn->mk", moves - middle, normal)
        with np.errstate(divide="ignore", invalid="ignore"):
            steep = np.where(far > 0, p * far ** (p - 1.0), 0.0)
        tangents = far[:, None] ** p + steep[:, None] * along
        losses = self.losses(leaves)
        return Derived(losses, lengths, tangents, self._curvature(leaves, losses))

    def losses(self, leaves: Leaves) -> Array:
        m, k, _ = leaves.X.shape
        if self.question.loss not in (*RATIOS, "zero-one"):
            labels = np.repeat(self.label[leaves.query], k)
            logits = leaves.A.reshape(m * k, -1)
            return loss_of_logits(self.question.loss, logits, labels).reshape(m, k)
        N, D = leaves.A[..., 0], leaves.A[..., 1]
        tied = D <= TIE
        ratios = N / np.where(tied, 1.0, D)
        # along a ray from a corner where N = D = 0 the ratio is constant: the others bound it
        others = np.where(tied, -np.inf, ratios).max(axis=1, keepdims=True)
        losses = np.where(tied, np.where(np.sqrt(TIE) < N, np.inf, others), ratios)
        return np.minimum(losses, 1.0) if self.question.loss == "truncated-dlr" else losses

    def _curvature(self, leaves: Leaves, losses: Array) -> Array:
        gN, gD = leaves.slopes[:, 0], leaves.slopes[:, 1]
        if not gD.any():
            return np.zeros(len(losses))
        D = leaves.A[..., 1].min(axis=1)
        ratios = np.where(np.isfinite(losses), losses, 0.0)
        steep = np.linalg.norm(gN[:, None] - ratios[..., None] * gD[:, None], axis=2).max(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            M = 2.0 * steep * np.linalg.norm(gD, axis=1) / np.maximum(D, 0.0) ** 2
        edges = max_edge(leaves.X)
        M = np.where((D > TIE) | (steep * np.linalg.norm(gD, axis=1) == 0), M, np.inf)
        M = np.where(np.isnan(M), 0.0, M)
        return np.asarray(M * edges**2 / (8.0 if leaves.X.shape[1] == 2 else 6.0))

    def split(self, opened: NDArray[np.bool_], multiplier: float) -> None:
        """Halve leaves along the edge on which the objective is least linear."""
        old = self.leaves
        here = np.flatnonzero(opened)
        X, A = old.X[here], old.A[here]
        pairs = list(combinations(range(X.shape[1]), 2))
        a, b = np.array(pairs).T
        rows = np.arange(len(here))
        if len(pairs) > 1:
            edge = self._bend(here, a, b, multiplier).argmax(axis=1)
            a, b = a[edge], b[edge]
        else:
            a, b = np.repeat(a, len(here)), np.repeat(b, len(here))
        children = []
        for drop in (a, b):
            XX, AA = X.copy(), A.copy()
            XX[rows, drop] = (X[rows, a] + X[rows, b]) / 2
            AA[rows, drop] = (A[rows, a] + A[rows, b]) / 2
            children.append(Leaves(XX, AA, old.query[here], old.slopes[here]))
        news = [self._derive(child) for child in children]
        rest = ~opened
        self.leaves = Leaves(
            *(
                np.concatenate([getattr(old, name)[rest], *(getattr(c, name) for c in children)])
                for name in ("X", "A", "query", "slopes")
            )
        )
        self.derived = Derived(
            *(
                np.concatenate(
                    [getattr(self.derived, name)[rest], *(getattr(d, name) for d in news)]
                )
                for name in ("losses", "lengths", "tangents", "curvature")
            )
        )

    def _bend(self, here: Indices, a: Array, b: Array, multiplier: float) -> Array:
        """How far each edge is from linear, (m, edges); a little of its length breaks ties."""
        X, p = self.leaves.X[here], self.power
        centres = self.question.points[self.sample[self.leaves.query[here]]][:, None, :]
        middle = distance(self.question.norm, (X[:, a] + X[:, b]) / 2, centres) ** p
        ends = self.derived.lengths[here] ** p
        lengths = np.linalg.norm(X[:, a] - X[:, b], axis=2)
        relative = lengths / np.maximum(lengths.max(axis=1, keepdims=True), 1e-300)
        curvature = self.derived.curvature[here][:, None] * relative**2
        curvature = np.where(np.isfinite(curvature), curvature, relative)
        bend = np.maximum((ends[:, a] + ends[:, b]) / 2 - middle, 0.0)
        return np.asarray(max(multiplier, 1e-12) * bend + curvature + 1e-15 * relative)


def _gradient(norm: str, moves: Array) -> Array:
    """A subgradient of the norm at each move (m, n)."""
    if norm == "l1":
        return np.sign(moves)
    if norm == "linf":
        top = np.abs(moves).argmax(axis=1)
        return np.asarray(np.eye(moves.shape[1])[top] * np.sign(moves))
    lengths = np.linalg.norm(moves, axis=1, keepdims=True)
    return np.asarray(moves / np.where(lengths > 0, lengths, 1.0))


def max_edge(X: Array) -> Array:
    """Longest Euclidean edge of each simplex, (m,)."""
    pairs = combinations(range(X.shape[1]), 2)
    return np.asarray(np.max([np.linalg.norm(X[:, a] - X[:, b], axis=1) for a, b in pairs], axis=0))
