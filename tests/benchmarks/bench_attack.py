"""Flip distances: the minimum-distance attack beside the published attacks, as Markdown tables.

``python tests/benchmarks/bench_attack.py [--exact FILE.npz]``; about two minutes on one core. CPU
seconds, one thread. The excess is over the exact distance where FILE (arrays ``lower``, ``upper``
for the l∞ distances of digits-deep) gives it, else over the best of everything run here, long runs
of the attack with other seeds included: for the flips that an attack found.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from attack_models import perceptron as hardened
from attack_models import trained
from torch import Tensor

import wdaverify as wv
from wdaverify.bounds.attack import flip_distances
from wdaverify.bounds.attack_module import attack_module
from wdaverify.bounds.nearest_flip import Hunt, nearest_flips
from wdaverify.bounds.reference import reference_wda, reference_wdapp
from wdaverify.bounds.reference_adaptive import reference_a3
from wdaverify.bounds.region import Region, region_of
from wdaverify.bounds.steps import steps_of
from wdaverify.bounds.torch_module import TorchModule
from wdaverify.bounds.torch_network import TorchModel, TorchNetwork
from wdaverify.norms import NORMS

Floats = npt.NDArray[np.float64]
PROBLEM = Path(__file__).resolve().parents[2] / "problems" / "digits-deep"
LONG = Hunt(steps=12, hops=12)
SEEDS = (1, 2, 3)
RADII = {"linf": 0.1, "l2": 0.5, "l1": 1.3}


class Run(NamedTuple):
    """One attack: its name, CPU seconds and distances."""

    name: str
    seconds: float
    distances: Floats

    @property
    def within(self) -> bool:
        """Whether it climbs within a radius, and distances are not its aim."""
        return "within" in self.name


class Question(NamedTuple):
    """What the attacks are given."""

    model: TorchModel
    region: Region
    x: Tensor
    y: Tensor


def timed(name: str, attack: Callable[[], Tensor | Floats]) -> Run:
    """Run an attack once."""
    start = time.process_time()
    found = attack()
    seconds = time.process_time() - start
    return Run(name, seconds, np.asarray(found, dtype=np.float64))


def near(question: Question, hunt: Hunt, seed: int = 0) -> Tensor:
    """Distances of the minimum-distance attack."""
    generator = torch.Generator().manual_seed(seed)
    return nearest_flips(*question, hunt=hunt, generator=generator).lengths


def attacks(question: Question, eps: float) -> Iterator[Run]:
    """All attacks that only need a model."""
    near(question, Hunt(1, 0))  # warm up
    yield timed("WDA++, published", lambda: reference_wdapp(*question).lengths)
    yield timed(f"WDA within {eps:g}, published", lambda: reference_wda(*question, eps=eps).lengths)
    yield timed("minimum distance, no hop", lambda: near(question, Hunt(hops=0)))
    yield timed("minimum distance, one hop", lambda: near(question, Hunt(hops=1)))
    yield timed("**minimum distance, default**", lambda: near(question, Hunt()))
    yield timed("minimum distance, ten hops", lambda: near(question, Hunt(hops=10)))


def table(title: str, runs: list[Run], truth: Floats, eps: float) -> None:
    """Print one table; samples that are wrong already are left out."""
    print(f"\n### {title}\n")
    print(f"| attack | CPU s | flips | within {eps:g} | mean excess | 95 % | largest |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    asked = truth > 0
    for run in runs:
        found = asked & np.isfinite(run.distances)
        excess = 100.0 * (run.distances[found] / truth[found] - 1.0)
        mean, high, most = excess.mean(), np.quantile(excess, 0.95), excess.max()
        near_flips = (asked & (run.distances <= eps * (1 + 1e-6))).sum()
        flips = f"{found.sum()} of {asked.sum()} | {near_flips}"
        share = "– | – | –" if run.within else f"{mean:.3f} % | {high:.2f} % | {most:.1f} %"
        print(f"| {run.name} | {run.seconds:.2f} | {flips} | {share} |")


def best_of(runs: list[Run]) -> Floats:
    """Return the nearest flip that any run found."""
    return np.asarray(np.min([run.distances for run in runs], axis=0))


def long_runs(question: Question) -> list[Run]:
    """Return slow runs that stand for the truth."""
    return [timed("long", lambda seed=seed: near(question, LONG, seed)) for seed in SEEDS]


def perceptron(exact: Floats | None) -> None:
    """Digits, 64-64-64-10."""
    compare("Digits, MLP 64-64-64-10", wv.load_problem(PROBLEM), exact)


def trained_perceptron() -> None:
    """Digits, the same adversarially trained."""
    module, points, labels = trained(hardened)
    network = wv.ReLUNetwork.from_torch(module, input_shape=(1, 8, 8))
    flat = points.reshape(len(points), -1)
    problem = wv.Problem(network, flat, labels, support=wv.Box(0.0, 1.0))
    compare("Digits, MLP 64-64-64-10 adversarially trained", problem)


def compare(name: str, problem: wv.Problem, exact: Floats | None = None) -> None:
    """Print the tables of a stored network, for each norm."""
    model = TorchNetwork(problem.network)
    x, y = model.tensor(problem.points), torch.tensor(problem.labels)
    for norm, eps in RADII.items():
        question = Question(model, region_of(problem.support, steps_of(NORMS[norm]), model), x, y)
        asked = problem.replace(cost=wv.TransportCost(norm))
        runs = list(attacks(question, eps))
        runs.append(timed("flip_distances, certain", lambda asked=asked: flip_distances(asked)))
        if norm == "linf":
            a3 = timed(
                f"A3-WDA within {eps:g}, published",
                lambda q=question, e=eps: (
                    reference_a3(*q, eps=e, generator=torch.Generator().manual_seed(0)).lengths
                ),
            )
            runs.append(a3)
        truth = best_of([*runs, *long_runs(question)])
        known = "over the best of all"
        if norm == "linf" and exact is not None:
            truth, known = exact, "over the exact distances"
        table(
            f"{name}, {norm}, 500 samples, float64; excess {known}",
            runs,
            truth,
            eps,
        )


def convolution() -> None:
    """Digits, a convolutional net."""
    module, points, labels = trained()
    model = TorchModule(module, points.shape[1:], dtype=torch.float32)
    flat = model.tensor(points.reshape(len(points), -1))
    for norm, eps in RADII.items():
        box = wv.Box(0.0, 1.0).bind(flat.shape[1])
        region = region_of(box, steps_of(NORMS[norm]), model)
        question = Question(model, region, flat, torch.tensor(labels))
        runs = list(attacks(question, eps))

        confirmed = partial(attack_module, eps=eps, norm=norm, support=box)
        runs.append(
            timed(
                "attack_module, confirmed in float64",
                lambda attack=confirmed: attack(module, points, labels).distances,
            )
        )
        truth = best_of([*runs, *long_runs(question)])
        title = f"Digits, conv net 16-32-64, {norm}, 500 samples, float32; excess over the best"
        table(title, runs, truth, eps)


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--exact", type=Path, help="npz with lower and upper")
    given = parser.parse_args()
    torch.set_num_threads(1)
    exact = None
    if given.exact is not None:
        with np.load(given.exact) as file:
            exact = (file["lower"] + file["upper"]) / 2.0
    print(f"wdaverify {wv.__version__}, torch {torch.__version__}, one thread")
    perceptron(exact)
    trained_perceptron()
    convolution()


if __name__ == "__main__":
    main()
