"""``wdaverify verify``: the main job."""

import math
from pathlib import Path
from typing import Any

import click

from wdaverify.bounds.certificate import constants_of
from wdaverify.cli import options
from wdaverify.cli.help import Command, Example
from wdaverify.cli.report import page_of, report_option, write_page
from wdaverify.cli.session import Session
from wdaverify.cli.tables import sandwich_table, summary
from wdaverify.errors import CheckFailedError
from wdaverify.storage import Expected
from wdaverify.tolerances import EXACT, scale
from wdaverify.verification import Sandwich, sandwich

__all__ = ["verify"]


@click.command(
    cls=Command,
    examples=(
        Example("All radii of the file", "wdaverify verify problems/iris"),
        Example(
            "One radius, with a picture and all digits in a file",
            "wdaverify verify problems/moons --radius 0.05 --plot moons.png --json moons.json",
        ),
        Example(
            "A page to read, to keep and to send",
            "wdaverify verify problems/moons --report moons.html",
        ),
        Example(
            "The worst accuracy instead of the worst loss",
            "wdaverify verify problems/moons --loss zero-one",
        ),
        Example(
            "Half a minute at most, then the bounds that are known",
            "wdaverify verify problems/breast --samples 20 --time-limit 30",
        ),
    ),
)
@options.problem
@options.question
@options.compute
@options.sampling
@options.plot("Draw value against radius with the band between the bounds.")
@report_option
@options.output
def verify(problem: Path, plot: Path | None, report: Path | None, **given: Any) -> None:  # noqa: ANN401
    """Print attack ≤ exact ≤ certificate for every radius.

    The exact worst-case expected loss over all distributions within each Wasserstein radius of
    the data, framed by bounds that do not share its code. Exit code 1 if they contradict each
    other or miss a value that the problem expects.
    """
    session = Session("verify", problem, given)
    with session.progress() as progress:
        result = sandwich(
            session.problem,
            session.stored.radii,
            engine=given["engine"],
            workers=given["workers"],
            tolerance=given["tolerance"],
            seed=given["seed"],
            device=given["device"],
            limits=session.limits,
            progress=progress,
            checkpoint=session.checkpoint(),
        )
        page = None if report is None else page_of(session, result, progress)
    session.print(sandwich_table(result))
    for line in summary(result):
        session.note(line)
    missed = _missed(result, session.stored.expected)
    if session.stored.expected is not None and not missed and result.stopped is None:
        session.note(f"expected values confirmed: {session.stored.expected.source}")
    session.write(_fields(result, given["seed"], session.stored.expected))
    if plot is not None:
        from wdaverify.plot.saving import save_sandwich  # noqa: PLC0415  (matplotlib is slow)

        save_sandwich(result, plot)
        session.note(f"plot: {plot}")
    if report is not None and page is not None:
        write_page(session, page, report)
    if missed:
        session.done()
        raise CheckFailedError(missed)
    interrupted = "curve of the report: interrupted" if session.limits.stop.is_set() else None
    session.finish(result.stopped or interrupted)


def _missed(result: Sandwich, expected: Expected | None) -> str:
    """Return a sentence for the first expected value outside its bracket, or an empty string."""
    if expected is None:
        return ""
    for row, value in zip(result.rows, expected.values, strict=True):
        room = EXACT * scale(value) if math.isfinite(value) else 0.0
        if not row.lower - room <= value <= row.upper + room:
            return (
                f"radius {row.radius:g}: expected {value:.17g} ({expected.source}), "
                f"found [{row.lower:.17g}, {row.upper:.17g}]"
            )
    return ""


def _fields(result: Sandwich, seed: int, expected: Expected | None) -> dict[str, Any]:
    rows = [
        {
            "radius": row.radius,
            "attack": row.attack,
            "lower": row.lower,
            "upper": row.upper,
            "certificate": row.certificate,
            "certificate_method": row.certificate_method,
            "attained": row.attained,
            "status": row.status,
            "gap": row.gap,
            "multiplier": None if row.exact is None else row.exact.multiplier,
        }
        for row in result.rows
    ]
    return {
        "nominal": result.nominal,
        "rows": rows,
        "lower_bounds": result.lower_bounds,
        "upper_bounds": result.upper_bounds,
        "constants": constants_of(result.certificates),
        "asymptotic_slope": None if result.slope is None else result.slope.lower,
        "tight": result.tight,
        "counts": result.counts,
        "stages": result.seconds,
        "engine": result.engine.engine,
        "seed": seed,
        "expected": None if expected is None else list(expected.values),
        "stopped": result.stopped,
    }
