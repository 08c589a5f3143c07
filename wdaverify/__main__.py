"""``python -m wdaverify`` is ``wdaverify``."""

import sys

__all__ = ["start"]


def start() -> None:
    """Run the command line; Ctrl-C while it is being imported is as quiet as it is later."""
    try:
        from wdaverify.cli import main  # noqa: PLC0415  (inside, where Ctrl-C is caught)

        main()
    except KeyboardInterrupt:
        sys.stderr.write("wdaverify: interrupted\n")
        sys.exit(3)


if __name__ == "__main__":
    start()
