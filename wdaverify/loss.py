r"""Losses of a classifier, each a function of the logits ``z`` and a label ``y``.

The piecewise affine ones are a maximum of *pieces* ``coefficients · z + offset`` (on every cell
an affine function of the input), which is all that the exact engine asks of them.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Final, SupportsIndex, final

import numpy as np

from wdaverify.arrays import Floats, Integers, floats
from wdaverify.errors import ProblemError, UnsupportedError
from wdaverify.network import AffineMap
from wdaverify.registry import Registry, is_extension

__all__ = [
    "DLR",
    "LOSSES",
    "CrossEntropy",
    "Hinge",
    "Loss",
    "Margin",
    "MaxAffineLoss",
    "TruncatedDLR",
    "ZeroOne",
    "loss_named",
]


class Loss(ABC):
    """A loss ``ℓ(z, y)``, stateless."""

    name: ClassVar[str]
    classes: ClassVar[int] = 2
    """Smallest number of classes for which the loss is defined."""
    lipschitz: ClassVar[bool] = True
    """Whether the loss is Lipschitz: with the constant of the margin, or that of its pieces."""
    piecewise_affine: ClassVar[bool] = False
    """Whether the loss is the maximum of its :meth:`pieces`."""
    of_margin: ClassVar[bool] = False
    """Whether the loss rises with the margin, nowhere faster than it."""

    @abstractmethod
    def evaluate(self, logits: Floats, labels: Integers) -> Floats:
        """Loss of each sample: logits ``(N, K)``, labels ``(N,)`` -> ``(N,)``."""

    def pieces(self, classes: int, label: int) -> AffineMap:
        """Return the affine functions of the logits whose maximum is the loss.

        Returns
        -------
        AffineMap
            Matrix ``(pieces, K)`` and offset ``(pieces,)``.

        Raises
        ------
        UnsupportedError
            The loss is not a maximum of affine functions of the logits.
        """
        raise UnsupportedError(
            f"loss {self.name!r} of label {label} ({classes} classes) is not a maximum of affine "
            f"functions; expected margin, hinge or another that is"
        )

    def check(self, classes: int) -> None:
        """Complain about a loss that makes no sense for a number of classes.

        Raises
        ------
        ProblemError
            Too few classes; for a :class:`~wdaverify.loss.MaxAffineLoss` also pieces of a wrong
            form.
        """
        if self.classes > classes:
            raise ProblemError(
                f"loss: {self.name} needs at least {self.classes} classes, the network has "
                f"{classes}"
            )

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:  # noqa: ANN401
        if is_extension(type(self).__module__):  # found by name where it is not importable yet
            return loss_named, (self.name,)
        return super().__reduce_ex__(protocol)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Loss) and type(self) is type(other) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)


class MaxAffineLoss(Loss):
    r"""The maximum of affine functions of the logits: to add one, define ``name`` and ``pieces``.

    .. math:: \ell(z, y) = \max_p\; (C_y z + c_y)_p

    Everything else follows from the pieces: evaluation, gradients, exact sub-problems, Lipschitz
    constants.
    """

    piecewise_affine = True

    @abstractmethod
    def pieces(self, classes: int, label: int) -> AffineMap:
        """Return ``C`` of shape ``(pieces, K)`` and ``c`` of shape ``(pieces,)`` of a label."""

    def check(self, classes: int) -> None:
        """Complain about pieces that fail, have another shape or are not the loss.

        Raises
        ------
        ProblemError
            Names the loss, the classes and the label.
        """
        super().check(classes)
        logits = np.random.default_rng(0).standard_normal((4, classes))
        for label in range(classes):
            where = f"loss {self.name}: pieces({classes}, {label})"
            C, c = self._shaped(where, classes, label)
            values = self.evaluate(logits, np.full(len(logits), label))
            if not np.allclose(values, (logits @ C.T + c).max(axis=1), rtol=1e-9, atol=1e-9):
                raise ProblemError(f"{where}: evaluate is not the maximum of the pieces")

    def _shaped(self, where: str, classes: int, label: int) -> tuple[Floats, Floats]:
        try:
            C, c = self.pieces(classes, label)
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise ProblemError(f"{where}: expected C and c, found {error!r}") from None
        C, c = floats(C, f"{where}: C", ndim=2), floats(c, f"{where}: c", ndim=1)
        if len(c) == 0 or C.shape != (len(c), classes):
            raise ProblemError(
                f"{where}: expected shapes (pieces, {classes}) and (pieces,), found {C.shape} and "
                f"{c.shape}"
            )
        return C, c

    def evaluate(self, logits: Floats, labels: Integers) -> Floats:  # noqa: D102
        values = np.zeros(len(labels))
        for label in np.unique(labels):
            C, c = self.pieces(logits.shape[1], int(label))
            rows = labels == label
            values[rows] = (logits[rows] @ C.T + c).max(axis=1)
        return values


def margins(logits: Floats, labels: Integers) -> Floats:
    """Return ``max_{j≠y} z_j − z_y`` of each sample: ``(N, K), (N,) -> (N,)``."""
    rows = np.arange(len(labels))
    others = np.array(logits)
    others[rows, labels] = -np.inf
    values: Floats = others.max(axis=1) - logits[rows, labels]
    return values


@final
class Margin(Loss):
    """``max_{j≠y} z_j − z_y``: positive where the network errs."""

    name = "margin"
    piecewise_affine = of_margin = True

    def evaluate(self, logits: Floats, labels: Integers) -> Floats:  # noqa: D102
        return margins(logits, labels)

    def pieces(self, classes: int, label: int) -> AffineMap:  # noqa: D102
        others = [j for j in range(classes) if j != label]
        matrix = np.eye(classes)[others]
        matrix[:, label] = -1.0
        return AffineMap(matrix, np.zeros(classes - 1))


@final
class Hinge(Loss):
    """``max(0, 1 + margin)``."""

    name = "hinge"
    piecewise_affine = of_margin = True

    def evaluate(self, logits: Floats, labels: Integers) -> Floats:  # noqa: D102
        return np.maximum(0.0, 1.0 + margins(logits, labels))

    def pieces(self, classes: int, label: int) -> AffineMap:  # noqa: D102
        matrix, offset = Margin().pieces(classes, label)
        flat = np.zeros((1, classes))
        return AffineMap(np.concatenate([matrix, flat]), np.append(offset + 1.0, 0.0))


@final
class ZeroOne(Loss):
    """``1[margin ≥ 0]``: a tie counts as an error, so the error set is closed."""

    name = "zero-one"
    lipschitz = False

    def evaluate(self, logits: Floats, labels: Integers) -> Floats:  # noqa: D102
        return (margins(logits, labels) >= 0).astype(np.float64)


@final
class CrossEntropy(Loss):
    """``log Σ_j exp(z_j − z_y)``."""

    name = "cross-entropy"

    def evaluate(self, logits: Floats, labels: Integers) -> Floats:  # noqa: D102
        differences = logits - logits[np.arange(len(labels)), labels][:, None]
        top = differences.max(axis=1, keepdims=True)
        losses: Floats = top[:, 0] + np.log(np.exp(differences - top).sum(axis=1))
        return losses


class DLR(Loss):
    """Difference-of-logits ratio ``margin / (z_(1) − z_(3))``, logits in falling order.

    At ``0/0`` (three logits tie at the top) the upper-semicontinuous closure is taken: infinity
    where the label lies below them or a fourth logit ties too, else 1.
    """

    name = "dlr"
    classes = 3
    lipschitz = False

    def evaluate(self, logits: Floats, labels: Integers) -> Floats:  # noqa: D102
        top = -np.sort(-logits, axis=1)
        spread = top[:, 0] - top[:, 2]
        margin = margins(logits, labels)
        ties = (logits == top[:, :1]).sum(axis=1)
        limit = np.where((margin > 0) | (ties > 3), np.inf, 1.0)
        safe = np.where(spread > 0, spread, 1.0)
        return np.where(spread > 0, margin / safe, limit)


@final
class TruncatedDLR(DLR):
    """``min(dlr, 1)``."""

    name = "truncated-dlr"

    def evaluate(self, logits: Floats, labels: Integers) -> Floats:  # noqa: D102
        return np.minimum(super().evaluate(logits, labels), 1.0)


LOSSES: Final[Registry[Loss]] = Registry(
    "loss",
    (
        (loss.name, loss)
        for loss in (Margin(), Hinge(), CrossEntropy(), DLR(), TruncatedDLR(), ZeroOne())
    ),
)


def loss_named(name: str) -> Loss:
    """Return the loss called ``name``.

    Raises
    ------
    ProblemError
        No such loss.
    """
    return LOSSES.named(name)
