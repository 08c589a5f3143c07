"""Reader of torch modules and of exported programs: one walk over the graph of ATen operators.

``torch.export`` turns a module in evaluation mode into such a graph, with batch size 1. As in the
ONNX reader every value is an affine function of the neurons met so far, in float64.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.export import ExportedProgram

from wdaverify.errors import ProblemError, UnsupportedError
from wdaverify.importers.layers import arrange, logits
from wdaverify.importers.neurons import Neurons
from wdaverify.importers.place import at, one_line
from wdaverify.importers.tensor import Tensor
from wdaverify.importers.torch_call import Call, lift
from wdaverify.importers.torch_file import load
from wdaverify.importers.torch_operators import evaluate, translate
from wdaverify.network import ReLUNetwork

__all__ = ["read_exported", "read_module", "reference_difference"]


def read_module(module: torch.nn.Module, input_shape: tuple[int, ...]) -> ReLUNetwork:
    """Read a piecewise affine network from a module, as it computes in evaluation mode.

    Parameters
    ----------
    module
        Not changed; its training mode is the same afterwards.
    input_shape
        Shape of one sample without the batch dimension; it is flattened in C order.

    Raises
    ------
    ProblemError
        Not a module, or one that cannot be exported for inputs of this shape.
    UnsupportedError
        An operator that is not piecewise affine or not known.
    """
    if not isinstance(module, torch.nn.Module):
        raise ProblemError(f"expected a torch.nn.Module, found {type(module).__name__}")
    name = type(module).__name__
    shape = tuple(input_shape)
    if not shape or not all(isinstance(size, int) and size > 0 for size in shape):
        raise ProblemError(f"{name}: expected an input shape of positive sizes, found {shape}")
    example = torch.zeros((1, *shape), **_kind(module))
    with _evaluating(module), torch.no_grad():
        try:
            program = torch.export.export(module, (example,), strict=False)
        except Exception as error:  # tracing raises whatever the module's own code raises
            raise ProblemError(
                f"{name}: torch.export fails for input shape {tuple(example.shape)}: "
                f"{one_line(error)}"
            ) from error
    with at(name):
        return _read(program)


def read_exported(path: Path) -> ReLUNetwork:
    """Read a piecewise affine network from a file of ``torch.export.save``.

    Parameters
    ----------
    path
        A program with one input of shape ``(1, …)``, or with dynamic batch size, and one output.

    Raises
    ------
    ProblemError
        Not such a file, a broken one, or one with parts that would run code when loaded.
    UnsupportedError
        An operator that is not piecewise affine or not known.
    """
    path = Path(path)
    with at(str(path)):
        return _read(load(path))


def reference_difference(path: Path, network: ReLUNetwork, points: npt.ArrayLike) -> float:
    """Return the largest difference between ``network`` and the file's own arithmetic.

    Parameters
    ----------
    path
        The file of ``torch.export.save``, evaluated by torch in its own number type.
    network
        What `read_exported` made of it.
    points
        Shape ``(N, n)``; evaluated one by one, as the batch size may be fixed.

    Raises
    ------
    ProblemError
        The file cannot be read or evaluated.
    """
    path = Path(path)
    with at(str(path)), torch.no_grad():
        program = load(path)
        source = _source(program)
        shape, dtype = _shape(source), source.meta["val"].dtype
        module = program.module()
        expected = network.logits(points)
        difference = 0.0
        for point, row in zip(np.asarray(points, dtype=np.float64), expected, strict=True):
            found = module(torch.from_numpy(point.reshape(shape)).to(dtype))
            errors = found.to(torch.float64).numpy().ravel() - row
            difference = max(difference, float(np.abs(errors).max()))
        return difference


def _read(program: ExportedProgram) -> ReLUNetwork:
    if any(_mutates(node) for node in program.graph.nodes):
        program = _functional(program)
    source = _source(program)
    shape = _shape(source)
    neurons = Neurons(prod(shape))
    values: dict[torch.fx.Node, Any] = {source: neurons.inputs(shape)}
    output = _output(program)
    needed = _needed(program, output)
    with np.errstate(all="ignore"), torch.no_grad():
        for node in program.graph.nodes:
            if node in needed and node not in values:
                with at(_describe(node)):
                    values[node] = _value(program, node, values, neurons)
        result = values[output]
        if isinstance(result, torch.Tensor):
            result = lift(result).numpy()
        return arrange(neurons, logits(result))


def _value(
    program: ExportedProgram,
    node: torch.fx.Node,
    values: dict[torch.fx.Node, Any],
    neurons: Neurons,
) -> Any:  # noqa: ANN401
    if node.op == "placeholder":
        return lift(_stored(program, node.name))
    if node.op != "call_function":
        raise UnsupportedError(f"a node of kind {node.op}")
    args, kwargs = torch.fx.node.map_arg((node.args, node.kwargs), values.__getitem__)
    given = [values[argument] for argument in node.all_input_nodes]
    if not any(isinstance(value, Tensor) for value in given) or _is_item(node):
        return evaluate(node.target, args, kwargs)
    return translate(Call(node.target, args, kwargs, neurons))
