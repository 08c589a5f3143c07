"""Trees: a walk in preorder whose splits cover the support, without recursion.

A *goal* says what is still open at a node, what a cut settles, and what a leaf must not leave.
"""

from fractions import Fraction
from typing import Any, NamedTuple, Protocol, TypeVar

from wdaverify.checker.bounds import multipliers, relax
from wdaverify.checker.losses import above_cross_entropy, objective
from wdaverify.checker.nodes import Node, decided, position, refreshed
from wdaverify.checker.question import Question
from wdaverify.checker.reading import JSON, Lines, Rejected, entries, index, number, table
from wdaverify.checker.transport import Affine, Price, Ring, is_below

__all__ = ["Goal", "Samples", "bound_of_cut", "walk"]

_NODE = frozenset(["lemmas", "cuts", "split", "margin", "at"])
_CUT = frozenset(["target", "theta", "const", "empty", "flat", "neurons", "rows", "margins"])
_LEMMA = frozenset(["neurons", "rows", "margins"])
Open = TypeVar("Open")
ZERO = Fraction(0)


class Goal(Protocol[Open]):
    """What a tree is about."""

    @property
    def label(self) -> int:
        """Return the label of the tree."""

    @property
    def box(self) -> Ring:
        """Return the whole box."""

    def rings(self, todo: Open) -> list[Ring]:
        """Return where something is open."""

    def cut(self, node: Node, item: dict[str, Any], todo: Open) -> Open:
        """Return what a cut leaves open."""

    def leaf(self, node: Node, todo: Open) -> None:
        """Reject a leaf that leaves something open."""


def walk(
    q: Question, lines: Lines, start: Node, region: Ring | None, goal: Goal[Open], todo: Open
) -> None:
    """Read the nodes of one tree and check them; intervals are kept over the region, if any."""
    pending = [(start, todo)]
    while pending:
        node, todo = pending.pop()
        if node.depth > 2 * q.neurons + 10_000:
            raise Rejected("the tree is too deep")
        item = table(lines.next(), _NODE)
        if region is not None and todo and ("lemmas" in item or "cuts" in item):
            node = refreshed(q, node, region)
        for lemma in entries(item.get("lemmas", [])):
            node = _lemma(q, node, lemma, goal, goal.rings(todo))
        for cut in entries(item.get("cuts", [])):
            if todo and not node.empty:
                todo = goal.cut(node, table(cut, _CUT), todo)
        if "split" not in item and "margin" not in item:
            if todo and not node.empty:
                goal.leaf(node, todo)
        else:
            pending += [(child, todo) for child in reversed(_children(q, node, item, goal.label))]


def _children(q: Question, node: Node, item: dict[str, Any], label: int) -> list[Node]:
    node = node._replace(depth=node.depth + 1)
    if "split" in item:
        table(item, _NODE - {"margin", "at"})
        place = position(q, index(item["split"], q.neurons, "split"))
        return [decided(node, *place, on=on) for on in (False, True)]
    j = index(item["margin"], q.classes, "margin")
    at = number(table(item, _NODE, frozenset(["at"]))["at"])
    if j == label:
        raise Rejected("a margin against the label itself")
    return [node._replace(margins=(*node.margins, (j, at, side))) for side in (1, -1)]


def _lemma(q: Question, node: Node, value: JSON, goal: Goal[Open], rings: list[Ring]) -> Node:
    """Check a lemma and return the node after it."""
    k, state, item = entries(value, 3)
    place = position(q, index(k, q.neurons, "lemma"))
    if state not in ("on", "off"):
        raise Rejected("a lemma says on or off")
    given = multipliers(q, table(item, _LEMMA), len(node.margins))
    priced = objective(q, goal.label, {}, Fraction(0), node, given.margins)
    sign = -1 if state == "on" else 1
    affine = relax(q, node.intervals, priced._replace(neuron=(*place, sign)), given)
    shown = affine is not None and all_below(affine, goal.box, rings)
    if rings and not shown and not node.empty:
        raise Rejected(f"lemma: neuron {k} is not shown to be {state}")
    return decided(node, *place, on=state == "on")


