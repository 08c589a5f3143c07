"""Which of the points that a batch visited are worth keeping, in torch."""

import torch
from torch import Tensor

__all__ = ["frontier"]


def frontier(keys: Tensor, lengths: Tensor, values: Tensor) -> Tensor:
    """Return the points that no other point of the same key dominates.

    A point stays if every point of its key at most as far away has a smaller value; among equals
    the first stays.

    Parameters
    ----------
    keys, lengths, values
        Group, distance and value of each point, ``(M,)``; points with value NaN never stay.

    Returns
    -------
    Tensor
        Indices, by key, then by rising distance (and value).
    """
    kept = (~values.isnan()).nonzero()[:, 0]
    values, keys, lengths = values[kept], keys[kept], lengths[kept]
    order = values.argsort(descending=True, stable=True)
    order = order[lengths[order].argsort(stable=True)]
    order = order[keys[order].argsort(stable=True)]
    ranks = torch.unique(values, return_inverse=True)[1][order]
    groups = torch.unique(keys, return_inverse=True)[1][order]
    heights = ranks + groups * (len(values) + 1)  # a new group starts above all earlier ones
    best = torch.cat([heights.new_full((1,), -1), heights.cummax(dim=0).values[:-1]])
    result: Tensor = kept[order[heights > best]]
    return result
