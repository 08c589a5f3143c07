r"""Projection on a polyhedron by a dual active set (Goldfarb and Idnani, 1983).

.. math:: \min\;\tfrac12\|u - z\|_2^2\quad\text{s.t.}\quad Gu\le s,\qquad
          z - u = G^\top y,\quad y\ge0,\quad y\cdot(s - Gu) = 0

Rows enter one at a time, the most violated first; the point is at every moment the projection on
the rows that are active, so that no feasible point is needed to begin with. The pseudo-inverse of
the active rows is updated by a rank-one formula (Greville, 1960) for each row that comes or goes.
No step takes a root: over the rationals the same code is exact.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from wdaverify.arrays import Floats

__all__ = ["ActiveSet", "Infeasible", "Projection", "project"]

DEPENDENT = 1e-20
"""Squared sine of the angle below which a row counts as a combination of others."""

DRIFT = 1e-10
"""Error of the updated pseudo-inverse above which it is computed afresh."""


class Infeasible(NamedTuple):
    """Multipliers ``y >= 0`` with ``Gᵀ y = 0`` and ``s · y < 0``, shape ``(m,)``."""

    multipliers: Floats


@dataclass(slots=True)
class ActiveSet:
    """Rows that hold with equality, and the pseudo-inverse of their matrix.

    Attributes
    ----------
    rows
        Indices, in the order in which they came.
    inverse
        ``P (k, n)`` with ``P N = I`` for the columns ``N (n, k)`` of active rows.
    """

    matrix: Floats
    rows: list[int] = field(default_factory=list)
    inverse: Floats = field(init=False)

    def __post_init__(self) -> None:
        self.inverse = self.matrix[:0]

    @property
    def exact(self) -> bool:
        """Whether the numbers are rationals."""
        return self.matrix.dtype == object

    def copy(self) -> "ActiveSet":
        """Return a set that changes on its own."""
        other = ActiveSet(self.matrix, list(self.rows))
        other.inverse = self.inverse
        return other

    def split(self, row: Floats) -> tuple[Floats, Floats]:
        """Return ``r, w`` with ``row = Nr + w`` and ``w`` orthogonal to all active rows."""
        N = self.matrix[self.rows]
        r = self.inverse @ row
        w = row - r @ N
        if self.rows and not self.exact:  # once more, or nearly parallel rows lose all digits
            again = self.inverse @ w
            r, w = r + again, w - again @ N
        return r, w

    def add(self, row: int, r: Floats, w: Floats) -> None:
        """Append a row that :meth:`split` has taken apart."""
        v = w / (w @ w)
        self.inverse = np.concatenate([self.inverse - r[:, None] * v, v[None, :]])
        self.rows.append(row)

    def drop(self, position: int) -> None:
        """Remove one row."""
        q = self.inverse[position]
        rest = np.concatenate([self.inverse[:position], self.inverse[position + 1 :]])
        self.inverse = rest - (rest @ q / (q @ q))[:, None] * q
        del self.rows[position]

    def refresh(self) -> None:
        """Compute the pseudo-inverse afresh where updates have spoilt it."""
        if self.exact or not self.rows:
            return
        N = self.matrix[self.rows].T
        error = np.abs(self.inverse @ N - np.eye(len(self.rows))).max()
        if not error <= DRIFT:
            self.inverse = np.asarray(np.linalg.pinv(N), dtype=np.float64)


class Projection(NamedTuple):
    """The nearest point ``u`` and the multipliers of the active rows, ``(k,)``."""

    point: Floats
    multipliers: Floats


def project(
    active: ActiveSet, room: Floats, target: Floats, tolerance: float = 0.0
) -> Projection | Infeasible | None:
    """Project a target on ``{u : matrix u <= room}``.

    Parameters
    ----------
    active
        Any set of independent rows to begin with, for instance that of a similar question; at the
        end the active rows of the projection.
    room
        Shape ``(m,)``; infinite where a row does not count.
    tolerance
        Violation of a row that counts as none (0 over the rationals).

    Returns
    -------
    Projection, Infeasible or None
        ``None`` where rounding let the method run in circles.
    """
    matrix = active.matrix
    y = _start(active, room, target)
    u = target - y @ matrix[active.rows]
    for _ in range(20 * sum(matrix.shape) + 20):
        violation = matrix @ u - room
        violation[active.rows] = 0
        row = int(violation.argmax()) if len(violation) else -1
        if row < 0 or violation[row] <= tolerance:
            return Projection(u, y)
        entered = _enter(active, row, y, violation[row])
        if isinstance(entered, Infeasible):
            return entered
        y = entered
        u = target - y @ matrix[active.rows]
    return None


def _start(active: ActiveSet, room: Floats, target: Floats) -> Floats:
    """Drop rows until the multipliers of the others are non-negative; return these."""
    while active.rows:
        y = active.inverse @ (target - room[active.rows] @ active.inverse)
        worst = int(y.argmin())
        if y[worst] >= 0:
            return np.asarray(y)
        active.drop(worst)
    return active.inverse @ target


def _enter(
    active: ActiveSet,
    row: int,
    y: Floats,
    violation: Any,  # noqa: ANN401  (float or Fraction)
) -> Floats | Infeasible:
    """Make a violated row active, at the price of others; return the new multipliers."""
    normal = active.matrix[row]
    size = 0 if active.exact else DEPENDENT * float(normal @ normal)
    own: Any = violation * 0
    while True:
        r, w = active.split(normal)
        length = w @ w
        leaving, step = _first_to_leave(y, r)
        if length > size and (leaving < 0 or violation <= step * length):
            step = violation / length
            active.add(row, r, w)
            return np.append(y - step * r, own + step)
        if leaving < 0:
            multipliers = np.zeros(len(active.matrix), dtype=active.matrix.dtype)
            multipliers[active.rows] = -r
            multipliers[row] = 1
            return Infeasible(multipliers)
        y, own = y - step * r, own + step
        if length > size:
            violation = violation - step * length
        y = np.append(y[:leaving], y[leaving + 1 :])
        active.drop(leaving)


def _first_to_leave(y: Floats, r: Floats) -> tuple[int, Any]:
    """Return the position whose multiplier reaches 0 first as ``y − step · r``, and the step."""
    shrinking = np.flatnonzero(r > 0)
    if len(shrinking) == 0:
        return -1, 0.0
    ratios = y[shrinking] / r[shrinking]
    first = int(ratios.argmin())
    return int(shrinking[first]), max(ratios[first], 0)
