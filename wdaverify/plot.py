"""Pictures of a sandwich: value against radius, the band between the bounds."""

from pathlib import Path
from typing import TYPE_CHECKING

from wdaverify.sandwich import Sandwich

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_sandwich", "save_sandwich"]

EXACT_COLOUR, BAND_COLOUR, BOUND_COLOUR = "#0b3c5d", "#d9e4ec", "#b5541c"


def draw_sandwich(result: Sandwich, ax: "Axes") -> "Axes":
    """Draw value against radius on given axes and return them.

    The exact value is a line with markers, attack and certificate frame the shaded band.
    """
    rows = sorted(result.rows, key=lambda row: row.radius)
    radii = [row.radius for row in rows]
    attack, top = [row.attack for row in rows], [row.certificate for row in rows]
    ax.fill_between(radii, attack, top, color=BAND_COLOUR, label="between attack and certificate")
    ax.plot(radii, top, color=BOUND_COLOUR, linestyle="--", linewidth=1.2)
    ax.plot(radii, attack, color=BOUND_COLOUR, linestyle=":", linewidth=1.2)
    _name_line(ax, radii[-1], top[-1], "certificate")
    middle = [(row.lower + row.upper) / 2 for row in rows]
    wide = [row for row in rows if row.status != "exact"]
    ax.plot(radii, middle, color=EXACT_COLOUR, marker="o", markersize=4, label="exact value")
    if wide:
        ax.vlines(
            [row.radius for row in wide],
            [row.lower for row in wide],
            [row.upper for row in wide],
            color=EXACT_COLOUR,
            label="bracket (stopped early)",
        )
    ax.axhline(result.nominal, color="#777777", linewidth=0.8, label="nominal risk")
    problem = result.problem
    ax.set_xlabel(f"radius ε  ({problem.cost.describe()})")
    ax.set_ylabel(f"worst-case expected {problem.loss.name} loss")
    ax.set_title(f"{problem.name}: {len(problem)} samples, {problem.support.describe()}", fontsize=10)
    ax.margins(x=0.02)
    ax.legend(frameon=False, fontsize=8, loc="best")
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    return ax


def _name_line(ax: "Axes", x: float, y: float, name: str) -> None:
    ax.annotate(
        name, (x, y), xytext=(-4, -4), textcoords="offset points", ha="right", va="top",
        fontsize=8, color=BOUND_COLOUR,
    )  # fmt: skip


def save_sandwich(result: Sandwich, path: Path) -> None:
    """Write the picture to a file; its suffix names the format. The file appears whole or not.

    Raises
    ------
    ProblemError
        matplotlib does not know the suffix, or the folder does not exist.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    from wdaverify.errors import ProblemError  # noqa: PLC0415

    figure = Figure(figsize=(7.0, 4.4), dpi=150, layout="constrained")
    draw_sandwich(result, figure.add_subplot())
    form = path.suffix.lstrip(".").lower()
    known = FigureCanvasAgg(figure).get_supported_filetypes()
    if form not in known:
        raise ProblemError(f"{path}: expected a picture suffix such as .png or .pdf, found {path.suffix!r}")
    part = path.with_name(path.name + ".part")
    try:
        figure.savefig(part, format=form)
        part.replace(path)
    except OSError as error:
        raise ProblemError(f"{path}: cannot be written ({error.strerror or error})") from None
    finally:
        part.unlink(missing_ok=True)
