"""Runs any number of walkers in batches that fit into memory."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from wdaverify.arrays import Floats, Integers
from wdaverify.bounds.ascent import Pace, Walkers, ascend
from wdaverify.bounds.batches import in_batches
from wdaverify.bounds.harvest import Harvest
from wdaverify.bounds.options import AttackOptions
from wdaverify.bounds.region import region_of
from wdaverify.bounds.steps import steps_of
from wdaverify.bounds.torch_network import TorchNetwork, device_named, dtype_named
from wdaverify.problem import Problem

__all__ = ["Launcher"]

WORK = 2**23
"""Numbers that the trace of one batch may hold."""


class Launcher:
    """Device, random numbers, limits and progress of one attack.

    Parameters
    ----------
    options
        Seed, device, precision, limits and progress are used.
    harvest
        Takes what the walkers find.
    planned
        How many walkers the attack will take at most, for the progress.

    Attributes
    ----------
    model, region, generator
        Where walkers climb, and the source of everything random.
    """

    def __init__(
        self, problem: Problem, options: AttackOptions, harvest: Harvest, planned: int
    ) -> None:
        self.problem, self.options, self.harvest = problem, options, harvest
        self.model = TorchNetwork(
            problem.network, device=device_named(options.device), dtype=dtype_named(options.dtype)
        )
        self._steps = steps_of(problem.cost.norm)
        self.region = region_of(problem.support, self._steps, self.model)
        self.generator = torch.Generator().manual_seed(options.seed)
        self._done, self._planned = 0, planned

    def launch(self, count: int, build: Callable[[Integers], Walkers], pace: Pace) -> None:
        """Run ``count`` walkers, batch by batch, and harvest what they find.

        Parameters
        ----------
        build
            Makes the walkers of given numbers ``0 … count−1``.

        Raises
        ------
        LimitReached
            Before a batch; what earlier batches found is harvested.
        """
        network = self.problem.network
        width = (pace.steps + 1) * (network.features + network.classes + 1) + 4 * network.neurons

        def work(start: int, stop: int) -> None:
            walkers = build(np.arange(start, stop))
            trace = ascend(
                self.model,
                self.region,
                walkers,
                loss=self.problem.loss,
                pace=pace,
                generator=self.generator,
            )
            self.harvest.gather(walkers, trace)

        self.batches(count, width, work)
        self.harvest.finish()

    def batches(self, count: int, width: int, work: Callable[[int, int], None]) -> None:
        """Do ``work(start, stop)`` for rows that hold ``width`` numbers each.

        Batches for which memory does not suffice are split; the parts draw the same numbers again.

        Raises
        ------
        LimitReached
            Before a batch.
        """

        def guarded(start: int, stop: int) -> None:
            self.options.limits.check("attack")
            before = self.generator.get_state()
            try:
                work(start, stop)
            except (MemoryError, RuntimeError):
                self.generator.set_state(before)
                raise
            self._report(stop - start)

        in_batches(count, max(1, WORK // width), guarded)

    def walkers(
        self, owners: Integers, targets: Integers | int, starts: Floats, reaches: Floats
    ) -> Walkers:
        """Make walkers on the device from arrays with one row for each."""

        def indices(array: Integers) -> Tensor:
            return torch.tensor(array, device=self.model.device)

        return Walkers(
            indices(owners),
            indices(self.problem.labels[owners]),
            indices(np.broadcast_to(targets, owners.shape).astype(np.int64)),
            self.model.tensor(self.problem.points[owners]),
            self.model.tensor(starts),
            self.model.tensor(reaches),
        )

    def noise(self, count: int) -> Floats:
        """Draw random points of the unit ball, ``(count, n)``."""
        shape = (count, self.problem.network.features)
        normal = torch.randn(shape, generator=self.generator, dtype=torch.float64)
        radius = torch.rand((count, 1), generator=self.generator, dtype=torch.float64)
        return np.asarray((self._steps.scatter(normal) * radius).numpy())

    def choice(self, values: Floats, count: int) -> Floats:
        """Draw from ``values`` with equal chances, ``(count,)``."""
        pick = torch.randint(len(values), (count,), generator=self.generator)
        return np.asarray(values[pick.numpy()])

    def _report(self, more: int) -> None:
        self._done = min(self._done + more, self._planned)
        if self.options.progress is not None:
            self.options.progress(self._done, self._planned)
