"""Certificate methods by name: what each proves, where it holds, and how it is made.

A method that proves nothing about a question says why. To add one from outside, see
:func:`wdaverify.extending.register_certificate`.
"""

from typing import Final

import numpy as np

from wdaverify.bounds.asymptotic import slope_refuses
from wdaverify.bounds.body import body_of, free_network
from wdaverify.bounds.cell_constants import cell_constants, margin_constants
from wdaverify.bounds.constants import Constants
from wdaverify.bounds.duality import StrongDuality, duality_refuses, smoothness
from wdaverify.bounds.estimates import estimate_refuses
from wdaverify.bounds.gradient_search import searched_constants
from wdaverify.bounds.lipschitz import NO_CONSTANT, Certificate, layer_product
from wdaverify.bounds.lipsdp import lipsdp, lipsdp_refuses
from wdaverify.bounds.piece_constants import (
    cell_piece_constants,
    layer_piece_constants,
    own_pieces,
)
from wdaverify.bounds.statements import Ceiling, Certified, Means, Method, Statement
from wdaverify.loss import DLR, CrossEntropy, TruncatedDLR
from wdaverify.problem import Problem
from wdaverify.registry import Registry

__all__ = ["METHODS", "OTHERS"]


def _no_ratio(problem: Problem) -> str | None:
    return NO_CONSTANT if isinstance(problem.loss, DLR) else None


def _margin_refuses(problem: Problem) -> str | None:
    if own_pieces(problem):
        return f"knows the pieces of the margin only, not those of {problem.loss.name}"
    if isinstance(problem.loss, CrossEntropy):
        return (
            "counts the top wrong class only, but the gradient of cross-entropy mixes all classes "
            "and can be steeper"
        )
    return _no_ratio(problem)


def _lipsdp_refuses(problem: Problem) -> str | None:
    if problem.cost.norm.name != "l2":
        return f"bounds the Euclidean constant only (norm l2), found {problem.cost.norm.name}"
    if own_pieces(problem):
        return f"knows the pieces of the margin only, not those of {problem.loss.name}"
    return _no_ratio(problem) or lipsdp_refuses(free_network(problem.network, problem.support)[0])


def _ceiling_refuses(problem: Problem) -> str | None:
    if isinstance(problem.loss, TruncatedDLR):
        return None
    if not isinstance(problem.loss, DLR):
        return f"needs dlr with 3 classes or truncated-dlr, found {problem.loss.name}"
    classes = problem.network.classes
    return None if classes == 3 else f"dlr has no largest value with {classes} classes, only with 3"


def _cell(problem: Problem, means: Means) -> Certified:
    if own_pieces(problem):
        constants = cell_piece_constants(problem, means)
        return Certificate(problem, "cell-lipschitz", constants)
    if means.cells is not None:
        found = cell_constants(means.cells, problem.cost.norm)
    else:
        found = _searched(problem, means, margin=False)
    return Certificate(problem, "cell-lipschitz", found.labels[1], found)


def _margin(problem: Problem, means: Means) -> Certified:
    if means.cells is not None:
        found = margin_constants(means.cells, problem.cost.norm, means.limits)
    else:
        found = _searched(problem, means, margin=True)
    return Certificate(problem, "margin-lipschitz", found.labels[1], found)


def _searched(problem: Problem, means: Means, *, margin: bool) -> Constants:
    return searched_constants(
        body_of(problem.network, problem.support, problem.cost.norm),
        margin=margin,
        points=problem.points[problem.active],
        labels=problem.possible_labels,
        nodes=means.nodes,
        limits=means.limits,
    )


def _layers(problem: Problem, means: Means) -> Certified:  # noqa: ARG001
    if own_pieces(problem):
        return Certificate(problem, "layer-product", layer_piece_constants(problem))
    constants = layer_product(problem.network, problem.cost.norm)
    return Certificate(problem, "layer-product", constants)


