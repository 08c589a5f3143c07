"""The derivations of the golden folders, checked by oracles that read the arrays on their own."""

import math
import tomllib
from pathlib import Path

import numpy as np
import pytest
from reference.interval import interval_value
from reference.question import Question
from reference.simplices import simplex_value

PROBLEMS = Path(__file__).resolve().parents[2] / "problems"
TOLERANCE = 1e-7
FAR = {"dlr-line": 1e-5}  # a ratio that grows: the frame of the simplices is not far enough


def golden():
    for path in sorted(PROBLEMS.glob("*/problem.toml")):
        stored = tomllib.loads(path.read_text())
        shape = np.load(path.parent / "data.npz")["points"].shape if "expected" in stored else ()
        if "expected" in stored and shape[1] <= 2 and path.parent.name != "constant-feature":
            yield path.parent


def question_of(folder):
    stored = tomllib.loads((folder / "problem.toml").read_text())
    arrays, data = np.load(folder / "network.npz"), np.load(folder / "data.npz")
    mass = data["weights"] if "weights" in data else np.ones(len(data["points"]))
    support = stored.get("support", {})
    there = mass > 0
    rows = np.load(folder / support["polytope"]) if "polytope" in support else {}
    question = Question(
        weights=[arrays[f"W{k}"] for k in range(len(arrays) // 2)],
        biases=[arrays[f"b{k}"] for k in range(len(arrays) // 2)],
        points=data["points"][there],
        labels=data["labels"][there],
        probabilities=mass[there] / mass.sum(),
        loss=stored["loss"],
        norm=stored["norm"],
        order=float(stored["order"]),
        lower=support.get("lower", -np.inf),
        upper=support.get("upper", np.inf),
        A=rows["A"] if rows else None,
        b=rows["b"] if rows else None,
        label_cost=stored.get("label_cost", math.inf),
    )
    return question, zip(stored["radii"], map(float, stored["expected"]["values"]), strict=True)


def holds(bracket, value, width):
    """A narrow bracket with the value in it; both infinite if the value is."""
    if math.isinf(value):
        return bracket == (value, value)
    room = width * max(1.0, abs(value))
    low, high = bracket
    return low - room <= value <= high + room and high - low <= room


@pytest.mark.parametrize("folder", list(golden()), ids=lambda folder: folder.name)
def test_the_expected_values_are_the_oracles(folder):
    question, answers = question_of(folder)
    for radius, value in answers:
        width = FAR.get(folder.name, TOLERANCE)
        assert holds(simplex_value(question, radius), value, width)
        if question.dimension == 1:
            assert holds(interval_value(question, radius), value, TOLERANCE)
            assert math.isinf(value) or not holds(
                interval_value(question, radius), value + 1e-6 * max(1.0, value), TOLERANCE
            )


def test_the_folders_are_found():
    names = {folder.name for folder in golden()}
    assert len(names) >= 23
    assert {"affine-l2", "dlr-tie", "hinge-line-3", "polytope-triangle", "label-move"} <= names
