"""The picture of a worst case: where mass starts, where it ends, and how much of it moves.

On a line the loss is drawn, and arrows climb it. In the plane arrows lie on the cells. Of more
features a plane through one sample is shown with the cells and the moves of that sample, or the
moves of all samples, projected on two features.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from wdaverify.arrays import Floats
from wdaverify.cells.frame import bounding_box
from wdaverify.distribution import Distribution
from wdaverify.errors import ProblemError
from wdaverify.exact.answer import ExactValue
from wdaverify.plot.arrows import Moves, arrow_entries, draw_arrows, moves_of
from wdaverify.plot.cell_picture import (
    draw_cells,
    draw_samples,
    frame_plane,
    mark_of,
    show_legend,
    surroundings,
)  # fmt: skip
from wdaverify.plot.cells_plot import flat_picture, slice_picture
from wdaverify.plot.line_picture import draw_line
from wdaverify.plot.plane import Plane, Spanned, plane_of, point_of
from wdaverify.plot.style import axes_or_new
from wdaverify.problem import Problem

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["transport"]


def transport(
    problem: Problem,
    worst_case: ExactValue | Distribution,
    *,
    at: int | None = None,
    plane: Spanned | None = None,
    cells: bool = True,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw how a worst case moves the mass of the samples.

    An arrow leads from a sample to each atom that its mass goes to; it is the wider and the darker
    the more mass moves. An arrow that ends at the border leads to an atom outside the picture.

    One feature: the loss of each label is drawn, and arrows climb it. Two: arrows lie on the cells.
    More: all moves are projected on two features, without cells, since every sample has other
    cells around it; with ``at`` the moves of this sample alone are shown on the slice through it.

    Parameters
    ----------
    problem
        The question.
    worst_case
        What :func:`~wdaverify.exact.solve.solve` returned for it, or its ``worst_case``.
    at
        Index of a sample, for a slice; only with more than two features.
    plane
        Two features, or two directions of shape ``(2, n)``; only with more than two features. When
        omitted the two features in which most mass moves farthest, for a slice the plane through
        the sample, its farthest atom and the nearest sample of another class.
    cells
        Whether cells are drawn beneath.
    ax
        Axes to draw on; new ones when omitted.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on.

    Raises
    ------
    ProblemError
        Something else than a worst case, or one of another problem; no such sample, features or
        directions; a slice through a sample whose mass stays, without ``plane``.
    UnsupportedError
        As :func:`~wdaverify.plot.cells_plot.cells`.

    Examples
    --------
    >>> import wdaverify as wv
    >>> from matplotlib.figure import Figure
    >>> interval = wv.load_problem("problems/relu-interval")
    >>> exact = wv.solve(interval, radius=2.0)
    >>> axes = wv.plot.transport(interval, exact, ax=Figure().add_subplot())
    >>> len(axes.patches), axes.get_title()
    (1, 'relu-interval: worst case at ε = 2, expected loss 1.5')
    """
    moves = moves_of(problem, _distribution(problem, worst_case))
    title = _title(problem, worst_case)
    features = problem.network.features
    if features <= 2 and (at is not None or plane is not None):
        raise ProblemError("plot: at, plane: expected more than two features for a slice")
    ax = axes_or_new(ax, (7.4, 5.6) if features > 1 else (6.4, 4.0))
    if features == 1:
        entries = draw_line(problem, moves, ax)
    elif features == 2 and cells:
        entries = _on_cells(problem, moves, ax)
    elif at is not None:
        entries = _on_slice(problem, moves, (at, plane), ax, cells=cells)
    else:
        entries = _projected(problem, moves, plane, ax)
    ax.set_title(title, fontsize=10)
    show_legend(ax, entries)
    return ax


def _distribution(problem: Problem, worst_case: object) -> Distribution:
    found = worst_case.worst_case if isinstance(worst_case, ExactValue) else worst_case
    if not isinstance(found, Distribution):
        raise ProblemError(
            f"plot.transport: expected an ExactValue or a Distribution, "
            f"found {type(worst_case).__name__}"
        )
    n = found.points.shape[1]
    if n != problem.network.features or found.origin.max(initial=0) >= len(problem):
        raise ProblemError(
            f"plot.transport: expected atoms of the {len(problem)} samples of {problem.name} with "
            f"{problem.network.features} features, found {n} features and samples up to "
            f"{found.origin.max(initial=0)}"
        )
    return found


def _title(problem: Problem, worst_case: ExactValue | Distribution) -> str:
    if isinstance(worst_case, Distribution):
        return f"{problem.name}: worst case"
    value = f"{worst_case.lower:.6g}" if np.isfinite(worst_case.lower) else "∞"
    return f"{problem.name}: worst case at ε = {worst_case.radius:g}, expected loss {value}"


