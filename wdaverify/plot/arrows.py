"""Mass on its way: arrows from samples to atoms, the heavier the more of it moves."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from wdaverify.arrays import Bools, Floats, Integers
from wdaverify.distribution import Distribution
from wdaverify.plot.style import INK, class_colour
from wdaverify.problem import Problem

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Moves", "arrow_entries", "draw_arrows", "moves_of"]

THIN, THICK, MANY = 0.5, 2.0, 20
"""Line widths in points, for no mass and for all that the heaviest sample has; half of it where
there are many arrows."""

FAINT = 0.3
"""Opacity for no mass."""


@dataclass(frozen=True, slots=True, eq=False)
class Moves:
    """The atoms that another place, or another label, than their sample has.

    Attributes
    ----------
    starts, ends
        Sample and atom, ``(M, n)``.
    labels, origins
        Label of the atom and index of the sample, ``(M,)``.
    weights, shares
        Mass, and mass by that of the heaviest sample, ``(M,)``.
    """

    starts: Floats
    ends: Floats
    labels: Integers
    origins: Integers
    weights: Floats
    shares: Floats

    def only(self, which: Bools) -> "Moves":
        """Return some of the moves."""
        return Moves(
            self.starts[which], self.ends[which], self.labels[which], self.origins[which],
            self.weights[which], self.shares[which],
        )  # fmt: skip


def moves_of(problem: Problem, worst: Distribution) -> Moves:
    """Return what a distribution moves; atoms of no mass are left out."""
    starts = problem.points[worst.origin]
    travelled = np.any(worst.points != starts, axis=1) | worst.moved(problem)
    every = Moves(
        starts, worst.points, worst.labels, worst.origin, worst.weights,
        worst.weights / problem.probabilities.max(),
    )  # fmt: skip
    return every.only(travelled & (worst.weights > 0))


def draw_arrows(moves: Moves, ends: Floats, starts: Floats, ax: "Axes", *, off: Bools) -> Bools:
    """Draw arrows between places of the picture, and atoms; arrows that leave it end at its border.

    Parameters
    ----------
    ends, starts
        Where atoms and samples are in the picture, ``(M, 2)``.
    off
        Atoms that lie off the plane of the picture: their marks are hollow, ``(M,)``.

    Returns
    -------
    Bools
        Which atoms lie within the picture, ``(M,)``.
    """
    from matplotlib.patches import FancyArrowPatch  # noqa: PLC0415

    low, high = (np.array(v) for v in zip(ax.get_xlim(), ax.get_ylim(), strict=True))
    inside: Bools = np.all((ends >= low) & (ends <= high), axis=1)
    thick = (THICK if len(ends) < MANY else THICK / 2.0) - THIN
    for k in np.argsort(moves.shares):
        tip = ends[k] if inside[k] else _at_border(starts[k], ends[k], low, high)
        share = float(min(1.0, moves.shares[k]))
        arrow = FancyArrowPatch(
            tuple(starts[k]), tuple(tip), arrowstyle="-|>", mutation_scale=8.0 + 3.0 * share,
            shrinkA=0.0, shrinkB=2.5 * inside[k], color=INK, linewidth=THIN + thick * share,
            alpha=FAINT + (1.0 - FAINT) * share, zorder=4,
        )  # fmt: skip
        ax.add_patch(arrow)
    colours = np.array([class_colour(int(k)) for k in moves.labels], dtype=object)
    for hollow in (False, True):
        shown = inside & (off == hollow)
        if shown.any():
            ax.scatter(
                ends[shown, 0], ends[shown, 1], s=16, marker="o", zorder=4.5, clip_on=False,
                facecolors="white" if hollow else colours[shown].tolist(),
                edgecolors=INK, linewidths=0.8,
            )  # fmt: skip
    return inside


def _at_border(start: Floats, end: Floats, low: Floats, high: Floats) -> Floats:
    """Return where the way from start to end leaves the picture."""
    way = end - start
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.where(way > 0, (high - start) / way, np.where(way < 0, (low - start) / way, 1))
    return np.asarray(start + float(np.clip(shares.min(), 0.0, 1.0)) * way)


def arrow_entries(moves: Moves, inside: Bools, off: Bools) -> list[tuple[Any, str]]:
    """Return what a legend says of arrows and atoms."""
    from matplotlib.lines import Line2D  # noqa: PLC0415

    moved = float(moves.weights.sum())
    arrow = Line2D([], [], color=INK, linewidth=1.4, marker=">", markevery=[1], markersize=4)
    amount = f"{moved:.1%}" if moved > 1e-3 else f"{moved:.1g}"
    entries: list[tuple[Any, str]] = [(arrow, f"moves: {amount} of the mass")]
    for hollow, name in ((False, "atom"), (True, "atom, off this plane")):
        if np.any(inside & (off == hollow)):
            face = "white" if hollow else "#b5bac2"
            mark = Line2D(
                [], [], linestyle="", marker="o", markersize=4.5, color=face, markeredgecolor=INK,
                markeredgewidth=0.8,
            )  # fmt: skip
            entries.append((mark, name))
    if not inside.all():
        entries.append(
            (Line2D([], [], linestyle=""), f"{int((~inside).sum())} outside the picture")
        )
    return entries
