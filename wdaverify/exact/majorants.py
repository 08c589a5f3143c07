r"""Losses that are no maximum of affine functions: parts of cells, each with an affine majorant.

A part is a polyhedron inside a cell together with an affine function that nowhere on it lies below
the loss. Where the majorant is too far above the loss, at the point where a sub-problem needs it,
the part gets a better majorant or is split; both serve every sample of the label from then on.

.. math:: \ell(x, y) \le a\cdot x + b \qquad x\in C_D\cap\{Gx\le h\}
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from wdaverify.arrays import Floats
from wdaverify.cells.complex import Cell, CellComplex
from wdaverify.errors import SolverError
from wdaverify.exact.penalty import Penalty
from wdaverify.exact.program import PieceProgram, Solution
from wdaverify.network import AffineMap
from wdaverify.norms import LInf
from wdaverify.support import Box

__all__ = [
    "CANCELLED",
    "Domain",
    "Majorants",
    "Part",
    "added",
    "largest_differences",
    "logit_maps",
    "no_rows",
    "stacked",
]

FAR = 1e6
"""Distance up to which the rounding residual of a dual bound is charged on unbounded cells."""

CAP = 60.0
"""Differences of logits above this count as unbounded: ``exp(−60)`` is below rounding."""


CANCELLED = 1e-13
"""Entries of a Jacobian this small against the largest are rounding."""


EXCHANGES = 2
"""Majorants tried for one part before it is split."""

PARALLEL = 1e-12
"""Unit rows this close are parallel."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A polyhedron inside a cell and an affine majorant of the loss on it.

    Attributes
    ----------
    cell, kind
        Index of the cell, and which branch of the formula (an ordering of logits) holds.
    rows
        Half-spaces ``G x <= h`` beyond those of cell and support, rows of unit length.
    gradient, offset
        The majorant ``a · x + b``.
    lower, upper
        Box of the quantities that the formula branches on, one entry each.
    improved
        How often its majorant was exchanged: two that take turns would never end.
    base
        A point from which rays of the part are steepest, where that matters, ``(n,)``.
    """

    cell: int
    kind: int
    rows: AffineMap
    gradient: Floats
    offset: float
    lower: Floats
    upper: Floats
    improved: int = 0
    base: Floats | None = None

    def majorant(self, point: Floats) -> float:
        """Evaluate the majorant at a point ``(n,)``."""
        return float(self.gradient @ point) + self.offset


class Majorants(ABC):
    """How a loss of one label is majorised, part by part, on boxes of some functions of ``x``.

    Attributes
    ----------
    infinite
        A point of the support at which the loss is infinite, ``(n,)``; ``None`` if there is none.
        Known once :meth:`parts` was called.
    """

    infinite: Floats | None = None

    @abstractmethod
    def parts(self) -> list[Part]:
        """Return parts that cover every cell."""

    def refine(self, part: Part, point: Floats) -> list[Part]:
        """Return what replaces a part whose majorant is too high at a point of it, ``(n,)``.

        Returns
        -------
        list of Part
            One: the same polyhedron with a majorant that is lower there. Several: parts that cover
            it. None: rounding is all that is left.
        """
        at, now = self.coordinates(part, point), part.majorant(point)
        if part.improved < EXCHANGES:
            better = replace(self.planed(part, at), improved=part.improved + 1)
            reached = better.majorant(point)
            if now - reached > 0.5 * (now - self.loss(part, point)):
                return [better]
        return self.split(part, at)

    @abstractmethod
    def coordinates(self, part: Part, point: Floats) -> Floats:
        """Return where in the box of a part a point of it lies."""

    @abstractmethod
    def loss(self, part: Part, point: Floats) -> float:
        """Return the loss at a point by the formula that holds on the part."""

    def fragile(self, part: Part, point: Floats) -> bool:  # noqa: ARG002
        """Whether float64 evaluates the loss at a point of a part by accident."""
        return False

    @abstractmethod
    def planed(self, part: Part, at: Floats) -> Part:
        """Return the part with the majorant that is lowest at some place of its box."""

    @abstractmethod
    def split(self, part: Part, at: Floats) -> list[Part]:
        """Return parts whose boxes meet at a place, where their majorants are lower."""


class LogitMaps(NamedTuple):
    """Logits on every cell, ``z = J x + c``: ``(cells, K, n)`` and ``(cells, K)``."""

    matrices: Floats
    offsets: Floats


@lru_cache(maxsize=4)
def logit_maps(complex_: CellComplex) -> LogitMaps:
    """Return the logits of all cells, features that the support fixes folded into the offset."""
    J, c = complex_.logit_maps
    support = complex_.support
    if isinstance(support, Box):
        fixed = support.lower == support.upper
        c = c + J[:, :, fixed] @ support.lower[fixed]
        J = np.where(fixed, 0.0, J)
    return LogitMaps(_merged(J), c)


def _merged(J: Floats) -> Floats:
    """Make rows of one cell equal whose difference is rounding, which would become a direction."""
    J = J.copy()
    noise = CANCELLED * float(np.abs(J).max(initial=0.0))
    for j in range(1, J.shape[1]):
        for k in range(j):
            same = np.abs(J[:, j] - J[:, k]).max(axis=1, initial=0.0) <= noise
            J[same, j] = J[same, k]
    return J


@lru_cache(maxsize=4)
def largest_differences(complex_: CellComplex) -> Floats:
    """Bound ``z_j − z_k`` from above over every cell, shape ``(cells, K, K)``.

    Linear programs with dual bounds; what exceeds :data:`CAP` on an unbounded cell is infinite.
    """
    J, c = logit_maps(complex_)
    K = complex_.network.classes
    found = np.zeros((len(complex_), K, K))
    for index, (cell, bounded) in enumerate(zip(complex_, complex_.bounded, strict=True)):
        domain = Domain(complex_, cell.half_spaces, cell.interior, bounded=bool(bounded))
        for j in range(K):
            for k in range(K):
                if j != k:
                    found[index, j, k] = domain.largest(
                        AffineMap(J[index, j] - J[index, k], c[index, j] - c[index, k])
                    )
    return found


class Domain:
    """Half-spaces ``G x <= h`` inside a support, on which affine functions are bounded."""

    def __init__(
        self, complex_: CellComplex, rows: AffineMap, inside: Floats, *, bounded: bool
    ) -> None:
        self.support, self.rows, self.inside = complex_.support, rows, inside
        self._program = PieceProgram(rows, self.support, LInf()) if bounded else None

    def largest(self, function: AffineMap) -> float:
        """Bound ``a · x + b`` from above by a dual bound; ``−inf`` where there is no point."""
        a, b = function.matrix, float(function.offset)
        length = float(np.linalg.norm(a))
        if length == 0:
            return b
        program, cap = self._program, np.inf
        if program is None:
            cap = max(CAP, 2.0 * (float(a @ self.inside) + b))
            rows = AffineMap((a / length)[None, :], np.array([(cap - b) / length]))
            program = PieceProgram(stacked(self.rows, rows), self.support, LInf())
        try:
            solution = program.solve(a / length, self.inside, Penalty(0.0))
        except SolverError:  # undecided on an unbounded cell; infinity is a bound
            return np.inf
        if not isinstance(solution, Solution):
            return -np.inf
        steepness = solution.cut.steepness
        line = float(solution.cut.gradient @ self.inside) + solution.cut.offset
        top = b + length * (line + (steepness * FAR if steepness > 0 else 0.0))
        top += 1e-13 * (abs(b) + float(np.abs(a) @ np.abs(solution.point)))
        return np.inf if top >= cap * (1.0 - 1e-9) else float(top)

    def least(self, function: AffineMap) -> tuple[float, Floats]:
        """Bound a function from below that is not negative; also return where it is least."""
        a, b = function.matrix, float(function.offset)
        length = float(np.linalg.norm(a)) or 1.0
        program = self._program or PieceProgram(self.rows, self.support, LInf())
        solution = program.solve(-a / length, self.inside, Penalty(0.0))
        if not isinstance(solution, Solution):
            return np.inf, self.inside
        line = float(solution.cut.gradient @ self.inside) + solution.cut.offset
        charged = solution.cut.steepness * FAR if solution.cut.steepness > 0 else 0.0
        rounding = 1e-13 * (abs(b) + float(np.abs(a) @ np.abs(solution.point)))
        return b - length * (line + charged) - rounding, solution.point


def added(cell: Cell, known: AffineMap, more: AffineMap) -> AffineMap:
    """Append rows ``matrix x <= bound`` to those of a part, ``known``, scaled to unit length.

    A row parallel to another one but for rounding takes its direction: exact arithmetic would let
    the two meet far outside the cell. Rows of zeros go.
    """
    lengths = np.linalg.norm(more.matrix, axis=1)
    directions = np.concatenate([cell.half_spaces.matrix, known.matrix])
    rows, bounds = [], []
    for k in np.flatnonzero(lengths > 0).tolist():
        row = more.matrix[k] / lengths[k]
        for sign in (1.0, -1.0):
            close = np.abs(directions - sign * row).max(axis=1, initial=0.0) <= PARALLEL
            if close.any():
                row = sign * directions[close][0]
        directions = np.concatenate([directions, row[None, :]])
        rows.append(row)
        bounds.append(more.offset[k] / lengths[k])
    return stacked(
        known, AffineMap(np.array(rows).reshape(-1, more.matrix.shape[1]), np.array(bounds))
    )


def stacked(first: AffineMap, second: AffineMap) -> AffineMap:
    """Return the half-spaces of both."""
    return AffineMap(
        np.concatenate([first.matrix, second.matrix]), np.concatenate([first.offset, second.offset])
    )


def no_rows(features: int) -> AffineMap:
    """Return no half-space at all."""
    return AffineMap(np.zeros((0, features)), np.zeros(0))
