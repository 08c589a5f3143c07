r"""Lipschitz constants from the listed cells, relative to the affine hull of the support.

.. math:: L_{y,j} = \max_D \|(J_D)_j - (J_D)_y\|_*, \qquad \|a\|_* = \min_{w \perp V} \|a + w\|_*
"""

from typing import NamedTuple

import numpy as np

from wdaverify.arrays import Bools, Floats
from wdaverify.bounds.constants import (
    CANCELLED,
    Constants,
    head_of,
    rounding_room,
    summands,
    top_rows,
)
from wdaverify.bounds.interior import widest
from wdaverify.cells.complex import CellComplex
from wdaverify.cells.frame import Frame, unit_rows
from wdaverify.convex.highs import LinearProgram
from wdaverify.limits import Limits
from wdaverify.loss import Loss
from wdaverify.norms import GroundNorm

__all__ = ["cell_constants", "cell_lipschitz", "margin_constants", "steepest_piece"]

PROGRAMS = 2000
"""Linear programs for each pair, after which the cell constant takes the place of what is left."""


def cell_lipschitz(cells: CellComplex, norm: GroundNorm) -> Floats:
    """Return the exact Lipschitz constant of each label, rounded up, ``(K,)``."""
    return cell_constants(cells, norm).labels[1]


def cell_constants(cells: CellComplex, norm: GroundNorm) -> Constants:
    """Return the largest dual norms of gradients over all cells; the bracket is rounding."""
    K = cells.network.classes
    found = np.zeros((K, K))
    for y in range(K):
        for j in range(y):
            found[y, j] = found[j, y] = _lengths(cells, norm, y, j).max()
    return _rounded(cells, norm, found, found)


def steepest_piece(cells: CellComplex, norm: GroundNorm, loss: Loss, label: int) -> float:
    """Return the largest dual norm of a gradient of a piecewise affine loss, over all cells."""
    C = loss.pieces(cells.network.classes, label).matrix
    lengths = [
        hull_dual_length(cells.frame, norm, np.asarray(row @ cells.logit_maps.matrix)).max()
        for row in C
    ]
    return float(max(lengths))


def margin_constants(
    cells: CellComplex, norm: GroundNorm, limits: Limits | None = None
) -> Constants:
    """Return the constants that count only the top wrong class.

    A class that is on top somewhere in a cell is shown there by a point. That it is on top nowhere
    in a cell of a steeper gradient is shown by multipliers; where neither is seen, the cell counts
    in the upper bound only.

    Parameters
    ----------
    limits
        Where they are reached, cells not yet looked at count in the upper bound.
    """
    K, limits = cells.network.classes, limits or Limits()
    if K == 2:
        return cell_constants(cells, norm)
    tops = _Tops(cells, limits)
    lower, upper = np.zeros((K, K)), np.zeros((K, K))
    for y in range(K):
        for j in range(K):
            if j != y:
                lengths = _lengths(cells, norm, y, j)
                lower[y, j], upper[y, j] = tops.steepest(lengths, y, j)
    return _rounded(cells, norm, lower, upper)


class _Bracket(NamedTuple):
    lower: float
    upper: float


