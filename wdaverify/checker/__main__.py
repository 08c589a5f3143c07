"""``python -m wdaverify.checker FILE [--json FILE]``: 0 accepted, 1 rejected, 2 unreadable."""

import json
import sys
import time
from pathlib import Path

from wdaverify.checker.verdict import NotAProofError, check_file, describe

USAGE = "usage: python -m wdaverify.checker FILE [--json FILE]"


def main(arguments: list[str]) -> int:
    """Check one file and return the exit code."""
    files = arguments[:1] if len(arguments) in (1, 3) else []
    if not files or files[0].startswith("--") or arguments[1:2] not in ([], ["--json"]):
        sys.stderr.write(USAGE + "\n")
        return 2
    started = time.monotonic()
    try:
        verdict = check_file(files[0])
        head = {"schema": "wdaverify/1", "command": "check",
                "seconds": round(time.monotonic() - started, 6)}  # fmt: skip
        text = json.dumps(head | verdict.fields(), indent=2) + "\n"
        if arguments[2:] == ["-"]:
            sys.stdout.write(text)
        else:
            sys.stdout.write(describe(verdict) + "\n")
            if arguments[2:]:
                Path(arguments[2]).write_text(text, encoding="utf-8")
    except (NotAProofError, OSError) as error:
        sys.stderr.write(f"wdaverify: {error}\n")
        return 2
    return 0 if verdict.accepted else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
