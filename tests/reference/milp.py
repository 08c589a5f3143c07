"""Worst-case values and flip distances by big-M integer programs, without cells, in HiGHS.

    v = min_lambda lambda radius^p + sum_i mu_i phi_i(lambda)      (order p < inf, Kelley's method)
    v = sum_i mu_i max { loss(x) : |x - x_i| <= radius }           (order inf)

with ``phi_i`` from `reference.sample_program`, the maximum over target classes (hinge: + 1, and at
least 0).  The lower end of a bracket is the best distribution on the points found, evaluated by the
plain forward pass; the upper end is made of the solver's dual bounds, at its default tolerances.
Points of a polytope hold its rows to 1e-9 only.

Unbounded supports.  A big-M program needs a box, so the caller passes a `reach` T and x is kept in
``x_i +- T``.  With ``z0`` the network without biases, ``|z_j - z_y - (z0_j - z0_y)| <= B_j`` and
``z0_j - z0_y <= S |x|``, hence ``loss <= C_i + S t`` with ``C_i = max_j B_j + S |x_i|`` (hinge:
+ 1, and at least 0).  So nothing beyond T matters at multipliers
``lambda >= max((C_i - loss_i + S T) / T^p, S / (p T^(p-1)))``, for p = 1 ``S + (C_i - loss_i)/T``.
Only such multipliers enter the upper bound: it is valid on the whole support, and the bracket is
wide (never wrong) if the optimal multiplier is smaller.  For p = 1 the lower bound also knows the
ray of slope S.  Distances below T are global; one beyond T is reported as ``(T, inf)``.  On a
bounded support omit `reach`; if it is given, it limits every move.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from reference.encoding import bounding_box
from reference.program import INF
from reference.question import (
    Array,
    Question,
    distance,
    loss,
    margin,
    nominal,
    transport_budget,
)
from reference.sample_program import GAP, ROUNDS, Query, Region, sample_regions, solve_program
from reference.transport import transport_program


@dataclass(frozen=True, slots=True)
class Supremum:
    """Bracket of one supremum; `point` attains `lower`; `cost` and `loss` are evaluated there."""

    lower: float
    upper: float
    point: Array
    cost: float
    loss: float


def worst_case_value(
    question: Question, radius: float, *, reach: float = math.inf
) -> tuple[float, float]:
    """Bracket of the worst-case expected loss at one radius; see the module on `reach`."""
    if math.isfinite(question.label_cost):
        raise NotImplementedError("label moves: use simplices, grid or dual_cvxpy")
    if question.loss not in ("margin", "hinge", "zero-one"):
        raise NotImplementedError(f"{question.loss} is not max-affine: use simplices or interval")
    if radius == 0:
        return nominal(question), nominal(question)
    if question.loss == "zero-one":
        return _flip_value(question, radius, reach)
    if math.isinf(question.order):
        return _pointwise_value(question, radius)
    return _transport_value(question, radius, reach)


def distances(question: Question, *, reach: float = math.inf) -> tuple[Array, Array]:
    """Brackets (N,), (N,) of each sample's distance to ``{x in support : margin >= 0}``."""
    regions = sample_regions(question, reach)
    pairs = [sample_distance(question, i, region, reach) for i, region in enumerate(regions)]
    return np.array([low for low, _ in pairs]), np.array([high for _, high in pairs])


def sample_supremum(
    question: Question, sample: int, multiplier: float, region: Region, reach: float = math.inf
) -> Supremum:
    """``phi_i(lambda)`` over points within `reach`: the best of all targets and the sample."""
    x, label = question.points[sample], question.labels[sample]
    clean = float(loss(question, x[None], label)[0])
    best, upper = Supremum(clean, clean, x, 0.0, clean), clean  # covers the hinge's flat piece
    for target in range(question.classes):
        if target != label:
            query = Query(question, sample, target, multiplier, reach, region)
            bound, points = solve_program(query)
            upper = max(upper, bound + float(question.loss == "hinge"))
            found = [_evaluate(query, multiplier, point) for point in points]
            best = max([best, *found], key=lambda one: one.lower)
    _agree(best.lower, upper)
    return replace(best, upper=max(upper, best.lower))


