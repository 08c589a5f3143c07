r"""All suprema of order 1 for l1 and l∞ in few dimensions, without a program.

The optimal multipliers of a piece are among finitely many candidates (:mod:`.corners`). At one
multiplier :math:`\lambda` those of all pieces are lines

.. math:: u\cdot x_i + h\cdot y + b,\qquad u = a - G^\top y,\ y\ge0,

each above the supremum of its piece for every sample; the least line of a piece is that supremum.
It is attained at :math:`x = x_i + Dt` with :math:`G_Rx = h_R`: along the face of the dual ball that
holds ``u``, to the rows in the support of ``y``.
"""

from functools import cached_property
from typing import NamedTuple

import numpy as np

from wdaverify.arrays import Floats, Integers
from wdaverify.cells.complex import CellComplex
from wdaverify.exact.corners import BallFaces, CellCorners, ball_faces, cell_corners
from wdaverify.exact.penalty import CANCELLED
from wdaverify.exact.pieces import Pieces
from wdaverify.network import AffineMap
from wdaverify.norms import GroundNorm
from wdaverify.support import Box

__all__ = ["Corners", "Lines", "Vertices"]

FEW = 3
"""Most features that are free for which corners are listed."""

SLIGHT = 1e-12
"""Relative excess of a dual norm over the multiplier that is rounding."""

ROUNDING = 4.0 * 2.0**-53
"""Relative rounding of a line, which is added to it."""

LARGEST, MOST = 1e5, 2e7
"""Row subsets of one cell, and of all pieces together, beyond which programs are better."""

CHUNK = 4_000_000
"""Numbers in one block of lines."""


class Corners:
    """The corners of all cells of a complex, computed when first asked for.

    Attributes
    ----------
    free
        Features that the support does not fix.
    """

    def __init__(self, cells: CellComplex, norm: GroundNorm) -> None:
        self.cells, self.norm, support = cells, norm, cells.support
        self._fixed = np.zeros(cells.network.features)
        self.free = np.arange(len(self._fixed))
        self._kept: dict[int, tuple[Pieces, Vertices]] = {}
        if isinstance(support, Box):
            fixed = support.lower == support.upper
            self._fixed, self.free = np.where(fixed, support.lower, 0.0), np.flatnonzero(~fixed)

    def of(self, pieces: Pieces) -> "Vertices | None":
        """Return the vertices of pieces, ``None`` where they are not affine or too many.

        Those of the pieces that a label was last asked about are kept.
        """
        if pieces.majorants is not None or len(pieces) == 0 or not self._few(pieces):
            return None
        kept, vertices = self._kept.get(pieces.label, (None, None))
        if kept is pieces:
            return vertices
        if pieces.thresholds is None:
            vertices = Vertices(self, pieces, (self._of_cells, pieces.cells))
        else:
            rows = [self._rows(pieces.rows(self.cells, k)) for k in range(len(pieces))]
            places = cell_corners(rows, self.faces), np.arange(len(pieces))
            vertices = Vertices(self, pieces, places)
        self._kept[pieces.label] = pieces, vertices
        return vertices

    def _few(self, pieces: Pieces) -> bool:
        """Whether features, rows and pieces are few enough."""
        if not 0 < len(self.free) <= FEW or not self.norm.polyhedral:
            return False
        subsets = self._row_counts ** float(len(self.free))
        return bool(subsets.max() <= LARGEST and subsets[pieces.cells].sum() <= MOST)

    @cached_property
    def _row_counts(self) -> Integers:
        own = [len(cell.half_spaces.offset) for cell in self.cells]
        return np.array(own) + len(self._support.offset)

    @cached_property
    def faces(self) -> BallFaces:
        """Faces of the dual ball."""
        return ball_faces(self.norm, len(self.free))

    @cached_property
    def _of_cells(self) -> CellCorners:
        return cell_corners([self._rows(cell.half_spaces) for cell in self.cells], self.faces)

    @cached_property
    def _support(self) -> AffineMap:
        return self.cells.support.rows

    def _rows(self, rows: AffineMap) -> AffineMap:
        """Add the rows of the support and drop fixed features."""
        matrix = np.concatenate([rows.matrix, self._support.matrix])
        bound = np.concatenate([rows.offset, self._support.offset])
        return AffineMap(matrix[:, self.free], bound - matrix @ self._fixed)


