"""Bad files of samples: each mistake is one line that names file, line and column."""

import io
import os
import zipfile

import numpy as np
import pytest

from wdaverify.errors import ProblemError
from wdaverify.storage import archive, tables
from wdaverify.storage.samples import read_samples


def complaint(path, **options):
    """Return the message with which a file is refused, without the file's name."""
    with pytest.raises(ProblemError) as caught:
        read_samples(path, **options)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert message.startswith(f"{path}: ")
    return message.removeprefix(f"{path}: ")


def bad_csv(tmp_path, text, **options):
    path = tmp_path / "data.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return complaint(path, **options)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: expected a header with the names of the columns, found none"),
        ("1,2,3\n", "line 1: expected a header with the names of the columns, found only numbers"),
        ("a,b,y\n", "line 2: expected at least one sample, found none below the header"),
        ("y\n1\n", "line 1: expected names of columns with commas between them, found 'y'"),
        ("label,target,a\n", "line 1: expected one column of labels, found 'label' and 'target'"),
        (",y\n0,1\n1,1\n", "line 1: expected columns of features, found only 'y'"),
        ("a,b,y\n1,2,0\n1,0\n", "line 3: expected 3 cells as in the header, found 2"),
        ("a,b,y\n1,2,0,\n", "line 2: expected 3 cells as in the header, found 4"),
        ("a,b,y\n1,,0\n", "line 2, column 'b': expected a finite number, found a missing one"),
        ("a,b,y\n1,NA,0\n", "line 2, column 'b': expected a finite number, found a missing one"),
        ("a,b,y\n1,?,0\n", "line 2, column 'b': expected a finite number, found a missing one"),
        ("a,b,y\nnan,1,0\n", "line 2, column 'a': expected a finite number, found a missing one"),
        ("a,b,y\n1,2,0\n-inf,1,0\n", "line 3, column 'a': expected a finite number, found '-inf'"),
        ("a,b,y\n1,1e999,0\n", "line 2, column 'b': expected a finite number, found '1e999'"),
        ("y,a,b\n0,1,red\n", "line 2, column 'b': expected a finite number, found 'red'"),
        ("a,b,y\n1,1_0,0\n", "line 2, column 'b': expected a finite number, found '1_0'"),
        ("a;b;y\n1;2,5;0\n", "line 2, column 'b': expected a finite number, found '2,5'"),
        ("a,b,y\n1,2,\n", "line 2, column 'y': expected a label, found a missing one"),
        ("a,b,y\n1,2,None\n", "line 2, column 'y': expected a label, found a missing one"),
        ('a,b,y\n1,"2,0\n', "expected comma-separated values, found a mistake: unexpected end"),
        ('a,b,y\n1,"2"x,0\n', "expected comma-separated values, found a mistake: ',' expected"),
        (b"a,b,y\n1,2,\xff\n", "expected a table in UTF-8, found the byte 0xff"),
        (b"a\0b,y\n", "expected a table of text, found a binary file"),
        ("a,b,y\n1,2," + "x" * 200000, "expected comma-separated values, found a mistake: field"),
    ],
)
def test_a_bad_table(tmp_path, text, message):
    assert bad_csv(tmp_path, text).startswith(message)


def test_the_column_of_labels(tmp_path):
    text = "a,kind,kind\n1,2,0\n"
    assert bad_csv(tmp_path, text, label_column="knd") == (
        "--label-column: expected one of the columns a, kind, kind, found none called 'knd'; "
        "did you mean 'kind'?"
    )
    found = bad_csv(tmp_path, text, label_column="kind")
    assert "found several called 'kind'" in found


def test_a_table_that_is_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "LARGEST", 40)
    rows = "1,2,0\n" * 4
    assert bad_csv(tmp_path, f"a,b,y\n{rows}") == (
        "line 4: expected at most 40 bytes of numbers, found more"
    )


def npz(tmp_path, **arrays):
    path = tmp_path / "data.npz"
    np.savez(path, **arrays)
    return path


def test_other_arrays(tmp_path):
    wanted = "expected arrays 'points' and 'labels', or 'X' and 'y' (or 'x_test' and 'y_test', …)"
    assert complaint(npz(tmp_path, X=np.eye(2))) == f"{wanted}, found 'X'"
    assert complaint(npz(tmp_path)) == f"{wanted}, found none"
    path = npz(tmp_path, X=np.eye(2), y=[0, 1])
    assert complaint(path, label_column="y") == (
        "--label-column: expected a table (.csv), found arrays, which have none"
    )


def test_text_is_for_labels_only(tmp_path):
    path = npz(tmp_path, X=np.array([["a"]]), y=[0])
    assert complaint(path) == "X: expected real numbers, found an array of <U1"
    path = npz(tmp_path, X=np.eye(2), y=np.array([b"a", b"b"]))
    assert complaint(path) == (
        "y: expected real numbers or strings of fixed length, found an array of |S1"
    )


def test_a_pickle_is_never_loaded(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "bomb"),))

    path = npz(tmp_path, X=np.eye(2), y=np.array([Bomb(), "a"], dtype=object))
    assert complaint(path) == (
        "y: expected real numbers or strings of fixed length, found an array of Python objects"
    )
    assert not (tmp_path / "bomb").exists()


def test_a_zip_bomb_is_refused_by_its_header(tmp_path):
    """A few kilobytes that would unpack to 16 GB; nothing of it is unpacked."""
    path = tmp_path / "data.npz"
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f8", "fortran_order": False, "shape": (10**9, 2)}
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("X.npy", header.getvalue() + bytes(10**6))
        bomb.writestr("y.npy", b"")
    assert path.stat().st_size < 10**4
    assert complaint(path) == (
        f"X: expected at most {archive.LARGEST} bytes, found shape ({10**9}, 2)"
    )


def test_characters_that_do_not_exist(tmp_path):
    from wdaverify.samples import class_indices  # noqa: PLC0415

    strange = np.array([2**31, 97], dtype=np.uint32).view("<U1")
    path = npz(tmp_path, X=np.eye(2), y=strange)
    with pytest.raises(ProblemError, match="characters that do not exist at index 0"):
        class_indices(read_samples(path).labels, 2)


@pytest.mark.parametrize("name", ["data.parquet", "data", "data.npy", "data.xlsx"])
def test_another_type(tmp_path, name):
    path = tmp_path / name
    assert complaint(path) == "expected samples, found no such file"
    path.write_bytes(b"x")
    assert complaint(path) == f"expected samples of type .npz or .csv, found {name!r}"


@pytest.mark.parametrize("name", ["data.npz", "data.csv"])
def test_no_file(tmp_path, name):
    path = tmp_path / name
    assert "found no such file" in complaint(path)
    path.mkdir()
    assert "found a folder" in complaint(path)
