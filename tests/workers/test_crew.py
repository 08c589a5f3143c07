"""Whoever answers and whoever dies: equal answers; and what goes wrong is said."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
from workers.services import alive, counting, deadly, failing, slow

from wdaverify.errors import LimitReached, SolverError
from wdaverify.limits import Limits
from wdaverify.workers import staff
from wdaverify.workers.crew import Crew

ROUNDS = [[(key, number) for key in "abcdef"] for number in range(4)]


@pytest.fixture
def limits():
    return Limits()


@pytest.fixture
def crew(request, limits):
    made = Crew(request.param, 2, limits)
    yield made
    made.close()


def ask(crew, rounds=ROUNDS):
    """Return the answers of all rounds, and who gave them."""
    found = [crew.run([(request, request[0]) for request in one]) for one in rounds]
    return [[value for value, _ in one] for one in found], {pid for one in found for _, pid in one}


def expected():
    service = counting(None)
    return [[service(request)[0] for request in one] for one in ROUNDS]


@pytest.mark.parametrize("crew", [counting], indirect=True)
def test_keys_stay_with_their_worker_and_outlive_it(crew):
    half, first = ask(crew, ROUNDS[:2])
    assert len(first) == 2
    os.kill(min(first), signal.SIGKILL)
    rest, second = ask(crew, ROUNDS[2:])
    assert half + rest == expected()
    assert min(first) not in second


@pytest.mark.parametrize("crew", [counting], indirect=True)
def test_a_lost_history_would_show(crew):
    """The comparison above can fail: without their histories keys start again."""
    half, first = ask(crew, ROUNDS[:2])
    os.kill(min(first), signal.SIGKILL)
    crew._history.clear()
    rest, _ = ask(crew, ROUNDS[2:])
    assert half + rest != expected()


@pytest.mark.parametrize("crew", [counting], indirect=True)
def test_two_crews_take_turns(crew, limits):
    other = Crew(counting, 2, limits)
    found = [[], []]
    for one in ROUNDS:
        for k, each in enumerate((crew, other)):
            found[k] += ask(each, [one])[0]
    other.close()
    assert found == [expected(), expected()]


@pytest.mark.parametrize("crew", [deadly], indirect=True)
def test_a_request_that_kills_is_given_up_and_leaves_nobody(crew):
    _, pids = ask(crew, ROUNDS[:1])
    with pytest.raises(SolverError, match="3 processes ended without an answer to the same"):
        crew.run([(("a", "die"), "a")])
    assert not any(alive(pid) for pid in pids)
    assert ask(crew, ROUNDS[1:2])[0] == expected()[1:2], "the history of others is kept"


@pytest.mark.parametrize("crew", [failing], indirect=True)
def test_what_a_service_raises_is_raised_here(crew):
    with pytest.raises(SolverError, match="of no module"):
        crew.run([(1, "a")])


@pytest.mark.parametrize("crew", [slow], indirect=True)
def test_an_interrupt_ends_what_workers_do(crew, limits):
    pid = crew.run([(0.0, "a")])[0]
    threading.Timer(0.3, limits.stop.set).start()
    with pytest.raises(LimitReached, match="interrupted"):
        crew.run([(60.0, "a")])
    crew.close()
    assert Path(f"/proc/{pid}").exists(), "joblib keeps idle processes for the next crew"


@pytest.mark.parametrize("crew", [slow], indirect=True)
def test_whoever_has_nothing_to_do_takes_over(crew):
    """All keys with one worker, the other one free: it takes the last ones."""
    keys = "abcd"
    crew.run([(0.0, key) for key in keys])
    crew._places = dict.fromkeys(keys, crew._places["a"])
    crew._last = dict.fromkeys(keys, 0.2)
    assert len(set(crew.run([(0.2, key) for key in keys]))) == 2


def broken(_):
    raise ValueError("no service here")


@pytest.mark.parametrize("crew", [broken], indirect=True)
def test_what_making_a_service_raises_is_raised_here(crew):
    with pytest.raises(ValueError, match="no service here"):
        crew.run([(1, "a")])


@pytest.mark.parametrize("crew", [counting], indirect=True)
def test_who_would_answer_differently_is_sent_away(crew, monkeypatch):
    ours = staff.hello()
    other = ours._replace(versions=ours.versions | {"numpy": "0.1"})
    monkeypatch.setattr(staff, "hello", lambda: other)
    with pytest.raises(SolverError, match=r"placed 3 times in vain.* has numpy .*, expected 0\.1"):
        crew.run([(("a", 1), "a")])


SCRIPT = """
    import os, signal, sys, threading
    from wdaverify.limits import Limits
    from wdaverify.workers.crew import Crew
    def make(limits):
        def answer(seconds):
            limits.stop.wait(seconds)
            return os.getpid()
        return answer
    crew = Crew(make, 2, Limits())
    print(*crew.run([(0.1, key) for key in "ab"]), flush=True)
    END
"""


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("raise SystemExit(5)", 5),
        ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        ("threading.Timer(.5, os.kill, (os.getpid(), 9)).start(); crew.run([(60., 'a')])", -9),
    ],
    ids=["idle", "killed", "killed at work"],
)
def test_nobody_outlives_the_program(end, code):
    """It is given on the command line: there is no script that a worker could import."""
    script = textwrap.dedent(SCRIPT).replace("END", end)
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script],
        check=False, capture_output=True, text=True, timeout=60,
        env=os.environ | {"PYTHONPATH": str(root)},
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    pids = done.stdout.split()
    assert len(pids) == 2
    assert not any(alive(pid) for pid in pids)
