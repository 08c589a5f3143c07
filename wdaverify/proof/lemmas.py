r"""Lemmas: multipliers that show the sign of a neuron on a node of a tree.

.. math:: \max\{ z_k(x) : x\in\mathcal{X},\ \pm z_j(x)\le0 \text{ for decided } j\} \le 0

A linear program finds the multipliers. Where float64 cannot show the sign (the neuron's hyperplane
touches the node, or the support has no end there), the same program is solved over the rationals.
If the sign is wrong, the list of cells is wrong: a cell was lost.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from wdaverify.arrays import Bools, Floats
from wdaverify.checker.question import Question
from wdaverify.convex.exact import exact_maximum
from wdaverify.errors import SolverError
from wdaverify.exact.penalty import Penalty
from wdaverify.exact.program import PieceProgram, Solution
from wdaverify.network import AffineMap
from wdaverify.norms import GroundNorm
from wdaverify.rational import ExactNetwork, Rationals, rationals
from wdaverify.support import Box

__all__ = ["Geometry", "Multipliers", "Row", "region_of"]

SAFE = 1e-11
"""Distance below 0, relative to the numbers that are summed, at which float64 is believed."""

PRESENT = 1e-10
"""Multipliers below this, relative to the largest, do not belong to the basis."""


class Row(NamedTuple):
    """A half-space ``normal · x <= end`` of unit length: ``sign · z_k <= 0`` over ``size``."""

    neuron: int
    sign: int
    normal: Floats
    end: float
    size: float


class Multipliers(NamedTuple):
    """Multipliers of neurons and of the support's rows, in the file's units."""

    neurons: Sequence[tuple[int, Fraction | float]]
    rows: Sequence[tuple[int, Fraction | float]]


class Region(NamedTuple):
    """The support as float64: a box, and rows ``matrix x <= end``."""

    box: Box
    rows: AffineMap


def region_of(q: Question) -> Region:
    """Return the support of a question; every number of it is a float64."""
    low = np.array([-np.inf if v is None else float(v) for v in q.lower])
    high = np.array([np.inf if v is None else float(v) for v in q.upper])
    rows = [[float(Fraction(v, row.den)) for v in row.ints] for row in q.rows]
    matrix = np.array(rows).reshape(len(rows), len(low))
    return Region(Box(low, high), AffineMap(matrix, np.array([float(v) for v in q.ends])))


class Geometry:
    """The network and the support, in float64 and over the rationals.

    Parameters
    ----------
    exact
        The network over the rationals.
    """

    def __init__(self, q: Question, exact: ExactNetwork, norm: GroundNorm) -> None:
        self.q, self.exact, self.norm, self.region = q, exact, norm, region_of(q)
        widths = [len(layer.rows) for layer in q.layers[:-1]]
        self.starts = np.concatenate([[0], np.cumsum(widths)]).astype(int)

    def program(self, rows: Sequence[Row]) -> PieceProgram:
        """Return the program of a node: its rows, then those of the support."""
        n = len(self.q.lower)
        matrix = np.array([row.normal for row in rows]).reshape(len(rows), n)
        ends = np.array([row.end for row in rows])
        matrix = np.concatenate([matrix, self.region.rows.matrix])
        ends = np.concatenate([ends, self.region.rows.offset])
        return PieceProgram(AffineMap(matrix, ends), self.region.box, self.norm)

    def read(self, rows: Sequence[Row], eta: Floats, size: float = 1.0) -> Multipliers:
        """Return multipliers on the rows of a program in the file's units.

        Parameters
        ----------
        size
            What the objective of the program was divided by.
        """
        eta = eta * size
        neurons = [(row.neuron, float(v / row.size)) for row, v in zip(rows, eta, strict=False)]
        return Multipliers(neurons, list(enumerate(eta[len(rows) :].tolist())))

    def lemma(
        self, program: PieceProgram, rows: Sequence[Row], row: Row, about: tuple[Bools, Floats]
    ) -> Multipliers:
        """Return multipliers that show ``row`` to hold on the node of ``rows``.

        Parameters
        ----------
        about
            The pattern that earlier layers follow, and a point of the node.

        Raises
        ------
        SolverError
            The row does not hold.
        """
        pattern, point = about
        eta = np.zeros(len(program.bound))
        if self._shows(program, row, eta):
            return Multipliers([], [])
        try:
            found = program.solve(row.normal, point, Penalty(0.0))
        except SolverError:
            found = None
        if isinstance(found, Solution) and found.cut.multipliers is not None:
            eta = found.cut.multipliers
            eta = np.where(eta > PRESENT * eta.max(initial=0.0), eta, 0.0)
            if self._shows(program, row, eta):
                return self.read(rows, eta, row.size)
        return self._exactly(rows, row, pattern, eta)

    def _shows(self, program: PieceProgram, row: Row, eta: Floats) -> bool:
        """Whether multipliers show a row by a margin that rounding cannot undo."""
        g = row.normal - eta @ program.matrix
        summed = eta @ np.abs(program.matrix) + np.abs(row.normal)
        far = np.maximum(np.abs(program.lower), np.abs(program.upper))
        end = np.where(g > 0, program.upper, program.lower)
        sure = np.isfinite(far) | (np.isfinite(end) & (np.abs(g) > SAFE * summed))
        if not np.all(sure | (summed == 0)):  # rounding decides which end counts
            return False
        end, far = (np.where(summed == 0, 0.0, v) for v in (end, far))
        far = np.where(np.isfinite(far), far, np.abs(end))
        terms = float(eta @ program.bound) + float(g @ end) - row.end
        size = float(eta @ np.abs(program.bound)) + float(summed @ far) + abs(row.end)
        return terms < -SAFE * size

    def _exactly(self, rows: Sequence[Row], row: Row, pattern: Bools, eta: Floats) -> Multipliers:
        """Solve over the rationals: on the likely basis first, then on all rows."""
        objective, constant = self._row(row, pattern)
        likely = [k for k in range(len(rows)) if eta[k] > 0]
        for chosen in ([likely] if 0 < len(likely) < len(rows) else []) + [list(range(len(rows)))]:
            found = self._maximum(objective, [rows[k] for k in chosen], pattern)
            if found is not None and found[0] + constant <= 0:
                return found[1]
        side = "on" if row.sign < 0 else "off"
        raise SolverError(
            f"proof: neuron {row.neuron} is {side} in every cell listed of a node, but not on all "
            f"of it: a cell is missing"
        )

    def _row(self, row: Row, pattern: Bools) -> tuple[Rationals, Fraction]:
        """Return ``sign · z_k`` exactly, as gradient and constant."""
        layer = int(np.searchsorted(self.starts, row.neuron, side="right")) - 1
        J, c = self.exact.layer(layer, pattern)
        k = row.neuron - int(self.starts[layer])
        return row.sign * J[k], row.sign * c[k]

    def _maximum(
        self, objective: Rationals, rows: Sequence[Row], pattern: Bools
    ) -> tuple[Fraction, Multipliers] | None:
        """Maximise over rows and support; ``None`` where unbounded."""
        q, n = self.q, len(self.q.lower)
        pairs = [self._row(row, pattern) for row in rows]
        pairs = [(a, -c) for a, c in pairs]
        for vector, end in zip(q.rows, q.ends, strict=True):
            pairs.append((np.array([Fraction(v, vector.den) for v in vector.ints]), end))
        identity = rationals(np.eye(n))
        for k in range(n):
            high, low = q.upper[k], q.lower[k]
            pairs += [] if high is None else [(identity[k], high)]
            pairs += [] if low is None else [(-identity[k], -low)]
        A = np.empty((len(pairs), n), dtype=object)
        b = np.empty(len(pairs), dtype=object)
        for r, (a, end) in enumerate(pairs):
            A[r], b[r] = a, end
        optimum = exact_maximum(objective, A, b)
        if optimum is None:  # an empty node: the point is no use, the multipliers neither
            return None
        if optimum.value is None:
            return None
        y = optimum.multipliers.tolist()
        neurons = [(row.neuron, v) for row, v in zip(rows, y, strict=False)]
        return optimum.value, Multipliers(
            neurons, list(enumerate(y[len(rows) : len(rows) + len(q.rows)]))
        )
