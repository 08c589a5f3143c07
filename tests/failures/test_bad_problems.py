"""Bad problem folders: each mistake is one line that names file, key, what was found and expected.

The folder of `good` loads; every test spoils one thing in it.
"""

import io
import math
import os
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from wdaverify.errors import ProblemError, UnsupportedError
from wdaverify.storage import Overrides, load_network, load_problem, load_stored, reader
from wdaverify.storage import archive as archives

GOOD = {
    "network": '"network.npz"',
    "data": '"data.npz"',
    "loss": '"margin"',
    "norm": '"linf"',
    "order": "1",
    "radii": "[0.5, 1.0]",
    "support.lower": "0.0",
    "support.upper": "1.0",
    "expected.values": "[0.0, 1.0]",
    "expected.source": '"by hand"',
}
LAYERS = {
    "W0": np.array([[1.0, 0.5], [-1.0, 2.0], [0.25, 0.0]]),
    "b0": np.array([0.0, 0.5, -1.0]),
    "W1": np.array([[1.0, 0.0, 1.0], [0.0, -1.0, 1.0]]),
    "b1": np.array([0.0, 0.125]),
}
DATA = {
    "points": np.array([[0.0, 1.0], [1.0, 0.25], [0.5, 0.5]]),
    "labels": np.array([0, 1, 1]),
    "weights": np.array([1.0, 0.0, 3.0]),
}
ROWS = {"A": np.array([[1.0, 1.0], [-1.0, 0.0], [0.0, -1.0]]), "b": np.array([2.0, 0.0, 0.0])}


def toml(**changes):
    """Return the text of a good question, with keys (``support__lower``) replaced or removed."""
    entries = GOOD | {key.replace("__", "."): value for key, value in changes.items()}
    return "".join(f"{key} = {value}\n" for key, value in entries.items() if value is not None)


@pytest.fixture
def good(tmp_path):
    (tmp_path / "problem.toml").write_text(toml(), encoding="utf-8")
    np.savez(tmp_path / "network.npz", **LAYERS)
    np.savez(tmp_path / "data.npz", **DATA)
    np.savez(tmp_path / "support.npz", **ROWS)
    return tmp_path


def complaint(path, overrides=None):
    """Return the message with which a folder is refused, shortened by the folder's name."""
    with pytest.raises(ProblemError) as caught:
        load_stored(path, overrides=overrides)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert message.startswith(str(path))
    return message.replace(f"{path}{os.sep}", "")


def spoil(path, **changes):
    (path / "problem.toml").write_text(toml(**changes), encoding="utf-8")


def test_the_good_folder_is_good(good):
    assert load_stored(good).expected is not None


def test_the_check_of_complaints_can_fail(good):
    with pytest.raises(pytest.fail.Exception):
        complaint(good)


# ---- problem.toml -------------------------------------------------------------------------------

WANTED = {
    "network": "expected the path of a file",
    "data": "expected the path of a file or a table",
    "loss": "expected the name of a loss",
    "norm": "expected the name of a norm",
    "order": 'expected a number p >= 1 or "inf"',
    "radii": "expected a list of radii, finite numbers >= 0",
}


@pytest.mark.parametrize("key", WANTED)
def test_a_missing_key(good, key):
    spoil(good, **{key: None})
    assert complaint(good) == f"problem.toml: {key}: {WANTED[key]}, found no such key"


@pytest.mark.parametrize("key", WANTED)
@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("true", "true"),
        ("1979-05-27", "datetime.date(1979, 5, 27)"),
        ("[[1]]", "[[1]]"),
        ('{ a = "b" }', "a table"),
        ("nan", "nan"),
        ("-1", "-1"),
        ('"nonsense"', "'nonsense'"),
    ],
)
def test_a_value_of_the_wrong_type(good, key, value, found):
    spoil(good, **{key: value})
    message = complaint(good)
    if (key, value) == ("data", '{ a = "b" }'):
        assert message == (
            "problem.toml: data.a: expected one of the keys file, clip in [data], found an "
            "unknown one"
        )
    elif (key, value) == ("radii", "[[1]]"):
        assert message == "problem.toml: radii[0]: expected a finite number >= 0, found [1]"
    elif key in {"network", "data"} and value == '"nonsense"':
        path = repr(str(good / "nonsense"))
        found = path.replace(f"{good}{os.sep}", "")
        assert message == f"problem.toml: {key}: expected a file {found}, found no such file"
    else:
        assert message.startswith(f"problem.toml: {key}: expected ")
        assert message.endswith(f", found {found}")
        if value != '"nonsense"':
            assert WANTED[key] in message


