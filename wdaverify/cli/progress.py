r"""How far the work is, and how long the rest may take.

A stage that knows its total says which part is finished; if it goes on as it began,

.. math:: t_\text{left} = t\,\frac{1 - f}{f - f_0}

after the time :math:`t` in which the finished part went from :math:`f_0` to :math:`f`. A stage that
does not know its total (cells, the rounds of one radius) shows what it has done and its rate, and
no time left.
"""

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from wdaverify.limits import Limits

__all__ = ["Forecast", "duration", "shown"]

FIRST, EARLY = 0.02, 1.0
"""Part and seconds of a stage before which no time left is guessed."""

BACK: Final = 0.05
"""A finished part that shrinks by more than this is that of other work."""

SILENCE: Final = 30.0
"""Seconds between two lines where no bar can be drawn: a log should show that work goes on."""

BAR: Final = 12
"""Columns of the bar."""

RADIUS: Final = "radius "


class Forecast:
    """What is being done, which part of it is finished, and how long the rest may take.

    Parameters
    ----------
    limits
        Its clock, its time limit, and where the loops are.
    radii
        How many radii the exact engine will be asked about.
    clock
        Seconds; it need not begin at 0.
    """

    def __init__(
        self, limits: Limits, radii: int = 1, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.limits, self.radii, self.clock = limits, radii, clock
        self.name, self.words, self.more, self.finished = "starting", "", "", 0.0
        self._first, self._started = 0.0, clock()
        self._updated = self._started
        self._seen: list[str] = []
        self._count = (math.inf, 0.0, 0.0)

    def stage(self, stage: str, value: float) -> None:
        """Take what the library says: a stage, and its number.

        The number is a count for cells, the relative gap for a radius and the finished part of any
        other stage; NaN where there is none.
        """
        now = self.clock()
        name, radius = ("exact", stage) if stage.startswith(RADIUS) else (stage, "")
        if name != self.name:
            self.name, self.words = name, ""
            self._begin(0.0, now)
        self.more, inner = "", 0.0
        if stage == "cells":
            self.more = self._cells(value, now)
        elif radius:
            self.more = self._radius(radius, value)
        elif value == value:  # noqa: PLR0124  (not NaN)
            inner = value
        self._reach(self.limits.finished(inner), now)

    def detail(self, words: str, finished: float) -> None:
        """Take what loops deep inside say."""
        if words:
            self.words = words
        self._reach(finished, self.clock())

    def _reach(self, finished: float, now: float) -> None:
        """Note what is finished; where that is less than it was, something else has begun."""
        if finished < self.finished - BACK:
            self._begin(finished, now)
        self.finished, self._updated = finished, now

    def _begin(self, finished: float, now: float) -> None:
        self._first, self._started, self._updated, self.finished = finished, now, now, finished

    @property
    def left(self) -> float | None:
        """Seconds that the stage may still take, ``None`` where nobody can say."""
        spent = self._updated - self._started
        done = self.finished - self._first
        if spent < EARLY or not FIRST <= done <= 1.0:
            return None
        return max(0.0, spent * (1.0 - self.finished) / done - (self.clock() - self._updated))

    def line(self) -> str:
        """Return all of it in a line, what matters most first."""
        left, parts = self.left, [self.name]
        if self.finished >= FIRST:
            parts[0] += f" {min(self.finished, 1.0):.0%}"
        if left is not None and left >= 1.0:
            parts[0] += f", about {duration(left)} left"
        if self.limits.stop.is_set():
            parts.insert(0, "stopping, Ctrl-C again ends at once")
        elif math.isfinite(self.limits.seconds):
            rest = max(0.0, self.limits.seconds - self.limits.elapsed)
            parts.append(f"limit in {duration(rest)}")
        return " · ".join(part for part in (*parts, self.more, self.words) if part)

    def _radius(self, radius: str, gap: float) -> str:
        """Return which of the radii it is, and how far its bounds are apart."""
        if radius not in self._seen:
            self._seen.append(radius)
        place = f" ({len(self._seen)} of {self.radii})" if self.radii > 1 else ""
        known = f", relative gap {gap:.1e}" if gap == gap else ""  # noqa: PLR0124  (not NaN)
        return f"{radius}{place}{known}"

    def _cells(self, count: float, now: float) -> str:
        """Return how many cells are found, and how fast."""
        last, before, start = self._count
        if count < last:  # an enumeration begins
            before, start = count, now
        self._count = count, before, start
        words = f"{count:,.0f} found"
        if now > start + 0.5:
            words += f", {(count - before) / (now - start):,.0f} cells/s"
        return words


class _Teller:
    """Takes what is said and passes it on; on no terminal a line now and then."""

    def __init__(self, forecast: Forecast, write: Callable[[str], None] | None) -> None:
        self.forecast, self._write = forecast, write
        self._next = forecast.clock() + SILENCE

    def stage(self, stage: str, value: float) -> None:
        self.forecast.stage(stage, value)
        self._tell()

    def detail(self, words: str, finished: float) -> None:
        self.forecast.detail(words, finished)
        self._tell()

    def _tell(self) -> None:
        now = self.forecast.clock()
        if self._write is not None and now >= self._next:
            self._next = now + SILENCE
            passed = duration(self.forecast.limits.elapsed)
            self._write(f"wdaverify: {passed}: {self.forecast.line()}\n")


@contextmanager
def shown(forecast: Forecast, *, quiet: bool) -> Iterator[_Teller]:
    """Show a bar on a terminal, a line every half minute elsewhere, and nothing when quiet.

    All of it goes to standard error.
    """
    console = Console(stderr=True)
    if quiet or not sys.stderr.isatty() or console.is_dumb_terminal:
        yield _Teller(forecast, None if quiet else _write_line)
        return
    with Live(_Display(forecast), console=console, transient=True, refresh_per_second=10):
        yield _Teller(forecast, None)


def _write_line(line: str) -> None:
    sys.stderr.write(line)


class _Display:
    """One line of a terminal: that it lives, time passed, a bar, the rest in words."""

    def __init__(self, forecast: Forecast) -> None:
        self.forecast, self._spinner = forecast, Spinner("dots", style="progress.spinner")

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        forecast = self.forecast
        done = round(BAR * min(1.0, forecast.finished)) if forecast.finished >= FIRST else 0
        spinner = self._spinner.render(console.get_time())
        line = Text.assemble(
            spinner if isinstance(spinner, Text) else str(spinner),
            f" {_clock(forecast.limits.elapsed)} ",
            ("━" * done, "bar.complete"),
            ("━" * (BAR - done), "bar.back"),
            f" {forecast.line()}",
        )
        line.truncate(options.max_width - 1, overflow="ellipsis")
        yield line


def duration(seconds: float) -> str:
    """Return a time in words: ``8 s``, ``3 min 20 s``, ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 3600:
        return f"{round(whole / 60)} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _clock(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600}:{whole % 3600 // 60:02}:{whole % 60:02}"
