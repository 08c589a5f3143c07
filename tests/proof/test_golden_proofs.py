"""Every golden problem is proved from its cells, and the checker accepts a bracket as tight."""

from pathlib import Path

import pytest

from wdaverify.checker.verdict import check_file
from wdaverify.errors import UnsupportedError
from wdaverify.loss import DLR
from wdaverify.proof.prove import prove
from wdaverify.storage import load_stored

FOLDERS = Path(__file__).parents[2] / "problems"
TRAINED = {"breast", "breast-cancer", "digits", "digits-deep", "iris", "iris-l1", "moons",
           "moons-zero-one", "wine"}  # fmt: skip
GOLDEN = sorted(
    p.parent.name for p in FOLDERS.glob("*/problem.toml") if p.parent.name not in TRAINED
)
CLOSE = 1e-9


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_problem_is_proved(name, tmp_path):
    stored = load_stored(FOLDERS / name)
    if isinstance(stored.problem.loss, DLR):
        with pytest.raises(UnsupportedError, match="ratio of logits"):
            prove(stored.problem, radius=stored.radii[0], path=tmp_path / "p")
        return
    expected = stored.expected.values if stored.expected else [None] * len(stored.radii)
    for radius, answer in zip(stored.radii, expected, strict=True):
        found = prove(
            stored.problem, radius=radius, path=tmp_path / "p", engine="cells", checked=False
        )
        verdict = check_file(tmp_path / "p")
        assert verdict.accepted, verdict.reason
        assert found.lower <= float(verdict.upper)
        assert float(verdict.lower) <= found.upper
        size = max(1.0, abs(found.upper))
        assert found.loss <= CLOSE
        assert found.upper - found.lower <= found.value.gap + CLOSE * size
        if answer is not None:
            assert found.lower <= answer + CLOSE * size
            assert answer <= found.upper + 1e-12 * size


@pytest.mark.parametrize("name", [n for n in GOLDEN if "dlr" not in n and "zero" not in n])
def test_lipschitz_constant_is_proved(name, tmp_path):
    stored = load_stored(FOLDERS / name)
    if name == "constant-feature":
        with pytest.raises(UnsupportedError, match="no interior"):
            prove(stored.problem, radius=1.0, path=tmp_path / "p", of="lipschitz")
        return
    found = prove(stored.problem, radius=1.0, path=tmp_path / "p", of="lipschitz")
    assert found.upper - found.lower <= CLOSE * max(1.0, found.upper)


@pytest.mark.parametrize("name", [n for n in GOLDEN if "dlr" not in n and "zero" not in n])
def test_slope_is_proved(name, tmp_path):
    stored = load_stored(FOLDERS / name)
    if stored.problem.cost.order != 1:
        with pytest.raises(UnsupportedError, match="order 1"):
            prove(stored.problem, radius=1.0, path=tmp_path / "p", of="slope")
        return
    found = prove(stored.problem, radius=1.0, path=tmp_path / "p", of="slope")
    assert 0.0 <= found.upper - found.lower <= CLOSE * max(1.0, found.upper)
