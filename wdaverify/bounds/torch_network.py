r"""The network and the losses as batched torch functions, for gradients on any device.

.. math:: h_l = \max(z_l, 0) + s_l \min(z_l, 0), \qquad
          m_j(x) = z_j(x) - z_y(x)

Nothing computed here is reported: points that are found with these functions are evaluated again
in numpy float64.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Final, final

import numpy as np
import torch
from torch import Tensor

from wdaverify.arrays import Floats
from wdaverify.errors import ProblemError
from wdaverify.loss import DLR, CrossEntropy, Hinge, Loss, Margin, TruncatedDLR, ZeroOne
from wdaverify.network import ReLUNetwork

__all__ = [
    "DTYPES",
    "TorchModel",
    "TorchNetwork",
    "device_named",
    "dtype_named",
    "loss_slope",
    "losses",
    "margins",
]

DTYPES: Final[dict[str, torch.dtype]] = {"float64": torch.float64, "float32": torch.float32}


def device_named(name: str) -> torch.device:
    """Return a device on which tensors can be made.

    Raises
    ------
    ProblemError
        Not a device, or a CUDA device on a machine where torch finds none.
    """
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        raise ProblemError(f"device: expected cpu or cuda, found {name!r}") from None
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.type not in {"cpu", "cuda"}:
        raise ProblemError(f"device: expected cpu or cuda, found {name!r}")
    if device.type == "cuda" and (device.index or 0) >= found:
        raise ProblemError(
            f"device: asked for {name!r}, but torch {torch.__version__} finds {found} CUDA "
            f"device(s) here; use cpu"
        )
    return device


def dtype_named(name: str) -> torch.dtype:
    """Return the torch type called ``float64`` or ``float32``.

    Raises
    ------
    ProblemError
        Another name.
    """
    if name not in DTYPES:
        raise ProblemError(f"dtype: expected one of {', '.join(DTYPES)}, found {name!r}")
    return DTYPES[name]


class TorchModel(ABC):
    """What an attack asks of a classifier: logits of flat points, and gradients.

    Parameters
    ----------
    device, dtype
        Where and in which precision it is evaluated.
    """

    def __init__(self, device: torch.device | str, dtype: torch.dtype) -> None:
        self.device = torch.device(device)
        self.dtype = dtype

    @abstractmethod
    def logits(self, points: Tensor) -> Tensor:
        """Evaluate the classifier: ``(W, n) -> (W, K)``."""

    def tensor(self, array: Floats) -> Tensor:
        """Copy an array to the device and precision of the model."""
        return torch.tensor(array, device=self.device, dtype=self.dtype)

    def gradient(
        self, points: Tensor, objective: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Return logits ``(W, K)`` and the gradient ``(W, n)`` of an objective of the logits."""
        logits, slopes = self.gradients(points, [objective])
        return logits, slopes[0]

    def gradients(
        self, points: Tensor, objectives: Sequence[Callable[[Tensor], Tensor]]
    ) -> tuple[Tensor, Tensor]:
        """Return logits ``(W, K)`` and the gradient of each objective ``(C, W, n)``.

        One forward pass, and one backward pass for each objective.
        """
        with torch.enable_grad():
            x = points.detach().requires_grad_()
            z = self.logits(x)
            last = len(objectives) - 1
            slopes = [
                torch.autograd.grad(objective(z).sum(), x, retain_graph=k < last)[0]
                for k, objective in enumerate(objectives)
            ]
        return z.detach(), torch.stack(slopes).nan_to_num(0.0, 0.0, 0.0)


@final
class TorchNetwork(TorchModel):
    """A :class:`~wdaverify.network.ReLUNetwork` whose logits torch can differentiate.

    Parameters
    ----------
    network
        With ``n`` inputs and ``K`` logits.
    device, dtype
        Where and in which precision it is evaluated.
    """

    def __init__(
        self,
        network: ReLUNetwork,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__(device, dtype)
        self._weights = [self.tensor(W) for W in network.weights]
        self._biases = [self.tensor(b) for b in network.biases]
        self._slopes = [self.tensor(s) if s.any() else None for s in network.slopes]

    def logits(self, points: Tensor) -> Tensor:
        """Evaluate the network: ``(W, n) -> (W, K)``."""
        h = points
        for k, (weight, bias) in enumerate(zip(self._weights, self._biases, strict=True)):
            z = torch.addmm(bias, h, weight.T)
            if k == len(self._slopes):
                break
            slope = self._slopes[k]
            h = z.clamp(min=0) if slope is None else z.clamp(min=0) + slope * z.clamp(max=0)
        return z


def margins(logits: Tensor, labels: Tensor) -> Tensor:
    """Return ``max_{j≠y} z_j − z_y``: ``(W, K), (W,) -> (W,)``."""
    own = logits.gather(1, labels[:, None])
    others = logits.scatter(1, labels[:, None], -torch.inf)
    return others.max(dim=1).values - own[:, 0]


def _hinge(logits: Tensor, labels: Tensor) -> Tensor:
    return (1.0 + margins(logits, labels)).clamp(min=0.0)


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return logits.logsumexp(dim=1) - logits.gather(1, labels[:, None])[:, 0]


def _ratio(logits: Tensor, labels: Tensor) -> Tensor:
    top = logits.topk(3, dim=1).values
    spread = (top[:, 0] - top[:, 2]).clamp(min=torch.finfo(logits.dtype).tiny)
    return margins(logits, labels) / spread


def _zero_one(logits: Tensor, labels: Tensor) -> Tensor:
    return (margins(logits, labels) >= 0).to(logits.dtype)


def _largest_piece(loss: Loss, logits: Tensor, labels: Tensor) -> Tensor:
    """Evaluate a maximum of affine functions of the logits from its pieces."""
    values = torch.zeros_like(logits[:, 0])
    for label in sorted(set(labels.tolist())):
        C, c = (logits.new_tensor(part) for part in loss.pieces(logits.shape[1], label))
        found = (logits @ C.T + c).amax(dim=1)
        values = torch.where(labels == label, found, values)
    return values


_LOSSES: Final[dict[type[Loss], Callable[[Tensor, Tensor], Tensor]]] = {
    Margin: margins,
    Hinge: _hinge,
    CrossEntropy: _cross_entropy,
    DLR: _ratio,
    TruncatedDLR: lambda logits, labels: _ratio(logits, labels).clamp(max=1.0),
    ZeroOne: _zero_one,
}


def losses(loss: Loss, logits: Tensor, labels: Tensor) -> Tensor:
    """Evaluate a loss: logits ``(W, K)``, labels ``(W,)`` -> ``(W,)``.

    Raises
    ------
    UnsupportedError
        The loss has neither a form in torch nor affine pieces.
    """
    if type(loss) in _LOSSES:
        return _LOSSES[type(loss)](logits, labels)
    return _largest_piece(loss, logits, labels)


def loss_slope(loss: Loss, logits: Floats, label: int) -> Floats:
    """Return the gradient of a loss in the logits: ``(K,) -> (K,)``."""
    with torch.enable_grad():
        z = torch.tensor(logits[None, :], requires_grad=True)
        (slope,) = torch.autograd.grad(losses(loss, z, torch.tensor([label])).sum(), z)
    return np.asarray(slope[0].numpy())
