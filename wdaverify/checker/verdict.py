"""The whole check of a file: header, question, claims, end; and the verdict."""

import math
import string
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from wdaverify.checker.claims import Lower, Upper
from wdaverify.checker.constants import Cells, possible_labels, slope_question, witness
from wdaverify.checker.nodes import root
from wdaverify.checker.question import Question, read_question
from wdaverify.checker.reading import (
    JSON,
    Lines,
    Rejected,
    bits,
    entries,
    index,
    number,
    shown,
    table,
)
from wdaverify.checker.transport import everywhere
from wdaverify.checker.trees import walk

__all__ = ["NotAProofError", "Verdict", "check_file", "describe", "downwards", "upwards"]

_HEADER = frozenset(["format", "version", "kind", "question", "lower", "upper", "tool"])
UNFORESEEN = (ArithmeticError, ValueError, TypeError, LookupError, RecursionError, MemoryError)
Bracket = tuple[Fraction, Fraction]


class NotAProofError(Exception):
    """The file cannot be read, or is no proof file of a known version."""


class Verdict(NamedTuple):
    """What the checker found; ``lower`` and ``upper`` are what was proved, if accepted."""

    accepted: bool
    kind: str
    question: str
    lower: Fraction | None
    upper: Fraction | None
    reason: str
    line: int
    radius: float | str | None = None

    def fields(self) -> dict[str, Any]:
        """Return the JSON fields; floats are rounded outwards."""
        low, high = self.lower, self.upper
        return {
            "accepted": self.accepted,
            "lower": None if low is None else _json(downwards(low)),
            "upper": None if high is None else _json(upwards(high)),
            "lower_exact": None if low is None else _exact(low),
            "upper_exact": None if high is None else _exact(high),
            "kind": self.kind,
            "question": self.question,
            "radius": self.radius,
            "reason": self.reason,
            "line": self.line,
        }


def check_file(path: Path | str, told: Callable[[int], None] | None = None) -> Verdict:
    """Check a proof file.

    Parameters
    ----------
    told
        Called before every line with the number of bytes of the file that were read.

    Raises
    ------
    NotAProofError
        It cannot be read, or its first line is no header.
    """
    try:
        with Path(path).open("rb") as file:
            return _checked(Lines(file, told))
    except OSError as error:
        raise NotAProofError(f"{path}: {error.strerror or error}") from None


def _checked(lines: Lines) -> Verdict:
    try:
        header = table(lines.next(), _HEADER, _HEADER - {"tool"})
        known = header["format"] == "wdaverify-proof" and header["version"] == 1
    except Rejected as reason:
        raise NotAProofError(f"not a proof file: {reason}") from None
    if not known:
        raise NotAProofError("not a proof file: expected format wdaverify-proof, version 1")
    try:
        q, (lower, upper) = _proved(header, lines)
    except (Rejected, *UNFORESEEN) as reason:
        if not isinstance(reason, Rejected):  # fails closed
            reason = Rejected(f"internal error: {type(reason).__name__}")
        digest, kind = _digest(header["question"]), header["kind"]
        kind = kind if type(kind) is str and kind in KINDS else ""
        return Verdict(False, kind, digest, None, None, str(reason), lines.count)
    radius = _json(upwards(q.radius))
    return Verdict(True, header["kind"], q.digest, lower, upper, "", lines.count, radius)


def _proved(header: JSON, lines: Lines) -> tuple[Question, Bracket]:
    """Return the question and the bracket that is proved, which holds what is claimed."""
    if type(header["kind"]) is not str or header["kind"] not in KINDS:
        raise Rejected(f"kind: expected one of {', '.join(KINDS)}")
    claim = number(header["lower"]), number(header["upper"])
    q = read_question(lines.raw())
    if header["question"] != q.digest:
        raise Rejected("the header names another question")
    lower, upper = KINDS[header["kind"]](q, lines)
    if claim[0] > lower or claim[1] < upper:
        raise Rejected(f"claimed [{_show(claim)}], proved only [{_show((lower, upper))}]")
    if lower > upper:
        raise Rejected("lower exceeds upper: a contradiction")
    return q, (lower, upper)


