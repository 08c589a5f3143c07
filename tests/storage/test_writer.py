"""Writing: what is written is read back bit for bit, and nothing half-written is ever seen."""

import json
import math
import os
import tomllib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from wdaverify.cost import TransportCost
from wdaverify.errors import ProblemError
from wdaverify.loss import LOSSES, Loss
from wdaverify.network import ReLUNetwork
from wdaverify.norms import NORMS
from wdaverify.problem import Problem
from wdaverify.storage import (
    Expected,
    files,
    load_problem,
    load_stored,
    write_arrays,
    write_json,
    write_problem,
    writer,
)
from wdaverify.support import Box, Polytope

PROBLEMS = Path(__file__).parents[2] / "problems"
FOLDERS = sorted(path.parent for path in PROBLEMS.glob("*/problem.toml"))

FLOATS = st.floats(allow_nan=False, allow_infinity=False, width=64)
SMALL = st.floats(-1e3, 1e3)
BOUNDED = st.floats(-1e6, 1e6)


def network(n=2, K=3, slopes=None):
    rng = np.random.default_rng(0)
    shapes = [(4, n), (K, 4)]
    return ReLUNetwork(
        [rng.standard_normal(shape) for shape in shapes],
        [rng.standard_normal(shape[0]) for shape in shapes],
        slopes,
    )


def small(**changes):
    parts = {"network": network(), "points": [[0.1, 0.2], [0.3, 0.7]], "labels": [0, 2]} | changes
    return Problem(**parts)


def assert_same(left: Problem, right: Problem):
    assert left.network.digest == right.network.digest
    pairs = [
        *zip(left.network.weights, right.network.weights, strict=True),
        *zip(left.network.biases, right.network.biases, strict=True),
        *zip(left.network.slopes, right.network.slopes, strict=True),
        (left.points, right.points),
        (left.labels, right.labels),
        (left.weights, right.weights),
        *zip(left.support.rows, right.support.rows, strict=True),
        *zip(left.support.bounds, right.support.bounds, strict=True),
    ]
    for a, b in pairs:
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        assert a.tobytes() == b.tobytes()
    assert type(left.support) is type(right.support)
    assert left.loss == right.loss
    assert left.cost == right.cost
    assert left.name == right.name


# ---- folders ------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", FOLDERS, ids=lambda path: path.name)
def test_every_folder_of_the_repository_round_trips(path, tmp_path):
    stored = load_stored(path)
    write_problem(tmp_path / "copy", stored.problem, stored.radii, expected=stored.expected)
    copy = load_stored(tmp_path / "copy")
    assert_same(stored.problem, copy.problem)
    assert copy.radii == stored.radii
    assert copy.expected == stored.expected
    assert copy.notes == ()


@st.composite
def problems(draw):
    n, N = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    widths = [n, *draw(st.lists(st.integers(1, 3), max_size=2)), draw(st.integers(3, 4))]
    sizes = list(zip(widths[1:], widths[:-1], strict=True))
    W = [draw(hnp.arrays(np.float64, size, elements=FLOATS)) for size in sizes]
    b = [draw(hnp.arrays(np.float64, size[0], elements=FLOATS)) for size in sizes]
    slopes = [draw(hnp.arrays(np.float64, len(v), elements=st.floats(0, 1))) for v in b[:-1]]
    points = draw(hnp.arrays(np.float64, (N, n), elements=BOUNDED))
    order = draw(st.sampled_from([1.0, 2.0, 1.5, 1e7, math.inf]))
    label_cost = draw(st.none() | st.floats(0, 1e9)) if math.isfinite(order) else None
    lower = draw(hnp.arrays(np.float64, n, elements=st.sampled_from([0.0, 0.1, math.inf])))
    box = Box(points.min(axis=0) - lower, math.inf)
    rows = draw(hnp.arrays(np.float64, (2, n), elements=SMALL))
    polytope = Polytope(rows, (points @ rows.T).max(axis=0) + 1e-3)
    return Problem(
        ReLUNetwork(W, b, draw(st.sampled_from([None, slopes]))),
        points,
        draw(hnp.arrays(np.int64, N, elements=st.integers(0, 2))),
        loss=draw(st.sampled_from(sorted(LOSSES))),
        cost=TransportCost(draw(st.sampled_from(sorted(NORMS))), order, label_cost),
        support=draw(st.sampled_from([None, Box(-1e9, 1e9), box, polytope])),
        weights=draw(st.none() | hnp.arrays(np.float64, N, elements=st.floats(1e-9, 1e9))),
        name=draw(st.text(st.characters(exclude_categories=["Cs"]))),
    )


