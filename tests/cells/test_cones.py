"""Networks without biases and bundles of hyperplanes: fast ways with the same cells."""

from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.cells import reference_patterns

from wdaverify.cells.audit import check_facets_paired, check_interiors_disjoint
from wdaverify.cells.block import Block
from wdaverify.cells.bundle import bundle_blocks
from wdaverify.cells.complex import enumerate_cells
from wdaverify.cells.cones import _Cones, is_central
from wdaverify.cells.decision import ExactCells
from wdaverify.cells.dictionary.exact import IntegerRows
from wdaverify.cells.frame import frame_of
from wdaverify.cells.stream import cell_blocks
from wdaverify.convex.exact import exact_interior_point
from wdaverify.errors import LimitReached
from wdaverify.limits import Limits
from wdaverify.network import ReLUNetwork
from wdaverify.support import Box

CUBE = Box(-1.0, 1.0)


def network(sizes, seed=0, *, biases=False, scale=None):
    rng = np.random.default_rng(seed)
    shapes = list(zip((*sizes[1:], 2), sizes, strict=True))
    W = [rng.normal(size=s) for s in shapes]
    if scale:
        W = [np.round(w * scale) / scale for w in W]
    return ReLUNetwork(W, [rng.normal(size=s[0]) * biases for s in shapes])


def as_set(patterns):
    return {tuple(int(v) for v in p) for p in patterns}


def reference(net, support):
    support = support.bind(net.features)
    free = support.lower < support.upper  # constant features are zero here
    weights = [net.weights[0][:, free], *net.weights[1:]]
    return as_set(reference_patterns(weights, net.biases, support.lower[free], support.upper[free]))


# cones --------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from([(2, 4, 3), (3, 4, 3), (3, 5), (4, 4, 3)]),
    st.integers(0, 10**6),
    st.sampled_from([None, 1.0, 2.0]),
    st.sampled_from([CUBE, Box(), Box(-0.25, np.inf)]),
)
def test_cones_are_those_of_the_rational_reference(sizes, seed, scale, support):
    net = network(sizes, seed, scale=scale)
    frame = frame_of(support.bind(sizes[0]))
    assert is_central(net, frame)
    found = [p for b in cell_blocks(net, frame) for p in b.patterns]
    assert len(found) == len(as_set(found))
    assert as_set(found) == reference(net, support)


@pytest.mark.parametrize(("n", "m"), [(2, 5), (3, 7), (4, 6), (5, 8)])
def test_a_central_arrangement_has_the_number_of_its_formula(n, m):
    """``2 Σ_{k<n} C(m − 1, k)`` (Cover, 1965)."""
    expected = 2 * sum(comb(m - 1, k) for k in range(n))
    assert len(enumerate_cells(network((n, m)), CUBE)) == expected


@pytest.mark.parametrize("scale", [None, 1.0])
@pytest.mark.parametrize("sizes", [(2, 4, 3), (3, 4, 3)])
def test_points_are_inside_and_half_spaces_describe_the_cells(sizes, scale):
    net = network(sizes, 3, scale=scale)
    cells = enumerate_cells(net, CUBE)
    check_interiors_disjoint(cells)
    check_facets_paired(cells)
    exact = ExactCells(net, cells.frame)
    for pattern, cuts in zip(cells.patterns, cells.cuts, strict=True):
        path = np.flatnonzero(cuts).tolist()
        for k in set(range(net.neurons)) - set(path):
            if any(exact.row(k, pattern)[0]):
                normals = [exact.row(c, pattern)[0] for c in (*path, k)]
                signs = [-1 if pattern[c] else 1 for c in path]
                signs.append(1 if pattern[k] else -1)
                A = np.array([s * w for s, w in zip(signs, normals, strict=True)], dtype=object)
                assert exact_interior_point(A, A[:, 0] * 0) is None


