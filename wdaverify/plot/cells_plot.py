"""The picture of cells that users draw: of a problem, or of cells alone, in a plane or on one."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from wdaverify.arrays import Floats, floats
from wdaverify.cells.complex import CellComplex, enumerate_cells
from wdaverify.errors import ProblemError, UnsupportedError
from wdaverify.network import ReLUNetwork
from wdaverify.plot.cell_picture import CellPicture, draw_cells, show_legend
from wdaverify.plot.plane import At, Plane, Spanned, plane_of, point_of
from wdaverify.plot.style import axes_or_new
from wdaverify.problem import Problem
from wdaverify.support import Support

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["cells", "flat_picture", "slice_picture"]

NONE = np.zeros((0, 2))


def cells(
    subject: Problem | CellComplex,
    *,
    at: At | None = None,
    plane: Spanned | None = None,
    view: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    legend: bool = True,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw the activation cells of a network in the plane, coloured by the class predicted.

    Shades tell neighbouring cells apart; the decision boundary is black. With more than two
    features the picture is a slice: the cells of the network restricted to a plane, exactly.

    Parameters
    ----------
    subject
        A problem, whose samples are drawn too, or a list of cells.
    at
        What a slice passes through: the index of a sample, or a point of shape ``(n,)``. Only with
        more than two features; the first sample when omitted.
    plane
        What a slice shows: two features ``(i, j)``, or two directions of shape ``(2, n)``, of which
        the coordinates are multiples. The first two features when omitted.
    view
        Lower left and upper right corner of the picture; the support when omitted, or the
        surroundings of the samples where it has no end.
    legend
        Whether a legend stands to the right.
    ax
        Axes to draw on; new ones when omitted.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on.

    Raises
    ------
    ProblemError
        Neither a problem nor cells; no such sample, features or directions; a point outside the
        support; a view without area.
    UnsupportedError
        One feature, a constant feature, or a plane that meets the support in no area.

    Examples
    --------
    >>> import wdaverify as wv
    >>> from matplotlib.figure import Figure
    >>> iris = wv.load_problem("problems/iris")
    >>> axes = wv.plot.cells(iris, at=3, plane=(2, 3), ax=Figure().add_subplot())
    >>> axes.get_xlabel(), axes.get_title()
    ('feature 2', 'iris: 21 activation cells of the slice through sample 3')
    """
    if not isinstance(subject, Problem | CellComplex):
        raise ProblemError(
            f"plot.cells: expected a Problem or a CellComplex, found {type(subject).__name__}"
        )
    window = None if view is None else _window(*view)
    if subject_features(subject) <= 2:
        if at is not None or plane is not None:
            raise ProblemError("plot: at, plane: expected more than two features for a slice")
        picture = flat_picture(subject, window=window)
    else:
        picture = slice_picture(subject, at, plane, window=window)[0]
    ax = axes_or_new(ax, (7.4, 5.6))
    entries = draw_cells(picture, ax)
    if legend:
        show_legend(ax, entries)
    return ax


def subject_features(subject: Problem | CellComplex) -> int:
    """Return the number of inputs."""
    return subject.network.features


def flat_picture(
    subject: Problem | CellComplex,
    around: Floats = NONE,
    window: tuple[Floats, Floats] | None = None,
) -> CellPicture:
    """Return the picture of a network of two features, with the surroundings of more points."""
    axes = ("feature 0", "feature 1")
    if isinstance(subject, CellComplex):
        title = f"{len(subject):,} activation cells"
        seen = np.concatenate([subject.interiors, around])
        return CellPicture(subject, NONE, _no_labels(), title, axes, seen, window=window)
    found = _enumerated(subject.network, subject.support)
    title = f"{subject.name}: {len(found):,} activation cells"
    around = np.concatenate([subject.points, around])
    return CellPicture(found, subject.points, subject.labels, title, axes, around, window=window)


def slice_picture(
    subject: Problem | CellComplex,
    at: At | None,
    spanned_by: Spanned | None,
    *,
    around: Floats | None = None,
    window: tuple[Floats, Floats] | None = None,
) -> tuple[CellPicture, Plane]:
    """Return the picture of a slice, and its plane.

    Parameters
    ----------
    around
        More points whose surroundings are shown, ``(M, n)``.
    """
    problem = subject if isinstance(subject, Problem) else None
    if at is None and problem is None:
        raise ProblemError("plot: at: expected a point that the slice passes through, found none")
    at = 0 if at is None else at
    origin = point_of(at, subject.network.features, problem)
    plane = plane_of((0, 1) if spanned_by is None else spanned_by, origin)
    support = subject.support.bind(len(origin))
    if not support.contains(origin[None])[0]:
        raise ProblemError(f"plot: at: expected a point in the support ({support.describe()})")
    found = _enumerated(*plane.section(subject.network, support))
    sample = int(at) if isinstance(at, int | np.integer) else None
    title = f"{len(found):,} activation cells of the slice"
    title += f" through sample {sample}" if sample is not None else ""
    title = title if problem is None else f"{problem.name}: {title}"
    here = plane.coordinates(origin[None])
    seen = [here] if problem is None else [here, plane.coordinates(problem.points)]
    seen += [] if around is None else [plane.coordinates(around)]
    labels = _no_labels() if sample is None or problem is None else problem.labels[[sample]]
    return (
        CellPicture(
            found, here[: len(labels)], labels, title, plane.names, np.concatenate(seen), sample,
            window,
        ),
        plane,
    )  # fmt: skip


def _enumerated(network: ReLUNetwork, support: Support) -> CellComplex:
    """Return the cells, or say that the support leaves nothing to draw."""
    try:
        return enumerate_cells(network, support)
    except ProblemError as error:
        if "empty" not in str(error):
            raise
        raise UnsupportedError("picture of cells: the plane meets the support in no area") from None


def _no_labels() -> npt.NDArray[np.int64]:
    return np.zeros(0, dtype=np.int64)


def _window(lower: npt.ArrayLike, upper: npt.ArrayLike) -> tuple[Floats, Floats]:
    low, high = floats(lower, "plot: view", ndim=1), floats(upper, "plot: view", ndim=1)
    if low.shape != (2,) or high.shape != (2,) or not np.all(low < high):
        raise ProblemError(
            f"plot: view: expected lower left and upper right corner, found {low} and {high}"
        )
    return low, high