BAD_VALUES = {
    "loss": [
        (
            '"hnge"',
            (
                "expected one of margin, hinge, cross-entropy, dlr, truncated-dlr, zero-one, "
                "found 'hnge'"
            ),
        )
    ],
    "norm": [('"l3"', "expected one of l1, l2, linf, found 'l3'")],
    "order": [
        ("0.5", 'expected a number p >= 1 or "inf", found 0.5'),
        ("-inf", 'expected a number p >= 1 or "inf", found -inf'),
        ("nan", 'expected a number p >= 1 or "inf", found nan'),
        ('"2"', "expected a number p >= 1 or \"inf\", found '2'"),
        ("true", 'expected a number p >= 1 or "inf", found true'),
        ("1" + "0" * 400, 'expected a number p >= 1 or "inf", found 1' + "0" * 56 + "..."),
    ],
    "radii": [
        ("0.5", "expected a list of radii, finite numbers >= 0, found 0.5"),
        ("[]", "expected at least one radius, found an empty list"),
        ('"0.5"', "expected a list of radii, finite numbers >= 0, found '0.5'"),
    ],
    "radii[1]": [
        ("[0.5, -0.25]", "expected a finite number >= 0, found -0.25"),
        ("[0.5, nan]", "expected a finite number >= 0, found nan"),
        ("[0.5, inf]", "expected a finite number >= 0, found inf"),
        ("[0.5, true]", "expected a finite number >= 0, found true"),
        ('[0.5, "1"]', "expected a finite number >= 0, found '1'"),
        ('[0.5, "inf"]', "expected a finite number >= 0, found 'inf'"),
        ("[0.5, [1.0]]", "expected a finite number >= 0, found [1.0]"),
        ("[0.5, {}]", "expected a finite number >= 0, found a table"),
    ],
    "label_cost": [
        ("-1", "expected a finite number >= 0, found -1"),
        ('"inf"', "expected a finite number >= 0, found 'inf'"),
        ("nan", "expected a number >= 0, found nan"),
        ("true", "expected a number >= 0, found true"),
        ("[1]", "expected a number >= 0, found [1]"),
        ('"1"', "expected a number >= 0, found '1'"),
    ],
    "name": [("3", "expected a string, found 3"), ("[]", "expected a string, found []")],
    "network": [
        ('"data.csv"', "expected a file 'data.csv', found no such file"),
        ('"."', "expected a file '.', found a folder"),
        ('"a\\u0000b"', "expected a file 'a\\x00b', found no such file"),
    ],
    "data": [
        ('"no/data.npz"', "expected a file 'no/data.npz', found no such file"),
        ('"problem.toml/x"', "expected a file 'problem.toml/x', found no such file"),
    ],
    "data.file": [
        ("{ clip = true }", "expected the path of a file, found no such key"),
        ("{ file = 1 }", "expected the path of a file, found 1"),
        ('{ file = "x.npz" }', "expected a file 'x.npz', found no such file"),
    ],
    "data.clip": [
        ('{ file = "data.npz", clip = 1 }', "expected true or false, found 1"),
        ('{ file = "data.npz", clip = "true" }', "expected true or false, found 'true'"),
    ],
    "data.clap": [
        (
            '{ file = "data.npz", clap = true }',
            (
                "expected one of the keys file, clip in [data], found an unknown one; "
                "did you mean 'clip'?"
            ),
        ),
    ],
}


@pytest.mark.parametrize(
    ("place", "value", "wanted"),
    [(place, *pair) for place, pairs in BAD_VALUES.items() for pair in pairs],
)
def test_a_bad_value(good, place, value, wanted):
    spoil(good, **{place.partition(".")[0].partition("[")[0]: value})
    message = complaint(good).replace(f"'{good}{os.sep}", "'").replace(f"'{good}'", "'.'")
    assert message == f"problem.toml: {place}: {wanted}"


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("radius", "; did you mean 'radii'?"),
        ("Norm", "; did you mean 'norm'?"),
        ("label-cost", "; did you mean 'label_cost'?"),
        ("suport.lower", "; did you mean 'support'?"),
        ('"a\\nb"', ""),
        ("zzz", ""),
    ],
)
def test_an_unknown_key(good, key, hint):
    (good / "problem.toml").write_text(f"{key} = 1\n{toml()}")
    message = complaint(good)
    assert message.startswith("problem.toml: ")
    assert message.endswith(f", found an unknown one{hint}")
    assert (
        "expected one of the keys name, network, data, loss, norm, order, radii, label_cost, "
        "support, expected, found"
    ) in message


