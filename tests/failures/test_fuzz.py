"""Any file at all is read or refused: two errors, one line, no hang, nothing left behind."""

import numpy as np
import pytest
from failures import fuzzing

from wdaverify.storage import samples

FEW = {
    "arrays": 300,
    "csv": 300,
    "labels": 2000,
    "layers": 200,
    "onnx": 150,
    "pt2": 100,
    "stored": 200,
    "toml": 250,
}
MANY = {name: 40 * count for name, count in FEW.items()}


def refused(folder, name, seeds):
    reader = fuzzing.Reader(folder)
    with fuzzing.alarm(600):
        return [fuzzing.refusal(getattr(reader, name), seed) for seed in seeds]


@pytest.mark.parametrize("name", fuzzing.READERS)
def test_mutants(tmp_path, name):
    messages = refused(tmp_path, name, range(FEW[name]))
    assert sum(map(bool, messages)) > FEW[name] / 3  # most mutants are bad files
    assert not all(messages)  # and some are still good ones


@pytest.mark.slow
@pytest.mark.parametrize("name", fuzzing.READERS)
def test_many_mutants(tmp_path, name):
    assert any(refused(tmp_path, name, range(10**6, 10**6 + MANY[name])))


def test_mutants_differ_and_a_crash_is_seen(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    assert len({fuzzing.mutated(fuzzing.CSV, rng) for _ in range(100)}) > 80

    def crash(*_):
        raise NameError

    monkeypatch.setattr(samples, "read_table", crash)
    with pytest.raises(NameError):
        refused(tmp_path, "csv", range(5))
