r"""A plain branch and bound: the bar that the engine has to clear.

Per sample one warm HiGHS model of the triangle relaxation; per multiplier and target class a
depth-first tree over neuron signs, the most violated neuron first; every LP point is evaluated by
the network for an incumbent. Nothing is shared between samples, targets or multipliers, but for the
known atoms of a sample as its first incumbent and the model with its last basis.
"""

from collections.abc import Callable, Sequence

import highspy
import numpy as np
import numpy.typing as npt
from formulation import Floats, SampleProgram, formulate, ranges_of
from kelley import Bracket, Kelley

import wdaverify as wv

GAP = 1e-9
EXACT = 1e-9
"""A neuron that violates ``h = max(z, 0)`` by less is not branched on."""

Signs = npt.NDArray[np.int8]


class SampleTree:
    """The trees of one sample on its warm model."""

    def __init__(
        self, problem: wv.Problem, sample: int, ranges: list[tuple[Floats, Floats]]
    ) -> None:
        self.problem, self.label = problem, int(problem.labels[sample])
        self.program: SampleProgram = formulate(problem, sample, ranges)
        self.highs = self.program.rows.highs()
        self.highs.setOptionValue("presolve", "off")  # it forgets the warm basis
        self.z = np.array([neuron.z for neuron in self.program.neurons], dtype=np.int64)
        self.h = np.array([neuron.h for neuron in self.program.neurons], dtype=np.int64)
        self.signs: Signs = np.zeros(len(self.z), dtype=np.int8)
        self.width = len(self.program.rows.lower)
        self.nodes = 0

    def supremum(self, multiplier: float, known: float) -> tuple[float, list[Floats]]:
        """Return an upper bound of ``φ_i(λ)`` within the gap, and the incumbents found."""
        self.multiplier, self.best, self.points = multiplier, known, list[Floats]()
        classes = [j for j in range(self.problem.network.classes) if j != self.label]
        free = np.zeros_like(self.signs)
        roots = []
        for target in classes:
            bound, children = self._node(target, free)
            roots.append((bound, target, children))
        upper = -np.inf
        for bound, target, children in sorted(roots, reverse=True, key=lambda root: root[0]):
            upper = max(upper, self._tree(target, bound, children))
        return max(upper, self.best), self.points

    def _tree(self, target: int, bound: float, children: list[Signs]) -> float:
        """Return the largest bound of a leaf that is above the incumbent."""
        upper = -np.inf
        stack = [(bound, signs) for signs in reversed(children)]
        if not children:
            upper = bound
        self._objective(target)
        while stack:
            above, signs = stack.pop()
            if above <= self.best + self._allowed():
                continue
            bound, children = self._node(target, signs, above)
            if bound <= self.best + self._allowed():
                continue
            if not children:
                upper = max(upper, bound)
            stack += [(bound, child) for child in reversed(children)]
        return upper

    def _allowed(self) -> float:
        return GAP * max(1.0, abs(self.best))

    def _objective(self, target: int) -> None:
        W, b = self.problem.network.weights[-1], self.problem.network.biases[-1]
        costs = np.zeros(self.width)
        costs[self.program.last] = W[target] - W[self.label]
        costs[self.program.length] = -self.multiplier
        self.highs.changeColsCost(self.width, np.arange(self.width, dtype=np.int32), costs)
        self.offset = float(b[target] - b[self.label])

    def _node(self, target: int, signs: Signs, above: float = np.inf) -> tuple[float, list[Signs]]:
        """Return the bound of a node and its children, the one that holds the LP point first."""
        if above == np.inf:
            self._objective(target)
        self._move_to(signs)
        self.nodes += 1
        values = self._solve()
        if values is None:
            return -np.inf, []
        bound = min(above, self.highs.getInfo().objective_function_value + self.offset)
        self._offer(values)
        z, h = values[self.z], values[self.h]
        violation = np.where(signs == 0, h - np.maximum(z, 0.0), 0.0)
        if not len(violation) or (k := int(violation.argmax())) < 0 or violation[k] <= EXACT:
            return bound, []
        children = [signs.copy(), signs.copy()]
        side = 1 if z[k] > 0 else -1
        children[0][k], children[1][k] = side, -side
        return bound, children

    def _move_to(self, signs: Signs) -> None:
        """Set the bounds of the neurons whose sign differs from the model's."""
        for k in np.flatnonzero(signs != self.signs).tolist():
            neuron, sign = self.program.neurons[k], signs[k]
            low, high = (0.0 if sign > 0 else neuron.low), (0.0 if sign < 0 else neuron.high)
            self.highs.changeColBounds(neuron.z, low, high)
            self.highs.changeColBounds(neuron.h, 0.0, high)
            self.highs.changeRowBounds(neuron.above, 0.0, 0.0 if sign > 0 else np.inf)
        self.signs = signs

    def _solve(self) -> Floats | None:
        """Return the LP's point, nothing if it is infeasible; asked again when it is unclear."""
        for again in (False, True):
            if again:
                self.highs.clearSolver()
            self.highs.run()
            status = self.highs.getModelStatus()
            if status == highspy.HighsModelStatus.kInfeasible:
                return None
            if status == highspy.HighsModelStatus.kOptimal:
                return np.array(self.highs.getSolution().col_value)
        raise RuntimeError(f"HiGHS ended with {status}")

    def _offer(self, values: Floats) -> None:
        """Evaluate the LP's point by the network: a new incumbent if it is better."""
        x = np.clip(self.program.point(values), *self.problem.support.bounds)
        logits = self.problem.network.logits(x[None])[0]
        rest = np.delete(logits, self.label)
        length = float(self.problem.cost.norm.length((x - self.program.sample)[None])[0])
        value = float(rest.max() - logits[self.label]) - self.multiplier * length
        if value > self.best:
            self.best = value
            self.points.append(x)


class Trees:
    """One :class:`SampleTree` per sample, made when first used."""

    def __init__(self, problem: wv.Problem) -> None:
        self.problem, self.ranges = problem, ranges_of(problem)
        self.trees: dict[int, SampleTree] = {}

    def supremum(self, sample: int, multiplier: float, known: float) -> tuple[float, list[Floats]]:
        """See :data:`kelley.Supremum`."""
        if sample not in self.trees:
            self.trees[sample] = SampleTree(self.problem, sample, self.ranges)
        return self.trees[sample].supremum(multiplier, known)

    @property
    def nodes(self) -> int:
        """LPs solved."""
        return sum(tree.nodes for tree in self.trees.values())


def solve(
    problem: wv.Problem,
    radii: Sequence[float],
    tell: Callable[[int, int], None] = lambda _, __: None,
) -> list[Bracket]:
    """Return the values of all radii: margin loss, order 1, ℓ1 or ℓ∞, box."""
    return Kelley(problem, Trees(problem).supremum, tell).solve(radii, gap=GAP)