@settings(max_examples=150, deadline=None)
@given(
    problem=problems(),
    radii=st.lists(st.floats(0, 1e300), min_size=1, max_size=20),
    source=st.text(st.characters(exclude_categories=["Cs"])),
    description=st.text(),
)
def test_round_trip(tmp_path_factory, problem, radii, source, description):
    folder = tmp_path_factory.mktemp("trip") / "folder"
    expected = Expected((*(-v for v in radii[:-1]), math.inf), source)
    write_problem(folder, problem, radii, expected=expected, description=description)
    stored = load_stored(folder)
    assert_same(problem, stored.problem)
    assert stored.radii == tuple(radii)
    assert stored.expected == expected


def test_the_round_trip_check_can_fail():
    with pytest.raises(AssertionError):
        assert_same(small(), small(points=[[0.1, 0.2], [0.3, np.nextafter(0.7, 1)]]))
    with pytest.raises(AssertionError):
        assert_same(small(), small(loss="hinge"))
    with pytest.raises(AssertionError):
        assert_same(small(), small(points=[[0.1, 0.2], [0.3, 0.7]], support=Box(0, 1)))


def test_the_text_is_for_people(tmp_path):
    problem = small(
        loss="zero-one",
        cost=TransportCost("l2", 2, 0.5),
        support=Box([0, 0.1], 1),
        name='two "moons"\n',
    )
    expected = Expected((0.5, math.inf), "a\\b")
    description = "First line.\nSecond\x00 line."
    write_problem(tmp_path / "p", problem, [0.1, 1], expected=expected, description=description)
    assert (tmp_path / "p" / "problem.toml").read_text(encoding="utf-8") == (
        "# First line.\n"
        "# Second  line.\n"
        "\n"
        r'name = "two \"moons\"\n"' + "\n"
        'network = "network.npz"\n'
        'data = "data.npz"\n'
        'loss = "zero-one"               # 1 where margin >= 0 (a tie is an error), else 0\n'
        'norm = "l2"                     # Euclidean length of a move\n'
        "order = 2                       # cost of a move = its length ** order\n"
        "radii = [0.1, 1.0]\n"
        "label_cost = 0.5                # cost of giving a unit of mass another label\n"
        "\n"
        "[support]\n"
        "lower = [0.0, 0.1]\n"
        "upper = 1.0\n"
        "\n"
        "[expected]\n"
        "values = [0.5, inf]\n"
        'source = "a\\\\b"\n'
    )


def test_long_lists_are_broken_into_lines(tmp_path):
    radii = [k / 7 for k in range(30)]
    write_problem(tmp_path / "p", small(), radii)
    text = (tmp_path / "p" / "problem.toml").read_text(encoding="utf-8")
    assert max(len(line) for line in text.splitlines()) < 190
    assert tomllib.loads(text)["radii"] == radii


def test_what_is_in_a_folder(tmp_path):
    write_problem(tmp_path / "a" / "b", small(), [0])
    assert names(tmp_path / "a" / "b") == ["data.npz", "network.npz", "problem.toml"]
    assert names(tmp_path / "a") == ["b"]
    with np.load(tmp_path / "a" / "b" / "data.npz") as data:
        assert sorted(data) == ["labels", "points"]
    write_problem(tmp_path / "c", small(support=Polytope([[1, 1]], [2]), weights=[1, 2]), [0])
    assert names(tmp_path / "c") == ["data.npz", "network.npz", "problem.toml", "support.npz"]
    with np.load(tmp_path / "c" / "data.npz") as data:
        assert sorted(data) == ["labels", "points", "weights"]


