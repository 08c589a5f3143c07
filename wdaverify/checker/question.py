"""The question of a proof: network, samples, loss, transport cost and support, all rational."""

import hashlib
from fractions import Fraction
from operator import mul
from typing import Any, NamedTuple

from wdaverify.checker.enclosures import power
from wdaverify.checker.reading import (
    JSON,
    Rejected,
    Vector,
    affordable,
    common,
    dot,
    entries,
    index,
    number,
    parse,
    shown,
    table,
    vector,
)  # fmt: skip

__all__ = ["Layer", "Question", "read_question"]

LOSSES = ("margin", "hinge", "cross-entropy", "zero-one")
_KEYS = frozenset([
    "label_cost", "labels", "loss", "network", "norm", "order", "points", "radius", "support",
    "weights",
])  # fmt: skip
_LAYERS = 100


class Layer(NamedTuple):
    """``z = W h + b``, and the slopes ``s`` of the neurons below 0 (none for the logits).

    ``rows`` and ``columns`` hold the integers of ``W``, over the denominator ``den``.
    """

    rows: list[list[int]]
    columns: list[tuple[int, ...]]
    den: int
    bias: Vector
    slopes: Vector


class Question(NamedTuple):
    """Everything that the value depends on; ``order`` None is infinity."""

    digest: str
    layers: list[Layer]
    points: list[Vector]
    labels: list[int]
    masses: list[Fraction]
    loss: str
    norm: str
    order: Fraction | None
    radius: Fraction
    label_cost: Fraction | None
    lower: list[Fraction | None]
    upper: list[Fraction | None]
    rows: list[Vector]
    ends: list[Fraction]

    @property
    def classes(self) -> int:
        """Number of logits."""
        return len(self.layers[-1].rows)

    @property
    def neurons(self) -> int:
        """Number of hidden neurons."""
        return sum(len(layer.rows) for layer in self.layers[:-1])

    @property
    def budget(self) -> tuple[Fraction, Fraction]:
        """Enclosure of ``radius ** order``."""
        return power(self.radius, self.order or Fraction(1))

    def labels_of(self, i: int) -> list[int]:
        """Return the labels that mass of sample ``i`` can have."""
        return [self.labels[i]] if self.label_cost is None else list(range(self.classes))

    def logits(self, x: Vector) -> list[Fraction]:
        """Evaluate the network exactly."""
        z = self.outputs(x)[-1]
        return [Fraction(v, z.den) for v in z.ints]

    def outputs(self, x: Vector) -> list[Vector]:
        """Return the pre-activations of every layer at ``x``, logits last."""
        found = []
        for layer in self.layers:
            z = affine(layer.rows, layer.den, x, layer.bias)
            found.append(z)
            s = layer.slopes
            x = Vector(
                [v * s.den if v > 0 else v * t for v, t in zip(z.ints, s.ints, strict=False)],
                z.den * s.den,
            )
        return found

    def contains(self, x: Vector, *, inside: bool = False) -> bool:
        """Whether ``x`` lies in the support (strictly inside)."""
        gaps = [e - dot(a, x) for a, e in zip(self.rows, self.ends, strict=True)]
        for v, low, high in zip(x.ints, self.lower, self.upper, strict=True):
            gaps += [] if low is None else [Fraction(v, x.den) - low]
            gaps += [] if high is None else [high - Fraction(v, x.den)]
        return all(gap > 0 if inside else gap >= 0 for gap in gaps)


def affine(rows: list[list[int]], den: int, x: Vector, b: Vector) -> Vector:
    """Return ``W x + b``."""
    inner = den * x.den
    if b.den == 1 or inner % b.den == 0:
        scale = inner // b.den
        return Vector(
            [sum(map(mul, r, x.ints)) + c * scale for r, c in zip(rows, b.ints, strict=True)], inner
        )
    return Vector(
        [sum(map(mul, r, x.ints)) * b.den + c * inner for r, c in zip(rows, b.ints, strict=True)],
        inner * b.den,
    )


def read_question(line: bytes) -> Question:
    """Read and check a question line.

    Raises
    ------
    Rejected
        With what is wrong.
    """
    q = table(parse(line), _KEYS, _KEYS)
    layers = _layers(table(q["network"], frozenset(["layers"]), frozenset(["layers"]))["layers"])
    classes, n = len(layers[-1].rows), len(layers[0].columns)
    points = [vector(x, n) for x in entries(q["points"])]
    labels = [index(y, classes, "label") for y in entries(q["labels"], len(points))]
    weights = vector(q["weights"], len(points)).ints
    if not points or min(weights) <= 0 or classes < 2:
        raise Rejected("expected samples of positive weight and at least two classes")
    order = None if q["order"] == "inf" else number(q["order"])
    kappa = None if q["label_cost"] is None else number(q["label_cost"])
    radius = number(q["radius"])
    if (order is not None and not 1 <= order <= 1000) or radius < 0 or (kappa or 0) < 0:
        raise Rejected("expected order 1 to 1000 (or inf), radius >= 0 and label cost >= 0")
    if q["loss"] not in LOSSES or q["norm"] not in ("l1", "l2", "linf"):
        raise Rejected(f"loss {shown(q['loss'])} with norm {shown(q['norm'])} is not known")
    if order is None and kappa is not None:
        raise Rejected("labels do not move at order inf")
    box = _support(q["support"], n)
    total = sum(weights)
    masses = [Fraction(w, total) for w in weights]
    question = Question(hashlib.sha256(line).hexdigest(), layers, points, labels, masses, q["loss"],
                        q["norm"], order, radius, kappa, *box)  # fmt: skip
    for i, x in enumerate(points):
        if not question._replace(rows=[], ends=[]).contains(x):
            raise Rejected(f"sample {i} lies outside the box")
    return question


def _layers(value: JSON) -> list[Layer]:
    layers: list[Layer] = []
    if not 1 <= len(entries(value)) <= _LAYERS:
        raise Rejected(f"expected 1 to {_LAYERS} layers, found {len(value)}")
    for k, item in enumerate(value):
        keys = frozenset(["W", "b"] if k == len(value) - 1 else ["W", "b", "slopes"])
        table(item, keys, keys)
        width = len(layers[-1].rows) if layers else len(entries((entries(item["W"]) or [[]])[0]))
        rows = [vector(row, width) for row in entries(item["W"])]
        if not rows or not width:
            raise Rejected("a layer without rows or columns")
        den = common([row.den for row in rows])
        affordable(len(rows) * width, den)
        ints = [[v * (den // row.den) for v in row.ints] for row in rows]
        bias = vector(item["b"], len(rows))
        slopes = vector(item["slopes"], len(rows)) if "slopes" in item else Vector([], 1)
        layers.append(Layer(ints, list(zip(*ints, strict=True)), den, bias, slopes))
    return layers


def _support(value: JSON, n: int) -> tuple[Any, ...]:
    """Return lower, upper, rows and their right-hand sides."""
    keys = frozenset(["A", "b", "lower", "upper"])
    s = table(value, keys, keys)
    lower, upper = (
        [None if v is None else number(v) for v in entries(s[end], n)] for end in ("lower", "upper")
    )
    rows = [vector(row, n) for row in entries(s["A"])]
    return lower, upper, rows, [number(e) for e in entries(s["b"], len(rows))]
