"""Requests shared out among workers, so that whoever answers, and whoever dies, answers are equal.

Requests with equal keys go to the same worker, in their order: its service keeps what it learns. If
that worker dies, another one first answers the earlier requests of the key again, in the same
order, and so arrives at the same state: the history of a key is all that is needed to go on.
"""

from collections import OrderedDict, deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

from wdaverify.errors import SolverError
from wdaverify.limits import Limits
from wdaverify.workers.staff import Event, Staff
from wdaverify.workers.worker import Answer, Make, Order

__all__ = ["Crew"]

CHUNK = 0.05
"""Seconds of work that are sent together, if there is so much: a message costs up to 1 ms."""

DEATHS = 3
"""Workers that may die of one request before it is given up."""

RECENT = 0.2
"""Weight of the last request in the mean duration."""


@dataclass(slots=True, eq=False)
class _Task:
    ticket: int
    key: Hashable
    request: Any
    kept: bool
    """Whether the history of the key matters."""


@dataclass(slots=True, eq=False)
class _Desk:
    """What one worker has to do, what it was sent, and how much it knows of the history of keys."""

    queue: deque[_Task] = field(default_factory=deque)
    sent: deque[_Task] = field(default_factory=deque)
    known: dict[Hashable, int] = field(default_factory=dict)


