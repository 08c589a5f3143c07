"""`new`, then `verify`: the same numbers as a problem built by hand, and nothing half done."""

import json
import tomllib
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from importers.samples import export
from onnx import external_data_helper
from torch import nn

import wdaverify as wv
from wdaverify.cli import main

COLOURS = ("red", "green", "blue")


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return stop.value.code, captured.out, captured.err


def new(capsys, folder, model, data, *options):
    code, out, err = call(
        capsys, "new", folder, "--model", model, "--data", data, *options, "--json", "-"
    )
    assert code == 0, err
    return json.loads(out)


def verified(capsys, folder, *options):
    code, out, err = call(capsys, "verify", folder, *options, "--json", "-", "--quiet")
    assert code == 0, err
    return json.loads(out)


def blobs(count=9, features=2):
    """Three clouds of points, each where its coordinate is largest (or none is), as float32."""
    rng = np.random.default_rng(0)
    centres = np.vstack([np.eye(features)[:2] * 0.8, np.zeros((1, features))])
    labels = np.arange(count) % 3
    points = centres[labels] + rng.uniform(-0.1, 0.1, size=(count, features)) + 0.1
    return points.astype(np.float32), labels


def classifier(features=2):
    """Logits (4x, 4y, 1 + relu(1 - 2x - 2y)) of the first two features, by hand."""
    model = nn.Sequential(nn.Linear(features, 3), nn.ReLU(), nn.Linear(3, 3))
    hidden, out = np.zeros((3, features)), np.diag([4.0, 4.0, 1.0])
    hidden[0, 0] = hidden[1, 1] = 1.0
    hidden[2, :2] = -2.0
    for parameter, value in (
        (model[0].weight, hidden),
        (model[0].bias, [0, 0, 1]),
        (model[2].weight, out),
        (model[2].bias, [0, 0, 1]),
    ):
        parameter.data = torch.tensor(np.asarray(value), dtype=torch.float32)
    return model


def by_hand(points, labels, support):
    """The same question from arrays, without any reader."""
    weights = [[[1, 0], [0, 1], [-2, -2]], np.diag([4.0, 4.0, 1.0])]
    network = wv.ReLUNetwork(weights, [[0, 0, 1], [0, 0, 1]])
    return wv.Problem(network, points.astype(float), labels, support=support)


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory):
    """Exported once: its weights, which the exporter puts beside the file, are in it."""
    folder = tmp_path_factory.mktemp("exported")
    exported = onnx.load(export(classifier(), (2,), folder))
    path = folder / "model.onnx"
    onnx.save(exported, path)
    return path


def csv_of(path, points, labels):
    """A table with the label in the middle, floats as numpy writes them for float32."""
    lines = ["x,colour,y"]
    lines += [f"{p[0]!s},{COLOURS[k]},{p[1]!s}" for p, k in zip(points, labels, strict=True)]
    path.write_text("\n".join(lines) + "\n")


def test_from_a_table_with_names_of_classes(capsys, tmp_path, onnx_file):
    points, labels = blobs()
    csv_of(tmp_path / "d.csv", points, labels)
    found = new(
        capsys, tmp_path / "p", onnx_file, tmp_path / "d.csv",
        *("--label-column", "colour", "--classes", ",".join(COLOURS), "--radius", "0.05"),
    )  # fmt: skip
    assert found["classes"] == list(COLOURS)
    assert found["accuracy"] == 1.0
    assert found["support"] == {"lower": [0.0, 0.0], "upper": [1.0, 1.0]}
    assert found["warnings"] == []
    assert any("largest difference" in note for note in found["notes"])
    exact = np.array([[float(str(v)) for v in p] for p in points])  # as the text has them
    expected = wv.solve(by_hand(exact, labels, wv.Box(0.0, 1.0)), radius=0.05)
    (row,) = verified(capsys, tmp_path / "p")["rows"]
    assert row["lower"] == pytest.approx(expected.lower, abs=1e-9)
    assert row["upper"] == pytest.approx(expected.upper, abs=1e-9)
    # sorted names would mean blue, green, red: another question
    shuffled = new(
        capsys, tmp_path / "q", onnx_file, tmp_path / "d.csv", "--label-column", "colour"
    )
    assert shuffled["classes"] == ["blue", "green", "red"]
    assert shuffled["accuracy"] == pytest.approx(1 / 3)
    assert "--classes red,green,blue" in shuffled["warnings"][1]


