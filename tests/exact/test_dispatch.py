"""Who answers does not matter: one process or several, the same numbers to the last bit."""

import dataclasses
import threading
from functools import partial

import numpy as np
import pytest

from wdaverify import Box, Problem, ReLUNetwork, TransportCost, enumerate_cells
from wdaverify.errors import LimitReached, UnsupportedError
from wdaverify.exact.by_cells import CellOracle
from wdaverify.exact.dispatch import Dispatcher, Request
from wdaverify.exact.engine import choose_engine, dispatcher_for
from wdaverify.exact.solve import solver_for
from wdaverify.exact.value import ExactSolver
from wdaverify.exact.workers import Workers
from wdaverify.limits import Limits


def random_problem(seed=0, count=9, **options):
    rng = np.random.default_rng(seed)
    sizes = (2, 6, 4, 3)
    weights = [rng.normal(size=shape) for shape in zip(sizes[1:], sizes[:-1], strict=True)]
    network = ReLUNetwork(weights, [0.3 * rng.normal(size=size) for size in sizes[1:]])
    points = rng.uniform(-0.8, 0.8, size=(count, 2))
    labels = network.logits(points).argmax(axis=1)
    return Problem(network, points, labels, support=Box(-1.0, 1.0), **options)


def answers(problem, engine, workers):
    solver = solver_for(problem, engine, workers=workers)
    values = [solver.solve(radius) for radius in (0.05, 0.4)]
    if isinstance(solver.desk._runner, Workers):
        solver.desk._runner.close()
    return values, solver.counts


@pytest.mark.parametrize("engine", ["cells", "search"])
@pytest.mark.parametrize(
    "options",
    [
        {"loss": "margin"},
        {"loss": "zero-one"},
        {"loss": "hinge", "cost": TransportCost("l1", 2, label_cost=0.1)},
    ],
    ids=["margin", "zero-one", "label-moves"],
)
def test_results_do_not_depend_on_the_number_of_workers(engine, options):
    problem = random_problem(**options)
    alone, together = answers(problem, engine, 1), answers(problem, engine, 2)
    assert alone[1] == together[1]
    for one, two in zip(alone[0], together[0], strict=True):
        assert (one.lower, one.upper, one.multiplier) == (two.lower, two.upper, two.multiplier)
        for field in dataclasses.fields(one.worst_case):
            left, right = (getattr(value.worst_case, field.name) for value in (one, two))
            np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("loss", ["margin", "cross-entropy", "zero-one"])
def test_groups_that_exchange_do_not_depend_on_the_number_of_workers(loss):
    """Groups of three samples: several stages and rounds, and one value whoever answers."""
    problem = random_problem(count=40, loss=loss, cost=TransportCost("l2"))
    cells = enumerate_cells(problem.network, problem.support)
    make, found = partial(CellOracle, problem, cells, size=3), []
    for count in (0, 2):
        workers = Workers(make, count, Limits()) if count else None
        desk = Dispatcher(make(Limits()), workers)
        assert max(desk.oracle.groups(label) for label in problem.active_labels) > 4
        solver = ExactSolver(problem, desk)
        value = solver.solve(0.1)
        found.append((value.lower, value.upper, value.multiplier, solver.counts))
        desk.close()
    assert found[0] == found[1]
    whole = solver_for(problem, "cells", cells=cells).solve(0.1)
    assert abs(whole.lower - found[0][0]) <= 1e-7


@pytest.fixture
def limits():
    return Limits()


@pytest.fixture
def workers(limits):
    """One worker with the cells of a problem."""
    problem = random_problem(loss="zero-one")
    cells = enumerate_cells(problem.network, problem.support)
    pool = Workers(partial(CellOracle, problem, cells), 1, limits)
    yield pool
    pool.close()


def test_what_goes_wrong_in_a_worker_is_raised_here(workers):
    with pytest.raises(AttributeError, match="no_such_method"):
        workers.run([Request((0, 0), "no_such_method", ())])


def test_an_interrupt_reaches_the_workers(workers, limits):
    problem = random_problem()
    samples = np.flatnonzero(problem.labels == problem.labels[0])
    requests = [Request((0, 0), "distances", (samples,))] * 8000
    threading.Timer(2.0, limits.stop.set).start()
    found = workers.run(requests)
    assert found[0].reached is None
    assert isinstance(found[-1].reached, LimitReached)


@pytest.mark.parametrize("limits", [Limits(seconds=0.0)], ids=["no time"])
def test_a_time_limit_reaches_the_workers(workers):
    problem = random_problem()
    samples = np.flatnonzero(problem.labels == problem.labels[0])
    (found,) = workers.run([Request((0, 0), "distances", (samples,))])
    assert isinstance(found.reached, LimitReached)


@pytest.mark.parametrize("order", [1, 2, np.inf])
@pytest.mark.parametrize("engine", ["cells", "search"])
def test_a_limit_leaves_bounds_that_hold(engine, order):
    problem = random_problem(cost=TransportCost("linf", order))
    truth = solver_for(problem, engine).solve(0.2)
    limits = Limits()
    cells = enumerate_cells(problem.network, problem.support)
    choice = choose_engine(problem, engine)
    desk = dispatcher_for(problem, choice, cells=cells, limits=limits, progress=lambda _, __: None)
    assert isinstance(desk, Dispatcher)
    limits.stop.set()
    found = solver_for(problem, engine, cells=cells, limits=limits).solve(0.2)
    assert found.lower <= truth.lower + 1e-9
    assert found.upper >= truth.upper - 1e-9
    assert found.status == "bracket"


def test_auto_leaves_slopes_outside_the_unit_interval_to_the_cells():
    network = random_problem().network
    slopes = [np.full(width, -0.5) for width in network.widths]
    steep = ReLUNetwork(network.weights, network.biases, slopes)
    problem = random_problem().replace(network=steep)
    assert choose_engine(problem, "auto").engine == "cells"
    with pytest.raises(UnsupportedError, match="slopes"):
        choose_engine(problem, "search")


@pytest.mark.parametrize(("engine", "together"), [("search", True), ("cells", False)])
def test_groups_that_tell_each_other_nothing_are_asked_at_once(engine, together, monkeypatch):
    """All groups of a label in one round for ``search``; one after the other where they learn."""
    monkeypatch.setattr("wdaverify.exact.by_search.GROUP", 3)
    problem = random_problem(count=40, loss="margin")
    solver = solver_for(problem, engine)
    if engine == "cells":
        cells = enumerate_cells(problem.network, problem.support)
        oracle = CellOracle(problem, cells, Limits(), size=3)
        solver = ExactSolver(problem, Dispatcher(oracle))
    inner, rounds = solver.desk._runner, []

    class Recorder:
        counts = inner.counts

        def run(self, requests):
            rounds.append([request.key for request in requests])
            return inner.run(requests)

    solver.desk._runner = Recorder()
    solver.solve(0.1)
    numbers = [[group for _, group in keys] for keys in rounds if keys]
    assert any(max(groups) > 1 for groups in numbers)  # there are several
    assert all(0 in groups for groups in numbers if max(groups) > 0) is together
