"""Two features: cells, decision boundary, samples and transport arrows as a drawing.

Cells are cut into the parts on which one class leads (:func:`wdaverify.plot.cells.parts_of`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wdaverify.arrays import Floats
from wdaverify.cells.complex import CellComplex, enumerate_cells
from wdaverify.cells.frame import bounding_box
from wdaverify.errors import WDAVerifyError
from wdaverify.limits import Limits
from wdaverify.plot.cell_picture import parts_of
from wdaverify.problem import Problem
from wdaverify.report.axes import Axis, Tick, axis
from wdaverify.report.moves import Move
from wdaverify.verification import Sandwich

__all__ = ["Arrow", "Patch", "Plane", "Spot", "most_arrows", "plane", "view_of"]

SIDE = 620.0
LEFT, TOP = 56.0, 32.0
MOST = 4000
"""Cells beyond which a map would be a grey field."""
SECONDS = 10.0
ARROWS, ALL_ARROWS = 400, 4000
"""Arrows that are drawn at one radius, and at all of them."""
SPOTS = 2000
"""Samples that are drawn."""
ROOM = 0.12
"""Room around samples where the support has no end, as a share of their spread."""
FAR = 8.0
"""Spreads of the samples beyond which an atom is out of sight rather than in view."""


@dataclass(frozen=True, slots=True)
class Patch:
    """A part of a cell: class that leads, shade from 0 to 3, path."""

    winner: int
    shade: int
    outline: str


@dataclass(frozen=True, slots=True)
class Spot:
    """A sample on paper."""

    x: float
    y: float
    label: int
    title: str


@dataclass(frozen=True, slots=True)
class Arrow:
    """A move on paper; ``weight`` from 0 to 1 is the share of the largest moved mass."""

    x: float
    y: float
    x_end: float
    y_end: float
    weight: float
    title: str


@dataclass(frozen=True, slots=True)
class Plane:
    """Everything that the template draws.

    Attributes
    ----------
    boundary
        Path of the sides on which two largest logits tie.
    arrows
        One list per row of the sandwich, at most ``most`` in each.
    hidden
        Samples that are not drawn.
    note
        Why there are no cells, empty where there are.
    """

    width: float
    height: float
    frame: tuple[float, float, float, float]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    patches: list[Patch]
    boundary: str
    cells: int
    spots: list[Spot]
    arrows: list[list[Arrow]]
    most: int
    hidden: int
    classes: list[int]
    note: str


def plane(result: Sandwich, moves: Sequence[Sequence[Move]], limits: Limits | None) -> Plane | None:
    """Return the map of a problem of two features, ``None`` for any other."""
    problem = result.problem
    if problem.network.features != 2:
        return None
    x, y = _axes(result, moves)
    cells, note = _cells(result, limits or Limits())
    patches, boundary, winners = [], "", set()
    if cells is not None:
        parts = parts_of(cells, np.array([x.low, y.low]), np.array([x.high, y.high]))
        shades = _shades(cells)
        patches = [
            Patch(p.winner, shades[p.cell], _outline(x, y, p.polygon.corners)) for p in parts
        ]
        boundary = "".join(_segment(x, y, tie) for p in parts for tie in p.ties)
        winners = {p.winner for p in parts}
    most = most_arrows(moves)
    arrows = [[_arrow(x, y, m, _heaviest(row)) for m in row[:most]] for row in moves]
    return Plane(
        x.end + 14.0, y.start + 46.0, (x.start, y.end, x.end, y.start), x.ticks(6), y.ticks(6),
        patches, boundary, 0 if cells is None else len(cells), _spots(problem, x, y), arrows,
        most, max(0, len(problem) - SPOTS),
        sorted(winners | set(problem.labels.tolist())), note,
    )  # fmt: skip


def most_arrows(moves: Sequence[Sequence[Move]]) -> int:
    """Return how many moves of each row are drawn: fewer where there are many rows."""
    return min(ARROWS, max(20, ALL_ARROWS // max(len(moves), 1)))


def view_of(
    problem: Problem, moves: Sequence[Sequence[Move]], reach: float = 0.0
) -> tuple[Floats, Floats]:
    """Return the corners of what is shown: the support's box if near, else room around points.

    Parameters
    ----------
    reach
        Room that there is at least: the largest radius.
    """
    lower, upper = bounding_box(problem.support)
    points = problem.points
    spread = np.maximum(points.max(axis=0) - points.min(axis=0), 0.0)
    spread = np.where(spread > 0, spread, max(float(spread.max()), 1.0))
    centre = (points.max(axis=0) + points.min(axis=0)) / 2.0
    atoms = [m.target for row in moves for m in row]
    near = [a for a in atoms if (np.abs(a - centre) <= FAR * spread).all()]
    every = np.concatenate([points, np.array(near).reshape(-1, points.shape[1])])
    low, high = every.min(axis=0), every.max(axis=0)
    room = ROOM * np.where(high > low, high - low, spread) + np.where(high > low, 0.0, 0.4 * spread)
    room = np.maximum(room, 1.25 * reach)
    near_by = FAR * spread + reach
    return (
        np.where(lower >= low - near_by, lower, low - room),
        np.where(upper <= high + near_by, upper, high + room),
    )


def _axes(result: Sandwich, moves: Sequence[Sequence[Move]]) -> tuple[Axis, Axis]:
    low, high = view_of(result.problem, moves, max(row.radius for row in result.rows))
    width, height = high - low
    ratio = height / width if width > 0 and 0.4 < height / width < 1.6 else 0.8
    right, bottom = LEFT + SIDE, TOP + ratio * SIDE
    return (
        axis(float(low[0]), float(high[0]), LEFT, right),
        axis(float(low[1]), float(high[1]), bottom, TOP),
    )


def _cells(result: Sandwich, limits: Limits) -> tuple[CellComplex | None, str]:
    """Return the cells, listed again where the engine did not, or why they are not drawn."""
    cells = result.cells
    try:
        if cells is None:
            left = max(0.0, min(SECONDS, limits.seconds - limits.elapsed))
            share = Limits(seconds=left, cells=MOST, stop=limits.stop)
            problem = result.problem
            cells = enumerate_cells(problem.network, problem.support, limits=share)
    except WDAVerifyError as error:
        return None, f"The cells are not drawn: {error}."
    if len(cells) > MOST:
        return None, f"The cells are not drawn: {len(cells):,} are more than paper can show."
    if cells.frame.dimension != 2:
        return None, "The cells are not drawn: the support fixes a feature."
    return cells, ""


def _shades(cells: CellComplex) -> list[int]:
    """Return one of four shades for each cell, different across facets where that is possible."""
    import networkx as nx  # noqa: PLC0415

    colours = nx.greedy_color(cells.graph, strategy="DSATUR")
    return [colours[k] % 4 for k in range(len(cells))]


def _outline(x: Axis, y: Axis, corners: Floats) -> str:
    points = [f"{x(a):g} {y(b):g}" for a, b in corners.tolist()]
    return "M" + "L".join(points) + "Z"


def _segment(x: Axis, y: Axis, ends: Floats) -> str:
    (a, b), (c, d) = ends.tolist()
    return f"M{x(a):g} {y(b):g}L{x(c):g} {y(d):g}"


def _spots(problem: Problem, x: Axis, y: Axis) -> list[Spot]:
    return [
        Spot(x(float(a)), y(float(b)), label, f"sample {k}, label {label}")
        for k, ((a, b), label) in enumerate(
            zip(problem.points[:SPOTS].tolist(), problem.labels[:SPOTS].tolist(), strict=True)
        )
    ]


def _heaviest(moves: Sequence[Move]) -> float:
    return max((m.mass for m in moves), default=1.0)


def _arrow(x: Axis, y: Axis, move: Move, heaviest: float) -> Arrow:
    (a, b), (c, d) = move.origin.tolist(), move.target.tolist()
    title = f"sample {move.sample}: class {move.predicted} becomes {move.predicted_after}"
    return Arrow(x(a), y(b), x(c), y(d), round(move.mass / heaviest, 3), title)
