"""A condition as a margin: the same number as the condition itself, everywhere."""

import numpy as np
import pytest
from vnnlib.samples import box, condition, declarations, network

import wdaverify as wv
from wdaverify.loss import margins
from wdaverify.vnnlib import read_property

GRID = np.stack(np.meshgrid(*[np.linspace(-1, 1, 41)] * 2), axis=-1).reshape(-1, 2)


def question_of(seed):
    rng = np.random.default_rng(seed)
    net = network(seed, classes=4)
    text, value = condition(rng, 4)
    body = declarations(2, 4) + box([-1.0, -1.0], [1.0, 1.0]) + f"(assert {text})"
    return read_property(net, body), net, value


@pytest.mark.parametrize("seed", range(25))
def test_margin_has_the_sign_of_the_condition(seed):
    question, net, value = question_of(seed)
    problem = question.queries[0].problem
    found = margins(problem.network.logits(GRID), np.full(len(GRID), problem.labels[0]))
    expected = np.array([value(y) for y in net.logits(GRID)])
    assert np.abs(found - expected).max() <= 1e-12
    assert [question.holds(x) for x in GRID[::97]] == (expected[::97] >= 0).tolist()


def test_the_comparison_would_notice_a_wrong_gate(monkeypatch):
    honest = wv.vnnlib.condition._balanced
    monkeypatch.setattr(
        wv.vnnlib.condition, "_balanced", lambda v, *, smaller: honest(v, smaller=not smaller)
    )
    failed = 0
    for seed in range(20):
        question, net, value = question_of(seed)
        problem = question.queries[0].problem
        found = margins(problem.network.logits(GRID), np.full(len(GRID), problem.labels[0]))
        failed += np.abs(found - [value(y) for y in net.logits(GRID)]).max() > 1e-3
    assert failed >= 3


@pytest.mark.parametrize("seed", range(14))
def test_answers_agree_with_a_grid_and_between_engines(seed):
    question, net, value = question_of(seed)
    best = max(value(y) for y in net.logits(GRID))
    answers = {engine: question.decide(engine=engine) for engine in ("cells", "search", "milp")}
    for verdict in answers.values():
        assert verdict.answer == answers["cells"].answer
        assert verdict.answer == "sat" or best < 0
        if verdict.answer == "sat":
            assert value(net.logits(verdict.point[None])[0]) >= -1e-12


def test_both_answers_occur():
    answers = [question_of(seed)[0].decide(engine="cells").answer for seed in range(30)]
    assert 3 <= answers.count("unsat") <= 27
