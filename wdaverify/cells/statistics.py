"""Statistics of a complex of cells: how they touch, how large they are, where the samples lie."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wdaverify.arrays import Floats
from wdaverify.cells.complex import CellComplex
from wdaverify.cells.geometry import Geometry
from wdaverify.errors import EnumerationError
from wdaverify.limits import Limits

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["Samples", "Shapes", "Spread", "Statistics", "statistics_of"]

DOING = "statistics of cells"

TOUCHING = 1e-9
"""Distance from a closed cell at which a sample counts as in it, where its pattern is no cell's."""

LOST = 1e-7
"""Share of the support's volume by which the cells may miss it: far more than rounding."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Some numbers, summed up."""

    smallest: float
    median: float
    mean: float
    largest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Sum up at least one number; integers keep their type, but for the mean."""
        middle = float(np.median(values))
        return cls(min(values), middle, float(np.mean(values)), max(values))


@dataclass(frozen=True, slots=True)
class Shapes:
    """Sizes of bounded cells, each taken together with the support."""

    vertices: Spread
    facets: Spread
    """Those on the boundary of the support included."""
    volume: Spread
    total: float
    support: float | None
    """Volume of the support; ``None`` where it is unbounded. Otherwise ``total`` must equal it."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Where samples lie."""

    cells: int
    """Cells that hold a sample."""
    share_of_cells: float
    per_cell: Spread
    """Samples in each cell that holds one."""
    alone: float
    """Share of the samples whose cell holds no other: estimates (Good and Turing) how likely a
    new sample is to lie in a cell without any."""
    volume: float | None
    """Share of the support's volume in cells that hold a sample, where volumes are known."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """What :func:`statistics_of` finds; ``None`` where a number does not apply."""

    edges: int
    neighbours: Spread
    """Of each cell: as many as it has facets inside the support."""
    depth: Spread
    """Steps through facets from each cell to the nearest that holds a sample."""
    samples: Samples
    inradius: Spread | None
    """Of bounded cells, Euclidean."""
    shapes: Shapes | None
    """Of bounded cells, in at most four dimensions."""


def statistics_of(
    cells: CellComplex, points: Floats, *, limits: Limits | None = None
) -> Statistics:
    """Return statistics of a complex and of samples in its support.

    Parameters
    ----------
    points
        At least one sample, ``(N, n)``.

    Raises
    ------
    LimitReached
        Time or memory ran out.
    EnumerationError
        A cell is missing: the volumes do not fill the support, or a facet has no other side.
    """
    inradius, shapes, volumes = _sizes(cells, limits or Limits())
    graph = cells.graph
    held = Counter(_cell_of_each(cells, points))
    support = None if shapes is None else shapes.support
    samples = Samples(
        len(held),
        len(held) / len(cells),
        Spread.of(list(held.values())),
        sum(count == 1 for count in held.values()) / len(points),
        None if support is None else math.fsum(volumes[k] for k in held) / support,
    )
    neighbours = Spread.of([degree for _, degree in graph.degree])
    depth = Spread.of(_depths(graph, list(held)))
    return Statistics(graph.number_of_edges(), neighbours, depth, samples, inradius, shapes)


def _cell_of_each(cells: CellComplex, points: Floats) -> list[int]:
    """Return a cell for each sample: by its pattern, else the first (or nearest) that holds it."""
    found = cells.locate(points)
    return [
        _holding(cells, point) if k is None else k for point, k in zip(points, found, strict=True)
    ]


def _holding(cells: CellComplex, point: Floats) -> int:
    excess = []
    for cell in cells:
        G, h = cell.half_spaces
        excess.append(float((G @ point - h).max(initial=0.0)))
    return int(np.argmax(np.array(excess) <= max(TOUCHING, min(excess))))


def _depths(graph: "nx.Graph", sources: list[int]) -> list[int]:
    import networkx as nx  # noqa: PLC0415  (only when asked)

    layers = nx.bfs_layers(graph, sources)
    return [depth for depth, layer in enumerate(layers) for _ in layer]


def _sizes(
    cells: CellComplex, limits: Limits
) -> tuple[Spread | None, Shapes | None, dict[int, float]]:
    """Return inradii, shapes, and the volume of each bounded cell."""
    geometry = Geometry(cells)
    bounded = np.flatnonzero(cells.bounded).tolist()
    if not bounded or cells.frame.dimension == 0:
        return None, None, {}
    radii, shapes = [], []
    for done, k in enumerate(bounded):
        limits.check(DOING)
        limits.report(f"cell {done:,} of {len(bounded):,}", done / len(bounded))
        radii.append(geometry.ball(k).radius)
        if geometry.measurable:
            shapes.append(geometry.shape(k))
    if not shapes:
        return Spread.of(radii), None, {}
    volumes = [shape.volume for shape in shapes]
    found = Shapes(
        Spread.of([len(shape.vertices) for shape in shapes]),
        Spread.of([shape.facets for shape in shapes]),
        Spread.of(volumes),
        math.fsum(volumes),
        geometry.support_volume if geometry.bounded else None,
    )
    if found.support is not None and abs(found.total - found.support) > LOST * found.support:
        raise EnumerationError(
            f"the volumes of {len(cells)} cells add up to {found.total:.12g}, expected that of "
            f"the support, {found.support:.12g}: a cell is missing, or is there twice"
        )
    return Spread.of(radii), found, dict(zip(bounded, volumes, strict=True))
