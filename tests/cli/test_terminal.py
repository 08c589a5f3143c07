"""Where output goes: no colours and no folding in pipes, ASCII, a reader that leaves, no place."""

import os
import re
import shutil
from pathlib import Path

import pytest

from wdaverify.cli import COMMANDS, app
from wdaverify.cli.help import Lazy
from wdaverify.cli.parameters import OutputFile
from wdaverify.cli.terminal import ASCII, plain

PROBLEMS = Path(__file__).parents[2] / "problems"
FULL = Path("/dev/full")
EXACT = ("exact", "problems/relu-line")
ESCAPE = "\x1b["


# colours -----------------------------------------------------------------------------------


def test_colours_on_a_terminal_only(on_a_terminal, finish):
    assert ESCAPE in on_a_terminal(100, *EXACT)[1]
    assert ESCAPE in on_a_terminal(100, "exact", "--help")[1]
    piped = finish(*EXACT)
    assert piped.code == 0
    assert ESCAPE not in piped.out + piped.err
    assert ESCAPE not in finish("exact", "--help").out


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_colours_can_be_refused(on_a_terminal, variables):
    quiet = on_a_terminal(100, "exact", "--help", **variables)[1]
    assert "Examples:" in quiet
    assert ESCAPE not in quiet
    shown = on_a_terminal(100, *EXACT, **variables)[1]
    assert not re.search(r"\x1b\[[0-9;]*3\d", shown)


def test_colours_can_be_forced(environment, finish):
    forced = environment | {"FORCE_COLOR": "1"}
    assert ESCAPE in finish(*EXACT, env=forced).out
    assert ESCAPE in finish("exact", "--help", env=forced).out


# width -------------------------------------------------------------------------------------


def test_nothing_is_folded_in_a_pipe(finish):
    done = finish("exact", "problems/moons", "--samples", "3", "--radius", "0.05")
    lines = done.out.splitlines()
    assert any(len(line) > 55 for line in lines)
    assert lines[-1].startswith("engine: cells (about 529 cells at most)")


def test_a_narrow_terminal_gets_rows_instead_of_cut_numbers(on_a_terminal):
    code, shown = on_a_terminal(34, *EXACT, "--radius", "0.25")
    assert code == 0
    assert re.search(r"^lower +0\.25$", shown, re.MULTILINE)
    assert re.search(r"^multiplier +1$", shown, re.MULTILINE)
    assert "…" not in shown.rpartition("worst-case expected")[2]
    wide = on_a_terminal(90, *EXACT, "--radius", "0.25")[1]
    assert re.search(r"radius ε +lower +upper +gap", re.sub(r"\x1b\[[0-9;]*m", "", wide))


# characters --------------------------------------------------------------------------------


def test_ascii_is_enough(environment, finish):
    poor = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LANG": "C"}
    done = finish(*EXACT, env=environment | poor)
    assert done.code == 0, done.err
    assert (done.out + done.err).isascii()
    assert "radius eps" in done.out
    assert finish("--help", env=environment | poor).out.count("<=") == 2
    nowhere = finish("exact", "problems/ε≤∞", env=environment | poor)
    assert nowhere.code == 2
    assert nowhere.err.count("\n") == 1


def test_every_sign_has_an_ascii_form():
    assert plain("a ≤ b · ∞") == "a <= b | inf"
    assert all(text.isascii() for text in ASCII.values())


# readers and places ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [("exact", "problems/relu-line"), ("exact", "problems/relu-line", "--json", "-"), ("--help",)],
)
def test_a_reader_that_leaves_is_no_error(start, arguments):
    process = start(*arguments)
    process.stdout.close()  # before anything is written
    err = process.stderr.read()
    assert process.wait(timeout=60) == 0
    assert "Traceback" not in err
    assert "roken" not in err


def test_a_failed_check_is_seen_though_nobody_reads(start, tmp_path):
    shutil.copytree(PROBLEMS / "relu-interval", tmp_path / "relu")
    text = (tmp_path / "relu/problem.toml").read_text()
    (tmp_path / "relu/problem.toml").write_text(text.replace("0.375", "0.376"))
    process = start("verify", tmp_path / "relu")
    process.stdout.close()
    assert "expected 0.376" in process.stderr.read()
    assert process.wait(timeout=60) == 1


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_line(start):
    with FULL.open("w") as full:
        process = start(*EXACT, stdout=full)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert err.count("\n") == 1
    assert "No space left" in err


def outputs() -> list[tuple[str, str]]:
    """Every option of every command that names a file to write."""
    found = []
    for name in COMMANDS:
        command = COMMANDS[name].load() if isinstance(COMMANDS[name], Lazy) else app.commands[name]
        for parameter in command.params:
            option = parameter.opts[-1]
            if (parameter.metavar or "").startswith("FILE") and option.startswith("--"):
                found.append((name, option))
    return found


def test_every_file_that_is_written_is_checked_first():
    assert len(outputs()) >= 14
    for name, option in outputs():
        (parameter,) = [p for p in COMMANDS[name].load().params if option in p.opts]
        assert isinstance(parameter.type, OutputFile)


@pytest.mark.parametrize("place", ["nowhere/x.png", "file/x.png", "folder.png"])
def test_a_place_that_cannot_be_written_is_refused_before_the_work(
    call, tmp_path, monkeypatch, place
):
    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("the work began")

    monkeypatch.setattr("wdaverify.cli.session.load_stored", forbidden)
    monkeypatch.setattr("wdaverify.cli.check.check_file", forbidden)
    monkeypatch.setattr("wdaverify.cli.prove.atoms_of_proof", forbidden)
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").write_text("")
    for name, option in outputs():
        extra = ("--out", tmp_path / "p") if name == "prove" and option != "--out" else ()
        done = call(name, "problems/moons", *extra, option, tmp_path / place)
        assert done.code == 2, (name, option)
        assert done.err.count("\n") == 1
        assert place in done.err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder.png"]


def test_the_work_would_have_begun_otherwise(call, tmp_path, monkeypatch):
    def begun(*_: object, **__: object) -> None:
        raise AssertionError("the work began")

    monkeypatch.setattr("wdaverify.cli.session.load_stored", begun)
    with pytest.raises(AssertionError, match="began"):
        call("exact", "problems/moons", "--json", tmp_path / "x.json")
    assert list(tmp_path.iterdir()) == []


def test_two_results_do_not_share_a_file(call, tmp_path):
    file = tmp_path / "x.png"
    done = call("verify", "problems/moons", "--plot", file, "--json", tmp_path / "." / "x.png")
    assert done.code == 2
    assert "two" in done.err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_refused(call, tmp_path):
    tmp_path.chmod(0o500)
    assert call("exact", "problems/moons", "--json", tmp_path / "x.json").code == 2


@pytest.mark.parametrize("what", ["problems", "problems/moons/data.npz", "problems/none"])
def test_what_is_no_problem_is_one_line(call, what):
    done = call("exact", what)
    assert done.code == 2
    assert done.out == ""
    assert done.err.count("\n") == 1
