"""One small seeded problem for every combination of loss, norm, order, support and label cost.

``PYTHONPATH=tests python -m reference.combinations`` solves all of them by `reference.simplices`
and writes the brackets to `combinations.json`, so that a test of the engine need not repeat it;
tests recompute a part of the file (every entry in the nightly run).
"""

import json
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np

from reference.question import LOSSES, NORM_ORDER, RATIOS, Array, Question, forward
from reference.simplices import simplex_value

FILE = Path(__file__).with_suffix(".json")
ORDERS = (1.0, 1.5, 2.0, 3.0, math.inf)
SUPPORTS = ("space", "box", "polytope")
LABEL_COSTS = (math.inf, 0.3)


@dataclass(frozen=True, slots=True)
class Combination:
    """A cell of the table; an infinite label cost means that labels do not move."""

    loss: str
    norm: str
    order: float
    support: str
    label_cost: float
    dimension: int = 2
    seed: int = 0

    def __str__(self) -> str:
        moves = "" if math.isinf(self.label_cost) else f"-label{self.label_cost:g}"
        plane = "" if self.dimension == 2 else f"-n{self.dimension}"
        seed = f"-{self.seed}" if self.seed else ""
        return f"{self.loss}-{self.norm}-{self.order:g}-{self.support}{moves}{plane}{seed}"


def table(dimension: int = 2, seed: int = 0) -> list[Combination]:
    """Every cell; on a line all norms are one, so each is asked with one norm, in turn."""
    norms = sorted(NORM_ORDER)
    cells = product(LOSSES, norms, ORDERS, SUPPORTS, LABEL_COSTS)
    kept = [
        Combination(*cell, dimension=dimension, seed=seed)
        for cell in cells
        if math.isinf(cell[4]) or math.isfinite(cell[2])
    ]
    if dimension > 1:
        return kept
    return [cell for k, cell in enumerate(kept) if cell.norm == norms[k % 3]]


def problem_of(cell: Combination) -> tuple[Question, float]:
    """The question of a cell and its radius: 2 or 3 samples, some wrong, one perhaps weightless."""
    rng = np.random.default_rng(zlib.crc32(str(cell).encode()))
    n = cell.dimension
    K = int(rng.integers(3 if cell.loss in RATIOS else 2, 5))
    widths = [n, 3, K] if rng.random() < 0.7 else [n, 2, 2, K]
    weights = [
        1.5 * rng.normal(size=(out, into)) / math.sqrt(into) for into, out in pairwise(widths)
    ]
    points = rng.uniform(-1.0, 1.0, size=(int(rng.integers(2, 4)), n))
    mu = rng.uniform(0.5, 1.5, size=len(points))
    if len(points) == 3 and rng.random() < 0.5:
        mu[-1] = 0.0
    question = Question(
        weights=weights,
        biases=[0.5 * rng.normal(size=width) for width in widths[1:]],
        points=points,
        labels=np.zeros(len(points), dtype=int),
        probabilities=mu / mu.sum(),
        loss=cell.loss,
        norm=cell.norm,
        order=cell.order,
        label_cost=cell.label_cost,
    )
    labels = forward(question, points).argmax(axis=1)
    labels = np.where(rng.random(len(points)) < 0.3, (labels + 1) % K, labels)
    radius = float(rng.choice([0.125, 0.375, 1.0]))
    return replace(question, labels=labels, **_support(cell.support, points, rng)), radius


def _support(kind: str, points: Array, rng: np.random.Generator) -> dict[str, Any]:
    if kind == "space":
        return {}
    if kind == "box":
        return {"lower": -1.0, "upper": 1.0}
    A = rng.normal(size=(4, points.shape[1]))
    return {"A": A, "b": (A @ points.T).max(axis=1) + rng.uniform(0.0, 0.5, size=4)}


def active(question: Question) -> Question:
    """The question without samples of weight zero."""
    there = question.probabilities > 0
    return replace(
        question,
        points=question.points[there],
        labels=question.labels[there],
        probabilities=question.probabilities[there],
    )


def solved(cell: Combination) -> tuple[float, float]:
    """Bracket of a cell's value by the simplices."""
    question, radius = problem_of(cell)
    return simplex_value(active(question), radius)


def stored() -> dict[str, tuple[float, float]]:
    """The brackets of the file."""
    return {name: (low, high) for name, (low, high) in json.loads(FILE.read_text()).items()}


def write(cells: Sequence[Combination]) -> None:
    """Write brackets, one line for each cell."""
    lines = (f'"{cell}": {json.dumps(solved(cell))}' for cell in cells)
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    write(table())
