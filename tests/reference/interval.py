"""Any loss, order, support and label cost on a line, by growth functions; all norms are one there.

Between kinks the logits are affine and keep their order, so a loss is affine, convex
(cross-entropy) or a ratio of affine functions.  A short piece ``t in [t0, t1]`` of such a function,
seen from a sample, is a curve ``(t^p, loss)`` under a line: the chord in t (of a ratio, raised by
``|loss''| (t1 - t0)^2 / 8``), with ``t`` replaced by its tangent at the middle cost.  Concave
majorants of ends (inner) and of line ends (outer) are merged; pieces whose line matters are halved
until both values agree.  No cells, no duality and no program is involved.
"""

import math
from dataclasses import dataclass

import numpy as np

from reference.envelope import Hull, concave_majorant, merged
from reference.line import FAR, Stretch, formula, ratio_on, stretches
from reference.question import (
    RATIOS,
    Array,
    Question,
    loss,
    nominal,
    transport_budget,
)

GAP = 1e-9
PIECES = 64
ROUNDS = 60


@dataclass(slots=True)
class Pieces:
    """Curves of one sample under one label: lengths ``t0 < t1``, side, stretch, (m,) each."""

    near: Array
    far: Array
    sign: Array
    stretch: Array


def interval_value(question: Question, radius: float) -> tuple[float, float]:
    """Bracket of the worst-case expected loss, as a rule 1e-9 wide; (inf, inf) at a triple tie."""
    if question.dimension != 1:
        raise NotImplementedError("one dimension only")
    if radius == 0:
        return nominal(question), nominal(question)
    line = stretches(question)
    if math.isinf(question.order):
        value = _pointwise(question, line, radius)
        return value, value
    curves = _curves(question, line)
    if any(curve.is_infinite for curve in curves):
        return math.inf, math.inf
    return _refined(question, curves, transport_budget(question, radius))


def _refined(question: Question, curves: "list[Curve]", budget: float) -> tuple[float, float]:
    mu, count = question.probabilities, len(question.points)
    clean = loss(question, question.points, question.labels)
    ray = max(curve.ray for curve in curves)
    grows = ray if question.order == 1 else 0.0
    for _ in range(ROUNDS):
        inner = _hulls(count, clean, [(curve.sample, curve.ends()) for curve in curves])
        outer = _hulls(count, clean, [(curve.sample, curve.lines()) for curve in curves])
        lower, slope = merged(inner, mu, budget, grows)
        upper, other = merged(outer, mu, budget, ray)
        if upper - lower <= GAP * max(1.0, abs(lower)):
            break
        for curve in curves:
            curve.refine([slope, other], inner[curve.sample])
    return lower, upper


def _hulls(count: int, clean: Array, points: list[tuple[int, Hull]]) -> list[Hull]:
    hulls = []
    for i in range(count):
        mine = [hull for sample, hull in points if sample == i]
        costs = np.concatenate([[0.0], *(costs for costs, _ in mine)])
        losses = np.concatenate([clean[i : i + 1], *(losses for _, losses in mine)])
        hulls.append(concave_majorant(costs, losses))
    return hulls


# --- one curve ----------------------------------------------------------------------------------


