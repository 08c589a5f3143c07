r"""Whether cells are bounded, for many at once.

The rows :math:`g_i` (unit length) of a cell leave a ray strictly inside its recession cone exactly
when the origin is not in their convex hull. The point of the hull next to the origin solves the
non-negative least squares problem

.. math:: \min_{\eta\ge0}\ \Bigl\|\sum_i \eta_i\,(g_i, 1) - (0, 1)\Bigr\|
   \qquad\text{(Lawson and Hanson, 1974, chapter 23)},

and its residual :math:`(u, t)` satisfies :math:`g_i\cdot u \le -t`. If ``t > 0`` that is a ray; if
the residual vanishes, the rows with :math:`\eta_i > 0` span the space positively, provided that
what is left can be absorbed by the multipliers: the cell is bounded. Neither is proved for cones
that are not full-dimensional: these are left to exact arithmetic.
"""

import numpy as np

from wdaverify.arrays import Bools, Floats, Integers

__all__ = ["BOUNDED", "OPEN", "UNKNOWN", "bounded_by_rows"]

UNKNOWN, BOUNDED, OPEN = -1, 1, 0

SURELY = 1e-9
"""Relative size of what is no rounding: rows of cells have errors far smaller than this."""

GAIN = 1e-12
"""A column that does not gain this much does not enter."""

ROUNDS = 6
"""Least squares solutions per dimension after which a cell is left open."""


def bounded_by_rows(rows: Floats, used: Bools) -> Integers:
    """Return ``BOUNDED``, ``OPEN`` or ``UNKNOWN`` for cones ``{u : rows u <= 0}``, ``(B,)``.

    Parameters
    ----------
    rows
        Unit rows, ``(B, m, d)``; relative errors below ``SURELY / 10``.
    used
        Which of them count, ``(B, m)``.
    """
    count, _, d = rows.shape
    answer = np.full(count, UNKNOWN)
    columns = np.concatenate([rows, np.ones((*rows.shape[:2], 1))], axis=2)
    columns[~used] = 0.0
    weights = _least_squares(columns, used)
    residual = -np.einsum("bmi,bm->bi", columns, weights)
    residual[:, -1] += 1.0
    ray = residual[:, :-1]
    growth = np.einsum("bmi,bi->bm", columns[:, :, :-1], ray)
    strict = (growth < -SURELY * np.linalg.norm(ray, axis=1)[:, None]) | ~used
    answer[strict.all(axis=1) & ray.any(axis=1)] = OPEN
    left = np.flatnonzero((answer == UNKNOWN) & ((weights > 0).sum(axis=1) > d))
    for k in left:
        support = weights[k] > 0
        G, eta = rows[k, support], weights[k, support]
        missing = float(np.linalg.norm(G.T @ eta)) + SURELY * float(eta.sum())
        spread = float(np.linalg.svd(G, compute_uv=False)[-1]) - SURELY * len(eta)
        if missing < 0.5 * spread * float(eta.min()):
            answer[k] = BOUNDED
    return answer


def _least_squares(columns: Floats, used: Bools) -> Floats:
    """Return non-negative weights, ``(B, m)``: Lawson and Hanson's method for all at once."""
    count, m, size = columns.shape
    weights, active = np.zeros((count, m)), np.zeros((count, m), dtype=bool)
    running = np.arange(count)
    for _ in range(ROUNDS * size):
        part, w = columns[running], weights[running]
        residual = -np.einsum("bmi,bm->bi", part, w)
        residual[:, -1] += 1.0
        gain = np.einsum("bmi,bi->bm", part, residual)
        gain[active[running] | ~used[running]] = -np.inf
        best = gain.argmax(axis=1)
        going = gain[np.arange(len(running)), best] > GAIN
        running, best = running[going], best[going]
        if not len(running):
            break
        active[running, best] = True
        _descend(columns, weights, active, running)
    return weights


def _descend(columns: Floats, weights: Floats, active: Bools, index: Integers) -> None:
    """Move to the least squares solutions of the active columns, dropping what turns negative."""
    while len(index):
        part = np.where(active[index][:, :, None], columns[index], 0.0)
        goal = _solved(part, active[index])
        now, on = weights[index], active[index]
        down = on & (goal <= 0)
        share = np.full(goal.shape, np.inf)
        np.divide(now, now - goal, out=share, where=down & (now > goal))
        share[down & (now <= goal)] = 0.0
        step = np.minimum(1.0, share.min(axis=1))
        moved = now + step[:, None] * (goal - now)
        gone = down & (share <= step[:, None])
        moved[gone | ~on] = 0.0
        weights[index] = moved
        active[index] = on & ~gone
        index = index[gone.any(axis=1)]


def _solved(part: Floats, on: Bools) -> Floats:
    """Return the least squares solutions, ``(B, m)``; columns that are off are zero."""
    gram = part @ part.transpose(0, 2, 1)
    every = np.arange(gram.shape[1])
    gram[:, every, every] += np.where(on, 1e-14, 1.0)
    return np.asarray(np.linalg.solve(gram, part[:, :, -1:])[:, :, 0])
