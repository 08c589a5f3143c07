"""From a `Problem` to a problem folder, which appears complete or not at all."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from wdaverify.errors import ProblemError
from wdaverify.loss import LOSSES
from wdaverify.norms import NORMS
from wdaverify.problem import Problem
from wdaverify.storage.files import neighbour, write_arrays, writing
from wdaverify.storage.question import Expected
from wdaverify.storage.toml import render
from wdaverify.storage.values import check_radii
from wdaverify.support import Box, Polytope

__all__ = ["publishing", "write_problem"]


def write_problem(
    folder: str | Path,
    problem: Problem,
    radii: Sequence[float],
    *,
    expected: Expected | None = None,
    description: str = "",
) -> None:
    """Write a problem folder that `load_problem` reads back bit for bit.

    Parameters
    ----------
    folder
        Created, with its parents; may exist if it is empty.
    problem
        Its loss, norm and support must be those of this package.
    radii
        Finite, not negative, in units of distance.
    expected
        Known answers, one per radius.
    description
        Put as a remark at the top of the TOML file.

    Raises
    ------
    ProblemError
        The folder is not empty or cannot be written, or something cannot be stored.
    """
    folder = Path(folder)
    checked = check_radii(tuple(float(radius) for radius in radii), "radii")
    _check(problem, checked, expected)
    text = render(problem, checked, expected, description).encode()
    with publishing(folder) as new:
        _write(new, problem, text)


@contextmanager
def publishing(folder: Path) -> Iterator[Path]:
    """Yield a new folder that takes the name ``folder`` when the block ends without an exception.

    Raises
    ------
    ProblemError
        The folder is not empty or cannot be written.
    """
    with writing(folder):
        _check_free(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = neighbour(folder.resolve())
        temporary.mkdir()
        try:
            yield temporary
            _check_free(folder)
            temporary.replace(folder.resolve())
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _check(problem: Problem, radii: Sequence[float], expected: Expected | None) -> None:
    for what, part, known in (
        ("loss", problem.loss, LOSSES),
        ("norm", problem.cost.norm, NORMS),
    ):
        if known.get(part.name) != part:
            raise ProblemError(f"{what}: expected one of {', '.join(known)}, found {part!r}")
    if not isinstance(problem.support, Box | Polytope):
        raise ProblemError(f"support: expected a box or a polytope, found {problem.support!r}")
    if expected is not None and len(expected.values) != len(radii):
        raise ProblemError(
            f"expected.values: expected one value for each of {len(radii)} radii, "
            f"found {len(expected.values)}"
        )


def _check_free(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise ProblemError(f"{folder}: expected a new folder, found a file")
    if folder.is_dir() and any(folder.iterdir()):
        raise ProblemError(f"{folder}: expected a new or an empty folder, found files in it")


def _write(folder: Path, problem: Problem, text: bytes) -> None:
    write_arrays(folder / "network.npz", **problem.network.arrays())
    data = {"points": problem.points, "labels": problem.labels}
    if not (problem.weights == 1.0).all():
        data["weights"] = problem.weights
    write_arrays(folder / "data.npz", **data)
    if isinstance(problem.support, Polytope):
        write_arrays(folder / "support.npz", A=problem.support.A, b=problem.support.b)
    (folder / "problem.toml").write_bytes(text)
