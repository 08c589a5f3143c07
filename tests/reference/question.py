"""The question that every oracle answers, with a forward pass, losses and distances of its own."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LOSSES = ("margin", "hinge", "zero-one", "cross-entropy", "dlr", "truncated-dlr")
RATIOS = ("dlr", "truncated-dlr")
DUAL_ORDER = {"l1": np.inf, "l2": 2.0, "linf": 1.0}
NORM_ORDER = {"l1": 1.0, "l2": 2.0, "linf": np.inf}


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """``sup { E_P loss : W_order(P, P_N) <= radius }`` for one network and one data set.

    Attributes
    ----------
    weights, biases : one (out, in) and one (out,) array per layer; activations lie between layers.
    points, labels, probabilities : (N, n), (N,) and (N,); probabilities default to 1/N.
    loss : ``margin``, ``hinge``, ``zero-one`` (a tie counts as an error), ``cross-entropy``, and
        for K >= 3 ``dlr`` or ``truncated-dlr``.
    norm : ``l1``, ``l2`` or ``linf``.
    order : 1 <= order <= inf.
    lower, upper : (n,) or a number, infinite by default.
    A, b : polytope rows ``A x <= b``, (m, n) and (m,), none by default.
    slopes : one number or array per hidden layer, the slope left of zero; 0 (ReLU) by default.
    label_cost : price of moving mass to another label, infinite (forbidden) by default; `milp`
        refuses a finite one.
    """

    weights: Sequence[Array]
    biases: Sequence[Array]
    points: Array
    labels: NDArray[np.int64]
    probabilities: Any = None
    loss: str = "margin"
    norm: str = "linf"
    order: float = 1.0
    lower: Any = -np.inf
    upper: Any = np.inf
    A: Any = None
    b: Any = None
    slopes: Any = None
    label_cost: float = np.inf

    def __post_init__(self) -> None:
        if self.loss not in LOSSES or self.norm not in NORM_ORDER or not self.order >= 1:
            raise ValueError(f"unknown loss, norm or order: {self.loss}, {self.norm}, {self.order}")
        if math.isfinite(self.label_cost) and math.isinf(self.order):
            raise ValueError("a label cost needs a finite order")
        self._put("weights", [np.asarray(W, dtype=float) for W in self.weights])
        self._put("biases", [np.asarray(bias, dtype=float) for bias in self.biases])
        if self.loss in RATIOS and self.classes < 3:
            raise ValueError(f"{self.loss} needs three classes")
        n = self.weights[0].shape[1]
        self._put("points", np.asarray(self.points, dtype=float).reshape(-1, n))
        self._put("labels", np.asarray(self.labels, dtype=int))
        N = len(self.points)
        uniform = np.full(N, 1.0 / N)
        given = self.probabilities
        self._put("probabilities", uniform if given is None else np.asarray(given, dtype=float))
        self._put("lower", np.broadcast_to(np.asarray(self.lower, dtype=float), (n,)))
        self._put("upper", np.broadcast_to(np.asarray(self.upper, dtype=float), (n,)))
        self._put("A", np.zeros((0, n)) if self.A is None else np.asarray(self.A, dtype=float))
        self._put("b", np.zeros(0) if self.b is None else np.asarray(self.b, dtype=float))
        self._put("slopes", _slopes(self.weights, self.slopes))

    def _put(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    @property
    def dimension(self) -> int:
        """Number n of features."""
        return int(self.points.shape[1])

    @property
    def classes(self) -> int:
        """Number K of logits."""
        return len(self.biases[-1])


def _slopes(weights: Sequence[Array], slopes: Any) -> list[Array]:
    widths = [len(W) for W in weights[:-1]]
    given = [0.0] * len(widths) if slopes is None else slopes
    pairs = zip(given, widths, strict=True)
    return [np.broadcast_to(np.asarray(slope, dtype=float), (width,)) for slope, width in pairs]


def preactivations(question: Question, points: Array) -> list[Array]:
    """Values before each activation, and last the logits: a list of (N, width) arrays."""
    values = []
    h = np.asarray(points, dtype=float).reshape(-1, question.dimension)
    for k, (W, bias) in enumerate(zip(question.weights, question.biases, strict=True)):
        z = h @ W.T + bias
        values.append(z)
        if k < len(question.slopes):
            h = np.where(z > 0, z, question.slopes[k] * z)
    return values


def forward(question: Question, points: Array) -> Array:
    """Logits, (N, K)."""
    return preactivations(question, points)[-1]


def activation_pattern(question: Question, point: Array) -> tuple[int, ...]:
    """1 where a hidden pre-activation is positive, 0 elsewhere, layers concatenated."""
    hidden = preactivations(question, point)[:-1]
    return tuple(int(value > 0) for z in hidden for value in z[0])


def margin(question: Question, points: Array, labels: NDArray[np.int64]) -> Array:
    """``max_{j != y} z_j - z_y``, (N,)."""
    logits = forward(question, points)
    rows = np.arange(len(logits))
    own = logits[rows, labels].copy()
    logits[rows, labels] = -np.inf
    return logits.max(axis=1) - own


def loss(question: Question, points: Array, labels: NDArray[np.int64]) -> Array:
    """The loss of the question at points with labels, (N,)."""
    logits = forward(question, points)
    return loss_of_logits(question.loss, logits, np.broadcast_to(labels, (len(logits),)))


def loss_of_logits(name: str, logits: Array, labels: NDArray[np.int64]) -> Array:
    """A loss by name: (N, K) logits and (N,) labels to (N,)."""
    own = np.take_along_axis(logits, labels[:, None], axis=1)
    differences = logits - own
    others = np.where(np.arange(logits.shape[1]) == labels[:, None], -np.inf, differences)
    m = others.max(axis=1)
    if name == "margin":
        return np.asarray(m)
    if name == "hinge":
        return np.asarray(np.maximum(0.0, 1.0 + m))
    if name == "zero-one":
        return np.asarray(m >= 0, dtype=float)
    if name == "cross-entropy":
        return np.asarray(np.logaddexp.reduce(differences, axis=1))
    ratio = _ratio(np.sort(logits, axis=1)[:, ::-1], m)
    return ratio if name == "dlr" else np.minimum(ratio, 1.0)


def _ratio(falling: Array, m: Array) -> Array:
    """``margin / (first - third)``; where those tie, the largest limit of nearby ratios."""
    spread = falling[:, 0] - falling[:, 2]
    tied = (falling == falling[:, :1]).sum(axis=1)
    limit = np.where((m > 0) | (tied > 3), np.inf, 1.0)
    return np.asarray(np.where(spread > 0, m / np.where(spread > 0, spread, 1.0), limit))


def distance(norm: str, points: Array, others: Array | float) -> Array:
    """``|points - others|`` over the last axis, shapes broadcast."""
    return np.linalg.norm(points - others, ord=NORM_ORDER[norm], axis=-1)


def nominal(question: Question) -> float:
    """``sum_i mu_i loss(x_i, y_i)``."""
    return float(question.probabilities @ loss(question, question.points, question.labels))


def transport_budget(question: Question, radius: float) -> float:
    """``radius ** order``, for finite order."""
    if math.isinf(question.order):
        raise ValueError("order inf has no budget: it bounds every move by the radius")
    return float(radius**question.order)


def support_rows(question: Question) -> tuple[Array, Array]:
    """All rows ``A x <= b`` of the support: polytope rows, then the finite bounds of the box."""
    eye = np.eye(question.dimension)
    above, below = np.isfinite(question.upper), np.isfinite(question.lower)
    A = np.vstack([question.A, eye[above], -eye[below]])
    return A, np.concatenate([question.b, question.upper[above], -question.lower[below]])