class Crew:
    """Workers, and who of them does what.

    A key is given to the first worker that is free; one that has nothing to do takes over a key
    from a busy one where learning its history again takes less time than waiting.

    Parameters
    ----------
    make, count, limits
        See :class:`~wdaverify.workers.staff.Staff`.
    """

    def __init__(self, make: Make, count: int, limits: Limits) -> None:
        self._staff = Staff(make, count, limits)
        self._desks: dict[str, _Desk] = {}
        self._unplaced: OrderedDict[Hashable, deque[_Task]] = OrderedDict()
        self._places: dict[Hashable, str] = {}
        self._history: dict[Hashable, list[Any]] = {}
        self._cost: dict[Hashable, float] = {}
        self._last: dict[Hashable, float] = {}
        self._mean = CHUNK
        self._deaths: dict[Hashable, int] = {}
        self._wanted: set[int] = set()
        self._done: deque[Answer] = deque()
        self._tickets = 0

    def submit(self, request: Any, key: Hashable = None) -> int:  # noqa: ANN401
        """Add a request; return the number under which it is answered.

        Parameters
        ----------
        key
            ``None`` where it does not matter what was asked before.
        """
        self._tickets += 1
        kept = key is not None
        task = _Task(self._tickets, key if kept else ("once", self._tickets), request, kept)
        self._wanted.add(task.ticket)
        if task.key in self._places:
            self._desks[self._places[task.key]].queue.append(task)
        else:
            self._unplaced.setdefault(task.key, deque()).append(task)
        return task.ticket

    def collect(self) -> tuple[int, Any]:
        """Wait for the next answer, of whichever request; return its number too.

        Raises
        ------
        SolverError
            A request that its workers die of, or no workers.
        Exception
            Whatever the service raised; all other requests are forgotten then.
        """
        assert self._wanted or self._done, "nothing was submitted"
        try:
            while not self._done:
                for worker, desk in self._desks.items():
                    if not desk.sent:
                        self._fill(worker, desk)
                for event in self._staff.events():
                    self._note(event)
            found = self._done.popleft()
            if isinstance(found.content, Exception):
                raise found.content  # noqa: TRY301  (the others are forgotten below)
        except BaseException:
            self._forget()
            raise
        return found.ticket, found.content

    def run(self, requests: Sequence[tuple[Any, Hashable]]) -> list[Any]:
        """Return the answers to requests with their keys, in order; raises as :meth:`collect`."""
        places = {self.submit(*request): k for k, request in enumerate(requests)}
        answers: list[Any] = [None] * len(requests)
        for _ in requests:
            ticket, answer = self.collect()
            answers[places[ticket]] = answer
        return answers

    def close(self) -> None:
        """End the workers; if there is more to do, they are hired again."""
        self._staff.dismiss()

    def _forget(self) -> None:
        """Forget what was asked; what is sent is answered, and becomes history, but unheard."""
        self._wanted.clear()
        self._done.clear()
        self._unplaced.clear()
        for desk in self._desks.values():
            desk.queue.clear()

    def _note(self, event: Event) -> None:
        if event.kind == "joined":
            self._desks[event.worker] = _Desk()
        elif event.kind == "answered":
            for answer in event.answers:
                self._take(self._desks[event.worker], answer)
        else:
            self._lose(event.worker, blame=event.kind == "died")

    def _take(self, desk: _Desk, answer: Answer) -> None:
        task = desk.sent.popleft()
        assert task.ticket == answer.ticket
        self._deaths.pop(task.key, None)
        self._mean += RECENT * (answer.seconds - self._mean)
        if task.kept:
            self._history.setdefault(task.key, []).append(task.request)
            self._last[task.key] = answer.seconds
            self._cost[task.key] = self._cost.get(task.key, 0.0) + answer.seconds
        if task.ticket in self._wanted:
            self._wanted.remove(task.ticket)
            self._done.append(answer)

    def _lose(self, worker: str, *, blame: bool) -> None:
        """Take back what a worker had to do; the keys it knew are anyone's again."""
        desk = self._desks.pop(worker)
        self._places = {key: place for key, place in self._places.items() if place != worker}
        suspects = {task.key for task in desk.sent} if blame else set()
        for task in reversed([*desk.sent, *desk.queue]):
            if task.ticket in self._wanted:
                self._unplaced.setdefault(task.key, deque()).appendleft(task)
                self._unplaced.move_to_end(task.key, last=False)
        for key in suspects:
            self._deaths[key] = self._deaths.get(key, 0) + 1
            if self._deaths[key] >= DEATHS:
                self._deaths.clear()
                raise SolverError(
                    f"workers: {DEATHS} processes ended without an answer to the same request, the "
                    f"last one {worker}; is there enough memory?"
                )

    def _fill(self, worker: str, desk: _Desk) -> None:
        """Send a free worker enough to do; a request that workers have died of goes alone."""
        chunk: list[_Task] = []
        seconds = 0.0
        while seconds < CHUNK and (task := self._next(worker, desk, first=not chunk)) is not None:
            chunk.append(task)
            seconds += self._expected(task.key) if task.key not in self._deaths else CHUNK
        if not chunk:
            return
        desk.sent.extend(chunk)
        self._staff.send(worker, [self._order(desk, task) for task in chunk])

    def _order(self, desk: _Desk, task: _Task) -> Order:
        """Add what a worker has missed of the history of the key."""
        if not task.kept:
            return Order(task.ticket, task.request, ())
        history = self._history.get(task.key, [])
        known = desk.known.get(task.key, 0)
        desk.known[task.key] = max(known, len(history)) + 1
        return Order(task.ticket, task.request, tuple(history[known:]))

    def _next(self, worker: str, desk: _Desk, *, first: bool) -> _Task | None:
        if not desk.queue and self._unplaced:
            self._place(next(iter(self._unplaced)), worker, desk)
        if not desk.queue and first:
            self._take_over(worker, desk)
        if not desk.queue or (desk.queue[0].key in self._deaths and not first):
            return None
        return desk.queue.popleft()

    def _place(self, key: Hashable, worker: str, desk: _Desk) -> None:
        tasks = self._unplaced.pop(key)
        desk.queue.extend(tasks)
        if tasks[0].kept:
            self._places[key] = worker

    def _take_over(self, worker: str, desk: _Desk) -> None:
        """Take the last key over from whoever has most to do, if that is worth its history."""
        backlog = {name: sum(map(self._due, other.queue)) for name, other in self._desks.items()}
        busiest = max(backlog, key=lambda name: backlog[name])
        queue = self._desks[busiest].queue
        if not queue:
            return
        key = queue[-1].key
        if any(task.key == key for task in self._desks[busiest].sent):
            return
        mine = [task for task in queue if task.key == key]
        if self._cost.get(key, 0.0) + sum(map(self._due, mine)) >= backlog[busiest]:
            return
        self._desks[busiest].queue = deque(task for task in queue if task.key != key)
        desk.queue.extend(mine)
        self._places[key] = worker

    def _due(self, task: _Task) -> float:
        return self._expected(task.key)

    def _expected(self, key: Hashable) -> float:
        return self._last.get(key, self._mean)
