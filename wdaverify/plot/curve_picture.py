r"""Picture of a value curve: worst-case value against radius, for every radius at once.

A curve of order p is linear in :math:`\varepsilon^p` between its corners, hence for p > 1 bent in
:math:`\varepsilon`: it is drawn through many radii between two corners.
"""

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from wdaverify.arrays import Floats
from wdaverify.errors import ProblemError
from wdaverify.exact.curve import ValueCurve, value_curve
from wdaverify.plot.style import EXACT, axes_or_new, counted, name_axes, tidy, top_for
from wdaverify.problem import Problem

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["curve"]

FINE = 1e-4
"""Tolerance of a curve that is computed for its picture: the width of a line."""

STEPS = 300
"""Radii across the picture of a curve that is bent."""

FEW = 60
"""Up to this many corners are marked."""

BEYOND = 1.15
"""The picture ends this many times the radius of the last corner."""

VISIBLE = 2e-3
"""A bracket wider than this share of the range is drawn as a band with two lines."""


class _Trace(NamedTuple):
    """What is drawn: radii and both ends of the bracket, ``(m,)``."""

    radius: Floats
    lower: Floats
    upper: Floats


def curve(
    subject: ValueCurve | Problem,
    *,
    upto: float | None = None,
    label: str | None = None,
    color: str = EXACT,
    corners: bool | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw the worst-case value against the radius.

    Steps are drawn as steps. Where lower and upper value differ visibly, the band between them is
    shaded. Infinite values lie above the picture, and are marked so.

    Parameters
    ----------
    subject
        A :class:`~wdaverify.exact.curve.ValueCurve`, or a problem whose curve is computed first, to
        a relative gap of 1e-4.
    upto
        Largest radius shown; a little beyond the last corner when omitted.
    label
        Name in a legend.
    color
        Any colour of matplotlib.
    corners
        Whether corners are marked; when omitted, where there are few.
    ax
        Axes to draw on; new ones when omitted.

    Returns
    -------
    matplotlib.axes.Axes
        The axes drawn on.

    Raises
    ------
    ProblemError
        Something else than a curve or a problem, or ``upto`` is not positive and finite.
    UnsupportedError
        The problem has no curve; see :func:`~wdaverify.exact.curve.value_curve`.

    Examples
    --------
    >>> import wdaverify as wv
    >>> from matplotlib.figure import Figure
    >>> found = wv.value_curve(wv.load_problem("problems/relu-interval"))
    >>> axes = wv.plot.curve(found, upto=5.0, ax=Figure().add_subplot())
    >>> axes.lines[0].get_xydata()
    array([[0., 0.],
           [4., 3.],
           [5., 3.]])
    """
    found = _curve_of(subject)
    trace = _trace(found, _end(found, upto))
    ax = axes_or_new(ax, (6.4, 4.0))
    _draw(trace, ax, color, label, stepped=found.interpolation == "step")
    shown = found.radius <= trace.radius[-1]
    if corners is True or (corners is None and 1 < shown.sum() <= FEW):
        height = np.where(np.isfinite(found.lower), found.lower, np.nan)[shown]
        ax.scatter(
            found.radius[shown], height, s=16, color=color, zorder=3, clip_on=False,
            edgecolors="white", linewidths=0.6,
        )  # fmt: skip
    _describe(subject, found, ax)
    return ax


def _curve_of(subject: object) -> ValueCurve:
    if isinstance(subject, ValueCurve):
        return subject
    if isinstance(subject, Problem):
        return value_curve(subject, tolerance=FINE)
    raise ProblemError(
        f"plot.curve: expected a ValueCurve or a Problem, found {type(subject).__name__}"
    )


def _end(found: ValueCurve, upto: float | None) -> float:
    if upto is None:
        return BEYOND * float(found.radius[-1]) or 1.0
    if not 0 < upto < math.inf:
        raise ProblemError(f"plot.curve: expected a finite radius upto > 0, found {upto!r}")
    return float(upto)


def _trace(found: ValueCurve, end: float) -> _Trace:
    """Return the ends of the bracket at radii that are close enough for straight lines."""
    knots = np.append(found.radius[found.radius < end], end)
    if found.interpolation == "step":
        at = np.searchsorted(found.radius, knots, side="right") - 1
        return _Trace(knots, found.lower[at], found.upper[at])
    power = found.order if math.isfinite(found.order) else 1.0
    radii = knots if power == 1.0 else np.unique(np.append(knots, np.linspace(0.0, end, STEPS + 1)))
    ends = zip((found.lower, found.upper), found.final_slope, strict=True)
    return _Trace(radii, *(_values(found.radius**power, v, s, radii**power) for v, s in ends))


def _values(corners: Floats, values: Floats, slope: float, budgets: Floats) -> Floats:
    """Evaluate a piecewise linear function of the budget; its last slope may be infinite."""
    beyond = np.maximum(budgets - corners[-1], 0.0)
    after = np.multiply(slope, beyond, out=np.zeros_like(beyond), where=beyond > 0)
    return np.asarray(np.interp(budgets, corners, values) + after)


def _draw(trace: _Trace, ax: "Axes", color: str, label: str | None, *, stepped: bool) -> None:
    top = top_for(trace.lower, trace.upper)
    low, high = (np.where(np.isfinite(v), v, top) for v in trace[1:])
    style = "steps-post" if stepped else "default"
    infinite = ~np.isfinite(trace.upper)
    if _visible(trace.radius, low, high, stepped=stepped):
        ax.fill_between(
            trace.radius, low, high, step="post" if stepped else None, color=color, alpha=0.2,
            linewidth=0,
        )  # fmt: skip
        drawn = np.where(infinite, np.nan, high)
        ax.plot(trace.radius, drawn, color=color, linewidth=1.0, linestyle="--", drawstyle=style)
    drawn = np.where(np.isfinite(trace.lower), low, np.nan)
    ax.plot(trace.radius, drawn, color=color, linewidth=1.8, drawstyle=style, label=label)
    if infinite.any():
        ax.plot(
            trace.radius[infinite], high[infinite], color=color, linestyle="", marker="$∞$",
            markersize=8, markevery=max(1, int(infinite.sum()) // 8), markeredgewidth=0.2,
        )  # fmt: skip


def _visible(radius: Floats, low: Floats, high: Floats, *, stepped: bool) -> bool:
    """Whether a band is high enough, and not only over a rounding error of radii."""
    gap, widths = high - low, np.diff(radius)
    area = float(widths @ (gap[:-1] if stepped else (gap[:-1] + gap[1:]) / 2.0))
    span = float(high.max() - low.min())
    return bool(gap.max() > VISIBLE * span and area > VISIBLE**2 * span * radius[-1])


def _describe(subject: object, found: ValueCurve, ax: "Axes") -> None:
    if isinstance(subject, Problem):
        name_axes(subject, ax, f"{counted(len(subject))}, {subject.support.describe()}")
    else:
        order = f"{found.order:g}" if math.isfinite(found.order) else "∞"
        ax.set_xlabel(f"radius ε  (order {order})")
        ax.set_ylabel("worst-case expected loss")
    ax.margins(x=0.02)
    tidy(ax)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False, fontsize=8)