def sample_distance(
    question: Question, sample: int, region: Region, reach: float = math.inf
) -> tuple[float, float]:
    """Bracket of the distance to the closed error set; ``(reach, inf)`` if none is that near."""
    x, label = question.points[sample], question.labels[sample]
    if margin(question, x[None], np.array([label]))[0] >= 0:
        return 0.0, 0.0
    lower, upper = reach, INF
    for target in range(question.classes):
        if target != label:
            query = Query(question, sample, target, None, reach, region)
            bound, points = solve_program(query)
            lower = min(lower, max(0.0, -bound))
            upper = min([upper, *map(query.length, points)])
    _agree(lower, upper)
    return min(lower, upper), upper


def _agree(lower: float, upper: float) -> None:
    """Raise if a polished point contradicts the solver's bound by more than its tolerance."""
    if lower > upper + 1e-5 * max(1.0, abs(lower)):
        raise RuntimeError(f"the solver's bound {upper} contradicts the point found: {lower}")


def asymptotic_slope(question: Question, label: int, *, everywhere: bool = False) -> float:
    """``S_y = max { max_j (z0_j - z0_y)(u) : |u| <= 1, u in rec support }``, at least 0.

    ``z0`` is the network without biases; `everywhere` drops the recession cone and reports the
    upper end of the bracket instead of the lower.
    """
    cone = _whole_space() if everywhere else _recession_cone(question)
    homogeneous = replace(
        question,
        biases=[np.zeros_like(bias) for bias in question.biases],
        points=np.zeros((1, question.dimension)),
        labels=np.array([label]),
        probabilities=np.ones(1),
        loss="margin",
        order=1.0,
        **cone,
    )
    lower, upper = _pointwise_value(homogeneous, 1.0)
    return upper if everywhere else max(0.0, lower)


def _whole_space() -> dict[str, Any]:
    return {"lower": -INF, "upper": INF, "A": None, "b": None}


def _recession_cone(question: Question) -> dict[str, Any]:
    return {
        "lower": np.where(np.isfinite(question.lower), 0.0, -INF),
        "upper": np.where(np.isfinite(question.upper), 0.0, INF),
        "A": question.A,
        "b": np.zeros_like(question.b),
    }


def _pointwise_value(question: Question, radius: float) -> tuple[float, float]:
    """Order inf: ``sum_i mu_i max { loss(x) : |x - x_i| <= radius }``."""
    regions = sample_regions(question, radius)
    suprema = _suprema(question, 0.0, regions, radius)
    lower = question.probabilities @ [found.lower for found in suprema]
    upper = question.probabilities @ [found.upper for found in suprema]
    return float(lower), float(upper)


def _flip_value(question: Question, radius: float, reach: float) -> tuple[float, float]:
    """Zero-one loss: the cheapest flips first; order inf counts distances up to the radius.

    Where a distance is within 1e-9 of the radius (order inf), both answers are reported.
    """
    mu = question.probabilities
    if math.isinf(question.order):
        low, high = distances(question, reach=min(reach, 2 * radius))
        surely = (high <= radius - 1e-9) | (high <= 0)
        return float(mu @ surely), float(mu @ (low <= radius + 1e-9))
    low, high = distances(question, reach=reach)
    return _knapsack(question, radius, high), _knapsack(question, radius, low)


def _knapsack(question: Question, radius: float, lengths: Array) -> float:
    """``max sum m_i``, ``0 <= m_i <= mu_i``, ``sum m_i d_i^p <= radius^p``."""
    costs = np.stack([np.zeros(len(lengths)), lengths**question.order], axis=1)
    losses = np.stack([lengths <= 0, np.ones(len(lengths))], axis=1).astype(float)
    budget = transport_budget(question, radius)
    return transport_program(losses, costs, question.probabilities, budget)[0]


