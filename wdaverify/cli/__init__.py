"""The command line: ``wdaverify COMMAND PROBLEM [options]``.

Exit codes: 0 done; 1 a check failed; 2 the input is wrong; 3 a limit or Ctrl-C ended it early.
"""

import sys

import click

from wdaverify import __version__
from wdaverify.cli.help import WIDEST, Example, Group, Lazy
from wdaverify.cli.interrupt import signals_restored
from wdaverify.cli.terminal import colours, streams
from wdaverify.errors import CheckFailedError, LimitReached, SandwichViolation, WDAVerifyError

__all__ = ["COMMANDS", "app", "main"]

COMMANDS = {
    "verify": Lazy("Bounds", "verify:verify", "attack ≤ exact ≤ certificate for every radius"),
    "exact": Lazy("Bounds", "exact:exact", "the exact worst-case value for every radius"),
    "attack": Lazy("Bounds", "bounds:attack", "lower bounds only, by a gradient attack"),
    "certify": Lazy("Bounds", "certify:certify", "upper bounds only, and what each proves"),
    "curve": Lazy("A closer look", "exact:curve", "the value for all radii at once"),
    "worst-case": Lazy("A closer look", "exact:worst_case", "the worst-case distribution"),
    "distances": Lazy("A closer look", "exact:distances", "how far each sample is from an error"),
    "cells": Lazy("A closer look", "cells:cells", "the cells on which the network is affine"),
    "prove": Lazy("Proofs", "prove:prove_command", "write a proof of an exact value"),
    "check": Lazy("Proofs", "check:check", "check a proof in exact arithmetic"),
    "replay": Lazy("Proofs", "prove:replay_command", "the worst case in the original network"),
    "new": Lazy("In and out", "new:new", "a problem folder from a network and data"),
    "export": Lazy("In and out", "vnnlib:export_command", "instances for other verifiers"),
    "decide": Lazy("In and out", "vnnlib:decide_command", "the answer to a VNN-LIB property"),
    "completion": Lazy("Shell", "completion:completion", "complete commands and options by TAB"),
}
"""Commands in the order of the help; they are imported when they are used."""


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:  # noqa: FBT001
    if wanted and not ctx.resilient_parsing:
        from wdaverify.cli.versions import versions  # noqa: PLC0415

        click.echo(versions(__version__))
        ctx.exit()


@click.group(
    cls=Group,
    lazy=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": WIDEST},
    examples=(
        Example("Frame the worst-case loss of a small network", "wdaverify verify problems/moons"),
        Example(
            "Ask another question about it",
            "wdaverify verify problems/moons --loss zero-one --radius 0.05",
        ),
        Example("Learn what a command can do", "wdaverify curve --help"),
    ),
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version,
    help="Show the versions that a bug report needs, and exit.",
)  # fmt: skip
def app() -> None:
    """Exact Wasserstein-distributional robustness of ReLU networks.

    PROBLEM is a folder with a problem.toml, or such a file.
    """


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit."""
    with streams(), signals_restored():
        code = _run(arguments)
    sys.exit(code)


def _run(arguments: list[str] | None) -> int:
    """Run a command and return its exit code; what went wrong is one line."""
    try:
        found = app.main(arguments, "wdaverify", standalone_mode=False, color=colours())
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True, color=colours())
        return 2
    except click.ClickException as error:
        code, words = 2, _usage(error)
    except (click.exceptions.Abort, KeyboardInterrupt):
        code, words = 3, "interrupted"
    except LimitReached as error:
        code, words = 3, str(error)
    except (CheckFailedError, SandwichViolation) as error:
        code, words = 1, str(error)
    except (WDAVerifyError, OSError) as error:
        code, words = 2, str(error)
    else:
        return found if isinstance(found, int) else 0
    sys.stderr.write("wdaverify: " + " ".join(words.split()) + "\n")
    return code


def _usage(error: click.ClickException) -> str:
    """Return what is wrong with the command line, and where to read more."""
    context = getattr(error, "ctx", None)
    command = "wdaverify" if context is None else context.command_path
    return f"{error.format_message()} (see {command} --help)"
