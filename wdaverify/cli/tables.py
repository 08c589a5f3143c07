"""Numbers for people: a value is printed to as many digits as its bracket knows."""

import math
from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from wdaverify.bounds.certificate import constants_of
from wdaverify.cli.sheet import Sheet
from wdaverify.exact.answer import ExactValue
from wdaverify.problem import Problem
from wdaverify.verification import Sandwich

__all__ = ["exact_row", "figure", "gap", "plain_table", "sandwich_table", "summary"]


def figure(value: float) -> str:
    """Format a bound to eight significant digits; JSON has all of them."""
    return "∞" if value == math.inf else "−∞" if value == -math.inf else f"{value:.8g}"


def gap(value: float) -> str:
    """Format a gap."""
    return "∞" if value == math.inf else f"{max(value, 0.0):.0e}"


def sandwich_table(result: Sandwich) -> RenderableType:
    """Return attack ≤ exact ≤ certificate, one row per radius."""
    table = _table()
    exact = all(row.status == "exact" for row in result.rows)
    middle = ("≤ exact ≤",) if exact else ("≤ lower", "upper ≤")
    last = ("time",) if exact else ()
    for name in ("radius", "attack", *middle, "certificate", "gap", *last):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("status", no_wrap=True)
    for row in result.rows:
        table.add_row(
            f"{row.radius:g}",
            figure(row.attack),
            *([figure(row.upper)] if exact else [figure(row.lower), figure(row.upper)]),
            figure(row.certificate),
            gap(row.gap),
            *([f"{row.seconds:.2f} s"] if exact else []),
            _status(row.status, row.attained),
        )
    title = f"{result.problem.name}: worst-case expected {result.problem.loss.name} loss"
    return Group(_title(title), Sheet(table), Text(_question(result), style="dim"))


def _title(title: str) -> Text:
    return Text(title, style="bold")


def _table() -> Table:
    return Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))


def _status(status: str, attained: bool | None) -> Text:  # noqa: FBT001
    style = {"exact": "green", "bracket": "yellow"}.get(status, "red")
    return Text(status + ("*" if attained is False else ""), style=style)


def _question(result: Sandwich) -> str:
    problem = result.problem
    words = (
        f"{problem.cost.describe()} · {problem.support.describe()} · {_samples(problem)} · "
        f"nominal risk {figure(result.nominal)}"
    )
    if any(row.status == "unbounded" for row in result.rows):
        words += "\n* unbounded: mass may come arbitrarily near a tie of three logits"
    elif any(row.attained is False for row in result.rows):
        words += "\n* approached, not attained: mass wants to travel ever farther"
    return words


def _samples(problem: Problem) -> str:
    return f"{len(problem)} sample" + ("s" if len(problem) > 1 else "")


def summary(result: Sandwich) -> list[str]:
    """Return what else a person wants to know, a line each."""
    lines = []
    counts = result.counts
    if counts:
        size = [f"{counts[name]:,} {name}" for name in ("cells", "pieces", "nodes") if counts[name]]
        lines.append(
            f"engine {result.engine.engine} ({result.engine.reason}): {', '.join(size)}, "
            f"{counts['programs']:,} programs for {counts['suprema']:,} suprema"
        )
    methods = {row.certificate_method for row in result.rows}
    constants = [f"{name} {c:.6g}" for name, c in constants_of(result.certificates).items()]
    known = f"; Lipschitz constants: {', '.join(constants)}" if constants else ""
    lines.append(f"certificate: {', '.join(sorted(methods))}{known}")
    if result.verdict is not None:
        lines.append(result.verdict.describe())
    seconds = ", ".join(f"{stage} {value:.2f} s" for stage, value in result.seconds.items())
    lines.append(f"time: {seconds}")
    return lines


def plain_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]
) -> RenderableType:
    """Return a table of right-aligned columns."""
    table = _table()
    table.show_header = any(columns)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*(value if isinstance(value, Text) else str(value) for value in row))
    return Group(_title(title), Sheet(table))


def exact_row(value: ExactValue) -> list[Any]:
    """Return the cells of one row of ``wdaverify exact``."""
    multiplier = "–" if value.multiplier is None else f"{value.multiplier:.8g}"
    return [
        f"{value.radius:g}",
        figure(value.lower),
        figure(value.upper),
        gap(value.gap),
        multiplier,
        _status(value.status, value.attained),
    ]
