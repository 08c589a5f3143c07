"""Where the numbers come from: versions, files, hashes, seeds, and how to repeat them."""

import hashlib
import platform
import shlex
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import wdaverify
from wdaverify.errors import UnsupportedError
from wdaverify.proof.question import question_digest
from wdaverify.report.figures import figure
from wdaverify.storage.files import writing
from wdaverify.verification import Sandwich

__all__ = ["Origin", "Provenance", "provenance"]

_PACKAGES = ("numpy", "torch", "highspy", "scipy", "onnx")


@dataclass(frozen=True, slots=True)
class Origin:
    """What a sandwich does not know about itself.

    Parameters
    ----------
    problem
        Path of the problem folder or file, as given.
    command
        Words of the command line that made the report.
    question
        Those of its options that change the question, without radii.
    files
        Files that the question was read from.
    notes
        What their reader changed or measured.
    seed
        Of the attack.
    expected
        Known values, one per radius, and why they are known.
    """

    problem: Path | None = None
    command: tuple[str, ...] = ()
    question: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    seed: int | None = None
    expected: tuple[tuple[float, ...], str] | None = None


@dataclass(frozen=True, slots=True)
class Provenance:
    """What the last section shows.

    Attributes
    ----------
    digests
        SHA-256 by what was hashed.
    questions
        SHA-256 of the question by radius, as the header of a proof has it.
    commands
        What they do, and the line to type.
    stages
        Name, seconds and share of the whole.
    """

    date: str
    versions: list[tuple[str, str]]
    system: str
    digests: list[tuple[str, str]]
    questions: list[tuple[float, str]]
    commands: list[tuple[str, str]]
    stages: list[tuple[str, float, float]]
    total: float
    work: list[tuple[str, str]]


def provenance(result: Sandwich, origin: Origin, extra: dict[str, float]) -> Provenance:
    """Return where the numbers come from.

    Parameters
    ----------
    extra
        Seconds of stages after the sandwich.

    Raises
    ------
    ProblemError
        A file of the question cannot be read any more.
    """
    stages = {**result.seconds, **extra}
    total = sum(stages.values())
    digests = [(path.name, _file_digest(path)) for path in origin.files]
    digests.append(("weights of the network as read", result.problem.network.digest))
    return Provenance(
        datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        _versions(),
        f"{platform.system()} {platform.release()}, {platform.machine()}",
        digests,
        _questions(result),
        _commands(result, origin),
        [(name, value, value / total if total else 0.0) for name, value in stages.items()],
        total,
        _work(result, origin),
    )


def _versions() -> list[tuple[str, str]]:
    found = [("wdaverify", wdaverify.__version__), ("Python", platform.python_version())]
    for name in _PACKAGES:
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            continue
    return found


def _file_digest(path: Path) -> str:
    with writing(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _questions(result: Sandwich) -> list[tuple[float, str]]:
    try:
        return [(row.radius, question_digest(result.problem, row.radius)) for row in result.rows]
    except UnsupportedError:
        return []


def _work(result: Sandwich, origin: Origin) -> list[tuple[str, str]]:
    """Return engine, counts of the work, seed."""
    found = [("Engine", f"{result.engine.engine} ({result.engine.reason})")]
    found += [(name.capitalize(), f"{count:,}") for name, count in result.counts.items() if count]
    tolerances = {row.exact.tolerance for row in result.rows if row.exact is not None}
    found += [("Tolerance", figure(value)) for value in sorted(tolerances)]
    if origin.seed is not None:
        found.append(("Seed of the attack", str(origin.seed)))
    return found


def _commands(result: Sandwich, origin: Origin) -> list[tuple[str, str]]:
    if origin.problem is None or not origin.command:
        return []
    found = [("This report again", shlex.join(("wdaverify", *origin.command)))]
    if not _questions(result):
        return found
    radius = max(result.rows, key=lambda row: row.radius).radius
    name = f"{origin.problem.resolve().name or 'problem'}.proof"
    problem = str(origin.problem)
    asked = ("--radius", repr(radius), *origin.question)
    prove = ("wdaverify", "prove", problem, *asked, "--out", name)
    check = ("wdaverify", "check", name, problem, *asked)
    return [
        *found,
        ("A proof of the value at the largest radius", shlex.join(prove)),
        ("Check it in exact arithmetic, without solver", shlex.join(check)),
    ]
