"""LipSDP: between the exact constant and the layer product, whatever the solver proposes."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import wdaverify.bounds.lipsdp as module
from wdaverify import Box, Limits, Problem, ReLUNetwork, TransportCost, certify, enumerate_cells
from wdaverify.bounds.cell_constants import cell_constants
from wdaverify.bounds.lipsdp import Proposal, lifted, lipsdp, repaired
from wdaverify.errors import SolverError, UnsupportedError
from wdaverify.layers import layer_product
from wdaverify.norms import NORMS

L2 = NORMS["l2"]


def random_network(seed, widths=(2, 5, 4, 3), slope=0.0):
    rng = np.random.default_rng(seed)
    pairs = list(itertools.pairwise(widths))
    return ReLUNetwork(
        [1.5 * rng.normal(size=(o, i)) / math.sqrt(i) for i, o in pairs],
        [0.5 * rng.normal(size=o) for _, o in pairs],
        [np.full(o, slope) for _, o in pairs[:-1]],
    )


def exact(network):
    """Pairs of the l2 constants over the whole space, from the cells."""
    return cell_constants(enumerate_cells(network), L2).upper


def head(network):
    """The head of classes 0 and 1 and the lifted matrices."""
    parts = lifted(network)
    return parts, parts.last[0] - parts.last[1]


@pytest.mark.parametrize("slope", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("widths", [(2, 6, 3), (2, 5, 4, 3), (3, 4, 2), (2, 3, 3, 3, 2)])
def test_it_lies_between_the_exact_constant_and_the_layer_product(widths, slope):
    below = 0
    for seed in range(2):
        network = random_network(seed, widths, slope)
        found, truth = lipsdp(network), exact(network)
        product = layer_product(network, L2)
        assert np.all(found >= truth * (1 - 1e-12))
        assert np.all(found.max(axis=1) <= product * (1 + 1e-6))
        below += np.any(found.max(axis=1) < 0.95 * product)
    assert below > 0


def test_known_values():
    """One neuron of a scalar; x and its negative through two; an affine network; slope 1."""
    one = ReLUNetwork([[[3.0, 4.0]], [[0.0], [2.0]]], [[0.0], [0.0, 0.0]])
    assert lipsdp(one)[0, 1] == pytest.approx(10.0, rel=1e-6)
    absolute = ReLUNetwork([[[1.0], [-1.0]], [[0, 0], [1.0, 1.0]]], [[0.0, 0.0], [0.0, 0.0]])
    assert lipsdp(absolute)[0, 1] == pytest.approx(1.0, rel=1e-6)  # the layer product is 2
    affine = ReLUNetwork([[[0.0, 0.0], [3.0, -4.0]]], [[0.0, 0.0]])
    assert lipsdp(affine)[0, 1] == pytest.approx(5.0, rel=1e-12)
    linear = random_network(1, (2, 4, 3), slope=1.0)
    assert lipsdp(linear) == pytest.approx(exact(linear), rel=1e-3)


def test_more_inputs_than_neurons_are_turned_into_their_span():
    network = random_network(5, (12, 4, 2))
    found = lipsdp(network)[0, 1]
    rng = np.random.default_rng(0)
    patterns = network.patterns(rng.normal(size=(4000, 12)))
    J = network.affine_maps(patterns)[1].matrix
    seen = np.linalg.norm(J[:, 0] - J[:, 1], axis=1).max()
    assert seen <= found <= layer_product(network, L2)[0]


# --- the repair ----------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), scale=st.floats(-3, 3), square=st.floats(0, 100))
def test_any_proposal_becomes_a_bound(seed, scale, square):
    """Even random multipliers and a random constant, on gradients of the exact cells."""
    network = random_network(seed % 7)
    parts, c = head(network)
    t = 10.0**scale * np.random.default_rng(seed).normal(size=network.neurons)
    truth = TRUTH.setdefault(seed % 7, exact(network)[0, 1])
    assert repaired(parts, c, Proposal(t, square)) >= truth**2 * (1 - 1e-12)


TRUTH = {}


def test_without_the_repair_a_wrong_proposal_would_pass():
    """A constant ten times too small is no bound: the eigenvalue says so, and by how much."""
    network = random_network(0)
    parts, c = head(network)
    good = next(module._Program(parts).proposals(c))
    truth = exact(network)[0, 1] ** 2
    wrong = replace(good, square=truth / 100)
    assert wrong.square < truth
    largest = np.linalg.eigvalsh(module._matrix(parts, c, good.multipliers, wrong.square))[-1]
    assert largest > 1e-3
    assert repaired(parts, c, wrong) >= truth
    assert repaired(parts, c, good) <= good.square * (1 + 1e-4) + 1e-4
    assert repaired(parts, c, Proposal(np.full(9, np.nan), 1.0)) == math.inf


def test_the_matrix_is_the_quadratic_form_of_the_sectors():
    """``vᵀMv = 2 Σ t (δh − sδz)(δz − δh) + (c δh)² − ρ‖δx‖²`` for any v."""
    network, rng = random_network(3, slope=0.3), np.random.default_rng(0)
    parts, c = head(network)
    t, rho = rng.uniform(0, 2, size=network.neurons), 1.7
    M = module._matrix(parts, c, t, rho)
    for _ in range(20):
        v = rng.normal(size=len(M))
        dz, dh, s = parts.A @ v, parts.B @ v, parts.slopes
        form = 2 * t @ ((dh - s * dz) * (dz - dh)) + (c @ v) ** 2 - rho * (v[:2] @ v[:2])
        assert v @ M @ v == pytest.approx(form, rel=1e-9, abs=1e-9)


def test_true_moves_satisfy_the_sectors_and_the_spread():
    network, rng = random_network(3, slope=0.3), np.random.default_rng(0)
    parts = lifted(network)
    X, moves = rng.normal(size=(500, 2)), rng.normal(size=(500, 2))
    dz = network.preactivations(X + moves) - network.preactivations(X)

    def hidden(z):
        return np.maximum(z, 0) + parts.slopes * np.minimum(z, 0)

    dh = hidden(network.preactivations(X + moves)) - hidden(network.preactivations(X))
    assert np.all((dh - parts.slopes * dz) * (dz - dh) >= -1e-9)
    assert np.all((dh**2).sum(axis=1) <= parts.spread * (moves**2).sum(axis=1) * (1 + 1e-12))
    v = np.concatenate([moves, dh], axis=1)
    assert np.allclose(v @ parts.A.T, dz)


# --- refusals and failures -----------------------------------------------------------------------


def test_what_it_does_not_cover_is_refused(monkeypatch):
    steep = random_network(0, slope=-0.5)
    with pytest.raises(UnsupportedError, match=r"lipsdp: .*\[0, 1\]"):
        lipsdp(steep)
    network = random_network(0)
    problem = Problem(network, [[0.0, 0.0]], [0])
    with pytest.raises(UnsupportedError, match="l2"):
        certify(problem, radius=0.1, method="lipsdp")
    with monkeypatch.context() as patch:
        patch.setattr(module, "_memory", lambda: 1e-6)
        with pytest.raises(
            UnsupportedError, match=r"11 rows \(2 for the inputs, 9 for the neurons"
        ):
            lipsdp(network)
    with monkeypatch.context() as patch:
        patch.setattr(module.importlib.util, "find_spec", lambda _: None)
        with pytest.raises(UnsupportedError, match=r"pip install 'wdaverify\[sdp\]'"):
            lipsdp(network)


def test_a_large_network_is_refused_by_its_size():
    wide = ReLUNetwork(
        [np.zeros((4000, 2)), np.zeros((4000, 4000)), np.zeros((2, 4000))],
        [np.zeros(4000), np.zeros(4000), np.zeros(2)],
    )
    with pytest.raises(UnsupportedError, match="8002 rows"):
        lipsdp(wide)


def test_a_failing_solver_is_replaced_and_two_are_an_error(monkeypatch):
    network = random_network(2)
    usual = lipsdp(network)
    monkeypatch.setitem(module._OPTIONS, "CLARABEL", {"max_iter": 1})
    monkeypatch.setitem(module._OPTIONS, "SCS", {"eps": 1e-6, "max_iters": 5000})
    other = lipsdp(network)
    assert np.all(other >= exact(network) * (1 - 1e-12))
    assert other.max() <= 1.05 * usual.max()

    def fail(self, **options):
        raise module._cvxpy().error.SolverError("planted")

    monkeypatch.setattr(module._cvxpy().Problem, "solve", fail)
    with pytest.raises(SolverError, match="neither"):
        lipsdp(network)


def test_a_limit_leaves_the_layers_norms():
    network = random_network(4)
    found = lipsdp(network, limits=Limits(seconds=0.0))
    assert np.all(found >= lipsdp(network) * (1 - 1e-6))


def test_it_is_a_certificate_for_l2_and_knows_constant_features():
    network = random_network(6)
    problem = Problem(
        network, [[0.2, 0.3], [-0.4, 0.3]], [0, 1], cost=TransportCost("l2", 2),
        support=Box([-1.0, 0.3], [1.0, 0.3]),
    )  # fmt: skip
    found = certify(problem, radius=0.3, method="lipsdp")
    cells = enumerate_cells(network, problem.support)
    cell = certify(problem, radius=0.3, method="cell-lipschitz", cells=cells)
    assert cell.value <= found.value
    whole = certify(problem.replace(support=Box()), radius=0.3, method="lipsdp")
    assert found.value < whole.value