def test_a_hyperplane_that_no_slice_sees_is_among_the_cuts(monkeypatch):
    """``x_j = 0`` itself is a neuron: both slices see it as a constant."""
    net = ReLUNetwork([np.eye(2), np.eye(2)], [np.zeros(2), np.zeros(2)])
    cells = enumerate_cells(net, CUBE)
    check_facets_paired(cells)
    assert cells.cuts[:, :2].all()
    monkeypatch.setattr(_Cones, "unseen", lambda _, p: np.zeros(p.shape, dtype=bool))
    assert not enumerate_cells(net, CUBE).cuts[:, :2].all()


def test_what_is_not_central():
    frame = frame_of(CUBE.bind(2))
    assert not is_central(network((2, 3), biases=True), frame)
    assert not is_central(network((2, 3)), frame_of(Box(0.0, 1.0).bind(2)))
    assert not is_central(network((1, 3)), frame_of(CUBE.bind(1)))


def test_constant_features_are_left_out():
    support = Box([-1.0, 0.0, -2.0], [1.0, 0.0, 1.0])
    net = network((3, 4, 2), 5)
    assert is_central(net, frame_of(support))
    assert as_set(enumerate_cells(net, support).patterns) == reference(net, support)


def test_limits_count_cones_of_both_slices():
    with pytest.raises(LimitReached, match="more than 100 cells"):
        enumerate_cells(network((3, 12, 12)), CUBE, limits=Limits(cells=100))


# one layer of few neurons -------------------------------------------------------------------


@pytest.mark.parametrize("support", [CUBE, Box()])
@pytest.mark.parametrize("sizes", [(7, 5), (8, 8), (10, 6)])
def test_all_signs_around_a_common_point(sizes, support):
    net = network(sizes, 1, biases=True)
    net = ReLUNetwork(net.weights, [0.01 * b for b in net.biases])
    frame = frame_of(support.bind(sizes[0]))
    found = Block.joined(list(bundle_blocks(net, frame, Limits())))
    assert as_set(found.patterns) == reference(net, support)
    exact = IntegerRows(net, frame)
    for pattern, point in zip(found.patterns, found.interiors, strict=True):
        for k in range(net.neurons):
            row = exact.slack(len(exact.support) + k, pattern)
            value = sum(int(v) * x for v, x in zip(row[:-1], _fractions(point), strict=True))
            assert value + int(row[-1]) > 0


def _fractions(point):
    return [Fraction(float(v)) for v in point]


def test_where_no_bundle_is():
    frame = frame_of(CUBE.bind(7))
    assert bundle_blocks(network((7, 5, 2)), frame, Limits()) is None
    assert bundle_blocks(network((7, 8)), frame, Limits()) is None
    outside = ReLUNetwork([np.eye(7), np.eye(7)], [np.full(7, 2.0), np.zeros(7)])
    assert bundle_blocks(outside, frame, Limits()) is None
    twice = ReLUNetwork([np.ones((2, 7)), np.eye(2)], [np.zeros(2), np.zeros(2)])
    assert bundle_blocks(twice, frame, Limits()) is None
    assert len(enumerate_cells(outside, CUBE)) == 1
    assert len(enumerate_cells(twice, CUBE)) == 2


def test_points_that_are_not_proved_are_replaced(monkeypatch):
    net = network((7, 4), 1)
    frame = frame_of(CUBE.bind(7))
    monkeypatch.setattr(
        "wdaverify.cells.dictionary.model.Model.inside",
        lambda _, points, *__: np.zeros(len(points), dtype=bool),
    )
    found = Block.joined(list(bundle_blocks(net, frame, Limits())))
    assert len(found.patterns) == 16
    assert (net.patterns(found.interiors) == found.patterns).all()


def test_a_bundle_keeps_to_the_limit():
    blocks = cell_blocks(network((8, 6)), frame_of(CUBE.bind(8)), limits=Limits(cells=5))
    assert len(next(blocks).patterns) == 5
    with pytest.raises(LimitReached, match="more than 5 cells"):
        next(blocks)
