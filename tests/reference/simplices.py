"""Any loss, norm, order, support and label cost in one or two dimensions, by branch and bound.

    phi_i(lambda) = max_y sup_x loss(x, y) - lambda (|x - x_i|^p + label_cost [y != y_i])
    v = min_lambda lambda radius^p + sum_i mu_i phi_i(lambda)

The regions of `reference.regions` are cut at each sample (along the kinks of its norm) and into
simplices.  A tangent of the convex function ``|x - x_i|^p`` bounds it from below, so on a simplex

    loss - lambda |x - x_i|^p  <=  max over corners of (loss - lambda tangent),

exactly so for a convex loss; a ratio ``r = N / D`` adds ``M edge^2 / 6`` (a segment: / 8), where
``M = 2 |grad N - r grad D| |grad D| / D^2`` bounds how concave it is.  Simplices whose bound is
above the best corner are halved.  Nothing is sampled: the bracket is proved, up to rounding.

Order inf: a loss that is convex or a ratio is, on ``{tangent <= radius}`` within a simplex, largest
at a corner of that smaller polygon.

Unbounded supports: regions are clipped to a large frame; beyond it ``loss <= C + S t`` joins the
bound, and mass that escapes joins the incumbent for p = 1.
"""

import math
from itertools import combinations

import numpy as np

from reference.envelope import Hull, concave_majorant, merged
from reference.forest import Forest, Indices, Leaves
from reference.question import Array, Question, distance, loss, nominal, transport_budget
from reference.regions import Tail

GAP = 2e-8
LEAVES = 200_000
ROUNDS = 80


class Search(Forest):
    """A forest kept between multipliers."""

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
            self.split(opened, multiplier)
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
            self.split(opened, 1.0)
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
                bounds[rows] = np.maximum(bounds[rows], self.losses(part)[:, 0])
        return np.asarray(bounds)

    def _offer(self, here: Indices, radius: float, best: Array) -> None:
        """Pull corners and crossings of open leaves into the ball; evaluate the network there."""
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


def _tail_bound(tail: Tail, multiplier: float, power: float, reach: float) -> float:
    """``sup { C + S t - lambda t^p : t >= reach }``."""
    if math.isinf(tail.offset) and tail.offset < 0:
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
    upper = math.inf
    tried: list[float] = []
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
