"""The command line: ``wdaverify COMMAND PROBLEM [options]``.

Exit codes: 0 done; 1 a check failed; 2 the input is wrong; 3 a limit or Ctrl-C ended it early.
"""

import sys

import click

from wdaverify import __version__
from wdaverify.cli.bounds import attack
from wdaverify.cli.cells import cells
from wdaverify.cli.certify import certify
from wdaverify.cli.check import check
from wdaverify.cli.exact import curve, distances, exact, worst_case
from wdaverify.cli.prove import prove_command, replay_command
from wdaverify.cli.session import CheckFailedError
from wdaverify.cli.verify import verify
from wdaverify.cli.vnnlib import decide_command, export_command
from wdaverify.errors import LimitReached, SandwichViolation, WDAVerifyError

__all__ = ["app", "main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="wdaverify")
def app() -> None:
    """Exact Wasserstein-distributional robustness of ReLU networks.

    PROBLEM is a folder with a problem.toml, or such a file. Start with

        wdaverify verify problems/moons
    """


COMMANDS = (verify, exact, curve, worst_case, distances, cells, attack, certify, check)
for command in (*COMMANDS, prove_command, replay_command, decide_command, export_command):
    app.add_command(command)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit."""
    try:
        code = app.main(arguments, prog_name="wdaverify", standalone_mode=False)
    except click.ClickException as error:
        _complain(f"{error.format_message()} (see wdaverify --help)")
        code = 2
    except (click.exceptions.Abort, KeyboardInterrupt):
        _complain("interrupted")
        code = 3
    except LimitReached as error:
        _complain(str(error))
        code = 3
    except (CheckFailedError, SandwichViolation) as error:
        _complain(str(error))
        code = 1
    except WDAVerifyError as error:
        _complain(str(error))
        code = 2
    sys.exit(code if isinstance(code, int) else 0)


def _complain(message: str) -> None:
    """Write one line to standard error."""
    sys.stderr.write("wdaverify: " + " ".join(message.split()) + "\n")
