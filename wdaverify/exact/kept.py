"""States of searches, kept in the midst of long questions and taken up by another process.

A state belongs to a group of samples and to all that the group was asked so far, the question it
was taken in being the last: it is used in no other place.
"""

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from wdaverify.arrays import Integers
from wdaverify.encoding import encode
from wdaverify.exact.oracle import Asked
from wdaverify.exact.penalty import Penalty
from wdaverify.search.distances import DistanceState
from wdaverify.search.suprema import SearchState
from wdaverify.search.tree import TreeState, Work
from wdaverify.states import States

__all__ = ["Begun", "GroupStates", "Keeper"]

LEAST = 1.0
"""Seconds of work on a group that are worth keeping."""

SHARE = 0.05
"""Part of the work that may be spent on keeping it."""

Group = tuple[int, int]
TYPES: Final[Mapping[str, type]] = {
    kind.__name__: kind for kind in (Asked, DistanceState, Penalty, SearchState, TreeState)
}


class Begun(NamedTuple):
    """A state in the midst of a question, and the nodes and programs since its beginning."""

    state: SearchState
    work: tuple[int, int]


class GroupStates:
    """The states of all groups of one engine.

    Parameters
    ----------
    states
        Where they are kept; nowhere when omitted.
    work
        Counted by all searches.
    """

    def __init__(self, states: States | None, work: Work) -> None:
        self.states, self.work = states, work
        self._history: dict[Group, str] = {}
        self._clocks: dict[Group, Clock] = {}
        self._begun: dict[Group, tuple[str, Begun]] = {}

    def find(self, group: Group, questions: Sequence[Asked]) -> tuple[int, SearchState] | None:
        """Return how many questions were over when a state was taken, and the state.

        Parameters
        ----------
        questions
            All that the group was asked, and the next one.
        """
        known = None if self.states is None else self.states.load(_name(group), TYPES)
        if known is None:
            return None
        digest, state, work = known
        history = ""
        for position, asked in enumerate(questions):
            before, history = history, _digest(history, asked)
            if history == digest:
                self._history[group] = before
                self._begun[group] = history, Begun(state, work)
                return position, state
        return None

    def begin(self, group: Group, asked: Asked) -> Begun | None:
        """Note a question; return a state in the midst of it, where there is one."""
        self._history[group] = _digest(self._history.get(group, ""), asked)
        digest, begun = self._begun.pop(group, ("", None))
        if begun is None or digest != self._history[group]:
            return None
        self.work.nodes += begun.work[0]
        self.work.programs += begun.work[1]
        return begun

    def keeper(self, group: Group, begun: Begun | None) -> "Keeper | None":
        """Return who keeps states of the question that was begun last."""
        if self.states is None:
            return None
        done = (0, 0) if begun is None else begun.work
        start = self.work.nodes - done[0], self.work.programs - done[1]
        clock = self._clocks.setdefault(group, Clock())
        clock.begin()
        about = _name(group), self._history[group]
        return Keeper(self.states, about, (self.work, start), clock)

    def distances(self, samples: Integers) -> tuple[DistanceState | None, "Keeper | None"]:
        """Return a state of a search for distances of samples, and who keeps further ones."""
        if self.states is None:
            return None, None
        name, about = f"distances-{samples[0]}", hashlib.sha256(samples.tobytes()).hexdigest()
        known = self.states.load(name, TYPES)
        state, work = (None, (0, 0)) if known is None or known[0] != about else known[1:]
        start = self.work.nodes, self.work.programs
        self.work.nodes += work[0]
        self.work.programs += work[1]
        return state, Keeper(self.states, (name, about), (self.work, start), Clock())


class Clock:
    """Decides when a state is worth its cost: a small share of the time spent on a group."""

    def __init__(self) -> None:
        self._unsaved, self._since, self._cost = 0.0, time.monotonic(), 0.0

    def begin(self) -> None:
        """Begin with a question."""
        self._since = time.monotonic()

    def due(self) -> bool:
        """Whether it is time for a state."""
        now = time.monotonic()
        self._unsaved, self._since = self._unsaved + now - self._since, now
        return self._unsaved >= max(LEAST, self._cost / SHARE)

    def saved(self) -> None:
        """Begin again; what passed since the last look was spent on saving."""
        now = time.monotonic()
        self._unsaved, self._cost, self._since = 0.0, now - self._since, now


@dataclass(slots=True)
class Keeper:
    """Keeps states in the midst of one question."""

    states: States
    about: tuple[str, str]
    counted: tuple[Work, tuple[int, int]] = field(repr=False)
    clock: Clock

    def due(self) -> bool:
        """Whether it is time for one."""
        return self.clock.due() and self.states.ready

    def __call__(self, state: object) -> None:
        """Keep it in place of the one before."""
        work, (nodes, programs) = self.counted
        counts = work.nodes - nodes, work.programs - programs
        name, history = self.about
        self.states.save(name, (history, state, counts), TYPES)
        self.clock.saved()


def _name(group: Group) -> str:
    return f"group-{group[0]}-{group[1]}"


def _digest(history: str, asked: Asked) -> str:
    return hashlib.sha256(history.encode() + encode(asked, TYPES)).hexdigest()
