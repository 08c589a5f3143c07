"""Decisions against exact distances, and what keeps them honest."""

import numpy as np
import pytest
from vnnlib.samples import box, declarations, network

import wdaverify as wv
from wdaverify.exact.solve import solver_for
from wdaverify.loss import ZeroOne
from wdaverify.vnnlib import deciding, read_property
from wdaverify.vnnlib.writing import ball, robustness_text


def robust(problem, sample, radius):
    around = ball(problem.points[sample], radius, problem.support)
    text = robustness_text(around, int(problem.labels[sample]), problem.network.classes, "t")
    return read_property(problem.network, text)


@pytest.fixture(scope="module", params=["moons", "iris", "breast"])
def measured(request):
    problem = wv.load_problem(f"problems/{request.param}").head(4)
    problem = problem.replace(loss=ZeroOne(), cost=wv.TransportCost("linf", 1))
    return problem, solver_for(problem, "search").distances()


@pytest.mark.parametrize("engine", ["auto", "search", "cells"])
def test_sat_exactly_from_the_distance_on(measured, engine):
    problem, distances = measured
    if engine == "cells" and problem.network.features > 4:
        pytest.skip("too many cells to list")
    for sample in range(len(problem) if engine != "cells" else 1):
        d = (distances.lower[sample], distances.upper[sample])
        assert robust(problem, sample, d[0] * (1 - 1e-6)).decide(engine=engine).answer == "unsat"
        verdict = robust(problem, sample, d[1] * (1 + 1e-6)).decide(engine=engine)
        assert verdict.answer == "sat"
        assert verdict.verified


def test_the_milp_engine_agrees():
    problem = wv.load_problem("problems/moons").head(2)
    problem = problem.replace(loss=ZeroOne(), cost=wv.TransportCost("linf", 1))
    distances = solver_for(problem, "milp").distances()
    for sample in range(2):
        for factor, answer in ((0.99, "unsat"), (1.01, "sat")):
            radius = factor * distances.lower[sample]
            assert robust(problem, sample, radius).decide(engine="search").answer == answer


def test_engines_alone_answer_too(monkeypatch):
    monkeypatch.setattr(deciding, "_attack", lambda _: None)
    problem = wv.load_problem("problems/moons").head(3)
    problem = problem.replace(loss=ZeroOne(), cost=wv.TransportCost("linf", 1))
    for engine in ("cells", "search", "milp"):
        for radius, answer in ((0.05, "unsat"), (0.2, "sat")):
            verdict = robust(problem, 0, radius).decide(engine=engine)
            assert (verdict.answer, verdict.engines) == (answer, (engine,))


def test_fixed_inputs_and_single_points():
    net = network(3)
    for lower, upper in (([0.2, -1.0], [0.2, 1.0]), ([0.2, 0.3], [0.2, 0.3])):
        text = declarations(2, 3) + box(lower, upper)
        line = np.linspace(lower, upper, 2001)
        for target in range(3):
            for other in {0, 1, 2} - {target}:
                margin = (net.logits(line)[:, target] - net.logits(line)[:, other]).max()
                body = f"{text}(assert (>= Y_{target} Y_{other}))"
                for engine in ("auto", "cells", "search", "milp"):
                    answer = read_property(net, body).decide(engine=engine).answer
                    assert answer == ("sat" if margin >= 0 else "unsat")


def test_a_counterexample_is_deeper_than_the_boundary():
    problem = wv.load_problem("problems/iris").head(1)
    verdict = robust(problem, 0, 0.08).decide()
    label = int(problem.labels[0])
    y = verdict.outputs
    assert np.delete(y, label).max() - y[label] > 1e-3


def test_an_engine_that_invents_a_counterexample_is_caught(monkeypatch):
    monkeypatch.setattr(deciding, "_attack", lambda _: None)
    monkeypatch.setattr(deciding, "_search", lambda p, _: deciding._Found(False, p.points[0]))
    problem = wv.load_problem("problems/moons").head(1)
    with pytest.raises(wv.SolverError, match="does not confirm"):
        robust(problem, 0, 0.01).decide(engine="search")


def test_limits_leave_it_open():
    problem = wv.load_problem("problems/breast").head(1)
    verdict = robust(problem, 0, 0.0484).decide(limits=wv.Limits(seconds=0))
    assert verdict.answer == "unknown"
    assert verdict.stopped is not None
    assert "time limit" in verdict.reason


def test_no_such_engine():
    problem = wv.load_problem("problems/moons").head(1)
    with pytest.raises(wv.ProblemError, match="expected one of"):
        robust(problem, 0, 0.01).decide(engine="magic")


def test_as_a_problem_of_order_infinity():
    problem = wv.load_problem("problems/moons").head(1)
    for radius, value in ((0.05, 0.0), (0.2, 1.0)):
        query = robust(problem, 0, radius).queries[0]
        lower, upper = query.problem.support.bounds
        assert (np.abs(np.stack([lower, upper]) - query.problem.points[0]) <= query.radius).all()
        found = wv.solve(query.problem, radius=query.radius, engine="cells")
        assert (found.lower, found.upper) == (value, value)
