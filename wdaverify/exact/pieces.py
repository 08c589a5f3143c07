r"""Affine pieces of the loss: one for each cell and each affine function of the logits.

For label ``y`` the loss on cell ``D`` is the maximum of ``a · x + b`` over its pieces. For the
zero-one loss a piece is the part of the cell where class ``j`` beats the label, ``a · x + b >= 0``,
and what is maximised there is minus the distance.
"""

from dataclasses import dataclass

import numpy as np

from wdaverify.arrays import Floats, Integers
from wdaverify.cells.complex import CellComplex
from wdaverify.loss import Loss, Margin
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
    """

    label: int
    cells: Integers
    targets: Integers
    gradients: Floats
    offsets: Floats
    thresholds: AffineMap | None = None

    def __len__(self) -> int:
        return len(self.cells)

    def rows(self, complex_: CellComplex, piece: int) -> AffineMap:
        """Half-spaces ``G x <= h`` of a piece, the support's own rows apart."""
        cell = complex_[int(self.cells[piece])].half_spaces
        if self.thresholds is None:
            return cell
        a, b = self.thresholds.matrix[piece], self.thresholds.offset[piece]
        length = float(np.linalg.norm(a)) or 1.0
        return AffineMap(
            np.concatenate([cell.matrix, -a[None, :] / length]), np.append(cell.offset, b / length)
        )

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
        )


def loss_pieces(complex_: CellComplex, loss: Loss, label: int) -> Pieces:
    """Return the pieces of margin or hinge.

    Raises
    ------
    UnsupportedError
        The loss is not a maximum of affine functions of the logits.
    """
    C, c = loss.pieces(complex_.network.classes, label)
    J = np.array([cell.affine_map.matrix for cell in complex_])
    z = np.array([cell.affine_map.offset for cell in complex_])
    gradients = np.einsum("pk,dkn->dpn", C, J).reshape(-1, J.shape[2])
    offsets = (z @ C.T + c).reshape(-1)
    cells = np.repeat(np.arange(len(complex_)), len(C))
    targets = np.tile(np.arange(len(C)), len(complex_))
    return Pieces(label, cells, targets, *_without_fixed_features(complex_, gradients, offsets))


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
