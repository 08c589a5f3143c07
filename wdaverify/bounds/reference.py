r"""The published attacks, step for step: WDA and WDA++ of arXiv 2510.10000.

Kept beside the default attack to compare with: same steps, same forward and backward passes (those
that only log aside), same weaknesses (the last iterate counts, ``l1`` is rescaled instead of
projected). The one liberty is the support, any :class:`~wdaverify.bounds.region.Region` instead of
:math:`[0, 1]^n`.

*WDA* fixes a class for each sample by short probes towards the top-k wrong classes, then takes
``T`` steps :math:`x \leftarrow \Pi(x + \alpha u)` with the steepest direction ``u`` of
:math:`z_j - z_y`. *WDA++* steps along the best of the top-k directions, without a radius, until the
label flips, and halves the last step.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from wdaverify.bounds.published import (
    Counted,
    Published,
    Settings,
    misclassified,
    published,
    score,
    top_wrong,
)
from wdaverify.bounds.region import Region
from wdaverify.bounds.steps import L1Steps
from wdaverify.bounds.torch_network import TorchModel
from wdaverify.errors import ProblemError

__all__ = ["reference_wda", "reference_wdapp", "walk"]


def reference_wda(
    model: TorchModel,
    region: Region,
    x: Tensor,
    y: Tensor,
    *,
    eps: float,
    settings: Settings | None = None,
) -> Published:
    """Run WDA.

    Parameters
    ----------
    x, y
        Samples ``(N, n)`` and labels ``(N,)``.
    eps
        Radius of the ball around each sample.
    """
    settings = settings or Settings()
    counted = Counted(model)
    step = settings.step
    if step is None:
        step = (2.5 if region.steps.name == "linf" else 1.5) * eps / settings.steps
    schedule = [step] * settings.steps

    def perturb(origins: Tensor, labels: Tensor) -> Tensor:
        return walk(
            counted, region, origins, labels,
            start=origins, eps=eps, schedule=schedule, settings=settings,
        )  # fmt: skip

    points = x.clone()
    clean = misclassified(counted, x, y)
    left = (~clean).nonzero()[:, 0]
    for rows in torch.split(left, settings.batch) if len(left) else ():
        points[rows] = perturb(x[rows], y[rows])
    flipped = clean.clone()
    flipped[left] = misclassified(counted, points[left], y[left])
    return published(region, x, points, flipped, counted)


def walk(  # noqa: PLR0913  (a walk has a beginning, a ball and a pace)
    model: Counted,
    region: Region,
    origins: Tensor,
    labels: Tensor,
    *,
    start: Tensor,
    eps: float,
    schedule: Sequence[float],
    settings: Settings,
) -> Tensor:
    """Choose a class for each sample, then climb towards it: the last points, ``(W, n)``."""
    target = _fixed_class(model, region, start, labels, eps=eps, settings=settings)
    x = start
    for size in schedule:
        _, gradients = model.slopes(x, labels, target[None, :])
        x = _ball(region, x + size * region.steps.steepest(gradients[0]), origins, eps)
    return x


def _fixed_class(
    model: Counted,
    region: Region,
    x: Tensor,
    labels: Tensor,
    *,
    eps: float,
    settings: Settings,
) -> Tensor:
    candidates = top_wrong(model.logits(x), labels, settings.top_k)
    if settings.probes == 0 or settings.probe_step == 0:
        scores = [
            region.steps.dual_length(model.slopes(x, labels, j[None, :])[1][0]) for j in candidates
        ]
    else:
        scores = [
            _probe(model, region, x, labels, classes=j, eps=eps, settings=settings)
            for j in candidates
        ]
    best = torch.stack(scores).argmax(dim=0)
    return candidates.gather(0, best[None, :])[0]


def _probe(  # noqa: PLR0913
    model: Counted,
    region: Region,
    x: Tensor,
    labels: Tensor,
    *,
    classes: Tensor,
    eps: float,
    settings: Settings,
) -> Tensor:
    size = settings.probe_step
    if size is None:
        size = (2.0 if region.steps.name == "linf" else 1.0) * eps / settings.probes
    trial = x
    for _ in range(settings.probes):
        _, gradients = model.slopes(trial, labels, classes[None, :])
        trial = _ball(region, trial + size * region.steps.steepest(gradients[0]), x, eps)
    return score(model.logits(trial), labels, classes, settings.metric)


def reference_wdapp(
    model: TorchModel,
    region: Region,
    x: Tensor,
    y: Tensor,
    *,
    eps: float | None = None,
    settings: Settings | None = None,
) -> Published:
    """Run WDA++; :func:`~wdaverify.bounds.knapsack.allocate` spends the budget on its distances.

    Parameters
    ----------
    x, y
        Samples ``(N, n)`` and labels ``(N,)``.
    eps
        Wanted only where the settings leave the size of the steps open.
    """
    settings = settings or Settings()
    counted = Counted(model)
    size = settings.step
    if size is None:
        if eps is None:
            raise ProblemError("eps: WDA++ needs it where no step is given")
        size = eps / settings.steps
    points = x.clone()
    clean = misclassified(counted, x, y)
    flipped, left = clean.clone(), (~clean).nonzero()[:, 0]
    for rows in torch.split(left, settings.batch) if len(left) else ():
        points[rows] = _to_the_flip(counted, region, x[rows], y[rows], size, settings)
        flipped[rows] = misclassified(counted, points[rows], y[rows])
    points = torch.where(flipped[:, None], points, x)
    return published(region, x, points, flipped, counted)


def _to_the_flip(
    model: Counted,
    region: Region,
    origins: Tensor,
    labels: Tensor,
    size: float,
    settings: Settings,
) -> Tensor:
    classes = top_wrong(model.logits(origins), labels, settings.top_k)
    active = torch.ones_like(labels, dtype=torch.bool)
    x, before, after = origins, origins, origins
    for _ in range(settings.steps):
        if not bool(active.any()):
            break
        _, gradients = model.slopes(x, labels, classes)
        trials = x + size * torch.stack([region.steps.steepest(g) for g in gradients])
        trials = torch.stack([region.inside(trial, origins) for trial in trials])
        logits = model.logits(trials.flatten(0, 1)).view(*trials.shape[:2], -1)
        pairs = zip(logits, classes, strict=True)
        scores = torch.stack([score(z, labels, j, settings.metric) for z, j in pairs])
        chosen = scores.argmax(dim=0)
        further = trials[chosen, torch.arange(len(x), device=x.device)]
        newly = active & misclassified(model, further, labels)
        before = torch.where(newly[:, None], x, before)
        after = torch.where(newly[:, None], further, after)
        active = active & ~newly
        x = torch.where(active[:, None], further, x)
    return _halved(model, region, (before, after, origins), labels, ~active, settings.halvings)


def _halved(
    model: Counted,
    region: Region,
    places: tuple[Tensor, Tensor, Tensor],
    labels: Tensor,
    flipped: Tensor,
    halvings: int,
) -> Tensor:
    before, after, origins = (place[flipped] for place in places)
    low, high = torch.zeros_like(before[:, 0]), torch.ones_like(before[:, 0])
    for _ in range(halvings if len(before) else 0):
        middle = (low + high) / 2
        points = region.inside(before + middle[:, None] * (after - before), origins)
        wrong = misclassified(model, points, labels[flipped])
        low, high = torch.where(wrong, low, middle), torch.where(wrong, middle, high)
    result = places[2].clone()
    result[flipped] = region.inside(before + high[:, None] * (after - before), origins)
    return result


def _ball(region: Region, points: Tensor, origins: Tensor, eps: float) -> Tensor:
    """Put points into the ball as the reference does (l1: by rescaling), then into the support."""
    radii = torch.full_like(points[:, 0], eps)
    if not isinstance(region.steps, L1Steps):
        return region.project(points, origins, radii)
    moves = points - origins
    length = region.steps.length(moves).clamp(min=1e-12)
    near = origins + moves * (radii / length).clamp(max=1.0)[:, None]
    return region.inside(near, origins)