def all_below(affine: Affine, box: Ring, rings: list[Ring], *, strictly: bool = False) -> bool:
    """Whether the function is at most 0 in all rings; the box, which holds them all, may do."""
    return is_below(affine, box, ZERO, strictly=strictly) or all(
        is_below(affine, ring, ZERO, strictly=strictly) for ring in rings
    )


class Samples(NamedTuple):
    """Bounds for samples: what is open is a dictionary from targets to positions of samples.

    The target of cross-entropy is -1. Without ``limits`` a bound must be negative, at no price.
    """

    q: Question
    label: int
    box: Ring
    around: list[Ring]
    price: Price
    limits: list[Fraction] | None

    def rings(self, todo: dict[int, list[int]]) -> list[Ring]:
        """Return the rings of all open samples."""
        return [self.around[s] for s in sorted({s for group in todo.values() for s in group})]

    def cut(
        self, node: Node, item: dict[str, Any], todo: dict[int, list[int]]
    ) -> dict[int, list[int]]:
        """Return what is left open."""
        empty = "empty" in item
        own = -1 if "theta" in item else item.get("target")
        keys = [key for key in todo if empty or key == own]
        affine = bound_of_cut(self.q, node, item, self.label)
        if affine is None:
            return todo
        left = dict(todo)
        for key in keys:
            left[key] = self._left(affine, todo[key], empty=empty)
        return {key: group for key, group in left.items() if group}

    def _left(self, affine: Affine, group: list[int], *, empty: bool) -> list[int]:
        """Return the samples of a group that the bound does not settle."""
        if not empty and self.limits is not None:
            pairs = [(s, self.limits[s]) for s in group]
            return [s for s, u in pairs if not is_below(affine, self.around[s], u, self.price)]
        rings = [self.around[s] for s in group]
        if all_below(affine, self.box, rings, strictly=True):
            return []
        return [s for s in group if not is_below(affine, self.around[s], ZERO, strictly=True)]

    def leaf(self, node: Node, todo: dict[int, list[int]]) -> None:  # noqa: ARG002
        """Reject the leaf."""
        key, group = next(iter(todo.items()))
        raise Rejected(f"leaf: sample {group[0]} of the tree, target {key}, is not bounded")


def bound_of_cut(q: Question, node: Node, item: dict[str, Any], label: int) -> Affine | None:
    """Return an affine function of ``x`` above the cut's objective on the node; None if none.

    Raises
    ------
    Rejected
        A malformed cut; one for cross-entropy that does not lie above the loss.
    """
    given = multipliers(q, item, len(node.margins))
    weights, constant = {}, Fraction(0)
    if sum(key in item for key in ("target", "theta", "empty", "flat")) != 1:
        raise Rejected("a cut has one of target, theta, empty, flat")
    if "theta" in item:
        theta = [number(v) for v in entries(item["theta"], q.classes)]
        weights, constant = dict(enumerate(theta)), number(item.get("const"))
        box = {j: _range(node, j) for j in range(q.classes) if j != label}
        if q.loss != "cross-entropy" or weights.pop(label) != 0:
            raise Rejected("theta belongs to cross-entropy and is 0 at the label")
        if not above_cross_entropy(box, weights, constant):
            raise Rejected("theta does not lie above the loss on the box of margins")
    elif "target" in item:
        j = index(item["target"], q.classes, "target")
        if q.loss == "cross-entropy" or j == label:
            raise Rejected("a target belongs to margin, hinge or zero-one, and is not the label")
        weights, constant = {j: Fraction(1)}, Fraction(int(q.loss == "hinge"))
    elif (item.get("empty") or item.get("flat")) is not True:
        raise Rejected("empty and flat are true or absent")
    return relax(
        q, node.intervals, objective(q, label, weights, constant, node, given.margins), given
    )


def _range(node: Node, j: int) -> tuple[Fraction | None, Fraction | None]:
    """Return the interval of a margin by the splits above."""
    lows = [at for k, at, side in node.margins if k == j and side < 0]
    highs = [at for k, at, side in node.margins if k == j and side > 0]
    return max(lows, default=None), min(highs, default=None)