class Vertices:
    """The candidate multipliers of all pieces of one label, affine in the price.

    Parameters
    ----------
    where
        Corners of polyhedra, and which of these each piece is, ``(P,)``.
    """

    def __init__(
        self, source: Corners, pieces: Pieces, where: tuple[CellCorners, Integers]
    ) -> None:
        corners, places = where
        self._free, self._faces, self._corners = source.free, source.faces, corners
        self._gradients, self._offsets = pieces.gradients[:, source.free], pieces.offsets
        self._norm = source.norm
        self._sizes = self._norm.dual_length(self._gradients)
        counts = (corners.starts[1:] - corners.starts[:-1])[places]
        owners = np.repeat(np.arange(len(places)), counts)
        ends = np.cumsum(counts)
        index = np.arange(len(owners)) + np.repeat(corners.starts[places] - ends + counts, counts)
        a = self._gradients[owners]
        constant = np.einsum("kij,kj->ki", corners.constant[index], a)
        low, high = self._range(owners, index, constant)
        kept = (low <= high) & (high >= 0) & (low < np.inf)
        self._owners, self._index, self._constant = owners[kept], index[kept], constant[kept]
        self._low, self._high = low[kept], high[kept]

    def _range(self, owners: Integers, index: Integers, constant: Floats) -> tuple[Floats, Floats]:
        """Multipliers between which ``y >= 0`` and ``u`` is on its face, ``(K,)`` each."""
        linear, faces = self._corners.linear[index], self._corners.faces[index]
        G = self._corners.matrix[self._corners.rows[index]]
        E = self._faces.matrix[faces]
        at_rest = self._gradients[owners] - np.einsum("kij,ki->kj", G, constant)
        growing = np.einsum("kij,ki->kj", G, linear)
        constant = np.column_stack([constant, np.einsum("kqj,kj->kq", E, at_rest)])
        slope = np.column_stack([-linear, np.einsum("kqj,kj->kq", E, growing)])
        slope[:, linear.shape[1] :] += self._faces.slack[faces]
        constant += SLIGHT * self._sizes[owners, None]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            ends = -constant / slope
        low = np.where(slope > 0, ends, np.where((slope == 0) & (constant < 0), np.inf, -np.inf))
        high = np.where(slope < 0, ends, np.inf)
        return low.max(axis=1) * (1.0 - SLIGHT), high.min(axis=1) * (1.0 + SLIGHT)

    def at(self, multiplier: float, far: float) -> "Lines":
        """Return the lines of a multiplier, for samples with entries up to ``far``."""
        some = np.flatnonzero((self._low <= multiplier) & (multiplier <= self._high))
        index, owners, b = self._index[some], self._owners[some], self._offsets[self._owners[some]]
        y, gradients, sizes = self._slack(some, multiplier)
        h = self._corners.bound[self._corners.rows[index]]
        sizes = np.abs(b) + np.einsum("ki,ki->k", np.abs(h), y) + far * sizes
        offsets = b + np.einsum("ki,ki->k", h, y) + ROUNDING * sizes
        steepness = self._norm.dual_length(gradients)
        kept = steepness <= multiplier * (1.0 + SLIGHT) + CANCELLED * self._sizes[owners]
        slope = float(steepness[kept].max(initial=multiplier))
        rays = _Rays(self._corners, self._faces, index[kept])
        return Lines(owners[kept], gradients[kept], offsets[kept], (self._free, slope, rays))

    def slopes(self) -> Floats:
        """Bound the asymptotic slope of each piece, ``(P,)``: its least possible steepness."""
        _, gradients, sizes = self._slack(np.arange(len(self._low)), np.maximum(self._low, 0.0))
        found = self._sizes * (1.0 + ROUNDING)
        steepness = self._norm.dual_length(gradients) + ROUNDING * sizes
        np.minimum.at(found, self._owners, steepness)
        return found

    def _slack(self, some: Integers, multiplier: Floats | float) -> tuple[Floats, Floats, Floats]:
        """Return ``y``, ``a − Gᵀy`` and the sum of what is added up there, for some corners."""
        index, a = self._index[some], self._gradients[self._owners[some]]
        multiplier = np.broadcast_to(multiplier, len(some))[:, None]
        y = np.maximum(self._constant[some] - multiplier * self._corners.linear[index], 0.0)
        G = self._corners.matrix[self._corners.rows[index]]
        gradients = a - np.einsum("kij,ki->kj", G, y)
        return y, gradients, np.einsum("kij,ki->k", np.abs(G), y) + np.abs(a).sum(axis=1)


