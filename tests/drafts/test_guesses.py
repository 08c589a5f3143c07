"""Supports, radii and warnings, worked out by hand."""

import numpy as np
import pytest

import wdaverify as wv
from wdaverify.drafts.radii import guess_radii, rival_distances
from wdaverify.drafts.support import guess_support
from wdaverify.drafts.warnings import correct, warnings_about
from wdaverify.norms import L1, L2, LInf

RNG = np.random.default_rng(0)


def box(points, shape=None):
    points = np.asarray(points, dtype=float)
    guess = guess_support(points, shape or points.shape[1:])
    bound = guess.value.bind(points.shape[1])
    return bound.lower.tolist(), bound.upper.tolist(), guess


# ---- support ------------------------------------------------------------------------------------

GREY = RNG.integers(0, 256, size=(9, 16)).astype(float)
GREY[0, :2] = 0, 255


@pytest.mark.parametrize(
    ("points", "shape", "lower", "upper"),
    [
        ([[0.0, 0.3], [1.0, 0.9]], None, 0, 1),
        ([[0.2, 0.3], [0.7, 0.6]], None, 0, 1),
        ([[0.0, 0.3], [1 + 2e-16, 0.9]], None, 0, 1),
        (np.float32([[-1e-8, 0.3], [1.0000001, 0.9]]), None, 0, 1),
        ([[-1.0, 0.3], [1.0, 0.9]], None, -1, 1),
        ([[-0.95, 0.3], [0.97, -0.9]], None, -1, 1),
        (GREY, None, 0, 255),
        (GREY / 255, None, 0, 1),
        (np.minimum(GREY, 16), None, 0, 16),
        (GREY[:, :9], (1, 3, 3), 0, 255),
        (GREY > 99, (4, 4), 0, 1),
    ],
)
def test_common_scales(points, shape, lower, upper):
    low, high, guess = box(points, shape)
    assert set(low) == {lower}
    assert set(high) == {upper}
    assert guess.guessed
    assert guess.words == f"[{lower}, {upper}] for every feature"


def test_a_feature_gets_its_range_and_a_tenth_on_either_side():
    points = [[4.3, -120, 0, 1, 7.7, 0.001], [7.9, 880, 1, 1, 7.7, 0.0025]]
    low, high, guess = box(points)
    # ranges 3.6, 1000, binary, constant, constant, 0.0015; then outwards to a hundredth of a power
    # of ten of the range
    assert low == [3.94, -220, 0, 1, 7.7, 0.00085]
    assert high == [8.26, 980, 1, 1, 7.7, 0.00265]
    for word in ("10% of it", "1 with only 0 and 1 keep", "2 that never vary stay fixed"):
        assert word in guess.why


def test_features_that_are_never_negative_stay_so():
    low, _, _ = box([[0.1, -0.1], [9.0, 9.0]])
    assert low[0] == 0
    assert low[1] < -0.9


def test_images_of_another_scale_get_the_range_of_each_channel():
    points = np.array([[-2.0, 0.5, 10, 11], [2.5, 0.0, 12, 19]])
    low, high, guess = box(points, (2, 2, 1))
    assert low == [-2, -2, 10, 10]
    assert high == [2.5, 2.5, 19, 19]
    assert "each channel" in guess.why


@pytest.mark.parametrize("scale", [1e-300, 1e-12, 1.0, 1e12, 1e300, 8e307])
def test_samples_are_always_inside(scale):
    points = RNG.uniform(-2, 2, size=(20, 5)) * scale
    with np.errstate(over="ignore"):
        guess = guess_support(points, (5,))
    assert guess.value.bind(5).contains(points).all()


# ---- radii --------------------------------------------------------------------------------------

POINTS = np.array([[0.0, 0.0], [1.0, 0.0], [3.0, 4.0], [5.0, 1.0]])
LABELS = np.array([0, 0, 1, 1])


