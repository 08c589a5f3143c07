"""200 random small problems: the engines `cells`, `search` and `milp` give the same value.

An engine that refuses a question does not share it, and a question that only `cells` takes is not
asked; but each engine must have answered its stated part of the 200, so none agrees by silence.
"""

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from reference.combinations import Combination, active, problem_of
from reference.question import NORM_ORDER
from reference.simplices import simplex_value

from wdaverify import Box, Polytope, Problem, ReLUNetwork, TransportCost, UnsupportedError, solve

TOLERANCE = 2e-7  # each engine's own is half of it
PROBLEMS = 200
LEAST = {"cells": 70, "search": 60, "milp": 55}
COMMON = ("margin", "hinge", "zero-one")


@st.composite
def combinations(draw):
    """A cell of the table in one to three dimensions; two of three losses all engines share."""
    order = draw(st.sampled_from((1.0, 1.5, 2.0, 3.0, math.inf)))
    costs = (math.inf,) if math.isinf(order) else (math.inf, 0.3)
    return Combination(
        draw(st.sampled_from((*COMMON, *COMMON, "cross-entropy", "dlr", "truncated-dlr"))),
        draw(st.sampled_from(sorted(NORM_ORDER))),
        order,
        draw(st.sampled_from(("box", "box", "box", "polytope", "space"))),
        draw(st.sampled_from(costs)),
        dimension=draw(st.integers(1, 3)),
        seed=draw(st.integers(1, 10**6)),
    )


def as_problem(question):
    """The question for the package; a polytope is cut with the box, so that it is bounded."""
    moves = math.isfinite(question.label_cost)
    n = question.dimension
    support = Box(question.lower, question.upper)
    if len(question.A):
        eye = np.eye(n)
        support = Polytope(
            np.vstack([question.A, eye, -eye]), np.concatenate([question.b, np.ones(2 * n)])
        )
    cost = TransportCost(question.norm, question.order, question.label_cost if moves else None)
    return Problem(
        ReLUNetwork(question.weights, question.biases),
        question.points,
        question.labels,
        loss=question.loss,
        cost=cost,
        support=support,
        weights=question.probabilities,
    )


def answers(problem, radius):
    """The values of the engines that take the question; none if `cells` would be alone."""
    found = {}
    for engine in ("search", "milp", "cells"):
        if engine == "cells" and not found:
            break
        try:
            found[engine] = solve(problem, radius=radius, engine=engine)
        except UnsupportedError:
            continue
    return found


def agree(one, other):
    """Both decided, and both brackets say the same to the tolerance."""
    if math.isinf(one.lower):
        return other.lower == math.inf
    scale = TOLERANCE * max(1.0, abs(one.lower))
    near = abs(one.lower - other.lower) <= scale and abs(one.upper - other.upper) <= scale
    return near and one.status == other.status == "exact"


def assert_agree(found):
    for engine, value in found.items():
        assert agree(found["cells"], value), f"{engine}: {value}, cells: {found['cells']}"


def compared(count, start):
    """How many of `count` random problems each engine answered; all of them agreed."""
    answered = Counter()

    @settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(combinations())
    def ask(cell):
        question, radius = problem_of(replace(cell, seed=cell.seed + start))
        found = answers(as_problem(question), radius)
        answered.update(found.keys())
        answered.update(["asked"])
        if found:
            assert_agree(found)

    ask()
    return answered


def test_the_engines_agree_on_200_random_problems():
    answered = compared(PROBLEMS, 0)
    assert answered["asked"] >= PROBLEMS
    assert {engine: answered[engine] >= least for engine, least in LEAST.items()} == dict.fromkeys(
        LEAST, True
    ), answered


@pytest.mark.slow
@pytest.mark.parametrize("start", [10**7 * k for k in range(1, 6)])
def test_the_engines_agree_on_many_random_problems(start):
    compared(PROBLEMS, start)


@pytest.mark.parametrize("engine", ["cells", "search", "milp"])
def test_every_engine_is_the_oracle_where_all_three_answer(engine):
    for loss in COMMON:
        for order in (1.0, 2.0, math.inf):
            cell = Combination(loss, "linf", order, "box", math.inf, seed=3)
            question, radius = problem_of(cell)
            value = solve(as_problem(question), radius=radius, engine=engine)
            lower, upper = simplex_value(active(question), radius)
            assert upper - lower <= TOLERANCE
            assert lower - TOLERANCE <= value.lower <= value.upper + 1e-9 <= upper + TOLERANCE


def test_a_disagreement_would_be_noticed():
    cell = Combination("margin", "linf", 2.0, "box", 0.3, dimension=2, seed=2)
    question, radius = problem_of(cell)
    found = answers(as_problem(question), radius)
    assert set(found) == {"cells", "search", "milp"}
    assert_agree(found)
    others = {
        "radius": answers(as_problem(question), 1.001 * radius),
        "label": answers(as_problem(replace(question, label_cost=0.35)), radius),
        "order": answers(as_problem(replace(question, order=2.01)), radius),
    }
    for other in others.values():
        with pytest.raises(AssertionError):
            assert_agree({**other, "cells": found["cells"]})
