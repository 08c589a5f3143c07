"""``wdaverify check``: check a proof in exact arithmetic, and that it is about this question."""

import time
from pathlib import Path
from typing import Any

import click

from wdaverify.checker.verdict import NotAProofError, Verdict, check_file, describe
from wdaverify.cli import options
from wdaverify.cli.help import Command, Example
from wdaverify.cli.parameters import ProblemPath
from wdaverify.cli.progress import Forecast, shown
from wdaverify.cli.session import json_head
from wdaverify.errors import CheckFailedError, ProblemError
from wdaverify.limits import Limits
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
        verdict = _checked(file, quiet=given["quiet"])
    except NotAProofError as error:
        raise ProblemError(str(error)) from None
    if stored is not None and verdict.accepted:
        verdict = _about(stored, verdict)
    if not given["quiet"] and given["json_file"] != "-":
        click.echo(describe(verdict))
    if given["json_file"] is not None:
        head = json_head("check", started, None if stored is None else stored.problem.name)
        write_json(given["json_file"], head | {"file": str(file)} | verdict.fields())
    if not verdict.accepted:
        raise CheckFailedError(f"{file}: proof rejected: {verdict.reason}")


def _checked(file: Path, *, quiet: bool) -> Verdict:
    """Check a file, showing how much of it is read."""
    forecast = Forecast(Limits())
    size = max(1, file.stat().st_size) if file.is_file() else 1
    with shown(forecast, quiet=quiet) as tell:
        return check_file(file, lambda read: tell.stage("checking the proof", read / size))


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
