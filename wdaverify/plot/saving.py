"""Pictures drawn and written to files, each of which appears whole or not at all."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from wdaverify.errors import ProblemError
from wdaverify.exact.answer import ExactValue
from wdaverify.exact.curve import ValueCurve
from wdaverify.plot.cell_picture import CellPicture, draw_cells, show_legend
from wdaverify.plot.curve_picture import curve
from wdaverify.plot.sandwich_picture import sandwich
from wdaverify.plot.style import counted, name_axes
from wdaverify.plot.transport_plot import transport
from wdaverify.problem import Problem
from wdaverify.storage.files import replacing
from wdaverify.verification import Sandwich

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "check_suffix", "save", "save_cells", "save_curve", "save_sandwich", "save_transport",
]  # fmt: skip


def check_suffix(path: Path) -> str:
    """Return the format that a file's suffix names.

    Raises
    ------
    ProblemError
        matplotlib does not know the suffix.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415  (slow to import)
    from matplotlib.figure import Figure  # noqa: PLC0415

    form = path.suffix.lstrip(".").lower()
    if form not in FigureCanvasAgg(Figure()).get_supported_filetypes():
        raise ProblemError(
            f"{path}: expected a picture suffix such as .png or .pdf, found {path.suffix!r}"
        )
    return form


def save(draw: Callable[["Axes"], object], path: Path, size: tuple[float, float]) -> None:
    """Draw on new axes and write the picture; the file appears whole or not at all.

    Parameters
    ----------
    size
        Width and height in inches.

    Raises
    ------
    ProblemError
        matplotlib does not know the suffix, or the folder does not exist.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415

    form = check_suffix(path)
    figure = Figure(figsize=size, dpi=150, layout="constrained")
    draw(figure.add_subplot())
    with replacing(path) as file:
        figure.savefig(file, format=form)


def save_cells(picture: CellPicture, path: Path) -> None:
    """Write the picture of cells; see :func:`save`."""
    save(lambda ax: show_legend(ax, draw_cells(picture, ax)), path, (7.4, 5.6))


def save_curve(found: ValueCurve, problem: Problem, path: Path) -> None:
    """Write the picture of the curve of a problem; see :func:`save`."""

    def draw(ax: "Axes") -> None:
        name_axes(problem, curve(found, ax=ax), counted(len(problem)))

    save(draw, path, (6.4, 4.0))


def save_sandwich(result: Sandwich, path: Path) -> None:
    """Write the picture of a sandwich; see :func:`save`."""
    save(lambda ax: sandwich(result, ax=ax), path, (7.0, 4.4))


def save_transport(problem: Problem, value: ExactValue, path: Path) -> None:
    """Write the picture of a worst case; see :func:`save`."""
    size = (7.4, 5.6) if problem.network.features > 1 else (6.4, 4.0)
    save(lambda ax: transport(problem, value, ax=ax), path, size)
