"""What is left of the cells engine when a limit ends the enumeration: bounds without cells."""

import math

import numpy as np

from wdaverify.arrays import Floats, Integers
from wdaverify.errors import LimitReached
from wdaverify.exact.bounded import BoundedOracle
from wdaverify.exact.distances import Distances, Errors, unknown_distances
from wdaverify.exact.fallback import interval_ceiling, layer_constant
from wdaverify.exact.oracle import Asked, Decision, Suprema
from wdaverify.exact.supremum import Counts
from wdaverify.loss import Margin, TruncatedDLR, ZeroOne
from wdaverify.problem import Problem

__all__ = ["UnlistedOracle"]

ROUNDING = 1e-9
"""Relative room for the rounding of margins and constants."""


class UnlistedOracle(BoundedOracle):
    """Answers nothing, but bounds everything: by layer products and intervals.

    Parameters
    ----------
    reached
        The limit that ended the enumeration.
    """

    name = "cells"

    def __init__(self, problem: Problem, reached: LimitReached) -> None:
        self.problem, self._reached = problem, reached
        self.counts = Counts()

    @staticmethod
    def refuses(problem: Problem) -> str | None:
        """Return what nothing is known about: growth without a Lipschitz constant."""
        lipschitz = problem.loss.lipschitz or isinstance(problem.loss, TruncatedDLR | ZeroOne)
        bounded = np.isfinite(np.concatenate(problem.support.bounds)).all()
        return None if lipschitz or bounded else f"the loss {problem.loss.name}"

    @property
    def slope(self) -> float:
        """Upper bound of the asymptotic slope: no loss outgrows its Lipschitz constant."""
        if not self.problem.loss.lipschitz:
            return 0.0
        return max(self.constant(label) for label in self.problem.possible_labels)

    def ceiling(self, label: int) -> float:
        """Return an interval bound of the loss, where there is one."""
        if isinstance(self.problem.loss, TruncatedDLR | ZeroOne):
            return 1.0
        if self.problem.loss.piecewise_affine:
            return interval_ceiling(self.problem, label)
        return math.inf

    def suprema(self, asked: Asked) -> Suprema:  # noqa: ARG002
        """Raise the limit."""
        raise self._reached

    def open_bounds(self, asked: Asked) -> Floats:
        """Bound the suprema by the layer product and the ceiling."""
        top, constant = self.ceiling(asked.label), self.constant(asked.label)
        if not math.isfinite(constant):
            return np.full(len(asked.samples), top)
        points = self.problem.points[asked.samples]
        losses = self.problem.evaluate(points, np.full(len(points), asked.label))
        return np.minimum(top, asked.penalty.best(losses, constant, asked.reach, constant))

    def group(self, label: int, samples: Integers) -> Integers:  # noqa: ARG002
        """All samples of a label together."""
        return np.zeros(len(samples), dtype=np.int64)

    def distances(self, samples: Integers, errors: Errors | None = None) -> Distances:  # noqa: ARG002
        """Bound them from below: no margin shrinks faster than its Lipschitz constant."""
        found = unknown_distances(self.problem, samples, self._reached)
        margin = self.problem.replace(loss=Margin())
        labels = self.problem.labels[samples]
        losses = margin.evaluate(self.problem.points[samples], labels)
        steepest = layer_constant(margin, int(labels[0])) * (1.0 + ROUNDING)
        if steepest > 0:
            found.lower[:] = np.minimum(np.maximum(-losses, 0.0) / steepest, found.upper)
        return found

    def within(self, sample: int, radius: float) -> Decision:  # noqa: ARG002
        """Return no decision."""
        return Decision(None)
