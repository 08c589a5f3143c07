r"""Where one sample's mass may go: the ball of its reach intersected with the support, in torch.

.. math:: R_i(\rho) = \{x \in \mathcal{X} : \|x - x_i\| \le \rho\}
"""

from abc import ABC, abstractmethod
from typing import ClassVar, final

import torch
from torch import Tensor

from wdaverify.bounds.steps import BallSteps
from wdaverify.bounds.torch_network import TorchModel
from wdaverify.support import Box, Support
from wdaverify.tolerances import ROUNDING

__all__ = ["Region", "region_of"]

SWEEPS = 60
"""How often at most points are projected onto the half-spaces that they violate most."""

SHORT = 2.0**-48
"""How far before a row a pulled-back point stops, relative to its slack at the origin."""


class Region(ABC):
    """Ball and support together.

    Parameters
    ----------
    steps
        Verbs of the ground norm.
    """

    rectangular: ClassVar[bool]
    """Whether :meth:`rooms` says all about the support."""

    def __init__(self, steps: BallSteps) -> None:
        self.steps = steps

    @abstractmethod
    def project(self, points: Tensor, origins: Tensor, reaches: Tensor) -> Tensor:
        """Bring points ``(W, n)`` within their reach ``(W,)`` of their origin and the support."""

    @abstractmethod
    def inside(self, points: Tensor, origins: Tensor) -> Tensor:
        """Bring points ``(W, n)`` into the support, towards their origins where it matters."""

    @abstractmethod
    def rooms(self, gradients: Tensor, origins: Tensor) -> Tensor:
        """How far each coordinate can move along its gradient, as the bounds say, ``(W, n)``."""

    @abstractmethod
    def free(self, gradients: Tensor, points: Tensor) -> Tensor:
        """Take from gradients ``(W, n)`` what points straight out of the support at ``points``."""

    def corner(self, gradients: Tensor, origins: Tensor, reaches: Tensor) -> Tensor:
        """Maximise ``g · x`` over the region (over ball and bounds for a polytope)."""
        moves = self.steps.fill(gradients, self.rooms(gradients, origins), reaches)
        return self.project(origins + moves, origins, reaches)


@final
class BoxRegion(Region):
    """``lower ≤ x ≤ upper``: as every norm is absolute, clamping never lengthens a move."""

    rectangular = True

    def __init__(self, steps: BallSteps, lower: Tensor, upper: Tensor) -> None:
        super().__init__(steps)
        self._lower, self._upper = lower, upper

    def project(self, points: Tensor, origins: Tensor, reaches: Tensor) -> Tensor:
        near = origins + self.steps.project(points - origins, reaches)
        return near.clamp(self._lower, self._upper)

    def inside(self, points: Tensor, origins: Tensor) -> Tensor:  # noqa: ARG002
        return points.clamp(self._lower, self._upper)

    def rooms(self, gradients: Tensor, origins: Tensor) -> Tensor:
        return torch.where(gradients > 0, self._upper - origins, origins - self._lower)

    def free(self, gradients: Tensor, points: Tensor) -> Tensor:
        blocked = ((points >= self._upper) & (gradients > 0)) | (
            (points <= self._lower) & (gradients < 0)
        )
        return torch.where(blocked, 0.0, gradients)


@final
class PolytopeRegion(Region):
    """``A x ≤ b``: projections onto violated half-spaces, then back towards the origin.

    Rows with one coefficient are bounds, which moves respect from the start.
    """

    rectangular = False

    def __init__(
        self, steps: BallSteps, rows: tuple[Tensor, Tensor], bounds: tuple[Tensor, Tensor]
    ) -> None:
        super().__init__(steps)
        matrix, bound = rows
        self._lower, self._upper = bounds
        lengths = torch.linalg.vector_norm(matrix, dim=1)
        keep = lengths > 0
        self._matrix = matrix[keep]
        self._bound = bound[keep]
        self._unit = self._matrix / lengths[keep][:, None]
        self._height = self._bound / lengths[keep]

    def project(self, points: Tensor, origins: Tensor, reaches: Tensor) -> Tensor:
        x = self._nearby(origins + self.steps.project(points - origins, reaches))
        moves = x - origins
        length = self.steps.length(moves)
        within = torch.where(length > reaches, reaches / length, 1.0)
        return origins + torch.minimum(within, self._visible(moves, origins))[:, None] * moves

    def inside(self, points: Tensor, origins: Tensor) -> Tensor:
        moves = self._nearby(points) - origins
        return origins + self._visible(moves, origins)[:, None] * moves

    def _nearby(self, points: Tensor) -> Tensor:
        """Project onto the half-space that is violated most, again and again."""
        x = points
        for _ in range(SWEEPS if len(self._bound) else 0):
            worst = (x @ self._unit.T - self._height).max(dim=1)
            if not bool((worst.values > 0).any()):
                break
            x = x - worst.values.clamp(min=0.0)[:, None] * self._unit[worst.indices]
        return x

    def rooms(self, gradients: Tensor, origins: Tensor) -> Tensor:
        room = torch.where(gradients > 0, self._upper - origins, origins - self._lower)
        return room.clamp(min=0.0)

    def free(self, gradients: Tensor, points: Tensor) -> Tensor:
        if not len(self._bound):
            return gradients
        tight = points @ self._matrix.T >= self._bound - self._rounding(points)
        worst = torch.where(tight, gradients @ self._unit.T, 0.0).max(dim=1)
        inward: Tensor = -worst.values.clamp(min=0.0)[:, None] * self._unit[worst.indices]
        return gradients + inward

    def _visible(self, moves: Tensor, origins: Tensor) -> Tensor:
        """Largest fraction of each move that stays inside, at most 1, ``(W,)``."""
        if not len(self._bound):
            return torch.ones_like(moves[:, 0])
        rate = moves @ self._matrix.T
        slack = self._bound - origins @ self._matrix.T
        rounding = self._rounding(origins)
        loose = slack > rounding  # stop short of these rows, but slide along those that are tight
        room = torch.where(loose, slack * (1.0 - SHORT), rounding)
        times = torch.where(rate > 0, room / rate, torch.inf)
        fraction: Tensor = times.amin(dim=1).clamp(max=1.0)
        return fraction

    def _rounding(self, points: Tensor) -> Tensor:
        """Half of what :meth:`wdaverify.support.Polytope.excess` forgives, ``(W, m)``."""
        steps = (points.shape[1] + 2) * ROUNDING
        return steps * (points.abs() @ self._matrix.abs().T + self._bound.abs())


def region_of(support: Support, steps: BallSteps, network: TorchModel) -> Region:
    """Return the region of a bound support, on the device and in the precision of a network."""
    if isinstance(support, Box):
        return BoxRegion(steps, network.tensor(support.lower), network.tensor(support.upper))
    matrix, bound = (network.tensor(v) for v in support.rows)
    lower, upper = (network.tensor(v) for v in support.bounds)
    return PolytopeRegion(steps, (matrix, bound), (lower, upper))
