r"""The minimum-distance attack: the nearest point of another class, for every sample at once.

1. *Choose.* At the sample the margin of each candidate class is linearised; its distance inside
   the support is exact (:meth:`~wdaverify.bounds.steps.BallSteps.meet`; without bounds it is the
   margin over the dual norm of the gradient). Classes not much farther than the nearest are kept.
2. *Descend* along the boundary towards the sample (:mod:`wdaverify.bounds.descent`).
3. *Hop.* From a random point near the best one, and towards classes left out that may be nearer,
   descend again.

With a margin target ``τ`` the same finds the nearest point where some margin reaches ``τ``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from wdaverify.bounds.descent import Descent, Nearest, Seekers
from wdaverify.bounds.region import Region
from wdaverify.bounds.torch_network import TorchModel

__all__ = ["Flips", "Hunt", "nearest_flips"]

SLACK, CROWD = 1.6, 5
"""Classes at most so many times as far as the nearest, and at most so many, are descended to."""

NOISE = 1.0
"""How far the random starts are from the best point, in lengths of its way."""

FINISH = 8
"""Secants that end the attack on the ray of each sample's best point."""

UNREACHED = 2.0
"""Factor on the distance of a class whose linearised boundary lies outside the bounds."""


@dataclass(frozen=True, slots=True)
class Hunt:
    """How thoroughly to look.

    Parameters
    ----------
    steps
        Steps of each descent.
    hops
        Descents from random places after the first.
    top_k
        At most so many wrong classes, largest logit first, are linearised.
    second
        In a hop, classes left out are tried when they seem at most so many times as far as the
        best point.
    """

    steps: int = 8
    hops: int = 2
    top_k: int = 9
    second: float = 1.15


class Flips(NamedTuple):
    """What was found.

    Attributes
    ----------
    points, lengths
        Nearest point of each sample ``(N, n)``, and its distance ``(N,)``: 0 and the sample itself
        where it is past the boundary already, infinite where nothing was found.
    others, owners
        The nearest point of every walker that crossed the boundary and its sample,
        ``(M, n)`` and ``(M,)``.
    """

    points: Tensor
    lengths: Tensor
    others: Tensor
    owners: Tensor


class _Choices(NamedTuple):
    """Candidate classes, linearised at the samples; rows are pairs of sample and class."""

    owners: Tensor
    classes: Tensor
    gradients: Tensor
    moves: Tensor
    lengths: Tensor


def nearest_flips(  # noqa: PLR0913  (the question, and how to look)
    model: TorchModel,
    region: Region,
    origins: Tensor,
    labels: Tensor,
    *,
    targets: Tensor | None = None,
    hunt: Hunt | None = None,
    generator: torch.Generator,
    stop: Callable[[], bool] = lambda: False,
) -> Flips:
    """Find near points where another class beats the label.

    Parameters
    ----------
    model, region
        Classifier, and support with the verbs of the norm.
    origins, labels
        Samples ``(N, n)``, inside the support, and labels ``(N,)``.
    targets
        Margin to reach for each sample, ``(N,)``; 0 when omitted.
    hunt
        How thoroughly to look.
    generator
        Source of the hops, on the CPU.
    stop
        Asked before every descent whether to be content with what is there.
    """
    hunt = hunt or Hunt()
    tau = torch.zeros_like(origins[:, 0]) if targets is None else targets
    search = _Search(model, region, origins, labels, tau, hunt)
    for hop in range(1 + hunt.hops):
        if stop():
            break
        search.descend(search.first() if hop == 0 else search.hop(generator))
    return search.result()


