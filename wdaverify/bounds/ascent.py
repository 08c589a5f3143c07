r"""Projected ascent, batched over walkers: one for each sample, target class, reach and start.

.. math:: x^{t+1} = \Pi_{R_i(\rho)}\big(x^t + \alpha_t\,\rho\,u^t\big), \qquad
          u^t \in \arg\max_{\|u\|\le 1} \nabla(z_j - z_y)(x^t)\cdot u

with step sizes ``α`` that fall geometrically; the first step goes straight to the best corner of
the region for the linear model at the start. All points visited are kept: which of them deserve
mass is for the merge to decide.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

import torch
from torch import Tensor

from wdaverify.bounds.region import Region
from wdaverify.bounds.torch_network import TorchNetwork, losses
from wdaverify.loss import DLR, Loss, Margin, TruncatedDLR, ZeroOne

__all__ = ["ITSELF", "Pace", "Trace", "Walkers", "ascend"]

ITSELF: Final = -1
"""Target of walkers that climb the loss itself instead of ``z_j − z_y``."""


@dataclass(frozen=True, slots=True, eq=False)
class Walkers:
    """What each walker starts from and climbs; every field has ``W`` rows.

    Attributes
    ----------
    samples, labels, targets
        Index of the sample, its label, class to climb towards or :data:`ITSELF`, ``(W,)``.
    origins, starts
        The sample and where the walk begins, ``(W, n)``.
    reaches
        Largest distance from the origin, ``(W,)``.
    """

    samples: Tensor
    labels: Tensor
    targets: Tensor
    origins: Tensor
    starts: Tensor
    reaches: Tensor


@dataclass(frozen=True, slots=True)
class Pace:
    """Step sizes of a walk.

    Parameters
    ----------
    steps
        Number of steps ``T``.
    jumps
        How many of them go to the best corner of the linear model.
    first, last
        Sizes of the first and the last step as fractions of the reach.
    """

    steps: int = 20
    jumps: int = 1
    first: float = 1.0
    last: float = 0.01

    def size(self, step: int) -> float:
        """Return ``α_t``."""
        return float(self.first * (self.last / self.first) ** (step / max(1, self.steps - 1)))


class Trace(NamedTuple):
    """Every point visited by ``W`` walkers in ``T`` steps, the start included."""

    points: Tensor
    """Shape ``(T + 1, W, n)``."""
    logits: Tensor
    """Shape ``(T + 1, W, K)``."""
    lengths: Tensor
    """Distance from the origin, ``(T + 1, W)``."""


def ascend(
    network: TorchNetwork,
    region: Region,
    walkers: Walkers,
    *,
    loss: Loss,
    pace: Pace,
    generator: torch.Generator,
) -> Trace:
    """Let all walkers climb.

    Parameters
    ----------
    loss
        The loss that walkers with target :data:`ITSELF` climb.
    generator
        Source of the directions taken where the gradient vanishes.
    """

    def objective(logits: Tensor) -> Tensor:
        return _climbed(logits, walkers, loss)

    x = region.project(walkers.starts, walkers.origins, walkers.reaches)
    visited, outputs = [x], []
    for step in range(pace.steps):
        logits, gradient = network.gradient(x, objective)
        outputs.append(logits)
        gradient = _never_flat(region.free(gradient, x), generator)
        if step < pace.jumps:
            x = region.corner(gradient, walkers.origins, walkers.reaches)
        else:
            size = pace.size(step) * walkers.reaches
            x = x + size[:, None] * region.steps.steepest(gradient)
            x = region.project(x, walkers.origins, walkers.reaches)
        visited.append(x)
    outputs.append(network.logits(x))
    points = torch.stack(visited)
    return Trace(points, torch.stack(outputs), region.steps.length(points - walkers.origins))


def _climbed(logits: Tensor, walkers: Walkers, loss: Loss) -> Tensor:
    """``z_j − z_y``, or the loss itself (the margin where the loss has flat parts)."""
    labels, targets = walkers.labels, walkers.targets
    own = logits.gather(1, labels[:, None])[:, 0]
    other = logits.gather(1, targets.clamp(min=0)[:, None])[:, 0]
    if not bool((targets == ITSELF).any()):
        return other - own
    itself = losses(_to_climb(loss), logits, labels)
    return torch.where(targets == ITSELF, itself, other - own)


def _to_climb(loss: Loss) -> Loss:
    """Return what is climbed for a loss: the margin where it rises with it or not at all."""
    if loss.of_margin or isinstance(loss, ZeroOne):
        return Margin()
    return DLR() if isinstance(loss, TruncatedDLR) else loss


def _never_flat(gradient: Tensor, generator: torch.Generator) -> Tensor:
    """Replace vanishing gradients by random directions: behind dead neurons nothing points away."""
    flat = (gradient == 0).all(dim=1)
    count = int(flat.sum())
    if count == 0:
        return gradient
    noise = torch.randn(count, gradient.shape[1], generator=generator, dtype=torch.float64)
    result = gradient.clone()
    result[flat] = noise.to(gradient)
    return result
