r"""The growth certificate: an outer growth function for every sample, without cells or solver.

.. math:: g_i(t) = \sup\{\ell(x, y_i) : x\in\mathcal{X},\ \|x-x_i\|\le t\} \le \bar g_i(t),
          \qquad v_p(\varepsilon) \le \max\Big\{\sum_i\mu_i\,\hat{\bar g}_i(s_i) :
          \sum_i\mu_i s_i\le\varepsilon^p\Big\}

Bounds on a ladder of balls around each sample, the last one around the whole support (or a global
line beyond it), give :math:`\bar g_i`; its concave majorant in the cost is merged like the exact
envelopes. For order infinity the value is :math:`\sum_i\mu_i\bar g_i(\varepsilon)`.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np
import torch

from wdaverify.arrays import Floats, Integers
from wdaverify.bounds.growth_lines import (
    GlobalSlopes,
    Lines,
    contrasts,
    global_slopes,
    lines_of,
)
from wdaverify.bounds.growth_sectors import cut_into_sectors, influence, sectors_for
from wdaverify.bounds.growth_steps import Growth, convex_growth, ratio_growth, step_growth
from wdaverify.bounds.propagation import ELEMENTS, Balls, Propagation
from wdaverify.bounds.torch_network import device_named
from wdaverify.cells.frame import bounding_box
from wdaverify.envelope import ALMOST, Envelope, majorants
from wdaverify.evaluation import certain_losses
from wdaverify.limits import Limits
from wdaverify.loss import DLR, Loss, TruncatedDLR, ZeroOne
from wdaverify.merging import Merge, Segments, merge_segments
from wdaverify.problem import Problem
from wdaverify.tolerances import ROUNDING

__all__ = ["GrowthCertificate", "growth_certificate"]

SMALLEST = 2.0**-6
"""First rung as a part of the last."""

WIDE = 4.0
"""Last rung on an unbounded support, as a multiple of the data's size and the largest radius."""


class Part(NamedTuple):
    """Growth of some samples with a label, and what that label costs them."""

    samples: Integers
    price: float
    growth: Growth


@dataclass(frozen=True, eq=False)
class GrowthCertificate:
    """Upper bounds on the worst-case value for every radius.

    Attributes
    ----------
    parts
        Outer growth functions, by label.
    """

    problem: Problem
    parts: tuple[Part, ...]
    method: str = "growth"

    def bound(self, radius: float) -> float:
        """Upper bound on the worst-case value at a radius."""
        mu, cost = self.problem.probabilities, self.problem.cost
        size = float(mu @ np.abs(np.nan_to_num(self.problem.nominal_losses, posinf=0.0)))
        if not cost.finite:
            losses = np.zeros(len(mu))
            for samples, _, growth in self.parts:
                losses[samples] = growth.within(radius)
            losses = np.where(mu > 0, losses, 0.0)
            value, size = float(mu @ losses), float(mu @ np.abs(losses))
            value = math.inf if math.isnan(value) else value
        elif radius == 0 and cost.label_cost != 0:
            problem = self.problem
            value = float(mu @ certain_losses(problem, problem.points, problem.labels))
        elif not np.isfinite(self._segments.losses).all():
            return math.inf
        else:
            value = self._merge.value(cost.budget(radius) * (1.0 + 4.0 * ROUNDING))
            if self._merge.final_slope > 0:  # a segment almost as steep as the ray precedes it
                value += 2.0 * (1.0 - ALMOST) * (value - self._merge.value(0.0))
        return value + 4 * (len(self.problem) + 64) * ROUNDING * (size + abs(value))

    @property
    def envelopes(self) -> tuple[Envelope, ...]:
        """Concave majorant of every sample of positive weight (a finite order only)."""
        found = self._segments
        every = (np.flatnonzero(found.owners == i) for i in self.problem.active)
        return tuple(
            Envelope(
                found.costs[at],
                found.losses[at],
                np.full(len(at), -1),
                float(found.slopes[found.owners[at[0]]]),
            )
            for at in every
        )

    @cached_property
    def _segments(self) -> Segments:
        owners: list[Integers] = []
        costs: list[Floats] = []
        losses: list[Floats] = []
        slopes = np.zeros(len(self.problem))
        for samples, price, growth in self.parts:
            s, v, steep = growth.tangents(self.problem.cost.order)
            owners.append(np.repeat(samples, s.shape[1]))
            costs.append((np.nextafter(s + price, 0.0) if price else s).ravel())
            losses.append(v.ravel())
            slopes[samples] = np.maximum(slopes[samples], steep)
        who, cost, loss = np.concatenate(owners), np.concatenate(costs), np.concatenate(losses)
        if not np.isfinite(loss).all():
            return Segments(who, cost, loss, slopes)
        hull = majorants(who, cost, loss, slopes)
        return Segments(who[hull], cost[hull], loss[hull], slopes)

    @cached_property
    def _merge(self) -> Merge:
        return merge_segments(self._segments, self.problem.probabilities)


