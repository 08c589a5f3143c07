"""Colours, marks and axes that all pictures share.

The first seven colours are those of Okabe and Ito (2008), chosen to be told apart with any of the
common colour vision deficiencies; classes also differ by the shape of their mark.
"""

import math
from typing import TYPE_CHECKING

import numpy as np

from wdaverify.arrays import Floats
from wdaverify.problem import Problem

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "EXACT", "INK", "LOWER", "UPPER", "axes_or_new", "class_colour", "class_mark", "counted",
    "name_axes", "tidy", "top_for",
]  # fmt: skip

_COLOURS = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#b8a800",
    "#332288", "#882255", "#7a7a7a",
)  # fmt: skip
_MARKS = ("o", "s", "^", "D", "v", "P", "X", "p", "h", "<")

INK = "#14181f"
EXACT, LOWER, UPPER = "#0072b2", "#009e73", "#d55e00"
"""Colours of the exact value, of lower bounds and of upper bounds."""

ROOM = 0.12
"""Room above the largest finite value for what is infinite, as a share of the range."""


def class_colour(label: int) -> str:
    """Return the colour of a class; they repeat after ten."""
    return _COLOURS[label % len(_COLOURS)]


def class_mark(label: int) -> str:
    """Return the mark of a class, as matplotlib names it."""
    return _MARKS[label % len(_MARKS)]


def axes_or_new(ax: "Axes | None", size: tuple[float, float]) -> "Axes":
    """Return given axes, or those of a new figure of pyplot.

    Parameters
    ----------
    size
        Width and height of a new figure in inches.
    """
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt  # noqa: PLC0415  (slow to import, and only for this)

    return plt.subplots(figsize=size, layout="constrained")[1]


def tidy(ax: "Axes") -> None:
    """Remove the two sides of the frame that carry no scale."""
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


def name_axes(problem: Problem, ax: "Axes", title: str) -> None:
    """Name the axes of a picture of value against radius."""
    ax.set_xlabel(f"radius ε  ({problem.cost.describe()})")
    ax.set_ylabel(f"worst-case expected {problem.loss.name} loss")
    ax.set_title(f"{problem.name}: {title}", fontsize=10)


def counted(samples: int) -> str:
    """Return ``1 sample`` or ``7 samples``."""
    return f"{samples} sample" + "s" * (samples != 1)


def top_for(*values: Floats) -> float:
    """Return a height above all finite values, at which infinite ones are drawn."""
    finite = [float(v) for part in values for v in np.ravel(part) if math.isfinite(v)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    return high + ROOM * ((high - low) or abs(high) or 1.0)
