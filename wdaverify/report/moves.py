"""What the adversary moves: the atoms of a worst case that are not where their samples are.

For a finite order the worst case spends its budget where a unit of it buys most, so moves are
ordered by gain per unit of cost, ``(ℓ(x', y') − ℓ(x, y)) / c``; for order ∞, where moving costs
nothing within the radius, by the gain itself.
"""

from dataclasses import dataclass

import numpy as np

from wdaverify.arrays import Bools, Floats, Integers
from wdaverify.distribution import Distribution
from wdaverify.evaluation import certain_losses
from wdaverify.problem import Problem

__all__ = ["Move", "moves_of"]


@dataclass(frozen=True, slots=True, eq=False)
class Move:
    """Mass of one sample that is somewhere else in the worst case.

    Attributes
    ----------
    label, label_after
        They differ where the label moves.
    predicted, predicted_after
        Class of the largest logit, a tie counted as an error.
    distance
        In the ground norm, input units.
    mass, share
        Mass that moves, and its part of the sample's.
    cost
        Of a unit of mass, ``distance ** order`` and the price of a label move.
    origin, target
        Points, ``(n,)``.
    """

    sample: int
    label: int
    label_after: int
    predicted: int
    predicted_after: int
    distance: float
    mass: float
    share: float
    cost: float
    loss: float
    loss_after: float
    origin: Floats
    target: Floats

    @property
    def rate(self) -> float:
        """Gain per unit of cost."""
        gain = self.loss_after - self.loss
        return gain / self.cost if self.cost > 0 else np.inf * np.sign(gain)

    @property
    def becomes_error(self) -> bool:
        """Whether a right prediction turns into a wrong one."""
        return self.predicted == self.label and self.predicted_after != self.label_after

    @property
    def gain(self) -> float:
        """What the move adds to the expected loss."""
        return self.mass * (self.loss_after - self.loss)


def moves_of(problem: Problem, worst: Distribution) -> list[Move]:
    """Return the moves of a worst case, those first that the adversary prefers."""
    there = worst.points != problem.points[worst.origin]
    moved = np.flatnonzero(there.any(axis=1) | worst.moved(problem))
    columns = _columns(problem, worst, moved)
    points = worst.points[moved], problem.points[worst.origin[moved]]
    listed = zip(*(column.tolist() for column in columns.values()), strict=True)
    found = [
        Move(**dict(zip(columns, values, strict=True)), target=target, origin=origin)
        for values, target, origin in zip(listed, *points, strict=True)
    ]
    if problem.cost.finite:
        return sorted(found, key=lambda move: (-move.rate, move.sample))
    return sorted(found, key=lambda move: (-move.gain, move.sample))


def _columns(
    problem: Problem, worst: Distribution, moved: Integers
) -> dict[str, Floats | Integers]:
    """Return everything about the atoms that moved but their places, an entry for each."""
    origin, labels, certified = worst.origin[moved], worst.labels[moved], worst.certified[moved]
    starts, points, own = problem.points[origin], worst.points[moved], problem.labels[origin]
    price = problem.cost.label_cost or 0.0
    after = certain_losses(problem, points, labels)
    return {
        "sample": origin,
        "label": own,
        "label_after": labels,
        "predicted": _classes(problem, starts, own, np.zeros(len(moved), dtype=bool)),
        "predicted_after": _classes(problem, points, labels, certified),
        "distance": problem.cost.norm.length(points - starts),
        "mass": worst.weights[moved],
        "share": worst.weights[moved] / problem.probabilities[origin],
        "cost": problem.cost.of(points - starts) + price * (labels != own),
        "loss": certain_losses(problem, starts, own),
        "loss_after": np.where(certified, 1.0, after),
    }


def _classes(problem: Problem, points: Floats, labels: Integers, certified: Bools) -> Integers:
    """Return the predicted class of each point, another than the label where they tie."""
    logits = problem.network.logits(points) if len(points) else np.zeros((0, 2))
    rows = np.arange(len(points))
    others = np.array(logits)
    others[rows, labels] = -np.inf
    wrong = (others.max(axis=1, initial=-np.inf) >= logits[rows, labels]) | certified
    return np.where(wrong, others.argmax(axis=1) if len(points) else labels, labels)
