"""The value against the radius, drawn: band of the bounds, exact curve, slope changes, rows.

Between the rows the attack is drawn as the chord in the budget, which the concave value lies above
(for order ∞ as a staircase, which the monotone value lies above): still a lower bound.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from wdaverify.arrays import Floats
from wdaverify.report.axes import Axis, Tick, axis, path, room_beside
from wdaverify.report.reading import Reading
from wdaverify.verification import Row, Sandwich

__all__ = ["Chart", "Mark", "chart"]

WIDTH, HEIGHT = 760.0, 400.0
RIGHT, TOP, BOTTOM = 744.0, 32.0, 354.0
GRID = 240
"""Radii at which curves are evaluated to be drawn."""
DOTS = 40
"""Slope changes up to which each is a dot on the curve; beyond, a tick below it."""
ABOVE = 0.9
"""How far above the exact values certificates are still drawn, relative to the exact range."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A row on the drawing."""

    x: float
    attack: float
    lower: float
    upper: float
    radius: float
    status: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Everything that the template draws, in units of the drawing.

    Attributes
    ----------
    band, certificate, attack, lower, upper
        Paths.
    dots
        Slope changes on the curve; ``rug``: their places along the axis, a path, where they are
        many.
    changes
        How many slope changes there are in view.
    view
        Radii and values in view, and the frame on paper, for the script.
    clipped
        Whether certificates leave the view at the top.
    """

    width: float
    height: float
    frame: tuple[float, float, float, float]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    band: str
    certificate: str
    attack: str
    lower: str
    upper: str
    marks: list[Mark]
    dots: list[tuple[float, float]]
    rug: str
    changes: int
    view: dict[str, float]
    clipped: bool
    zero: float | None


def chart(result: Sandwich, reading: Reading) -> Chart:
    """Return the drawing of a sandwich and the value curve."""
    rows = sorted(result.rows, key=lambda row: row.radius)
    end = _end(rows, reading)
    radii = np.unique(np.append(np.linspace(0.0, end, GRID + 1), _inner_corners(reading, end)))
    lower, upper = _exact(result, reading, rows, radii)
    attack = _attack(result, rows, end)
    certificate = _certificate(result, radii)
    low, high, clipped = _heights(lower, upper, attack, certificate)
    y = axis(low, high, BOTTOM, TOP)
    left = room_beside(y.ticks(7))
    x = axis(0.0, end, left, RIGHT)
    seen = reading.corners[reading.corners <= end]
    few = len(seen) <= DOTS and reading.curve is not None
    dots = [(x(r), y(reading.curve(r)[0])) for r in seen.tolist()] if few and reading.curve else []
    return Chart(
        WIDTH, HEIGHT, (left, TOP, RIGHT, BOTTOM), x.ticks(8), y.ticks(7),
        _band(x, y, attack, certificate),
        path(x, y, _below(certificate, y)), path(x, y, attack), path(x, y, lower),
        path(x, y, _below(upper, y)),
        [Mark(x(r.radius), y(r.attack), y(r.lower), y(r.upper), r.radius, r.status) for r in rows],
        dots, "" if few else _rug(x, seen), len(seen),
        {"end": x.high, "low": y.low, "high": y.high},
        clipped,
        y(0.0) if low < 0.0 < high else None,
    )  # fmt: skip


def _end(rows: list[Row], reading: Reading) -> float:
    """Return how far the drawing goes: a little beyond the rows, farther if the curve bends."""
    last = rows[-1].radius
    if reading.curve is None:
        return 1.05 * last or 1.0
    bends = float(reading.curve.radius[-1])
    if last == 0:
        return 1.05 * bends or 1.0
    return max(1.15 * last, min(1.1 * bends, 1.6 * last))


def _inner_corners(reading: Reading, end: float) -> Floats:
    """Return corners that are worth a point of the drawing, not all where they are many."""
    if reading.curve is None:
        return np.zeros(0)
    inside = reading.curve.radius[reading.curve.radius <= end]
    return inside[:: max(1, len(inside) // GRID)]


def _exact(
    result: Sandwich, reading: Reading, rows: list[Row], radii: Floats
) -> tuple[Floats, Floats]:
    """Return points of the lower and of the upper exact curve, each ``(k, 2)``."""
    curve = reading.curve
    if curve is None:
        ends = [(r.radius, r.lower, r.upper) for r in rows]
        if rows[0].radius > 0:
            ends.insert(0, (0.0, result.nominal, result.nominal))
        table = np.array(ends)
        return table[:, [0, 1]], table[:, [0, 2]]
    found = np.array([curve(r) for r in radii.tolist()])
    if curve.interpolation == "step":
        inside = curve.radius <= radii[-1]
        at = np.append(curve.radius[inside], radii[-1])
        low = np.append(curve.lower[inside], found[-1, 0])
        high = np.append(curve.upper[inside], found[-1, 1])
        return _stairs(at, low), _stairs(at, high)
    return np.column_stack([radii, found[:, 0]]), np.column_stack([radii, found[:, 1]])


def _stairs(at: Floats, values: Floats) -> Floats:
    """Return the corners of a staircase that keeps each value up to the next place."""
    points = [(at[0], values[0])]
    for (_, value), (there, following) in pairwise(zip(at, values, strict=True)):
        points += [(there, value), (there, following)]
    return np.array(points)


def _attack(result: Sandwich, rows: list[Row], end: float) -> Floats:
    """Return the lower bound without solver, between rows too."""
    known = [(0.0, result.nominal), *((r.radius, r.attack) for r in rows if r.radius > 0)]
    at, values = np.array(known).T
    cost = result.problem.cost
    if not cost.finite:
        return _stairs(np.append(at, end), np.append(values, values[-1]))
    if not np.isfinite(values).all():
        return np.column_stack([at, values])
    radii = np.unique(np.append(np.linspace(0.0, end, GRID + 1), at))
    budgets = [np.array([cost.budget(r) for r in v.tolist()]) for v in (radii, at)]
    return np.column_stack([radii, np.interp(budgets[0], budgets[1], values)])


def _certificate(result: Sandwich, radii: Floats) -> Floats:
    """Return the smallest certificate at every radius; infinite where there is none."""
    few = radii[:: max(1, len(radii) // GRID)]
    few = np.unique(np.append(few, radii[-1]))
    bounds = [[c.bound(r) for r in few.tolist()] for c in result.certificates]
    smallest = np.min(bounds, axis=0) if bounds else np.full(len(few), math.inf)
    return np.column_stack([few, smallest])


def _heights(
    lower: Floats, upper: Floats, attack: Floats, certificate: Floats
) -> tuple[float, float, bool]:
    """Return the values in view, and whether certificates go beyond them."""
    inner = np.concatenate([lower[:, 1], upper[:, 1], attack[:, 1]])
    inner = inner[np.isfinite(inner)]
    low, high = float(inner.min()), float(inner.max())
    room = max(high - low, 1e-9 * max(abs(low), abs(high)), 1e-12)
    above = certificate[:, 1]
    top = min(float(above.max()), high + ABOVE * room)
    clipped = bool(above.max() > top)
    return low - 0.06 * room, max(high, top) + 0.06 * room, clipped


def _below(points: Floats, y: Axis) -> Floats:
    """Keep what is not far above the view: paths are clipped there."""
    return np.array([(a, min(b, y.high + 10 * (y.high - y.low))) for a, b in points])


def _band(x: Axis, y: Axis, attack: Floats, certificate: Floats) -> str:
    """Return the area between attack and certificate."""
    high = _below(certificate, y)
    outline = np.concatenate([attack[np.isfinite(attack[:, 1])], high[::-1]])
    return path(x, y, outline) + "Z"


def _rug(x: Axis, seen: Floats) -> str:
    """Return ticks at slope changes, one for each place that paper can show."""
    places = sorted({round(x(r)) for r in seen.tolist()})
    return "".join(f"M{p} {BOTTOM:g}v-7" for p in places)
