"""Proofs in files that a small checker confirms in exact arithmetic: of values and constants."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from wdaverify.cells.complex import CellComplex
from wdaverify.checker.verdict import downwards, upwards
from wdaverify.errors import LimitReached, UnsupportedError
from wdaverify.exact.answer import ExactValue
from wdaverify.exact.engine import choose_engine
from wdaverify.exact.solve import check_radius, solver_for
from wdaverify.limits import Limits
from wdaverify.loss import DLR, LOSSES
from wdaverify.problem import Problem
from wdaverify.proof.constants import prove_lipschitz, prove_slope
from wdaverify.proof.question import PROVABLE
from wdaverify.proof.value import UnfinishedError, ValueProver
from wdaverify.tolerances import EXACT, scale
from wdaverify.units import Units

__all__ = ["KINDS", "Proof", "prove"]

KINDS = ("value", "lipschitz", "slope")
"""What can be proved."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What a proof file proves, and what it cost against the engine's own bracket.

    Attributes
    ----------
    lower, upper
        Proved, rounded outwards.
    file
        Where it is.
    of
        ``value``, ``lipschitz`` or ``slope``.
    engine
        Whose work was written down: ``cells`` or ``search``.
    value
        What the engine answered; ``None`` for a constant.
    loss
        How much wider the proved bracket is than the engine's, relative to ``max(1, |v|)``.
    """

    lower: float
    upper: float
    file: Path
    of: str
    engine: str
    value: ExactValue | None
    loss: float


def prove(  # noqa: PLR0913  (the public signature: the question and what it may cost)
    problem: Problem,
    *,
    radius: float,
    path: str | Path,
    of: str = "value",
    engine: str = "auto",
    cells: CellComplex | None = None,
    tolerance: float = EXACT,
    checked: bool = True,
    limits: Limits | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> Proof:
    """Prove a value or a constant in a file that a small checker confirms in exact arithmetic.

    Parameters
    ----------
    problem, radius, engine, cells, tolerance, limits, progress
        As for :func:`~wdaverify.exact.solve.solve`.
    path
        The proof file, written whole or not at all.
    of
        ``value`` (the worst case at the radius), ``lipschitz`` or ``slope`` (constants of the loss;
        the radius is only written into the question).
    checked
        Whether the checker has to accept the file before it takes its name.

    Raises
    ------
    UnsupportedError
        There is no rational proof for the question.
    SolverError
        Something could not be shown: the engine was wrong, or rounding too coarse.
    LimitReached
        Time ran out; no file is written. For a value an
        ``wdaverify.proof.value.UnfinishedError``, which has the engine's bracket.
    """
    check_radius(radius)
    limits, progress = limits or Limits(), progress or (lambda _, __: None)
    units = Units.of(problem)
    units.refuse("cells", cells)
    problem = units.problem
    refuse(problem, of)
    path = Path(path)
    if of != "value":
        make = prove_lipschitz if of == "lipschitz" else prove_slope
        low, high = make(problem, radius, path, cells=cells, checked=checked, limits=limits)
        wide = float(high - low) / scale(float(low), float(high))
        return Proof(downwards(low) + 0.0, upwards(high), path, of, "cells", None, wide)
    choice = choose_engine(problem, engine, cells)
    if choice.engine not in ("cells", "search"):
        raise UnsupportedError(
            f"prove: the engine {choice.engine} leaves nothing to write down, use cells or search"
        )
    solver = solver_for(
        problem, choice.engine, cells=cells, tolerance=tolerance, limits=limits, progress=progress
    )
    prover = ValueProver(problem, radius, solver, limits)
    progress("proof", math.nan)
    try:
        high = prover.write(path, prover.trees(), checked=checked)
    except LimitReached as reached:
        raise UnfinishedError(reached, prover.value) from None
    return _summary(prover, path, high, choice.engine)


def _summary(prover: ValueProver, path: Path, upper: Fraction, engine: str) -> Proof:
    value = prover.value
    lower, high = downwards(prover.low.value) + 0.0, upwards(upper)
    loss = max(0.0, value.lower - lower) + max(0.0, high - value.upper)
    loss /= scale(value.lower, value.upper)
    return Proof(lower, high, path, "value", engine, value, loss)


def refuse(problem: Problem, of: str) -> None:
    """Refuse what has no rational proof.

    Raises
    ------
    UnsupportedError
        With the reason.
    """
    if of not in KINDS:
        raise UnsupportedError(f"prove: expected one of {', '.join(KINDS)}, found {of!r}")
    if isinstance(problem.loss, DLR):
        raise UnsupportedError(
            f"prove: the loss {problem.loss.name} is a ratio of logits, for which the proof file "
            f"has no majorants; margin, hinge, cross-entropy and zero-one can be proved"
        )
    if problem.loss.name not in PROVABLE or problem.loss != LOSSES[problem.loss.name]:
        raise UnsupportedError(
            f"prove: the proof file knows {', '.join(PROVABLE)}, not the loss {problem.loss.name}"
        )
