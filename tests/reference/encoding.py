"""The network as rows of an integer program: big-M with binaries for unstable neurons.

Pre-activations ``z`` and ``r = max(0, z)`` are columns of their own; the activation with slope
``s`` left of zero is ``s z + (1 - s) r``, for any ``s``.  With ``l <= z <= u``, ``l < 0 < u`` and a
binary ``a``: ``r >= 0, r >= z, r <= u a, r <= z - l (1 - a)``.  Relaxing ``a`` to ``[0, 1]`` gives
the triangle relaxation, whose linear programs tighten ``l`` and ``u`` one neuron at a time.
"""

from dataclasses import dataclass

import numpy as np

from reference.program import INF, STRICT, Program
from reference.question import Array, Question

Bounds = list[tuple[Array, Array]]


@dataclass(frozen=True, slots=True)
class Encoding:
    """Columns of a program: inputs, binaries per hidden layer ({neuron: column}), last layer."""

    program: Program
    x: list[int]
    binaries: list[dict[int, int]]
    last: list[int]


def bounding_box(question: Question) -> tuple[Array, Array]:
    """Box of the support, tightened by the polytope rows; infinite where it is unbounded."""
    lower, upper = question.lower.copy(), question.upper.copy()
    for k in range(question.dimension if len(question.b) else 0):
        program, x = _inputs(question, question.lower, question.upper)
        upper[k] = min(upper[k], _maximum(program, x[k], 1.0))
        lower[k] = max(lower[k], -_maximum(program, x[k], -1.0))
    return lower, upper


def _maximum(program: Program, column: int, sign: float) -> float:
    try:
        outcome = program.maximise({column: sign})
    except RuntimeError:  # unbounded; any other ending only costs tightness
        return INF
    if outcome is None:
        raise ValueError("the support is empty")
    return outcome.bound + 1e-8 * max(1.0, abs(outcome.bound))


def neuron_bounds(question: Question, lower: Array, upper: Array) -> Bounds:
    """``l <= z <= u`` for every layer (logits last) over the box and the polytope rows."""
    bounds: Bounds = []
    for k in range(len(question.weights)):
        interval = _interval(question, k, lower, upper, bounds)
        tighten = k < len(question.slopes) and (k > 0 or len(question.b))
        bounds.append(_tightened(question, lower, upper, bounds, interval) if tighten else interval)
    return bounds


def _interval(
    question: Question, k: int, lower: Array, upper: Array, bounds: Bounds
) -> tuple[Array, Array]:
    """Interval arithmetic through layer `k`, widened by far more than its rounding."""
    low, high = lower, upper
    if k:
        slope, (z_low, z_high) = question.slopes[k - 1], bounds[k - 1]
        ends = [np.where(z > 0, z, slope * z) for z in (z_low, z_high, np.clip(0.0, z_low, z_high))]
        low, high = np.min(ends, axis=0), np.max(ends, axis=0)
    W, bias = question.weights[k], question.biases[k]
    centre, spread = W @ ((low + high) / 2) + bias, np.abs(W) @ ((high - low) / 2)
    room = 1e-12 * (1.0 + np.abs(W) @ np.maximum(np.abs(low), np.abs(high)) + np.abs(bias))
    return centre - spread - room, centre + spread + room


def _tightened(
    question: Question, lower: Array, upper: Array, bounds: Bounds, interval: tuple[Array, Array]
) -> tuple[Array, Array]:
    """Two relaxed linear programs per unstable neuron of the next layer."""
    low, high = interval[0].copy(), interval[1].copy()
    relaxed = encode(question, lower, upper, [*bounds, interval], relaxed=True)
    for k, column in enumerate(relaxed.last):
        if low[k] < 0 < high[k]:
            high[k] = min(high[k], _maximum(relaxed.program, column, 1.0))
            low[k] = max(low[k], -_maximum(relaxed.program, column, -1.0))
    return low, high


def encode(
    question: Question, lower: Array, upper: Array, bounds: Bounds, *, relaxed: bool = False
) -> Encoding:
    """Layers ``0 .. len(bounds) - 1`` over the box ``[lower, upper]`` and the polytope rows."""
    program, x = _inputs(question, lower, upper)
    outputs: list[dict[int, float]] = [{column: 1.0} for column in x]
    binaries = []
    z = x
    for k, (low, high) in enumerate(bounds):
        z = _affine_layer(program, outputs, question.weights[k], question.biases[k], bounds[k])
        if k < len(bounds) - 1:
            outputs, switches = _activate(
                program, z, low, high, question.slopes[k], relaxed=relaxed
            )
            binaries.append(switches)
    return Encoding(program, x, binaries, z)


def _inputs(question: Question, lower: Array, upper: Array) -> tuple[Program, list[int]]:
    program = Program()
    x = program.columns(lower, upper)
    for row, side in zip(question.A, question.b, strict=True):
        program.row(dict(zip(x, STRICT * row, strict=True)), upper=STRICT * side)
    return program, x


def _affine_layer(
    program: Program,
    inputs: list[dict[int, float]],
    W: Array,
    bias: Array,
    bounds: tuple[Array, Array],
) -> list[int]:
    """Columns ``z = W inputs + bias``."""
    columns = program.columns(*bounds)
    for column, weights, offset in zip(columns, W, bias, strict=True):
        terms = {column: 1.0}
        for weight, expression in zip(weights, inputs, strict=True):
            for index, value in expression.items():
                terms[index] = terms.get(index, 0.0) - weight * value
        program.row(terms, offset, offset)
    return columns


def _activate(
    program: Program, z: list[int], low: Array, high: Array, slope: Array, *, relaxed: bool
) -> tuple[list[dict[int, float]], dict[int, int]]:
    """Expressions of the activations, and the binary of each unstable neuron."""
    outputs, switches = [], {}
    for k, column in enumerate(z):
        s = float(slope[k])
        if low[k] >= 0:
            outputs.append({column: 1.0})
        elif high[k] <= 0:
            outputs.append({column: s})
        else:
            r = program.column(0.0, max(high[k], 0.0))
            a = program.column(0.0, 1.0, integer=not relaxed)
            program.row({r: 1.0, column: -1.0}, lower=0.0)
            program.row({r: 1.0, a: -high[k]}, upper=0.0)
            program.row({r: 1.0, column: -1.0, a: -low[k]}, upper=-low[k])
            outputs.append({column: s, r: 1.0 - s})
            switches[k] = a
    return outputs, switches


def pattern_maps(question: Question, pattern: tuple[int, ...]) -> list[tuple[Array, Array]]:
    """``(J, c)`` of every layer's pre-activations ``J x + c`` where `pattern` is active."""
    J, c = np.eye(question.dimension), np.zeros(question.dimension)
    maps, start = [], 0
    for k, (W, bias) in enumerate(zip(question.weights, question.biases, strict=True)):
        J, c = W @ J, W @ c + bias
        maps.append((J, c))
        if k < len(question.slopes):
            on = np.array(pattern[start : start + len(bias)])
            gain = np.where(on > 0, 1.0, question.slopes[k])
            J, c, start = gain[:, None] * J, gain * c, start + len(bias)
    return maps
