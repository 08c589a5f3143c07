"""Progress: parts of loops within loops, time left, and every stage on a real terminal."""

import math
import re

import pytest

from wdaverify.cli.progress import SILENCE, Forecast, duration, shown
from wdaverify.limits import Limits


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


# what limits know --------------------------------------------------------------------------


def test_loops_within_loops_know_their_part_of_the_whole():
    limits, told = Limits(), []
    limits.watch.append(lambda words, finished: told.append((words, finished)))
    with limits.part(1, 4):
        with limits.part(3, 5):
            limits.report("inside", 0.5)
        with limits.rounds():
            limits.report("who knows", 0.9)
        with limits.apart():
            limits.report("once", 0.25)
        assert limits.finished() == 0.25
    parts = dict(told)
    assert parts["inside"] == pytest.approx((1 + (3 + 0.5) / 5) / 4)
    assert parts["who knows"] == 0.25
    assert parts["once"] == 0.25
    assert limits.parts == []


def test_an_error_leaves_no_loop_behind():
    limits = Limits()
    with pytest.raises(ValueError), limits.part(1, 2), limits.apart():
        raise ValueError
    assert limits.parts == []


# what a forecast says ----------------------------------------------------------------------


def test_time_left_goes_on_as_it_began_and_counts_down(clock):
    forecast = Forecast(Limits(), clock=clock)
    forecast.stage("attack", 0.0)
    clock.now += 10
    forecast.stage("attack", 0.25)
    assert forecast.left == pytest.approx(30)
    assert forecast.line() == "attack 25%, about 30 s left"
    clock.now += 12
    assert forecast.left == pytest.approx(18)
    clock.now += 100
    assert forecast.left == 0
    assert forecast.line() == "attack 25%"


def test_nothing_is_guessed_too_early_or_without_a_total(clock):
    forecast = Forecast(Limits(), clock=clock)
    forecast.stage("attack", 0.0)
    clock.now += 0.5
    forecast.stage("attack", 0.5)
    assert forecast.left is None
    forecast.stage("cells", 10.0)
    clock.now += 60
    forecast.stage("cells", 610.0)
    assert forecast.left is None
    assert forecast.line() == "cells · 610 found, 10 cells/s"


def test_cells_of_a_second_enumeration_have_a_rate_of_their_own(clock):
    forecast = Forecast(Limits(), clock=clock)
    for wait, count in ((0.1, 1.0), (1.9, 50.0), (1.0, 2001.0), (1.0, 10.0)):
        clock.now += wait
        forecast.stage("cells", count)
    assert forecast.line() == "cells · 10 found"
    clock.now += 1.0
    forecast.stage("cells", 30.0)
    assert forecast.line() == "cells · 30 found, 20 cells/s"


def test_radii_are_counted_with_their_gap(clock):
    limits = Limits()
    forecast = Forecast(limits, 4, clock)
    limits.watch.append(forecast.detail)
    for k, radius in enumerate(("0.1", "0.2", "0.3")):
        with limits.part(k, 4):
            forecast.stage(f"radius {radius}", 0.5)
            clock.now += 2.0
            forecast.stage(f"radius {radius}", 0.001)
            limits.report("7 of 9 samples open", 0.0)
    assert forecast.line() == (
        "exact 50%, about 6 s left · radius 0.3 (3 of 4), relative gap 1.0e-03 · "
        "7 of 9 samples open"
    )


def test_work_that_begins_again_is_timed_again(clock):
    forecast = Forecast(Limits(), clock=clock)
    forecast.stage("proof", math.nan)
    clock.now += 100
    forecast.detail("label 0", 0.9)
    forecast.detail("checking the file", 0.0)
    clock.now += 2
    forecast.detail("checking the file", 0.5)
    assert forecast.left == pytest.approx(2)


def test_limit_and_interruption_are_named(clock):
    limits = Limits(seconds=1000)
    forecast = Forecast(limits, clock=clock)
    forecast.stage("curve", math.nan)
    assert re.fullmatch(r"curve · limit in 1\d min", forecast.line())
    limits.stop.set()
    assert forecast.line() == "stopping, Ctrl-C again ends at once · curve"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (200, "3 min 20 s"), (1500, "25 min"),
     (7500, "2 h 5 min")],
)  # fmt: skip
def test_durations_in_words(seconds, words):
    assert duration(seconds) == words