def _lipsdp(problem: Problem, means: Means) -> Certified:
    network = free_network(problem.network, problem.support)[0]
    pairs = lipsdp(network, limits=means.limits)
    return Certificate(problem, "lipsdp", np.asarray(pairs.max(axis=1)))


def _duality(problem: Problem, means: Means) -> Certified:  # noqa: ARG001
    return StrongDuality(problem, "strong-duality", smoothness(problem))


def _growth_refuses(problem: Problem) -> str | None:
    if own_pieces(problem):
        return f"knows losses of margins only, not the pieces of {problem.loss.name}"
    if isinstance(problem.loss, DLR) and not isinstance(problem.loss, TruncatedDLR):
        classes = problem.network.classes
        return None if classes == 3 else f"nothing bounds dlr with {classes} classes near a tie"
    return None


def _growth(problem: Problem, means: Means) -> Certified:
    from wdaverify.bounds.growth import growth_certificate  # noqa: PLC0415  (torch only when asked)

    return growth_certificate(problem, limits=means.limits)


_LIPSCHITZ = (
    "value ≤ nominal risk + radius · constant (for order p > 1 the q-mean of the samples' "
    "constants, for zero-one no error nearer than margin / constant)"
)
_ANY = "any order, norm and support"
_ENTRIES = (
    Method(
        "cell-lipschitz",
        f"{_LIPSCHITZ}; the constant is the largest dual norm of a gradient on any cell",
        f"{_ANY}; margin, hinge, cross-entropy, zero-one, registered losses",
        _no_ratio,
        _cell,
        searches=True,
    ),
    Method(
        "margin-lipschitz",
        f"{_LIPSCHITZ}; the constant counts a wrong class only where it is the top one",
        f"{_ANY}; margin, hinge, zero-one",
        _margin_refuses,
        _margin,
        searches=True,
    ),
    Method(
        "layer-product",
        f"{_LIPSCHITZ}; the constant is the product of the layers' operator norms, without cells",
        f"{_ANY}; margin, hinge, cross-entropy, zero-one, registered losses",
        _no_ratio,
        _layers,
    ),
    Method(
        "lipsdp",
        f"{_LIPSCHITZ}; the constant is a semidefinite one with the sector [s, 1] for a neuron of "
        "negative slope s, repaired by its recomputed eigenvalue",
        "l2, any order and support; margin, hinge, cross-entropy, zero-one; slopes in [0, 1]",
        _lipsdp_refuses,
        _lipsdp,
        standard=False,
    ),
    Method(
        "strong-duality",
        "value ≤ γ · radius² + mean of concave inner problems, for 2γ above the smoothness",
        "affine logits, cross-entropy, l2, order 2, box or whole space",
        duality_refuses,
        _duality,
        standard=False,
    ),
    Method(
        "growth",
        "value ≤ merge of envelopes above the loss around each sample, from bound propagation on a "
        "ladder of balls and a tail beyond them; needs no cells",
        f"{_ANY}; every loss of margins, dlr with 3 classes only",
        _growth_refuses,
        _growth,
        standard=False,
    ),
    Method(
        "ceiling",
        "value ≤ 1, the largest value of the loss",
        f"{_ANY}; dlr with 3 classes, truncated-dlr",
        _ceiling_refuses,
        lambda problem, means: Ceiling(problem),  # noqa: ARG005
    ),
)
METHODS: Final[Registry[Method]] = Registry(
    "method", ((method.name, method) for method in _ENTRIES)
)
"""Upper bounds."""

OTHERS: Final[dict[str, Statement]] = {
    "asymptotic-slope": Statement(
        "asymptotic-slope",
        "value ≥ nominal risk + radius · S: a lower bound, approached by mass that escapes",
        "order 1, any norm, unbounded support; margin, hinge, cross-entropy",
        slope_refuses,
    ),
    "first-order": Statement(
        "first-order",
        "nothing: an estimate of the value near radius 0, on either side of it",
        f"{_ANY} (which it ignores); every loss but zero-one",
        estimate_refuses,
    ),
}
"""Numbers that are no upper bounds."""