class _Search:
    """One search: the table of nearest points, and which classes were tried."""

    def __init__(
        self,
        model: TorchModel,
        region: Region,
        origins: Tensor,
        labels: Tensor,
        targets: Tensor,
        hunt: Hunt,
    ) -> None:
        self._origins, self._labels, self._targets, self._hunt = origins, labels, targets, hunt
        self._nearest = Nearest(origins, labels)
        self._descent = Descent(model, region, self._nearest)
        self._trails: list[Seekers] = []
        self._choices = self._linearised()
        self._tried = torch.zeros_like(self._choices.owners, dtype=torch.bool)

    def descend(self, seekers: Seekers) -> None:
        """Let walkers descend and remember what they found."""
        for group in self._descent.run(seekers, self._hunt.steps):
            self._trails.append(group.take(group.lengths.isfinite().nonzero()[:, 0]))

    def first(self) -> Seekers:
        """Walkers to the classes that seem nearest."""
        choices = self._choices
        limit = SLACK * self._least(choices.lengths)[choices.owners]
        return self._towards((choices.lengths <= limit) & (self._ranks() < CROWD))

    def hop(self, generator: torch.Generator) -> Seekers:
        """Walkers from random points near the best ones, and to promising classes left out.

        Samples without a best point set out from random points around themselves, towards the class
        that is strongest there; where no gradient says how far, as far as the farthest sample.
        """
        found, choices = self._nearest, self._choices
        best = found.lengths[choices.owners]
        fresh = (
            (choices.lengths <= self._hunt.second * best) & ~self._tried & (self._ranks() < CROWD)
        )
        seekers = self._towards(fresh & best.isfinite())
        left = (found.lengths > 0).nonzero()[:, 0]
        lost = ~found.lengths[left].isfinite()
        spread = torch.where(lost, self._least(choices.lengths)[left], found.lengths[left])
        largest = spread[spread.isfinite()].amax() if bool(spread.isfinite().any()) else 1.0
        spread = torch.where(spread.isfinite(), spread, largest)
        shape = self._origins.shape
        normal = torch.randn(shape, generator=generator, dtype=torch.float64).to(self._origins)
        region, origins = self._descent.region, self._origins[left]
        moves = NOISE * spread[:, None] * region.steps.scatter(normal[left])
        start = region.inside(found.points[left] + moves, origins)
        classes = torch.where(lost, self._rival(start, left), found.classes[left])
        hoppers = self._seekers(left, classes, start, torch.zeros_like(start))
        surplus, hoppers.gradients = hoppers.linearise(self._descent.model)
        hoppers.points = hoppers.nearest = self._descent.feet(hoppers, surplus)
        return _joined(hoppers, seekers)

    def _rival(self, points: Tensor, samples: Tensor) -> Tensor:
        """Return the strongest wrong class at each point, ``(W,)``."""
        logits = self._descent.model.logits(points)
        return logits.scatter(1, self._labels[samples, None], -torch.inf).argmax(dim=1)

    def result(self) -> Flips:
        """Return what is known, the best points brought to the boundary."""
        found = self._nearest
        known = (found.lengths.isfinite() & (found.lengths > 0)).nonzero()[:, 0]
        if len(known):
            zeros = torch.zeros_like(self._origins[known])
            last = self._seekers(known, found.classes[known], found.points[known], zeros)
            self._descent.cross(last, FINISH)
            found.update(last)
        others = [found.points[:0], *(trail.nearest for trail in self._trails)]
        owners = [found.classes[:0], *(trail.owners for trail in self._trails)]
        return Flips(found.points, found.lengths, torch.cat(others), torch.cat(owners))

    def _linearised(self) -> _Choices:
        """Linearise the candidate classes of the samples that are not past the boundary."""
        region, model = self._descent.region, self._descent.model
        logits = model.logits(self._origins)
        margins = logits - logits.gather(1, self._labels[:, None])
        others = margins.scatter(1, self._labels[:, None], -torch.inf)
        past = others.amax(dim=1) >= self._targets
        self._nearest.lengths[past] = 0.0
        count = min(self._hunt.top_k, logits.shape[1] - 1)
        left = (~past).nonzero()[:, 0]
        tops = others[left].topk(count, dim=1).indices
        objectives = [partial(_differences, self._labels[left], tops[:, k]) for k in range(count)]
        gradients = model.gradients(self._origins[left], objectives)[1].flatten(0, 1)
        owners, classes = left.repeat(count), tops.T.flatten()
        rises = self._targets[owners] - margins[owners, classes]
        rooms = region.rooms(gradients, self._origins[owners])
        moves = region.steps.meet(gradients, rooms, rises)
        short = (gradients * moves).sum(dim=1) < rises * (1.0 - 1e-6)
        lengths = region.steps.length(moves) * torch.where(short, UNREACHED, 1.0)
        lengths = torch.where(short & (lengths == 0), torch.inf, lengths)  # a vanishing gradient
        return _Choices(owners, classes, gradients, moves, lengths)

    def _towards(self, chosen: Tensor) -> Seekers:
        index = chosen.nonzero()[:, 0]
        self._tried |= chosen
        owners, classes, gradients, moves, _ = (part[index] for part in self._choices)
        origins = self._origins[owners]
        start = self._descent.region.inside(origins + moves, origins)
        return self._seekers(owners, classes, start, gradients)

    def _seekers(
        self, owners: Tensor, classes: Tensor, points: Tensor, gradients: Tensor
    ) -> Seekers:
        return Seekers.at(
            owners,
            self._labels[owners],
            classes,
            self._origins[owners],
            points,
            self._targets[owners],
            gradients=gradients,
        )

    def _least(self, lengths: Tensor) -> Tensor:
        """Smallest of the candidates' lengths for each sample."""
        none = torch.full_like(self._nearest.lengths, torch.inf)
        return none.scatter_reduce(0, self._choices.owners, lengths, "amin")

    def _ranks(self) -> Tensor:
        """Place of each candidate among those of its sample, the nearest first."""
        owners, lengths = self._choices.owners, self._choices.lengths
        order = lengths.argsort(stable=True)
        order = order[owners[order].argsort(stable=True)]
        groups = owners[order]
        places = torch.arange(len(order), device=order.device)
        begins = torch.searchsorted(groups, groups)
        return torch.empty_like(order).scatter(0, order, places - begins)


def _differences(labels: Tensor, classes: Tensor, logits: Tensor) -> Tensor:
    chosen = logits.gather(1, torch.stack([classes, labels], dim=1))
    return chosen[:, 0] - chosen[:, 1]


def _joined(first: Seekers, second: Seekers) -> Seekers:
    names = Seekers.__slots__
    return Seekers(*(torch.cat([getattr(s, name) for s in (first, second)]) for name in names))
