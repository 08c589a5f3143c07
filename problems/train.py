"""Train the small networks of the real-data problems and write their files.

``python problems/train.py moons iris`` remakes the named folders, without names all of them. Needs
scikit-learn (its bundled data) and torch. Everything is seeded and runs in float64 on one thread;
another version of torch or another processor may still round differently and move the last digits
of the weights, so the files in the repository are the reference and this script says how they came
about.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from sklearn import datasets
from sklearn.model_selection import train_test_split

HERE: Final = Path(__file__).resolve().parent

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Layers = list[tuple[Floats, Floats]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How one network is made.

    Parameters
    ----------
    load
        Returns all points ``(N, n)`` and labels ``(N,)``, not scaled.
    hidden
        Widths of the hidden layers.
    test
        Number of samples held out; they become ``data.npz``.
    epochs, decay, seed
        Full-batch Adam steps, weight decay, and the seed of split and initial weights.
    network
        ``network.npz`` or ``network.onnx``.
    span
        The values of a feature that become 0 and 1; its smallest and largest training value where
        omitted.
    """

    load: Callable[[], tuple[Floats, Integers]]
    hidden: tuple[int, ...]
    test: int
    epochs: int
    network: str
    decay: float = 1e-3
    seed: int = 0
    span: tuple[float, float] | None = None


def moons() -> tuple[Floats, Integers]:
    """Return 400 points of two interleaving half circles with noise."""
    points, labels = datasets.make_moons(n_samples=400, noise=0.2, random_state=0)
    return np.asarray(points, dtype=np.float64), np.asarray(labels, dtype=np.int64)


def columns(bunch: Any, *names: str) -> tuple[Floats, Integers]:  # noqa: ANN401  (sklearn is untyped)
    """Return the named features of a bundled data set, all of them when none is named."""
    every = [str(name) for name in bunch.feature_names]
    chosen = [every.index(name) for name in names or every]
    return np.asarray(bunch.data, dtype=np.float64)[:, chosen], np.asarray(bunch.target, np.int64)


PIXELS: Final = (0.0, 16.0)
"""Some pixels of the digits never change, so that their own range cannot scale them."""

RECIPES: Final[dict[str, Recipe]] = {
    "moons": Recipe(load=moons, hidden=(16, 16), test=100, epochs=1000, network="network.onnx"),
    "iris": Recipe(
        load=lambda: columns(datasets.load_iris()),
        hidden=(12, 12),
        test=50,
        epochs=500,
        network="network.onnx",
    ),
    "wine": Recipe(
        load=lambda: columns(
            datasets.load_wine(), "alcohol", "flavanoids", "color_intensity", "proline"
        ),
        hidden=(10, 10),
        test=60,
        epochs=500,
        network="network.npz",
    ),
    "breast-cancer": Recipe(
        load=lambda: columns(
            datasets.load_breast_cancer(),
            "mean texture",
            "worst area",
            "worst smoothness",
            "worst concave points",
            "worst symmetry",
        ),
        hidden=(8, 8),
        test=120,
        epochs=500,
        network="network.npz",
    ),
    "breast": Recipe(
        load=lambda: columns(datasets.load_breast_cancer()),
        hidden=(16, 16),
        test=120,
        epochs=500,
        network="network.onnx",
    ),
    "digits": Recipe(
        load=lambda: columns(datasets.load_digits()),
        hidden=(16, 16),
        test=200,
        epochs=500,
        network="network.onnx",
        span=PIXELS,
    ),
    "digits-deep": Recipe(
        load=lambda: columns(datasets.load_digits()),
        hidden=(64, 64),
        test=500,
        epochs=500,
        network="network.onnx",
        span=PIXELS,
    ),
}


def train(points: Floats, labels: Integers, recipe: Recipe) -> Layers:
    """Fit a ReLU network by full-batch Adam on cross-entropy, in float64."""
    generator = torch.Generator().manual_seed(recipe.seed)
    widths = [points.shape[1], *recipe.hidden, int(labels.max()) + 1]
    weights, biases = [], []
    for fan_in, fan_out in pairwise(widths):
        scale = (2.0 / fan_in) ** 0.5
        initial = torch.randn(fan_out, fan_in, generator=generator, dtype=torch.float64)
        weights.append((scale * initial).requires_grad_())
        biases.append(torch.zeros(fan_out, dtype=torch.float64, requires_grad=True))
    optimizer = torch.optim.Adam([*weights, *biases], lr=0.01, weight_decay=recipe.decay)
    inputs, targets = torch.from_numpy(points), torch.from_numpy(labels)
    for _ in range(recipe.epochs):
        hidden = inputs
        for W, b in zip(weights[:-1], biases[:-1], strict=True):
            hidden = torch.relu(hidden @ W.T + b)
        loss = torch.nn.functional.cross_entropy(hidden @ weights[-1].T + biases[-1], targets)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return [(W.detach().numpy(), b.detach().numpy()) for W, b in zip(weights, biases, strict=True)]


