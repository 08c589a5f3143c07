"""Picture of the cells of a network in the plane, exact polygons, with the decision boundary.

Each cell is cut into the parts on which one class has the largest logit. The colour is that of the
class, the shade tells neighbouring cells apart; sides on which two largest logits tie make up the
decision boundary. Of more than two features a plane is shown, on which the network is one of two
inputs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from wdaverify.arrays import Floats, Integers
from wdaverify.cells.complex import Cell, CellComplex
from wdaverify.cells.frame import bounding_box
from wdaverify.cells.polygon import Polygon, polygon_of
from wdaverify.errors import UnsupportedError
from wdaverify.network import AffineMap
from wdaverify.plot.style import INK, class_colour, class_mark

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

__all__ = ["CellPicture", "Part", "draw_cells", "parts_of"]

Entry = tuple[Any, str]
"""What a legend shows, and its name."""

SHADES = (0.22, 0.44, 0.33, 0.55, 0.28, 0.50, 0.38, 0.60)
EDGE = "#ffffff"
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
    window
        Opposite corners of what is shown, ``(2,)`` each; see :meth:`view` where omitted.
    """

    cells: CellComplex
    points: Floats
    labels: Integers
    title: str
    axes: tuple[str, ...]
    around: Floats
    sample: int | None = None
    window: tuple[Floats, Floats] | None = None

    def __post_init__(self) -> None:
        found = self.cells.network.features, self.cells.frame.dimension
        if found != (2, 2):
            raise UnsupportedError(
                "picture of cells: expected two features, neither constant, "
                f"found {found[0]} of which {found[1]} vary"
            )

    def view(self) -> tuple[Floats, Floats]:
        """Return the corners of what is shown: the support's box, else room around points."""
        if self.window is not None:
            return self.window
        return surroundings(bounding_box(self.cells.support), self.around)


def surroundings(bounds: tuple[Floats, Floats], points: Floats) -> tuple[Floats, Floats]:
    """Return opposite corners of a picture: the bounds where finite, else room around points."""
    (lower, upper), low, high = bounds, points.min(axis=0), points.max(axis=0)
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


def draw_cells(picture: CellPicture, ax: "Axes") -> list[Entry]:
    """Draw cells, decision boundary and samples on given axes; return what a legend names."""
    lower, upper = picture.view()
    parts = parts_of(picture.cells, lower, upper)
    shade = _shades(picture.cells)
    fills = [mixed(class_colour(p.winner), shade[p.cell]) for p in parts]
    _draw_parts(ax, parts, fills)
    shown = sorted({p.winner for p in parts} | set(picture.labels.tolist()))
    draw_samples(picture.points, picture.labels, ax, alone=picture.sample is not None)
    frame_plane(ax, (lower, upper), picture.axes, picture.title)
    return _entries(picture, shown, ties=any(len(p.ties) for p in parts))


def frame_plane(ax: "Axes", view: tuple[Floats, Floats], names: Sequence[str], title: str) -> None:
    """Set limits, aspect, names and title of a picture of the plane."""
    (left, bottom), (right, top) = view
    ax.set_xlim(left, right)
    ax.set_ylim(bottom, top)
    ax.set_aspect("equal" if 1 / 3 < (right - left) / (top - bottom) < 3 else "auto")
    ax.set_xlabel(names[0])
    ax.set_ylabel(names[1])
    ax.set_title(title, fontsize=10)
    ax.tick_params(length=3, labelsize=8)
    for side in ax.spines.values():
        side.set_visible(False)


def draw_samples(points: Floats, labels: Integers, ax: "Axes", *, alone: bool = False) -> None:
    """Draw samples, each class with its colour and mark; a single one as a star."""
    for label in np.unique(labels).tolist():
        at = points[labels == label]
        ax.scatter(
            at[:, 0], at[:, 1], s=170.0 if alone else 26.0, zorder=5, clip_on=False,
            marker="*" if alone else class_mark(label), color=class_colour(label),
            edgecolors="white", linewidths=0.7,
        )  # fmt: skip


def _draw_parts(ax: "Axes", parts: Sequence[Part], fills: Sequence[Any]) -> None:
    from matplotlib.collections import LineCollection, PolyCollection  # noqa: PLC0415

    corners = [part.polygon.corners for part in parts]
    ax.add_collection(PolyCollection(corners, facecolors=fills, edgecolors=fills, linewidths=0.3))
    outlines = [c[[*range(len(c)), 0]] for c in corners]
    ax.add_collection(LineCollection(outlines, colors=EDGE, linewidths=0.5, zorder=2))
    ties = [tie for part in parts for tie in part.ties]
    ax.add_collection(LineCollection(ties, colors=INK, linewidths=1.8, capstyle="round", zorder=3))


def _shades(cells: CellComplex) -> list[float]:
    """Return a shade for each cell, different across every facet where there are enough."""
    import networkx as nx  # noqa: PLC0415

    colours = nx.greedy_color(cells.graph, strategy="DSATUR")
    return [SHADES[colours[k] % len(SHADES)] for k in range(len(cells))]


def mixed(colour: str, share: float) -> Any:  # noqa: ANN401  (matplotlib is not typed that far)
    """Mix a colour with white."""
    from matplotlib.colors import to_rgb  # noqa: PLC0415

    return tuple(share * v + 1.0 - share for v in to_rgb(colour))


def _entries(picture: CellPicture, classes: Sequence[int], *, ties: bool) -> list["Entry"]:
    from matplotlib.lines import Line2D  # noqa: PLC0415
    from matplotlib.patches import Patch  # noqa: PLC0415

    alone = picture.sample is not None
    with_mark = [] if alone else np.unique(picture.labels).tolist()
    entries: list[Entry] = []
    for k in classes:
        area = Patch(color=mixed(class_colour(k), 0.4))
        entries.append(((area, mark_of(k)) if k in with_mark else area, f"class {k}"))
    if ties:
        entries.append((Line2D([], [], color=INK, linewidth=1.8), "decision boundary"))
    if alone:
        label = int(picture.labels[0])
        entries.append((mark_of(label, "*", 11), f"sample {picture.sample}, label {label}"))
    return entries


def mark_of(label: int, mark: str | None = None, size: float = 5.5) -> "Line2D":
    """Return the mark of a class as a legend shows it."""
    from matplotlib.lines import Line2D  # noqa: PLC0415

    return Line2D(
        [], [], linestyle="", marker=mark or class_mark(label), markersize=size,
        color=class_colour(label), markeredgecolor="white", markeredgewidth=0.7,
    )  # fmt: skip


def show_legend(ax: "Axes", entries: Sequence["Entry"]) -> None:
    """Show a legend to the right of the picture."""
    handles, labels = zip(*entries, strict=True)
    ax.legend(
        handles=handles, labels=labels, loc="upper left", bbox_to_anchor=(1.01, 1.0),
        borderaxespad=0.0, frameon=False, fontsize=8, handlelength=1.4,
    )  # fmt: skip
