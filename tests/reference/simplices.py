"""Any loss, norm, order, support and label cost in one or two dimensions, by branch and bound.

    phi_i(lambda) = max_y sup_x loss(x, y) - lambda (|x - x_i|^p + label_cost [y != y_i])
    v = min_lambda lambda radius^p + sum_i mu_i phi_i(lambda)

The regions of `reference.regions` are cut at each sample (along the kinks of its norm) and into
simplices.  A tangent of the convex function ``|x - x_i|^p`` bounds it from below, so on a simplex

    loss - lambda |x - x_i|^p  <=  max over corners of (loss - lambda tangent),

exactly so for a convex loss; a ratio ``r = N / D`` adds ``M edge^2 / 6`` (a segment: / 8), where
``M = 2 |grad N - r grad D| |grad D| / D^2`` bounds how concave it is.  Simplices whose bound exceeds
the best corner are halved.  Nothing is sampled: the bracket is proved, up to rounding.

Order inf: a loss that is convex or a ratio is, on ``{tangent <= radius}`` within a simplex, largest
at a corner of that smaller polygon.

Unbounded supports: regions are clipped to a large frame; beyond it ``loss <= C + S t`` joins the
bound, and mass that escapes joins the incumbent for p = 1.
"""

import math
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from reference.envelope import Hull, concave_majorant, merged
from reference.question import (
    RATIOS,
    Array,
    Question,
    distance,
    loss,
    loss_of_logits,
    nominal,
    transport_budget,
)
from reference.regions import (
    NO_TAIL,
    TIE,
    Region,
    Tail,
    labels_in_play,
    loss_regions,
    region_tail,
    sectors,
    simplices,
)

GAP = 2e-8
LEAVES = 200_000
ROUNDS = 80
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