def test_a_key_below_the_wrong_table(good):
    spoil(good, support__label_cost="1")
    assert complaint(good) == (
        "problem.toml: support.label_cost: expected one of the keys lower, upper, polytope in "
        "[support], found an unknown one; 'label_cost' belongs above the line [support]"
    )


SUPPORTS = {
    "support.lower": [
        ('"zero"', "expected a number or a list of numbers, found 'zero'"),
        ("true", "expected a number or a list of numbers, found true"),
        ("nan", "expected a number or a list of numbers, found nan"),
        ("{}", "expected a number or a list of numbers, found a table"),
    ],
    "support.lower[1]": [
        ("[0, [0]]", "expected a number, found [0]"),
        ("[0, false]", "expected a number, found false"),
        ("[0, nan]", "expected a number, found nan"),
        ('[0, "x"]', "expected a number, found 'x'"),
    ],
    "support lower": [
        ("[0.0]", "expected a number or shape (2,), found shape (1,)"),
        ("[]", "expected a number or shape (2,), found shape (0,)"),
        ("[0, 0, 0]", "expected a number or shape (2,), found shape (3,)"),
    ],
    "support": [
        ("2", "expected lower <= upper, found 2 > 1 at feature 0"),
        ("[0, 1.5]", "expected lower <= upper, found 1.5 > 1 at feature 1"),
        ("inf", "expected lower <= upper, found inf > 1 at feature 0"),
    ],
}


@pytest.mark.parametrize(
    ("place", "value", "wanted"),
    [(place, *pair) for place, pairs in SUPPORTS.items() for pair in pairs],
)
def test_a_bad_support(good, place, value, wanted):
    spoil(good, support__lower=value)
    assert complaint(good) == f"problem.toml: {place}: {wanted}"


def test_a_box_and_a_polytope(good):
    spoil(good, support__upper=None, support__polytope='"support.npz"')
    assert complaint(good) == (
        "problem.toml: support.lower: expected either lower and upper or polytope, found both"
    )


def test_a_support_that_is_no_table(good):
    spoil(good, support="[0, 1]", support__lower=None, support__upper=None)
    assert complaint(good) == "problem.toml: support: expected a table, found [0, 1]"


EXPECTED = [
    ("values", None, "expected.values: expected a list of numbers, found no such key"),
    ("values", "1", "expected.values: expected a list of numbers, found 1"),
    ("values", "[1]", "expected.values: expected one value for each of 2 radii, found 1"),
    ("values", "[1, nan]", "expected.values[1]: expected a number, found nan"),
    ("values", "[1, [2]]", "expected.values[1]: expected a number, found [2]"),
    ("values", "[true, 2]", "expected.values[0]: expected a number, found true"),
    (
        "source",
        None,
        "expected.source: expected a string that says why they are known, found no such key",
    ),
    (
        "source",
        "3",
        "expected.source: expected a string that says why they are known, found 3",
    ),
    (
        "sauce",
        "3",
        (
            "expected.sauce: expected one of the keys values, source in [expected], found an "
            "unknown one; did you mean 'source'?"
        ),
    ),
]


@pytest.mark.parametrize(("key", "value", "wanted"), EXPECTED)
def test_bad_expected_values(good, key, value, wanted):
    spoil(good, **{f"expected__{key}": value})
    assert complaint(good) == f"problem.toml: {wanted}"


def test_a_label_cost_with_order_inf(good):
    spoil(good, label_cost="1", order='"inf"')
    assert complaint(good) == (
        "problem.toml: label_cost: a label move has a cost only for a finite order, found 1 "
        "with order inf"
    )


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b'name = "x', "found a mistake: Illegal character '\\n'"),
        (b"x = 1\nx = 2\n", "found a mistake: Cannot overwrite a value"),
        (b"\xff\xfe\x00", r"found one beginning b'\xff\xfe\x00"),
        (b"x = " + b"[" * 5000, "found one nested too deeply"),
        (b"x = " + b"9" * 5000, "found a mistake: Exceeds the limit"),
    ],
)
def test_not_toml(good, content, found):
    (good / "problem.toml").write_bytes(content + b"\n")
    message = complaint(good)
    assert message.startswith("problem.toml: expected a TOML file, found ")
    assert found in message


def test_an_empty_file(good):
    (good / "problem.toml").write_bytes(b"")
    assert complaint(good) == (
        "problem.toml: network: expected the path of a file, found no such key"
    )


