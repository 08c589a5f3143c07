"""A draft as a problem folder, read back before it appears."""

import shutil
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from wdaverify.drafts.draft import Draft
from wdaverify.drafts.text import render_draft
from wdaverify.errors import ProblemError
from wdaverify.storage import StoredProblem, load_stored, write_arrays
from wdaverify.storage.files import neighbour, writing
from wdaverify.storage.networks import contents
from wdaverify.storage.places import complaints_on_one_line
from wdaverify.storage.writer import publishing

__all__ = ["check_replaceable", "write_draft"]

_OURS: Final = (
    *("problem.toml", "data.npz", "support.npz"),
    *("network.npz", "network.onnx", "network.pt2"),
)


def write_draft(folder: Path, draft: Draft, *, replaced: bool = False) -> tuple[str, ...]:
    """Write a problem folder, and return what its reader has to say.

    Parameters
    ----------
    folder
        Created, with its parents; may exist if it is empty.
    draft
        The question.
    replaced
        Whether a problem folder that is there already gives way.

    Raises
    ------
    ProblemError
        The folder holds something else, or cannot be written; nothing has changed then.
    """
    with complaints_on_one_line():
        check_replaceable(folder, replaced=replaced)
        data, embedded = contents(draft.model)
        notes = ("external data of the network are now inside its file",) if embedded else ()
        network = f"network{draft.model.suffix.lower()}"
        text = render_draft(draft, network).encode()
        old = _moved(folder) if replaced and folder.is_dir() else None
        try:
            with publishing(folder) as new:
                (new / network).write_bytes(data)
                write_arrays(new / "data.npz", **_arrays(draft))
                (new / "problem.toml").write_bytes(text)
                stored = load_stored(new)
                _check(draft, stored)
        except BaseException:
            if old is not None:
                old.replace(folder.resolve())
            raise
        if old is not None:
            shutil.rmtree(old, ignore_errors=True)
    return (*notes, *stored.notes)


def check_replaceable(folder: Path, *, replaced: bool) -> None:
    """Refuse a folder that must not be written to, before any work is done.

    Raises
    ------
    ProblemError
        It is a file, or holds files and is not to be replaced, or others than those of a problem.
    """
    if folder.exists() and not folder.is_dir():
        raise ProblemError(f"{folder}: expected a new folder, found a file")
    there = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if there and not replaced:
        raise ProblemError(
            f"{folder}: expected a new or an empty folder, found {there[0]!r} in it; "
            f"--force replaces a problem folder"
        )
    other = [name for name in there if name not in _OURS]
    if other:
        raise ProblemError(
            f"{folder}: expected only the files of a problem, so that it can be replaced, "
            f"found {other[0]!r}"
        )


def _moved(folder: Path) -> Path:
    """Put the old folder aside, whole, to be able to put it back."""
    aside = neighbour(folder.resolve())
    with writing(folder):
        folder.resolve().rename(aside)
    return aside


def _arrays(draft: Draft) -> dict[str, npt.NDArray[Any]]:
    points = draft.samples.points
    if points.dtype.kind not in "fiu" or points.dtype.itemsize >= 8:
        points = points.astype(np.float64)
    arrays = {"points": points, "labels": draft.samples.labels.indices}
    if draft.samples.weights is not None:
        arrays["weights"] = draft.samples.weights
    return arrays


def _check(draft: Draft, stored: StoredProblem) -> None:
    """Make sure that the files ask the question that was reported.

    Raises
    ------
    ProblemError
        They do not.
    """
    ours, theirs = draft.problem, stored.problem
    same = (
        ours.network.digest == theirs.network.digest
        and np.array_equal(ours.points, theirs.points)
        and np.array_equal(ours.labels, theirs.labels)
        and np.array_equal(ours.support.bounds, theirs.support.bounds)
        and (ours.loss, ours.cost) == (theirs.loss, theirs.cost)
        and draft.radii.value == stored.radii
    )
    if not same:
        raise ProblemError("expected files that read back as they were written, found others")
