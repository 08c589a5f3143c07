"""The question line: canonical, complete, and read back as the same question."""

import json
import math
from fractions import Fraction

import numpy as np
import pytest

from wdaverify import Box, Polytope, Problem, ReLUNetwork, TransportCost, UnsupportedError
from wdaverify.checker.question import read_question
from wdaverify.checker.reading import fractions
from wdaverify.proof.question import question_digest, question_line

NETWORK = ReLUNetwork([[[0.1, -0.0]], [[0.0], [1.0]]], [[1.0], [0.0, -0.0]], [[0.25]])


def problem(**changes):
    given = {"support": Box(-1.0, [1.0, np.inf]), "weights": [1.0, 0.0, 2.0]} | changes
    points = given.pop("points", [[-0.0, 0.5], [0.1, 0.2], [1.0, 0.0]])
    return Problem(NETWORK, points, [0, 1, 1], **given)


def test_canonical():
    line = question_line(problem(), 1)
    value = json.loads(line)
    assert line == json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    assert b"-0.0" not in line
    assert b"\n" not in line
    assert value["radius"] == 1.0
    assert b'"radius":1.0' in line
    assert value["support"] == {"A": [], "b": [], "lower": [-1.0, -1.0], "upper": [1.0, None]}


def test_the_question_is_read_back():
    q = read_question(question_line(problem(cost=TransportCost("l1", 1.5, 0.5)), 0.1))
    assert q.masses == [Fraction(1, 3), Fraction(2, 3)]
    assert q.labels == [0, 1]
    assert (q.norm, q.order, q.label_cost) == ("l1", Fraction(3, 2), Fraction(1, 2))
    assert q.radius == Fraction(0.1)
    x = [Fraction(0.3), Fraction(1, 7)]
    hidden = Fraction(0.1) * x[0] + 1
    assert q.logits(fractions(x)) == [0, hidden]
    low = [Fraction(-20), Fraction(0)]
    assert q.logits(fractions(low)) == [0, (Fraction(0.1) * -20 + 1) / 4]
    assert (
        read_question(question_line(problem(cost=TransportCost("l2", math.inf)), 0.1)).order is None
    )


def test_equal_questions_have_equal_digests():
    assert question_digest(problem(), 1) == question_digest(problem(name="other"), 1.0)
    digests = {
        question_digest(problem(**changes), 1.0)
        for changes in ({}, {"loss": "hinge"}, {"weights": [1.0, 1.0, 2.0]}, {"support": Box()},
                        {"cost": TransportCost("l1")}, {"cost": TransportCost("linf", 2)},
                        {"cost": TransportCost("linf", 1, 1.0)})
    }  # fmt: skip
    assert len(digests) == 7
    assert question_digest(problem(), 0.5) not in digests


def test_rows_about_one_feature_become_box_ends():
    rows = [[2.0, 0.0], [-1.0, 0.0], [0.0, 3.0], [1.0, 1.0], [0.0, -1.0], [0.0, -4.0]]
    ends = [3.0, 1.0, 1.0, 2.0, 7.0, 4.0]
    value = json.loads(
        question_line(problem(support=Polytope(rows, ends), points=[[0.0, 0.0]] * 3), 1)
    )
    support = value["support"]
    assert support["lower"] == [-1.0, -1.0]
    assert support["upper"] == [1.5, None]  # 1/3 is no float64
    assert support["A"] == [[0.0, 3.0], [1.0, 1.0]]
    assert support["b"] == [1.0, 2.0]


def test_a_row_that_a_sample_misses_by_rounding_stays_a_row():
    rows = [[1.0, 0.0]]
    support = Polytope(rows, [0.1])
    value = json.loads(question_line(problem(support=support, points=[[0.1, 0.0]] * 3), 1))
    assert value["support"]["upper"] == [0.1, None]
    beyond = float(np.nextafter(0.1, 1))
    value = json.loads(question_line(problem(support=support, points=[[beyond, 0.0]] * 3), 1))
    assert value["support"]["upper"] == [None, None]
    assert value["support"]["A"] == rows


@pytest.mark.parametrize("loss", ["dlr", "truncated-dlr"])
def test_losses_without_proof_are_refused(loss):
    three = ReLUNetwork([np.zeros((3, 2))], [np.zeros(3)])
    with pytest.raises(UnsupportedError, match="dlr"):
        question_line(Problem(three, [[0.0, 0.0]], [0], loss=loss), 1.0)
