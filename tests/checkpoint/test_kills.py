"""Processes killed by SIGKILL at random times and resumed: the result of one left alone."""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROBLEMS = Path(__file__).parents[2] / "problems"
KILLS = 6


def command(tmp_path, arguments, *more):
    name, problem, *options = arguments
    out = tmp_path / "out.json"
    words = [name, str(PROBLEMS / problem), *options, "--json", str(out), *more]
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "wdaverify", *words],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def result(tmp_path):
    found = json.loads((tmp_path / "out.json").read_text())
    (tmp_path / "out.json").unlink()
    return {name: value for name, value in found.items() if name not in ("seconds", "stages")}


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ("exact", "digits", "--samples", "24", "--radius", "0.05"),
        ("exact", "digits", "--samples", "16", "--radius", "0.05", "--workers", "2"),
        ("verify", "iris", "--samples", "30"),
        ("curve", "moons", "--samples", "10", "--order", "2", "--tolerance", "1e-4"),
        ("distances", "digits", "--samples", "50"),
        ("worst-case", "breast", "--samples", "30", "--radius", "0.1"),
        ("exact", "iris", "--loss", "cross-entropy", "--samples", "15", "--radius", "0.1"),
    ],
    ids=" ".join,
)
def test_killed_at_random_times(arguments, tmp_path):
    start = time.monotonic()
    alone = command(tmp_path, arguments)
    assert alone.communicate()[1] is not None
    assert alone.returncode == 0
    whole, expected = time.monotonic() - start, result(tmp_path)
    rng, kills = random.Random(0), 0
    while kills < KILLS:
        process = command(tmp_path, arguments, "--resume")
        try:
            process.communicate(timeout=rng.uniform(0.2, 0.95) * whole)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            kills += 1
        if (tmp_path / "out.json").exists():
            assert result(tmp_path) == expected
    process = command(tmp_path, arguments, "--resume")
    _, err = process.communicate()
    assert process.returncode == 0, err
    assert result(tmp_path) == expected
    assert list((tmp_path / "cache" / "wdaverify").iterdir()) == []
