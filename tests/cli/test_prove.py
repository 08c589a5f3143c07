"""``wdaverify prove`` and ``replay``: output, exit codes, and nothing half-written."""

import json
import sys
from pathlib import Path

import pytest

from wdaverify.cli import main

PROBLEMS = Path(__file__).parents[2] / "problems"


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main([*map(str, arguments)])
    captured = capsys.readouterr()
    return stop.value.code, captured.out, captured.err


def test_prove_then_check(capsys, tmp_path):
    file, problem = tmp_path / "relu.proof", PROBLEMS / "relu-interval"
    code, out, _ = call(capsys, "prove", problem, "--radius", 2, "--out", file, "--json", "-")
    fields = json.loads(out)
    assert code == 0
    assert (fields["command"], fields["file"], fields["of"]) == ("prove", str(file), "value")
    assert fields["lower"] <= 1.5 <= fields["upper"] <= 1.5 + 1e-9
    assert fields["loss"] <= 1e-9
    code, out, _ = call(capsys, "check", file, problem, "--radius", 2)
    assert (code, "accepted" in out) == (0, True)
    assert call(capsys, "check", file, problem, "--radius", 3)[0] == 1


@pytest.mark.parametrize("of", ["lipschitz", "slope"])
def test_constants(of, capsys, tmp_path):
    file = tmp_path / "tight.proof"
    arguments = ("--radius", 1, "--of", of, "--out", file)
    code, out, err = call(capsys, "prove", PROBLEMS / "tight", *arguments)
    assert (code, err) == (0, "")
    assert f"proof of the {of}" in out
    code, out, _ = call(capsys, "check", file)
    assert (code, f"accepted: {of}" in out) == (0, True)


@pytest.mark.parametrize(
    ("problem", "arguments", "code", "message"),
    [
        ("moons", (), 2, "expected one radius, found 4"),
        ("dlr-line", ("--radius", 1), 2, "ratio of logits"),
        ("relu-line", ("--radius", -1), 2, "radius"),
        ("relu-line", ("--radius", 1, "--engine", "milp"), 2, "milp"),
        ("zero-one-line", ("--radius", 1, "--of", "lipschitz"), 2, "no Lipschitz constant"),
        ("iris", ("--radius", 0.1, "--engine", "cells", "--time-limit", 0), 3, "time limit"),
    ],
)
def test_refusals_leave_no_file(problem, arguments, code, message, capsys, tmp_path):
    found = call(capsys, "prove", PROBLEMS / problem, "--out", tmp_path / "p", *arguments)
    assert found[0] == code
    assert message in found[2]
    assert list(tmp_path.iterdir()) == []


def test_replay_runs_the_original_network(capsys):
    code, out, _ = call(
        capsys, "replay", PROBLEMS / "moons", "--radius", 0.05, "--samples", 5, "--json", "-"
    )
    fields = json.loads(out)
    assert code == 0
    assert fields["runtime"] == "onnxruntime, float32"
    assert 0 < abs(fields["difference"]) < 1e-5
    assert fields["exact"] == pytest.approx(fields["lower"], abs=1e-9)


def test_replay_of_a_proof(capsys, tmp_path):
    file, problem = tmp_path / "p", PROBLEMS / "moons"
    question = ("--radius", 0.05, "--samples", 5)
    assert call(capsys, "prove", problem, *question, "--out", file, "--quiet")[0] == 0
    code, out, _ = call(capsys, "replay", file, "--json", "-")
    assert (code, json.loads(out)["runtime"]) == (0, "numpy, float32")
    code, out, _ = call(capsys, "replay", file, problem)
    assert (code, "onnxruntime" in out) == (0, True)
    code, _, err = call(capsys, "replay", file, PROBLEMS / "relu-line")
    assert (code, "about the network of" in err) == (2, True)


def test_replay_without_onnxruntime(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    code, _, err = call(capsys, "replay", PROBLEMS / "moons", "--radius", 0.05, "--samples", 2)
    assert (code, "wdaverify[replay]" in err) == (2, True)


def test_replay_of_something_else(capsys, tmp_path):
    (tmp_path / "p").write_text("no proof")
    code, _, err = call(capsys, "replay", tmp_path / "p")
    assert (code, "expected a proof file" in err) == (2, True)
