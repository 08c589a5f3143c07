r"""Corners of the dual sub-problem of every piece: what its optimal multipliers can be.

For order 1 the sub-problem of a piece with rows :math:`Gx\le h` is dual to

.. math:: \min_{y\ge0}\; u\cdot x_i + h\cdot y + b \quad\text{s.t.}\quad
          u = a - G^\top y,\ \|u\|_* \le \lambda,

and its minimum lies at a vertex of a polyhedron that does not know the sample. At a vertex the
``k`` rows in the support of ``y`` define a face of the cell, and ``u`` lies on a face of
codimension ``k`` of the dual ball, whose equations :math:`D^\top u=\lambda c` fix

.. math:: y = (G_RD)^{-\top}(D^\top a - \lambda c).

So there are finitely many candidates for each piece, affine in :math:`\lambda`, each good for an
interval of multipliers.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations, product
from typing import NamedTuple

import numpy as np

from wdaverify.arrays import Bools, Floats, Integers
from wdaverify.network import AffineMap
from wdaverify.norms import GroundNorm, LInf

__all__ = ["BallFaces", "CellCorners", "ball_faces", "cell_corners"]

SINGULAR = 1e-10
"""Rows and a face whose determinant is below this (rows of size 1 to 2) meet in no corner."""

FEASIBLE = 1e-8
"""Relative violation of a row at which a point is still called a vertex of the cell."""

CHUNK = 2_000_000
"""Numbers in one block of row subsets."""


class BallFaces(NamedTuple):
    r"""Proper faces of the dual unit ball, :math:`D^\top u=c` where :math:`Eu+f\ge0`.

    Attributes
    ----------
    codimension
        ``k`` of each face, ``(F,)``.
    normals, level
        ``D (F, n, n)``, columns from ``k`` on zero, and ``c (F, n)``.
    matrix, slack
        ``E (F, q, n)`` and ``f (F, q)``, rows that a face does not need zero.
    """

    codimension: Integers
    normals: Floats
    level: Floats
    matrix: Floats
    slack: Floats


class CellCorners(NamedTuple):
    """Row subsets and faces that meet, for many cells.

    Attributes
    ----------
    starts
        Corners of cell ``c`` are those from ``starts[c]`` to ``starts[c + 1]``, ``(C + 1,)``.
    rows
        Their rows as indices into ``matrix`` and ``bound``, the last row (zeros) where there are
        fewer, ``(K, n)``.
    faces
        Index of the face of the dual ball, ``(K,)``.
    constant, linear
        ``y = constant @ a − λ linear``, shapes ``(K, n, n)`` and ``(K, n)``.
    matrix, bound
        All rows ``G x <= h``, scaled by powers of two, and a row of zeros: ``(M, n)`` and ``(M,)``.
    """

    starts: Integers
    rows: Integers
    faces: Integers
    constant: Floats
    linear: Floats
    matrix: Floats
    bound: Floats


def ball_faces(norm: GroundNorm, n: int) -> BallFaces:
    """Return the proper faces of the dual ball of l1 (a cube) or l∞ (a cross-polytope)."""
    found = list(_cross_polytope(n) if isinstance(norm, LInf) else _cube(n))
    codimension = np.array([D.shape[1] for D, *_ in found])
    size = max(len(E) for _, _, E, _ in found)
    normals, level = np.zeros((len(found), n, n)), np.zeros((len(found), n))
    matrix, slack = np.zeros((len(found), size, n)), np.zeros((len(found), size))
    for face, (D, c, E, f) in enumerate(found):
        normals[face, :, : D.shape[1]], level[face, : len(c)] = D, c
        matrix[face, : len(E)], slack[face, : len(f)] = E, f
    return BallFaces(codimension, normals, level, matrix, slack)


def _cross_polytope(n: int) -> Iterator[tuple[Floats, Floats, Floats, Floats]]:
    """Faces ``conv{s_j e_j : j in S}``."""
    unit = np.eye(n)
    for size in range(1, n + 1):
        for chosen in map(list, combinations(range(n), size)):
            rest = np.delete(unit, chosen, axis=0)
            for signs in product((-1.0, 1.0), repeat=size):
                E = unit[chosen] * np.array(signs)[:, None]
                level = np.append(1.0, np.zeros(len(rest)))
                yield np.column_stack([E.sum(axis=0), rest.T]), level, E, np.zeros(size)


def _cube(n: int) -> Iterator[tuple[Floats, Floats, Floats, Floats]]:
    """Faces ``u_j = s_j`` for ``j`` in ``T``."""
    unit = np.eye(n)
    for size in range(1, n + 1):
        for chosen in map(list, combinations(range(n), size)):
            rest = np.delete(unit, chosen, axis=0)
            E = np.concatenate([rest, -rest])
            for signs in product((-1.0, 1.0), repeat=size):
                yield (unit[chosen] * np.array(signs)[:, None]).T, np.ones(size), E, np.ones(len(E))


def cell_corners(cells: Sequence[AffineMap], faces: BallFaces) -> CellCorners:
    """Return the corners of cells given by all their rows, in ``n <= 3`` or so dimensions."""
    n = faces.normals.shape[1]
    scaled = [_scaled(cell) for cell in cells]
    counts = np.array([len(cell.offset) for cell in scaled])
    first = np.concatenate([[0], np.cumsum(counts)])
    parts = [_Part.empty(n)]
    for count in np.unique(counts).tolist():
        same = np.flatnonzero(counts == count)
        step = max(1, CHUNK // max(1, count**n * count))
        for start in range(0, len(same), step):
            some = same[start : start + step]
            G = np.array([scaled[c].matrix for c in some])
            h = np.array([scaled[c].offset for c in some])
            parts += _parts(G, h, faces, (some, first[some], int(first[-1])))
    joined = _Part(*map(np.concatenate, zip(*parts, strict=True)))
    order = np.argsort(joined.cell, kind="stable")
    starts = np.searchsorted(joined.cell[order], np.arange(len(cells) + 1))
    matrix = np.concatenate([*(cell.matrix for cell in scaled), np.zeros((1, n))])
    bound = np.concatenate([*(cell.offset for cell in scaled), [0.0]])
    return CellCorners(
        starts,
        joined.rows[order],
        joined.faces[order],
        joined.constant[order],
        joined.linear[order],
        matrix,
        bound,
    )


def _scaled(rows: AffineMap) -> AffineMap:
    """Scale rows exactly so that their largest entries are between 1 and 2; drop rows of zeros."""
    largest = np.abs(rows.matrix).max(axis=1, initial=0.0)
    kept = largest > 0
    scale = np.ldexp(1.0, 1 - np.frexp(largest[kept])[1])
    return AffineMap(rows.matrix[kept] * scale[:, None], rows.offset[kept] * scale)


class _Part(NamedTuple):
    """Corners of some cells; fields as in :class:`CellCorners`."""

    cell: Integers
    rows: Integers
    faces: Integers
    constant: Floats
    linear: Floats

    @classmethod
    def empty(cls, n: int) -> "_Part":
        none = np.zeros(0, dtype=np.int64)
        rows = np.zeros((0, n), dtype=np.int64)
        return cls(none, rows, none, np.zeros((0, n, n)), np.zeros((0, n)))


def _parts(
    G: Floats, h: Floats, faces: BallFaces, where: tuple[Integers, Integers, int]
) -> Iterator[_Part]:
    """Return the corners of cells with equally many rows, for every number of rows that meet."""
    n = G.shape[2]
    for k, (subsets, kept) in enumerate(_cell_faces(G, h), start=1):
        some = np.flatnonzero(faces.codimension == k)
        D, c = faces.normals[some][:, :, :k], faces.level[some][:, :k]
        at, subset = np.nonzero(kept)
        chosen = subsets[subset]
        M = np.einsum("eki,fij->efkj", G[at[:, None], chosen], D)
        e, f = np.nonzero(np.abs(_determinant(M)) > SINGULAR)
        inverse = np.linalg.inv(M[e, f]) if len(e) else M[e, f]
        constant, linear = np.zeros((len(e), n, n)), np.zeros((len(e), n))
        constant[:, :k] = np.einsum("eji,enj->ein", inverse, D[f])
        linear[:, :k] = np.einsum("eji,ej->ei", inverse, c[f])
        rows = np.full((len(e), n), where[2])
        rows[:, :k] = where[1][at[e], None] + chosen[e]
        yield _Part(where[0][at[e]], rows, some[f], constant, linear)


def _cell_faces(G: Floats, h: Floats) -> list[tuple[Integers, Bools]]:
    """Return subsets of 1 to ``n`` rows and where they define faces: ``(S, k)`` and ``(C, S)``.

    A face of a cell that has vertices holds one, so the subsets of its rows are those to keep.
    """
    m, n = G.shape[1:]
    corners = np.array(list(combinations(range(m), n)), dtype=np.int64).reshape(-1, n)
    M, right = G[:, corners], h[:, corners]
    solvable = np.abs(_determinant(M)) > SINGULAR
    points = np.zeros(right.shape)
    if solvable.any():
        points[solvable] = np.linalg.solve(M[solvable], right[solvable][..., None])[..., 0]
    vertex = solvable
    for row, bound in zip(G.swapaxes(0, 1), h.T[..., None], strict=True):  # a short axis is slow
        value = np.einsum("csn,cn->cs", points, row)
        vertex &= value <= bound + FEASIBLE * (1.0 + np.abs(bound) + np.abs(value))
    pointed = np.asarray(vertex.any(axis=1))
    member: Bools = (corners[:, :, None] == np.arange(m)).any(axis=1)
    found = []
    for k in range(1, n):
        subsets = np.array(list(combinations(range(m), k)), dtype=np.int64).reshape(-1, k)
        inside = member[:, subsets].all(axis=-1)
        kept = (vertex.astype(np.float64) @ inside > 0) | ~pointed[:, None]
        found.append((subsets, kept))
    return [*found, (corners, vertex)]


def _determinant(M: Floats) -> Floats:
    """Return determinants of small matrices, ``(..., k, k) -> (...)``."""
    k = M.shape[-1]
    if k == 1:
        return np.asarray(M[..., 0, 0])
    if k == 2:
        return np.asarray(M[..., 0, 0] * M[..., 1, 1] - M[..., 0, 1] * M[..., 1, 0])
    return np.asarray(np.linalg.det(M))