class Curve:
    """Loss against cost of one sample under one label, cut into short pieces."""

    def __init__(self, question: Question, line: list[Stretch], sample: int, label: int) -> None:
        self.question, self.line = question, line
        self.sample, self.label = sample, label
        self.origin = float(question.points[sample, 0])
        own = label == question.labels[sample]
        self.price = 0.0 if own else question.label_cost
        self.pieces = self._start()
        self.ray = self._steepest()

    @property
    def is_infinite(self) -> bool:
        """Whether the loss has no bound at finite distance."""
        return bool(np.isposinf(self.ends()[1]).any())

    def ends(self) -> Hull:
        """Points of the curve, the ends of all pieces."""
        near, far = self._values(self.pieces)
        lengths = np.concatenate([self.pieces.near, self.pieces.far])
        return self._cost(lengths), np.concatenate([near, far])

    def lines(self) -> Hull:
        """Ends of the lines above all pieces."""
        pieces, p = self.pieces, self.question.order
        near, far = self._values(pieces)
        low, high = pieces.near**p, pieces.far**p
        raised = self._bulge(pieces)
        rise = np.maximum((far - near) / (pieces.far - pieces.near), 0.0)
        middle = (low + high) / 2
        speed = middle ** (1.0 / p - 1.0) / p
        start = near + rise * (middle ** (1.0 / p) + speed * (low - middle) - pieces.near) + raised
        end = start + rise * speed * (high - low)
        beyond = self._limits()
        costs = np.concatenate([low, high, beyond[0]]) + self.price
        return costs, np.concatenate([start, end, beyond[1]])

    def refine(self, slopes: list[float], inner: Hull) -> None:
        """Halve the pieces whose lines rise above the inner majorant's supporting lines."""
        count = len(self.pieces.near)
        costs, losses = (values[: 2 * count].reshape(2, -1) for values in self.lines())
        opened = np.zeros(count, dtype=bool)
        for slope in slopes:
            top = float((inner[1] - slope * inner[0]).max())
            opened |= (losses - slope * costs).max(axis=0) > top + GAP / 4
        old = self.pieces
        middle = np.where(
            old.far > 4.0 * old.near, np.sqrt(np.maximum(old.near, 1e-3 * old.far) * old.far),
            (old.near + old.far) / 2,
        )[opened]  # fmt: skip
        rest = ~opened
        self.pieces = Pieces(
            np.concatenate([old.near[rest], old.near[opened], middle]),
            np.concatenate([old.far[rest], middle, old.far[opened]]),
            *(
                np.concatenate([v[rest], v[opened], v[opened]])
                for v in (old.sign, old.stretch)
            ),
        )  # fmt: skip

    def _start(self) -> Pieces:
        near, far, signs, owners = [], [], [], []
        for k, stretch in enumerate(self.line):
            sign = 1.0 if stretch.inside > self.origin else -1.0
            ends = sorted([sign * (stretch.low - self.origin), sign * (stretch.high - self.origin)])
            start, end = max(ends[0], 0.0), min(ends[1], FAR)
            if math.isinf(ends[1]):
                steps = start + np.concatenate([[0.0], np.geomspace(1e-3, end, PIECES)])
            else:
                steps = np.linspace(start, end, PIECES + 1)
            near.append(steps[:-1])
            far.append(steps[1:])
            signs.append(np.full(len(steps) - 1, sign))
            owners.append(np.full(len(steps) - 1, k))
        return Pieces(*(np.concatenate(part) for part in (near, far, signs, owners)))

    def _values(self, pieces: Pieces) -> tuple[Array, Array]:
        near, far = np.empty_like(pieces.near), np.empty_like(pieces.far)
        for k, stretch in enumerate(self.line):
            here = pieces.stretch == k
            for lengths, values in ((pieces.near, near), (pieces.far, far)):
                x = self.origin + pieces.sign[here] * lengths[here]
                values[here] = formula(self.question, stretch, self.label, x)
        return near, far

    def _bulge(self, pieces: Pieces) -> Array:
        """``|r''| h^2 / 8`` of ratios ``r = N / D``: ``r'' = -2 r' D' / D``, ``r' = W / D^2``."""
        bulge = np.zeros(len(pieces.near))
        if self.question.loss not in RATIOS:
            return bulge
        for k, stretch in enumerate(self.line):
            here = pieces.stretch == k
            N, D = ratio_on(self.question, stretch, self.label)
            z = stretch.logits(np.array([stretch.inside]))[0]
            if self.question.loss == "truncated-dlr" and z @ N >= z @ D:
                continue  # constant, 1
            ends = [self.origin + pieces.sign[here] * t[here] for t in (pieces.near, pieces.far)]
            least = np.minimum(*(stretch.logits(x) @ D for x in ends))
            falling, rising = float(D @ stretch.slope), float(N @ stretch.slope)
            wronskian = rising * float(D @ stretch.offset) - float(N @ stretch.offset) * falling
            bend = np.abs(2.0 * wronskian * falling)
            with np.errstate(divide="ignore", invalid="ignore"):
                bound = bend / np.maximum(least, 0.0) ** 3 * (pieces.far - pieces.near)[here] ** 2
            tied = least <= 1e-9  # there the ratio stays within its ends: it is monotone
            bulge[here] = np.where(bend == 0, 0.0, np.where(tied, 2.0, bound / 8.0))
        return bulge

    def _cost(self, lengths: Array) -> Array:
        return np.asarray(lengths**self.question.order + self.price)

    def _outer_stretches(self) -> list[tuple[Stretch, float]]:
        pairs = ((self.line[0], -1.0), (self.line[-1], 1.0))
        return [(s, sign) for s, sign in pairs if math.isinf(s.low if sign < 0 else s.high)]

    def _limits(self) -> Hull:
        """Where an unbounded ratio tends to, put at the last length (outer points)."""
        if self.question.loss not in RATIOS:
            return np.zeros(0), np.zeros(0)
        found = []
        for stretch, _ in self._outer_stretches():
            N, D = ratio_on(self.question, stretch, self.label)
            if abs(D @ stretch.slope) > 1e-9:
                found.append(float(N @ stretch.slope) / float(D @ stretch.slope))
        if self.question.loss == "truncated-dlr":
            found = [min(value, 1.0) for value in found]
        return np.full(len(found), FAR**self.question.order), np.array(found)

    def _steepest(self) -> float:
        """Slope in the cost beyond the last length."""
        p, slopes = self.question.order, [0.0]
        for stretch, sign in self._outer_stretches():
            if self.question.loss in RATIOS:
                N, D = ratio_on(self.question, stretch, self.label)
                constant = abs(D @ stretch.slope) <= 1e-9
                spread = float(stretch.logits(np.array([stretch.inside]))[0] @ D)
                slopes.append(sign * float(N @ stretch.slope) / spread if constant else 0.0)
                continue
            if self.question.loss != "zero-one":
                rises = sign * (stretch.slope - stretch.slope[self.label])
                slopes.append(float(rises.max()))
        cap = math.inf if self.question.loss != "truncated-dlr" else 0.0
        return float(min(max(slopes), cap) * FAR ** (1.0 - p) / p)


def _curves(question: Question, line: list[Stretch]) -> list[Curve]:
    moves = math.isfinite(question.label_cost)
    return [
        Curve(question, line, i, y)
        for i, own in enumerate(question.labels.tolist())
        for y in (range(question.classes) if moves else [own])
    ]


def _pointwise(question: Question, line: list[Stretch], radius: float) -> float:
    """Order inf: on a stretch every loss is largest at an end."""
    best = loss(question, question.points, question.labels)
    for i, x in enumerate(question.points[:, 0]):
        for stretch in line:
            if stretch.low <= x + radius and stretch.high >= x - radius:  # closed, like the ball
                ends = np.clip([stretch.low, stretch.high], x - radius, x + radius)
                values = formula(question, stretch, int(question.labels[i]), ends)
                best[i] = max(best[i], float(values.max()))
    return float(question.probabilities @ best)
