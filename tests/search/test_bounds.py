"""Bounds of single nodes against an independent maximum: points sampled in the node's region."""

import numpy as np
import pytest
from search.cases import dense_points, random_problem, search_of

from wdaverify.search import lagrangian, relaxation
from wdaverify.search.lagrangian import Aim, Pace, Region, dual_bound, first_multipliers
from wdaverify.search.rings import Price, rings_for

NORMS = ("l1", "l2", "linf")
LADDER = np.array([0.0, 0.1, 0.35, 4.0])


def rings_of(search, norm):
    net = search.scaled
    edges = np.tile(LADDER, (len(net.lower), 1))
    return rings_for(search.norm, net.lower, net.upper, edges[:, :-1], edges[:, 1:])


def worst_violation(seed, norm, order):
    """Largest excess of a sampled value over the bound of the node it lies in, in scaled units.

    Nodes are made from the points themselves: the signs of a random subset of neurons are fixed
    to those of the point, so every node is known to contain one.
    """
    rng = np.random.default_rng(seed)
    problem = random_problem(seed, norm=norm, order=order)
    search = search_of(problem)
    net, rings = search.scaled, rings_of(search, norm)
    points = dense_points(rng, problem, 150)
    P, N = len(points), len(problem)
    owner, at = np.repeat(np.arange(N), P), np.tile(np.arange(P), N)
    moves = (points[at] - problem.points[owner]) / net.length
    lengths = problem.cost.norm.length(moves)
    ring = np.clip(np.searchsorted(LADDER, lengths) - 1, 0, len(LADDER) - 2)
    z = np.concatenate(hidden(problem.network, points), axis=1)[at]
    decided = rng.random(size=z.shape) < rng.choice([0.0, 0.4, 1.0], size=(len(z), 1))
    size = net.magnitudes * 1.001
    lower = np.where(decided & (z >= 0), 0.0, -size)
    upper = np.where(decided & (z < 0), 0.0, size)
    first = net.layers[0]
    bounds = relaxation.first_bounds(net, rings)
    lower[:, first] = np.maximum(lower[:, first], bounds[0][owner, ring])
    upper[:, first] = np.minimum(upper[:, first], bounds[1][owner, ring])
    for k in range(1, len(net.layers)):
        relaxation.tighten(net, rings, (owner, ring), (lower, upper), k)
    scales = scales_of(problem.network, net)
    inside = ((z / scales >= lower - 1e-15) & (z / scales <= upper + 1e-15)).all(axis=1)
    worst = 0.0 if inside.all() else np.inf  # a point left its own node
    price = Price(float(rng.choice([0.0, 0.02, 0.1, 0.5])), order)
    for piece in range(len(net.gradients)):
        region = Region(owner, np.full(len(owner), piece), ring, lower, upper)
        values = pieces_of(problem, points)[at, piece] / net.unit - price.of(lengths)
        start = first_multipliers(net, region)
        shell = rings.at(owner, ring)
        for nu in (start, start * rng.normal(size=start.shape), rng.normal(size=start.shape)):
            bound = dual_bound(net, shell, region, nu, price).value
            worst = max(worst, float((values - bound).max()))
        aim = Aim(rng.normal(size=len(values)), Pace(12, 0.5, 0.5))
        found = lagrangian.ascend(net, rings, region, start, price, aim)
        worst = max(worst, float((values - found.value).max()))
    return worst


def hidden(network, points):
    """Pre-activations by a plain loop, independent of the package's own forward pass."""
    h, layers = points, []
    for W, b, s in zip(network.weights, network.biases, network.slopes, strict=False):
        z = np.array([[sum(w * v for w, v in zip(row, x, strict=True)) for row in W] for x in h])
        z = z + b
        layers.append(z)
        h = np.where(z > 0, z, s * z)
    if not layers:
        layers = [points @ network.weights[0].T + network.biases[0]]
    return layers


def pieces_of(problem, points):
    network = problem.network
    *_, z = hidden(network, points)
    logits = z
    if network.slopes:
        h = np.where(z > 0, z, network.slopes[-1] * z)
        logits = h @ network.weights[-1].T + network.biases[-1]
    pieces = problem.loss.pieces(network.classes, 0)
    return logits @ pieces.matrix.T + pieces.offset


def scales_of(network, net):
    """Recover the neurons' factors: scaled biases and weights against the plain ones."""
    scales, before = [], np.ones(network.features) * net.length
    for k in range(len(net.layers)):
        W = network.weights[k] * before
        rows = np.abs(W).max(axis=1)
        scale = rows / np.abs(net.weights[k]).max(axis=1)
        scales.append(scale)
        before = scale
    return np.concatenate(scales)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("order", [1.0, 2.0, 3.0])
def test_no_point_exceeds_the_bound_of_its_node(norm, order):
    for seed in range(7):
        assert worst_violation(seed, norm, order) <= 1e-13, seed


@pytest.mark.parametrize("fault", ["output bias", "hidden bias", "inner radius", "kink"])
def test_a_planted_fault_breaks_a_bound(fault, monkeypatch):
    def excess():
        return max(worst_violation(seed, "linf", 1.0) for seed in range(7))

    assert excess() <= 1e-13
    plant(fault, monkeypatch)
    assert excess() > 1e-6


def plant(fault, monkeypatch):
    if fault == "output bias":
        honest = dual_bound

        def lowered(net, shell, region, nu, price):
            bound = honest(net, shell, region, nu, price)
            return bound._replace(value=bound.value - net.offsets[region.piece])

        monkeypatch.setitem(globals(), "dual_bound", lowered)
    elif fault == "hidden bias":
        honest = relaxation.tighten

        def shifted(net, rings, nodes, bounds, layer):
            honest(net, rings, nodes, bounds, layer)
            part = net.layers[layer]
            bounds[1][:, part] -= np.abs(net.biases[layer])

        monkeypatch.setattr(relaxation, "tighten", shifted)
    elif fault == "inner radius":
        honest = relaxation.first_bounds

        def shrunk(net, rings):
            small = rings_for_inner(rings)
            return honest(net, small)

        monkeypatch.setattr(relaxation, "first_bounds", shrunk)
    else:
        honest = lagrangian._neuron_maxima

        def ends_only(alpha, nu, region, slopes):
            top, z = honest(alpha, nu, region, slopes)
            return np.minimum(top, alpha * np.maximum(region.upper, 0) - nu * region.upper), z

        monkeypatch.setattr(lagrangian, "_neuron_maxima", ends_only)


def rings_for_inner(rings):
    return type(rings)(rings.lower, rings.upper, rings.inner, 0.9 * rings.outer)
