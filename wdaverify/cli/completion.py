"""``wdaverify completion``: what a shell has to know to complete commands by TAB."""

import click
from click.shell_completion import get_completion_class

from wdaverify.cli.help import Command, Example

__all__ = ["VARIABLE", "completion"]

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_WDAVERIFY_COMPLETE"
"""Where the script tells the program that it is asked for completions."""


@click.command(
    cls=Command,
    examples=(
        Example("bash: now; and for good, in ~/.bashrc", 'eval "$(wdaverify completion bash)"'),
        Example("zsh: the same in ~/.zshrc", 'eval "$(wdaverify completion zsh)"'),
        Example(
            "fish: for good",
            "wdaverify completion fish > ~/.config/fish/completions/wdaverify.fish",
        ),
    ),
)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print a script that completes commands, options, their values and problems by TAB."""
    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(ctx.find_root().command, {}, "wdaverify", VARIABLE).source())
