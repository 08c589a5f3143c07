r"""A3-WDA, the published combination of WDA with adaptive restarts, step for step.

Restart 0 starts at random; later ones first take steps of size ``ε`` that raise
:math:`\langle w, f(x)\rangle` for a random ``w`` (*adaptive direction initialisation*). Which signs
of ``w`` on the label and on the class that was reached had led to flips in restart 1 biases later
draws. While initialisation alone flips fewer than 5 % of the samples, ever fewer of them, those
with the largest margins, are tried again. Every start is followed by WDA with one probe and a
cosine schedule of step sizes from ``ε`` down.
"""

import math
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, NamedTuple

import torch
from torch import Tensor

from wdaverify.bounds.published import Counted, Published, Settings, published
from wdaverify.bounds.reference import walk
from wdaverify.bounds.region import Region
from wdaverify.bounds.torch_network import TorchModel, margins

__all__ = ["reference_a3"]

FEWEST = 100
"""So many samples are tried again however few are hopeful."""

RARE = 0.05
"""Initialisation that flips a smaller share of the samples counts as broken."""

BIAS = 0.8
"""Weight of the class that a biased direction singles out, for ten classes."""

FINAL_CLASSES = 4
"""In the last restarts only the top classes are singled out."""


class Round(NamedTuple):
    """Plan of one restart: share of the samples, steps, steps of initialisation, repetitions."""

    share: float
    steps: int
    initial: int
    repeats: int


_BROKEN: Final = {
    3: Round(0.7, 25, 7, 1), 4: Round(0.6, 30, 7, 1), 5: Round(0.5, 30, 7, 1),
    6: Round(0.4, 35, 7, 1), 7: Round(0.3, 40, 7, 1), 8: Round(0.2, 45, 7, 1),
    9: Round(0.1, 50, 7, 1), 10: Round(0.1, 50, 7, 4), 11: Round(0.065, 55, 7, 4),
    12: Round(0.03, 60, 7, 50),
}  # fmt: skip
_WORKING: Final = {
    3: Round(1.0, 5, 10, 10), 4: Round(1.0, 5, 15, 1), 5: Round(1.0, 10, 15, 1),
    6: Round(1.0, 10, 10, 1), 7: Round(1.0, 15, 10, 1), 8: Round(1.0, 18, 10, 1),
    9: Round(1.0, 20, 10, 1), 10: Round(0.8, 25, 10, 5), 11: Round(0.5, 35, 10, 5),
    12: Round(0.5, 45, 10, 20),
}  # fmt: skip
"""From restart 3 on, while initialisation is broken and while it works."""


@dataclass(slots=True, eq=False)
class _State:
    """What is known between restarts; arrays have ``N`` rows."""

    points: Tensor
    safe: Tensor
    best: Tensor
    ranking: Tensor
    signs: list[float] = field(default_factory=lambda: [0.0, 0.0])
    broken: int = 0
    tried_first: int = 0
    epoch: int = -2


def reference_a3(  # noqa: PLR0913
    model: TorchModel,
    region: Region,
    x: Tensor,
    y: Tensor,
    *,
    eps: float,
    generator: torch.Generator,
    settings: Settings | None = None,
) -> Published:
    """Run A3-WDA.

    Parameters
    ----------
    x, y
        Samples ``(N, n)`` and labels ``(N,)``.
    eps
        Radius of the ball around each sample.
    generator
        On the CPU, source of everything random.
    settings
        ``top_k``, ``metric``, ``restarts`` and ``batch`` are used.
    """
    given = replace(settings or Settings(), probes=1, probe_step=None)
    attack = _Adaptive(Counted(model), region, (x, y, eps), given, generator)
    for restart in range(min(given.restarts, 13)):
        attack.restart(restart)
    state = attack.state
    return published(region, x, state.points, ~state.safe, attack.model)


