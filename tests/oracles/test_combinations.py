"""Every loss, norm, order, support and label cost: the engine against an oracle of its own code.

The table's problems and the oracle's brackets stand in `reference.combinations`; the oracle proves
its bracket by branch and bound over simplices (about 1e-8 wide, never more than 2e-7).
"""

import math
from dataclasses import replace

import numpy as np
import pytest
from reference import combinations
from reference.combinations import Combination, active, problem_of, solved, stored, table
from reference.interval import interval_value
from reference.question import RATIOS, distance, loss, margin, support_rows
from reference.transport import Distribution, wasserstein_cost

import wdaverify
from wdaverify import Box, Polytope, Problem, ReLUNetwork, TransportCost

TOLERANCE = 1e-7
WIDTH = 2e-7
BRACKETS = stored()
CELLS = table()
LINES = table(dimension=1)


def as_problem(question):
    """The same question for the package, samples of weight zero included."""
    finite = math.isfinite(question.label_cost)
    cost = TransportCost(question.norm, question.order, question.label_cost if finite else None)
    box = not len(question.A)
    return Problem(
        ReLUNetwork(question.weights, question.biases),
        question.points,
        question.labels,
        loss=question.loss,
        cost=cost,
        support=Box(question.lower, question.upper) if box else Polytope(question.A, question.b),
        weights=question.probabilities,
    )


def assert_is(value, bracket):
    """The engine's bracket is exact and meets the oracle's; both ends stay within its tolerance."""
    lower, upper = bracket
    if math.isinf(lower):
        assert (value.lower, value.upper, value.status) == (math.inf, math.inf, "unbounded")
        return
    scale = max(1.0, abs(lower), abs(upper))
    assert upper - lower <= WIDTH * scale, "the oracle did not decide"
    assert value.status == "exact"
    assert value.lower <= value.upper + 1e-9 * scale
    for end in (value.lower, value.upper):
        assert lower - TOLERANCE * scale <= end <= upper + TOLERANCE * scale


def assert_feasible(question, radius, worst):
    """The worst case lies in the support, sends each sample's mass, and costs no more than allowed.

    The cost of the plan by its definition, and the optimal transport cost by POT, which is no more.
    """
    mass, origin = worst.weights, worst.origin
    sent = np.bincount(origin, weights=mass, minlength=len(question.points))
    assert sent == pytest.approx(question.probabilities, abs=1e-12)
    A, b = support_rows(question)
    assert np.all(worst.points @ A.T <= b + 1e-9 * np.maximum(1.0, np.abs(b)))
    lengths = distance(question.norm, worst.points, question.points[origin])
    changed = worst.labels != question.labels[origin]
    if math.isinf(question.order):
        assert not changed.any()
        assert lengths.max() <= radius * (1 + 1e-12)
        return
    assert math.isfinite(question.label_cost) or not changed.any()
    prices = np.where(changed, question.label_cost, 0.0)
    budget = radius**question.order
    assert mass @ (lengths**question.order + prices) <= budget * (1 + 1e-9)
    samples = Distribution(question.points, question.labels, question.probabilities)
    atoms = Distribution(worst.points, worst.labels, mass)
    options = {"norm": question.norm, "order": question.order, "label_cost": question.label_cost}
    assert wasserstein_cost(samples, atoms, **options) <= budget * (1 + 1e-9) + 1e-12


def assert_reevaluates(question, value):
    """The plain forward pass gives the lower end; a zero-one error may sit on the boundary."""
    worst = value.worst_case
    if question.loss == "zero-one":
        logits = np.abs(margin(question, worst.points, worst.labels))
        errs = margin(question, worst.points, worst.labels) >= -1e-9 * np.maximum(1.0, logits)
        losses = np.where(worst.certified, 1.0, errs.astype(float))
    else:
        losses = loss(question, worst.points, worst.labels)
    assert worst.weights @ losses == pytest.approx(value.lower, rel=1e-9, abs=1e-9)


def check(cell, bracket):
    question, radius = problem_of(cell)
    value = wdaverify.solve(as_problem(question), radius=radius)
    assert_is(value, bracket)
    assert_feasible(question, radius, value.worst_case)
    if math.isfinite(value.lower):
        assert_reevaluates(question, value)


def by_name(cells):
    return {"argvalues": cells, "ids": [str(cell) for cell in cells]}


