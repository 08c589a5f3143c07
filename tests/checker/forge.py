"""Writes proof files by hand."""

import gzip
import hashlib
import json
from pathlib import Path

from wdaverify.proof.question import question_line


def lines_of(problem, radius, body, *, lower, upper, kind="value"):
    """Return the lines of a proof file: header, question, body, end."""
    question = question_line(problem, radius)
    header = {
        "format": "wdaverify-proof", "version": 1, "kind": kind, "lower": lower, "upper": upper,
        "question": hashlib.sha256(question).hexdigest(), "tool": "by hand",
    }  # fmt: skip
    rest = [json.dumps(line).encode() for line in body]
    end = json.dumps({"end": 2 + len(rest)}).encode()
    return [json.dumps(header).encode(), question, *rest, end]


def write(path: Path, lines) -> Path:
    """Write lines as a proof file."""
    path.write_bytes(gzip.compress(b"".join(line + b"\n" for line in lines), 1))
    return path


def value(atoms, multiplier, bounds, *trees):
    """Return the body of a value proof; a tree is ``(header, node, node, …)``."""
    body = [{"atoms": atoms}, {"multiplier": multiplier, "bounds": bounds}]
    for head, *nodes in trees:
        body += [{"tree": tree(**head)}, *nodes]
    return body


def tree(label=0, target=None, intervals="none", samples=((0, 0, None),)):
    """Return the header of a tree."""
    return {
        "label": label, "target": target, "intervals": intervals,
        "samples": [list(s) for s in samples],
    }  # fmt: skip
