r"""The verbs of a ground norm for batched ascent, in torch.

For gradients ``g``, displacements ``d`` (both ``(W, n)``), rooms ``r ≥ 0`` and radii ``ρ``:

.. math:: \operatorname{steepest}(g) &\in \arg\max_{\|u\|\le 1} g\cdot u,
   \qquad \operatorname{project}(d, \rho) = \arg\min_{\|v\|\le\rho} \|v - d\|_2, \\
   \operatorname{fill}(g, r, \rho) &\in \arg\max \{ g\cdot d : \|d\|\le\rho,\ d \in B \},
   \qquad \operatorname{meet}(g, r, h) \in \arg\min \{ \|d\| : g\cdot d \ge h,\ d \in B \}

with the box :math:`B = \{d : 0 \le d_k \operatorname{sign} g_k \le r_k\}`. Where the network is
affine, ``fill`` is the whole attack and ``meet`` the nearest point of the decision boundary.
"""

from abc import ABC, abstractmethod
from typing import ClassVar, Final, final

import torch
from torch import Tensor

from wdaverify.norms import GroundNorm

__all__ = ["BallSteps", "steps_of"]


class BallSteps(ABC):
    """What an attack asks of a norm, stateless."""

    name: ClassVar[str]

    @abstractmethod
    def length(self, displacements: Tensor) -> Tensor:
        """Norm of each row: ``(..., n) -> (...)``."""

    @abstractmethod
    def dual_length(self, gradients: Tensor) -> Tensor:
        """Dual norm of each row: ``(..., n) -> (...)``."""

    @abstractmethod
    def steepest(self, gradients: Tensor) -> Tensor:
        """Return a ``u`` with norm at most 1 that maximises ``g · u``, zero where ``g`` is zero."""

    @abstractmethod
    def project(self, displacements: Tensor, radii: Tensor) -> Tensor:
        """Euclidean projection of each row onto the ball of its radius."""

    @abstractmethod
    def scatter(self, gaussian: Tensor) -> Tensor:
        """Turn standard normal numbers ``(W, n)`` into directions of norm 1 (never all zero)."""

    @abstractmethod
    def fill(self, gradients: Tensor, rooms: Tensor, radii: Tensor) -> Tensor:
        """Maximise ``g · d`` over ``‖d‖ ≤ ρ`` with ``d_k`` between 0 and its room.

        Parameters
        ----------
        gradients
            Shape ``(W, n)``.
        rooms
            How far each coordinate may move in the direction of its gradient, at least 0, maybe
            infinite, ``(W, n)``.
        radii
            Shape ``(W,)``.

        Returns
        -------
        Tensor
            ``d``, shape ``(W, n)``.
        """

    @abstractmethod
    def meet(self, gradients: Tensor, rooms: Tensor, rises: Tensor) -> Tensor:
        """Minimise ``‖d‖`` subject to ``g · d ≥ h`` with ``d_k`` between 0 and its room.

        Parameters
        ----------
        gradients, rooms
            As for :meth:`fill`.
        rises
            ``h``, shape ``(W,)``; where even the far corner of the box does not rise so far, that
            corner is returned.

        Returns
        -------
        Tensor
            ``d``, shape ``(W, n)``.
        """


@final
class LInfSteps(BallSteps):
    """Every coordinate moves on its own."""

    name = "linf"

    def length(self, displacements: Tensor) -> Tensor:
        return displacements.abs().amax(dim=-1)

    def dual_length(self, gradients: Tensor) -> Tensor:
        return gradients.abs().sum(dim=-1)

    def steepest(self, gradients: Tensor) -> Tensor:
        return gradients.sign()

    def project(self, displacements: Tensor, radii: Tensor) -> Tensor:
        bound = radii[:, None]
        return displacements.clamp(min=-bound, max=bound)

    def scatter(self, gaussian: Tensor) -> Tensor:
        cube = torch.erf(gaussian / 2**0.5)
        return cube / self.length(cube)[:, None]

    def fill(self, gradients: Tensor, rooms: Tensor, radii: Tensor) -> Tensor:
        return gradients.sign() * torch.minimum(rooms, radii[:, None])

    def meet(self, gradients: Tensor, rooms: Tensor, rises: Tensor) -> Tensor:
        size = gradients.abs()
        level = _level(size, torch.ones_like(size), rooms, rises)
        return torch.where(
            gradients == 0, 0.0, gradients.sign() * torch.minimum(rooms, level[:, None])
        )


@final
class L2Steps(BallSteps):
    """The Euclidean ball."""

    name = "l2"

    def length(self, displacements: Tensor) -> Tensor:
        length: Tensor = torch.linalg.vector_norm(displacements, dim=-1)
        return length

    def dual_length(self, gradients: Tensor) -> Tensor:
        return self.length(gradients)

    def steepest(self, gradients: Tensor) -> Tensor:
        top = gradients.abs().amax(dim=-1, keepdim=True)
        scaled = gradients / torch.where(top > 0, top, 1.0)  # squares neither vanish nor overflow
        length = self.length(scaled)[:, None]
        return scaled / torch.where(length > 0, length, 1.0)

    def project(self, displacements: Tensor, radii: Tensor) -> Tensor:
        length = self.length(displacements)
        factor = torch.where(length > radii, radii / length, 1.0)
        return displacements * factor[:, None]

    def scatter(self, gaussian: Tensor) -> Tensor:
        return self.steepest(gaussian)

    def fill(self, gradients: Tensor, rooms: Tensor, radii: Tensor) -> Tensor:
        unit = self.steepest(gradients).abs()
        squares = _level(torch.ones_like(unit), unit.square(), rooms.square(), radii.square())
        return _grown(gradients, unit, rooms, squares.sqrt())

    def meet(self, gradients: Tensor, rooms: Tensor, rises: Tensor) -> Tensor:
        unit = self.steepest(gradients).abs()
        return _grown(gradients, unit, rooms, _level(gradients.abs(), unit, rooms, rises))