# --- the table -----------------------------------------------------------------------------------


def by_cost(cells):
    """All cells; three of four whose loss and cost are both curved take seconds: nightly."""
    for k, cell in enumerate(cells):
        curved = cell.loss in ("cross-entropy", *RATIOS) and 1 < cell.order < math.inf
        marks = [pytest.mark.slow] if curved and k % 4 else []
        yield pytest.param(cell, marks=marks, id=str(cell))


@pytest.mark.parametrize("cell", list(by_cost(CELLS)))
def test_every_combination_in_the_plane_is_the_oracles(cell):
    check(cell, BRACKETS[str(cell)])


@pytest.mark.parametrize("cell", list(by_cost(LINES[::2])))
def test_combinations_on_a_line_are_the_growth_functions(cell):
    question, radius = problem_of(cell)
    check(cell, interval_value(active(question), radius))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 6))
@pytest.mark.parametrize("cell", **by_name(CELLS))
def test_more_problems_in_the_plane(cell, seed):
    cell = replace(cell, seed=seed)
    check(cell, solved(cell))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(21))
@pytest.mark.parametrize("cell", **by_name(LINES))
def test_more_problems_on_a_line(cell, seed):
    cell = replace(cell, seed=seed)
    question, radius = problem_of(cell)
    check(cell, interval_value(active(question), radius))


# --- the file is what the oracle says ------------------------------------------------------------


def test_the_file_covers_the_table():
    assert set(BRACKETS) == {str(cell) for cell in CELLS}
    assert len(CELLS) == 6 * 3 * 3 * (5 + 4)
    assert sum(math.isinf(low) for low, _ in BRACKETS.values()) >= 3
    wide = [name for name, (low, high) in BRACKETS.items() if high - low > WIDTH * max(1.0, high)]
    assert wide == []


@pytest.mark.parametrize("cell", **by_name(CELLS[7::50]))
def test_the_file_is_reproduced(cell):
    assert solved(cell) == pytest.approx(BRACKETS[str(cell)], rel=1e-9, abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("cell", **by_name(CELLS))
def test_the_whole_file_is_reproduced(cell):
    assert solved(cell) == pytest.approx(BRACKETS[str(cell)], rel=1e-9, abs=1e-9)


# --- the assertions can fail ---------------------------------------------------------------------


def plain(**changes):
    cell = Combination("margin", "l2", 2.0, "box", 0.3)
    question, radius = problem_of(cell)
    return replace(question, **changes), radius


@pytest.mark.parametrize(
    "fault",
    [
        {"order": 1.5},
        {"norm": "linf"},
        {"label_cost": math.inf},
        {"label_cost": 0.2},
        {"loss": "hinge"},
        {"lower": -0.9},
    ],
    ids=str,
)
def test_the_answer_to_another_question_is_refused(fault):
    question, radius = plain()
    other = replace(question, **{"upper": 1.1} if "lower" in fault else fault)
    value = wdaverify.solve(as_problem(other), radius=radius)
    bracket = combinations.simplex_value(active(question), radius)
    with pytest.raises(AssertionError):
        assert_is(value, bracket)


def test_a_shifted_oracle_is_refused():
    cell = CELLS[100]
    question, radius = problem_of(cell)
    low, high = BRACKETS[str(cell)]
    value = wdaverify.solve(as_problem(question), radius=radius)
    assert_is(value, (low, high))
    for shift in (-1e-6, 1e-6):
        with pytest.raises(AssertionError):
            assert_is(value, (low + shift * max(1.0, abs(low)), high + shift * max(1.0, abs(high))))


def test_a_worst_case_of_a_larger_radius_and_one_with_a_free_label_are_refused():
    question, radius = plain()
    wider = wdaverify.solve(as_problem(question), radius=1.01 * radius).worst_case
    with pytest.raises(AssertionError):
        assert_feasible(question, radius, wider)
    moved = wdaverify.solve(as_problem(replace(question, label_cost=0.1)), radius=radius).worst_case
    assert np.any(moved.labels != question.labels[moved.origin])
    with pytest.raises(AssertionError):
        assert_feasible(question, radius, moved)
    with pytest.raises(AssertionError):
        assert_feasible(replace(question, label_cost=math.inf), radius, moved)
