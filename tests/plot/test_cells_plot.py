"""Cells and slices: every place of the picture has the colour of the class the network predicts."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

import wdaverify as wv
from wdaverify.plot.style import class_colour

PROBLEMS = Path(__file__).parents[2] / "problems"


def axes():
    return Figure().add_subplot()


def problem(name):
    return wv.load_problem(PROBLEMS / name)


def polygons(drawn):
    """Return the areas of a picture: paths and the hue of each."""
    (areas,) = (c for c in drawn.collections if isinstance(c, PolyCollection))
    return areas.get_paths(), areas.get_facecolor()[:, :3]


def class_at(paths, fills, place):
    """Return the class whose colour, mixed with white, the picture has at a place."""
    inside = [k for k, path in enumerate(paths) if path.contains_point(place)]
    if len(inside) != 1:
        return None  # on an edge, or outside
    tint = 1.0 - fills[inside[0]]
    hues = [1.0 - np.array(to_rgb(class_colour(k))) for k in range(10)]
    alike = [tint @ hue / np.linalg.norm(tint) / np.linalg.norm(hue) for hue in hues]
    return int(np.argmax(alike))


def agreement(drawn, network, points_of, seed=0):
    """Return how many of random places show the network's class, and how many show any."""
    (left, right), (bottom, top) = drawn.get_xlim(), drawn.get_ylim()
    rng = np.random.default_rng(seed)
    places = rng.uniform([left, bottom], [right, top], (200, 2))
    paths, fills = polygons(drawn)
    shown = [class_at(paths, fills, place) for place in places]
    predicted = network.logits(points_of(places)).argmax(axis=1)
    seen = [(a, b) for a, b in zip(shown, predicted, strict=True) if a is not None]
    return sum(a == b for a, b in seen), len(seen)


def area(paths):
    corners = [path.vertices[:-1] for path in paths]
    return sum(
        0.5 * abs(np.sum(c[:, 0] * np.roll(c[:, 1], -1) - c[:, 1] * np.roll(c[:, 0], -1)))
        for c in corners
    )


def on_features(sample, features):
    def points_of(places):
        points = np.tile(sample, (len(places), 1))
        points[:, features] = places
        return points

    return points_of


def test_moons_shows_every_cell_and_sample():
    moons = problem("moons")
    drawn = wv.plot.cells(moons, ax=axes())
    assert area(polygons(drawn)[0]) == pytest.approx(1.0, rel=1e-12)
    right, seen = agreement(drawn, moons.network, lambda places: places)
    assert right == seen > 190
    drawn_samples = np.concatenate(
        [c.get_offsets() for c in drawn.collections if not isinstance(c, PolyCollection)
         and len(c.get_offsets()) > 1]
    )  # fmt: skip
    assert {tuple(p) for p in drawn_samples.tolist()} == {tuple(p) for p in moons.points.tolist()}


def test_a_wrong_network_is_noticed():
    moons = problem("moons")
    flipped = wv.ReLUNetwork(
        [*moons.network.weights[:-1], -moons.network.weights[-1]],
        [*moons.network.biases[:-1], -moons.network.biases[-1]],
    )
    right, seen = agreement(wv.plot.cells(moons, ax=axes()), flipped, lambda places: places)
    assert right < seen / 2


@pytest.mark.parametrize("features", [(2, 3), (3, 0)])
def test_a_slice_in_two_features(features):
    iris = problem("iris")
    drawn = wv.plot.cells(iris, at=3, plane=features, ax=axes())
    assert area(polygons(drawn)[0]) == pytest.approx(1.0, rel=1e-12)
    points_of = on_features(iris.points[3], list(features))
    right, seen = agreement(drawn, iris.network, points_of)
    assert right == seen > 190
    assert drawn.get_xlabel() == f"feature {features[0]}"
    (star,) = (c for c in drawn.collections if len(c.get_offsets()) == 1 and c.get_zorder() == 5)
    assert star.get_offsets()[0].tolist() == iris.points[3, list(features)].tolist()


def test_a_slice_in_two_directions_that_are_not_at_right_angles():
    digits = problem("digits")
    origin, first, second = digits.points[[5, 1, 2]]
    directions = np.stack([first - origin, 2.0 * (second - origin) + 0.3 * (first - origin)])
    drawn = wv.plot.cells(digits, at=5, plane=directions, ax=axes())
    right, seen = agreement(
        drawn, digits.network, lambda places: origin + places @ directions, seed=1
    )
    assert right == seen > 50
    paths, _ = polygons(drawn)
    corners = np.concatenate([path.vertices for path in paths]) @ directions + origin
    assert corners.min() > -1e-9
    assert corners.max() < 1.0 + 1e-9


def test_a_slice_through_a_point_of_cells_alone():
    iris = problem("iris")
    found = wv.enumerate_cells(iris.network, iris.support)
    point = np.full(4, 0.4)
    drawn = wv.plot.cells(found, at=point, plane=(0, 2), ax=axes())
    right, seen = agreement(drawn, iris.network, on_features(point, [0, 2]))
    assert right == seen > 190


def test_a_view_zooms_in():
    drawn = wv.plot.cells(problem("moons"), view=([0.2, 0.3], [0.4, 0.8]), legend=False, ax=axes())
    assert (*drawn.get_xlim(), *drawn.get_ylim()) == (0.2, 0.4, 0.3, 0.8)
    assert area(polygons(drawn)[0]) == pytest.approx(0.1, rel=1e-12)
    assert drawn.get_legend() is None


IRIS, MOONS = problem("iris"), problem("moons")


@pytest.mark.parametrize(
    ("call", "fragments"),
    [
        (lambda: wv.plot.cells(7), ["plot.cells", "int"]),
        (lambda: wv.plot.cells(MOONS, at=0), ["more than two features"]),
        (lambda: wv.plot.cells(IRIS, at=50), ["at=50", "0 to 49"]),
        (lambda: wv.plot.cells(IRIS, at=[0.5, 0.5]), ["(4,)", "(2,)"]),
        (lambda: wv.plot.cells(IRIS, at=[2.0, 0.5, 0.5, 0.5]), ["in the support"]),
        (lambda: wv.plot.cells(IRIS, plane=(1, 1)), ["two different features", "1, 1"]),
        (lambda: wv.plot.cells(IRIS, plane=(0, 4)), ["0 to 3", "0, 4"]),
        (lambda: wv.plot.cells(IRIS, plane=np.ones((2, 4))), ["independent", "(2, 4)"]),
        (lambda: wv.plot.cells(IRIS, plane=np.ones(3)), ["two directions", "(3,)"][1:]),
        (lambda: wv.plot.cells(MOONS, view=([1, 1], [0, 0])), ["view", "corner"]),
        (
            lambda: wv.plot.cells(wv.enumerate_cells(IRIS.network, IRIS.support)),
            ["at", "a point"],
        ),
    ],
)
def test_bad_input_is_one_line(call, fragments):
    with pytest.raises(wv.ProblemError) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert all(fragment in str(caught.value) for fragment in fragments)


def test_a_plane_that_only_touches_the_support_is_refused():
    corner = np.zeros(4)
    directions = [[1.0, -1.0, 0.0, 0.0], [0.0, 0.0, 1.0, -1.0]]
    with pytest.raises(wv.UnsupportedError, match=r"plane|two features"):
        wv.plot.cells(IRIS, at=corner, plane=directions, ax=axes())
