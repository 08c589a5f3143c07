"""A folder for other verifiers: the network as ONNX, VNN-LIB instances, ``instances.csv``.

The network is written, read back, and what was read is what answers are about: rounding to float32
is part of the question, not an error of the answer.
"""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from wdaverify.errors import LimitReached, ProblemError, UnsupportedError
from wdaverify.exact.solve import solver_for
from wdaverify.limits import Limits
from wdaverify.loss import ZeroOne
from wdaverify.network import ReLUNetwork
from wdaverify.problem import Problem
from wdaverify.storage.files import neighbour, writing
from wdaverify.storage.values import check_radii
from wdaverify.support import Box
from wdaverify.vnnlib.instances import Instance, instances_around, instances_at
from wdaverify.vnnlib.onnx_writer import onnx_bytes
from wdaverify.vnnlib.writing import robustness_text

__all__ = ["Export", "Instance", "export_vnnlib"]

NETWORK: Final = "network.onnx"


@dataclass(frozen=True, slots=True, eq=False)
class Export:
    """What was written.

    Attributes
    ----------
    problem
        Zero-one loss; its network is the one that the ONNX file holds, as our reader reads it.
    instances
        In the order of ``instances.csv``.
    difference
        Largest difference of that network's logits from those of the original on the data.
    notes
        What a user should know.
    stopped
        The limit that left distances open, if one did.
    """

    problem: Problem
    instances: tuple[Instance, ...]
    difference: float
    notes: tuple[str, ...]
    stopped: LimitReached | None = None


def export_vnnlib(  # noqa: PLR0913  (what is asked, how it is written, what it may cost)
    problem: Problem,
    folder: str | Path,
    *,
    radii: Sequence[float] = (),
    around: float | None = None,
    expected: bool = False,
    double: bool = False,
    zero_below: float = 0.0,
    timeout: float = 300.0,
    engine: str = "auto",
    workers: int | None = None,
    limits: Limits | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> Export:
    """Write ONNX and VNN-LIB instances that ask other verifiers about each sample.

    Parameters
    ----------
    problem
        Its norm must be ℓ∞ and its support a box; loss and order do not matter: an instance asks
        whether the margin can become 0 within a ball.
    folder
        New or empty; written complete or not at all.
    radii
        An instance for each sample and each of these, in input units.
    around
        Instead: two instances for each sample, at its exact distance times ``1 ∓ around``.
    expected
        Compute distances also for given radii, and write the answers.
    double
        Write float64; most verifiers read float32 only.
    zero_below
        Write weights smaller than this as zero.
    timeout
        Seconds for each instance, written for whoever runs them.
    engine, workers, limits, progress
        How distances are computed; see :func:`~wdaverify.exact.solve.solve`.

    Raises
    ------
    UnsupportedError
        Another norm, a polytope as support, or an engine that does not cover it.
    ProblemError
        No radius, a number beyond the range of float32, or the folder cannot be written.
    """
    folder = Path(folder)
    _check(problem, folder)
    if around is None:
        radii = check_radii(tuple(radii), "radii")
    model = onnx_bytes(_without_tiny(problem.network, zero_below), double=double)
    network = _read_back(model)
    written = problem.replace(network=network, loss=ZeroOne())
    distances = None
    if expected or around is not None:
        solver = solver_for(written, engine, workers=workers, limits=limits, progress=progress)
        distances = solver.distances()
    if distances is None or around is None:
        instances = instances_at(written, radii, distances)
    else:
        instances = instances_around(written, distances, around)
    moved = network.logits(problem.points) - problem.network.logits(problem.points)
    difference = float(np.abs(moved).max())
    export = Export(
        written, tuple(instances), difference, _notes(written, instances, difference),
        None if distances is None else distances.reached,
    )  # fmt: skip
    write_export(folder, model, export, timeout=timeout)
    return export


def _notes(problem: Problem, instances: Sequence[Instance], difference: float) -> tuple[str, ...]:
    notes = [f"largest difference of a logit of the network as written: {difference:.2g}"]
    left = sorted(set(range(len(problem))) - {one.sample for one in instances})
    if left:
        notes.append(
            f"{len(left)} of {len(problem)} samples without an instance, the first at index "
            f"{left[0]}: errors where they are, or no error within reach"
        )
    return tuple(notes)


def _check(problem: Problem, folder: Path) -> None:
    if problem.cost.norm.name != "linf":
        raise UnsupportedError(
            f"norm: expected linf (a VNN-LIB box is a ball of it), found {problem.cost.norm.name}"
        )
    if not isinstance(problem.support, Box):
        raise UnsupportedError(f"support: expected a box, found a {problem.support.describe()}")
    with writing(folder):
        _check_free(folder)


def _check_free(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ProblemError(f"{folder}: expected a new or an empty folder, found something there")


def _without_tiny(network: ReLUNetwork, smallest: float) -> ReLUNetwork:
    """Return the network with weights smaller than a number set to zero."""
    weights = [np.where(np.abs(W) < smallest, 0.0, W) for W in network.weights]
    return ReLUNetwork(weights, network.biases, network.slopes)


def _read_back(model: bytes) -> ReLUNetwork:
    from wdaverify.importers.onnx_reader import read_onnx  # noqa: PLC0415  (onnx is slow)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / NETWORK
        path.write_bytes(model)
        return read_onnx(path)


def write_export(folder: Path, model: bytes, export: Export, *, timeout: float) -> None:
    """Write the folder, complete or not at all.

    Raises
    ------
    ProblemError
        The folder is not empty or cannot be written.
    """
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = neighbour(folder.resolve())
        (temporary / "vnnlib").mkdir(parents=True)
        try:
            (temporary / NETWORK).write_bytes(model)
            _write_instances(temporary, export, timeout)
            _check_free(folder)
            temporary.replace(folder.resolve())
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _write_instances(folder: Path, export: Export, timeout: float) -> None:
    name, classes = export.problem.name, export.problem.network.classes
    rows, answers = [], ["onnx,vnnlib,expected,sample,label,radius,lower,upper"]
    for one in export.instances:
        file = f"vnnlib/{one.name}.vnnlib"
        words = f"{name}: sample {one.sample}, label {one.label}, radius {one.radius!r}"
        (folder / file).write_text(robustness_text(one.box, one.label, classes, words), "utf-8")
        rows.append(f"{NETWORK},{file},{timeout:g}")
        if one.distance is not None:
            low, high = one.distance
            numbers = f"{one.sample},{one.label},{one.radius!r},{low!r},{high!r}"
            answers.append(f"{NETWORK},{file},{one.expected},{numbers}")
    (folder / "instances.csv").write_text("".join(f"{row}\n" for row in rows), "utf-8")
    if len(answers) > 1:
        (folder / "expected.csv").write_text("".join(f"{row}\n" for row in answers), "utf-8")
