"""Folders for other verifiers: what is written reads back, and its answers are right."""

import csv
from fractions import Fraction

import numpy as np
import pytest
from vnnlib.samples import network

import wdaverify as wv
from wdaverify.vnnlib.writing import ball, robustness_text

ROOT = "problems"


def problem_of(name, samples=3):
    return wv.load_problem(f"{ROOT}/{name}").head(samples).replace(cost=wv.TransportCost("linf", 1))


def rows_of(path):
    with path.open() as file:
        return list(csv.reader(file))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("moons", {}),
        ("iris", {}),
        ("breast", {}),
        ("breast", {"double": True}),
        ("iris", {"zero_below": 1e-4}),
    ],
)
def test_answers_around_distances(name, options, tmp_path):
    problem = problem_of(name)
    export = wv.export_vnnlib(problem, tmp_path / "out", around=1e-4, **options)
    assert len(export.instances) == 2 * len(problem)
    expected = rows_of(tmp_path / "out" / "expected.csv")[1:]
    instances = rows_of(tmp_path / "out" / "instances.csv")
    for one, answer, row in zip(export.instances, expected, instances, strict=True):
        network, property_ = (tmp_path / "out" / part for part in row[:2])
        assert (answer[:2], row[2]) == (row[:2], "300")
        question = wv.load_vnnlib(network, property_)
        assert question.network.digest == export.problem.network.digest
        assert question.cases[0].lower.tobytes() == one.box.lower.tobytes()
        assert question.cases[0].upper.tobytes() == one.box.upper.tobytes()
        verdict = question.decide()
        assert verdict.answer == one.expected == answer[2]
        assert one.expected == ("unsat" if "below" in one.name else "sat")


