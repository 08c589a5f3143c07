r"""Descents along a decision boundary towards the sample, batched over samples and classes.

A walker follows one class ``j``: it looks for the shortest move ``d`` with

.. math:: f(x_i + d) = z_j(x_i + d) - z_y(x_i + d) - \tau \ge 0, \qquad x_i + d \in \mathcal{X}.

Each step linearises ``f`` at the nearest point known (where none is known yet, at the last guess),
goes some part of the way to the foot of the linearised problem, which
:meth:`~wdaverify.bounds.steps.BallSteps.meet` solves exactly inside the bounds, and finds the
crossing of ``f`` on the ray from the sample through the new point by secants. Gradients of
neighbouring pieces are averaged, which settles walkers on kinks; walkers whose foot is farther than
what their sample has already are given up.
"""

from dataclasses import dataclass, fields
from typing import Final

import torch
from torch import Tensor

from wdaverify.bounds.region import Region
from wdaverify.bounds.torch_network import TorchModel

__all__ = ["Descent", "Nearest", "Seekers"]

PARTS: Final = (1.0, 0.5, 0.2)
"""Parts of the way to the foot that are tried, times the trust of the walker."""

SECANTS = 4
"""Evaluations on each ray."""

PROMISING = 1.05
"""A walker goes on while its foot is at most so many times as far as the best of its sample."""

MEMORY = 0.3
"""Weight of the earlier gradients in the average."""

GROWTH, SHRINKAGE, TIRED = 2.0, 0.25, 0.05
"""The trust after a step that helped and one that did not; below the last the walker rests."""

HELPED = 1e-4
"""The least relative gain of a step that helped."""

EAGER = 1.1
"""A walker that never crossed the boundary overshoots the linearised one by this factor."""

SLIDES = 2
"""How often a foot that a slanted wall of the support keeps short goes on along the wall."""


@dataclass(slots=True, eq=False)
class Seekers:
    """A batch of ``W`` walkers, each after one class.

    Attributes
    ----------
    owners, labels, classes
        Index of the sample, its label and the class to reach, ``(W,)``.
    origins, points
        The sample and the present guess, ``(W, n)``.
    targets
        ``τ``: by how much ``z_j`` should exceed ``z_y``, ``(W,)``.
    gradients
        Of ``z_j − z_y`` near the guess, ``(W, n)``.
    nearest, lengths
        The nearest point past the boundary and its distance, infinite as long as there is none.
    trust
        Part of the way to the foot that is taken.
    """

    owners: Tensor
    labels: Tensor
    classes: Tensor
    origins: Tensor
    points: Tensor
    targets: Tensor
    gradients: Tensor
    nearest: Tensor
    lengths: Tensor
    trust: Tensor

    @classmethod
    def at(  # noqa: PLR0913  (what a walker is)
        cls,
        owners: Tensor,
        labels: Tensor,
        classes: Tensor,
        origins: Tensor,
        points: Tensor,
        targets: Tensor,
        *,
        gradients: Tensor,
    ) -> "Seekers":
        """Make walkers that know no point past the boundary yet."""
        lengths = torch.full_like(targets, torch.inf)
        return cls(
            owners, labels, classes, origins, points, targets, gradients,
            points, lengths, torch.ones_like(targets),
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.owners)

    def take(self, index: Tensor) -> "Seekers":
        """Return some of the walkers."""
        return Seekers(*(getattr(self, field.name)[index] for field in fields(self)))

    def surplus(self, model: TorchModel, points: Tensor) -> Tensor:
        """``f`` at points ``(..., W, n)``: ``(..., W)``."""
        shape = points.shape[:-1]
        logits = model.logits(points.reshape(-1, points.shape[-1]))
        return self._difference(logits.view(*shape, logits.shape[-1])) - self.targets

    def linearise(self, model: TorchModel) -> tuple[Tensor, Tensor]:
        """``f`` and its gradient at the nearest points: ``(W,), (W, n)``."""
        logits, gradients = model.gradient(self.nearest, self._difference)
        return self._difference(logits) - self.targets, gradients

    def _difference(self, logits: Tensor) -> Tensor:
        pairs = torch.stack([self.classes, self.labels], dim=-1)
        chosen = logits.gather(-1, pairs.expand(*logits.shape[:-1], 2))
        return chosen[..., 0] - chosen[..., 1]


class Nearest:
    """The nearest points past the boundary of ``N`` samples, whoever found them.

    Attributes
    ----------
    points, lengths, classes
        Shapes ``(N, n)``, ``(N,)`` (infinite where nothing was found) and ``(N,)``.
    """

    def __init__(self, origins: Tensor, labels: Tensor) -> None:
        self.points, self.classes = origins.clone(), labels.clone()
        self.lengths = torch.full_like(origins[:, 0], torch.inf)

    def update(self, seekers: Seekers) -> None:
        """Keep what walkers found where it is nearer."""
        self.lengths.scatter_reduce_(0, seekers.owners, seekers.lengths, "amin")
        best = (seekers.lengths == self.lengths[seekers.owners]) & seekers.lengths.isfinite()
        index = best.nonzero()[:, 0]
        none = torch.full_like(self.classes, len(seekers))
        first = none.scatter_reduce(0, seekers.owners[index], index, "amin")
        owners = (first < len(seekers)).nonzero()[:, 0]
        self.points[owners] = seekers.nearest[first[owners]]
        self.classes[owners] = seekers.classes[first[owners]]


