r"""Piecewise affine operations rewritten with ReLU and neurons that pass their value on.

.. math:: \max(a, b) = b + \max(a - b, 0),\qquad |x| = -x + 2 \max(x, 0)

The maximum of more than two goes by halves. An increasing function commutes with it, so max-pooling
after ReLU takes the maximum of the pre-activations first: otherwise every window of negative
pre-activations would leave a neuron that is constantly zero.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from wdaverify.arrays import Integers
from wdaverify.errors import ProblemError
from wdaverify.importers.linear import grouped
from wdaverify.importers.neurons import Neurons
from wdaverify.importers.tensor import Tensor, add, concatenate
from wdaverify.importers.windows import Axis

__all__ = ["clip", "leaky", "max_pool", "maximum", "minimum", "reduce_max", "sum_of"]


def sum_of(neurons: Neurons, left: Tensor, right: Tensor) -> Tensor:
    """Return the sum of two tensors, the shallower one carried where that takes fewer neurons.

    A skip connection can pass on the elements of the tensor or the neurons they are made of.
    """
    if neurons.depth(left) > neurons.depth(right):
        left, right = right, left
    deeper = neurons.depth(left) < neurons.depth(right)
    if deeper and left.size < len(np.unique(left.entries.columns)):
        left = neurons.carry(left)
    return add(left, right)


def leaky(neurons: Neurons, x: Tensor, slope: npt.ArrayLike) -> Tensor:
    """Return ``max(x, 0) + slope * min(x, 0)`` for any slope."""
    slopes = np.asarray(slope, dtype=np.float64)
    if np.all((slopes >= 0) & (slopes <= 1)):
        return neurons.activate(x, slopes)
    return sum_of(neurons, x.scaled(slopes), neurons.activate(x).scaled(1.0 - slopes))


def clip(neurons: Neurons, x: Tensor, lower: float, upper: float) -> Tensor:
    """Return ``x`` clipped to ``[lower, upper]``; infinite limits are allowed.

    Raises
    ------
    ProblemError
        The limits are not numbers or out of order.
    """
    if not lower <= upper or lower == np.inf or upper == -np.inf:
        raise ProblemError(f"expected limits lower <= upper, found {lower} and {upper}")
    if lower == -np.inf and upper == np.inf:
        return x
    if lower == -np.inf:
        below = neurons.activate(add(Tensor.constant(upper), x.scaled(-1.0)))
        return add(Tensor.constant(upper), below.scaled(-1.0))
    result = add(Tensor.constant(lower), neurons.activate(add(x, Tensor.constant(-lower))))
    if upper == np.inf:
        return result
    above = neurons.activate(add(x, Tensor.constant(-upper)))
    return add(result, above.scaled(-1.0))


def maximum(neurons: Neurons, left: Tensor, right: Tensor) -> Tensor:
    """Return the elementwise maximum; NumPy broadcasting."""
    shape = np.broadcast_shapes(left.shape, right.shape)
    both = [t.take(np.broadcast_to(t.positions, shape).ravel()) for t in (left, right)]
    size = both[0].size
    pairs = np.arange(size, dtype=np.int64)[:, None] + np.array([0, size])
    return _maximum_of(neurons, concatenate(both, 0), pairs).reshape(shape)


def minimum(neurons: Neurons, left: Tensor, right: Tensor) -> Tensor:
    """Return the elementwise minimum; NumPy broadcasting."""
    return maximum(neurons, left.scaled(-1.0), right.scaled(-1.0)).scaled(-1.0)


def reduce_max(neurons: Neurons, x: Tensor, axes: Sequence[int]) -> Tensor:
    """Return the maximum over some axes, which keep the length 1."""
    groups, shape = grouped(x, axes)
    return _maximum_of(neurons, x, groups).reshape(shape)


def max_pool(neurons: Neurons, x: Tensor, axes: Sequence[Axis]) -> Tensor:
    """Return the maximum of each window of ``x (1, C, *sizes)``, one axis after the other.

    Overlapping windows share the maxima of one axis. Padding never wins.

    Raises
    ------
    ProblemError
        A window lies in the padding.
    """
    if len(x.shape) != len(axes) + 2:
        raise ProblemError(f"expected {len(axes)} spatial axes, found shape {x.shape}")
    for k, axis in enumerate(axes, start=2):
        if not axis.inside.any(axis=1).all():
            raise ProblemError(f"a window lies in the padding: {axis}")
        order = np.argsort(~axis.inside, axis=1, kind="stable")  # what is padding goes last
        places = np.take_along_axis(np.where(axis.inside, axis.places, -1), order, axis=1)
        lines = np.moveaxis(x.positions, k, -1)
        groups = np.where(places < 0, -1, lines[..., places])
        shape = (*lines.shape[:-1], axis.outputs)
        pooled = _maximum_of(neurons, x, groups.reshape(-1, axis.kernel)).reshape(shape)
        x = pooled.take(np.moveaxis(pooled.positions, -1, k))
    return x


def _maximum_of(neurons: Neurons, x: Tensor, groups: Integers) -> Tensor:
    """Return the maximum of each row of ``groups (M, J)``: positions, then -1 for nothing."""
    if groups.shape[1] == 0 or np.any(groups[:, 0] < 0):
        raise ProblemError("the maximum of no elements")
    flat = x.reshape((x.size,))
    before, slope = neurons.before(flat)
    if slope < 1 and groups.shape[1] > 1:
        return neurons.activate(_maximum_of(neurons, before, groups), slope)
    while groups.shape[1] > 1:
        flat, groups = _halved(neurons, flat, groups)
    return flat.take(groups[:, 0])


def _halved(neurons: Neurons, flat: Tensor, groups: Integers) -> tuple[Tensor, Integers]:
    """Replace neighbours in a group by their maximum, the same pair only once."""
    if groups.shape[1] % 2:
        groups = np.pad(groups, ((0, 0), (0, 1)), constant_values=-1)
    left, right = groups[:, ::2], groups[:, 1::2]
    some = left >= 0
    keys, index = np.unique(left[some] * (flat.size + 1) + right[some] + 1, return_inverse=True)
    first, second = keys // (flat.size + 1), keys % (flat.size + 1) - 1
    single = second < 0
    kept = neurons.carry(flat.take(np.where(single, first, second)))
    pairs = np.flatnonzero(~single)
    excess = neurons.activate(add(flat.take(first[pairs]), flat.take(second[pairs]).scaled(-1.0)))
    spread = np.full(len(keys), -1, dtype=np.int64)
    spread[pairs] = np.arange(len(pairs))
    halves = np.full(left.shape, -1, dtype=np.int64)
    halves[some] = index.ravel()
    return add(kept, excess.take(spread)), halves
