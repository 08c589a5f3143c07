"""Unbounded supports: walls far away, and the proof that nothing lies beyond them."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.cells import reference_patterns
from scipy.optimize import linprog

from wdaverify.cells import stream
from wdaverify.cells.block import Block
from wdaverify.cells.complex import enumerate_cells
from wdaverify.cells.decision import ExactCells
from wdaverify.cells.frame import frame_of
from wdaverify.cells.stream import cell_blocks
from wdaverify.cells.subdivision import reach
from wdaverify.cells.subdivision.reach import BeyondReach, walled
from wdaverify.cells.subdivision.subdivide import subdivision_blocks
from wdaverify.convex.exact import exact_interior_point
from wdaverify.network import ReLUNetwork
from wdaverify.support import Box, Polytope

SUPPORTS = {
    "space": lambda _: Box(),
    "orthant": lambda _: Box(-0.5, np.inf),
    "one wall": lambda n: Polytope([[1.0] + [0.5] * (n - 1)], [0.75]),
}
NETS = [(2, 5, 4), (2, 3, 3, 3), (3, 5, 3), (3, 4, 4), (4, 5, 3), (5, 6, 2)]


def random_network(sizes, seed, slopes=None):
    rng = np.random.default_rng(seed)
    shapes = list(zip((*sizes[1:], 2), sizes, strict=True))
    return ReLUNetwork(
        [rng.normal(size=s) for s in shapes], [rng.normal(size=s[0]) for s in shapes], slopes
    )


def within(network, support, factor=2.0**24):
    """Return what the walls show, without anything to fall back on."""
    frame = frame_of(support.bind(network.features))
    return Block.joined(list(subdivision_blocks(network, walled(network, frame, factor))))


def as_set(patterns):
    return {tuple(int(v) for v in p) for p in patterns}


def reference(network, support):
    support, n = support.bind(network.features), network.features
    box = isinstance(support, Box)
    lower, upper = (
        (support.lower, support.upper) if box else (np.full(n, -np.inf), np.full(n, np.inf))
    )
    A, b = (None, None) if box else support.rows
    return reference_patterns(
        network.weights, network.biases, lower, upper, A, b, slopes=network.slopes
    )


def has_ray(network, support, pattern):
    """Whether a cell has a ray, by linear programs over all rows: no cuts, no walls."""
    rows = network.affine_maps(pattern)[0].matrix * np.where(pattern, -1.0, 1.0)[:, None]
    rows = np.concatenate([support.bind(network.features).rows[0], rows])
    costs = np.concatenate([np.eye(network.features), -np.eye(network.features)])
    found = [linprog(-c, rows, np.zeros(len(rows)), bounds=(-1, 1)).fun for c in costs]
    return min(found) < -1e-7


@pytest.mark.parametrize("support", SUPPORTS)
@pytest.mark.parametrize("sizes", NETS)
@pytest.mark.parametrize("seed", range(3))
def test_cells_are_those_of_the_rational_reference(support, sizes, seed):
    network, support = random_network(sizes, seed), SUPPORTS[support](sizes[0])
    found = [p for b in cell_blocks(network, frame_of(support.bind(sizes[0]))) for p in b.patterns]
    assert len(found) == len(as_set(found))
    assert as_set(found) == as_set(reference(network, support))


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(NETS[:4]), st.integers(0, 10**6), st.booleans())
def test_walls_alone_find_every_cell(sizes, seed, leaky):
    slopes = [np.full(width, 0.25) for width in sizes[1:]] if leaky else None
    network = random_network(sizes, seed, slopes)
    try:
        found = within(network, Box())
    except BeyondReach:
        pytest.fail("the first walls are far enough for generic nets")
    except stream.DegenerateArrangement:
        return
    assert as_set(found.patterns) == as_set(reference(network, Box()))


@pytest.mark.parametrize("sizes", NETS)
@pytest.mark.parametrize("support", SUPPORTS)
def test_bounded_is_what_programs_say(sizes, support):
    network, support = random_network(sizes, 4), SUPPORTS[support](sizes[0])
    cells = enumerate_cells(network, support)
    expected = [not has_ray(network, support, p) for p in cells.patterns]
    assert cells.bounded.tolist() == expected
    assert 0 < sum(expected) < len(expected)


@pytest.mark.parametrize("seed", range(4))
def test_cuts_are_the_facets_and_points_are_inside(seed):
    """Without any cut the system describes a larger set: every cut is needed, none is missing."""
    network = random_network((3, 5, 4), seed)
    frame, found = frame_of(Box().bind(3)), within(network, Box())
    exact = ExactCells(network, frame)
    for pattern, cuts, point in zip(*found[:3], strict=True):
        u = np.array([Fraction(float(v)) for v in point], dtype=object)
        path = np.flatnonzero(cuts).tolist()
        for k in range(network.neurons):
            w, b = exact.row(k, pattern)
            if any(w):
                assert (w @ u + b) * (1 if pattern[k] else -1) > 0
            if any(w):
                rows = [exact.row(c, pattern) for c in path if c != k]
                signs = [-1 if pattern[c] else 1 for c in path if c != k]
                rows, signs = [*rows, (w, b)], [*signs, 1 if pattern[k] else -1]
                A = np.array([s * v for s, (v, _) in zip(signs, rows, strict=True)], dtype=object)
                h = np.array([-s * c for s, (_, c) in zip(signs, rows, strict=True)], dtype=object)
                beyond = exact_interior_point(A, h)
                assert (beyond is not None) == bool(cuts[k])


def test_points_inside_stay_near_the_vertices():
    found = within(random_network((3, 8, 8), 0), Box())
    assert np.median(np.abs(found.interiors).max(axis=1)) < 1e3
    assert np.abs(found.interiors).max() < 2.0**24


def test_walls_that_are_too_near_are_noticed():
    """Three lines: two of them meet at a distance of about 1000, the walls stand at 100."""
    network = ReLUNetwork(
        [np.array([[1.0, 0.0], [1.0, 1e-3], [0.0, 1.0]]), np.eye(3)],
        [np.array([0.0, -1.0, 0.5]), np.zeros(3)],
    )
    with pytest.raises(BeyondReach, match="outside the walls"):
        within(network, Box(), 100.0)
    assert len(within(network, Box(), 2.0**20).patterns) == 7


@pytest.mark.parametrize("seed", range(3))
def test_without_the_check_cells_are_lost(monkeypatch, seed):
    """The check is what keeps walls that are too near from losing cells."""
    network = random_network((2, 6, 6), seed)
    with pytest.raises(BeyondReach):
        within(network, Box(), 1.0)
    monkeypatch.setattr("wdaverify.cells.subdivision.subdivide.check_reach", lambda _: None)
    lost = as_set(reference(network, Box())) - as_set(within(network, Box(), 1.0).patterns)
    assert lost


@pytest.mark.parametrize("seed", range(3))
def test_what_walls_miss_is_found_by_others_and_nothing_twice(monkeypatch, seed):
    network = random_network((2, 6, 6), seed)
    monkeypatch.setattr(stream, "WALLS", (1.0, 2.0))
    monkeypatch.setattr("wdaverify.cells.subdivision.subdivide.LARGE", 12)
    found = [p for b in cell_blocks(network, frame_of(Box().bind(2))) for p in b.patterns]
    assert len(found) == len(as_set(found))
    assert as_set(found) == as_set(reference(network, Box()))


def test_parts_before_a_refusal_are_complete(monkeypatch):
    """Cells yielded by parts that pass are right: cuts and boundedness as with far walls."""
    kept = 0
    for seed in range(12):
        network = random_network((2, 6, 6), seed)
        right = within(network, Box())
        cuts = {p.tobytes(): (c.tolist(), b) for p, c, b in zip(*_parts(right), strict=True)}
        monkeypatch.setattr("wdaverify.cells.subdivision.subdivide.LARGE", 12)
        frame = walled(network, frame_of(Box().bind(2)), 4.0)
        try:
            for block in subdivision_blocks(network, frame):
                for pattern, own, bounded in zip(*_parts(block), strict=True):
                    assert cuts[pattern.tobytes()] == (own.tolist(), bounded)
                    kept += 1
        except stream.DegenerateArrangement:
            pass
        monkeypatch.undo()
    assert kept > 50


def _parts(block):
    return block.patterns, block.cuts, block.bounded


def test_no_vertex_is_no_proof():
    """One hyperplane in the plane: cells with lines, left to dictionaries."""
    network = ReLUNetwork([np.array([[1.0, 2.0]]), np.ones((2, 1))], [np.array([0.5]), np.zeros(2)])
    with pytest.raises(BeyondReach, match="no vertex"):
        within(network, Box())
    assert len(enumerate_cells(network)) == 2


def test_doubtful_growth_is_decided_exactly(monkeypatch):
    """Edges along which a later neuron is constant but for cancellation."""
    calls = []
    exactly = reach._exact_growth
    monkeypatch.setattr(reach, "_exact_growth", lambda *a: calls.append(a) or exactly(*a))
    network = ReLUNetwork(
        [
            np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]),
            np.array([[1.0, -1.0, 0.0], [0.0, 0.0, 1.0]]),
            np.eye(2),
        ],
        [np.array([0.0, -0.5, 0.25]), np.array([-0.3, -2.0]), np.zeros(2)],
    )
    found = within(network, Box())
    assert calls
    assert as_set(found.patterns) == as_set(reference(network, Box()))


def test_hyperplanes_that_are_nowhere_or_too_far():
    network = ReLUNetwork([np.eye(2), np.eye(2)], [np.zeros(2), np.zeros(2)])
    frame = frame_of(Box().bind(2))
    with pytest.raises(stream.DegenerateArrangement, match="nowhere"):
        walled(network, frame, 2.0**24)
    far = ReLUNetwork([np.eye(2) * 1e-200, np.eye(2)], [np.full(2, 1e150), np.zeros(2)])
    with pytest.raises(stream.DegenerateArrangement, match="too far"):
        walled(far, frame, 2.0**24)
    assert len(enumerate_cells(network)) == 4
