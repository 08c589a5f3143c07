"""Tables of features: which of them carry the movement, and by how much for the first movers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wdaverify.problem import Problem
from wdaverify.report.moves import Move

__all__ = ["Carried", "Feature", "Mover", "carried"]

BARS, COLUMNS, MOVERS = 16, 8, 8


@dataclass(frozen=True, slots=True)
class Feature:
    """A feature, its mean absolute change over the mass that moves, and that of the largest."""

    name: str
    mean: float
    relative: float


@dataclass(frozen=True, slots=True)
class Mover:
    """A move and its changes in the features shown: before, after, relative size from −1 to 1."""

    move: Move
    changes: list[tuple[float, float, float]]


@dataclass(frozen=True, slots=True)
class Carried:
    """What carries the movement at one radius; ``others`` features are not listed."""

    features: list[Feature]
    others: int
    columns: list[str]
    movers: list[Mover]


def carried(problem: Problem, moves: Sequence[Move], names: Sequence[str] | None) -> Carried | None:
    """Return the features by mean absolute change, ``None`` where nothing moves in space.

    Parameters
    ----------
    names
        Of the features; ``x0, x1, …`` when omitted.
    """
    if not moves:
        return None
    changes = np.array([m.target - m.origin for m in moves])
    masses = np.array([m.mass for m in moves])
    mean = masses @ np.abs(changes) / masses.sum()
    if not mean.max() > 0:
        return None
    names = [f"x{k}" for k in range(problem.network.features)] if names is None else names
    order = np.argsort(-mean, kind="stable").tolist()
    listed = [k for k in order if mean[k] > 0][:BARS]
    shown = listed[:COLUMNS]
    largest = np.abs(changes[:MOVERS]).max() or 1.0
    return Carried(
        [Feature(names[k], float(mean[k]), float(mean[k] / mean.max())) for k in listed],
        len(order) - len(listed),
        [names[k] for k in shown],
        [
            Mover(m, [(float(m.origin[k]), float(m.target[k]),
                       float((m.target[k] - m.origin[k]) / largest)) for k in shown])
            for m in moves[:MOVERS]
        ],
    )  # fmt: skip
