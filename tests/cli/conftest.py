"""Commands run in this process, or in one of their own as a user runs them."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from wdaverify.cli import main

ROOT = Path(__file__).parents[2]
PROBLEMS = ROOT / "problems"


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def call(capsys):
    """Run a command in this process."""

    def run(*arguments: object) -> Outcome:
        with pytest.raises(SystemExit) as stop:
            main([str(a) for a in arguments])
        captured = capsys.readouterr()
        return Outcome(int(stop.value.code or 0), captured.out, captured.err)

    return run


@pytest.fixture
def environment(tmp_path):
    """Variables of a process whose output is no terminal and whose locale is UTF-8."""
    kept = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR", "FORCE_COLOR")}
    path = os.pathsep.join([str(ROOT), kept.get("PYTHONPATH", "")])
    return kept | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "MPLCONFIGDIR": str(tmp_path)}


@pytest.fixture
def start(environment):
    """Start a command in a process of its own; what is left of it is killed in the end."""
    started = []

    def run(*arguments: object, **more) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "wdaverify", *map(str, arguments)]
        given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        process = subprocess.Popen(command, **given | {"env": environment, "cwd": ROOT} | more)
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def finish(start):
    """Run a command in a process of its own to its end."""

    def run(*arguments: object, **more) -> Outcome:
        process = start(*arguments, **more)
        out, err = process.communicate(timeout=120)
        return Outcome(process.returncode, out or "", err or "")

    return run


@pytest.fixture
def on_a_terminal(environment):
    """Run a command on a pseudo-terminal of some width; return its exit code and what it showed."""

    def run(columns: int, *arguments: object, **variables: str) -> tuple[int, str]:
        main_end, side = pty.openpty()
        fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        process = subprocess.Popen(
            [sys.executable, "-m", "wdaverify", *map(str, arguments)],
            stdout=side, stderr=side, stdin=side, cwd=ROOT,
            env=environment | {"TERM": "xterm-256color"} | variables,
        )  # fmt: skip
        os.close(side)
        shown = b""
        with suppress(OSError):  # Linux says so when the other side is closed
            while more := os.read(main_end, 1 << 16):
                shown += more
        os.close(main_end)
        return process.wait(), shown.decode().replace("\r\n", "\n")

    return run
