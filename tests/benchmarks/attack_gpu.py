"""The attack on CPU and GPU: checks that they agree, times them, prints one short table.

``python tests/benchmarks/attack_gpu.py [--samples N] [--size PIXELS] [--device cpu|cuda]``; without
a CUDA device, or with ``--device cpu``, only the CPU rows are printed.
Exit code 1 where the devices disagree: nearest flips may differ in single
samples (another local minimum), not by 1 % of the mean.
"""

import argparse
import sys
import time

import numpy as np
import torch
from torch import nn

from wdaverify.bounds.attack_module import ModuleAttack, attack_module
from wdaverify.support import Box

AGREE = 0.01
"""Largest relative difference of mean distances between devices."""


def network(size: int) -> nn.Sequential:
    """Make a convolutional net on colour images, untrained but seeded."""
    torch.manual_seed(0)
    left = size // 4
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(),
        nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(64, 64, 3, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(64 * left * left, 128), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip


def data(module: nn.Module, samples: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return random images and the labels that the net gives them."""
    points = np.random.default_rng(0).uniform(size=(samples, 3, size, size))
    with torch.no_grad():
        logits = module(torch.tensor(points, dtype=torch.float32))
        last = module[-1]
        last.bias -= logits.mean(dim=0)
        labels = (logits - logits.mean(dim=0)).argmax(dim=1).numpy()
    return points, labels


def run(
    module: nn.Module, question: tuple[np.ndarray, np.ndarray], device: str, dtype: str
) -> tuple[float, ModuleAttack]:
    """Attack twice and time the second run."""
    seconds, found = 0.0, None
    for _ in range(2):
        start = time.perf_counter()
        found = attack_module(
            module, *question, eps=0.01, support=Box(0.0, 1.0), device=device, dtype=dtype
        )
        seconds = time.perf_counter() - start
    return seconds, found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda", help="beside the CPU")
    given = parser.parse_args()
    module = network(given.size)
    question = data(module, given.samples, given.size)
    devices = ["cpu", *(["cuda"] if given.device == "cuda" and torch.cuda.is_available() else [])]
    print(f"torch {torch.__version__}, {given.samples} images of 3 x {given.size} x {given.size}\n")
    print("| device | type | wall s | flips | mean distance |\n| --- | --- | ---: | ---: | ---: |")
    means: dict[str, list[float]] = {}
    for dtype in ("float32", "float64"):
        for device in devices:
            seconds, found = run(module, question, device, dtype)
            known = np.isfinite(found.distances)
            mean = float(found.distances[known].mean())
            means.setdefault(dtype, []).append(mean)
            print(f"| {device} | {dtype} | {seconds:.2f} | {known.sum()} | {mean:.6g} |")
    apart = max(max(pair) / min(pair) - 1.0 for pair in means.values())
    if apart > AGREE:
        sys.exit(f"CPU and GPU disagree: mean distances differ by {apart:.2%}")
    print(f"\ndevices: {', '.join(devices)}; largest relative difference {apart:.1e}")


if __name__ == "__main__":
    main()
