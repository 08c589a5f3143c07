"""Who answers: the engine in this process, or copies of it in several.

Questions are split in the same way however many workers there are. What one part learns another one
sees between rounds only, always in the same order, so results do not depend on their number.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from wdaverify.arrays import Floats, Integers
from wdaverify.errors import LimitReached
from wdaverify.exact.distances import Distances, Errors
from wdaverify.exact.growth import Growth
from wdaverify.exact.lessons import FIRST, Blackboard, Round, stage
from wdaverify.exact.oracle import Asked, Decision, Oracle, Suprema
from wdaverify.exact.recession import Tail
from wdaverify.exact.supremum import Counts
from wdaverify.limits import Limits

__all__ = ["Dispatcher", "Here", "Request", "Runner"]

Key = tuple[int, int]
"""A label and the number of a group of its samples."""


class Request(NamedTuple):
    """A method of the engine and its arguments; equal keys go to the same copy."""

    key: tuple[int, int]
    method: str
    arguments: tuple[Any, ...]


class Runner(Protocol):
    """Runs requests."""

    @property
    def counts(self) -> Counts:
        """How much work was done."""

    def run(self, requests: Sequence[Request]) -> list[Any]:
        """Return a result or a :class:`LimitReached` for each request, in order."""


class Here:
    """Runs requests in this process, one after the other."""

    def __init__(self, oracle: Oracle, limits: Limits | None = None) -> None:
        self.oracle, self._limits = oracle, limits or Limits()

    @property
    def counts(self) -> Counts:
        """How much work was done."""
        return self.oracle.counts

    def run(self, requests: Sequence[Request]) -> list[Any]:
        """Return a result or a :class:`LimitReached` for each request, in order."""
        return [result for _, result in self.stream(requests)]

    def stream(self, requests: Sequence[Request]) -> Iterator[tuple[int, Any]]:
        """Yield the place of each request and its result, as soon as it is there."""
        for k, request in enumerate(requests):
            try:
                with self._limits.part(k, len(requests)):
                    result = getattr(self.oracle, request.method)(*request.arguments)
            except LimitReached as limit:
                result = limit
            yield k, result


class Dispatcher:
    """Questions about many samples, split into groups and put together again.

    Parameters
    ----------
    oracle
        An engine in this process; its groups say which samples belong together, and it answers
        what needs no work.
    runner
        Who does the work; the oracle itself when omitted.
    limits
        Told how far the oracle is.
    """

    def __init__(
        self, oracle: Oracle, runner: Runner | None = None, limits: Limits | None = None
    ) -> None:
        self.oracle, self._runner = oracle, runner or Here(oracle, limits)
        self._boards: dict[int, Blackboard] = {}

    @property
    def counts(self) -> Counts:
        """How much work was done."""
        return self._runner.counts

    def close(self) -> None:
        """End the processes that work for this one, if there are any."""
        close = getattr(self._runner, "close", None)
        if close is not None:
            close()

    def suprema(self, questions: Sequence[Asked]) -> tuple[list[Suprema], LimitReached | None]:
        """Answer every question; after a limit with the bounds that are known."""
        parts = [
            (k, at, key, asked.select(at))
            for k, asked in enumerate(questions)
            for key, at in self._split(asked.label, asked.samples)
        ]
        found = self._explored([(key, asked) for _, _, key, asked in parts])
        left = [p for p, result in enumerate(found) if isinstance(result, LimitReached)]
        reached = found[left[0]] if left else None
        requests = [Request(parts[p][2], "open_bounds", (parts[p][3],)) for p in left]
        for p, bounds in zip(left, self._runner.run(requests), strict=True):
            found[p] = _unsettled(parts[p][3], bounds)
        features = self.oracle.problem.network.features
        answers = [_empty(asked, features) for asked in questions]
        for (k, at, _, _), result in zip(parts, found, strict=True):
            for whole, part in zip(answers[k], result[:3], strict=True):
                whole[at] = part
        return answers, reached

    def distances(self, labels: Integers) -> Distances:
        """Bracket the distance of every sample, whose labels these are, to its error set."""
        every = [
            (group, key)
            for label in np.unique(labels).tolist()
            for key, at in self._split(label, np.flatnonzero(labels == label))
            for group in [np.flatnonzero(labels == label)[at]]
        ]
        errors = self._errors({label for _, (label, _) in every})
        found = self._runner.run(
            [Request(key, "distances", (group, errors.get(key[0]))) for group, key in every]
        )
        order = np.argsort(np.concatenate([group for group, _ in every]))
        return Distances.joined(found).at(order)

    def growth(self, samples: Integers, farthest: Floats, tolerance: float) -> list[Growth]:
        """Enclose the growth functions of samples (engine ``cells``, margin and hinge)."""
        labels = self.oracle.problem.labels[samples]
        every = [
            (group, key)
            for label in np.unique(labels).tolist()
            for at in [np.flatnonzero(labels == label)]
            for key, part in self._split(label, samples[at])
            for group in [at[part]]
        ]
        requests = [
            Request(key, "growth", (samples[group], farthest[group], tolerance))
            for group, key in every
        ]
        found: list[Growth] = [None] * len(samples)  # type: ignore[list-item]
        for (group, _), growths in zip(every, self._runner.run(requests), strict=True):
            for place, growth in zip(group.tolist(), growths, strict=True):
                found[place] = growth
        return found

    def within(self, label: int, sample: int, radius: float) -> Decision:
        """Decide exactly whether an error of a label lies in the closed ball around a sample."""
        ((key, _),) = self._split(label, np.array([sample]))
        (found,) = self._runner.run([Request(key, "within", (sample, radius))])
        return Decision(None) if isinstance(found, LimitReached) else found

    def maximisers(self, label: int, sample: int, tail: Tail) -> Floats:
        """Return points that show a supremum at the asymptotic slope to be attained, if any."""
        ((key, _),) = self._split(label, np.array([sample]))
        (found,) = self._runner.run([Request(key, "maximisers", (label, sample, tail))])
        if isinstance(found, LimitReached):
            raise found
        return np.asarray(found)

    def _explored(self, parts: list[tuple[Key, Asked]]) -> list[Any]:
        """Answer parts of questions; groups that learn from each other one stage after the other.

        Nothing here depends on who answers when.
        """
        found: list[Any] = [None] * len(parts)
        shared = self.oracle.groups
        stages = [stage(group) if shared(label) > 1 else 0 for (label, group), _ in parts]
        for current in sorted(set(stages)):
            self._settle(parts, [k for k, at in enumerate(stages) if at == current], found)
        return found

    def _settle(self, parts: list[tuple[Key, Asked]], todo: list[int], found: list[Any]) -> None:
        """Answer some parts in rounds.

        What is not settled in one round has twice as many programs in the next one, and knows what
        the other groups have found.
        """
        programs = FIRST
        while todo:
            asked = [self._asked(*parts[k], programs) for k in todo]
            for k, result in zip(todo, self._runner.run(asked), strict=True):
                found[k] = result
            rounds = [k for k in todo if isinstance(found[k], Round)]
            for k in rounds:
                (label, group), _ = parts[k]
                self._boards.setdefault(label, Blackboard()).write(group, found[k].news)
            todo, programs = [k for k in rounds if not found[k].settled], 2 * programs

    def _asked(self, key: Key, asked: Asked, programs: int) -> Request:
        label, group = key
        if self.oracle.groups(label) == 1:
            return Request(key, "suprema", (asked,))
        lessons = self._boards.setdefault(label, Blackboard()).read(group)
        return Request(key, "explore", (asked, lessons, programs))

    def _errors(self, labels: set[int]) -> dict[int, Errors | None]:
        """Find once for each label what its groups would find each; ``None`` after a limit."""
        shared = sorted(label for label in labels if self.oracle.groups(label) > 1)
        found = self._runner.run([Request((label, -1), "errors", (label,)) for label in shared])
        return {
            label: None if isinstance(errors, LimitReached) else errors
            for label, errors in zip(shared, found, strict=True)
        }

    def _split(self, label: int, samples: Integers) -> Iterator[tuple[tuple[int, int], Integers]]:
        """Return keys and the positions of their samples in the question."""
        groups = self.oracle.group(label, samples)
        for group in np.unique(groups).tolist():
            yield (label, int(group)), np.flatnonzero(groups == group)


def _empty(asked: Asked, features: int) -> Suprema:
    count = len(asked.samples)
    return Suprema(np.zeros(count), np.zeros(count), np.zeros((count, features)))


def _unsettled(asked: Asked, bounds: Floats) -> Suprema:
    """Return bounds without points."""
    empty = _empty(asked, 1)
    return Suprema(bounds, empty.slopes + asked.penalty.multiplier, empty.points + np.nan)
