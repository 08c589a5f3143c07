"""Lower and upper end of a value: atoms, the multiplier, and the trees that cover everything."""

from collections import defaultdict
from fractions import Fraction
from typing import Any

from wdaverify.checker.enclosures import power, sqrt
from wdaverify.checker.losses import loss_at
from wdaverify.checker.nodes import Node, root
from wdaverify.checker.question import Question
from wdaverify.checker.reading import (
    JSON,
    Lines,
    Rejected,
    Vector,
    entries,
    index,
    limited,
    number,
    table,
    vector,
)  # fmt: skip
from wdaverify.checker.transport import FREE, Price, Ring, everywhere, ring_of
from wdaverify.checker.trees import Samples, walk

__all__ = ["Lower", "Upper", "atom", "distance"]

_TREE = frozenset(["label", "target", "intervals", "samples"])
Span = tuple[Fraction, Fraction | None]


def distance(q: Question, x: Vector, i: int) -> tuple[Fraction, int]:
    """Return ``(d, k)``: the distance of ``x`` to sample ``i`` is ``d ** (1/k)``; k = 2 for l2."""
    p = q.points[i]
    moves = [
        abs(Fraction(a, x.den) - Fraction(b, p.den)) for a, b in zip(x.ints, p.ints, strict=True)
    ]
    if q.norm == "l2":
        return limited(sum(v * v for v in moves) + Fraction(0)), 2
    return limited(max(moves) if q.norm == "linf" else sum(moves) + Fraction(0)), 1


def cost_above(q: Question, x: Vector, i: int, y: int) -> Fraction:
    """Return the transport cost of an atom, or an upper bound of it.

    Raises
    ------
    Rejected
        Order inf and beyond the radius, or a label move where labels do not move.
    """
    d, k = distance(q, x, i)
    if y not in q.labels_of(i):
        raise Rejected(f"labels do not move, but sample {i} has an atom with label {y}")
    if q.order is None:
        if d > q.radius**k:
            raise Rejected(f"an atom of sample {i} is farther away than the radius")
        return Fraction(0)
    p = q.order / k
    cost = power(d, p)[1] if k == 1 or p.denominator == 1 else power(sqrt(d)[1], q.order)[1]
    return cost + (q.label_cost or 0) * (y != q.labels[i])


def atom(q: Question, item: JSON) -> tuple[int, Fraction, Fraction, Fraction]:
    """Return sample, mass, loss (or less) and cost (or more) of ``[i, y, weight, [x, …]]``."""
    raw = entries(item, 4)
    i = index(raw[0], len(q.points), "sample")
    y = index(raw[1], q.classes, "label")
    mass, x = number(raw[2]), vector(raw[3], len(q.lower))
    if mass < 0 or not q.contains(x):
        raise Rejected(f"an atom of sample {i} has negative mass or lies outside the support")
    cost = cost_above(q, x, i, y)
    return i, mass, loss_at(q, q.logits(x), y), cost


class Lower:
    """The atoms so far: masses by sample, expected loss, transport cost."""

    def __init__(self, q: Question) -> None:
        self.q = q
        self.masses = [Fraction(0)] * len(q.points)
        self.loss = self.cost = Fraction(0)
        self.best = Fraction(0)

    def add(self, item: JSON) -> None:
        """Add an atom."""
        i, mass, loss, cost = atom(self.q, item)
        self.masses[i] = limited(self.masses[i] + mass)
        self.loss = limited(self.loss + mass * loss)
        self.cost = limited(self.cost + mass * cost)
        self.best = max(self.best, loss)

    def end(self) -> Fraction:
        """Return the expected loss of a distribution within the budget."""
        for i, (found, mass) in enumerate(zip(self.masses, self.q.masses, strict=True)):
            if found != mass:
                raise Rejected(f"the masses of sample {i} do not add up to its weight")
        if self.q.order is not None and self.cost > self.q.budget[0]:
            raise Rejected("the transport cost exceeds the budget")
        return self.loss


