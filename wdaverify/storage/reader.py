"""From a problem folder to a `Problem`: the question, then its arrays, then the checks."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from wdaverify.arrays import Floats, floats
from wdaverify.importers.place import at
from wdaverify.network import ReLUNetwork
from wdaverify.problem import Problem
from wdaverify.storage.archive import choose, read_npz
from wdaverify.storage.networks import compare, load_network
from wdaverify.storage.places import complaints_on_one_line, keys_placed
from wdaverify.storage.projection import project
from wdaverify.storage.question import Expected, Overrides, Question, read_question
from wdaverify.support import Box, Polytope, Support

__all__ = ["StoredProblem", "load_problem", "load_stored"]


@dataclass(frozen=True, slots=True)
class StoredProblem:
    """A problem with what its folder says about it.

    Parameters
    ----------
    problem
        The question.
    radii
        Radii that are asked for, in units of distance.
    expected
        Known answers, one per radius.
    path
        The TOML file.
    notes
        What the reader changed, measured or left out, for the user to see.
    network
        The file of the network.
    files
        All files that the question is read from.
    """

    problem: Problem
    radii: tuple[float, ...]
    expected: Expected | None
    path: Path
    notes: tuple[str, ...]
    network: Path
    files: tuple[Path, ...] = ()


class _Arrays(NamedTuple):
    """The arrays that a question names, not yet checked against each other."""

    network: ReLUNetwork
    points: npt.ArrayLike
    labels: npt.ArrayLike
    weights: npt.ArrayLike | None
    support: Support


def load_problem(path: str | Path) -> Problem:
    """Read the problem in a folder, or in a TOML file.

    Raises
    ------
    ProblemError
        Anything that is missing, unknown or wrong; one line that names file and key.
    UnsupportedError
        The network has an operator that is not piecewise affine or not known.
    """
    with complaints_on_one_line():
        question = read_question(_toml(Path(path)), Overrides())
        return _build(question, None)[0]


def load_stored(path: str | Path, *, overrides: Overrides | None = None) -> StoredProblem:
    """Read a problem with its radii and known answers, and compare its network with the original.

    Parameters
    ----------
    path
        A folder with a ``problem.toml``, or such a file.
    overrides
        What the command line replaces.

    Raises
    ------
    ProblemError
        Anything that is missing, unknown or wrong; one line that names file and key.
    UnsupportedError
        The network has an operator that is not piecewise affine or not known.
    """
    overrides = overrides or Overrides()
    with complaints_on_one_line():
        question = read_question(_toml(Path(path)), overrides)
        problem, notes, available = _build(question, overrides.samples)
        notes += compare(question.network, problem.network, problem.points)
        changes = question.changes + ("--samples",) * (len(problem) < available)
        expected = question.expected
        if expected is not None and changes:
            notes += (f"expected values ignored: {_changed(changes)} the question",)
            expected = None
        elif expected is not None and question.radii != question.stored_radii:
            known = dict(zip(question.stored_radii, expected.values, strict=True))
            expected = Expected(tuple(known[radius] for radius in question.radii), expected.source)
        return StoredProblem(
            problem, question.radii, expected, question.path, notes, question.network,
            _files(question),
        )  # fmt: skip


def _files(question: Question) -> tuple[Path, ...]:
    polytope = () if isinstance(question.support, Box) else (question.support,)
    return (question.path, question.network, question.data, *polytope)


def _toml(path: Path) -> Path:
    try:
        return path / "problem.toml" if path.is_dir() else path
    except OSError:  # such as a name that is too long: opening it says so again
        return path


def _changed(options: Sequence[str]) -> str:
    return f"{', '.join(options)} {'changes' if len(options) == 1 else 'change'}"


def _build(question: Question, samples: int | None) -> tuple[Problem, tuple[str, ...], int]:
    """Return the problem of the first samples, notes, and how many samples there are."""
    arrays = _read(question)
    path, data = question.path, question.data
    places = {key: f"{data}: {key}" for key in ("points", "labels", "weights")}
    places |= {key: f"{path}: {name}" for key, name in question.names.items()}
    places["samples"] = f"{path}: --samples"
    with keys_placed(path, places):
        notes: tuple[str, ...] = ()
        support = arrays.support.bind(arrays.network.features)
        if question.clip:
            points, excess = _clip(question, arrays, support)
            arrays = arrays._replace(points=points)
            notes = _clipped(excess[:samples])
        problem = Problem(
            arrays.network,
            arrays.points,
            arrays.labels,
            loss=question.loss,
            cost=question.cost,
            support=support,
            weights=arrays.weights,
            name=question.name,
        )
        available = len(problem)
        return (problem if samples is None else problem.head(samples)), notes, available


def _read(question: Question) -> _Arrays:
    network = load_network(question.network)
    wanted = partial(choose, required=("points", "labels"), optional=("weights",))
    data = read_npz(question.data, wanted)
    support = _support(question)
    return _Arrays(network, data["points"], data["labels"], data.get("weights"), support)


def _support(question: Question) -> Support:
    path = question.support
    if isinstance(path, Box):
        return path
    rows = read_npz(path, partial(choose, required=("A", "b")))
    with at(str(path)):
        return Polytope(rows["A"], rows["b"])


def _clip(question: Question, arrays: _Arrays, support: Support) -> tuple[Floats, Floats]:
    """Return points inside the support, and how far each of them was outside."""
    points = floats(arrays.points, "points", ndim=2)
    if points.shape[1] != arrays.network.features:
        return points, np.zeros(len(points))  # `Problem` says so better
    return project(support, points, question.cost.norm), support.excess(points)


def _clipped(excess: Floats) -> tuple[str, ...]:
    outside = np.flatnonzero(excess > 0)
    if not len(outside):
        return ()
    what = "1 point" if len(outside) == 1 else f"{len(outside)} points"
    first = outside[0]
    return (f"{what} clipped into the support, the first at index {first} by {excess[first]:.2g}",)
