"""Reader of torch modules and of exported programs: one walk over the graph of ATen operators.

``torch.export`` turns a module in evaluation mode into such a graph, with batch size 1. As in the
ONNX reader every value is an affine function of the neurons met so far, in float64.
"""

import operator
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.export import ExportedProgram, default_decompositions

from wdaverify.arrays import floats
from wdaverify.errors import ProblemError, UnsupportedError
from wdaverify.importers.layers import arrange, logits
from wdaverify.importers.neurons import Neurons
from wdaverify.importers.place import MALFORMED, at, one_line
from wdaverify.importers.tensor import Tensor
from wdaverify.importers.torch_call import Call, lift
from wdaverify.importers.torch_export import export
from wdaverify.importers.torch_file import load
from wdaverify.importers.torch_operators import evaluate, translate
from wdaverify.network import ReLUNetwork

__all__ = ["input_shape", "read_exported", "read_module", "reference_difference"]


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
    try:
        shape = tuple(operator.index(size) for size in input_shape)
    except TypeError:
        shape = ()
    if not shape or min(shape) < 1:
        raise ProblemError(
            f"{name}: expected an input shape of positive sizes, found {input_shape}"
        )
    example = torch.zeros((1, *shape), **_kind(module))
    with _evaluating(module), torch.no_grad():
        try:
            program = export(module, example)
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


def input_shape(path: Path) -> tuple[int, ...]:
    """Return the shape of one sample, without the batch dimension, as the program declares it.

    Raises
    ------
    ProblemError
        Not such a file, or a broken one.
    """
    path = Path(path)
    with at(str(path)):
        shape = _shape(_source(load(path)))
        return shape[1:] if len(shape) > 1 else shape


def _read(program: ExportedProgram) -> ReLUNetwork:
    if any(_mutates(node) for node in program.graph.nodes):
        program = _functional(program)
    try:
        return _walk(program)
    except UnsupportedError as error:
        try:  # many operators are made of others that are known
            return _walk(_functional(program, core_aten=True))
        except (ProblemError, UnsupportedError, *MALFORMED):
            raise error from None


def _walk(program: ExportedProgram) -> ReLUNetwork:
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
) -> Any:  # noqa: ANN401  (tensors, numbers, and tuples of them)
    if node.op == "placeholder":
        return lift(_stored(program, node.name))
    if node.op != "call_function":
        raise UnsupportedError(f"a node of kind {node.op}")
    args, kwargs = torch.fx.node.map_arg((node.args, node.kwargs), values.__getitem__)
    symbolic = any(_depends(values[argument]) for argument in node.all_input_nodes)
    if symbolic and node.target is not operator.getitem:
        return translate(Call(node.target, args, kwargs, neurons))
    return evaluate(node.target, args, kwargs)


def _depends(value: Any) -> bool:  # noqa: ANN401
    return isinstance(value, Tensor)


def _source(program: ExportedProgram) -> torch.fx.Node:
    return _only(program, "input", program.graph_signature.user_inputs)


def _output(program: ExportedProgram) -> torch.fx.Node:
    return _only(program, "output", program.graph_signature.user_outputs)


def _only(program: ExportedProgram, kind: str, names: Sequence[Any]) -> torch.fx.Node:
    if len(names) != 1:
        raise UnsupportedError(f"expected one {kind}, found {len(names)}: {names}")
    node: torch.fx.Node = next(node for node in program.graph.nodes if node.name == names[0])
    return node


def _shape(source: torch.fx.Node) -> tuple[int, ...]:
    """Return the shape of the input, with batch size 1."""
    example = source.meta["val"]
    if not isinstance(example, torch.Tensor) or not example.is_floating_point():
        found = example.dtype if isinstance(example, torch.Tensor) else type(example).__name__
        raise UnsupportedError(f"input {source.name!r}: expected floating point, found {found}")
    batch, *rest = example.shape if example.ndim > 1 else (1, *example.shape)
    if isinstance(batch, int) and batch != 1:
        raise ProblemError(
            f"input {source.name!r}: expected batch size 1 or dynamic, "
            f"found shape {tuple(example.shape)}"
        )
    if not rest or not all(isinstance(size, int) and size > 0 for size in rest):
        raise ProblemError(
            f"input {source.name!r}: expected fixed sizes beside the batch, "
            f"found shape {tuple(example.shape)}"
        )
    return (1, *rest) if example.ndim > 1 else tuple(rest)


def _stored(program: ExportedProgram, name: str) -> torch.Tensor:
    """Return the parameter, buffer or constant behind a placeholder."""
    signature = program.graph_signature
    stored = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    key = stored[name]
    value: torch.Tensor = {**program.constants, **program.state_dict}[key]
    floats(lift(value).numpy(), key, infinite=True)  # names the parameter that holds a NaN
    return value


def _needed(program: ExportedProgram, output: torch.fx.Node) -> set[torch.fx.Node]:
    needed = {output}
    for node in reversed(program.graph.nodes):
        if node in needed:
            needed.update(node.all_input_nodes)
    return needed


def _mutates(node: torch.fx.Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return schema is not None and bool(schema.is_mutable)


def _functional(program: ExportedProgram, *, core_aten: bool = False) -> ExportedProgram:
    """Rewrite operators that work in place: a value of the graph must not change later.

    With ``core_aten`` operators are also replaced by the few that torch composes them of.
    """
    table = default_decompositions() if core_aten else {}
    with warnings.catch_warnings():
        # torch's own code, met when it copies the program
        warnings.filterwarnings("ignore", ".*LeafSpec", FutureWarning)
        functional: ExportedProgram = program.run_decompositions(table)
    return functional


def _describe(node: torch.fx.Node) -> str:
    """Name an operator and, where the exporter kept it, the layer of the module."""
    if node.op == "placeholder":
        return f"parameter {node.name!r}"
    layers = [name for name, _ in node.meta.get("nn_module_stack", {}).values() if name]
    layer = f" of layer {layers[-1]!r}" if layers else ""
    return f"{node.target} node {node.name!r}{layer}"


def _kind(module: torch.nn.Module) -> dict[str, Any]:
    """Return the number type and the device of the module's parameters."""
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.is_floating_point():
            return {"dtype": tensor.dtype, "device": tensor.device}
    return {}


@contextmanager
def _evaluating(module: torch.nn.Module) -> Iterator[None]:
    """Set evaluation mode, and afterwards the mode of each part to what it was."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode
