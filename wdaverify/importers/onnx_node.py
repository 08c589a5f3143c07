"""One node of an ONNX graph with its operands, as the operators read them."""

from typing import Any, Final, final

import numpy as np
import numpy.typing as npt
import onnx
from onnx.reference import ReferenceEvaluator

from wdaverify.arrays import Floats, floats
from wdaverify.errors import ProblemError, UnsupportedError
from wdaverify.importers.neurons import Neurons
from wdaverify.importers.onnx_sizes import check_outputs
from wdaverify.importers.tensor import Tensor

__all__ = ["FLOATS", "Node", "Value", "lift"]

FLOATS: Final = ("FLOAT", "DOUBLE", "FLOAT16", "BFLOAT16")
"""Element types that lift exactly to float64."""

Value = Tensor | npt.NDArray[Any]


@final
class Node:
    """A node, the values of its inputs and the neurons made so far.

    Parameters
    ----------
    proto
        The ``onnx.NodeProto``.
    values
        Values by name; a constant is an array (floats as float64).
    opsets
        Version of each operator set.
    """

    def __init__(
        self,
        proto: Any,  # noqa: ANN401  (onnx classes are generated, without types)
        values: dict[str, Value],
        opsets: dict[str, int],
        neurons: Neurons,
    ) -> None:
        self.proto = proto
        self.neurons = neurons
        self._opsets = opsets
        self._inputs: list[Value | None] = []
        for name in proto.input:
            if name and name not in values:
                raise ProblemError(
                    f"input {name!r} is neither an initialiser nor computed before this node"
                )
            self._inputs.append(values[name] if name else None)

    @property
    def inputs(self) -> list[Value]:
        """The inputs that are not left out."""
        return [value for value in self._inputs if value is not None]

    @property
    def opset(self) -> int:
        """Version of the default operator set."""
        return self._opsets.get("", self._opsets.get("ai.onnx", 1))

    def has(self, index: int) -> bool:
        """Whether the optional input ``index`` is given."""
        return index < len(self._inputs) and self._inputs[index] is not None

    def value(self, index: int) -> Value:
        """Return input ``index``.

        Raises
        ------
        ProblemError
            It is left out.
        """
        value = self._inputs[index] if index < len(self._inputs) else None
        if value is None:
            raise ProblemError(f"expected an input number {index}")
        return value

    def tensor(self, index: int = 0) -> Tensor:
        """Return input ``index`` as a tensor, a constant lifted.

        Raises
        ------
        ProblemError
            A constant that is not finite.
        UnsupportedError
            A constant that is not of floating point.
        """
        value = self.value(index)
        if isinstance(value, Tensor):
            return value
        return Tensor.constant(self._checked(value, index))

    def constant(self, index: int) -> Floats:
        """Return input ``index``, finite floats that do not depend on the network's input.

        Raises
        ------
        ProblemError
            A value that is not finite.
        UnsupportedError
            It depends on the network's input, or is not of floating point.
        """
        return self._checked(self._array(index), index)

    def integers(self, index: int) -> list[int]:
        """Return input ``index`` as a list of integers, which must be constant."""
        return [int(v) for v in self._array(index).ravel()]

    def number(self, index: int) -> float:
        """Return input ``index``, one number that may be infinite."""
        return float(self._array(index).reshape(()))

    def attribute(self, name: str, default: Any = None) -> Any:  # noqa: ANN401
        """Return the value of an attribute (strings as ``str``)."""
        for attribute in self.proto.attribute:
            if attribute.name == name:
                value = onnx.helper.get_attribute_value(attribute)
                return value.decode() if isinstance(value, bytes) else value
        return default

    def axes(self, index: int) -> list[int] | None:
        """Return ``axes``, an attribute in old operator sets and an input in new ones."""
        if self.has(index):
            return self.integers(index)
        axes = self.attribute("axes")
        return None if axes is None else [int(axis) for axis in axes]

    def evaluate(self, *inputs: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        """Return the node's outputs for arrays, by the reference implementation of ONNX.

        Parameters
        ----------
        inputs
            One array for each input that is not left out.

        Raises
        ------
        UnsupportedError
            An input that should be constant depends on the network's input, or an output that
            would fill the memory.
        """
        names = [name for name in self.proto.input if name]
        if len(names) != len(inputs):
            raise UnsupportedError("only the first input may depend on the network's input")
        check_outputs(self.proto, inputs, self._opsets)
        outputs = [name for name in self.proto.output if name]
        graph = onnx.helper.make_graph(
            [self.proto],
            "node",
            [onnx.helper.make_tensor_value_info(name, 1, None) for name in dict.fromkeys(names)],
            [onnx.helper.make_tensor_value_info(name, 1, None) for name in outputs],
        )
        evaluator = ReferenceEvaluator(graph, opsets=self._opsets)
        return list(evaluator.run(None, dict(zip(names, inputs, strict=True))))

    def _array(self, index: int) -> npt.NDArray[Any]:
        value = self.value(index)
        if isinstance(value, Tensor):
            raise UnsupportedError(
                f"input {self.proto.input[index]!r}: expected a constant, "
                f"found a tensor that depends on the network's input"
            )
        return value

    def _checked(self, value: npt.NDArray[Any], index: int) -> Floats:
        name = self.proto.input[index]
        if value.dtype != np.float64:
            raise UnsupportedError(f"{name!r}: expected floating point, found {value.dtype}")
        return floats(value, repr(name))


def lift(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return floats of any width as float64 (exactly) and other arrays as they are."""
    if array.dtype.kind == "f" or array.dtype.name == "bfloat16":
        return array.astype(np.float64)
    return np.asarray(array)
