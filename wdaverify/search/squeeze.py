r"""Intervals of neurons, narrowed to where an error can still be.

A search for errors only cares for the part of a node where its objective is not negative. There,
for every ``ν`` and every weight ``θ > 0``,

.. math:: \pm z_k \;\le\; \pm z_k + \theta\,(w_j\cdot h_L + \beta_j) \;\le\;
          \theta\, D_{\pm e_k/\theta}(\nu/\theta),

the Lagrangian bound with ``z_k`` itself in the objective. Multipliers come from linear programs
that maximise and minimise ``z_k`` over the node's relaxation, the objective being kept at 0 or
more. Neurons whose relaxation the last optimum exploited most come first.
"""

import numpy as np

from wdaverify.arrays import Integers
from wdaverify.search.goal import Goal, Work
from wdaverify.search.lagrangian import dual_bound
from wdaverify.search.nodes import Nodes
from wdaverify.search.program import Extreme, NodeProgram
from wdaverify.search.scaling import Scaled
from wdaverify.search.single import node_at

__all__ = ["Squeezer"]

NEURONS = 8
"""Neurons whose intervals are narrowed at a time."""


class Squeezer:
    """Narrows intervals of single nodes of a search for errors."""

    def __init__(self, scaled: Scaled, nodes: Nodes, program: NodeProgram, work: Work) -> None:
        self.scaled, self.nodes, self.program, self.work = scaled, nodes, program, work

    def squeeze(self, row: int, goal: Goal) -> None:
        """Narrow the intervals of the neurons with the largest scores."""
        neurons = self._exploited(row)
        found = self.program.extremes(node_at(self.nodes, row, goal), neurons)
        self.work.programs += 2 * len(neurons)
        if found:
            self._narrow(row, found, goal)

    def _exploited(self, row: int) -> Integers:
        """Return the undecided neurons of the largest scores."""
        open_ = self.nodes.undecided(np.array([row]), self.scaled.splits)[0]
        scores = np.where(open_, self.nodes.score[row], 0.0)
        order = np.argsort(-scores, kind="stable")[:NEURONS]
        return np.asarray(order[scores[order] > 0])

    def _narrow(self, row: int, found: list[Extreme], goal: Goal) -> None:
        """Intersect intervals with what the multipliers prove."""
        nodes = self.nodes
        many = nodes.region(np.full(len(found), row))
        theta = np.array([one.weight for one in found])
        signs = np.array([one.sign for one in found])
        neurons = np.array([one.neuron for one in found])
        nu = np.array([one.nu for one in found]) / theta[:, None]
        tilt = np.zeros_like(nu)
        tilt[np.arange(len(found)), neurons] = signs / theta
        shell = goal.rings.at(many.owner, many.ring)
        top = theta * dual_bound(self.scaled, shell, many, nu, goal.price, tilt).value
        top += 2.0**-50 * np.abs(top)
        for k, sign, value in zip(neurons.tolist(), signs.tolist(), top.tolist(), strict=True):
            if sign > 0:
                nodes.upper[row, k] = min(nodes.upper[row, k], value)
            else:
                nodes.lower[row, k] = max(nodes.lower[row, k], -value)
