"""JSON: every command against its schema, alone on standard output, and silence when quiet."""

import copy
import json
from importlib.resources import files
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator, ValidationError

from wdaverify.cli import COMMANDS

PROBLEMS = Path(__file__).parents[2] / "problems"
SCHEMA = json.loads(files("wdaverify.cli").joinpath("schema.json").read_text())
VALIDATOR = Draft202012Validator(SCHEMA)

CASES = [
    ("verify", "relu-interval"),
    ("verify", "dlr-line"),
    ("verify", "zero-one-line-inf"),
    ("verify", "iris", "--samples", "3", "--time-limit", "0"),
    ("exact", "relu-line"),
    ("exact", "relu-line-inf"),
    ("exact", "dlr-tie"),
    ("exact", "dlr-interval", "--time-limit", "0"),
    ("curve", "absolute-value"),
    ("curve", "zero-one-line-inf"),
    ("curve", "moons", "--samples", "3", "--time-limit", "0"),
    ("worst-case", "relu-line", "--radius", "1"),
    ("worst-case", "iris", "--samples", "3", "--radius", "0.1", "--time-limit", "0"),
    ("distances", "zero-one-line"),
    ("distances", "iris", "--engine", "cells", "--time-limit", "0"),
    ("cells", "moons", "--statistics"),
    ("cells", "counted-cells", "--statistics"),
    ("cells", "iris", "--slice", "0,1"),
    ("cells", "moons", "--ball", "0", "0.05"),
    ("cells", "moons", "--max-cells", "10"),
    ("attack", "zero-one-line"),
    ("attack", "iris", "--samples", "3", "--time-limit", "0"),
    ("certify", "tight"),
    ("certify", "moons", "--ball", "0", "0.05"),
    ("certify", "dlr-line"),
    ("certify", "iris", "--samples", "3", "--time-limit", "0"),
    ("replay", "relu-interval", "--radius", "1"),
]
LIMITED = ("--time-limit", "--max-cells")


@pytest.fixture
def json_of(call):
    """Run a command; return what it wrote, which must be all that went to standard output."""

    def run(command: str, name: object, *options: object, codes=(0,)) -> dict:
        path = PROBLEMS / name if isinstance(name, str) else name
        done = call(command, path, *options, "--json", "-")
        assert done.code in codes, done.err
        return json.loads(done.out)

    return run


def test_the_schema_is_one_and_knows_every_command():
    Draft202012Validator.check_schema(SCHEMA)
    known = SCHEMA["properties"]["command"]["enum"]
    assert sorted(known) == sorted(name for name in COMMANDS if name != "completion")
    assert set(known) <= set(SCHEMA["$defs"])


@pytest.mark.parametrize("case", CASES, ids=" ".join)
def test_what_is_written_follows_the_schema(json_of, case):
    limited = any(option in case for option in LIMITED)
    data = json_of(*case, codes=(3,) if limited else (0,))
    VALIDATOR.validate(data)
    assert data["command"] == case[0]
    assert data["schema"] == "wdaverify/1"
    head = ["schema", "command", "problem", "seconds", "notes"]
    assert list(data)[: len(head)] == head
    if limited:
        assert data["stopped"]
        assert "limit" in data["stopped"]


def test_proofs_follow_the_schema(json_of, tmp_path):
    file = tmp_path / "proof"
    asked = ("relu-interval", "--radius", "1", "--out", file)
    proved = json_of("prove", *asked)
    VALIDATOR.validate(proved)
    VALIDATOR.validate(json_of("check", file))
    VALIDATOR.validate(json_of("replay", file))
    VALIDATOR.validate(json_of("replay", file, PROBLEMS / "relu-interval"))
    file.write_bytes(file.read_bytes()[:-20])
    rejected = json_of("check", file, codes=(1,))
    VALIDATOR.validate(rejected)
    assert rejected["accepted"] is False
    moons = ("moons", "--samples", "3", "--radius", "0.1", "--time-limit", "0")
    unfinished = json_of("prove", *moons, "--out", tmp_path / "none", codes=(3,))
    VALIDATOR.validate(unfinished)
    assert unfinished["file"] is None
    assert unfinished["lower"] <= unfinished["upper"]
    assert not (tmp_path / "none").exists()


def test_what_comes_in_and_goes_out_follows_the_schema(json_of, tmp_path):
    iris, folder = PROBLEMS / "iris", tmp_path / "vnnlib"
    data = ("--model", iris / "network.onnx", "--data", iris / "data.npz")
    VALIDATOR.validate(json_of("new", tmp_path / "mine", *data))
    asked = ("--samples", "2", "--around-distances", "--out", folder)
    exported = json_of("export", "iris", *asked)
    VALIDATOR.validate(exported)
    for one in exported["instances"]:
        decided = json_of("decide", folder / "network.onnx", folder / one["vnnlib"])
        VALIDATOR.validate(decided)
        assert decided["answer"] == one["expected"]


def test_infinite_values_are_strings_and_unknown_ones_null(json_of):
    row = json_of("exact", "dlr-tie", "--radius", "1")["rows"][0]
    assert (row["lower"], row["upper"], row["status"]) == ("inf", "inf", "unbounded")
    assert row["multiplier"] is None


def test_where_nothing_bounds_the_loss_a_limit_leaves_nothing(call):
    """DLR on an unbounded support, before its cells are known."""
    done = call("exact", PROBLEMS / "dlr-line", "--time-limit", "0", "--json", "-")
    assert (done.code, done.out) == (3, "")
    assert done.err.count("\n") == 1


@pytest.mark.parametrize(
    "break_it",
    [
        lambda data: data.pop("rows"),
        lambda data: data.update(undocumented=1),
        lambda data: data.update(schema="wdaverify/2"),
        lambda data: data["rows"][0].update(status="fine"),
        lambda data: data["rows"][0].update(lower="infinity"),
        lambda data: data["rows"][0].update(upper=None),
        lambda data: data.update(command="curve"),
    ],
)
def test_the_schema_notices_what_is_wrong(json_of, break_it):
    data = json_of("exact", "relu-interval")
    VALIDATOR.validate(data)
    broken = copy.deepcopy(data)
    break_it(broken)
    with pytest.raises(ValidationError):
        VALIDATOR.validate(broken)


QUIET = [case for case in CASES if "--time-limit" not in case][::3]


@pytest.mark.parametrize("case", QUIET, ids=" ".join)
def test_quiet_is_silent_but_for_errors(call, case):
    done = call(case[0], PROBLEMS / case[1], *case[2:], "--quiet")
    assert done.out == ""
    assert done.err.count("\n") == (1 if done.code else 0)


def test_proofs_can_be_quiet_too(call, tmp_path):
    file = tmp_path / "proof"
    problem = PROBLEMS / "relu-interval"
    for arguments in (
        ("prove", problem, "--radius", "1", "--out", file),
        ("check", file, problem, "--radius", "1"),
        ("replay", file),
        ("replay", problem, "--radius", "1"),
    ):
        assert call(*arguments, "--quiet") == (0, "", "")
