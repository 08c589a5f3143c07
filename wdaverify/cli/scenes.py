"""What ``wdaverify cells`` looks at: the whole problem, a slice of it, or a ball."""

import math
import re
from typing import Any, NamedTuple

import numpy as np

from wdaverify.arrays import Floats, Integers
from wdaverify.cells.slices import sliced
from wdaverify.errors import ProblemError
from wdaverify.network import ReLUNetwork
from wdaverify.problem import Problem
from wdaverify.support import Support

__all__ = ["Scene", "ball_of", "slice_of", "whole"]


class Scene(NamedTuple):
    """A network on a support, with the samples that lie there."""

    network: ReLUNetwork
    support: Support
    points: Floats
    labels: Integers
    around: Floats
    """All samples, in the coordinates of a slice: what a picture shows the surroundings of."""
    title: str
    features: tuple[int, ...]
    sample: int | None
    """The sample that a slice passes through."""

    def fields(self, cells: int) -> dict[str, Any]:
        """Return what the JSON says of a slice, nothing for a whole problem."""
        if self.sample is None:
            return {}
        return {"slice": {"features": list(self.features), "at": self.sample, "cells": cells}}


def whole(problem: Problem) -> Scene:
    """Return the problem itself."""
    n = problem.network.features
    support = problem.support.bind(n)
    title = f"{problem.name}: activation cells, {support.describe()}"
    points, labels = problem.points, problem.labels
    return Scene(problem.network, support, points, labels, points, title, tuple(range(n)), None)


def slice_of(problem: Problem, features: str | None, sample: int | None) -> Scene:
    """Return a slice in two features, the first two where none are named.

    Parameters
    ----------
    features
        ``I,J`` as typed.
    sample
        The first where it is not named.

    Raises
    ------
    ProblemError
        The problem has no more than two features, not two are named, or there is no such sample.
    """
    n = problem.network.features
    if n < 3:
        raise ProblemError(f"--slice, --at: expected more than two features, the network has {n}")
    pair = _pair("0,1" if features is None else features)
    at = _sample(0 if sample is None else sample, len(problem), "--at")
    point, shown = problem.points[at], list(pair)
    network, support = sliced(problem.network, problem.support.bind(n), point, pair)
    title = f"{problem.name}: activation cells, slice through sample {at}, {support.describe()}"
    around, labels = problem.points[:, shown], problem.labels[at : at + 1]
    return Scene(network, support, point[None, shown], labels, around, title, pair, at)


def ball_of(centre: str, radius: str, problem: Problem) -> tuple[Floats, float]:
    """Read centre and radius of a ball.

    Parameters
    ----------
    centre
        An integer is the index of a sample; anything else coordinates between commas.

    Raises
    ------
    ProblemError
        No such sample, not as many finite coordinates as features, or no radius.
    """
    size = _number(radius)
    if size is None or not 0 <= size < math.inf:
        raise ProblemError(f"--ball: expected a finite radius >= 0, found {radius!r}")
    if re.fullmatch(r"\s*[+-]?\d+\s*", centre):
        return problem.points[_sample(int(centre), len(problem), "--ball")], size
    values = [_number(part) for part in centre.split(",")]
    point = [value for value in values if value is not None and math.isfinite(value)]
    if len(point) != len(values) or len(point) != problem.network.features:
        raise ProblemError(
            f"--ball: expected the index of a sample or {problem.network.features} finite "
            f"coordinates between commas, found {centre!r}"
        )
    return np.array(point), size


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _pair(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"\s*(\d+)\s*,\s*(\d+)\s*", text)
    if found is None:
        raise ProblemError(f"--slice: expected two features such as 0,1, found {text!r}")
    return int(found[1]), int(found[2])


def _sample(index: int, samples: int, option: str) -> int:
    if not 0 <= index < samples:
        raise ProblemError(f"{option}: expected a sample from 0 to {samples - 1}, found {index}")
    return index
