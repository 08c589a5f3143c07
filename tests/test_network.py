"""Networks against a forward pass in plain Python loops, and against exact rationals."""

from fractions import Fraction

import numpy as np
import pytest

from wdaverify.errors import ProblemError
from wdaverify.network import ReLUNetwork

SIZES = ((2, 3, 2), (3, 4, 3, 2), (1, 2, 2, 2, 3), (4, 2))


def random_network(sizes: tuple[int, ...], seed: int, slope: str = "relu") -> ReLUNetwork:
    rng = np.random.default_rng(seed)
    weights = [rng.normal(size=shape) for shape in zip(sizes[1:], sizes[:-1], strict=True)]
    biases = [rng.normal(size=size) for size in sizes[1:]]
    choices = {"relu": [0.0], "leaky": [0.1], "pass": [1.0], "mixed": [0.0, 0.25, 1.0]}[slope]
    slopes = [rng.choice(choices, size=size) for size in sizes[1:-1]]
    return ReLUNetwork(weights, biases, slopes)


def naive_layers(network: ReLUNetwork, point: list[Fraction] | list[float], number: type) -> list:
    """Values before each activation, in loops over ``number`` (float or Fraction)."""
    h, layers = list(point), []
    for k, (W, b) in enumerate(zip(network.weights, network.biases, strict=True)):
        z = []
        for row, offset in zip(W.tolist(), b.tolist(), strict=True):
            total = number(offset)
            for weight, value in zip(row, h, strict=True):
                total += number(weight) * value
            z.append(total)
        layers.append(z)
        if k < len(network.slopes):
            s = network.slopes[k].tolist()
            h = [v if v > 0 else number(c) * v for v, c in zip(z, s, strict=True)]
    return layers


def exact_layers(network: ReLUNetwork, point: np.ndarray) -> list[list[Fraction]]:
    return naive_layers(network, [Fraction(v) for v in point.tolist()], Fraction)


@pytest.mark.parametrize("slope", ["relu", "leaky", "pass", "mixed"])
@pytest.mark.parametrize("sizes", SIZES)
def test_logits_and_preactivations_equal_plain_loops(sizes, slope):
    network = random_network(sizes, seed=1, slope=slope)
    points = np.random.default_rng(2).normal(size=(7, sizes[0]))
    layers = [naive_layers(network, x, float) for x in points.tolist()]
    assert network.logits(points) == pytest.approx(np.array([z[-1] for z in layers]), abs=1e-12)
    hidden = np.array([[v for z in zs[:-1] for v in z] for zs in layers]).reshape(7, -1)
    assert network.preactivations(points) == pytest.approx(hidden, abs=1e-12)


def test_dimensions_are_those_of_the_layers():
    network = random_network((3, 4, 5, 2), seed=0)
    assert (network.features, network.classes) == (3, 2)
    assert (network.widths, network.neurons) == ((4, 5), 9)
    assert network.preactivations(np.zeros((6, 3))).shape == (6, 9)


def test_a_network_without_hidden_layer_is_affine():
    network = ReLUNetwork([[[1.0, 2.0], [0.0, -1.0]]], [[0.5, 0.0]])
    assert network.neurons == 0
    assert network.patterns([[1.0, 1.0]]).shape == (1, 0)
    hidden, logits = network.affine_maps(np.zeros(0, dtype=bool))
    assert hidden.matrix.shape == (0, 2)
    assert logits.matrix @ [1.0, 1.0] + logits.offset == pytest.approx([3.5, -1.0])


def test_a_preactivation_of_zero_counts_as_off():
    network = ReLUNetwork([[[1.0]], [[1.0], [0.0]]], [[0.0], [0.0, 0.0]])
    patterns = network.patterns([[0.0], [-1.0], [1e-300]])
    assert patterns.tolist() == [[False], [False], [True]]


def test_a_neuron_of_slope_one_passes_its_value_on_and_is_always_on():
    network = random_network((3, 4, 2), seed=3, slope="pass")
    x = np.random.default_rng(0).normal(size=(5, 3))
    W, b = network.weights, network.biases
    assert network.logits(x) == pytest.approx((x @ W[0].T + b[0]) @ W[1].T + b[1])
    assert network.linear.all()
    assert network.patterns(x).all()


@pytest.mark.parametrize("slope", ["relu", "leaky", "mixed"])
@pytest.mark.parametrize("sizes", SIZES)
def test_affine_maps_at_a_pattern_reproduce_the_network(sizes, slope):
    network = random_network(sizes, seed=4, slope=slope)
    for x in np.random.default_rng(5).normal(size=(10, sizes[0])):
        hidden, logits = network.affine_maps(network.patterns(x[None, :])[0])
        z = network.preactivations(x[None, :])[0]
        assert hidden.matrix @ x + hidden.offset == pytest.approx(z, abs=1e-12)
        assert logits.matrix @ x + logits.offset == pytest.approx(network.logits([x])[0], abs=1e-12)


def test_the_affine_map_of_another_pattern_differs():
    network = random_network((2, 3, 2), seed=4)
    x = np.array([0.3, -0.2])
    pattern = network.patterns(x[None, :])[0]
    _, logits = network.affine_maps(~pattern)
    assert np.abs(logits.matrix @ x + logits.offset - network.logits([x])[0]).max() > 1e-3


SCALES = (1e-22, 1e-6, 1.0, 1e6)


