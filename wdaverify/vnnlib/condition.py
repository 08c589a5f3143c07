r"""A condition on outputs as the margin of a class of a network.

.. math:: \exists x:\ \bigvee_k\bigwedge_m\ c_{km}\cdot f(x) + d_{km} \ge 0
          \quad\Longleftrightarrow\quad \max_x\max_k\min_m\ c_{km}\cdot f(x) + d_{km}\ \ge 0

The maximum on the outside is that of the margin against a logit 0; the others are ReLU layers, for
formulas of any depth: :math:`\max(a, b) = b + (a - b)_+` and :math:`\min(a, b) = a - (a - b)_+`.
Where the condition is that of robustness, some logits against one, the network stays as it is, or
loses the logits that do not matter. Nothing is folded, so nothing is rounded.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from heapq import heapify, heappop, heapreplace
from typing import Final, NamedTuple

import numpy as np

from wdaverify.arrays import Floats
from wdaverify.errors import UnsupportedError
from wdaverify.network import ReLUNetwork
from wdaverify.vnnlib.formula import Comparison, Formula
from wdaverify.vnnlib.linear import Linear

__all__ = ["MOST_COMPARISONS", "Reduced", "reduce_to_margin"]

MOST_COMPARISONS: Final = 2000
"""Most comparisons of outputs in a condition."""


class Reduced(NamedTuple):
    """A network and a label whose margin is not negative exactly where the condition holds."""

    network: ReLUNetwork
    label: int


@dataclass(frozen=True, eq=False)
class _Gate:
    """A comparison (no parts), or the smaller or larger of two values."""

    height: int
    parts: tuple["_Gate", ...] = ()
    smaller: bool = False


def reduce_to_margin(network: ReLUNetwork, condition: Formula) -> Reduced:
    """Return a network whose margin says whether the condition on the outputs holds.

    Raises
    ------
    UnsupportedError
        More than `MOST_COMPARISONS` comparisons.
    """
    alternatives: tuple[Formula, ...] = (condition,)
    if not isinstance(condition, Comparison) and not condition.every:
        alternatives = condition.parts
    robust = _against_one(alternatives)
    if robust is not None:
        label, targets = robust
        if len(targets) == network.classes - 1:
            return Reduced(network, label)
        return Reduced(_selected(network, [label, *targets]), 0)
    circuit = _Circuit()
    tops = [circuit.gate(part) for part in alternatives]
    return Reduced(_extended(network, circuit, tops), 0)


def _against_one(alternatives: Sequence[Formula]) -> tuple[int, list[int]] | None:
    """Return ``y`` and the ``j`` of a disjunction of ``Y_j >= Y_y``, if it is one."""
    labels, targets = set(), []
    for part in alternatives:
        if not isinstance(part, Comparison) or part.expression.constant:
            return None
        terms = part.expression.coefficients
        signs = {int(value): v.number for v, value in terms.items() if abs(value) == 1}
        if len(terms) != 2 or len(signs) != 2:
            return None
        labels.add(signs[-1])
        targets.append(signs[1])
    return (labels.pop(), sorted(set(targets))) if len(labels) == 1 else None


def _selected(network: ReLUNetwork, rows: list[int]) -> ReLUNetwork:
    weights = [*network.weights[:-1], network.weights[-1][rows]]
    return ReLUNetwork(weights, [*network.biases[:-1], network.biases[-1][rows]], network.slopes)


class _Circuit:
    """Comparisons, each once, and gates over them."""

    def __init__(self) -> None:
        self.expressions: list[Linear] = []
        self.comparisons: list[_Gate] = []
        self._known: dict[object, _Gate] = {}

    def gate(self, formula: Formula) -> _Gate:
        if isinstance(formula, Comparison):
            return self._comparison(formula.expression)
        if not formula.parts:  # nothing is asked of the outputs
            return self._comparison(Linear({}, Fraction(0)))
        return _balanced((self.gate(part) for part in formula.parts), smaller=formula.every)

    def _comparison(self, expression: Linear) -> _Gate:
        key = (frozenset(expression.coefficients.items()), expression.constant)
        if key not in self._known:
            if len(self.expressions) == MOST_COMPARISONS:
                raise UnsupportedError(
                    f"expected at most {MOST_COMPARISONS} comparisons of outputs, found more"
                )
            self._known[key] = _Gate(0)
            self.comparisons.append(self._known[key])
            self.expressions.append(expression)
        return self._known[key]


def _balanced(values: Iterable[_Gate], *, smaller: bool) -> _Gate:
    """Return the smallest or largest of some values, the lowest joined first."""
    heap = [(value.height, k, value) for k, value in enumerate(values)]
    heapify(heap)
    for k in range(len(heap), 2 * len(heap) - 1):
        _, _, left = heappop(heap)
        right = heap[0][2]
        joined = _Gate(right.height + 1, (left, right), smaller)
        heapreplace(heap, (joined.height, k, joined))
    return heap[0][2]


def _extended(network: ReLUNetwork, circuit: _Circuit, tops: Sequence[_Gate]) -> ReLUNetwork:
    """Append to a network the logits 0 and ``tops``; its own logits become linear neurons."""
    C = np.zeros((len(circuit.expressions), network.classes))
    d = np.zeros(len(C))
    for k, expression in enumerate(circuit.expressions):
        d[k] = float(expression.constant)
        for variable, value in expression.coefficients.items():
            C[k, variable.number] = float(value)
    layers = [_Layer(C, d, np.ones(len(C)))]
    rows = dict(zip(circuit.comparisons, np.eye(len(C)), strict=True))
    for height in range(1, max(top.height for top in tops) + 1):
        layer, rows = _level(rows, _needed(tops, height))
        layers.append(layer)
    last = np.array([np.zeros_like(rows[tops[0]]), *(rows[top] for top in tops)])
    weights = [*network.weights, *(layer.weights for layer in layers), last]
    biases = [*network.biases, *(layer.biases for layer in layers), np.zeros(len(last))]
    slopes = [*network.slopes, np.ones(network.classes), *(layer.slopes for layer in layers)]
    return ReLUNetwork(weights, biases, slopes)


class _Layer(NamedTuple):
    weights: Floats
    biases: Floats
    slopes: Floats


def _needed(tops: Sequence[_Gate], height: int) -> list[_Gate]:
    """Return the values that exist at a height and are still needed there."""
    found: dict[_Gate, None] = {}
    todo = list(tops)
    while todo:
        gate = todo.pop()
        if gate.height <= height:
            found[gate] = None
        else:
            todo += gate.parts
    return list(found)


def _level(
    rows: dict[_Gate, Floats], needed: Sequence[_Gate]
) -> tuple[_Layer, dict[_Gate, Floats]]:
    """Return a layer that computes the gates of a height, and values as rows over its neurons."""
    weights: list[Floats] = []
    slopes: list[float] = []
    places: dict[_Gate, tuple[int, float]] = {}
    for gate in needed:
        sign = 0.0
        kept = rows.get(gate)
        if kept is None:
            left, right = (rows[part] for part in gate.parts)
            kept, sign = (left, -1.0) if gate.smaller else (right, 1.0)
            weights.append(left - right)
            slopes.append(0.0)
        places[gate] = (len(weights), sign)
        weights.append(kept)
        slopes.append(1.0)
    identity = np.eye(len(weights))
    values = {
        gate: identity[at] + (sign * identity[at - 1] if sign else 0.0)
        for gate, (at, sign) in places.items()
    }
    return _Layer(np.array(weights), np.zeros(len(weights)), np.array(slopes)), values
