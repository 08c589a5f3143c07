r"""Affine pieces of the loss: one for each cell and each affine function of the logits.

For label ``y`` the loss on cell ``D`` is the maximum of ``a · x + b`` over its pieces. For the
zero-one loss a piece is the part of the cell where class ``j`` beats the label, ``a · x + b >= 0``,
and what is maximised there is minus the distance.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from wdaverify.arrays import Floats, Integers
from wdaverify.cells.complex import CellComplex
from wdaverify.exact.majorants import Majorants, Part, stacked
from wdaverify.exact.ratio import RatioMajorants
from wdaverify.exact.softmax import SoftmaxMajorants
from wdaverify.loss import DLR, CrossEntropy, Loss, Margin, TruncatedDLR, ZeroOne
from wdaverify.network import AffineMap
from wdaverify.support import Box

__all__ = ["Pieces", "distance_pieces", "loss_pieces"]


@dataclass(frozen=True, slots=True, eq=False)
class Pieces:
    """The pieces of one label.

    Attributes
    ----------
    cells, targets
        Cell of each piece and which affine function of the logits it carries there, ``(P,)``.
    gradients, offsets
        What is maximised on the piece, ``(P, n)`` and ``(P,)``.
    thresholds
        Half-space ``a · x + b >= 0`` that the piece adds to its cell, as (``(P, n)``, ``(P,)``), or
        ``None``.
    parts, majorants
        For a loss that is no maximum of affine functions: the part of its cell that each piece is,
        with gradient and offset of an affine majorant, and how to improve it.
    """

    label: int
    cells: Integers
    targets: Integers
    gradients: Floats
    offsets: Floats
    thresholds: AffineMap | None = None
    parts: tuple[Part, ...] = ()
    majorants: Majorants | None = None

    @classmethod
    def of_parts(cls, label: int, parts: Sequence[Part], majorants: Majorants) -> "Pieces":
        """Return parts as pieces."""
        return cls(
            label,
            np.array([part.cell for part in parts], dtype=np.int64),
            np.array([part.kind for part in parts], dtype=np.int64),
            np.array([part.gradient for part in parts]),
            np.array([part.offset for part in parts]),
            parts=tuple(parts),
            majorants=majorants,
        )

    @property
    def infinite(self) -> Floats | None:
        """A point of the support at which the loss is infinite, ``(n,)``, if there is one."""
        return None if self.majorants is None else self.majorants.infinite

    def __len__(self) -> int:
        return len(self.cells)

    def extended(self, parts: Sequence[Part]) -> "Pieces":
        """Return these pieces and more parts."""
        assert self.majorants is not None
        more = Pieces.of_parts(self.label, parts, self.majorants)
        return Pieces(
            self.label,
            np.concatenate([self.cells, more.cells]),
            np.concatenate([self.targets, more.targets]),
            np.concatenate([self.gradients, more.gradients]),
            np.concatenate([self.offsets, more.offsets]),
            parts=self.parts + more.parts,
            majorants=self.majorants,
        )

    def improved(self, piece: int, part: Part) -> "Pieces":
        """Return the pieces with another majorant of one of them."""
        gradients, offsets = self.gradients.copy(), self.offsets.copy()
        gradients[piece], offsets[piece] = part.gradient, part.offset
        parts = (*self.parts[:piece], part, *self.parts[piece + 1 :])
        return replace(self, gradients=gradients, offsets=offsets, parts=parts)

    def rows(self, complex_: CellComplex, piece: int) -> AffineMap:
        """Half-spaces ``G x <= h`` of a piece, the support's own rows apart."""
        cell = complex_[int(self.cells[piece])].half_spaces
        if self.parts:
            return stacked(cell, self.parts[piece].rows)
        if self.thresholds is None:
            return cell
        a, b = self.thresholds.matrix[piece], self.thresholds.offset[piece]
        length = float(np.linalg.norm(a)) or 1.0
        return AffineMap(
            np.concatenate([cell.matrix, -a[None, :] / length]), np.append(cell.offset, b / length)
        )

    def base(self, complex_: CellComplex, piece: int) -> Floats:
        """Return a point of a piece from which its rays start, ``(n,)``."""
        base = self.parts[piece].base if self.parts else None
        return complex_[int(self.cells[piece])].interior if base is None else base

    def select(self, keep: Integers) -> "Pieces":
        """Return some of the pieces."""
        thresholds = self.thresholds
        if thresholds is not None:
            thresholds = AffineMap(thresholds.matrix[keep], thresholds.offset[keep])
        return Pieces(
            self.label,
            self.cells[keep],
            self.targets[keep],
            self.gradients[keep],
            self.offsets[keep],
            thresholds,
            tuple(self.parts[k] for k in keep.tolist()) if self.parts else (),
            self.majorants,
        )


