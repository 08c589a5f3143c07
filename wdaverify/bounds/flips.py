r"""Points just past the decision boundary, as near to their samples as possible.

A misclassified point is halved back along the segment to its sample until float64 is just certain
of the error. Then the boundary, there the hyperplane :math:`\{x : g\cdot(x - b) = -m\}` with
:math:`g = \nabla(z_j - z_y)(b)` and margin ``m``, is followed towards the point of it that is
nearest to the sample, and halved again.
"""

import numpy as np
import torch

from wdaverify.arrays import Bools, Floats, Integers
from wdaverify.bounds.region import Region
from wdaverify.bounds.torch_network import TorchNetwork, margins
from wdaverify.evaluation import margins_with_error
from wdaverify.problem import Problem

__all__ = ["COARSE", "approach", "certainly_wrong", "shorten"]

HALVINGS = 128
"""More than enough to reach the resolution of float64, also from far away."""

COARSE = 2.0**-16
"""Precision of points that are moved on anyway."""

FRACTIONS = (1.0, 0.5, 0.25, 0.125, 0.03125)
"""How far along the boundary a shortened point may go."""


def certainly_wrong(problem: Problem, points: Floats, owners: Integers) -> Bools:
    """Whether the margin of each point exceeds its rounding error: ``(M, n), (M,) -> (M,)``."""
    values, errors = margins_with_error(problem.network, points, problem.labels[owners])
    wrong: Bools = values > errors
    return wrong


def approach(
    problem: Problem, points: Floats, owners: Integers, *, precision: float = 2.0**-52
) -> Floats:
    """Move misclassified points ``(M, n)`` towards their samples until just past the boundary.

    A point that is not certainly misclassified stays where it is.

    Parameters
    ----------
    precision
        How far past the boundary is near enough, relative to the way.
    """
    starts = problem.points[owners]
    moves = points - starts
    low, high = np.zeros(len(points)), np.ones(len(points))
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        wrong = certainly_wrong(problem, starts + middle[:, None] * moves, owners)
        high = np.where(wrong, middle, high)
        low = np.where(wrong, low, middle)
        if (high - low <= precision * high).all():
            break
    nearer = starts + high[:, None] * moves
    return np.where((high < 1.0)[:, None], nearer, points)


def shorten(
    problem: Problem,
    network: TorchNetwork,
    region: Region,
    points: Floats,
    owners: Integers,
    *,
    rounds: int = 6,
) -> Floats:
    """Slide points just past the boundary ``(M, n)`` along it, nearer to their samples.

    Parameters
    ----------
    network, region
        In float64 on the CPU.
    """
    starts = problem.points[owners]
    for _ in range(rounds):
        feet = _feet(problem, network, region, points, owners)
        best, lengths = points, problem.cost.norm.length(points - starts)
        for fraction in FRACTIONS:
            trial = points + fraction * (feet - points)
            new = problem.cost.norm.length(trial - starts)
            better = (new < lengths) & certainly_wrong(problem, trial, owners)
            better &= problem.support.contains(trial)
            best = np.where(better[:, None], trial, best)
            lengths = np.where(better, new, lengths)
        moved = np.flatnonzero((best != points).any(axis=1))
        if len(moved) == 0:
            break
        points = best.copy()
        points[moved] = approach(problem, best[moved], owners[moved], precision=COARSE)
    return approach(problem, points, owners)


def _feet(
    problem: Problem, network: TorchNetwork, region: Region, points: Floats, owners: Integers
) -> Floats:
    """Nearest points of the linearised boundary to the samples, in the support: ``(M, n)``."""
    x, origins = network.tensor(points), network.tensor(problem.points[owners])
    labels = torch.tensor(problem.labels[owners])
    margin, error = margins_with_error(problem.network, points, problem.labels[owners])
    _, g = network.gradient(x, lambda z: margins(z, labels))
    past = network.tensor(4.0 * error - margin)  # just past the boundary, by more than rounding
    rises = (g * (x - origins)).sum(dim=1) + past
    moves = region.steps.meet(g, region.rooms(g, origins), rises)
    endless = torch.full_like(rises, torch.inf)
    return np.asarray(region.project(origins + moves, origins, endless).numpy())
