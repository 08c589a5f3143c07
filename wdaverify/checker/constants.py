"""Proofs of the two constants: the asymptotic slope and the cell Lipschitz constant."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from wdaverify.checker.bounds import NOTHING, Ends, Multipliers, Objective, multipliers, relax
from wdaverify.checker.enclosures import sqrt
from wdaverify.checker.losses import difference
from wdaverify.checker.nodes import Node
from wdaverify.checker.question import Question
from wdaverify.checker.reading import (
    JSON,
    Rejected,
    Vector,
    entries,
    fractions,
    index,
    vector,
)  # fmt: skip
from wdaverify.checker.transport import FREE, Ring, maximum
from wdaverify.checker.trees import bound_of_cut

__all__ = ["Cells", "possible_labels", "slope_question", "witness"]


def possible_labels(q: Question) -> list[int]:
    """Return the labels that mass can have, in rising order."""
    return sorted({y for i in range(len(q.points)) for y in q.labels_of(i)})


def slope_question(q: Question) -> Question:
    """Return the question whose value is the slope of each label: no biases, the unit ball at 0.

    One sample for each label; the support is the recession cone.
    """
    labels, n = possible_labels(q), len(q.lower)
    zero = Fraction(0)
    return q._replace(
        layers=[layer._replace(bias=Vector([0] * len(layer.rows), 1)) for layer in q.layers],
        points=[Vector([0] * n, 1)] * len(labels),
        labels=labels,
        masses=[Fraction(1)] * len(labels),
        loss="margin",
        order=None,
        radius=Fraction(1),
        label_cost=None,
        lower=[None if v is None else zero for v in q.lower],
        upper=[None if v is None else zero for v in q.upper],
        ends=[zero] * len(q.ends),
    )


def gradient(
    q: Question, intervals: Sequence[Sequence[Ends]], target: Objective
) -> tuple[Fraction, Vector]:
    """Return constant and gradient of an objective where every neuron below it is decided."""
    found = relax(q, intervals, target, NOTHING)
    if found is None:
        raise Rejected("a neuron is not decided")
    return found


def dual_norm(q: Question, g: Vector) -> tuple[Fraction, Fraction]:
    """Enclose the dual norm."""
    sizes = [abs(v) for v in g.ints]
    if q.norm == "l2":
        return sqrt(Fraction(sum(v * v for v in sizes), g.den**2))
    exact = Fraction(sum(sizes) if q.norm == "linf" else max(sizes), g.den)
    return exact, exact


def witness(q: Question, item: JSON) -> Fraction:
    """Return a lower bound of ``L``: the dual norm of a gradient at a point inside a cell."""
    raw = entries(item, 3)
    y, j = (index(v, q.classes, "label") for v in raw[:2])
    x = vector(raw[2], len(q.lower))
    if j == y or y not in possible_labels(q) or not q.contains(x, inside=True):
        raise Rejected("a witness needs a label that occurs, another target, a point inside")
    signs: list[list[Ends]] = [
        [(0, None) if v > 0 else (None, 0) for v in z.ints] for z in q.outputs(x)[:-1]
    ]
    for at, z in enumerate(q.outputs(x)[:-1]):
        for k, v in enumerate(z.ints):
            if v == 0 and q.layers[at].slopes.ints[k] != q.layers[at].slopes.den:
                constant, g = gradient(q, signs, Objective(None, Fraction(0), (at, k, 1)))
                if constant or any(g.ints):
                    raise Rejected("the witness lies on the boundary of a cell")
    c = fractions(difference(q, y, {j: Fraction(1)}))
    return dual_norm(q, gradient(q, signs, Objective(c, Fraction(0)))[1])[0]


class Cells(NamedTuple):
    """The goal of a Lipschitz tree: bound every gradient, leave out what lies in a hyperplane.

    ``norms`` collects the dual norms of the leaves.
    """

    q: Question
    label: int
    box: Ring
    norms: list[Fraction]

    def rings(self, todo: bool) -> list[Ring]:  # noqa: FBT001  (open or not)
        """Return the whole box."""
        return [self.box] if todo else []

    def cut(self, node: Node, item: dict[str, Any], todo: bool) -> bool:  # noqa: FBT001
        """Return whether the node is still open."""
        if not {"empty", "flat"} & item.keys():
            raise Rejected("a cut of a Lipschitz tree is flat or empty")
        affine = bound_of_cut(self.q, node, item, self.label)
        bound = None if affine is None else maximum(affine, self.box, FREE)
        if bound is None or bound > 0 or (bound == 0 and "empty" in item):
            return todo
        given = multipliers(self.q, item, len(node.margins))
        return todo and bound == 0 and not self._strict(node, given)

    def _strict(self, node: Node, given: Multipliers) -> bool:
        """Whether some neuron that does not stand still is held to an end of its interval."""
        for at, (places, values) in given.neurons.items():
            for k, value in zip(places, values.ints, strict=True):
                states = [
                    self._decided(node, b, c)
                    for b in range(at)
                    for c in range(len(node.intervals[b]))
                ]
                if value <= 0 or not all(states) or not self._decided(node, at, k):
                    continue
                own = Objective(None, Fraction(0), (at, k, 1))
                if any(gradient(self.q, node.intervals, own)[1].ints):
                    return True
        return False

    def _decided(self, node: Node, at: int, k: int) -> bool:
        low, high = node.intervals[at][k]
        signed = (low is not None and low >= 0) or (high is not None and high <= 0)
        return signed or self.q.layers[at].slopes.ints[k] == self.q.layers[at].slopes.den

    def leaf(self, node: Node, todo: bool) -> None:  # noqa: ARG002, FBT001
        """Note the dual norms of a leaf, which must decide every neuron."""
        for at, layer in enumerate(node.intervals):
            if not all(self._decided(node, at, k) for k in range(len(layer))):
                raise Rejected("leaf: a neuron is not decided")
        for j in range(self.q.classes):
            if j != self.label:
                c = fractions(difference(self.q, self.label, {j: Fraction(1)}))
                g = gradient(self.q, node.intervals, Objective(c, Fraction(0)))[1]
                self.norms.append(dual_norm(self.q, g)[1])