@pytest.mark.parametrize("suffix", ["onnx", "pt2", "npz"])
def test_from_arrays_with_one_hot_labels(capsys, tmp_path, onnx_file, suffix):
    points, labels = blobs()
    model = classifier()
    path = tmp_path / f"m.{suffix}"
    if suffix == "onnx":
        path.write_bytes(onnx_file.read_bytes())
    elif suffix == "pt2":
        torch.export.save(torch.export.export(model.eval(), (torch.zeros(1, 2),)), path)
    else:
        np.savez(path, **by_hand(points, labels, None).network.arrays())
    weights = np.arange(1.0, 10.0)
    np.savez(tmp_path / "d.npz", X=points, y=np.eye(3)[labels], weights=weights)
    options = ("--norm", "l1", "--order", "inf", "--loss", "hinge", "--radius", "0.1")
    found = new(capsys, tmp_path / "p", path, tmp_path / "d.npz", *options, "--name", "three")
    names = ["data.npz", f"network.{suffix}", "problem.toml"]
    assert sorted(file.name for file in (tmp_path / "p").iterdir()) == names
    assert (tmp_path / "p" / f"network.{suffix}").read_bytes() == path.read_bytes()
    assert (found["problem"], found["loss"], found["norm"]) == ("three", "hinge", "l1")
    assert found["order"] == "inf"
    assert [guess["key"] for guess in found["guesses"]] == ["support"]
    problem = by_hand(points, labels, wv.Box(0.0, 1.0)).replace(
        weights=weights,
        cost=wv.TransportCost("l1", "inf"),
        loss=wv.load_problem(tmp_path / "p").loss,
    )
    (row,) = verified(capsys, tmp_path / "p")["rows"]
    assert row["upper"] == pytest.approx(wv.solve(problem, radius=0.1).upper, abs=1e-9)


