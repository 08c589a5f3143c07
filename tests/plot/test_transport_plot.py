"""Transport: arrows lead from samples to the atoms of the distribution, and nowhere else."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

import wdaverify as wv

PROBLEMS = Path(__file__).parents[2] / "problems"


def axes():
    return Figure().add_subplot()


def solved(name, radius, **changes):
    problem = wv.load_problem(PROBLEMS / name).replace(**changes)
    return problem, wv.solve(problem, radius=radius)


def arrows(drawn):
    """Return where arrows start and end, and how wide they are."""
    found = [patch for patch in drawn.patches if isinstance(patch, FancyArrowPatch)]
    ends = np.array([patch._posA_posB for patch in found])
    return ends, np.array([patch.get_linewidth() for patch in found])


def pairs(array):
    return sorted(map(tuple, np.round(array, 12).reshape(len(array), -1).tolist()))


@pytest.fixture(scope="module")
def moons():
    return solved("moons", 0.05)


@pytest.fixture(scope="module")
def iris():
    return solved("iris", 0.02)


def test_in_the_plane_arrows_end_at_the_atoms(moons):
    problem, value = moons
    worst = value.worst_case
    drawn = wv.plot.transport(problem, value, ax=axes())
    starts = problem.points[worst.origin]
    moved = np.any(starts != worst.points, axis=1)
    expected = np.stack([starts, worst.points], axis=1)[moved]
    ends, widths = arrows(drawn)
    assert pairs(ends) == pairs(expected)
    assert len(ends) > 30
    split = worst.weights[moved] < 0.9 * problem.probabilities.max()
    assert (widths < widths.max() - 1e-9).sum() == split.sum() == 1
    assert f"{worst.weights[moved].sum():.1%}" in str(
        [text.get_text() for text in drawn.get_legend().get_texts()]
    )


def test_a_distribution_serves_as_well_and_cells_may_be_left_out(moons):
    problem, value = moons
    alone = wv.plot.transport(problem, value.worst_case, cells=False, ax=axes())
    under = wv.plot.transport(problem, value, ax=axes())
    assert pairs(arrows(alone)[0]) == pairs(arrows(under)[0])
    assert len(alone.collections) < len(under.collections)
    assert "ε" not in alone.get_title()
    assert "ε = 0.05" in under.get_title()


def test_on_a_line_arrows_climb_the_loss():
    """Half of the mass goes from −1 to 3 (golden problem relu-interval at radius 2)."""
    problem, value = solved("relu-interval", 2.0)
    drawn = wv.plot.transport(problem, value, ax=axes())
    ends, _ = arrows(drawn)
    assert ends == pytest.approx(np.array([[[-1.0, 0.0], [3.0, 3.0]]]))
    x, loss = drawn.lines[0].get_data()
    assert loss == pytest.approx(np.maximum(x, 0.0), abs=1e-12)


def test_a_label_move_changes_line():
    problem, value = solved("label-move", 1.0)
    worst = value.worst_case
    ends, _ = arrows(wv.plot.transport(problem, value, ax=axes()))
    assert len(ends) == worst.moved(problem).sum() == 1
    assert ends[0, 0, 1] == pytest.approx(problem.nominal_losses[worst.origin[0]])
    assert ends[0, 1, 1] == pytest.approx(problem.evaluate(worst.points, worst.labels)[0])


def test_mass_that_leaves_the_picture_is_pointed_at():
    problem, value = solved("relu-line", 0.25)
    assert value.worst_case.points.max() > 1e6
    drawn = wv.plot.transport(problem, value, ax=axes())
    ends, _ = arrows(drawn)
    low, high = np.array([drawn.get_xlim(), drawn.get_ylim()]).T
    tip = ends[0, 1]
    assert np.all((tip >= low - 1e-9) & (tip <= high + 1e-9))
    assert np.any(np.isclose(tip, high))
    assert "1 outside" in drawn.get_legend().get_texts()[-1].get_text()


def test_four_features_are_projected_on_the_two_that_move_most(iris):
    problem, value = iris
    worst = value.worst_case
    starts = problem.points[worst.origin]
    moved = np.any(starts != worst.points, axis=1)
    travel = worst.weights @ np.abs(worst.points - starts)
    drawn = wv.plot.transport(problem, value, ax=axes())
    shown = [int(name.split()[1]) for name in (drawn.get_xlabel(), drawn.get_ylabel())]
    assert min(travel[shown]) >= max(np.delete(travel, shown)) - 1e-12
    expected = np.stack([starts, worst.points], axis=1)[moved][:, :, shown]
    assert pairs(arrows(drawn)[0]) == pairs(expected)
    named = wv.plot.transport(problem, value, plane=(3, 1), ax=axes())
    expected = np.stack([starts, worst.points], axis=1)[moved][:, :, [3, 1]]
    assert pairs(arrows(named)[0]) == pairs(expected)


def farthest(problem, worst):
    return int(
        worst.origin[np.abs(worst.points - problem.points[worst.origin]).max(axis=1).argmax()]
    )


def test_a_slice_through_sample_and_atom_shows_the_true_class_along_the_move(iris):
    problem, value = iris
    at = farthest(problem, value.worst_case)
    drawn = wv.plot.transport(problem, value, at=at, ax=axes())
    (arrow,), _ = arrows(drawn)
    own = value.worst_case.points[value.worst_case.origin == at]
    length = max(np.linalg.norm(own - problem.points[at], axis=1))
    assert arrow == pytest.approx(np.array([[0.0, 0.0], [length, 0.0]]), abs=1e-12)
    assert not any("off" in text.get_text() for text in drawn.get_legend().get_texts())


def test_an_atom_off_the_slice_is_hollow(iris):
    problem, value = iris
    at = farthest(problem, value.worst_case)
    drawn = wv.plot.transport(problem, value, at=at, plane=(2, 3), ax=axes())
    assert any("off this plane" in text.get_text() for text in drawn.get_legend().get_texts())
    marks = drawn.collections[-1].get_facecolor()
    assert marks.tolist() == [[1.0, 1.0, 1.0, 1.0]]


def test_a_slice_of_sixty_four_features():
    problem = wv.load_problem(PROBLEMS / "digits").head(4)
    value = wv.solve(problem, radius=0.05)
    at = farthest(problem, value.worst_case)
    (arrow, *_), _ = arrows(wv.plot.transport(problem, value, at=at, ax=axes()))
    assert arrow[0] == pytest.approx([0.0, 0.0], abs=1e-9)
    assert arrow[1, 1] == pytest.approx(0.0, abs=1e-9)


def test_infinite_values_are_drawn():
    problem, value = solved("dlr-tie", 0.1)
    assert value.status == "unbounded"
    drawn = wv.plot.transport(problem, value, ax=axes())
    assert "∞" in drawn.get_title()


def bad_calls():
    moons, value = solved("moons", 0.0)
    iris, other = solved("iris", 0.0)
    return {
        "type": (lambda: wv.plot.transport(moons, 3.0), ["plot.transport", "float"]),
        "another problem": (lambda: wv.plot.transport(iris, value), ["iris", "4 features"]),
        "plane": (lambda: wv.plot.transport(moons, value, plane=(0, 1)), ["more than two"]),
        "stays": (lambda: wv.plot.transport(iris, other, at=0), ["at=0", "no mass"]),
        "sample": (lambda: wv.plot.transport(iris, other, at=99), ["at=99", "0 to 49"]),
    }


@pytest.mark.parametrize("name", ["type", "another problem", "plane", "stays", "sample"])
def test_bad_input_is_one_line(name):
    call, fragments = bad_calls()[name]
    with pytest.raises(wv.ProblemError) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert all(fragment in str(caught.value) for fragment in fragments)
