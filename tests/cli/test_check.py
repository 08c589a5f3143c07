"""``wdaverify check``: verdicts, exit codes, and whether a proof is about the problem given."""

import json
from pathlib import Path

import pytest
from checker.by_hand import every
from checker.forge import lines_of, write

from wdaverify.cli import main

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "tests" / "checker" / "relu-interval.proof"
PROBLEM = ROOT / "problems" / "relu-interval"


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main(["check", *map(str, arguments)])
    captured = capsys.readouterr()
    return stop.value.code, captured.out, captured.err


def test_accepted(capsys):
    code, out, err = call(capsys, EXAMPLE)
    assert (code, err) == (0, "")
    assert "accepted: value in [1.5, 1.5]" in out
    assert "480c23eb61b4" in out


def test_json(capsys, tmp_path):
    code, out, _ = call(capsys, EXAMPLE, PROBLEM, "--json", "-")
    fields = json.loads(out)
    assert code == 0
    assert fields["schema"] == "wdaverify/1"
    assert (fields["command"], fields["problem"]) == ("check", "relu-interval")
    assert (fields["accepted"], fields["lower"], fields["upper"]) == (True, 1.5, 1.5)
    assert (fields["radius"], fields["kind"], fields["reason"]) == (2.0, "value", "")
    code, out, _ = call(capsys, EXAMPLE, "--json", tmp_path / "out.json", "--quiet")
    assert (code, out) == (0, "")
    assert json.loads((tmp_path / "out.json").read_text())["upper_exact"] == "3/2"


@pytest.mark.parametrize(
    "options",
    [["--radius", "1"], ["--loss", "hinge"], ["--norm", "l1"], ["--order", "2"],
     ["--label-cost", "1"]],
)  # fmt: skip
def test_another_question(options, capsys):
    code, out, err = call(capsys, EXAMPLE, PROBLEM, *options)
    assert code == 1
    assert "about another question" in out
    assert "about another question" in err


def test_another_problem(capsys):
    assert call(capsys, EXAMPLE, PROBLEM.with_name("relu-line"))[0] == 1


def test_the_question_by_options(capsys):
    assert call(capsys, EXAMPLE, PROBLEM, "--radius", "2", "--loss", "margin")[0] == 0


def test_rejected(capsys, tmp_path):
    problem, radius, body, _, _ = every()["relu_interval"]
    lines = lines_of(problem, radius, body, lower=1.5, upper=1.4999)
    code, out, err = call(capsys, write(tmp_path / "low", lines), PROBLEM)
    assert code == 1
    assert "rejected at line 10: claimed" in out
    assert "proof rejected" in err
    code, out, _ = call(capsys, tmp_path / "low", "--json", "-")
    fields = json.loads(out)
    assert code == 1
    assert (fields["accepted"], fields["lower"], fields["line"]) == (False, None, 10)
    assert fields["reason"].startswith("claimed")


def test_unreadable(capsys, tmp_path):
    (tmp_path / "text").write_text("no proof")
    for file in (tmp_path / "text", tmp_path / "none", tmp_path):
        code, out, err = call(capsys, file)
        assert (code, out) == (2, "")
        assert err.count("\n") == 1
    assert call(capsys, EXAMPLE, tmp_path / "none")[0] == 2


def test_an_option_without_problem_is_refused(capsys):
    code, _, err = call(capsys, EXAMPLE, "--label-cost", "1")
    assert code == 2
    assert "--label-cost: expected PROBLEM beside it" in err