def test_a_huge_file(good):
    (good / "problem.toml").write_bytes(b"#" * (10**7 + 1))
    assert complaint(good).endswith("expected a TOML file, found more than 10000000 bytes")


def test_another_file_instead_of_a_question(good):
    for name in ("data.npz", "network.npz"):
        with pytest.raises(ProblemError) as caught:
            load_problem(good / name)
        assert str(caught.value).startswith(f"{good / name}: expected a TOML file, found")


def test_no_question(good, tmp_path_factory):
    empty = tmp_path_factory.mktemp("empty")
    wanted = "expected a folder with a problem.toml or such a file, found no such file"
    assert complaint(empty) == f"problem.toml: {wanted}"
    for path in (good / "no", good / "problem.toml" / "x", good / "a\0b"):
        with pytest.raises(ProblemError) as caught:
            load_stored(path)
        assert str(caught.value) == f"{path}: {wanted}"
    with pytest.raises(ProblemError, match="File name too long"):
        load_stored(good / ("x" * 300))


def test_a_line_break_in_a_path(good):
    folder = good / "two\nlines"
    folder.mkdir()
    with pytest.raises(ProblemError) as caught:
        load_stored(folder)
    assert "two\\nlines" in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(ProblemError) as caught:
        load_network(folder / "network.npz")
    assert "\n" not in str(caught.value)


# ---- options ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (Overrides(loss="hnge"), "--loss: expected one of margin, hinge, "),
        (Overrides(norm="l3"), "--norm: expected one of l1, l2, linf, found 'l3'"),
        (Overrides(order=0.5), '--order: expected a number p >= 1 or "inf", found 0.5'),
        (Overrides(order="x"), "--order: expected a number p >= 1 or \"inf\", found 'x'"),
        (Overrides(order=math.nan), '--order: expected a number p >= 1 or "inf", found nan'),
        (Overrides(label_cost=-1.0), "--label-cost: expected a finite number >= 0, found -1.0"),
        (
            Overrides(label_cost=1.0, order="inf"),
            "--label-cost: a label move has a cost only for a finite order",
        ),
        (Overrides(radii=()), "--radius: expected at least one radius, found an empty list"),
        (Overrides(radii=(0.5, -1.0)), "--radius[1]: expected a finite number >= 0, found -1.0"),
        (Overrides(radii=(math.nan,)), "--radius[0]: expected a finite number >= 0, found nan"),
        (Overrides(radii=(math.inf,)), "--radius[0]: expected a finite number >= 0, found inf"),
        (Overrides(samples=4), "--samples: expected 1 to 3, found 4"),
        (Overrides(samples=0), "--samples: expected 1 to 3, found 0"),
        (Overrides(loss="dlr"), "--loss: dlr needs at least 3 classes, the network has 2"),
    ],
)
def test_a_bad_option(good, overrides, message):
    assert complaint(good, overrides).startswith(f"problem.toml: {message}")


# ---- data.npz -----------------------------------------------------------------------------------