def accuracy(layers: Layers, points: Floats, labels: Integers) -> float:
    """Return the share of points whose largest logit is that of their label."""
    hidden = points
    for W, b in layers[:-1]:
        hidden = np.maximum(hidden @ W.T + b, 0.0)
    W, b = layers[-1]
    return float(np.mean((hidden @ W.T + b).argmax(axis=1) == labels))


def write_npz(layers: Layers, path: Path) -> None:
    """Write ``W0, b0, W1, b1, …``."""
    arrays: dict[str, Any] = {}
    for k, (W, b) in enumerate(layers):
        arrays |= {f"W{k}": W, f"b{k}": b}
    np.savez(path, **arrays)


def write_onnx(layers: Layers, path: Path) -> None:
    """Write a chain of Gemm and Relu with double precision weights."""
    nodes, initializers = [], []
    value = "input"
    for k, (W, b) in enumerate(layers):
        last = k == len(layers) - 1
        initializers += [numpy_helper.from_array(W, f"W{k}"), numpy_helper.from_array(b, f"b{k}")]
        result = "logits" if last else f"z{k}"
        nodes.append(helper.make_node("Gemm", [value, f"W{k}", f"b{k}"], [result], transB=1))
        if not last:
            value = f"h{k}"
            nodes.append(helper.make_node("Relu", [result], [value]))
    features, classes = layers[0][0].shape[1], layers[-1][0].shape[0]
    graph = helper.make_graph(
        nodes,
        path.parent.name,
        [helper.make_tensor_value_info("input", TensorProto.DOUBLE, ["batch", features])],
        [helper.make_tensor_value_info("logits", TensorProto.DOUBLE, ["batch", classes])],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString(deterministic=True))


class Split(NamedTuple):
    """Training and test samples, scaled by the span of the training samples and clipped."""

    fit: Floats
    fit_labels: Integers
    held: Floats
    held_labels: Integers
    low: npt.ArrayLike
    high: npt.ArrayLike
    outside: npt.NDArray[np.bool_]
    """Coordinates of test samples that were clipped."""


def split(recipe: Recipe) -> Split:
    """Load, split and scale."""
    points, labels = recipe.load()
    fit, held, fit_labels, held_labels = train_test_split(
        points, labels, test_size=recipe.test, random_state=recipe.seed, stratify=labels
    )
    low, high = recipe.span or (fit.min(axis=0), fit.max(axis=0))  # the test part has no say
    fit, held = (fit - low) / (high - low), (held - low) / (high - low)
    outside = (held < 0.0) | (held > 1.0)
    fit, held = np.clip(fit, 0.0, 1.0), np.clip(held, 0.0, 1.0)
    return Split(fit, fit_labels, held, held_labels, low, high, outside)


def make(name: str) -> None:
    """Load, split, scale, train, and write one folder; print what a README states."""
    recipe = RECIPES[name]
    fit, fit_labels, held, held_labels, _, _, outside = split(recipe)
    layers = train(fit, fit_labels, recipe)
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    writer = write_onnx if recipe.network.endswith(".onnx") else write_npz
    writer(layers, folder / recipe.network)
    np.savez(folder / "data.npz", points=held, labels=held_labels)
    print(
        f"{name}: accuracy {accuracy(layers, fit, fit_labels):.4f} on {len(fit)} training samples, "
        f"{accuracy(layers, held, held_labels):.4f} on {len(held)} test samples; "
        f"{np.count_nonzero(outside)} coordinates of {np.count_nonzero(outside.any(axis=1))} "
        f"test samples clipped"
    )


def main() -> None:
    """Remake the folders named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(RECIPES)}")
    names = parser.parse_args().names or list(RECIPES)
    unknown = sorted(set(names) - set(RECIPES))
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; expected some of {', '.join(RECIPES)}")
    torch.set_num_threads(1)
    for name in names:
        make(name)


if __name__ == "__main__":
    main()
