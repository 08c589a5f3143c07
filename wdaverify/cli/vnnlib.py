"""Commands for VNN-LIB: ``decide`` answers a property, ``export`` writes some."""

import time
from pathlib import Path
from typing import Any

import click

from wdaverify.arrays import Floats
from wdaverify.cli import options
from wdaverify.cli.help import Command, Example
from wdaverify.cli.session import Session, json_head
from wdaverify.cli.tables import plain_table
from wdaverify.errors import LimitReached, ProblemError
from wdaverify.exact.engine import ENGINES
from wdaverify.storage import StoredProblem, write_json
from wdaverify.storage.networks import compare
from wdaverify.vnnlib import Verdict, VNNLibProperty, load_vnnlib
from wdaverify.vnnlib.exporting import Export, Instance, export_vnnlib
from wdaverify.vnnlib.folders import write_queries

__all__ = ["decide_command", "export_command"]


@click.command(
    "decide",
    cls=Command,
    examples=(
        Example(
            "A property that `wdaverify export` has written",
            "wdaverify decide iris/network.onnx iris/vnnlib/sample_0000_radius_0.05.vnnlib",
        ),
        Example(
            "The same property as a problem folder, for the other commands",
            "wdaverify decide iris/network.onnx iris/vnnlib/sample_0000_radius_0.05.vnnlib "
            "--write property",
        ),
    ),
)
@click.argument("network", type=click.Path(path_type=Path))
@click.argument("property", type=click.Path(path_type=Path))
@options.engine_alone
@options.limits
@click.option(
    "--write", "folder", type=click.Path(path_type=Path, file_okay=False), metavar="FOLDER",
    help="Do not decide, but write the property as a problem folder (one for each box).",
)  # fmt: skip
@options.output
def decide_command(network: Path, folder: Path | None, **given: Any) -> None:  # noqa: ANN401
    """Answer a VNN-LIB property: sat and a counterexample, unsat, or unknown.

    NETWORK is a file (.onnx, .npz, .pt2), PROPERTY a VNN-LIB 1.0 file; both may be compressed by
    gzip. The answer goes to standard output as VNN-COMP has it.
    """
    started, path = time.monotonic(), given.pop("property")
    if given["engine"] not in ENGINES:
        raise ProblemError(f"engine: expected one of {', '.join(ENGINES)}, found {given['engine']}")
    question = load_vnnlib(network, path)
    if folder is not None:
        _write_folders(folder, question, given)
        return
    verdict = _verdict(question, network, given)
    if given["json_file"] != "-":
        click.echo(answer_text(verdict))
    for note in _notes(verdict, question, network) if not given["quiet"] else ():
        click.echo(note, err=True)
    fields = {
        "network": str(network), "property": str(path), "answer": verdict.answer,
        "point": verdict.point, "outputs": verdict.outputs,
        "verified": None if verdict.point is None else verdict.verified,
        "boxes": len(question.queries), "engines": list(verdict.engines),
        "reason": verdict.reason,
        "stopped": None if verdict.stopped is None else str(verdict.stopped),
    }  # fmt: skip
    if given["json_file"] is not None:
        write_json(given["json_file"], json_head("decide", started, question.name) | fields)
    if verdict.stopped is not None:
        raise LimitReached(f"stopped early, the property is open: {verdict.reason}")


def answer_text(verdict: Verdict) -> str:
    """Return the answer and its counterexample in the format of VNN-COMP."""
    if verdict.point is None or verdict.outputs is None:
        return verdict.answer
    values = [*_assignments("X", verdict.point), *_assignments("Y", verdict.outputs)]
    return f"{verdict.answer}\n({chr(10).join(values)})"


def _assignments(kind: str, values: Floats) -> list[str]:
    return [f"({kind}_{k} {value!r})" for k, value in enumerate(values.tolist())]


class _Asked(Session):
    """A session about a property: its first box stands for the problem."""

    def __init__(self, question: VNNLibProperty, network: Path, given: dict[str, Any]) -> None:
        self._question = question
        super().__init__("decide", network, given)

    def _load(self, path: Path) -> StoredProblem:
        query = self._question.queries[0]
        return StoredProblem(query.problem, (query.radius,), None, path, (), path)


def _verdict(question: VNNLibProperty, network: Path, given: dict[str, Any]) -> Verdict:
    if not question.queries:
        return question.decide()
    session = _Asked(question, network, given)
    with session.progress() as progress:
        return question.decide(engine=given["engine"], limits=session.limits, progress=progress)


