"""What the sections are made of, against independent evidence."""

import base64
import io
import math
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

import wdaverify as wv
from wdaverify.errors import ProblemError
from wdaverify.report.axes import axis, path
from wdaverify.report.features import carried
from wdaverify.report.images import guess_shape, pictures
from wdaverify.report.moves import moves_of
from wdaverify.report.plane import plane, view_of
from wdaverify.report.reading import crossing, read_curve

PROBLEMS = Path(__file__).parents[2] / "problems"
CSS = Path(wv.__file__).parent / "report" / "report.css"


@pytest.fixture(scope="module")
def moons():
    problem = wv.load_problem(PROBLEMS / "moons").head(12)
    return wv.sandwich(problem, [0.05, 0.1])


@pytest.fixture(scope="module")
def moons_curve(moons):
    return read_curve(moons)


def test_moves_add_up_to_the_value_and_keep_the_budget(moons):
    for row in moons.rows:
        moves = moves_of(moons.problem, row.exact.worst_case)
        assert moons.nominal + sum(m.gain for m in moves) == pytest.approx(row.lower, abs=1e-9)
        spent = sum(m.mass * m.cost for m in moves)
        assert spent == pytest.approx(row.radius, rel=1e-9)
        rates = [m.rate for m in moves]
        assert rates == sorted(rates, reverse=True)


def test_moves_of_labels_are_told():
    problem = wv.load_problem(PROBLEMS / "label-move")
    value = wv.solve(problem, radius=1.0)
    (move,) = moves_of(problem, value.worst_case)
    assert (move.label, move.label_after, move.distance, move.cost) == (0, 1, 0.0, 1.0)
    assert move.loss_after - move.loss == move.rate


def test_the_number_of_samples_that_move_is_that_of_the_worst_case(moons, moons_curve):
    reading, problem = moons_curve, moons.problem
    for radius in (0.013, 0.05, 0.09, 0.2):
        worst = wv.solve(problem, radius=radius, cells=moons.cells).worst_case
        moved = (worst.points != problem.points[worst.origin]).any(axis=1)
        k = int(np.searchsorted(reading.budgets, radius)) - 1
        assert reading.moved[k] == len(set(worst.origin[moved].tolist()))
    assert reading.moved[-1] <= len(problem)


def test_slopes_are_those_of_the_curve(moons, moons_curve):
    reading = moons_curve
    for row in moons.rows:
        k = int(np.searchsorted(reading.budgets, row.radius, side="right")) - 1
        assert reading.slopes[k] == pytest.approx(row.exact.multiplier, rel=1e-6)
    assert len(reading.corners) < len(reading.budgets)
    assert (np.diff(reading.corners) > 0).all()


def test_the_crossing_is_where_the_curve_crosses(moons, moons_curve):
    low, high = crossing(moons, moons_curve, 0.0)
    assert low <= high
    assert moons_curve.curve(high)[0] == pytest.approx(0.0, abs=1e-9)
    assert moons_curve.curve(0.999 * low)[1] < 0.0
    assert crossing(moons, moons_curve, moons.nominal) is None
    assert crossing(moons, moons_curve, 1e6) is None


def test_the_crossing_of_an_endless_line():
    problem = wv.load_problem(PROBLEMS / "relu-line")  # the value is ε
    result = wv.sandwich(problem, [1.0])
    reading = read_curve(result)
    assert crossing(result, reading, 50.0) == pytest.approx((50.0, 50.0))
    assert reading.moved[-1] == 1  # the mass that escapes


def test_rows_alone_bracket_the_crossing(moons, moons_curve):
    interrupted = wv.Limits()
    interrupted.stop.set()
    reading = read_curve(moons, interrupted)
    low, high = crossing(moons, reading, 0.0)
    truth = crossing(moons, moons_curve, 0.0)
    assert low <= truth[0] <= truth[1] <= high
    assert low in {0.0, *(row.radius for row in moons.rows)} or reading.curve is not None


def test_a_curve_that_takes_too_long_says_so(moons):
    limits = wv.Limits(seconds=0.0)
    reading = read_curve(moons, limits)
    assert "time limit" in reading.note
    for row in moons.rows:
        if reading.curve is not None:
            low, high = reading.curve(row.radius)
            assert low <= row.upper
            assert high >= row.lower


def test_cells_and_arrows_of_two_features(moons):
    moves = [moves_of(moons.problem, row.exact.worst_case) for row in moons.rows]
    drawn = plane(moons, moves, None)
    assert drawn.cells == len(moons.cells)
    assert len(drawn.spots) == len(moons.problem)
    assert [len(row) for row in drawn.arrows] == [len(row) for row in moves]
    areas = sum(_area(patch.outline) for patch in drawn.patches)  # the cells cover the frame
    left, top, right, bottom = drawn.frame
    assert areas == pytest.approx((right - left) * (bottom - top), rel=1e-3)
    problem = wv.load_problem(PROBLEMS / "affine-linf-inf")
    assert plane(wv.sandwich(problem, [0.5]), [[]], None) is None


def _area(outline: str) -> float:
    x, y = np.array(re.findall(r"(-?[\d.]+) (-?[\d.]+)", outline), dtype=float).T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2.0


