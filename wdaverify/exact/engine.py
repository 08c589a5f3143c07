"""The choice of an engine: which ones cover the question, and which is expected to be faster."""

from collections.abc import Callable
from functools import partial
from math import comb
from typing import Final, NamedTuple

import numpy as np

from wdaverify.cells.complex import CellComplex, enumerate_cells
from wdaverify.checkpoint import Checkpoint
from wdaverify.errors import ProblemError
from wdaverify.exact.by_cells import CellOracle
from wdaverify.exact.by_milp import MilpOracle
from wdaverify.exact.by_search import SearchOracle
from wdaverify.exact.dispatch import Dispatcher, Here
from wdaverify.exact.journal import Journal
from wdaverify.exact.workers import Workers
from wdaverify.limits import Limits
from wdaverify.problem import Problem
from wdaverify.support import Box
from wdaverify.workers.placing import workers_of

__all__ = ["ENGINES", "Choice", "choose_engine", "dispatcher_for"]

ENGINES: Final = ("auto", "cells", "search", "milp")

MANY: Final = 1e5
"""Cells that a network of this size could have, beyond which they are not listed unasked."""

EACH: Final = 20.0
"""Possible cells for each sample, beyond which a search for every sample is cheaper (measured)."""

EACH_CLOSED: Final = {0: 5000.0, 1: 5000.0, 2: 5000.0, 3: 150.0}
"""The same by free features, where the cells' suprema have closed forms."""


class Choice(NamedTuple):
    """An engine and why it was chosen."""

    engine: str
    reason: str


def choose_engine(
    problem: Problem, engine: str, cells: CellComplex | None = None, *, curve: bool = False
) -> Choice:
    """Return the engine that answers.

    Parameters
    ----------
    cells
        Where they are known, listing them costs nothing.
    curve
        Whether all radii are asked for, which takes many suprema of every sample.

    Raises
    ------
    ProblemError
        No such engine.
    UnsupportedError
        The engine named does not cover the question.
    """
    if engine not in ENGINES:
        raise ProblemError(f"engine: expected one of {', '.join(ENGINES)}, found {engine!r}")
    if engine == "search":
        SearchOracle.check(problem)
    if engine == "milp":
        MilpOracle.check(problem)
    if engine != "auto":
        return Choice(engine, "as asked")
    if cells is not None:
        return Choice("cells", "its cells were given")
    refused = SearchOracle.refuses(problem)
    if refused is not None:
        return Choice("cells", f"search does not cover {refused}")
    count = possible_cells(problem)
    cost = problem.cost
    if count > MANY:
        return Choice("search", f"perhaps {count:.3g} cells, too many to list")
    quick = cost.norm.polyhedral and (cost.order == 1 or not cost.finite) and not curve
    each = EACH_CLOSED.get(_free_features(problem), EACH) if cost.order == 1 else EACH
    if quick and count > each * len(problem):
        return Choice("search", f"perhaps {count:.3g} cells for {len(problem)} samples")
    return Choice("cells", f"about {count:.3g} cells at most")


def possible_cells(problem: Problem) -> float:
    """Estimate the number of cells as that of an arrangement of as many hyperplanes, Σ C(m, k)."""
    neurons = int(np.sum(~problem.network.linear))
    return float(sum(comb(neurons, k) for k in range(min(_free_features(problem), neurons) + 1)))


def _free_features(problem: Problem) -> int:
    """Return how many features the support does not fix."""
    support = problem.support
    fixed = int(np.sum(support.lower == support.upper)) if isinstance(support, Box) else 0
    return problem.network.features - fixed


def dispatcher_for(  # noqa: PLR0913
    problem: Problem,
    choice: Choice,
    *,
    cells: CellComplex | None = None,
    workers: int | None = None,
    checkpoint: Checkpoint | None = None,
    limits: Limits,
    progress: Callable[[str, float], None],
) -> Dispatcher:
    """Return the engine, its cells enumerated where it needs them, and who does its work.

    Raises
    ------
    LimitReached
        The cells could not be enumerated within the limits.
    """
    workers = workers_of(workers)
    make: Callable[[Limits], CellOracle | SearchOracle | MilpOracle]
    if choice.engine == "search":
        states = None if checkpoint is None else checkpoint.states
        make = partial(SearchOracle, problem, states=states)
    elif choice.engine == "milp":
        make = partial(MilpOracle, problem)
    else:
        if cells is None:
            cells = enumerate_cells(
                problem.network,
                problem.support,
                limits=limits,
                progress=lambda count: progress("cells", float(count)),
                workers=workers,
            )
        make = partial(CellOracle, problem, cells)
    oracle = make(limits)
    runner = Workers(make, workers, limits) if workers > 1 else Here(oracle, limits)
    if checkpoint is None:
        return Dispatcher(oracle, runner, limits)
    journal = Journal(runner, checkpoint, restores=choice.engine == "search")
    return Dispatcher(oracle, journal, limits)
