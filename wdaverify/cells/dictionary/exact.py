"""Rows of a network as integers, and the decisions that floating point leaves open.

Every number is rational, so each layer, scaled by a common denominator, is a matrix of integers:
the sign of a pre-activation, a dual certificate at a given basis, an interior point.
"""

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from wdaverify.arrays import Bools, Floats, Integers
from wdaverify.cells.frame import Frame
from wdaverify.convex.exact import exact_interior_point
from wdaverify.network import ReLUNetwork
from wdaverify.rational import Rationals, rationals

__all__ = ["IntegerRows", "Whole", "eliminate", "is_plain"]

Whole = npt.NDArray[Any]
"""Object array of Python integers."""


class IntegerRows:
    """Slacks and pre-activations in frame coordinates, each scaled by a positive number.

    A row is ``(w, b)``, the function ``w · u + b``, as one array of ``d + 1`` integers. Rows of the
    network are numbered support first, then neurons.
    """

    def __init__(self, network: ReLUNetwork, frame: Frame) -> None:
        self.dimension, self.neurons = frame.dimension, network.neurons
        self.starts = np.concatenate([[0], np.cumsum(network.widths)]).astype(int)
        self.layer_of = np.repeat(np.arange(len(network.widths)), network.widths)
        slacks = np.concatenate([-frame.matrix, frame.bound[:, None]], axis=1)
        self.support = [_primitive(_whole(row)[0]) for row in slacks]
        self._weights: list[Whole] = []
        self._biases: list[Whole] = []
        self._on: list[int] = []
        self._off: list[Whole] = []
        scale = 1
        for m in range(len(network.widths)):
            W, b = rationals(network.weights[m]), rationals(network.biases[m])
            if m == 0:
                if not is_plain(frame):
                    W, b = W @ frame.basis, W @ frame.origin + b
                both, scale = _whole(np.concatenate([W, b[:, None]], axis=1))
                W, b = both[:, :-1], both[:, -1]
            else:
                W, factor = _whole(W)
                scale *= factor * self._on[m - 1]
                b, extra = _whole(b * Fraction(scale))
                W, scale = W * extra, scale * extra
            slopes, on = _whole(rationals(network.slopes[m]))
            self._weights.append(W)
            self._biases.append(b)
            self._off.append(slopes)
            self._on.append(on)

    def own(self, neuron: int) -> Whole:
        """Return weights and bias of a neuron on the outputs of the layer before, as one row."""
        layer = int(self.layer_of[neuron])
        index = neuron - int(self.starts[layer])
        return _primitive(np.append(self._weights[layer][index], self._biases[layer][index]))

    def neuron(self, neuron: int, pattern: Bools) -> Whole:
        """Return the pre-activation of a neuron if the layers before follow ``pattern``."""
        layer = int(self.layer_of[neuron])
        index = neuron - int(self.starts[layer])
        w, b = self._weights[layer][index], self._biases[layer][index]
        for m in range(layer - 1, -1, -1):
            on = pattern[self.starts[m] : self.starts[m + 1]]
            w = w * np.where(on, np.asarray(self._on[m], dtype=object), self._off[m])
            used = np.flatnonzero(w)
            b = b + (w[used] @ self._biases[m][used] if len(used) else 0)
            w = w[used] @ self._weights[m][used] if len(used) else self._weights[m][0] * 0
        return _primitive(np.append(w, b))

    def slack(self, row: int, pattern: Bools) -> Whole:
        """Return the slack of a row of the support or of a neuron on its side of ``pattern``."""
        S = len(self.support)
        if row < S:
            return self.support[row]
        z = self.neuron(row - S, pattern)
        return z if pattern[row - S] else -z

    def holds_within(self, basis: Integers, neuron: int, side: int, pattern: Bools) -> bool:
        """Whether :meth:`holds` is shown by the slacks of this layer and the one before alone.

        The active neurons of the layer before are taken as variables, whatever they depend on. That
        is sufficient, not necessary, and the numbers are short. With ``y`` these variables, ``J``
        the neurons of this layer in the basis and ``U`` those of the layer before, multipliers of
        ``J`` follow from the coefficients outside ``U``, and those of ``U`` from them.
        """
        layer = int(self.layer_of[neuron])
        if layer == 0:
            return False
        start, this, end = (int(self.starts[m]) for m in (layer - 1, layer, layer + 1))
        neurons = basis - len(self.support)
        J = neurons[(this <= neurons) & (neurons < end)].tolist()
        U = (neurons[(start <= neurons) & (neurons < this)] - start).tolist()
        on = pattern[start:this]
        factor = np.where(on, np.asarray(self._on[layer - 1], dtype=object), self._off[layer - 1])
        sides = [side, *(1 if pattern[j] else -1 for j in J)]
        W, b = self._weights[layer], self._biases[layer]
        columns = [
            [s * v for v in (*(W[k - this] * factor), b[k - this])]
            for s, k in zip(sides, [neuron, *J], strict=True)
        ]
        target, others = columns[0], columns[1:]
        free = set(U)
        rows = [
            [*(column[i] for column in others), target[i]]
            for i in range(this - start)
            if i not in free and factor[i]
        ]
        solved, pivots = eliminate(rows, len(others))
        rank = len(pivots)
        if rank < len(others) or any(row[-1] for row in solved[rank:]):
            return False
        scale = solved[0][0] if rank else 1
        turn = 1 if scale > 0 else -1
        multipliers = [turn * solved[i][-1] for i in range(rank)]
        if any(v < 0 for v in multipliers):
            return False

        def rest(i: int) -> int:
            taken = sum(v * column[i] for v, column in zip(multipliers, others, strict=True))
            return int(abs(scale) * target[i] - taken)

        return rest(-1) >= 0 and all(rest(i) * (1 if on[i] else -1) >= 0 for i in U)

    def holds(self, basis: Integers, neuron: int, side: int, pattern: Bools) -> bool:
        """Whether ``side * z >= 0`` follows from nonnegative multiples of the basis' slacks."""
        target = side * self.neuron(neuron, pattern)
        slacks = [self.slack(int(row), pattern) for row in basis]
        columns = [*slacks, target]
        matrix = [[int(column[i]) for column in columns] for i in range(self.dimension)]
        solved, pivots = eliminate(matrix, len(slacks))
        rank = len(pivots)
        if rank < len(slacks) or any(row[-1] for row in solved[rank:]):
            return False
        scale = solved[0][0] if rank else 1
        multipliers = [solved[i][-1] for i in range(rank)]
        ordered = [0] * rank
        for i, column in enumerate(pivots):
            ordered[column] = multipliers[i]
        sign = 1 if scale > 0 else -1
        if any(sign * v < 0 for v in ordered):
            return False
        rest = scale * target[-1] - sum(
            v * slack[-1] for v, slack in zip(ordered, slacks, strict=True)
        )
        return bool(sign * rest >= 0)

    def interior(self, rows: Sequence[int], pattern: Bools) -> Rationals | None:
        """Return a point strictly inside the support and the sides of neurons, if there is one."""
        S, d = len(self.support), self.dimension
        slacks = [*self.support, *(self.slack(S + k, pattern) for k in rows)]
        A = np.array([-slack[:-1] for slack in slacks], dtype=object).reshape(len(slacks), d)
        return exact_interior_point(A, np.array([slack[-1] for slack in slacks], dtype=object))

    def facet(self, rows: Sequence[int], neuron: int, pattern: Bools) -> Floats | None:
        """Return a point of the facet that a neuron gives to a cell, ``None`` if it gives none.

        Parameters
        ----------
        rows
            Neurons whose sides, with the support, describe the cell; one of them ``neuron``.
        """
        S, d = len(self.support), self.dimension
        others = [*self.support, *(self.slack(S + k, pattern) for k in rows if k != neuron)]
        own = self.slack(S + neuron, pattern)
        ends = []
        for row in (own, -own):
            slacks = [*others, row]
            A = np.array([-slack[:-1] for slack in slacks], dtype=object).reshape(len(slacks), d)
            point = exact_interior_point(A, np.array([slack[-1] for slack in slacks], dtype=object))
            if point is None:
                return None
            ends.append((point, abs(row[:-1] @ point + row[-1])))
        (inside, above), (outside, below) = ends
        return np.asarray((inside * below + outside * above) / (above + below), dtype=np.float64)

    def sides(
        self, cuts: Sequence[int], neuron: int, pattern: Bools
    ) -> Iterator[tuple[bool, Rationals]]:
        """Yield the sides of a neuron that a partial cell meets in its interior, with a point."""
        pattern = pattern.copy()
        for on in (False, True):
            pattern[neuron] = on
            point = self.interior([*cuts, neuron], pattern)
            if point is not None:
                yield on, point


