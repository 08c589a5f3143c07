"""Degenerate networks and supports: the enumeration decides them as rational arithmetic does."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.cells import reference_patterns

from wdaverify.arrays import Floats
from wdaverify.cells.audit import check_cells_nonempty, check_interiors_disjoint
from wdaverify.cells.complex import CellComplex, enumerate_cells
from wdaverify.network import ReLUNetwork
from wdaverify.support import Box, Polytope, Support

Patterns = set[tuple[int, ...]]
Random = np.random.Generator
Layer = tuple[Floats, Floats]
"""Weights ``(out, in)`` and biases ``(out,)``, changed in place."""


# one kind of degeneracy each ---------------------------------------------------------------


def no_bias(layer: Layer, _: Random) -> None:
    layer[1][:] = 0.0


def eighths(layer: Layer, _: Random) -> None:
    for part in layer:
        part[...] = np.round(part * 8) / 8


def quarters(layer: Layer, _: Random) -> None:
    for part in layer:
        part[...] = np.round(part * 4) / 4


def pair(layer: Layer, rng: Random, factor: float) -> None:
    """Make one neuron a multiple of another."""
    i, j = rng.choice(len(layer[1]), size=2, replace=len(layer[1]) < 2)
    for part in layer:
        part[i] = factor * part[j]


def duplicated(layer: Layer, rng: Random) -> None:
    pair(layer, rng, 1.0)


def negated(layer: Layer, rng: Random) -> None:
    pair(layer, rng, -1.0)


def scaled(layer: Layer, rng: Random) -> None:
    pair(layer, rng, float(rng.choice([4.0, -0.5, 2.0**-20])))


def scaled_inexactly(layer: Layer, rng: Random) -> None:
    """A factor that rounds: hyperplanes that are parallel but for one ulp."""
    pair(layer, rng, float(rng.choice([3.0, 0.1, -0.7])))


def parallel(layer: Layer, rng: Random) -> None:
    pair(layer, rng, 1.0)
    layer[1][0] += 0.25


def constant(layer: Layer, rng: Random) -> None:
    """Zero weights, bias positive, negative or zero."""
    i = rng.integers(len(layer[1]))
    layer[0][i] = 0.0
    layer[1][i] = rng.choice([1.0, -1.0, 0.0])


def wall(layer: Layer, rng: Random) -> None:
    """The hyperplane ``x_k = ±1``."""
    i, k = rng.integers(len(layer[1])), rng.integers(layer[0].shape[1])
    layer[0][i] = 0.0
    layer[0][i, k] = rng.choice([1.0, -1.0])
    layer[1][i] = rng.choice([1.0, -1.0])


def corner(layer: Layer, rng: Random) -> None:
    """A hyperplane that touches the box at a vertex only."""
    i = rng.integers(len(layer[1]))
    layer[1][i] = -np.abs(layer[0][i]).sum()


def tiny_9(layer: Layer, rng: Random) -> None:
    i = rng.integers(len(layer[1]))
    for part in layer:
        part[i] *= 1e-9


def tiny_22(layer: Layer, rng: Random) -> None:
    i = rng.integers(len(layer[1]))
    for part in layer:
        part[i] *= 1e-22


def tiny_weights_only(layer: Layer, rng: Random) -> None:
    """The bias stays: the hyperplane lies 1e22 away."""
    layer[0][rng.integers(len(layer[1]))] *= 1e-22


def tiny_biases(layer: Layer, _: Random) -> None:
    layer[1][:] *= 1e-12


def float32(layer: Layer, _: Random) -> None:
    for part in layer:
        part[...] = part.astype(np.float32)


KINDS: dict[str, Callable[[Layer, Random], None]] = {
    kind.__name__: kind
    for kind in (
        no_bias,
        eighths,
        quarters,
        duplicated,
        negated,
        scaled,
        scaled_inexactly,
        parallel,
        constant,
        wall,
        corner,
        tiny_9,
        tiny_22,
        tiny_weights_only,
        tiny_biases,
        float32,
    )
}
SIZES = ((1, 4), (2, 4), (3, 3), (1, 3, 3), (2, 3, 3), (3, 3, 2))
SLOPES = {"relu": [0.0], "leaky": [0.1, 0.5], "pass": [0.0, 1.0]}


def degenerate(
    kinds: list[str], seed: int, sizes: tuple[int, ...], slope: str = "relu"
) -> ReLUNetwork:
    rng = np.random.default_rng(seed)
    sizes = (*sizes, 2)
    shapes = zip(sizes[1:], sizes[:-1], strict=True)
    layers = [(rng.normal(size=shape), rng.normal(size=shape[0])) for shape in shapes]
    for kind in kinds:
        for layer in layers[:-1]:
            KINDS[kind](layer, rng)
    slopes = [rng.choice(SLOPES[slope], size=size) for size in sizes[1:-1]]
    return ReLUNetwork([W for W, _ in layers], [b for _, b in layers], slopes)


BOXES = {"space": Box(), "box": Box(-1.0, 1.0), "orthant": Box(0.0, np.inf)}
SUPPORTS = (*BOXES, "simplex")


def support_named(name: str, n: int) -> Support:
    simplex = Polytope(np.vstack([-np.eye(n), np.ones(n)]), np.ones(n + 1))
    return BOXES.get(name, simplex)


def splitting(patterns: Patterns, network: ReLUNetwork) -> Patterns:
    """Patterns without the neurons of slope 1: on either side of them the map is the same."""
    keep = np.flatnonzero(~network.linear).tolist()
    return {tuple(pattern[k] for k in keep) for pattern in patterns}


def found(cells: CellComplex) -> Patterns:
    patterns = {tuple(map(int, cell.pattern)) for cell in cells}
    assert len(patterns) == len(cells)
    return splitting(patterns, cells.network)


def expected(network: ReLUNetwork, support: Support) -> Patterns:
    A, b = support.bind(network.features).rows
    W, v = network.weights, network.biases
    patterns = reference_patterns(W, v, -np.inf, np.inf, A, b, slopes=network.slopes)
    return splitting(patterns, network)


def agrees(network: ReLUNetwork, support: Support) -> bool:
    cells = enumerate_cells(network, support)
    check_interiors_disjoint(cells)
    check_cells_nonempty(cells)
    return found(cells) == expected(network, support)


# the sets of patterns ----------------------------------------------------------------------


@pytest.mark.parametrize("support", SUPPORTS)
@pytest.mark.parametrize("kind", list(KINDS))
@given(seed=st.integers(0, 10**6), sizes=st.sampled_from(SIZES))
@settings(deadline=None, max_examples=6, derandomize=True)
def test_one_degeneracy(kind, support, seed, sizes):
    network, where = degenerate([kind], seed, sizes), support_named(support, sizes[0])
    assert found(enumerate_cells(network, where)) == expected(network, where)


@pytest.mark.parametrize("support", SUPPORTS)
@pytest.mark.parametrize("slope", ["leaky", "pass"])
@given(
    kinds=st.lists(st.sampled_from(["no_bias", "quarters", "duplicated", "constant"]), max_size=2),
    data=st.data(),
)
@settings(deadline=None, max_examples=12, derandomize=True)
def test_other_slopes(support, slope, kinds, data):
    sizes, seed = data.draw(st.sampled_from(SIZES)), data.draw(st.integers(0, 10**6))
    network, where = degenerate(kinds, seed, sizes, slope), support_named(support, sizes[0])
    assert found(enumerate_cells(network, where)) == expected(network, where)


@pytest.mark.parametrize("support", ["box", "simplex"])
@given(
    kinds=st.lists(st.sampled_from(list(KINDS)), min_size=2, max_size=4, unique=True),
    seed=st.integers(0, 10**6),
    sizes=st.sampled_from(SIZES),
    slope=st.sampled_from(list(SLOPES)),
)
@settings(deadline=None, max_examples=60, derandomize=True)
def test_combined_degeneracies_on_a_bounded_support(support, kinds, seed, sizes, slope):
    network, where = degenerate(kinds, seed, sizes, slope), support_named(support, sizes[0])
    assert found(enumerate_cells(network, where)) == expected(network, where)


FAR = {"scaled_inexactly", "tiny_weights_only", "tiny_9", "tiny_22"}
"""Kinds that make cells very far from the origin, where the support reaches that far."""
NEAR = [kind for kind in KINDS if kind not in FAR]


@pytest.mark.parametrize("support", ["space", "orthant"])
@pytest.mark.parametrize("choice", [NEAR, list(KINDS)], ids=["near", "every"])
@given(
    data=st.data(),
    seed=st.integers(0, 10**6),
    sizes=st.sampled_from(SIZES),
    slope=st.sampled_from(list(SLOPES)),
)
@settings(deadline=None, max_examples=40, derandomize=True)
def test_combined_degeneracies_on_an_unbounded_support(choice, support, data, seed, sizes, slope):
    kinds = data.draw(st.lists(st.sampled_from(choice), min_size=2, max_size=4, unique=True))
    network, where = degenerate(kinds, seed, sizes, slope), support_named(support, sizes[0])
    assert found(enumerate_cells(network, where)) == expected(network, where)


@given(
    kinds=st.lists(st.sampled_from(NEAR), min_size=1, max_size=3, unique=True),
    seed=st.integers(0, 10**6),
    sizes=st.sampled_from(SIZES),
)
@settings(deadline=None, max_examples=40, derandomize=True)
def test_cells_are_nonempty_and_disjoint(kinds, seed, sizes):
    cells = enumerate_cells(degenerate(kinds, seed, sizes), Box(-1.0, 1.0))
    check_cells_nonempty(cells)
    check_interiors_disjoint(cells)


@given(
    kinds=st.lists(st.sampled_from(list(KINDS)), min_size=1, max_size=3, unique=True),
    seed=st.integers(0, 10**6),
    sizes=st.sampled_from(SIZES),
)
@settings(deadline=None, max_examples=60, derandomize=True)
def test_the_pattern_of_every_random_point_is_found(kinds, seed, sizes):
    network = degenerate(kinds, seed, sizes)
    points = np.random.default_rng(seed).uniform(-1, 1, size=(100, sizes[0]))
    errors = np.concatenate([*network.rounding_errors(points)[:-1]], axis=1)
    certain = np.all(np.abs(network.preactivations(points)) > errors, axis=1)
    assert None not in enumerate_cells(network, Box(-1.0, 1.0)).locate(points[certain])


# small cases that a reader can check -------------------------------------------------------


def one_layer(W: list[list[float]], b: list[float]) -> ReLUNetwork:
    return ReLUNetwork([W, np.ones((2, len(b)))], [b, [0.0, 0.0]])


def patterns(network: ReLUNetwork, support: Support | None = None) -> Patterns:
    return found(enumerate_cells(network, support))


@pytest.mark.parametrize(
    ("bias", "pattern"), [(1.0, (1,)), (-1.0, (0,)), (0.0, (0,)), (1e-300, (1,))]
)
def test_a_neuron_of_zero_weight_is_decided_by_its_bias(bias, pattern):
    assert patterns(one_layer([[0.0, 0.0]], [bias])) == {pattern}


@pytest.mark.parametrize(
    ("row", "pattern"),
    [
        ([1.0, 0.0, -1.0], (0,)),
        ([1.0, 0.0, 1.0], (1,)),
        ([1.0, 1.0, 2.0], (1,)),
        ([1.0, 1.0, -2.0], (0,)),
    ],
)
def test_a_hyperplane_on_the_boundary_of_the_box_does_not_split(row, pattern):
    assert patterns(one_layer([row[:2]], [row[2]]), Box(-1.0, 1.0)) == {pattern}


@pytest.mark.parametrize("move", [2.0**-40, 2.0**-52])
def test_a_hyperplane_just_inside_the_wall_splits(move):
    network = one_layer([[1.0, 0.0]], [-1.0 + move])
    assert patterns(network, Box(-1.0, 1.0)) == {(0,), (1,)}


def test_duplicates_are_on_together_and_opposites_never():
    network = one_layer([[1.0, 2.0], [1.0, 2.0], [-1.0, -2.0]], [0.3, 0.3, -0.3])
    assert patterns(network) == {(1, 1, 0), (0, 0, 1)}


def test_lines_through_one_point():
    network = one_layer([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], [0.0, 0.0, 0.0])
    assert len(patterns(network)) == 6
    moved = one_layer([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], [0.0, 0.0, 1e-15])
    assert len(patterns(moved)) == 7


def test_a_dead_layer_leaves_one_cell_per_later_sign():
    """All first neurons off: the second layer is constant there, zero counting as off."""
    network = ReLUNetwork(
        [np.zeros((2, 2)), [[1.0, 1.0], [1.0, -1.0], [1.0, 0.0]], np.ones((2, 3))],
        [[-1.0, -1.0], [0.5, 0.0, -0.5], [0.0, 0.0]],
    )
    assert patterns(network) == {(0, 0, 1, 0, 0)}


def test_a_layer_that_cancels_to_zero_is_off():
    """``0.1 relu(x) + 0.2 relu(x) − 0.3 relu(x)`` is a nonzero multiple of relu(x) in float64."""
    network = ReLUNetwork(
        [[[1.0], [1.0], [1.0]], [[0.1, 0.2, -0.1 - 0.2]], np.ones((2, 1))],
        [[0.0, 0.0, 0.0], [0.0], [0.0, 0.0]],
    )
    assert patterns(network) == expected(network, Box())


@pytest.mark.parametrize("size", [1e-5, 1e-8, 1e-12])
def test_cells_smaller_than_any_tolerance_are_found(size):
    """A triangle of the given size around the origin, cut off by three lines."""
    network = one_layer([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]], [size, size, size])
    assert len(patterns(network)) == 7
    assert (1, 1, 1) in patterns(network)


@pytest.mark.parametrize("width", [1e-6, 1e-8, 1e-9, 1e-12, 1e-15])
def test_the_interior_point_of_a_thin_strip_is_inside(width):
    """``−width < x < 0``: float64 has plenty of room there."""
    cells = enumerate_cells(one_layer([[1.0, 0.0], [1.0, 0.0]], [0.0, width]), Box(-1.0, 1.0))
    strip = cells[cells.find(np.array([False, True]))]
    assert -width < strip.interior[0] < 0


@pytest.mark.parametrize("size", [1e-6, 1e-9, 1e-12])
def test_a_support_smaller_than_any_tolerance(size):
    network = one_layer([[1.0, 0.0], [0.0, 1.0]], [-0.5, -0.25 - size / 2])
    box = Box([0.5 - size, 0.25], [0.5 + size, 0.25 + size])
    assert patterns(network, box) == {(0, 0), (0, 1), (1, 0), (1, 1)}


@pytest.mark.parametrize("tilt", [1e-4, 1e-6, 1e-8, 1e-10, 1e-13, 1e-22])
def test_nearly_parallel_lines_meet_far_away(tilt):
    """``y = 0`` and ``y + tilt·x = 1`` meet at x = 1/tilt: always four cells."""
    network = one_layer([[0.0, 1.0], [tilt, 1.0]], [0.0, -1.0])
    assert patterns(network) == {(0, 0), (0, 1), (1, 0), (1, 1)}


@pytest.mark.parametrize(
    ("reach", "tilt"), [(1.0, 1e-3), (1e2, 1e-8), (1e3, 5e-8), (1e6, 1e-9), (1e6, 9e-8)]
)
def test_nearly_parallel_lines_meet_within_a_large_box(reach, tilt):
    """The same with ``|x|, |y| <= reach``: they meet in the middle of the right half."""
    network = one_layer([[0.0, 1.0], [tilt, 1.0]], [0.0, -tilt * reach / 2])
    assert patterns(network, Box(-reach, reach)) == {(0, 0), (0, 1), (1, 0), (1, 1)}


@pytest.mark.parametrize("n", [3, 5, 10, 50])
def test_nearly_parallel_hyperplanes_meet_within_the_unit_box(n):
    """Many small coefficients add up: each below, together far above the solver's tolerance."""
    tilt = np.full(n - 1, 9e-8)
    rows = np.vstack([np.append(0 * tilt, 1.0), np.append(tilt, 1.0)])
    network = one_layer(rows.tolist(), [0.0, -0.75 * tilt.sum()])
    assert patterns(network, Box(-1.0, 1.0)) == {(0, 0), (0, 1), (1, 0), (1, 1)}