def test_same_problem_same_bytes(tmp_path):
    for name in "ab":
        write_problem(tmp_path / name, small(), [0.5])
    for name in names(tmp_path / "a"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_an_empty_folder_is_taken_a_full_one_is_not(tmp_path):
    (tmp_path / "empty").mkdir()
    write_problem(tmp_path / "empty", small(), [0.5])
    before = {name: (tmp_path / "empty" / name).read_bytes() for name in names(tmp_path / "empty")}
    with pytest.raises(ProblemError, match=r"empty: expected a new or an empty folder, found"):
        write_problem(tmp_path / "empty", small(loss="hinge"), [0.5])
    (tmp_path / "file").write_text("x")
    with pytest.raises(ProblemError, match=r"file: expected a new folder, found a file"):
        write_problem(tmp_path / "file", small(), [0.5])
    after = {name: (tmp_path / "empty" / name).read_bytes() for name in names(tmp_path / "empty")}
    assert after == before
    assert names(tmp_path) == ["empty", "file"]


@pytest.mark.parametrize("stop", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_nothing(tmp_path, monkeypatch, stop):
    def fail(folder, problem, text):
        (folder / "network.npz").write_text("half")
        raise stop

    monkeypatch.setattr(writer, "_write", fail)
    wanted = ProblemError if isinstance(stop, OSError) else KeyboardInterrupt
    with pytest.raises(wanted) as caught:
        write_problem(tmp_path / "p", small(), [0.5])
    assert names(tmp_path) == []
    if wanted is ProblemError:
        assert str(caught.value).endswith(
            "p: expected a place to write to, found: No space left on device"
        )


def test_two_writers_do_not_mix(tmp_path, monkeypatch):
    original = writer._write

    def overtaken(folder, problem, text):
        original(folder, problem, text)
        monkeypatch.setattr(writer, "_write", original)
        write_problem(tmp_path / "p", small(loss="hinge"), [0.25])

    monkeypatch.setattr(writer, "_write", overtaken)
    with pytest.raises(ProblemError, match="found files in it"):
        write_problem(tmp_path / "p", small(), [0.5])
    assert load_problem(tmp_path / "p").loss.name == "hinge"
    assert names(tmp_path) == ["p"]


class _Odd(Loss):
    name = "margin"

    def evaluate(self, logits, labels):
        return logits[labels, 0]


@pytest.mark.parametrize(
    ("problem", "radii", "expected", "message"),
    [
        (small(), [], None, "radii: expected at least one radius, found an empty list"),
        (small(), [-1], None, r"radii\[0\]: expected a finite number >= 0, found -1.0"),
        (small(), [0, math.inf], None, r"radii\[1\]: expected a finite number >= 0, found inf"),
        (small(), [0, math.nan], None, r"radii\[1\]: expected a finite number >= 0, found nan"),
        (small(), [0, 1], Expected((1.0,), ""), "one value for each of 2 radii, found 1"),
        (small(loss=_Odd()), [0], None, r"loss: expected one of margin, .*, found _Odd\(\)"),
        (small(name="\ud800"), [0], None, "text that can be written as UTF-8, found"),
    ],
)
def test_what_cannot_be_stored(tmp_path, problem, radii, expected, message):
    with pytest.raises(ProblemError, match=message):
        write_problem(tmp_path / "p", problem, radii, expected=expected)
    assert names(tmp_path) == []


# ---- JSON ---------------------------------------------------------------------------------------


def test_json_knows_numpy_and_infinity(tmp_path):
    data = {
        "rows": [{"radius": np.float64(0.1), "attained": np.True_, "upper": math.inf}],
        "labels": np.array([1, 2]),
        "points": np.array([[0.5, -np.inf]]),
        "tuple": (1, None, "ü", tmp_path),
        "lower": np.float32(0.5),
    }
    write_json(tmp_path / "out.json", data)
    assert json.loads((tmp_path / "out.json").read_text()) == {
        "rows": [{"radius": 0.1, "attained": True, "upper": "inf"}],
        "labels": [1, 2],
        "points": [[0.5, "-inf"]],
        "tuple": [1, None, "ü", str(tmp_path)],
        "lower": 0.5,
    }
    assert names(tmp_path) == ["out.json"]


def test_json_to_standard_output(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_json("-", {"value": 1.5})
    assert capsys.readouterr().out == '{\n  "value": 1.5\n}\n'
    assert names(tmp_path) == []


@given(st.floats(allow_nan=False))
def test_json_floats_are_exact(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("json") / "out.json"
    write_json(path, value)
    read = float(json.loads(path.read_text()))
    assert read == value
    assert math.copysign(1, read) == math.copysign(1, value)


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ({"rows": [{"lower": math.nan}]}, ValueError, r"data.rows\[0\].lower: .* found NaN"),
        ({"a": np.array([0, np.nan])}, ValueError, r"data.a\[1\]: .* found NaN"),
        ({"a": {1: 2}}, TypeError, "data.a: expected string keys, found 1"),
        ({"a": object()}, TypeError, "data.a: expected a JSON value, found object"),
        ({"a": b"x"}, TypeError, "data.a: expected a JSON value, found bytes"),
        ({"a": 1j}, TypeError, "data.a: expected a JSON value, found complex"),
    ],
)
def test_json_refuses(tmp_path, data, error, message):
    (tmp_path / "out.json").write_text("before")
    with pytest.raises(error, match=message):
        write_json(tmp_path / "out.json", data)
    assert (tmp_path / "out.json").read_text() == "before"
    assert names(tmp_path) == ["out.json"]


# ---- single files -------------------------------------------------------------------------------


def test_arrays_are_written_under_exactly_this_name(tmp_path):
    write_arrays(tmp_path / "worst", points=[[0.5]], labels=np.array([1]), origin=["a"])
    with np.load(tmp_path / "worst", allow_pickle=False) as data:
        assert data["points"].tolist() == [[0.5]]
        assert data["labels"].tolist() == [1]
        assert data["origin"].tolist() == ["a"]
    assert names(tmp_path) == ["worst"]


def test_objects_are_refused(tmp_path):
    with pytest.raises(TypeError, match="labels: expected numbers or strings, found an array of"):
        write_arrays(tmp_path / "worst.npz", labels=[None])
    assert names(tmp_path) == []


def test_a_failing_block_keeps_the_old_file(tmp_path):
    path = tmp_path / "out.json"
    path.write_text("before")

    def interrupted():
        with files.replacing(path) as file:
            file.write(b"half")
            raise KeyError

    with pytest.raises(KeyError):
        interrupted()
    assert path.read_text() == "before"
    assert names(tmp_path) == ["out.json"]


def test_the_old_file_stays_until_the_new_one_is_complete(tmp_path):
    path = tmp_path / "out.json"
    path.write_text("before")
    with files.replacing(path) as file:
        file.write(b"after")
        assert path.read_text() == "before"
    assert path.read_text() == "after"


def test_links_and_devices_stay_what_they_are(tmp_path):
    (tmp_path / "real.json").write_text("before")
    (tmp_path / "link.json").symlink_to("real.json")
    write_json(tmp_path / "link.json", 1)
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "real.json").read_text() == "1\n"
    write_json(os.devnull, 1)
    assert not Path(os.devnull).is_file()


def test_nowhere_to_write(tmp_path):
    for path, reason in (
        (tmp_path / "no" / "out.json", "found: No such file or directory"),
        (tmp_path, "expected the name of a file, found a folder"),
        (tmp_path / ("x" * 300), "found: File name too long"),
    ):
        with pytest.raises(ProblemError, match=reason) as caught:
            write_json(path, {})
        assert str(caught.value).startswith(str(path))
        with pytest.raises(ProblemError, match=reason):
            write_arrays(path, points=[1.0])
    (tmp_path / "file").write_text("")
    with pytest.raises(ProblemError, match=r"file/p: expected a place to write to"):
        write_problem(tmp_path / "file" / "p", small(), [1])


def names(folder):
    return sorted(path.name for path in folder.iterdir())
