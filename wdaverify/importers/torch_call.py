"""One call of an ATen operator with its operands, as the operators read them."""

from collections.abc import Sequence
from typing import Any, final

import numpy as np
import torch

from wdaverify.arrays import Floats, floats
from wdaverify.errors import UnsupportedError
from wdaverify.importers.neurons import Neurons
from wdaverify.importers.tensor import Tensor

__all__ = ["Call", "lift"]


@final
class Call:
    """An operator, its arguments by the names of its schema, and the neurons made so far.

    Parameters
    ----------
    target
        The ``torch._ops.OpOverload``.
    args, kwargs
        Arguments; what depends on the network's input is a `Tensor`.
    """

    def __init__(
        self,
        target: Any,  # noqa: ANN401  (the class has no public name)
        args: Sequence[Any],
        kwargs: dict[str, Any],
        neurons: Neurons,
    ) -> None:
        self.target = target
        self.args = args
        self.kwargs = kwargs
        self.neurons = neurons
        schema = target._schema.arguments  # noqa: SLF001  (torch has no public way)
        self._named = {
            argument.name: argument.default_value
            for argument in schema
            if argument.has_default_value()
        }
        self._named |= {argument.name: value for argument, value in zip(schema, args, strict=False)}
        self._named |= kwargs

    @property
    def name(self) -> str:
        """Name without the overload, such as ``aten.add``."""
        return str(self.target).rpartition(".")[0]

    def get(self, name: str, default: Any = None) -> Any:  # noqa: ANN401
        """Return an argument, its default in the schema, or else ``default``."""
        return self._named.get(name, default)

    def operand(self, name: str) -> Tensor:
        """Return an argument as a tensor, a constant lifted.

        Raises
        ------
        ProblemError
            A constant that is not finite.
        """
        value = self._named[name]
        return value if isinstance(value, Tensor) else Tensor.constant(self.constant(name))

    def operands(self, name: str) -> list[Tensor]:
        """Return an argument that is a list of tensors."""
        return [
            value if isinstance(value, Tensor) else Tensor.constant(_array(value, name))
            for value in self._named[name]
        ]

    def constant(self, name: str) -> Floats:
        """Return an argument that does not depend on the network's input, as float64.

        Raises
        ------
        ProblemError
            A value that is not finite.
        UnsupportedError
            It depends on the network's input.
        """
        value = self._named[name]
        if isinstance(value, Tensor):
            raise UnsupportedError(
                f"{name}: expected a constant, found a tensor that depends on the network's input"
            )
        return _array(value, name)

    def limit(self, name: str, default: float) -> float:
        """Return an argument that is one number, maybe infinite, or left out."""
        value = self._named.get(name)
        return default if value is None else float(value)


def lift(value: torch.Tensor) -> torch.Tensor:
    """Return a tensor on the CPU, floats of any width as float64 (exactly)."""
    value = value.detach().cpu()
    return value.to(torch.float64) if value.is_floating_point() else value


def _array(value: Any, name: str) -> Floats:  # noqa: ANN401
    if isinstance(value, torch.Tensor):
        value = np.asarray(lift(value).numpy())
    return floats(value, name)
