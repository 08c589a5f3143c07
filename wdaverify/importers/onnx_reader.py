"""Reader of ONNX models: one walk over the graph, from the input to the logits.

Every value is an affine function of the neurons met so far (`tensor`); an activation adds neurons
(`neurons`); at the end they are arranged in layers (`layers`). All arithmetic is in float64:
float32 weights lift exactly, folding batch normalisation or pooling rounds.
"""

from collections.abc import Iterable, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx.reference import ReferenceEvaluator

from wdaverify.errors import ProblemError
from wdaverify.importers.layers import arrange, logits
from wdaverify.importers.neurons import Neurons
from wdaverify.importers.onnx_file import Port, initialisers, load, ports
from wdaverify.importers.onnx_node import Node, Value, lift
from wdaverify.importers.onnx_operators import translate
from wdaverify.importers.place import at
from wdaverify.importers.tensor import Tensor
from wdaverify.network import ReLUNetwork

__all__ = ["input_shape", "read_onnx", "read_outputs", "reference_difference"]


def read_onnx(path: Path) -> ReLUNetwork:
    """Read a piecewise affine network from an ONNX file.

    Parameters
    ----------
    path
        A model with one input, of shape ``(batch, …)`` with batch 1 or dynamic, or ``(n,)``, and
        one output of shape ``(batch, …)`` or ``(K,)``; both are flattened in C order.

    Raises
    ------
    ProblemError
        Not an ONNX model, or one that contradicts itself; the message is one line that begins
        with the path and names the node.
    UnsupportedError
        An operator or a form that is not piecewise affine or not known.
    """
    path = Path(path)
    with at(str(path)), np.errstate(all="ignore"):
        return arrange(*_walk(path))


def read_outputs(path: Path) -> tuple[ReLUNetwork, int]:
    """Read a network that may have a single output: it is then there twice, as two equal logits.

    Returns
    -------
    tuple
        The network, and the number of its outputs.

    Raises
    ------
    ProblemError, UnsupportedError
        As :func:`read_onnx`.
    """
    with at(str(path)), np.errstate(all="ignore"):
        neurons, output = _walk(path)
        count = output.size
        if count == 1:
            output = output.take(np.zeros(2, dtype=np.int64))
        return arrange(neurons, output), count


def _walk(path: Path) -> tuple[Neurons, Tensor]:
    """Return all neurons of a model, and its output as an affine function of them."""
    model = load(path)
    source, target = ports(model)
    neurons = Neurons(prod(source.shape))
    values: dict[str, Value] = {name: lift(array) for name, array in initialisers(model).items()}
    values[source.name] = neurons.inputs(source.shape)
    opsets = {opset.domain: opset.version for opset in model.opset_import}
    for proto in _needed(model.graph.node, target.name):
        with at(_describe(proto)):
            outputs = translate(Node(proto, values, opsets, neurons))
            _define(values, proto.output, outputs)
    if target.name not in values:
        raise ProblemError(f"output {target.name!r} is not computed by any node")
    return neurons, logits(values[target.name])


def input_shape(path: Path) -> tuple[int, ...]:
    """Return the shape of one sample, without the batch dimension, as the model declares it.

    Raises
    ------
    ProblemError
        Not an ONNX model, or one whose input has no fixed shape.
    """
    path = Path(path)
    with at(str(path)):
        shape = ports(load(path))[0].shape
        return shape[1:] if len(shape) > 1 else shape


def reference_difference(path: Path, network: ReLUNetwork, points: npt.ArrayLike) -> float:
    """Return the largest difference between ``network`` and the file's own arithmetic.

    Parameters
    ----------
    path
        The ONNX file, evaluated in its own number type by ONNX's reference implementation.
    network
        What `read_onnx` made of it.
    points
        Shape ``(N, n)``; evaluated one by one, as the batch size may be fixed.

    Raises
    ------
    ProblemError
        The file cannot be read or evaluated.
    """
    path = Path(path)
    with at(str(path)), np.errstate(all="ignore"):
        model = load(path)
        source: Port = ports(model)[0]
        evaluator = ReferenceEvaluator(model)
        logits = network.logits(points)
        difference = 0.0
        for point, expected in zip(np.asarray(points), logits, strict=True):
            sample = point.reshape(source.shape).astype(source.dtype)
            found = np.asarray(evaluator.run(None, {source.name: sample})[0], dtype=np.float64)
            difference = max(difference, float(np.abs(found.ravel() - expected).max()))
        return difference


def _define(values: dict[str, Value], names: Sequence[str], outputs: Sequence[Value]) -> None:
    """Name the outputs of a node; those left out have an empty name."""
    for name, output in zip(names, outputs, strict=False):
        if name in values:
            raise ProblemError(f"{name!r} is defined twice")
        if name:
            values[name] = output


def _needed(nodes: Iterable[Any], output: str) -> list[Any]:
    """Return the nodes that the output depends on, in the file's order."""
    wanted = {output}
    kept = []
    for node in reversed(list(nodes)):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            kept.append(node)
    return kept[::-1]


def _describe(node: Any) -> str:  # noqa: ANN401
    name = f"{node.name!r} " if node.name else ""
    return f"{node.op_type} node {name}(output {', '.join(repr(o) for o in node.output)})"
