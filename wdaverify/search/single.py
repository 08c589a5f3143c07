"""Single nodes: programs and projections, and what their multipliers are worth."""

from collections.abc import Callable

import numpy as np

from wdaverify.arrays import Floats, Integers
from wdaverify.search.cell import Cell
from wdaverify.search.goal import Goal, Work
from wdaverify.search.lagrangian import coefficients, dual_bound, score
from wdaverify.search.nodes import Nodes
from wdaverify.search.program import Node, NodeProgram
from wdaverify.search.scaling import Scaled

__all__ = ["NodeSolver", "node_at"]


def node_at(nodes: Nodes, row: int, goal: Goal) -> Node:
    """Return the node of a row, with the radii of its ring as the goal has them."""
    owner, ring = int(nodes.owner[row]), int(nodes.ring[row])
    return Node(
        owner,
        int(nodes.piece[row]),
        float(goal.rings.inner[owner, ring]),
        float(goal.rings.outer[owner, ring]),
        nodes.lower[row],
        nodes.upper[row],
    )


class NodeSolver:
    """Solves relaxations of single nodes.

    Parameters
    ----------
    renew
        Called when a point may have brought the goal closer.

    Attributes
    ----------
    optima
        Multipliers of the last optima of a node, with their prices.
    """

    def __init__(
        self,
        scaled: Scaled,
        nodes: Nodes,
        program: NodeProgram,
        work: Work,
        renew: Callable[[Goal], None],
    ) -> None:
        self.scaled, self.nodes, self.program = scaled, nodes, program
        self.work, self._renew = work, renew
        self.optima: dict[int, list[tuple[float, Floats]]] = {}

    def solve(self, row: int, goal: Goal) -> list[tuple[int, Floats]]:
        """Solve the relaxation of a node: a point, a score; return multipliers to be tried."""
        nodes = self.nodes
        self.work.programs += 1
        node = node_at(nodes, row, goal)
        if self.program.curved and self._finish(row, node, goal):
            return []
        found = goal.relax(self.program, node)
        if found is None:
            self._leave(row, node, goal)
            return []
        index = np.array([row])
        goal.offer(nodes.owner[index], found.move[None, :])
        alpha = coefficients(self.scaled, nodes.piece[index], found.nu[None, :])
        nodes.score[row] = score(self.scaled, found.z, found.h, alpha[0])
        nodes.age[row] = 0
        known = self.optima.setdefault(row, [])
        if goal.price.multiplier not in [price for price, _ in known]:
            known[:] = [*known[-2:], (goal.price.multiplier, found.nu)]
        return [(row, found.nu)]

    def improve(self, rows: Integers, trials: list[Floats], goal: Goal) -> None:
        """Keep multipliers that bound more, one trial for each of some nodes."""
        nodes, nu = self.nodes, np.array(trials)
        region = nodes.region(rows)
        shell = goal.rings.at(region.owner, region.ring)
        bound = dual_bound(self.scaled, shell, region, nu, goal.price)
        goal.offer(region.owner, bound.move)
        better = bound.value < nodes.value[rows]
        nodes.value[rows[better]], nodes.nu[rows[better]] = bound.value[better], nu[better]

    def extrapolate(self, excess: Floats, goal: Goal) -> None:
        """Try the line through two optima: while the basis is the same, multipliers are linear."""
        price = goal.price.multiplier
        rows = [r for r, known in self.optima.items() if len(known) > 1 and excess[r] > 0]
        if not rows or goal.price.order > 1 or self.program.curved:
            return
        trials = []
        for row in rows:
            known = sorted(self.optima[row], key=lambda pair: abs(pair[0] - price))
            (second, end), (first, start) = known[:2]
            trials.append(end + (price - second) / (second - first) * (end - start))
        self.improve(np.array(rows), trials, goal)

    def _finish(self, row: int, node: Node, goal: Goal) -> bool:
        """Project, where a node is decided; say whether that closed it."""
        nodes, index = self.nodes, np.array([row])
        if nodes.undecided(index, self.scaled.splits).any():
            return False
        found = goal.finish(Cell(self.scaled, node))
        if found is None:
            return False
        trials = found.nu[None, :]
        if found.ray:
            trials = nodes.nu[row] + 10.0 ** np.arange(-1, 10)[:, None] * trials
        if found.move is not None:
            goal.offer(nodes.owner[index], found.move[None, :])
            self._renew(goal)
        self._try(row, trials, goal)
        return bool(nodes.value[row] <= goal.enough()[nodes.owner[row]])

    def _leave(self, row: int, node: Node, goal: Goal) -> None:
        """Follow the ray that shows a node to be empty, as far as that pays."""
        ray = self.program.repair(node)
        if ray is not None:
            self._try(row, self.nodes.nu[row] + 10.0 ** np.arange(-1, 10)[:, None] * ray, goal)

    def _try(self, row: int, trials: Floats, goal: Goal) -> None:
        """Keep the best of several multipliers ``(q, m)`` for a node."""
        nodes = self.nodes
        many = nodes.region(np.full(len(trials), row))
        shell = goal.rings.at(many.owner, many.ring)
        bound = dual_bound(self.scaled, shell, many, trials, goal.price)
        best = int(bound.value.argmin())
        goal.offer(many.owner[:1], bound.move[best : best + 1])
        if bound.value[best] < nodes.value[row]:
            nodes.value[row], nodes.nu[row] = bound.value[best], trials[best]
