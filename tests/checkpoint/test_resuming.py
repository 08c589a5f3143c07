"""Runs that die and go on: the answers are those of a run that was left alone, to the last bit."""

import dataclasses
import threading

import numpy as np
import pytest

from wdaverify import Box, Problem, ReLUNetwork, TransportCost, sandwich, solve, value_curve
from wdaverify.checkpoint import Checkpoint, question_digest
from wdaverify.encoding import decode, encode
from wdaverify.exact import kept
from wdaverify.exact.dispatch import Here
from wdaverify.exact.journal import TYPES
from wdaverify.limits import Limits
from wdaverify.search import tree
from wdaverify.states import States

OPTIONS = {"engine": "auto", "tolerance": 1e-7}


class DiedError(Exception):
    """Stands for a SIGKILL: nothing catches it."""


def random_problem(seed=0, count=8, sizes=(2, 6, 4, 3), **options):
    rng = np.random.default_rng(seed)
    weights = [rng.normal(size=shape) for shape in zip(sizes[1:], sizes[:-1], strict=True)]
    network = ReLUNetwork(weights, [0.3 * rng.normal(size=size) for size in sizes[1:]])
    points = rng.uniform(-0.8, 0.8, size=(count, sizes[0]))
    labels = network.logits(points).argmax(axis=1)
    return Problem(network, points, labels, support=Box(-1.0, 1.0), **options)


@pytest.fixture
def dies(monkeypatch):
    """Let the engine die after some answers; return how many it gave."""
    real, state = Here.stream, {"left": np.inf, "given": 0}

    def stream(self, requests):
        for answer in real(self, requests):
            if state["left"] <= 0:
                raise DiedError
            state["left"] -= 1
            state["given"] += 1
            yield answer

    def after(count):
        state.update(left=count, given=0)
        return state

    monkeypatch.setattr(Here, "stream", stream)
    return after


def outcome(value):
    worst = [getattr(value.worst_case, f.name) for f in dataclasses.fields(value.worst_case)]
    head = [value.lower, value.upper, value.multiplier, value.attained]
    return [x.tobytes() if isinstance(x, np.ndarray) else x for x in [*head, *worst]]


CASES = {
    "cells": ({"loss": "margin"}, "cells"),
    "cells l2 order 2": ({"loss": "margin", "cost": TransportCost("l2", 2), "count": 3}, "cells"),
    "cells order inf": ({"loss": "hinge", "cost": TransportCost("l1", "inf")}, "cells"),
    "cells zero-one": ({"loss": "zero-one"}, "cells"),
    "cells cross-entropy": ({"loss": "cross-entropy", "count": 1}, "cells"),
    "search": ({"loss": "margin"}, "search"),
    "search order 2": ({"cost": TransportCost("linf", 2), "count": 3}, "search"),
    "search zero-one": ({"loss": "zero-one"}, "search"),
    "search label moves": (
        {"loss": "hinge", "cost": TransportCost("l1", 2, label_cost=0.1), "count": 1},
        "search",
    ),
    "milp": ({"loss": "margin", "count": 1}, "milp"),
}


