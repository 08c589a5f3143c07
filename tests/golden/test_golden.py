"""Every problem folder with a known answer: the exact engine finds it, from both sides."""

import math
import re
from pathlib import Path

import numpy as np
import pytest

from wdaverify import enumerate_cells, solve
from wdaverify.exact.value import ExactSolver
from wdaverify.storage import load_stored

PROBLEMS = Path(__file__).resolve().parents[2] / "problems"
FOLDERS = sorted(
    path.parent for path in PROBLEMS.glob("*/problem.toml") if "[expected]" in path.read_text()
)
TOLERANCE = 1e-7
UNSAID = {"dlr-line", "dlr-tie"}  # a ratio that is approached: the engine may leave it open


def agree(found, expected):
    """Equal to ``1e-7 · max(1, |v|)``; infinite where that is expected."""
    if math.isinf(expected):
        return found == expected
    return abs(found - expected) <= TOLERANCE * max(1.0, abs(expected))


def stated_attained(folder):
    """What the answer in the README says about attainment."""
    text = (folder / "README.md").read_text().replace("*", "").lower()
    answer = re.search(r"^answer\..*?$", text, re.MULTILINE).group()
    if re.search(r"\bnot attained\b", answer):
        return False
    assert re.search(r"\battained\b", answer), "the README does not say whether it is attained"
    return True


def by_name(folders):
    return {"argvalues": folders, "ids": [folder.name for folder in folders]}


def test_the_golden_folders_are_found():
    names = {folder.name for folder in FOLDERS}
    assert {"relu-line", "tight", "zero-one-line-inf", "polytope-triangle"} <= names
    assert {"affine-l2", "label-move", "dlr-tie", "hinge-line-3"} <= names
    assert len(FOLDERS) >= 29


@pytest.mark.parametrize("folder", **by_name(FOLDERS))
def test_value_is_the_expected_one_at_every_radius(folder):
    stored = load_stored(folder)
    assert len(stored.radii) == len(stored.expected.values) > 0
    cells = enumerate_cells(stored.problem.network, stored.problem.support)
    for radius, expected in zip(stored.radii, stored.expected.values, strict=True):
        found = solve(stored.problem, radius=radius, cells=cells)
        assert agree(found.lower, expected), f"radius {radius}: lower {found.lower}"
        assert agree(found.upper, expected), f"radius {radius}: upper {found.upper}"
        assert found.lower <= found.upper + 1e-9 * max(1.0, abs(found.upper))
        assert found.status == ("unbounded" if math.isinf(expected) else "exact")


@pytest.mark.parametrize("folder", **by_name(FOLDERS))
def test_value_is_attained_where_the_readme_says_so(folder):
    stored = load_stored(folder)
    flags = {solve(stored.problem, radius=radius).attained for radius in stored.radii}
    unsaid = {None} if folder.name in UNSAID else set()
    assert flags <= {stated_attained(folder)} | unsaid


@pytest.mark.parametrize("folder", **by_name(FOLDERS))
def test_one_solver_gives_the_same_in_any_order_of_radii(folder):
    stored = load_stored(folder)
    cells = enumerate_cells(stored.problem.network, stored.problem.support)
    solver = ExactSolver(stored.problem, cells)
    pairs = list(zip(stored.radii, stored.expected.values, strict=True))
    for radius, expected in [*reversed(pairs), *pairs]:
        found = solver.solve(radius)
        assert agree(found.lower, expected)
        assert agree(found.upper, expected)


def test_escaping_mass_and_the_tie_are_stated_as_not_attained():
    not_attained = {folder.name for folder in FOLDERS if not stated_attained(folder)}
    assert not_attained == {"relu-line", "tight", "dlr-line", "dlr-tie"}


def test_counted_cells_has_26_cells():
    problem = load_stored(PROBLEMS / "counted-cells").problem
    assert len(enumerate_cells(problem.network, problem.support)) == 26


def test_a_missed_value_would_be_noticed():
    stored = load_stored(PROBLEMS / "relu-interval")
    wrong = stored.problem.replace(points=np.nextafter(stored.problem.points, 0) + 1e-5)
    found = solve(wrong, radius=stored.radii[1])
    assert not agree(found.lower, stored.expected.values[1])
    assert not agree(found.upper, stored.expected.values[1])
