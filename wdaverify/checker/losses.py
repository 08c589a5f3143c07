"""Objectives that stand for a loss, and the loss itself at a point (a lower bound of it)."""

from fractions import Fraction
from itertools import product

from wdaverify.checker.bounds import Objective
from wdaverify.checker.enclosures import exp, log
from wdaverify.checker.nodes import Node
from wdaverify.checker.question import Question
from wdaverify.checker.reading import Rejected, fractions

__all__ = ["above_cross_entropy", "difference", "loss_at", "objective"]

CORNERS = 1 << 12


def difference(q: Question, label: int, weights: dict[int, Fraction]) -> list[Fraction]:
    """Return the coefficients of ``Σ weights_j (z_j - z_y)``."""
    c = [weights.get(j, Fraction(0)) for j in range(q.classes)]
    c[label] = -sum(weights.values(), Fraction(0))
    return c


def objective(
    q: Question, label: int, weights: dict[int, Fraction], constant: Fraction,
    node: Node, margins: list[tuple[int, Fraction]],
) -> Objective:  # fmt: skip
    """Return ``Σ weights_j (z_j - z_y) + constant``, the margin splits above priced in."""
    total = dict(weights)
    for d, price in margins:
        j, at, side = node.margins[d]
        total[j] = total.get(j, Fraction(0)) - side * price
        constant += side * price * at
    c = difference(q, label, total)
    return Objective(fractions(c) if any(c) else None, constant)


def loss_at(q: Question, logits: list[Fraction], label: int) -> Fraction:
    """Return the loss, for cross-entropy a lower bound of it."""
    m = [z - logits[label] for j, z in enumerate(logits) if j != label]
    if q.loss == "margin":
        return max(m)
    if q.loss == "hinge":
        return max(Fraction(0), 1 + max(m))
    if q.loss == "zero-one":
        return Fraction(int(max(m) >= 0))
    top = max(Fraction(0), *m)
    return top + log(sum((exp(v - top)[0] for v in (Fraction(0), *m)), Fraction(0)))[0]


def above_cross_entropy(
    box: dict[int, tuple[Fraction | None, Fraction | None]], theta: dict[int, Fraction],
    constant: Fraction,
) -> bool:  # fmt: skip
    """Whether ``θ · m + constant >= log(1 + Σ exp m_j)`` on a box of margins.

    The right-hand side is convex, so the corners decide. Without a lower end ``θ_j`` must be 0 and
    ``exp m_j`` counts at the upper end; without an upper end ``θ_j >= 1`` (the slope of the
    right-hand side is below 1), and the lower end counts.
    """
    choices, corners = [], 1
    for j, (low, high) in box.items():
        if low is None and (high is None or theta[j] != 0):
            return False
        if high is None and theta[j] < 1:
            return False
        ends = {end for end in (low, high) if end is not None}
        choices.append([(exp(end)[1], theta[j] * end) for end in ends])
        corners *= len(ends)
        if corners > CORNERS:
            raise Rejected(f"more than {CORNERS} corners of a box of margins")
    for corner in product(*choices):
        height = constant + sum(v for _, v in corner)
        if log(sum((e for e, _ in corner), Fraction(1)))[1] > height:
            return False
    return True
