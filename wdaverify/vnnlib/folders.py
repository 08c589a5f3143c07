"""A property as problem folders, one for each box."""

import shutil
from pathlib import Path

from wdaverify.errors import ProblemError
from wdaverify.storage import write_problem
from wdaverify.storage.files import neighbour, writing
from wdaverify.vnnlib.reading import Query, VNNLibProperty

__all__ = ["write_queries"]


def write_queries(folder: str | Path, question: VNNLibProperty) -> list[Path]:
    """Write a property as a problem folder, or as one for each box: ``box_0``, ``box_1``, ….

    The worst-case zero-one loss at the radius of a folder is 1 where the box holds a
    counterexample, else 0.

    Returns
    -------
    list
        The problem folders.

    Raises
    ------
    ProblemError
        No box, or the folder is not empty or cannot be written.
    """
    folder = Path(folder)
    if not question.queries:
        raise ProblemError("expected a property with a box to write, found only empty ones")
    if len(question.queries) == 1:
        _write(folder, question.queries[0])
        return [folder]
    with writing(folder):
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ProblemError(f"{folder}: expected a new or an empty folder")
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = neighbour(folder.resolve())
        temporary.mkdir()
        names = [f"box_{k}" for k in range(len(question.queries))]
        try:
            for name, query in zip(names, question.queries, strict=True):
                _write(temporary / name, query)
            temporary.replace(folder.resolve())
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return [folder / name for name in names]


def _write(folder: Path, query: Query) -> None:
    words = (
        f"A box of {query.problem.name}: the value at the radius is 1 where an input in it\n"
        f"satisfies the property, else 0."
    )
    write_problem(folder, query.problem, [query.radius], description=words)
