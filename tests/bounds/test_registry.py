"""What each number proves, and every refusal; slope, tightness, duality, estimates."""

import math
from pathlib import Path

import numpy as np
import pytest

import wdaverify as wv
from wdaverify.bounds import duality
from wdaverify.bounds.asymptotic import asymptotic_slope
from wdaverify.bounds.cell_constants import cell_constants
from wdaverify.bounds.certificate import certificates, certify, constants_of
from wdaverify.bounds.duality import StrongDuality, smoothness
from wdaverify.bounds.estimates import first_order_estimate, input_gradients
from wdaverify.bounds.lipschitz import lipschitz_bound
from wdaverify.bounds.registry import METHODS, OTHERS
from wdaverify.bounds.tightness import tightness
from wdaverify.errors import ProblemError, UnsupportedError

PROBLEMS = Path(__file__).resolve().parents[2] / "problems"


def random_network(seed, widths=(2, 5, 4, 3)):
    rng = np.random.default_rng(seed)
    shapes = list(zip(widths[1:], widths[:-1], strict=True))
    return wv.ReLUNetwork(
        [1.5 * rng.normal(size=s) / math.sqrt(s[1]) for s in shapes],
        [0.5 * rng.normal(size=s[0]) for s in shapes],
    )


def random_problem(seed=0, network=None, **options):
    network = network or random_network(seed)
    points = np.random.default_rng(seed).uniform(-0.8, 0.8, size=(5, network.features))
    labels = np.arange(5) % network.classes
    norm, order = options.pop("norm", "linf"), options.pop("order", 1)
    cost = wv.TransportCost(norm, order, label_cost=options.pop("label_cost", None))
    return wv.Problem(network, points, labels, cost=cost, **options)


def affine(seed=0, classes=3, features=2):
    rng = np.random.default_rng(seed)
    return wv.ReLUNetwork([rng.normal(size=(classes, features))], [rng.normal(size=classes)])


# --- refusals ------------------------------------------------------------------------------------