def growth_certificate(  # noqa: PLR0913
    problem: Problem,
    *,
    radii: Sequence[float] | None = None,
    rungs: int = 32,
    splits: int | None = None,
    device: str = "cpu",
    limits: Limits | None = None,
    progress: Callable[[float], None] | None = None,
) -> GrowthCertificate:
    """Bound the growth of the loss around every sample by bound propagation.

    Parameters
    ----------
    problem
        Any loss, order, norm and support; of a polytope the bounding box is used.
    radii
        Radii of interest: further rungs (order infinity uses the smallest rung that is not below).
    rungs
        Number of balls around each sample besides them.
    splits
        How many features are cut at the sample, ``2 ** splits`` sectors of every ball; five of at
        most eight features, none of more, when omitted.
    device
        ``cpu`` or ``cuda``.
    limits
        Checked between chunks of samples.
    progress
        Called with the finished part of the samples.

    Raises
    ------
    LimitReached
        A limit ended the work.
    """
    limits, desk = limits or Limits(), _Desk(problem, device, splits)
    ladder, bounded = _ladder(problem, desk.box, rungs, sorted(set(radii or ())))
    parts: list[Part] = []
    chunks = list(desk.chunks(ladder.shape[1]))
    for done, samples in enumerate(chunks):
        limits.check("growth certificate")
        limits.report("growth", done / len(chunks))
        parts += desk.parts(samples, ladder[samples], bounded=bounded)
        if progress is not None:
            progress((done + 1) / len(chunks))
    return GrowthCertificate(problem, tuple(parts))


