"""Labels and points in the forms that people have them in."""

import numpy as np
import pandas as pd
import pytest
import torch

from wdaverify.errors import ProblemError
from wdaverify.samples import class_indices, flattened, separated

EYE = np.eye(3)[[2, 0, 1]]


@pytest.mark.parametrize(
    "labels",
    [
        [2, 0, 1],
        np.array([2.0, 0.0, 1.0], dtype=np.float32),
        np.array([[2], [0], [1]], dtype=np.uint8),
        np.array(["2", "0", "1.0"]),
        np.array([2, "0", 1.0], dtype=object),
        torch.tensor([2, 0, 1]),
        torch.tensor([2.0, 0.0, 1.0], dtype=torch.bfloat16),
        pd.Series([2, 0, 1], index=[7, 8, 9]),
        EYE,
        EYE.astype(bool),
        torch.tensor(EYE),
        pd.DataFrame(EYE, columns=list("abc")),
    ],
)
def test_numbers_are_classes(labels):
    found = class_indices(labels, 3)
    assert found.indices.tolist() == [2, 0, 1]
    assert found.names == ()


@pytest.mark.parametrize("labels", [[True, False], np.array([True, False]), ["1", "0"]])
def test_booleans(labels):
    assert class_indices(labels, 2).indices.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("labels", "names", "values"),
    [
        (["b", "c", "a", "b"], ("a", "b", "c"), [1, 2, 0, 1]),
        (np.array(["b", "c", "a", "b"], dtype=object), ("a", "b", "c"), [1, 2, 0, 1]),
        (pd.Series(["b", "c", "a", "b"]), ("a", "b", "c"), [1, 2, 0, 1]),
        ([2, 3, 1, 2], ("1", "2", "3"), [1, 2, 0, 1]),
        ([10, 100, 9, 10], ("9", "10", "100"), [1, 2, 0, 1]),
        (["10", "100", "9", "10"], ("9", "10", "100"), [1, 2, 0, 1]),
        ([0, 1, -1, 0], ("-1", "0", "1"), [1, 2, 0, 1]),
    ],
)
def test_other_values_are_sorted(labels, names, values):
    found = class_indices(labels, 3)
    assert found.names == names
    assert found.indices.tolist() == values


def test_names_in_the_order_of_the_logits():
    order = ["no", "maybe", "yes"]
    found = class_indices(["yes", "no", "yes"], 3, order)  # one of the classes does not occur
    assert found.indices.tolist() == [2, 0, 2]
    assert found.names == ("no", "maybe", "yes")
    assert class_indices([0, 1, 2], 3, ["2", "0", "1"]).indices.tolist() == [1, 2, 0]
    assert class_indices(EYE, 3, order).names == tuple(order)


def test_categories_keep_the_order_of_the_data_frame():
    kind = pd.CategoricalDtype(["low", "mid", "high"], ordered=True)
    found = class_indices(pd.Series(["mid", "low", "high"], dtype=kind), 3)
    assert found.indices.tolist() == [1, 0, 2]
    assert found.names == ("low", "mid", "high")
    asked = class_indices(pd.Series(["mid", "low"], dtype=kind), 3, ["high", "mid", "low"])
    assert asked.indices.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 3], "expected 0 to 2 (the network has 3 logits), found 3 at index 1; other labels"),
        ([0, 0.5], "expected whole numbers or names of classes, found 0.5 at index 1"),
        ([0, np.nan], "expected a class, found a missing one at index 1"),
        (["a", None], "expected a class, found a missing one at index 1"),
        (["a", "NA"], "expected a class, found a missing one at index 1"),
        ([0, np.inf], "expected whole numbers or names of classes, found inf at index 1"),
        ([0, 10**400], "expected whole numbers or names of classes, found inf at index 1"),
        (["a", "b"], "expected 3 classes, one for each logit, found 2 different values (a, b)"),
        (["1_0", "b"], "expected 3 classes, one for each logit, found 2 different values (1_0, b)"),
        (np.zeros((2, 2, 2)), "expected shape (N,) or one-hot (N, K), found (2, 2, 2)"),
        (np.eye(2), "as the network has 3 logits, found (2, 2)"),
        ([[0, 1, 1]], "expected one-hot rows (one 1, else 0), found [0., 1., 1.] at index 0"),
        ([[0, 0.5, 0.5]], "expected one-hot rows"),
        ([[1, 0], [0]], "expected an array, found list with rows of other lengths"),
        (
            pd.Series(["a", None], dtype="category"),
            "expected a class, found a missing one at index 1",
        ),
        (pd.Series(["a", "b"], dtype="category"), "found 2 different values (a, b)"),
    ],
)
def test_labels_that_leave_something_open(labels, message):
    with pytest.raises(ProblemError) as caught:
        class_indices(labels, 3)
    assert str(caught.value).startswith("labels: ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a", "b"], "classes: expected 3 names, one for each logit, found 2"),
        (["a", "b", "a"], "classes: expected different names, found 'a' twice"),
        (["a", "c", "d"], "labels: expected one of the classes a, c, d, found 'b' at index 1"),
    ],
)
def test_names_that_do_not_fit(names, message):
    with pytest.raises(ProblemError) as caught:
        class_indices(["a", "b"], 3, names)
    assert str(caught.value) == message