def test_atoms_that_escape_do_not_set_the_view():
    problem = wv.load_problem(PROBLEMS / "relu-line")
    moves = moves_of(problem, wv.solve(problem, radius=1.0).worst_case)
    assert moves[0].distance > 1e6
    low, high = view_of(problem, [moves])
    assert high[0] - low[0] < 100


def test_pictures_are_the_pixels_of_sample_and_atom():
    rng = np.random.default_rng(0)
    network = wv.ReLUNetwork([rng.normal(size=(2, 25))], [np.zeros(2)])
    points = rng.random((3, 25))
    labels = network.logits(points).argmax(axis=1)
    problem = wv.Problem(network, points, labels, support=wv.Box(0.0, 1.0))
    shape = guess_shape(problem, None)
    assert (shape.channels, shape.height, shape.width, shape.guessed) == (1, 5, 5, True)
    moves = moves_of(problem, wv.solve(problem, radius=0.1).worst_case)
    for move, shown in zip(moves, pictures(problem, moves, shape), strict=True):
        for point, uri in ((move.origin, shown.before), (move.target, shown.after)):
            pixels = imread(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
            assert pixels.shape == (5, 5, 3)
            assert np.abs(pixels[..., 0] - point.reshape(5, 5)).max() <= 0.5 / 255 + 1e-6
        change = imread(io.BytesIO(base64.b64decode(shown.difference.partition(",")[2])))
        darker = (move.target - move.origin).reshape(5, 5) < -0.05
        assert (change[..., 2][darker] > change[..., 0][darker]).all()


@pytest.mark.parametrize(
    ("features", "given", "found"),
    [
        (64, None, (1, 8, 8)),
        (75, None, (3, 5, 5)),
        (30, None, None),
        (16, None, None),  # a table may well have 16 features
        (64, (), None),
        (12, (3, 4), (1, 3, 4)),
        (12, (3, 2, 2), (3, 2, 2)),
    ],
)
def test_shapes(features, given, found):
    network = wv.ReLUNetwork([np.ones((2, features))], [np.zeros(2)])
    problem = wv.Problem(network, np.zeros((1, features)), [0])
    shape = guess_shape(problem, given)
    assert (shape and (shape.channels, shape.height, shape.width)) == found


@pytest.mark.parametrize("given", [(5,), (8, 7), (2, 4, 8), (-8, -8), (1, 1, 8, 8)])
def test_shapes_that_do_not_fit_are_refused(given):
    network = wv.ReLUNetwork([np.ones((2, 64))], [np.zeros(2)])
    with pytest.raises(ProblemError, match="image_shape: expected"):
        guess_shape(wv.Problem(network, np.zeros((1, 64)), [0]), given)


def test_tables_whose_features_have_different_ranges_are_no_pictures():
    network = wv.ReLUNetwork([np.ones((2, 64))], [np.zeros(2)])
    support = wv.Box(0.0, np.arange(1.0, 65.0))
    assert guess_shape(wv.Problem(network, np.zeros((1, 64)), [0], support=support), None) is None


def test_the_feature_that_matters_carries_the_movement():
    network = wv.ReLUNetwork([[[0.0, 1.0, 0.2], [0.0, -1.0, 0.0]]], [[0.0, 0.0]])
    problem = wv.Problem(
        network, [[0.5, 1.0, 0.5]], [0], cost=wv.TransportCost("l1"), support=wv.Box(0.0, 2.0)
    )
    moves = moves_of(problem, wv.solve(problem, radius=0.25).worst_case)
    found = carried(problem, moves, ("age", "height", "weight"))
    assert [f.name for f in found.features] == ["height"]
    assert found.others == 2
    masses = np.array([m.mass for m in moves])
    changes = np.abs([m.target - m.origin for m in moves])
    assert found.features[0].mean == pytest.approx((masses @ changes / masses.sum())[1])
    assert carried(problem, [], None) is None


def test_ticks_are_round_and_inside():
    for low, high in ((0.0, 0.32), (-8.3, 43.9), (-1e-9, 3e-9), (5.0, 5.0)):
        drawn = axis(low, high, 0.0, 100.0)
        places = [tick.at for tick in drawn.ticks()]
        assert 2 <= len(places) <= 8
        assert all(-0.01 <= place <= 100.01 for place in places)
        assert np.ptp(np.diff(places)) < 0.05


def test_paths_break_where_the_value_is_infinite():
    x = axis(0.0, 4.0, 0.0, 4.0)
    text = path(x, x, [(0, 0), (1, 1), (2, math.inf), (3, 3), (4, 4)])
    assert text == "M0 0L1 1M3 3L4 4"


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours (WCAG 2.2, relative luminance)."""

    def luminance(colour: str) -> float:
        values = np.array([int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)])
        linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_text_stands_out_in_light_and_dark():
    themes = [dict(re.findall(r"--([\w]+): (#\w{6})", block))
              for block in re.findall(r":root \{(.*?)\}", CSS.read_text(), re.DOTALL)]  # fmt: skip
    assert len(themes) == 2
    for theme in themes:
        for text in ("ink", "soft", "exact", "bound", "good", "flip"):
            for ground in ("paper", "tint"):
                assert contrast(theme[text], theme[ground]) >= 4.5, (text, ground)
        for k in range(5):  # marks and lines, beside their shapes
            assert contrast(theme[f"k{k}"], theme["paper"]) >= 3.0, k
    assert contrast("#777777", "#ffffff") == pytest.approx(4.478, abs=1e-3)
