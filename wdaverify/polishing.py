r"""Polishing an attack: its points are replaced by the best ones of the cells they lie in.

.. math:: \max\; \nabla\ell(z(x_0))\cdot z(x) - \lambda\|x - x_i\|^p
          \quad\text{or}\quad \min\;\|x - x_i\|\ \text{ s.t. } z_j(x)\ge z_y(x)
          \qquad\text{over } x\in C_D\cap\mathcal{X}

Within a cell the network is affine: both are linear programs (l1, l∞) or projections (l2). Then the
cells across the facets on which the new point lies are tried, as long as that gains anything. The
attack itself never sees a solver; this step takes what it found. Every new point is evaluated in
float64 like all others and counts only where it is better, so that a bound never gets worse.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

import numpy as np

from wdaverify.arrays import Bools, Floats, Integers
from wdaverify.atoms import Atoms
from wdaverify.bounds.attack import LowerBound, joined
from wdaverify.bounds.bases import ASIDE, leaders
from wdaverify.bounds.harvest import within
from wdaverify.bounds.torch_network import loss_slope
from wdaverify.errors import LimitReached, SolverError
from wdaverify.evaluation import certain_losses
from wdaverify.exact.penalty import Penalty
from wdaverify.exact.polish import Polisher, Query
from wdaverify.limits import Limits
from wdaverify.loss import ZeroOne
from wdaverify.problem import Problem

__all__ = ["polish", "polish_atoms"]

ROUNDS = 12
"""So often the points of the last round are polished again, across their facets."""

GAIN = 1e-10
"""A round that raises no value by more than this, relatively, is the last."""

FACET = 1e-8
"""A neuron this close to zero, relative to the largest one, lies on a facet; a class is tied."""

REACH = 4.0
"""A point may go so many times as far as it is, or as the radius is."""

PUSHES = np.append(0.0, 2.0 ** np.arange(-52.0, 1.0, 2.0))[:, None]
"""How far from the nearest error of a cell to its deepest one, until the error is certain."""


class _Base(NamedTuple):
    """A point to be polished, its sample and label, what distance costs and how far it may go."""

    point: Floats
    owner: int
    label: int
    penalty: Penalty
    reach: float


def polish(
    problem: Problem, bound: LowerBound, *, rounds: int = ROUNDS, limits: Limits | None = None
) -> LowerBound:
    """Improve a lower bound inside the cells in which its atoms lie.

    Parameters
    ----------
    problem, bound
        A problem and what :func:`~wdaverify.bounds.attack.attack` found about it.
    rounds, limits
        See :func:`polish_atoms`.

    Returns
    -------
    LowerBound
        At the same radius, never smaller; its method is called ``… polished``.

    Examples
    --------
    >>> from wdaverify.bounds.attack import attack
    >>> from wdaverify.network import ReLUNetwork
    >>> affine = ReLUNetwork([[[0.0, 0.0], [2.0, 1.0]]], [[0.0, -1.0]])
    >>> problem = Problem(affine, [[0.0, 0.0]], [0])
    >>> round(polish(problem, attack(problem, radius=0.5)).value, 9)
    0.5
    """
    atoms, found = Atoms(problem), bound.distribution
    atoms.add(found.points, found.origin, found.labels)
    better = polish_atoms(atoms, [bound.radius], rounds=rounds, limits=limits)
    distribution = better.distribution(bound.radius)
    value, name = distribution.risk(problem), f"{bound.method} polished"
    if value < bound.value:  # rounding of the merge
        value, distribution = bound.value, found
    return LowerBound(bound.radius, value, distribution, bound.seed, name)


def polish_atoms(
    atoms: Atoms, radii: Sequence[float], *, rounds: int = ROUNDS, limits: Limits | None = None
) -> Atoms:
    """Return a table with the points of another, and better ones from the cells they lie in.

    Parameters
    ----------
    atoms
        What an attack found; it is left as it is.
    radii
        Radii ``ε`` at which the points should be good. For the zero-one loss they play no part: the
        nearest error of each sample is brought nearer.
    rounds
        How often the new points are polished again, across the facets on which they lie.
    limits
        When one is reached, what was gained so far is returned.
    """
    table, limits = joined([atoms]), limits or Limits()
    radii = [radius for radius in radii if radius > 0]
    if not radii:
        return table
    search = _Search(table, limits)
    with suppress(LimitReached):
        before = search.values(radii)
        for _ in range(rounds):
            search.round(_bases(table, radii))
            after = search.values(radii)
            if (after <= before + GAIN * np.maximum(1.0, np.abs(before))).all():
                break
            before = after
    return table


class _Search:
    """Cells that were tried for each question, and the table that gets better."""

    def __init__(self, table: Atoms, limits: Limits) -> None:
        self.table, self.problem, self._limits = table, table.problem, limits
        self._polisher = Polisher(table.problem)
        self._jumps = isinstance(table.problem.loss, ZeroOne)
        self._tried: set[tuple[object, ...]] = set()

    def values(self, radii: Sequence[float]) -> Floats:
        """Return what must grow: values at the radii, or minus the known distances."""
        if not self._jumps:
            return np.array([self.table.value(radius) for radius in radii])
        nearest = _nearest_errors(self.table)
        return np.asarray(-self.table.costs[nearest])

    def round(self, bases: list[_Base]) -> None:
        """Polish every base in its cell and in those across its facets."""
        try:
            for done, base in enumerate(bases):
                self._limits.check("polishing")
                self._limits.report(f"point {done} of {len(bases)}")
                for pattern in self._patterns(base.point):
                    self._solve(base, pattern)
        finally:
            self.table.prune()

    def _patterns(self, point: Floats) -> Iterator[Bools]:
        network = self.problem.network
        z = network.preactivations(point[None, :])[0]
        own = network.patterns(point[None, :])[0]
        yield own
        size = FACET * np.abs(z).max(initial=0.0)
        for k in np.flatnonzero((np.abs(z) <= size) & ~network.linear):
            other = own.copy()
            other[k] = not own[k]
            yield other

    def _solve(self, base: _Base, pattern: Bools) -> None:
        sample, problem = self.problem.points[base.owner], self.problem
        logits = problem.network.logits(base.point[None, :])[0]
        for row in _rows(problem, logits, base.label):
            key = (base.owner, pattern.tobytes(), row.tobytes(), *base[2:])
            if key in self._tried:
                continue
            self._tried.add(key)
            query = Query(row, 0.0, sample, base.penalty, base.reach)
            with suppress(SolverError):
                if self._jumps:
                    points = _certain(problem, self._polisher.nearest(pattern, query), base.label)
                else:
                    points = self._polisher.best(pattern, query, base.point)
                self._offer(points, base)

    def _offer(self, points: Floats, base: _Base) -> None:
        """Put points into support and reach, and offer them under the label of the base."""
        points = np.clip(points, *self.problem.support.bounds)
        owners = np.full(len(points), base.owner)
        if not (self.problem.cost.finite or self._jumps):
            points = within(self.problem, points, owners, np.full(len(points), base.reach))
        self.table.add(points, owners, np.full(len(points), base.label))


def _bases(table: Atoms, radii: Sequence[float]) -> list[_Base]:
    """Return what the samples of positive weight want at each radius."""
    problem = table.problem
    if isinstance(problem.loss, ZeroOne):
        return [
            _Base(table.points[k], int(table.owners[k]), int(table.labels[k]), Penalty(1.0), np.inf)
            for k in _nearest_errors(table)
            if table.costs[k] > 0
        ]
    found = []
    for radius in radii:
        chosen, price = _wanted(table, radius)
        for k in chosen[problem.weights[table.owners[chosen]] > 0].tolist():
            owner, point = int(table.owners[k]), table.points[k]
            reach = radius
            if problem.cost.finite:
                way = float(problem.cost.norm.length(point - problem.points[owner]))
                reach = REACH * max(way, radius)
            order = problem.cost.order if problem.cost.finite else 1.0
            penalty = Penalty(price, order)
            found.append(_Base(point, owner, int(table.labels[k]), penalty, reach))
    return found


def _wanted(table: Atoms, radius: float) -> tuple[Integers, float]:
    """Return the points that are best at a radius and the multiplier there."""
    if not table.problem.cost.finite:
        scores = np.where(table.costs <= radius, table.losses, -np.inf)
        return leaders(table.owners, scores), 0.0
    price = table.merge().multiplier(table.problem.cost.budget(radius))
    price = price if np.isfinite(price) else 0.0
    sides = [price * (1.0 - ASIDE), price * (1.0 + ASIDE)]
    chosen = [leaders(table.owners, table.losses - side * table.costs) for side in sides]
    return np.unique(np.concatenate(chosen)), price


def _nearest_errors(table: Atoms) -> Integers:
    """Return the nearest certain error of each sample that has one."""
    return leaders(
        np.where(table.losses == 1, table.owners, -1), np.where(table.losses == 1, -table.costs, 0)
    )[int((table.losses != 1).any()) :]


def _rows(problem: Problem, logits: Floats, label: int) -> Floats:
    """Return gradients of the loss in the logits, one for each top wrong class: ``(r, K)``."""
    if problem.loss.of_margin or isinstance(problem.loss, ZeroOne):
        others = logits.copy()
        others[label] = -np.inf
        top = np.flatnonzero(others >= others.max() - FACET * np.abs(logits).max())
        return np.asarray(np.eye(len(logits))[top] - np.eye(len(logits))[label])
    return loss_slope(problem.loss, logits, label)[None, :]


def _certain(problem: Problem, found: Floats, label: int) -> Floats:
    """Go from the nearest error of a cell, the first of two, towards the deepest until certain."""
    if len(found) == 0:
        return found
    trials = np.clip(found[0] + PUSHES * (found[1] - found[0]), *problem.support.bounds)
    wrong = certain_losses(problem, trials, np.full(len(trials), label)) > 0
    return np.asarray(trials[wrong & problem.support.contains(trials)][:1])
