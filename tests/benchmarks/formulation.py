r"""One sample's program over the box, as rows and columns: what every baseline solves.

.. math:: \max\; z_j - z_y - \lambda t \quad\text{s.t.}\quad z_1 = W_1 x + b_1,\;
          h_1 = \max(z_1, 0),\; \dots,\; \|x - x_i\| \le t,\; x \in [l, u]

with columns ``d = x − x_i`` (ℓ1: its two parts), ``t`` (ℓ∞), and ``z, h`` of every hidden neuron.
``h = max(z, 0)`` on ``[a, b]`` is relaxed to the triangle ``h >= 0, h >= z, h <= b (z − a) / (b −
a)``; a binary per neuron makes it exact (big M).
"""

from dataclasses import dataclass, field
from typing import Any

import highspy
import numpy as np
import numpy.typing as npt

import wdaverify as wv

Floats = npt.NDArray[np.float64]
Layers = list[tuple[Floats, Floats]]


@dataclass(slots=True)
class Rows:
    """Columns ``lower <= v <= upper`` and rows ``low <= terms · v <= high``."""

    lower: list[float] = field(default_factory=list)
    upper: list[float] = field(default_factory=list)
    terms: list[tuple[list[int], list[float]]] = field(default_factory=list)
    sides: list[tuple[float, float]] = field(default_factory=list)
    binaries: list[int] = field(default_factory=list)

    def columns(self, lower: npt.ArrayLike, upper: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Add columns, return their indices."""
        low, high = np.asarray(lower, dtype=float), np.asarray(upper, dtype=float)
        first = len(self.lower)
        self.lower += low.tolist()
        self.upper += high.tolist()
        return np.arange(first, len(self.lower))

    def row(self, index: Any, value: Any, low: float, high: float) -> int:
        """Add a row, return its index."""
        self.terms.append((list(map(int, index)), list(map(float, value))))
        self.sides.append((float(low), float(high)))
        return len(self.sides) - 1

    def highs(self) -> highspy.Highs:
        """Return the program in HiGHS: a maximisation on one thread, without objective."""
        model = highspy.HighsLp()
        model.sense_ = highspy.ObjSense.kMaximize
        model.num_col_, model.num_row_ = len(self.lower), len(self.sides)
        model.col_cost_ = np.zeros(len(self.lower))
        model.col_lower_, model.col_upper_ = np.array(self.lower), np.array(self.upper)
        model.row_lower_, model.row_upper_ = np.array(self.sides).T.copy()
        starts = np.cumsum([0] + [len(index) for index, _ in self.terms])
        model.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        model.a_matrix_.start_ = starts.astype(np.int32)
        model.a_matrix_.index_ = np.concatenate([index for index, _ in self.terms]).astype(np.int32)
        model.a_matrix_.value_ = np.concatenate([value for _, value in self.terms])
        if self.binaries:
            kinds = [highspy.HighsVarType.kContinuous] * len(self.lower)
            for column in self.binaries:
                kinds[column] = highspy.HighsVarType.kInteger
            model.integrality_ = kinds
        solver = highspy.Highs()
        solver.setOptionValue("output_flag", False)
        solver.setOptionValue("threads", 1)
        solver.passModel(model)
        return solver


@dataclass(frozen=True, slots=True)
class Neuron:
    """Columns and row of one unstable neuron, and the range of its pre-activation."""

    z: int
    h: int
    above: int
    """The row ``h − z >= 0``."""
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class SampleProgram:
    """The program of one sample, and where in it things stand."""

    rows: Rows
    sample: Floats
    plus: npt.NDArray[np.int64]
    minus: npt.NDArray[np.int64]
    """Columns whose difference is ``x − x_i``; empty where ``plus`` is that already."""
    length: npt.NDArray[np.int64]
    """Columns whose sum is the distance."""
    neurons: list[Neuron]
    last: npt.NDArray[np.int64]
    """Columns of the last hidden layer."""

    def point(self, values: Floats) -> Floats:
        """Return ``x`` of a solution."""
        moved = values[self.plus]
        if len(self.minus):
            moved = moved - values[self.minus]
        return np.asarray(self.sample + moved)


def formulate(
    problem: wv.Problem, sample: int, ranges: list[tuple[Floats, Floats]], *, integer: bool = False
) -> SampleProgram:
    """Return the program of one sample; ``ranges`` of the hidden layers from :func:`ranges_of`."""
    rows = Rows()
    layers = list(zip(problem.network.weights, problem.network.biases, strict=True))
    plus, minus, length = _moves(rows, problem, sample)
    neurons: list[Neuron] = []
    W, b = layers[0]
    parts = [(W, plus)] + ([(-W, minus)] if len(minus) else [])
    hidden = _layer(rows, parts, b + W @ problem.points[sample], ranges[0], neurons)
    for (W, b), bounds in zip(layers[1:-1], ranges[1:], strict=True):
        hidden = _layer(rows, [(W, hidden)], b, bounds, neurons)
    if integer:
        _switch(rows, neurons)
    return SampleProgram(rows, problem.points[sample], plus, minus, length, neurons, hidden)


def _moves(rows: Rows, problem: wv.Problem, sample: int) -> tuple[Any, Any, Any]:
    """Add ``x − x_i`` and its length."""
    x = problem.points[sample]
    lower, upper = problem.support.bounds
    if problem.cost.norm.name == "l1":
        plus = rows.columns(np.zeros(len(x)), upper - x)
        minus = rows.columns(np.zeros(len(x)), x - lower)
        return plus, minus, np.concatenate([plus, minus])
    moved = rows.columns(lower - x, upper - x)
    length = rows.columns([0.0], [float(np.maximum(upper - x, x - lower).max())])
    for column in moved:
        rows.row((column, length[0]), (1.0, -1.0), -np.inf, 0.0)
        rows.row((column, length[0]), (1.0, 1.0), 0.0, np.inf)
    return moved, np.arange(0), length


def _layer(
    rows: Rows,
    parts: list[tuple[Floats, Any]],
    offset: Floats,
    bounds: tuple[Floats, Floats],
    neurons: list[Neuron],
) -> npt.NDArray[np.int64]:
    """Add ``z`` and ``h`` of one hidden layer with the triangles; return the columns of ``h``."""
    low, high = bounds
    z = rows.columns(low, high)
    h = rows.columns(np.maximum(low, 0.0), np.maximum(high, 0.0))
    for k in range(len(z)):
        index = [z[k], *(c for _, columns in parts for c in columns)]
        value = [1.0, *(-w for W, _ in parts for w in W[k])]
        rows.row(index, value, offset[k], offset[k])
        if high[k] > 0:
            above = rows.row((h[k], z[k]), (1.0, -1.0), 0.0, 0.0 if low[k] >= 0 else np.inf)
            if low[k] < 0:
                slope = high[k] / (high[k] - low[k])
                rows.row((h[k], z[k]), (1.0, -slope), -np.inf, -slope * low[k])
                neurons.append(Neuron(int(z[k]), int(h[k]), above, float(low[k]), float(high[k])))
    return h


def _switch(rows: Rows, neurons: list[Neuron]) -> None:
    """Add a binary per unstable neuron: ``h <= b a`` and ``h <= z − l (1 − a)``."""
    for neuron in neurons:
        (binary,) = rows.columns([0.0], [1.0])
        rows.binaries.append(int(binary))
        rows.row((neuron.h, binary), (1.0, -neuron.high), -np.inf, 0.0)
        index, value = (neuron.h, neuron.z, binary), (1.0, -1.0, -neuron.low)
        rows.row(index, value, -np.inf, -neuron.low)


def ranges_of(problem: wv.Problem) -> list[tuple[Floats, Floats]]:
    """Pre-activations over the whole box: interval arithmetic, then two relaxed LPs a neuron."""
    lower, upper = problem.support.bounds
    low, high = np.broadcast_to(lower, problem.network.features), upper
    found: list[tuple[Floats, Floats]] = []
    layers = zip(problem.network.weights[:-1], problem.network.biases[:-1], strict=True)
    for k, (W, b) in enumerate(layers):
        centre, spread = W @ ((low + high) / 2) + b, np.abs(W) @ ((high - low) / 2)
        room = 1e-9 * (1.0 + np.abs(centre) + spread)
        bounds = (centre - spread - room, centre + spread + room)
        if k:
            bounds = _tightened(problem, [*found, bounds])
        found.append(bounds)
        low, high = np.maximum(bounds[0], 0.0), np.maximum(bounds[1], 0.0)
    return found


def _tightened(problem: wv.Problem, ranges: list[tuple[Floats, Floats]]) -> tuple[Floats, Floats]:
    """Tighten the last of the layers by the relaxation of those before it."""
    low, high = ranges[-1][0].copy(), ranges[-1][1].copy()
    shallow = problem.replace(
        network=wv.ReLUNetwork(
            [*problem.network.weights[: len(ranges)], np.zeros((2, len(low)))],
            [*problem.network.biases[: len(ranges)], np.zeros(2)],
        ),
        labels=np.zeros(len(problem), dtype=np.int64),
    )
    solver = formulate(shallow, 0, ranges)
    highs = solver.rows.highs()
    for k, column in enumerate(solver.last - len(low)):
        if low[k] < 0 < high[k]:
            for sign in (1.0, -1.0):
                highs.changeColCost(int(column), sign)
                highs.run()
                if highs.getModelStatus() == highspy.HighsModelStatus.kOptimal:
                    value = highs.getInfo().objective_function_value
                    if sign > 0:
                        high[k] = min(high[k], value + 1e-7)
                    else:
                        low[k] = max(low[k], -value - 1e-7)
            highs.changeColCost(int(column), 0.0)
    return low, high
