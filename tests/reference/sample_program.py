"""One integer program: a sample, a target class, a multiplier; solved, polished, never believed.

    phi_ij(lambda) = max z_j(x) - z_y(x) - lambda t^p   s.t.  x in support, |x - x_i| <= t <= T
    d_ij           = min t                              s.t.  the same, z_j(x) >= z_y(x)

Curved parts (``t^p`` for p > 1, the l2 norm) enter by tangents, added until the program's optimum
meets the true value: an outer approximation, so its dual bound stays an upper bound (tangents are
nearly parallel, hence scaled up against the solver's tolerance).  The
incumbent is polished: its activation pattern is fixed and the linear program of that cell, written
without big-M, is solved; the caller evaluates the point by the plain forward pass.
"""

import math
from dataclasses import dataclass, field, replace

import numpy as np

from reference.encoding import Bounds, bounding_box, encode, neuron_bounds, pattern_maps
from reference.program import INF, STRICT, Outcome, Program
from reference.question import Array, Question, activation_pattern, distance

GAP = 1e-8
ROUNDS = 100

Terms = dict[int, float]


@dataclass(frozen=True, slots=True)
class Cuts:
    """Tangents in use: ``cost >= p s^(p-1) t - (p-1) s^p`` at lengths s, ``t >= u . (x - x_i)``."""

    lengths: list[float] = field(default_factory=list)
    directions: list[Array] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.lengths) + len(self.directions)


@dataclass(frozen=True, slots=True)
class Region:
    """One sample's box, the neuron bounds over it, its tangents so far (valid for any program)."""

    lower: Array
    upper: Array
    bounds: Bounds
    cuts: Cuts


@dataclass(frozen=True, slots=True)
class Query:
    """One program: sample, target class, multiplier (None: nearest error), largest length."""

    question: Question
    sample: int
    target: int
    multiplier: float | None
    reach: float
    region: Region

    @property
    def centre(self) -> Array:
        """The sample ``x_i``."""
        return self.question.points[self.sample]

    @property
    def label(self) -> int:
        """Its label."""
        return int(self.question.labels[self.sample])

    @property
    def exponent(self) -> float:
        """Order of the cost; at order inf the multiplier is 0 and any exponent does."""
        return self.question.order if math.isfinite(self.question.order) else 1.0

    @property
    def curved(self) -> bool:
        """Whether tangents only approximate the program."""
        return self.question.norm == "l2" or (self.multiplier is not None and self.exponent > 1)

    def length(self, point: Array) -> float:
        """``|point - x_i|``."""
        return float(distance(self.question.norm, point, self.centre))


def sample_regions(question: Question, reach: float) -> list[Region]:
    """Support box cut to ``x_i +- reach``, with neuron bounds, for each sample."""
    lower, upper = bounding_box(question)
    if math.isfinite(reach):
        x = question.points
        boxes = zip(np.maximum(lower, x - reach), np.minimum(upper, x + reach), strict=True)
        return [Region(*box, neuron_bounds(question, *box), Cuts()) for box in boxes]
    if not np.all(np.isfinite([lower, upper])):
        raise ValueError("unbounded support: pass a finite reach")
    bounds = neuron_bounds(question, lower, upper)
    return [Region(lower, upper, bounds, Cuts()) for _ in question.points]


def solve_program(query: Query) -> tuple[float, list[Array]]:
    """Upper bound and polished points; ``(-inf, [])`` if it is infeasible.

    For a distance the bound is that on ``-t``.
    """
    region, upper, best = query.region, INF, -INF
    points: list[Array] = []
    for _ in range(ROUNDS):
        before = len(region.cuts)
        encoding = encode(query.question, region.lower, region.upper, region.bounds)
        difference = {encoding.last[query.target]: 1.0, encoding.last[query.label]: -1.0}
        outcome = _finish(query, encoding.program, encoding.x, difference, 0.0)
        if outcome is None:
            return -INF, []
        upper = min(upper, outcome.bound)
        for pattern in _patterns(query, encoding.binaries, outcome.values):
            for value, point in _polish(query, pattern):
                best = max(best, value)
                points.append(point)
        done = upper - best <= GAP * max(1.0, abs(best)) or len(region.cuts) == before
        if done or not query.curved:
            break
    if not points:
        raise RuntimeError("no cell of the incumbent is feasible: the solver's answer is wrong")
    return upper, points


def _patterns(query: Query, binaries: list[dict[int, int]], values: Array) -> set[tuple[int, ...]]:
    """The incumbent's pattern by its binaries, and by the plain forward pass."""
    switched: list[int] = []
    for (low, _), columns in zip(query.region.bounds[:-1], binaries, strict=True):
        on = low >= 0
        on[list(columns)] = [values[column] > 0.5 for column in columns.values()]
        switched += [int(value) for value in on]
    point = values[: query.question.dimension]
    return {tuple(switched), activation_pattern(query.question, point)}


