r"""The question: a network, an empirical measure, a loss, a transport cost and a support.

.. math:: v_p(\varepsilon) = \sup\{\, \mathbb{E}_P\,\ell : W_p(P, P_N) \le \varepsilon \,\},
          \qquad P_N = \sum_i \mu_i\, \delta_{(x_i, y_i)}
"""

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace as _replace
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from wdaverify.arrays import Floats, Integers, floats, integers
from wdaverify.cost import TransportCost
from wdaverify.errors import ProblemError
from wdaverify.loss import Loss, loss_named
from wdaverify.network import ReLUNetwork
from wdaverify.samples import class_indices, flattened, separated, values_of
from wdaverify.support import Box, Support

if TYPE_CHECKING:
    import torch

__all__ = ["Problem"]


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """Everything but the radius.

    Parameters
    ----------
    network
        A :class:`~wdaverify.network.ReLUNetwork` with ``n`` inputs and ``K`` logits.
    points
        Samples, shape ``(N, n)``, inside the support.
    labels
        Class of each sample, ``0 … K−1``, shape ``(N,)``.
    loss
        Name of a loss or a :class:`~wdaverify.loss.Loss`.
    cost
        Transport cost; l∞ and order 1 when omitted.
    support
        Where mass may move; the whole space when omitted.
    weights
        Non-negative, shape ``(N,)``; normalised exactly. Uniform when omitted.
    name
        For messages and reports.

    Raises
    ------
    ProblemError
        Wrong shapes, labels out of range, points outside the support (how many, the first, by
        how much), negative or vanishing weights, no data, too few classes for the loss,
        a norm with scales for another number of features.
    """

    network: ReLUNetwork
    points: Floats
    labels: Integers
    loss: Loss
    cost: TransportCost
    support: Support
    weights: Floats
    name: str

    def __init__(  # noqa: PLR0913  (these are the parts of the question)
        self,
        network: ReLUNetwork,
        points: npt.ArrayLike,
        labels: npt.ArrayLike,
        *,
        loss: str | Loss = "margin",
        cost: TransportCost | None = None,
        support: Support | None = None,
        weights: npt.ArrayLike | None = None,
        name: str = "problem",
    ) -> None:
        X = floats(points, "points", ndim=2)
        y = integers(labels, "labels")
        w = floats(np.ones(len(X)) if weights is None else weights, "weights", ndim=1)
        loss = loss if isinstance(loss, Loss) else loss_named(loss)
        support = (support or Box()).bind(network.features)
        _check_shapes(network, X, y, w)
        _check_values(network, y, w, loss)
        cost = cost or TransportCost()
        cost.norm.check(network.features)
        _check_inside(support, X)
        values = (network, X, y, loss, cost, support, w, name)
        for key, value in zip(self.__slots__, values, strict=True):
            object.__setattr__(self, key, value)

    @classmethod
    def from_torch(  # noqa: PLR0913  (the parts of the question, and how to read two of them)
        cls,
        model: "torch.nn.Module",
        X: Any,  # noqa: ANN401
        y: Any,  # noqa: ANN401
        *,
        input_shape: tuple[int, ...] | None = None,
        classes: Sequence[str] | None = None,
        loss: str | Loss = "margin",
        cost: TransportCost | None = None,
        support: Support | None = None,
        weights: npt.ArrayLike | None = None,
        name: str = "problem",
    ) -> "Problem":
        """Return the question about a torch model and data as they are.

        The model is read as it computes in evaluation mode; its own training mode, and that of
        each of its parts, stays what it is. Weights and points of float32 lift to float64 exactly.

        Parameters
        ----------
        model
            Piecewise affine, from inputs to logits; layers inside it that scale inputs count.
        X
            Numpy array, torch tensor or pandas data frame of shape ``(N, n)``, or ``(N, C, H, W)``
            for images, which are flattened in C order.
        y
            Class of each sample, shape ``(N,)`` or one-hot ``(N, K)``, or the name of a column of
            the data frame ``X``. Names of classes stand for the logits in sorted order.
        input_shape
            Shape of one sample, where the model takes another one than ``X`` has.
        classes
            Names of the classes, in the order of the logits.
        loss, cost, support, weights, name
            As in :class:`Problem`.

        Raises
        ------
        ProblemError
            Shapes that do not fit, missing values, labels that are none of the K classes, and
            whatever :class:`Problem` refuses.
        UnsupportedError
            A layer that is not piecewise affine or not known; the message names it.

        Examples
        --------
        >>> import torch
        >>> _ = torch.manual_seed(0)
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> images = torch.rand(3, 1, 2, 2)
        >>> problem = Problem.from_torch(model, images, [0, 1, 1], support=Box(0.0, 1.0))
        >>> len(problem), problem.network.features
        (3, 4)
        """
        X, y = separated(X, y)
        points, shape = flattened(X, input_shape)
        network = ReLUNetwork.from_torch(model, input_shape=shape)
        return cls(
            network,
            points,
            class_indices(y, network.classes, classes).indices,
            loss=loss,
            cost=cost,
            support=support,
            weights=None if weights is None else values_of(weights, "weights"),
            name=name,
        )

    def __len__(self) -> int:
        return len(self.points)

    @property
    def exact_probabilities(self) -> tuple[Fraction, ...]:
        """``w_i / Σ w`` as rationals."""
        return _normalised(self.weights.tobytes())[0]

    @property
    def probabilities(self) -> Floats:
        """``μ_i``, the exact probabilities rounded to float64, shape ``(N,)``."""
        return _normalised(self.weights.tobytes())[1]

    @property
    def active(self) -> Integers:
        """Indices of the samples of positive weight."""
        return np.flatnonzero(self.weights > 0)

    @property
    def active_labels(self) -> tuple[int, ...]:
        """Labels that occur with positive weight, in rising order."""
        return tuple(int(v) for v in np.unique(self.labels[self.active]))

    @property
    def possible_labels(self) -> tuple[int, ...]:
        """Labels that mass can have: those of the samples, all where labels move."""
        if self.cost.label_cost is not None:
            return tuple(range(self.network.classes))
        return self.active_labels

    @property
    def nominal_losses(self) -> Floats:
        """Loss of each sample where it is, shape ``(N,)``."""
        return self.evaluate(self.points, self.labels)

    @property
    def nominal(self) -> float:
        """Nominal risk ``Σ μ_i ℓ(x_i, y_i)``."""
        return float(self.probabilities @ self.nominal_losses)

    def evaluate(self, points: Floats, labels: Integers) -> Floats:
        """Loss in float64: points ``(N, n)``, labels ``(N,)`` -> ``(N,)``."""
        return self.loss.evaluate(self.network.logits(points), labels)

    def replace(self, **changes: Any) -> "Problem":  # noqa: ANN401
        """Return a copy with some parts changed, checked again."""
        return _replace(self, **changes)

    def head(self, samples: int) -> "Problem":
        """Return the problem of the first ``samples`` samples.

        Raises
        ------
        ProblemError
            ``samples`` is not between 1 and ``N``.
        """
        if not 1 <= samples <= len(self):
            raise ProblemError(f"samples: expected 1 to {len(self)}, found {samples}")
        return self.replace(
            points=self.points[:samples],
            labels=self.labels[:samples],
            weights=self.weights[:samples],
        )


