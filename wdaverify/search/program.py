r"""The linear relaxation of a node, one warm program for all nodes of a label.

.. math:: \max\; w_j\cdot h_L - \lambda c \quad\text{s.t.}\quad z_1 - W_1 u = c_i,\quad
          z_l - W_l h_{l-1} = b_l,\quad h \ge z,\ h\ge s z,\ h \le \kappa z + \tau,\quad
          l \le z \le u,\ \|u\| \le t,\ t_0\le t\le t_1,\ t^p \le c

Columns are ``u``, ``t`` (l1: one per feature), ``c``, ``z``, ``h``, violations of the definitions
of ``z`` and the shortfall of a threshold. Where the norm or the power is curved, tangents take its
place; they hold for every node and every multiplier and are kept. The multipliers of the
definitions are the ``ν`` of the Lagrangian bound, the only thing that is believed.
"""

from typing import NamedTuple

import numpy as np

from wdaverify.arrays import Floats, Integers
from wdaverify.convex.highs import Answer, LinearProgram, Status
from wdaverify.norms import GroundNorm
from wdaverify.search.scaling import Scaled, activate

__all__ = ["Extreme", "Node", "NodeProgram", "Relaxed"]

FEASIBLE = 1e-10
"""Absolute tolerance of the solver, in scaled units."""

TANGENTS = 200
"""Tangents added for one node before its multipliers are taken as they are."""

FEW = 6
"""The same for a node that can still be split."""

KEPT = 1000
"""Tangents beyond which all are forgotten."""

SHORT = 1e4
"""Price of a shortfall of the threshold, against which length is little."""

LIGHT = 1e-9
"""Weight of the objective below which it does not count."""

LOOSE, TINY = 1e-10, 1e-14
"""Relative and absolute shortfall of a length or cost that is still called rounding."""


class Node(NamedTuple):
    """One node: owner and piece, radii of its ring, bounds of its neurons ``(m,)``."""

    owner: int
    piece: int
    inner: float
    outer: float
    lower: Floats
    upper: Floats


class Relaxed(NamedTuple):
    """Multipliers ``(m,)``, a move ``(n,)`` and neurons ``z, h (m,)``; multipliers of all rows."""

    nu: Floats
    move: Floats
    z: Floats
    h: Floats
    all_multipliers: Floats


class Extreme(NamedTuple):
    """Multipliers ``(m,)`` and the objective's weight at the extreme of one pre-activation."""

    neuron: int
    sign: int
    nu: Floats
    weight: float


