"""Mutates proof files: each mutant must be rejected, or be accepted and true.

``python tests/checker/fuzz.py --mutants 5000 [FILE …]`` reports counts, for the proofs written by
hand or for the files given.
"""

import argparse
import collections
import gzip
import hashlib
import json
import random
import signal
import sys
import tempfile
import time
import zlib
from fractions import Fraction
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from checker.by_hand import every
from checker.forge import lines_of

import wdaverify as wv
from wdaverify.checker.verdict import NotAProofError, check_file

SECONDS = 60
ODD = (0, 1, -1, 2, 0.5, 1e308, -1e308, 5e-324, 1e-9, 10**30, "1/3", "-7/2", "1/0", "x", None, True,
       [], {}, [1], "9" * 3000 + "/7", 2**70, -0.0, "1/" + "3" * 4000)  # fmt: skip

PAIRS = [('"on"', '"off"'), ('"target": 1', '"target": 0'), ('"label": 0', '"label": 1'),
         ('"split": 0', '"split": 1'), ("none", "support"), ("none", "ball")]  # fmt: skip


def places(value, path=()):
    """Yield the path of everything inside a JSON value."""
    yield path
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, item in items:
        yield from places(item, (*path, key))


def edit(value, path, change):
    """Return the value with ``change(container, key)`` done at a path."""
    value = json.loads(json.dumps(value))
    inner = value
    for key in path[:-1]:
        inner = inner[key]
    change(inner, path[-1])
    return value


def nudged(rng, number):
    """Return another number, often a close one."""
    if isinstance(number, str) and "/" in number:
        top, bottom = map(int, number.split("/"))
        near = Fraction(top, bottom or 1) + rng.choice([1, -1]) * Fraction(
            rng.choice([1, 1e-9, 1e-3])
        )
        return f"{near.numerator}/{near.denominator}"
    if not isinstance(number, int | float):
        return rng.choice(ODD)
    return rng.choice([
        -number, number + 1, number - 1, number * (1 + 1e-9), number * (1 - 1e-9), number + 1e-12,
        number - 1e-7, number * 2, number / 3, rng.choice(ODD),
    ])  # fmt: skip


def change_number(rng, lines):
    k, value, path = pick(rng, lines)
    return put(lines, k, edit(value, path, lambda c, key: c.__setitem__(key, nudged(rng, c[key]))))


def change_anything(rng, lines):
    k, value, path = pick(rng, lines, numbers=False)
    return put(lines, k, edit(value, path, lambda c, key: c.__setitem__(key, rng.choice(ODD))))


def delete(rng, lines):
    k, value, path = pick(rng, lines, numbers=False)
    return put(lines, k, edit(value, path, lambda c, key: c.__delitem__(key)))


def permute(rng, lines):
    k, value, path = pick(rng, lines, numbers=False)

    def change(c, key):
        if isinstance(c[key], list):
            rng.shuffle(c[key])

    return put(lines, k, edit(value, path, change))


def duplicate(rng, lines):
    k, value, path = pick(rng, lines, numbers=False)

    def change(c, key):
        if isinstance(c[key], list) and c[key]:
            c[key].insert(rng.randrange(len(c[key])), rng.choice(c[key]))

    return put(lines, k, edit(value, path, change))


def swap_state(rng, lines):
    """Swap on and off, or the target and another class, where there is one."""
    k = rng.randrange(2, len(lines))
    text = lines[k].decode()
    a, b = rng.choice(PAIRS)
    return put_raw(lines, k, text.replace(a, "@").replace(b, a).replace("@", b).encode())


def drop_line(rng, lines):
    k = rng.randrange(len(lines))
    return recount([*lines[:k], *lines[k + 1 :]])


def repeat_line(rng, lines):
    k, to = rng.randrange(len(lines)), rng.randrange(2, len(lines))
    return recount([*lines[:to], lines[k], *lines[to:]])


def swap_lines(rng, lines):
    j, k = rng.randrange(2, len(lines)), rng.randrange(2, len(lines))
    return put_raw(put_raw(lines, j, lines[k]), k, lines[j])


