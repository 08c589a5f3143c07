"""Boundedness of many cells at once: proofs only, and the rest exactly."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wdaverify.cells import boundedness
from wdaverify.cells.block import Block
from wdaverify.cells.boundedness import bounded_cells
from wdaverify.cells.dictionary.search import dictionary_blocks
from wdaverify.cells.frame import frame_of
from wdaverify.cells.rays import BOUNDED, OPEN, UNKNOWN, bounded_by_rows
from wdaverify.cells.recession import is_bounded
from wdaverify.network import ReLUNetwork
from wdaverify.rational import rationals
from wdaverify.support import Box


def answers(matrices):
    """Pad, and ask for all at once."""
    most = max(len(m) for m in matrices)
    rows = np.zeros((len(matrices), most, matrices[0].shape[1]))
    used = np.zeros(rows.shape[:2], dtype=bool)
    for k, m in enumerate(matrices):
        rows[k, : len(m)] = m / np.linalg.norm(m, axis=1)[:, None]
        used[k, : len(m)] = True
    return bounded_by_rows(rows, used)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 6), st.integers(0, 10**6))
def test_answers_are_those_of_rational_programs(d, seed):
    rng = np.random.default_rng(seed)
    matrices = [rng.normal(size=(rng.integers(1, 4 * d + 1), d)) for _ in range(6)]
    for answer, matrix in zip(answers(matrices), matrices, strict=True):
        assert answer in {UNKNOWN, BOUNDED if is_bounded(rationals(matrix)) else OPEN}
        assert answer != UNKNOWN


@pytest.mark.parametrize(
    "matrix",
    [
        [[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]],
        [[1.0, 0.0], [-1.0, 0.0]],
        [[1.0, 0.0], [-1.0, 1e-12], [0.0, 1.0]],
        [[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, -1.0, 0.0], [0.0, 1.0, 1.0]],
    ],
)
def test_cones_without_interior_are_left_open(matrix):
    assert answers([np.array(matrix)])[0] == UNKNOWN


def test_a_thin_cone_and_a_closed_fan_are_told_apart():
    thin = np.array([[1.0, 1e-4], [-1.0, 1e-4]])
    closed = np.array([[1.0, 1e-4], [-1.0, 1e-4], [0.0, -1.0]])
    assert answers([thin, closed]).tolist() == [OPEN, BOUNDED]


def listed(sizes, seed, kind="generic"):
    rng = np.random.default_rng(seed)
    shapes = list(zip((*sizes[1:], 2), sizes, strict=True))
    W, b = [rng.normal(size=s) for s in shapes], [rng.normal(size=s[0]) for s in shapes]
    if kind == "quarters":
        W, b = ([np.round(v * 4) / 4 for v in part] for part in (W, b))
    network = ReLUNetwork(W, b)
    frame = frame_of(Box().bind(sizes[0]))
    return network, frame, Block.joined(list(dictionary_blocks(network, frame)))


@pytest.mark.parametrize("kind", ["generic", "quarters"])
@pytest.mark.parametrize("sizes", [(2, 5, 4), (3, 4, 4), (4, 5, 3), (5, 4, 3)])
def test_cells_are_bounded_as_exact_arithmetic_says(sizes, kind):
    network, frame, found = listed(sizes, 2, kind)
    cells = boundedness._Cells(network, frame, boundedness.ExactCells(network, frame))
    expected = [
        cells.exactly(p, c) == BOUNDED for p, c in zip(found.patterns, found.cuts, strict=True)
    ]
    assert bounded_cells(network, frame, found.patterns, found.cuts).tolist() == expected


def test_rays_of_the_first_layer_settle_cones_without_interior(monkeypatch):
    network, frame, found = listed((4, 5, 5), 0)
    asked = []
    exactly = boundedness._Cells.exactly
    monkeypatch.setattr(boundedness._Cells, "exactly", lambda *a: asked.append(1) or exactly(*a))
    flags = bounded_cells(network, frame, found.patterns, found.cuts)
    few = len(asked)
    monkeypatch.setattr(boundedness, "_by_first_layer", lambda *_: None)
    assert bounded_cells(network, frame, found.patterns, found.cuts).tolist() == flags.tolist()
    assert few < len(asked) - few
