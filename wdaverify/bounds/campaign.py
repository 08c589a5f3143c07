r"""An attack as stages that share one table of atoms.

1. *Flip*: the nearest misclassified points; for a loss that grows beyond the boundary also the
   nearest points of other margins (order infinity needs neither).
2. *Climb*: every sample, target class, reach and start; with a zero-one loss of finite order only
   samples for which no flip is known. *Adapt* does the same by the published adaptive restarts.
3. *Share*: points found for one sample serve others of its label.
4. *Refine*: at the multiplier ``λ`` of each radius a sample wants the point that maximises
   :math:`\ell - \lambda s`; walkers with slightly smaller and larger reaches look for a better
   one, closer and closer (order infinity: from the worst point within the radius, in ever smaller
   steps, and from random ones). A zero-one loss needs none: its flips are shortened when harvested.
"""

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from wdaverify.arrays import Floats, Integers
from wdaverify.atoms import Atoms
from wdaverify.bounds.ascent import ITSELF, Pace, Walkers
from wdaverify.bounds.bases import Bases, wanted
from wdaverify.bounds.harvest import harvest_for
from wdaverify.bounds.ladder import reaches_of
from wdaverify.bounds.launcher import Launcher
from wdaverify.bounds.options import AttackOptions, Stage, top_classes
from wdaverify.bounds.scouts import Scouts
from wdaverify.bounds.sharing import shared_points
from wdaverify.loss import ZeroOne
from wdaverify.problem import Problem

__all__ = ["Campaign"]

NARROWER = 0.5
"""By which the window of reaches shrinks from one refinement to the next."""

PATIENCE, SETTLED = 8, 1e-9
"""After so many refinements one that changes no value by more than this is the last."""

CROWDED = 8
"""Order infinity has one reach for each radius, and so many times more random starts there."""

MARGINS = (-0.5, 0.0, 0.5, 1.0, 2.0)
"""Margins aimed at, in multiples of the nominal margin's size."""

ADAPTED = (1.0, 4.0)
"""``κ`` of the adaptive restarts in the method that does everything."""

SIDES, STARTS = 2, 3
"""Walkers around a point in a refinement: reaches on two sides, from three places each."""


