r"""From neurons with arbitrary connections to the layers of a `ReLUNetwork`.

Layer ``l`` holds the neurons of depth ``l`` that the output depends on and, with slope 1, those of
smaller depth that a deeper layer still needs:
:math:`h_l = (\sigma(E_l h_{l-1} + c_l),\; h_{l-1}|_{\text{needed later}})`.
"""

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from wdaverify.arrays import Bools, Floats, Integers
from wdaverify.errors import ProblemError, UnsupportedError
from wdaverify.importers.neurons import Neurons
from wdaverify.importers.tensor import Tensor
from wdaverify.network import ReLUNetwork

__all__ = ["arrange", "logits"]

_WEIGHTS: Final = 2**30
"""Most entries of all layers together (8 GiB of float64)."""


class _Graph(NamedTuple):
    """All neurons, then the logits: one numbering, one list of weights."""

    depths: Integers
    rows: Integers
    columns: Integers
    values: Floats
    offset: Floats
    slopes: Floats


class _Layer(NamedTuple):
    before: Integers
    """Numbers of the neurons of the layer below."""
    own: Integers
    carried: Integers

    @property
    def width(self) -> int:
        """Number of neurons."""
        return len(self.own) + len(self.carried)


def arrange(neurons: Neurons, output: Tensor) -> ReLUNetwork:
    """Return the layered network whose logits are the elements of ``output`` in C order.

    Raises
    ------
    ProblemError
        Fewer than two logits, or weights that are not finite.
    UnsupportedError
        The layers would take more than 8 GiB.
    """
    graph = _collect(neurons, output)
    layers = _plan(graph, neurons.features)
    count = sum(len(layer.before) * layer.width for layer in layers)
    if count > _WEIGHTS:
        raise UnsupportedError(
            f"as dense layers the network has {count} weights, expected at most {_WEIGHTS}"
        )
    weights = _matrices(graph, layers)
    biases = [_extended(graph.offset, layer, 0.0) for layer in layers]
    slopes = [_extended(graph.slopes, layer, 1.0) for layer in layers[:-1]]
    return ReLUNetwork(weights, biases, slopes)


def logits(output: Tensor | npt.NDArray[Any]) -> Tensor:
    """Return the output of a network on one sample, checked to be one row of logits.

    Raises
    ------
    ProblemError
        Several rows: the batch did not survive.
    """
    tensor = output if isinstance(output, Tensor) else Tensor.constant(output)
    if len(tensor.shape) > 1 and tensor.shape[0] != 1:
        raise ProblemError(f"expected an output of shape (1, K), found {tensor.shape}")
    return tensor


def _collect(neurons: Neurons, output: Tensor) -> _Graph:
    total = len(neurons.depths)
    parts = [(a.first, a.before) for a in neurons.activations] + [(total, output)]
    live = _live(neurons, output)
    top = int(neurons.depths[live].max(initial=0)) + 1
    rows = np.concatenate([first + t.entries.rows for first, t in parts])
    used = np.append(live, np.ones(output.size, dtype=bool))[rows]
    nothing, slopes = np.zeros(neurons.features), [a.slopes for a in neurons.activations]
    return _Graph(
        depths=np.append(np.where(live, neurons.depths, -1), np.full(output.size, top)),
        rows=rows[used],
        columns=np.concatenate([t.entries.columns for _, t in parts])[used],
        values=np.concatenate([t.entries.values for _, t in parts])[used],
        offset=np.concatenate([nothing, *(t.offset for _, t in parts)]),
        slopes=np.concatenate([nothing, *slopes, np.zeros(output.size)]),
    )


def _live(neurons: Neurons, output: Tensor) -> Bools:
    """Which neurons the output depends on; a dropped neuron is marked by depth -1."""
    live = np.zeros(len(neurons.depths), dtype=bool)
    live[output.entries.columns] = True
    for first, before, _ in reversed(neurons.activations):
        live[before.entries.columns[live[first + before.entries.rows]]] = True
    return live


def _plan(graph: _Graph, features: int) -> list[_Layer]:
    last = np.zeros(len(graph.depths), dtype=np.int64)  # the deepest layer that needs a neuron
    np.maximum.at(last, graph.columns, graph.depths[graph.rows])
    layers = []
    before = np.arange(features, dtype=np.int64)
    for depth in range(1, int(graph.depths.max()) + 1):
        own = np.flatnonzero(graph.depths == depth)
        carried = before[last[before] > depth]
        layers.append(_Layer(before, own, carried))
        before = np.concatenate([own, carried])
    return layers


def _extended(values: Floats, layer: _Layer, carried: float) -> Floats:
    return np.append(values[layer.own], np.full(len(layer.carried), carried))


def _matrices(graph: _Graph, layers: list[_Layer]) -> list[Floats]:
    depths = graph.depths[graph.rows]
    place = np.zeros(len(graph.depths), dtype=np.int64)
    matrices = []
    for depth, (before, own, carried) in enumerate(layers, start=1):
        W = np.zeros((len(own) + len(carried), len(before)))
        mine = depths == depth
        place[before] = np.arange(len(before))
        columns = place[graph.columns[mine]]
        W[np.arange(len(own), len(W)), place[carried]] = 1.0
        place[own] = np.arange(len(own))
        W[place[graph.rows[mine]], columns] = graph.values[mine]
        matrices.append(W)
    return matrices
