"""Statistics of cells as JSON fields and as tables for people."""

from dataclasses import asdict
from typing import Any

from rich.console import RenderableType

from wdaverify.cells.statistics import Spread, Statistics
from wdaverify.cli.tables import plain_table

__all__ = ["count_table", "statistics_fields", "statistics_tables"]


def count_table(title: str, fields: dict[str, Any]) -> RenderableType:
    """Return the table of the counts."""
    names = ("cells", "bounded", "unbounded")
    return plain_table(title, ["", ""], [[name, f"{fields[name]:,}"] for name in names])


def statistics_fields(found: Statistics) -> dict[str, Any]:
    """Return the JSON fields; ``null`` where a number does not apply."""
    samples, shapes = found.samples, found.shapes
    volume = None
    if shapes is not None:
        volume = asdict(shapes.volume) | {"total": shapes.total, "support": shapes.support}
    return {
        "edges": found.edges,
        "neighbours": asdict(found.neighbours),
        "facets": None if shapes is None else asdict(shapes.facets),
        "vertices": None if shapes is None else asdict(shapes.vertices),
        "volume": volume,
        "inradius": None if found.inradius is None else asdict(found.inradius),
        "depth": asdict(found.depth),
        "cells_with_samples": samples.cells,
        "share_of_cells_with_samples": samples.share_of_cells,
        "samples_per_cell": asdict(samples.per_cell),
        "share_of_samples_alone": samples.alone,
        "share_of_volume_with_samples": samples.volume,
    }


def statistics_tables(found: Statistics) -> list[RenderableType]:
    """Return a table of spreads and one of single numbers; what does not apply is left out."""
    samples, shapes = found.samples, found.shapes
    spreads: list[tuple[str, Spread | None]] = [
        ("neighbours", found.neighbours),
        ("facets, the support's included", None if shapes is None else shapes.facets),
        ("vertices", None if shapes is None else shapes.vertices),
        ("volume", None if shapes is None else shapes.volume),
        ("inradius", found.inradius),
        ("steps to a cell with samples", found.depth),
        ("samples, where there are any", samples.per_cell),
    ]
    single: list[tuple[str, str | None]] = [
        ("edges", f"{found.edges:,}"),
        ("volumes together", _number(None if shapes is None else shapes.total)),
        ("volume of the support", _number(None if shapes is None else shapes.support)),
        ("cells with samples", f"{samples.cells:,}, {samples.share_of_cells:.2%}"),
        ("their share of the volume", None if samples.volume is None else f"{samples.volume:.2%}"),
        ("samples alone in their cell", f"{samples.alone:.2%}"),
    ]
    names = ["smallest", "median", "mean", "largest"]
    rows = [
        [name, *(f"{value:.4g}" for value in asdict(spread).values())]
        for name, spread in spreads
        if spread is not None
    ]
    return [
        plain_table("per cell", ["", *names], rows),
        plain_table("together", ["", ""], [pair for pair in single if pair[1] is not None]),
    ]


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.12g}"
