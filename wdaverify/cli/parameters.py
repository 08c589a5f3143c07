"""Types of arguments: what a shell may complete, and files that must be writable before work."""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import click
from click.shell_completion import CompletionItem

from wdaverify.errors import ProblemError
from wdaverify.storage.files import check_place

__all__ = ["OutputFile", "ProblemPath", "Words", "picture"]

MOST: Final = 500
"""Entries of a folder that are looked at before the shell's own completion is better."""

WRITTEN: Final = "wdaverify.written"
"""Where the context keeps the files that a command line names for writing."""


class Words(click.types.StringParamType):
    """Any text; a shell completes the words that are known.

    What else is typed is refused by those who read it, who know the file that it came from.
    """

    def __init__(self, words: Iterable[str]) -> None:
        self.words = tuple(words)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str  # noqa: ARG002
    ) -> "list[CompletionItem[Any]]":  # fmt: skip
        """Return the words that begin like this."""
        return [CompletionItem(word) for word in self.words if word.startswith(incomplete)]


class ProblemPath(click.Path):
    """A problem: a folder that has a problem.toml, or such a file."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str  # noqa: ARG002
    ) -> "list[CompletionItem[Any]]":  # fmt: skip
        """Return problems here, else one folder further down, else any folder."""
        found = sorted(_problems(incomplete))
        if not found:
            return [CompletionItem(incomplete, type="dir")]
        return [CompletionItem(name) for name in found]


class OutputFile(click.Path):
    """A file to write: whether that is possible turns out before the work, not after it.

    Parameters
    ----------
    check
        Looks at the name, and raises if it does not suit.
    """

    def __init__(self, *, check: Callable[[Path], object] | None = None, **more: Any) -> None:  # noqa: ANN401
        super().__init__(dir_okay=True, **({"path_type": Path} | more))
        self.check = check

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None  # noqa: ANN401
    ) -> Any:  # fmt: skip  # noqa: ANN401
        """Return the path.

        Raises
        ------
        ProblemError
            It cannot be written, its suffix does not suit, or another result goes there.
        """
        path = super().convert(value, param, ctx)
        if ctx is None or ctx.resilient_parsing or (self.allow_dash and str(path) == "-"):
            return path
        place = Path(os.fsdecode(path))
        if self.check is not None:
            self.check(place)
        check_place(place)
        written = ctx.meta.setdefault(WRITTEN, {})
        other = written.setdefault(place.resolve(), param)
        if other is not param and (place.is_file() or not place.exists()):
            raise ProblemError(f"{place}: expected one result for each file, found two")
        return path


def picture(path: Path) -> None:
    """Refuse pictures of no known format."""
    from wdaverify.plot.saving import check_suffix  # noqa: PLC0415  (matplotlib is slow to import)

    check_suffix(path)


def _problems(prefix: str) -> Iterator[str]:
    """Return problems whose paths begin with a prefix, down to the second level."""
    base, start = os.path.split(prefix)
    near = [name for name in _names(base) if name.startswith(start)]
    here = [os.path.join(base, name) for name in near]  # noqa: PTH118  ("./x" is to stay so)
    yield from (path for path in here if _is_problem(path))
    if not any(_is_problem(path) for path in here):
        for path in here:
            deeper = (os.path.join(path, name) for name in _names(path))  # noqa: PTH118
            yield from (found for found in deeper if _is_problem(found))


def _names(folder: str) -> list[str]:
    """Return what a folder holds, hidden names left out."""
    try:
        names = sorted(os.listdir(os.path.expanduser(folder) or "."))[:MOST]  # noqa: PTH111, PTH208
    except OSError:
        return []
    return [name for name in names if not name.startswith(".")]


def _is_problem(name: str) -> bool:
    path = Path(name).expanduser()
    try:
        if path.suffix == ".toml":
            return path.is_file() and "\nnetwork" in "\n" + path.read_text("utf-8")[:4096]
        return (path / "problem.toml").is_file()
    except (OSError, UnicodeDecodeError):
        return False
