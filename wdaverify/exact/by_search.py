"""The engine that searches: branch and bound over partial activation patterns, without cells."""

from dataclasses import replace
from functools import cached_property

import numpy as np

from wdaverify.arrays import Floats, Integers
from wdaverify.errors import LimitReached
from wdaverify.exact.bounded import BoundedOracle
from wdaverify.exact.distances import Distances, Errors, unknown_distances
from wdaverify.exact.fallback import interval_ceiling
from wdaverify.exact.oracle import Asked, Decision, Suprema
from wdaverify.exact.supremum import Counts
from wdaverify.limits import Limits
from wdaverify.loss import Hinge, Margin, ZeroOne
from wdaverify.problem import Problem
from wdaverify.search.distances import LabelDistances
from wdaverify.search.suprema import LabelSearch
from wdaverify.search.tree import NODES, Work
from wdaverify.support import Box

__all__ = ["SearchOracle"]

GROUP = 32
"""Samples of a label that share a search; groups may be searched side by side."""

LADDER = np.array([0.02, 0.05, 0.1, 0.2, 0.4, 1.0])
"""Distances within which a new search looks for points first, relative to the support's size."""

GIGABYTES = 4.0
"""Memory for the nodes of all searches, unless the limits allow less than twice as much."""

FEWEST = 2000
"""Nodes that every search may keep."""

FINEST = 1e-9
"""Smallest relative gap at which a search stops."""


class SearchOracle(BoundedOracle):
    """Suprema by branch and bound; one search for each label, kept between questions."""

    name = "search"

    def __init__(self, problem: Problem, limits: Limits) -> None:
        self.check(problem)
        self.problem, self.limits = problem, limits
        self._work = Work()
        self._searches: dict[tuple[int, int], LabelSearch] = {}
        self._last: dict[tuple[int, int], Asked] = {}

    @property
    def counts(self) -> Counts:
        """How much work was done."""
        return Counts(
            nodes=self._work.nodes, programs=self._work.programs, suprema=self._work.suprema
        )

    @staticmethod
    def refuses(problem: Problem) -> str | None:
        """Return what keeps this engine from a question, ``None`` if nothing does."""
        if not isinstance(problem.loss, Margin | Hinge | ZeroOne):
            return f"the loss {problem.loss.name}"
        if not isinstance(problem.support, Box):
            return "a polytope as support"
        if not np.isfinite(np.concatenate(problem.support.bounds)).all():
            return "an unbounded support"
        slopes = np.concatenate([*problem.network.slopes, np.zeros(1)])
        if slopes.min() < 0 or slopes.max() > 1:
            return "negative slopes outside [0, 1]"
        return None

    def ceiling(self, label: int) -> float:
        """Return an interval bound of the loss."""
        return interval_ceiling(self.problem, label)

    def suprema(self, asked: Asked) -> Suprema:
        """Settle every sample asked about."""
        search, index = self._placed(asked)
        self._last[asked.label, int(self.group(asked.label, asked.samples[:1])[0])] = asked
        found = search.suprema(
            index,
            asked.penalty.multiplier,
            asked.reach,
            floor=asked.floor,
            tolerance=max(asked.tolerance, FINEST),
        )
        bounds = np.maximum(found.bounds, asked.floor)
        return Suprema(bounds, np.full(len(index), asked.penalty.multiplier), found.points)

    def open_bounds(self, asked: Asked) -> Floats:
        """Return what the open nodes allow, or the layer product for a question not begun."""
        problem = self.problem
        labels = np.full(len(asked.samples), asked.label)
        losses = problem.evaluate(problem.points[asked.samples], labels)
        constant = self.constant(asked.label)
        bounds = asked.penalty.best(losses, constant, asked.reach, constant)
        search, index = self._placed(asked)
        last = self._last.get((asked.label, int(self.group(asked.label, asked.samples[:1])[0])))
        if last is not None and last.penalty == asked.penalty:
            bounds = np.minimum(bounds, search.open_bounds(index).bounds)
        return bounds

    def group(self, label: int, samples: Integers) -> Integers:
        """Return numbers of groups of :data:`GROUP` samples, each with a tree of its own."""
        every = np.arange(len(self.problem))
        if self.problem.cost.label_cost is None:
            every = every[self.problem.labels == label]
        return np.searchsorted(every, samples) // GROUP

    def distances(self, samples: Integers, errors: Errors | None = None) -> Distances:  # noqa: ARG002
        """Bracket the distances of samples of one label; widely, if a limit ends it."""
        problem = self.problem
        found = unknown_distances(problem, samples, None)
        todo = np.flatnonzero(found.upper > 0)
        label = int(problem.labels[samples[0]])
        search = LabelDistances(
            problem.network,
            problem.support,
            problem.cost,
            problem.points[samples[todo]],
            label,
            limits=self.limits,
            work=self._work,
            room=self._room,
        )
        reached: LimitReached | None = None
        try:
            flips = search.distances(np.arange(len(todo)))
        except LimitReached as limit:
            reached, flips = limit, search.open_bounds(np.arange(len(todo)))
        found.lower[todo], found.upper[todo] = flips.lower, flips.upper
        found.witnesses[todo] = flips.witnesses
        return found if reached is None else replace(found, reached=reached)

    def within(self, sample: int, radius: float) -> Decision:  # noqa: ARG002
        """Return no decision: this engine has no rational arithmetic."""
        return Decision(None)

    @cached_property
    def _room(self) -> int:
        """Nodes that every search may keep, the same whoever asks first."""
        problem = self.problem
        searches = -(-len(problem) // GROUP) + len(problem.active_labels)
        if problem.cost.label_cost is not None:
            searches *= problem.network.classes
        size = 64 + 28 * sum(problem.network.widths)
        share = 1e9 * min(GIGABYTES, 0.5 * self.limits.gigabytes) / (searches * size)
        return int(np.clip(share, FEWEST, NODES))

    def _placed(self, asked: Asked) -> tuple[LabelSearch, Integers]:
        """Return the search of the group of the samples, and their places in it."""
        problem, label = self.problem, asked.label
        every = np.arange(len(problem))
        if problem.cost.label_cost is None:
            every = every[problem.labels == label]
        number = int(self.group(label, asked.samples[:1])[0])
        members = every[number * GROUP : (number + 1) * GROUP]
        if (label, number) not in self._searches:
            search = LabelSearch(
                problem.network,
                problem.support,
                problem.loss,
                problem.cost,
                problem.points[members],
                label,
                limits=self.limits,
                work=self._work,
                room=self._room,
            )
            search.attack(np.arange(len(members)), LADDER * search.diameter)
            self._searches[label, number] = search
        return self._searches[label, number], np.searchsorted(members, asked.samples)
