"""Every command that README and docs show runs, and prints what they say it prints.

The blocks of a page run in order in one folder beside the problems. Where a block of output
follows, each of its paragraphs must be printed, but for times, gaps, the width of columns and what
lies beyond eight digits.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

ELSEWHERE = {
    "pip install": "needs the network",
    "python3 -m venv": "CI itself types it, or the job `nox -s package`",
    "nox": "this runs in it",
    "eval ": "a line for the start-up file of a shell",
    "dask ": "starts a server and stays",
    "ray ": "starts a server and stays",
    "sbatch ": "needs a cluster",
    "git ": "needs the network",
}
"""How a line begins that is not run here, and why."""

LONG = ("problems/digits", "problems/breast", "--report", "fuzz.py")
"""What makes a line a matter of many seconds: run with the slow tests."""


def blocks(page: Path, *languages: str) -> list[tuple[str, str]]:
    """Return the language and text of a page's fenced blocks, in order."""
    pattern = r"^```(\S*)[^\n]*\n(.*?)^```"
    found = re.findall(pattern, page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return [(language, text) for language, text in found if language in languages]


def steps(page: Path) -> list[tuple[list[str], str, bool]]:
    """Return commands with the output that follows them, empty if none does.

    An output that begins with ``$ command`` is a session of its own, with any exit code.
    """
    found: list[tuple[list[str], str, bool]] = []
    for language, text in blocks(page, "sh", "text"):
        if language == "sh":
            commands = [line.strip() for line in text.replace("\\\n", " ").splitlines()]
            found.append(([line for line in commands if line and line[0] != "#"], "", False))
        elif text.startswith("$ "):
            for each in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
                command, _, printed = each.partition("\n")
                found.append(([command], printed, True))
        elif found and not found[-1][1]:
            found[-1] = (found[-1][0], text, False)
    return found


def shown(text: str) -> str:
    """Return the words of an output without what differs from run to run."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    text = re.sub(r"\d+(\.\d+)? m?s\b", "TIME", text)
    text = re.sub(r"\b\d(\.\d+)?e-(0[7-9]|1\d)\b|\b0e\+00\b", "GAP", text)
    text = re.sub(r"\d+\.\d{8,}", lambda number: f"{float(number[0]):.8g}", text)
    return " ".join(re.sub(r"[─-]{3,}", "---", text).split())


def missing(output: str, printed: str) -> list[str]:
    """Return the paragraphs of an output that were not printed; ``…`` stands for anything."""
    paragraphs = [shown(part) for part in output.split("\n\n")]
    patterns = [re.escape(part).replace("…", ".*") for part in paragraphs]
    return [part for part in patterns if not re.search(part, shown(printed))]


def shell(folder: Path) -> dict[str, str]:
    """Return an environment in which the commands are those of this checkout."""
    tools = folder / "bin"
    tools.mkdir()
    for name, arguments in (("wdaverify", "-m wdaverify"), ("python", "")):
        tool = tools / name
        tool.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {arguments} "$@"\n')
        tool.chmod(0o755)
    path = f"{tools}:{os.environ['PATH']}"
    return os.environ | {
        "PATH": path, "PYTHONPATH": str(ROOT), "COLUMNS": "100", "MPLBACKEND": "Agg",
        "XDG_CACHE_HOME": str(folder / "cache"),
    }  # fmt: skip


def follow(page: Path, folder: Path, *, long: bool) -> int:
    """Run the commands of a page; return how many there were.

    The long ones are left out unless asked for, and the output of their block with them.
    """
    for name in ("problems", "tests"):
        (folder / name).symlink_to(ROOT / name)
    for _, text in blocks(page, "python"):
        if name := re.match(r"# (\w+\.py)\n", text):  # a block that is a file, and says which
            (folder / name[1]).write_text(text)
    environment, ran = shell(folder), 0
    for commands, output, session in steps(page):
        kept = [line for line in commands if not line.startswith(tuple(ELSEWHERE))]
        kept = [line for line in kept if long or not any(word in line for word in LONG)]
        printed = ""
        for line in kept:
            done = subprocess.run(
                line, shell=True, cwd=folder, env=environment, capture_output=True, text=True,
                check=False, timeout=600,
            )  # fmt: skip
            printed += done.stdout + done.stderr
            assert done.returncode in ((0, 1, 2, 3) if session else (0,)), f"{line}\n{printed}"
        if len(kept) == len(commands):
            lost = missing(output, printed)
            assert not lost, f"{page.name}: {commands}\nnot printed: {lost}\nbut: {printed}"
        ran += len(kept)
    return ran


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_of_a_page_run(page, tmp_path):
    follow(page, tmp_path, long=False)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_long_commands_of_a_page_run_too(page, tmp_path):
    follow(page, tmp_path, long=True)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_data_blocks_can_be_read(page):
    for _, text in blocks(page, "toml"):
        tomllib.loads(text.replace("…", ""))
    for _, text in blocks(page, "json"):  # one object, or one on each line
        for line in [text] if text.startswith("{\n") else text.splitlines():
            json.loads(line)


@pytest.mark.parametrize(
    "page",
    [
        "```sh\nwdaverify no-such-command\n```\n",
        "```sh\nwdaverify verify problems/relu-line\n```\n\n```text\n 0.5  17.25  exact\n```\n",
    ],
    ids=["a command that fails", "an output that is not printed"],
)
def test_a_wrong_page_is_noticed(page, tmp_path):
    (tmp_path / "page.md").write_text(page)
    with pytest.raises(AssertionError):
        follow(tmp_path / "page.md", tmp_path, long=False)
