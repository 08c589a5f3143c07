r"""Facets of cells and the adjacency graph.

Row ``k`` of a cell is a *facet* when the cell meets its hyperplane with dimension ``d − 1``. The
cells form a polyhedral complex, so a point in the relative interior of a facet that is not on the
boundary of the support lies in exactly two cells: the neighbour is the other one.
"""

from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

import networkx as nx
import numpy as np

from wdaverify.arrays import Bools, Floats
from wdaverify.cells.block import Block
from wdaverify.cells.complex import CellComplex
from wdaverify.cells.decision import ExactCells
from wdaverify.cells.dictionary.facets import FacetFinder, Facets
from wdaverify.cells.frame import unit_rows
from wdaverify.cells.splitting import BLIND, DOUBT
from wdaverify.convex.exact import exact_interior_point
from wdaverify.convex.highs import LinearProgram
from wdaverify.errors import EnumerationError
from wdaverify.network import AffineMap, ReLUNetwork
from wdaverify.rational import Rationals, rationals

__all__ = ["Facet", "adjacency", "facets"]


BLOCK = 2000
"""Cells whose facets are looked for together."""

CLOSE = 1e-7
"""Size of a pre-activation, relative to its summands, that may be rounding at a facet."""


class Crossing(NamedTuple):
    """A rational point of a facet and a rational direction that leaves the cell there, ``(d,)``."""

    point: Rationals
    outward: Rationals


class Facet(NamedTuple):
    """A facet of a cell that lies inside the support.

    Attributes
    ----------
    neuron
        Neuron whose hyperplane it lies on.
    point
        A point of its relative interior, in the coordinates of the frame, ``(d,)``.
    outward
        Unit normal that leaves the cell, ``(d,)``.
    room
        Distance from ``point`` to every other row of the cell.
    exact
        The same over the rationals, where floating point cannot tell the facet from none.
    """

    neuron: int
    point: Floats
    outward: Floats
    room: float
    exact: Crossing | None = None


def facets(cells: CellComplex, index: int) -> Iterator[Facet]:
    """Yield the facets of one cell, except those on the boundary of the support."""
    cell = cells[index]
    neurons = np.flatnonzero(cell.cuts)
    exact = ExactCells(cells.network, cells.frame)
    A, b = _exact_rows(cells, index, exact)
    G, h = _float_rows(A, b)
    far = np.abs(h).max(initial=0.0) >= BLIND
    base = len(cells.frame.bound)
    d = cells.frame.dimension
    free = np.append(np.full(d, np.inf), 1.0)
    program = LinearProgram(-free, free)
    program.add_rows(np.column_stack([G, np.ones(len(G))]), h)
    costs = np.append(np.zeros(d), 1.0)
    for r, neuron in enumerate(neurons.tolist()):
        row = base + r
        program.drop_rows(len(G))
        # the row itself becomes an equality without the slack variable
        program.add_rows(np.append(G[row], 0.0)[None, :], h[row : row + 1], h[row : row + 1])
        program.bound_rows(np.array([row]), np.array([np.inf]))
        answer = program.maximize(costs)
        program.bound_rows(np.array([row]), h[row : row + 1])
        others = np.delete(np.arange(len(G)), row)
        point = answer.point[:d]
        room = float((h[others] - G[others] @ point).min(initial=1.0))
        if room <= -DOUBT and not far:
            continue
        if room > DOUBT and not far:
            yield Facet(neuron, point, G[row], room)
            continue
        rational = _exact_facet(A, b, row)
        if rational is not None:
            crossing = Crossing(rational, A[row])
            yield Facet(neuron, rational.astype(np.float64), G[row], max(room, 0.0), crossing)


def adjacency(cells: CellComplex) -> nx.Graph:
    """Return the graph whose edges join cells that share a facet.

    Every edge carries ``neuron``, the first neuron whose hyperplane separates the two.

    Raises
    ------
    EnumerationError
        No neighbour lies across some facet: a cell is missing.
    """
    graph = nx.empty_graph(len(cells))
    if not cells.frame.dimension or not cells.network.neurons:
        return graph
    finder, patterns, cuts = FacetFinder(cells.network, cells.frame), cells.patterns, cells.cuts
    interiors = cells.frame.coordinates(cells.interiors)
    for start in range(0, len(cells), BLOCK):
        part = slice(start, start + BLOCK)
        found = finder.of(Block(patterns[part], cuts[part], interiors[part]))
        _join(cells, graph, found._replace(cells=found.cells + start))
    return graph


def _join(cells: CellComplex, graph: nx.Graph, found: Facets) -> None:
    """Add the edges of some facets."""
    network, points = cells.network, cells.frame.points(found.points)
    flipped = cells.patterns[found.cells]
    flipped[np.arange(len(flipped)), found.neurons] ^= True
    alone = _near(network, points).sum(axis=1) == 1
    pairs = zip(found.cells.tolist(), found.neurons.tolist(), alone.tolist(), strict=True)
    for f, (cell, neuron, sure) in enumerate(pairs):
        other = cells.find(flipped[f]) if sure else None
        if other is None:
            other = neighbour(cells, cell, Facet(neuron, found.points[f], found.points[f], 0.0))
        graph.add_edge(cell, other, neuron=neuron)


