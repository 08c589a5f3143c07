r"""Distances by Marabou: bisection on the radius of the ℓ∞ ball, to 1e-4.

One query asks whether a target class can reach the label's logit within a ball: the output is the
difference of the two logits, so that Marabou's own bounds see it. Targets go in the order of their
logits; one that is out of reach just below the best distance so far costs one query. A point found
shortens the bisection to its own distance.

Weight decay leaves weights of 1e-11, with which Marabou 2.0 answers *unsat* where points exist. So
weights below ``NEGLIGIBLE`` are set to zero for it; distances move by less than 1e-4.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from first_points import first_points
from maraboupy import MarabouCore

import wdaverify as wv

Floats = npt.NDArray[np.float64]

TOLERANCE = 1e-4
NEGLIGIBLE = 1e-6


@dataclass(slots=True)
class Queries:
    """Queries of one problem, counted."""

    problem: wv.Problem
    count: int = 0

    def reaches(self, sample: int, target: int, radius: float) -> Floats | None:
        """Return a point within the ball where the target's logit is not below the label's."""
        self.count += 1
        query, inputs = self._query(sample, target, radius)
        options = MarabouCore.Options()
        options._verbosity = 0
        options._numWorkers = 1
        answer, values, _ = MarabouCore.solve(query, options, "")
        if answer not in {"sat", "unsat"}:
            raise RuntimeError(f"Marabou ended with {answer}")
        return np.array([values[k] for k in range(inputs)]) if answer == "sat" else None

    def _query(self, sample: int, target: int, radius: float) -> tuple[MarabouCore.InputQuery, int]:
        network, x = self.problem.network, self.problem.points[sample]
        label = int(self.problem.labels[sample])
        last, offset = network.weights[-1], network.biases[-1]
        layers = [
            *zip(network.weights[:-1], network.biases[:-1], strict=True),
            ((last[target] - last[label])[None], (offset[target] - offset[label])[None]),
        ]
        lower, upper = self.problem.support.bounds
        query = MarabouCore.InputQuery()
        query.setNumberOfVariables(len(x) + sum(2 * len(b) for _, b in layers) - 1)
        for k in range(len(x)):
            query.markInputVariable(k, k)
            query.setLowerBound(k, max(lower[k], x[k] - radius))
            query.setUpperBound(k, min(upper[k], x[k] + radius))
        start, hidden = len(x), list(range(len(x)))
        for W, b in layers:
            z = list(range(start, start + len(b)))
            start += len(b)
            for row, side, column in zip(W, b, z, strict=True):
                equation = MarabouCore.Equation()
                for weight, variable in zip(row, hidden, strict=True):
                    if weight:
                        equation.addAddend(float(weight), variable)
                equation.addAddend(-1.0, column)
                equation.setScalar(-float(side))
                query.addEquation(equation)
            if len(b) > 1:
                hidden = list(range(start, start + len(b)))
                start += len(b)
                for before, after in zip(z, hidden, strict=True):
                    MarabouCore.addReluConstraint(query, before, after)
        query.markOutputVariable(z[0], 0)
        query.setLowerBound(z[0], 0.0)
        return query, len(x)


def distances(
    problem: wv.Problem, tell: Callable[[int, float, float], None] = lambda *_: None
) -> list[tuple[float, float]]:
    """Return a bracket of width 1e-4 on the ℓ∞ distance of every sample to the closed error set.

    Parameters
    ----------
    tell
        Called with the sample and its bracket.
    """
    weights = [np.where(np.abs(W) < NEGLIGIBLE, 0.0, W) for W in problem.network.weights]
    problem = problem.replace(network=wv.ReLUNetwork(weights, problem.network.biases))
    queries, starts, found = Queries(problem), first_points(problem), []
    for i in range(len(problem)):
        found.append(_distance(queries, i, starts[i]))
        tell(i, *found[-1])
    return found


def _distance(queries: Queries, sample: int, start: Floats) -> tuple[float, float]:
    problem, label = queries.problem, int(queries.problem.labels[sample])
    x = problem.points[sample]
    logits = problem.network.logits(x[None])[0]
    others = [j for j in np.argsort(-logits).tolist() if j != label]
    if logits[others[0]] >= logits[label]:
        return 0.0, 0.0
    best = _nearest_error(problem, sample, start)
    lower = best
    for target in others:
        low, point = 0.0, queries.reaches(sample, target, best - TOLERANCE)
        if point is None:
            low = best - TOLERANCE
        else:
            best = min(best - TOLERANCE, float(np.abs(point - x).max()))
        while best - low > TOLERANCE:
            middle = (low + best) / 2
            point = queries.reaches(sample, target, middle)
            if point is None:
                low = middle
            else:
                best = min(middle, float(np.abs(point - x).max()))
        lower = min(lower, low)
    return max(0.0, min(lower, best)), best


def _nearest_error(problem: wv.Problem, sample: int, points: Floats) -> float:
    """Shortest distance of some points that are errors; the far corner of the box if none is."""
    x, label = problem.points[sample], int(problem.labels[sample])
    logits = problem.network.logits(points)
    wrong = np.delete(logits, label, axis=1).max(axis=1) >= logits[:, label]
    lengths = np.abs(points - x).max(axis=1)
    return float(lengths[wrong].min(initial=1.0))