HEAVY = ("cells l2 order 2", "cells cross-entropy", "cells zero-one", "search label moves", "milp")


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name in HEAVY else ()) for name in CASES],
)
def test_a_run_that_dies_after_any_answer_ends_as_if_it_had_not(name, dies, tmp_path):
    options, engine = CASES[name]
    problem = random_problem(**options)
    state = dies(np.inf)
    expected = outcome(solve(problem, radius=0.3, engine=engine))
    answers = state["given"]
    assert answers > 0
    steps = range(answers) if answers < 12 else range(0, answers, -(-answers // 4))
    for count in steps:
        path = tmp_path / f"{count}.checkpoint"
        dies(count)
        with pytest.raises(DiedError):
            solve(problem, radius=0.3, engine=engine, checkpoint=path)
        dies(np.inf)
        assert outcome(solve(problem, radius=0.3, engine=engine, checkpoint=path)) == expected


def test_a_finished_run_is_read_back_without_the_engine(dies, tmp_path):
    problem, path = random_problem(), tmp_path / "run.checkpoint"
    expected = outcome(solve(problem, radius=0.3, engine="search", checkpoint=path))
    state = dies(0)
    assert outcome(solve(problem, radius=0.3, engine="search", checkpoint=path)) == expected
    assert state["given"] == 0


def test_an_altered_answer_would_show(dies, tmp_path):
    """The tests above can fail."""
    problem, path = random_problem(), tmp_path / "run.checkpoint"
    expected = solve(problem, radius=0.3, engine="search", checkpoint=path)
    checkpoint = Checkpoint(path, problem, {"engine": "search", "tolerance": 1e-7}, resume=True)
    for name in list(checkpoint._places):
        data = checkpoint.get(name)
        answer, *rest = decode(data, TYPES)
        altered = answer._replace(bounds=answer.bounds + 1.0)
        checkpoint.put(name, encode((altered, *rest), TYPES))
    checkpoint.close()
    found = solve(problem, radius=0.3, engine="search", checkpoint=path)
    assert outcome(found) != outcome(expected)


def test_the_curve_dies_and_goes_on(dies, tmp_path):
    problem, path = random_problem(cost=TransportCost("l2", 2), count=1), tmp_path / "run"
    expected = value_curve(problem, tolerance=1e-3)
    for count in (1, 3):
        dies(count)
        with pytest.raises(DiedError):
            value_curve(problem, tolerance=1e-3, checkpoint=path)
    dies(np.inf)
    found = value_curve(problem, tolerance=1e-3, checkpoint=path)
    for name in ("radius", "lower", "upper"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def test_the_attack_is_not_run_again(dies, tmp_path, monkeypatch):
    problem, path = random_problem(count=4), tmp_path / "run"
    expected = sandwich(problem, [0.1, 0.3])
    dies(1)
    with pytest.raises(DiedError):
        sandwich(problem, [0.1, 0.3], checkpoint=path)
    dies(np.inf)
    monkeypatch.setattr("wdaverify.bounds.attack.attack_points", None)  # a call would fail
    found = sandwich(problem, [0.1, 0.3], checkpoint=path)
    assert found.lower_bounds == expected.lower_bounds
    assert [outcome(row.exact) for row in found.rows] == [outcome(r.exact) for r in expected.rows]
    assert found.counts == expected.counts


def test_answers_shaped_by_a_limit_are_not_kept(tmp_path):
    problem, path = random_problem(), tmp_path / "run"
    stop = threading.Event()
    stop.set()
    limited = solve(problem, radius=0.3, engine="search", checkpoint=path, limits=Limits(stop=stop))
    assert limited.status == "bracket"
    found = solve(problem, radius=0.3, engine="search", checkpoint=path)
    assert outcome(found) == outcome(solve(problem, radius=0.3, engine="search"))


@pytest.mark.parametrize("loss", ["margin", "zero-one"])
def test_a_search_that_dies_in_the_midst_of_a_question(loss, tmp_path, monkeypatch):
    """States are taken often here, and the search dies after some of them."""
    monkeypatch.setattr(tree, "MILESTONE", 40)
    monkeypatch.setattr(kept, "LEAST", 0.0)
    monkeypatch.setattr(kept, "SHARE", np.inf)
    problem = random_problem(3, count=6, sizes=(5, 12, 8, 3), loss=loss)
    expected = outcome(solve(problem, radius=0.2, engine="search"))
    path, saves, rng = tmp_path / "run", [], np.random.default_rng(0)
    save = States.save

    def die(self, name, value, types):
        save(self, name, value, types)
        saves.append(name)
        if rng.random() < 0.3:
            raise DiedError

    monkeypatch.setattr(States, "save", die)
    deaths, found = 0, None
    while found is None:
        try:
            found = solve(problem, radius=0.2, engine="search", checkpoint=path)
        except DiedError:
            deaths += 1
    assert deaths >= 3
    assert outcome(found) == expected


def test_a_state_that_was_altered_or_is_foreign_is_none(tmp_path):
    states = States(tmp_path / "states", b"this question")
    states.save("group", [1.0, np.arange(3.0)], {})
    np.testing.assert_array_equal(states.load("group", {})[1], np.arange(3.0))
    assert States(tmp_path / "states", b"another").load("group", {}) is None
    content = (tmp_path / "states" / "group").read_bytes()
    for position in range(len(content)):
        broken = content[:position] + bytes([content[position] ^ 4]) + content[position + 1 :]
        (tmp_path / "states" / "group").write_bytes(broken)
        assert states.load("group", {}) is None
        (tmp_path / "states" / "group").write_bytes(content[:position])
        assert states.load("group", {}) is None
    states.clear()
    assert not (tmp_path / "states").exists()


def test_a_checkpoint_of_another_question_is_not_used(tmp_path):
    problem, path = random_problem(), tmp_path / "run"
    changed = [
        random_problem(1),
        problem.replace(loss="hinge"),
        problem.replace(cost=TransportCost("l1")),
        problem.replace(cost=TransportCost("linf", 2)),
        problem.replace(cost=TransportCost("linf", 1, label_cost=1.0)),
        problem.replace(support=Box(-1.0, 1.0 + 2.0**-52)),
        problem.replace(weights=np.arange(1.0, 9.0)),
        problem.replace(points=problem.points * (1.0 - 2.0**-53)),
    ]
    digests = {question_digest(other) for other in [problem, *changed]}
    assert len(digests) == len(changed) + 1
    for other, options in [(changed[0], OPTIONS), (problem, OPTIONS | {"tolerance": 1e-6})]:
        first = Checkpoint(path, problem, OPTIONS, resume=True)
        first.put(b"name", b"value")
        first.close()
        checkpoint = Checkpoint(path, other, options, resume=True)
        assert checkpoint.get(b"name") is None
        assert "not of this question" in checkpoint.notes[0]
        checkpoint.close(done=True)


def test_short_runs_leave_no_trace_and_long_ones_do(tmp_path):
    problem, path = random_problem(), tmp_path / "folder" / "run"
    short = Checkpoint(path, problem, OPTIONS)
    short.put(b"name", b"value")
    assert short.get(b"name") == b"value"
    short.close()
    assert not path.parent.exists()
    long = Checkpoint(path, problem, OPTIONS, after=1e-3)
    long._timer.join()
    long.put(b"name", b"value")
    long.close()
    again = Checkpoint(path, problem, OPTIONS, resume=True)
    assert again.get(b"name") == b"value"
    again.close(done=True)
    assert not path.exists()


def test_a_place_that_cannot_be_written_is_no_failure(tmp_path):
    (tmp_path / "file").touch()
    checkpoint = Checkpoint(tmp_path / "file" / "run", random_problem(), OPTIONS, resume=True)
    checkpoint.put(b"name", b"value")
    assert checkpoint.get(b"name") is None
    assert not checkpoint.written
    assert "no checkpoint" in checkpoint.notes[0]
    checkpoint.close()


def test_a_second_process_works_without(tmp_path):
    problem, path = random_problem(), tmp_path / "run"
    first = Checkpoint(path, problem, OPTIONS, resume=True)
    second = Checkpoint(path, problem, OPTIONS, resume=True)
    assert "another process" in second.notes[0]
    assert not second.written
    second.close(done=True)
    first.put(b"name", b"value")
    assert first.get(b"name") == b"value"
    first.close(done=True)


def test_a_file_that_is_no_checkpoint_is_left_alone(tmp_path):
    path = tmp_path / "network.onnx"
    path.write_bytes(b"something dear")
    for resume in (True, False):
        checkpoint = Checkpoint(path, random_problem(), OPTIONS, resume=resume, after=0.0)
        assert "expected a file of records" in checkpoint.notes[0]
        checkpoint.close(done=True)
        assert path.read_bytes() == b"something dear"
