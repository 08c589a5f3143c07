"""Picture of a sandwich: value against radius, the band between the bounds."""

from pathlib import Path
from typing import TYPE_CHECKING

from wdaverify.plot.saving import save
from wdaverify.verification import Sandwich

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_sandwich", "save_sandwich"]

EXACT_COLOUR, BAND_COLOUR, BOUND_COLOUR = "#0b3c5d", "#d9e4ec", "#b5541c"


def draw_sandwich(result: Sandwich, ax: "Axes") -> "Axes":
    """Draw value against radius on given axes and return them.

    The exact value is a line with markers, attack and certificate frame the shaded band.
    """
    rows = sorted(result.rows, key=lambda row: row.radius)
    radii = [0.0, *(row.radius for row in rows)]
    low = [result.nominal, *(row.attack for row in rows)]
    high = [result.nominal, *(row.certificate for row in rows)]
    exact = [result.nominal, *((row.lower + row.upper) / 2 for row in rows)]
    ax.fill_between(radii, low, high, color=BAND_COLOUR, linewidth=0)
    ax.plot(radii, high, color=BOUND_COLOUR, linestyle="--", linewidth=1.3, label="certificate")
    ax.plot(radii, exact, color=EXACT_COLOUR, marker="o", markersize=4, label="exact value")
    ax.plot(radii, low, color=BOUND_COLOUR, linestyle=":", linewidth=2.0, label="attack")
    wide = [row for row in rows if row.status != "exact"]
    if wide:
        ends = zip(*((row.radius, row.lower, row.upper) for row in wide), strict=True)
        ax.vlines(*ends, color=EXACT_COLOUR, label="bracket (stopped early)")
    problem = result.problem
    ax.set_xlabel(f"radius ε  ({problem.cost.describe()})")
    ax.set_ylabel(f"worst-case expected {problem.loss.name} loss")
    ax.set_title(
        f"{problem.name}: {len(problem)} samples, {problem.support.describe()}", fontsize=10
    )
    ax.margins(x=0.02)
    ax.legend(frameon=False, fontsize=8, loc="best")
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    return ax


def save_sandwich(result: Sandwich, path: Path) -> None:
    """Write the picture to a file; its suffix names the format. The file appears whole or not.

    Raises
    ------
    ProblemError
        matplotlib does not know the suffix, or the folder does not exist.
    """
    save(lambda ax: draw_sandwich(result, ax), path, (7.0, 4.4))
