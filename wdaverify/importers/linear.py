r"""Products of a symbolic tensor with constants: matrices, factors, means, batch normalisation.

.. math:: y = \frac{x - \mu}{\sqrt{v + \varepsilon}}\,\gamma + \beta
          = a x + (\beta - a \mu),\qquad a = \gamma / \sqrt{v + \varepsilon}
"""

from collections.abc import Sequence
from math import prod

import numpy as np

from wdaverify.arrays import Floats, Integers
from wdaverify.errors import ProblemError, UnsupportedError
from wdaverify.importers.entries import check_size
from wdaverify.importers.tensor import Tensor, add

__all__ = ["grouped", "matmul", "multiply", "normalise", "reduce_sum"]


def multiply(left: Tensor, right: Tensor) -> Tensor:
    """Return the elementwise product of two tensors, one of them constant.

    Raises
    ------
    UnsupportedError
        Neither is constant: the product is not piecewise affine.
    """
    if not right.is_constant:
        left, right = right, left
    if not right.is_constant:
        raise UnsupportedError("the product of two tensors that depend on the input is not affine")
    return left.scaled(right.offset.reshape(right.shape))


def matmul(left: Tensor, right: Tensor) -> Tensor:
    """Return the matrix product of two tensors, one of them constant, as ``numpy.matmul`` does.

    Raises
    ------
    ProblemError
        Shapes that do not match.
    UnsupportedError
        Neither is constant.
    """
    if not left.shape or not right.shape:
        raise ProblemError(f"no matrix product of shapes {left.shape} and {right.shape}")
    a = left.reshape((1, *left.shape)) if len(left.shape) == 1 else left
    b = right.reshape((*right.shape, 1)) if len(right.shape) == 1 else right
    if a.shape[-1] != b.shape[-2]:
        raise ProblemError(f"no matrix product of shapes {left.shape} and {right.shape}")
    if b.is_constant:
        product = _times(a, b.offset.reshape(b.shape))
    elif a.is_constant:  # W x = (xᵀ Wᵀ)ᵀ
        W = np.swapaxes(a.offset.reshape(a.shape), -1, -2)
        product = _transposed(_times(_transposed(b), W))
    else:
        raise UnsupportedError("the product of two tensors that depend on the input is not affine")
    keep = list(product.shape)
    if len(right.shape) == 1:
        del keep[-1]
    if len(left.shape) == 1:
        del keep[-1 if len(right.shape) == 1 else -2]
    return product.reshape(keep)


def _times(x: Tensor, W: Floats) -> Tensor:
    """``x (..., M, K) @ W (..., K, N)``."""
    batch = np.broadcast_shapes(x.shape[:-2], W.shape[:-2])
    M, N, K = x.shape[-2], W.shape[-1], W.shape[-2]
    shape = (*batch, M, N)
    check_size(prod(shape) * K, "products in one matrix product")
    rows = np.arange(prod(shape), dtype=np.int64).reshape(*shape, 1)
    inner = x.positions[..., :, None, :]
    factors = np.swapaxes(W, -1, -2)[..., None, :, :]
    full = (*shape, K)
    r, i, f = (np.broadcast_to(a, full).ravel() for a in (rows, inner, factors))
    return x.combine(shape, r, i, f)


def _transposed(x: Tensor) -> Tensor:
    return x.take(np.swapaxes(x.positions, -1, -2))


def normalise(x: Tensor, scale: Floats, shift: Floats) -> Tensor:
    """Return ``scale * x + shift`` with one factor per channel, axis 1 of ``x``.

    Raises
    ------
    ProblemError
        Not one factor per channel.
    """
    channels = x.shape[1] if len(x.shape) > 1 else 1
    if scale.shape != (channels,) or shift.shape != (channels,):
        raise ProblemError(
            f"expected one factor for each of {channels} channels, "
            f"found shapes {scale.shape} and {shift.shape}"
        )
    spread = (channels, *(1 for _ in x.shape[2:]))
    return add(x.scaled(scale.reshape(spread)), Tensor.constant(shift.reshape(spread)))


def grouped(x: Tensor, axes: Sequence[int]) -> tuple[Integers, tuple[int, ...]]:
    """Return the positions reduced to each element, ``(M, J)``, and the shape that remains.

    Reduced axes keep the length 1.
    """
    axes = [axis % len(x.shape) for axis in axes]
    kept = tuple(1 if k in axes else size for k, size in enumerate(x.shape))
    ends = list(range(len(x.shape) - len(axes), len(x.shape)))
    return np.moveaxis(x.positions, axes, ends).reshape(prod(kept), -1), kept


def reduce_sum(x: Tensor, axes: Sequence[int], *, mean: bool = False) -> Tensor:
    """Return the sum (or the mean) over some axes, which keep the length 1."""
    groups, shape = grouped(x, axes)
    rows = np.repeat(np.arange(len(groups), dtype=np.int64), groups.shape[1])
    factor = 1.0 / groups.shape[1] if mean else 1.0
    return x.combine(shape, rows, groups.ravel(), np.full(groups.size, factor))
