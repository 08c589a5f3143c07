"""VNN-LIB texts of known meaning: boxes, conditions, answers; and what is refused, by name."""

import gzip
import re

import numpy as np
import pytest

import wdaverify as wv
from wdaverify.vnnlib import read_property
from wdaverify.vnnlib.onnx_writer import onnx_bytes
from wdaverify.vnnlib.text import LARGEST

RELU = wv.ReLUNetwork([[[1.0]], [[0.0], [1.0]]], [[0.0], [0.0, 0.0]])  # x -> (0, max(x, 0))
DECLARED = "(declare-const X_0 Real) (declare-const Y_0 Real) (declare-const Y_1 Real)\n"
BOX = "(assert (>= X_0 -1)) (assert (<= X_0 3))\n"


def read(body: str, network=RELU, declared=DECLARED):
    return read_property(network, declared + body)


@pytest.mark.parametrize(
    ("condition", "answer"),
    [
        ("(>= Y_1 3)", "sat"),  # attained at x = 3 only
        ("(>= Y_1 3.0000001)", "unsat"),
        ("(<= Y_1 0)", "sat"),
        ("(<= Y_1 -0.0000001)", "unsat"),
        ("(>= Y_1 Y_0)", "sat"),  # a tie is enough
        ("(<= (- Y_1 Y_0) 1)", "sat"),
        ("(>= (+ (* 2 Y_1) (* -1 Y_1) Y_0) (- 4 1))", "sat"),
        ("(>= (+ (* 2 Y_1) (* -1 Y_1) Y_0) (- (- 4) -7.1))", "unsat"),
        ("(= Y_1 2)", "sat"),
        ("(= Y_1 4)", "unsat"),
        ("(and (>= Y_1 1) (<= Y_1 0.5))", "unsat"),
        ("(and (>= Y_1 0.5) (<= Y_1 1))", "sat"),
        ("(or (>= Y_1 4) (and (>= Y_1 2) (<= Y_1 2)))", "sat"),
        ("(or (>= Y_1 4) (and (>= Y_1 2) (<= Y_1 1.99)))", "unsat"),
        ("(and (or (<= Y_1 1) (>= Y_1 2)) (or (<= Y_1 0.5) (>= Y_1 1.5)) (>= Y_1 0.75))", "sat"),
        ("(and (or (<= Y_1 1) (>= Y_1 2)) (>= Y_1 1.25) (<= Y_1 1.75))", "unsat"),
        ("(>= Y_0 0)", "sat"),
        ("(>= Y_0 1e-30)", "unsat"),
        ("(>= 1 0)", "sat"),
        ("(>= 0 1)", "unsat"),
    ],
)
@pytest.mark.parametrize("engine", ["auto", "cells", "milp"])
def test_known_answers(condition, answer, engine):
    question = read(f"{BOX}(assert {condition})")
    verdict = question.decide(engine=engine)
    assert verdict.answer == answer
    if answer == "sat":
        assert verdict.verified
        assert question.holds(verdict.point)


def test_a_search_says_that_it_does_not_decide_equality():
    verdict = read(f"{BOX}(assert (or (>= Y_1 4) (= Y_1 2)))").decide(engine="search")
    assert (verdict.answer, verdict.engines) == ("unknown", ("search",))
    assert "equality" in verdict.reason


def test_no_condition_on_outputs_is_satisfied_by_any_input():
    assert read(BOX).decide().answer == "sat"


def test_a_box_without_points_is_unsatisfiable():
    question = read(f"{BOX}(assert (>= X_0 4)) (assert (>= Y_1 0))")
    assert question.queries == ()
    assert question.decide().answer == "unsat"


def test_bounds_of_every_form():
    body = "(assert (>= X_0 0))"
    with pytest.raises(wv.ProblemError, match="declared"):
        read_property(RELU, "(declare-const X_0 Real)" + body)
    body = "(assert (and (<= 0.125 X_0) (>= 6 (* 4 X_0)) (<= (- X_0) 0)))"
    ((lower, upper, _),) = read(body).cases
    assert (lower.tolist(), upper.tolist()) == ([0.125], [1.5])


def test_a_decimal_is_the_nearest_float():
    ((lower, upper, _),) = read("(assert (>= X_0 0.1)) (assert (<= X_0 0.30000000000000004))").cases
    assert (lower[0], upper[0]) == (0.1, 0.1 + 0.2)


def test_boxes_of_a_disjunction_and_their_conditions():
    two = (
        "(assert (or (and (>= X_0 -1) (<= X_0 0) (>= Y_1 0.5))"
        "            (and (>= X_0 1) (<= X_0 2) (<= Y_1 0.5))"
        "            (and (>= X_0 1) (<= X_0 2) (>= Y_1 5))))"
    )
    question = read(two)
    assert [case.lower[0] for case in question.cases] == [-1.0, 1.0]  # equal boxes are one
    assert question.decide().answer == "unsat"
    assert read(two + "(assert (<= X_0 5))").decide().answer == "unsat"
    assert read(two.replace(">= Y_1 5", ">= Y_1 1.5")).decide().answer == "sat"


