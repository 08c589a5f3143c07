"""Commands that write proofs and look at them from the other side: ``prove`` and ``replay``."""

import time
from pathlib import Path
from typing import Any

import click
import numpy as np

from wdaverify.checker.question import read_question
from wdaverify.cli import options
from wdaverify.cli.help import Command, Example
from wdaverify.cli.parameters import OutputFile, ProblemPath
from wdaverify.cli.session import Session, json_head
from wdaverify.cli.tables import figure, plain_table
from wdaverify.errors import LimitReached, ProblemError
from wdaverify.exact.engine import Choice, choose_engine
from wdaverify.exact.solve import solver_for
from wdaverify.proof.prove import KINDS, prove
from wdaverify.proof.question import question_line
from wdaverify.proof.value import UnfinishedError
from wdaverify.replay.replay import Atoms, Replay, atoms_of_proof, network_of
from wdaverify.replay.replay import replay as play
from wdaverify.storage import write_json
from wdaverify.units import require_plain

__all__ = ["prove_command", "replay_command"]


def _radius(session: Session) -> float:
    """Return the one radius that is asked for."""
    radii = session.stored.radii
    if len(radii) != 1:
        raise ProblemError(
            f"--radius: expected one radius, found {len(radii)} in the problem; name one of them"
        )
    return radii[0]


@click.command(
    "prove",
    cls=Command,
    section="Proof",
    examples=(
        Example(
            "The worst-case value at one radius",
            "wdaverify prove problems/iris --samples 10 --radius 0.05 --out iris.proof",
        ),
        Example(
            "The cell Lipschitz constant",
            "wdaverify prove problems/moons --radius 0.05 --of lipschitz --out lipschitz.proof",
        ),
    ),
)
@options.problem
@options.question
@click.option(
    "--of", type=click.Choice(KINDS), default="value", show_default=True,
    help="What is proved: the worst-case value, the cell Lipschitz constant or the slope.",
)  # fmt: skip
@click.option(
    "--out", required=True, type=OutputFile(), metavar="FILE",
    help="The proof file, written whole or not at all.",
)  # fmt: skip
@click.option(
    "--no-check", "unchecked", is_flag=True, help="Do not run the checker over the file at the end."
)
@options.compute_alone
@options.output
def prove_command(problem: Path, of: str, out: Path, unchecked: bool, **given: Any) -> None:  # noqa: ANN401, FBT001
    """Write a proof of one exact value, for `wdaverify check`."""
    session = Session("prove", problem, given)
    radius = _radius(session)
    session.engine = Choice("cells", "constants are proved over listed cells")
    if of == "value":
        session.engine = choose_engine(session.problem, given["engine"])
    try:
        with session.progress() as progress:
            found = prove(
                session.problem, radius=radius, path=out, of=of, engine=session.engine.engine,
                tolerance=given["tolerance"], checked=not unchecked, limits=session.limits,
                progress=progress,
            )  # fmt: skip
    except LimitReached as reached:
        _unfinished(session, {"radius": radius, "of": of}, reached)
        raise
    size = out.stat().st_size
    columns = ["radius ε", "lower", "upper", "loss of bound", "bytes"]
    row = [f"{radius:g}", figure(found.lower), figure(found.upper), f"{found.loss:.1e}", size]
    session.print(plain_table(f"{session.problem.name}: proof of the {of}", columns, [row]))
    session.note(f"engine: {session.engine.engine} ({session.engine.reason})")
    session.note(f"proof: {out}" + (" (not checked)" if unchecked else " (checked)"))
    session.write(
        {
            "radius": radius,
            "of": of,
            "lower": found.lower,
            "upper": found.upper,
            "file": str(out),
            "bytes": size,
            "loss": found.loss,
            "engine": session.engine.engine,
            "checked": not unchecked,
            "stopped": None,
        }
    )


