r"""One hidden layer of at most ``d`` neurons whose hyperplanes meet inside the support.

With :math:`W x_0 + b = 0` at a point inside and independent rows, all :math:`2^H` sign vectors are
cells: the one of the signs ``s`` contains :math:`x_0 + t\,W^+ s` for every small ``t > 0``. Nothing
depends on that being right: all patterns are gone through, and each is a cell if floating point
proves the point to be inside or, in doubt, if exact arithmetic finds another one.
"""

from collections.abc import Iterator

import numpy as np

from wdaverify.arrays import Floats
from wdaverify.cells.block import Block
from wdaverify.cells.dictionary.exact import IntegerRows
from wdaverify.cells.dictionary.model import Model
from wdaverify.cells.frame import Frame
from wdaverify.limits import Limits
from wdaverify.network import ReLUNetwork

__all__ = ["bundle_blocks"]

SIZE = 4096
"""Cells in a block."""

INDEPENDENT = 1e-6
"""Smallest singular value, relative to the largest, of rows that count as independent."""

ROOM = 1e-6
"""How far inside the support (unit rows) the common point must be."""

MOST = 40
"""Neurons beyond which nobody waits for all patterns."""


def bundle_blocks(network: ReLUNetwork, frame: Frame, limits: Limits) -> Iterator[Block] | None:
    """Return the cells in blocks, off before on, or ``None`` where this does not apply.

    Raises
    ------
    LimitReached
        While the blocks are taken: more cells, time or memory than ``limits`` allow.
    """
    if len(network.widths) != 1 or not 0 < network.neurons <= min(frame.dimension, MOST):
        return None
    if network.linear.any():
        return None
    model = Model(network, frame)
    if not model.suitable:
        return None
    W, b = model.weights[0], model.biases[0]
    singular = np.linalg.svd(W, compute_uv=False)
    if singular[-1] <= INDEPENDENT * singular[0]:
        return None
    inverse = np.linalg.pinv(W)
    centre = frame.interior - inverse @ (W @ frame.interior + b)
    room = model.bound - model.matrix @ centre
    if room.min(initial=1.0) <= ROOM:
        return None
    reach = np.abs(model.matrix @ inverse).sum(axis=1)
    step = min(1.0, float((room / np.maximum(2 * reach, 1e-300)).min(initial=1.0)))
    moves = np.asarray(step * inverse, dtype=np.float64)
    return _listed(network, frame, model, (centre, moves), limits)


def _listed(
    network: ReLUNetwork, frame: Frame, model: Model, place: tuple[Floats, Floats], limits: Limits
) -> Iterator[Block]:
    centre, moves = place
    H, exact = network.neurons, IntegerRows(network, frame)
    count = 0
    for start in range(0, 2**H, SIZE):
        numbers = np.arange(start, min(start + SIZE, 2**H))
        patterns = ((numbers[:, None] >> np.arange(H - 1, -1, -1)) & 1).astype(bool)
        cuts = np.ones(patterns.shape, dtype=bool)
        points = centre + np.where(patterns, 1.0, -1.0) @ moves.T
        exists = model.inside(points, patterns, cuts)
        for k in np.flatnonzero(~exists):
            point = exact.interior(range(H), patterns[k])
            if point is not None:
                points[k], exists[k] = point.astype(np.float64), True
        found = Block(patterns, cuts, points).at(exists)
        room = min(limits.cells - count, len(found.patterns))
        count += len(found.patterns)
        yield found.at(slice(0, int(room)))
        limits.check("enumerating cells", count)
