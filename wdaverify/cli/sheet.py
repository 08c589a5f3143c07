"""A table that never cuts a number: where the terminal is too narrow, one row after the other."""

from collections.abc import Iterator

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

__all__ = ["Sheet"]


class Sheet:
    """A table whose rows become short lists where it does not fit.

    Parameters
    ----------
    table
        Of strings and texts.
    """

    def __init__(self, table: Table) -> None:
        self.table = table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide = options.update_width(10_000)
        if Measurement.get(console, wide, self.table).maximum <= options.max_width:
            yield self.table
        else:
            yield from self._records(console)

    def _records(self, console: Console) -> Iterator[Text]:
        """Yield ``name  value`` for every cell, a blank line after each row."""
        names = [console.render_str(str(column.header)) for column in self.table.columns]
        width = max(len(name) for name in names)
        cells = zip(*(column.cells for column in self.table.columns), strict=True)
        for row in cells:
            yield Text()
            for name, cell in zip(names, row, strict=True):
                value = cell if isinstance(cell, Text) else console.render_str(str(cell))
                padding = Text(" " * (width - len(name) + 2))
                yield Text.assemble(name, padding, value, no_wrap=True, overflow="ignore")