def loss_pieces(complex_: CellComplex, loss: Loss, label: int) -> Pieces:
    """Return the pieces of a loss.

    Raises
    ------
    UnsupportedError
        The loss is not a maximum of affine functions of the logits.
    """
    if isinstance(loss, CrossEntropy):
        majorants = SoftmaxMajorants(complex_, label)
        return Pieces.of_parts(label, majorants.parts(), majorants)
    if isinstance(loss, DLR):
        truncated = isinstance(loss, TruncatedDLR)
        ratios = RatioMajorants(complex_, label, truncated=truncated)
        return Pieces.of_parts(label, ratios.parts(), ratios)
    C, c = loss.pieces(complex_.network.classes, label)
    J, z = complex_.logit_maps
    gradients = np.einsum("pk,dkn->dpn", C, J).reshape(-1, J.shape[2])
    offsets = (z @ C.T + c).reshape(-1)
    cells = np.repeat(np.arange(len(complex_)), len(C))
    targets = np.tile(np.arange(len(C)), len(complex_))
    return Pieces(label, cells, targets, *_without_fixed_features(complex_, gradients, offsets))


def asymptotic_pieces(complex_: CellComplex, loss: Loss, label: int) -> Pieces:
    """Return affine pieces whose slopes along rays are those of the loss.

    For margin, hinge and cross-entropy their gradients also bound the gradient of the loss.
    """
    if isinstance(loss, CrossEntropy):
        return loss_pieces(complex_, Margin(), label)
    if isinstance(loss, DLR):
        ratios = RatioMajorants(complex_, label, truncated=isinstance(loss, TruncatedDLR))
        parts = [] if ratios.bounded or ratios.compact else ratios.growing()
        if parts:
            return Pieces.of_parts(label, parts, ratios)
        margin = loss_pieces(complex_, Margin(), label)
        zeros = np.zeros_like(margin.gradients)
        return replace(margin, gradients=zeros, offsets=np.ones_like(margin.offsets))
    return loss_pieces(complex_, loss, label)


def ceiling(complex_: CellComplex, loss: Loss, label: int) -> float:
    """Return an upper bound of the loss with a label over the support, perhaps infinite."""
    if isinstance(loss, TruncatedDLR | ZeroOne):
        return 1.0
    if isinstance(loss, DLR):
        return RatioMajorants(complex_, label, truncated=False).ceiling
    return np.inf


def distance_pieces(complex_: CellComplex, label: int) -> Pieces:
    """Return the pieces of the error set of a label, cell by cell and class by class."""
    margin = loss_pieces(complex_, Margin(), label)
    zeros = np.zeros_like(margin.gradients), np.zeros_like(margin.offsets)
    return Pieces(
        label, margin.cells, margin.targets, *zeros, AffineMap(margin.gradients, margin.offsets)
    )


def _without_fixed_features(
    complex_: CellComplex, gradients: Floats, offsets: Floats
) -> tuple[Floats, Floats]:
    """Fold features that the support fixes into the offset."""
    support = complex_.support
    if not isinstance(support, Box):
        return gradients, offsets
    fixed = support.lower == support.upper
    folded = offsets + gradients[:, fixed] @ support.lower[fixed]
    return np.where(fixed, 0.0, gradients), folded
