r"""Brackets on Lipschitz constants, for every label and wrong class.

*Cell constant* of a pair: :math:`\max_D \|(J_D)_j - (J_D)_y\|_*` over all cells ``D``. *Margin
constant*: only over cells on a part of which, with interior, ``j`` is the top wrong class. There
the margin has that gradient, and everywhere else it has none, so the largest of them is its
Lipschitz constant; cross-entropy needs the cell constant.
"""

from dataclasses import dataclass

import numpy as np

from wdaverify.arrays import Floats
from wdaverify.layers import summands
from wdaverify.network import ReLUNetwork
from wdaverify.norms import GroundNorm
from wdaverify.tolerances import ROUNDING

__all__ = ["CANCELLED", "Constants", "head_of", "rounding_room", "summands", "top_rows"]

CANCELLED = 1e-7
"""A row this much shorter than its summands is rounding for the most part."""


@dataclass(frozen=True, slots=True, eq=False)
class Constants:
    """Lower and upper bounds of the constants.

    Attributes
    ----------
    lower, upper
        Row ``y``, column ``j``: the constant of ``z_j − z_y``, 0 on the diagonal, ``(K, K)``.
    source
        ``"cells"`` or ``"search"``.
    nodes
        How many partial patterns a search looked at.
    """

    lower: Floats
    upper: Floats
    source: str
    nodes: int = 0

    @property
    def labels(self) -> tuple[Floats, Floats]:
        """Bracket of each label's constant, two arrays ``(K,)``."""
        return self.lower.max(axis=1), self.upper.max(axis=1)

    def bracket(self, labels: tuple[int, ...]) -> tuple[float, float]:
        """Bracket of the largest constant among some labels."""
        lower, upper = self.labels
        return float(lower[list(labels)].max()), float(upper[list(labels)].max())


def head_of(classes: int, label: int, target: int) -> Floats:
    """Return the coefficients of ``z_target − z_label``, ``(K,)``."""
    head = np.zeros(classes)
    head[target], head[label] = 1.0, -1.0
    return head


def top_rows(classes: int, label: int, target: int) -> Floats:
    """Return rows with ``rows z >= 0`` where ``target`` is the top wrong class, ``(K − 2, K)``."""
    rivals = [k for k in range(classes) if k not in (label, target)]
    return np.array([head_of(classes, k, target) for k in rivals]).reshape(-1, classes)


def rounding_room(network: ReLUNetwork, norm: GroundNorm) -> Floats:
    """Bound what rounding does to the dual norm of any gradient of ``z_j − z_y``, ``(K, K)``.

    Every product of weights carries a relative error of at most ``steps · u``.
    """
    size = summands(network)
    steps = 2 * sum(W.shape[1] + 3 for W in network.weights)
    room = steps * ROUNDING * norm.dual_length(size[:, None, :] + size[None, :, :])
    np.fill_diagonal(room, 0.0)
    return np.asarray(room)
