"""What looks wrong about a network and data together, and what would look right."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from wdaverify.arrays import Bools, Floats, Integers
from wdaverify.problem import Problem

__all__ = ["correct", "warnings_about"]

BETTER: Final = 0.2
"""By how much accuracy must rise for another reading of the data to be mentioned."""

UNEVEN: Final = 100.0
"""Ratio between the ranges of two features from which on one radius means little for both."""


def correct(problem: Problem) -> int:
    """Return how many samples the network classifies rightly; a tie counts as wrong."""
    return int(_right(problem.network.logits(problem.points), problem.labels).sum())


def warnings_about(
    problem: Problem, classes: Sequence[str], features: Sequence[str] = ()
) -> list[str]:
    """Return a sentence for each thing that a user may want to look at.

    Parameters
    ----------
    problem
        Network and data.
    classes
        What to call the K classes.
    features
        What to call the n features; by their index when empty.
    """
    names = list(features) or [str(k) for k in range(problem.network.features)]
    return [*_accuracy(problem, classes), *_absent(problem, classes), *_ranges(problem, names)]


def _accuracy(problem: Problem, classes: Sequence[str]) -> list[str]:
    network, labels = problem.network, problem.labels
    logits = network.logits(problem.points)
    accuracy = float(_right(logits, labels).mean())
    commonest = float(np.bincount(labels).max()) / len(labels)
    found = []
    order, swapped = _best_order(logits, labels)
    if swapped > accuracy + BETTER:
        found.append(
            f"accuracy would be {swapped:.1%} if the logits stood for the classes in another "
            f"order: --classes {','.join(classes[k] for k in order)}"
        )
    for words, points in _other_scales(problem.points):
        rescaled = float(_right(network.logits(points), labels).mean())
        if rescaled > accuracy + BETTER:
            found.append(f"with inputs {words} accuracy would be {rescaled:.1%}")
    if accuracy <= commonest and (len(np.unique(labels)) > 1 or accuracy == 0):
        found.insert(
            0,
            f"accuracy {accuracy:.1%} is no better than always answering the commonest class "
            f"({commonest:.1%}): are classes, scaling and order of the inputs as in training?",
        )
    return found


def _right(logits: Floats, labels: Integers) -> Bools:
    rows = np.arange(len(labels))
    others = logits.copy()
    others[rows, labels] = -np.inf
    right: Bools = logits[rows, labels] > others.max(axis=1)
    return right


def _best_order(logits: Floats, labels: Integers) -> tuple[list[int], float]:
    """Return for each logit the class that suits it best, and the accuracy of that assignment."""
    from scipy.optimize import linear_sum_assignment  # noqa: PLC0415  (slow to import)

    classes = logits.shape[1]
    counts = np.zeros((classes, classes))
    np.add.at(counts, (logits.argmax(axis=1), labels), 1)
    rows, columns = linear_sum_assignment(counts, maximize=True)
    return [int(k) for k in columns], float(counts[rows, columns].sum()) / len(labels)


def _other_scales(points: Floats) -> list[tuple[str, Floats]]:
    low, high = float(points.min()), float(points.max())
    if low >= 0 and 1 < high <= 255:
        top = 255.0 if high > 127 else high
        return [(f"divided by {top:g}", points / top)]
    if low >= 0 and high <= 1:
        return [("multiplied by 255", points * 255.0)]
    return []


def _absent(problem: Problem, classes: Sequence[str]) -> list[str]:
    absent = sorted(set(range(problem.network.classes)) - set(problem.labels.tolist()))
    if not absent:
        return []
    shown = ", ".join(classes[k] for k in absent[:10]) + (", …" if len(absent) > 10 else "")
    return [f"no sample is of class {shown}"]


def _ranges(problem: Problem, names: Sequence[str]) -> list[str]:
    ranges = np.ptp(problem.points, axis=0)
    varying = ranges[ranges > 0]
    if not len(varying) or varying.max() <= UNEVEN * varying.min():
        return []
    small, large = (int(np.flatnonzero(ranges == v)[0]) for v in (varying.min(), varying.max()))
    what = (
        f"feature {names[large]} ranges over {varying.max():.3g}, {names[small]} over "
        f"{varying.min():.3g}, but a radius is the same distance in both: bring the data to one "
        f"scale and the scaling into the network, unless a move should cost the same in each"
    )
    return [what]