class _Rays(NamedTuple):
    """Where some lines come from: indices of corners, ``(L,)``."""

    corners: CellCorners
    faces: BallFaces
    places: Integers

    def meet(self, lines: Integers, points: Floats) -> Floats:
        """Return where points ``(m, n)`` that move along faces meet the rows of lines ``(m,)``."""
        index, n = self.places[lines], points.shape[1]
        rows, faces = self.corners.rows[index], self.corners.faces[index]
        G, h, D = self.corners.matrix[rows], self.corners.bound[rows], self.faces.normals[faces]
        unused = np.arange(n) >= self.faces.codimension[faces][:, None]
        M = G @ D + np.eye(n) * unused[:, None, :]
        t = np.linalg.solve(M, (h - np.einsum("mij,mj->mi", G, points))[..., None])
        return np.asarray(points + (D @ t)[..., 0])


class Lines:
    """Lines of one multiplier on the free features, sorted by piece.

    Attributes
    ----------
    owners
        Piece of each line, ``(L,)``.
    gradients, offsets
        ``u`` and ``h·y + b``, rounded up: ``(L, d)`` and ``(L,)``.
    slope
        Multiplier for which they hold without any rounding.
    """

    def __init__(
        self,
        owners: Integers,
        gradients: Floats,
        offsets: Floats,
        more: tuple[Integers, float, _Rays],
    ) -> None:
        self.owners, self.gradients, self.offsets = owners, gradients, offsets
        self._free, self.slope, self._rays = more
        self._pieces, self._starts = np.unique(owners, return_index=True)

    def lower(self, table: Floats, points: Floats) -> None:
        """Lower bounds ``(N, P)`` of samples ``(N, n)`` on all pieces, in place."""
        if len(self.owners) == 0:
            return
        step = max(1, CHUNK // len(self.owners))
        for k in range(0, len(points), step):
            values = points[k : k + step, self._free] @ self.gradients.T + self.offsets
            least = np.minimum.reduceat(values, self._starts, axis=1)
            block = table[k : k + step]
            block[:, self._pieces] = np.minimum(block[:, self._pieces], least)

    def points(self, samples: Floats, pieces: Integers) -> Floats:
        """Return the points ``(m, n)`` of pieces ``(m,)`` that are best for samples ``(m, n)``.

        A sample stays where it is if its piece has no line.
        """
        best = samples.copy()
        first = np.searchsorted(self.owners, pieces)
        last = np.searchsorted(self.owners, pieces, side="right")
        some = np.flatnonzero(first < last)
        if len(some):
            x = samples[np.ix_(some, self._free)]
            least = self._least(x, first[some], last[some])
            best[np.ix_(some, self._free)] = self._rays.meet(least, x)
        return best

    def _least(self, points: Floats, first: Integers, last: Integers) -> Integers:
        """Return the least of lines ``first`` to ``last − 1`` at each point, ``(m,)``."""
        index = first[:, None] + np.arange(int((last - first).max()))
        index = np.minimum(index, last[:, None] - 1)
        values = np.einsum("mkj,mj->mk", self.gradients[index], points) + self.offsets[index]
        return np.asarray(index[np.arange(len(index)), values.argmin(axis=1)])