def raise_claim(rng, lines):
    header = json.loads(lines[0])
    step = rng.choice([1e-15, 1e-12, 1e-9, 1e-6, 1.0])
    end = rng.choice(["lower", "upper"])
    number = Fraction(header[end]) + Fraction(step) * (1 if end == "lower" else -1)
    header[end] = f"{number.numerator}/{number.denominator}"
    return put(lines, 0, header)


def change_question(rng, lines):
    """Change the question and its hash: the proof is about something else then."""
    question = json.loads(lines[1])
    path = rng.choice([p for p in places(question) if p])
    question = edit(question, path, lambda c, key: c.__setitem__(key, nudged(rng, c[key])))
    line = json.dumps(question, sort_keys=True, separators=(",", ":")).encode()
    header = json.loads(lines[0]) | {"question": hashlib.sha256(line).hexdigest()}
    return put_raw(put(lines, 0, header), 1, line)


def change_byte(rng, lines):
    k = rng.randrange(len(lines))
    line = bytearray(lines[k])
    line[rng.randrange(len(line))] = rng.choice(b'0123456789-+.eE[]{},:"\n\x00\xffn')
    return put_raw(lines, k, bytes(line))


BY_LINE = (change_number, change_number, change_number, change_anything, delete, permute, duplicate,
           swap_state, drop_line, repeat_line, swap_lines, raise_claim, change_question,
           change_byte)  # fmt: skip


def pick(rng, lines, *, numbers=True):
    """Choose a line (seldom the question) and a place in it."""
    k = rng.choice([0, 1, *range(2, len(lines)), *range(2, len(lines))])
    value = json.loads(lines[k])
    found = [p for p in places(value) if p]
    if numbers:
        found = [p for p in found if isinstance(at(value, p), int | float | str)] or found
    return (k, value, rng.choice(found)) if found else pick(rng, lines, numbers=numbers)


def at(value, path):
    for key in path:
        value = value[key]
    return value


def put(lines, k, value):
    return put_raw(lines, k, json.dumps(value).encode())


def put_raw(lines, k, line):
    return [*lines[:k], line, *lines[k + 1 :]]


def recount(lines):
    """Make the last line count the lines again, if it is an end."""
    return put(lines, len(lines) - 1, {"end": len(lines) - 1}) if b'"end"' in lines[-1] else lines


def stream(lines):
    return gzip.compress(b"".join(line + b"\n" for line in lines), 1)


def damage(rng, data):
    """Change the compressed stream itself."""
    kind, where = rng.randrange(5), rng.randrange(len(data))
    if kind == 0:
        return data[:where]
    if kind == 1:
        return data + bytes([rng.randrange(256)])
    if kind == 2:
        return data[:where] + data[where + 1 :]
    changed = bytearray(data)
    for _ in range(kind - 2):
        changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def mutant(rng, lines):
    """Return the name of a mutation and the mutated file."""
    if rng.random() < 0.15:
        return "damage", damage(rng, stream(lines))
    names = []
    for _ in range(rng.choice([1, 1, 1, 2])):
        mutate = rng.choice(BY_LINE)
        try:
            lines = mutate(rng, lines)
        except (ValueError, LookupError, TypeError):  # changed before beyond recognition
            continue
        names.append(mutate.__name__)
    return "+".join(sorted(set(names))) if len(names) < 2 else "two", stream(lines)


def solved(line, radius):
    """Solve the question of a mutated line; None where that takes too much."""
    raw = json.loads(line)
    inf = lambda values, end: [end if v is None else v for v in values]  # noqa: E731
    layers = raw["network"]["layers"]
    network = wv.ReLUNetwork([s["W"] for s in layers], [s["b"] for s in layers],
                             [s["slopes"] for s in layers[:-1]])  # fmt: skip
    s = raw["support"]
    lower, upper = inf(s["lower"], -np.inf), inf(s["upper"], np.inf)
    support = wv.Box(lower, upper)
    if s["A"]:
        rows = wv.Box(lower, upper).rows
        support = wv.Polytope(np.concatenate([rows.matrix, s["A"]]), np.append(rows.offset, s["b"]))
    cost = wv.TransportCost(raw["norm"], raw["order"], raw["label_cost"])
    problem = wv.Problem(network, raw["points"], raw["labels"], loss=raw["loss"], cost=cost,
                         support=support, weights=raw["weights"])  # fmt: skip
    return wv.solve(problem, radius=raw["radius"] if radius is None else radius)


