"""Exact decisions about partial cells: the rational fallback of the enumeration."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from wdaverify.arrays import Bools, Floats
from wdaverify.cells.frame import Frame
from wdaverify.convex.exact import exact_interior_point
from wdaverify.network import ReLUNetwork
from wdaverify.rational import ExactMap, ExactNetwork, Rationals

__all__ = ["ExactCells"]


class ExactCells:
    """Pre-activations of a network in the coordinates of a frame, over the rationals.

    Attributes
    ----------
    decisions
        How often an exact linear program was needed.
    """

    def __init__(self, network: ReLUNetwork, frame: Frame) -> None:
        self._network = ExactNetwork(network)
        self._frame = frame
        self._layer_of = np.repeat(np.arange(len(network.widths)), network.widths)
        self._start = np.concatenate([[0], np.cumsum(network.widths)]).astype(int)
        self._maps: dict[tuple[int, bytes], ExactMap] = {}
        self.decisions = 0

    def row(self, neuron: int, pattern: Bools) -> tuple[Rationals, Fraction]:
        """Return ``(w, b)``: pre-activation ``w · u + b`` if earlier layers follow ``pattern``."""
        layer = int(self._layer_of[neuron])
        start = int(self._start[layer])
        key = (layer, pattern[:start].tobytes())
        if key not in self._maps:
            J, c = self._network.layer(layer, pattern[:start])
            self._maps[key] = ExactMap(J @ self._frame.basis, J @ self._frame.origin + c)
        J, c = self._maps[key]
        return J[neuron - start], c[neuron - start]

    def float_row(self, neuron: int, pattern: Bools) -> tuple[Floats, float]:
        """Return :meth:`row` correctly rounded."""
        w, b = self.row(neuron, pattern)
        return w.astype(np.float64), float(b)

    def interior(self, path: Sequence[int], pattern: Bools) -> Floats | None:
        """Return a point strictly inside the partial cell cut out by the neurons of ``path``.

        Parameters
        ----------
        path
            Neurons whose sign is imposed: the side is their entry in ``pattern``.

        Returns
        -------
        ndarray or None
            Coordinates rounded to float64, shape ``(d,)``; ``None`` if the open set is empty.
        """
        self.decisions += 1
        rows = [self.row(k, pattern) for k in path]
        signs = [-1 if pattern[k] else 1 for k in path]
        d = self._frame.dimension
        A = np.array([s * w for s, (w, _) in zip(signs, rows, strict=True)], dtype=object)
        b = np.array([-s * c for s, (_, c) in zip(signs, rows, strict=True)], dtype=object)
        A = np.concatenate([self._frame.matrix, A.reshape(len(path), d)])
        point = exact_interior_point(A, np.concatenate([self._frame.bound, b]))
        return None if point is None else point.astype(np.float64)

    def repeats(self, neuron: int, other: int, pattern: Bools) -> bool | None:
        """Return the side of ``neuron`` if its hyperplane is that of ``other``, else ``None``.

        On a partial cell that lies on one side of ``other`` a proportional neuron has one side.
        """
        w, b = self.row(neuron, pattern)
        v, c = self.row(other, pattern)
        k = next((k for k, value in enumerate(v) if value != 0), None)
        if k is None or w[k] == 0:
            return None
        ratio = w[k] / v[k]
        if b != ratio * c or any(w != ratio * v):
            return None
        return bool(pattern[other]) == bool(ratio > 0)
