"""``--resume`` on the command line: what stays, what goes, what is said."""

import json
import signal
from pathlib import Path

import pytest

from wdaverify.cli import main
from wdaverify.exact.value import ExactSolver

MOONS = str(Path(__file__).parents[2] / "problems" / "moons")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "wdaverify"


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    captured = capsys.readouterr()
    return stop.value.code, captured.out, captured.err


def test_a_short_run_without_the_option_leaves_no_trace(capsys, cache):
    assert call(capsys, "exact", MOONS, "--radius", "0.1")[0] == 0
    assert call(capsys, "exact", MOONS, "--radius", "0.1", "--time-limit", "0")[0] == 3
    assert not cache.exists()


def test_a_stopped_run_says_how_to_go_on_and_a_finished_one_cleans_up(capsys, cache):
    code, _, err = call(capsys, "exact", MOONS, "--resume", "--radius", "0.1", "--time-limit", "0")
    assert code == 3
    assert err.strip().endswith("run again with --resume to go on")
    assert len(list(cache.glob("*.checkpoint"))) == 1
    code, out, _ = call(capsys, "exact", MOONS, "--resume", "--radius", "0.1")
    assert code == 0
    assert "resumed" in out
    assert list(cache.iterdir()) == []


def test_another_radius_is_another_run(capsys, cache):
    call(capsys, "exact", MOONS, "--resume", "--radius", "0.1", "--time-limit", "0")
    _, out, _ = call(capsys, "exact", MOONS, "--resume", "--radius", "0.2")
    assert "nothing to resume" in " ".join(out.split())
    assert len(list(cache.iterdir())) == 1  # that of radius 0.1 is still there


@pytest.mark.parametrize("command", ["cells", "attack", "certify", "prove", "replay"])
def test_commands_for_which_it_means_nothing_refuse_it(capsys, command):
    code, _, err = call(capsys, command, MOONS, "--resume")
    assert code == 2
    assert "--resume" in err


def test_nothing_but_json_on_standard_output(capsys, cache):
    _, out, _ = call(capsys, "distances", MOONS, "--samples", "3", "--resume", "--json", "-")
    assert len(json.loads(out)["lower"]) == 3


def test_sigterm_stops_at_the_next_check(capsys, cache, monkeypatch):
    solve = ExactSolver.solve

    def terminated(self, radius):
        signal.raise_signal(signal.SIGTERM)
        return solve(self, radius)

    monkeypatch.setattr(ExactSolver, "solve", terminated)
    code, _, err = call(capsys, "exact", MOONS, "--radius", "0.1")
    assert code == 3
    assert "interrupted" in err
