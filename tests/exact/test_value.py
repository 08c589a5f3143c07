"""Exact values: the worst case is what it claims, and what must not matter does not."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.transport import Distribution, move_lengths, wasserstein_cost

from wdaverify import (
    Box,
    Polytope,
    Problem,
    ReLUNetwork,
    TransportCost,
    enumerate_cells,
    load_problem,
    solve,
    value_curve,
)
from wdaverify.errors import ProblemError, SolverError, UnsupportedError
from wdaverify.exact.answer import ExactValue
from wdaverify.exact.value import ExactSolver
from wdaverify.limits import Limits

EXACT = 1e-7
ORDER = 1e-9
SPACES = ("box", "space", "half", "polytope", "wedge")
QUESTIONS = [
    ("margin", 1),
    ("hinge", 1),
    ("zero-one", 1),
    ("zero-one", 2),
    ("margin", math.inf),
    ("hinge", math.inf),
    ("zero-one", math.inf),
]
seeds = st.integers(min_value=0, max_value=10**6)
repeat = settings(derandomize=True, deadline=None, max_examples=12, database=None)


def random_network(rng, features):
    widths = [features, *rng.integers(1, 5, size=2).tolist(), int(rng.integers(2, 5))]
    shapes = zip(widths[1:], widths[:-1], strict=True)
    weights = [1.5 * rng.normal(size=shape) / math.sqrt(shape[1]) for shape in shapes]
    return ReLUNetwork(weights, [0.5 * rng.normal(size=width) for width in widths[1:]])


def random_support(rng, space, points):
    n = points.shape[1]
    if space == "box":
        return Box(-1.0, 1.0)
    if space == "space":
        return Box()
    if space == "half":
        return Box(np.where(np.arange(n) % 2, -np.inf, -1.0), np.inf)
    A = rng.normal(size=(3, n))
    b = (A @ points.T).max(axis=1) + rng.uniform(0, 0.2, size=3)
    if space == "wedge":
        return Polytope(A[:2], b[:2])
    return Polytope(np.vstack([A, np.eye(n), -np.eye(n)]), np.append(b, np.ones(2 * n)))


def random_problem(seed, loss="margin", order=1, space="box", norm=None):
    rng = np.random.default_rng(seed)
    n, count = int(rng.integers(1, 4)), int(rng.integers(1, 7))
    network, points = random_network(rng, n), rng.uniform(-1, 1, size=(count, n))
    labels = network.logits(points).argmax(axis=1)
    labels[rng.random(count) < 0.3] = 0
    weights = rng.integers(0, 4, size=count).astype(float)
    weights[0] += not weights.any()
    norm = norm or str(rng.choice(["l1", "linf"]))
    support = random_support(rng, space, points)
    cost = TransportCost(norm, order)
    return Problem(network, points, labels, loss=loss, cost=cost, support=support, weights=weights)


def solver(problem, **options):
    return ExactSolver(problem, enumerate_cells(problem.network, problem.support), **options)


def relu_line():
    return ReLUNetwork([[[1.0]], [[0.0], [1.0]]], [[0.0], [0.0, 0.0]])


def plain_losses(problem, points, labels):
    """Losses by a forward pass that shares nothing with the package."""
    h = points
    for k, (W, b) in enumerate(zip(problem.network.weights, problem.network.biases, strict=True)):
        h = h @ W.T + b
        h = np.maximum(h, 0.0) if k < len(problem.network.weights) - 1 else h
    rows = np.arange(len(h))
    own = h[rows, labels].copy()
    h[rows, labels] = -np.inf
    margin = h.max(axis=1) - own
    if problem.loss.name == "hinge":
        return np.maximum(0.0, 1.0 + margin)
    return (margin >= -1e-12).astype(float) if problem.loss.name == "zero-one" else margin


def exact_lengths(problem, worst):
    """Length of each move over the rationals."""
    for point, origin in zip(worst.points, problem.points[worst.origin], strict=True):
        pairs = zip(point.tolist(), origin.tolist(), strict=True)
        steps = [abs(Fraction(x) - Fraction(y)) for x, y in pairs]
        yield max(steps) if problem.cost.norm.name == "linf" else sum(steps)


def assert_feasible(problem, worst, radius):
    """Labels stay, each sample keeps its mass, no point leaves the support, the budget holds."""
    np.testing.assert_array_equal(worst.labels, problem.labels[worst.origin])
    assert np.all(worst.weights > 0)
    masses = np.bincount(worst.origin, weights=worst.weights, minlength=len(problem))
    np.testing.assert_allclose(
        masses, problem.weights / problem.weights.sum(), rtol=1e-14, atol=1e-15
    )
    A, b = problem.support.rows
    size = np.abs(worst.points) @ np.abs(A).T + np.abs(b)
    assert np.all(worst.points @ A.T - b <= 1e-14 * size)
    lengths = list(exact_lengths(problem, worst))
    if math.isinf(problem.cost.order):
        assert max(lengths) <= Fraction(radius)
        return
    order = int(problem.cost.order)
    weights = [Fraction(w) for w in worst.weights.tolist()]
    spent = sum(w * length**order for w, length in zip(weights, lengths, strict=True))
    assert spent <= Fraction(radius) ** order


def assert_close(first, second, tolerance=EXACT):
    """Both brackets are exact and say the same."""
    scale = max(1.0, abs(first.lower), abs(second.lower))
    for one, other in itertools.product((first.lower, first.upper), (second.lower, second.upper)):
        assert abs(one - other) <= tolerance * scale


# --- the worst case ----------------------------------------------------------------------------


@pytest.mark.parametrize(("loss", "order"), QUESTIONS)
@pytest.mark.parametrize("space", SPACES)
def test_worst_case_is_feasible_and_reevaluates_to_the_lower_value(loss, order, space):
    for seed in range(5):
        problem = random_problem(seed, loss, order, space)
        exact = solver(problem)
        for radius in (0.0, 0.05, 0.4, 1.7):
            found = exact.solve(radius)
            worst, scale = found.worst_case, max(1.0, abs(found.lower))
            assert_feasible(problem, worst, radius)
            risk = worst.weights @ plain_losses(problem, worst.points, worst.labels)
            assert found.lower == pytest.approx(risk, abs=1e-11 * scale)
            assert found.lower <= found.upper + ORDER * scale
            assert found.gap <= EXACT * scale
            assert found.status == "exact"


@pytest.mark.parametrize("loss", ["margin", "hinge", "zero-one"])
def test_pot_confirms_the_wasserstein_distance(loss):
    for seed in range(4):
        problem = random_problem(100 + seed, loss, 1, "box")
        mu = problem.weights / problem.weights.sum()
        data = Distribution(problem.points, problem.labels, mu)
        exact = solver(problem)
        for radius in (0.1, 0.6):
            worst = exact.solve(radius).worst_case
            atoms = Distribution(worst.points, worst.labels, worst.weights)
            norm = problem.cost.norm.name
            assert wasserstein_cost(data, atoms, norm=norm, order=1) <= radius * (1 + 1e-9)
            lengths = move_lengths(data, atoms, worst.origin, norm=norm)
            assert worst.weights @ lengths <= radius * (1 + 1e-12)


@pytest.mark.parametrize(("loss", "order"), QUESTIONS)
def test_one_atom_more_than_samples_suffices(loss, order):
    split = 0
    for seed in range(6):
        problem = random_problem(200 + seed, loss, order, "box")
        exact = solver(problem)
        for radius in (0.05, 0.3):
            worst = exact.solve(radius).worst_case
            active = np.count_nonzero(problem.weights)
            assert active <= len(worst.points) <= active + (order < math.inf)
            split += len(worst.points) - active
    assert split > 0 or math.isinf(order)


def test_on_corners_of_the_curve_the_budget_still_holds_exactly():
    """At a corner nothing is split, so there is no split to shrink."""
    for seed in range(6):
        for loss, space in (("margin", "box"), ("zero-one", "box"), ("hinge", "polytope")):
            problem = random_problem(300 + seed, loss, 1, space)
            exact = solver(problem)
            exact.solve(0.5)
            corners = exact.atoms.merge().budgets
            for radius in corners[np.isfinite(corners)][:8].tolist():
                assert_feasible(problem, exact.solve(radius).worst_case, radius)


def test_a_supremum_that_escapes_is_approached_by_a_feasible_distribution():
    line = Problem(relu_line(), [[-1.0], [-3.0]], [0, 0], weights=[1.0, 2.0])
    for radius in (0.01, 1.0, 50.0):
        found = solve(line, radius=radius)
        assert found.upper == pytest.approx(radius, rel=1e-9)
        assert radius * (1 - 1e-7) <= found.lower <= radius
        assert found.attained is False
        assert_feasible(line, found.worst_case, radius)


def test_a_supremum_that_is_reached_before_the_ray_is_attained():
    """Margin x of a sample at 0 on the whole line: every unit of budget gains 1, at once."""
    affine = ReLUNetwork([[[0.0], [1.0]]], [[0.0, 0.0]])
    found = solve(Problem(affine, [[0.0]], [0]), radius=1.0)
    assert found.lower == pytest.approx(1.0, abs=EXACT)
    assert found.attained is True


def test_an_affine_margin_attains_its_supremum_at_every_radius():
    for seed in range(40):
        rng = np.random.default_rng(seed)
        size = 10.0 ** rng.integers(-3, 2)
        affine = ReLUNetwork([size * rng.normal(size=(2, 2))], [rng.normal(size=2)])
        problem = Problem(affine, rng.normal(size=(1, 2)), [0])
        for radius in (0.01, 0.1, 1.0):
            found = solve(problem, radius=radius)
            expected = problem.nominal + radius * np.abs(np.diff(affine.weights[0], axis=0)).sum()
            assert found.upper == pytest.approx(expected, rel=1e-9)
            assert found.attained is True, (seed, radius)


def test_a_supremum_that_is_reached_while_a_ray_is_as_steep_is_attained():
    """Loss ``min(1, max(0, −x)) + max(0, x − 1)`` at 0: to the left 1 is gained at once."""
    hidden = ReLUNetwork(
        [[[-1.0], [-1.0], [1.0]], [[0.0, 0.0, 0.0], [1.0, -1.0, 1.0]]],
        [[0.0, -1.0, -1.0], [0.0, 0.0]],
    )
    for radius, attained in ((0.5, True), (0.875, True), (2.0, False)):
        found = solve(Problem(hidden, [[0.0]], [0]), radius=radius)
        assert found.upper == pytest.approx(radius, rel=1e-9)
        assert found.attained is attained, radius


# --- vertices of a polytope that floating point places outside of it ---------------------------


@pytest.mark.parametrize("norm", ["l1", "linf"])
def test_worst_points_on_vertices_of_a_polytope_are_not_lost(norm):
    """At a large radius everything sits at vertices, which no float64 point hits exactly."""
    for seed in range(12):
        rng = np.random.default_rng(seed)
        n = 3 + seed % 2
        network = random_network(rng, n)
        points = rng.uniform(-1, 1, size=(5, n))
        A = rng.normal(size=(6, n))
        b = (A @ points.T).max(axis=1) + 0.1
        support = Polytope(np.vstack([A, np.eye(n), -np.eye(n)]), np.append(b, np.full(2 * n, 1.3)))
        labels = rng.integers(0, network.classes, size=5)
        cost = TransportCost(norm)
        problem = Problem(network, points, labels, cost=cost, support=support)
        exact = solver(problem)
        for radius in (7.0, 0.3):
            found = exact.solve(radius)
            assert found.status == "exact", f"seed {seed}: {found.lower} {found.upper}"
            assert_feasible(problem, found.worst_case, radius)


@pytest.mark.parametrize(("seed", "space"), [(711, "half"), (739, "space"), (812, "wedge")])
def test_error_sets_of_unbounded_cells_far_from_the_origin_are_searched(seed, space):
    problem = random_problem(seed, "zero-one", 1, space)
    found = solve(problem, radius=0.3)
    assert found.status == "exact"
    assert_feasible(problem, found.worst_case, 0.3)


# --- the value as a function of the radius -----------------------------------------------------


@pytest.mark.parametrize(("loss", "order"), QUESTIONS)
@pytest.mark.parametrize("space", SPACES)
def test_radius_zero_gives_the_nominal_risk(loss, order, space):
    for seed in range(4):
        problem = random_problem(400 + seed, loss, order, space)
        mu = problem.weights / problem.weights.sum()
        nominal = mu @ plain_losses(problem, problem.points, problem.labels)
        found = solve(problem, radius=0.0)
        assert found.lower == pytest.approx(nominal, abs=1e-12)
        assert found.upper == pytest.approx(nominal, abs=1e-12)


@pytest.mark.parametrize(("loss", "order"), QUESTIONS)
@repeat
@given(seed=seeds, space=st.sampled_from(SPACES))
def test_monotone_in_the_radius_and_concave_in_the_budget(loss, order, seed, space):
    problem = random_problem(seed, loss, order, space)
    exact = solver(problem)
    finite = problem.cost.finite
    budgets = np.array([0.0, 0.05, 0.1, 0.3, 0.5, 1.0, 1.5])
    radii = budgets ** (1 / order) if finite else budgets
    found = [exact.solve(float(radius)) for radius in radii]
    lower, upper = np.array([(v.lower, v.upper) for v in found]).T
    room = EXACT * max(1.0, np.abs(upper).max())
    assert np.all(lower[:-1] <= upper[1:] + room)
    assert np.all(upper - lower <= room)
    if finite:
        slopes = np.diff(upper) / np.diff(budgets)
        assert np.all(slopes[1:] <= slopes[:-1] + 2 * room / 0.05)


@pytest.mark.parametrize("loss", ["margin", "hinge", "zero-one"])
@pytest.mark.parametrize("where", ["at zero", "inside", "at corners"])
def test_the_multiplier_is_the_right_hand_slope(loss, where):
    checked = 0
    for seed, space in itertools.product(range(4), ("box", "space", "half")):
        problem = random_problem(seed, loss, 1, space)
        cells = enumerate_cells(problem.network, problem.support)
        curve = value_curve(problem, cells=cells, tolerance=1e-9)
        corners = curve.radius
        places = {
            "at zero": [0.0],
            "inside": np.random.default_rng(seed).uniform(0.0, 1.5, size=3).tolist(),
            "at corners": corners[corners > 1e-2][:3].tolist(),
        }
        for radius in places[where]:
            beyond = corners[corners > radius + 1e-6]
            width = float(beyond[0]) - radius if len(beyond) else 1.0
            near = np.any(np.abs(corners - radius) < 1e-6)
            if width < 1e-2 or (where == "inside" and near):
                continue
            found = solve(problem, radius=radius, cells=cells)
            right = (curve(radius + width)[0] - curve(radius)[0]) / width
            if where == "at corners":  # the float64 corner may lie a hair before the true one
                left = (curve(radius)[1] - curve(radius - 1e-3)[0]) / 1e-3
                assert right - 1e-5 <= found.multiplier <= left + 1e-5, (seed, space)
            else:
                assert found.multiplier == pytest.approx(right, rel=1e-5, abs=1e-5), (seed, space)
            checked += 1
    assert checked >= 5


@pytest.mark.parametrize("loss", ["margin", "hinge", "zero-one"])
def test_order_infinity_is_the_same_in_every_order_of_radii(loss):
    """What a small radius finds must serve a larger one, with its points."""
    for seed, space in itertools.product(range(4), ("box", "half", "polytope")):
        problem = random_problem(500 + seed, loss, math.inf, space)
        cells = enumerate_cells(problem.network, problem.support)
        radii = [0.05, 0.1, 0.25, 0.5, 1.0, 2.0]
        fresh = [ExactSolver(problem, cells).solve(radius) for radius in radii]
        for sequence in (range(6), reversed(range(6))):
            exact = ExactSolver(problem, cells)
            for k in sequence:
                assert_close(exact.solve(radii[k]), fresh[k])


# --- what must not matter ----------------------------------------------------------------------


def permuted_neurons(network, rng):
    weights, biases = [W.copy() for W in network.weights], [b.copy() for b in network.biases]
    for layer in range(len(weights) - 1):
        order = rng.permutation(len(biases[layer]))
        weights[layer], biases[layer] = weights[layer][order], biases[layer][order]
        weights[layer + 1] = weights[layer + 1][:, order]
    return ReLUNetwork(weights, biases)


def rescaled_neurons(network, rng):
    weights, biases = [W.copy() for W in network.weights], [b.copy() for b in network.biases]
    for layer in range(len(weights) - 1):
        factors = 2.0 ** rng.integers(-4, 5, size=len(biases[layer]))
        weights[layer], biases[layer] = factors[:, None] * weights[layer], factors * biases[layer]
        weights[layer + 1] = weights[layer + 1] / factors
    return ReLUNetwork(weights, biases)


def shuffled_samples(problem, rng):
    order = rng.permutation(len(problem))
    arrays = {key: getattr(problem, key)[order] for key in ("points", "labels", "weights")}
    return problem.replace(**arrays)


def split_sample(problem, rng):
    """One sample twice, with a third and two thirds of its weight."""
    k = int(rng.integers(len(problem)))
    weights = np.append(3 * problem.weights, problem.weights[k])
    weights[k] *= 2 / 3
    return problem.replace(
        points=np.vstack([problem.points, problem.points[k]]),
        labels=np.append(problem.labels, problem.labels[k]),
        weights=weights,
    )


def without_weightless(problem, rng):
    there = problem.weights > 0
    arrays = {key: getattr(problem, key)[there] for key in ("points", "labels", "weights")}
    return problem.replace(**arrays)


CHANGES = {
    "neurons permuted": lambda p, rng: p.replace(network=permuted_neurons(p.network, rng)),
    "neurons rescaled": lambda p, rng: p.replace(network=rescaled_neurons(p.network, rng)),
    "samples shuffled": shuffled_samples,
    "a sample split": split_sample,
    "weightless samples dropped": without_weightless,
    "weights scaled": lambda p, _: p.replace(weights=p.weights * 0.375),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(("loss", "order"), QUESTIONS)
@settings(repeat, max_examples=2)
@given(seed=seeds, space=st.sampled_from(SPACES))
def test_equivalent_problems_have_the_same_value(loss, order, change, seed, space):
    problem = random_problem(seed, loss, order, space)
    other = CHANGES[change](problem, np.random.default_rng(seed))
    radii = (0.07, 0.6)
    for radius in radii:
        assert_close(solve(problem, radius=radius), solve(other, radius=radius))


def scaled_logits(network, factor):
    *hidden, last = network.weights
    *inner, bias = network.biases
    return ReLUNetwork([*hidden, factor * last], [*inner, factor * bias], network.slopes)


@pytest.mark.parametrize("factor", [2.0**-12, 2.0**12])
@pytest.mark.parametrize("space", SPACES)
def test_the_value_scales_with_the_logits(factor, space):
    for seed in (6, 50, 204):
        problem = random_problem(seed, "margin", 1, space)
        other = problem.replace(network=scaled_logits(problem.network, factor))
        first, second = solve(problem, radius=0.3), solve(other, radius=0.3)
        assert second.status == "exact"
        room = EXACT * max(1.0, factor, factor * abs(first.lower))
        assert second.lower == pytest.approx(factor * first.lower, abs=room)
        assert second.upper == pytest.approx(factor * first.upper, abs=room)


@pytest.mark.parametrize("factor", [2.0**-8, 2.0**8])
@pytest.mark.parametrize(("loss", "order"), QUESTIONS)
@pytest.mark.parametrize("space", ["box", "space", "half"])
def test_the_unit_of_the_inputs_does_not_matter(factor, loss, order, space):
    """Pixels from 0 to 255 instead of from 0 to 1."""
    for seed in (700, 701):
        problem = random_problem(seed, loss, order, space)
        first, *others = problem.network.weights
        other = problem.replace(
            network=ReLUNetwork([first / factor, *others], problem.network.biases),
            points=factor * problem.points,
            support=Box(factor * problem.support.lower, factor * problem.support.upper),
        )
        assert_close(solve(problem, radius=0.3), solve(other, radius=factor * 0.3))


def test_a_problem_that_is_not_equivalent_is_told_apart():
    problem = random_problem(1)
    heavier = problem.replace(weights=problem.weights + 0.01 * np.arange(len(problem)))
    with pytest.raises(AssertionError):
        assert_close(solve(problem, radius=0.3), solve(heavier, radius=0.3))


# --- limits and tolerance ----------------------------------------------------------------------


def assert_valid(found, truth):
    scale = max(1.0, abs(truth.lower))
    assert found.lower <= truth.upper + ORDER * scale
    assert found.upper >= truth.lower - ORDER * scale


@pytest.mark.parametrize(("loss", "order"), QUESTIONS)
def test_no_time_at_all_leaves_a_valid_bracket(loss, order):
    problem = random_problem(5, loss, order, "box")
    cells = enumerate_cells(problem.network, problem.support)
    truth = solve(problem, radius=0.3, cells=cells)
    found = solve(problem, radius=0.3, cells=cells, limits=Limits(seconds=0))
    assert_valid(found, truth)
    assert found.gap > EXACT
    assert found.status == "bracket"
    assert found.attained is None
    assert_feasible(problem, found.worst_case, 0.3)


@pytest.mark.parametrize("loss", ["margin", "hinge"])
@pytest.mark.parametrize("space", ["box", "space"])
def test_stopped_after_any_number_of_rounds_the_bracket_is_valid_and_shrinks(loss, space):
    problem = random_problem(11, loss, 1, space)
    cells = enumerate_cells(problem.network, problem.support)
    truth, gaps = solve(problem, radius=0.2, cells=cells), []
    for rounds in range(1, 8):
        limits, calls = Limits(), itertools.count(1)

        def stop(*_, limits=limits, calls=calls, rounds=rounds):
            if next(calls) >= rounds:
                limits.stop.set()

        found = solve(problem, radius=0.2, cells=cells, limits=limits, progress=stop)
        assert_valid(found, truth)
        assert_feasible(problem, found.worst_case, 0.2)
        gaps.append(found.gap)
    assert gaps[0] > EXACT
    assert np.all(np.diff(gaps) <= ORDER)
    assert gaps[-1] <= EXACT


@pytest.mark.parametrize("tolerance", [0.5, 1e-3, 1e-7, 1e-12])
def test_the_tolerance_decides_how_long_and_what_exact_means(tolerance):
    problem = random_problem(8, "margin", 1, "box")
    truth = solve(problem, radius=0.3)
    exact = solver(problem, tolerance=tolerance)
    found = exact.solve(0.3)
    scale = max(1.0, abs(found.lower), abs(found.upper))
    assert_valid(found, truth)
    assert (found.status == "exact") == (found.gap <= tolerance * scale)
    assert found.status == "exact"
    loose = solver(problem, tolerance=0.5)
    loose.solve(0.3)
    assert loose.counts.programs <= exact.counts.programs


def test_status_is_judged_at_the_scale_of_the_value():
    def value(lower, upper, tolerance):
        return ExactValue(1.0, lower, upper, None, None, None, tolerance)

    assert value(1e6, 1e6 + 0.05, 1e-7).status == "exact"
    assert value(1e6, 1e6 + 0.2, 1e-7).status == "bracket"
    assert value(0.0, 5e-8, 1e-7).status == "exact"
    assert value(0.0, 5e-8, 1e-9).status == "bracket"


# --- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize("radius", [-0.1, math.inf, math.nan])
def test_radii_that_are_none_are_refused(radius):
    with pytest.raises(ProblemError, match="radius"):
        solve(Problem(relu_line(), [[-1.0]], [0]), radius=radius)


def test_engines_that_are_not_built_or_not_known_are_refused():
    problem = Problem(relu_line(), [[-1.0]], [0])
    with pytest.raises(UnsupportedError, match="search"):
        solve(problem, radius=0.1, engine="search")
    with pytest.raises(ProblemError, match="oracle"):
        solve(problem, radius=0.1, engine="oracle")


@pytest.mark.filterwarnings("ignore:(overflow|invalid value) encountered")
def test_bounds_that_contradict_each_other_are_an_error():
    """Weights below the range of float64's normal numbers defeat the scaling of programs."""
    problem = load_problem("problems/zero-one-label-move")
    tiny = ReLUNetwork([np.array([[0.0], [5e-324]])], [np.zeros(2)])
    with pytest.raises(SolverError, match="beyond float64's range"):
        solve(problem.replace(network=tiny), radius=0.5)
