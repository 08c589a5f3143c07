r"""The set over which gradients are looked for: support and ball, in the features that can vary.

.. math:: \{x \in \mathcal{X} : \|x - c\| \le R\}
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from wdaverify.arrays import Bools, Floats
from wdaverify.bounds.interior import Interior, widest
from wdaverify.cells.frame import bounding_box, frame_of
from wdaverify.convex.projection import ActiveSet, Projection, project
from wdaverify.errors import UnsupportedError
from wdaverify.network import AffineMap, ReLUNetwork
from wdaverify.norms import GroundNorm
from wdaverify.support import Box, Support

__all__ = ["Ball", "Body", "body_of", "free_network"]

NEAR = 1e-9
"""Relative distance from the surface of a ball within which floating point does not decide."""


class Ball(NamedTuple):
    """``{x : ‖x − centre‖ <= radius}``."""

    centre: Floats
    """Shape ``(n,)``."""
    radius: float


@dataclass(frozen=True, slots=True, eq=False)
class Body:
    """A convex set with interior, and the network on it.

    Attributes
    ----------
    network
        Its inputs are the features that the support leaves free.
    lower, upper
        A box around the set, maybe infinite, ``(n,)``.
    rows
        Half-spaces ``matrix x <= offset`` that hold on the set: the box and a polytope's rows.
    ball
        The ball, unless it is its own box.
    free
        Features that can vary, of all features.
    exact
        Whether rows and network are the question's own, nothing rounded.
    """

    network: ReLUNetwork
    norm: GroundNorm
    lower: Floats
    upper: Floats
    rows: AffineMap
    ball: Ball | None
    free: Bools
    exact: bool

    @property
    def bounded(self) -> bool:
        """Whether the box is finite."""
        return bool(np.isfinite(self.lower).all() and np.isfinite(self.upper).all())

    def largest(self, matrix: Floats) -> Floats:
        """Bound ``matrix x`` from above on a bounded set: ``(..., n) -> (...)``."""
        box = np.maximum(matrix, 0.0) @ self.upper + np.minimum(matrix, 0.0) @ self.lower
        if self.ball is None:
            return np.asarray(box)
        centre, radius = self.ball
        return np.minimum(box, matrix @ centre + radius * self.norm.dual_length(matrix))

    def inside(self, G: Floats, h: Floats) -> Interior:
        """Look for a point of the interior with ``G x < h``; the rows have unit length."""
        matrix = np.concatenate([self.rows.matrix, G])
        offset = np.concatenate([self.rows.offset, h])
        sizes = np.maximum(np.abs(self.lower), np.abs(self.upper))
        if self.ball is not None and self.norm.name == "l1":
            return _in_cross_polytope(matrix, offset, sizes, self.ball)
        found = widest(matrix, offset, sizes)
        if self.ball is None or found.empty:
            return found
        return _in_round_ball(matrix, offset, found, self.ball)

    def samples(self, count: int, near: Floats) -> Floats:
        """Return points of the set to begin with, ``(k, n)``, drawn with a fixed seed.

        Parameters
        ----------
        near
            Points that are known to matter, ``(N, n)``.
        """
        random = np.random.default_rng(0)
        centre = np.clip(near.mean(axis=0) if len(near) else np.zeros(len(self.lower)),
                         self.lower, self.upper)  # fmt: skip
        if self.bounded:
            points = random.uniform(self.lower, self.upper, size=(count, len(self.lower)))
        else:
            spread = 2.0 ** random.integers(-3, 9, size=(count, 1))
            points = centre + spread * random.normal(size=(count, len(self.lower)))
            points = np.clip(points, self.lower, self.upper)
        if self.ball is not None:
            moves = points - self.ball.centre
            lengths = np.maximum(self.norm.length(moves), 1e-300)
            shares = np.minimum(1.0, (1.0 - NEAR) * self.ball.radius / lengths)
            points = self.ball.centre + shares[:, None] * moves
        points = np.concatenate([near, points])
        return points[self.holds(points)]

    def holds(self, points: Floats) -> Bools:
        """Whether points lie in the set, up to rounding inwards: ``(N, n) -> (N,)``."""
        inside = np.all(points @ self.rows.matrix.T <= self.rows.offset, axis=1)
        if self.ball is not None:
            lengths = self.norm.length(points - self.ball.centre)
            inside &= lengths <= self.ball.radius * (1.0 - 1e-15)
        return np.asarray(inside)


def body_of(
    network: ReLUNetwork, support: Support, norm: GroundNorm, ball: Ball | None = None
) -> Body:
    """Return the part of a bound support inside a ball, all of it without one.

    Raises
    ------
    UnsupportedError
        A polytope without interior, or a support whose part in the ball has none.
    """
    lower, upper = bounding_box(support)
    reduced, free = free_network(network, support)
    if not isinstance(support, Box) and frame_of(support).dimension < network.features:
        raise UnsupportedError(
            "gradient search: the support is a polytope without interior, expected equalities to "
            "be eliminated first; list its cells instead"
        )
    matrix, offset = support.rows
    if ball is not None:
        lower = np.maximum(lower, ball.centre - ball.radius)
        upper = np.minimum(upper, ball.centre + ball.radius)
        if np.any(lower[free] >= upper[free]):
            raise UnsupportedError("gradient search: ball and support have no interior in common")
    keep = np.abs(matrix[:, free]).sum(axis=1) > 0
    lower, upper = lower[free], upper[free]
    box = Box(lower, upper).rows
    rows = AffineMap(
        np.concatenate([box.matrix, matrix[keep][:, free]]),
        np.concatenate([box.offset, offset[keep]]),
    )
    left = None
    if ball is not None and norm.name != "linf":
        left = Ball(ball.centre[free], ball.radius)
    exact = bool(free.all()) and ball is None
    return Body(reduced, norm, lower, upper, rows, left, free, exact)


def free_network(network: ReLUNetwork, support: Support) -> tuple[ReLUNetwork, Bools]:
    """Return the network of the features that a box leaves free, and which they are, ``(n,)``.

    Where none is free, or the support is a polytope, the network is returned as it is.
    """
    free = np.ones(network.features, dtype=bool)
    if isinstance(support, Box):
        free = support.lower < support.upper
    if free.all() or not free.any():
        return network, free
    assert isinstance(support, Box)
    first, biases = network.weights[0], network.biases
    shifted = biases[0] + first[:, ~free] @ support.lower[~free]
    return ReLUNetwork(
        [first[:, free], *network.weights[1:]], [shifted, *biases[1:]], network.slopes
    ), free


def _in_cross_polytope(matrix: Floats, offset: Floats, sizes: Floats, ball: Ball) -> Interior:
    """Look inside an l1 ball: variables ``u >= |x − c|`` with sum at most the radius."""
    m, n = matrix.shape
    identity = np.eye(n)
    above = np.hstack([identity, -identity])
    below = np.hstack([-identity, -identity])
    total = np.append(np.zeros(n), np.ones(n))[None, :]
    every = np.concatenate([np.hstack([matrix, np.zeros((m, n))]), above, below, total])
    bound = np.concatenate([offset, ball.centre, -ball.centre, [ball.radius]])
    weights = np.concatenate([np.linalg.norm(matrix, axis=1), np.zeros(2 * n), [1.0]])
    wide = np.concatenate([sizes, np.full(n, ball.radius)])
    found = widest(every, bound, wide, weights)
    return Interior(found.point[:n], found.empty, found.certain)


def _in_round_ball(matrix: Floats, offset: Floats, found: Interior, ball: Ball) -> Interior:
    """Move an interior point into an l2 ball, or show that the ball is too far away."""
    centre, radius = ball
    lengths = np.linalg.norm(matrix, axis=1)
    rows, room = matrix / lengths[:, None], offset / lengths
    active = ActiveSet(rows)
    nearest = project(active, room, centre, 1e-12)
    if not isinstance(nearest, Projection):
        return Interior(found.point, empty=False, certain=False)
    y = np.maximum(nearest.multipliers, 0.0)
    normal = y @ rows[active.rows]
    length = float(np.linalg.norm(normal))
    separated = float(y @ (rows[active.rows] @ centre - room[active.rows]))
    if length > 0 and separated / length > radius * (1.0 + NEAR):
        return Interior(nearest.point, empty=True, certain=False)
    distance = float(np.linalg.norm(nearest.point - centre))
    if not found.certain or distance >= radius * (1.0 - NEAR):
        return Interior(nearest.point, empty=False, certain=False)
    way = found.point - nearest.point
    share = min(1.0, 0.5 * (radius - distance) / max(float(np.linalg.norm(way)), 1e-300))
    return Interior(nearest.point + share * way, empty=False, certain=True)
