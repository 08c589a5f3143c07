"""What the published attacks share: their parameters, counted models, results."""

from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple, final

import torch
from torch import Tensor

from wdaverify.bounds.region import Region
from wdaverify.bounds.torch_network import TorchModel, losses, margins
from wdaverify.errors import ProblemError
from wdaverify.loss import LOSSES

__all__ = [
    "METRICS",
    "Counted",
    "Published",
    "Settings",
    "misclassified",
    "published",
    "score",
    "top_wrong",
]

METRICS: Final = ("logit-raw", "logit", "cross-entropy", "dlr")
"""How a candidate class is scored: ``z_j``, ``|z_j − z_y|``, or a loss."""


@final
class Counted(TorchModel):
    """A model that counts how many points pass through it forwards and backwards.

    Attributes
    ----------
    forward, backward
        Points so far.
    """

    def __init__(self, model: TorchModel) -> None:
        super().__init__(model.device, model.dtype)
        self._model = model
        self.forward, self.backward = 0, 0

    def logits(self, points: Tensor) -> Tensor:
        """Evaluate the model, counting."""
        self.forward += len(points)
        return self._model.logits(points)

    def slopes(self, points: Tensor, labels: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and the gradients of ``z_j − z_y`` for classes ``(C, W)``: ``(C, W, n)``."""
        self.backward += classes.numel()

        def objective(group: Tensor, logits: Tensor) -> Tensor:
            return _at(logits, group) - _at(logits, labels)

        return self.gradients(points, [partial(objective, group) for group in classes])


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Parameters of the published attacks; the defaults are those of their command line.

    Parameters
    ----------
    steps, step
        Number and size of the steps; with ``None`` the size is ``2.5 ε/T`` for l∞, ``1.5 ε/T`` for
        the others (the library's default), in WDA++ ``ε/T``.
    probes, probe_step
        The same for the probes of WDA; with ``None`` ``2 ε/s`` for l∞, ``ε/s`` for the others.
        Without probes the class with the largest dual gradient norm is taken.
    top_k
        Candidate classes.
    metric
        One of ``METRICS``.
    halvings
        Bisections of WDA++.
    restarts
        Of A3-WDA; 13 are planned.
    batch
        Samples attacked at once.

    Raises
    ------
    ProblemError
        Another metric, or a count that is too small.
    """

    steps: int = 20
    step: float | None = 0.02
    probes: int = 10
    probe_step: float | None = None
    top_k: int = 9
    metric: str = "logit-raw"
    halvings: int = 10
    restarts: int = 13
    batch: int = 64

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise ProblemError(f"metric: expected {', '.join(METRICS)}, found {self.metric!r}")
        for name, least in (
            ("steps", 1),
            ("probes", 0),
            ("top_k", 1),
            ("restarts", 1),
            ("batch", 1),
        ):
            if getattr(self, name) < least:
                raise ProblemError(
                    f"{name}: expected at least {least}, found {getattr(self, name)}"
                )


class Published(NamedTuple):
    """What a published attack returns.

    Attributes
    ----------
    points
        Final points, also those that did not flip, ``(N, n)``.
    flipped
        Whether the final point is misclassified, ``(N,)``; samples that were wrong are not moved.
    lengths
        Distance of flips, 0 where a sample was wrong, infinite where none was found, ``(N,)``.
    forward, backward
        Points that passed through the model.
    """

    points: Tensor
    flipped: Tensor
    lengths: Tensor
    forward: int
    backward: int


def published(
    region: Region, x: Tensor, points: Tensor, flipped: Tensor, counted: Counted
) -> Published:
    """Gather the results of an attack."""
    lengths = torch.where(flipped, region.steps.length(points - x), torch.inf)
    return Published(points, flipped, lengths, counted.forward, counted.backward)


def misclassified(model: Counted, points: Tensor, labels: Tensor) -> Tensor:
    """Whether another class has the largest logit, ``(W,)``."""
    return model.logits(points).argmax(dim=1) != labels


def top_wrong(logits: Tensor, labels: Tensor, top_k: int) -> Tensor:
    """Wrong classes with the largest logits, ``(k, W)``."""
    others = logits.scatter(1, labels[:, None], -torch.inf)
    return others.topk(min(top_k, logits.shape[1] - 1), dim=1).indices.T


def score(logits: Tensor, labels: Tensor, classes: Tensor, metric: str) -> Tensor:
    """Score candidate classes by one of ``METRICS``, ``(W,)``."""
    if metric == "logit-raw":
        return _at(logits, classes)
    if metric == "logit":
        return (_at(logits, classes) - _at(logits, labels)).abs()
    if metric == "dlr" and logits.shape[1] < 3:
        return margins(logits, labels) / margins(logits, labels).abs().clamp(min=1e-12)
    return losses(LOSSES[metric], logits, labels)


def _at(logits: Tensor, classes: Tensor) -> Tensor:
    return logits.gather(1, classes[:, None])[:, 0]
