"""Is there a counterexample? A few gradient steps, then an engine, and a point that is checked."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from wdaverify.arrays import Floats
from wdaverify.errors import LimitReached, SolverError
from wdaverify.evaluation import certain_losses
from wdaverify.exact.by_search import SearchOracle
from wdaverify.exact.engine import MANY, choose_engine, possible_cells
from wdaverify.exact.first import first_points, margin_gradients
from wdaverify.exact.solve import solver_for
from wdaverify.limits import Limits
from wdaverify.loss import margins
from wdaverify.problem import Problem
from wdaverify.search.distances import LabelDistances

if TYPE_CHECKING:
    from wdaverify.vnnlib.reading import Query, VNNLibProperty

__all__ = ["Verdict", "decide"]

ANY: Final = 1.0 - 2.0**-20
"""Relative tolerance of a distance at which any error ends the search."""

DEEPER: Final = 20
"""Steps on the margin from the first error found."""


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """The answer to a property.

    Attributes
    ----------
    answer
        ``"sat"`` (there is a counterexample), ``"unsat"`` (there is none) or ``"unknown"``.
    point, outputs
        The counterexample, ``(n,)``, and the outputs of the network there in float64, ``(K,)``.
    verified
        Whether the point itself was checked over the rationals; else it is the rounding of a
        rational point at which outputs only just satisfy the condition.
    engines
        The engines that were asked, in order.
    reason
        What is unknown, and why; empty otherwise.
    stopped
        The limit that ended the work, if one did.
    """

    answer: str
    point: Floats | None = None
    outputs: Floats | None = None
    verified: bool = False
    engines: tuple[str, ...] = ()
    reason: str = ""
    stopped: LimitReached | None = None


class _Found(NamedTuple):
    """What is known of one box: a point, nothing there (``empty``), or neither."""

    empty: bool
    point: Floats | None = None
    rational: bool = False
    stopped: LimitReached | None = None


def decide(
    question: "VNNLibProperty",
    *,
    engine: str = "auto",
    limits: Limits | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> Verdict:
    """Return whether a property has a counterexample.

    Parameters
    ----------
    question
        The property.
    engine
        As in :func:`~wdaverify.exact.solve.solve`; the search ends at the first counterexample.
    limits
        When they are reached, the answer is ``"unknown"``.
    progress
        Called with a word and a number (NaN without one).

    Raises
    ------
    UnsupportedError
        The engine named does not cover the question.
    """
    limits, progress = limits or Limits(), progress or (lambda *_: None)
    for query in question.queries:
        point = _attack(query)
        if point is not None:
            return _sat(question, _Found(False, point), ("attack",))
    engines: list[str] = []
    open_: list[tuple[int, _Found]] = []
    for k, query in enumerate(question.queries):
        progress(f"box {k + 1} of {len(question.queries)}", float("nan"))
        for name in _engines(query.problem, engine):
            engines += [name] * (name not in engines)
            found = _ask(query.problem, name, limits, progress)
            if found.empty or found.point is not None or found.stopped is not None:
                break
        if found.point is not None:
            return _sat(question, found, tuple(engines))
        if not found.empty:
            open_.append((k, found))
    if not open_:
        return Verdict("unsat", engines=tuple(engines))
    return _unknown(open_, len(question.queries), tuple(engines))


def _attack(query: "Query") -> Floats | None:
    """Return an error among the centre and where a few gradient steps lead."""
    problem, label = query.problem, int(query.problem.labels[0])
    sample = np.zeros(1, dtype=np.int64)
    points = [problem.points]
    if query.radius > 0:
        points += [first_points(problem, label, sample, r)[0] for r in (query.radius, None)]
    trials = np.clip(np.concatenate(points), *problem.support.bounds)
    wrong = np.flatnonzero(certain_losses(problem, trials, np.full(len(trials), label)))
    return _deeper(problem, trials[wrong[0]]) if len(wrong) else None


def _deeper(problem: Problem, point: Floats) -> Floats:
    """Return an error of larger margin, which other arithmetic confirms too, if one is near.

    From the error that was found, with steps of all sizes along the sign of the gradient.
    """
    lower, upper = problem.support.bounds
    label = int(problem.labels[0])
    steps = 2.0 ** -np.arange(0.0, 40.0)[:, None] * (upper - lower)
    for _ in range(DEEPER):
        uphill = np.sign(margin_gradients(problem.network, point[None], label)[0])
        trials = np.concatenate([point[None], np.clip(point + steps * uphill, lower, upper)])
        depths = margins(problem.network.logits(trials), np.full(len(trials), label))
        if depths.argmax() == 0:
            break
        point = trials[depths.argmax()]
    return point


def _engines(problem: Problem, engine: str) -> list[str]:
    """Return the engine, and one that decides exactly where a search does not."""
    chosen = choose_engine(problem, engine).engine
    exact = engine == "auto" and chosen == "search" and possible_cells(problem) <= MANY
    return [chosen, *(["cells"] if exact else [])]


def _ask(
    problem: Problem, engine: str, limits: Limits, progress: Callable[[str, float], None]
) -> _Found:
    if (problem.support.bounds[0] == problem.support.bounds[1]).all():
        return _Found(True)  # one point, and it is no error: the attack has evaluated it
    try:
        if engine == "search":
            return _search(problem, limits)
        found = solver_for(problem, engine, limits=limits, progress=progress).distances()
    except LimitReached as reached:
        return _Found(False, stopped=reached)
    if np.isfinite(found.upper[0]):
        return _Found(False, _deeper(problem, found.witnesses[0]), bool(found.certified[0]))
    return _Found(bool(np.isposinf(found.lower[0])), stopped=found.reached)


def _search(problem: Problem, limits: Limits) -> _Found:
    """Search until an error is known, or every node is without one."""
    SearchOracle.check(problem)
    label, one = int(problem.labels[0]), np.zeros(1, dtype=np.int64)
    search = LabelDistances(
        problem.network,
        problem.support,
        problem.cost,
        problem.points,
        label,
        limits=limits,
        squeezes=False,
    )
    found = search.distances(one, tolerance=ANY)
    if np.isfinite(found.upper[0]):
        return _Found(False, _deeper(problem, found.witnesses[0]))
    return _Found(bool(np.isposinf(found.lower[0])))


def _sat(question: "VNNLibProperty", found: _Found, engines: tuple[str, ...]) -> Verdict:
    assert found.point is not None
    verified = question.holds(found.point)
    if not verified and not found.rational:
        raise SolverError(
            f"{engines[-1]} returned a counterexample that the network itself does not confirm"
        )
    outputs = question.network.logits(found.point[None])[0, : question.outputs]
    return Verdict("sat", found.point, outputs, verified, engines)


def _unknown(open_: list[tuple[int, _Found]], boxes: int, engines: tuple[str, ...]) -> Verdict:
    stopped = next((found.stopped for _, found in open_ if found.stopped is not None), None)
    reason = "an output condition may hold with equality, which the search does not decide"
    if stopped is not None:
        reason = str(stopped)
    if boxes > 1:
        reason = f"{len(open_)} of {boxes} boxes are open: {reason}"
    return Verdict("unknown", engines=engines, reason=reason, stopped=stopped)
