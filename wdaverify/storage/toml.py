"""A question as TOML for people: aligned remarks, floats by ``repr``, so nothing is rounded."""

from collections.abc import Sequence

import numpy as np

from wdaverify.problem import Problem
from wdaverify.storage.question import Expected
from wdaverify.storage.spelling import (
    LOSS_WORDS,
    NORM_WORDS,
    REGISTERED,
    assigned,
    bound_value,
    float_value,
    list_value,
    order_value,
    price_words,
    remarks,
    string_value,
)
from wdaverify.support import Box

__all__ = ["render"]


def render(
    problem: Problem, radii: Sequence[float], expected: Expected | None, description: str
) -> str:
    """Return the text of `problem.toml` for arrays in the usual files beside it."""
    cost = problem.cost
    lines = [
        *remarks(description),
        f"name = {string_value(problem.name)}",
        'network = "network.npz"',
        'data = "data.npz"',
        assigned(
            f"loss = {string_value(problem.loss.name)}",
            LOSS_WORDS.get(problem.loss.name, REGISTERED),
        ),
        assigned(
            f"norm = {string_value(cost.norm.name)}", NORM_WORDS.get(cost.norm.name, REGISTERED)
        ),
        assigned(f"order = {order_value(cost.order)}", price_words(cost.order)),
        f"radii = {list_value(radii)}",
    ]
    if cost.label_cost is not None:
        moving = f"label_cost = {float_value(cost.label_cost)}"
        lines.append(assigned(moving, "cost of giving a unit of mass another label"))
    lines += _support(problem)
    if expected is not None:
        lines += ["", "[expected]", f"values = {list_value(expected.values)}"]
        lines.append(f"source = {string_value(expected.source)}")
    return "\n".join(lines) + "\n"


def _support(problem: Problem) -> list[str]:
    support = problem.support
    if not isinstance(support, Box):
        return ["", "[support]", assigned('polytope = "support.npz"', "A x <= b")]
    if np.isneginf(support.lower).all() and np.isposinf(support.upper).all():
        return ["", "# no [support]: all of R^n"]
    bounds = {"lower": support.lower, "upper": support.upper}
    return ["", "[support]", *(f"{key} = {bound_value(bound)}" for key, bound in bounds.items())]
