r"""Unbounded supports: walls far away, and the proof that nothing lies beyond them.

The support is cut by a box ``|u_j| <= M``. If some vertex of the arrangement is inside the box and
every edge that meets a wall goes on for ever, then *all* vertices are inside. For cells without
lines have connected graphs of vertices and bounded edges, and so has the whole arrangement: two
neighbours share a facet, and that has a vertex. A vertex outside would be joined to one inside by
bounded edges, one of which leaves the box. Then every cell has a vertex inside, so the cells inside
are all cells, facets are facets, and unbounded are those that meet a wall.

An edge goes on for ever when no neuron that it does not lie on comes closer to zero from its other
end ``A`` to the wall, ``P``: :math:`|z(P)| \ge |z(A)|`; neurons that depend on nothing that moves
along the edge are constant on it.
"""

from fractions import Fraction

import numpy as np

from wdaverify.arrays import Bools, Floats, Integers
from wdaverify.cells.frame import Frame
from wdaverify.cells.subdivision.arrays import unpacked
from wdaverify.cells.subdivision.complex import Subdivision
from wdaverify.cells.subdivision.start import DegenerateArrangement
from wdaverify.cells.subdivision.vertices import Vertices
from wdaverify.network import ReLUNetwork
from wdaverify.rational import rationals

__all__ = ["BeyondReach", "check_reach", "walled"]

CHUNK = 4096
"""Edges that are looked at together."""


class BeyondReach(DegenerateArrangement):
    """There may be vertices outside the walls."""


def walled(network: ReLUNetwork, frame: Frame, factor: float) -> Frame:
    """Return the support with walls where it has none.

    Parameters
    ----------
    factor
        Distance of the walls, in units of the distance of the hyperplanes of the first layer and of
        the support from the origin.

    Raises
    ------
    DegenerateArrangement
        There is no such distance in float64.
    """
    d = frame.dimension
    W = network.weights[0] @ frame.basis.astype(np.float64)
    b = network.weights[0] @ frame.origin.astype(np.float64) + network.biases[0]
    A = np.concatenate([W, frame.matrix.astype(np.float64)])
    h = np.concatenate([b, frame.bound.astype(np.float64)])
    lengths = np.abs(A).max(axis=1)
    used = lengths > 0
    with np.errstate(over="ignore"):
        distance = float((np.abs(h[used]) / lengths[used]).max(initial=0.0)) * factor
    if not 0 < distance < np.inf:
        raise DegenerateArrangement("hyperplanes are nowhere or too far away")
    wall = 2.0 ** np.ceil(np.log2(distance))
    rows = np.concatenate([-np.eye(d), np.eye(d)])
    closed = [_closed(frame, row) for row in rows]
    rows = rows[~np.array(closed)]
    return Frame(
        frame.origin,
        frame.basis,
        np.concatenate([frame.matrix, rationals(rows)]),
        np.concatenate([frame.bound, np.full(len(rows), Fraction(wall), dtype=object)]),
        frame.interior,
        walls=len(frame.bound),
    )


def _closed(frame: Frame, row: Floats) -> bool:
    """Whether a single row of the support bounds this direction."""
    alone = np.count_nonzero(frame.matrix, axis=1) == 1
    return bool(np.any((frame.matrix[alone] @ row) > 0))


def check_reach(part: Subdivision) -> None:
    """Prove that all vertices of the arrangement are inside the walls.

    Raises
    ------
    BeyondReach
        Not so, or there is no vertex at all.
    """
    v = part.vertices
    if part.vertices.exact.frame.walls is None:
        return
    at_wall = v.zeros >= v.walls
    if at_wall.any(axis=0).all():
        raise BeyondReach("no vertex of the arrangement is inside the walls")
    once = at_wall.sum(axis=0) == 1
    for this in (0, 1):
        end, other = part.ends[this], part.ends[1 - this]
        leaves = at_wall[part.slots[this], end] & once[end]
        outer, inner = end[leaves], other[leaves]
        for k in range(0, len(outer), CHUNK):
            _check_rays(v, outer[k : k + CHUNK], inner[k : k + CHUNK])


def _check_rays(v: Vertices, outer: Integers, inner: Integers) -> None:
    """Check that edges which end at walls, in ``outer``, go on for ever."""
    H, values = v.neurons, v.values
    patterns = v.patterns(v.positive.take(outer, axis=1))
    zero = unpacked(v.zero.take(outer, axis=1), v.bits.shape[1])
    on_edge = np.concatenate([zero[:, v.roles.source], zero[:, H:]], axis=1)
    tested = _moving(v, patterns, on_edge[:, :H])
    tested = np.concatenate([tested, ~on_edge[:, H:]], axis=1)
    tested[:, np.flatnonzero(v.exact.network.linear)] = False
    tested[:, v.walls :] = False
    side = np.ones(tested.shape)
    side[:, :H] = np.where(patterns, 1.0, -1.0)
    growth, error = np.zeros(tested.shape), np.zeros(tested.shape)
    for ends, turn in ((outer, 1.0), (inner, -1.0)):
        points = v.points.take(ends, axis=1)
        z = np.concatenate([values.below(points, len(values.weights)), values.slack(points)])
        growth += turn * z.T
        bound = values.errors(slice(None), v.sizes.take(ends))
        error += (bound + values.steepness[:, None] * v.errors.take(ends)).T
    growth *= side
    error += 4 * np.finfo(float).eps * np.abs(growth)
    if np.any(tested & (growth < -error)):
        raise BeyondReach("an edge of the arrangement has an end outside the walls")
    for k, row in np.argwhere(tested & (growth <= error)).tolist():
        if _exact_growth(v, int(outer[k]), int(inner[k]), row, patterns[k]) < 0:
            raise BeyondReach("an edge of the arrangement has an end outside the walls")


def _moving(v: Vertices, patterns: Bools, on_edge: Bools) -> Bools:
    """Return which neurons may change along edges: ``(N, neurons)``."""
    network, starts = v.exact.network, v.values.starts
    moving = np.zeros(patterns.shape, dtype=bool)
    sources = np.zeros((len(patterns), 0), dtype=bool)
    for layer, (W, slope) in enumerate(zip(v.values.weights, network.slopes, strict=True)):
        here = slice(int(starts[layer]), int(starts[layer + 1]))
        depends = ~v.roles.zero[here] | network.linear[here]
        if layer:  # these weights are exact; those of the first layer are rounded to the frame
            depends = sources.astype(np.float64) @ (W != 0).T.astype(np.float64) > 0
        moving[:, here] = depends & ~on_edge[:, here]
        sources = moving[:, here] & (patterns[:, here] | (slope != 0))
    return moving


def _exact_growth(v: Vertices, outer: int, inner: int, row: int, pattern: Bools) -> Fraction:
    """Return how much farther from zero a row is at one vertex than at another."""
    along = v.exactly(outer) - v.exactly(inner)
    if row >= v.neurons:
        return Fraction(-(v.exact.frame.matrix[row - v.neurons] @ along))
    w, _ = v.exact.cells.row(row, pattern)
    return Fraction((w @ along) * (1 if pattern[row] else -1))