class Tally:
    """What became of the mutants of one proof."""

    def __init__(self, name, lines, folder):
        self.name, self.lines, self.path = name, lines, Path(folder) / "mutant"
        header = json.loads(lines[0]) | {"lower": -1e9, "upper": 1e9}
        self.modest = put(lines, 0, header)  # claims little: what is proved is judged all the same
        self.path.write_bytes(stream(lines))
        self.original = check_file(self.path)
        assert self.original.accepted, (name, self.original)
        self.counts = collections.Counter()
        self.slowest = 0.0

    def one(self, rng):
        """Make a mutant and judge the verdict."""
        kind, data = mutant(rng, rng.choice([self.lines, self.modest]))
        self.path.write_bytes(data)
        started = time.perf_counter()
        try:
            verdict = check_file(self.path)
        except NotAProofError:
            self.counts["unreadable"] += 1
            return
        self.slowest = max(self.slowest, time.perf_counter() - started)
        if not verdict.accepted:
            assert not verdict.reason.startswith("internal"), (kind, verdict)
            self.counts["rejected"] += 1
            return
        self.counts["accepted, true"] += self._same(kind, verdict) or self._other(
            kind, data, verdict
        )

    def _same(self, kind, verdict):
        """Judge a verdict about the original question."""
        if verdict.question != self.original.question:
            return False
        if verdict.kind != self.original.kind:
            return True
        assert verdict.lower <= self.original.upper, (kind, verdict)
        assert verdict.upper >= self.original.lower, (kind, verdict)
        return True

    def _other(self, kind, data, verdict):
        """Solve the other question, and judge."""
        self.counts["of these about another question"] += 1
        if verdict.kind != "value":
            return True
        try:
            line = zlib.decompress(data, 31).split(b"\n")[1]
            value = solved(line, None)
        except (wv.WDAVerifyError, ValueError, TypeError):  # beyond the engine
            self.counts["of these not solved"] += 1
            return True
        scale = 1e-6 * max(1.0, abs(value.lower), abs(value.upper))
        if value.lower > value.upper + scale:  # seen for a weight of 5e-324
            self.counts["of these contradicted by the engine itself"] += 1
            return True
        assert float(verdict.lower) <= value.upper + scale, (kind, verdict, value)
        assert float(verdict.upper) >= value.lower - scale, (kind, verdict, value)
        return True


def hand_made():
    """Yield name and lines of the proofs written by hand, their claims as proved."""
    for name, (problem, radius, body, _, kind) in every().items():
        yield name, lines_of(problem, radius, body, lower=-1e9, upper=1e9, kind=kind)


def tightened(name, lines, folder):
    """Return the lines with claims as high as they are proved."""
    verdict = Tally(name, lines, folder).original
    header = json.loads(lines[0])
    for end, value in (("lower", verdict.lower), ("upper", verdict.upper)):
        header[end] = f"{value.numerator}/{value.denominator}"
    return put(lines, 0, header)


def _late(*_):
    raise TimeoutError(f"a mutant took more than {SECONDS} s")


def main():
    """Report counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--mutants", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    proofs = [(f.name, gzip.decompress(f.read_bytes()).split(b"\n")[:-1]) for f in given.files]
    signal.signal(signal.SIGALRM, _late)
    total = collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        for name, lines in proofs or hand_made():
            tally = Tally(name, tightened(name, lines, folder), folder)
            rng = random.Random(f"{given.seed} {name}")
            for _ in range(given.mutants):
                signal.alarm(SECONDS)
                tally.one(rng)
                signal.alarm(0)
            total += tally.counts
            print(f"{name}: {dict(tally.counts)}, slowest {tally.slowest:.3f} s", flush=True)  # noqa: T201
    print(f"together: {dict(total)}")  # noqa: T201


if __name__ == "__main__":
    main()
