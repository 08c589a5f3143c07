"""``python -m wdaverify`` is ``wdaverify``."""

from wdaverify.cli import main

if __name__ == "__main__":
    main()
