r"""The upper side of a proof by the trees of the search: one for each sample, target and ring.

A leaf's multipliers :math:`\nu` are those of its Lagrangian bound, in the units of the file,

.. math:: \nu_k = \text{unit}\cdot\nu_k^\text{scaled} / \text{scale}_k,

written by the state of the neuron (``docs/proof-format.md``): every factor is a power of two. The
checker computes the intervals of all neurons again, by the rule of the search.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from wdaverify.arrays import Floats, Integers
from wdaverify.checker.question import Question
from wdaverify.errors import SolverError
from wdaverify.exact.by_search import GROUP, LADDER
from wdaverify.limits import Limits
from wdaverify.problem import Problem
from wdaverify.proof.numbers import as_json, sparse
from wdaverify.proof.plan import Plan
from wdaverify.search.distances import LabelDistances
from wdaverify.search.growth import walks
from wdaverify.search.lagrangian import coefficients
from wdaverify.search.scaling import Scaled
from wdaverify.search.suprema import LabelSearch
from wdaverify.search.tree import Tree

__all__ = ["SearchedTrees"]

CLOSE = 2e-10
"""Relative gap at which a supremum is settled."""

FAINT = 1e-15
"""Multipliers below this, in scaled units, are rounding errors of 0."""

ROOM = 20_000_000
"""So many nodes may be kept: a forgotten one could not be written."""


class SearchedTrees:
    """Trees for the samples of a question, searched at the multiplier of the proof.

    Parameters
    ----------
    q
        The question as the checker reads it.
    problem
        The same question, on a bounded box.
    """

    def __init__(self, q: Question, problem: Problem, limits: Limits) -> None:
        self.q, self.problem, self.limits = q, problem, limits
        self._points = problem.points[problem.active]
        self._found: list[tuple[int, Integers, LabelSearch]] | None = None

    def lines(self, plan: Plan) -> Iterator[dict[str, Any]]:
        """Yield the lines of all trees; bounds of the plan are raised to what they show.

        Raises
        ------
        LimitReached
            Time ran out.
        SolverError
            An error lies nearer than the plan says.
        """
        groups = self._distances(plan) if plan.limits is None else self._suprema(plan)
        for label, samples, scaled, tree in groups:
            yield from self._tree(plan, label, samples, scaled, tree)

    def _suprema(self, plan: Plan) -> Iterator[tuple[int, Integers, Scaled, Tree]]:
        """Search for the suprema, which raises the plan's bounds; then yield the trees."""
        assert plan.limits is not None
        if self._found is None:
            self._found = [
                (label, part, self._search(plan, label, part))
                for label in plan.labels
                for part in _parts(plan.samples(label))
            ]
        for label, part, search in self._found:
            shown = search.open_bounds(np.arange(len(part))).bounds - plan.moved(label)[part]
            plan.limits[part] = np.maximum(plan.limits[part], shown)
        for label, part, search in self._found:
            yield label, part, search.scaled, search.last[0]

    def _search(self, plan: Plan, label: int, part: Integers) -> LabelSearch:
        """Settle the suprema of some samples up to the plan's bounds."""
        assert plan.limits is not None
        problem = self.problem
        search = LabelSearch(
            problem.network,
            problem.support,
            problem.loss,
            problem.cost,
            self._points[part],
            label,
            limits=self.limits,
            room=ROOM,
        )
        everyone = np.arange(len(part))
        search.attack(everyone, LADDER * search.diameter)
        floor = plan.limits[part] + plan.moved(label)[part]
        rate = plan.asked.multiplier
        search.suprema(everyone, rate, plan.reach[part], floor=floor, tolerance=CLOSE)
        return search

    def _distances(self, plan: Plan) -> Iterator[tuple[int, Integers, Scaled, Tree]]:
        """Show that no error is nearer than the plan says, as far as that matters."""
        problem = self.problem
        if plan.q.order is not None and plan.rate > 0:
            far = (1.0 / plan.rate) ** (1.0 / problem.cost.order) * (1.0 + 1e-12)
            plan.reach = np.minimum(plan.reach, far)
        for label in plan.labels:
            for part in _parts(plan.samples(label)):
                search = LabelDistances(
                    problem.network,
                    problem.support,
                    problem.cost,
                    self._points[part],
                    label,
                    limits=self.limits,
                    room=ROOM,
                    squeezes=False,
                    within=plan.reach[part],
                )
                search.distances(np.arange(len(part)), tolerance=0.0)
                assert search.tree is not None
                if (search.tree.bounds() >= 0).any():
                    raise SolverError("proof: an error lies nearer than the engine found")
                yield label, part, search.scaled, search.tree

    def _tree(
        self, plan: Plan, label: int, samples: Integers, scaled: Scaled, tree: Tree
    ) -> Iterator[dict[str, Any]]:
        nodes = tree.nodes
        targets = [j for j in range(self.q.classes) if j != label]
        values = self._values(scaled, tree)
        for root, steps in walks(nodes):
            owner, ring = int(nodes.owner[root]), int(nodes.ring[root])
            target, i = targets[int(nodes.piece[root])], int(samples[owner])
            near, far = (
                v[owner, ring] * scaled.length for v in (tree.rings.inner, tree.rings.outer)
            )
            end = as_json(float(far)) if plan.limits is not None else plan.end(i)
            head = {"label": label, "target": target, "intervals": "ball"}
            yield {"tree": {**head, "samples": [[i, as_json(float(near)), end]]}}
            for neuron, row in steps:
                if neuron is not None:  # cuts, though none, make the checker update its intervals
                    yield {"cuts": [], "split": neuron}
                elif nodes.value[row] == -np.inf:
                    yield {"cuts": [{"empty": True}]}
                else:
                    neurons = sparse(enumerate(values[row].tolist())) if self.q.neurons else []
                    yield {"cuts": [{"target": target, "neurons": neurons}]}

    @staticmethod
    def _values(scaled: Scaled, tree: Tree) -> Floats:
        """Return the multipliers of all rows as the file has them, ``(C, m)``."""
        nodes = tree.nodes
        count = nodes.count
        nu = nodes.nu[:count]
        alpha = coefficients(scaled, nodes.piece[:count], nu)
        on, off = nodes.lower[:count] >= 0, nodes.upper[:count] <= 0
        values = np.where(on | (scaled.slopes == 1.0), nu - alpha, nu)
        values = np.where(off & ~on & (scaled.slopes != 1.0), scaled.slopes * alpha - nu, values)
        values[np.abs(values) <= FAINT] = 0.0
        return values * (scaled.unit / scaled.scales)


def _parts(samples: Integers) -> list[Integers]:
    """Split samples into groups that share a search."""
    return [samples[k : k + GROUP] for k in range(0, len(samples), GROUP)]
