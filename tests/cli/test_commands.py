"""The command line: tables, JSON fields, exit codes, one-line errors."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import wdaverify as wv
from wdaverify.cli import main

PROBLEMS = Path(__file__).parents[2] / "problems"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "wdaverify", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def call(capsys, *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    captured = capsys.readouterr()
    return stop.value.code, captured.out, captured.err


def json_of(capsys, *arguments: str) -> dict:
    code, out, err = call(capsys, *arguments, "--json", "-")
    assert code == 0, err
    return json.loads(out)


def test_verify_prints_a_sandwich_for_every_radius(capsys):
    code, out, _ = call(capsys, "verify", str(PROBLEMS / "relu-interval"))
    assert code == 0
    for word in ("attack", "exact", "certificate", "gap", "time", "status", "0.375", "1.5"):
        assert word in out


def test_verify_json_has_the_promised_fields(capsys):
    data = json_of(capsys, "verify", str(PROBLEMS / "relu-interval"), "--radius", "2")
    assert data["command"] == "verify"
    assert data["problem"] == "relu-interval"
    assert {"schema", "seconds", "nominal", "rows", "lower_bounds", "upper_bounds"} <= set(data)
    (row,) = data["rows"]
    names = {"radius", "attack", "lower", "upper", "certificate", "certificate_method"}
    assert names | {"attained", "status"} <= set(row)
    assert row["attack"] <= row["lower"] + 1e-9 <= row["upper"] + 2e-9
    assert row["upper"] == pytest.approx(1.5)
    assert row["certificate_method"] == "cell-lipschitz"
    assert set(data["upper_bounds"]) == {"cell-lipschitz", "margin-lipschitz", "layer-product"}
    assert all(len(v) == 1 for v in data["lower_bounds"].values())


def test_escaping_mass_is_marked_as_not_attained(capsys):
    data = json_of(capsys, "verify", str(PROBLEMS / "relu-line"), "--radius", "1")
    assert data["rows"][0]["attained"] is False
    assert data["tight"] is True
    _, out, _ = call(capsys, "verify", str(PROBLEMS / "relu-line"))
    assert "exact*" in out
    assert "not attained" in out


def test_a_missed_expected_value_exits_with_1(capsys, tmp_path):
    folder = copy_of("relu-interval", tmp_path)
    text = (folder / "problem.toml").read_text()
    assert "0.375" in text
    (folder / "problem.toml").write_text(text.replace("0.375", "0.376"))
    code, _, err = call(capsys, "verify", str(folder))
    assert code == 1
    assert "expected 0.376" in err


def test_an_option_that_changes_the_question_drops_the_expected_values(capsys):
    data = json_of(capsys, "verify", str(PROBLEMS / "relu-interval"), "--loss", "hinge")
    assert data["expected"] is None
    assert any("ignored" in note for note in data["notes"])


def test_exact_agrees_with_verify(capsys):
    moons = [str(PROBLEMS / "moons"), "--samples", "10", "--radius", "0.05"]
    exact = json_of(capsys, "exact", *moons, "--engine", "cells")
    both = json_of(capsys, "verify", *moons)
    assert exact["engine"] == "cells"
    assert exact["counts"]["cells"] > 100
    assert exact["rows"][0]["upper"] == pytest.approx(both["rows"][0]["upper"], abs=1e-7)
    assert exact["rows"][0]["multiplier"] > 0


def test_curve_gives_the_corners(capsys):
    data = json_of(capsys, "curve", str(PROBLEMS / "absolute-value"))
    assert data["interpolation"] == "budget"
    assert data["radius"] == pytest.approx([0, 1, 1.5, 3.5])
    assert data["lower"] == pytest.approx([1.5, 2.5, 3, 4])
    assert data["upper"] == pytest.approx(data["lower"])
    assert data["final_slope"] == pytest.approx(0)
    staircase = json_of(capsys, "curve", str(PROBLEMS / "zero-one-line-inf"))
    assert staircase["interpolation"] == "step"


def test_worst_case_writes_a_distribution_that_anyone_can_evaluate(capsys, tmp_path):
    folder, out = PROBLEMS / "moons", tmp_path / "worst.npz"
    arguments = [str(folder), "--samples", "20", "--radius", "0.1", "--out", str(out)]
    data = json_of(capsys, "worst-case", *arguments)
    problem = wv.load_problem(folder).head(20)
    with np.load(out) as file:
        points, labels, weights, origin = (
            file[k] for k in ("points", "labels", "weights", "origin")
        )
    assert weights @ problem.evaluate(points, labels) == pytest.approx(data["lower"], abs=1e-12)
    cost = weights @ np.abs(points - problem.points[origin]).max(axis=1)
    assert cost <= 0.1
    assert cost == pytest.approx(data["transport_cost"])
    assert len(data["atoms"]) == len(points) <= 21
    np.testing.assert_allclose(np.bincount(origin, weights), 1 / 20)


def test_worst_case_wants_one_radius(capsys):
    code, _, err = call(capsys, "worst-case", str(PROBLEMS / "moons"))
    assert code == 2
    assert "expected one radius" in err


def test_distances_of_every_sample(capsys):
    data = json_of(capsys, "distances", str(PROBLEMS / "zero-one-line"))
    assert data["upper"] == pytest.approx([0, 0.25, 0.5, 0.5, 1, 1.5, 2, 4], abs=1e-9)
    assert data["lower"] == pytest.approx(data["upper"], abs=1e-9)


def test_cells_counts_and_graph(capsys, tmp_path):
    graph = tmp_path / "graph.graphml"
    data = json_of(
        capsys, "cells", str(PROBLEMS / "counted-cells"), "--graph", str(graph), "--statistics"
    )
    assert (data["cells"], data["bounded"], data["unbounded"]) == (26, 4, 22)
    assert graph.read_text().count("<edge") == data["edges"]


def test_attack_reports_values_distances_and_seed(capsys):
    data = json_of(capsys, "attack", str(PROBLEMS / "zero-one-line"), "--seed", "3")
    assert data["seed"] == 3
    assert data["distances"][0] == 0
    assert data["distances"] == pytest.approx([0, 0.25, 0.5, 0.5, 1, 1.5, 2, 4], rel=1e-3)
    assert [row["method"] for row in data["rows"]] == ["wda"] * 8


def test_attack_is_polished_on_request(capsys):
    moons = str(PROBLEMS / "moons"), "--samples", "5", "--radius", "0.1"
    plain = json_of(capsys, "attack", *moons)
    better = json_of(capsys, "attack", *moons, "--polish")
    assert (plain["polished"], better["polished"]) == (False, True)
    assert better["rows"][0]["value"] >= plain["rows"][0]["value"]
    pairs = zip(better["distances"], plain["distances"], strict=True)
    assert all(one <= other for one, other in pairs)


def test_certify_names_constants(capsys):
    data = json_of(capsys, "certify", str(PROBLEMS / "tight"))
    assert data["constants"]["cell-lipschitz"] == pytest.approx(4)
    assert data["constants"]["asymptotic-slope"] == pytest.approx(4)
    assert data["constants"]["layer-product"] >= 4
    only = json_of(capsys, "certify", str(PROBLEMS / "tight"), "--method", "layer-product")
    assert {row["method"] for row in only["rows"]} == {"layer-product"}


@pytest.mark.parametrize(
    ("command", "suffix", "head"),
    [
        (["verify"], ".png", b"\x89PNG"),
        (["curve"], ".svg", b"<?xml"),
        (["worst-case", "--radius", "2"], ".pdf", b"%PDF"),
    ],
)
def test_plot_is_a_picture(capsys, tmp_path, command, suffix, head):
    picture = tmp_path / f"picture{suffix}"
    name, *rest = command
    problem = str(PROBLEMS / "relu-interval")
    code, out, _ = call(capsys, name, problem, *rest, "--plot", str(picture))
    assert code == 0
    assert picture.read_bytes().startswith(head)
    assert "plot:" in out


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["verify", "nowhere"], ["nowhere"]),
        (["verify", "MOONS", "--loss", "huber"], ["--loss", "huber", "margin"]),
        (
            ["exact", "MOONS", "--loss", "cross-entropy", "--engine", "search"],
            ["cross-entropy", "search"],
        ),
        (["exact", "MOONS", "--norm", "l2", "--engine", "milp"], ["milp", "l2"]),
        (["verify", "MOONS", "--norm", "l7"], ["l7", "linf"]),
        (["verify", "MOONS", "--order", "inf", "--label-cost", "1"], ["label-cost", "inf"]),
        (["verify", "MOONS", "--order", "0.5"], ["order", "0.5"]),
        (["verify", "MOONS", "--radius", "-1"], ["radius", "-1"]),
        (["verify", "MOONS", "--radius", "nan"], ["radius", "nan"]),
        (["verify", "MOONS", "--loss", "dlr"], ["dlr", "3"]),
        (["verify", "MOONS", "--samples", "0"], ["samples", "0"]),
        (["verify", "MOONS", "--engine", "magic"], ["engine", "magic"]),
        (["verify", "MOONS", "--device", "abacus"], ["abacus"]),
        (["verify", "MOONS", "--workers", "0"], ["workers"]),
        (["verify", "MOONS", "--plot", "picture.docx"], ["picture.docx"]),
        (["curve", "MOONS", "--plot", "picture.docx"], ["picture.docx"]),
        (["worst-case", "MOONS", "--radius", "1", "--plot", "picture.docx"], ["picture.docx"]),
        (["cells", "MOONS", "--radius", "1"], ["--radius"]),
        (["attack", "MOONS", "--method", "fgsm"], ["fgsm"]),
        (["certify", "MOONS", "--method", "fgsm"], ["fgsm"]),
        (["nonsense"], ["nonsense"]),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(capsys, tmp_path, monkeypatch, arguments, fragments):
    monkeypatch.chdir(tmp_path)
    arguments = [str(PROBLEMS / "moons") if a == "MOONS" else a for a in arguments]
    code, out, err = call(capsys, *arguments)
    assert code == 2
    assert err.count("\n") == 1
    assert "Traceback" not in err + out
    for fragment in fragments:
        assert fragment in err
    assert list(tmp_path.iterdir()) == []


def test_max_cells_exits_with_3_and_says_what_was_reached(capsys):
    code, out, err = call(
        capsys, "cells", str(PROBLEMS / "moons"), "--max-cells", "10", "--json", "-"
    )
    assert code == 3
    assert "10 cells" in err
    assert json.loads(out)["complete"] is False


def test_a_time_limit_leaves_valid_bounds(capsys):
    folder = str(PROBLEMS / "iris")
    truth = json_of(capsys, "exact", folder, "--radius", "0.05")["rows"][0]
    code, out, err = call(
        capsys, "verify", folder, "--radius", "0.05", "--time-limit", "0", "--json", "-"
    )
    assert code == 3
    assert "valid" in err
    (row,) = json.loads(out)["rows"]
    assert row["status"] == "bracket"
    assert row["lower"] <= truth["lower"] + 1e-9
    assert row["upper"] >= truth["upper"] - 1e-9


def test_exact_without_time_prints_the_bracket_that_needs_no_cells(capsys):
    code, out, _ = call(capsys, "exact", str(PROBLEMS / "iris"), "--time-limit", "0", "--json", "-")
    assert code == 3
    assert all(row["lower"] < row["upper"] for row in json.loads(out)["rows"])


def test_the_real_entry_point_and_silence(tmp_path):
    done = run("exact", str(PROBLEMS / "relu-interval"), "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    help_text = run("--help").stdout
    for command in ("verify", "exact", "curve", "worst-case", "distances", "cells"):
        assert command in help_text
    assert run("verify", str(tmp_path)).returncode == 2


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_ctrl_c_behaves_like_a_limit():
    command = [
        sys.executable,
        "-m",
        "wdaverify",
        "curve",
        str(PROBLEMS / "breast-cancer"),
        "--json",
        "-",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(4)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 3
    assert "Traceback" not in err
    assert err.strip().splitlines()[-1].startswith("wdaverify: ")
    if out:
        data = json.loads(out)
        assert all(
            low <= high + 1e-9 for low, high in zip(data["lower"], data["upper"], strict=True)
        )


def copy_of(name: str, target: Path) -> Path:
    folder = target / name
    folder.mkdir()
    for file in (PROBLEMS / name).iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


def test_repeated_runs_give_the_same_numbers(capsys):
    arguments = ["verify", str(PROBLEMS / "moons"), "--samples", "8", "--radius", "0.1"]
    first, second = (json_of(capsys, *arguments) for _ in range(2))
    assert first["rows"] == second["rows"]