@final
class L1Steps(BallSteps):
    """The cross-polytope: a steepest step moves one coordinate."""

    name = "l1"

    def length(self, displacements: Tensor) -> Tensor:
        return displacements.abs().sum(dim=-1)

    def dual_length(self, gradients: Tensor) -> Tensor:
        return gradients.abs().amax(dim=-1)

    def steepest(self, gradients: Tensor) -> Tensor:
        place = gradients.abs().argmax(dim=-1, keepdim=True)
        return torch.zeros_like(gradients).scatter(-1, place, gradients.gather(-1, place).sign())

    def project(self, displacements: Tensor, radii: Tensor) -> Tensor:
        """``sign(d) max(|d| − θ, 0)`` with the threshold θ found by sorting."""
        size = displacements.abs()
        falling = size.sort(dim=-1, descending=True).values
        count = torch.arange(1, size.shape[-1] + 1, device=size.device, dtype=size.dtype)
        cut = (falling.cumsum(dim=-1) - radii[:, None]) / count
        used = (falling > cut).sum(dim=-1, keepdim=True).clamp(min=1)
        threshold = cut.gather(-1, used - 1).clamp(min=0.0)
        return displacements.sign() * (size - threshold).clamp(min=0.0)

    def scatter(self, gaussian: Tensor) -> Tensor:
        tail = torch.erfc(gaussian.abs() / 2**0.5).clamp(min=torch.finfo(gaussian.dtype).tiny)
        laplace = tail.log() * gaussian.sign()
        return laplace / self.length(laplace)[:, None]

    def fill(self, gradients: Tensor, rooms: Tensor, radii: Tensor) -> Tensor:
        order, room, before = self._queue(gradients, rooms)
        amount = torch.minimum(room, (radii[:, None] - before).clamp(min=0.0))
        return gradients.sign() * torch.zeros_like(rooms).scatter(-1, order, amount)

    def meet(self, gradients: Tensor, rooms: Tensor, rises: Tensor) -> Tensor:
        order, room, _ = self._queue(gradients, rooms)
        slope = gradients.abs().gather(-1, order)
        gain = torch.where(slope > 0, slope * room, 0.0)
        missing = (rises[:, None] - _exclusive(gain)).clamp(min=0.0)
        amount = torch.where(slope > 0, torch.minimum(room, missing / slope), 0.0)
        return gradients.sign() * torch.zeros_like(rooms).scatter(-1, order, amount)

    @staticmethod
    def _queue(gradients: Tensor, rooms: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Coordinates by falling slope, their rooms, and the rooms of those before them."""
        order = gradients.abs().argsort(dim=-1, descending=True, stable=True)
        room = rooms.gather(-1, order)
        return order, room, _exclusive(room)


def _exclusive(values: Tensor) -> Tensor:
    """Sum of the entries before each entry, ``(W, n) -> (W, n)``."""
    return torch.cat([torch.zeros_like(values[:, :1]), values.cumsum(dim=-1)[:, :-1]], dim=-1)


def _level(slopes: Tensor, speeds: Tensor, rooms: Tensor, targets: Tensor) -> Tensor:
    r"""Smallest :math:`s` with :math:`\sum_k a_k \min(s b_k, c_k) \ge h`, else infinity: ``(W,)``.

    Entries stop growing one after another; with those that stopped before the ``k``-th put aside,
    the sum is linear in ``s``, and the first solution that the ``k``-th survives is the level.
    """
    grows = slopes * speeds > 0
    stops = torch.where(grows, rooms / speeds, torch.inf)
    order = stops.argsort(dim=-1, stable=True)
    stopped = _exclusive(torch.where(grows, slopes * rooms, 0.0).gather(-1, order))
    rate = (slopes * speeds).gather(-1, order).flip(-1).cumsum(dim=-1).flip(-1)
    missing = (targets[:, None] - stopped).clamp(min=0.0)
    level = torch.where(rate > 0, missing / rate, torch.inf)
    level = torch.where(missing > 0, level, 0.0)
    late = (level > stops.gather(-1, order)).sum(dim=-1, keepdim=True)
    found = level.gather(-1, late.clamp(max=level.shape[-1] - 1))[:, 0]
    return torch.where(late[:, 0] < level.shape[-1], found, torch.inf)


def _grown(gradients: Tensor, units: Tensor, rooms: Tensor, levels: Tensor) -> Tensor:
    """``sign(g) min(s |u|, r)``, zero where ``g`` is zero."""
    size = torch.where(units > 0, torch.minimum(levels[:, None] * units, rooms), 0.0)
    return gradients.sign() * size


_STEPS: Final[dict[str, BallSteps]] = {"l1": L1Steps(), "l2": L2Steps(), "linf": LInfSteps()}


def steps_of(norm: GroundNorm) -> BallSteps:
    """Return the verbs of a ground norm."""
    return _STEPS[norm.name]
