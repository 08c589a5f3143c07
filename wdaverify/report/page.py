"""The page: all sections together, in one file that needs nothing else.

The style and the script stand inside the page, named by their hashes in its content security
policy: nothing else runs, and nothing is loaded from anywhere.
"""

import base64
import hashlib
import json
import math
import time
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wdaverify.errors import UnsupportedError
from wdaverify.limits import Limits
from wdaverify.report import words
from wdaverify.report.chart import chart
from wdaverify.report.figures import figure, percent, seconds
from wdaverify.report.images import guess_shape
from wdaverify.report.line import line
from wdaverify.report.methods import bounds_compared, not_used
from wdaverify.report.moves import moves_of
from wdaverify.report.panels import panel
from wdaverify.report.plane import plane
from wdaverify.report.provenance import Origin, provenance
from wdaverify.report.reading import Reading, read_curve
from wdaverify.storage.files import replacing
from wdaverify.verification import Progress, Row, Sandwich

if TYPE_CHECKING:
    import jinja2

__all__ = ["check_installed", "report_html", "write_report"]

CORNERS = 40
"""Corners of the curve in a table."""


def write_report(
    result: Sandwich,
    path: str | Path,
    *,
    origin: Origin | None = None,
    image_shape: tuple[int, ...] | None = None,
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> None:
    """Write a report about a sandwich: one HTML file that needs nothing else.

    Parameters
    ----------
    path
        The file; it appears whole or not at all.
    origin, image_shape, limits, progress
        See :func:`report_html`.

    Raises
    ------
    ProblemError
        The file cannot be written, or the image shape does not fit.
    UnsupportedError
        jinja2 is not installed.

    Examples
    --------
    >>> import wdaverify as wv
    >>> problem = wv.load_problem("problems/moons")
    >>> result = wv.sandwich(problem, [0.05, 0.1])  # doctest: +SKIP
    >>> wv.write_report(result, "moons.html")  # doctest: +SKIP
    """
    page = report_html(
        result, origin=origin, image_shape=image_shape, limits=limits, progress=progress
    )
    with replacing(Path(path)) as file:
        file.write(page.encode())


def report_html(
    result: Sandwich,
    *,
    origin: Origin | None = None,
    image_shape: tuple[int, ...] | None = None,
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> str:
    """Return the report about a sandwich as HTML.

    Parameters
    ----------
    origin
        Files, command line and seed behind the sandwich.
    image_shape
        ``(height, width)`` or ``(channels, height, width)`` of samples that are pictures, ``()``
        where they are none; guessed when omitted.
    limits
        Those of the whole run; the curve gets what is left, at most 30 seconds.
    progress
        Called while the value curve is computed.

    Raises
    ------
    ProblemError
        The image shape does not fit the number of features.
    UnsupportedError
        jinja2 is not installed.
    """
    environment = _environment()
    started = time.monotonic()
    guess_shape(result.problem, image_shape)  # complain before the work
    reading = read_curve(result, limits, progress)
    curve_seconds = time.monotonic() - started
    content = _content(result, reading, image_shape, limits)
    content["origin"] = origin or Origin()
    content["provenance"] = provenance(
        result, content["origin"], {"curve of this report": curve_seconds}
    )
    page: str = environment.get_template("report.html.j2").render(content | _assets())
    return page


def check_installed() -> None:
    """Complain early where jinja2 is missing.

    Raises
    ------
    UnsupportedError
        Says how to install it.
    """
    _environment()


def _environment() -> "jinja2.Environment":
    try:
        import jinja2  # noqa: PLC0415  (an extra)
    except ImportError:
        raise UnsupportedError(
            "report: expected the package jinja2, found none; pip install 'wdaverify[report]'"
        ) from None
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("wdaverify.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"figure": figure, "percent": percent, "seconds": seconds, "raw": _raw}
    return environment


def _raw(value: float | None) -> str:
    """Return a number with all its digits, as the JSON has it."""
    return "" if value is None else repr(float(value)) if math.isfinite(value) else str(value)


def _content(
    result: Sandwich,
    reading: Reading,
    image_shape: tuple[int, ...] | None,
    limits: Limits | None,
) -> dict[str, Any]:
    problem = result.problem
    rows = sorted(result.rows, key=lambda row: row.radius)
    moves = [moves_of(problem, r.exact.worst_case) if r.exact is not None else [] for r in rows]
    shape = guess_shape(problem, image_shape)
    panels = [panel(problem, r, found, shape) for r, found in zip(rows, moves, strict=True)]
    return {
        "result": result,
        "problem": problem,
        "rows": rows,
        "norm_symbol": words.SYMBOLS.get(problem.cost.norm.name, problem.cost.norm.name),
        "order_symbol": figure(problem.cost.order, 4),
        "question": words.question(problem),
        "details": words.details(problem),
        "answer": words.answer(result, reading),
        "reading": reading,
        "chart": chart(result, reading),
        "panels": panels,
        "shape": shape,
        "plane": plane(result, moves, limits),
        "line": line(result, moves),
        "labels_on_line": sorted(
            {*problem.labels.tolist(), *(m.label_after for found in moves for m in found)}
        ),
        "corner_numbers": _corner_numbers(reading),
        "bounds": bounds_compared(result),
        "not_used": not_used(result),
        "data": _data(result, reading, rows),
    }


def _corner_numbers(reading: Reading) -> list[int]:
    """Return the corners that are listed: all, or some evenly among them."""
    count = 0 if reading.curve is None else len(reading.curve.radius)
    return sorted({round(v) for v in np.linspace(0, count - 1, min(count, CORNERS)).tolist()})


def _data(result: Sandwich, reading: Reading, rows: Sequence[Row]) -> dict[str, Any]:
    """Return what the script reads; infinite numbers as strings."""
    curve, cost = reading.curve, result.problem.cost
    data: dict[str, Any] = {
        "order": cost.order if cost.finite else "inf",
        "rows": [[row.radius, _plain(row.lower), _plain(row.upper)] for row in rows],
        "curve": None,
    }
    if curve is not None:
        data["curve"] = {
            "interpolation": curve.interpolation,
            "radius": curve.radius.tolist(),
            "budget": reading.budgets.tolist(),
            "lower": curve.lower.tolist(),
            "upper": curve.upper.tolist(),
            "slope": reading.slopes.tolist(),
            "final": list(curve.final_slope),
            "moved": None if reading.moved is None else reading.moved.tolist(),
        }
    return data


def _plain(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


def _assets() -> dict[str, Any]:
    """Return style and script as they stand in the page, and the policy that names them."""
    from markupsafe import Markup  # noqa: PLC0415  (comes with jinja2)

    folder = files("wdaverify.report")
    style, script = ((folder / name).read_text("utf-8") for name in ("report.css", "report.js"))
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; "
        f"script-src '{_hash(script)}'; base-uri 'none'; form-action 'none'"
    )
    return {
        "style": Markup(style),  # noqa: S704  (files of this package)
        "script": Markup(script),  # noqa: S704
        "policy": policy,
        "as_json": _as_json,
    }


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _as_json(data: dict[str, Any]) -> Any:  # noqa: ANN401  (a Markup; jinja2 may be missing)
    """Return JSON that cannot end the element it stands in."""
    from markupsafe import Markup  # noqa: PLC0415

    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704  (escaped above)
