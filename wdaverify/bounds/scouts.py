r"""Attacks that look for points on their own, and hand them to the harvest of a campaign.

The minimum-distance attack finds where the margin reaches ``τ``; the published attacks climb within
a distance. Their points are candidates like all others: the merge decides.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from wdaverify.arrays import Floats, Integers
from wdaverify.bounds.launcher import Launcher
from wdaverify.bounds.nearest_flip import Flips, Hunt, nearest_flips
from wdaverify.bounds.published import Published, Settings
from wdaverify.bounds.reference import reference_wda, reference_wdapp
from wdaverify.bounds.reference_adaptive import reference_a3
from wdaverify.bounds.region import Region
from wdaverify.bounds.torch_network import TorchModel
from wdaverify.loss import margins

__all__ = ["Scouts"]

DEPTH = 0.4
"""Steps of a descent for each step of a walk."""

MANY, CHEAP = 16, 100_000
"""A search for flips hops up to so many times per restart, as long as hops times neurons and
features of all samples are no more than that."""

RESTARTS = 13
"""Of A3-WDA."""

Attack = Callable[[TorchModel, Region, Tensor, Tensor], Published]
"""A published attack: model, region, samples ``(W, n)`` and labels ``(W,)``."""


class Scouts:
    """Runs attacks batch by batch.

    Parameters
    ----------
    launcher
        Its model, support, randomness and harvest are used.
    """

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher
        self._problem, self._options = launcher.problem, launcher.options
        steps = max(3, round(DEPTH * self._options.steps))
        self._hunt = Hunt(steps, hops=1 + self._options.restarts, top_k=self._options.top_k)
        self._settings = Settings(
            steps=self._options.steps, top_k=self._options.top_k, restarts=RESTARTS
        )

    def flips(self, samples: Integers) -> None:
        """Look for the nearest misclassified points; longer, in every class, where it is cheap."""
        network, hunt = self._problem.network, self._hunt
        work = max(1, len(samples) * (network.features + network.neurons))
        more = min(MANY, CHEAP // work)
        if more > 1:
            hunt = replace(hunt, hops=1 + self._options.restarts * more, second=math.inf)
        self._near(samples, np.zeros(len(samples)), hunt)

    def margins(self, samples: Integers, multiple: float) -> None:
        """Look for the nearest points whose margin is a multiple of the nominal one's size."""
        problem = self._problem
        nominal = margins(problem.network.logits(problem.points), problem.labels)[samples]
        targets = multiple * np.maximum(np.abs(nominal), np.median(np.abs(nominal)))
        ahead = targets > nominal
        self._near(samples[ahead], targets[ahead], self._hunt)

    def wda(self, reaches: Floats) -> None:
        """Run the published WDA within each reach."""
        for eps in reaches.tolist():
            self._published(partial(reference_wda, eps=eps, settings=self._settings))

    def wdapp(self) -> None:
        """Run the published WDA++."""
        self._published(partial(reference_wdapp, settings=self._settings))

    def adaptive(self, reaches: Floats) -> None:
        """Run the published A3-WDA within each reach."""
        generator = self._launcher.generator
        for eps in reaches.tolist():
            self._published(
                partial(reference_a3, eps=eps, settings=self._settings, generator=generator)
            )

    def _near(self, samples: Integers, targets: Floats, hunt: Hunt) -> None:
        launcher, network = self._launcher, self._problem.network

        def work(start: int, stop: int) -> None:
            rows = samples[start:stop]
            found = nearest_flips(
                launcher.model,
                launcher.region,
                launcher.model.tensor(self._problem.points[rows]),
                torch.tensor(self._problem.labels[rows], device=launcher.model.device),
                targets=launcher.model.tensor(targets[start:stop]),
                hunt=hunt,
                generator=launcher.generator,
                stop=lambda: self._options.limits.reached("attack") is not None,
            )
            launcher.harvest.settle(*_candidates(found, rows))

        width = hunt.top_k * (network.features + network.classes + 2 * network.neurons)
        launcher.batches(len(samples), width, work)

    def _published(self, attack: Attack) -> None:
        launcher, samples = self._launcher, self._problem.active

        def work(start: int, stop: int) -> None:
            rows = samples[start:stop]
            found = attack(
                launcher.model,
                launcher.region,
                launcher.model.tensor(self._problem.points[rows]),
                torch.tensor(self._problem.labels[rows], device=launcher.model.device),
            )
            launcher.harvest.offer(np.asarray(found.points.cpu().double().numpy()), rows)

        network = self._problem.network
        width = self._settings.top_k * (network.features + network.classes + 2 * network.neurons)
        launcher.batches(len(samples), width, work)
        launcher.harvest.finish()


def _candidates(found: Flips, rows: Integers) -> tuple[Floats, Integers]:
    """Points of all walkers and the best of each sample, with their samples."""
    known = (found.lengths.isfinite() & (found.lengths > 0)).cpu().numpy()
    points = torch.cat([found.points, found.others]).cpu().double().numpy()
    keep = np.concatenate([known, np.ones(len(found.owners), dtype=bool)])
    owners = np.concatenate([rows, rows[found.owners.cpu().numpy()]])
    return points[keep], owners[keep]