def _transport_value(question: Question, radius: float, reach: float) -> tuple[float, float]:
    """``min_lambda lambda budget + sum mu_i phi_i(lambda)`` by Kelley's method.

    Columns are atoms ``(cost, loss)``; the merge of all known ones gives the incumbent and the next
    multiplier.  Ends when bound and incumbent meet, or when no sample supplies a better atom.
    """
    budget, mu = transport_budget(question, radius), question.probabilities
    regions = sample_regions(question, reach)
    least, ray = _tail(question, reach)
    clean = loss(question, question.points, question.labels)
    atoms = np.stack([np.zeros_like(clean), clean], axis=-1)[:, None, :]  # (N, atoms, 2)
    lower, multiplier, upper, local = -INF, INF, INF, INF
    for _ in range(ROUNDS):
        lower, multiplier, _ = transport_program(
            atoms[:, :, 1], atoms[:, :, 0], mu, budget, ray=ray
        )
        found = _suprema(question, multiplier, regions, reach)
        bound = multiplier * budget + float(mu @ [one.upper for one in found])
        local = min(local, bound)
        upper = min(upper, bound) if multiplier >= least else upper
        known = (atoms[:, :, 1] - multiplier * atoms[:, :, 0]).max(axis=1)
        stale = np.all(np.array([one.lower for one in found]) <= known + 1e-11)
        if stale or local - lower <= GAP * max(1.0, abs(lower)):
            break
        new = np.array([[[one.cost, one.loss]] for one in found])
        atoms = np.concatenate([atoms, new], axis=1)
    if multiplier < least:  # what was found holds within the reach only
        found = _suprema(question, least, regions, reach)
        upper = min(upper, least * budget + float(mu @ [one.upper for one in found]))
    return lower, upper


def _suprema(
    question: Question, multiplier: float, regions: list[Region], reach: float
) -> list[Supremum]:
    pairs = enumerate(regions)
    return [sample_supremum(question, i, multiplier, region, reach) for i, region in pairs]


def _evaluate(query: Query, multiplier: float, point: Array) -> Supremum:
    """The loss at a point moved into the box and the ball: a true lower bound."""
    question = query.question
    point = np.clip(point, question.lower, question.upper)
    length = query.length(point)
    if length > query.reach:
        point = query.centre + (point - query.centre) * (query.reach / length)
        length = query.reach
    value = float(loss(question, point[None], np.array([query.label]))[0])
    cost = length**query.exponent
    return Supremum(value - multiplier * cost, INF, point, cost, value)


def _tail(question: Question, reach: float) -> tuple[float, float]:
    """Least multiplier at which nothing beyond `reach` matters, and the slope of the best ray.

    Both 0 on a bounded support; the ray is 0 for order > 1.
    """
    if np.all(np.isfinite(bounding_box(question))):
        return 0.0, 0.0
    p, T = question.order, reach
    clean = loss(question, question.points, question.labels)
    least = ray = 0.0
    for y in np.unique(question.labels):
        here = question.labels == y
        S = asymptotic_slope(question, int(y), everywhere=True)
        C = _offset(question, int(y)) + S * distance(question.norm, question.points[here], 0.0)
        C = np.maximum(C + 1.0, 0.0) if question.loss == "hinge" else C
        enough = (float((C - clean[here]).max()) + S * T) / T**p
        least = max(least, enough, S / (p * T ** (p - 1)))
        ray = max(ray, asymptotic_slope(question, int(y)) if p == 1 else 0.0)
    return least, ray


def _offset(question: Question, label: int) -> float:
    """``max_j B_j``: how far biases can move ``z_j - z_y``, by ``d <- |s| (|W| d + |b|)``."""
    moved = np.zeros(question.dimension)
    hidden = zip(question.weights, question.biases, question.slopes, strict=False)
    for W, bias, slope in hidden:
        moved = np.maximum(1.0, np.abs(slope)) * (np.abs(W) @ moved + np.abs(bias))
    W, bias = question.weights[-1], question.biases[-1]
    return float((np.abs(W - W[label]) @ moved + np.abs(bias - bias[label])).max())
