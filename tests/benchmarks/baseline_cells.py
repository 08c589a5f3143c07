"""Plain depth-first enumeration of cells: the bar that the enumerators have to clear.

One warm HiGHS model; rows come and go with the depth. A neuron whose sign a known point of the
partial cell shows needs one linear program for the other side, else two. Nothing is decided exactly
and nothing is batched.
"""

import highspy
import numpy as np
import numpy.typing as npt

import wdaverify as wv

Floats = npt.NDArray[np.float64]

STRICT = 1e-8
"""A neuron takes a sign where it gets farther from zero than this."""

CAP = 1e4
"""Half the width of the box that stands for the whole space."""


class DepthFirst:
    """Counts the cells of a network on a box."""

    def __init__(self, network: wv.ReLUNetwork, lower: Floats, upper: Floats) -> None:
        self.network = network
        self.highs = highspy.Highs()
        for option, value in (("output_flag", False), ("threads", 1), ("presolve", "off")):
            self.highs.setOptionValue(option, value)
        n = network.features
        self.columns = np.arange(n, dtype=np.int32)
        self.highs.addVars(n, np.maximum(lower, -CAP), np.minimum(upper, CAP))
        self.starts = np.concatenate([[0], np.cumsum(network.widths)]).astype(int)
        self.layer_of = np.repeat(np.arange(len(network.widths)), network.widths)
        self.programs = 0

    def count(self, inside: Floats, *, most: int = 10**9) -> int:
        """Count the cells, from a point inside the box; stop at ``most``."""
        root = self.network.weights[0], self.network.biases[0]
        return self._below(0, [], root, inside, most)

    def _below(
        self, k: int, signs: list[bool], layer: tuple[Floats, Floats], x: Floats, most: int
    ) -> int:
        while k < self.network.neurons:
            this = int(self.layer_of[k])
            if k == self.starts[this] and k > 0:
                layer = self._next_layer(this, signs, layer)
            w, b = layer[0][k - self.starts[this]], float(layer[1][k - self.starts[this]])
            size = float(np.linalg.norm(w)) or 1.0
            w, b = w / size, b / size
            here = float(w @ x) + b > 0
            other = self._farthest(-w if here else w)
            if (float(w @ other) + b) * (-1.0 if here else 1.0) <= STRICT:
                signs = [*signs, here]
                k += 1
                continue
            total = 0
            for on, point in ((here, x), (not here, None)):
                self._push(w, b, on=on)
                start = self._beyond(x, other, w, b) if point is None else point
                total += self._below(k + 1, [*signs, on], layer, start, most - total)
                self._pop()
                if total >= most:
                    return total
            return total
        return 1

    def _next_layer(
        self, this: int, signs: list[bool], layer: tuple[Floats, Floats]
    ) -> tuple[Floats, Floats]:
        net = self.network
        on = np.array(signs[self.starts[this - 1] : self.starts[this]])
        factor = np.where(on, 1.0, net.slopes[this - 1])
        W = net.weights[this] * factor
        return W @ layer[0], W @ layer[1] + net.biases[this]

    def _beyond(self, x: Floats, other: Floats, w: Floats, b: float) -> Floats:
        """Return a point between the hyperplane and a point on its other side."""
        a, c = float(w @ x) + b, float(w @ other) + b
        crossing = a / (a - c) if a != c else 0.5
        return np.asarray(x + (0.5 + 0.5 * crossing) * (other - x))

    def _farthest(self, direction: Floats) -> Floats:
        self.programs += 1
        self.highs.changeColsCost(len(direction), self.columns, -direction)
        self.highs.run()
        return np.array(self.highs.getSolution().col_value)

    def _push(self, w: Floats, b: float, *, on: bool) -> None:
        low, high = (-b, np.inf) if on else (-np.inf, -b)
        self.highs.addRow(low, high, len(w), self.columns, w)

    def _pop(self) -> None:
        self.highs.deleteRows(1, np.array([self.highs.getNumRow() - 1], dtype=np.int32))
