"""The transport linear program over listed candidates, and Wasserstein distances by POT.

max sum m_ia l_ia   s.t.   sum_a m_ia = mu_i,  sum m_ia c_ia <= budget,  m >= 0
"""

from dataclasses import dataclass

import numpy as np
import ot
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import linprog

from reference.question import Array, distance

TIGHT = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}


@dataclass(frozen=True, slots=True)
class Distribution:
    """Labelled atoms: points (M, n), labels (M,), masses (M,)."""

    points: Array
    labels: NDArray[np.int64]
    masses: Array


def transport_value(losses: Array, costs: Array, probabilities: Array, budget: float) -> float:
    """Largest expected loss when sample i may send mass to candidate a at unit cost ``c_ia``.

    `losses` and `costs` are (N, M); an infinite cost forbids a move.
    """
    return transport_program(losses, costs, probabilities, budget)[0]


def transport_program(
    losses: Array, costs: Array, probabilities: Array, budget: float, *, ray: float = 0.0
) -> tuple[float, float, Array]:
    """Value, multiplier of the budget row and the masses (N, M).

    A positive `ray` lets vanishing mass earn `ray` per unit of budget that is left.
    """
    N, M = losses.shape
    allowed = np.isfinite(costs).ravel() & ((budget > 0) | (costs.ravel() <= 0))
    scale = budget if budget > 0 else 1.0
    gain = np.append(losses.ravel()[allowed], ray * scale)
    spend = np.append(costs.ravel()[allowed] / scale, 1.0)
    owner = sparse.kron(sparse.eye_array(N), np.ones((1, M))).tocsc()[:, allowed]
    solution = linprog(
        -gain,
        A_ub=sparse.csr_array(spend[None, :]),
        b_ub=[budget / scale],
        A_eq=sparse.hstack([owner, sparse.csc_array((N, 1))]).tocsr(),
        b_eq=probabilities,
        method="highs",
        options=TIGHT,
    )
    if solution.status != 0:
        raise RuntimeError(f"transport program: {solution.message}")
    masses = np.zeros(N * M)
    masses[allowed] = solution.x[:-1]
    multiplier = -float(solution.ineqlin.marginals[0]) / scale
    return -float(solution.fun), multiplier, masses.reshape(N, M)


def wasserstein_cost(
    first: Distribution,
    second: Distribution,
    *,
    norm: str,
    order: float,
    label_cost: float = np.inf,
) -> float:
    """``W_order ** order`` between two labelled distributions, for finite order (POT `emd2`).

    The unit cost is ``|x' - x|^order + label_cost [y' != y]``.  Where labels may not move the
    problem falls apart by label, and the cost is infinite unless each label keeps its mass.
    """
    costs = _lengths(first, second, norm) ** order
    if np.isfinite(label_cost):
        moved = first.labels[:, None] != second.labels[None, :]
        return _emd(first.masses, second.masses, costs + label_cost * moved)
    total = 0.0
    for y in np.union1d(first.labels, second.labels):
        rows, columns = first.labels == y, second.labels == y
        total += _emd(first.masses[rows], second.masses[columns], costs[rows][:, columns])
    return total


def wasserstein_bottleneck(first: Distribution, second: Distribution, *, norm: str) -> float:
    """``W_inf``: the least r for which moves longer than r carry no mass; labels do not move.

    Bisection over the pairwise distances; each test is a transport problem with costs 0 and 1.
    """
    lengths = _lengths(first, second, norm)
    lengths[first.labels[:, None] != second.labels[None, :]] = np.inf
    values = np.append(np.unique(lengths[np.isfinite(lengths)]), np.inf)
    low, high = 0, len(values) - 1
    while low < high:
        middle = (low + high) // 2
        carried = _emd(first.masses, second.masses, (lengths > values[middle]).astype(float))
        low, high = (low, middle) if carried <= 1e-12 else (middle + 1, high)
    return float(values[low])


def move_lengths(
    samples: Distribution, atoms: Distribution, origin: NDArray[np.int64], *, norm: str
) -> Array:
    """Lengths (M,) of the moves of the plan that sends sample ``origin[a]`` to atom a.

    Raises ValueError unless the plan keeps labels and each sample's mass: then the largest length
    over positive masses bounds ``W_inf``, and ``masses @ lengths ** p`` bounds ``W_p ** p``.
    """
    sent = np.bincount(origin, weights=atoms.masses, minlength=len(samples.masses))
    if np.abs(sent - samples.masses).max() > 1e-9 or atoms.masses.min() < 0:
        raise ValueError("the atoms of some sample do not add up to its probability")
    if np.any(samples.labels[origin] != atoms.labels):
        raise ValueError("an atom has another label than its origin")
    return distance(norm, samples.points[origin], atoms.points)


def _lengths(first: Distribution, second: Distribution, norm: str) -> Array:
    return distance(norm, first.points[:, None, :], second.points[None, :, :])


def _emd(left: Array, right: Array, costs: Array) -> float:
    """Optimal transport cost; infinite where the masses differ by more than rounding."""
    if abs(left.sum() - right.sum()) > 1e-9:
        return np.inf
    if 0 in costs.shape:
        return 0.0
    balanced = right * (left.sum() / right.sum())
    return float(ot.emd2(left, balanced, np.ascontiguousarray(costs)))