NAN = np.array([[0.0, 1.0], [1.0, math.nan], [0.5, 0.5]])
BAD_DATA = [
    ({"points": NAN}, "points: expected finite numbers, found nan at index (1, 1)"),
    (
        {"points": np.where(np.isnan(NAN), -np.inf, NAN)},
        "points: expected finite numbers, found -inf at index (1, 1)",
    ),
    ({"points": np.zeros(3)}, "points: expected 2 dimension(s), found shape (3,)"),
    (
        {"points": np.zeros((3, 4))},
        "points: shape (3, 4) does not fit the network, which has 2 inputs (W0 has shape (3, 2))",
    ),
    (
        {"points": np.zeros((0, 2)), "labels": np.zeros(0, int), "weights": np.zeros(0)},
        "points: expected at least one sample, found shape (0, 2)",
    ),
    (
        {"points": DATA["points"] + [[0, 0], [0.5, 0], [0, 2.0]]},
        (
            "points: 2 of 3 lie outside the support (box [0, 1]), the first at index 1 by 0.5; "
            "move them or set clip = true in [data]"
        ),
    ),
    (
        {"points": DATA["points"] * (1 + 2.0**-52)},
        (
            "points: 2 of 3 lie outside the support (box [0, 1]), the first at index 0 by "
            "2.22e-16; move them or set clip = true in [data]"
        ),
    ),
    ({"points": np.array(["a", "b"])}, "points: expected real numbers, found an array of <U1"),
    ({"points": np.zeros((3, 2), complex)}, "points: expected real numbers, found an array of "),
    (
        {"points": np.array([[1, None]] * 3, dtype=object)},
        "points: expected real numbers, found an array of Python objects",
    ),
    (
        {"labels": np.array([0, 2, 1])},
        "labels: expected 0 to 1 (the network has 2 logits), found 2",
    ),
    (
        {"labels": np.array([0, 1, -1])},
        "labels: expected 0 to 1 (the network has 2 logits), found -1",
    ),
    ({"labels": np.array([0, 1, 0.5])}, "labels: expected integers, found an array of float64"),
    ({"labels": np.array([0, 1, np.nan])}, "labels: expected integers, found an array of float64"),
    ({"labels": np.array(["0", "1", "1"])}, "labels: expected real numbers, found an array of <U1"),
    ({"labels": np.array([0, 1])}, "labels: shape (2,) does not fit points of shape (3, 2)"),
    ({"labels": np.eye(3, 2)}, "labels: expected 1 dimension(s), found shape (3, 2)"),
    ({"weights": np.array([1, -2.0, 1])}, "weights: expected >= 0, found -2 at index 1"),
    (
        {"weights": np.zeros(3)},
        "weights: expected at least one positive weight, found only zeros",
    ),
    (
        {"weights": np.array([1, 1, np.nan])},
        "weights: expected finite numbers, found nan at index 2",
    ),
    (
        {"weights": np.array([1, np.inf, 1])},
        "weights: expected finite numbers, found inf at index 1",
    ),
    ({"weights": np.ones(4)}, "weights: shape (4,) does not fit points of shape (3, 2)"),
    ({"weights": np.ones((3, 1))}, "weights: expected 1 dimension(s), found shape (3, 1)"),
]


@pytest.mark.parametrize(("changes", "wanted"), BAD_DATA)
@pytest.mark.parametrize("clip", [False, True], ids=["plain", "clip"])
def test_bad_data(good, changes, wanted, clip):
    np.savez(good / "data.npz", **(DATA | changes))
    if clip:
        spoil(good, data='{ file = "data.npz", clip = true }')
        if "outside" in wanted:
            assert load_stored(good).notes[0].startswith("2 points clipped")
            return
    assert complaint(good).startswith(f"data.npz: {wanted}")


def test_missing_arrays(good):
    np.savez(good / "data.npz", X=DATA["points"], labels=DATA["labels"])
    assert complaint(good) == (
        "data.npz: points: expected arrays points, labels, weights, found 'X', 'labels'"
    )
    np.savez(good / "data.npz")
    assert complaint(good) == (
        "data.npz: points: expected arrays points, labels, weights, found none"
    )


def test_weights_under_a_wrong_name_are_not_ignored(good):
    np.savez(good / "data.npz", points=DATA["points"], labels=DATA["labels"], weight=[1, 1, 2])
    assert complaint(good) == (
        "data.npz: 'weight': found an array of that name; did you mean 'weights'?"
    )


# ---- npz files in general -----------------------------------------------------------------------


def npy(header):
    """Return an npy file with any header and no data."""
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def zipped(entries):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def header(descr="'<f8'", shape="(3, 2)"):
    return npy(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}")


HEADERS = [
    (header(shape="(1000000, 1000000)"), "at most 2000000000 bytes, found shape (1000000, 10"),
    (header(shape="(10000000000000, 0)"), "at most 2000000000 bytes, found shape (100000000"),
    (header("'|b1'", "(1000000000,)"), "at most 2000000000 bytes, found shape (1000000000,)"),
    (header(shape="(3, 2)"), "points: expected 48 bytes for shape (3, 2), found 0"),
    (header(shape="(-3, -2)"), "points: expected a shape without negative sizes, found (-3, -2)"),
    (header("'|O'"), "points: expected real numbers, found an array of Python objects"),
    (header("[('a', '<f8')]"), "points: expected real numbers, found an array of [('a', '<f8')]"),
    (header("'<M8[s]'"), "points: expected real numbers, found an array of datetime64[s]"),
    (header("'nonsense'"), "found a broken one: ValueError"),
    (header(shape="'x'"), "found a broken one: ValueError"),
    (npy("not a dictionary"), "found a broken one: ValueError"),
    (npy("{'descr': (((((("), "found a broken one: "),
    (npy("[" * 9000), "found a broken one: "),
    (b"\x93NUMPY\x01\x00\xff\xff", "found a broken one: ValueError"),
    (b"\x93NUMPY\x03\x00" + header()[8:], "points: expected numbers, found npy version (3, 0)"),
    (b"\x93NUMPY\x09\x00", "points: expected numbers, found npy version (9, 0)"),
    (b"", "found a broken one: ValueError"),
    (b"points", "found a broken one: ValueError"),
]