class Upper:
    """The multiplier, the bounds of the samples, and what the trees have shown."""

    def __init__(self, q: Question, item: JSON) -> None:
        keys = frozenset(["multiplier", "bounds"])
        raw = table(item, keys, keys)
        self.q, self.rate = q, number(raw["multiplier"])
        if self.rate < 0 or (q.order is None and self.rate):
            raise Rejected("the multiplier is negative, or not 0 although the order is inf")
        self.bounds: list[Fraction] = []
        if q.loss != "zero-one":
            self.bounds = [number(v) for v in entries(raw["bounds"], len(q.points))]
        elif raw["bounds"] is not None:
            raise Rejected("zero-one has no bounds: expected null")
        self.price = FREE if q.loss == "zero-one" else Price(self.rate, q.order or Fraction(1))
        self.spans: dict[tuple[int, int, int], list[Span]] = defaultdict(list)
        self._box = everywhere(q)
        self._rings: dict[tuple[int, Span], Ring] = {}
        self._roots: dict[Any, tuple[Node, Ring | None]] = {"none": (root(q, None), None)}

    def tree(self, item: JSON, lines: Lines) -> None:
        """Check a tree and note what it covers."""
        q, raw = self.q, table(item, _TREE, _TREE)
        label = index(raw["label"], q.classes, "label")
        targets = self._targets(raw["target"], label)
        samples = [self._sample(entry, label) for entry in entries(raw["samples"])]
        if len({i for i, _ in samples}) < max(1, len(samples)):
            raise Rejected("a tree needs samples, none of them twice")
        rings = [self._ring(i, span) for i, span in samples]
        limits = (
            [self.bounds[i] + self._moved(i, label) for i, _ in samples] if self.bounds else None
        )
        goal = Samples(q, label, self._box, rings, self.price, limits)
        start = self._start(raw["intervals"], samples)
        walk(q, lines, *start, goal, {j: list(range(len(samples))) for j in targets})
        for i, span in samples:
            for j in targets:
                self.spans[i, label, j].append(span)

    def end(self) -> Fraction:
        """Return the upper bound; every sample, label and target must be covered."""
        q = self.q
        at_most = [
            self._zero_one(i) if q.loss == "zero-one" else self._covered(i)
            for i in range(len(q.points))
        ]
        total = self.rate * q.budget[1] if q.order is not None else Fraction(0)
        for mass, value in zip(q.masses, at_most, strict=True):
            total = limited(total + mass * value)
        return total

    def _targets(self, target: JSON, label: int) -> list[int]:
        if self.q.loss == "cross-entropy":
            if target is not None:
                raise Rejected("the target of cross-entropy is null")
            return [-1]
        if target is None:
            return [j for j in range(self.q.classes) if j != label]
        j = index(target, self.q.classes, "target")
        if j == label:
            raise Rejected("the target is the label itself")
        return [j]

    def _sample(self, entry: JSON, label: int) -> tuple[int, Span]:
        raw = entries(entry, 3)
        i = index(raw[0], len(self.q.points), "sample")
        if label not in self.q.labels_of(i):
            raise Rejected(f"sample {i} cannot have label {label}")
        return i, (number(raw[1]), None if raw[2] is None else number(raw[2]))

    def _ring(self, i: int, span: Span) -> Ring:
        if (i, span) not in self._rings:
            if len(self._rings) * len(self.q.lower) > 1_000_000:
                self._rings.clear()
            self._rings[i, span] = ring_of(self.q, self.q.points[i], *span)
        return self._rings[i, span]

    def _moved(self, i: int, label: int) -> Fraction:
        """Return the price ``λ κ`` of a label move, if it is one."""
        return self.rate * (self.q.label_cost or 0) * (label != self.q.labels[i])

    def _start(self, mode: JSON, samples: list[tuple[int, Span]]) -> tuple[Node, Ring | None]:
        """Return the root and the region over which its intervals hold."""
        if mode not in ("none", "support", "ball") or (mode == "ball" and len(samples) > 1):
            raise Rejected("intervals: expected none, support, or ball (for one sample)")
        i, (_, outer) = samples[0]
        key = (i, outer) if mode == "ball" else mode
        if key not in self._roots:
            for old in [k for k in self._roots if type(k) is tuple]:
                del self._roots[old]
            region = self._box if mode == "support" else self._ring(i, (Fraction(0), outer))
            self._roots[key] = root(self.q, region), region
        return self._roots[key]

    def _reach(self, i: int, label: int, j: int) -> tuple[Fraction | None, bool]:
        """Return how far the spans reach from 0 without a gap (None: for ever), and if at all."""
        reach: Fraction | None = Fraction(0)
        spans = sorted(self.spans[i, label, j], key=lambda span: span[0])
        for low, high in spans:
            if reach is not None and low <= reach:
                reach = None if high is None else max(reach, high)
        return reach, bool(spans) and spans[0][0] == 0

    def _everywhere(self, i: int, reach: Fraction | None) -> bool:
        """Whether no point that counts is farther from sample ``i``."""
        if reach is None or (self.q.order is None and reach >= self.q.radius):
            return True
        ring = self._ring(i, (Fraction(0), None))
        sides = [None if u is None or v is None else max(u, v)
                 for u, v in zip(ring.up, ring.down, strict=True)]  # fmt: skip
        if None in sides:
            return False
        far = [Fraction(v or 0, ring.den) for v in sides]
        if self.q.norm == "l2":
            return sum(v * v for v in far) <= reach * reach
        return (max(far) if self.q.norm == "linf" else sum(far)) <= reach

    def _covered(self, i: int) -> Fraction:
        """Return the bound of a sample, once the trees cover it."""
        if self.q.loss == "hinge" and self.bounds[i] < 0:
            raise Rejected(f"sample {i}: a bound of the hinge loss is at least 0")
        for label in self.q.labels_of(i):
            for j in self._targets(None, label):
                reach, began = self._reach(i, label, j)
                if not began or not self._everywhere(i, reach):
                    raise Rejected(f"sample {i}, label {label}, target {j}: the trees leave a gap")
        return self.bounds[i]

    def _zero_one(self, i: int) -> Fraction:
        """Return ``max(0, 1 - λ D^p - λ κ)`` over the labels; no error is nearer than ``D``."""
        worst = Fraction(0)
        for label in self.q.labels_of(i):
            found = [self._reach(i, label, j) for j in self._targets(None, label)]
            moved = self._moved(i, label)
            if not all(began for _, began in found):
                worst = max(worst, 1 - moved)
                continue
            ends = [v for v, _ in found if v is not None and not self._everywhere(i, v)]
            if ends and self.q.order is None:
                worst = Fraction(1)
            elif ends:
                nearest = power(min(ends), self.q.order or Fraction(1))[0]
                worst = max(worst, 1 - moved - self.rate * nearest)
        return worst
