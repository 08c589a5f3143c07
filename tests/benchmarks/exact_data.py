"""Samples beyond those of the problem folders; needs scikit-learn."""

import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import make_moons

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "problems"))

from train import RECIPES, split  # noqa: E402


def write_moons(path: Path, samples: int) -> None:
    """Write points drawn as those of ``problems/moons``, scaled by the same span and clipped."""
    points, labels = make_moons(n_samples=samples, noise=0.2, random_state=1)
    known = split(RECIPES["moons"])
    scaled = (points - known.low) / np.subtract(known.high, known.low)
    np.savez(path, points=np.clip(scaled, 0.0, 1.0), labels=labels)


def write_iris(path: Path, samples: int) -> None:
    """Write the test samples of ``problems/iris`` and after them as many training samples."""
    known = split(RECIPES["iris"])
    points = np.concatenate([known.held, known.fit])[:samples]
    np.savez(
        path, points=points, labels=np.concatenate([known.held_labels, known.fit_labels])[:samples]
    )
