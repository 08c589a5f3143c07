"""From a point inside a partial cell to a vertex of it, by as many pivots as there are rows."""

import numpy as np

from wdaverify.cells.dictionary.lanes import FREE, Lanes, Move, pivot
from wdaverify.cells.dictionary.model import Model

__all__ = ["seat"]

RATE = 1e-9
"""A unit direction must approach a row by this much to end there."""


def seat(model: Model, layer: int, lanes: Lanes) -> None:
    """Give every lane a vertex, found from its point; directions without end stay free."""
    B, d = lanes.vertex.shape
    lanes.vertex[...] = lanes.point
    lanes.edges[...] = np.eye(d)
    lanes.rate[...] = 1.0
    lanes.basis[...] = FREE
    for j in range(d):
        slack = model.forward(lanes.vertex, lanes.slope, layer)
        factor = lanes.factor[:, : slack.shape[1]]
        slack *= factor
        along = lanes.edges[:, j].copy()
        change = model.forward(along, lanes.slope, layer, affine=False) * factor
        lane, tied = np.nonzero(lanes.basis != FREE)
        change[lane, lanes.basis[lane, tied]] = 0.0
        steps = np.full_like(change, np.inf)
        np.divide(np.maximum(slack, 0.0), np.abs(change), out=steps, where=np.abs(change) > RATE)
        row = steps.argmin(axis=1)
        every = np.arange(B)
        index = np.flatnonzero(np.isfinite(steps[every, row]))
        if not len(index):
            continue
        row = row[index]
        along = np.where(change[index, row] > 0, -1.0, 1.0)[:, None] * along[index]
        raw = model.gradients(row, lanes.slope[index]) * factor[index, row][:, None]
        gradient = (lanes.edges[index] @ raw[:, :, None])[:, :, 0]
        column = np.full(len(index), j)
        pivot(lanes, index, Move(column, along, steps[index, row]), row, gradient)
