"""Export of a torch module as a graph of ATen operators.

``torch.export`` traces without values, and so stops at a Python ``if`` about a constant, such as
``if (std == 0).any()`` in torchvision's ``Normalize``. Where it stops it is tried again with
constants watched: what is made of numbers alone keeps its value beside the graph, and answers such
questions. An ``if`` about the input, or about a parameter, is still refused.
"""

import io
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from typing import Any, Final

import torch
from torch.export import ExportedProgram
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map

__all__ = ["export"]

_LOGGERS: Final = ("torch.export", "torch.fx.experimental.symbolic_shapes")
_MAKERS: Final = frozenset({torch.as_tensor, torch.tensor})
_QUESTIONS: Final = frozenset(
    {
        torch.Tensor.__bool__,
        torch.Tensor.__float__,
        torch.Tensor.__int__,
        torch.Tensor.item,
        torch.Tensor.tolist,
    }
)


def export(module: torch.nn.Module, example: torch.Tensor) -> ExportedProgram:
    """Return the program that a module in evaluation mode runs on inputs of this shape.

    Raises
    ------
    Exception
        Whatever torch or the module's own code raises.
    """
    with _silent():
        try:
            return torch.export.export(module, (example,), strict=False)
        except RuntimeError as error:
            try:
                with _Constants():
                    return torch.export.export(module, (example,), strict=False)
            except Exception:  # noqa: BLE001  (the first reason is the one to tell)
                raise error from None


class _Constants(TorchFunctionMode):
    """Values of the tensors that are made of numbers alone, while a module is traced."""

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}  # kept, so ids stay unique

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        kwargs = kwargs or {}
        tensors = [v for v in tree_leaves((args, kwargs)) if isinstance(v, torch.Tensor)]
        known = all(id(v) in self._known for v in tensors) and (bool(tensors) or func in _MAKERS)
        if not known:
            if _writes(func, kwargs):
                self._known.clear()
            return func(*args, **kwargs)
        value = self._value(func, args, kwargs)
        if func in _QUESTIONS:
            return value
        result = func(*args, **kwargs)
        if isinstance(result, torch.Tensor) and isinstance(value, torch.Tensor):
            self._known[id(result)] = result, value
        return result

    def _value(
        self,
        func: Callable[..., Any],
        args: Sequence[Any],
        kwargs: dict[str, Any],
    ) -> Any:  # noqa: ANN401
        def real(leaf: Any) -> Any:  # noqa: ANN401
            return self._known[id(leaf)][1] if isinstance(leaf, torch.Tensor) else leaf

        with _disable_current_modes():
            return func(*tree_map(real, tuple(args)), **tree_map(real, kwargs))


def _writes(func: Callable[..., Any], kwargs: dict[str, Any]) -> bool:
    """Whether a function may change a tensor that it is given."""
    name = getattr(func, "__name__", "")
    plain = name.startswith("__") and name.endswith("__")
    return name == "__setitem__" or "out" in kwargs or (name.endswith("_") and not plain)


@contextmanager
def _silent() -> Iterator[None]:
    """Keep torch from printing about what we report in one line."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [logger.disabled for logger in loggers]
    for logger in loggers:
        logger.disabled = True
    try:
        with redirect_stderr(io.StringIO()):  # where a trace that failed is printed
            yield
    finally:
        for logger, disabled in zip(loggers, before, strict=True):
            logger.disabled = disabled
