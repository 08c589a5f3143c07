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
    def gain(self) -> float:
        """What the move adds to the expected loss."""
        return self.mass * (self.loss_after - self.loss)


def moves_of(problem: Problem, worst: Distribution) -> list[Move]:
    """Return the moves of a worst case, those first that the adversary prefers."""
    origin = worst.origin
    there = worst.points != problem.points[origin]
    moved = np.flatnonzero(there.any(axis=1) | worst.moved(problem))
    origin, points, labels = origin[moved], worst.points[moved], worst.labels[moved]
    starts, own = problem.points[origin], problem.labels[origin]
    distance = problem.cost.norm.length(points - starts)
    cost = problem.cost.of(points - starts)
    cost = cost + (problem.cost.label_cost or 0.0) * (labels != own)
    before = certain_losses(problem, starts, own)
    after = certain_losses(problem, points, labels)
    after = np.where(worst.certified[moved], 1.0, after)
    classes = _classes(problem, starts, own, np.zeros(len(moved), dtype=bool))
    classes_after = _classes(problem, points, labels, worst.certified[moved])
    found = [
        Move(
            sample=int(origin[k]),
            label=int(own[k]),
            label_after=int(labels[k]),
            predicted=int(classes[k]),
            predicted_after=int(classes_after[k]),
            distance=float(distance[k]),
            mass=float(worst.weights[moved[k]]),
            share=float(worst.weights[moved[k]] / problem.probabilities[origin[k]]),
            cost=float(cost[k]),
            loss=float(before[k]),
            loss_after=float(after[k]),
            origin=starts[k],
            target=points[k],
        )
        for k in range(len(moved))
    ]
    key = (lambda m: (-m.rate, m.sample)) if problem.cost.finite else (lambda m: (-m.gain, m.sample))
    return sorted(found, key=key)


def _classes(problem: Problem, points: Floats, labels: Integers, certified: Bools) -> Integers:
    """Return the predicted class of each point, another than the label where they tie."""
    logits = problem.network.logits(points) if len(points) else np.zeros((0, 2))
    rows = np.arange(len(points))
    others = np.array(logits)
    others[rows, labels] = -np.inf
    wrong = (others.max(axis=1, initial=-np.inf) >= logits[rows, labels]) | certified
    return np.where(wrong, others.argmax(axis=1) if len(points) else labels, labels)