def test_images_are_flattened_in_c_order():
    images = np.arange(48.0).reshape(2, 3, 2, 4)
    rows, shape = flattened(images)
    assert shape == (3, 2, 4)
    assert rows[1, 1 * 8 + 1 * 4 + 3] == images[1, 1, 1, 3]
    assert np.array_equal(flattened(torch.tensor(images))[0], rows)
    assert flattened(rows, (3, 2, 4)) == (pytest.approx(rows), (3, 2, 4))


@pytest.mark.parametrize(
    ("found", "wanted"),
    [((8, 8), (1, 8, 8)), ((1, 8, 8), (64,)), ((64,), (1, 8, 8)), ((8, 8),) * 2],
)
def test_axes_of_size_one_come_and_go(found, wanted):
    assert flattened(np.zeros((2, *found)), wanted)[1] == wanted


def test_float32_and_integers_lift_exactly():
    values = np.array([[0.1, 1e-40]], dtype=np.float32)
    assert np.array_equal(flattened(values)[0].astype(float), values.astype(float))
    assert flattened(np.array([[255]], np.uint8))[0].astype(float) == 255.0


@pytest.mark.parametrize(
    ("points", "shape", "message"),
    [
        (np.zeros((2, 4, 4, 3)), (3, 4, 4), "channels last? X.transpose(0, 3, 1, 2)"),
        (np.zeros((2, 4, 3)), (3, 4), "expected samples of shape (3, 4), as the network takes"),
        (np.zeros((2, 4)), (5,), "samples of shape (4,) do not fit the network, which takes (5,)"),
        (np.zeros(3), None, "expected shape (N, n) or (N, C, H, W), found (3,)"),
        ([["a", "b"]], None, "expected real numbers, found an array of <U1"),
        ([[1.0, {}]], None, "expected real numbers, found other objects"),
        ([[1.0, None]], None, "expected finite numbers, found nan at index (0, 1)"),
        ([[1.0, np.nan]], None, "expected finite numbers, found nan at index (0, 1)"),
        (pd.DataFrame({"a": [1.0], "b": ["x"]}), None, "in column 'b'"),
        (pd.DataFrame({"a": [1.0, None]}), None, "found a missing one in column 'a', row 1"),
        (
            pd.DataFrame({"a": pd.array([1, None], dtype="Int64")}),
            None,
            "found a missing one in column 'a', row 1",
        ),
    ],
)
def test_points_that_are_refused(points, shape, message):
    with pytest.raises(ProblemError) as caught:
        flattened(points, shape)
    assert str(caught.value).startswith("points: ")
    assert message in str(caught.value)


def test_a_column_of_labels():
    frame = pd.DataFrame({"a": [1.0, 2.0], "kind": ["x", "y"], "b": [True, False]})
    X, y = separated(frame, "kind")
    assert flattened(X)[0].tolist() == [[1.0, 1.0], [2.0, 0.0]]
    assert y.tolist() == ["x", "y"]
    assert list(frame.columns) == ["a", "kind", "b"]
    for X, message in (
        (frame, r"expected the name of a column \(a, kind, b\), found 'k'"),
        (frame.to_numpy(), "needs a data frame"),
        (pd.concat([frame, frame], axis=1).rename(columns={"kind": "k"}), "found 'k'"),
    ):
        with pytest.raises(ProblemError, match=message):
            separated(X, "k")
