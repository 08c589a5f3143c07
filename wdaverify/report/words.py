"""The question and the answer in words, for someone who has read nothing else."""

import math
from dataclasses import dataclass

from wdaverify.loss import ZeroOne
from wdaverify.problem import Problem
from wdaverify.report.figures import figure, percent, span
from wdaverify.report.reading import Reading, crossing
from wdaverify.support import Box
from wdaverify.verification import Row, Sandwich

__all__ = ["SYMBOLS", "Answer", "answer", "details", "headline", "question"]

_LOSSES = {
    "margin": (
        "expected margin loss",
        (
            "The margin loss is the lead of the best wrong class over the right one: negative "
            "where the network is right, positive where it errs."
        ),
    ),
    "hinge": (
        "expected hinge loss",
        "The hinge loss is zero only where the right class leads by at least 1.",
    ),
    "cross-entropy": (
        "expected cross-entropy",
        (
            "Cross-entropy is the usual training loss: minus the logarithm of the probability "
            "that the network gives to the right class."
        ),
    ),
    "dlr": (
        "expected DLR loss",
        (
            "The difference-of-logits ratio is the margin divided by the lead of the first class "
            "over the third: positive where the network errs."
        ),
    ),
    "truncated-dlr": (
        "expected truncated DLR loss",
        (
            "The difference-of-logits ratio is the margin divided by the lead of the first class "
            "over the third, cut off at 1: positive where the network errs."
        ),
    ),
    "zero-one": (
        "share of wrong predictions",
        "The zero-one loss is 1 where the network errs (a tie is an error) and 0 elsewhere.",
    ),
}
_NORMS = {
    "l1": "the sum of the changes of all features",
    "l2": "the Euclidean distance",
    "linf": "the largest change of any feature",
}


SYMBOLS = {"l1": "ℓ₁", "l2": "ℓ₂", "linf": "ℓ∞"}
"""Ground norms as the field writes them."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A sentence, what it is compared with, and what it holds for.

    Attributes
    ----------
    main
        With the worst-case value at one radius.
    further
        Sentences on the nominal risk and on where the value crosses a line that matters.
    trust
        How far the number can be relied on.
    """

    main: str
    further: tuple[str, ...]
    trust: str


def _loss_of(problem: Problem) -> tuple[str, str]:
    name = problem.loss.name
    return _LOSSES.get(name, (f"expected {name} loss", ""))


def _how_far(problem: Problem, radius: str) -> str:
    """Return how far the data may move."""
    order = problem.cost.order
    if order == 1:
        return f"by {radius} on average"
    if order == 2:
        return f"by {radius} in the quadratic mean"
    if math.isinf(order):
        return f"by {radius}, every bit of them"
    return f"by {radius} in the mean of order {figure(order, 4)}"


def question(problem: Problem) -> tuple[str, ...]:
    """Return the question, a sentence each on what is asked, measured and allowed."""
    what, meaning = _loss_of(problem)
    support = problem.support
    free = isinstance(support, Box) and not (support.rows.offset.size)
    where = "anywhere" if free else f"within the support ({support.describe()})"
    labels = (
        "Labels stay as they are."
        if problem.cost.label_cost is None
        else f"A label may change as well, at the price {figure(problem.cost.label_cost)}."
    )
    count = "the one sample" if len(problem) == 1 else f"the {len(problem)} samples"
    asked = (
        f"How large can the {what} of the network become if the data may move "
        f"{_how_far(problem, 'at most ε')}? Every distribution that can be reached from {count} in "
        f"this way is considered, not only those that an attack would find."
    )
    norm = _NORMS.get(problem.cost.norm.name, problem.cost.norm.name)
    allowed = f"Distances are measured by {norm}; mass may move {where}. {labels}"
    return asked, allowed, meaning