class NodeProgram:
    """The relaxation of any node of one label.

    Parameters
    ----------
    norm
        Its length is the move's.
    order
        Power of the length that the multiplier prices.
    """

    def __init__(self, scaled: Scaled, norm: GroundNorm, order: float = 1.0) -> None:
        self.scaled, self.norm, self.order = scaled, norm, order
        n, m = scaled.features, scaled.neurons
        self._t = n if norm.name == "l1" else 1
        self._cost = n + self._t
        self._z, self._h = self._cost + 1, self._cost + 1 + m
        self._slack = self._h + m
        self._short = self._slack + 2 * m
        self._columns = self._short + 1
        self._neurons = np.arange(m)
        self.renew()

    def renew(self) -> None:
        """Begin anew: what comes then does not depend on what was solved before."""
        free = np.full(self._columns, np.inf)
        self._violation = np.inf
        self._shortfall = 0.0
        self._kappa = np.ones(self.scaled.neurons)
        self._program = LinearProgram(-free, free, tolerance=FEASIBLE)
        self._add_definitions()
        self._add_activations()
        self._add_ball()
        self._add_thresholds()
        self._program.bound_columns(np.array([self._short]), np.zeros(1), np.full(1, np.inf))
        self._fixed = self._program.rows

    @property
    def curved(self) -> bool:
        """Whether tangents stand for the norm: too many of them to solve programs often."""
        return self.norm.name == "l2"

    def solve(self, node: Node, multiplier: float) -> Relaxed | None:
        """Maximise over a node; ``None`` where the solver finds no optimum."""
        self._place(node)
        self._loosen(0.0)
        return self._maximum(self._costs(node.piece, multiplier), self._rounds(node))

    def _maximum(self, costs: Floats, rounds: int) -> Relaxed | None:
        """Maximise, with tangents added until norm and power are met."""
        if self._program.rows > self._fixed + KEPT:
            self._program.drop_rows(self._fixed)
        for _ in range(rounds):
            answer = self._program.maximize(costs)
            if answer.status is not Status.OPTIMAL or not np.isfinite(answer.point).all():
                return None
            if not self._add_tangents(answer.point):
                break
        self._shortfall = float(answer.point[self._short])
        return self._read(answer)

    def _rounds(self, node: Node) -> int:
        """Return how often tangents may be added: a node that will be split needs few."""
        open_ = (node.lower < 0) & (node.upper > 0) & self.scaled.splits
        return FEW if open_.any() else TANGENTS

    def _add_tangents(self, x: Floats) -> bool:
        """Cut off a point whose length or cost is too small; say whether it was."""
        n, t = self.scaled.features, float(x[self.scaled.features : self._cost].sum())
        length = float(self.norm.length(x[:n]))
        rows: list[Floats] = []
        bounds = []
        if self.norm.name == "l2" and length > t * (1.0 + LOOSE) + TINY:
            rows.append(np.zeros(self._columns))
            rows[-1][:n], rows[-1][n] = x[:n] / length, -1.0
            bounds.append(0.0)
        at = max(t, length)
        if self.order > 1 and at**self.order > float(x[self._cost]) * (1.0 + LOOSE) + TINY:
            rows.append(self._power_tangent(at))
            bounds.append(at * (1.0 - 1.0 / self.order))
        if rows:
            self._program.add_rows(np.array(rows), np.array(bounds))
        return bool(rows)

    def _power_tangent(self, at: float) -> Floats:
        """``t − c / (p a^{p-1}) <= a (1 − 1/p)``, the tangent of ``t^p <= c`` at ``a``."""
        row = np.zeros(self._columns)
        row[self.scaled.features : self._cost] = 1.0
        row[self._cost] = -1.0 / (self.order * at ** (self.order - 1.0))
        return row

    def nearest(self, node: Node, depth: float) -> Relaxed | None:
        """Minimise the distance subject to ``w_j · h_L + β_j >= depth``.

        The multipliers are those of the objective: divided by that of the threshold. Where no point
        of the node is that deep, they are those of the deepest point.
        """
        self._place(node)
        self._loosen(0.0)
        row = np.array([self._thresholds + node.piece])
        top, free = np.full(1, np.inf), np.full(1, -np.inf)
        self._program.bound_rows(row, top, np.array([depth - self.scaled.offsets[node.piece]]))
        costs = np.zeros(self._columns)
        costs[self.scaled.features : self._cost] = -1.0
        costs[self._short] = -SHORT
        found, short = self._maximum(costs, self._rounds(node)), self._shortfall
        self._program.bound_rows(row, top, free)
        if found is None or short > 0 or not found.all_multipliers[row[0]] < 0:
            return self._maximum(self._costs(node.piece, 0.0), self._rounds(node))
        return found._replace(nu=found.nu / -found.all_multipliers[row[0]])

    def extremes(self, node: Node, neurons: Integers) -> list[Extreme]:
        """Maximise and minimise pre-activations where ``w_j · h_L + β_j >= 0``.

        Extremes at which that row has no weight are left out: bounds of the neuron that forget
        about the objective are known already.
        """
        self._place(node)
        self._loosen(0.0)
        row, short = np.array([self._thresholds + node.piece]), np.array([self._short])
        top, none = np.full(1, np.inf), np.zeros(1)
        self._program.bound_rows(row, top, np.array([-self.scaled.offsets[node.piece]]))
        self._program.bound_columns(short, none, none)
        found = []
        for k in neurons.tolist():
            for sign in (1, -1):
                costs = np.zeros(self._columns)
                costs[self._z + k] = sign
                answer = self._program.maximize_next(costs)
                weight = -float(answer.multipliers[row[0]]) if len(answer.multipliers) else 0.0
                if answer.status is Status.OPTIMAL and weight > LIGHT:
                    nu = answer.multipliers[: self.scaled.neurons]
                    found.append(Extreme(k, sign, nu, weight))
        self._program.bound_rows(row, top, -top)
        self._program.bound_columns(short, none, top)
        return found

    def repair(self, node: Node) -> Floats | None:
        """Return multipliers ``(m,)`` of the least total violation of the definitions.

        Where that is positive the node is empty, and the multipliers are a ray along which the
        bound falls for ever.
        """
        self._place(node)
        self._loosen(np.inf)
        costs = np.zeros(self._columns)
        costs[self._slack : self._short] = -1.0
        answer = self._program.maximize(costs)
        if answer.status is not Status.OPTIMAL:
            return None
        return answer.multipliers[: self.scaled.neurons]

    def _read(self, answer: Answer) -> Relaxed:
        m, x = self.scaled.neurons, answer.point
        z, h = x[self._z : self._h], x[self._h : self._slack]
        move = x[: self.scaled.features]
        return Relaxed(answer.multipliers[:m], move, z, h, answer.multipliers)

    def _loosen(self, bound: float) -> None:
        """Allow violations of the definitions up to a bound, 0 or infinite."""
        if bound == self._violation:
            return
        self._violation = bound
        index = np.arange(self._slack, self._short)
        self._program.bound_columns(index, np.zeros(len(index)), np.full(len(index), bound))

    def _costs(self, piece: int, multiplier: float) -> Floats:
        costs = np.zeros(self._columns)
        costs[self._cost] = -multiplier
        last = self.scaled.layers[-1]
        costs[self._h + last.start : self._h + last.stop] = self.scaled.gradients[piece]
        return costs

    def _add_definitions(self) -> None:
        scaled = self.scaled
        n, m = scaled.features, scaled.neurons
        A = np.zeros((m, self._columns))
        A[:, self._slack : self._short] = np.concatenate([np.eye(m), -np.eye(m)], axis=1)
        A[self._neurons, self._z + self._neurons] = 1.0
        A[scaled.layers[0], :n] = -scaled.weights[0]
        for here, before, W in zip(
            scaled.layers[1:], scaled.layers[:-1], scaled.weights[1:], strict=True
        ):
            A[here, self._h + before.start : self._h + before.stop] = -W
        b = np.concatenate([np.zeros_like(scaled.biases[0]), *scaled.biases[1:]])
        self._program.add_rows(A, b, b)

    def _add_activations(self) -> None:
        """Add ``z <= h``, ``s z <= h`` and ``h − κ z <= τ``, the last to be set per node."""
        m = self.scaled.neurons
        Z = np.zeros((m, self._columns))
        Z[self._neurons, self._z + self._neurons] = 1.0
        H = np.roll(Z, m, axis=1)
        self._program.add_rows(Z - H, np.zeros(m))
        self._program.add_rows(self.scaled.slopes[:, None] * Z - H, np.zeros(m))
        self._chord = self._program.rows
        self._program.add_rows(H - Z, np.zeros(m))

    def _add_ball(self) -> None:
        n, t = self.scaled.features, self._t
        rows = np.zeros((2 * n, self._columns))
        rows[:n, :n], rows[n:, :n] = np.eye(n), -np.eye(n)
        rows[:, n : n + t] = -1.0 if t == 1 else -np.tile(np.eye(n), (2, 1))
        self._program.add_rows(rows, np.zeros(2 * n))
        self._ring = self._program.rows
        total = np.zeros((1, rows.shape[1]))
        total[0, n : n + t] = 1.0
        self._program.add_rows(total, np.array([np.inf]))
        if self.order == 1:
            total[0, self._cost] = -1.0
            self._program.add_rows(total, np.zeros(1))

    def _add_thresholds(self) -> None:
        """Add ``w_j · h_L`` of every piece as a row without bounds."""
        pieces, last = self.scaled.gradients, self.scaled.layers[-1]
        rows = np.zeros((len(pieces), self._columns))
        rows[:, self._h + last.start : self._h + last.stop] = pieces
        rows[:, self._short] = 1.0
        self._thresholds = self._program.rows
        self._program.add_rows(rows, np.full(len(pieces), np.inf))

    def _place(self, node: Node) -> None:
        """Set bounds, chords and origins to those of a node."""
        scaled, program = self.scaled, self._program
        low, high, slopes = node.lower, node.upper, scaled.slopes
        at_low, at_high = activate(low, slopes), activate(high, slopes)
        width = high - low
        thin = width <= 0
        kappa = np.where(thin, 0.0, (at_high - at_low) / np.where(thin, 1.0, width))
        kappa = np.where(low >= 0, 1.0, np.where(high <= 0, slopes, kappa))
        tau = np.where((low >= 0) | (high <= 0), 0.0, at_high - kappa * high)
        chords = self._chord + self._neurons
        new = np.flatnonzero(kappa != self._kappa)
        program.change_entries(chords[new], self._z + new, -kappa[new])
        self._kappa = kappa
        program.bound_rows(chords, tau)
        origin = scaled.origins[node.owner]
        program.bound_rows(np.arange(len(origin)), origin, origin)
        program.bound_rows(np.array([self._ring]), np.array([node.outer]), np.array([node.inner]))
        box = scaled.lower[node.owner], scaled.upper[node.owner]
        zeros = np.zeros(self._t)
        top = node.outer**self.order
        index = np.arange(self._h)
        program.bound_columns(
            index,
            np.concatenate([np.maximum(box[0], -node.outer), zeros, [0.0], np.minimum(low, high)]),
            np.concatenate([np.minimum(box[1], node.outer), zeros + node.outer, [top], high]),
        )
