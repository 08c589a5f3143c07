"""Write the arrays of the golden problems, those whose answer is derived by hand.

``python problems/make_golden.py`` rewrites ``network.npz``, ``data.npz`` and, for a polytope,
``support.npz`` of every golden folder, always with the same bytes. The question and the expected
values stand in ``problem.toml`` and the derivation in ``README.md`` of the folder; both are written
by hand. Every number below is a short binary fraction, so the arrays hold exactly what is written.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

HERE: Final = Path(__file__).resolve().parent

Vector = Sequence[float]
Matrix = Sequence[Vector]
Layer = tuple[Matrix, Vector]


@dataclass(frozen=True, slots=True, kw_only=True)
class Golden:
    """The arrays of one golden problem.

    Parameters
    ----------
    layers
        Pairs ``(W, b)``, first layer first, ReLU between.
    points, labels
        The samples, shapes ``(N, n)`` and ``(N,)``.
    weights
        Weights of the samples, not normalised; equal when omitted.
    polytope
        ``(A, b)`` of a support ``A x <= b``.
    """

    layers: Sequence[Layer]
    points: Matrix
    labels: Sequence[int]
    weights: Vector | None = None
    polytope: Layer | None = None

    def write(self, folder: Path) -> None:
        """Write the array files into ``folder``."""
        folder.mkdir(exist_ok=True)
        network: dict[str, Any] = {
            f"W{k}": np.array(W, dtype=np.float64) for k, (W, _) in enumerate(self.layers)
        }
        network |= {f"b{k}": np.array(b, dtype=np.float64) for k, (_, b) in enumerate(self.layers)}
        np.savez(folder / "network.npz", **dict(sorted(network.items())))
        data: dict[str, Any] = {
            "points": np.array(self.points, dtype=np.float64),
            "labels": np.array(self.labels, dtype=np.int64),
        }
        if self.weights is not None:
            data["weights"] = np.array(self.weights, dtype=np.float64)
        np.savez(folder / "data.npz", **data)
        if self.polytope is not None:
            A, b = self.polytope
            np.savez(
                folder / "support.npz",
                A=np.array(A, dtype=np.float64),
                b=np.array(b, dtype=np.float64),
            )


def second_logit(row: Vector, *, offset: float = 0.0) -> Layer:
    """Return the last layer ``z = (0, row · h + offset)``: the margin of label 0 is ``z_1``."""
    return [[0.0] * len(row), row], [0.0, offset]


LINE: Final[Layer] = ([[0], [1]], [0, 0])  # z = (0, x)
RELU: Final[Layer] = ([[1]], [0])  # h = relu(x)
BOTH_SIDES: Final[Layer] = ([[1], [-1]], [0, 0])  # h = (relu(x), relu(-x))

ABSOLUTE: Final = [BOTH_SIDES, second_logit([1, 1])]
NEGATIVE_ABSOLUTE: Final = [BOTH_SIDES, second_logit([-1, -1])]
RELU_LINE: Final = Golden(layers=[RELU, second_logit([1])], points=[[-1]], labels=[0])

# z_1 - z_0 = 1.5 x_1 - 0.75 x_2 + 0.75 x_3 - 0.5
AFFINE: Final = Golden(
    layers=[([[-0.5, 0.25, 0], [1, -0.5, 0.75]], [0.25, -0.25])],
    points=[[1, 0, 0], [0, 1, 1], [-1, 2, 0.5], [0.5, 0, -1]],
    labels=[0, 1, 0, 1],
    weights=[1, 2, 1, 4],
)

# z_1 - z_0 = 1.5 x_1 + 2 x_2 + 0.5, a slope of Euclidean length 2.5
AFFINE_PLANE: Final = Golden(
    layers=[([[-0.5, 1], [1, 3]], [0, 0.5])],
    points=[[0, 0], [1, -1], [-1, 1], [2, 0]],
    labels=[0, 1, 0, 1],
)

# the label falls from the first to the fourth place: z = (-x, 1, 0, -1)
FALLING: Final = Golden(layers=[([[-1], [0], [0], [0]], [0, 1, 0, -1])], points=[[-2]], labels=[0])

# distances to the error set, in this order: 0 (already wrong), 1/4, 1/2, 1/2, 1, 3/2, 2, 4
ZERO_ONE_LINE: Final = Golden(
    layers=[LINE],
    points=[[1], [-0.25], [-0.5], [0.5], [1], [-1.5], [2], [-4]],
    labels=[0, 0, 0, 1, 1, 0, 1, 0],
)

GOLDEN: Final[dict[str, Golden]] = {
    "affine-linf": AFFINE,
    "affine-l1": AFFINE,
    "affine-linf-inf": AFFINE,
    "affine-l2": AFFINE_PLANE,
    "affine-l2-inf": AFFINE_PLANE,
    "relu-line": RELU_LINE,
    "relu-interval": RELU_LINE,
    "relu-line-inf": RELU_LINE,
    "relu-line-2": RELU_LINE,
    "absolute-value": Golden(layers=ABSOLUTE, points=[[-2], [1]], labels=[0, 0]),
    "negative-absolute-value": Golden(layers=NEGATIVE_ABSOLUTE, points=[[0]], labels=[0]),
    "negative-absolute-value-mixed": Golden(
        layers=NEGATIVE_ABSOLUTE, points=[[0], [2], [-1]], labels=[0, 0, 0], weights=[1, 1, 2]
    ),
    "counted-cells": Golden(
        layers=[
            ([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1], [1, 2, 4]], [0, 0, 0, -1, -3]),
            second_logit([1, 0.5, 0.25, 0.5, 0.25]),
        ],
        points=[[1, 1, 1], [-1, -1, 0], [0.5, -1, 2], [1, 0.5, -0.5]],
        labels=[0, 0, 0, 1],
    ),
    "tight": Golden(
        layers=[
            ([[1, 1], [1, -1]], [-1, 0]),  # u_1 = relu(x_1 + x_2 - 1), u_2 = relu(x_1 - x_2)
            ([[1, -1], [1, 1]], [0, -2]),  # v_1 = relu(u_1 - u_2), v_2 = relu(u_1 + u_2 - 2)
            ([[0, 0], [2, 0], [0, 1]], [0, 0, -1]),  # z = (0, 2 v_1, v_2 - 1)
        ],
        points=[[0, 0], [1, -1], [3, -1], [-1, 0]],
        labels=[0, 0, 0, 0],
    ),
    "zero-one-line": ZERO_ONE_LINE,
    "zero-one-line-2": ZERO_ONE_LINE,
    "zero-one-line-inf": ZERO_ONE_LINE,
    "zero-one-label-move": Golden(
        layers=[LINE], points=[[-1], [-0.25], [2]], labels=[0, 0, 1], weights=[1, 1, 2]
    ),
    "hinge-line": Golden(
        layers=[LINE], points=[[-3], [0], [1]], labels=[0, 0, 1], weights=[1, 1, 2]
    ),
    "hinge-line-3": Golden(layers=[LINE], points=[[-2]], labels=[0]),
    "label-move": Golden(layers=[LINE], points=[[-2]], labels=[0]),
    "cross-entropy-interval": Golden(layers=[LINE], points=[[-1]], labels=[0]),
    "dlr-interval": Golden(
        layers=[([[-1], [1], [0]], [0, 0, -4])],  # z = (-x, x, -4)
        points=[[0]],
        labels=[0],
    ),
    "dlr-line": FALLING,
    "truncated-dlr-line": FALLING,
    "dlr-tie": Golden(
        layers=[([[1], [-1], [0], [0]], [0, 0, 0, -1])],  # z = (x, -x, 0, -1)
        points=[[0.5]],
        labels=[3],
    ),
    "weighted-two-points": Golden(
        # f(x) = relu(x) / 2 - 2 relu(-x), z = (0, f, -f - 16)
        layers=[BOTH_SIDES, ([[0, 0], [0.5, -2], [-0.5, 2]], [0, 0, -16])],
        points=[[-1], [2], [-3]],
        labels=[0, 0, 1],
        weights=[3, 5, 0],
    ),
    "constant-feature": Golden(
        # on x_2 = 1/2: h = (relu(x_1), 12), z_1 = relu(x_1) + 12 / 4 - 3
        layers=[([[1, 1024], [0, 1024]], [-512, -500]), second_logit([1, 0.25], offset=-3)],
        points=[[-1, 0.5], [2, 0.5]],
        labels=[0, 1],
    ),
    "polytope-triangle": Golden(
        layers=[([[0, 0], [1, 2]], [0, -1])],  # z = (0, x_1 + 2 x_2 - 1)
        points=[[0.25, 0.25], [0.5, 0.5]],
        labels=[0, 1],
        polytope=([[-1, 0], [0, -1], [1, 1]], [0, 0, 1]),
    ),
}


def main() -> None:
    """Write the arrays of every golden problem."""
    for name, golden in GOLDEN.items():
        golden.write(HERE / name)
        print(f"{name}: {len(golden.points)} samples")


if __name__ == "__main__":
    main()