def _polish(query: Query, pattern: tuple[int, ...]) -> list[tuple[float, Array]]:
    """The same program on one cell, a pure linear program: ``[(value, point)]``, empty if none.

    Tangents are added until they meet the point; the value counts true lengths and costs.
    """
    *hidden, (J, c) = pattern_maps(query.question, pattern)
    slope, offset = J[query.target] - J[query.label], float(c[query.target] - c[query.label])
    found: list[tuple[float, Array]] = []
    for _ in range(ROUNDS):
        program = Program()
        x = program.columns(query.region.lower, query.region.upper)
        _cell_rows(program, x, query.question, hidden, pattern)
        terms = dict(zip(x, slope, strict=True))
        outcome = _finish(query, program, x, terms, offset)
        if outcome is None:
            break
        point = outcome.values[: query.question.dimension]
        value = _objective(query, point, float(slope @ point) + offset)
        found = [max([*found, (value, point)], key=lambda pair: pair[0])]
        if not query.curved or outcome.bound - value <= GAP / 10 or not _add_cuts(query, point):
            break
    return found


def _objective(query: Query, point: Array, difference: float) -> float:
    length = query.length(point)
    if query.multiplier is None:
        return -length
    return difference - query.multiplier * length**query.exponent


def _cell_rows(
    program: Program,
    x: list[int],
    question: Question,
    hidden: list[tuple[Array, Array]],
    pattern: tuple[int, ...],
) -> None:
    """Polytope rows and one sign row per hidden neuron."""
    for row, side in zip(question.A, question.b, strict=True):
        program.row(dict(zip(x, row, strict=True)), upper=side)
    neurons = [pair for J, c in hidden for pair in zip(J, c, strict=True)]
    for (row, offset), on in zip(neurons, pattern, strict=True):
        lower, upper = (-offset, INF) if on else (-INF, -offset)
        program.row(dict(zip(x, row, strict=True)), lower, upper)


def _finish(
    query: Query, program: Program, x: list[int], difference: Terms, offset: float
) -> Outcome | None:
    """Add length and cost; maximise ``z_j - z_y - lambda cost``, or ``-t`` on the error set.

    ``z_j - z_y`` is ``difference . columns + offset``.
    """
    t = _length_column(query, program, x)
    if query.multiplier is None:
        strict = {column: STRICT * value for column, value in difference.items()}
        program.row(strict, lower=-STRICT * offset)
        return program.maximise({t: -1.0})
    cost = _cost_column(query, program, t)
    outcome = program.maximise({**difference, cost: -query.multiplier})
    return None if outcome is None else replace(outcome, bound=outcome.bound + offset)


def _length_column(query: Query, program: Program, x: list[int]) -> int:
    """A column ``t >= |x - x_i|``, ``t <= reach``."""
    t = program.column(0.0, query.reach)
    parts = [t] * len(x)
    if query.question.norm == "l1":
        parts = program.columns(np.zeros(len(x)), np.full(len(x), INF))
        program.row({t: 1.0} | dict.fromkeys(parts, -1.0), lower=0.0)
    for column, part, value in zip(x, parts, query.centre, strict=True):
        program.row({part: 1.0, column: -1.0}, lower=-value)
        program.row({part: 1.0, column: 1.0}, lower=value)
    for direction in query.region.cuts.directions:
        terms = {column: -STRICT * u for column, u in zip(x, direction, strict=True)}
        program.row({t: STRICT} | terms, lower=-STRICT * float(direction @ query.centre))
    return t


def _cost_column(query: Query, program: Program, t: int) -> int:
    """A column ``cost >= t^p`` by tangents; the length itself for order 1 (and inf)."""
    p = query.exponent
    if p == 1:
        return t
    cost = program.column(0.0)
    for length in query.region.cuts.lengths:
        terms = {cost: STRICT, t: -STRICT * p * length ** (p - 1)}
        program.row(terms, lower=-STRICT * (p - 1) * length**p)
    return cost


def _add_cuts(query: Query, point: Array) -> bool:
    """Tangents at a point; False if they are there already (to rounding)."""
    cuts, length, before = query.region.cuts, query.length(point), len(query.region.cuts)
    if length == 0:
        return False
    unit = (point - query.centre) / length
    if query.question.norm == "l2" and not any(
        np.allclose(unit, u, 0, 1e-12) for u in cuts.directions
    ):
        cuts.directions.append(unit)
    if query.exponent > 1 and not any(math.isclose(length, s, rel_tol=1e-12) for s in cuts.lengths):
        cuts.lengths.append(length)
    return len(cuts) > before
