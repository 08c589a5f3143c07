"""Samples from files of users: which arrays and columns are read, and what is said about it."""

import numpy as np
import pandas as pd
import pytest

from wdaverify.storage.samples import PAIRS, read_samples

X = np.array([[0.1, 2.0], [0.3, -4.0]])
Y = np.array([1, 0])


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_names_of_arrays(tmp_path, pair):
    path = tmp_path / "data.npz"
    np.savez(path, **dict(zip(pair, (X, Y), strict=True)))
    found = read_samples(path)
    assert np.array_equal(found.points, X)
    assert np.array_equal(found.labels, Y)
    assert found.weights is None
    assert found.notes == (f"arrays '{pair[0]}', '{pair[1]}'",)


def test_test_data_come_first_and_the_rest_is_named(tmp_path):
    path = tmp_path / "data.npz"
    np.savez(path, x_train=X, y_train=Y, x_test=X + 1, y_test=Y, sample_weight=[1.0, 2.0])
    found = read_samples(path)
    assert np.array_equal(found.points, X + 1)
    assert found.weights.tolist() == [1.0, 2.0]
    assert found.notes == ("arrays 'x_test', 'y_test', 'sample_weight' (not 'x_train', 'y_train')",)


def test_arrays_keep_their_type_and_shape(tmp_path):
    path = tmp_path / "data.npz"
    images = np.arange(16, dtype=np.uint8).reshape(2, 2, 2, 2)
    np.savez_compressed(path, X=images, y=np.array(["cat", "dog"]))
    found = read_samples(path)
    assert found.points.dtype == np.uint8
    assert found.points.shape == (2, 2, 2, 2)
    assert found.labels.tolist() == ["cat", "dog"]


def csv(tmp_path, text, **options):
    path = tmp_path / "data.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_samples(path, **options)


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ("a,b,kind", "the last one; --label-column names another"),
        ("a,b,label", "by its name"),
        ("a,b,Target", "by its name"),
    ],
)
def test_a_table(tmp_path, header, why):
    found = csv(tmp_path, f"{header}\n0.1,2,yes\n.3,-4e0,no\n")
    assert np.array_equal(found.points, X)
    assert found.labels.tolist() == ["yes", "no"]
    assert found.features == ("a", "b")
    assert found.notes == (f"labels: column {header.split(',')[2]!r} ({why})",)


def test_the_column_of_labels_may_stand_anywhere(tmp_path):
    text = "a,class,b\n0.1,1,2\n0.3,0,-4\n"
    found = csv(tmp_path, text)
    assert np.array_equal(found.points, X)
    assert found.labels.tolist() == ["1", "0"]
    asked = csv(tmp_path, text, label_column="a")
    assert asked.points.tolist() == [[1, 2], [0, -4]]
    assert asked.labels.tolist() == ["0.1", "0.3"]
    assert asked.notes == ("labels: column 'a' (as asked)",)


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbfa,b,y\r\n0.1,2,1\r\n0.3,-4,0\r\n",
        "a;b;y\n0.1;2;1\n0.3;-4;0\n",
        "a\tb\ty\n0.1\t2\t1\n\n0.3\t-4\t0\n",
        'a,"b",y\n"0.1", 2 ,1\n0.3,-4,"0"',
        ",a,b,y\n0,0.1,2,1\n1,0.3,-4,0\n",
    ],
    ids=["bom-crlf", "semicolon", "tab-blank-line", "quotes", "index"],
)
def test_dialects(tmp_path, text):
    found = csv(tmp_path, text)
    assert np.array_equal(found.points, X)
    assert found.labels.tolist() == ["1", "0"]
    assert found.features == ("a", "b")


def test_what_is_unusual_is_said(tmp_path):
    assert "separated by a semicolon" in csv(tmp_path, "a;b;y\n1;2;1\n").notes[1]
    assert "counts the rows" in csv(tmp_path, ",a,y\n0,0.1,1\n1,5,1\n").notes[1]
    assert csv(tmp_path, ",a,y\n5,0.1,1\n").features == ("", "a")  # no count: kept


def test_pandas_writes_what_is_read(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(20, 3)), columns=["a", "b, c", "d"])
    frame["flag"] = frame["a"] > 0
    frame["target"] = rng.integers(0, 3, size=20)
    frame.to_csv(tmp_path / "data.csv", index=False)
    found = read_samples(tmp_path / "data.csv")
    assert np.array_equal(found.points, frame.drop(columns="target").to_numpy(float))
    assert found.labels.astype(int).tolist() == frame["target"].tolist()
    assert found.features == ("a", "b, c", "d", "flag")
