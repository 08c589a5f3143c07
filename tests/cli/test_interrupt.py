"""Ctrl-C and limits: real signals at several moments; the brackets left hold what is true."""

import functools
import json
import math
import signal
import sys
import time

import pytest

import wdaverify as wv
from wdaverify.__main__ import start as start_program
from wdaverify.bounds.options import parts_of
from wdaverify.cli.interrupt import listen, signals_restored
from wdaverify.limits import Limits
from wdaverify.storage import write_json

NEAR = 1e-7


def number(value) -> float:
    return float(value)


@functools.cache
def truth(name: str, samples: int, radius: float) -> float:
    problem = wv.load_problem(f"problems/{name}").head(samples)
    found = wv.solve(problem, radius=radius)
    assert found.gap <= NEAR
    return found.lower


def interrupted(start, seconds: float, *arguments, kind=signal.SIGINT) -> dict:
    """Send a signal some time after the problem was read; return the JSON."""
    process = start(*arguments, "--json", "-")
    assert "folded network" in process.stderr.readline()  # a note: from here on it is work
    time.sleep(seconds)
    process.send_signal(kind)
    out, err = process.communicate(timeout=120)
    assert "Traceback" not in err
    if process.returncode == 0:
        pytest.skip("it was finished before it was interrupted")
    assert process.returncode == 3, err
    assert err.splitlines()[-1].startswith("wdaverify: ")
    return json.loads(out)


# in this process ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_the_second_does_what_it_did(kind):
    heard, limits = [], Limits()
    before = signal.signal(kind, lambda *_: heard.append(kind))
    try:
        with signals_restored():
            listen(limits)
            signal.raise_signal(kind)
            assert limits.stop.is_set()
            assert heard == []
            signal.raise_signal(kind)
            assert heard == [kind]
        signal.raise_signal(kind)
        assert heard == [kind, kind]
    finally:
        signal.signal(kind, before)


# limits ------------------------------------------------------------------------------------


def test_a_time_limit_leaves_brackets_that_hold(call):
    """Whenever it comes, and whatever was done by then."""
    exact = truth("iris", 20, 0.05)
    for seconds in ("0", "0.05", "0.2"):
        for command in ("verify", "exact", "worst-case", "replay"):
            given = ("--samples", 20, "--radius", 0.05, "--time-limit", seconds)
            done = call(command, "problems/iris", *given, "--json", "-")
            assert done.code in (0, 3)
            data = json.loads(done.out)
            row = data["rows"][0] if "rows" in data else data
            assert number(row["lower"]) <= exact + NEAR
            assert number(row["upper"]) >= exact - NEAR
            if done.code == 3:
                assert data["stopped"]


@pytest.mark.parametrize("engine", ["cells", "search"])
def test_a_time_limit_leaves_distances_that_hold(call, engine):
    done = call("distances", "problems/iris", "--samples", 12, "--json", "-")
    exact = json.loads(done.out)
    for seconds in ("0", "0.1"):
        given = ("--samples", 12, "--engine", engine, "--time-limit", seconds, "--json", "-")
        data = json.loads(call("distances", "problems/iris", *given).out)
        ends = zip(data["lower"], data["upper"], exact["lower"], exact["upper"], strict=True)
        for low, high, true_low, true_high in ends:
            assert number(low) <= number(true_high) + NEAR
            assert number(high) >= number(true_low) - NEAR
        assert any(number(low) > 0 for low in data["lower"])


def test_a_time_limit_leaves_a_curve_that_holds(call):
    exact = truth("iris", 20, 0.05)
    for seconds in ("0", "0.2"):
        given = ("--samples", 20, "--time-limit", seconds, "--json", "-")
        done = call("curve", "problems/iris", *given)
        assert done.code == 3
        data = json.loads(done.out)
        low, high = between(data, 0.05)
        assert low <= exact + NEAR
        assert high >= exact - NEAR


def between(data: dict, radius: float) -> tuple[float, float]:
    """Read a curve of order 1 at a radius."""
    corners = data["radius"]
    k = max(k for k, corner in enumerate(corners) if corner <= radius)
    slopes = (data["final_slope"], data["final_slope_upper"])
    ends = []
    for values, slope in zip((data["lower"], data["upper"]), slopes, strict=True):
        rise = number(slope)
        if k + 1 < len(corners):
            rise = (values[k + 1] - values[k]) / (corners[k + 1] - corners[k])
        ends.append(values[k] + rise * (radius - corners[k]) if math.isfinite(rise) else math.inf)
    return ends[0], ends[1]