@pytest.mark.parametrize("factor", [3.0, 0.1, -0.7])
def test_a_scaled_neuron_whose_factor_rounds_is_nearly_parallel(factor):
    row = np.array([0.1257302210933933, -0.1321048632913019])
    network = one_layer([row.tolist(), (factor * row).tolist()], [0.6404226504432821, 0.2])
    assert patterns(network) == expected(network, Box())


@pytest.mark.parametrize("small", [1e-6, 1e-9, 1e-22])
def test_a_small_first_layer_neuron_makes_far_cells_in_the_second(small):
    """``h = (relu(x), relu(small·y))``: the second layer meets y of order 1/small."""
    network = ReLUNetwork(
        [[[1.0, 0.0], [0.0, small]], [[1.0, 1.0], [1.0, -1.0]], np.ones((2, 2))],
        [[0.0, 0.0], [-1.0, 0.5], [0.0, 0.0]],
    )
    assert patterns(network) == expected(network, Box())


@pytest.mark.parametrize("small", [1e-9, 1e-19, 1e-21, 1e-45])
@pytest.mark.parametrize("lower", [-np.inf, 0.0])
def test_breakpoints_far_out_on_the_line(small, lower):
    """``small·x − 1`` beside ``x − 2``: breakpoints 2 and 1/small, in either order."""
    for network in (
        one_layer([[small], [1.0]], [-1.0, -2.0]),
        one_layer([[1.0], [small]], [-2.0, -1.0]),
    ):
        swap = network.weights[0][0, 0] == 1.0
        cells = {(0, 0), (1, 0) if swap else (0, 1), (1, 1)}
        assert patterns(network, Box(lower, np.inf)) == cells


