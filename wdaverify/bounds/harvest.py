r"""What is kept of the points that a batch of walkers visited, by the kind of question.

- finite order: the points of each sample that no nearer point dominates;
- order infinity: the worst point of each sample within each reach, brought to the reach exactly;
- zero-one loss: the nearest misclassified points, halved and slid along the boundary.

Everything kept is put inside the support and offered to the atoms, which evaluate it in float64.
"""

from abc import ABC, abstractmethod
from typing import final

import numpy as np
import torch
from torch import Tensor

from wdaverify.arrays import Floats, Integers
from wdaverify.atoms import Atoms
from wdaverify.bounds.ascent import Trace, Walkers
from wdaverify.bounds.bases import leaders, wanted
from wdaverify.bounds.flips import COARSE, approach, assure, certainly_wrong, shorten, snug
from wdaverify.bounds.region import region_of
from wdaverify.bounds.selection import frontier
from wdaverify.bounds.steps import steps_of
from wdaverify.bounds.torch_network import TorchNetwork, losses, margins
from wdaverify.loss import ZeroOne
from wdaverify.problem import Problem

__all__ = ["Harvest", "harvest_for", "within"]

CROWD = 2**23
"""Atoms are pruned when their coordinates are more numbers than this."""

TIED = 1e-9
"""A coordinate or length this close to the reach (relatively) is meant to be the reach."""

SHORT = 1e-12
"""The part of its way that a point gives up to be certainly within its reach."""

FLIPS = 8
"""So many misclassified points of a sample are halved, and the nearest half of them shortened."""


class Harvest(ABC):
    """Takes points from walkers to atoms.

    Parameters
    ----------
    atoms
        Where the points go.
    """

    def __init__(self, atoms: Atoms) -> None:
        self.atoms = atoms
        self.problem = atoms.problem
        self._network = TorchNetwork(atoms.problem.network)
        steps = steps_of(atoms.problem.cost.norm)
        self._region = region_of(atoms.problem.support, steps, self._network)

    @abstractmethod
    def gather(self, walkers: Walkers, trace: Trace) -> None:
        """Select points of a trace and offer them."""

    @abstractmethod
    def offer(self, points: Floats, owners: Integers) -> None:
        """Offer points ``(M, n)`` to their owners ``(M,)``."""

    def settle(self, points: Floats, owners: Integers) -> None:
        """Offer points that are as near as their search could bring them."""
        self.offer(points, owners)

    @abstractmethod
    def finish(self) -> None:
        """Tidy up after a stage: atoms that serve no radius are forgotten."""

    def inside(self, points: Floats, owners: Integers) -> Floats:
        """Bring points into the support, towards their owners."""
        x, origins = self._network.tensor(points), self._network.tensor(self.problem.points[owners])
        free = torch.full((len(x),), torch.inf, dtype=x.dtype)
        return np.asarray(self._region.project(x, origins, free).numpy())


@final
class EnvelopeHarvest(Harvest):
    """For finite orders."""

    def gather(self, walkers: Walkers, trace: Trace) -> None:
        count = len(trace.lengths)
        labels = walkers.labels.repeat(count)
        values = losses(self.problem.loss, trace.logits.flatten(0, 1), labels)
        owners = walkers.samples.repeat(count)
        kept = frontier(owners, trace.lengths.flatten(), values)
        self.offer(_floats(trace.points.flatten(0, 1)[kept]), owners[kept].cpu().numpy())

    def offer(self, points: Floats, owners: Integers) -> None:
        self.atoms.add(self.inside(points, owners), owners)
        if self.atoms.points.size > CROWD:
            self.atoms.prune()

    def finish(self) -> None:
        self.atoms.prune()


@final
class ReachHarvest(Harvest):
    """For order infinity: keeps the worst point of each sample within each radius."""

    def __init__(self, atoms: Atoms, radii: tuple[float, ...]) -> None:
        super().__init__(atoms)
        self._radii = radii

    def gather(self, walkers: Walkers, trace: Trace) -> None:
        labels = walkers.labels.repeat(len(trace.lengths))
        values = losses(self.problem.loss, trace.logits.flatten(0, 1), labels)
        best = values.view(trace.lengths.shape).nan_to_num(-torch.inf).max(dim=0)
        points = _visited(trace, best.indices)
        reaches = _floats(walkers.reaches)
        rungs = np.unique(reaches, return_inverse=True)[1]
        keys = walkers.samples.cpu().numpy() * (rungs.max(initial=0) + 1) + rungs
        kept = leaders(keys, _floats(best.values))
        owners = walkers.samples.cpu().numpy()[kept]
        inside = self.inside(points[kept], owners)
        self.atoms.add(within(self.problem, inside, owners, reaches[kept]), owners)
        if self.atoms.points.size > CROWD:
            self.finish()

    def offer(self, points: Floats, owners: Integers) -> None:
        self.atoms.add(self.inside(points, owners), owners)

    def finish(self) -> None:
        points, owners, _ = wanted(self.atoms, self._radii)
        moved = (points != self.problem.points[owners]).any(axis=1)
        self.atoms = Atoms(self.problem)
        self.atoms.add(points[moved], owners[moved])


