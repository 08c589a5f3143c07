r"""Bounds on pre-activations over a node's region, layer by layer, by back-substitution.

.. math:: a^- z \le \text{act}(z) \le a^+ z + c^+ \quad\text{on } [l, u]

replaces each neuron by two lines; an affine function of layer ``l`` becomes, layer after layer, an
affine function of the move, whose maximum over box and ball is known.
"""

import numpy as np

from wdaverify.arrays import Floats, Integers
from wdaverify.search.lagrangian import Region
from wdaverify.search.rings import Rings
from wdaverify.search.scaling import Scaled, activate

__all__ = ["first_bounds", "roots", "tighten"]


def first_bounds(scaled: Scaled, rings: Rings) -> tuple[Floats, Floats]:
    """Return bounds of the first layer for each sample and ring, ``(N, R, m_1)``."""
    N, R = rings.outer.shape
    owner, ring = np.repeat(np.arange(N), R), np.tile(np.arange(R), N)
    W, m = scaled.weights[0], len(scaled.biases[0])
    both = np.broadcast_to(np.concatenate([W, -W]), (N * R, 2 * m, scaled.features))
    top = rings.reach(both, owner, ring).reshape(N, R, 2 * m)
    error = scaled.relative_error * scaled.magnitudes[:m]
    origin = scaled.origins[:, None, :]
    return origin - top[:, :, m:] - error, origin + top[:, :, :m] + error


def roots(scaled: Scaled, rings: Rings, first: tuple[Floats, Floats], samples: Integers) -> Region:
    """Return the nodes, every piece and every ring, from which the trees of samples grow.

    Parameters
    ----------
    first
        Bounds of the first layer as :func:`first_bounds` returns them.
    """
    pieces, count = len(scaled.gradients), rings.outer.shape[1]
    owner = np.repeat(samples, pieces * count)
    piece = np.tile(np.repeat(np.arange(pieces), count), len(samples))
    ring = np.tile(np.arange(count), len(samples) * pieces)
    real = rings.outer[owner, ring] > rings.inner[owner, ring]
    real |= ring == 0
    owner, piece, ring = owner[real], piece[real], ring[real]
    size = scaled.magnitudes * (1.0 + scaled.relative_error)
    lower, upper = np.tile(-size, (len(owner), 1)), np.tile(size, (len(owner), 1))
    lower[:, scaled.layers[0]] = first[0][owner, ring]
    upper[:, scaled.layers[0]] = first[1][owner, ring]
    # the bounds do not depend on the piece: compute them once per sample and ring
    _, once, back = np.unique(owner * count + ring, return_index=True, return_inverse=True)
    low, high = lower[once], upper[once]
    for k in range(1, len(scaled.layers)):
        tighten(scaled, rings, (owner[once], ring[once]), (low, high), k)
    return Region(owner, piece, ring, low[back], high[back])


def tighten(
    scaled: Scaled,
    rings: Rings,
    nodes: tuple[Integers, Integers],
    bounds: tuple[Floats, Floats],
    layer: int,
) -> None:
    """Intersect the bounds of one layer (1 is the second) with those that earlier layers imply.

    Parameters
    ----------
    nodes
        Owner and ring of each node, ``(B,)``.
    bounds
        Lower and upper bounds of all neurons, ``(B, m)``, changed in place.
    """
    W, b = scaled.weights[layer], scaled.biases[layer]
    here, before = scaled.layers[layer], scaled.layers[layer - 1]
    both = np.concatenate([W, -W])
    shift = np.concatenate([b, -b])
    top = _substituted(scaled, rings, nodes, bounds, both, layer)
    low, high = (activate(v[:, before], scaled.slopes[before]) for v in bounds)
    plain = low @ np.minimum(both, 0.0).T + high @ np.maximum(both, 0.0).T
    top = np.minimum(top, plain) + shift
    error = scaled.relative_error * scaled.magnitudes[here]
    m = len(b)
    lower, upper = bounds
    upper[:, here] = np.minimum(upper[:, here], top[:, :m] + error)
    lower[:, here] = np.maximum(lower[:, here], -top[:, m:] - error)


def _substituted(
    scaled: Scaled,
    rings: Rings,
    nodes: tuple[Integers, Integers],
    bounds: tuple[Floats, Floats],
    rows: Floats,
    layer: int,
) -> Floats:
    """Maximise ``rows (q, m_layer-1)`` of the activations before a layer, ``(B, q)``."""
    owner, ring = nodes
    coefficients, constant = rows[None, :, :], np.zeros((len(owner), len(rows)))
    for k in range(layer - 1, -1, -1):
        part = scaled.layers[k]
        slopes = scaled.slopes[part]
        below, above, rise = _lines(bounds[0][:, part], bounds[1][:, part], slopes)
        positive = np.maximum(coefficients, 0.0)
        constant += (positive @ rise[:, :, None])[:, :, 0]
        inner = positive * above[:, None, :] + (coefficients - positive) * below[:, None, :]
        shift = scaled.origins[owner] if k == 0 else scaled.biases[k][None, :]
        constant += (inner @ shift[:, :, None])[:, :, 0]
        B, q, m = inner.shape
        coefficients = (inner.reshape(B * q, m) @ scaled.weights[k]).reshape(B, q, -1)
    return constant + rings.reach(coefficients, owner, ring)


def _lines(lower: Floats, upper: Floats, slopes: Floats) -> tuple[Floats, Floats, Floats]:
    """Return lower slope, upper slope and upper intercept of each neuron's two lines."""
    on, off = lower >= 0, upper <= 0
    open_ = ~(on | off)
    width = np.where(open_, upper - lower, 1.0)
    above = np.where(open_, (upper - slopes * lower) / width, np.where(on, 1.0, slopes))
    below = np.where(open_, np.where(upper > -lower, 1.0, slopes), above)
    rise = np.where(open_, np.maximum(upper, 0.0) * (1.0 - above), 0.0)
    return below, above, rise
