"""Completion by TAB: by click's protocol, and in a real bash."""

import os
import shutil
import subprocess
import sys

import pytest
from click.shell_completion import ShellComplete

from wdaverify.bounds.options import METHODS
from wdaverify.cli import COMMANDS, app
from wdaverify.cli.bounds import NAMES
from wdaverify.cli.completion import VARIABLE
from wdaverify.exact.engine import ENGINES
from wdaverify.loss import LOSSES
from wdaverify.norms import NORMS


def complete(*words: str) -> list[tuple[str, str]]:
    """Ask as a shell does for the last of some words; return kinds and values."""
    shell = ShellComplete(app, {}, "wdaverify", VARIABLE)
    found = shell.get_completions(list(words[:-1]), words[-1])
    return [(item.type, item.value) for item in found]


def values(found: list[tuple[str, str]]) -> list[str]:
    return [value for kind, value in found if kind == "plain"]


def make_problem(folder) -> None:
    folder.mkdir(parents=True)
    (folder / "problem.toml").write_text('network = "network.npz"\n')


def test_commands_in_their_order():
    assert values(complete("")) == list(COMMANDS)
    assert values(complete("c")) == [name for name in COMMANDS if name.startswith("c")]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("exact", "p", "--loss", ""), list(LOSSES)),
        (("exact", "p", "--norm", "l"), list(NORMS)),
        (("exact", "p", "--engine", ""), list(ENGINES)),
        (("attack", "p", "--method", ""), list(METHODS)),
        (("attack", "p", "--device", ""), ["cpu", "cuda"]),
        (("prove", "p", "--of", "l"), ["lipschitz"]),
        (("certify", "p", "--method", "lay"), ["layer-product"]),
        (("exact", "p", "--time"), ["--time-limit"]),
        (("completion", ""), ["bash", "zsh", "fish"]),
    ],
)
def test_options_and_their_values(words, expected):
    assert sorted(values(complete(*words))) == sorted(expected)


def test_the_words_of_the_shell_are_those_of_the_attack():
    assert set(NAMES) == set(METHODS)


def test_problems_are_folders_with_a_question_and_their_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_problem(tmp_path / "problems" / "moons")
    make_problem(tmp_path / "problems" / "iris")
    (tmp_path / "problems" / "empty").mkdir()
    (tmp_path / "problems" / "other.toml").write_text('[tool]\nname = "no question"\n')
    shutil.copy(tmp_path / "problems/iris/problem.toml", tmp_path / "problems/single.toml")
    (tmp_path / "elsewhere").mkdir()
    three = ["problems/iris", "problems/moons", "problems/single.toml"]
    assert values(complete("verify", "")) == three
    assert values(complete("verify", "pro")) == three
    assert values(complete("verify", "problems/")) == three
    assert values(complete("verify", "problems/m")) == ["problems/moons"]
    assert values(complete("check", "x.proof", "problems/i")) == ["problems/iris"]
    assert complete("verify", "els") == [("dir", "els")]


def test_files_to_write_are_left_to_the_shell_and_not_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert complete("exact", "p", "--json", "x") == [("file", "x")]
    complete("exact", "p", "--json", "x.json", "--quiet", "--l")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell(call, shell):
    done = call("completion", shell)
    assert done.code == 0
    assert f"_WDAVERIFY_COMPLETE={shell}_complete" in done.out


def test_another_shell_is_refused(call):
    done = call("completion", "tcsh")
    assert done.code == 2
    assert done.err.count("\n") == 1


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_in_a_real_bash(environment, tmp_path):
    make_problem(tmp_path / "problems" / "moons")
    make_problem(tmp_path / "problems" / "mountains")
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "wdaverify").write_text(f'#!/bin/sh\nexec {sys.executable} -m wdaverify "$@"\n')
    (tools / "wdaverify").chmod(0o755)
    script = """
        eval "$(wdaverify completion bash)"
        ask() {
            COMP_WORDS=(wdaverify "$@"); COMP_CWORD=$#; COMPREPLY=()
            _wdaverify_completion wdaverify
            echo "${COMPREPLY[*]}"
        }
        complete -p wdaverify
        ask ver; ask exact problems/mo; ask exact problems/moons --lo; ask certify p --norm li
    """
    path = os.pathsep.join([str(tools), environment["PATH"]])
    done = subprocess.run(
        ["bash", "--norc", "-c", script], env=environment | {"PATH": path}, cwd=tmp_path,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "complete -o nosort -F _wdaverify_completion wdaverify",
        "verify",
        "problems/moons problems/mountains",
        "--loss",
        "linf",
    ]