class _Tops:
    """Decides where a class is the top wrong one."""

    def __init__(self, cells: CellComplex, limits: Limits) -> None:
        self.cells, self.limits = cells, limits
        frame = cells.frame
        self.basis, self.origin = frame.basis.astype(np.float64), frame.origin.astype(np.float64)
        self.support = unit_rows(frame.matrix.astype(np.float64), frame.bound.astype(np.float64))
        low, high = frame.extent()
        self.sizes = np.maximum(np.abs(low), np.abs(high))
        logits = cells.network.logits(cells.interiors)
        self.errors = cells.network.rounding_errors(cells.interiors)[-1]
        self.logits, self.summands = logits, summands(cells.network)

    def steepest(self, lengths: Floats, label: int, target: int) -> _Bracket:
        """Bracket the largest of the lengths ``(cells,)`` over cells where the target is on top."""
        certain = self._seen(label, target)
        reached, doubt = float(lengths[certain].max(initial=0.0)), 0.0
        for asked, cell in enumerate(np.argsort(-lengths, kind="stable").tolist()):
            length = float(lengths[cell])
            if length <= max(reached, doubt):
                break
            if asked >= PROGRAMS or self.limits.reached("margin constants") is not None:
                doubt = max(doubt, length)
                break
            found = self._inside(cell, label, target)
            if found is None:
                doubt = length
            elif found:
                reached = length
        return _Bracket(reached, max(reached, doubt))

    def _seen(self, label: int, target: int) -> Bools:
        """Whether the target is on top at each cell's interior point beyond doubt, ``(cells,)``."""
        rows = top_rows(self.cells.network.classes, label, target)
        lead = self.logits @ rows.T
        return np.asarray(np.all(lead > self.errors @ np.abs(rows).T, axis=1))

    def _inside(self, index: int, label: int, target: int) -> bool | None:
        """Whether the target is on top somewhere inside a cell; ``None`` where it is in doubt."""
        cell = self.cells[index]
        rows = top_rows(self.cells.network.classes, label, target)
        J, c = rows @ cell.affine_map.matrix, rows @ cell.affine_map.offset
        plain = np.linalg.norm(J, axis=1) > CANCELLED * np.linalg.norm(
            np.abs(rows) @ self.summands, axis=1
        )
        flat, level = J[~plain], c[~plain]
        if np.any(~flat.any(axis=1) & (level < -CANCELLED * (1.0 + np.abs(c).max(initial=0.0)))):
            return False
        J, c = J[plain], c[plain]
        G = np.concatenate([cell.half_spaces.matrix, -J])
        h = np.concatenate([cell.half_spaces.offset, c])
        G, h = unit_rows(G @ self.basis, h - G @ self.origin)
        matrix = np.concatenate([self.support.matrix, G])
        found = widest(matrix, np.concatenate([self.support.offset, h]), self.sizes)
        if found.empty:
            return False
        point = self.basis @ found.point + self.origin
        return True if found.certain and np.all(flat @ point + level >= 0) else None


def _lengths(cells: CellComplex, norm: GroundNorm, label: int, target: int) -> Floats:
    """Dual norms of the gradients of ``z_target − z_label``, ``(cells,)``."""
    gradients = head_of(cells.network.classes, label, target) @ cells.logit_maps.matrix
    return hull_dual_length(cells.frame, norm, gradients)


def _rounded(cells: CellComplex, norm: GroundNorm, lower: Floats, upper: Floats) -> Constants:
    room = rounding_room(cells.network, norm)
    return Constants(np.maximum(lower - room, 0.0), upper + room, "cells")


def hull_dual_length(frame: Frame, norm: GroundNorm, gradients: Floats) -> Floats:
    r"""Dual norm relative to the affine hull of the support, :math:`\min_{w\perp V}\|a+w\|_*`.

    Parameters
    ----------
    gradients
        Shape ``(M, n)``.

    Returns
    -------
    ndarray
        Shape ``(M,)``.
    """
    basis = frame.basis.astype(np.float64)
    d = basis.shape[1]
    if np.array_equal(np.abs(basis).sum(axis=0), np.ones(d)) and np.isin(basis, (0.0, 1.0)).all():
        return norm.dual_length(gradients @ basis)
    if norm.name == "l2":
        orthonormal, _ = np.linalg.qr(basis)
        return norm.dual_length(gradients @ orthonormal)
    return np.array([_hull_program(basis, norm, g) for g in gradients])


def _hull_program(basis: Floats, norm: GroundNorm, gradient: Floats) -> float:
    """Solve ``max a · B u`` subject to ``‖B u‖ <= 1``."""
    n, d = basis.shape
    extra = n if norm.name == "l1" else 1
    free = np.full(d, np.inf)
    program = LinearProgram(
        np.append(-free, np.zeros(extra)), np.append(free, np.full(extra, np.inf))
    )
    shift = np.eye(n) if norm.name == "l1" else np.ones((n, 1))
    program.add_rows(np.block([[basis, -shift], [-basis, -shift]]), np.zeros(2 * n))
    program.add_rows(np.append(np.zeros(d), np.ones(extra))[None, :], np.ones(1))
    answer = program.maximize(np.append(gradient @ basis, np.zeros(extra)))
    # dual bound: a + w with w orthogonal to the hull, by the multipliers of both sides
    difference = np.maximum(answer.multipliers[:n], 0) - np.maximum(
        answer.multipliers[n : 2 * n], 0
    )
    residual = basis.T @ (gradient - difference)
    correction = np.linalg.lstsq(basis.T, residual, rcond=None)[0]
    return float(norm.dual_length(difference + correction))