@pytest.mark.parametrize("small", [1e-45, 1e-150, 1e-170, 1e-300])
def test_a_row_whose_square_underflows_still_splits(small):
    network = one_layer([[small, 2 * small]], [small / 4])
    assert patterns(network, Box(-1.0, 1.0)) == {(0,), (1,)}


# supports without interior -----------------------------------------------------------------


def restricted(network: ReLUNetwork, origin: Floats, basis: Floats) -> ReLUNetwork:
    """The network on ``origin + basis u``; exact when these are integers and halves."""
    first, *rest = network.weights
    bias, *others = network.biases
    return ReLUNetwork([first @ basis, *rest], [first @ origin + bias, *others], network.slopes)


FIXED = Box([0.25, -1.0, -1.0], [0.25, 1.0, 1.0])


@given(
    kinds=st.lists(st.sampled_from(["no_bias", "quarters", "constant", "wall"]), max_size=2),
    seed=st.integers(0, 10**6),
)
@settings(deadline=None, max_examples=20, derandomize=True)
def test_a_constant_feature_is_eliminated(kinds, seed):
    network = degenerate([*kinds, "eighths"], seed, (3, 4, 2))
    flat = restricted(network, np.array([0.25, 0.0, 0.0]), np.eye(3)[:, 1:])
    cells = enumerate_cells(network, FIXED)
    assert found(cells) == expected(flat, Box(-1.0, 1.0))
    assert all(cell.interior[0] == 0.25 for cell in cells)