@pytest.mark.parametrize(("content", "wanted"), HEADERS)
def test_a_bad_array(good, content, wanted):
    labels = io.BytesIO()
    np.save(labels, DATA["labels"])
    archive = zipped({"points.npy": content, "labels.npy": labels.getvalue()})
    (good / "data.npz").write_bytes(archive)
    message = complaint(good)
    assert message.startswith("data.npz: ")
    assert wanted in message


def test_many_arrays_that_are_too_large_together(good, monkeypatch):
    monkeypatch.setattr(archives, "LARGEST", 80)
    assert complaint(good) == "network.npz: expected at most 80 bytes of arrays, found 136"


def test_a_pickle_is_never_loaded(good):
    class Bomb:
        def __reduce__(self):
            return (os.mkdir, (str(good / "bomb"),))

    np.savez(good / "data.npz", **(DATA | {"points": np.array([Bomb()], dtype=object)}))
    assert "Python objects" in complaint(good)
    assert not (good / "bomb").exists()


def test_a_header_of_python_2_is_read_without_a_warning(good):
    content = header(shape="(3L, 2L)") + DATA["points"].tobytes()
    labels = io.BytesIO()
    np.save(labels, DATA["labels"])
    (good / "data.npz").write_bytes(
        zipped({"points.npy": content, "labels.npy": labels.getvalue()})
    )
    assert np.array_equal(load_problem(good).points, DATA["points"])


@pytest.mark.parametrize("name", ["data.npz", "network.npz", "support.npz"])
@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "found an empty file"),
        (b"a,b\n1,2\n", r"found a file beginning b'a,b\n1,2\n'"),
        (b"PK\x03\x04 nothing", "found a broken one: BadZipFile: File is not a zip file"),
        (header(), "found a single npy array"),
    ],
)
def test_not_an_archive(good, name, content, found):
    spoil(good, support__lower=None, support__upper=None, support__polytope='"support.npz"')
    assert load_problem(good)
    (good / name).write_bytes(content)
    assert complaint(good) == f"{name}: expected an npz archive (numpy.savez), {found}"


def test_a_wrong_checksum(good):
    content = (good / "data.npz").read_bytes()
    start = content.index(DATA["points"].tobytes())
    (good / "data.npz").write_bytes(content[:start] + b"\x01" + content[start + 1 :])
    assert "data.npz: expected an npz archive (numpy.savez), found a broken one" in complaint(good)


# ---- network ------------------------------------------------------------------------------------

BAD_LAYERS = [
    ({"W0": np.full((3, 2), np.nan)}, "W0: expected finite numbers, found nan at index (0, 0)"),
    ({"b1": np.array([0, np.inf])}, "b1: expected finite numbers, found inf at index 1"),
    ({"W0": np.ones((3, 2)) * 1j}, "W0: expected real numbers, found an array of complex128"),
    ({"W0": np.ones(3)}, "W0: expected 2 dimension(s), found shape (3,)"),
    ({"b0": np.ones((3, 1))}, "b0: expected 1 dimension(s), found shape (3, 1)"),
    ({"b0": np.ones(4)}, "network: W0 has shape (3, 2) but b0 has shape (4,)"),
    ({"W1": np.ones((2, 4))}, "network: W1 has shape (2, 4) but W0 has shape (3, 2)"),
    (
        {"W0": np.ones((3, 0))},
        "network: W0 has shape (3, 0), expected at least one input",
    ),
    (
        {"W1": np.ones((1, 3)), "b1": np.ones(1)},
        "network: W1 has shape (1, 3), expected K >= 2 logits",
    ),
    ({"b1": None}, "b1: expected arrays W0, b0, W1, b1, …, found W0, b0, W1"),
    ({"W0": None}, "W0: expected arrays W0, b0, W1, b1, …, found b0, W1, b1"),
    ({"W1": None, "b1": None, "W3": np.ones((2, 3))}, "W1: expected arrays W0, b0, W1, b1, …, "),
    (dict.fromkeys(LAYERS), "W0: expected arrays W0, b0, W1, b1, …, found none"),
    ({"s1": np.ones(3)}, "s0: expected arrays W0, b0, W1, b1, …, found W0, b0, W1, b1, s1"),
    (
        {"s0": np.ones(3), "s1": np.ones(2)},
        "s1: expected slopes of 1 hidden layers, found one for layer 1",
    ),
    (
        {"s0": np.ones(2)},
        "slopes: expected one vector per hidden layer, shapes [(3,)], found [(2,)]",
    ),
    (
        {"weight0": np.ones(2)},
        (
            "'weight0': expected arrays W0, b0, W1, b1, … (and slopes s0, s1, …), found an array "
            "of another name"
        ),
    ),
    ({"W01": np.ones(2)}, "'W01': expected arrays W0, b0, W1, b1, … (and slopes s0, s1, …), "),
]


