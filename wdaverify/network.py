r"""Piecewise affine networks :math:`f:\mathbb{R}^n\to\mathbb{R}^K` in layered form.

.. math:: h_0 = x,\quad z_l = W_l h_{l-1} + b_l,\quad h_l = \max(z_l, 0) + s_l \min(z_l, 0),
          \quad f(x) = W_L h_{L-1} + b_L

The *negative slope* ``s`` of a hidden neuron is 0 for ReLU, between 0 and 1 for LeakyReLU and 1
for a neuron that only passes its value on (such a neuron never splits a cell; max-pooling and
skip connections need it). Every activation pattern fixes the affine map of the network.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from wdaverify.arrays import Bools, Floats, floats
from wdaverify.errors import ProblemError
from wdaverify.tolerances import ROUNDING

if TYPE_CHECKING:
    import torch

__all__ = ["AffineMap", "ReLUNetwork"]


class AffineMap(NamedTuple):
    """``x -> matrix @ x + offset``."""

    matrix: Floats
    """Shape ``(rows, n)``."""
    offset: Floats
    """Shape ``(rows,)``."""


@dataclass(frozen=True, slots=True, eq=False)
class ReLUNetwork:
    """A feed-forward network with float64 weights and piecewise affine activations.

    Parameters
    ----------
    weights
        One matrix ``(out, in)`` per layer.
    biases
        One vector ``(out,)`` per layer.
    slopes
        One vector of negative slopes per hidden layer; all zero (ReLU) when omitted.

    Raises
    ------
    ProblemError
        Shapes that do not chain (both are named), NaN or infinite entries, fewer than two logits.

    Examples
    --------
    >>> relu = ReLUNetwork([[[1.0]], [[0.0], [1.0]]], [[0.0], [0.0, 0.0]])
    >>> relu.logits([[-2.0], [3.0]])
    array([[0., 0.],
           [0., 3.]])
    """

    weights: tuple[Floats, ...]
    biases: tuple[Floats, ...]
    slopes: tuple[Floats, ...]

    def __init__(
        self,
        weights: Sequence[npt.ArrayLike],
        biases: Sequence[npt.ArrayLike],
        slopes: Sequence[npt.ArrayLike] | None = None,
    ) -> None:
        W = tuple(floats(w, f"W{k}", ndim=2) for k, w in enumerate(weights))
        b = tuple(floats(v, f"b{k}", ndim=1) for k, v in enumerate(biases))
        _check_chain(W, b)
        if slopes is None:
            slopes = [np.zeros(len(v)) for v in b[:-1]]
        s = tuple(floats(v, f"s{k}", ndim=1) for k, v in enumerate(slopes))
        if [v.shape for v in s] != [v.shape for v in b[:-1]]:
            raise ProblemError(
                f"slopes: expected one vector per hidden layer, shapes "
                f"{[v.shape for v in b[:-1]]}, found {[v.shape for v in s]}"
            )
        object.__setattr__(self, "weights", W)
        object.__setattr__(self, "biases", b)
        object.__setattr__(self, "slopes", s)

    @classmethod
    def from_torch(
        cls, module: "torch.nn.Module", *, input_shape: tuple[int, ...]
    ) -> "ReLUNetwork":
        """Read a ``torch.nn.Module`` in evaluation mode.

        Parameters
        ----------
        module
            Built of the layers that the ONNX importer knows.
        input_shape
            Shape of one sample, without the batch dimension; it is flattened in C order.

        Raises
        ------
        UnsupportedError
            A layer is not piecewise affine or not known; the message names it.
        """
        from wdaverify.importers.torch_reader import read_module  # noqa: PLC0415  (torch is slow)

        return read_module(module, input_shape)

    @property
    def digest(self) -> str:
        """SHA-256 of shapes and values, in hexadecimal."""
        return _digest(self.weights, self.biases, self.slopes)

    @property
    def features(self) -> int:
        """Input dimension ``n``."""
        return int(self.weights[0].shape[1])

    @property
    def classes(self) -> int:
        """Number of logits ``K``."""
        return int(self.weights[-1].shape[0])

    @property
    def widths(self) -> tuple[int, ...]:
        """Number of neurons of each hidden layer."""
        return tuple(len(b) for b in self.biases[:-1])

    @property
    def neurons(self) -> int:
        """Number of hidden neurons; an activation pattern has this length."""
        return sum(self.widths)

    @property
    def linear(self) -> Bools:
        """Which hidden neurons have slope 1 and so never split a cell, shape ``(neurons,)``."""
        return np.concatenate([s == 1.0 for s in self.slopes] or [np.zeros(0, dtype=bool)])

    def logits(self, points: npt.ArrayLike) -> Floats:
        """Evaluate the network in float64: ``(N, n) -> (N, K)``."""
        return self._forward(np.asarray(points, dtype=np.float64))[-1]

    def preactivations(self, points: npt.ArrayLike) -> Floats:
        """Pre-activations of all hidden neurons: ``(N, n) -> (N, neurons)``."""
        x = np.asarray(points, dtype=np.float64)
        return np.concatenate([np.zeros((len(x), 0)), *self._forward(x)[:-1]], axis=1)

    def patterns(self, points: npt.ArrayLike) -> Bools:
        """Activation patterns in float64: ``(N, n) -> (N, neurons)``; 0 counts as off."""
        return (self.preactivations(points) > 0) | self.linear

    def rounding_errors(self, points: npt.ArrayLike) -> list[Floats]:
        """Bound the rounding errors of :meth:`preactivations` (per layer) and :meth:`logits`.

        The running error bound ``e_l = |W_l| e_{l-1} + γ (|W_l| |h_{l-1}| + |b_l|)`` with
        ``γ = (k + 2) u / (1 - (k + 2) u)`` holds for every order of summation
        (Higham, *Accuracy and Stability of Numerical Algorithms*, section 3.1).
        """
        h = np.asarray(points, dtype=np.float64)
        error = np.zeros_like(h)
        errors = []
        for k, z in enumerate(self._forward(h)):
            W, b = np.abs(self.weights[k]), np.abs(self.biases[k])
            steps = (W.shape[1] + 2) * ROUNDING
            gamma = steps / (1 - steps)
            error = (error @ W.T) * (1 + gamma) + gamma * (np.abs(h) @ W.T + b)
            error = error * (1 + gamma)  # the bound itself is computed in floating point
            errors.append(error)
            if k < len(self.slopes):
                h = self._activate(z, k)
                error = error * np.maximum(1.0, np.abs(self.slopes[k])) + ROUNDING * np.abs(h)
        return errors

    def affine_maps(self, pattern: Bools) -> tuple[AffineMap, AffineMap]:
        """Return the affine maps of the hidden pre-activations and of the logits on a cell.

        Parameters
        ----------
        pattern
            Which neurons are on, shape ``(neurons,)``, or of many cells, ``(B, neurons)``: then all
            matrices and offsets have a leading axis ``B``.
        """
        many = pattern.shape[:-1]
        J = np.broadcast_to(np.eye(self.features), (*many, self.features, self.features))
        c = np.zeros((*many, self.features))
        hidden: list[AffineMap] = []
        start = 0
        for k, (W, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            J, c = W @ J, (W @ c[..., None])[..., 0] + b
            if k == len(self.slopes):
                break
            hidden.append(AffineMap(J, c))
            on = pattern[..., start : start + len(b)]
            factor = np.where(on, 1.0, self.slopes[k])
            J, c = factor[..., None] * J, factor * c
            start += len(b)
        rows = [m.matrix for m in hidden] or [np.zeros((*many, 0, self.features))]
        offsets = [m.offset for m in hidden] or [np.zeros((*many, 0))]
        every = AffineMap(np.concatenate(rows, axis=-2), np.concatenate(offsets, axis=-1))
        return every, AffineMap(J, c)

    def without_biases(self) -> "ReLUNetwork":
        r"""Return the positively homogeneous network :math:`f^0(u) = \lim_t f(tu)/t`."""
        return ReLUNetwork(self.weights, [np.zeros_like(b) for b in self.biases], self.slopes)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return ``W0, b0, W1, b1, …`` and, where one is not zero, the slopes ``s0, s1, …``."""
        named = {f"W{k}": w for k, w in enumerate(self.weights)}
        named |= {f"b{k}": b for k, b in enumerate(self.biases)}
        if any(s.any() for s in self.slopes):
            named |= {f"s{k}": s for k, s in enumerate(self.slopes)}
        return named

    def _forward(self, x: Floats) -> list[Floats]:
        """Return the pre-activations of each layer, logits last."""
        if x.ndim != 2 or x.shape[1] != self.features:
            raise ProblemError(f"points: expected shape (N, {self.features}), found {x.shape}")
        layers = []
        for k, (W, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            z = x @ W.T + b
            layers.append(z)
            if k < len(self.slopes):
                x = self._activate(z, k)
        return layers

    def _activate(self, z: Floats, k: int) -> Floats:
        return np.maximum(z, 0.0) + self.slopes[k] * np.minimum(z, 0.0)


def _check_chain(weights: tuple[Floats, ...], biases: tuple[Floats, ...]) -> None:
    if not weights or len(weights) != len(biases):
        raise ProblemError(
            f"network: expected as many weights as biases, at least one, "
            f"found {len(weights)} and {len(biases)}"
        )
    for k, (W, b) in enumerate(zip(weights, biases, strict=True)):
        if W.shape[0] != len(b):
            raise ProblemError(f"network: W{k} has shape {W.shape} but b{k} has shape {b.shape}")
        if k and W.shape[1] != weights[k - 1].shape[0]:
            raise ProblemError(
                f"network: W{k} has shape {W.shape} but W{k - 1} has shape {weights[k - 1].shape}"
            )
    if weights[0].shape[1] == 0:
        raise ProblemError(f"network: W0 has shape {weights[0].shape}, expected at least one input")
    if weights[-1].shape[0] < 2:
        raise ProblemError(
            f"network: W{len(weights) - 1} has shape {weights[-1].shape}, expected K >= 2 logits; "
            f"a single logit z stands for the two logits (0, z)"
        )


def _digest(*groups: tuple[Floats, ...]) -> str:
    sha = hashlib.sha256()
    for group in groups:
        for array in group:
            sha.update(repr(array.shape).encode())
            sha.update(np.ascontiguousarray(array + 0.0, dtype="<f8").tobytes())
    return sha.hexdigest()
