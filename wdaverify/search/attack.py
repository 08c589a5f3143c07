"""First points for every sample: a few Frank–Wolfe steps on the loss within a ladder of radii."""

import numpy as np

from wdaverify.arrays import Floats, Integers
from wdaverify.search.rings import Price, Rings
from wdaverify.search.scaling import Scaled, activate

__all__ = ["attack", "loss_gradients"]

FREE = Price(0.0, 1.0)


def attack(
    scaled: Scaled,
    rings: Rings,
    owner: Integers,
    ring: Integers,
    *,
    piece: Integers | None = None,
    steps: int = 8,
) -> tuple[Floats, Floats]:
    """Climb a piece within the outer radius of a ring, from the sample outwards.

    Parameters
    ----------
    piece
        Which piece each of them climbs, ``(B,)``; whichever is largest at the moment when omitted.

    Returns
    -------
    tuple
        The best moves ``(B, n)`` and the (scaled) losses there, ``(B,)``.
    """
    move = np.zeros((len(owner), scaled.features))
    value, g = loss_gradients(scaled, owner, move, piece)
    best, top = move, value
    shell = rings.at(owner, ring)
    for step in range(steps):
        _, vertex = shell.maximum(g, FREE)
        share = 1.0 if step == 0 else 2.0 / (step + 2.0)
        move = move + share * (vertex - move)
        value, g = loss_gradients(scaled, owner, move, piece)
        better = value > top
        top = np.where(better, value, top)
        best = np.where(better[:, None], move, best)
    return best, top


def loss_gradients(
    scaled: Scaled, owner: Integers, moves: Floats, piece: Integers | None = None
) -> tuple[Floats, Floats]:
    """Return the loss ``(B,)`` and the gradient ``(B, n)`` of its largest or a given piece."""
    h, slopes = moves, []
    for k, part in enumerate(scaled.layers):
        z = h @ scaled.weights[k].T + (scaled.biases[k] if k else scaled.origins[owner])
        h = activate(z, scaled.slopes[part])
        slopes.append(np.where(z > 0, 1.0, scaled.slopes[part]))
    values = h @ scaled.gradients.T + scaled.offsets
    g = scaled.gradients[values.argmax(axis=1) if piece is None else piece]
    for k in range(len(scaled.layers) - 1, -1, -1):
        g = (g * slopes[k]) @ scaled.weights[k]
    return values.max(axis=1), g