def test_a_product_of_disjunctions_keeps_the_boxes_that_are_not_empty():
    halves = "(assert (or (and (>= X_0 0) (<= X_0 1)) (and (>= X_0 2) (<= X_0 3))))"
    thirds = "(assert (or (<= X_0 0.5) (>= X_0 2.5)))"
    boxes = [(c.lower[0], c.upper[0]) for c in read(halves + thirds).cases]
    assert boxes == [(0.0, 0.5), (2.5, 3.0)]


def test_robustness_keeps_the_network():
    body = f"{BOX}(assert (or (and (>= Y_0 Y_1))))"
    query = read(body).queries[0]
    assert query.problem.network is RELU
    assert (query.problem.labels[0], query.radius) == (1, 2.0)
    value = wv.solve(query.problem, radius=query.radius)
    assert (value.lower, value.upper) == (1.0, 1.0)


def test_some_classes_only():
    network = wv.ReLUNetwork([np.eye(3)], [np.zeros(3)])
    declared = "".join(f"(declare-fun {v}_{k} () Real)" for v in "XY" for k in range(3))
    box = "".join(f"(assert (>= X_{k} {k})) (assert (<= X_{k} {k}.5))" for k in range(3))
    query = read(f"{box}(assert (<= Y_1 Y_0))", network, declared).queries[0]
    assert query.problem.network.classes == 2
    assert read(f"{box}(assert (<= Y_1 Y_0))", network, declared).decide().answer == "unsat"
    assert read(f"{box}(assert (<= Y_1 Y_2))", network, declared).decide().answer == "sat"


def test_comments_case_and_other_commands():
    body = f"; a comment (with brackets\n(set-logic QF_LRA)\n{BOX}(assert (>= Y_1 1)) ; end\n(exit)"
    assert read(body).decide().answer == "sat"


REFUSED = [
    ("(assert (< Y_0 Y_1))", wv.UnsupportedError, "line 3: expected <=, >=, =, and, or"),
    ("(assert (not (<= Y_0 Y_1)))", wv.UnsupportedError, "found 'not'"),
    ("(assert (<= (* Y_0 Y_1) 1))", wv.UnsupportedError, "product of variables"),
    ("(assert (<= (/ Y_0 2) 1))", wv.UnsupportedError, "found '/'"),
    ("(assert (<= X_0 Y_1))", wv.UnsupportedError, "between inputs and outputs"),
    ("(assert (<= Y_2 0))", wv.ProblemError, "found 'Y_2'"),
    ("(assert (<= Y_1))", wv.ProblemError, "expected two sides of '<=', found 1"),
    ("(assert (and))", wv.ProblemError, "expected a formula after 'and'"),
    ("(assert Y_0)", wv.ProblemError, "found 'Y_0'"),
    ("(assert ())", wv.ProblemError, "found '()'"),
    ("(assert (<= Y_0 ()))", wv.ProblemError, "expected a sum or a product"),
    ("(assert (<= Y_0 (+)))", wv.ProblemError, "expected an operand"),
    ("(assert (<= Y_0 nan))", wv.ProblemError, "found 'nan'"),
    ("(assert (<= Y_0 1e999))", wv.ProblemError, "range of float64"),
    ("(assert (<= Y_0 (* 1e300 1e300)))", wv.ProblemError, "range of float64"),
    ("(assert (<= Y_0 0)", wv.ProblemError, "line 3: expected ')'"),
    ("(assert (<= Y_0 0)))", wv.ProblemError, "line 3: expected '(', found ')'"),
    ("assert", wv.ProblemError, "expected '(', found 'assert'"),
    ('(set-info "x")', wv.ProblemError, "line 3: expected words"),
    ("(declare-const Y_1 Real)", wv.ProblemError, "expected one declaration"),
    ("(declare-const Z Real)", wv.UnsupportedError, "found 'Z'"),
    ("(declare-const X_1 Int)", wv.UnsupportedError, "declare-const X_0 Real"),
    ("(vnnlib-version <2.0>)", wv.UnsupportedError, "VNN-LIB 2 is not read"),
    ("(maximize Y_0)", wv.UnsupportedError, "found '(maximize Y_0)'"),
    ("(declare-const X_1 Real)", wv.ProblemError, "network has 1 inputs"),
]


@pytest.mark.parametrize(("body", "error", "message"), REFUSED)
def test_refusals_say_where_and_what(body, error, message, tmp_path):
    path = tmp_path / "p.vnnlib"
    path.write_text(f"{DECLARED}{BOX}{body}")
    with pytest.raises(error, match=re.escape(message)) as raised:
        wv.load_vnnlib(RELU, path)
    assert str(raised.value).startswith(str(path))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", "X_0: expected a lower and an upper bound, found no lower one"),
        ("(assert (<= X_0 1))", "found no lower one"),
        ("(assert (>= X_0 1))", "found no upper one"),
    ],
)
def test_every_input_needs_both_bounds(body, message):
    with pytest.raises(wv.ProblemError, match=message):
        read(body)


