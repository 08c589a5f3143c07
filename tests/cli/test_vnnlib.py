"""``wdaverify decide`` and ``export``: output, exit codes, and nothing half-written."""

import gzip
import json
from pathlib import Path

import pytest

import wdaverify as wv
from wdaverify.cli import main

PROBLEMS = Path(__file__).parents[2] / "problems"
QUESTION = """
(declare-const X_0 Real) (declare-const Y_0 Real) (declare-const Y_1 Real)
(assert (or (and (>= X_0 -1) (<= X_0 1)) (and (>= X_0 2) (<= X_0 3))))
(assert (>= Y_1 {}))
"""


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main([*map(str, arguments)])
    captured = capsys.readouterr()
    return stop.value.code, captured.out, captured.err


@pytest.fixture
def network():
    return PROBLEMS / "relu-interval" / "network.npz"  # x -> (0, max(x, 0))


def test_answers_as_vnn_comp_has_them(network, tmp_path, capsys):
    path = tmp_path / "p.vnnlib.gz"
    path.write_bytes(gzip.compress(QUESTION.format(3).encode()))
    code, out, err = call(capsys, "decide", network, path)
    assert (code, out) == (0, "sat\n((X_0 3.0)\n(Y_0 0.0)\n(Y_1 3.0))\n")
    assert "checked over the rationals" in err
    path.write_text(QUESTION.format(3.5))
    assert call(capsys, "decide", network, path, "--quiet") == (0, "unsat\n", "")
    code, out, err = call(capsys, "decide", network, path, "--json", "-")
    fields = json.loads(out)
    assert (fields["answer"], fields["point"], fields["boxes"]) == ("unsat", None, 2)
    code, out, err = call(capsys, "decide", network, path, "--time-limit", 0)
    assert (code, out) == (3, "unknown\n")
    assert err.splitlines()[-1].startswith("wdaverify: stopped early")


def test_boxes_as_problem_folders(network, tmp_path, capsys):
    path = tmp_path / "p.vnnlib"
    path.write_text(QUESTION.format(2.5))
    assert call(capsys, "decide", network, path, "--write", tmp_path / "out")[0] == 0
    values = []
    for name in ("box_0", "box_1"):
        code, out, _ = call(capsys, "exact", tmp_path / "out" / name, "--json", "-")
        assert code == 0
        values.append(json.loads(out)["rows"][0]["lower"])
    assert values == [0.0, 1.0]
    assert call(capsys, "decide", network, path, "--write", tmp_path / "out")[0] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nothing.onnx", "p.vnnlib"), "nothing.onnx: expected a network, found no such file"),
        (("{network}", "nothing"), "nothing: expected a VNN-LIB file, found no such file"),
        (("{network}", "p.vnnlib"), "p.vnnlib: line 3: expected <=, >=, =, and, or, found '<'"),
        (("{network}", "p.vnnlib", "--engine", "magic"), "engine: expected one of auto"),
        (("{network}",), "Missing argument"),
    ],
)
def test_bad_input_is_one_line(arguments, message, network, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("p.vnnlib").write_text(
        "(declare-const X_0 Real)\n(declare-const Y_0 Real)\n(assert (< 1 2))"
    )
    code, out, err = call(capsys, "decide", *(a.format(network=network) for a in arguments))
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1


def test_export_then_decide(tmp_path, capsys):
    folder = tmp_path / "out"
    code, out, _ = call(
        capsys, "export", PROBLEMS / "moons", "--out", folder, "--around-distances",
        "--samples", 2, "--json", "-",
    )  # fmt: skip
    fields = json.loads(out)
    assert code == 0
    assert [one["expected"] for one in fields["instances"]] == ["unsat", "sat"] * 2
    for one in fields["instances"]:
        code, out, _ = call(capsys, "decide", folder / "network.onnx", folder / one["vnnlib"])
        assert out.splitlines()[0] == one["expected"]
    assert sorted(path.name for path in folder.iterdir()) == [
        "expected.csv", "instances.csv", "network.onnx", "vnnlib",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("problem", "arguments", "message"),
    [
        ("moons", ("--norm", "l2"), "norm: expected linf"),
        ("polytope-triangle", (), "support: expected a box, found a polytope"),
        ("moons", ("--radius", -1), "--radius"),
        ("moons", ("--gap", 0.1), "--gap: expected --around-distances"),
        ("moons", ("--around-distances", "--radius", 1), "no --radius beside it"),
        ("moons", ("--around-distances", "--expected"), "no --expected beside it"),
        ("moons", ("--engine", "cells"), "--engine: expected --expected"),
        ("moons", ("--loss", "margin"), "No such option"),
    ],
)
def test_refusals_leave_nothing(problem, arguments, message, tmp_path, capsys):
    code, _, err = call(capsys, "export", PROBLEMS / problem, "--out", tmp_path / "out", *arguments)
    assert code == 2
    assert message in err
    assert list(tmp_path.iterdir()) == []


def test_a_limit_ends_with_what_is_known(tmp_path, capsys):
    code, _, err = call(
        capsys, "export", PROBLEMS / "breast", "--out", tmp_path / "out", "--samples", 2,
        "--expected", "--time-limit", 0,
    )  # fmt: skip
    assert code == 3
    assert "stopped early" in err
    assert (tmp_path / "out" / "expected.csv").exists()


def test_python_and_command_line_agree(network, tmp_path):
    path = tmp_path / "p.vnnlib"
    path.write_text(QUESTION.format(2))
    assert wv.load_vnnlib(network, path).decide().answer == "sat"