def near(moves: Moves, points: Floats) -> Floats:
    """Return the atoms, those far away replaced by points as far as the samples are apart."""
    low, high = points.min(axis=0), points.max(axis=0)
    spread = np.where(high > low, high - low, 1.0)
    return np.clip(moves.ends, low - spread, high + spread)


def _on_cells(problem: Problem, moves: Moves, ax: "Axes") -> list[Any]:
    picture = flat_picture(problem, near(moves, problem.points))
    entries = draw_cells(picture, ax)
    off = np.zeros(len(moves.ends), dtype=bool)
    inside = draw_arrows(moves, moves.ends, moves.starts, ax, off=off)
    return [*entries, *arrow_entries(moves, inside, off)]


def _on_slice(
    problem: Problem, moves: Moves, where: tuple[int, Spanned | None], ax: "Axes", *, cells: bool
) -> list[Any]:
    at, spanned_by = where
    origin = point_of(at, problem.network.features, problem)
    moves = moves.only(moves.origins == at)
    names = None
    if spanned_by is None:
        spanned_by, names = _through_atom(problem, moves, at)
    picture, plane = slice_picture(problem, at, spanned_by, around=near(moves, problem.points))
    entries: list[Any] = []
    if cells:
        entries = draw_cells(picture, ax)
    else:
        frame_plane(ax, picture.view(), picture.axes, "")
        draw_samples(plane.coordinates(origin[None]), problem.labels[[at]], ax, alone=True)
    if names is not None:
        ax.set_xlabel(names[0])
        ax.set_ylabel(names[1])
    return [*entries, *_draw(moves, plane, ax)]


def _draw(moves: Moves, plane: Plane, ax: "Axes", *, projection: bool = False) -> list[Any]:
    off = np.zeros(len(moves.ends), dtype=bool) if projection else ~plane.holds(moves.ends)
    starts, ends = plane.coordinates(moves.starts), plane.coordinates(moves.ends)
    inside = draw_arrows(moves, ends, starts, ax, off=off)
    return arrow_entries(moves, inside, off)


def _through_atom(problem: Problem, moves: Moves, at: int) -> tuple[Floats, tuple[str, str]]:
    """Span the plane of a sample, its farthest atom and the nearest sample of another class."""
    origin, others = problem.points[at], np.flatnonzero(problem.labels != problem.labels[at])
    ways = moves.ends - moves.starts
    lengths = np.linalg.norm(ways, axis=1)
    if not lengths.any():
        raise ProblemError(
            f"plot.transport: at={at}: no mass of this sample moves, expected a plane to be named"
        )
    along = ways[lengths.argmax()] / lengths.max()
    aside = problem.points[others] - origin
    aside = aside - np.outer(aside @ along, along)
    far = np.linalg.norm(aside, axis=1)
    usable = np.flatnonzero(far > 1e-9)
    if not len(usable):
        raise ProblemError(
            f"plot.transport: at={at}: expected a plane, found no sample to span one"
        )
    best = usable[np.linalg.norm(problem.points[others[usable]] - origin, axis=1).argmin()]
    names = ("along the move, ℓ₂", f"across it, towards sample {others[best]}, ℓ₂")
    return np.stack([along, aside[best] / far[best]]), names


def _projected(problem: Problem, moves: Moves, spanned_by: Spanned | None, ax: "Axes") -> list[Any]:
    plane = _shadow(problem, moves, spanned_by)
    points = plane.coordinates(problem.points)
    seen = near(moves, problem.points)
    bounds = (np.full(2, -np.inf), np.full(2, np.inf))
    if plane.features is not None:
        whole = bounding_box(problem.support.bind(problem.network.features))
        bounds = (whole[0][list(plane.features)], whole[1][list(plane.features)])
    view = surroundings(bounds, np.concatenate([points, plane.coordinates(seen)]))
    frame_plane(ax, view, plane.names, "")
    draw_samples(points, problem.labels, ax)
    marks = [(mark_of(k), f"samples of class {k}") for k in np.unique(problem.labels).tolist()]
    return [*marks, *_draw(moves, plane, ax, projection=True)]


def _shadow(problem: Problem, moves: Moves, spanned_by: Spanned | None) -> Plane:
    """Return what moves are projected on: the two features that move most, unless named."""
    if spanned_by is None:
        travel = moves.weights @ np.abs(moves.ends - moves.starts)
        i, j = sorted(np.argsort(-travel, kind="stable")[:2].tolist())
        spanned_by = (i, j)
    return plane_of(spanned_by, problem.points.mean(axis=0))