@pytest.mark.parametrize(("changes", "wanted"), BAD_LAYERS)
def test_a_bad_network(good, changes, wanted):
    layers = {k: v for k, v in (LAYERS | changes).items() if v is not None}
    np.savez(good / "network.npz", **layers)
    assert complaint(good).startswith(f"network.npz: {wanted}")
    with pytest.raises(ProblemError) as caught:
        load_network(good / "network.npz")
    assert str(caught.value).startswith(f"{good / 'network.npz'}: {wanted}")


@pytest.mark.parametrize("name", ["network.h5", "network.pt", "network", "network.npy"])
def test_an_unknown_type_of_network(good, name):
    (good / name).write_bytes(b"x")
    spoil(good, network=f'"{name}"')
    wanted = f"expected a network of type .npz, .onnx or .pt2 (torch.export), found '{name}'"
    assert complaint(good) == f"problem.toml: network: {wanted}"
    with pytest.raises(ProblemError) as caught:
        load_network(good / name)
    assert str(caught.value) == f"{good / name}: {wanted}"


def test_a_network_that_is_not_there(tmp_path):
    for suffix in (".npz", ".onnx", ".pt2"):
        path = tmp_path / f"network{suffix}"
        with pytest.raises(ProblemError) as caught:
            load_network(path)
        assert str(caught.value) == f"{path}: expected a network, found no such file"
        path.mkdir()
        with pytest.raises(ProblemError) as caught:
            load_network(path)
        assert str(caught.value) == f"{path}: expected a network, found a folder"


def test_not_an_onnx_model(good):
    (good / "network.onnx").write_bytes(b"PK\x03\x04 nothing")
    spoil(good, network='"network.onnx"')
    assert complaint(good).startswith("network.onnx: expected an ONNX model, found 12 bytes")


@pytest.mark.parametrize("loss", ["dlr", "truncated-dlr"])
def test_too_few_classes_for_the_loss(good, loss):
    spoil(good, loss=f'"{loss}"')
    assert complaint(good) == (
        f"problem.toml: loss: {loss} needs at least 3 classes, the network has 2"
    )


# ---- polytopes ----------------------------------------------------------------------------------

BAD_ROWS = [
    ({"A": np.ones((3, 3))}, "problem.toml: support: expected A of shape (m, 2), found (3, 3)"),
    ({"b": np.ones(2)}, "support.npz: support: A has shape (3, 2) but b has shape (2,)"),
    ({"b": np.ones((3, 1))}, "support.npz: support b: expected 1 dimension(s), found shape (3, 1)"),
    (
        {"A": np.full((3, 2), np.inf)},
        "support.npz: support A: expected finite numbers, found inf at index (0, 0)",
    ),
    (
        {"b": np.full(3, np.nan)},
        "support.npz: support b: expected finite numbers, found nan at index 0",
    ),
    ({"A": None}, "support.npz: A: expected arrays A, b, found 'b'"),
    (
        {"b": np.array([0.75, 0, 0])},
        (
            "data.npz: points: 3 of 3 lie outside the support (polytope with 3 rows), the first at "
            "index 0 by 0.25; move them or set clip = true in [data]"
        ),
    ),
]


@pytest.mark.parametrize(("changes", "wanted"), BAD_ROWS)
def test_a_bad_polytope(good, changes, wanted):
    spoil(good, support__lower=None, support__upper=None, support__polytope='"support.npz"')
    assert load_problem(good)
    np.savez(good / "support.npz", **{k: v for k, v in (ROWS | changes).items() if v is not None})
    message = complaint(good)
    assert message == wanted.replace(f"{good}{os.sep}", "")


@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
def test_clipping_into_an_empty_polytope(good, norm):
    np.savez(good / "support.npz", A=[[1.0, 0.0], [-1.0, 0.0]], b=[0.0, -1.0])
    spoil(
        good,
        norm=f'"{norm}"',
        support__lower=None,
        support__upper=None,
        support__polytope='"support.npz"',
        data='{ file = "data.npz", clip = true }',
    )
    assert complaint(good) == (
        "problem.toml: support: expected a polytope with points in it, found an empty one"
    )


