"""A folder for other verifiers: the network as ONNX, VNN-LIB instances, ``instances.csv``.

The network is written, read back, and what was read is what answers are about: rounding to float32
is part of the question, not an error of the answer.
"""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from wdaverify.errors import ProblemError, UnsupportedError
from wdaverify.exact.distances import Distances
from wdaverify.importers.onnx_reader import read_onnx
from wdaverify.loss import ZeroOne
from wdaverify.problem import Problem
from wdaverify.storage.files import neighbour, writing
from wdaverify.support import Box
from wdaverify.vnnlib.onnx_writer import onnx_bytes
from wdaverify.vnnlib.writing import ball, robustness_text

__all__ = ["Export", "Instance", "instances_around", "instances_at", "prepare", "write_export"]

NETWORK: Final = "network.onnx"


@dataclass(frozen=True, slots=True)
class Instance:
    """One question to a verifier.

    Attributes
    ----------
    name
        Of the file, without suffix.
    sample, label
        Whose ball it is, and its class.
    radius
        In input units.
    box
        What is written: the ball, rounded outward, within the support.
    expected
        ``"sat"``, ``"unsat"``, ``"unknown"``, or empty where nothing was computed.
    distance
        Bracket on the distance of the sample to the nearest error, if known.
    """

    name: str
    sample: int
    label: int
    radius: float
    box: Box
    expected: str = ""
    distance: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Export:
    """The question about the network as it is written.

    Attributes
    ----------
    model
        The ONNX file.
    problem
        Zero-one loss; its network is what the file holds.
    difference
        Largest difference of its logits from those of the original network on the data.
    """

    model: bytes
    problem: Problem
    difference: float


def prepare(problem: Problem, *, double: bool = False) -> Export:
    """Return the network as ONNX, and the problem of the network that was written.

    Parameters
    ----------
    problem
        Its norm must be ℓ∞ and its support a box: VNN-LIB asks about boxes.
    double
        Write float64; few verifiers read it.

    Raises
    ------
    UnsupportedError
        Another norm, or a polytope as support.
    ProblemError
        A number beyond the range of float32.
    """
    if problem.cost.norm.name != "linf":
        raise UnsupportedError(
            f"norm: expected linf (a VNN-LIB box is a ball of it), found {problem.cost.norm.name}"
        )
    if not isinstance(problem.support, Box):
        raise UnsupportedError(f"support: expected a box, found a {problem.support.describe()}")
    model = onnx_bytes(problem.network, double=double)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / NETWORK
        path.write_bytes(model)
        network = read_onnx(path)
    moved = network.logits(problem.points) - problem.network.logits(problem.points)
    written = problem.replace(network=network, loss=ZeroOne())
    return Export(model, written, float(np.abs(moved).max()))


def instances_at(
    problem: Problem, radii: Sequence[float], distances: Distances | None = None
) -> list[Instance]:
    """Return an instance for each sample and radius, with its answer where distances are given."""
    return [
        _instance(problem, sample, radius, f"radius_{radius!r}", distances)
        for sample in range(len(problem))
        for radius in dict.fromkeys(float(value) for value in radii)
    ]


def instances_around(problem: Problem, distances: Distances, gap: float) -> list[Instance]:
    """Return two instances for each sample: just within its distance, and just beyond.

    Samples that are errors where they are have none. Where no error is within reach there is one:
    all of the support, if it is bounded.

    Parameters
    ----------
    gap
        Relative distance of the radii from the exact one.
    """
    found = []
    for sample in range(len(problem)):
        low, high = float(distances.lower[sample]), float(distances.upper[sample])
        if np.isinf(low):
            low, high = _farthest(problem, sample), np.inf
        radii = {"below": low * (1.0 - gap), "above": high * (1.0 + gap)}
        if np.isinf(high):
            radii = {"support": low} if np.isinf(distances.lower[sample]) else radii
        found += [
            _instance(problem, sample, radius, name, distances)
            for name, radius in radii.items()
            if 0 < radius < np.inf
        ]
    return found


def write_export(
    folder: Path, export: Export, instances: Sequence[Instance], *, timeout: float, title: str
) -> None:
    """Write the folder, complete or not at all.

    Parameters
    ----------
    folder
        New, or empty.
    timeout
        Seconds for each instance, for whoever runs ``instances.csv``.
    title
        Name of the problem, for people.

    Raises
    ------
    ProblemError
        The folder is not empty or cannot be written.
    """
    with writing(folder):
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ProblemError(f"{folder}: expected a new or an empty folder")
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = neighbour(folder.resolve())
        (temporary / "vnnlib").mkdir(parents=True)
        try:
            _write(temporary, export, instances, timeout, title)
            temporary.replace(folder.resolve())
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _write(
    folder: Path, export: Export, instances: Sequence[Instance], timeout: float, title: str
) -> None:
    (folder / NETWORK).write_bytes(export.model)
    classes = export.problem.network.classes
    rows, answers = [], ["onnx,vnnlib,expected,sample,label,radius,lower,upper"]
    for one in instances:
        file = f"vnnlib/{one.name}.vnnlib"
        words = f"{title}: sample {one.sample}, label {one.label}, radius {one.radius!r}"
        (folder / file).write_text(robustness_text(one.box, one.label, classes, words), "utf-8")
        rows.append(f"{NETWORK},{file},{timeout:g}")
        if one.distance is not None:
            low, high = one.distance
            numbers = f"{one.sample},{one.label},{one.radius!r},{low!r},{high!r}"
            answers.append(f"{NETWORK},{file},{one.expected},{numbers}")
    (folder / "instances.csv").write_text("".join(f"{row}\n" for row in rows), "utf-8")
    if len(answers) > 1:
        (folder / "expected.csv").write_text("".join(f"{row}\n" for row in answers), "utf-8")


def _instance(
    problem: Problem, sample: int, radius: float, name: str, distances: Distances | None
) -> Instance:
    assert isinstance(problem.support, Box)
    point, label = problem.points[sample], int(problem.labels[sample])
    box = ball(point, radius, problem.support)
    name = f"sample_{sample:04d}_{name}"
    if distances is None:
        return Instance(name, sample, label, radius, box)
    low, high = float(distances.lower[sample]), float(distances.upper[sample])
    reach = float(problem.cost.norm.length(np.maximum(box.upper - point, point - box.lower)))
    expected = "sat" if high <= radius else "unsat" if reach * (1 + 2.0**-50) < low else "unknown"
    return Instance(name, sample, label, radius, box, expected, (low, high))


def _farthest(problem: Problem, sample: int) -> float:
    lower, upper = problem.support.bind(problem.network.features).bounds
    point = problem.points[sample]
    return float(np.maximum(upper - point, point - lower).max())
