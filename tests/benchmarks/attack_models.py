"""The nets that attacks are measured on beside the stored ones: digits, adversarially trained."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

EPSILON, EPOCHS, INNER = 0.1, 15, 4
"""l∞ radius, passes over the data, and steps of the attack in training."""


class Trained(NamedTuple):
    """A net and 500 test samples ``(N, 1, 8, 8)`` with labels."""

    module: nn.Module
    points: npt.NDArray[np.float64]
    labels: npt.NDArray[np.int64]


def convolutional(classes: int = 10) -> nn.Sequential:
    """Make the net: 16 and 32 channels, 64 hidden neurons."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, classes),
    )  # fmt: skip


def perceptron(classes: int = 10) -> nn.Sequential:
    """Make the net 64-64-64-10."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, classes),
    )  # fmt: skip


def trained(make: Callable[[], nn.Sequential] = convolutional, seed: int = 0) -> Trained:
    """Train a net, a few seconds."""
    X, y = load_digits(return_X_y=True)
    known, held, known_labels, held_labels = train_test_split(
        X.reshape(-1, 1, 8, 8) / 16.0, y, test_size=500, stratify=y, random_state=1
    )
    torch.manual_seed(seed)
    module = make()
    optimiser = torch.optim.Adam(module.parameters(), lr=2e-3)
    images = torch.tensor(known, dtype=torch.float32)
    labels = torch.tensor(known_labels)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(images)).split(64):
            worse = _worse(module, images[rows], labels[rows])
            optimiser.zero_grad()
            nn.functional.cross_entropy(module(worse), labels[rows]).backward()
            optimiser.step()
    return Trained(module.eval(), held, held_labels)


def _worse(module: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    moves = (2.0 * torch.rand_like(images) - 1.0) * EPSILON
    for _ in range(INNER):
        moves = moves.detach().requires_grad_()
        loss = nn.functional.cross_entropy(module(images + moves), labels)
        (slope,) = torch.autograd.grad(loss, moves)
        moves = (moves.detach() + 0.4 * EPSILON * slope.sign()).clamp(-EPSILON, EPSILON)
        moves = (images + moves).clamp(0.0, 1.0) - images
    return (images + moves).detach()
