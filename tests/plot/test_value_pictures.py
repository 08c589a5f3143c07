"""Curves and sandwiches: what is drawn, against closed forms and the numbers of the results."""

import dataclasses
import math
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure

import wdaverify as wv
from wdaverify.exact.curve import ValueCurve

PROBLEMS = Path(__file__).parents[2] / "problems"
BUDGET = {"interpolation": "budget", "final_slope": (0.0, 0.0)}


def axes():
    return Figure().add_subplot()


def problem(name):
    return wv.load_problem(PROBLEMS / name)


def made(radius, lower, upper=None, **changes):
    values = np.array(lower, dtype=float)
    fields = {"upper": values if upper is None else np.array(upper), "order": 1.0} | BUDGET
    return ValueCurve(np.array(radius), values, **(fields | changes))


def test_the_line_of_order_two_is_the_closed_form_and_bent():
    """``e²/4`` while ``e <= 2``, then ``e − 1`` (golden problem relu-line-2, t = 1)."""
    drawn = wv.plot.curve(problem("relu-line-2"), upto=4.0, ax=axes())
    x, y = drawn.lines[0].get_data()
    assert y == pytest.approx(np.where(x <= 2, x**2 / 4, x - 1), abs=1e-3)
    assert len(x) > 100


def test_a_curve_of_order_one_is_drawn_through_its_corners_alone():
    found = wv.value_curve(problem("zero-one-line"))
    drawn = wv.plot.curve(found, ax=axes())
    x, y = drawn.lines[0].get_data()
    assert x[:-1].tolist() == found.radius.tolist()
    assert y[:-1].tolist() == found.lower.tolist()
    corners = drawn.collections[0].get_offsets()
    assert np.array_equal(corners, np.column_stack([found.radius, found.lower]))


def test_order_infinity_is_drawn_as_steps_that_contain_the_jumps():
    found = wv.value_curve(problem("zero-one-line-inf"))
    drawn = wv.plot.curve(found, ax=axes())
    (line,) = drawn.lines
    assert line.get_drawstyle() == "steps-post"
    assert line.get_xdata()[:-1].tolist() == found.radius.tolist()
    for x, y in line.get_xydata():
        assert found(x)[0] == y
        assert found(math.nextafter(x, 0.0))[0] <= y


@pytest.mark.parametrize(("upper", "bands"), [([0.0, 1.0], 0), ([0.0, 1.5], 1)])
def test_a_wide_bracket_is_shaded(upper, bands):
    found = made([0.0, 1.0], [0.0, 1.0], upper)
    drawn = wv.plot.curve(found, corners=False, upto=1.0, ax=axes())
    assert len(drawn.collections) == bands
    assert len(drawn.lines) == 1 + bands
    if bands:
        assert drawn.collections[0].get_paths()[0].contains_point((0.9, 1.1))
        assert not drawn.collections[0].get_paths()[0].contains_point((0.9, 1.4))


def test_an_infinite_upper_value_is_marked_and_not_drawn_as_a_number():
    found = made([0.0, 1.0], [0.0, 1.0], [0.0, np.inf])
    drawn = wv.plot.curve(found, upto=1.0, ax=axes())
    dashed, _, marks = drawn.lines
    assert np.isnan(dashed.get_ydata()).tolist() == [False, True]
    assert marks.get_marker() == "$∞$"
    assert marks.get_xdata().tolist() == [1.0]
    assert marks.get_ydata()[0] > 1.0


def test_slopes_that_drift_apart_open_a_band():
    found = made([0.0, 1.0], [0.0, 1.0], final_slope=(0.0, math.inf))
    drawn = wv.plot.curve(found, upto=2.0, ax=axes())
    assert np.isnan(drawn.lines[0].get_ydata()).tolist() == [False, False, True]
    finite = made([0.0, 1.0], [0.0, 1.0], final_slope=(0.0, 3.0))
    assert wv.plot.curve(finite, upto=2.0, ax=axes()).lines[0].get_ydata()[-1] == 4.0


