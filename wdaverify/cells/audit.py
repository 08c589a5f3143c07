"""Invariants of a cell complex as functions that raise: the enumeration is not taken on trust."""

import numpy as np

from wdaverify.arrays import Floats
from wdaverify.cells.complex import CellComplex
from wdaverify.cells.decision import ExactCells
from wdaverify.cells.graph import facets, neighbour
from wdaverify.errors import EnumerationError
from wdaverify.rational import ExactNetwork, rationals

__all__ = [
    "audit",
    "check_affine_maps",
    "check_cells_nonempty",
    "check_facets_paired",
    "check_interiors_disjoint",
    "check_points_covered",
]


def audit(cells: CellComplex, *, samples: int = 1000, seed: int = 0) -> None:
    """Check every invariant below.

    Raises
    ------
    EnumerationError
        The first invariant that fails, with the cells concerned.
    """
    check_cells_nonempty(cells)
    check_affine_maps(cells)
    check_interiors_disjoint(cells)
    check_points_covered(cells, samples=samples, seed=seed)
    check_facets_paired(cells)


def check_cells_nonempty(cells: CellComplex) -> None:
    """Every cell holds its interior point: strictly in each row, with the cell's own signs.

    Raises
    ------
    EnumerationError
        A point lies on the wrong side of a row or of a neuron.
    """
    exact, decide = ExactNetwork(cells.network), ExactCells(cells.network, cells.frame)
    support, bound = cells.support.rows
    equal = np.array([not row.any() for row in rationals(support) @ cells.frame.basis], dtype=bool)
    for k, cell in enumerate(cells):
        G, h = cell.half_spaces
        slack = np.append(h - G @ cell.interior, (bound - support @ cell.interior)[~equal])
        tiny = 1e-12 * (1.0 + float(np.abs(cell.interior).max()))
        if np.all(slack > tiny):
            if not _signs_agree(exact, cells, k):
                raise EnumerationError(f"cell {k}: its interior point has another pattern")
        elif not np.all(slack > -tiny):
            raise EnumerationError(
                f"cell {k}: its interior point violates a row by {-slack.min():.3g}"
            )
        elif not _exactly_nonempty(decide, cells, k):
            raise EnumerationError(f"cell {k}: no point has its pattern with full dimension")


def check_affine_maps(cells: CellComplex) -> None:
    """Compare the affine map of every cell with the network at its interior point.

    Raises
    ------
    EnumerationError
        A map differs from the network by more than rounding.
    """
    points = np.array([cell.interior for cell in cells])
    logits = cells.network.logits(points)
    errors = cells.network.rounding_errors(points)[-1]
    for k, cell in enumerate(cells):
        J, c = cell.affine_map
        difference = np.abs(J @ cell.interior + c - logits[k])
        if not np.all(difference <= 8.0 * errors[k] + 1e-12 * (1.0 + np.abs(logits[k]))):
            raise EnumerationError(
                f"cell {k}: its affine map is off by {difference.max():.3g} at its interior point"
            )


def _exactly_nonempty(decide: ExactCells, cells: CellComplex, index: int) -> bool:
    """Decide over the rationals, by the signs of all neurons, a cell too small for float64."""
    pattern = cells[index].pattern
    path = []
    for k in np.flatnonzero(~cells.network.linear).tolist():
        w, b = decide.row(k, pattern)
        if any(v != 0 for v in w):
            path.append(k)
        elif (b > 0) != bool(pattern[k]):
            return False
    return decide.interior(path, pattern) is not None


def _signs_agree(exact: ExactNetwork, cells: CellComplex, index: int) -> bool:
    cell, network = cells[index], cells.network
    point = cell.interior[None, :]
    errors = np.concatenate([*network.rounding_errors(point)[:-1], np.zeros((1, 0))], axis=1)[0]
    z = network.preactivations(point)[0]
    on = (z > 0) | network.linear
    doubtful = (np.abs(z) <= errors) & ~network.linear
    starts = np.concatenate([[0], np.cumsum(network.widths)]).astype(int)
    x = rationals(cell.interior)
    for k in np.flatnonzero(doubtful).tolist():
        layer = int(np.searchsorted(starts, k, side="right")) - 1
        J, c = exact.layer(layer, cell.pattern)
        row = k - int(starts[layer])
        on[k] = J[row] @ x + c[row] > 0
    return bool(np.array_equal(on, cell.pattern))


def check_interiors_disjoint(cells: CellComplex) -> None:
    """No two cells share a pattern, and no interior point lies inside another cell.

    Raises
    ------
    EnumerationError
        Names two cells that overlap.
    """
    seen: dict[bytes, int] = {}
    for k, cell in enumerate(cells):
        other = seen.setdefault(cell.pattern.tobytes(), k)
        if other != k:
            raise EnumerationError(f"cells {other} and {k} have the same activation pattern")
    points = np.array([cell.interior for cell in cells])
    for k, cell in enumerate(cells):
        G, h = cell.half_spaces
        inside = np.all(points @ G.T < h - 1e-12 * (1 + np.abs(h)), axis=1)
        inside[k] = False
        if inside.any():
            raise EnumerationError(f"cells {k} and {int(np.argmax(inside))} overlap")


def check_points_covered(cells: CellComplex, *, samples: int = 1000, seed: int = 0) -> None:
    """Random points of the support lie in exactly one cell (boundaries apart).

    Parameters
    ----------
    samples, seed
        How many points, drawn around the interior points at all scales.

    Raises
    ------
    EnumerationError
        A point lies in no cell, or strictly inside two.
    """
    points = _random_points(cells, samples, seed)
    closed = np.zeros(len(points), dtype=int)
    strict = np.zeros(len(points), dtype=int)
    for cell in cells:
        closed += cell.contains(points, 1e-9 * (1 + float(np.abs(points).max())))
        G, h = cell.half_spaces
        strict += np.all(points @ G.T < h - 1e-12 * (1 + np.abs(h)), axis=1)
    for bad, words in ((closed == 0, "no cell"), (strict > 1, "more than one cell")):
        if bad.any():
            where = np.array2string(points[int(np.argmax(bad))], precision=6)
            raise EnumerationError(f"the point {where} of the support lies in {words}")


def _random_points(cells: CellComplex, samples: int, seed: int) -> Floats:
    """Mixtures of interior points and Gaussian steps from them that stay in the support."""
    random = np.random.default_rng(seed)
    centres = np.array([cell.interior for cell in cells])
    a, b = (centres[random.integers(len(cells), size=samples)] for _ in range(2))
    mixed = a + random.random((samples, 1)) * (b - a)
    coordinates = cells.frame.coordinates(centres[random.integers(len(cells), size=samples)])
    scale = 10.0 ** random.uniform(-3, 1, size=(samples, 1))
    stepped = cells.frame.points(coordinates + scale * random.normal(size=coordinates.shape))
    return np.concatenate([mixed, stepped[cells.support.contains(stepped)]])


def check_facets_paired(cells: CellComplex) -> None:
    """Across every facet lies a cell that has the first one across a facet of its own.

    Raises
    ------
    EnumerationError
        A facet without a neighbour, or a one-sided pair: a cell is missing or wrong.
    """
    pairs: set[tuple[int, int]] = set()
    for k in range(len(cells)):
        pairs.update((k, neighbour(cells, k, facet)) for facet in facets(cells, k))
    for k, other in pairs:
        if (other, k) not in pairs:
            raise EnumerationError(f"cell {k} has cell {other} across a facet, but not conversely")
