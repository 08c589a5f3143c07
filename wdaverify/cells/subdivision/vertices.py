r"""The vertices of the subdivision: where they are, how exactly, and the signs there.

A new vertex is placed on its edge and not moved again. Around it the pre-activations of its ``d``
zeros are coordinates: a point with values :math:`\rho_h` lies at :math:`\sum_h |\rho_h|\,c_h`,
where :math:`c_h` is the edge that leaves zero ``h``, per unit of that value. So the residuals and
the edges bound the distance to the true vertex; where that fails, the vertex is solved exactly.
"""

import copy
from typing import NamedTuple

import numpy as np

from wdaverify.arrays import Bools, Floats, Integers
from wdaverify.cells.subdivision.arrays import Growing, Words, bits_of, unpacked
from wdaverify.cells.subdivision.exact import ExactArrangement
from wdaverify.cells.subdivision.roles import Roles
from wdaverify.cells.subdivision.start import Corners, DegenerateArrangement
from wdaverify.cells.subdivision.values import Values
from wdaverify.rational import Rationals, rationals
from wdaverify.tolerances import ROUNDING

__all__ = ["LOOSE", "NewVertices", "Vertices"]

LOOSE = 1e-9
"""Vertices whose error bound is larger (relative to the support) are solved exactly."""

TINY = 1e-300
"""Keeps the quotient of two zeros from being undefined; such a vertex is solved exactly."""

SHORT = 8.0
"""An edge shorter than so many errors of its ends is too short to tell a direction."""


class NewVertices(NamedTuple):
    """The cuts of one neuron, ``N`` of them, and the edges that join them, ``P``."""

    neuron: int
    ends: tuple[Integers, Integers]
    """The vertices on both sides, ``(N,)`` each."""
    positive: Words
    zero: Words
    zeros: Integers
    """As for :class:`Vertices`."""
    leaves: Integers
    """Where in ``zeros`` the neuron is, ``(N,)``."""
    pairs: Integers
    """Which of the new vertices each new edge joins, ``(2, P)``."""
    slots: Integers
    """Which zero each end leaves along it, ``(2, P)``."""