def test_what_files_may_hold(tmp_path, monkeypatch):
    text = f"{DECLARED}{BOX}(assert (>= Y_1 1))".encode()
    packed = tmp_path / "p.vnnlib.gz"
    packed.write_bytes(gzip.compress(text))
    assert wv.load_vnnlib(RELU, packed).decide().answer == "sat"
    packed.write_bytes(gzip.compress(text)[:-9])
    with pytest.raises(wv.ProblemError, match="broken gzip"):
        wv.load_vnnlib(RELU, packed)
    packed.write_bytes(b"\x1f\x8bnonsense")
    with pytest.raises(wv.ProblemError, match="broken gzip"):
        wv.load_vnnlib(RELU, packed)
    packed.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(wv.ProblemError, match="beginning"):
        wv.load_vnnlib(RELU, packed)
    with pytest.raises(wv.ProblemError, match="found a folder"):
        wv.load_vnnlib(RELU, tmp_path)
    packed.write_bytes(gzip.compress(b" " * (LARGEST + 1)))  # 65 kB that unpack to 64 MB
    with pytest.raises(wv.ProblemError, match="at most"):
        wv.load_vnnlib(RELU, packed)
    monkeypatch.setattr("wdaverify.vnnlib.text.MOST", 20)
    packed.write_bytes(text)
    with pytest.raises(wv.ProblemError, match="at most 20 words"):
        wv.load_vnnlib(RELU, packed)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("(assert " + "(and " * 100_000, "brackets deep"),
        ("(assert (<= Y_0 " + "(- " * 100_000, "brackets deep"),
        ("(assert (or (<= X_0 1) (<= X_0 2)))" * 30, "input boxes"),  # 2^30 boxes
        ("(assert (<= Y_0 (* " + "1.23456789 " * 20_000 + ")))", "binary digits"),
        ("(assert (<= Y_0 " + "9" * 100_000 + "))", "range of float64"),
        ("(assert (and " + "".join(f"(<= Y_0 {k})" for k in range(2001)) + "))", "comparisons"),
    ],
)
def test_what_would_never_end_is_refused(body, message):
    with pytest.raises((wv.ProblemError, wv.UnsupportedError), match=message):
        read(BOX + body)


def test_long_sums_and_many_targets_are_read():
    body = "(assert (>= (+ " + "Y_1 " * 20_000 + ") 59999))"
    assert read(BOX + body).decide().answer == "sat"
    assert read(BOX + body.replace("59999", "60001")).decide().answer == "unsat"


def test_a_network_with_one_output(tmp_path):
    onnx = pytest.importorskip("onnx")
    W = onnx.numpy_helper.from_array(np.array([[2.0]], dtype=np.float32), "W")
    nodes = [onnx.helper.make_node("Gemm", ["X", "W"], ["h"])]
    nodes.append(onnx.helper.make_node("Relu", ["h"], ["Y"]))
    port = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(nodes, "g", [port("X", 1, [1, 1])], [port("Y", 1, [1, 1])], [W])
    onnx.save(onnx.helper.make_model(graph), tmp_path / "one.onnx")
    declared = "(declare-const X_0 Real)(declare-const Y_0 Real)"
    for bound, answer in (("6", "sat"), ("6.1", "unsat")):
        (tmp_path / "p.vnnlib").write_text(f"{declared}{BOX}(assert (>= Y_0 {bound}))")
        verdict = wv.load_vnnlib(tmp_path / "one.onnx", tmp_path / "p.vnnlib").decide()
        assert verdict.answer == answer
        if answer == "sat":
            assert verdict.outputs.tolist() == [6.0]


def test_a_packed_network(tmp_path):
    path, packed = tmp_path / "p.vnnlib", tmp_path / "n.onnx.gz"
    path.write_text(f"{DECLARED}{BOX}(assert (>= Y_1 3))")
    packed.write_bytes(gzip.compress(onnx_bytes(RELU)))
    assert wv.load_vnnlib(packed, path).decide().answer == "sat"
    packed.write_bytes(gzip.compress(b"nothing"))
    with pytest.raises(wv.ProblemError, match="expected an ONNX model") as raised:
        wv.load_vnnlib(packed, path)
    assert str(raised.value).startswith(f"{packed}: ")
    packed.write_bytes(gzip.compress(onnx_bytes(RELU))[:-20])
    with pytest.raises(wv.ProblemError, match="broken gzip"):
        wv.load_vnnlib(packed, path)
    with pytest.raises(wv.ProblemError, match="found no such file"):
        wv.load_vnnlib(tmp_path / "none.onnx.gz", path)