@pytest.mark.parametrize("bounded", [True, False])
@given(seed=st.integers(0, 10**6))
@settings(deadline=None, max_examples=15, derandomize=True)
def test_an_equality_row_is_eliminated(bounded, seed):
    """``x = 2 y + 1/2``, within the box |x|, |y|, |z| <= 1 or not."""
    network = degenerate(["eighths"], seed, (3, 4, 2))
    basis = np.array([[2.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    origin = np.array([0.5, 0.0, 0.0])
    equality = np.array([[1.0, -2.0, 0.0], [-1.0, 2.0, 0.0]])
    walls = np.vstack([np.eye(3), -np.eye(3)])[: 6 if bounded else 0]
    rows, sides = np.vstack([equality, walls]), np.append([0.5, -0.5], np.ones(len(walls)))
    flat = Polytope(walls @ basis, np.ones(len(walls)) - walls @ origin)
    network_on_plane = restricted(network, origin, basis)
    cells = enumerate_cells(network, Polytope(rows, sides))
    assert found(cells) == expected(network_on_plane, flat)


@pytest.mark.parametrize(
    ("a", "b", "side"), [(3, 1, 1), (0.7, 0.1, 0.3), (0.6, 0.7, 0.123), (0.1, 0.3, 0.2)]
)
@pytest.mark.parametrize("shift", [0.0, 1e-3, -1e-3, 1e-15, -1e-15])
def test_a_neuron_parallel_to_an_equality_row_does_not_split(a, b, side, shift):
    """On ``a x + b y = side`` the neuron ``a x + b y − side + shift`` is the constant shift."""
    segment = Polytope([[a, b], [-a, -b], [1.0, 0.0], [-1.0, 0.0]], [side, -side, 1.0, 1.0])
    network = one_layer([[a, b], [1.0, 0.0]], [-side + shift, 0.25])
    on = int(-side + shift > -side)
    assert patterns(network, segment) == {(on, 0), (on, 1)}


@pytest.mark.parametrize(
    "support",
    [
        Box([0.5, -0.25], [0.5, -0.25]),
        Polytope([[1, 0], [-1, 0], [0, 1], [0, -1]], [0.5, -0.5, -0.25, 0.25]),
        Polytope([[1, 1], [-1, 0], [0, -1]], [0.25, -0.5, 0.25]),
    ],
)
def test_a_single_point_is_one_cell(support):
    network = one_layer([[1.0, 0.0], [0.0, 1.0], [1.0, 2.0]], [0.0, 0.0, 0.0])
    cells = enumerate_cells(network, support)
    assert found(cells) == {(1, 0, 0)}
    assert cells[0].interior.tolist() == [0.5, -0.25]
    assert cells.bounded.tolist() == [True]


# the comparison can fail -------------------------------------------------------------------


def test_every_kind_changes_the_network():
    for kind in KINDS:
        plain, changed = degenerate([], 5, (2, 4)), degenerate([kind], 5, (2, 4))
        assert plain.digest != changed.digest, kind


def test_a_float_pattern_differs_from_the_exact_one_somewhere():
    """Without exact decisions three lines through one point look like a small triangle."""
    rng = np.random.default_rng(0)
    rounded = 0
    for _ in range(20):
        W = rng.normal(size=(2, 2))
        through = one_layer([*W.tolist(), (W[0] + W[1]).tolist()], [0.1, 0.2, 0.1 + 0.2])
        rounded += len(expected(through, Box())) != 6
    assert rounded > 0


def test_agreement_is_refused_when_the_reference_answers_another_question():
    network = degenerate(["eighths"], 1, (2, 4))
    assert agrees(network, Box(-1.0, 1.0))
    assert found(enumerate_cells(network, Box(-1.0, 1.0))) != expected(network, Box())
