"""Help that teaches: options in sections, examples that run, commands by what they are for."""

import codecs
import re
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Any, Final, NamedTuple

import click
from click.shell_completion import CompletionItem

from wdaverify.cli.terminal import plain

__all__ = ["Command", "Example", "Group", "Lazy", "write_examples"]

SECTIONS: Final = {
    "Question": ("radii", "loss", "norm", "order", "label_cost", "samples"),
    "": (),
    "Work": ("engine", "tolerance", "seed", "device", "workers", "backend", "resume"),
    "Limits": ("time_limit", "memory_limit", "max_cells"),
    "Output": ("out", "plot", "report", "graph", "json_file", "quiet", "version", "help"),
}
"""Options by section, in the order of the page; under "" stand those of the command alone."""

WIDEST: Final = 100
"""Columns that help takes at most: longer lines are hard to read."""


RANGE: Final = re.compile(r"; x[<>]=?[\d.e-]+(?=\])|  \[x[<>]=?[\d.e-]+\]")
"""What click adds about the numbers that an option takes; an error says it when it matters."""


class Example(NamedTuple):
    """One line to type, and what it is good for."""

    purpose: str
    line: str


class Lazy(NamedTuple):
    """A command that is imported when it is needed; the summary stands in the group's help."""

    section: str
    place: str
    summary: str

    def load(self) -> click.Command:
        """Import the command, ``module:attribute`` under ``wdaverify.cli``."""
        module, _, name = self.place.partition(":")
        command = getattr(import_module(f"wdaverify.cli.{module}"), name)
        assert isinstance(command, click.Command)
        return command


class _Page(click.Command):
    """What both kinds of help have in common: arguments before options, ASCII where need be."""

    def get_help(self, ctx: click.Context) -> str:
        """Return the page; click would send UTF-8 to a stream that is not made for it."""
        text = super().get_help(ctx)
        ascii_only = codecs.lookup(sys.stdout.encoding or "ascii").name == "ascii"
        return plain(text) if ascii_only else text

    def _usage(self, pieces: list[str]) -> list[str]:
        options = [piece for piece in pieces if piece == "[OPTIONS]"]
        return [piece for piece in pieces if piece != "[OPTIONS]"] + options


class Command(_Page):
    """A command whose help has sections and examples.

    Parameters
    ----------
    section
        Heading of the options that no other command has.
    examples
        Each of them runs in the folder that holds ``problems``.
    """

    def __init__(
        self,
        *given: Any,  # noqa: ANN401  (passed on to click)
        section: str = "Options",
        examples: Sequence[Example] = (),
        **more: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(*given, **more)
        self.section, self.examples = section, tuple(examples)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Return what stands behind the command in the first line: options come last."""
        return self._usage(super().collect_usage_pieces(ctx))

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a list of options for each section."""
        place = {name: title for title, names in SECTIONS.items() for name in names}
        lists: dict[str, list[tuple[str, str]]] = {title: [] for title in SECTIONS}
        for title, names in SECTIONS.items():
            own = [o for o in self._options(ctx) if place.get(_name(o), "") == title]
            for option in sorted(own, key=lambda o: _rank(names, _name(o))):
                record = option.get_help_record(ctx)
                if record is not None:
                    lists[title].append((record[0], RANGE.sub("", record[1])))
        widest = max(len(name) for rows in lists.values() for name, _ in rows)
        for title, rows in lists.items():
            if rows:
                with formatter.section(heading(title or self.section)):
                    padded = [(f"{name:{min(widest, 26)}}", text) for name, text in rows]
                    formatter.write_dl(padded, col_max=26)

    def _options(self, ctx: click.Context) -> list[click.Option]:
        return [p for p in self.get_params(ctx) if isinstance(p, click.Option)]

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        write_examples(formatter, self.examples)
        super().format_epilog(ctx, formatter)


class Group(_Page, click.Group):
    """Commands in sections, imported when they are used.

    Parameters
    ----------
    lazy
        Commands by name, in the order of the page.
    examples
        What to type first.
    """

    def __init__(
        self,
        *given: Any,  # noqa: ANN401  (passed on to click)
        lazy: dict[str, Lazy],
        examples: Sequence[Example] = (),
        **more: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(*given, **more)
        self.lazy, self.examples = lazy, tuple(examples)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the page."""
        return [*self.lazy, *(name for name in super().list_commands(ctx) if name not in self.lazy)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, imported now if it is not yet."""
        if cmd_name in self.lazy and cmd_name not in self.commands:
            self.add_command(self.lazy[cmd_name].load(), cmd_name)
        return super().get_command(ctx, cmd_name)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return what stands behind the program in the first line."""
        return ["COMMAND", "PROBLEM", "[OPTIONS]"]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write first steps, the commands by section, and the options."""
        write_examples(formatter, self.examples, "First steps")
        self.format_commands(ctx, formatter)
        records = [p.get_help_record(ctx) for p in self.get_params(ctx)]
        with formatter.section(heading("Options")):
            formatter.write_dl([_padded(record, 14) for record in records if record is not None])

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a list of commands for each section, without importing them."""
        known = {name: (found.section, found.summary) for name, found in self.lazy.items()}
        for name in self.list_commands(ctx):
            if name not in known:
                known[name] = "Other", self.commands[name].get_short_help_str(80)
        for title in dict.fromkeys(section for section, _ in known.values()):
            rows = [(name, text) for name, (section, text) in known.items() if section == title]
            with formatter.section(heading(title)):
                formatter.write_dl([_padded(row, 14) for row in rows])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem[Any]]":
        """Return names of commands with their summaries, without importing them, and options."""
        if not incomplete[:1].isalnum() and incomplete:
            return click.Command.shell_complete(self, ctx, incomplete)
        return [
            CompletionItem(name, help=self.lazy[name].summary if name in self.lazy else None)
            for name in self.list_commands(ctx)
            if name.startswith(incomplete)
        ]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is named; a name like it is proposed where there is none."""
        name = args[0]
        if name[:1].isalpha() and self.get_command(ctx, name) is None:
            if ctx.resilient_parsing:
                return None, None, args[1:]
            raise click.UsageError(_unknown(name, self.list_commands(ctx)), ctx)
        return super().resolve_command(ctx, args)


def heading(text: str) -> str:
    """Return a heading in bold; click takes that away where it is not printed on a terminal."""
    return click.style(text, bold=True)


def write_examples(
    formatter: click.HelpFormatter, examples: Iterable[Example], title: str = "Examples"
) -> None:
    """Write each example as its purpose and, indented below it, the line to type."""
    rows = list(examples)
    if not rows:
        return
    with formatter.section(heading(title)):
        for purpose, line in rows:
            formatter.write_text(purpose)
            formatter.write(f"{'':{formatter.current_indent + 2}}{click.style(line, fg='cyan')}\n")


def _name(option: click.Option) -> str:
    return "help" if "--help" in option.opts else str(option.name)


def _rank(names: Sequence[str], name: str) -> int:
    return names.index(name) if name in names else len(names)


def _padded(row: tuple[str, str], width: int) -> tuple[str, str]:
    return f"{row[0]:{width}}", row[1]


def _unknown(name: str, known: Sequence[str]) -> str:
    from wdaverify.storage.places import suggestion  # noqa: PLC0415  (storage imports numpy)

    names = f": expected one of {', '.join(known)}"
    return f"No such command {name!r}{suggestion(name, known) or names}"
