r"""LipSDP: a Lipschitz constant for l2 from one semidefinite program (Fazlyab et al., 2019).

For a hidden neuron with slopes in :math:`[s, 1]`, whatever its inputs,
:math:`(\delta h - s\,\delta z)(\delta z - \delta h) \ge 0`. With multipliers :math:`t \ge 0`, one
for each neuron (the coupled version has been disproved), and
:math:`\delta z = A v,\ \delta h = B v,\ v = (\delta x, \delta h)`:

.. math:: M(t, \rho) = A^\top T(1{+}S)B + B^\top T(1{+}S)A - 2A^\top TSA - 2B^\top TB
          + cc^\top - \rho\,\Pi_x \preceq 0
          \;\Rightarrow\; |c\cdot\delta h|^2 \le \rho\|\delta x\|^2

The solver only proposes ``t`` and ``ρ``. With the largest eigenvalue ``e`` of ``M`` recomputed, and
:math:`\|\delta h\|^2 \le H \|\delta x\|^2` from the layers' norms, :math:`\rho + \max(e, 0)(1 + H)`
is a bound whatever it proposed.
"""

import importlib.util
import math
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from wdaverify.arrays import Floats
from wdaverify.bounds.constants import head_of
from wdaverify.errors import SolverError, UnsupportedError
from wdaverify.limits import Limits
from wdaverify.network import ReLUNetwork
from wdaverify.norms import L2
from wdaverify.tolerances import ROUNDING

__all__ = ["Lifted", "Proposal", "lifted", "lipsdp", "lipsdp_refuses", "repaired"]

DENSE = 64
"""Size of the matrix up to which the interior point method is asked first."""

SLIGHT = 1.001
"""A repair by no more than this factor needs no second proposal."""


@dataclass(frozen=True, slots=True, eq=False)
class Lifted:
    """The matrices of the program.

    Attributes
    ----------
    A, B
        From ``(δx, δh)`` to ``δz`` and ``δh`` of all hidden neurons, ``(m, n + m)``.
    slopes
        Lower ends ``s`` of the sectors, ``(m,)``.
    last
        The last layer's weights, acting on ``(δx, δh)``, ``(K, n + m)``.
    features
        Dimension ``n`` of the input.
    spread
        ``H``: bounds ``‖δh‖² / ‖δx‖²``.
    """

    A: Floats
    B: Floats
    slopes: Floats
    last: Floats
    features: int
    spread: float


@dataclass(frozen=True, slots=True, eq=False)
class Proposal:
    """What a solver proposes: multipliers ``(m,)`` and the square of the constant."""

    multipliers: Floats
    square: float


def lipsdp_refuses(network: ReLUNetwork) -> str | None:
    """Return what keeps the program from a network, ``None`` if nothing does."""
    slopes = np.concatenate([*network.slopes, np.zeros(1)])
    if slopes.min() < 0 or slopes.max() > 1:
        return "it needs negative slopes within the sector [0, 1]"
    missing = [name for name in ("cvxpy", "clarabel") if importlib.util.find_spec(name) is None]
    if missing:
        return f"it needs {' and '.join(missing)}: pip install 'wdaverify[sdp]'"
    inputs = min(network.features, len(network.weights[0]))
    need, room = _gigabytes(network), _memory()
    if need > room:
        return (
            f"its matrix has {inputs + network.neurons} rows ({inputs} for the inputs, "
            f"{network.neurons} for the neurons), which take about {need:.3g} GB, found "
            f"{room:.3g} GB of memory"
        )
    return None


def lipsdp(network: ReLUNetwork, *, limits: Limits | None = None) -> Floats:
    """Return l2 Lipschitz constants of every ``z_j − z_y``, ``(K, K)``.

    Where a limit ends the work, pairs not reached have the product of the layers' norms.

    Raises
    ------
    UnsupportedError
        See :func:`lipsdp_refuses`.
    """
    refused = lipsdp_refuses(network)
    if refused is not None:
        raise UnsupportedError(f"lipsdp: {refused}")
    parts, K = lifted(network), network.classes
    small = lifted(_turned(network))
    limits = limits or Limits()
    constants = np.zeros((K, K))
    program = _Program(small) if network.neurons else None
    for y in range(K):
        for j in range(y):
            c, turned = head_of(K, y, j) @ parts.last, head_of(K, y, j) @ small.last
            value = float(np.linalg.norm(c)) * math.sqrt(max(parts.spread, 1.0))
            if program is not None and limits.reached("lipsdp") is None:
                size = float(np.linalg.norm(c)) or 1.0
                value = size * math.sqrt(_best(parts, c / size, program.proposals(turned / size)))
            constants[y, j] = constants[j, y] = value * (1.0 + 16 * ROUNDING)
    return constants


def _turned(network: ReLUNetwork) -> ReLUNetwork:
    """Return the network on the span of the first layer's rows, where it has the same constants.

    Rounded: what is proposed for it is repaired for the network itself.
    """
    W = network.weights[0]
    if W.shape[0] >= W.shape[1] or not network.neurons:
        return network
    R = np.linalg.qr(W.T)[1]
    return ReLUNetwork([R.T, *network.weights[1:]], network.biases, network.slopes)