def _notes(verdict: Verdict, question: VNNLibProperty, network: Path) -> list[str]:
    asked = f"; asked: {', '.join(verdict.engines)}" if verdict.engines else ""
    notes = [f"{question.name}: input boxes that are not empty: {len(question.queries)}{asked}"]
    if verdict.point is not None:
        checked = "checked over the rationals"
        if not verdict.verified:
            checked = "the rounding of a rational point where a condition holds with equality"
        notes.append(f"counterexample: {checked}")
        packed = network.suffix.lower() == ".gz"
        notes += () if packed else compare(network, question.network, verdict.point[None])
    elif verdict.reason and verdict.stopped is None:
        notes.append(verdict.reason)
    return [note.replace("on the data", "at it") for note in notes]


def _write_folders(folder: Path, question: VNNLibProperty, given: dict[str, Any]) -> None:
    if given["json_file"] is not None:
        raise ProblemError("--write: expected it without --json, it answers nothing")
    for path in write_queries(folder, question):
        if not given["quiet"]:
            click.echo(f"problem folder: {path}")


@click.command(
    "export",
    cls=Command,
    examples=(
        Example(
            "Instances for one radius, with the answers that are expected",
            "wdaverify export problems/iris --samples 4 --radius 0.05 --expected --out iris",
        ),
        Example(
            "Just within and just beyond the exact distance of each sample",
            "wdaverify export problems/iris --samples 4 --around-distances --out iris-around",
        ),
    ),
)
@options.problem
@options.radius_norm_and_samples
@click.option(
    "--out", "folder", required=True, type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER", help="A new folder: network.onnx, vnnlib/, instances.csv, expected.csv.",
)  # fmt: skip
@click.option(
    "--around-distances",
    is_flag=True,
    help="Two instances for each sample, just within its exact distance and just beyond.",
)
@click.option(
    "--gap", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=None,
    metavar="G", help="How far from the distance, relative to it.  [default: 1e-4]",
)  # fmt: skip
@click.option("--expected", is_flag=True, help="Also compute and write the answers.")
@click.option("--double", is_flag=True, help="Write float64; most verifiers read float32 only.")
@click.option(
    "--zero-below", type=click.FloatRange(min=0), default=0.0, metavar="W",
    help="Write weights smaller than this as zero: tiny ones mislead some verifiers.",
)  # fmt: skip
@click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), default=300.0, show_default=True,
    metavar="SECONDS", help="Written into instances.csv.",
)  # fmt: skip
@options.engine_and_limits_at_once
@options.output
def export_command(problem: Path, folder: Path, **given: Any) -> None:  # noqa: ANN401
    """Write ONNX and VNN-LIB instances for other verifiers.

    An instance asks whether the prediction can change within an l-infinity ball around a sample,
    inside the support. Expected answers are about the network as it is written.
    """
    _check_options(given)
    session = Session("export", problem, given | {"loss": None})
    around = (given["gap"] or 1e-4) if given["around_distances"] else None
    with session.progress() as progress:
        export = export_vnnlib(
            session.problem, folder,
            radii=session.stored.radii, around=around, expected=given["expected"],
            double=given["double"], zero_below=given["zero_below"], timeout=given["timeout"],
            engine=given["engine"], workers=given["workers"],
            limits=session.limits, progress=progress,
        )  # fmt: skip
    _report(session, folder, export)
    session.finish(export.stopped)


def _check_options(given: dict[str, Any]) -> None:
    """Refuse options that mean nothing together."""
    if given["around_distances"]:
        for name, option in (("radii", "--radius"), ("expected", "--expected")):
            if given[name]:
                raise ProblemError(f"--around-distances: expected no {option} beside it, found one")
        return
    if given["gap"] is not None:
        raise ProblemError("--gap: expected --around-distances beside it, found none")
    asked = (given["engine"] != "auto", given["workers"] is not None)
    for name, used in zip(("--engine", "--workers"), asked, strict=True):
        if used and not given["expected"]:
            raise ProblemError(f"{name}: expected --expected or --around-distances beside it")


def _report(session: Session, folder: Path, export: Export) -> None:
    answers = ["sat", "unsat", "unknown"]
    counts = {word: sum(one.expected == word for one in export.instances) for word in answers}
    row = [str(len(export.problem)), str(len(export.instances))]
    row += [str(counts[word]) for word in answers]
    columns = ["samples", "instances", *(f"expected {word}" for word in answers)]
    session.print(plain_table(f"{session.problem.name}: instances in {folder}", columns, [row]))
    for note in export.notes:
        session.note(note)
    session.write(
        {
            "folder": str(folder),
            "instances": [_fields(one) for one in export.instances],
            "difference": export.difference,
            "network_digest": export.problem.network.digest,
            "stopped": None if export.stopped is None else str(export.stopped),
        }
    )


def _fields(one: Instance) -> dict[str, Any]:
    return {
        "vnnlib": f"vnnlib/{one.name}.vnnlib",
        "sample": one.sample,
        "label": one.label,
        "radius": one.radius,
        "expected": one.expected or None,
        "distance": one.distance,
    }
