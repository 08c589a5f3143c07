"""One feature: the loss along the line, with samples and where their mass goes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wdaverify.arrays import Floats
from wdaverify.problem import Problem
from wdaverify.report.axes import Axis, Tick, axis, path, room_beside
from wdaverify.report.moves import Move
from wdaverify.report.plane import SPOTS, Arrow, Spot, most_arrows, view_of
from wdaverify.verification import Sandwich

__all__ = ["Curve", "Line", "line"]

RIGHT, TOP, BOTTOM = 744.0, 32.0, 300.0
GRID = 1200
TALLEST = 20.0
"""Losses farther than this many usual ranges outside are cut off: DLR has poles."""


@dataclass(frozen=True, slots=True)
class Curve:
    """The loss of one label along the line."""

    label: int
    outline: str


@dataclass(frozen=True, slots=True)
class Line:
    """Everything that the template draws; lists as in :class:`~.plane.Plane`."""

    width: float
    height: float
    frame: tuple[float, float, float, float]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    curves: list[Curve]
    spots: list[Spot]
    arrows: list[list[Arrow]]
    outside: list[int]


def line(result: Sandwich, moves: Sequence[Sequence[Move]]) -> Line | None:
    """Return the drawing of a problem of one feature, ``None`` for any other."""
    problem = result.problem
    if problem.network.features != 1:
        return None
    low, high = view_of(problem, moves, max(row.radius for row in result.rows))
    labels = sorted({*problem.labels.tolist(), *(m.label_after for row in moves for m in row)})
    at = np.linspace(low[0], high[0], GRID + 1)
    losses = {k: _losses(problem, at, k) for k in labels}
    y = _vertical(np.concatenate(list(losses.values())))
    left = room_beside(y.ticks(6))
    x = axis(float(low[0]), float(high[0]), left, RIGHT)
    curves = [Curve(k, path(x, y, np.column_stack([at, v]))) for k, v in losses.items()]
    spots = [
        Spot(x(a), y(loss), label, f"sample {k}, label {label}")
        for k, ((a,), label, loss) in enumerate(
            zip(problem.points[:SPOTS].tolist(), problem.labels[:SPOTS].tolist(),
                problem.nominal_losses[:SPOTS].tolist(), strict=True)
        )
    ]  # fmt: skip
    arrows = [[_arrow(x, y, m) for m in row[: most_arrows(moves)]] for row in moves]
    outside = [sum(not x.low <= m.target[0] <= x.high for m in row) for row in moves]
    frame = (left, TOP, RIGHT, BOTTOM)
    return Line(760.0, 346.0, frame, x.ticks(8), y.ticks(6), curves, spots, arrows, outside)


def _losses(problem: Problem, at: Floats, label: int) -> Floats:
    return problem.evaluate(at[:, None], np.full(len(at), label))


def _vertical(losses: Floats) -> Axis:
    finite = losses[np.isfinite(losses)]
    usual = np.quantile(finite, [0.02, 0.98])
    far = TALLEST * float(usual[1] - usual[0]) or np.inf
    low = max(float(finite.min()), float(usual[0]) - far)
    high = min(float(finite.max()), float(usual[1]) + far)
    room = 0.08 * max(high - low, 1e-9)
    return axis(low - room, high + room, BOTTOM, TOP)


def _arrow(x: Axis, y: Axis, move: Move) -> Arrow:
    start, end = float(move.origin[0]), float(move.target[0])
    title = f"sample {move.sample}: from {start:.6g} to {end:.6g}"
    height = move.loss_after if np.isfinite(move.loss_after) else y.high
    return Arrow(x(start), y(move.loss), x(end), y(height), round(move.share, 3), title)
