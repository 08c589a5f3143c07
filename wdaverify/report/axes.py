"""Axes of drawings: from numbers to places on paper, round ticks, paths."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from wdaverify.arrays import Floats
from wdaverify.report.figures import figure

__all__ = ["Axis", "Tick", "axis", "path", "room_beside"]


@dataclass(frozen=True, slots=True)
class Tick:
    """A place on paper and what stands beside it."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Axis:
    """Numbers from ``low`` to ``high`` on paper from ``start`` to ``end``."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the place of a number, two digits after the point."""
        share = (value - self.low) / (self.high - self.low)
        far = 10.0 * (abs(self.start) + abs(self.end))  # what lies far outside stays drawable
        return round(min(max(self.start + share * (self.end - self.start), -far), far), 2)

    def ticks(self, wanted: int = 6) -> list[Tick]:
        """Return about so many round numbers within the axis."""
        step = _round_step((self.high - self.low) / wanted)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [Tick(self(k * step), figure(k * step, 4)) for k in range(first, last + 1)]


def axis(low: float, high: float, start: float, end: float) -> Axis:
    """Return an axis; one of no length is given some."""
    if not high - low > 1e-12 * max(abs(low), abs(high), 1e-300):
        room = 0.5 * max(abs(low), 1.0)
        low, high = low - room, high + room
    return Axis(low, high, start, end)


def room_beside(ticks: Sequence[Tick]) -> float:
    """Return how much room the texts of a vertical axis take."""
    return 24.0 + 8.0 * max((len(tick.text) for tick in ticks), default=1)


def _round_step(step: float) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return next(m * power for m in (1.0, 2.0, 2.5, 5.0, 10.0) if m * power >= step * (1 - 1e-9))


def path(x: Axis, y: Axis, points: Iterable[tuple[float, float]] | Floats) -> str:
    """Return the ``d`` of an SVG path through points; it breaks where one is not finite."""
    parts: list[str] = []
    pen = "M"
    for a, b in points:
        if not (math.isfinite(a) and math.isfinite(b)):
            pen = "M"
            continue
        parts.append(f"{pen}{x(float(a)):g} {y(float(b)):g}")
        pen = "L"
    return "".join(parts)
