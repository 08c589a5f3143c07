"""Real networks: the exact engine against integer programs that know no cells.

The oracle's lower end is a distribution evaluated by a plain forward pass, to rounding; its upper
end is made of dual bounds of HiGHS and only as good as its tolerances.
"""

import functools
import math
from pathlib import Path

import pytest
from reference.milp import worst_case_value
from reference.question import Question

from wdaverify import TransportCost, enumerate_cells, load_problem
from wdaverify.exact.value import ExactSolver
from wdaverify.loss import loss_named

PROBLEMS = Path(__file__).resolve().parents[2] / "problems"
TOLERANCE = 1e-7
DUAL_BOUNDS = 1e-6
RADII = (0.01, 0.05, 0.1, 0.2)


@functools.cache
def stored(folder):
    """The problem of a folder and its cells, which depend on the network and the box alone."""
    problem = load_problem(PROBLEMS / folder)
    return problem, enumerate_cells(problem.network, problem.support)


def variant(folder, samples, loss, norm, order):
    problem, cells = stored(folder)
    changed = problem.head(min(samples, len(problem))).replace(
        loss=loss_named(loss), cost=TransportCost(norm, order)
    )
    return changed, cells


def question_of(problem):
    return Question(
        weights=problem.network.weights,
        biases=problem.network.biases,
        slopes=problem.network.slopes,
        points=problem.points,
        labels=problem.labels,
        loss=problem.loss.name,
        norm=problem.cost.norm.name,
        order=problem.cost.order,
        lower=problem.support.lower,
        upper=problem.support.upper,
    )


def compare(folder, samples, loss, norm, order, radii):
    """Assert agreement at every radius; return the largest difference, relative to the scale."""
    problem, cells = variant(folder, samples, loss, norm, order)
    solver, largest = ExactSolver(problem, cells), 0.0
    for radius in radii:
        lower, upper = worst_case_value(question_of(problem), radius)
        found, scale = solver.solve(radius), max(1.0, abs(lower))
        assert upper - lower <= DUAL_BOUNDS * scale, "the oracle did not decide"
        largest = max(largest, *(abs(v - lower) / scale for v in (found.lower, found.upper)))
        message = f"radius {radius}: [{found.lower!r}, {found.upper!r}], oracle {lower!r}"
        assert largest <= TOLERANCE, message
    return largest


@pytest.mark.parametrize("norm", ["l1", "linf"])
@pytest.mark.parametrize("loss", ["margin", "zero-one"])
def test_order_one_on_moons(loss, norm):
    compare("moons", 4, loss, norm, 1, (0.05,))


@pytest.mark.parametrize(("loss", "norm"), [("margin", "linf"), ("zero-one", "l1")])
def test_order_one_on_iris(loss, norm):
    compare("iris", 4, loss, norm, 1, (0.05,))


def test_order_one_hinge():
    compare("moons", 4, "hinge", "linf", 1, (0.1,))


@pytest.mark.parametrize("loss", ["margin", "hinge", "zero-one"])
@pytest.mark.parametrize("norm", ["l1", "linf"])
def test_order_infinity(loss, norm):
    compare("moons", 6, loss, norm, math.inf, (0.05, 0.2))


def test_order_infinity_on_iris():
    compare("iris", 2, "hinge", "linf", math.inf, (0.2,))


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["moons", "iris"])
@pytest.mark.parametrize("norm", ["l1", "linf"])
@pytest.mark.parametrize("loss", ["margin", "zero-one"])
def test_order_one_on_fifty_samples(folder, loss, norm):
    compare(folder, 50, loss, norm, 1, RADII)


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["moons", "iris"])
@pytest.mark.parametrize("loss", ["margin", "hinge", "zero-one"])
def test_order_infinity_on_fifty_samples(folder, loss):
    # iris, margin, 0.01: the bound of HiGHS contradicts the point it is polished to by 5e-5
    undecided = (folder, loss) == ("iris", "margin")
    compare(folder, 50, loss, "linf", math.inf, RADII[1:] if undecided else RADII)