@dataclass(frozen=True, slots=True, eq=False)
class Descent:
    """Moves walkers; what they find goes to one table.

    Parameters
    ----------
    model, region
        Classifier, and support with the verbs of the norm.
    nearest
        Best points so far, shared with other descents.
    """

    model: TorchModel
    region: Region
    nearest: Nearest

    def run(self, seekers: Seekers, steps: int) -> list[Seekers]:
        """Let walkers take at most so many steps; return them all, those given up first."""
        rested: list[Seekers] = []
        for step in range(steps if len(seekers) else 0):
            before = seekers.lengths
            self.cross(seekers, SECANTS)
            self.nearest.update(seekers)
            if step == steps - 1 or len(seekers) == 0:
                break
            if step:
                helped = seekers.lengths < before * (1.0 - HELPED)
                trust = torch.where(helped, GROWTH, SHRINKAGE) * seekers.trust
                seekers.trust = trust.clamp(max=1.0)
            seekers, idle = self._aim(seekers, first=step == 0)
            rested.append(idle)
        return [*rested, seekers]

    def cross(self, seekers: Seekers, evaluations: int) -> None:
        """Find where the rays from the samples through the guesses cross the boundary."""
        origins, moves = seekers.origins, seekers.points - seekers.origins
        slope = (seekers.gradients * moves).sum(dim=1).clamp(min=torch.finfo(moves.dtype).tiny)
        scale = torch.ones_like(slope)
        low, high = torch.zeros_like(slope), torch.full_like(slope, torch.inf)
        below, above = torch.full_like(slope, torch.nan), torch.full_like(slope, torch.nan)
        for k in range(evaluations):
            points = self.region.inside(origins + scale[:, None] * moves, origins)
            surplus = seekers.surplus(self.model, points)
            past = surplus >= 0
            self._record(seekers, points, past)
            high, above = torch.where(past, scale, high), torch.where(past, surplus, above)
            low, below = torch.where(past, low, scale), torch.where(past, below, surplus)
            left = evaluations - 2 - k
            if left < 0:
                break
            newton = (scale - surplus / slope).clamp(0.5 * scale, 2.0 * scale) * (1.0 + 1e-6)
            secant = low + (high - low) * (-below) / (above - below)
            margin = (0.02 if left else 0.06) * (high - low)
            bracketed = high.isfinite() & ~below.isnan()
            scale = torch.where(bracketed, torch.minimum(secant + margin, high), newton)
        found = seekers.lengths.isfinite()
        seekers.nearest = torch.where(found[:, None], seekers.nearest, seekers.points)

    def _record(self, seekers: Seekers, points: Tensor, past: Tensor) -> None:
        lengths = self.region.steps.length(points - seekers.origins)
        nearer = past & (lengths < seekers.lengths)
        seekers.lengths = torch.where(nearer, lengths, seekers.lengths)
        seekers.nearest = torch.where(nearer[:, None], points, seekers.nearest)

    def _aim(self, seekers: Seekers, *, first: bool) -> tuple[Seekers, Seekers]:
        """Choose the next guesses; return the walkers that go on and those that do not."""
        surplus, gradients = seekers.linearise(self.model)
        found = seekers.lengths.isfinite()
        weight = torch.where(found & (not first), MEMORY, 0.0).to(gradients)[:, None]
        seekers.gradients = (1.0 - weight) * gradients + weight * seekers.gradients
        feet = self.feet(seekers, surplus)
        reach = self.region.steps.length(feet - seekers.origins)
        best = self.nearest.lengths[seekers.owners]
        going = (reach <= PROMISING * best) | (seekers.lengths <= best) | ~found
        going &= seekers.trust > TIRED
        index, rest = going.nonzero()[:, 0], (~going).nonzero()[:, 0]
        idle, seekers = seekers.take(rest), seekers.take(index)
        if len(seekers):
            seekers.points = self._guesses(seekers, feet[index], surplus[index])
        return seekers, idle

    def feet(self, seekers: Seekers, surplus: Tensor) -> Tensor:
        """Nearest points to the samples where ``f``, linearised at the nearest points, is 0."""
        g, origins = seekers.gradients, seekers.origins
        rises = (g * (seekers.nearest - origins)).sum(dim=1) - surplus
        moves = self.region.steps.meet(g, self.region.rooms(g, origins), rises)
        feet = self.region.inside(origins + moves, origins)
        for _ in range(0 if self.region.rectangular else SLIDES):
            missing = rises - (g * (feet - origins)).sum(dim=1)
            feet = self._ahead(feet, origins, g, missing)
        return feet

    def _ahead(self, points: Tensor, origins: Tensor, g: Tensor, rises: Tensor) -> Tensor:
        """Go on from points, along walls of the support, until ``g`` has risen by so much."""
        along = self.region.free(g, points)
        moves = self.region.steps.meet(along, self.region.rooms(along, points), rises)
        return self.region.inside(points + moves, origins)

    def _guesses(self, seekers: Seekers, feet: Tensor, surplus: Tensor) -> Tensor:
        """Return the trial point with the nearest crossing predicted; ``(W, n)``."""
        base, origins, g = seekers.nearest, seekers.origins, seekers.gradients
        parts = torch.tensor(PARTS, dtype=base.dtype, device=base.device)[:, None]
        trials = base + (parts * seekers.trust)[..., None] * (feet - base)
        values = seekers.surplus(self.model, trials)
        moves = trials - origins
        slopes = (moves * g).sum(dim=-1).clamp(min=torch.finfo(base.dtype).tiny)
        predicted = self.region.steps.length(moves) * (1.0 - values / slopes)
        choice = predicted.argmin(dim=0)
        guesses = trials[choice, torch.arange(len(choice), device=base.device)]
        lost = (~seekers.lengths.isfinite()).nonzero()[:, 0]
        if len(lost) == 0:
            return guesses
        rises = -EAGER * surplus[lost]
        guesses[lost] = self._ahead(base[lost], origins[lost], g[lost], rises)
        return guesses
