"""A figure drawn and written to a file."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from wdaverify.errors import ProblemError
from wdaverify.storage.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["check_suffix", "save"]


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
