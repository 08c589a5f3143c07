"""The operators of ATen, each as operations on symbolic tensors.

Names and arguments are those of the schemas in ``native_functions.yaml``. An operator that only
moves data is carried out by torch itself on the positions of the elements, a call whose arguments
are constant on its constants.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import numpy as np
import torch
from torch.utils._pytree import tree_leaves, tree_map

from wdaverify.errors import UnsupportedError
from wdaverify.importers.entries import check_size
from wdaverify.importers.linear import matmul, multiply, normalise, reduce_sum
from wdaverify.importers.piecewise import clip, leaky, maximum, minimum, reduce_max, sum_of
from wdaverify.importers.tensor import Tensor, concatenate
from wdaverify.importers.torch_call import Call
from wdaverify.importers.torch_windows import (
    adaptive_average_pool,
    average_pool,
    convolve,
    max_pool,
)
from wdaverify.registry import Registry, load_extensions

__all__ = ["OPERATORS", "evaluate", "supported", "translate"]

_NAMES: Final = (
    "add and_ ceil eq floor floordiv ge getitem gt invert le lt mod mul ne neg not_ or_ pos sub "
    "truediv trunc xor"
)
_ARITHMETIC: Final = frozenset(_NAMES.split())
"""Functions of Python on sizes; others, such as powers, can be made to take for ever."""


def translate(call: Call) -> Any:  # noqa: ANN401  (what the operator returns)
    """Return the output of a call of which an argument depends on the network's input.

    Raises
    ------
    ProblemError
        Operands that contradict each other.
    UnsupportedError
        The operator is not known or not piecewise affine; the message lists those that are.
    """
    name = call.name
    if name == "aten.sym_size":
        return call.operand("self").shape[call.get("dim")]
    if name in _LIKE:
        x, *rest = call.args
        return evaluate(
            call.target, (torch.zeros(x.shape, dtype=torch.float64), *rest), call.kwargs
        )
    if name in _MOVES:
        return _moved(call)
    if name in _FIRST_OF_SEVERAL:
        return (_FIRST_OF_SEVERAL[name](call),)
    if name not in OPERATORS:
        load_extensions()
    if name in OPERATORS:
        return OPERATORS[name](call)
    raise _unsupported(call.target)


def evaluate(target: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
    """Return the output of a call whose arguments are all constant.

    Raises
    ------
    UnsupportedError
        Not an operator of ATen that always gives the same, nor one of Python on numbers.
    """
    if getattr(target, "__module__", None) in ("_operator", "math"):
        if target.__name__ not in _ARITHMETIC:
            raise _unsupported(target)
        return _small(target(*args, **kwargs))
    if not str(target).startswith("aten.") or torch.Tag.nondeterministic_seeded in target.tags:
        raise _unsupported(target)
    if "device" in kwargs:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    _check_output(target, args, kwargs)
    return target(*args, **kwargs)


def _check_output(target: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> None:  # noqa: ANN401
    """Refuse an output that would fill the memory, by asking torch for its shape alone."""

    def shell(leaf: Any) -> Any:  # noqa: ANN401
        return leaf.to("meta") if isinstance(leaf, torch.Tensor) else leaf

    if "device" in kwargs:
        kwargs = {**kwargs, "device": torch.device("meta")}
    try:
        outputs = target(*tree_map(shell, tuple(args)), **tree_map(shell, kwargs))
    except (NotImplementedError, RuntimeError, TypeError, ValueError):
        return  # the call itself says better what is wrong with it
    for output in tree_leaves(outputs):
        if isinstance(output, torch.Tensor):
            check_size(output.numel(), "elements in a constant")


def _small(value: Any) -> Any:  # noqa: ANN401
    """Refuse integers that no size can be, before they are multiplied on."""
    if isinstance(value, int) and abs(value) >= 2**63:
        raise UnsupportedError(
            f"expected sizes below 2**63, found one of {value.bit_length()} bits"
        )
    return value


def _unsupported(target: Any) -> UnsupportedError:  # noqa: ANN401
    softmax = "softmax" in str(target)
    hint = "; remove it, the losses read logits" if softmax else ""
    return UnsupportedError(
        f"operator {target} is not supported{hint}; supported: {', '.join(supported())}"
    )


def _moved(call: Call) -> Any:  # noqa: ANN401
    x, *rest = call.args
    if not isinstance(x, Tensor) or any(isinstance(value, Tensor) for value in rest):
        raise UnsupportedError("only the first argument may depend on the network's input")
    positions = torch.from_numpy(x.positions)
    _check_output(call.target, (positions, *rest), call.kwargs)
    moved = call.target(positions, *rest, **call.kwargs)
    if isinstance(moved, torch.Tensor):
        return x.take(moved.numpy())
    return [x.take(part.numpy()) for part in moved]


def _scattered(call: Call) -> Tensor:
    """Write ``src`` into a part of ``self``, as assignments to a slice do."""
    target, source = call.operand("self"), call.operand("src")
    both = concatenate([t.reshape((t.size,)) for t in (target, source)], 0)
    places = torch.from_numpy(target.positions), torch.from_numpy(source.positions) + target.size
    return both.take(call.target(*places, *call.args[2:], **call.kwargs).numpy())


def _add(call: Call) -> Tensor:
    return sum_of(call.neurons, call.operand("self"), _times(call.operand("other"), call, "alpha"))


def _subtract(call: Call) -> Tensor:
    other = _times(call.operand("other"), call, "alpha").scaled(-1.0)
    return sum_of(call.neurons, call.operand("self"), other)


def _subtract_from(call: Call) -> Tensor:
    negative = _times(call.operand("self"), call, "alpha").scaled(-1.0)
    return sum_of(call.neurons, call.operand("other"), negative)


def _times(x: Tensor, call: Call, name: str) -> Tensor:
    factor = call.get(name, 1)
    return x if factor == 1 else x.scaled(factor)


def _divide(call: Call) -> Tensor:
    if call.get("rounding_mode") is not None:
        raise UnsupportedError("a division that rounds is not affine")
    return call.operand("self").divided(call.constant("other"))


def _linear(call: Call) -> Tensor:
    weight = call.operand("weight")
    product = matmul(call.operand("input"), weight.take(np.swapaxes(weight.positions, -1, -2)))
    if call.get("bias") is None:
        return product
    return sum_of(call.neurons, product, call.operand("bias"))


def _add_product(call: Call, *, divide: bool) -> Tensor:
    """Return ``self + value * tensor1 * tensor2``, or with ``/ tensor2``."""
    first, second = call.operand("tensor1"), call.operand("tensor2")
    product = first.divided(call.constant("tensor2")) if divide else multiply(first, second)
    return sum_of(call.neurons, call.operand("self"), _times(product, call, "value"))


def _copy(call: Call) -> Tensor:
    """Return ``src`` in the shape of ``self``, as an assignment to a part of a tensor reads it."""
    source, target = call.operand("src"), call.get("self")
    return source.take(np.broadcast_to(source.positions, tuple(target.shape)))


def _addmm(call: Call) -> Tensor:
    product = matmul(call.operand("mat1"), call.operand("mat2"))
    bias = _times(call.operand("self"), call, "beta")
    return sum_of(call.neurons, _times(product, call, "alpha"), bias)


def _batch_norm(call: Call) -> Tensor:
    if call.get("training", default=False) or call.get("running_mean") is None:
        raise UnsupportedError("batch normalisation by the statistics of the batch is not affine")
    mean, variance = call.constant("running_mean"), call.constant("running_var")
    factor = 1.0 / np.sqrt(variance + call.get("eps"))
    if call.get("weight") is not None:
        factor = call.constant("weight") / np.sqrt(variance + call.get("eps"))
    shift = -mean * factor
    if call.get("bias") is not None:
        shift = call.constant("bias") - mean * factor
    return normalise(call.operand("input"), factor, shift)


def _clip(call: Call, lower: str, upper: str) -> Tensor:
    limits = call.limit(lower, -np.inf), call.limit(upper, np.inf)
    return clip(call.neurons, call.operand("self"), *limits)


def _prelu(call: Call) -> Tensor:
    x, slope = call.operand("self"), call.constant("weight")
    if slope.size > 1:
        slope = slope.reshape((-1, *(1 for _ in x.shape[2:])))
    return leaky(call.neurons, x, slope)


def _pair(call: Call, pair: Callable[..., Tensor]) -> Tensor:
    if not isinstance(call.get("other"), Tensor | torch.Tensor):
        raise UnsupportedError(f"{call.target}: expected two tensors")
    return pair(call.neurons, call.operand("self"), call.operand("other"))


def _identity(call: Call) -> Tensor:
    dtype = call.get("dtype")
    if dtype is not None and not dtype.is_floating_point:
        raise UnsupportedError(f"a conversion to {dtype} is not affine")
    return call.operand("self")


def _dropout(call: Call) -> Tensor:
    if call.get("train"):
        raise UnsupportedError("dropout in training mode")
    return call.operand("input")


def _cat(call: Call) -> Tensor:
    return concatenate(call.operands("tensors"), call.get("dim"))


def _stack(call: Call) -> Tensor:
    tensors = call.operands("tensors")
    axis = call.get("dim") % (len(tensors[0].shape) + 1)
    shapes = [(*t.shape[:axis], 1, *t.shape[axis:]) for t in tensors]
    return concatenate([t.reshape(s) for t, s in zip(tensors, shapes, strict=True)], axis)


def _pad(call: Call) -> Tensor:
    x, pads = call.operand("self"), call.get("pad")
    positions = torch.from_numpy(x.positions.astype(np.float64))  # reflection wants floats
    mode = call.get("mode", "constant")
    if mode == "constant":
        _check_output(torch.constant_pad_nd, (positions, pads, -1.0), {})
        moved = torch.constant_pad_nd(positions, pads, -1.0)
    else:
        moved = torch.nn.functional.pad(positions, pads, mode)
    fill = call.get("value")
    return x.take(moved.numpy().astype(np.int64), fill=float(fill or 0.0))


def _reduced(call: Call, reduction: Callable[[Tensor, Sequence[int]], Tensor]) -> Tensor:
    x = call.operand("self")
    dims = call.get("dim")
    axes = [dims] if isinstance(dims, int) else list(dims or range(len(x.shape)))
    axes = [axis % len(x.shape) for axis in axes]
    result = reduction(x, axes)
    if call.get("keepdim", default=False):
        return result
    return result.reshape([size for k, size in enumerate(result.shape) if k not in axes])


def _mean(x: Tensor, axes: Sequence[int]) -> Tensor:
    return reduce_sum(x, axes, mean=True)


def _largest(call: Call) -> Tensor:
    return _reduced(call, lambda x, axes: reduce_max(call.neurons, x, axes))


def _product(call: Call, other: str) -> Tensor:
    return matmul(call.operand("self"), call.operand(other))


_BUILT_IN: Final[dict[str, Callable[[Call], Tensor]]] = {
    "aten._adaptive_avg_pool2d": partial(adaptive_average_pool, rank=2),
    "aten._to_copy": _identity,
    "aten.abs": lambda call: leaky(call.neurons, call.operand("self"), -1.0),
    "aten.adaptive_avg_pool1d": partial(adaptive_average_pool, rank=1),
    "aten.adaptive_avg_pool2d": partial(adaptive_average_pool, rank=2),
    "aten.add": _add,
    "aten.addcdiv": partial(_add_product, divide=True),
    "aten.addcmul": partial(_add_product, divide=False),
    "aten.addmm": _addmm,
    "aten.amax": _largest,
    "aten.avg_pool1d": partial(average_pool, rank=1),
    "aten.avg_pool2d": partial(average_pool, rank=2),
    "aten.batch_norm": _batch_norm,
    "aten.bmm": partial(_product, other="mat2"),
    "aten.cat": _cat,
    "aten.clamp": partial(_clip, lower="min", upper="max"),
    "aten.clamp_max": partial(_clip, lower="", upper="max"),
    "aten.clamp_min": partial(_clip, lower="min", upper=""),
    "aten.concat": _cat,
    "aten.constant_pad_nd": _pad,
    "aten.conv1d": convolve,
    "aten.conv2d": convolve,
    "aten.convolution": convolve,
    "aten.copy": _copy,
    "aten.div": _divide,
    "aten.dropout": _dropout,
    "aten.feature_dropout": _dropout,
    "aten.hardtanh": partial(_clip, lower="min_val", upper="max_val"),
    "aten.leaky_relu": lambda call: leaky(
        call.neurons, call.operand("self"), call.get("negative_slope")
    ),
    "aten.linear": _linear,
    "aten.matmul": partial(_product, other="other"),
    "aten.max": partial(_pair, pair=maximum),
    "aten.max_pool1d": partial(max_pool, rank=1),
    "aten.max_pool2d": partial(max_pool, rank=2),
    "aten.maximum": partial(_pair, pair=maximum),
    "aten.mean": partial(_reduced, reduction=_mean),
    "aten.min": partial(_pair, pair=minimum),
    "aten.minimum": partial(_pair, pair=minimum),
    "aten.mm": partial(_product, other="mat2"),
    "aten.mul": lambda call: multiply(call.operand("self"), call.operand("other")),
    "aten.neg": lambda call: call.operand("self").scaled(-1.0),
    "aten.pad": _pad,
    "aten.prelu": _prelu,
    "aten.relu": lambda call: call.neurons.activate(call.operand("self")),
    "aten.relu6": lambda call: clip(call.neurons, call.operand("self"), 0.0, 6.0),
    "aten.rsub": _subtract_from,
    "aten.select_scatter": _scattered,
    "aten.slice_scatter": _scattered,
    "aten.stack": _stack,
    "aten.sub": _subtract,
    "aten.sum": partial(_reduced, reduction=reduce_sum),
    "aten.to": _identity,
}
_FIRST_OF_SEVERAL: Final[dict[str, Callable[[Call], Tensor]]] = {
    "aten._native_batch_norm_legit_no_training": _batch_norm,
    "aten.max_pool2d_with_indices": partial(max_pool, rank=2),
}
_MOVED: Final = (
    "_unsafe_view alias chunk clone contiguous detach expand flatten flip index_select movedim "
    "mT narrow numpy_T permute pixel_shuffle repeat reshape roll select slice split "
    "split_with_sizes squeeze t transpose unbind unflatten unfold unsqueeze view"
)
_MOVES: Final = tuple(f"aten.{name}" for name in _MOVED.split())
_LIKE: Final = ("aten.full_like", "aten.new_zeros", "aten.ones_like", "aten.zeros_like")
OPERATORS: Final[Registry[Callable[[Call], Tensor]]] = Registry("torch operator", _BUILT_IN.items())
"""What each operator does, by its name without the overload."""


def supported() -> tuple[str, ...]:
    """Return the names of all operators that may depend on the network's input."""
    return tuple(sorted([*OPERATORS, *_FIRST_OF_SEVERAL, *_MOVES, *_LIKE]))
