"""Broken and hostile files: refused at the right line, for the right reason, without a crash."""

import gzip
import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest
from checker.by_hand import every
from checker.forge import lines_of, write

from wdaverify.checker.verdict import NotAProofError, check_file, downwards, upwards

LEAF = {"cuts": [{"target": 1}]}


def interval(**changes):
    """Return the lines of relu-interval's proof: 3 atoms, 4 bounds, 5 tree, 6-8 nodes."""
    problem, radius, body, _, _ = every()["relu_interval"]
    body = [json.loads(json.dumps(line)) for line in body]
    for k, line in changes.items():
        body[int(k[1:]) - 3] = line
    return lines_of(
        problem, radius, [line for line in body if line is not None], lower=1.5, upper=1.5
    )


def refusal(tmp_path, lines):
    verdict = check_file(write(tmp_path / "proof", lines))
    assert not verdict.accepted
    return verdict


def tree(**changes):
    head = {"label": 0, "target": None, "intervals": "none", "samples": [[0, 0, None]]}
    return {"tree": head | changes}


CASES = {
    "atom outside": ({"_3": {"atoms": [[0, 0, 1, [3.5]]]}}, 3, "outside the support"),
    "negative mass": ({"_3": {"atoms": [[0, 0, -1, [3]]]}}, 3, "negative mass"),
    "too dear": ({"_3": {"atoms": [[0, 0, 1, [3]]]}}, 10, "exceeds the budget"),
    "mass lost": ({"_3": {"atoms": [[0, 0, 0.5, [-1]]]}}, 10, "do not add up"),
    "label moved": ({"_3": {"atoms": [[0, 1, 1, [-1]]]}}, 3, "labels do not move"),
    "no such sample": ({"_3": {"atoms": [[1, 0, 1, [-1]]]}}, 3, "sample: expected 0 to 0, found 1"),
    "dimension": ({"_3": {"atoms": [[0, 0, 1, [-1, 2]]]}}, 3, "a list of 1, found a list of 2"),
    "negative multiplier": ({"_4": {"multiplier": -1, "bounds": [0]}}, 4, "negative"),
    "bounds missing": ({"_4": {"multiplier": 1, "bounds": []}}, 4, "a list of 1"),
    "bound too low": ({"_4": {"multiplier": 0.75, "bounds": [-1e-12]}}, 7, "is not bounded"),
    "multiplier too low": ({"_4": {"multiplier": 0.7499, "bounds": [0]}}, 8, "is not bounded"),
    "wrong label": ({"_5": tree(label=1)}, 5, "cannot have label 1"),
    "target is the label": ({"_5": tree(target=0)}, 5, "the label itself"),
    "no samples": ({"_5": tree(samples=[])}, 5, "needs samples"),
    "sample twice": ({"_5": tree(samples=[[0, 0, None], [0, 0, 1]])}, 5, "none of them twice"),
    "gap": ({"_5": tree(samples=[[0, 0, 3.9]])}, 10, "the trees leave a gap"),
    "starts late": ({"_5": tree(samples=[[0, 0.1, None]])}, 10, "the trees leave a gap"),
    "ring": ({"_5": tree(samples=[[0, 2, 1]])}, 5, "0 <= t0 <= t1"),
    "intervals": ({"_5": tree(intervals="all")}, 5, "none, support, or ball"),
    "no split": ({"_6": {}}, 6, "is not bounded"),
    "leaf without cuts": ({"_7": {}}, 7, "is not bounded"),
    "lemma false": ({"_7": {"lemmas": [[0, "on", {}]], **LEAF}}, 7, "not shown to be on"),
    "split and margin": ({"_6": {"split": 0, "margin": 1, "at": 0}}, 6, "one too many"),
    "no such neuron": ({"_6": {"split": 1}}, 6, "split: expected 0 to 0, found 1"),
    "margin of the label": ({"_6": {"margin": 0, "at": 0}}, 6, "the label itself"),
    "margin without at": ({"_6": {"margin": 1}}, 6, "'at'"),
    "rows of a box": ({"_7": {"cuts": [{"target": 1, "rows": [0, 1]}]}}, 7, "row: expected"),
    "margins of no split": ({"_7": {"cuts": [{"target": 1, "margins": [0, 1]}]}}, 7, "margin: exp"),
    "theta": ({"_7": {"cuts": [{"theta": [0, 1], "const": 9}]}}, 7, "cross-entropy"),
    "two objectives": ({"_7": {"cuts": [{"target": 1, "empty": True}]}}, 7, "a cut has one of"),
    "empty is false": ({"_7": {"cuts": [{"empty": False}]}}, 7, "true or absent"),
    "not empty": ({"_7": {"cuts": [{"empty": True}]}}, 7, "is not bounded"),
    "neurons twice": ({"_7": {"cuts": [{"target": 1, "neurons": [0, 1, 0, 1]}]}}, 7, "rising"),
    "neurons odd": ({"_7": {"cuts": [{"target": 1, "neurons": [0]}]}}, 7, "with a value"),
    "unknown key": ({"_7": {"cut": []}}, 7, "one too many: 'cut'"),
    "true is no number": ({"_4": {"multiplier": True, "bounds": [0]}}, 4, "expected a number"),
    "zero denominator": ({"_4": {"multiplier": "1/0", "bounds": [0]}}, 4, "expected a number"),
    "too many digits": ({"_4": {"multiplier": "1/" + "9" * 4001, "bounds": [0]}}, 4, "a number"),
    "extra line": ({"_8": LEAF | {"split": 0}}, 9, "one too many"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_refused_where_and_why(name, tmp_path):
    changes, line, reason = CASES[name]
    verdict = refusal(tmp_path, interval(**changes))
    assert reason in verdict.reason
    assert verdict.line == line


def test_line_lost(tmp_path):
    for k in range(2, 8):
        lines = interval()
        assert refusal(tmp_path, [*lines[:k], *lines[k + 1 :]]).line >= k


def test_end(tmp_path):
    lines = interval()
    assert "found 8" in refusal(tmp_path, [*lines[:-1], b'{"end": 7}']).reason
    assert "follows the end" in refusal(tmp_path, [*lines, b"{}"]).reason
    assert "ends early" in refusal(tmp_path, lines[:-1]).reason


def test_hash(tmp_path):
    lines = interval()
    lines[1] = lines[1].replace(b'"radius":2.0', b'"radius":1.0')
    verdict = refusal(tmp_path, lines)
    assert verdict.line == 2
    assert "another question" in verdict.reason


def test_label_move_at_the_price_of_the_multiplier(tmp_path):
    """A label's bound counts with U + λκ, not with U + κ."""
    problem, radius, body, _, _ = every()["label_move"]
    low = [body[0], {"multiplier": 3.5, "bounds": [-2]}, *body[2:]]
    verdict = refusal(tmp_path, lines_of(problem, radius, low, lower=0, upper=0))
    assert "is not bounded" in verdict.reason


QUESTIONS = {
    "no key": (lambda q: q.pop("loss"), "'loss'"),
    "loss": (lambda q: q.update(loss="dlr"), "'dlr'"),
    "loss is a list": (lambda q: q.update(loss=["margin"]), "list"),
    "norm": (lambda q: q.update(norm="l3"), "'l3'"),
    "order": (lambda q: q.update(order=0.5), "order 1 to 1000"),
    "radius": (lambda q: q.update(radius=-1), "radius >= 0"),
    "label": (lambda q: q.update(labels=[2]), "label: expected 0 to 1"),
    "weight": (lambda q: q.update(weights=[0]), "positive weight"),
    "no samples": (lambda q: q.update(weights=[], labels=[], points=[]), "expected samples"),
    "outside": (lambda q: q.update(points=[[-4]]), "outside the box"),
    "no layers": (lambda q: q.update(network={"layers": []}), "1 to 100 layers"),
    "ragged": (lambda q: q["network"]["layers"][1].update(W=[[1], [1, 2]]), "a list of 1"),
    "no rows": (lambda q: q["network"]["layers"][0].update(W=[], b=[], slopes=[]), "without rows"),
    "slopes": (lambda q: q["network"]["layers"][1].update(slopes=[0, 0]), "'slopes'"),
    "label cost at inf": (lambda q: q.update(order="inf", label_cost=1), "do not move"),
    "weights": (
        lambda q: q.update(
            {k: q[k] * 300 for k in ("points", "labels")},
            weights=[f"1/{10**3900 + k}" for k in range(300)],
        ),
        "65536 bits",
    ),
    "upside down": (lambda q: q["support"].update(lower=[4]), "outside the box"),
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_questions(name, tmp_path):
    change, reason = QUESTIONS[name]
    lines = interval()
    question = json.loads(lines[1])
    change(question)
    lines[1] = json.dumps(question).encode()
    verdict = refusal(tmp_path, lines)
    assert verdict.line == 2
    assert reason in verdict.reason


HOSTILE = {
    "deep": b"[" * 100_000,
    "deep object": b'{"cuts":' * 100_000,
    "long integer": b"9" * 1_000_000,
    "nan": b'{"multiplier": NaN, "bounds": [0]}',
    "infinite": b'{"multiplier": 1e999, "bounds": [0]}',
    "no utf-8": b"\xff\xfe",
    "null": b"null",
    "empty": b"",
    "nul": b"\x00",
    "nested value": b'{"multiplier": ' + b"[" * 300 + b"]" * 300 + b', "bounds": [0]}',
    "surrogate": b'{"multiplier": "\\ud800", "bounds": [0]}',
    "arabic digits": '{"multiplier": "١/٢", "bounds": [0]}'.encode(),
    "exponent in a fraction": b'{"multiplier": "1e5/2", "bounds": [0]}',
    "denominators": json.dumps({"multiplier": 1, "bounds": [f"1/{10**3999}"]}).encode(),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("at", [2, 3, 6])
def test_hostile_lines(name, at, tmp_path):
    lines = interval()
    lines[at] = HOSTILE[name]
    assert refusal(tmp_path, lines).reason


def test_common_denominators_are_limited(tmp_path):
    atoms = [[0, 0, f"1/{10**3990 + k}", [-1]] for k in range(100)]
    verdict = refusal(tmp_path, interval(_3={"atoms": atoms}))
    assert "65536 bits" in verdict.reason


def test_memory_is_limited(tmp_path):
    atoms = [[0, 0, 1, [f"1/{2**12000 + 1}", *[1] * 400_000]]]
    question = json.loads(interval()[1])
    question["network"]["layers"][0]["W"] = [[f"1/{2**12000 + 1}", *[1] * 400_000]]
    lines = interval(_3={"atoms": atoms})
    lines[1] = json.dumps(question).encode()
    assert "400001 numbers over" in refusal(tmp_path, lines).reason


def test_depth_is_limited(tmp_path):
    lines = interval()
    deep = [json.dumps({"split": 0}).encode()] * 10_010
    assert "too deep" in refusal(tmp_path, [*lines[:5], *deep]).reason


def test_a_deep_tree_is_walked_without_recursion(tmp_path):
    lines = interval()[:5]
    lines += [b'{"split": 0}', json.dumps(LEAF).encode()] * 5_000
    lines += [json.dumps(LEAF).encode()]
    lines += [json.dumps({"end": len(lines)}).encode()]
    assert check_file(write(tmp_path / "proof", lines)).accepted


def test_a_bomb_stops_at_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr("wdaverify.checker.reading.LINE", 1 << 16)
    path = tmp_path / "bomb"
    head = b"".join(line + b"\n" for line in interval()[:2])
    path.write_bytes(gzip.compress(head + b" " * (1 << 24)))
    assert "more than" in check_file(path).reason
    monkeypatch.setattr("wdaverify.checker.reading.TOTAL", 1 << 10)
    assert "more than" in check_file(path).reason


@pytest.mark.parametrize(
    "content",
    [b"", b"nothing", gzip.compress(b""), gzip.compress(b"{}\n"), gzip.compress(b"[1]\n"),
     gzip.compress(b'{"format": "zip"}\n')],
)  # fmt: skip
def test_what_is_no_proof_file_is_unreadable(content, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(NotAProofError):
        check_file(path)


def test_a_missing_file_is_unreadable(tmp_path):
    with pytest.raises(NotAProofError, match="No such file"):
        check_file(tmp_path / "none")
    with pytest.raises(NotAProofError):
        check_file(tmp_path)


@pytest.mark.parametrize("cut", range(1, 12))
def test_truncated_streams(cut, tmp_path):
    whole = write(tmp_path / "proof", interval()).read_bytes()
    path = tmp_path / "part"
    path.write_bytes(whole[: len(whole) - cut])
    assert "damaged" in check_file(path).reason


def test_floats_are_rounded_outwards():
    third = Fraction(1, 3)
    assert Fraction(downwards(third)) < third < Fraction(upwards(third))
    assert downwards(Fraction(1, 2)) == upwards(Fraction(1, 2)) == 0.5
    huge = Fraction(10) ** 400
    assert upwards(huge) == -downwards(-huge) == float("inf")
    assert downwards(huge) == sys.float_info.max


def module(*arguments):
    return subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "wdaverify.checker", *arguments],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def test_the_module_imports_the_standard_library_only(tmp_path):
    path = write(tmp_path / "proof", interval())
    run = module(str(path), "--json", "-")
    assert run.returncode == 0, run.stderr
    fields = json.loads(run.stdout)
    assert (fields["accepted"], fields["lower"], fields["upper_exact"]) == (True, 1.5, "3/2")
    names = {line.split("|")[-1].strip() for line in run.stderr.splitlines() if "|" in line}
    roots = {name.split(".")[0] for name in names - {"imported package"}}
    ours = {name for name in names if name.startswith("wdaverify")}
    assert all(name == "wdaverify" or name.startswith("wdaverify.checker") for name in ours)
    unknown = roots - set(sys.stdlib_module_names) - {"wdaverify"}
    assert not {name for name in unknown if not name.startswith(("_", "site", "sitecustomize"))}, (
        unknown
    )


def test_exit_codes_of_the_module(tmp_path):
    assert module(str(write(tmp_path / "a", interval(_6={})))).returncode == 1
    assert module(str(tmp_path / "none")).returncode == 2
    assert module().returncode == 2
    out = tmp_path / "out.json"
    assert module(str(write(tmp_path / "b", interval())), "--json", str(out)).returncode == 0
    assert json.loads(out.read_text())["accepted"]


def test_no_pickle_no_eval():
    for path in Path("wdaverify/checker").glob("*.py"):
        text = path.read_text()
        assert not any(word in text for word in ("pickle", "eval(", "exec(", "marshal", "ctypes"))
