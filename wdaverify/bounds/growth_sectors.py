r"""Sectors: the ball around a sample cut at the sample, across the features that matter most.

A sector fixes the sign of ``s`` features of the move, so :math:`2^s` sectors cover the ball, and
the bound on the ball is the largest of theirs. On each, bounds of the neurons are tighter.
"""

from itertools import product

import numpy as np
import torch
from torch import Tensor

from wdaverify.bounds.propagation import Balls, Jacobian

__all__ = ["cut_into_sectors", "influence", "sectors_for"]

FEW = 8
"""Up to how many features sectors are used unasked."""

MOST = 5
"""How many features are then cut."""


def sectors_for(features: int, splits: int | None) -> int:
    """Return how many features to cut, chosen by their number unless asked for."""
    wanted = (MOST if features <= FEW else 0) if splits is None else splits
    return min(wanted, features)


def influence(balls: Balls, jacobian: Jacobian) -> Tensor:
    """Return how uncertain each feature leaves the outputs on the last ball, ``(N, n)``."""
    last = balls.radii[:, -1:]
    room = torch.minimum(balls.up, last) + torch.minimum(balls.down, last)
    width = (jacobian.upper - jacobian.lower)[:, -1].amax(dim=1)
    return width * room


def cut_into_sectors(balls: Balls, features: Tensor) -> Balls:
    """Repeat every sample once per sector.

    Parameters
    ----------
    features
        Which features of each sample are cut, ``(N, s)``.

    Returns
    -------
    Balls
        Of ``N · 2^s`` rows, those of a sample one after another.
    """
    s = features.shape[1]
    signs = np.array(list(product([True, False], repeat=s))).reshape(-1, s)
    count = len(signs)
    rising = torch.tensor(signs, device=features.device).repeat(len(features), 1)
    at = features.repeat_interleave(count, dim=0)
    up, down = (v.repeat_interleave(count, dim=0) for v in (balls.up, balls.down))
    up = up.scatter(1, at, torch.where(rising, up.gather(1, at), 0.0))
    down = down.scatter(1, at, torch.where(rising, 0.0, down.gather(1, at)))
    centres, radii = (v.repeat_interleave(count, dim=0) for v in (balls.centres, balls.radii))
    return Balls(balls.norm, centres, up, down, radii)
