"""``wdaverify certify``: what is printed and written, what is refused, what a limit leaves."""

import json
from pathlib import Path

import pytest

from wdaverify.cli import main

PROBLEMS = Path(__file__).parents[2] / "problems"


def call(capsys, name, *arguments):
    with pytest.raises(SystemExit) as stop:
        main(["certify", str(PROBLEMS / name), *arguments])
    captured = capsys.readouterr()
    return stop.value.code, captured.out, captured.err


def json_of(capsys, name, *arguments, code=0):
    found, out, err = call(capsys, name, *arguments, "--json", "-")
    assert found == code, err
    return json.loads(out)


def test_every_number_says_what_it_proves(capsys):
    data = json_of(capsys, "tight")
    assert {"cell-lipschitz", "margin-lipschitz", "layer-product"} <= set(data["constants"])
    assert data["constants"]["margin-lipschitz"] == pytest.approx(4)
    assert data["brackets"]["cell-lipschitz"]["source"] == "cells"
    assert data["brackets"]["cell-lipschitz"]["pairs"]["upper"][0][1] == pytest.approx(4)
    assert data["tight"] is True
    assert data["slope"]["lower"] == pytest.approx(4)
    assert len(data["slope"]["direction"]) == 2
    methods = {row["method"] for row in data["rows"]}
    assert methods == {"cell-lipschitz", "margin-lipschitz", "layer-product", "growth"}
    assert {row["method"] for row in data["estimates"]} == {"first-order"}
    for name in (*methods, "asymptotic-slope", "first-order"):
        assert "W₁, ℓ∞" in data["statements"][name]
    assert "kinks" in data["refused"]["strong-duality"]
    assert set(data["statements"]).isdisjoint(data["refused"])


def test_people_read_the_statement_the_verdict_and_the_refusals(capsys):
    code, out, _ = call(capsys, "tight")
    assert code == 0
    words = " ".join(out.split())
    for phrase in (
        "certified upper bounds", "estimates, not bounds", "tight, the value is a straight line",
        "proves nothing", "not used: lipsdp", "from cells", "holds for any order",
    ):  # fmt: skip
        assert phrase in words


def test_lipsdp_is_one_of_all_for_l2(capsys):
    data = json_of(capsys, "iris", "--norm", "l2", "--samples", "5", "--radius", "0.1")
    constants = data["constants"]
    assert constants["margin-lipschitz"] <= constants["cell-lipschitz"] <= constants["lipsdp"]
    assert constants["lipsdp"] < constants["layer-product"]


def test_without_a_list_of_cells_the_constants_are_searched(capsys):
    data = json_of(capsys, "breast", "--method", "cell-lipschitz", "--radius", "0.1")
    bracket = data["brackets"]["cell-lipschitz"]
    assert bracket["source"] == "search"
    assert bracket["nodes"] > 10
    assert bracket["upper"] == pytest.approx(bracket["lower"], rel=1e-9)


@pytest.mark.parametrize(
    ("name", "arguments", "reason"),
    [
        ("relu-interval", ["--method", "asymptotic-slope"], "bounded support"),
        ("relu-line-2", ["--method", "asymptotic-slope"], "order 1 only"),
        ("dlr-tie", ["--method", "cell-lipschitz"], "no Lipschitz constant"),
        ("dlr-tie", ["--method", "layer-product"], "no Lipschitz constant"),
        ("iris", ["--method", "margin-lipschitz", "--loss", "cross-entropy"], "mixes all classes"),
        ("iris", ["--method", "lipsdp"], "l2"),
        ("iris", ["--method", "strong-duality"], "kinks"),
        ("zero-one-line", ["--method", "first-order"], "gradient"),
        ("iris", ["--ball", "0", "0.1", "--method", "layer-product"], "--ball"),
        ("iris", ["--ball", "0,0", "0.1"], "4 finite coordinates"),
        ("iris", ["--ball", "0", "-1"], "radius"),
        ("iris", ["--ball", "dlr", "1", "--loss", "dlr"], "dlr"),
        ("iris", ["--ball", "0", "1", "--loss", "dlr", "--method", "cell-lipschitz"], "constant"),
    ],
)
def test_what_proves_nothing_ends_with_2_and_a_reason(capsys, name, arguments, reason):
    code, out, err = call(capsys, name, *arguments, "--json", "-")
    assert (code, out) == (2, "")
    complaint = err.splitlines()[-1]  # lines before it are notes of the reader
    assert complaint.startswith("wdaverify: ")
    assert reason in complaint


def test_dlr_with_all_skips_with_notes(capsys):
    data = json_of(capsys, "dlr-tie")
    assert data["rows"] == []
    assert data["constants"] == {}
    assert "no Lipschitz constant" in data["refused"]["cell-lipschitz"]


def test_constants_in_a_ball_are_no_bounds_and_say_so(capsys):
    data = json_of(capsys, "moons", "--ball", "0", "0.05", "--samples", "5")
    assert data["rows"] == []
    assert "no bound" in data["local"]["statement"]
    local = data["local"]["constants"]["cell-lipschitz"]
    whole = json_of(capsys, "moons", "--samples", "5", "--method", "cell-lipschitz")
    assert max(local["upper"]) <= whole["constants"]["cell-lipschitz"] * (1 + 1e-9)
    assert local["upper"] == pytest.approx(local["lower"], rel=1e-9)
    point = json_of(capsys, "moons", "--ball", "0.3,0.7", "0.05")
    assert point["local"]["centre"] == [0.3, 0.7]
    code, out, _ = call(capsys, "moons", "--ball", "0", "0.05")
    assert code == 0
    assert "no bound on the worst-case value" in out
    crossed = json_of(capsys, "iris", "--ball", "0", "0.1", "--loss", "cross-entropy")
    assert "mixes all classes" in crossed["refused"]["margin-lipschitz"]


def test_a_limit_leaves_valid_bounds_and_exit_code_3(capsys):
    truth = json_of(capsys, "moons", "--samples", "5", "--radius", "0.1")
    early = json_of(
        capsys, "moons", "--samples", "5", "--radius", "0.1", "--max-cells", "3", code=3
    )
    assert early["stopped"] is not None
    assert early["brackets"]["cell-lipschitz"]["source"] == "search"
    exact = min(row["value"] for row in truth["rows"])
    assert min(row["value"] for row in early["rows"]) >= exact - 1e-9
    timed = json_of(
        capsys, "moons", "--samples", "5", "--radius", "0.1", "--time-limit", "0", code=3
    )
    assert min(row["value"] for row in timed["rows"]) >= exact - 1e-9
    slope = json_of(
        capsys, "tight", "--method", "asymptotic-slope", "--time-limit", "0", code=3
    )["slope"]  # fmt: skip
    assert slope["lower"] <= 4 <= slope["upper"]