def _unfinished(session: Session, asked: dict[str, Any], reached: LimitReached) -> None:
    """Print and write the bracket that is known although its proof is not."""
    value = reached.value if isinstance(reached, UnfinishedError) else None
    if value is not None:
        row = [f"{value.radius:g}", figure(value.lower), figure(value.upper)]
        title = f"{session.problem.name}: known, not proved"
        session.print(plain_table(title, ["radius ε", "lower", "upper"], [row]))
    session.note("no proof was written")
    ends = {
        "lower": None if value is None else value.lower,
        "upper": None if value is None else value.upper,
    }
    nothing = {"file": None, "bytes": None, "loss": None}
    rest = {"engine": session.engine.engine, "checked": False, "stopped": str(reached)}
    session.write(asked | ends | nothing | rest)


@click.command(
    "replay",
    cls=Command,
    examples=(
        Example(
            "Solve, then run the worst case in float32",
            "wdaverify replay problems/moons --radius 0.05",
        ),
        Example("The atoms of a proof, in numpy", "wdaverify replay iris.proof"),
    ),
)
@click.argument("target", type=ProblemPath())
@click.argument("problem", type=ProblemPath(), required=False)
@options.question
@options.compute_alone
@options.output
def replay_command(target: Path, problem: Path | None, **given: Any) -> None:  # noqa: ANN401
    """Run worst-case atoms through the original network in float32.

    TARGET is a problem, which is solved first, or a proof file; its network then runs in numpy
    float32, or with PROBLEM as that folder has it (ONNX in onnxruntime).
    """
    if target.is_dir() or target.suffix == ".toml":
        if problem is not None:
            raise ProblemError(f"PROBLEM: expected none after the problem {target}")
        _replay_problem(Session("replay", target, given), given)
        return
    started = time.monotonic()
    q, atoms = atoms_of_proof(target)
    network, path, session = network_of(q), None, None
    if problem is not None:
        session = Session("replay", problem, given)
        require_plain(session.problem, "replay")
        network, path = session.problem.network, session.stored.network
        if network.digest != network_of(q).digest:
            raise ProblemError(f"{target}: expected a proof about the network of {problem}")
    found = play(q, atoms, network, path)
    if not given["quiet"] and given["json_file"] != "-":
        click.echo(_sentence(found))
    if given["json_file"] is not None:
        name = None if session is None else session.problem.name
        head = json_head("replay", started, name)
        write_json(given["json_file"], head | {"file": str(target)} | _fields(found))


def _replay_problem(session: Session, given: dict[str, Any]) -> None:
    require_plain(session.problem, "replay")
    radius = _radius(session)
    session.engine = choose_engine(session.problem, given["engine"])
    with session.progress() as progress:
        solver = solver_for(
            session.problem, session.engine.engine, tolerance=given["tolerance"],
            limits=session.limits, progress=progress,
        )  # fmt: skip
        value = solver.solve(radius)
    worst = value.worst_case
    atoms = Atoms(worst.points, worst.labels, np.asarray(worst.weights))
    q = read_question(question_line(session.problem, radius))
    found = play(q, atoms, session.problem.network, session.stored.network)
    columns = ["radius ε", "exact", "float32", "difference", "largest: logit", "loss"]
    row = [
        f"{radius:g}", figure(found.exact), figure(found.rounded), f"{found.difference:.1e}",
        f"{found.logits:.1e}", f"{found.losses:.1e}",
    ]  # fmt: skip
    title = f"{session.problem.name}: {found.atoms} worst-case atoms in {found.runtime}"
    session.print(plain_table(title, columns, [row]))
    session.note(f"predictions that differ: {found.predictions}")
    ends = {"radius": radius, "lower": value.lower, "upper": value.upper}
    stopped = None if solver.stopped is None else str(solver.stopped)
    session.write(ends | _fields(found) | {"stopped": stopped})
    session.finish(solver.stopped)


def _sentence(found: Replay) -> str:
    return (
        f"{found.atoms} atoms in {found.runtime}: expected loss {found.rounded!r}, exactly "
        f"{found.exact!r}, difference {found.difference:.1e}; largest difference of a logit "
        f"{found.logits:.1e}, of a loss {found.losses:.1e}; {found.predictions} predictions differ"
    )


def _fields(found: Replay) -> dict[str, Any]:
    return {
        "runtime": found.runtime,
        "exact": found.exact,
        "float32": found.rounded,
        "difference": found.difference,
        "largest_logit_difference": found.logits,
        "largest_loss_difference": found.losses,
        "predictions": found.predictions,
        "atoms": found.atoms,
    }