@final
class FlipHarvest(Harvest):
    """For the zero-one loss, any order."""

    def __init__(self, atoms: Atoms) -> None:
        super().__init__(atoms)
        self._flips = atoms.problem.points[:0]
        self._owners: Integers = np.zeros(0, dtype=np.int64)

    def gather(self, walkers: Walkers, trace: Trace) -> None:
        labels = walkers.labels.repeat(len(trace.lengths))
        margin = margins(trace.logits.flatten(0, 1), labels).view(trace.lengths.shape)
        nearest = torch.where(margin >= 0, trace.lengths, torch.inf).min(dim=0)
        points = _visited(trace, nearest.indices)
        owners, lengths = walkers.samples.cpu().numpy(), _floats(nearest.values)
        kept = _nearest(owners, lengths, FLIPS)
        self.offer(points[kept], owners[kept])
        if not self.problem.cost.finite:
            self._offer_ties(walkers, trace, margin)

    def offer(self, points: Floats, owners: Integers) -> None:
        problem = self.problem
        points = self.inside(points, owners)
        wrong = certainly_wrong(problem, points, owners) & problem.support.contains(points)
        owners = owners[wrong]
        near = approach(problem, points[wrong], owners, precision=COARSE)
        points = np.concatenate([self._flips, near])
        owners = np.concatenate([self._owners, owners])
        lengths = problem.cost.norm.length(points - problem.points[owners])
        kept = _nearest(owners, lengths, FLIPS // 2)
        self._flips, self._owners = points[kept], owners[kept]

    def settle(self, points: Floats, owners: Integers) -> None:
        """Keep the nearest point of each sample, just past the boundary."""
        problem = self.problem
        lengths = problem.cost.norm.length(points - problem.points[owners])
        kept = _nearest(owners, lengths, 1)
        points = assure(problem, self.inside(points[kept], owners[kept]), owners[kept])
        self.atoms.add(points, owners[kept])
        wrong = certainly_wrong(problem, points, owners[kept])
        near = snug(problem, points[wrong], owners[kept][wrong])
        self.atoms.add(self.inside(near, owners[kept][wrong]), owners[kept][wrong])

    def finish(self) -> None:
        """Shorten the nearest flips of each sample and offer them."""
        points = shorten(self.problem, self._network, self._region, self._flips, self._owners)
        self.atoms.add(self.inside(points, self._owners), self._owners)
        self._flips, self._owners = points[:0], self._owners[:0]
        self.atoms.prune()

    def _offer_ties(self, walkers: Walkers, trace: Trace, margin: Tensor) -> None:
        """Offer points at exactly the reach, where a tie may decide: exact arithmetic sees it."""
        best = margin.max(dim=0)
        points = _visited(trace, best.indices)
        owners, reaches = walkers.samples.cpu().numpy(), _floats(walkers.reaches)
        close = np.abs(_floats(best.values)) <= TIED * (1.0 + np.abs(_floats(trace.logits).max()))
        points = within(self.problem, self.inside(points, owners), owners, reaches)
        self.atoms.add(points[close], owners[close])


def within(problem: Problem, points: Floats, owners: Integers, reaches: Floats) -> Floats:
    """Bring points that are meant to be at their reach there exactly, never beyond: ``(M, n)``.

    Where the reach is not a float64 distance, coordinates step back ulp by ulp until the
    transport cost as charged (rounded up) permits the point; a point that cannot be permitted or
    would leave the support takes a little less of its way.
    """
    origins = problem.points[owners]
    moves = points - origins
    norm, cost = problem.cost.norm, problem.cost
    bound = reaches[:, None]
    if norm.name == "linf":
        tied = np.abs(moves) >= bound * (1.0 - TIED)
        exact = np.where(tied, origins + np.copysign(bound, moves), points)
    else:
        lengths = norm.length(moves)[:, None]
        tied = lengths >= bound * (1.0 - TIED)
        exact = np.where(tied, origins + moves * (bound / np.where(tied, lengths, 1.0)), points)
    exact = np.clip(exact, *problem.support.bounds)
    for _ in range(8):
        over = cost.charge(exact, origins) > reaches
        exact = np.where(over[:, None], np.nextafter(exact, origins), exact)
    bad = (cost.charge(exact, origins) > reaches) | ~problem.support.contains(exact)
    return np.where(bad[:, None], origins + moves * (1.0 - SHORT), exact)


def harvest_for(atoms: Atoms, radii: tuple[float, ...]) -> Harvest:
    """Return the harvest that suits the loss and the order of a problem."""
    if isinstance(atoms.problem.loss, ZeroOne):
        return FlipHarvest(atoms)
    return EnvelopeHarvest(atoms) if atoms.problem.cost.finite else ReachHarvest(atoms, radii)


def _visited(trace: Trace, times: Tensor) -> Floats:
    """Where each walker was at a time of its own: ``(W,) -> (W, n)``."""
    return _floats(trace.points[times, torch.arange(len(times), device=times.device)])


def _floats(tensor: Tensor) -> Floats:
    return np.asarray(tensor.cpu().double().numpy())


def _nearest(owners: Integers, lengths: Floats, count: int) -> Integers:
    """Return the ``count`` nearest points of each owner, those at infinity left out."""
    order = np.lexsort((lengths, owners))
    order = order[np.isfinite(lengths[order])]
    first = np.unique(owners[order], return_index=True)[1]
    sizes = np.diff(np.append(first, len(order)))
    rank = np.arange(len(order)) - np.repeat(first, sizes)
    return order[rank < count]