def _ended(item: JSON, lines: Lines) -> bool:
    """Whether this is the last line; nothing may follow it."""
    if type(item) is not dict or "end" not in item:
        return False
    if table(item, frozenset(["end"]))["end"] != lines.count - 1 or type(item["end"]) is not int:
        raise Rejected(
            f"the end counts {shown(item['end'])} lines before it, found {lines.count - 1}"
        )
    if lines.raw():
        raise Rejected("something follows the end")
    return True


def _value(q: Question, lines: Lines) -> Bracket:
    lower, upper = _both(q, lines)
    return lower.end(), upper.end()


def _slope(q: Question, lines: Lines) -> Bracket:
    if q.order != 1 or q.loss == "zero-one":
        raise Rejected("the slope is a constant of order 1, and not of zero-one")
    lower, upper = _both(slope_question(q), lines)
    upper.end()
    return lower.best, max(Fraction(0), *upper.bounds)


def _both(q: Question, lines: Lines) -> tuple[Lower, Upper]:
    """Read atoms, multiplier and trees."""
    lower, item = Lower(q), lines.next()
    while type(item) is dict and item.keys() == {"atoms"}:
        for found in entries(item["atoms"]):
            lower.add(found)
        item = lines.next()
    upper, item = Upper(q, item), lines.next()
    while not _ended(item, lines):
        upper.tree(table(item, frozenset(["tree"]), frozenset(["tree"]))["tree"], lines)
        item = lines.next()
    return lower, upper


def _lipschitz(q: Question, lines: Lines) -> Bracket:
    lower, norms, shown = Fraction(0), [Fraction(0)], set()
    region, item = everywhere(q), lines.next()
    keys = frozenset(["label", "target", "intervals", "samples"])
    while not _ended(item, lines):
        table(item, frozenset(["witness", "tree"]))
        if "witness" in item:
            lower = max(lower, witness(q, table(item, frozenset(["witness"]))["witness"]))
        else:
            tree = table(table(item, frozenset(["tree"]), frozenset(["tree"]))["tree"], keys, keys)
            label, mode = index(tree["label"], q.classes, "label"), tree["intervals"]
            if (
                mode not in ("none", "support")
                or tree["samples"] != []
                or tree["target"] is not None
            ):
                raise Rejected("a Lipschitz tree has no samples, target null, no ball")
            over = region if mode == "support" else None
            walk(q, lines, root(q, over), over, Cells(q, label, region, norms), True)
            shown.add(label)
        item = lines.next()
    if not shown >= set(possible_labels(q)):
        raise Rejected("a label has no tree")
    return lower, max(norms)


KINDS = {"value": _value, "slope": _slope, "lipschitz": _lipschitz}


def describe(verdict: Verdict) -> str:
    """Return the verdict in words."""
    if not verdict.accepted:
        return f"rejected at line {verdict.line}: {verdict.reason}"
    ends = verdict.fields()
    return (
        f"accepted: {verdict.kind} in [{ends['lower']!r}, {ends['upper']!r}]\n"
        f"question {verdict.question} (radius {verdict.radius!r})"
    )


def downwards(value: Fraction) -> float:
    """Return the largest float64 that is not above."""
    return -upwards(-value)


def upwards(value: Fraction) -> float:
    """Return the smallest float64 that is not below."""
    try:
        near = float(value)
    except OverflowError:
        return math.inf if value > 0 else -float.fromhex("0x1.fffffffffffffp+1023")
    return math.nextafter(near, math.inf) if Fraction(near) < value else near


def _show(ends: Bracket) -> str:
    return f"{downwards(ends[0])!r}, {upwards(ends[1])!r}"


def _json(value: float) -> float | str:
    return value if math.isfinite(value) else "inf" if value > 0 else "-inf"


def _exact(value: Fraction) -> str | None:
    """Return ``p/q``, unless Python would refuse to print it."""
    return str(value) if bits(value) < 13_000 else None


def _digest(value: JSON) -> str:
    """Return a hash as claimed, if it looks like one."""
    ok = type(value) is str and len(value) == 64 and set(value) <= set(string.hexdigits)
    return value if ok else ""
