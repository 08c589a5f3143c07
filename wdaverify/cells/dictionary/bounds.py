r"""Proof that a neuron has one side on a partial cell.

For any multipliers :math:`\lambda\ge0` of slacks :math:`s_j`, with :math:`F = \sigma z -
\sum_j\lambda_j s_j = c + r\cdot u`, the neuron satisfies :math:`\sigma z\ge F` on the cell. On a
bounded support :math:`F\ge c-|r|\cdot X` for the extent :math:`X`. Elsewhere :math:`r` is a small
combination :math:`\delta` of the gradients of the slacks themselves, absorbed while
:math:`\lambda+\delta\ge0`; its size follows from the edges, which nearly invert them. Slacks that
cannot take part have :math:`\delta=0`.
"""

import numpy as np

from wdaverify.arrays import Bools, Floats, Integers
from wdaverify.cells.dictionary.lanes import FREE, Lanes
from wdaverify.cells.dictionary.model import Model

__all__ = ["certified"]

SOUND = 0.1
"""How far the edges may be from inverting the gradients."""


def certified(model: Model, layer: int, lanes: Lanes, index: Integers, prices: Floats) -> Bools:
    """Whether the neurons under test certainly keep the side of the vertex on the whole cell.

    Parameters
    ----------
    index
        Lanes at an optimum.
    prices
        Change of the signed distance along their edges, ``(len(index), d)``.
    """
    if not len(index):
        return np.zeros(0, dtype=bool)
    basis, factor, slope = lanes.basis[index], lanes.factor[index], lanes.slope[index]
    rows = model.support + int(model.starts[layer + 1])
    lam = np.maximum(prices, 0.0) * lanes.norm[index][:, None] / lanes.rate[index]
    unused = _unused(model, layer, basis, slope)
    lam[(basis == FREE) | (lam < 1e-100) | unused] = 0.0
    multipliers = np.zeros((len(index), rows + 1))  # the last column takes what is free
    every = np.arange(len(index))
    multipliers[every[:, None], basis] = -lam * factor[every[:, None], basis]
    multipliers[every, model.support + lanes.neuron[index]] = lanes.side[index]
    rest = model.combine(multipliers[:, :-1], slope, layer)
    size = np.abs(rest.gradient) + rest.gradient_error
    low = rest.constant - rest.constant_error
    if np.all(np.isfinite(model.extent)):
        shown = low * (1 - 1e-15) - (size @ model.extent) * (1 + model.gamma) >= 0
    else:
        shown = np.zeros(len(index), dtype=bool)
    left = np.flatnonzero(~shown & ~(basis == FREE).any(axis=1) & (low >= 0))
    if len(left):
        needed, offset = _correction(model, layer, lanes.take(index[left]), size[left])
        least = np.where(unused[left], np.inf, lam[left]).min(axis=1)
        shown[left] = (least > needed) & (low[left] >= needed * offset)
    return shown


def _unused(model: Model, layer: int, basis: Integers, slope: Floats) -> Bools:
    """Which slacks of a basis have the multiplier 0 exactly, ``(B, d)``.

    The neuron under test is a combination of the neurons of the layer before that are not flat.
    As many slacks of the basis as there are of these, all such combinations themselves, span them,
    and the basis is independent: the others take no part.
    """
    if layer == 0:
        return np.zeros(basis.shape, dtype=bool)
    start, this, end = (int(model.starts[m]) for m in (layer - 1, layer, layer + 1))
    neuron = np.where(basis == FREE, -1, basis - model.support)
    before = (start <= neuron) & (neuron < this)
    flat = np.take_along_axis(slope, np.clip(neuron, 0, None), axis=1) == 0.0
    within = ((this <= neuron) & (neuron < end)) | (before & ~flat)
    spanned = within.sum(axis=1) >= (slope[:, start:this] != 0.0).sum(axis=1)
    return np.asarray(~within & spanned[:, None])


def _correction(model: Model, layer: int, lanes: Lanes, rest: Floats) -> tuple[Floats, Floats]:
    """Bound the combination of slacks that makes a gradient of at most ``rest`` vanish.

    Returns
    -------
    needed, offset
        Its largest coefficient, infinite where not known, and the sum of the absolute values of
        these slacks at the origin, each ``(B,)``.
    """
    d = model.dimension
    every = np.arange(len(lanes))[:, None]
    slope = np.repeat(lanes.slope, d, axis=0)
    factor = lanes.factor[every, lanes.basis]
    gradients = model.gradients(lanes.basis.ravel(), slope).reshape(-1, d, d)
    product = (gradients * factor[:, :, None]) @ lanes.edges.transpose(0, 2, 1)
    product /= lanes.rate[:, None, :]
    error = np.abs(np.eye(d) - product).sum(axis=1).max(axis=1)
    needed = ((np.abs(lanes.edges) @ rest[:, :, None])[:, :, 0] / lanes.rate).max(axis=1)
    needed = np.where(error < SOUND, needed / (1.0 - 2.0 * SOUND), np.inf)
    offsets = model.sizes_at(np.zeros_like(lanes.vertex), lanes.slope, layer)
    offset = (offsets[every, lanes.basis] * np.abs(factor)).sum(axis=1)
    return needed, offset * (1 + 4 * model.gamma)
