"""Help: every example runs, every option has a section, and a misspelt word is recognised."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from wdaverify.cli import COMMANDS, app
from wdaverify.cli.help import SECTIONS, Command

PROBLEMS = Path(__file__).parents[2] / "problems"
CONTEXT = click.Context(app, info_name="wdaverify")


def command_named(name: str) -> click.Command:
    found = app.get_command(CONTEXT, name)
    assert found is not None
    return found


def help_of(call, *arguments: str, columns: str = "80") -> str:
    found = call(*arguments, "--help")
    assert found.code == 0
    assert found.err == ""
    return found.out


def examples() -> list[str]:
    """Every line, the writer of a file before those who read it."""
    lines = [example.line for example in app.examples]
    for name in COMMANDS:
        lines += [example.line for example in getattr(command_named(name), "examples", ())]
    return [line for line in lines if "completion" not in line]


def quick(line: str) -> list[str]:
    """The same line, for a few samples or a moment only: the options are what is tested."""
    words = shlex.split(line)
    assert words.pop(0) == "wdaverify"
    if "--samples" in words:
        words[words.index("--samples") + 1] = "2"
    elif words[0] in ("exact", "worst-case", "replay", "distances") and "problems" in words[1]:
        words += ["--samples", "2"]
    if words[0] in ("attack", "certify", "verify"):
        words += ["--time-limit", "0.2"]
    return words


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A folder that holds ``problems``, as a clone does."""
    (tmp_path / "problems").symlink_to(PROBLEMS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_teaches_by_examples(call, name):
    text = help_of(call, name)
    shown = command_named(name).examples
    assert len(shown) >= 2
    for purpose, line in shown:
        assert purpose in text
        assert line in text
        assert f"wdaverify {name}" in line


def test_every_example_runs(call, desk):
    lines = examples()
    assert len(lines) > 25
    for line in lines:
        words = quick(line)
        done = call(*words)
        assert done.code in ((0, 3) if "--time-limit" in words else (0,)), (line, done.err)
    for file in ("moons.png", "moons.json", "iris.proof", "worst.npz", "cells.png"):
        assert (desk / file).stat().st_size > 0


@pytest.mark.slow
def test_every_example_runs_as_it_stands(finish, desk):
    for line in examples():
        done = finish(*shlex.split(line)[1:], cwd=desk)
        assert done.code == 3 if "--time-limit" in line and done.code else done.code == 0, done.err


def test_a_broken_example_is_noticed(call, desk):
    assert call(*quick("wdaverify verify problems/moons --radus 0.1")).code == 2


@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_into_80_columns_and_keeps_the_order_of_sections(call, name):
    text = help_of(call, name)
    long = [row for row in text.splitlines() if len(row) > 80 and "wdaverify" not in row]
    assert not long
    assert "[OPTIONS]" in text.splitlines()[0]
    headings = re.findall(r"^(\w[\w ]*):$", text, re.MULTILINE)
    own = getattr(command_named(name), "section", "Options")
    order = [title or own for title in SECTIONS] + ["Examples"]
    assert headings == sorted(headings, key=order.index)
    assert headings[-1] == "Examples"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_stands_in_the_help_once(call, name):
    text = help_of(call, name)
    for parameter in command_named(name).params:
        if isinstance(parameter, click.Option):
            (option,) = [o for o in parameter.opts if o.startswith("--")]
            assert len(re.findall(rf"^  {option}\b(?!-)", text, re.MULTILINE)) == 1


def test_summaries_of_commands_that_are_not_imported_yet_are_true():
    for name in COMMANDS:
        found = command_named(name)
        assert isinstance(found, Command)
        assert found.name == name


def test_the_first_page_lists_commands_by_what_they_are_for(call):
    text = help_of(call)
    places = [text.index(f"\n  {name} ") for name in COMMANDS]
    assert places == sorted(places)
    for heading in ("First steps:", "Bounds:", "A closer look:", "Proofs:"):
        assert heading in text
    assert all(f"\n  {name} " in text for name in COMMANDS)


def test_no_arguments_is_help_and_a_usage_error(call):
    done = call()
    assert (done.code, done.out) == (2, "")
    assert "First steps:" in done.err


@pytest.mark.parametrize(
    ("words", "fragment"),
    [
        (["verfy", "problems/moons"], "did you mean 'verify'"),
        (["curves"], "did you mean 'curve'"),
        (["zzz"], "expected one of verify, exact"),
        (["exact", "problems/moons", "--radus", "1"], "--radius"),
        (["exact"], "PROBLEM"),
        (["exact", "problems/moons", "more"], "more"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_a_wrong_word_is_one_line_with_a_hint(call, words, fragment):
    done = call(*words)
    assert done.code == 2
    assert done.out == ""
    assert done.err.count("\n") == 1
    assert fragment in done.err
    assert "--help)" in done.err


def test_version_names_what_a_bug_report_needs(call):
    done = call("--version")
    assert done.code == 0
    assert done.out.count("\n") == 1
    for name in ("wdaverify 0.1.0", "Python 3", "numpy 2", "highspy", "torch", "onnx"):
        assert name in done.out


def test_help_of_the_group_imports_nothing_heavy(environment):
    program = (
        "import sys\nfrom wdaverify.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "found = {'torch', 'scipy', 'highspy', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(f'imported: {found}' if found else 0)"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