class Search:
    """A forest of simplices, kept between multipliers; a query is a (sample, label) pair."""

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

    # --- set up --------------------------------------------------------------------------------

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
        losses = self._losses(leaves)
        return Derived(losses, lengths, tangents, self._curvature(leaves, losses))

    def _losses(self, leaves: Leaves) -> Array:
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
        losses = np.where(tied, np.where(N > np.sqrt(TIE), np.inf, others), ratios)
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

    # --- finite order --------------------------------------------------------------------------

    def suprema(self, multiplier: float, tolerance: float) -> tuple[Array, list[Hull]]:
        """Upper bounds of ``phi_i``, (N,), and the best corner of each sample ``(cost, loss)``."""
        while True:
            bounds, values = self._bounds(multiplier), self._values(multiplier)
            best = self._best(values)
            owner = self.sample[self.leaves.query]
            opened = bounds > best[owner] + tolerance
            if not opened.any() or len(opened) + opened.sum() > LEAVES:
                break
            self._split(opened, multiplier)
        phi = np.full(len(best), -np.inf)
        np.maximum.at(phi, owner, bounds)
        phi = np.maximum(phi, self._beyond(multiplier))
        return phi, self._corners_of(values.max(axis=1), owner)

    def _bounds(self, multiplier: float) -> Array:
        known, price = self.derived, self.price[self.leaves.query]
        smooth = (known.losses - multiplier * known.tangents).max(axis=1) + known.curvature
        nearest = np.maximum(known.tangents.min(axis=1), 0.0)
        rough = known.losses.max(axis=1) - multiplier * nearest
        return np.asarray(np.minimum(smooth, rough) - multiplier * price)

    def _values(self, multiplier: float) -> Array:
        price = self.price[self.leaves.query][:, None]
        return self.derived.losses - multiplier * (self.derived.lengths**self.power + price)

    def _best(self, values: Array) -> Array:
        question = self.question
        best = np.full(len(question.points), -np.inf)
        np.maximum.at(best, self.sample[self.leaves.query], values.max(axis=1))
        return best

    def _corners_of(self, top: Array, owner: Indices) -> list[Hull]:
        """Cost and loss of the best corners of each sample, some dozens."""
        hulls = []
        for i in range(len(self.question.points)):
            mine = np.flatnonzero(owner == i)
            mine = mine[np.argsort(-top[mine])[:40]]
            price = self.price[self.leaves.query[mine]][:, None]
            costs = self.derived.lengths[mine] ** self.power + price
            hulls.append((costs.ravel(), self.derived.losses[mine].ravel()))
        return hulls

    def corners(self) -> list[Hull]:
        """Cost and loss of every corner, sample by sample."""
        owner = self.sample[self.leaves.query]
        costs = self.derived.lengths**self.power + self.price[self.leaves.query][:, None]
        return [
            (costs[owner == i].ravel(), self.derived.losses[owner == i].ravel())
            for i in range(len(self.question.points))
        ]

    def _beyond(self, multiplier: float) -> Array:
        """Bound of what the frame cuts off, (N,)."""
        best = np.full(len(self.question.points), -np.inf)
        for q, tail in enumerate(self.tails):
            i = self.sample[q]
            reach = (self.frame - np.abs(self.question.points[i]).max()) * (1.0 - 1e-9)
            price = multiplier * self.price[q]
            best[i] = max(best[i], _tail_bound(tail, multiplier, self.power, reach) - price)
        return best

    def _split(self, opened: Array, multiplier: float) -> None:
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
        for keep, drop in ((a, b), (b, a)):
            XX, AA = X.copy(), A.copy()
            XX[rows, drop] = (X[rows, a] + X[rows, b]) / 2
            AA[rows, drop] = (A[rows, a] + A[rows, b]) / 2
            del keep
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
                np.concatenate([getattr(self.derived, name)[rest], *(getattr(d, name) for d in news)])
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
        return max(multiplier, 1e-12) * bend + curvature + 1e-15 * relative

    # --- order inf -----------------------------------------------------------------------------

    def pointwise(self, radius: float, tolerance: float) -> tuple[Array, Array]:
        """Brackets of ``max { loss : |x - x_i| <= radius }``, (N,) and (N,)."""
        question = self.question
        best = loss(question, question.points, question.labels)
        owner = self.sample[self.leaves.query]
        while True:
            inside = self.derived.lengths <= radius
            values = np.where(inside, self.derived.losses, -np.inf).max(axis=1)
            np.maximum.at(best, owner, values)
            bounds = self._clipped_bounds(radius)
            opened = bounds > best[owner] + tolerance
            if not opened.any() or len(opened) + opened.sum() > LEAVES:
                break
            self._offer(np.flatnonzero(opened), radius, best)
            opened = bounds > best[owner] + tolerance
            if not opened.any():
                break
            self._split(opened, 1.0)
            owner = self.sample[self.leaves.query]
        upper = best.copy()
        np.maximum.at(upper, owner, bounds)
        return best, upper

    def _clipped_bounds(self, radius: float) -> Array:
        """Largest loss over the corners of each leaf cut to ``tangent <= radius``."""
        tangents, losses = self.derived.tangents, self.derived.losses
        bounds = np.where(tangents <= radius, losses, -np.inf).max(axis=1)
        for a, b in combinations(range(tangents.shape[1]), 2):
            rows, shares = _crossings(tangents[:, a], tangents[:, b], radius)
            if len(rows):
                A = self.leaves.A[rows]
                A = A[:, a] + shares[:, None] * (A[:, b] - A[:, a])
                part = Leaves(
                    self.leaves.X[rows, :1], A[:, None], self.leaves.query[rows],
                    self.leaves.slopes[rows],
                )  # fmt: skip
                bounds[rows] = np.maximum(bounds[rows], self._losses(part)[:, 0])
        return np.asarray(bounds)

    def _offer(self, here: Indices, radius: float, best: Array) -> None:
        """Pull corners and crossings of open leaves into the ball and evaluate the network there."""
        question = self.question
        if question.loss == "zero-one":
            return
        X, tangents = self.leaves.X[here], self.derived.tangents[here]
        owner = self.sample[self.leaves.query[here]]
        places, owners = [X.reshape(-1, X.shape[2])], [np.repeat(owner, X.shape[1])]
        for a, b in combinations(range(X.shape[1]), 2):
            rows, shares = _crossings(tangents[:, a], tangents[:, b], radius)
            places.append(X[rows, a] + shares[:, None] * (X[rows, b] - X[rows, a]))
            owners.append(owner[rows])
        points, whose = np.concatenate(places), np.concatenate(owners)
        moves = points - question.points[whose]
        lengths = distance(question.norm, moves, 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            shrink = np.where(lengths > radius, radius / lengths * (1 - 1e-15), 1.0)
        points = question.points[whose] + shrink[:, None] * moves
        np.maximum.at(best, whose, loss(question, points, question.labels[whose]))


def _crossings(left: Array, right: Array, level: float) -> tuple[Indices, Array]:
    """Where an affine function on a segment passes the level: rows, shares of the way."""
    rows = np.flatnonzero((left <= level) != (right <= level))
    return rows, (level - left[rows]) / (right[rows] - left[rows])


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
    return np.max([np.linalg.norm(X[:, a] - X[:, b], axis=1) for a, b in pairs], axis=0)


def _tail_bound(tail: Tail, multiplier: float, power: float, reach: float) -> float:
    """``sup { C + S t - lambda t^p : t >= reach }``."""
    if tail.offset == -math.inf:
        return -math.inf
    if power == 1:
        rate = tail.slope - multiplier
        return tail.offset + rate * reach if rate <= 0 else math.inf
    if multiplier == 0:
        return math.inf if tail.slope > 0 else tail.offset
    t = max(reach, (tail.slope / (multiplier * power)) ** (1.0 / (power - 1.0)))
    return float(tail.offset + tail.slope * t - multiplier * t**power)


def simplex_value(question: Question, radius: float) -> tuple[float, float]:
    """Bracket of the worst-case expected loss; (inf, inf) where a ratio has no bound."""
    if radius == 0:
        return nominal(question), nominal(question)
    search = Search(question)
    if math.isinf(question.order):
        low, high = search.pointwise(radius, GAP)
        return float(question.probabilities @ low), float(question.probabilities @ high)
    return _transported(search, radius)


def _transported(search: Search, radius: float) -> tuple[float, float]:
    """Kelley's method on the multiplier."""
    question = search.question
    mu, budget = question.probabilities, transport_budget(question, radius)
    ray = search.slope if question.order == 1 else 0.0
    clean = loss(question, question.points, question.labels)
    hulls = [(np.zeros(1), clean[i : i + 1]) for i in range(len(clean))]
    new = search.corners()
    if any(np.isposinf(values).any() for _, values in new):
        return math.inf, math.inf
    upper, tried = math.inf, []
    tolerance = 1e-3
    for _ in range(ROUNDS):
        hulls = [_extended(hull, corners) for hull, corners in zip(hulls, new, strict=True)]
        lower, slope = merged(hulls, mu, budget, ray)
        goal = GAP * max(1.0, abs(lower))
        if upper - lower <= goal:
            break
        multiplier = _safe(search, slope, float(clean.min()), tried)
        if any(abs(multiplier - seen) <= 1e-12 * seen for seen in tried):
            if tolerance <= goal / 4:
                break
            tolerance = goal / 4
        tolerance = min(tolerance, max(goal / 4, (upper - lower) / 20))
        tried.append(multiplier)
        phi, new = search.suprema(multiplier, tolerance)
        upper = min(upper, multiplier * budget + float(mu @ phi))
    return lower, upper


def _extended(hull: Hull, corners: Hull) -> Hull:
    costs, losses = (np.concatenate(pair) for pair in zip(hull, corners, strict=True))
    return concave_majorant(costs, losses)


def _safe(search: Search, slope: float, least: float, tried: list[float]) -> float:
    """The slope, or a larger multiplier at which what lies beyond the frame has a low bound.

    `least` is the smallest nominal loss, below every supremum.
    """
    unbounded = [tail for tail in search.tails if tail.offset > -math.inf]
    if not unbounded:
        return slope
    if search.power == 1 and search.slope > 0:
        top = max(tail.offset for tail in unbounded)
        return max(slope, search.slope + (max(0.0, top - least) + 1.0) / search.frame)
    if slope > 0 or search.slope == 0:
        return max(slope, 1e-14)
    return min(tried, default=1.0) / 4.0
