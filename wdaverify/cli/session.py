"""What every command does around its work: read, show progress, stop cleanly, print, write."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.text import Text

from wdaverify.checkpoint import Checkpoint, cache_folder, cached, remove_old
from wdaverify.cli.interrupt import listen
from wdaverify.cli.progress import Forecast, shown
from wdaverify.cli.terminal import Screen
from wdaverify.errors import LimitReached, UnsupportedError
from wdaverify.exact.engine import Choice
from wdaverify.limits import Limits
from wdaverify.storage import Overrides, StoredProblem, load_stored, write_json
from wdaverify.units import Units
from wdaverify.workers.cluster import dask_cluster

__all__ = ["Session", "json_head"]

SCHEMA = "wdaverify/1"

AGAIN = "run again with --resume to go on"

SHAPING = ("engine", "tolerance", "seed", "device")
"""Options beside the question on which results depend."""


def json_head(
    command: str, started: float, problem: str | None, notes: Sequence[str] = ()
) -> dict[str, Any]:
    """Return what every JSON file begins with.

    Parameters
    ----------
    started
        When the command began, by the monotonic clock.
    """
    seconds = round(time.monotonic() - started, 6)
    return {
        "schema": SCHEMA,
        "command": command,
        "problem": problem,
        "seconds": seconds,
        "notes": list(notes),
    }


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
        self.console = Screen(stderr=self.json_file == "-")
        self.limits = Limits(
            seconds=options.get("time_limit", float("inf")),
            gigabytes=options.get("memory_limit", float("inf")),
            cells=options.get("max_cells") or float("inf"),
        )
        self._checkpoint: Checkpoint | None = None
        for note in self.stored.notes:
            self.note(note)

    def checkpoint(self) -> Checkpoint:
        """Return the checkpoint of this command, question and options, in the cache."""
        options = {name: self.options[name] for name in SHAPING if name in self.options}
        options |= {"command": self.command, "radii": [float(r) for r in self.stored.radii]}
        resume: bool = self.options["resume"]
        remove_old(cache_folder())
        path = cached(self.problem, options)
        self._checkpoint = Checkpoint(path, self.problem, options, resume=resume)
        self._tell()
        return self._checkpoint

    def _tell(self) -> None:
        """Print what the checkpoint has to say."""
        while self._checkpoint is not None and self._checkpoint.notes:
            self.note(self._checkpoint.notes.pop(0))

    def _again(self) -> str:
        """Return how to go on, where that is possible, as the end of a sentence."""
        kept = self._checkpoint is not None and self._checkpoint.written
        return f"; {AGAIN}" if kept else ""

    def done(self) -> None:
        """Remove the checkpoint: the work is done and its result is out."""
        if self._checkpoint is not None:
            self._checkpoint.close(done=True)
        self._tell()

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

    @property
    def units(self) -> Units:
        """The question in units in which its norm is plain."""
        return Units.of(self.problem)

    def print(self, *objects: Any) -> None:  # noqa: ANN401
        """Print for people, unless quiet."""
        if not self.quiet:
            self.console.print(*objects)

    def note(self, text: str) -> None:
        """Print a remark, dimmed."""
        self.print(Text(text, style="dim"))

    @contextmanager
    def progress(self) -> Iterator[Callable[[str, float], None]]:
        """Show how far the work is; turn the first Ctrl-C into a stop at the next check."""
        forecast = Forecast(self.limits, len(self.stored.radii))
        try:
            listen(self.limits)
            with shown(forecast, quiet=self.quiet) as tell, dask_cluster(self.options.get("dask")):
                self.limits.watch.append(tell.detail)
                yield tell.stage
        except UnsupportedError as error:
            raise UnsupportedError(f"{self.stored.path}: {error}") from None
        except LimitReached as reached:
            again = self._again()
            if not again:
                raise
            raise LimitReached(f"{reached}{again}") from None
        else:
            if self._checkpoint is not None:
                self._checkpoint.settle()
        finally:
            self.limits.watch.clear()
            self.limits.parts.clear()
            if self._checkpoint is not None and sys.exc_info()[0] is not None:
                self._checkpoint.close()
            self._tell()

    def write(self, fields: dict[str, Any]) -> None:
        """Write the JSON result where it was asked for."""
        if self.json_file is None:
            return
        head = json_head(self.command, self.started, self.problem.name, self.stored.notes)
        write_json(self.json_file, head | fields)

    def finish(self, stopped: LimitReached | str | None) -> None:
        """End with exit code 3 where a limit stopped the work.

        Raises
        ------
        LimitReached
            With what stopped it.
        """
        if stopped is not None:
            again = self._again()
            if self._checkpoint is not None:
                self._checkpoint.close()
            raise LimitReached(f"stopped early, the bounds printed are valid: {stopped}{again}")
        self.done()