class _Desk:
    """What all chunks share."""

    def __init__(self, problem: Problem, device: str, splits: int | None) -> None:
        self.problem, network = problem, problem.network
        self.splits = sectors_for(network.features, splits)
        self.steps = Propagation(network, device=device_named(device))
        self.box = bounding_box(problem.support)
        self.rows = {y: contrasts(network.classes, y) for y in problem.possible_labels}
        if isinstance(problem.loss, DLR):
            self.rows = {y: np.concatenate([C, -C]) for y, C in self.rows.items()}
        self.everywhere: dict[int, GlobalSlopes] = {
            y: global_slopes(network, problem.cost.norm, C, y) for y, C in self.rows.items()
        }

    def chunks(self, rungs: int) -> Iterator[Integers]:
        """Divide the samples of positive weight; without label moves a chunk has one label."""
        network, active = self.problem.network, self.problem.active
        widest = max(2 * max((*network.widths, network.classes)), 1)
        each = 2**self.splits * rungs * widest * max((*network.widths, network.features))
        size = max(1, ELEMENTS[self.steps.device.type] // each)
        labels = self.problem.labels[active]
        moves = self.problem.cost.label_cost is not None
        groups = [active] if moves else [active[labels == y] for y in np.unique(labels)]
        for group in groups:
            for start in range(0, len(group), size):
                yield group[start : start + size]

    def parts(self, samples: Integers, ladder: Floats, *, bounded: bool) -> Iterator[Part]:
        """Bound the growth of a chunk of samples, with every label that they can have."""
        problem, sectors = self.problem, 2**self.splits
        balls = self._sectors(self._balls(samples, ladder), int(problem.labels[samples[0]]))
        known = self.steps.neurons(balls)
        own, repeated = problem.labels[samples], np.repeat(samples, sectors)
        prices = problem.cost.label_cost
        for label, rows in self.rows.items():
            if prices is None and label != own[0]:
                continue
            centre = self._centre(repeated, rows)
            lines = lines_of(self.steps, balls, known, rows, centre, self.everywhere[label])
            growth = self._growth(lines, repeated, label, bounded=bounded)
            for moved in (False, True):
                at = np.flatnonzero((own != label) == moved)
                if len(at):
                    yield Part(samples[at], (prices or 0.0) * moved, growth.at(at))

    def _sectors(self, balls: Balls, label: int) -> Balls:
        """Cut the balls across the features that leave most open."""
        if self.splits == 0:
            return balls
        C = torch.tensor(self.rows[label], device=self.steps.device)
        jacobian = self.steps.jacobian(balls, self.steps.neurons(balls), C)
        weight = influence(balls, jacobian)
        return cut_into_sectors(balls, weight.topk(self.splits, dim=1).indices)

    def _balls(self, samples: Integers, ladder: Floats) -> Balls:
        X = self.problem.points[samples]
        up = np.maximum(np.nextafter(self.box[1] - X, np.inf), 0.0)
        down = np.maximum(np.nextafter(X - self.box[0], np.inf), 0.0)
        up[:, self.box[0] == self.box[1]] = down[:, self.box[0] == self.box[1]] = 0.0
        tensors = (torch.tensor(v, device=self.steps.device) for v in (X, up, down, ladder))
        return Balls(self.problem.cost.norm.name, *tensors)

    def _centre(self, samples: Integers, rows: Floats) -> Floats:
        """Bound the rows at the samples themselves, ``(N, q)``."""
        network, X = self.problem.network, self.problem.points[samples]
        errors = network.rounding_errors(X)[-1] @ np.abs(rows).T
        values = network.logits(X) @ rows.T
        centre: Floats = values + errors * (1.0 + 2.0**-20) + 8.0 * ROUNDING * np.abs(values)
        return centre

    def _growth(self, lines: Lines, samples: Integers, label: int, *, bounded: bool) -> Growth:
        problem = self.problem
        sectors = 2**self.splits
        X, y, loss = problem.points[samples], np.full(len(samples), label), problem.loss
        if isinstance(loss, ZeroOne):
            own = slice(None, None, sectors)
            wrong = certain_losses(problem, X[own], y[own]) > 0
            return step_growth(lines, wrong, sectors, bounded=bounded)
        if isinstance(loss, DLR):
            capped = isinstance(loss, TruncatedDLR) or problem.network.classes == 3
            top = 1.0 if capped else math.inf
            found = ratio_growth(lines, top, problem.evaluate(X, y), bounded=bounded)
        else:
            found = convex_growth(lines, partial(_of_margins, loss), bounded=bounded)
        return found.worst(sectors)


def _of_margins(loss: Loss, margins: Floats) -> Floats:
    """Evaluate a loss that depends on ``z_j − z_y`` only, ``(..., K − 1) -> (...)``, upwards."""
    flat = margins.reshape(-1, margins.shape[-1])
    logits = np.concatenate([np.zeros((len(flat), 1)), flat], axis=1)
    values = loss.evaluate(logits, np.zeros(len(flat), dtype=np.int64))
    values += (64 + flat.shape[1]) * ROUNDING * (1.0 + np.abs(values))
    return values.reshape(margins.shape[:-1])


def _ladder(
    problem: Problem, box: tuple[Floats, Floats], rungs: int, radii: Sequence[float]
) -> tuple[Floats, bool]:
    """Return rising radii for every sample, ``(N, R)``, and whether the last covers the support."""
    X, norm = problem.points, problem.cost.norm
    far = np.maximum(np.maximum(box[1] - X, X - box[0]), 0.0)
    bounded = bool(np.isfinite(far).all())
    if bounded:
        last = norm.length(far) * (1.0 + 8.0 * (X.shape[1] + 4.0) * ROUNDING)
    else:
        size = float(norm.length(X - X.mean(axis=0)).max()) or float(norm.length(X).max()) or 1.0
        last = np.full(len(X), WIDE * max(size, *radii, 0.0))
    shares = np.geomspace(SMALLEST, 1.0, rungs) if rungs > 1 else np.ones(1)
    asked = np.minimum(np.array(radii)[None, :], last[:, None])
    ladder = np.concatenate([last[:, None] * shares, asked], axis=1)
    return np.sort(np.concatenate([ladder, last[:, None]], axis=1)), bounded
