r"""Nodes of a tree: what is known of every neuron there, and how it is kept up to date.

Intervals of the first layer are exact over a region of the input; those of later layers the smaller
of the plain interval bound and of back-substitution with the lines of `_line`.
"""

from fractions import Fraction
from typing import NamedTuple

from wdaverify.checker.bounds import ANY, SCALE, Ends, Pick, backward, layer_pass
from wdaverify.checker.question import Layer, Question
from wdaverify.checker.reading import Rejected, Vector
from wdaverify.checker.transport import Affine, Ring, maximum

__all__ = ["Node", "decided", "refreshed", "root"]

STEP = 64
"""Binary places of the slope of a line."""


class Node(NamedTuple):
    """A node: intervals by layer, the margin splits above it, its depth.

    ``margins`` holds ``(j, τ, side)``: ``side · (z_j - z_y - τ) <= 0``. ``stale`` is the lowest
    layer in which a neuron was decided since the later intervals were computed; ``empty`` says
    that some interval is.
    """

    intervals: tuple[tuple[Ends, ...], ...]
    margins: tuple[tuple[int, Fraction, int], ...] = ()
    depth: int = 0
    stale: int | None = None
    empty: bool = False


def root(q: Question, region: Ring | None) -> Node:
    """Return the root over a region of the input; without one nothing is known there."""
    hidden = q.layers[:-1]
    node = Node(tuple((ANY,) * len(layer.rows) for layer in hidden))
    if region is None or not hidden:
        return node
    return refreshed(q, node._replace(stale=-1), region)


def decided(node: Node, layer: int, place: int, *, on: bool) -> Node:
    """Return the part of a node where a neuron is on (``z >= 0``) or off (``z <= 0``)."""
    ends: Ends = (0, None) if on else (None, 0)
    old = node.intervals[layer]
    new, empty = _cut(old[place], ends)
    changed = (*old[:place], new, *old[place + 1 :])
    return node._replace(
        intervals=(*node.intervals[:layer], changed, *node.intervals[layer + 1 :]),
        stale=layer if node.stale is None else min(layer, node.stale),
        empty=node.empty or empty,
    )


def refreshed(q: Question, node: Node, region: Ring) -> Node:
    """Return the node with the intervals above its lowest new decision computed again."""
    if node.stale is None or node.empty:
        return node
    intervals = list(node.intervals)
    for at in range(node.stale + 1, len(intervals)):
        found = _layer(q, intervals, at, region)
        cuts = [_cut(a, b) for a, b in zip(intervals[at], found, strict=True)]
        intervals[at] = tuple(new for new, _ in cuts)
        if any(empty for _, empty in cuts):
            return node._replace(empty=True)
    return node._replace(intervals=tuple(intervals), stale=None)


def _cut(a: Ends, b: Ends) -> tuple[Ends, bool]:
    """Return the intersection, and whether it is empty."""
    low = b[0] if a[0] is None else a[0] if b[0] is None else max(a[0], b[0])
    high = b[1] if a[1] is None else a[1] if b[1] is None else min(a[1], b[1])
    return (low, high), low is not None and high is not None and low > high


def _layer(q: Question, intervals: list[tuple[Ends, ...]], at: int, region: Ring) -> list[Ends]:
    layer, found = q.layers[at], []
    outputs = [] if at == 0 else _outputs(q.layers[at - 1], intervals[at - 1])
    for k in range(len(layer.rows)):
        ends = []
        for sign in (1, -1):
            bounds = [_substituted(q, intervals, at, k, sign, region)]
            if at:
                bounds.append(_plain(q, at, k, sign, outputs))
            known = [bound for bound in bounds if bound is not None]
            end = min(known) if known else None
            ends.append(None if end is None else -(-end.numerator * SCALE // end.denominator))
        found.append((None if ends[1] is None else -ends[1], ends[0]))
    return found


def _substituted(
    q: Question, intervals: list[tuple[Ends, ...]], at: int, k: int, sign: int, region: Ring
) -> Fraction | None:
    """Bound ``sign · z_k`` by back-substitution to the input."""
    layer = q.layers[at]
    total = Fraction(sign * layer.bias.ints[k], layer.bias.den)
    v = Vector([sign * c for c in layer.rows[k]], layer.den)
    for below in reversed(range(at)):
        v = Vector([c << STEP for c in v.ints], v.den << STEP)
        passed = layer_pass(q.layers[below], v, intervals[below], _line(q.layers[below]))
        if passed is None:
            return None
        total += passed.gain
        v = backward(q.layers[below], passed.nu)
    return maximum(Affine(total, v), region)


def _line(layer: Layer) -> Pick:
    """Return the lines that replace undecided neurons."""
    unit, slopes = layer.slopes.den, layer.slopes.ints

    def pick(k: int, right: int, left: int, ends: Ends) -> int:
        low, high = ends
        if slopes[k] == unit or (low is not None and low >= 0):
            return right
        if high is not None and high <= 0:
            return left
        if right < 0:
            return right if high is None or (low is not None and high > -low) else left
        if high is None or low is None:
            return right if high is None else left
        slope = ((high * unit - slopes[k] * low) << STEP) // (unit * (high - low))
        return (right >> STEP) * slope

    return pick


def _outputs(layer: Layer, intervals: tuple[Ends, ...]) -> list[Ends]:
    """Return the intervals of ``σ(z)``, over ``SCALE · slopes.den``."""
    unit, found = layer.slopes.den, []
    for s, (low, high) in zip(layer.slopes.ints, intervals, strict=True):
        if s < 0:
            found.append(ANY)
            continue
        found.append((
            (0 if s == 0 else None) if low is None else low * (unit if low > 0 else s),
            None if high is None else high * (unit if high > 0 else s),
        ))  # fmt: skip
    return found


def _plain(q: Question, at: int, k: int, sign: int, outputs: list[Ends]) -> Fraction | None:
    """Bound ``sign · z_k`` by the intervals of the layer below."""
    layer, total = q.layers[at], 0
    for c, (low, high) in zip(layer.rows[k], outputs, strict=True):
        end = high if c * sign > 0 else low
        if c and end is None:
            return None
        total += c * sign * (end or 0)
    bias = Fraction(sign * layer.bias.ints[k], layer.bias.den)
    return bias + Fraction(total, layer.den * SCALE * q.layers[at - 1].slopes.den)


def position(q: Question, k: int) -> tuple[int, int]:
    """Return layer and position of hidden neuron ``k``."""
    for at, layer in enumerate(q.layers[:-1]):
        if k < len(layer.rows):
            return at, k
        k -= len(layer.rows)
    raise Rejected("no such neuron")
