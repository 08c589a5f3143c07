r"""The network in exact rational arithmetic.

Every float64 is a dyadic rational, so affine maps of cells, pre-activations and losses are
rationals; where a floating-point sign is in doubt, these decide. Arrays have dtype ``object`` and
hold :class:`fractions.Fraction`.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from wdaverify.arrays import Bools, Floats
from wdaverify.network import ReLUNetwork

__all__ = ["ExactMap", "ExactNetwork", "Rationals", "rationals"]

Rationals = npt.NDArray[Any]
"""Object array of :class:`fractions.Fraction`."""


class ExactMap(NamedTuple):
    """``x -> matrix @ x + offset`` over the rationals."""

    matrix: Rationals
    offset: Rationals


def rationals(array: Floats) -> Rationals:
    """Lift finite float64 numbers exactly, same shape."""
    flat = [Fraction(v) for v in np.asarray(array, dtype=np.float64).ravel().tolist()]
    result = np.empty(len(flat), dtype=object)
    result[:] = flat
    return result.reshape(np.shape(array))


class ExactNetwork:
    """A network whose weights are lifted once and whose partial maps are remembered."""

    def __init__(self, network: ReLUNetwork) -> None:
        self._weights = [rationals(W) for W in network.weights]
        self._biases = [rationals(b) for b in network.biases]
        self._slopes = [rationals(s) for s in network.slopes]
        self._maps: dict[tuple[int, bytes], ExactMap] = {}

    def layer(self, k: int, prefix: Bools) -> ExactMap:
        """Return the map ``x -> z_k`` when the neurons of the earlier layers follow ``prefix``.

        Parameters
        ----------
        k
            Layer, 0 for the first hidden one; the last gives the logits.
        prefix
            Pattern of the neurons of layers ``0 … k−1`` (longer ones are cut).
        """
        start = sum(len(b) for b in self._biases[: k - 1]) if k else 0
        width = len(self._biases[k - 1]) if k else 0
        prefix = prefix[: start + width]
        key = (k, np.asarray(prefix, dtype=np.uint8).tobytes())
        if key not in self._maps:
            if k == 0:
                self._maps[key] = ExactMap(self._weights[0], self._biases[0])
            else:
                J, c = self.layer(k - 1, prefix[:start])
                on = np.asarray(prefix[start:], dtype=bool)
                factor = np.where(on, np.asarray(Fraction(1)), self._slopes[k - 1])
                W = self._weights[k]
                self._maps[key] = ExactMap(
                    W @ (factor[:, None] * J), W @ (factor * c) + self._biases[k]
                )
        return self._maps[key]

    def logits(self, point: Sequence[Fraction] | Rationals) -> Rationals:
        """Evaluate at one rational point: ``(n,) -> (K,)``."""
        h = np.asarray(point, dtype=object)
        for k, (W, b) in enumerate(zip(self._weights, self._biases, strict=True)):
            z: Rationals = W @ h + b
            if k == len(self._slopes):
                return z
            h = np.where([v > 0 for v in z], z, self._slopes[k] * z)
        raise AssertionError
