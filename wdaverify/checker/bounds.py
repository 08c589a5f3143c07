r"""What a cut proves: a Lagrangian bound on a node of a tree, for any multipliers.

For all ``x`` of the node, with ``v`` the coefficients of a layer's outputs, ``ν`` its multipliers,

.. math:: o(x) \le \text{constant} + \sum_k \max_{l_k \le z \le u_k} (v_k \sigma_k(z) - \nu_k z)
          + g\cdot x, \qquad v_{l-1} = W_l^\top \nu_l

Interval ends are integers over ``2^96``, rounded outwards; None is infinite.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from math import lcm
from operator import mul
from typing import Any, NamedTuple

from wdaverify.checker.question import Layer, Question
from wdaverify.checker.reading import (
    JSON,
    Rejected,
    Vector,
    dot,
    entries,
    fractions,
    index,
    limited,
    number,
    vector,
)  # fmt: skip
from wdaverify.checker.transport import Affine

__all__ = [
    "ANY", "NOTHING", "SCALE", "Ends", "Multipliers", "Objective", "Pick", "backward",
    "layer_pass", "multipliers", "relax",
]  # fmt: skip

SCALE = 1 << 96
Ends = tuple[int | None, int | None]
Pick = Callable[[int, int, int, Ends], int]
"""Position in the layer, slopes of ``v σ`` right and left of 0, interval -> ``ν``; same unit."""
ANY: Ends = (None, None)


class Objective(NamedTuple):
    """``logits · z_L + constant``, plus ``sign · z`` of a neuron ``(layer, position, sign)``."""

    logits: Vector | None
    constant: Fraction
    neuron: tuple[int, int, int] | None = None


class Multipliers(NamedTuple):
    """Values of neurons (by layer: positions, and their numbers), of rows and of margins."""

    neurons: dict[int, tuple[list[int], Vector]]
    rows: tuple[list[int], Vector]
    margins: list[tuple[int, Fraction]]


NOTHING = Multipliers({}, ([], Vector([], 1)), [])


def multipliers(q: Question, item: dict[str, Any], depth: int) -> Multipliers:
    """Read ``neurons``, ``rows`` and ``margins`` (of ``depth`` splits) of a cut or lemma."""
    keys, values = _sparse(item.get("neurons", []), q.neurons, "neuron")
    layers: dict[int, tuple[list[int], list[Any]]] = {}
    layer, start = 0, 0
    for k, value in zip(keys, values, strict=True):
        while k >= start + len(q.layers[layer].rows):
            start += len(q.layers[layer].rows)
            layer += 1
        places, found = layers.setdefault(layer, ([], []))
        places.append(k - start)
        found.append(value)
    rows, raw = _sparse(item.get("rows", []), len(q.rows), "row")
    steps, prices = _sparse(item.get("margins", []), depth, "margin")
    margins = [(d, number(v)) for d, v in zip(steps, prices, strict=True)]
    weights = vector(raw)
    if min(weights.ints, default=0) < 0 or any(v < 0 for _, v in margins):
        raise Rejected("multipliers of rows and margins must not be negative")
    return Multipliers(
        {at: (places, vector(found)) for at, (places, found) in layers.items()},
        (rows, weights),
        margins,
    )


def _sparse(value: JSON, count: int, what: str) -> tuple[list[int], list[Any]]:
    """Read ``[k, value, k, value, …]`` with rising ``k``."""
    flat = entries(value)
    keys = [index(k, count, what) for k in flat[::2]]
    if len(flat) % 2 or keys != sorted(set(keys)):
        raise Rejected(f"expected {what}s in rising order, each with a value")
    return keys, flat[1::2]


def relax(
    q: Question, intervals: Sequence[Sequence[Ends]], objective: Objective, given: Multipliers
) -> Affine | None:
    """Return an affine function of ``x`` above the objective on the node; None where infinite."""
    total, nu = objective.constant, objective.logits
    at, place, sign = objective.neuron or (-1, 0, 0)
    if nu is not None:
        total += dot(nu, q.layers[-1].bias)
    for k in reversed(range(len(q.layers) - 1)):
        places, eta = given.neurons.get(k, ([], Vector([], 1)))
        if nu is None and not places and k != at:
            continue
        layer = q.layers[k]
        v = Vector([0] * len(layer.rows), 1) if nu is None else backward(q.layers[k + 1], nu)
        den = limited(lcm(v.den, eta.den))
        values = dict(zip(places, (value * (den // eta.den) for value in eta.ints), strict=True))
        v = v if den == v.den else Vector([c * (den // v.den) for c in v.ints], den)
        passed = layer_pass(layer, v, intervals[k], by_state(values, layer.slopes),
                            (place, sign) if k == at else (0, 0))  # fmt: skip
        if passed is None:
            return None
        nu = passed.nu
        total += passed.gain
    g = Vector([0] * len(q.lower), 1) if nu is None else backward(q.layers[0], nu)
    return _with_rows(q, Affine(limited(total), g), given.rows)


def by_state(values: dict[int, int], slopes: Vector) -> Pick:
    """Return the reading of a neuron's value by its state: linear, on, off or undecided."""

    def pick(k: int, right: int, left: int, ends: Ends) -> int:
        low, high = ends
        value = values.get(k, 0) * slopes.den
        if slopes.ints[k] == slopes.den or (low is not None and low >= 0):
            return right + value
        return left - value if high is not None and high <= 0 else value

    return pick


