r"""Certificates: upper bounds, each with what it proves, and the asymptotic slope from below.

*cell-lipschitz* (the exact Lipschitz certificate of arXiv 2510.10000):
:math:`L_y = \max\|a\|_*` over the pieces of label ``y`` on all cells. *layer-product* needs no
cells and so does not share the enumerator with the exact value.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wdaverify.arrays import Floats
from wdaverify.bounds.lipschitz import layer_product, lipschitz_bound
from wdaverify.cells.complex import CellComplex
from wdaverify.cells.frame import Frame
from wdaverify.convex.highs import LinearProgram
from wdaverify.loss import DLR, Margin
from wdaverify.norms import GroundNorm
from wdaverify.problem import Problem
from wdaverify.tolerances import ROUNDING

__all__ = ["CERTIFICATES", "Certificate", "UpperBound", "cell_lipschitz", "certificates", "certify"]

CERTIFICATES = {
    "cell-lipschitz": "largest dual norm of a gradient over all cells; shares the enumerator",
    "layer-product": "product of the operator norms of the layers; needs no cells",
}
"""Methods and what they rest on."""


@dataclass(frozen=True, slots=True, eq=False)
class Certificate:
    """Lipschitz constants of the margin and the upper bounds that follow.

    Attributes
    ----------
    constants
        One per label, ``(K,)``; labels without samples included.
    """

    problem: Problem
    method: str
    constants: Floats

    @property
    def constant(self) -> float:
        """Largest constant among the labels that mass can have."""
        if self.problem.cost.label_cost is not None:
            return float(self.constants.max())
        return float(self.constants[list(self.problem.active_labels)].max())

    def bound(self, radius: float) -> float:
        """Upper bound on the worst-case value at a radius."""
        return lipschitz_bound(self.problem, self.constants, radius)


@dataclass(frozen=True, slots=True, eq=False)
class UpperBound:
    """The smallest certificate at one radius, and all of them by name."""

    radius: float
    value: float
    method: str
    by_method: dict[str, float]


def certify(problem: Problem, *, radius: float, cells: CellComplex | None = None) -> UpperBound:
    """Return the best certified upper bound at a radius.

    Parameters
    ----------
    cells
        With the activation cells the cell Lipschitz constant is available too.
    """
    values = {c.method: c.bound(radius) for c in certificates(problem, cells=cells)}
    best = min(values, key=lambda method: values[method])
    return UpperBound(radius, values[best], best, values)


def certificates(problem: Problem, *, cells: CellComplex | None = None) -> Sequence[Certificate]:
    """Return every certificate that applies, the one without cells last.

    For DLR no Lipschitz bound holds; its trivial bound (1 or infinity) is what they return.
    """
    norm = problem.cost.norm
    found = []
    if cells is not None and not isinstance(problem.loss, DLR):
        found.append(Certificate(problem, "cell-lipschitz", cell_lipschitz(cells, norm)))
    found.append(Certificate(problem, "layer-product", layer_product(problem.network, norm)))
    return found


def cell_lipschitz(cells: CellComplex, norm: GroundNorm) -> Floats:
    """Return the exact Lipschitz constant of each label's margin over the support, ``(K,)``."""
    network = cells.network
    constants = np.zeros(network.classes)
    # every product of weights carries a relative rounding error of at most steps · u
    size = np.eye(network.features)
    for W, s in zip(network.weights, (*network.slopes, np.ones(network.classes)), strict=True):
        size = np.maximum(1.0, np.abs(s))[:, None] * (np.abs(W) @ size)
    steps = 2 * sum(W.shape[1] + 3 for W in network.weights)
    J = cells.logit_maps.matrix
    for label in range(network.classes):
        coefficients = Margin().pieces(network.classes, label).matrix
        gradients = np.einsum("pk,dkn->dpn", coefficients, J).reshape(-1, network.features)
        constants[label] = hull_dual_length(cells.frame, norm, gradients).max()
        sizes = np.abs(coefficients) @ size
        constants[label] += steps * ROUNDING * float(norm.dual_length(sizes).max())
    return constants


def hull_dual_length(frame: Frame, norm: GroundNorm, gradients: Floats) -> Floats:
    r"""Dual norm relative to the affine hull of the support, :math:`\min_{w\perp V}\|a+w\|_*`.

    Parameters
    ----------
    gradients
        Shape ``(M, n)``.

    Returns
    -------
    ndarray
        Shape ``(M,)``.
    """
    basis = frame.basis.astype(np.float64)
    d = basis.shape[1]
    if np.array_equal(np.abs(basis).sum(axis=0), np.ones(d)) and np.isin(basis, (0.0, 1.0)).all():
        return norm.dual_length(gradients @ basis)
    if norm.name == "l2":
        orthonormal, _ = np.linalg.qr(basis)
        return norm.dual_length(gradients @ orthonormal)
    return np.array([_hull_program(basis, norm, g) for g in gradients])


def _hull_program(basis: Floats, norm: GroundNorm, gradient: Floats) -> float:
    """Solve ``max a · B u`` subject to ``‖B u‖ <= 1``."""
    n, d = basis.shape
    extra = n if norm.name == "l1" else 1
    free = np.full(d, np.inf)
    program = LinearProgram(
        np.append(-free, np.zeros(extra)), np.append(free, np.full(extra, np.inf))
    )
    shift = np.eye(n) if norm.name == "l1" else np.ones((n, 1))
    program.add_rows(np.block([[basis, -shift], [-basis, -shift]]), np.zeros(2 * n))
    program.add_rows(np.append(np.zeros(d), np.ones(extra))[None, :], np.ones(1))
    answer = program.maximize(np.append(gradient @ basis, np.zeros(extra)))
    # dual bound: a + w with w orthogonal to the hull, by the multipliers of both sides
    difference = np.maximum(answer.multipliers[:n], 0) - np.maximum(
        answer.multipliers[n : 2 * n], 0
    )
    residual = basis.T @ (gradient - difference)
    correction = np.linalg.lstsq(basis.T, residual, rcond=None)[0]
    return float(norm.dual_length(difference + correction))