@lru_cache(maxsize=8)
def _normalised(weights: bytes) -> tuple[tuple[Fraction, ...], Floats]:
    """Return weights divided by their sum, exactly and rounded."""
    exact = [Fraction(v) for v in np.frombuffer(weights).tolist()]
    total = sum(exact)
    shares = tuple(v / total for v in exact)
    rounded = np.array([float(v) for v in shares])
    rounded.flags.writeable = False
    return shares, rounded


def _check_shapes(network: ReLUNetwork, X: Floats, y: Integers, w: Floats) -> None:
    if len(X) == 0:
        raise ProblemError(f"points: expected at least one sample, found shape {X.shape}")
    if X.shape[1] != network.features:
        raise ProblemError(
            f"points: shape {X.shape} does not fit the network, which has "
            f"{network.features} inputs (W0 has shape {network.weights[0].shape})"
        )
    for name, array in (("labels", y), ("weights", w)):
        if array.shape != (len(X),):
            raise ProblemError(
                f"{name}: shape {array.shape} does not fit points of shape {X.shape}"
            )


def _check_values(network: ReLUNetwork, y: Integers, w: Floats, loss: Loss) -> None:
    K = network.classes
    bad = np.flatnonzero((y < 0) | (y >= K))
    if len(bad):
        raise ProblemError(
            f"labels: expected 0 to {K - 1} (the network has {K} logits), "
            f"found {y[bad[0]]} at index {bad[0]}"
        )
    bad = np.flatnonzero(w < 0)
    if len(bad):
        raise ProblemError(f"weights: expected >= 0, found {w[bad[0]]:g} at index {bad[0]}")
    if not w.any():
        raise ProblemError("weights: expected at least one positive weight, found only zeros")
    loss.check(K)


def _check_inside(support: Support, X: Floats) -> None:
    excess = support.excess(X)
    outside = np.flatnonzero(excess > 0)
    if len(outside):
        first = outside[0]
        raise ProblemError(
            f"points: {len(outside)} of {len(X)} lie outside the support ({support.describe()}), "
            f"the first at index {first} by {excess[first]:.3g}; "
            f"move them or set clip = true in [data]"
        )
