"""Numbers for people: a value is printed to as many digits as its bracket knows."""

import math
from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from wdaverify.exact.value import ExactValue
from wdaverify.sandwich import Row, Sandwich

__all__ = ["figure", "gap", "plain_table", "sandwich_table", "summary"]


def figure(value: float) -> str:
    """Format a bound to ten significant digits."""
    return "∞" if value == math.inf else "−∞" if value == -math.inf else f"{value:.10g}"


def gap(value: float) -> str:
    """Format a gap."""
    return "∞" if value == math.inf else f"{max(value, 0.0):.1e}"


def sandwich_table(result: Sandwich) -> Table:
    """Return attack ≤ exact ≤ certificate, one row per radius."""
    table = Table(
        title=f"{result.problem.name}: worst-case expected {result.problem.loss.name} loss",
        title_justify="left",
        caption=_question(result),
        caption_justify="left",
    )
    for name in ("radius ε", "attack ≤", "exact value", "≤ certificate", "gap"):
        table.add_column(name, justify="right")
    for name in ("certificate by", "status"):
        table.add_column(name)
    for row in result.rows:
        table.add_row(
            f"{row.radius:g}",
            figure(row.attack),
            _exact(row),
            figure(row.certificate),
            gap(row.gap),
            row.certificate_method,
            _status(row.status, row.attained),
        )
    return table


def _exact(row: Row) -> str:
    if row.status == "exact":
        return figure(row.upper)
    return f"[{figure(row.lower)}, {figure(row.upper)}]"


def _status(status: str, attained: bool | None) -> Text:
    style = {"exact": "green", "bracket": "yellow"}.get(status, "red")
    words = status + (", not attained" if attained is False else "")
    return Text(words, style=style)


def _question(result: Sandwich) -> str:
    problem = result.problem
    return (
        f"{problem.cost.describe()} · support: {problem.support.describe()} · {len(problem)} samples "
        f"· nominal risk {figure(result.nominal)}"
    )


def summary(result: Sandwich) -> list[str]:
    """Return what else a person wants to know, a line each."""
    lines = []
    counts = result.counts
    if counts:
        lines.append(
            f"{counts['cells']:,} cells, {counts['pieces']:,} pieces, "
            f"{counts['programs']:,} linear programs for {counts['suprema']:,} suprema"
        )
    constants = {c.method: c.constant for c in result.certificates}
    words = [f"{method} {value:.6g}" for method, value in constants.items()]
    if result.slope is not None:
        words.append(f"asymptotic slope {result.slope.lower:.6g}")
    lines.append("Lipschitz constants: " + ", ".join(words))
    if result.tight is not None:
        lines.append(
            "the cell certificate is tight: the value is nominal risk + radius × constant"
            if result.tight
            else "the cell certificate is not tight: its slope exceeds the asymptotic slope"
        )
    seconds = ", ".join(f"{stage} {value:.2f} s" for stage, value in result.seconds.items())
    lines.append(f"time: {seconds}")
    return lines


def plain_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Table:
    """Return a table of right-aligned columns."""
    table = Table(title=title, title_justify="left")
    for name in columns:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*(value if isinstance(value, Text) else str(value) for value in row))
    return table


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
