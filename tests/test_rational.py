"""The network over the rationals, against loops over fractions."""

from fractions import Fraction

import numpy as np
import pytest

from wdaverify.network import ReLUNetwork
from wdaverify.rational import ExactNetwork, rationals

POINT = [Fraction(1, 3), Fraction(-2, 7), Fraction(5)]


def random_network(seed: int, slope: float = 0.0) -> ReLUNetwork:
    rng = np.random.default_rng(seed)
    sizes = (3, 4, 3, 2)
    weights = [rng.normal(size=shape) for shape in zip(sizes[1:], sizes[:-1], strict=True)]
    biases = [rng.normal(size=size) for size in sizes[1:]]
    return ReLUNetwork(weights, biases, [np.full(size, slope) for size in sizes[1:-1]])


def naive_layers(network: ReLUNetwork, point: list[Fraction]) -> list[list[Fraction]]:
    """Values before each activation, the logits last."""
    h, layers = point, []
    for k, (W, b) in enumerate(zip(network.weights, network.biases, strict=True)):
        z = [
            sum((Fraction(w) * v for w, v in zip(row, h, strict=True)), Fraction(offset))
            for row, offset in zip(W.tolist(), b.tolist(), strict=True)
        ]
        layers.append(z)
        if k < len(network.slopes):
            slopes = network.slopes[k].tolist()
            h = [v if v > 0 else Fraction(s) * v for v, s in zip(z, slopes, strict=True)]
    return layers


def test_floats_are_lifted_exactly():
    values = np.array([[0.1, -1e-300], [5e-324, 2.0**60]])
    lifted = rationals(values)
    assert lifted.shape == (2, 2)
    assert lifted[0, 0] == Fraction(3602879701896397, 36028797018963968) != Fraction(1, 10)
    assert [float(v) for v in lifted.ravel()] == values.ravel().tolist()
    assert rationals(np.zeros((0, 3))).shape == (0, 3)


@pytest.mark.parametrize("slope", [0.0, 0.1, 1.0])
def test_logits_equal_a_plain_evaluation_over_fractions(slope):
    network = random_network(1, slope)
    assert ExactNetwork(network).logits(POINT).tolist() == naive_layers(network, POINT)[-1]


@pytest.mark.parametrize("slope", [0.0, 0.1])
def test_layer_maps_reproduce_every_layer_at_the_point(slope):
    network = random_network(2, slope)
    layers = naive_layers(network, POINT)
    pattern = np.array([v > 0 for z in layers[:-1] for v in z])
    exact = ExactNetwork(network)
    for k, z in enumerate(layers):
        J, c = exact.layer(k, pattern)
        assert (J @ np.array(POINT, dtype=object) + c).tolist() == z


def test_layer_maps_agree_with_the_floating_point_ones():
    network = random_network(3, 0.25)
    rng = np.random.default_rng(0)
    exact = ExactNetwork(network)
    for _ in range(5):
        pattern = rng.random(7) > 0.5
        hidden, logits = network.affine_maps(pattern)
        J = np.concatenate([exact.layer(k, pattern).matrix for k in range(2)]).astype(float)
        assert np.abs(J - hidden.matrix).max() < 1e-12
        assert exact.layer(2, pattern).offset.astype(float) == pytest.approx(logits.offset)


def test_a_layer_looks_at_the_earlier_neurons_only():
    exact = ExactNetwork(random_network(4))
    pattern = np.array([1, 0, 1, 1, 0, 0, 1], dtype=bool)
    other = pattern.copy()
    other[4:] = ~other[4:]
    assert np.array_equal(exact.layer(1, pattern).matrix, exact.layer(1, other).matrix)
    assert not np.array_equal(exact.layer(2, pattern).matrix, exact.layer(2, other).matrix)


def test_remembered_maps_of_two_patterns_are_not_confused():
    network = random_network(5)
    shared, rng = ExactNetwork(network), np.random.default_rng(1)
    for pattern in rng.random((20, 7)) > 0.5:
        fresh = ExactNetwork(network).layer(2, pattern)
        assert np.array_equal(shared.layer(2, pattern).matrix, fresh.matrix)
        assert np.array_equal(shared.layer(2, pattern).offset, fresh.offset)


def test_exact_logits_see_what_floating_point_loses():
    """``(1e16 + x) − 1e16`` in two layers: float64 rounds x = 1/2 away, rationals do not."""
    network = ReLUNetwork([[[1.0]], [[1.0], [0.0]]], [[1e16], [-1e16, 0.0]])
    assert network.logits([[0.5]])[0, 0] == 0.0
    assert ExactNetwork(network).logits([Fraction(1, 2)])[0] == Fraction(1, 2)
