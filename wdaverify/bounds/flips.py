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

__all__ = ["COARSE", "approach", "assure", "certainly_wrong", "shorten", "snug"]

HALVINGS = 128
"""More than enough to reach the resolution of float64, also from far away."""

COARSE = 2.0**-16
"""Precision of points that are moved on anyway."""

PUSHES = tuple(2.0**-k for k in range(48, 7, -2))
"""By how much, relatively, a way is lengthened until its end is certainly misclassified."""

BACK = tuple(2.0**-k for k in range(44, 0, -6))
"""By how much, relatively, a way is shortened until its end is not."""

SECANTS = 8
"""Evaluations that then find the end between the two."""

FRACTIONS = (1.0, 0.5, 0.25, 0.125, 0.03125)
"""How far along the boundary a shortened point may go."""


def certainly_wrong(problem: Problem, points: Floats, owners: Integers) -> Bools:
    """Whether the margin of each point exceeds its rounding error: ``(M, n), (M,) -> (M,)``."""
    values, errors = margins_with_error(problem.network, points, problem.labels[owners])
    wrong: Bools = values > errors
    return wrong


def assure(problem: Problem, points: Floats, owners: Integers) -> Floats:
    """Lengthen the ways to points ``(M, n)``, in the bounds, until they are certainly wrong.

    Where a hundredth of the way is not enough the point stays doubtful.
    """
    starts, result = problem.points[owners], points
    left = np.flatnonzero(~certainly_wrong(problem, points, owners))
    for push in PUSHES:
        if len(left) == 0:
            break
        moves = (1.0 + push) * (points[left] - starts[left])
        longer = np.clip(starts[left] + moves, *problem.support.bounds)
        result = result.copy() if result is points else result
        result[left] = longer
        left = left[~certainly_wrong(problem, longer, owners[left])]
    return result


def snug(problem: Problem, points: Floats, owners: Integers) -> Floats:
    """Move certainly misclassified points that are nearly on the boundary back until just past it.

    The boundary is bracketed in growing steps, then found by secants of the margin less its
    rounding error. Where nothing is gained the point stays.
    """
    starts = problem.points[owners]
    moves = points - starts

    def excess(scale: Floats) -> Floats:
        where = starts + scale[:, None] * moves
        values, errors = margins_with_error(problem.network, where, problem.labels[owners])
        return values - errors

    high, low = np.ones(len(points)), np.full(len(points), np.nan)
    above, below = excess(high), np.full(len(points), np.nan)
    for step in BACK:
        trial = np.full(len(points), 1.0 - step)
        value = excess(trial)
        opened = np.isnan(low)
        first, still = opened & (value <= 0), opened & (value > 0)
        low, below = np.where(first, trial, low), np.where(first, value, below)
        high, above = np.where(still, trial, high), np.where(still, value, above)
        if not still.any():
            break
    low, below = np.where(np.isnan(low), 0.0, low), np.where(np.isnan(below), -above, below)
    for k in range(SECANTS):
        rise = np.where(above > below, above - below, 1.0)
        share = np.clip(-below / rise, 0.0, 1.0) if k % 2 == 0 else np.full(len(low), 0.5)
        trial = low + (share + 2.0**-8 * (1.0 - share)) * (high - low)
        value = excess(trial)
        wrong = value > 0
        high, above = np.where(wrong, trial, high), np.where(wrong, value, above)
        low, below = np.where(wrong, low, trial), np.where(wrong, below, value)
    nearer = starts + high[:, None] * moves
    return np.where((high < 1.0)[:, None], nearer, points)


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