class _Adaptive:
    """One run of A3-WDA."""

    def __init__(
        self,
        model: Counted,
        region: Region,
        question: tuple[Tensor, Tensor, float],
        settings: Settings,
        generator: torch.Generator,
    ) -> None:
        self.model, self.region, self.settings = model, region, settings
        self.x, self.y, self.eps = question
        self._generator = generator
        self.state = self._begin()

    def _begin(self) -> _State:
        """Clean samples, and a random corner of the ball (l2: a random point of it)."""
        x, y = self.x, self.y
        clean = self.model.logits(x).argmax(dim=1) == y
        noise = self._corner(x)
        start = self.region.inside(x + noise, x)
        logits = self.model.logits(start)
        corner = logits.argmax(dim=1) == y
        points = torch.where((clean & ~corner)[:, None], start, x)
        safe = clean & corner
        best = torch.where(safe, -1e5, 1.0).to(x)
        return _State(points, safe, best, logits.argsort(dim=1, stable=True))

    def _corner(self, x: Tensor) -> Tensor:
        if self.region.steps.name == "linf":
            return self.eps * (2.0 * self._uniform(x.shape) - 1.0).sign()
        if self.region.steps.name == "l2":
            normal = torch.randn(x.shape, generator=self._generator, dtype=torch.float64).to(x)
            return self.eps * self._uniform((len(x), 1)) * self.region.steps.steepest(normal)
        return torch.zeros_like(x)

    def restart(self, number: int) -> None:
        """Attack the hopeful samples that are still classified correctly."""
        state = self.state
        if not bool(state.safe.any()):
            return
        if number == 1:
            state.tried_first = int(state.safe.sum())
        working = state.broken >= RARE * state.tried_first
        plan = self._plan(number, working=working)
        for _ in range(plan.repeats):
            state.epoch += 1
            for rows in torch.split(self._hopeful(plan.share), self.settings.batch):
                if len(rows):
                    self._attack(rows, plan, number, biased=working and number > 2)

    def _plan(self, number: int, *, working: bool) -> Round:
        if number <= 2:
            plan = Round(1.0, 8, 7 if number else 0, 1)
        else:
            plan = (_WORKING if working else _BROKEN)[number]
        safe = self.state.safe
        if int(safe.sum()) < 0.1 * len(safe):
            return plan._replace(share=1.0, repeats=plan.repeats + 10)
        return plan

    def _hopeful(self, share: float) -> Tensor:
        """Return the safe samples with the largest margins seen."""
        state = self.state
        count = int(state.safe.sum())
        if count == 0:
            return state.safe.nonzero()[:, 0]
        wanted = min(max(FEWEST, int(count * share)), count)
        limit = torch.where(state.safe, state.best, -torch.inf).topk(wanted).values[-1]
        return (state.safe & (state.best >= limit) & (state.best < 0)).nonzero()[:, 0]

    def _attack(self, rows: Tensor, plan: Round, number: int, *, biased: bool) -> None:
        state, labels, origins = self.state, self.y[rows], self.x[rows]
        start, safe = self._initialise(rows, plan.initial, number, biased=biased)
        left = safe.nonzero()[:, 0]
        if len(left):
            start[left] = walk(
                self.model, self.region, origins[left], labels[left],
                start=self.region.project(
                    start[left], origins[left], torch.full_like(origins[left, 0], self.eps)
                ),
                eps=self.eps, schedule=self._schedule(plan.steps + plan.initial),
                settings=self.settings,
            )  # fmt: skip
        logits = self.model.logits(start)
        still = logits.argmax(dim=1) == labels
        state.best[rows] = torch.maximum(state.best[rows], margins(logits, labels))
        state.points[rows] = torch.where(still[:, None], state.points[rows], start)
        state.safe[rows] = still

    def _initialise(
        self, rows: Tensor, steps: int, number: int, *, biased: bool
    ) -> tuple[Tensor, Tensor]:
        """Return starts ``(W, n)``, and which of them are still classified correctly."""
        origins, labels = self.x[rows], self.y[rows]
        noise = self.eps * (2.0 * self._uniform(origins.shape) - 1.0)
        x = self.region.inside(origins + noise, origins)
        w = self._directions(rows, number, biased=biased)
        safe = torch.ones_like(labels, dtype=torch.bool)
        for _ in range(steps):
            index = safe.nonzero()[:, 0]
            if len(index) == 0:
                break
            self.model.backward += len(index)
            _, slope = self.model.gradient(x[index], partial(_along, w[index]))
            raised = x[index] + self.eps * self.region.steps.steepest(slope)
            radii = torch.full_like(raised[:, 0], self.eps)
            x[index] = self.region.project(raised, origins[index], radii)
            logits = self.model.logits(x[index])
            best = torch.maximum(self.state.best[rows[index]], margins(logits, labels[index]))
            self.state.best[rows[index]] = best
            found = logits.argmax(dim=1)
            right = found == labels[index]
            if number == 1:
                self._learn(w[index[~right]], labels[index[~right]], found[~right])
            safe[index] = right
        if steps:
            self.state.broken += int((~safe).sum())
        return x, safe

    def _learn(self, w: Tensor, labels: Tensor, found: Tensor) -> None:
        """Sum the weights that successful directions had on the class reached and the label."""
        self.state.signs[0] += float(w.gather(1, found[:, None]).sum())
        self.state.signs[1] += float(w.gather(1, labels[:, None]).sum())

    def _directions(self, rows: Tensor, number: int, *, biased: bool) -> Tensor:
        """Draw ``w``, from restart 2 on with a bias on the label and on one other class."""
        labels, ranking = self.y[rows], self.state.ranking[rows]
        K = ranking.shape[1]
        w = 2.0 * self._uniform((len(rows), K)) - 1.0
        if number < 2:
            return w
        wrong, right = self.state.signs
        final = number >= (11 if biased else 10)
        sign = -1.0 if not biased and not final and wrong < 0 else 1.0
        low, high = (-0.1, 0.5) if biased or right > 0 else (-0.5, 0.1)
        if final:
            low, high = (0.0, 0.0) if biased else (-0.8, 0.1)
        among = min(K - 1, FINAL_CLASSES if final and not biased else 9)
        place = max(K - 2 - self.state.epoch % among, 0)
        own = low + (high - low) * float(self._uniform((1,))[0])
        w.scatter_(1, labels[:, None], K / 10 * own)
        return w.scatter(1, ranking[:, place, None], sign * K / 10 * BIAS)

    def _schedule(self, steps: int) -> list[float]:
        least = self.eps * (0.1 if steps <= 10 or self.region.steps.name == "l1" else 0.001)
        spread = self.eps - least
        return [
            least + spread * (1.0 + math.cos(math.pi * s / (steps + 1))) / 2.0 for s in range(steps)
        ]

    def _uniform(self, shape: tuple[int, ...] | torch.Size) -> Tensor:
        return torch.rand(shape, generator=self._generator, dtype=torch.float64).to(self.x)


def _along(weights: Tensor, logits: Tensor) -> Tensor:
    return (weights * logits).sum(dim=1)