def backward(layer: Layer, nu: Vector) -> Vector:
    """Return ``W' ν``."""
    den = limited(layer.den * nu.den)
    return Vector([sum(map(mul, column, nu.ints)) for column in layer.columns], den)


class Passed(NamedTuple):
    """The ``ν`` of a layer, and ``ν · b + Σ max (v σ(z) - ν z)``."""

    nu: Vector
    gain: Fraction


def layer_pass(
    layer: Layer, v: Vector, intervals: Sequence[Ends], pick: Pick, own: tuple[int, int] = (0, 0)
) -> Passed | None:
    """Choose the ``ν`` of a layer; None where the gain is infinite.

    ``own`` is a position and the coefficient that its ``z`` has in the objective itself.
    """
    s = layer.slopes
    nu, total = [], 0
    for k, c in enumerate(v.ints):
        right, left = c * s.den, c * s.ints[k]
        chosen = pick(k, right, left, intervals[k])
        nu.append(chosen)
        right, left = right - chosen, left - chosen
        if right or left:
            gain = highest(right, left, *intervals[k])
            if gain is None:
                return None
            total += gain
    den = v.den * s.den
    nu[own[0]] += own[1] * den
    found = Vector(nu, den)
    shift, unit = sum(map(mul, nu, layer.bias.ints)), layer.bias.den
    return Passed(found, Fraction(total * unit + shift * SCALE, den * SCALE * unit))


def highest(right: int, left: int, low: int | None, high: int | None) -> int | None:
    """Return the maximum of ``right · max(z,0) + left · min(z,0)`` over the interval."""
    if (high is None and right > 0) or (low is None and left < 0):
        return None
    ends = [z * (right if z > 0 else left) for z in (low, high) if z is not None]
    inside = (low is None or low <= 0) and (high is None or high >= 0)
    return max([*ends, 0]) if inside else max(ends)


def _with_rows(q: Question, affine: Affine, given: tuple[list[int], Vector]) -> Affine:
    """Add ``ρ · (e - E x) >= 0``."""
    constant, g = affine
    for r, weight in zip(given[0], given[1].ints, strict=True):
        rho, row = Fraction(weight, given[1].den), q.rows[r]
        constant += rho * q.ends[r]
        pairs = zip(g.ints, row.ints, strict=True)
        g = fractions([Fraction(a, g.den) - rho * Fraction(b, row.den) for a, b in pairs])
    return Affine(limited(constant), g)
