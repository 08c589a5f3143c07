r"""An attack as stages that share one table of atoms.

1. *Climb*: every sample, target class, reach and start.
2. *Share*: points found for one sample serve others of its label.
3. *Refine*: at the multiplier ``λ`` of each radius a sample wants the point that maximises
   :math:`\ell - \lambda s`; walkers with slightly smaller and larger reaches look for a better
   one, closer and closer (order infinity: from the worst point within the radius, in ever smaller
   steps).
4. *Restart* (``a3-wda``): samples that could still pay off start near directions that proved good.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from wdaverify.arrays import Floats, Integers
from wdaverify.atoms import Atoms
from wdaverify.bounds.ascent import ITSELF, Pace, Walkers, ascend
from wdaverify.bounds.bases import Bases, hopeful, wanted
from wdaverify.bounds.harvest import harvest_for
from wdaverify.bounds.ladder import reaches_of
from wdaverify.bounds.options import AttackOptions
from wdaverify.bounds.region import region_of
from wdaverify.bounds.sharing import shared_points
from wdaverify.bounds.steps import steps_of
from wdaverify.bounds.torch_network import TorchNetwork, device_named, dtype_named
from wdaverify.loss import ZeroOne
from wdaverify.problem import Problem

__all__ = ["Campaign"]

WORK = 2**23
"""Numbers that the trace of one batch may hold: memory stays bounded whatever the problem."""

NARROWER = 0.5
"""By which the window of reaches shrinks from one refinement to the next."""

RESTARTS = 4
"""Walkers of each hopeful sample and radius in a restart."""


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
        self.options = options
        self.recipe = options.recipe
        self.atoms = Atoms(problem)
        self._network = TorchNetwork(
            problem.network, device=device_named(options.device), dtype=dtype_named(options.dtype)
        )
        self._steps = steps_of(problem.cost.norm)
        self._region = region_of(problem.support, self._steps, self._network)
        self._generator = torch.Generator().manual_seed(options.seed)
        self._reaches = reaches_of(problem, self.radii, self.recipe.kappas)
        self._harvest = harvest_for(self.atoms)
        self._done = 0
        self._planned = 0

    def run(self) -> None:
        """Go through all stages.

        Raises
        ------
        LimitReached
            The atoms found until then are kept.
        """
        if len(self._reaches) == 0:
            return
        self.climb()
        for loop in range(1 + self.recipe.loops):
            if loop:
                self.restart()
            if self.recipe.rounds:
                self.share()
                self.refine()

    def climb(self) -> None:
        """Send walkers from every sample to every target and reach."""
        targets = self.recipe.targets(self.problem, self.options.top_k)
        active = self.problem.active
        shape = (len(active), targets.shape[1], len(self._reaches), 1 + self.options.restarts)

        def build(rows: Integers) -> Walkers:
            sample, target, rung, start = np.unravel_index(rows, shape)
            owners, reaches = active[sample], self._reaches[rung]
            moves = self._noise(len(rows)) * reaches[:, None]
            starts = self.problem.points[owners] + np.where((start > 0)[:, None], moves, 0.0)
            return self._walkers(owners, targets[owners, target], starts, reaches)

        self._launch(int(np.prod(shape)), build, Pace(self.options.steps))

    def share(self) -> None:
        """Offer points to other samples of their label."""
        self._harvest.offer(*shared_points(self.atoms, self.radii, self.options.limits))
        self._harvest.finish()

    def refine(self) -> None:
        """Look for better points near the best ones, ever closer."""
        if isinstance(self.problem.loss, ZeroOne):
            return
        steps = max(5, self.options.steps // 2)
        for k in range(self.recipe.rounds):
            window = globals()['window'](k)
            bases = self._reaching(wanted(self.atoms, self.radii))
            if self.problem.cost.finite:
                self._launch_around(bases, window, Pace(steps))
            else:
                self._launch_near(bases, window, Pace(steps, 0, window, window / 100))

    def restart(self) -> None:
        """Start again where half the price would buy something, near good directions."""
        bases = hopeful(self.atoms, self.radii)
        shape = (len(bases.owners), RESTARTS)

        def build(rows: Integers) -> Walkers:
            base, _ = np.unravel_index(rows, shape)
            owners, reaches = bases.owners[base], bases.reaches[base]
            origins = self.problem.points[owners]
            moves = bases.points[base] - origins
            length = self.problem.cost.norm.length(moves)[:, None]
            direction = moves / np.where(length > 0, length, 1.0) + self._noise(len(rows))
            starts = origins + 0.5 * reaches[:, None] * direction
            return self._walkers(owners, np.full(len(rows), ITSELF), starts, reaches)

        self._launch(int(np.prod(shape)), build, Pace(self.options.steps, 0, 0.5))

    def _launch_around(self, bases: Bases, window: float, pace: Pace) -> None:
        """Finite order: reaches a little smaller and larger, from the sample and from the point."""
        factors = np.array([1.0 - window, 1.0 + window])
        shape = (len(bases.owners), 2, 2)

        def build(rows: Integers) -> Walkers:
            base, side, start = np.unravel_index(rows, shape)
            owners, factor = bases.owners[base], factors[side]
            origins = self.problem.points[owners]
            moves = (bases.points[base] - origins) * factor[:, None]
            starts = origins + np.where((start > 0)[:, None], moves, 0.0)
            targets = np.full(len(rows), ITSELF)
            return self._walkers(owners, targets, starts, bases.reaches[base] * factor)

        self._launch(int(np.prod(shape)), build, pace)

    def _launch_near(self, bases: Bases, window: float, pace: Pace) -> None:
        """Order infinity: from the point and from random places around it, in small steps."""
        shape = (len(bases.owners), 2)

        def build(rows: Integers) -> Walkers:
            base, start = np.unravel_index(rows, shape)
            owners, reaches = bases.owners[base], bases.reaches[base]
            moves = self._noise(len(rows)) * (window * reaches)[:, None]
            starts = bases.points[base] + np.where((start > 0)[:, None], moves, 0.0)
            return self._walkers(owners, np.full(len(rows), ITSELF), starts, reaches)

        self._launch(int(np.prod(shape)), build, pace)

    def _launch(self, count: int, build: Callable[[Integers], Walkers], pace: Pace) -> None:
        """Run ``count`` walkers in batches that fit into memory."""
        network = self.problem.network
        width = (pace.steps + 1) * (network.features + network.classes + 1) + 4 * network.neurons
        rows = max(1, WORK // width)
        self._planned += count
        for start in range(0, count, rows):
            self.options.limits.check("attack")
            walkers = build(np.arange(start, min(start + rows, count)))
            trace = ascend(
                self._network,
                self._region,
                walkers,
                loss=self.problem.loss.name,
                pace=pace,
                generator=self._generator,
            )
            self._harvest.gather(walkers, trace)
            self._done += len(walkers.reaches)
            if self.options.progress is not None:
                self.options.progress(self._done, self._planned)
        self._harvest.finish()

    def _walkers(
        self, owners: Integers, targets: Integers, starts: Floats, reaches: Floats
    ) -> Walkers:
        def indices(array: Integers) -> Tensor:
            return torch.tensor(array, device=self._network.device)

        return Walkers(
            indices(owners),
            indices(self.problem.labels[owners]),
            indices(targets),
            self._network.tensor(self.problem.points[owners]),
            self._network.tensor(starts),
            self._network.tensor(reaches),
        )

    def _noise(self, count: int) -> Floats:
        """Draw random points of the unit ball, ``(count, n)``."""
        shape = (count, self.problem.network.features)
        normal = torch.randn(shape, generator=self._generator, dtype=torch.float64)
        radius = torch.rand((count, 1), generator=self._generator, dtype=torch.float64)
        return np.asarray((self._steps.scatter(normal) * radius).numpy())

    def _reaching(self, bases: Bases) -> Bases:
        """Give samples that want to stay a reach of the ladder at random: maybe that was unwise."""
        pick = torch.randint(len(self._reaches), (len(bases.reaches),), generator=self._generator)
        anywhere = self._reaches[pick.numpy()]
        return bases._replace(reaches=np.where(bases.reaches > 0, bases.reaches, anywhere))
