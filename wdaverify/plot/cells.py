"""Picture of the cells of a network of two inputs, exact polygons, with the decision boundary.

Each cell is cut into the parts on which one class has the largest logit. The colour is that of the
class, the shade tells neighbouring cells apart; sides on which two largest logits tie make up the
decision boundary.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wdaverify.arrays import Floats, Integers
from wdaverify.cells.complex import Cell, CellComplex
from wdaverify.cells.frame import bounding_box
from wdaverify.cells.polygon import Polygon, polygon_of
from wdaverify.errors import UnsupportedError
from wdaverify.network import AffineMap
from wdaverify.plot.saving import save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["CellPicture", "Part", "draw_cells", "parts_of", "save_cells"]

CLASS_COLOURS = (
    "#2b6cb0", "#d9822b", "#2f8f5b", "#b83a4b", "#7a52a8",
    "#8a6d3b", "#c75f9b", "#5f6b7a", "#93a322", "#1f9bb0",
)  # fmt: skip
SHADES = (0.22, 0.44, 0.33, 0.55, 0.28, 0.50, 0.38, 0.60)
EDGE, BOUNDARY = "#ffffff", "#14181f"
MARGIN = 0.12
"""Room around the samples where the support is unbounded, as a share of their spread."""


@dataclass(frozen=True, slots=True, eq=False)
class CellPicture:
    """What is drawn.

    Attributes
    ----------
    cells
        Of a network of two inputs.
    points, labels
        Samples on top, ``(N, 2)`` and ``(N,)``.
    title
        Above the picture.
    axes
        Names of the two features.
    around
        Points that the picture shows the surroundings of, where the support has no end, ``(M, 2)``.
    sample
        Number of the only sample, in a slice through it.
    """

    cells: CellComplex
    points: Floats
    labels: Integers
    title: str
    axes: tuple[str, ...]
    around: Floats
    sample: int | None = None

    def __post_init__(self) -> None:
        found = self.cells.network.features, self.cells.frame.dimension
        if found != (2, 2):
            raise UnsupportedError(
                "picture of cells: expected two features, neither constant, "
                f"found {found[0]} of which {found[1]} vary"
            )

    def view(self) -> tuple[Floats, Floats]:
        """Return the corners of what is shown: the support's box, else room around points."""
        lower, upper = bounding_box(self.cells.support)
        low, high = self.around.min(axis=0), self.around.max(axis=0)
        spread = np.where(high > low, high - low, 1.0)
        room = MARGIN * spread + np.where(high > low, 0.0, 0.5)
        return (
            np.where(np.isfinite(lower), lower, low - room),
            np.where(np.isfinite(upper), upper, high + room),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Where one class leads within a cell, and the sides on which another ties with it.

    Attributes
    ----------
    ties
        Ends of the sides on which a class of higher number has the same logit, ``(t, 2, 2)``.
    """

    cell: int
    winner: int
    polygon: Polygon
    ties: Floats


def parts_of(cells: CellComplex, lower: Floats, upper: Floats) -> list[Part]:
    """Cut every cell into the parts on which one class leads, within a rectangle."""
    frame = cells.frame
    rows = AffineMap(frame.matrix.astype(np.float64), frame.bound.astype(np.float64))
    view = polygon_of(rows, lower, upper)
    return [part for k in range(len(cells)) for part in _of_cell(cells[k], k, view)]


def _of_cell(cell: Cell, index: int, view: Polygon) -> list[Part]:
    whole = view
    for row, bound in zip(*cell.half_spaces, strict=True):
        whole = whole.cut(row, float(bound), -1)
    J, c = cell.affine_map
    parts = []
    for winner in range(len(c)):
        part = Polygon(whole.corners, np.full(len(whole.corners), -1))
        for other in (k for k in range(len(c)) if k != winner):
            row, bound = J[other] - J[winner], float(c[winner] - c[other])
            if np.any(row):
                part = part.cut(row, bound, other)
            elif bound < 0 or (bound == 0 and other < winner):
                part = Polygon(part.corners[:0], part.sides[:0])
        if len(part.corners):
            tied = np.flatnonzero(part.sides > winner)
            ends = np.stack([part.corners, np.roll(part.corners, -1, axis=0)], axis=1)
            parts.append(Part(index, winner, part, ends[tied]))
    return parts


def draw_cells(picture: CellPicture, ax: "Axes") -> "Axes":
    """Draw cells, decision boundary and samples on given axes and return them."""
    lower, upper = picture.view()
    parts = parts_of(picture.cells, lower, upper)
    shade = _shades(picture.cells)
    fills = [_mixed(CLASS_COLOURS[p.winner % 10], shade[p.cell]) for p in parts]
    _draw_parts(ax, parts, fills)
    shown = sorted({p.winner for p in parts} | set(picture.labels.tolist()))
    marker, size = ("o", 24.0) if picture.sample is None else ("*", 170.0)
    for label in shown:
        at = picture.points[picture.labels == label]
        ax.scatter(
            at[:, 0], at[:, 1], s=size, marker=marker, zorder=4, clip_on=False,
            color=CLASS_COLOURS[label % 10], edgecolors="white", linewidths=0.7,
        )  # fmt: skip
    ax.set_xlim(lower[0], upper[0])
    ax.set_ylim(lower[1], upper[1])
    width, height = upper - lower
    ax.set_aspect("equal" if 1 / 3 < width / height < 3 else "auto")
    ax.set_xlabel(picture.axes[0])
    ax.set_ylabel(picture.axes[1])
    ax.set_title(picture.title, fontsize=10)
    ax.tick_params(length=3, labelsize=8)
    for side in ax.spines.values():
        side.set_visible(False)
    _legend(picture, ax, shown, ties=any(len(p.ties) for p in parts))
    return ax


def _draw_parts(ax: "Axes", parts: Sequence[Part], fills: Sequence[Any]) -> None:
    from matplotlib.collections import LineCollection, PolyCollection  # noqa: PLC0415

    corners = [part.polygon.corners for part in parts]
    ax.add_collection(PolyCollection(corners, facecolors=fills, edgecolors=fills, linewidths=0.3))
    outlines = [c[[*range(len(c)), 0]] for c in corners]
    ax.add_collection(LineCollection(outlines, colors=EDGE, linewidths=0.5, zorder=2))
    ties = [tie for part in parts for tie in part.ties]
    ax.add_collection(
        LineCollection(ties, colors=BOUNDARY, linewidths=1.8, capstyle="round", zorder=3)
    )


def _shades(cells: CellComplex) -> list[float]:
    """Return a shade for each cell, different across every facet where there are enough."""
    import networkx as nx  # noqa: PLC0415

    colours = nx.greedy_color(cells.graph, strategy="DSATUR")
    return [SHADES[colours[k] % len(SHADES)] for k in range(len(cells))]


def _mixed(colour: str, share: float) -> Any:  # noqa: ANN401  (matplotlib is not typed that far)
    """Mix a colour with white."""
    from matplotlib.colors import to_rgb  # noqa: PLC0415

    return tuple(share * v + 1.0 - share for v in to_rgb(colour))


def _legend(picture: CellPicture, ax: "Axes", labels: Sequence[int], *, ties: bool) -> None:
    from matplotlib.lines import Line2D  # noqa: PLC0415
    from matplotlib.patches import Patch  # noqa: PLC0415

    handles: list[Any] = [Patch(color=CLASS_COLOURS[k % 10], label=f"class {k}") for k in labels]
    if ties:
        handles.append(Line2D([], [], color=BOUNDARY, linewidth=1.8, label="decision boundary"))
    one = picture.sample is not None
    name = f"sample {picture.sample}" if one else "samples, by their label"
    colour = CLASS_COLOURS[int(picture.labels[0]) % 10] if one else "#5f6b7a"
    sample = Line2D(
        [], [], linestyle="", marker="*" if one else "o", markersize=11 if one else 5.5,
        color=colour, markeredgecolor="white", markeredgewidth=0.7, label=name,
    )  # fmt: skip
    ax.legend(
        handles=[*handles, sample], loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0,
        frameon=False, fontsize=8, handlelength=1.3,
    )  # fmt: skip


def save_cells(picture: CellPicture, path: Path) -> None:
    """Write the picture to a file; its suffix names the format.

    Raises
    ------
    ProblemError
        matplotlib does not know the suffix, or the folder does not exist.
    """
    save(lambda ax: draw_cells(picture, ax), path, (7.4, 5.6))