def details(problem: Problem) -> list[tuple[str, str]]:
    """Return the question in the words of the field."""
    network, cost = problem.network, problem.cost
    widths = " · ".join(str(w) for w in (network.features, *network.widths, network.classes))
    equal = len({*problem.weights.tolist()}) == 1
    unused = len(problem) - len(problem.active)
    samples = f"{len(problem)}, " + ("equal weights" if equal else "weighted")
    return [
        ("Network", f"{widths} (inputs, neurons of each hidden layer, classes)"),
        ("Samples", samples + (f", {unused} of weight zero" if unused else "")),
        ("Loss", problem.loss.name),
        ("Transport", cost.describe()),
        ("Support", problem.support.describe()),
        ("Labels", "fixed" if cost.label_cost is None
         else f"move at {figure(cost.label_cost)} per unit of mass (in distance to the order)"),
    ]  # fmt: skip


def headline(result: Sandwich) -> Row:
    """Return the row that the answer speaks of: the largest radius."""
    return max(result.rows, key=lambda row: row.radius)


def answer(result: Sandwich, reading: Reading) -> Answer:
    """Return the answer at the largest radius, and what it means."""
    row, problem = headline(result), result.problem
    return Answer(
        f"If the data may move {_how_far(problem, figure(row.radius, 4))}, {_reach(result, row)}",
        tuple(filter(None, (_nominal(result), _turn(result, reading), _early(result)))),
        _trust(row),
    )


def _reach(result: Sandwich, row: Row) -> str:
    """Return what the value can reach at a radius, to the end of the sentence."""
    what, _ = _loss_of(result.problem)
    if row.status == "unbounded":
        return f"the {what} can become arbitrarily large."
    rate = isinstance(result.problem.loss, ZeroOne)
    low, high = row.lower, row.upper
    value = span(100.0 * low, 100.0 * high) + " %" if rate else span(low, high)
    if row.status == "bracket":
        low, high = max(low, row.attack), min(high, row.certificate)
        return f"the worst {what} lies between {_plain(low, rate)} and {_plain(high, rate)}."
    if abs(high - result.nominal) <= 1e-9 * max(1.0, abs(high)):
        return f"the {what} stays at {value}: nothing makes it worse."
    if row.attained is False:
        return f"the {what} can come as close to {value} as one likes."
    return f"the {what} can reach {value}."


def _plain(value: float, rate: bool) -> str:  # noqa: FBT001
    return percent(value) if rate else figure(value, 4)


def _nominal(result: Sandwich) -> str:
    rate = isinstance(result.problem.loss, ZeroOne)
    return f"On the data as they are it is {_plain(result.nominal, rate)}."


def _turn(result: Sandwich, reading: Reading) -> str:
    """Return where the expected margin changes its sign, or half of the mass is misclassified."""
    levels = {"margin": (0.0, "It turns positive"), "zero-one": (0.5, "Half of the mass is wrong")}
    level, words = levels.get(result.problem.loss.name, (math.nan, ""))
    if not words or result.nominal >= level:
        return ""
    found = crossing(result, reading, level)
    if found is None:
        whole = reading.curve is not None and reading.curve.stopped is None
        where = "at no radius" if whole else "at no radius asked for"
        return f"{words} {where}."
    low, high = found
    if high - low <= 1e-3 * high:
        return f"{words} at ε\u00a0≈\u00a0{figure(high, 3)}."
    return f"{words} somewhere between ε\u00a0=\u00a0{figure(low, 3)} and {figure(high, 3)}."


def _trust(row: Row) -> str:
    if row.status != "exact":
        return ""
    within = "to the last digit" if row.gap <= 0 else f"to within {figure(row.gap, 2)}"
    return (
        f"Exact {within}: an explicit distribution within this radius does as badly, and an "
        f"upper bound shows that none does worse."
    )


def _early(result: Sandwich) -> str:
    if result.stopped is None:
        return ""
    return f"The computation was ended early ({result.stopped}); all bounds hold nevertheless."
