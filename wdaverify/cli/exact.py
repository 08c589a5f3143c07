"""Commands of the exact engine: ``exact``, ``curve``, ``worst-case`` and ``distances``."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np

from wdaverify.cli import options
from wdaverify.cli.help import Command, Example
from wdaverify.cli.parameters import OutputFile
from wdaverify.cli.session import Session
from wdaverify.cli.tables import exact_row, figure, gap, plain_table
from wdaverify.errors import ProblemError
from wdaverify.exact.curve import value_curve
from wdaverify.exact.engine import choose_engine
from wdaverify.exact.solve import solver_for
from wdaverify.exact.value import ExactSolver
from wdaverify.loss import ZeroOne
from wdaverify.storage import write_arrays
from wdaverify.tolerances import EXACT

__all__ = ["curve", "distances", "exact", "worst_case"]


def _solver(session: Session, progress: Callable[[str, float], None]) -> ExactSolver:
    """Return the solver of the engine that was asked for, or chosen."""
    options = session.options
    choice = choose_engine(session.problem, options["engine"])
    session.engine = choice
    if options.get("max_cells") and choice.engine != "cells":
        session.note(f"--max-cells: nothing to limit, the engine {choice.engine} lists no cells")
    return solver_for(
        session.units.problem,
        choice.engine,
        workers=options["workers"],
        tolerance=options.get("tolerance", EXACT),
        limits=session.limits,
        progress=progress,
        checkpoint=session.checkpoint(),
    )


@click.command(
    cls=Command,
    examples=(
        Example(
            "Another norm and radius than the file has",
            "wdaverify exact problems/iris --norm l1 --radius 0.1",
        ),
        Example(
            "Several radii, as JSON",
            "wdaverify exact problems/moons --radius 0.02 --radius 0.04 --json -",
        ),
        Example(
            "Search where there are too many cells to list",
            "wdaverify exact problems/breast --samples 5 --engine search",
        ),
    ),
)
@options.problem
@options.question
@options.compute
@options.output
def exact(problem: Path, **given: Any) -> None:  # noqa: ANN401
    """Print the exact worst-case value for every radius, with its bracket."""
    session = Session("exact", problem, given)
    with session.progress() as progress:
        solver = _solver(session, progress)
        values = [solver.solve(radius) for radius in session.stored.radii]
    columns = ["radius ε", "lower", "upper", "gap", "multiplier", "status"]
    title = f"{session.problem.name}: worst-case expected {session.problem.loss.name} loss"
    session.print(plain_table(title, columns, [exact_row(value) for value in values]))
    rows = [
        {
            "radius": value.radius,
            "lower": value.lower,
            "upper": value.upper,
            "multiplier": value.multiplier,
            "attained": value.attained,
            "status": value.status,
        }
        for value in values
    ]
    counts = solver.counts.as_dict()
    session.note(f"engine: {session.engine.engine} ({session.engine.reason})")
    session.write(
        {
            "nominal": session.problem.nominal,
            "engine": session.engine.engine,
            "rows": rows,
            "counts": counts,
            "stopped": None if solver.stopped is None else str(solver.stopped),
        }
    )
    session.finish(solver.stopped)


@click.command(
    cls=Command,
    examples=(
        Example("The corners of the curve", "wdaverify curve problems/absolute-value"),
        Example(
            "A curved value, good enough to draw",
            "wdaverify curve problems/moons --samples 10 --tolerance 1e-4 --json curve.json",
        ),
        Example(
            "Robust accuracy at every radius",
            "wdaverify curve problems/moons --loss zero-one",
        ),
    ),
)
@options.problem
@options.question_without_radius
@options.compute
@options.plot("Draw value against radius.")
@options.output
def curve(problem: Path, plot: Path | None, **given: Any) -> None:  # noqa: ANN401
    """Print the value for all radii at once: the corners of the value curve."""
    session = Session("curve", problem, given)
    session.engine = choose_engine(session.problem, given["engine"], curve=True)
    with session.progress() as progress:
        found = value_curve(
            session.problem,
            engine=session.engine.engine,
            workers=given["workers"],
            tolerance=given["tolerance"],
            limits=session.limits,
            progress=progress,
            checkpoint=session.checkpoint(),
        )
    shown = np.unique(np.linspace(0, len(found.radius) - 1, 20).astype(int))
    rows = [
        [f"{found.radius[k]:.8g}", figure(found.lower[k]), figure(found.upper[k])] for k in shown
    ]
    kind = "linear in the budget between them" if found.interpolation == "budget" else "steps"
    title = f"{session.problem.name}: {len(found.radius)} corners, {kind}"
    session.print(plain_table(title, ["radius ε", "lower", "upper"], rows))
    session.note(f"largest gap {gap(found.gap)}, final slope {found.final_slope[0]:.8g}")
    if plot is not None:
        from wdaverify.plot.saving import save_curve  # noqa: PLC0415  (matplotlib is slow)

        save_curve(found, session.problem, plot)
        session.note(f"plot: {plot}")
    session.write(
        {
            "nominal": session.problem.nominal,
            "radius": found.radius,
            "lower": found.lower,
            "upper": found.upper,
            "interpolation": found.interpolation,
            "final_slope": found.final_slope[0],
            "final_slope_upper": found.final_slope[1],
            "engine": session.engine.engine,
            "stopped": found.stopped,
        }
    )
    session.finish(found.stopped)


@click.command(
    "worst-case",
    cls=Command,
    examples=(
        Example(
            "Which samples move, and how far",
            "wdaverify worst-case problems/moons --radius 0.1",
        ),
        Example(
            "Its atoms as arrays: points, labels, weights, origin",
            "wdaverify worst-case problems/iris --radius 0.05 --out worst.npz",
        ),
    ),
)
@options.problem
@options.question
@options.compute
@click.option(
    "--out", type=OutputFile(), metavar="FILE.npz",
    help="Write the distribution: points, labels, weights, origin.",
)  # fmt: skip
@options.plot("Draw what moves where; with more than two features, the two that move most.")
@options.output
def worst_case(problem: Path, out: Path | None, plot: Path | None, **given: Any) -> None:  # noqa: ANN401
    """Print the worst-case distribution at one radius."""
    session = Session("worst-case", problem, given)
    if len(session.stored.radii) != 1:
        raise ProblemError(
            f"--radius: expected one radius, found {len(session.stored.radii)} in the problem; "
            f"name one of them"
        )
    with session.progress() as progress:
        solver = _solver(session, progress)
        value = solver.solve(session.stored.radii[0])
    worst = session.units.restored(value.worst_case)
    moved = np.any(worst.points != session.problem.points[worst.origin], axis=1)
    cost = worst.transport_cost(session.problem)
    columns = ["radius ε", "lower", "upper", "atoms", "moved", "transport cost", "attained"]
    row = [f"{value.radius:g}", figure(value.lower), figure(value.upper), len(moved)]
    row += [int(moved.sum()), figure(cost), {True: "yes", False: "no", None: "?"}[value.attained]]
    session.print(plain_table(f"{session.problem.name}: worst case", columns, [row]))
    if out is not None:
        write_arrays(
            out,
            points=worst.points,
            labels=worst.labels,
            weights=worst.weights,
            origin=worst.origin,
        )
        session.note(f"distribution: {out}")
    if plot is not None:
        from wdaverify.plot.saving import save_transport  # noqa: PLC0415  (matplotlib is slow)

        save_transport(session.problem, value, plot)
        session.note(f"plot: {plot}")
    session.write(
        {
            "radius": value.radius,
            "lower": value.lower,
            "upper": value.upper,
            "attained": value.attained,
            "status": value.status,
            "engine": session.engine.engine,
            "transport_cost": cost,
            "atoms": [
                {"point": point, "label": label, "weight": weight, "origin": origin}
                for point, label, weight, origin in zip(
                    worst.points, worst.labels, worst.weights, worst.origin, strict=True
                )
            ],
            "stopped": None if solver.stopped is None else str(solver.stopped),
        }
    )
    session.finish(solver.stopped)


@click.command(
    cls=Command,
    examples=(
        Example("In the norm of the file", "wdaverify distances problems/iris --samples 10"),
        Example(
            "In another one, as JSON",
            "wdaverify distances problems/moons --norm l2 --json -",
        ),
    ),
)
@options.problem
@options.norm_and_samples
@options.engine_and_limits
@options.output
def distances(problem: Path, **given: Any) -> None:  # noqa: ANN401
    """Print the exact distance of each sample to the error set of its label."""
    session = Session("distances", problem, given | {"loss": None})
    question = session.problem.replace(loss=ZeroOne())
    with session.progress() as progress:
        session.problem = question
        solver = _solver(session, progress)
        found = solver.distances()
    rows = [
        [k, int(label), figure(low), figure(high)]
        for k, (label, low, high) in enumerate(
            zip(question.labels, found.lower, found.upper, strict=True)
        )
    ]
    title = f"{question.name}: {question.cost.norm.name} distance to the error set"
    session.print(plain_table(title, ["sample", "label", "lower", "upper"], rows))
    session.write(
        {
            "norm": question.cost.norm.name,
            "engine": session.engine.engine,
            "lower": found.lower,
            "upper": found.upper,
            "stopped": None if solver.stopped is None else str(solver.stopped),
        }
    )
    session.finish(solver.stopped)
