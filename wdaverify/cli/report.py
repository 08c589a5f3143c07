"""``verify --report``: the page, and the words that were typed to make it."""

from collections.abc import Sequence
from pathlib import Path

import click
from click.core import ParameterSource

from wdaverify.cli.parameters import OutputFile
from wdaverify.cli.session import Session
from wdaverify.storage.files import replacing
from wdaverify.verification import Progress, Sandwich

__all__ = ["page_of", "report_option", "words_given", "write_page"]

QUESTION = ("loss", "norm", "order", "label_cost", "samples")
"""Parameters that change the question, radii left out."""


def _possible(_: Path) -> None:
    """Complain before the work where jinja2 is not installed."""
    from wdaverify.report.page import check_installed  # noqa: PLC0415  (jinja2 is an extra)

    check_installed()


report_option = click.option(
    "--report", type=OutputFile(check=_possible), metavar="FILE.html",
    help="Write a report for people: one HTML file that needs nothing else.",
)  # fmt: skip


def page_of(session: Session, result: Sandwich, progress: Progress) -> str:
    """Return the report; the value curve for it takes what is left of the limits."""
    from wdaverify.report import Origin, report_html  # noqa: PLC0415  (jinja2 is an extra)

    context, stored = click.get_current_context(), session.stored
    known = stored.expected
    origin = Origin(
        problem=context.params["problem"],
        command=words_given(context),
        question=words_given(context, QUESTION),
        files=stored.files,
        notes=stored.notes,
        seed=session.options["seed"],
        expected=None if known is None else (known.values, known.source),
    )
    return report_html(result, origin=origin, limits=session.limits, progress=progress)


def write_page(session: Session, page: str, path: Path) -> None:
    """Write the report, whole or not at all, and say so."""
    with replacing(path) as file:
        file.write(page.encode())
    session.note(f"report: {path}")


def words_given(context: click.Context, only: Sequence[str] | None = None) -> tuple[str, ...]:
    """Return the words of the command line that a command was called with, options last.

    Parameters
    ----------
    only
        Names of the parameters that are wanted, all where it is omitted; then the name of the
        command comes first.
    """
    words: list[str] = [] if only is not None else [str(context.info_name)]
    for parameter in sorted(context.command.params, key=lambda p: isinstance(p, click.Option)):
        name = parameter.name or ""
        typed = context.get_parameter_source(name) == ParameterSource.COMMANDLINE
        if not typed or (only is not None and name not in only):
            continue
        value = context.params[name]
        if not isinstance(parameter, click.Option):
            words.append(str(value))
        elif parameter.is_flag:
            words.append(parameter.opts[0])
        else:
            for each in value if parameter.multiple else (value,):
                words += [parameter.opts[0], str(each)]
    return tuple(words)
