r"""Neurons in the order in which they are met.

The inputs are neurons of depth 0. An activation :math:`h_j = \max(t_j, 0) + s_j \min(t_j, 0)` of
:math:`t = E h + c` makes new neurons, each one deeper than the deepest that its row of ``E``
mentions.
"""

from math import prod
from typing import NamedTuple, final

import numpy as np
import numpy.typing as npt

from wdaverify.arrays import Floats, Integers
from wdaverify.importers.entries import ELEMENTS, Entries, check_size
from wdaverify.importers.tensor import Tensor

__all__ = ["Activation", "Neurons"]


class Activation(NamedTuple):
    """Neurons that were made together."""

    first: int
    """Number of the first of them."""
    before: Tensor
    """Pre-activations, shape ``(neurons,)``."""
    slopes: Floats
    """Negative slopes, shape ``(neurons,)``."""


@final
class Neurons:
    """All neurons made so far; tensors refer to them by number.

    Parameters
    ----------
    features
        Number of inputs, which are the neurons ``0, …, features - 1``.
    """

    def __init__(self, features: int) -> None:
        check_size(features, "inputs", ELEMENTS)
        self.features = features
        self.activations: list[Activation] = []
        self._depths: Integers = np.zeros(features, dtype=np.int64)

    @property
    def depths(self) -> Integers:
        """Depth of every neuron, shape ``(neurons,)``."""
        return self._depths

    def inputs(self, shape: tuple[int, ...]) -> Tensor:
        """Return the network's input as a tensor of this shape."""
        numbers = np.arange(prod(shape), dtype=np.int64)
        ones = np.ones(len(numbers))
        return Tensor(shape, Entries.collect(numbers, numbers, ones), np.zeros(len(numbers)))

    def depth(self, tensor: Tensor) -> int:
        """Return the depth of the deepest neuron in ``tensor``; -1 if it is constant."""
        return int(self._depths[tensor.entries.columns].max(initial=-1))

    def activate(self, tensor: Tensor, slope: npt.ArrayLike = 0.0) -> Tensor:
        """Return ``max(t, 0) + slope * min(t, 0)``; an element that is constant stays constant.

        Parameters
        ----------
        tensor
            Pre-activations ``t``, any shape.
        slope
            Between 0 and 1, of a shape that broadcasts to the tensor's.
        """
        slopes = np.broadcast_to(np.asarray(slope, dtype=np.float64), tensor.shape).ravel()
        offset = np.maximum(tensor.offset, 0.0) + slopes * np.minimum(tensor.offset, 0.0)
        rows = np.unique(tensor.entries.rows)
        offset[rows] = 0.0
        check_size(len(self._depths) + len(rows), "neurons", ELEMENTS)
        before = tensor.reshape((tensor.size,)).take(rows)
        numbers = len(self._depths) + np.arange(len(rows), dtype=np.int64)
        self.activations.append(Activation(len(self._depths), before, slopes[rows]))
        depths = np.zeros(len(rows), dtype=np.int64)
        np.maximum.at(depths, before.entries.rows, self._depths[before.entries.columns])
        self._depths = np.concatenate([self._depths, depths + 1])
        return Tensor(tensor.shape, Entries.collect(rows, numbers, np.ones(len(rows))), offset)

    def carry(self, tensor: Tensor) -> Tensor:
        """Return ``tensor`` as neurons of slope 1, unless its elements are neurons already."""
        return tensor if tensor.is_selection else self.activate(tensor, 1.0)

    def before(self, tensor: Tensor) -> tuple[Tensor, float]:
        """Return ``(t, s)`` such that ``tensor`` is the activation of ``t`` with one slope ``s``.

        Where there is no such activation it is the tensor itself, with slope 1.
        """
        numbers = tensor.entries.columns
        if not tensor.is_selection or not tensor.size or numbers.min() < self.features:
            return tensor, 1.0
        firsts = [activation.first for activation in self.activations]
        made = np.searchsorted(firsts, numbers, side="right") - 1
        activation = self.activations[int(made[0])]
        if np.any(made != made[0]):
            return tensor, 1.0
        within = numbers - activation.first
        slopes = activation.slopes[within]
        if np.any(slopes != slopes[0]):
            return tensor, 1.0
        return activation.before.take(within.reshape(tensor.shape)), float(slopes[0])
