"""What every command does around its work: read, show progress, stop cleanly, print, write."""

import math
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from wdaverify.errors import LimitReached, UnsupportedError, WDAVerifyError
from wdaverify.exact.engine import Choice
from wdaverify.limits import Limits
from wdaverify.storage import Overrides, StoredProblem, load_stored, write_json
from wdaverify.workers.cluster import dask_cluster

__all__ = ["CheckFailedError", "Session"]

SCHEMA = "wdaverify/1"


class CheckFailedError(WDAVerifyError):
    """A known answer was missed."""


class Session:
    """One command: its problem, limits, progress and output.

    Parameters
    ----------
    command
        Name of the command, for the JSON.
    path
        Problem folder or file.
    options
        All options of the command by name.
    """

    def __init__(self, command: str, path: Path, options: dict[str, Any]) -> None:
        self.command, self.options = command, options
        self.started = time.monotonic()
        self.stored = self._load(path)
        self.problem = self.stored.problem
        self.json_file: str | None = options.get("json_file")
        self.quiet: bool = options.get("quiet", False)
        self.engine = Choice("auto", "not chosen yet")
        self.console = Console(stderr=self.json_file == "-", highlight=False)
        self.limits = Limits(
            seconds=options.get("time_limit", float("inf")),
            gigabytes=options.get("memory_limit", float("inf")),
            cells=options.get("max_cells") or float("inf"),
        )
        for note in self.stored.notes:
            self.note(note)

    def _load(self, path: Path) -> StoredProblem:
        given = self.options
        return load_stored(
            path,
            overrides=Overrides(
                radii=given.get("radii") or None,
                loss=given.get("loss"),
                norm=given.get("norm"),
                order=given.get("order"),
                label_cost=given.get("label_cost"),
                samples=given.get("samples"),
            ),
        )

    def print(self, *objects: Any) -> None:  # noqa: ANN401
        """Print for people, unless quiet."""
        if not self.quiet:
            self.console.print(*objects)

    def note(self, text: str) -> None:
        """Print a remark, dimmed."""
        self.print(Text(text, style="dim"))

    @contextmanager
    def progress(self) -> Iterator[Callable[[str, float], None]]:
        """Show a spinner on a terminal; turn the first Ctrl-C into a stop at the next check."""
        bar = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(),
            console=Console(stderr=True), transient=True,
            disable=self.quiet or not sys.stderr.isatty(),
        )  # fmt: skip
        previous = signal.getsignal(signal.SIGINT)

        def interrupt(_: int, __: FrameType | None) -> None:
            self.limits.stop.set()
            signal.signal(signal.SIGINT, previous)

        signal.signal(signal.SIGINT, interrupt)
        try:
            with bar, dask_cluster(self.options.get("dask")):
                task, phrase = bar.add_task("starting"), _Phrase()
                self.limits.watch.append(
                    lambda words: bar.update(task, description=f"{phrase.last} · {words}")
                )
                yield lambda stage, value: bar.update(task, description=phrase(stage, value))
        except UnsupportedError as error:
            raise UnsupportedError(f"{self.stored.path}: {error}") from None
        finally:
            signal.signal(signal.SIGINT, previous)
            self.limits.watch.clear()

    def write(self, fields: dict[str, Any]) -> None:
        """Write the JSON result where it was asked for."""
        if self.json_file is None:
            return
        head = {
            "schema": SCHEMA,
            "command": self.command,
            "problem": self.problem.name,
            "seconds": round(time.monotonic() - self.started, 6),
            "notes": list(self.stored.notes),
        }
        write_json(self.json_file, head | fields)

    def finish(self, stopped: LimitReached | str | None) -> None:
        """End with exit code 3 where a limit stopped the work.

        Raises
        ------
        LimitReached
            With what stopped it.
        """
        if stopped is not None:
            raise LimitReached(f"stopped early, the bounds printed are valid: {stopped}")


class _Phrase:
    """What a stage and its number mean; cells have a rate since their enumeration began."""

    def __init__(self) -> None:
        self._first = (0.0, 0.0)
        self._last = math.inf
        self.last = "searching"

    def __call__(self, stage: str, value: float) -> str:
        self.last = self._words(stage, value)
        return self.last

    def _words(self, stage: str, value: float) -> str:
        if stage == "attack":
            return f"attack {value:.0%}"
        if stage == "cells":
            return f"cells: {value:,.0f} found{self._rate(value)}"
        return f"{stage}: relative gap {value:.1e}" if value == value else stage  # noqa: PLR0124 (NaN)

    def _rate(self, cells: float) -> str:
        now = time.monotonic()
        if cells < self._last:  # an enumeration begins
            self._first = now, cells
        self._last = cells
        start, before = self._first
        return f", {(cells - before) / (now - start):,.0f} cells/s" if now > start + 0.5 else ""
