"""Opening an ONNX file: everything that can be wrong with it before its operators are looked at."""

from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import external_data_helper, inliner, numpy_helper

from wdaverify.errors import ProblemError, UnsupportedError
from wdaverify.importers.onnx_node import FLOATS
from wdaverify.importers.onnx_sizes import check_functions
from wdaverify.importers.place import at

__all__ = ["Port", "initialisers", "load", "ports", "self_contained"]

LARGEST: Final = 2**31
"""Most bytes of a file, which is also the most that the format allows."""


class Port(NamedTuple):
    """The input or the output of a model."""

    name: str
    shape: tuple[int, ...]
    """With the batch dimension, if there is one, set to 1."""
    dtype: npt.DTypeLike


def load(path: Path) -> Any:  # noqa: ANN401  (onnx classes are generated, without types)
    """Return the ``onnx.ModelProto`` in ``path``, external data and local functions included.

    Raises
    ------
    ProblemError
        Not an ONNX model, or its external data are missing.
    """
    model = _parse(_bytes(path))
    _load_external(model, path.parent)
    if model.functions:
        with at("local functions"):
            check_functions(model)
            model = inliner.inline_local_functions(model)
    return model


def self_contained(path: Path) -> tuple[bytes, bool]:
    """Return the bytes of a model, and whether external data had to be put into them.

    Raises
    ------
    ProblemError
        Not an ONNX model, or its external data are missing.
    """
    data = _bytes(path)
    model = _parse(data)
    if not _load_external(model, path.parent):
        return data, False
    return model.SerializeToString(), True


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise ProblemError(f"expected an ONNX model, found {error.strerror}") from None
    if len(data) > LARGEST:
        raise ProblemError(f"expected an ONNX model, found more than {LARGEST} bytes")
    return data


def _parse(data: bytes) -> Any:  # noqa: ANN401
    try:
        model = onnx.load_model_from_string(data)
    except (DecodeError, RuntimeError, ValueError):
        raise ProblemError(f"expected an ONNX model, found {_describe(data)}") from None
    if not model.HasField("graph") or not model.graph.node:
        raise ProblemError(f"expected an ONNX model, found {_describe(data)}")
    return model


def initialisers(model: Any) -> dict[str, npt.NDArray[Any]]:  # noqa: ANN401
    """Return the constants of the graph by name, in the file's own types.

    Raises
    ------
    ProblemError
        Data that do not fill the declared shape.
    """
    arrays = {}
    for tensor in model.graph.initializer:
        with at(f"initialiser {tensor.name!r}"):
            arrays[tensor.name] = numpy_helper.to_array(tensor)
    return arrays


def ports(model: Any) -> tuple[Port, Port]:  # noqa: ANN401
    """Return the one input and the one output.

    Raises
    ------
    ProblemError
        A batch size other than 1, or another dimension that is not fixed.
    UnsupportedError
        Several inputs or outputs, or an input that is not of floating point.
    """
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    for kind, values in (("input", inputs), ("output", model.graph.output)):
        if len(values) != 1:
            names = ", ".join(value.name for value in values)
            raise UnsupportedError(f"expected one {kind}, found {len(values)}: {names}")
    return _input_port(inputs[0]), Port(model.graph.output[0].name, (), np.float64)


def _input_port(value: Any) -> Port:  # noqa: ANN401
    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        raise UnsupportedError(f"input {value.name!r}: expected a tensor, found {kind}")
    declared = value.type.tensor_type
    element = onnx.TensorProto.DataType.Name(declared.elem_type)
    if element not in FLOATS:
        raise UnsupportedError(f"input {value.name!r}: expected floating point, found {element}")
    if not declared.HasField("shape") or not declared.shape.dim:
        raise ProblemError(f"input {value.name!r}: expected a shape (batch, …), found none")
    dims = [_dim(dim) for dim in declared.shape.dim]
    shown = f"({', '.join(str(dim) for dim in dims)})"
    if len(dims) > 1:
        if dims[0] != 1 and isinstance(dims[0], int):
            raise ProblemError(
                f"input {value.name!r}: expected batch size 1 or dynamic, found shape {shown}"
            )
        dims[0] = 1
    if not all(isinstance(dim, int) for dim in dims):
        raise ProblemError(
            f"input {value.name!r}: expected fixed sizes beside the batch, found shape {shown}"
        )
    shape = tuple(int(dim) for dim in dims)
    return Port(value.name, shape, onnx.helper.tensor_dtype_to_np_dtype(declared.elem_type))


def _dim(dim: Any) -> int | str:  # noqa: ANN401
    """Return a size, or the name of a dynamic one; exporters also write 0 or -1 for dynamic."""
    if dim.HasField("dim_value") and dim.dim_value > 0:
        return int(dim.dim_value)
    return dim.dim_param or "?"


def _load_external(model: Any, folder: Path) -> bool:  # noqa: ANN401
    """Read data that stand in files beside the model; whether there are any."""
    external = [t for t in model.graph.initializer if external_data_helper.uses_external_data(t)]
    for tensor in external:
        place = external_data_helper.ExternalDataInfo(tensor).location
        try:
            external_data_helper.load_external_data_for_tensor(tensor, str(folder))
        except (OSError, RuntimeError, ValueError, onnx.checker.ValidationError):
            raise ProblemError(
                f"initialiser {tensor.name!r}: its external data {place!r} are missing or truncated"
            ) from None
        tensor.data_location = onnx.TensorProto.DEFAULT
        del tensor.external_data[:]
    return bool(external)


def _describe(data: bytes) -> str:
    return f"{len(data)} bytes beginning {data[:12]!r}" if data else "an empty file"