def test_the_end_lies_between_corners():
    found = made([0.0, 1.0, 2.0], [0.0, 2.0, 3.0])
    assert wv.plot.curve(found, upto=1.5, ax=axes()).lines[0].get_xydata().tolist() == [
        [0.0, 0.0],
        [1.0, 2.0],
        [1.5, 2.5],
    ]


def test_curves_share_axes_and_a_legend():
    shared = axes()
    for order in (1, 2):
        found = made([0.0, 1.0], [0.0, 1.0], order=float(order))
        assert wv.plot.curve(found, label=f"order {order}", ax=shared) is shared
    assert [text.get_text() for text in shared.get_legend().get_texts()] == ["order 1", "order 2"]


def test_new_axes_come_from_pyplot():
    drawn = wv.plot.curve(made([0.0, 1.0], [0.0, 1.0]))
    assert drawn.figure.number in plt.get_fignums()
    plt.close(drawn.figure)


@pytest.fixture(scope="module")
def result():
    return wv.sandwich(problem("relu-interval"), [4.0, 1.0, 2.0])


def test_a_sandwich_shows_its_rows_in_order_of_the_radius(result):
    drawn = wv.plot.sandwich(result, ax=axes())
    lines = {line.get_label(): line.get_xydata() for line in drawn.lines}
    radii = np.array([0.0, 1.0, 2.0, 4.0])
    assert lines["exact value"] == pytest.approx(np.column_stack([radii, 0.75 * radii]), abs=1e-9)
    assert lines["certificate"] == pytest.approx(np.column_stack([radii, radii]), abs=1e-9)
    assert np.all(lines["attack"][:, 1] <= lines["exact value"][:, 1] + 1e-9)


def test_the_curve_of_a_sandwich_takes_the_place_of_the_guide(result):
    found = wv.value_curve(result.problem)
    drawn = wv.plot.sandwich(result, curve=found, ax=axes())
    points = next(line for line in drawn.lines if line.get_label() == "exact value")
    assert points.get_linestyle() == "None"
    assert any(np.array_equal(line.get_xdata(), [0.0, 4.0]) for line in drawn.lines)


def test_every_method_has_a_line_and_a_name(result):
    drawn = wv.plot.sandwich(result, methods=True, ax=axes())
    named = {name for text in drawn.texts for name in text.get_text().split("\n")}
    assert named == {*result.lower_bounds, *result.upper_bounds}
    assert len(drawn.lines) == 3 + len(named)


def test_what_is_infinite_or_stopped_is_marked(result):
    first, second, third = result.rows
    rows = (
        dataclasses.replace(first, lower=math.inf, upper=math.inf, certificate=math.inf),
        dataclasses.replace(second, certificate=math.inf),
        dataclasses.replace(third, status="bracket", lower=1.0, upper=1.9),
    )
    drawn = wv.plot.sandwich(dataclasses.replace(result, rows=rows), ax=axes())
    lines = {line.get_label(): line for line in drawn.lines}
    assert lines["value ∞"].get_xdata() == [4.0]
    assert lines["no certificate"].get_xdata() == [1.0]
    assert np.isnan(lines["certificate"].get_ydata()).sum() == 2
    (bar,) = (c for c in drawn.collections if c.get_label().startswith("bracket"))
    assert bar.get_segments()[0].tolist() == [[2.0, 1.0], [2.0, 1.9]]


@pytest.mark.parametrize(
    ("call", "fragments"),
    [
        (lambda: wv.plot.curve(3), ["plot.curve", "ValueCurve", "int"]),
        (lambda: wv.plot.curve(made([0.0], [0.0]), upto=0.0), ["upto > 0", "0.0"]),
        (lambda: wv.plot.curve(made([0.0], [0.0]), upto=math.nan), ["upto > 0", "nan"]),
        (lambda: wv.plot.sandwich(None), ["plot.sandwich", "Sandwich", "NoneType"]),
    ],
)
def test_bad_input_is_one_line(call, fragments):
    with pytest.raises(wv.ProblemError) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert all(fragment in str(caught.value) for fragment in fragments)
