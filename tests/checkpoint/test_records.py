"""The file of records: whatever a crash or a fault of the disk leaves, what is read was written."""

import os
import subprocess
import sys

import pytest

from wdaverify.records import Busy, RecordFile

HEADER = b"the question"
BODIES = [b"", b"one", bytes(range(200)), b"x" * 57]


@pytest.fixture
def path(tmp_path):
    """A file with some records."""
    file = RecordFile(tmp_path / "run.records")
    file.begin(HEADER)
    for body in BODIES:
        file.append(body)
    file.close()
    return tmp_path / "run.records"


def recovered(path, header=HEADER):
    file = RecordFile(path)
    found = file.recover(header)
    bodies = None if found is None else [file.read(place) for place in found[0]]
    file.close()
    return bodies


def ends(path):
    """Lengths of the file at which its records end, the header first."""
    places = [0]
    for body in [HEADER, *BODIES]:
        places.append(places[-1] + 24 + len(body))
    first = path.stat().st_size - places[-1]
    return [first + place for place in places[1:]]


def test_what_was_written_is_read(path):
    assert recovered(path) == BODIES


def test_a_file_torn_at_any_byte_is_a_valid_beginning(path):
    content, places = path.read_bytes(), ends(path)
    assert places[-1] == len(content)
    for size in range(len(content)):
        path.write_bytes(content[:size])
        whole = sum(place <= size for place in places)
        expected = BODIES[: whole - 1] if whole else None
        assert recovered(path) == expected, size
        if whole:
            assert path.stat().st_size == places[whole - 1]  # the torn record is cut off


def test_after_a_torn_record_the_file_goes_on(path):
    path.write_bytes(path.read_bytes()[:-3])
    file = RecordFile(path)
    _, dropped = file.recover(HEADER)
    assert dropped == 24 + len(BODIES[-1]) - 3
    file.append(b"new")
    file.close()
    assert recovered(path) == [*BODIES[:-1], b"new"]


def test_an_altered_byte_ends_what_is_believed(path):
    content, places = path.read_bytes(), ends(path)
    for position in range(len(content)):
        path.write_bytes(
            content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]
        )
        before = sum(place <= position for place in places)
        assert recovered(path) == (BODIES[: before - 1] if before else None), position


def test_a_record_out_of_place_is_not_believed(path):
    content, places = path.read_bytes(), ends(path)
    second, third = content[places[1] : places[2]], content[places[2] : places[3]]
    path.write_bytes(content[: places[1]] + third + second + content[places[3] :])
    assert recovered(path) == BODIES[:1]


def test_without_the_checksum_an_altered_byte_would_be_believed(path, monkeypatch):
    """The tests above can fail."""
    content, places = path.read_bytes(), ends(path)
    path.write_bytes(content[: places[1] + 24] + b"0" + content[places[1] + 25 :])
    monkeypatch.setattr("wdaverify.records._checksum", lambda *_: content[places[1] + 8 :][:16])
    file = RecordFile(path)
    monkeypatch.setattr(file, "_end", places[1])
    assert file.read(next(file._valid(len(content)))) == b"0ne"
    file.close()


def test_a_file_of_another_question_is_not_used(path):
    assert recovered(path, b"another one!") is None
    assert recovered(path) == BODIES  # nothing was changed by asking


def test_one_process_at_a_time(path):
    file = RecordFile(path)
    program = f"import pathlib, wdaverify.records as r; r.RecordFile(pathlib.Path({str(path)!r}))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert "Busy" in done.stderr
    with pytest.raises(Busy):
        RecordFile(path)
    file.close()
    RecordFile(path).close()


def test_a_file_removed_by_its_owner_is_made_anew(path):
    RecordFile(path).close(remove=True)
    assert not path.exists()
    RecordFile(path).close()
    assert path.stat().st_size == 0


def test_where_there_is_no_space_the_file_stays_as_it_was(path, monkeypatch):
    file = RecordFile(path)
    file.recover(HEADER)
    real = os.pwrite

    def full(descriptor, data, offset):
        if len(data) < 20:
            raise OSError(28, "No space left on device")
        return real(descriptor, data[:20], offset)

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space"):
        file.append(b"lost")
    monkeypatch.undo()
    file.close()
    assert recovered(path) == BODIES
