"""Zero-one loss: distances to the error set, and the value that they buy."""

import numpy as np

from wdaverify.atoms import Atoms
from wdaverify.exact.dispatch import Dispatcher
from wdaverify.exact.distances import Distances, ErrorSet, step_envelopes
from wdaverify.loss import ZeroOne
from wdaverify.merging import Merge, merge
from wdaverify.problem import Problem

__all__ = ["Flips"]


class Flips:
    """Distances of all samples, asked for once, and their errors as atoms.

    Attributes
    ----------
    wrong
        Whether each sample is an error where it is, decided exactly, ``(N,)``.
    """

    def __init__(self, problem: Problem, desk: Dispatcher, atoms: Atoms) -> None:
        self.problem, self.desk, self.atoms = problem, desk, atoms
        self.wrong = ErrorSet.errs(problem)
        self._found: Distances | None = None

    def distances(self) -> Distances:
        """Bracket the distance of every sample to its error set; widely, if a limit ends it."""
        if self._found is None:
            self._found = found = self.desk.distances(self.problem.labels)
            if isinstance(self.problem.loss, ZeroOne):
                reached = np.flatnonzero(np.isfinite(found.upper) & ~found.certified)
                self.atoms.add(found.witnesses[reached], reached)
                for i in np.flatnonzero(found.certified).tolist():
                    self.atoms.add_certified(found.witnesses[i], i, found.upper[i])
        return self._found

    def outer(self) -> Merge:
        """Merge the outer envelopes, steps at the lower bounds of the distances."""
        envelopes = step_envelopes(self.distances(), self.wrong, self.problem.cost)
        return merge(envelopes, self.problem.probabilities)

    def upper(self, radius: float) -> float:
        """Bound the worst-case error at a radius from above; offer the atoms that reach it."""
        distances = self.distances()
        if self.problem.cost.finite:
            return self.outer().value(self.problem.cost.budget(radius))
        flips = self.wrong | (distances.lower <= radius)
        for i in np.flatnonzero(flips & ~self.wrong & (distances.upper > radius)).tolist():
            decision = self.desk.within(int(self.problem.labels[i]), i, radius)
            if decision.holds is False:
                flips[i] = False
            elif decision.point is not None:
                self.atoms.add_certified(decision.point, i, radius)
        return float(self.problem.probabilities @ flips)