def test_limits_leave_upper_and_lower_bounds_that_hold(call):
    exact = truth("iris", 20, 0.05)
    for seconds in ("0", "0.3"):
        given = ("problems/iris", "--samples", 20, "--radius", 0.05, "--time-limit", seconds)
        for row in json.loads(call("certify", *given, "--json", "-").out)["rows"]:
            assert number(row["value"]) >= exact - NEAR
        for row in json.loads(call("attack", *given, "--json", "-").out)["rows"]:
            assert number(row["value"]) <= exact + NEAR


# real signals ------------------------------------------------------------------------------


def test_ctrl_c_in_the_exact_stage(start):
    given = ("exact", "problems/digits", "--samples", "150", "--radius", "0.05")
    data = interrupted(start, 2.0, *given)
    (row,) = data["rows"]
    assert number(row["lower"]) <= number(row["upper"])
    assert "interrupted" in data["stopped"]


def test_ctrl_c_while_results_are_written_loses_none(call, monkeypatch):

    def late(path: str, data: dict) -> None:
        signal.raise_signal(signal.SIGINT)
        write_json(path, data)

    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where pytest runs beside
    monkeypatch.setattr("wdaverify.cli.session.write_json", late)
    done = call("exact", "problems/relu-interval", "--json", "-")
    assert done.code == 0
    assert json.loads(done.out)["rows"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_while_it_is_imported(monkeypatch, capsys):
    class Half:
        def __getattr__(self, name: str) -> None:
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "wdaverify.cli", Half())
    with pytest.raises(SystemExit) as stop:
        start_program()
    assert stop.value.code == 3
    assert capsys.readouterr() == ("", "wdaverify: interrupted\n")


def test_ctrl_c_before_the_work_is_one_line(call, monkeypatch):
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("wdaverify.cli.session.load_stored", interrupt)
    done = call("exact", "problems/moons")
    assert (done.code, done.out, done.err.strip()) == (3, "", "wdaverify: interrupted")


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.05, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])
def test_ctrl_c_at_any_moment_of_verify(start, seconds):
    """Import, attack, exact stage and certificates."""
    given = ("verify", "problems/breast", "--samples", "60", "--radius", "0.02")
    data = interrupted(start, seconds, *given)
    exact = truth("breast", 60, 0.02)
    (row,) = data["rows"]
    assert number(row["attack"]) <= exact + NEAR
    assert number(row["lower"]) <= exact + NEAR
    assert number(row["upper"]) >= exact - NEAR
    assert number(row["certificate"]) >= exact - NEAR


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [1.0, 3.0, 5.0])
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_in_the_attack(start, seconds, kind):
    given = ("attack", "problems/digits", "--method", "all", "--radius", "0.05")
    data = interrupted(start, seconds, *given, kind=kind)
    assert "interrupted" in data["stopped"]
    values = [number(row["value"]) for row in data["rows"]]
    assert len(values) == len(parts_of("all", by_reach=False)) + 1
    assert values[-1] >= max(values) - 1e-9


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ("cells", "problems/digits"),
        ("curve", "problems/iris", "--loss", "cross-entropy"),
        ("distances", "problems/digits"),
        ("certify", "problems/digits-deep", "--radius", "0.05"),
        ("prove", "problems/digits", "--radius", "0.05", "--out", "/dev/null"),
        ("replay", "problems/digits", "--radius", "0.05"),
        ("worst-case", "problems/digits", "--radius", "0.05"),
        ("exact", "problems/digits", "--radius", "0.05", "--workers", "2"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_ctrl_c_leaves_what_is_known(start, arguments):
    data = interrupted(start, 2.0, *arguments)
    assert "interrupted" in data["stopped"]
    row = data["rows"][0] if arguments[0] == "exact" else data
    if isinstance(row.get("lower"), list):
        pairs = zip(row["lower"], row["upper"], strict=True)
        assert all(number(low) <= number(high) + 1e-9 for low, high in pairs)
    elif row.get("lower") is not None:
        assert number(row["lower"]) <= number(row["upper"])


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_second_ctrl_c_ends_everything_at_once(start, workers):
    process = start("exact", "problems/digits", "--radius", "0.05", "--workers", workers)
    assert "folded network" in process.stdout.readline()
    time.sleep(3.0)
    process.send_signal(signal.SIGINT)
    time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)  # workers hold the same pipe: they end as well
    assert process.returncode == 3
    assert "Traceback" not in err
