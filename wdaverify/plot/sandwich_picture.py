"""Picture of a sandwich: value against radius, the band between the bounds."""

import math
from typing import TYPE_CHECKING

import numpy as np

from wdaverify.arrays import Floats
from wdaverify.errors import ProblemError
from wdaverify.exact.curve import ValueCurve
from wdaverify.plot.curve_picture import curve as draw_curve
from wdaverify.plot.style import EXACT, LOWER, UPPER, axes_or_new, counted, name_axes, tidy, top_for
from wdaverify.verification import Row, Sandwich

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["sandwich"]

NEAR = 0.06
"""Lines that end this close to each other, as a share of the height, have their names together."""


def sandwich(
    result: Sandwich,
    *,
    curve: ValueCurve | None = None,
    methods: bool = False,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw attack, exact value and certificate against the radius.

    The exact value is a point at each radius (a bar from lower to upper value where the work was
    stopped early), attack and certificate frame the shaded band. Only the radii of the sandwich are
    computed: what joins them is there to guide the eye, unless the curve is given. What is
    infinite is marked above everything else.

    Parameters
    ----------
    result
        What :func:`~wdaverify.verification.sandwich` returned.
    curve
        The value for all radii, to be drawn through the points.
    methods
        Whether every single bound is drawn, with its name at its end, not only the best ones.
    ax
        Axes to draw on; new ones when omitted.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on.

    Raises
    ------
    ProblemError
        Something else than a sandwich.

    Examples
    --------
    >>> import wdaverify as wv
    >>> from matplotlib.figure import Figure
    >>> both = wv.sandwich(wv.load_problem("problems/relu-interval"), [1.0, 2.0])
    >>> axes = wv.plot.sandwich(both, ax=Figure().add_subplot())
    >>> [line.get_label() for line in axes.lines]
    ['certificate', 'attack', 'exact value']
    """
    if not isinstance(result, Sandwich):
        raise ProblemError(f"plot.sandwich: expected a Sandwich, found {type(result).__name__}")
    ax = axes_or_new(ax, (7.0, 4.4))
    rows = sorted(result.rows, key=lambda row: row.radius)
    radii = np.array([0.0, *(row.radius for row in rows)])
    low, high, exact = (
        np.array([result.nominal, *values])
        for values in zip(*((r.attack, r.certificate, _middle(r)) for r in rows), strict=True)
    )
    top = top_for(low, high, exact)
    ax.fill_between(radii, _finite(low), _finite(high), color=UPPER, alpha=0.1, lw=0)
    ax.plot(radii, _finite(high), color=UPPER, ls="--", lw=1.4, label="certificate")
    ax.plot(radii, _finite(low), color=LOWER, ls=":", lw=2.2, label="attack")
    if methods:
        _draw_methods(result, ax)
    if curve is not None:
        draw_curve(curve, upto=float(radii[-1]) or None, corners=False, ax=ax)
    line = "-" if curve is None else ""
    ax.plot(
        radii,
        _finite(exact),
        color=EXACT,
        ls=line,
        lw=1.4,
        marker="o",
        ms=5,
        label="exact value",
    )
    _draw_exceptions(rows, ax, top)
    _describe(result, ax)
    return ax


def _middle(row: Row) -> float:
    return row.lower if row.lower == row.upper else (row.lower + row.upper) / 2


def _finite(values: Floats) -> Floats:
    """Infinite values as gaps of a line."""
    return np.where(np.isfinite(values), values, np.nan)


def _draw_exceptions(rows: list[Row], ax: "Axes", top: float) -> None:
    """Draw brackets as bars, and say above the picture what is infinite."""
    wide = [row for row in rows if row.status == "bracket"]
    if wide:
        ends = [(row.radius, row.lower, min(row.upper, top)) for row in wide]
        x, lower, upper = zip(*ends, strict=True)
        ax.vlines(x, lower, upper, color=EXACT, lw=5, alpha=0.45, label="bracket (stopped early)")
    endless = [row.radius for row in rows if row.lower == math.inf]
    bare = [row.radius for row in rows if row.certificate == math.inf > row.lower]
    for radii, name, colour in ((endless, "value ∞", EXACT), (bare, "no certificate", UPPER)):
        if radii:
            height = [top] * len(radii)
            ax.plot(radii, height, color=colour, ls="", marker="^", ms=6, label=name)


def _draw_methods(result: Sandwich, ax: "Axes") -> None:
    order = np.argsort([row.radius for row in result.rows])
    radii = np.array([row.radius for row in result.rows])[order]
    for bounds, colour in ((result.lower_bounds, LOWER), (result.upper_bounds, UPPER)):
        lines = {name: _finite(np.array(values)[order]) for name, values in bounds.items()}
        for line in lines.values():
            ax.plot(radii, line, color=colour, lw=0.7, alpha=0.7)
        for height, name in _names_at_the_end(lines, NEAR * float(np.ptp(ax.get_ylim()))):
            ax.annotate(
                name, (radii[-1], height), (6, 0), textcoords="offset points", fontsize=7,
                color=colour, va="center",
            )  # fmt: skip


def _names_at_the_end(lines: dict[str, Floats], room: float) -> list[tuple[float, str]]:
    """Return heights of the last points, with the names of all lines that end about there."""
    ends = sorted((float(line[-1]), name) for name, line in lines.items() if line[-1] == line[-1])
    groups: list[tuple[float, str]] = []
    for height, name in ends:
        if groups and height - groups[-1][0] <= room:
            groups[-1] = (groups[-1][0], f"{groups[-1][1]}\n{name}")
        else:
            groups.append((height, name))
    return groups


def _describe(result: Sandwich, ax: "Axes") -> None:
    problem = result.problem
    name_axes(problem, ax, f"{counted(len(problem))}, {problem.support.describe()}")
    ax.margins(x=0.02)
    ax.legend(frameon=False, fontsize=8, loc="best")
    tidy(ax)
