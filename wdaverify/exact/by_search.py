"""The engine that searches: branch and bound over partial activation patterns, without cells."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from wdaverify.arrays import Floats, Integers
from wdaverify.errors import LimitReached
from wdaverify.exact.bounded import BoundedOracle
from wdaverify.exact.distances import Distances, Errors, unknown_distances
from wdaverify.exact.fallback import interval_ceiling
from wdaverify.exact.kept import GroupStates
from wdaverify.exact.oracle import Asked, Decision, Suprema
from wdaverify.exact.supremum import Counts
from wdaverify.limits import Limits
from wdaverify.loss import ZeroOne
from wdaverify.problem import Problem
from wdaverify.search.distances import LabelDistances
from wdaverify.search.suprema import LabelSearch
from wdaverify.search.tree import NODES, Work
from wdaverify.states import States
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

    def __init__(self, problem: Problem, limits: Limits, states: States | None = None) -> None:
        self.check(problem)
        self.problem, self.limits = problem, limits
        self._work = Work()
        self._states = GroupStates(states, self._work)
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
        if not (problem.loss.piecewise_affine or isinstance(problem.loss, ZeroOne)):
            return f"the loss {problem.loss.name}"
        flat = _constant_labels(problem)
        if flat:
            return f"the loss {problem.loss.name}, which is constant with label {flat[0]}"
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
        group = self._group_of(asked)
        self._last[group] = asked
        begun = self._states.begin(group, asked)
        search.keep = self._states.keeper(group, begun)
        found = search.suprema(
            index,
            asked.penalty.multiplier,
            asked.reach,
            floor=asked.floor,
            tolerance=max(asked.tolerance, FINEST),
            begun=None if begun is None else begun.state,
        )
        bounds = np.maximum(found.bounds, asked.floor)
        return Suprema(bounds, np.full(len(index), asked.penalty.multiplier), found.points)

    def restore(self, questions: Sequence[Asked]) -> int:
        """Take up the state of a group that was asked nothing yet; return what it knows.

        Parameters
        ----------
        questions
            All that the group was asked before, and the next one.

        Returns
        -------
        int
            How many of them need not be asked again.
        """
        group = self._group_of(questions[-1])
        found = None if group in self._searches else self._states.find(group, questions)
        if found is None:
            return 0
        position, state = found
        search = self._new(group)
        search.witnesses.replace(*state.witnesses)
        self._searches[group] = search
        return position

    def open_bounds(self, asked: Asked) -> Floats:
        """Return what the open nodes allow, or the layer product for a question not begun."""
        problem = self.problem
        labels = np.full(len(asked.samples), asked.label)
        losses = problem.evaluate(problem.points[asked.samples], labels)
        constant = self.constant(asked.label)
        bounds = asked.penalty.best(losses, constant, asked.reach, constant)
        search, index = self._placed(asked)
        last = self._last.get(self._group_of(asked))
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
        begun, search.keep = self._states.distances(samples)
        try:
            flips = search.distances(np.arange(len(todo)), begun=begun)
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

    def _group_of(self, asked: Asked) -> tuple[int, int]:
        return asked.label, int(self.group(asked.label, asked.samples[:1])[0])

    def _placed(self, asked: Asked) -> tuple[LabelSearch, Integers]:
        """Return the search of the group of the samples, and their places in it."""
        group = self._group_of(asked)
        members = self._members(group)
        if group not in self._searches:
            search = self._new(group)
            search.attack(np.arange(len(members)), LADDER * search.diameter)
            self._searches[group] = search
        return self._searches[group], np.searchsorted(members, asked.samples)

    def _members(self, group: tuple[int, int]) -> Integers:
        problem, (label, number) = self.problem, group
        every = np.arange(len(problem))
        if problem.cost.label_cost is None:
            every = every[problem.labels == label]
        return every[number * GROUP : (number + 1) * GROUP]

    def _new(self, group: tuple[int, int]) -> LabelSearch:
        problem = self.problem
        return LabelSearch(
            problem.network,
            problem.support,
            problem.loss,
            problem.cost,
            problem.points[self._members(group)],
            group[0],
            limits=self.limits,
            work=self._work,
            room=self._room,
        )


def _constant_labels(problem: Problem) -> list[int]:
    """Return the labels with which the loss has no slope at all: nothing to search."""
    loss, classes = problem.loss, problem.network.classes
    if loss.of_margin or not loss.piecewise_affine:
        return []
    return [y for y in problem.possible_labels if not loss.pieces(classes, y).matrix.any()]