class Campaign:
    """One attack on one problem.

    Parameters
    ----------
    problem
        With labels that do not move.
    radii
        At which the points should be good; those that are 0 are ignored.
    options
        How to attack.
    """

    def __init__(self, problem: Problem, radii: tuple[float, ...], options: AttackOptions) -> None:
        self.problem = problem
        self.radii = tuple(sorted({radius for radius in radii if radius > 0}))
        self.options, self.recipe = options, options.recipe
        self._finite = problem.cost.finite
        self._jumps = isinstance(problem.loss, ZeroOne)
        self._rounds = 0 if self._jumps else self.recipe.rounds
        self._targets = top_classes(problem, options.top_k)
        self._reaches = reaches_of(problem, self.radii, self.recipe.kappas)
        self._harvest = harvest_for(Atoms(problem), self.radii)
        self._launcher = Launcher(problem, options, self._harvest, self._planned())
        self._scouts = Scouts(self._launcher)

    @property
    def atoms(self) -> Atoms:
        """The points worth keeping so far."""
        return self._harvest.atoms

    def run(self) -> None:
        """Go through all stages.

        Raises
        ------
        LimitReached
            The atoms found until then are kept.
        """
        if len(self._reaches) == 0:
            return
        stages = self._stages()
        try:
            for stage in self.recipe.stages:
                stages[stage]()
        finally:
            self._harvest.finish()

    def _stages(self) -> dict[Stage, Callable[[], None]]:
        return {
            Stage.FLIP: self.flip,
            Stage.CLIMB: self.climb,
            Stage.ADAPT: self.adapt,
            Stage.SHARE: self.share,
            Stage.REFINE: self.refine,
            Stage.PUBLISHED_WDA: partial(self._scouts.wda, self._reaches),
            Stage.PUBLISHED_WDAPP: self._scouts.wdapp,
        }

    def flip(self) -> None:
        """Look for the nearest points of the margins that matter."""
        if self._jumps:
            self._scouts.flips(self.problem.active)
        elif self._finite:
            for multiple in MARGINS:
                self._scouts.margins(self.problem.active, multiple)
        self._harvest.finish()

    def climb(self) -> None:
        """Send walkers from samples to every target and reach."""
        samples = self._lost() if self._jumps and self._finite else self.problem.active
        shape = (len(samples), *self._shape()[1:])

        def build(rows: Integers) -> Walkers:
            sample, target, rung, start = np.unravel_index(rows, shape)
            owners, reaches = samples[sample], self._reaches[rung]
            moves = self._launcher.noise(len(rows)) * reaches[:, None]
            starts = self.problem.points[owners] + np.where((start > 0)[:, None], moves, 0.0)
            return self._launcher.walkers(owners, self._targets[owners, target], starts, reaches)

        self._launcher.launch(math.prod(shape), build, Pace(self.options.steps))

    def adapt(self) -> None:
        """Run the published adaptive restarts within each reach that is worth it."""
        reaches = self._reaches
        if self.recipe.kappas is None:
            reaches = reaches_of(self.problem, self.radii, ADAPTED if self._finite else None)
        self._scouts.adaptive(reaches)

    def _lost(self) -> Integers:
        """Active samples without a known misclassified point."""
        wrong = np.zeros(len(self.problem), dtype=bool)
        wrong[self.atoms.owners[self.atoms.losses == 1]] = True
        active = self.problem.active
        return np.asarray(active[~wrong[active]])

    def share(self) -> None:
        """Offer points to other samples of their label."""
        self._harvest.offer(*shared_points(self.atoms, self.radii, self.options.limits))
        self._harvest.finish()

    def refine(self) -> None:
        """Look for better points near the best ones, ever closer."""
        values = self._values()
        for k in range(self._rounds):
            bases = wanted(self.atoms, self.radii)
            if self._finite:
                self._look_around(bases, NARROWER ** (k + 1))
            else:
                self._look_near(bases, NARROWER ** (k + 1))
                self._look_anywhere(bases)
            before, values = values, self._values()
            if k >= PATIENCE and np.allclose(before, values, rtol=SETTLED, atol=SETTLED):
                break

    def _look_around(self, bases: Bases, window: float) -> None:
        """Finite order: reaches a little smaller and larger, from sample, point and anywhere.

        Samples that want to stay look at any distance: maybe that was unwise.
        """
        anywhere = self._launcher.choice(self._reaches, len(bases.reaches))
        distances = np.where(bases.reaches > 0, bases.reaches, anywhere)
        shape = (len(bases.owners), SIDES, STARTS)

        def build(rows: Integers) -> Walkers:
            base, side, start = np.unravel_index(rows, shape)
            owners, factor = bases.owners[base], 1.0 + window * (2 * side - 1)
            origins, reaches = self.problem.points[owners], distances[base] * factor
            along = (bases.points[base] - origins) * factor[:, None]
            astray = self._launcher.noise(len(rows)) * reaches[:, None]
            moves = np.choose(start[:, None], [np.zeros_like(along), along, astray])
            return self._launcher.walkers(owners, ITSELF, origins + moves, reaches)

        self._launcher.launch(math.prod(shape), build, Pace(self._steps()))

    def _look_near(self, bases: Bases, window: float) -> None:
        """Order infinity: from the point and from random places around it, in small steps."""
        shape = (len(bases.owners), SIDES)

        def build(rows: Integers) -> Walkers:
            base, start = np.unravel_index(rows, shape)
            owners, reaches = bases.owners[base], bases.reaches[base]
            moves = self._launcher.noise(len(rows)) * (window * reaches)[:, None]
            starts = bases.points[base] + np.where((start > 0)[:, None], moves, 0.0)
            return self._launcher.walkers(owners, ITSELF, starts, reaches)

        pace = Pace(self._steps(), jumps=0, first=window, last=window / 100)
        self._launcher.launch(math.prod(shape), build, pace)

    def _look_anywhere(self, bases: Bases) -> None:
        """Order infinity: from a random place within the radius."""

        def build(base: Integers) -> Walkers:
            owners, reaches = bases.owners[base], bases.reaches[base]
            moves = self._launcher.noise(len(base)) * reaches[:, None]
            return self._launcher.walkers(
                owners, ITSELF, self.problem.points[owners] + moves, reaches
            )

        self._launcher.launch(len(bases.owners), build, Pace(self._steps(), jumps=0, first=0.5))

    def _shape(self) -> tuple[int, int, int, int]:
        """Return how many samples, targets, reaches and starts the first climb has."""
        starts = 1 + self.options.restarts * (1 if self._finite else CROWDED)
        return len(self.problem.active), self._targets.shape[1], len(self._reaches), starts

    def _planned(self) -> int:
        """Largest number of walkers that may be sent out."""
        points = len(self.problem.active) * len(self.radii)
        around = points * (2 * SIDES * STARTS if self._finite else SIDES + 1)
        return math.prod(self._shape()) + self._rounds * around

    def _steps(self) -> int:
        return max(5, self.options.steps // 2)

    def _values(self) -> Floats:
        return np.array([self.atoms.value(radius) for radius in self.radii])