@pytest.mark.parametrize(
    ("norm", "expected"),
    [(L1(), [6, 5, 6, 5]), (L2(), [5, 17**0.5, 20**0.5, 17**0.5]), (LInf(), [4, 4, 4, 4])],
)
def test_distances_to_rivals(norm, expected):
    assert rival_distances(POINTS, LABELS, norm) == pytest.approx(expected)


def test_radii_are_shares_of_half_the_median_distance():
    guess = guess_radii(POINTS, LABELS, LInf())  # half of 4
    assert guess.value == (0.1, 0.2, 0.4, 1.0)
    assert "5%, 10%, 20% and 50% of 2 (rounded), half the median l-infinity distance" in guess.why
    assert guess_radii(POINTS, LABELS, L1()).value == (0.14, 0.28, 0.56, 1.4)  # half of 5.5


def test_one_class_or_equal_points_have_another_scale():
    guess = guess_radii(POINTS, np.zeros(4, int), LInf())
    # median of all (2, 0.5); distances 2, 1, 3.5, 3: median 2.5
    assert guess.value == (0.024, 0.048, 0.12, 0.24)  # of 2.4
    assert "samples of different classes give no scale" in guess.why
    assert guess_radii(np.ones((4, 2)), LABELS, LInf()).value == (0.01, 0.02, 0.05, 0.1)


def test_many_samples_are_thinned_evenly(monkeypatch):
    monkeypatch.setattr("wdaverify.drafts.radii.WORK", 800)
    points = np.arange(100.0)[:, None]
    labels = (points[:, 0] >= 50).astype(int)  # sorted by class
    guess = guess_radii(points, labels, LInf())
    assert "(among 28 samples)" in guess.why  # floor(sqrt(800))
    assert 20 < guess.value[-1] * 4 < 30  # half-way distances range up to 50, median about 25


# ---- warnings -----------------------------------------------------------------------------------

IDENTITY = wv.ReLUNetwork([np.eye(3)], [np.zeros(3)])
CLEAR = np.eye(3)[[0, 1, 2, 0, 1, 2, 0, 1]] * 0.9
RIGHT = [0, 1, 2, 0, 1, 2, 0, 1]
NAMES = ("a", "b", "c")


def test_nothing_to_warn_of():
    problem = wv.Problem(IDENTITY, CLEAR, RIGHT)
    assert correct(problem) == 8
    assert warnings_about(problem, NAMES) == []


def test_a_tie_is_wrong():
    assert correct(wv.Problem(IDENTITY, [[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]], [0, 0])) == 1


def test_another_order_of_the_classes():
    labels = [2, 0, 1, 2, 0, 1, 2, 0]  # logit 0 stands for class 2, 1 for 0, 2 for 1
    found = warnings_about(wv.Problem(IDENTITY, CLEAR, labels), NAMES)
    assert (
        "accuracy 0.0% is no better than always answering the commonest class (37.5%)" in found[0]
    )
    assert found[1].startswith("accuracy would be 100.0%")
    assert found[1].endswith("--classes c,a,b")


def test_another_scale_of_the_inputs():
    network = wv.ReLUNetwork([[[1.0], [0.0]]], [[0.0, 0.5]])  # class 0 above 1/2
    points = [[0.0], [100.0], [200.0], [255.0]]
    found = warnings_about(wv.Problem(network, points, [1, 1, 0, 0]), NAMES[:2])
    assert any(line == "with inputs divided by 255 accuracy would be 100.0%" for line in found)
    small = warnings_about(wv.Problem(network, [[0.001], [0.3], [0.9]], [1, 0, 0]), NAMES[:2])
    assert any("multiplied by 255" in line for line in small)


def test_classes_without_samples_and_uneven_features():
    points = [[1.0, 0.0, 0.0], [0.0, 500.0, 1.0]]
    found = warnings_about(wv.Problem(IDENTITY, points, [0, 1]), NAMES, ("u", "v", "w"))
    assert found[0] == "no sample is of class c"
    assert found[1].startswith("feature v ranges over 500, u over 1, but a radius is the same")
    assert len(found) == 2