class Vertices:
    """Points and signs; support row ``r`` has the index ``neurons + r``.

    Attributes
    ----------
    points, errors
        ``(d, V)`` and bounds of the errors in the maximum norm ``(V,)``.
    sizes
        What rounding errors depend on, as for :class:`Values`, ``(V,)``.
    zeros
        The ``d`` neurons and support rows that each vertex lies on, ``(d, V)``.
    positive, zero
        The positive and the zero signs as words, ``(words, V)``.
    sides
        Whether there is something on the two sides of each neuron and support row: without its
        bit in ``positive`` and with it, ``(2, neurons + m)``. Support rows have no bit.
    walls
        Where the walls that stand for infinity begin among neurons and support rows.
    """

    def __init__(
        self, values: Values, exact: ExactArrangement, roles: Roles, corners: Corners
    ) -> None:
        self.values, self.exact, self.roles = values, exact, roles
        self.neurons = neurons = exact.network.neurons
        walls = exact.frame.walls
        self.walls = neurons + (len(values.bound) if walls is None else walls)
        points = corners.points.astype(np.float64).T
        d = len(points)
        self.bits = bits_of(neurons + len(values.bound))
        self.direction = np.random.default_rng(d).uniform(1.0, 2.0, size=(d,))
        self.reach = float(np.abs(points).max())
        self._zeros = Growing((neurons + corners.tight.T).astype(np.int32))
        zero = np.bitwise_or.reduce(self.bits[:, self.zeros], axis=1)
        self._positive, self._zero = Growing(np.zeros_like(zero)), Growing(zero)
        self._places = Growing(self._place(points, ROUNDING * values.sizes(points)))
        self._z = Growing(points)
        self.sides = np.ones((2, neurons + len(values.bound)), dtype=bool)
        self.sides[1, neurons:] = False
        self.layer = -1

    @property
    def count(self) -> int:
        """Number of vertices so far."""
        return int(self._places.size)

    @property
    def points(self) -> Floats:  # noqa: D102  (in the docstring of the class)
        return self._places.now[:-3]

    @property
    def errors(self) -> Floats:  # noqa: D102
        return np.asarray(self._places.now[-3])

    @property
    def sizes(self) -> Floats:  # noqa: D102
        return np.asarray(self._places.now[-2])

    @property
    def zeros(self) -> Integers:  # noqa: D102
        return self._zeros.now

    @property
    def positive(self) -> Words:  # noqa: D102
        return self._positive.now

    @property
    def zero(self) -> Words:  # noqa: D102
        return self._zero.now

    def enter(self, layer: int) -> None:
        """Evaluate the neurons of the next layer."""
        self.layer = layer
        points = self._z.now
        self._z = Growing(
            self.values.below(points, 1) if layer == 0 else self.values.above(points, layer)
        )

    def signs(self, neuron: int) -> Bools:
        """Return where a neuron of the current layer is positive, ``(V,)``.

        Raises
        ------
        DegenerateArrangement
            It is zero at a vertex.
        """
        z = self._pre_activations(neuron)
        bound = self.values.steepness[neuron] * self.errors
        bound += self.values.fixed[neuron] + self.values.growing[neuron] * self.sizes
        on: Bools = z > 0
        for v in np.flatnonzero(np.abs(z) <= bound).tolist():
            pattern = self.patterns(self.positive[:, v : v + 1])[0]
            on[v] = self.exact.positive(neuron, self.zeros[:, v], pattern)
        return on

    def rises(self, start: Integers, end: Integers) -> Bools:
        """Whether edges go up in a fixed direction, ``(N,)``.

        Raises
        ------
        DegenerateArrangement
            An edge is level.
        """
        height, errors = self._places.now[-1], self.errors
        rise = height.take(end) - height.take(start)
        up: Bools = rise > 0
        blur = 2 * (len(self.direction) + 2) * ROUNDING * self.sizes
        error = (errors + blur).take(start) + (errors + blur).take(end)
        for k in np.flatnonzero(np.abs(rise) <= error * self.direction.sum()).tolist():
            along = self.exactly(int(end[k])) - self.exactly(int(start[k]))
            exactly = rationals(self.direction) @ along
            if exactly == 0:
                raise DegenerateArrangement("an edge of the complex is level")
            up[k] = exactly > 0
        return up

    def patterns(self, positive: Words) -> Bools:
        """Return complete patterns: ``(words, N) -> (N, neurons)``."""
        return self.roles.complete(unpacked(positive, self.neurons))

    def record(self, neuron: int, on: Bools) -> None:
        """Enter the signs of a neuron that is zero at no vertex."""
        word = neuron // 64
        self.positive[word] |= on * self.bits[word, neuron]

    def part(self, keep: Bools, neuron: int, *, above: bool) -> "Vertices":
        """Return some of the vertices, those on one side of a neuron and those on it."""
        part = copy.copy(self)
        for name in ("_places", "_z", "_zeros", "_positive", "_zero"):
            setattr(part, name, Growing(getattr(self, name).now.compress(keep, axis=1)))
        part.exact = self.exact.again()
        part.sides = self.sides.copy()
        part.sides[1 - above, neuron] = False
        return part

    def append(self, new: NewVertices) -> None:
        """Place the cuts of a neuron on their edges."""
        (a, b), z = new.ends, self._pre_activations(new.neuron)
        P, Q = self.points.take(a, axis=1), self.points.take(b, axis=1)
        za, zb = np.abs(z.take(a)), np.abs(z.take(b))
        weight = zb / np.maximum(za + zb, TINY)
        points = np.where(weight > 0.5, P + (1 - weight) * (Q - P), Q + weight * (P - Q))
        below = self.values.below(points, self.layer + 1)
        length = _size(Q - P)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            errors = self._distances(new, points, below, length / (za + zb))
        loose = length < SHORT * (self.errors.take(a) + self.errors.take(b))
        loose |= ~(errors <= LOOSE * self.reach)
        p, q = new.pairs
        apart = _size(points.take(p, axis=1) - points.take(q, axis=1))
        short = ~(apart >= SHORT * (errors[p] + errors[q]))
        loose[new.pairs[:, short]] = True
        if loose.any():
            for v in np.flatnonzero(loose).tolist():
                pattern = self.patterns(new.positive[:, v : v + 1])[0]
                points[:, v] = self.exact.point(new.zeros[:, v], pattern).astype(np.float64)
            errors[loose] = ROUNDING * self.values.sizes(points[:, loose])
            below[:, loose] = self.values.below(points[:, loose], self.layer + 1)
        self._places.append(self._place(points, errors))
        self._z.append(below[self.values.starts[self.layer] :])
        self._positive.append(new.positive)
        self._zero.append(new.zero)
        self._zeros.append(new.zeros)

    def _distances(self, new: NewVertices, points: Floats, below: Floats, along: Floats) -> Floats:
        """Bound the distance of each point from its vertex, ``(N,)``.

        ``along`` is the edge that is cut, per unit of the neuron that cuts it.
        """
        values = np.concatenate([below, self.values.slack(points)])
        each = np.arange(points.shape[1])
        rows = np.where(new.zeros < self.neurons, new.zeros, new.zeros - self.neurons + len(below))
        sizes = self.values.sizes(points)
        rounding = self.values.fixed[new.zeros] + self.values.growing[new.zeros] * sizes
        residual = np.abs(values[rows, each]) + rounding
        total = along * residual[new.leaves, each]
        (p, q), (i, j) = new.pairs, new.slots
        length = _size(points.take(p, axis=1) - points.take(q, axis=1))
        for here, there, slot in ((p, q, i), (q, p, j)):
            share = length / np.abs(values[rows[slot, here], there]) * residual[slot, here]
            total += np.bincount(here, share, len(total))
        return np.asarray(2.0 * total + ROUNDING * sizes)

    def _pre_activations(self, neuron: int) -> Floats:
        return np.asarray(self._z.now[neuron - self.values.starts[self.layer]])

    def _place(self, points: Floats, errors: Floats) -> Floats:
        heights = self.direction @ points
        return np.concatenate([points, np.stack([errors, self.values.sizes(points), heights])])

    def exactly(self, vertex: int) -> Rationals:
        """Return the point of a vertex over the rationals, ``(d,)``."""
        pattern = self.patterns(self.positive[:, vertex : vertex + 1])[0]
        return self.exact.point(self.zeros[:, vertex], pattern)


def _size(vectors: Floats) -> Floats:
    return np.asarray(np.abs(vectors).max(axis=0))
