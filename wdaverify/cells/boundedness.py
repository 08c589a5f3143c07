r"""Which cells of an unbounded support are bounded: floating point for many, exactly in doubt.

A cell in whose pattern few neurons of the first layer are on has a cone without interior: all later
neurons are combinations of those (negative slope 0), so they stay what they are along every ray of
:math:`\{u : w_k\cdot u = 0\ (k\text{ on}),\ w_i\cdot u \le 0\ (i\text{ off})\}`. Such rays are
looked for once for all cells with the same signs in the first layer.
"""

import numpy as np

from wdaverify.arrays import Bools, Integers
from wdaverify.cells.decision import ExactCells
from wdaverify.cells.frame import Frame, unit_rows
from wdaverify.cells.rays import BOUNDED, OPEN, UNKNOWN, bounded_by_rows
from wdaverify.cells.recession import is_bounded, rank
from wdaverify.network import ReLUNetwork

__all__ = ["bounded_cells"]

CHUNK = 512
"""Cells that are looked at together."""

CANCELLED = 1e-3
"""Rows this much smaller than their summands are left to exact arithmetic."""

SPREAD = 1e-4
"""Smallest singular value of unit rows whose null space floating point knows well."""


def bounded_cells(network: ReLUNetwork, frame: Frame, patterns: Bools, cuts: Bools) -> Bools:
    """Return whether each cell (intersected with the support) is bounded, ``(cells,)``."""
    exact = ExactCells(network, frame)
    if is_bounded(frame.matrix):
        return np.ones(len(patterns), dtype=bool)
    if network.neurons == 0:
        return np.zeros(len(patterns), dtype=bool)
    none = np.zeros(network.neurons, dtype=bool)
    width = network.widths[0] if network.widths else 0
    first = np.array([exact.row(k, none)[0] for k in range(width)], dtype=object)
    together = np.concatenate([frame.matrix, first.reshape(width, frame.dimension)])
    if rank(together) < frame.dimension:  # every cell contains lines
        return np.zeros(len(patterns), dtype=bool)
    cells = _Cells(network, frame, exact)
    parts = [slice(k, k + CHUNK) for k in range(0, len(patterns), CHUNK)]
    found = np.concatenate([cells.answer(patterns[p], cuts[p]) for p in parts])
    _by_first_layer(cells, patterns, found)
    for k in np.flatnonzero(found == UNKNOWN):
        found[k] = cells.exactly(patterns[k], cuts[k])
    return np.asarray(found == BOUNDED)


class _Cells:
    def __init__(self, network: ReLUNetwork, frame: Frame, exact: ExactCells) -> None:
        self.network, self.frame, self.exact = network, frame, exact
        self.basis = frame.basis.astype(np.float64)
        rows = frame.matrix.astype(np.float64)
        self.support = unit_rows(rows, np.zeros(len(rows))).matrix
        size = np.abs(network.weights[0]) @ np.abs(self.basis)
        first = network.weights[0] @ self.basis
        self.first = unit_rows(first, np.zeros(len(size))).matrix
        self.plain = bool(np.all(np.abs(first).sum(axis=1) > CANCELLED * size.sum(axis=1)))
        sizes, total = [size.sum(axis=1)], size.sum(axis=1)
        for W, slope in zip(network.weights[1:-1], network.slopes, strict=False):
            total = np.abs(W) @ (np.maximum(1.0, np.abs(slope)) * total)
            sizes.append(total)
        self.summands = np.concatenate(sizes)

    def answer(self, patterns: Bools, cuts: Bools) -> Integers:
        """Return what floating point knows of some cells."""
        J = self.network.affine_maps(patterns)[0].matrix @ self.basis
        length = np.linalg.norm(J, axis=2)
        clear = length > CANCELLED * self.summands
        side = np.where(patterns, -1.0, 1.0) / np.where(clear, length, 1.0)
        count = len(patterns)
        rows = np.concatenate(
            [np.broadcast_to(self.support, (count, *self.support.shape)), side[:, :, None] * J],
            axis=1,
        )
        used = np.concatenate([np.ones((count, len(self.support)), dtype=bool), cuts], axis=1)
        found = bounded_by_rows(rows, used)
        found[(cuts & ~clear).any(axis=1)] = UNKNOWN
        return found

    def escapes(self, on: Bools) -> bool:
        """Whether there is a ray along which the neurons of the first layer that are on stay."""
        fixed = self.first[on]
        _, singular, turned = np.linalg.svd(fixed)
        if len(singular) < len(fixed) or singular.min(initial=1.0) < SPREAD:
            return False
        null = turned[len(fixed) :].T
        if not null.shape[1]:
            return False
        rows = np.concatenate([self.support, self.first[~on]]) @ null
        length = np.linalg.norm(rows, axis=1)
        if np.any(length < SPREAD):
            return False
        unit = (rows / length[:, None])[None]
        return bool(bounded_by_rows(unit, np.ones(unit.shape[:2], dtype=bool))[0] == OPEN)

    def exactly(self, pattern: Bools, cuts: Bools) -> int:
        """Decide over the rationals."""
        index = np.flatnonzero(cuts).tolist()
        rows = [self.exact.row(c, pattern)[0] * (-1 if pattern[c] else 1) for c in index]
        matrix = np.array(rows, dtype=object).reshape(len(rows), self.frame.dimension)
        closed = is_bounded(np.concatenate([self.frame.matrix, matrix]))
        return BOUNDED if closed else OPEN


def _by_first_layer(cells: _Cells, patterns: Bools, found: Integers) -> None:
    """Look for rays that all cells with the same signs in the first layer share."""
    network, open_ = cells.network, np.flatnonzero(found == UNKNOWN)
    if not len(open_) or network.slopes[0].any() or not cells.plain:
        return
    signs = patterns[open_, : network.widths[0]]
    distinct, group = np.unique(signs, axis=0, return_inverse=True)
    escaped = np.array([cells.escapes(on) for on in distinct])
    found[open_[escaped[group.ravel()]]] = OPEN