def test_without_a_terminal_a_line_now_and_then(clock, capsys):
    forecast = Forecast(Limits(), clock=clock)
    with shown(forecast, quiet=False) as tell:
        tell.stage("attack", 0.0)
        clock.now += SILENCE / 2
        tell.stage("attack", 0.25)
        assert capsys.readouterr().err == ""
        clock.now += SILENCE / 2
        tell.stage("attack", 0.5)
        tell.detail("more", 0.5)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "wdaverify: 0 s: attack 50%, about 30 s left\n"
    with shown(forecast, quiet=True) as tell:
        clock.now += 10 * SILENCE
        tell.stage("attack", 0.5)
    assert capsys.readouterr().err == ""


# on a real terminal ------------------------------------------------------------------------


def frames(text: str) -> list[str]:
    """What the line showed, frame by frame."""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-ln-z]", "\n", re.sub(r"\x1b\[[0-9;]*m", "", text))
    return [line.strip() for line in re.split(r"[\r\n]+", plain) if line.strip()]


def words(text: str) -> str:
    return " ".join(frames(text))


STAGES = [
    (("verify", "problems/iris", "--samples", "20"),
     ("attack", "exact", "radius 0.1 (3 of 4), relative gap", "certificates")),
    (("attack", "problems/breast", "--samples", "10", "--radius", "0.05"), ("attack", "%")),
    (("exact", "problems/iris", "--engine", "cells", "--radius", "0.05"),
     ("exact", "relative gap", "samples open")),
    (("curve", "problems/iris", "--samples", "20"), ("curve", "%")),
    (("distances", "problems/breast", "--samples", "40"), ("distances", "%", "samples open")),
    (("certify", "problems/breast-cancer", "--radius", "0.05"), ("growth (4 of",)),
    (("cells", "problems/digits", "--time-limit", "3"),
     ("cells", "found, ", "cells/s", "limit in")),
    (("prove", "problems/iris", "--samples", "20", "--radius", "0.05", "--out", "OUT"),
     ("exact", "proof", "checking the file")),
    (("check", "OUT"), ("checking the proof", "%")),
    (("replay", "problems/iris", "--radius", "0.1"), ("exact",)),
]  # fmt: skip
"""Commands that take a moment, and what has to be seen of them."""


@pytest.mark.slow
def test_every_stage_shows_up_on_a_terminal(on_a_terminal, tmp_path):
    for arguments, expected in STAGES:
        given = [str(tmp_path / "proof") if a == "OUT" else a for a in arguments]
        code, text = on_a_terminal(120, *given)
        assert code == (3 if "--time-limit" in given else 0), text
        for word in expected:
            assert word in words(text), (arguments, word)


def test_a_line_of_progress_on_a_terminal_and_none_when_quiet(on_a_terminal):
    given = ("exact", "problems/iris", "--samples", "30", "--radius", "0.05", "--engine", "cells")
    code, text = on_a_terminal(80, *given)
    assert code == 0
    lines = [line for line in frames(text) if "0:00:0" in line]
    assert lines
    assert all(len(line) < 80 for line in lines)
    assert any("cells" in line or "exact" in line for line in lines)
    assert on_a_terminal(80, *given, "--quiet") == (0, "")


@pytest.mark.slow
def test_time_left_is_plausible(on_a_terminal):
    """Whatever is said in the second half of the attack is not off by more than its length."""
    code, text = on_a_terminal(100, "attack", "problems/digits", "--samples", "200")
    assert code == 0
    pattern = r"0:00:(\d\d) ━+ attack (\d+)%, about (?:(\d+) min )?(\d+) s left"
    said = [tuple(int(v or 0) for v in found) for found in re.findall(pattern, text_of(text))]
    assert len(said) > 5
    end = max(now for now, *_ in said) + 1
    for now, part, minutes, seconds in said:
        if part > 50:
            assert 60 * minutes + seconds <= 2 * end, (now, part)


def text_of(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
