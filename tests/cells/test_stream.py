"""The stream of cells: every cell once, also when subdivision gives up on the way."""

import numpy as np
import pytest

from wdaverify.cells.enumeration import cells_of
from wdaverify.cells.frame import frame_of
from wdaverify.cells.stream import cell_blocks
from wdaverify.cells.subdivision import subdivide
from wdaverify.cells.subdivision.start import DegenerateArrangement
from wdaverify.errors import LimitReached
from wdaverify.limits import Limits
from wdaverify.network import ReLUNetwork
from wdaverify.support import Box, Polytope

CUBE = Box(-1.0, 1.0)


def network(sizes, seed=0):
    rng = np.random.default_rng(seed)
    shapes = list(zip(sizes[1:], sizes[:-1], strict=True))
    return ReLUNetwork(
        [rng.normal(size=s) for s in shapes], [rng.normal(size=s[0]) for s in shapes]
    )


def streamed(net, support, **options):
    frame = frame_of(support.bind(net.features))
    return [p.tobytes() for b in cell_blocks(net, frame, **options) for p in b.patterns]


def listed(net, support):
    return {c.pattern.tobytes() for c in cells_of(net, frame_of(support.bind(net.features)))}


@pytest.mark.parametrize("support", [CUBE, Box(), Polytope([[1.0, 1.0]], [1.0])])
@pytest.mark.parametrize("seed", range(4))
def test_every_cell_comes_once(support, seed):
    net = network((2, 6, 5, 2), seed)
    found = streamed(net, support)
    assert len(found) == len(set(found))
    assert set(found) == listed(net, support)


def test_seven_dimensions_go_cell_by_cell():
    net = network((7, 8, 2))
    assert set(streamed(net, CUBE)) == listed(net, CUBE)


@pytest.mark.parametrize("after", [0, 1, 3])
def test_late_refusal_leaves_the_rest_to_dictionaries(monkeypatch, after):
    net, done = network((3, 12, 10, 2)), []
    blocks_of = subdivide.blocks_of

    def refusing(part):
        if len(done) == after:
            raise DegenerateArrangement("for the test")
        done.append(part)
        return blocks_of(part)

    monkeypatch.setattr(subdivide, "LARGE", 60)
    monkeypatch.setattr(subdivide, "blocks_of", refusing)
    found = streamed(net, CUBE)
    assert len(done) == after
    assert len(found) == len(set(found))
    assert set(found) == listed(net, CUBE)


def test_limit_on_cells_ends_the_stream():
    with pytest.raises(LimitReached, match="more than 5 cells"):
        streamed(network((2, 6, 5, 2)), CUBE, limits=Limits(cells=5))