@pytest.mark.parametrize("slope", ["relu", "mixed"])
@pytest.mark.parametrize("scale", SCALES)
def test_rounding_errors_bound_the_true_error(scale, slope):
    network = random_network((3, 6, 5, 3), seed=6, slope=slope)
    points = scale * np.random.default_rng(7).normal(size=(25, 3))
    bounds = network.rounding_errors(points)
    widest = 0.0
    for k, x in enumerate(points):
        values = [network.preactivations(x[None, :])[0], network.logits(x[None, :])[0]]
        exact = [value for z in exact_layers(network, x) for value in z]
        bound = np.concatenate([layer[k] for layer in bounds])
        for value, truth, allowed in zip(
            np.concatenate(values).tolist(), exact, bound.tolist(), strict=True
        ):
            error = abs(Fraction(value) - truth)
            assert error <= allowed
            widest = max(widest, float(error))
    assert widest > 0, "nothing was rounded: this test shows nothing"


def test_rounding_errors_cover_cancellation_and_are_not_vacuous():
    # the second layer cancels: 0.1·x + 0.2·x − 0.3·x is not zero in floating point
    network = ReLUNetwork([[[0.1], [0.2], [0.3]], [[1, 1, -1], [0, 0, 0]]], [np.zeros(3), [0, 0]])
    x = np.array([[1.0]])
    value, bound = network.logits(x)[0, 0], network.rounding_errors(x)[-1][0, 0]
    error = abs(Fraction(float(value)) - exact_layers(network, x[0])[-1][0])
    assert 0 < error <= bound < 1e-14


def test_without_biases_is_positively_homogeneous():
    network = random_network((3, 5, 4, 2), seed=8, slope="leaky")
    homogeneous = network.without_biases()
    u = np.random.default_rng(9).normal(size=(6, 3))
    for t in (0.5, 3.0, 1e4):
        assert homogeneous.logits(t * u) == pytest.approx(t * homogeneous.logits(u), rel=1e-12)
    assert np.abs(network.logits(2 * u) - 2 * network.logits(u)).max() > 1e-3


def test_without_biases_is_the_limit_far_away():
    network = random_network((3, 5, 4, 2), seed=8)
    u = np.random.default_rng(9).normal(size=(6, 3))
    limit = network.without_biases().logits(u)
    assert network.logits(1e8 * u) / 1e8 == pytest.approx(limit, abs=1e-6)


def perturbed(network: ReLUNetwork, group: str, layer: int, index: tuple[int, ...]) -> ReLUNetwork:
    parts = {name: [np.array(a) for a in getattr(network, name)] for name in GROUPS}
    entry = parts[group][layer][index]
    parts[group][layer][index] = np.nextafter(entry, np.inf)
    return ReLUNetwork(parts["weights"], parts["biases"], parts["slopes"])


GROUPS = ("weights", "biases", "slopes")


def test_the_digest_changes_with_any_number_by_one_ulp():
    network = random_network((2, 3, 2), seed=10, slope="leaky")
    digests = {network.digest}
    count = 1
    for group in GROUPS:
        for layer, array in enumerate(getattr(network, group)):
            for index in np.ndindex(array.shape):
                digests.add(perturbed(network, group, layer, index).digest)
                count += 1
    assert len(digests) == count


def test_the_digest_depends_on_values_and_shapes_only():
    network = random_network((2, 3, 2), seed=10)
    again = ReLUNetwork([np.asfortranarray(W) for W in network.weights], network.biases)
    assert again.digest == network.digest
    wide = ReLUNetwork([np.zeros((2, 3))], [np.zeros(2)])
    tall = ReLUNetwork([np.zeros((3, 2))], [np.zeros(3)])
    assert wide.digest != tall.digest


def test_arrays_are_copied_and_read_only():
    W = np.eye(2)
    network = ReLUNetwork([W], [np.zeros(2)])
    W[0, 0] = 7.0
    assert network.weights[0][0, 0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        network.weights[0][0, 0] = 1.0


@pytest.mark.parametrize(
    ("weights", "biases", "words"),
    [
        ([np.eye(2)], [np.zeros(3)], ["W0 has shape (2, 2)", "b0 has shape (3,)"]),
        (
            [np.zeros((3, 2)), np.zeros((2, 4))],
            [np.zeros(3), np.zeros(2)],
            ["W1 has shape (2, 4)", "W0 has shape (3, 2)"],
        ),
        ([np.zeros((1, 2))], [np.zeros(1)], ["(1, 2)", "K >= 2"]),
        ([np.zeros((2, 0))], [np.zeros(2)], ["(2, 0)", "at least one input"]),
        ([np.eye(2)], [], ["found 1 and 0"]),
        ([], [], ["found 0 and 0"]),
        ([np.zeros(2)], [np.zeros(2)], ["W0", "2 dimension(s)", "(2,)"]),
        ([[[np.nan, 0.0], [0.0, 1.0]]], [np.zeros(2)], ["W0", "nan", "(0, 0)"]),
        ([np.eye(2)], [[0.0, np.inf]], ["b0", "inf", "index 1"]),
        ([[["a", "b"]]], [np.zeros(2)], ["W0", "real numbers"]),
    ],
)
def test_a_malformed_network_is_refused_and_both_shapes_named(weights, biases, words):
    with pytest.raises(ProblemError) as error:
        ReLUNetwork(weights, biases)
    for word in words:
        assert word in str(error.value)


def test_slopes_of_the_wrong_shape_are_refused():
    with pytest.raises(ProblemError, match=r"\[\(3,\)\], found \[\(2,\)\]"):
        ReLUNetwork([np.zeros((3, 2)), np.zeros((2, 3))], [np.zeros(3), np.zeros(2)], [[0.1, 0.2]])