BOX, LINE = wv.Box(-1.0, 1.0), wv.Polytope([[1.0, 0.0]], [2.0])
REFUSED = {
    "dlr has no constant: cells": ("cell-lipschitz", {"loss": "dlr"}, "no Lipschitz constant"),
    "dlr has no constant: top": ("margin-lipschitz", {"loss": "dlr"}, "no Lipschitz constant"),
    "dlr has no constant: layers": ("layer-product", {"loss": "truncated-dlr"}, "no Lipschitz"),
    "dlr has no constant: sdp": ("lipsdp", {"loss": "dlr", "norm": "l2"}, "no Lipschitz"),
    "top class and cross-entropy": (
        "margin-lipschitz", {"loss": "cross-entropy"}, "mixes all classes"),
    "sdp and linf": ("lipsdp", {}, "l2"),
    "sdp and l1": ("lipsdp", {"norm": "l1"}, "l2"),
    "ceiling of the margin": ("ceiling", {}, "dlr"),
    "duality and ReLU": (
        "strong-duality", {"loss": "cross-entropy", "norm": "l2", "order": 2}, "ReLU has kinks"),
    "duality and the margin": (
        "strong-duality", {"network": affine(), "norm": "l2", "order": 2}, "smooth loss"),
    "duality and order 1": (
        "strong-duality", {"network": affine(), "loss": "cross-entropy", "norm": "l2"}, "order 1"),
    "duality and linf": (
        "strong-duality", {"network": affine(), "loss": "cross-entropy", "order": 2}, "linf"),
    "duality and a polytope": (
        "strong-duality", {"network": affine(), "loss": "cross-entropy", "norm": "l2", "order": 2,
                           "support": LINE}, "polytope"),
    "duality and label moves": (
        "strong-duality", {"network": affine(), "loss": "cross-entropy", "norm": "l2", "order": 2,
                           "label_cost": 1.0}, "label cost"),
    "slope and a box": ("asymptotic-slope", {"support": BOX}, "bounded support"),
    "slope and order 2": ("asymptotic-slope", {"order": 2}, "order 1 only"),
    "slope and order inf": ("asymptotic-slope", {"order": "inf"}, "order 1 only"),
    "slope and zero-one": ("asymptotic-slope", {"loss": "zero-one"}, "zero-one"),
    "estimate of zero-one": ("first-order", {"loss": "zero-one"}, "gradient"),
    "estimate with label moves": ("first-order", {"label_cost": 1.0}, "label cost"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_proves_nothing_is_refused_with_the_reason(case):
    method, options, reason = REFUSED[case]
    problem = random_problem(**options)
    statement = METHODS.get(method) or OTHERS[method]
    assert reason in statement.refuses(problem)
    with pytest.raises(UnsupportedError, match=f"{method}: "):
        statement.check(problem)
    if method in METHODS:
        with pytest.raises(UnsupportedError, match=reason):
            certify(problem, radius=0.1, method=method)
        assert method not in [c.method for c in certificates(problem)]
    elif method == "asymptotic-slope":
        with pytest.raises(UnsupportedError, match=reason):
            asymptotic_slope(problem)
    else:
        with pytest.raises(UnsupportedError, match=reason):
            first_order_estimate(problem, 0.1)


def test_every_method_has_a_statement_and_applies_somewhere():
    cases = [
        random_problem(loss=loss, norm="l2", order=order, network=network)
        for loss in ("margin", "cross-entropy", "dlr", "zero-one")
        for order in (1, 2)
        for network in (random_network(0), affine())
    ]
    for name, statement in (METHODS | OTHERS).items():
        assert name == statement.name
        assert any(statement.refuses(problem) is None for problem in cases), name
        sentence = statement.sentence(cases[0])
        assert statement.proves in sentence
        assert "W₁, ℓ₂" in sentence
        assert "the whole space" in sentence
        assert "margin" in sentence


def test_an_unknown_method_and_nothing_at_all_are_errors():
    with pytest.raises(ProblemError, match="fgsm"):
        certify(random_problem(), radius=0.1, method="fgsm")
    four = random_problem(network=random_network(0, (2, 4, 4)), loss="dlr")
    with pytest.raises(UnsupportedError, match="no certificate proves anything"):
        certify(four, radius=0.1)
    with pytest.raises(UnsupportedError, match="no Lipschitz constant"):
        lipschitz_bound(four, np.ones(4), 0.1)
    result = wv.sandwich(wv.load_problem(PROBLEMS / "dlr-tie"), radii=[1.0])
    assert (result.rows[0].certificate, result.rows[0].certificate_method) == (math.inf, "none")


@pytest.mark.parametrize("loss", ["dlr", "truncated-dlr"])
def test_the_ceiling_bounds_the_ratio_of_three_classes(loss):
    problem = random_problem(network=random_network(0, (1, 3, 3)), loss=loss, support=BOX)
    found = certify(problem, radius=0.5)
    assert (found.method, found.value) == ("ceiling", 1.0)
    assert 0.5 < wv.solve(problem, radius=0.5, tolerance=1e-3).lower <= 1.0 + 1e-9


# --- the slope and the verdict -------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
def test_a_limit_leaves_a_bracket_around_the_slope(norm):
    for seed in range(2):
        problem = random_problem(seed, norm=norm)
        truth = asymptotic_slope(problem)
        assert truth.stopped is None
        for limits in (wv.Limits(seconds=0.0), wv.Limits(cells=3), wv.Limits(cells=10)):
            early = asymptotic_slope(problem, limits=limits)
            assert early.stopped is not None or early.upper == truth.upper
            assert early.lower <= truth.upper + 1e-12
            assert early.upper >= truth.lower
            assert early.upper <= constants_of(certificates(problem))["layer-product"] * (1 + 1e-9)


@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
def test_the_witness_shows_its_slope_in_a_cell_of_the_network_itself(norm):
    shown = 0
    for seed in range(6):
        problem = random_problem(seed, norm=norm)
        found, network = asymptotic_slope(problem), problem.network
        if found.pattern is None:
            assert found.lower == 0
            continue
        logits = network.affine_maps(found.pattern)[1]
        slope = (logits.matrix[found.target] - logits.matrix[found.label]) @ found.direction
        assert slope == pytest.approx(found.lower, rel=1e-9)
        cells = wv.enumerate_cells(network)
        at = cells.find(found.pattern)
        assert at is not None
        G, _ = cells[at].half_spaces
        assert np.all(G @ found.direction <= 1e-9)
        far = cells[at].interior + np.array([1e5, 2e5])[:, None] * found.direction
        margin = network.logits(far) @ np.eye(3)
        growth = np.delete(margin, found.label, axis=1).max(axis=1) - margin[:, found.label]
        assert (growth[1] - growth[0]) / 1e5 == pytest.approx(found.lower, rel=1e-6)
        shown += 1
    assert shown >= 4


def test_the_verdict_names_its_witness_and_is_open_where_a_limit_says_so():
    tight = wv.sandwich(wv.load_problem(PROBLEMS / "tight"), radii=[1.0]).verdict
    assert tight.tight is True
    assert "along" in tight.describe()
    problem = random_problem(1)
    found = certificates(problem, cells=wv.enumerate_cells(problem.network))
    assert tightness(asymptotic_slope(problem), found).tight is False
    early = asymptotic_slope(problem, limits=wv.Limits(seconds=0.0))
    verdict = tightness(early, found)
    assert verdict.tight is None
    assert "open" in verdict.describe()
    moved = random_problem(1, label_cost=0.5)
    found = certificates(moved, cells=wv.enumerate_cells(moved.network))
    assert tightness(asymptotic_slope(moved), found).tight is None
    assert tightness(None, found) is None
    assert tightness(early, found[2:]) is None


def test_a_tight_verdict_means_that_the_value_is_the_line():
    seen = {True: 0, False: 0}
    for seed in range(60):
        network = random_network(seed, (2, 3, 3))
        problem = random_problem(seed, network)
        cells = wv.enumerate_cells(network)
        verdict = tightness(asymptotic_slope(problem), certificates(problem, cells=cells))
        if seen[verdict.tight] >= 3:
            continue
        seen[verdict.tight] += 1
        value = wv.solve(problem, radius=50.0, cells=cells).upper
        line = problem.nominal + 50.0 * verdict.constant[1]
        if verdict.tight:
            assert value == pytest.approx(line, rel=1e-7)
        else:
            assert value < line - 1e-6
    assert seen == {True: 3, False: 3}


# --- strong duality ------------------------------------------------------------------------------


@pytest.mark.parametrize("support", [wv.Box(), BOX, wv.Box([-1.0, 0.2], [np.inf, 0.2])])
def test_strong_duality_is_above_the_exact_value_and_meets_it(support):
    network, met = affine(1), 0
    problem = random_problem(0, network, loss="cross-entropy", norm="l2", order=2)
    points = np.clip(problem.points, *support.bind(2).bounds)
    problem = problem.replace(points=points, support=support)
    bound = StrongDuality(problem, "strong-duality", smoothness(problem))
    for radius in (0.0, 0.1, 1.0):
        exact = wv.solve(problem, radius=radius, tolerance=1e-4)
        value = bound.bound(radius)
        assert exact.lower <= value + 1e-9
        met += value <= exact.upper + 1e-3
    assert met >= 2


def test_smoothness_bounds_every_second_difference_and_is_reached():
    network = wv.ReLUNetwork([[[1.0, 2.0], [-1.0, 0.5]]], [[0.0, 0.0]])
    problem = random_problem(0, network, loss="cross-entropy", norm="l2", order=2)
    beta, d = smoothness(problem), np.array([2.0, 1.5])
    assert beta == pytest.approx(0.25 * (d @ d), rel=1e-12)  # σ'' <= 1/4 along the difference
    rng, step = np.random.default_rng(0), 1e-3
    X, u = rng.normal(size=(4000, 2)), d / np.linalg.norm(d)
    X[0] = 0.0
    y = np.zeros(4000, dtype=int)
    f = [problem.evaluate(X + k * step * u, y) for k in (-1, 0, 1)]
    curvature = (f[0] - 2 * f[1] + f[2]) / step**2
    assert curvature.max() <= beta * (1 + 1e-6)
    assert curvature.max() >= 0.999 * beta


def test_inner_points_that_are_no_maximisers_are_made_up_for(monkeypatch):
    """Without a single step the bound is valid; points taken for maximisers would be wrong."""
    problem = random_problem(0, affine(1), loss="cross-entropy", norm="l2", order=2)
    monkeypatch.setattr(duality, "STEPS", 0)
    beta, lower = smoothness(problem), wv.solve(problem, radius=0.3, tolerance=1e-6).lower
    honest = StrongDuality(problem, "strong-duality", beta)
    believed = StrongDuality(problem, "strong-duality", -1e12)
    assert believed.dual(beta, 0.3) < lower <= honest.dual(beta, 0.3)


# --- estimates -----------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["margin", "hinge", "cross-entropy", "dlr", "truncated-dlr"])
def test_gradients_are_central_differences(loss):
    for seed in range(3):
        problem = random_problem(seed, loss=loss)
        found, step = input_gradients(problem), 1e-6
        for k, e in enumerate(np.eye(2)):
            f = [problem.evaluate(problem.points + s * step * e, problem.labels) for s in (1, -1)]
            np.testing.assert_allclose(found[:, k], (f[0] - f[1]) / (2 * step), atol=1e-5)


@pytest.mark.parametrize("order", [1, 2, "inf"])
def test_the_estimate_is_exact_for_an_affine_margin_and_no_bound_elsewhere(order):
    two = affine(0, classes=2)
    problem = random_problem(0, two, order=order)
    for radius in (0.0, 0.3):
        value = wv.solve(problem, radius=radius).upper
        assert first_order_estimate(problem, radius) == pytest.approx(value, abs=1e-9)
    sides = set()
    for seed in range(8):
        bent = random_problem(seed, order=order, support=BOX)
        exact = wv.solve(bent, radius=0.5)
        sides.add(bool(first_order_estimate(bent, 0.5) > exact.upper + 1e-6))
    assert sides == {True, False}


def test_an_estimate_never_enters_the_sandwich():
    result = wv.sandwich(random_problem(0, support=BOX), radii=[0.1])
    assert set(result.upper_bounds) == {"cell-lipschitz", "margin-lipschitz", "layer-product"}
    assert set(result.lower_bounds) == {"attack"}


def test_a_large_network_is_not_searched_unasked():
    rng = np.random.default_rng(0)
    network = wv.ReLUNetwork(
        [rng.normal(size=(300, 300)), rng.normal(size=(10, 300))], [np.zeros(300), np.zeros(10)]
    )
    problem = wv.Problem(network, np.zeros((1, 300)), [0])
    assert [c.method for c in certificates(problem)] == ["layer-product"]
    small = random_problem()
    assert cell_constants(wv.enumerate_cells(small.network), small.cost.norm).labels[1].max() <= (
        constants_of(certificates(small))["cell-lipschitz"] * (1 + 1e-9)
    )
