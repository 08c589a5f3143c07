"""Picture of a worst case on the line: the loss of each label, and mass that climbs it."""

from typing import TYPE_CHECKING, Any

import numpy as np

from wdaverify.arrays import Floats
from wdaverify.cells.complex import enumerate_cells
from wdaverify.cells.frame import bounding_box
from wdaverify.plot.arrows import Moves, arrow_entries, draw_arrows
from wdaverify.plot.cell_picture import draw_samples, mark_of, surroundings
from wdaverify.plot.style import class_colour, tidy
from wdaverify.problem import Problem

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_line"]

POINTS = 2001
"""Points of each loss, beside the ends of the cells."""

FAR = 2.0
"""Atoms are shown up to this many times the spread of the samples away from them."""


def draw_line(problem: Problem, moves: Moves, ax: "Axes") -> list[tuple[Any, str]]:
    """Draw losses, samples and arrows; return what a legend names."""
    from matplotlib.lines import Line2D  # noqa: PLC0415

    x = _places(problem, moves)
    ax.set_xlim(float(x[0]), float(x[-1]))
    labels = np.unique(np.append(problem.labels, moves.labels)).tolist()
    entries: list[tuple[Any, str]] = []
    for label in labels:
        loss = problem.evaluate(x[:, None], np.full(len(x), label))
        drawn = np.where(np.isfinite(loss), loss, np.nan)
        ax.plot(x, drawn, color=class_colour(label), linewidth=1.6, zorder=2)
        line = Line2D([], [], color=class_colour(label), linewidth=1.6)
        entries.append(((line, mark_of(label)), f"loss and samples of class {label}"))
    samples = np.column_stack([problem.points[:, 0], problem.nominal_losses])
    starts = samples[moves.origins]
    ends = np.column_stack([moves.ends[:, 0], problem.evaluate(moves.ends, moves.labels)])
    draw_samples(samples, problem.labels, ax)
    ax.margins(y=0.08)
    bottom, top = ax.get_ylim()
    ax.set_ylim(bottom, top)
    ends[:, 1] = np.where(np.isfinite(ends[:, 1]), ends[:, 1], 2.0 * top - bottom)  # outside
    off = np.zeros(len(ends), dtype=bool)
    inside = draw_arrows(moves, ends, starts, ax, off=off)
    ax.set_xlabel("feature 0")
    ax.set_ylabel(f"{problem.loss.name} loss")
    tidy(ax)
    return [*entries, *arrow_entries(moves, inside, off)]


def _places(problem: Problem, moves: Moves) -> Floats:
    """Return where losses are evaluated: many places, and the ends of all cells."""
    support = problem.support.bind(1)
    low, high = problem.points.min(), problem.points.max()
    reach = FAR * max(high - low, 1.0)
    seen = np.concatenate([problem.points, np.clip(moves.ends, low - reach, high + reach)])
    (left,), (right,) = surroundings(bounding_box(support), seen)
    ends = [np.linspace(left, right, POINTS)]
    for cell in enumerate_cells(problem.network, support):
        rows, bound = cell.half_spaces
        ends.append(bound / rows[:, 0])
    places = np.unique(np.concatenate(ends))
    return np.asarray(places[(places >= left) & (places <= right)])
