"""``wdaverify cells``: balls against brute force, statistics, pictures, slices, refusals."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

import wdaverify as wv
from wdaverify.cli import main
from wdaverify.exact.penalty import Penalty
from wdaverify.exact.program import PieceProgram

PROBLEMS = Path(__file__).parents[2] / "problems"
COMMAND = importlib.import_module("wdaverify.cli.cells")
MOONS, IRIS, DIGITS = (str(PROBLEMS / name) for name in ("moons", "iris", "digits"))


def call(capsys, *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main(["cells", *arguments])
    captured = capsys.readouterr()
    return stop.value.code, captured.out, captured.err


def json_of(capsys, *arguments: str) -> dict:
    code, out, err = call(capsys, *arguments, "--json", "-")
    assert code == 0, err
    return json.loads(out)


def random_problem(folder: Path, norm: str, support: wv.Box) -> str:
    rng, sizes = np.random.default_rng(7), (2, 6, 5, 2)
    shapes = list(zip(sizes[1:], sizes[:-1], strict=True))
    network = wv.ReLUNetwork(
        [rng.normal(size=s) for s in shapes], [rng.normal(size=s[0]) for s in shapes]
    )
    points = np.array([[0.3, -0.2], [0.9, 0.9]])
    cost = wv.TransportCost(norm=norm, order=1)
    problem = wv.Problem(network, points, [0, 1], loss="margin", cost=cost, support=support)
    wv.write_problem(folder, problem, radii=[0.1])
    return str(folder)


# counting ----------------------------------------------------------------------------------


def test_a_bounded_support_is_counted_without_a_list(capsys, monkeypatch):
    monkeypatch.setattr(COMMAND, "enumerate_cells", None)
    data = json_of(capsys, MOONS)
    assert (data["cells"], data["bounded"], data["unbounded"]) == (114, 114, 0)
    assert data["complete"] is True
    assert not {"edges", "slice", "centre"} & set(data)


def test_the_limit_on_cells_says_what_was_reached(capsys):
    code, out, err = call(capsys, MOONS, "--max-cells", "10", "--json", "-")
    assert code == 3
    assert "cells found" in err
    data = json.loads(out)
    assert data["complete"] is False
    assert 0 < data["cells"] < 114
    assert "10 cells" in data["stopped"]


def test_workers_count_the_same_cells(capsys, monkeypatch):
    monkeypatch.setattr("wdaverify.cells.subdivision.subdivide.LARGE", 60)
    data = json_of(capsys, MOONS, "--workers", "2")
    assert (data["cells"], data["bounded"], data["complete"]) == (114, 114, True)
    code, out, _ = call(capsys, MOONS, "--workers", "2", "--max-cells", "10", "--json", "-")
    assert code == 3
    assert json.loads(out)["complete"] is False


# balls -------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
@pytest.mark.parametrize("support", [wv.Box(-1.0, 1.0), wv.Box()])
def test_a_ball_against_the_distances_of_all_cells(capsys, tmp_path, norm, support):
    folder = random_problem(tmp_path / "p", norm, support)
    problem = wv.load_problem(folder)
    cells = wv.enumerate_cells(problem.network, problem.support)
    distances = []
    for cell in cells:
        program = PieceProgram(cell.half_spaces, problem.support.bind(2), problem.cost.norm)
        distances.append(-program.solve(np.zeros(2), problem.points[0], Penalty(1.0)).bound)
    inside = np.array(distances) <= 0.4
    data = json_of(capsys, folder, "--ball", "0", "0.4")
    assert 1 < data["cells"] < len(cells)
    assert data["cells"] == inside.sum()
    assert data["bounded"] == (cells.bounded & inside).sum()
    assert data["unbounded"] == (~cells.bounded & inside).sum()
    assert (data["centre"], data["radius"], data["norm"]) == ([0.3, -0.2], 0.4, norm)
    assert data["complete"] is True


def test_a_sample_and_its_coordinates_are_the_same_centre(capsys):
    point = wv.load_problem(MOONS).points[5]
    by_index = json_of(capsys, MOONS, "--ball", "5", "0.1")
    typed = ",".join(repr(v) for v in point.tolist())
    assert json_of(capsys, MOONS, "--ball", typed, "0.1")["cells"] == by_index["cells"]
    assert json_of(capsys, MOONS, "--ball", "5", "2")["cells"] == 114


def test_a_touched_cell_counts(capsys):
    """``relu-interval``: the hinge is at 0, the support ends at 3."""
    folder = str(PROBLEMS / "relu-interval")
    counts = [json_of(capsys, folder, "--ball", "0.5", r)["cells"] for r in ("0.499", "0.5", "0.6")]
    assert counts == [1, 2, 2]
    far = [json_of(capsys, folder, "--ball", "5.0", r)["cells"] for r in ("1.9", "2")]
    assert far == [0, 1]


def test_a_ball_in_64_dimensions(capsys):
    data = json_of(capsys, DIGITS, "--ball", "0", "0.001")
    assert data["cells"] >= 1


# statistics --------------------------------------------------------------------------------


def test_statistics_of_moons(capsys):
    data = json_of(capsys, MOONS, "--statistics")
    assert data["edges"] == 205
    assert data["cells"] == 114
    assert data["cells_with_samples"] == 28
    assert set(data["neighbours"]) == {"smallest", "median", "mean", "largest"}
    assert data["neighbours"]["mean"] == pytest.approx(2 * 205 / 114)
    assert data["volume"]["total"] == pytest.approx(1.0, abs=1e-12)
    assert data["volume"]["support"] == 1.0
    assert 0 < data["volume"]["smallest"] < 1e-15
    assert data["share_of_cells_with_samples"] == pytest.approx(28 / 114)
    assert 0 < data["share_of_samples_alone"] < 1
    assert 0 < data["share_of_volume_with_samples"] < 1
    assert data["depth"]["smallest"] == 0
    _, out, _ = call(capsys, str(PROBLEMS / "relu-interval"), "--statistics")
    for words in ("volumes together", "volume of the support", "inradius", "neighbours"):
        assert words in out


def test_statistics_where_volumes_do_not_apply(capsys):
    data = json_of(capsys, str(PROBLEMS / "relu-line"), "--statistics")
    assert (data["volume"], data["inradius"]) == (None, None)
    assert data["share_of_volume_with_samples"] is None
    counted = json_of(capsys, str(PROBLEMS / "counted-cells"), "--statistics")
    assert counted["volume"]["support"] is None
    assert counted["edges"] == 55


# pictures and slices -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("suffix", "head"), [(".png", b"\x89PNG"), (".pdf", b"%PDF"), (".svg", b"<?xml")]
)
def test_a_picture(capsys, tmp_path, suffix, head):
    file = tmp_path / f"moons{suffix}"
    assert json_of(capsys, MOONS, "--plot", str(file))["cells"] == 114
    assert file.read_bytes().startswith(head)
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_a_slice_is_counted_and_drawn(capsys, tmp_path):
    file = tmp_path / "digits.png"
    data = json_of(capsys, DIGITS, "--slice", "21,36", "--at", "5", "--plot", str(file))
    assert data["slice"] == {"features": [21, 36], "at": 5, "cells": data["cells"]}
    problem = wv.load_problem(DIGITS)
    steps = (np.arange(300) + 0.5) / 300
    grid = np.tile(problem.points[5], (90_000, 1))
    grid[:, [21, 36]] = np.array(np.meshgrid(steps, steps)).reshape(2, -1).T
    seen = np.unique(problem.network.patterns(grid), axis=0)
    assert len(seen) <= data["cells"] <= len(seen) + 2
    assert file.stat().st_size > 10_000


def test_a_picture_of_many_features_shows_a_slice_beside_the_count(capsys, tmp_path):
    wine, file = str(PROBLEMS / "wine"), tmp_path / "wine.png"
    data = json_of(capsys, wine, "--plot", str(file), "--at", "2")
    assert data["cells"] == 482
    assert data["slice"]["features"] == [0, 1]
    only = json_of(capsys, wine, "--slice", "0,1", "--at", "2")
    assert only["cells"] == data["slice"]["cells"] < 482
    assert file.exists()


def test_statistics_of_a_slice(capsys):
    data = json_of(capsys, IRIS, "--slice", "2,3", "--statistics")
    assert data["cells_with_samples"] == 1
    assert data["volume"]["total"] == pytest.approx(1.0, abs=1e-12)


# refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("problem", "arguments", "fragments"),
    [
        (MOONS, ["--ball", "0", "-1"], ["radius >= 0", "-1"]),
        (MOONS, ["--ball", "0", "nan"], ["radius", "nan"]),
        (MOONS, ["--ball", "0", "wide"], ["radius", "wide"]),
        (MOONS, ["--ball", "100", "1"], ["0 to 99", "100"]),
        (MOONS, ["--ball", "-1", "1"], ["0 to 99", "-1"]),
        (MOONS, ["--ball", "0.1,0.2,0.3", "1"], ["2 finite coordinates", "0.1,0.2,0.3"]),
        (MOONS, ["--ball", "0.5", "1"], ["2 finite coordinates", "0.5"]),
        (MOONS, ["--ball", "a,b", "1"], ["a,b"]),
        (MOONS, ["--ball", "inf,0.0", "1"], ["finite", "inf"]),
        (MOONS, ["--ball", "0"], ["--ball"]),
        (MOONS, ["--ball", "0", "1", "--statistics"], ["--ball", "--statistics"]),
        (MOONS, ["--ball", "0", "1", "--graph", "g.graphml"], ["--ball", "--graph"]),
        (MOONS, ["--ball", "0", "1", "--workers", "2"], ["--ball", "--workers"]),
        (MOONS, ["--ball", "0", "1", "--device", "cuda"], ["--ball", "--device"]),
        (MOONS, ["--device", "tpu"], ["device: expected cpu or cuda", "tpu"]),
        (MOONS, ["--device", "cuda:99"], ["device: asked for 'cuda:99'", "use cpu"]),
        (MOONS, ["--workers", "0"], ["--workers"]),
        (MOONS, ["--plot", "picture.docx"], ["picture.docx"]),
        (MOONS, ["--plot", "nowhere/picture.png"], ["nowhere"]),
        (MOONS, ["--slice", "0,1"], ["--slice", "more than two"]),
        (MOONS, ["--at", "0", "--plot", "p.png"], ["--at", "more than two"]),
        (MOONS, ["--at", "0"], ["--at", "--slice"]),
        (IRIS, ["--slice", "0"], ["--slice", "0"]),
        (IRIS, ["--slice", "1,1"], ["two different features", "1,1"]),
        (IRIS, ["--slice", "0,4"], ["0 to 3", "0,4"]),
        (IRIS, ["--slice", "0,1", "--at", "50"], ["0 to 49", "50"]),
        (str(PROBLEMS / "relu-line"), ["--plot", "p.png"], ["two features"]),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    capsys, tmp_path, monkeypatch, problem, arguments, fragments
):
    monkeypatch.chdir(tmp_path)
    code, out, err = call(capsys, problem, "--quiet", *arguments)
    assert code == 2
    assert err.count("\n") == 1
    assert "Traceback" not in err + out
    for fragment in fragments:
        assert fragment in err
    assert list(tmp_path.iterdir()) == []


def test_a_lost_block_changes_the_count(capsys, monkeypatch):
    blocks = COMMAND.cell_blocks

    def lossy(*arguments, **options):
        found = blocks(*arguments, **options)
        next(found)
        yield from found

    monkeypatch.setattr(COMMAND, "cell_blocks", lossy)
    assert json_of(capsys, MOONS)["cells"] < 114
