"""Facets by pivots are those that exact arithmetic finds, cut by cut."""

import numpy as np
import pytest
from cells.test_degenerate import degenerate, one_layer, support_named
from cells.test_enumeration import random_network

from wdaverify.cells.block import Block
from wdaverify.cells.dictionary import facets as dictionary_facets
from wdaverify.cells.dictionary.exact import IntegerRows
from wdaverify.cells.dictionary.facets import FacetFinder, Facets
from wdaverify.cells.dictionary.search import dictionary_blocks
from wdaverify.cells.frame import frame_of
from wdaverify.network import ReLUNetwork
from wdaverify.support import Box, Support

BOX = Box(-1.0, 1.0)


def facets_of(network: ReLUNetwork, support: Support) -> tuple[Block, Facets]:
    frame = frame_of(support.bind(network.features))
    block = Block.joined(list(dictionary_blocks(network, frame)))
    return block, FacetFinder(network, frame).of(block)


def exact_facets(network: ReLUNetwork, support: Support, block: Block) -> list[tuple[int, int]]:
    rows = IntegerRows(network, frame_of(support.bind(network.features)))
    found = []
    for cell, (pattern, cuts) in enumerate(zip(block.patterns, block.cuts, strict=True)):
        index = np.flatnonzero(cuts).tolist()
        found += [(cell, k) for k in index if rows.facet(index, k, pattern) is not None]
    return found


def agrees(network: ReLUNetwork, support: Support) -> bool:
    block, facets = facets_of(network, support)
    pairs = list(zip(facets.cells.tolist(), facets.neurons.tolist(), strict=True))
    return pairs == exact_facets(network, support, block)


@pytest.mark.parametrize("support", ["space", "box", "simplex"])
@pytest.mark.parametrize("sizes", [(1, 4), (2, 5, 3), (3, 5), (4, 4)], ids=str)
def test_general_position(sizes, support):
    assert agrees(random_network((*sizes, 2), seed=3), support_named(support, sizes[0]))


@pytest.mark.parametrize("support", ["space", "box", "orthant"])
@pytest.mark.parametrize("kind", ["no_bias", "quarters", "wall", "parallel", "tiny_weights_only"])
def test_degenerate(kind, support):
    assert agrees(degenerate([kind], 1, (2, 4, 2)), support_named(support, 2))


def test_extreme_numbers_are_decided_exactly():
    assert agrees(one_layer([[1e-150, 2e-150], [1.0, 1.0]], [2e-151, 0.0]), BOX)


@pytest.mark.parametrize("n", [1, 3, 6])
def test_every_orthant_has_as_many_facets_as_dimensions(n):
    block, facets = facets_of(one_layer(np.eye(n).tolist(), [0.0] * n), Box())
    assert len(block.patterns) == 2**n
    assert np.bincount(facets.cells).tolist() == [n] * 2**n


def test_a_cut_behind_another_is_no_facet():
    """Of ``x + 1 > 0`` and ``x > 0`` only the second bounds the cell of both."""
    block, facets = facets_of(one_layer([[1.0], [1.0]], [1.0, 0.0]), Box())
    cell = block.patterns.tolist().index([True, True])
    assert facets.neurons[facets.cells == cell].tolist() == [1]


def test_points_lie_on_their_hyperplane_and_inside_all_others():
    network = random_network((3, 6, 4, 2), seed=2)
    block, facets = facets_of(network, BOX)
    assert len(facets.cells) > len(block.patterns)
    for cell, neuron, point in zip(*facets, strict=True):
        pattern, others = block.patterns[cell], block.cuts[cell].copy()
        others[neuron] = False
        hidden, _ = network.affine_maps(pattern)
        z = np.where(pattern, 1.0, -1.0) * (hidden.matrix @ point + hidden.offset)
        assert abs(z[neuron]) < 1e-12
        assert np.all(z[others] > 0)
        assert np.all(np.abs(point) < 1)


def test_few_cuts_need_exact_arithmetic(monkeypatch):
    calls = []
    original = IntegerRows.facet
    monkeypatch.setattr(IntegerRows, "facet", lambda *given: (calls.append(1), original(*given))[1])
    _, facets = facets_of(random_network((4, 9, 2), seed=0), BOX)
    assert len(facets.cells) > 200
    assert len(calls) < 5


def test_a_tired_search_is_decided_exactly(monkeypatch):
    monkeypatch.setattr(dictionary_facets, "PATIENCE", -1)
    assert agrees(random_network((3, 5, 2), seed=3), BOX)


def test_believing_every_optimum_loses_facets(monkeypatch):
    network = random_network((3, 5, 2), seed=3)
    monkeypatch.setattr(dictionary_facets, "PRICE", 0.5)
    assert agrees(network, BOX)
    monkeypatch.setattr(
        dictionary_facets, "certified", lambda *given: np.ones(len(given[3]), dtype=bool)
    )
    assert not agrees(network, BOX)
