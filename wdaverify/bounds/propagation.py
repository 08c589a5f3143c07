r"""Bounds on a network around samples, by intervals and back-substitution, for many balls at once.

On the ball of radius :math:`t_k` around a sample and in the box of the support,

.. math:: l \le z \le u, \qquad C f(x_i + d) \le A d + c, \qquad
          C f(x_i + d) - C f(x_i) \in [\underline J, \overline J]\, d .

Each neuron is replaced by two lines between its bounds; an affine function of one layer becomes,
layer after layer, an affine function of the move ``d``. All balls around a sample are nested, so
bounds on a larger one also hold on the smaller ones.

Every number on the way is a sum of products whose absolute values add up to at most a *magnitude*
(the same network with absolute weights); rounding, in any order of summation, is at most a small
multiple of it, and that is added to every bound.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

import torch
from torch import Tensor

from wdaverify.arrays import Floats
from wdaverify.bounds.propagation_reach import Line, tangent
from wdaverify.network import ReLUNetwork
from wdaverify.tolerances import ROUNDING

__all__ = ["ELEMENTS", "RELAXATIONS", "Affine", "Balls", "Jacobian", "Neurons", "Propagation"]

ELEMENTS: Final = {"cpu": 2**22, "cuda": 2**26}
"""Largest number of float64 in one intermediate tensor, where it can be divided."""

RELAXATIONS: Final = ("near", "flat", "steep")
"""Lower lines of an open neuron: the closer of the other two, the slope where it is off, or on."""


@dataclass(frozen=True, eq=False)
class Balls:
    """Nested balls around ``N`` samples, each in its box of moves.

    Attributes
    ----------
    norm
        Name of the ground norm.
    centres
        Shape ``(N, n)``.
    up, down
        How far each feature may rise and fall, at least 0, perhaps infinite, ``(N, n)``.
    radii
        Rising and finite, ``(N, R)``.
    """

    norm: str
    centres: Tensor
    up: Tensor
    down: Tensor
    radii: Tensor

    def lines(self, matrix: Tensor, touch: Tensor) -> Line:
        r"""Return lines above :math:`\max_{\|d\|\le t} a\cdot d` in the box.

        Parameters
        ----------
        matrix
            Rows ``a``, ``(N, R, q, n)``.
        touch
            Radius at which each line touches, ``(N, R)``; lines hold up to the balls' radii.
        """
        up, down = self._rooms
        gains = matrix.abs()
        rooms = torch.where(matrix > 0, up[:, :, None, :], down[:, :, None, :])
        return tangent(self.norm, gains, rooms, touch[:, :, None].expand(gains.shape[:-1]))

    def lines_of_intervals(self, lower: Tensor, upper: Tensor, touch: Tensor) -> Line:
        """Return lines above the largest ``a · d`` with ``a`` in intervals; see :meth:`lines`."""
        up, down = (v[:, :, None, :] for v in self._rooms)
        rising = torch.where(up > 0, upper.clamp(min=0.0), 0.0)
        falling = torch.where(down > 0, (-lower).clamp(min=0.0), 0.0)
        rooms = torch.maximum(torch.where(rising > 0, up, 0.0), torch.where(falling > 0, down, 0.0))
        gains = torch.maximum(rising, falling)
        return tangent(self.norm, gains, rooms, touch[:, :, None].expand(gains.shape[:-1]))

    def tops(self, matrix: Tensor) -> Tensor:
        """Bound ``a · d`` on each whole ball, ``(N, R, q, n) -> (N, R, q)``."""
        if self.norm != "linf":
            return self.lines(matrix, self.radii).at(self.radii[:, :, None])
        up, down = self._rooms
        centre = matrix @ (0.5 * (up - down))[..., None]
        return (centre + matrix.abs() @ (0.5 * (up + down))[..., None])[..., 0]

    @cached_property
    def _rooms(self) -> tuple[Tensor, Tensor]:
        reach = self.radii[:, :, None]
        up, down = self.up[:, None, :], self.down[:, None, :]
        return torch.minimum(up, reach), torch.minimum(down, reach)


class Neurons(NamedTuple):
    """Bounds of every hidden layer, each ``(N, R, m)``, and the magnitude of the last one."""

    lower: list[Tensor]
    upper: list[Tensor]
    magnitude: Tensor


class Affine(NamedTuple):
    """``A d + c`` above the outputs: ``(N, R, q, n)`` and ``(N, R, q)``."""

    matrix: Tensor
    offset: Tensor


class Jacobian(NamedTuple):
    """Bounds of all gradients of the outputs, ``(N, R, q, n)``."""

    lower: Tensor
    upper: Tensor


class Propagation:
    """Bounds of one network on a device.

    Parameters
    ----------
    network
        With ``n`` inputs and ``K`` logits; any negative slopes.
    """

    def __init__(self, network: ReLUNetwork, *, device: torch.device | str = "cpu") -> None:
        def tensor(array: Floats) -> Tensor:
            return torch.tensor(array, device=device, dtype=torch.float64)

        self.device = torch.device(device)
        self.weights = [tensor(W) for W in network.weights]
        self.biases = [tensor(b) for b in network.biases]
        self.slopes = [tensor(s) for s in network.slopes]
        steps = sum(W.shape[1] + 16 for W in network.weights)
        self.relative_error = 8.0 * steps * ROUNDING

    def neurons(self, balls: Balls) -> Neurons:
        """Bound all hidden pre-activations on all balls."""
        lower: list[Tensor] = []
        upper: list[Tensor] = []
        magnitude = balls.centres.abs()[:, None, :] + balls.radii[:, :, None]
        for k, slope in enumerate(self.slopes):
            W, b = self.weights[k], self.biases[k]
            magnitude = magnitude @ W.abs().T + b.abs()
            known = Neurons(lower, upper, magnitude)
            both = self._tops(balls, known, torch.cat([W, -W]), torch.cat([b, -b]))
            top = both + self.relative_error * magnitude.repeat(1, 1, 2)
            top = top.flip(1).cummin(dim=1).values.flip(1)
            above, below = top.split(len(b), dim=-1)
            lower.append(torch.minimum(-below, above))
            upper.append(above)
            magnitude = magnitude * slope.abs().clamp(min=1.0)
        return Neurons(lower, upper, magnitude)

    def affine(self, balls: Balls, known: Neurons, rows: Tensor, relaxation: str) -> Affine:
        """Return affine functions above ``rows · f`` on each ball.

        Parameters
        ----------
        rows
            Functions of the logits, ``(q, K)``.
        relaxation
            One of :data:`RELAXATIONS`.
        """
        W, b = rows @ self.weights[-1], rows @ self.biases[-1]
        size = rows.abs() @ self.weights[-1].abs(), rows.abs() @ self.biases[-1].abs()
        found = self._substituted(balls, known, W, b, relaxation)
        magnitude = known.magnitude @ size[0].T + size[1]
        return Affine(found.matrix, found.offset + self.relative_error * magnitude)

    def jacobian(self, balls: Balls, known: Neurons, rows: Tensor) -> Jacobian:
        """Bound the gradients of ``rows · f`` on each ball; rows are ``(q, K)``."""
        shape = (*balls.radii.shape, len(rows), -1)
        W = rows @ self.weights[-1]
        lower = upper = W.expand(*shape[:-1], W.shape[1])
        size = rows.abs() @ self.weights[-1].abs()
        for k in range(len(self.slopes) - 1, -1, -1):
            low, high = self._derivatives(known.lower[k], known.upper[k], self.slopes[k])
            ends = [v * d[:, :, None, :] for v in (lower, upper) for d in (low, high)]
            lower = torch.minimum(torch.minimum(ends[0], ends[1]), torch.minimum(ends[2], ends[3]))
            upper = torch.maximum(torch.maximum(ends[0], ends[1]), torch.maximum(ends[2], ends[3]))
            positive, negative = self.weights[k].clamp(min=0.0), self.weights[k].clamp(max=0.0)
            lower, upper = (
                lower @ positive + upper @ negative,
                upper @ positive + lower @ negative,
            )
            size = (size * self.slopes[k].abs().clamp(min=1.0)) @ self.weights[k].abs()
        error = self.relative_error * size
        return Jacobian(lower - error, upper + error)

    def _tops(self, balls: Balls, known: Neurons, rows: Tensor, offsets: Tensor) -> Tensor:
        """Bound many rows in blocks of bounded memory; see :meth:`_top`."""
        widest = max(W.shape[1] for W in self.weights)
        size = max(1, ELEMENTS[self.device.type] // (balls.radii.numel() * widest))
        blocks = zip(torch.split(rows, size), torch.split(offsets, size), strict=True)
        return torch.cat([self._top(balls, known, A, c) for A, c in blocks], dim=-1)

    def _top(self, balls: Balls, known: Neurons, rows: Tensor, offsets: Tensor) -> Tensor:
        """Bound ``rows · h + offsets`` of the last known layer from above, ``(N, R, q)``."""
        if not known.lower:
            found = self._substituted(balls, known, rows, offsets, "near")
            return found.offset + balls.tops(found.matrix)
        k = len(known.lower) - 1
        low, high = _activated(known.lower[k], known.upper[k], self.slopes[k])
        plain = low @ rows.clamp(max=0.0).T + high @ rows.clamp(min=0.0).T + offsets
        tops = [plain]
        for relaxation in RELAXATIONS:
            found = self._substituted(balls, known, rows, offsets, relaxation)
            tops.append(found.offset + balls.tops(found.matrix))
        return torch.stack(tops).amin(dim=0)

    def _substituted(
        self, balls: Balls, known: Neurons, rows: Tensor, offsets: Tensor, relaxation: str
    ) -> Affine:
        """Rewrite ``rows · h + offsets`` of the last known layer as functions of the move."""
        constant = offsets.expand(*balls.radii.shape, -1)
        inner = rows.expand(*balls.radii.shape, *rows.shape)
        for k in range(len(known.lower) - 1, -1, -1):
            lines = _lines(known.lower[k], known.upper[k], self.slopes[k], relaxation)
            positive, negative = inner.clamp(min=0.0), inner.clamp(max=0.0)
            constant = constant + (positive @ lines.rise[..., None])[..., 0]
            constant = constant + (negative @ lines.fall[..., None])[..., 0]
            inner = positive * lines.above[:, :, None, :] + negative * lines.below[:, :, None, :]
            constant = constant + inner @ self.biases[k]
            inner = inner @ self.weights[k]
        shift = inner @ balls.centres[:, None, :, None]
        return Affine(inner, constant + shift[..., 0])

    @staticmethod
    def _derivatives(lower: Tensor, upper: Tensor, slopes: Tensor) -> tuple[Tensor, Tensor]:
        on, off = lower >= 0, upper <= 0
        first = torch.where(on, 1.0, slopes)
        second = torch.where(off & ~on, slopes, 1.0)
        return torch.minimum(first, second), torch.maximum(first, second)


class _Lines(NamedTuple):
    """``below · z + fall <= act(z) <= above · z + rise``, each ``(N, R, m)``."""

    below: Tensor
    fall: Tensor
    above: Tensor
    rise: Tensor


def _lines(lower: Tensor, upper: Tensor, slopes: Tensor, relaxation: str) -> _Lines:
    """Return the chord on one side of every neuron, a line through 0 on the other."""
    on, off = lower >= 0, upper <= 0
    fixed = torch.where(on, 1.0, slopes)
    open_ = ~(on | off)
    width = torch.where(open_, upper - lower, 1.0)
    chord = torch.where(open_, (upper - slopes * lower) / width, fixed)
    height = torch.where(open_, upper * (1.0 - chord), 0.0)
    chosen = {"near": upper > -lower, "flat": torch.zeros_like(on), "steep": torch.ones_like(on)}
    through = torch.where(open_, torch.where(chosen[relaxation], 1.0, slopes), fixed)
    bends_up = slopes <= 1.0
    return _Lines(
        torch.where(bends_up, through, chord),
        torch.where(bends_up, 0.0, height),
        torch.where(bends_up, chord, through),
        torch.where(bends_up, height, 0.0),
    )


def _activated(lower: Tensor, upper: Tensor, slopes: Tensor) -> tuple[Tensor, Tensor]:
    """Return bounds after the activation, which need not be monotone."""
    ends = [v.clamp(min=0.0) + slopes * v.clamp(max=0.0) for v in (lower, upper)]
    inside = torch.where((lower < 0) & (upper > 0), 0.0, ends[0])
    low = torch.minimum(torch.minimum(ends[0], ends[1]), inside)
    return low, torch.maximum(torch.maximum(ends[0], ends[1]), inside)