@pytest.mark.parametrize("name", ["moons", "iris", "breast"])
def test_onnxruntime_confirms_counterexamples_in_float32(name, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    export = wv.export_vnnlib(problem_of(name), tmp_path / "out", around=1e-3)
    session = runtime.InferenceSession(str(tmp_path / "out" / "network.onnx"))
    for one in export.instances:
        question = tmp_path / "out" / "vnnlib" / f"{one.name}.vnnlib"
        verdict = wv.load_vnnlib(tmp_path / "out" / "network.onnx", question).decide()
        if verdict.answer == "sat":
            (y,) = session.run(None, {"X": verdict.point[None].astype(np.float32)})[0]
            assert np.delete(y, one.label).max() >= y[one.label]


def test_given_radii_with_and_without_answers(tmp_path):
    problem = problem_of("moons", 4)
    plain = wv.export_vnnlib(problem, tmp_path / "plain", radii=[0.1, 0.2, 0.1])
    assert len(plain.instances) == 8
    assert not (tmp_path / "plain" / "expected.csv").exists()
    known = wv.export_vnnlib(problem, tmp_path / "known", radii=[0.1, 0.2], expected=True)
    assert {one.expected for one in known.instances} == {"sat", "unsat"}
    for one in known.instances:
        question = tmp_path / "known" / "vnnlib" / f"{one.name}.vnnlib"
        answer = wv.load_vnnlib(tmp_path / "known" / "network.onnx", question).decide().answer
        assert answer == one.expected


def test_distances_are_those_of_the_network_as_written(tmp_path):
    problem = problem_of("moons", 2)
    shifted = wv.ReLUNetwork(
        [W * (1 + 2.0**-26) for W in problem.network.weights], problem.network.biases
    )
    export = wv.export_vnnlib(problem.replace(network=shifted), tmp_path / "out", around=1e-9)
    assert export.problem.network.digest != shifted.digest
    assert [one.expected for one in export.instances] == ["unsat", "sat"] * 2
    for one in export.instances:
        path = tmp_path / "out" / "vnnlib" / f"{one.name}.vnnlib"
        verdict = wv.load_vnnlib(tmp_path / "out" / "network.onnx", path).decide()
        assert verdict.answer in {one.expected, "unknown"}


def test_samples_that_err_have_no_instance_around_a_distance(tmp_path):
    problem = problem_of("moons", 3)
    labels = problem.labels.copy()
    labels[1] = 1 - labels[1]
    export = wv.export_vnnlib(problem.replace(labels=labels), tmp_path / "out", around=1e-4)
    assert {one.sample for one in export.instances} == {0, 2}
    assert "1 of 3 samples without an instance, the first at index 1" in export.notes[1]
    known = wv.export_vnnlib(
        problem.replace(labels=labels), tmp_path / "radii", radii=[0.0], expected=True
    )
    assert [one.expected for one in known.instances] == ["unsat", "sat", "unsat"]


def test_no_error_within_the_support_is_one_instance(tmp_path):
    constant = wv.ReLUNetwork([[[1.0], [1.0]]], [[1.0, 0.0]])
    bounded = wv.Problem(constant, [[0.25]], [0], support=wv.Box(0.0, 1.0))
    export = wv.export_vnnlib(bounded, tmp_path / "out", around=1e-4)
    assert [(one.expected, one.radius) for one in export.instances] == [("unsat", 0.75)]
    whole = wv.Problem(constant, [[0.25]], [0])
    assert wv.export_vnnlib(whole, tmp_path / "whole", around=1e-4).instances == ()


def test_the_box_holds_the_ball_and_hardly_more():
    rng = np.random.default_rng(0)
    for _ in range(300):
        centre, radius = rng.normal(size=3), float(rng.exponential())
        box = ball(centre, radius, wv.Box())
        for x, low, high in zip(centre.tolist(), box.lower, box.upper, strict=True):
            exact = Fraction(x) - Fraction(radius), Fraction(x) + Fraction(radius)
            assert Fraction(low) <= exact[0] < Fraction(np.nextafter(low, np.inf))
            assert Fraction(high) >= exact[1] > Fraction(np.nextafter(high, -np.inf))
    cut = ball(np.array([0.1, 0.9]), 0.25, wv.Box(0.0, 1.0))
    assert (cut.lower[0], cut.upper[1]) == (0.0, 1.0)


def test_numbers_have_no_exponent():
    text = robustness_text(wv.Box([1e-7, -3e20], [2e-7, 1e-300]), 0, 2, "two\nlines")
    numbers = [word for word in text.replace(")", " ").split() if word[0] in "-0123456789"]
    assert len(numbers) == 4
    assert not any("e" in number for number in numbers)
    assert text.startswith("; two lines\n")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"cost": wv.TransportCost("l2", 1)}, wv.UnsupportedError, "expected linf .*found l2"),
        ({"cost": wv.TransportCost("l1", 1)}, wv.UnsupportedError, "found l1"),
        (
            {"support": wv.Polytope(-np.eye(2), np.zeros(2))},
            wv.UnsupportedError,
            "expected a box, found a polytope with 2 rows",
        ),
        ({"network": wv.ReLUNetwork([1e39 * np.eye(2)], [np.zeros(2)])}, wv.ProblemError, "W0"),
    ],
)
def test_refusals_leave_nothing(change, error, message, tmp_path):
    problem = problem_of("moons", 2).replace(**change)
    with pytest.raises(error, match=message):
        wv.export_vnnlib(problem, tmp_path / "out", radii=[0.1])
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
    (tmp_path / "mine").write_text("x")
    with pytest.raises(wv.ProblemError, match="empty folder"):
        wv.export_vnnlib(problem_of("moons", 1), tmp_path, radii=[0.1])
    with pytest.raises(wv.ProblemError, match="radii"):
        wv.export_vnnlib(problem_of("moons", 1), tmp_path / "out", radii=[-0.1])
    with pytest.raises(wv.ProblemError, match="radii"):
        wv.export_vnnlib(problem_of("moons", 1), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_limits_leave_brackets_and_their_answers(tmp_path):
    problem = problem_of("breast", 2)
    limits = wv.Limits(seconds=0)
    export = wv.export_vnnlib(
        problem, tmp_path / "out", radii=[0.001, 0.0485, 0.5], expected=True, limits=limits
    )
    assert export.stopped is not None
    exact = wv.export_vnnlib(problem, tmp_path / "x", radii=[0.001, 0.0485, 0.5], expected=True)
    for loose, tight in zip(export.instances, exact.instances, strict=True):
        assert loose.expected in {tight.expected, "unknown"}


def test_networks_with_linear_neurons(tmp_path):
    slopes = [np.array([1.0, 0, 0, 0.25, 0, 1]), np.zeros(5)]
    net = network(5, slopes=slopes)
    points = np.array([[0.1, 0.2], [0.7, 0.4]])
    labels = net.logits(points).argmax(axis=1)
    problem = wv.Problem(net, points, labels, support=wv.Box(0.0, 1.0))
    export = wv.export_vnnlib(problem, tmp_path / "out", around=1e-3)
    for one in export.instances:
        path = tmp_path / "out" / "vnnlib" / f"{one.name}.vnnlib"
        assert wv.load_vnnlib(net, path).decide().answer == one.expected
