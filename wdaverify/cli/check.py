"""``wdaverify check``: check a proof in exact arithmetic, and that it is about this question."""

import time
from pathlib import Path
from typing import Any

import click

from wdaverify.checker.verdict import NotAProofError, Verdict, check_file, describe
from wdaverify.cli import options
from wdaverify.cli.help import Command, Example
from wdaverify.cli.parameters import ProblemPath
from wdaverify.cli.session import SCHEMA
from wdaverify.errors import CheckFailedError, ProblemError
from wdaverify.proof.question import question_digest
from wdaverify.storage import Overrides, StoredProblem, load_stored, write_json

__all__ = ["check"]


@click.command(
    cls=Command,
    examples=(
        Example("What a file proves", "wdaverify check iris.proof"),
        Example(
            "Also that it is about this question",
            "wdaverify check iris.proof problems/iris --samples 10 --radius 0.05",
        ),
    ),
)
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("problem", type=ProblemPath(), required=False)
@options.question
@options.output
def check(file: Path, problem: Path | None, **given: Any) -> None:  # noqa: ANN401
    """Check the proof in FILE; with PROBLEM also that it is about this question.

    No solver, enumerator or torch takes part: the arithmetic is that of Python's integers, the
    code the package wdaverify.checker alone. Without PROBLEM the SHA-256 of the question is
    printed; with it, the proof must be about the problem at one of the radii of its file, or of
    --radius.
    """
    stored, started = _stored(problem, given), time.monotonic()
    try:
        verdict = check_file(file)
    except NotAProofError as error:
        raise ProblemError(str(error)) from None
    if stored is not None and verdict.accepted:
        verdict = _about(stored, verdict)
    if not given["quiet"] and given["json_file"] != "-":
        click.echo(describe(verdict))
    if given["json_file"] is not None:
        head = {"schema": SCHEMA, "command": "check",
                "problem": None if stored is None else stored.problem.name,
                "file": str(file), "seconds": round(time.monotonic() - started, 6)}  # fmt: skip
        write_json(given["json_file"], head | verdict.fields())
    if not verdict.accepted:
        raise CheckFailedError(f"{file}: proof rejected: {verdict.reason}")


def _stored(problem: Path | None, given: dict[str, Any]) -> StoredProblem | None:
    """Read the problem folder, the options applied."""
    names = ("loss", "norm", "order", "label_cost", "samples")
    if problem is not None:
        overrides = Overrides(radii=given["radii"] or None, **{k: given[k] for k in names})
        return load_stored(problem, overrides=overrides)
    for name, value in given.items():
        if name in ("radii", *names) and value not in (None, ()):
            option = {"radii": "radius"}.get(name, name.replace("_", "-"))
            raise ProblemError(f"--{option}: expected PROBLEM beside it, found none")
    return None


def _about(stored: StoredProblem, verdict: Verdict) -> Verdict:
    """Reject a proof about another question."""
    radii = stored.radii
    if verdict.question in (question_digest(stored.problem, radius) for radius in radii):
        return verdict
    reason = (
        f"the proof is about another question (radius {verdict.radius!r}) than "
        f"{stored.problem.name} at radius {', '.join(f'{radius!r}' for radius in radii)}"
    )
    return verdict._replace(accepted=False, lower=None, upper=None, reason=reason, line=2)
