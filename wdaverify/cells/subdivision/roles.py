"""What each neuron does in the subdivision: it cuts, repeats another one, or is constant."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from wdaverify.arrays import Bools, Floats, Integers
from wdaverify.cells.frame import unit_rows
from wdaverify.cells.subdivision.exact import ExactArrangement, Row
from wdaverify.cells.subdivision.start import Corners
from wdaverify.cells.subdivision.values import Values
from wdaverify.tolerances import ROUNDING

__all__ = ["Roles", "roles_of"]

ALIKE = 1e-9
"""Neurons are compared exactly when the cosine of their rows is this close to one."""


@dataclass(frozen=True, slots=True, eq=False)
class Roles:
    """Which neurons cut the support, and the patterns of those that do not.

    Attributes
    ----------
    cutting
        Neurons whose zero set is followed, ``(neurons,)``.
    constant
        The pattern of neurons that are constant in sign, ``(neurons,)``.
    source, opposite
        The neuron that each one repeats (itself, if none), and whether with the opposite sign.
    zero
        Neurons that are constant functions, ``(neurons,)``.
    """

    cutting: Bools
    constant: Bools
    source: Integers
    opposite: Bools
    zero: Bools

    def complete(self, patterns: Bools) -> Bools:
        """Fill in the neurons that do not cut: ``(..., neurons)``, same shape."""
        return np.asarray((patterns[..., self.source] ^ self.opposite) | self.constant)


def roles_of(exact: ExactArrangement, corners: Corners, values: Values) -> Roles:
    """Look for neurons that repeat others of their layer or have one sign on the support."""
    linear, H = exact.network.linear, exact.network.neurons
    roles = Roles(~linear, linear.copy(), np.arange(H), np.zeros(H, dtype=bool), linear.copy())
    low, high = _range(exact, corners, values)
    roles.cutting[: len(low)] &= (low < 0) & (high > 0)
    roles.constant[: len(low)] |= (low >= 0) & (high > 0)
    for layer, (W, b) in enumerate(zip(values.weights, values.biases, strict=True)):
        start = int(values.starts[layer])
        part = slice(start, start + len(b))
        still = ~np.any(W, axis=1)
        for k in np.flatnonzero(still).tolist():
            still[k] = not np.any(exact.layer_row(layer, k)[0])
        roles.zero[part] |= still
        roles.constant[part] |= still & (b > 0)
        roles.cutting[part] &= ~still
        _find_repeats(exact, roles, layer, unit_rows(np.column_stack([W, b]), b).matrix, start)
    return roles


def _find_repeats(
    exact: ExactArrangement, roles: Roles, layer: int, rows: Floats, start: int
) -> None:
    alike = np.abs(rows @ rows.T) > 1 - ALIKE
    for k, j in np.argwhere(np.tril(alike, -1)).tolist():
        if roles.cutting[start + k] and roles.cutting[start + j]:
            factor = _factor(exact.layer_row(layer, k), exact.layer_row(layer, j))
            if factor is not None:
                roles.cutting[start + k], roles.source[start + k] = False, start + j
                roles.opposite[start + k] = factor < 0


def _range(exact: ExactArrangement, corners: Corners, values: Values) -> tuple[Floats, Floats]:
    """Return lowest and highest value of the first neurons over the support, with right signs."""
    points = corners.points.astype(np.float64).T
    at_corners = values.below(points, 1)
    count = len(at_corners)
    size = values.sizes(points).max()
    error = values.errors(slice(0, count), size)[:, 0] + values.steepness[:count] * ROUNDING * size
    low, high = at_corners.min(axis=1), at_corners.max(axis=1)
    crosses = (low < -error) & (high > error)
    for k in np.flatnonzero(~crosses & (low <= error) & (high >= -error)).tolist():
        w, b = exact.cells.row(k, exact.network.linear)
        exactly = corners.points @ w + b
        low[k], high[k] = (np.sign(extreme) for extreme in (min(exactly), max(exactly)))
    return low, high


def _factor(row: Row, other: Row) -> Fraction | None:
    """Return the factor by which one row ``(w, b)`` is another, if there is one."""
    (w, b), (v, c) = row, other
    pivot = int(np.flatnonzero(v)[0])
    factor: Fraction = w[pivot] / v[pivot]
    return factor if b == factor * c and np.all(w == factor * v) else None
