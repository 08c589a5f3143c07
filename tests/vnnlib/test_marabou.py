"""Marabou reads what is written and gives the answers that are expected.

Its own time limit does not end a query that hangs, so only questions that it is known to end.
"""

import warnings

import numpy as np
import pytest
from vnnlib.samples import network

import wdaverify as wv


def marabou():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # parsers that are not installed
        return pytest.importorskip("maraboupy.Marabou", exc_type=ImportError)


def answers(folder, export):
    core = marabou()
    options = core.createOptions(verbosity=0, numWorkers=1, timeoutInSeconds=60)
    for one in export.instances:
        query = core.read_onnx(str(folder / "network.onnx"))
        path = str(folder / "vnnlib" / f"{one.name}.vnnlib")
        yield query.solve(propertyFilename=path, options=options, verbose=False)[0], one


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))  # at the seventh Marabou 2.0 does not end
def test_random_networks(seed, tmp_path):
    features, classes = 2 + seed % 3, 2 + seed % 2
    net = network(seed, features, classes, widths=(8, 8))
    points = np.random.default_rng(seed).uniform(0, 1, (3, features))
    labels = net.logits(points).argmax(axis=1)
    problem = wv.Problem(net, points, labels, support=wv.Box(0.0, 1.0))
    export = wv.export_vnnlib(problem, tmp_path / "out", around=1e-3)
    for answer, one in answers(tmp_path / "out", export):
        assert answer == one.expected, one.name


@pytest.mark.slow
@pytest.mark.parametrize("name", ["moons", "iris", "breast"])
def test_problem_folders(name, tmp_path):
    problem = wv.load_problem(f"problems/{name}").head(3).replace(cost=wv.TransportCost("linf", 1))
    export = wv.export_vnnlib(problem, tmp_path / "out", around=1e-3, zero_below=1e-4)
    for answer, one in answers(tmp_path / "out", export):
        assert answer == one.expected, one.name


def test_a_wrong_expectation_is_noticed(tmp_path):
    problem = wv.load_problem("problems/breast").head(2).replace(cost=wv.TransportCost("linf", 1))
    export = wv.export_vnnlib(problem, tmp_path / "out", around=0.5, zero_below=1e-4)
    found = [answer for answer, _ in answers(tmp_path / "out", export)]
    assert found == ["unsat", "sat"] * 2  # so that neither answer is given to everything