def _near(network: ReLUNetwork, points: Floats) -> Bools:
    """Which neurons may be zero at points that are known up to rounding, ``(N, neurons)``."""
    h, near = points, []
    for W, b, slope in zip(network.weights, network.biases, network.slopes, strict=False):
        size = np.abs(h) @ np.abs(W).T + np.abs(W).sum(axis=1) + np.abs(b)
        z = h @ W.T + b
        near.append((np.abs(z) <= CLOSE * size) & (slope != 1.0))
        h = np.where(z > 0, z, slope * z)
    return np.concatenate(near, axis=1)


def neighbour(cells: CellComplex, index: int, facet: Facet) -> int:
    """Return the cell on the other side of a facet.

    Where no other neuron is near zero at the facet's point, crossing it flips that neuron alone;
    otherwise the pattern just beyond a rational point of the facet is evaluated exactly.

    Raises
    ------
    EnumerationError
        There is none.
    """
    point = cells.frame.points(facet.point)
    cell = cells[index]
    hidden, _ = cells.network.affine_maps(cell.pattern)
    size = np.abs(hidden.matrix) @ (1.0 + np.abs(point)) + np.abs(hidden.offset)
    near = np.abs(hidden.matrix @ point + hidden.offset) <= 1e-6 * size
    near[cells.network.linear] = False
    if facet.exact is None and near.sum() == 1 and near[facet.neuron]:
        flipped = cell.pattern.copy()
        flipped[facet.neuron] ^= True
        found = cells.find(flipped)
        if found is not None:
            return found
    rational = facet.exact or _exact_crossing(cells, index, facet.neuron)
    found = None if rational is None else cells.find(_pattern_beyond(cells, rational))
    if found is None or found == index:
        raise EnumerationError(
            f"cell {index}: no cell lies across its facet on neuron {facet.neuron} at "
            f"{np.array2string(point, precision=6)}; a cell is missing"
        )
    return found


def _pattern_beyond(cells: CellComplex, crossing: Crossing) -> Bools:
    """Return the pattern infinitesimally beyond a point: lexicographic signs of ``(z, dz)``."""
    network, frame = cells.network, cells.frame
    h = frame.basis @ crossing.point + frame.origin
    dh = frame.basis @ crossing.outward
    pattern: list[bool] = []
    for k, slope in enumerate(network.slopes):
        W, b = rationals(network.weights[k]), rationals(network.biases[k])
        z, dz = W @ h + b, W @ dh
        on = [v > 0 or (v == 0 and dv > 0) for v, dv in zip(z, dz, strict=True)]
        factor = np.where(on, np.asarray(Fraction(1)), rationals(slope))
        h, dh = factor * z, factor * dz
        pattern += [o or s == 1.0 for o, s in zip(on, slope.tolist(), strict=True)]
    return np.array(pattern, dtype=bool)


def _exact_crossing(cells: CellComplex, index: int, neuron: int) -> Crossing | None:
    """Return a rational point of the relative interior of the facet on a neuron's hyperplane."""
    A, b = _exact_rows(cells, index, ExactCells(cells.network, cells.frame))
    row = len(cells.frame.bound) + int(cells[index].cuts[:neuron].sum())
    point = _exact_facet(A, b, row)
    return None if point is None else Crossing(point, A[row])


def _exact_rows(cells: CellComplex, index: int, exact: ExactCells) -> tuple[Rationals, Rationals]:
    """Support rows, then cut rows, of a cell over the rationals, in frame coordinates."""
    cell = cells[index]
    matrix, bound = [cells.frame.matrix], [cells.frame.bound]
    for k in np.flatnonzero(cell.cuts).tolist():
        w, b = exact.row(k, cell.pattern)
        sign = -1 if cell.pattern[k] else 1
        matrix.append((sign * w)[None, :])
        bound.append(np.array([-sign * b], dtype=object))
    return np.concatenate(matrix), np.concatenate(bound)


def _float_rows(A: Rationals, b: Rationals) -> AffineMap:
    return unit_rows(A.astype(np.float64), b.astype(np.float64))


def _exact_facet(A: Rationals, b: Rationals, row: int) -> Rationals | None:
    """Return a point with equality in one row and strict inequality in the others."""
    pivot = next(k for k, value in enumerate(A[row]) if value != 0)
    others = np.delete(np.arange(len(b)), row)
    ratio = A[others, pivot] / A[row, pivot]
    reduced = A[others] - ratio[:, None] * A[row]
    bound = b[others] - ratio * b[row]
    rest = np.delete(np.arange(A.shape[1]), pivot)
    point = exact_interior_point(reduced[:, rest], bound)
    if point is None:
        return None
    full = np.empty(A.shape[1], dtype=object)
    full[rest] = point
    full[pivot] = (b[row] - A[row, rest] @ point) / A[row, pivot]
    return full
