r"""Lines above the margins of a sample, each valid up to a radius of its own.

.. math:: m_j(x) \le c + \sigma t \qquad\text{for } x\in\mathcal{X},\ \|x - x_i\|\le t\le t_k

come from back-substitution (tangents of the best move along its gradient) and from bounds of the
Jacobian (through the margin at the sample). A line of rung ``k`` says nothing beyond
:math:`t_k`; *global* lines hold for every ``t``.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch

from wdaverify.arrays import Floats
from wdaverify.bounds.propagation import RELAXATIONS, Balls, Neurons, Propagation
from wdaverify.bounds.propagation_reach import Line
from wdaverify.layers import layer_product
from wdaverify.network import ReLUNetwork
from wdaverify.norms import GroundNorm, norm_named
from wdaverify.tolerances import ROUNDING

__all__ = ["GlobalSlopes", "Lines", "contrasts", "global_slopes", "lines_of"]


class Lines(NamedTuple):
    """Lines of ``q`` functions of the logits on ``R`` rungs of ``N`` samples.

    Attributes
    ----------
    intercepts, slopes
        Shape ``(kinds, N, R, q)``; the line of rung ``k`` holds for ``t <= radii[:, k]``.
    everywhere
        Lines that hold for every ``t``: intercepts and slopes ``(kinds, N, q)``.
    radii
        Shape ``(N, R)``.
    """

    intercepts: Floats
    slopes: Floats
    everywhere: tuple[Floats, Floats]
    radii: Floats

    def valid(self, rung: int) -> tuple[Floats, Floats]:
        """Return intercepts and slopes ``(kinds, N, q)`` of lines that hold on a rung."""
        return (
            np.concatenate([self.intercepts[:, :, rung], self.everywhere[0]]),
            np.concatenate([self.slopes[:, :, rung], self.everywhere[1]]),
        )

    def ceilings(self) -> Floats:
        """Bound the functions on every ball by all balls around it, ``(N, R, q)``."""
        t = self.radii[:, :, None]
        best = (self.intercepts + self.slopes * t).min(axis=0)
        ends = self.everywhere[0][:, :, None, :] + self.everywhere[1][:, :, None, :] * t
        best = np.minimum(best, ends.min(axis=0))
        falling: Floats = np.minimum.accumulate(best[:, ::-1], axis=1)[:, ::-1]
        return falling


class GlobalSlopes(NamedTuple):
    r"""What holds in the whole space, for ``q`` functions of the logits.

    Attributes
    ----------
    lipschitz
        Lipschitz constants, ``(q,)``.
    asymptotic, lift
        ``C f(x) <= lift + asymptotic · ‖x‖``, from the network without biases, ``(q,)`` each.
    """

    lipschitz: Floats
    asymptotic: Floats
    lift: Floats


def contrasts(classes: int, label: int) -> Floats:
    """Return the rows ``z_j − z_y`` for every ``j ≠ y``, ``(K − 1, K)``."""
    rows = np.delete(np.eye(classes), label, axis=0)
    rows[:, label] = -1.0
    return rows


def global_slopes(network: ReLUNetwork, norm: GroundNorm, rows: Floats, label: int) -> GlobalSlopes:
    r"""Return constants that need no ball.

    The bias-free network :math:`f^0` is positively homogeneous, so its bound on the unit ball is a
    slope, and :math:`|f - f^0| \le |C W_L|\, S |W_{L-1}| \cdots |b|` adds up over the layers.
    """
    steps = Propagation(network.without_biases())
    one = torch.ones(1, network.features, dtype=torch.float64)
    balls = Balls(norm.name, 0.0 * one, one, one, one[:, :1])
    known, C = steps.neurons(balls), torch.tensor(rows)
    found = [steps.affine(balls, known, C, name) for name in RELAXATIONS]
    tops = [v.offset + balls.tops(v.matrix) for v in found]
    open_ = Neurons(
        [torch.full_like(v, -1.0) for v in known.lower],
        [torch.full_like(v, 1.0) for v in known.upper],
        known.magnitude,
    )
    jacobian = steps.jacobian(balls, open_, C)
    any_ = balls.lines_of_intervals(jacobian.lower, jacobian.upper, 0.0 * balls.radii)
    product = float(layer_product(network, norm)[label])
    lift = np.zeros(network.features)
    for W, b, s in zip(
        network.weights, network.biases, (*network.slopes, np.ones(network.classes)), strict=True
    ):
        lift = (np.abs(W) @ lift + np.abs(b)) * np.maximum(1.0, np.abs(s))
    return GlobalSlopes(
        np.minimum(any_.slope[0, 0].numpy(), product),
        torch.stack(tops).amin(dim=0)[0, 0].clamp(min=0.0).numpy(),
        np.abs(rows) @ lift * (1.0 + steps.relative_error),
    )


def lines_of(
    steps: Propagation,
    balls: Balls,
    known: Neurons,
    rows: Floats,
    centre: Floats,
    everywhere: GlobalSlopes,
) -> Lines:
    """Return the lines of functions of the logits on all rungs.

    Parameters
    ----------
    rows
        Shape ``(q, K)``.
    centre
        Upper bounds of the functions at the samples, ``(N, q)``.
    """
    found = list(_rung_lines(steps, balls, known, rows, centre))
    lengths = _lengths(balls)
    return Lines(
        np.stack([line.intercept.cpu().numpy() for line in found]),
        np.stack([line.slope.cpu().numpy() for line in found]),
        (
            np.stack([centre, everywhere.lift + everywhere.asymptotic * lengths[:, None]]),
            np.stack([everywhere.lipschitz + 0.0 * centre, everywhere.asymptotic + 0.0 * centre]),
        ),
        balls.radii.cpu().numpy(),
    )


def _rung_lines(
    steps: Propagation, balls: Balls, known: Neurons, rows: Floats, centre: Floats
) -> Iterator[Line]:
    C = torch.tensor(rows, device=steps.device)
    inner = torch.cat([0.0 * balls.radii[:, :1], balls.radii[:, :-1]], dim=1)
    start = torch.tensor(centre, device=steps.device)[:, None, :]
    jacobian = steps.jacobian(balls, known, C)
    for touch in (inner, balls.radii):
        line = balls.lines_of_intervals(jacobian.lower, jacobian.upper, touch)
        yield Line(line.intercept + start, line.slope)
    for relaxation in RELAXATIONS:
        above = steps.affine(balls, known, C, relaxation)
        for touch in (inner, balls.radii):
            line = balls.lines(above.matrix, touch)
            yield Line(line.intercept + above.offset, line.slope)


def _lengths(balls: Balls) -> Floats:
    X = balls.centres.cpu().numpy()
    lengths: Floats = norm_named(balls.norm).length(X) * (1.0 + (X.shape[1] + 8) * 4 * ROUNDING)
    return lengths
