"""The question: exact probabilities, nominal risk, and refusal of malformed data."""

from fractions import Fraction

import numpy as np
import pytest

from wdaverify.cost import TransportCost
from wdaverify.errors import ProblemError
from wdaverify.loss import Hinge
from wdaverify.network import ReLUNetwork
from wdaverify.problem import Problem
from wdaverify.support import Box, Polytope

NETWORK = ReLUNetwork([[[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]], [[0.0, 0.0, -1.0]])
POINTS = np.array([[1.0, 0.0], [0.0, 2.0], [-1.0, 1.0]])
LABELS = np.array([0, 1, 0])


def problem(**changes: object) -> Problem:
    parts = {"network": NETWORK, "points": POINTS, "labels": LABELS} | changes
    return Problem(**parts)


def test_uniform_probabilities_are_exact_thirds():
    assert problem().exact_probabilities == (Fraction(1, 3),) * 3


def test_probabilities_are_the_exact_ratios_of_the_weights():
    weights = [0.1, 0.2, 0.7]
    exact = problem(weights=weights).exact_probabilities
    total = sum(Fraction(w) for w in weights)
    assert exact == tuple(Fraction(w) / total for w in weights)
    assert sum(exact) == 1
    assert sum(Fraction(w) for w in weights) != 1, "the weights themselves do not sum to one"
    assert problem(weights=weights).probabilities.tolist() == [float(v) for v in exact]


def test_samples_of_weight_zero_are_not_active():
    question = problem(weights=[0.0, 3.0, 1.0])
    assert question.active.tolist() == [1, 2]
    assert question.active_labels == (0, 1)
    assert problem(weights=[1.0, 0.0, 1.0]).active_labels == (0,)
    assert question.probabilities.tolist() == [0.0, 0.75, 0.25]


def test_the_nominal_risk_is_the_weighted_loss_of_the_samples():
    # logits (1, 0, 0), (0, 2, 1), (-1, 1, -1): margins -1, -1, 2
    assert problem().nominal_losses.tolist() == [-1.0, -1.0, 2.0]
    assert problem(weights=[1, 1, 2]).nominal == pytest.approx(0.5)
    assert problem(loss="zero-one").nominal == pytest.approx(1 / 3)


def test_defaults_and_names():
    question = problem()
    assert (question.loss.name, question.cost, question.name) == (
        "margin",
        TransportCost(),
        "problem",
    )
    assert question.support.describe() == "the whole space"
    assert len(question) == 3
    assert problem(loss=Hinge()).loss == problem(loss="hinge").loss


def test_replace_checks_again_and_keeps_the_rest():
    question = problem(weights=[1, 2, 3], name="three")
    other = question.replace(loss=Hinge())
    assert other.loss.name == "hinge"
    assert other.name == "three"
    assert other.weights.tolist() == [1, 2, 3]
    with pytest.raises(ProblemError, match="outside the support"):
        question.replace(support=Box(5.0, 6.0))


def test_head_takes_the_first_samples():
    question = problem(weights=[1, 2, 3]).head(2)
    assert question.points.tolist() == POINTS[:2].tolist()
    assert question.exact_probabilities == (Fraction(1, 3), Fraction(2, 3))
    for samples in (0, 4):
        with pytest.raises(ProblemError, match=f"1 to 3, found {samples}"):
            problem().head(samples)


def test_arrays_are_read_only_copies():
    points = POINTS.copy()
    question = problem(points=points)
    points[0, 0] = 99.0
    assert question.points[0, 0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        question.points[0, 0] = 1.0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"points": np.zeros((0, 2)), "labels": []}, ["at least one sample"]),
        ({"points": np.zeros((3, 5))}, ["(3, 5)", "2 inputs", "(3, 2)"]),
        ({"points": np.zeros(2)}, ["points", "2 dimension(s)"]),
        ({"points": [[np.nan, 0.0]] * 3}, ["points", "nan", "(0, 0)"]),
        ({"labels": [0, 1]}, ["labels", "(2,)", "(3, 2)"]),
        ({"labels": [0, 3, 1]}, ["0 to 2", "found 3", "index 1"]),
        ({"labels": [0, -1, 1]}, ["found -1", "index 1"]),
        ({"labels": [0.5, 1.0, 1.0]}, ["labels", "integers"]),
        ({"weights": [1.0, 1.0]}, ["weights", "(2,)"]),
        ({"weights": [1.0, -2.0, 1.0]}, ["weights", ">= 0", "-2", "index 1"]),
        ({"weights": [0.0, 0.0, 0.0]}, ["weights", "only zeros"]),
        ({"weights": [1.0, np.inf, 1.0]}, ["weights", "inf", "index 1"]),
        ({"loss": "brier"}, ["'brier'"]),
        ({"support": Box(0.0, 1.0)}, ["2 of 3", "box [0, 1]", "index 1", "by 1"]),
        ({"support": Polytope([[1.0, 1.0]], [1.5])}, ["1 of 3", "index 1", "by 0.5"]),
        ({"support": Box(0.0, [1.0] * 3)}, ["support upper", "(2,)", "(3,)"]),
    ],
)
def test_a_malformed_question_is_refused(changes, words):
    with pytest.raises(ProblemError) as error:
        problem(**changes)
    for word in words:
        assert word in str(error.value)


def test_dlr_needs_three_classes():
    two = ReLUNetwork([np.eye(2)], [np.zeros(2)])
    with pytest.raises(ProblemError, match="dlr needs at least 3 classes, the network has 2"):
        problem(network=two, labels=[0, 1, 0], loss="dlr")


def test_a_point_on_the_wall_of_the_support_is_inside():
    assert problem(support=Box(-1.0, 2.0)).support.describe() == "box [-1, 2]"
