"""The arrangement over the rationals: the judge of signs that float64 leaves open."""

from fractions import Fraction
from functools import cached_property

import numpy as np

from wdaverify.arrays import Bools, Floats, Integers
from wdaverify.cells.decision import ExactCells
from wdaverify.cells.frame import Frame
from wdaverify.cells.subdivision.start import DegenerateArrangement, solution
from wdaverify.network import ReLUNetwork
from wdaverify.rational import Rationals, rationals

__all__ = ["ExactArrangement", "Row"]

Row = tuple[Rationals, Fraction]
"""Coefficients and constant of an affine function."""

MOST = 500
"""Vertices solved exactly before the arrangement counts as too degenerate for this method."""


class ExactArrangement:
    """Hyperplanes, their common points and their sides; nothing is lifted before it is needed.

    A vertex is given by its ``d`` zeros (support rows count on from the neurons) and by the
    complete pattern of the neurons there, zeros as off: pre-activations are continuous, so any
    cell around the vertex gives the right equations.

    Attributes
    ----------
    solved
        Number of vertices that were solved for.
    """

    def __init__(self, network: ReLUNetwork, frame: Frame) -> None:
        self.network, self.frame = network, frame
        self._points: dict[tuple[bytes, bytes], Rationals] = {}

    @property
    def solved(self) -> int:  # noqa: D102  (in the docstring of the class)
        return len(self._points)

    @cached_property
    def cells(self) -> ExactCells:
        """The neurons in frame coordinates."""
        return ExactCells(self.network, self.frame)

    def again(self) -> "ExactArrangement":
        """Return the same arrangement with no vertex solved yet: every part has its own count."""
        other = ExactArrangement(self.network, self.frame)
        other.__dict__["cells"] = self.cells
        return other

    def first_layer(self) -> tuple[Floats, Floats]:
        """Return the first layer in frame coordinates, correctly rounded: ``W`` and ``b``."""
        d = self.frame.dimension
        if d == self.network.features and np.all(self.frame.basis == np.eye(d, dtype=int)):
            return self.network.weights[0], self.network.biases[0]
        none = np.zeros(self.network.neurons, dtype=bool)
        rows = [self.cells.float_row(k, none) for k in range(self.network.widths[0])]
        return np.array([w for w, _ in rows]), np.array([b for _, b in rows])

    def layer_row(self, layer: int, index: int) -> Row:
        """Return ``(w, b)`` of a neuron over the layer before; for the first, over the frame."""
        if layer == 0:
            return self.cells.row(index, np.zeros(self.network.neurons, dtype=bool))
        W, b = self.network.weights[layer], self.network.biases[layer]
        return rationals(W[index]), Fraction(b[index])

    def point(self, zeros: Integers, pattern: Bools) -> Rationals:
        """Return the vertex, shape ``(d,)``.

        Raises
        ------
        DegenerateArrangement
            The equations are dependent, or too many vertices were asked for.
        """
        key = (zeros.tobytes(), pattern.tobytes())
        if key not in self._points:
            if len(self._points) == MOST:
                raise DegenerateArrangement(f"more than {MOST} vertices need exact arithmetic")
            rows = [self._row(int(k), pattern) for k in zeros]
            matrix = np.array([w for w, _ in rows], dtype=object)
            found = solution(matrix, np.array([b for _, b in rows], dtype=object))
            if found is None:
                raise DegenerateArrangement("hyperplanes through a vertex are dependent")
            self._points[key] = found
        return self._points[key]

    def positive(self, neuron: int, zeros: Integers, pattern: Bools) -> bool:
        """Return the sign of a pre-activation at a vertex.

        Raises
        ------
        DegenerateArrangement
            It is zero: one hyperplane too many goes through the vertex.
        """
        w, b = self.cells.row(neuron, pattern)
        value = w @ self.point(zeros, pattern) + b
        if value == 0:
            raise DegenerateArrangement(f"neuron {neuron} is zero at a vertex of other neurons")
        return bool(value > 0)

    def contains(self, path: list[int], pattern: Bools, point: Floats) -> bool:
        """Whether a point is strictly inside the support and on the right side of some neurons."""
        exactly = rationals(point)
        if np.any(self.frame.matrix @ exactly >= self.frame.bound):
            return False
        rows = ((k, *self.cells.row(k, pattern)) for k in path)
        return all((w @ exactly + b) * (1 if pattern[k] else -1) > 0 for k, w, b in rows)

    def _row(self, k: int, pattern: Bools) -> Row:
        """Return ``(w, c)`` of the equation ``w u = c``."""
        r = k - self.network.neurons
        if r >= 0:
            return self.frame.matrix[r], self.frame.bound[r]
        w, b = self.cells.row(k, pattern)
        return w, -b