def test_clipping_that_rounding_defeats(good):
    """Empty, but only by less than the solver's tolerance."""
    np.savez(good / "support.npz", A=[[1.0, 0.0], [-1.0, 0.0]], b=[0.5, -0.5 - 1e-9])
    spoil(
        good,
        support__lower=None,
        support__upper=None,
        support__polytope='"support.npz"',
        data='{ file = "data.npz", clip = true }',
    )
    assert complaint(good) == (
        "data.npz: points: expected a point inside the support near the one at index 0, found "
        "none within rounding; move it by hand"
    )


# ---- anything at all ----------------------------------------------------------------------------

FUZZ = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
VALUES = st.sampled_from(
    [
        *("1", "-1", "0.5", "nan", "inf", "-inf", "true", '""', '"inf"', '"x"', "[]", "[1]"),
        *("[[1]]", "[1, 2]", "[nan]", '["a"]', "[true]", "{}", "{ file = 1 }", '"."', '"data.npz"'),
        *(
            '{ file = "data.npz", clip = true }',
            "1" + "0" * 400,
            "1979-05-27",
            "'''a\nb'''",
            "1e999",
        ),
        *('"support.npz"', '"dlr"', '"cross-entropy"', '"l2"', '"network.npz"', '"../x"', '"/"'),
    ]
)
KEYS = st.sampled_from(
    [*GOOD, "label_cost", "name", "support", "expected", "support.polytope", "data.clip", "x"]
)


def survives(path):
    """Load a folder; only the two errors for users may come out, on one line."""
    try:
        load_stored(path)
    except (ProblemError, UnsupportedError) as error:
        message = str(error)
    else:
        return
    assert len(message.splitlines()) == 1
    assert message.startswith(str(path))


def spoiled(content, cut, start, noise):
    """Cut a file and overwrite some of its bytes."""
    start = min(start, len(content))
    return (content[:start] + noise + content[start + len(noise) :])[: len(content) - cut]


CUTS = st.integers(0, 1500) | st.just(0)
STARTS = st.integers(0, 1500)


@FUZZ
@given(name=st.sampled_from(["problem.toml", "data.npz", "network.npz"]), content=st.binary())
def test_random_bytes(good, name, content):
    before = (good / name).read_bytes()
    (good / name).write_bytes(content)
    survives(good)
    (good / name).write_bytes(before)


@FUZZ
@given(
    name=st.sampled_from(["problem.toml", "data.npz", "network.npz", "support.npz"]),
    cut=CUTS,
    start=STARTS,
    noise=st.binary(max_size=8),
)
def test_truncated_and_overwritten(good, name, cut, start, noise):
    spoil(good, support__lower=None, support__upper=None, support__polytope='"support.npz"')
    before = (good / name).read_bytes()
    (good / name).write_bytes(spoiled(before, cut, start, noise))
    survives(good)
    (good / name).write_bytes(before)


@FUZZ
@given(changes=st.dictionaries(KEYS, st.none() | VALUES, min_size=1, max_size=4))
@example(changes={"data": '{ file = "data.npz", clip = true }', "support.upper": "0.5"})
def test_random_values(good, changes):
    (good / "problem.toml").write_text(toml(**changes), encoding="utf-8")
    survives(good)
    spoil(good)


@FUZZ
@given(
    name=st.sampled_from(["points", "labels", "weights"]),
    shape=st.lists(st.integers(0, 3), max_size=3).map(tuple),
    dtype=st.sampled_from(["f2", "f4", "f8", "i1", "u8", "?", "c8", "S3", "U2", "M8[s]", "V4"]),
    content=st.binary(min_size=432, max_size=432),
)
def test_random_arrays(good, name, shape, dtype, content):
    array = np.frombuffer(content, dtype=dtype)[: math.prod(shape)].reshape(shape)
    np.savez(good / "data.npz", **(DATA | {name: array}))
    survives(good)


def test_the_fuzzing_can_fail(good, monkeypatch):
    def fail(*arguments, **options):
        raise KeyError

    survives(good)
    monkeypatch.setattr(reader, "Problem", fail)
    with pytest.raises(KeyError):
        survives(good)


def test_without_the_check_of_headers_an_absurd_array_is_tried(good, monkeypatch):
    """The refusal before reading is what `test_a_bad_array` sees."""
    monkeypatch.setattr(archives, "_bytes", lambda *_: 0)
    with pytest.raises(AssertionError):
        test_a_bad_array(good, *HEADERS[3])