def test_images_and_a_normalisation_layer(capsys, tmp_path):
    """Logits of the folder's network are torch's; channels last is refused."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.BatchNorm2d(2), nn.Conv2d(2, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(18, 3)
    )
    images = torch.randint(0, 256, (12, 2, 4, 3), dtype=torch.uint8)
    model(images.float())
    path = export(model, (2, 4, 3), tmp_path)
    labels = model.eval()(images.float()).argmax(1).numpy()
    np.savez(tmp_path / "d.npz", images=images.numpy(), labels=labels)
    found = new(capsys, tmp_path / "p", path, tmp_path / "d.npz", "--samples", "10")
    problem = wv.load_problem(tmp_path / "p")
    with torch.no_grad():
        expected = model.double()(images[:10].double()).numpy()
    assert np.abs(problem.network.logits(problem.points) - expected).max() < 1e-10
    assert found["accuracy"] == 1.0
    assert set(found["support"]["upper"]) == {255.0}
    with np.load(tmp_path / "p" / "data.npz") as stored:
        assert stored["points"].dtype == np.uint8
    np.savez(tmp_path / "d.npz", X=images.numpy().transpose(0, 2, 3, 1), y=labels)
    code, _, err = call(
        capsys, "new", tmp_path / "q", "--model", path, "--data", tmp_path / "d.npz"
    )
    assert code == 2
    assert "channels last?" in err
    assert not (tmp_path / "q").exists()


def test_every_guess_stands_in_the_file_and_can_be_read_back(capsys, tmp_path, onnx_file):
    points, labels = blobs()
    np.savez(tmp_path / "d.npz", X=points * 10 - 3, y=labels)
    found = new(capsys, tmp_path / "p", onnx_file, tmp_path / "d.npz")
    text = (tmp_path / "p" / "problem.toml").read_text()
    stored = tomllib.loads(text)
    assert stored["radii"] == found["radii"]
    assert stored["support"] == found["support"]
    assert (stored["loss"], stored["norm"], stored["order"]) == ("margin", "linf", 1)
    keys = ["loss", "norm", "order", "radii", "support"]
    assert [guess["key"] for guess in found["guesses"]] == keys
    flat = " ".join(text.replace("\n# ", " ").split())
    for guess in found["guesses"]:
        assert guess["why"] in flat
    assert max(len(line) for line in text.splitlines()) <= 100


def test_what_is_printed(capsys, tmp_path, onnx_file):
    points, labels = blobs(60)
    np.savez(tmp_path / "d.npz", X=points, y=labels)
    code, out, err = call(
        capsys, "new", tmp_path / "p", "--model", onnx_file, "--data", tmp_path / "d.npz"
    )
    assert (code, err) == (0, "")
    for words in ("0 (20), 1 (20), 2 (20)", "100.0% (60 of 60)", "guessed: ", "engine", "next: "):
        assert words in out
    assert call(
        capsys, "new", tmp_path / "q", "--model", onnx_file, "--data", tmp_path / "d.npz", "--quiet"
    ) == (0, "", "")


def test_rounding_at_the_edge_is_clipped_and_said(capsys, tmp_path, onnx_file):
    points, labels = blobs()
    points[0, 0] = np.nextafter(np.float32(1), np.float32(2))
    np.savez(tmp_path / "d.npz", X=points, y=labels)
    found = new(capsys, tmp_path / "p", onnx_file, tmp_path / "d.npz")
    assert found["clipped"] == 1
    assert any("1 point clipped" in note for note in found["notes"])
    assert wv.load_problem(tmp_path / "p").points.max() == 1.0
    with np.load(tmp_path / "p" / "data.npz") as stored:
        assert stored["points"].max() > 1


def test_external_data_of_the_network_move_into_its_file(capsys, tmp_path, onnx_file):
    proto = onnx.load(onnx_file)
    external_data_helper.convert_model_to_external_data(proto, location="w", size_threshold=0)
    (tmp_path / "m").mkdir()
    onnx.save(proto, tmp_path / "m" / "net.onnx")
    points, labels = blobs()
    np.savez(tmp_path / "d.npz", X=points, y=labels)
    found = new(capsys, tmp_path / "p", tmp_path / "m" / "net.onnx", tmp_path / "d.npz")
    assert "external data of the network are now inside its file" in found["notes"]
    (tmp_path / "m" / "w").unlink()
    expected = wv.load_network(onnx_file).digest
    assert wv.load_problem(tmp_path / "p").network.digest == expected


def test_no_support_and_a_given_one(capsys, tmp_path, onnx_file):
    points, labels = blobs()
    np.savez(tmp_path / "d.npz", X=points, y=labels)
    new(capsys, tmp_path / "p", onnx_file, tmp_path / "d.npz", "--no-support")
    assert wv.load_problem(tmp_path / "p").support.describe() == "the whole space"
    new(capsys, tmp_path / "q", onnx_file, tmp_path / "d.npz", "--support", "-2", "3")
    assert wv.load_problem(tmp_path / "q").support.describe() == "box [-2, 3]"


def test_names_cannot_write_keys(capsys, tmp_path):
    points, labels = blobs()
    np.savez(tmp_path / "m.npz", **by_hand(points, labels, None).network.arrays())
    odd = np.array(["a\nradii = [9]", 'b"', "c\u2028\x00\ud800d"], dtype="<U20")
    np.savez(tmp_path / "d.npz", X=points, y=odd[labels][:, None])
    code, _, err = call(
        capsys, "new", tmp_path / "p", "--model", tmp_path / "m.npz", "--data", tmp_path / "d.npz"
    )
    assert code == 2  # half a surrogate pair is no character
    assert "characters that do not exist" in err
    odd[2] = "c\u2028\x00d"
    np.savez(tmp_path / "d.npz", X=points, y=odd[labels])
    found = new(
        capsys, tmp_path / "p", tmp_path / "m.npz", tmp_path / "d.npz", "--radius", "0.5",
        *("--name", 'x"\n[expected]'),
    )  # fmt: skip
    stored = tomllib.loads((tmp_path / "p" / "problem.toml").read_text())
    assert stored["radii"] == [0.5]
    assert stored["name"] == 'x"\n[expected]' == found["problem"]
    assert "expected" not in stored


# ---- folders ------------------------------------------------------------------------------------


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_folder_with_files_is_left_alone(capsys, tmp_path, onnx_file):
    points, labels = blobs()
    np.savez(tmp_path / "d.npz", X=points, y=labels)
    arguments = (tmp_path / "p", onnx_file, tmp_path / "d.npz")
    new(capsys, *arguments)
    before = contents(tmp_path / "p")
    command = ("new", arguments[0], "--model", arguments[1], "--data", arguments[2])
    code, _, err = call(capsys, *command, "--radius", "7")
    assert code == 2
    assert "--force replaces a problem folder" in err
    assert contents(tmp_path / "p") == before
    new(capsys, *arguments, "--force", "--radius", "7")
    assert tomllib.loads((tmp_path / "p" / "problem.toml").read_text())["radii"] == [7.0]
    (tmp_path / "p" / "notes.txt").write_text("mine")
    code, _, err = call(capsys, *command, "--force")
    assert code == 2
    assert "found 'notes.txt'" in err
    assert (tmp_path / "p" / "notes.txt").read_text() == "mine"


def test_the_old_folder_comes_back_when_writing_fails(capsys, tmp_path, onnx_file, monkeypatch):
    points, labels = blobs()
    np.savez(tmp_path / "d.npz", X=points, y=labels)
    arguments = (tmp_path / "p", onnx_file, tmp_path / "d.npz")
    new(capsys, *arguments)
    before = contents(tmp_path / "p")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("wdaverify.drafts.folder.write_arrays", full)
    code, _, err = call(
        capsys, "new", arguments[0], "--model", arguments[1], "--data", arguments[2], "--force"
    )
    assert code == 2
    assert "No space left on device" in err
    assert contents(tmp_path / "p") == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d.npz", "p"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--loss", "hnge"], "--loss: expected one of margin, "),
        (["--norm", "l3"], "--norm: expected one of l1, l2, linf, found 'l3'"),
        (["--order", "0"], "--order: expected a number p >= 1 or \"inf\", found '0'"),
        (["--radius", "nan"], "--radius[0]: expected a finite number >= 0, found nan"),
        (["--samples", "10"], "--samples: expected 1 to 9, found 10"),
        (["--support", "0", "0.5"], "--support: 6 of 9 points lie outside box [0, 0.5], the first"),
        (["--support", "2", "1"], "support: expected lower <= upper, found 2 > 1"),
        (["--support", "0", "1", "--no-support"], "--support: expected this or --no-support"),
        (["--classes", "a,b"], "--classes: expected 3 names, one for each logit, found 2"),
        (["--label-column", "y"], "--label-column: expected a table (.csv), found arrays"),
        (["--engine", "cells"], "No such option"),
    ],
)
def test_a_bad_option(capsys, tmp_path, onnx_file, options, message):
    points, labels = blobs()
    np.savez(tmp_path / "d.npz", X=points, y=labels)
    code, out, err = call(
        capsys, "new", tmp_path / "p", "--model", onnx_file, "--data", tmp_path / "d.npz", *options
    )
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert message in err
    assert not (tmp_path / "p").exists()


def test_files_that_do_not_fit_each_other(capsys, tmp_path, onnx_file):
    points, labels = blobs(features=3)
    csv = tmp_path / "d.csv"
    csv.write_text("a,b,c,y\n1,2,3,0\n")
    np.savez(tmp_path / "d.npz", X=points, y=labels)
    np.savez(tmp_path / "e.npz", X=points[:, :2], y=labels[:-1])
    np.savez(tmp_path / "f.npz", X=points[:, :2], y=labels, weights=1.0)
    for data, message in (
        (
            csv,
            "d.csv: points: expected 2 columns of features, as the network has 2 inputs, found 3",
        ),
        (tmp_path / "d.npz", "d.npz: points: samples of shape (3,) do not fit the network"),
        (tmp_path / "e.npz", "e.npz: labels: expected one for each of 9 samples, found 8"),
        (tmp_path / "f.npz", "f.npz: weights: expected 1 dimension(s), found shape ()"),
        (onnx_file, "expected samples of type .npz or .csv, found 'model.onnx'"),
    ):
        code, _, err = call(capsys, "new", tmp_path / "p", "--model", onnx_file, "--data", data)
        assert code == 2
        assert message in err
        assert not (tmp_path / "p").exists()
