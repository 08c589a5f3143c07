r"""A piecewise affine network as rows of a mixed-integer program.

A neuron ``r = max(0, z)`` whose sign is open on ``l <= z <= u`` gets a binary ``a``:

.. math:: r\ge 0,\quad r\ge z,\quad r\le u\,a,\quad r\le z - l\,(1 - a)

(big-M, where the M are its bounds), and the activation with negative slope ``s`` is
``s z + (1 - s) r``. With ``a`` in ``[0, 1]`` this is the triangle relaxation, whose linear programs
bound the neurons of the next layer.
"""

from typing import Final

import numpy as np

from wdaverify.arrays import Bools, Floats, Integers
from wdaverify.convex.mixed import MixedProgram, Relaxation
from wdaverify.network import AffineMap, ReLUNetwork

__all__ = ["NetworkProgram"]

OUTWARD: Final = 1e-9
"""Relative widening of bounds of neurons, far above the rounding of the sums that they are."""


class NetworkProgram(MixedProgram):
    """The hidden layers of a network over a polytope inside a box.

    Attributes
    ----------
    outputs
        What the last layer is applied to, as linear functions of the columns, ``(m, columns)``;
        the inputs are the first columns.
    """

    def __init__(self) -> None:
        super().__init__()
        self.outputs = np.zeros((0, 0))
        self._pre: Integers = np.zeros(0, dtype=np.int64)
        self._switches: Integers = np.zeros(0, dtype=np.int64)

    @classmethod
    def of(
        cls, network: ReLUNetwork, lower: Floats, upper: Floats, rows: AffineMap
    ) -> "NetworkProgram":
        """Encode ``lower <= x <= upper`` (finite), ``G x <= h`` and all hidden neurons."""
        program = cls()
        n = len(program.add_columns(lower, upper))
        program.add_rows(rows.matrix, np.full(len(rows.offset), -np.inf), rows.offset)
        program.outputs = np.eye(n)
        for k, slope in enumerate(network.slopes):
            W, b = network.weights[k], network.biases[k]
            known = k == 0 and len(rows.offset) == 0  # on a box, intervals cannot be improved
            low, high = program._ranges(W, b, slope != 1.0, sharpen=not known)
            program._add_layer(AffineMap(W, b), slope, low, high)
        return program

    def pattern(self, point: Floats) -> Bools:
        """Return the activation pattern that the binaries of a point choose, ``(neurons,)``."""
        on: Bools = point[self._pre] > 0
        return np.where(self._switches >= 0, point[self._switches] > 0.5, on)

    def _ranges(self, W: Floats, b: Floats, bent: Bools, *, sharpen: bool) -> tuple[Floats, Floats]:
        """Bound ``W h + b`` for the outputs ``h`` so far, where ``bent`` by linear programs too."""
        terms = W @ self.outputs
        ends = terms[:, :, None] * np.stack([self.lower, self.upper], axis=1)
        size = 1.0 + np.abs(ends).max(axis=2).sum(axis=1) + np.abs(b)
        low = ends.min(axis=2).sum(axis=1) + b - OUTWARD * size
        high = ends.max(axis=2).sum(axis=1) + b + OUTWARD * size
        open_ = np.flatnonzero((low < 0) & (high > 0) & bent & sharpen)
        relaxed = Relaxation(self) if len(open_) else None
        for k in open_.tolist():
            assert relaxed is not None
            high[k] = min(high[k], relaxed.bound(terms[k]) + b[k])
            low[k] = max(low[k], b[k] - relaxed.bound(-terms[k]))
        return low, np.maximum(low, high)

    def _add_layer(self, layer: AffineMap, slope: Floats, low: Floats, high: Floats) -> None:
        """Append columns of ``z`` and, where its sign is open, of ``r`` and the binary."""
        W, b = layer
        z = self.add_columns(low, high)
        identity = np.eye(len(b))
        self.add_rows(np.hstack([-W @ self._outputs_padded(z[0]), identity]), b, b)
        split = np.flatnonzero((low < 0) & (high > 0) & (slope != 1.0))
        m, l, u = len(split), low[split], high[split]  # noqa: E741  (as in the formula)
        r = self.add_columns(np.zeros(m), u)
        a = self.add_columns(np.zeros(m), np.ones(m), integer=True)
        rows = np.zeros((3, m, len(self.lower)))
        each = np.arange(m)
        rows[0, each, r], rows[0, each, z[split]] = 1.0, -1.0  # r - z >= 0
        rows[1, each, r], rows[1, each, a] = 1.0, -u  # r - u a <= 0
        rows[2, each, r], rows[2, each, z[split]], rows[2, each, a] = 1.0, -1.0, -l
        free = np.full(m, np.inf)
        self.add_rows(rows[0], np.zeros(m), free)
        self.add_rows(rows[1], -free, np.zeros(m))
        self.add_rows(rows[2], -free, -l)  # r - z - l a <= -l
        self.outputs = np.zeros((len(b), len(self.lower)))
        self.outputs[np.arange(len(b)), z] = np.where(low >= 0, 1.0, slope)
        self.outputs[split, r] = 1.0 - slope[split]
        switches = np.full(len(b), -1)
        switches[split] = a
        self._pre = np.append(self._pre, z)
        self._switches = np.append(self._switches, switches)

    def _outputs_padded(self, columns: int) -> Floats:
        return np.pad(self.outputs, ((0, 0), (0, columns - self.outputs.shape[1])))
