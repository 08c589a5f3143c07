r"""The plane that a picture shows of more than two features, and where points fall on it.

Two features, or :math:`x^0 + u_1 d_1 + u_2 d_2`; points off the plane are projected on it.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wdaverify.arrays import Bools, Floats, floats
from wdaverify.cells.slices import sliced, spanned
from wdaverify.errors import ProblemError
from wdaverify.network import ReLUNetwork
from wdaverify.problem import Problem
from wdaverify.support import Support

__all__ = ["At", "Plane", "Spanned", "plane_of", "point_of"]

At = int | np.integer | npt.ArrayLike
"""Index of a sample, or a point of shape ``(n,)``."""

Spanned = tuple[int, int] | npt.ArrayLike
"""Two features, or two directions of shape ``(2, n)``."""

OFF = 1e-9
"""A point this far from a plane, relative to its largest coordinate, lies off it."""


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """A plane through a point.

    Attributes
    ----------
    origin
        The point, ``(n,)``.
    directions
        Linearly independent, ``(2, n)``; unit vectors where two features are shown.
    features
        The two that are shown, ``None`` where directions are.
    names
        What the axes are called.
    """

    origin: Floats
    directions: Floats
    features: tuple[int, int] | None
    names: tuple[str, str]

    def section(self, network: ReLUNetwork, support: Support) -> tuple[ReLUNetwork, Support]:
        """Return network and bound support as functions of the two coordinates."""
        if self.features is not None:
            return sliced(network, support, self.origin, self.features)
        return spanned(network, support, self.origin, self.directions)

    def coordinates(self, points: Floats) -> Floats:
        """Project points on the plane: ``(M, n) -> (M, 2)``."""
        if self.features is not None:
            return np.asarray(points[:, list(self.features)])
        return np.asarray((points - self.origin) @ np.linalg.pinv(self.directions))

    def points(self, coordinates: Floats) -> Floats:
        """Return the points of the plane: ``(M, 2) -> (M, n)``."""
        if self.features is None:
            return np.asarray(self.origin + coordinates @ self.directions)
        points = np.tile(self.origin, (len(coordinates), 1))
        points[:, list(self.features)] = coordinates
        return points

    def holds(self, points: Floats) -> Bools:
        """Whether points lie on the plane, up to rounding: ``(M, n) -> (M,)``."""
        off = np.abs(points - self.points(self.coordinates(points))).max(axis=1)
        return np.asarray(off <= OFF * (1.0 + np.abs(points).max(axis=1)))


def point_of(at: At, features: int, problem: Problem | None) -> Floats:
    """Return the point that ``at`` names.

    Raises
    ------
    ProblemError
        No such sample, or not a point of this many features.
    """
    if isinstance(at, int | np.integer):
        samples = 0 if problem is None else len(problem)
        if problem is None or not 0 <= at < samples:
            found = "no samples" if problem is None else f"samples 0 to {samples - 1}"
            raise ProblemError(f"plot: at={at}: expected a point or a sample, found {found}")
        return np.asarray(problem.points[int(at)])
    point = floats(at, "plot: at", ndim=1)
    if point.shape != (features,):
        raise ProblemError(f"plot: at: expected shape ({features},), found {point.shape}")
    return point


def plane_of(spanned_by: Spanned, origin: Floats) -> Plane:
    """Return the plane through a point that two features, or two directions, span.

    Raises
    ------
    ProblemError
        Neither two different features nor two linearly independent directions.
    """
    n, given = len(origin), np.asarray(spanned_by)
    if given.shape == (2,) and np.issubdtype(given.dtype, np.integer):
        i, j = (int(k) for k in given)
        if i == j or not (0 <= i < n and 0 <= j < n):
            raise ProblemError(
                f"plot: plane: expected two different features from 0 to {n - 1}, found {i}, {j}"
            )
        return Plane(origin, np.eye(n)[[i, j]], (i, j), (f"feature {i}", f"feature {j}"))
    directions = floats(spanned_by, "plot: plane", ndim=2) if given.ndim == 2 else None
    if directions is None or directions.shape != (2, n) or np.linalg.matrix_rank(directions) < 2:
        raise ProblemError(
            f"plot: plane: expected two features or two linearly independent directions of shape "
            f"(2, {n}), found shape {given.shape}"
        )
    return Plane(origin, directions, None, ("direction 0", "direction 1"))