def lifted(network: ReLUNetwork) -> Lifted:
    """Return the matrices of a network."""
    n, widths = network.features, network.widths
    m = sum(widths)
    A, B = np.zeros((m, n + m)), np.hstack([np.zeros((m, n)), np.eye(m)])
    row, column, gain, spread = 0, 0, 1.0, 0.0
    for W in network.weights[:-1]:
        A[row : row + len(W), column : column + W.shape[1]] = W
        column = n + row
        row += len(W)
        gain *= L2().operator_norm(W) ** 2 * (1.0 + 64 * max(W.shape) * ROUNDING)
        spread += gain
    last = np.zeros((network.classes, n + m))
    last[:, column : column + network.weights[-1].shape[1]] = network.weights[-1]
    slopes = np.concatenate([*network.slopes, np.zeros(0)])
    return Lifted(A, B, slopes, last, n, spread)


def repaired(parts: Lifted, head: Floats, proposal: Proposal) -> float:
    """Return a proved bound on the square of the constant.

    Parameters
    ----------
    head
        ``c``, acting on ``(δx, δh)``, ``(n + m,)``.
    """
    t = np.maximum(proposal.multipliers, 0.0)
    rho = max(proposal.square, 0.0)
    if not (np.isfinite(t).all() and math.isfinite(rho)):
        return math.inf
    M = _matrix(parts, head, t, rho)
    largest = float(np.linalg.eigvalsh(M)[-1])
    summands = _matrix(parts, head, t, rho, absolute=True)
    error = (8.0 * len(M) + 64.0) * ROUNDING * float(np.linalg.norm(summands))
    return rho + max(largest + error, 0.0) * (1.0 + parts.spread)


def _best(parts: Lifted, head: Floats, proposals: Iterator[Proposal]) -> float:
    """Return the smallest repaired bound; the first that needs little repair will do."""
    best, some = math.inf, False
    for proposal in proposals:
        value, some = repaired(parts, head, proposal), True
        best = min(best, value)
        if value <= SLIGHT * proposal.square:
            break
    if not some:
        raise SolverError("lipsdp: neither Clarabel nor SCS proposed multipliers")
    return best


def _matrix(
    parts: Lifted, head: Floats, t: Floats, rho: float, *, absolute: bool = False
) -> Floats:
    """Return ``M(t, ρ)``, or the sum of its summands' absolute values."""
    A, B, s, sign = parts.A, parts.B, parts.slopes, 1.0
    if absolute:
        A, head, sign = np.abs(A), np.abs(head), -1.0
    mixed = A.T @ (((1.0 + s) * t)[:, None] * B)
    M = mixed + mixed.T - sign * 2.0 * (A.T @ ((s * t)[:, None] * A) + B.T @ (t[:, None] * B))
    M = M + np.outer(head, head)
    k = np.arange(parts.features)
    M[k, k] -= sign * rho
    return np.asarray(M)


class _Program:
    """The semidefinite program, with the output as a parameter."""

    def __init__(self, parts: Lifted) -> None:
        cp = _cvxpy()
        self._cp, size = cp, parts.A.shape[1]
        A, B, s = parts.A, parts.B, parts.slopes
        self._t = cp.Variable(len(s), nonneg=True)
        self._rho = cp.Variable(nonneg=True)
        self._outer = cp.Parameter((size, size), PSD=True)
        T = cp.diag(self._t)
        mixed = A.T @ T @ np.diag(1.0 + s) @ B
        inputs = np.diag(np.append(np.ones(parts.features), np.zeros(len(s))))
        M = mixed + mixed.T - 2 * A.T @ T @ np.diag(s) @ A - 2 * B.T @ T @ B
        M = M + self._outer - self._rho * inputs
        slack = cp.Variable((size, size), PSD=True)
        self._problem = cp.Problem(cp.Minimize(self._rho), [(M + M.T) / 2 + slack == 0])
        self._solvers = ("CLARABEL", "SCS") if size <= DENSE else ("SCS", "CLARABEL")

    def proposals(self, head: Floats) -> Iterator[Proposal]:
        """Ask one solver after the other."""
        self._outer.value = np.outer(head, head)
        for solver in self._solvers:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # an inaccurate proposal is repaired anyway
                    self._problem.solve(solver=solver, **_OPTIONS[solver])
            except self._cp.error.SolverError:
                continue
            if self._t.value is not None and self._rho.value is not None:
                yield Proposal(np.asarray(self._t.value), float(self._rho.value))


_OPTIONS: dict[str, dict[str, Any]] = {
    "CLARABEL": {},
    "SCS": {"eps": 1e-7, "max_iters": 2_500},
}


def _cvxpy() -> Any:  # noqa: ANN401  (a module that need not be installed)
    import cvxpy  # noqa: PLC0415  (an extra, and slow to import)

    return cvxpy


def _gigabytes(network: ReLUNetwork) -> float:
    """Estimate the memory of the program: its rows as cvxpy builds them, and a dense factor."""
    m = network.neurons
    size = min(network.features, len(network.weights[0])) + m
    svec = size * (size + 1) / 2
    filled = sum((W.shape[1] + 1.0) ** 2 * len(W) for W in network.weights[:-1])
    factor = 8.0 * svec**2 if size <= DENSE else 0.0
    return float(1e-9 * (32.0 * m * m * size + 100.0 * filled + factor))


def _memory() -> float:
    """Physical memory in gigabytes."""
    return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")) / 1e9