def eliminate(
    rows: list[list[int]], columns: int, *, full: bool = True
) -> tuple[list[list[int]], list[int]]:
    """Eliminate integers without fractions (Bareiss 1968), columns in order.

    Parameters
    ----------
    rows
        The matrix; only its first ``columns`` columns give pivots.
    full
        Also above the pivots, so that all pivots end equal.

    Returns
    -------
    rows, pivots
        The matrix with one row for each pivot first, and the pivot columns.
    """
    last = 1
    pivots: list[int] = []
    for j in range(columns):
        r = len(pivots)
        found = next((i for i in range(r, len(rows)) if rows[i][j]), None)
        if found is None:
            continue
        rows[r], rows[found] = rows[found], rows[r]
        top, p = rows[r], rows[r][j]
        for i in range(0 if full else r + 1, len(rows)):
            if i != r:
                q = rows[i][j]
                rows[i] = [(p * v - q * t) // last for v, t in zip(rows[i], top, strict=True)]
        last = p
        pivots.append(j)
    return rows, pivots


def _whole(values: Rationals) -> tuple[Whole, int]:
    """Scale rationals by their least common denominator."""
    flat = values.ravel().tolist()
    scale = math.lcm(*(v.denominator for v in flat)) if flat else 1
    result = np.empty(len(flat), dtype=object)
    result[:] = [v.numerator * (scale // v.denominator) for v in flat]
    return result.reshape(values.shape), scale


def is_plain(frame: Frame) -> bool:
    """Whether coordinates are the features themselves."""
    n, d = frame.basis.shape
    if n != d or frame.origin.any() or np.count_nonzero(frame.basis) != n:
        return False
    return all(v == 1 for v in np.diag(frame.basis))


def _primitive(row: Whole) -> Whole:
    """Divide by the greatest common divisor."""
    divisor = math.gcd(*row.tolist())
    return row // divisor if divisor > 1 else row
