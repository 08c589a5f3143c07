"""Commands of the two outer layers: ``attack`` and ``certify``."""

from pathlib import Path
from typing import Any

import click

from wdaverify.bounds.asymptotic import asymptotic_slope
from wdaverify.bounds.certificate import CERTIFICATES, certificates
from wdaverify.cells.complex import enumerate_cells
from wdaverify.cli import options
from wdaverify.cli.session import Session
from wdaverify.cli.tables import figure, plain_table
from wdaverify.errors import LimitReached, ProblemError, UnsupportedError

__all__ = ["attack", "certify"]


@click.command(epilog="Example: wdaverify attack problems/moons --radius 0.05 --seed 1")
@options.problem
@options.question
@click.option("--method", default="wda", show_default=True, help="wda, point-wise or all.")
@click.option(
    "--kappa",
    type=click.FloatRange(min=1),
    default=None,
    metavar="K",
    help="Move the share 1/K of the mass, K times as far; a ladder when omitted.",
)
@click.option("--steps", type=click.IntRange(min=1), default=20, show_default=True)
@click.option(
    "--top-k", type=click.IntRange(min=1), default=9, show_default=True,
    help="How many wrong classes are tried for each sample.",
)  # fmt: skip
@options.sampling
@options.time_and_memory
@options.output
def attack(problem: Path, method: str, **given: Any) -> None:  # noqa: ANN401
    """Print lower bounds: the best distributions that a gradient attack finds."""
    from wdaverify.bounds.attack import attack_points, flip_distances  # noqa: PLC0415 (torch)
    from wdaverify.bounds.options import METHODS  # noqa: PLC0415

    if method not in (*METHODS, "all"):
        raise ProblemError(f"--method: expected {', '.join(METHODS)} or all, found {method!r}")
    session = Session("attack", problem, given)
    sampling = {name: given[name] for name in ("seed", "device", "steps", "top_k")}
    methods = list(METHODS) if method == "all" else [method]
    rows: list[dict[str, Any]] = []
    with session.progress() as progress:
        for name in methods:
            atoms = attack_points(
                session.problem,
                session.stored.radii,
                method=name,
                kappas=None if given["kappa"] is None else (given["kappa"],),
                limits=session.limits,
                progress=lambda done, total: progress("attack", done / max(total, 1)),
                **sampling,
            )
            rows += [
                {"radius": r, "method": name, "value": atoms.distribution(r).risk(session.problem)}
                for r in session.stored.radii
            ]
        flips = flip_distances(session.problem, limits=session.limits, **sampling)
        stopped = session.limits.reached("attacking")
    shown = [[f"{row['radius']:g}", row["method"], figure(row["value"])] for row in rows]
    title = f"{session.problem.name}: lower bounds by attack"
    session.print(plain_table(title, ["radius ε", "method", "lower bound"], shown))
    distances = [float(d) if d < float("inf") else None for d in flips]
    session.write(
        {
            "nominal": session.problem.nominal,
            "seed": given["seed"],
            "rows": rows,
            "distances": distances,
        }
    )
    session.finish(stopped)


@click.command(epilog="Example: wdaverify certify problems/iris --method layer-product")
@options.problem
@options.question
@click.option(
    "--method", default="all", show_default=True, help=f"{', '.join(CERTIFICATES)} or all."
)
@options.limits
@options.output
def certify(problem: Path, method: str, **given: Any) -> None:  # noqa: ANN401
    """Print upper bounds, each with the Lipschitz constant that it rests on."""
    if method not in (*CERTIFICATES, "all"):
        raise ProblemError(f"--method: expected {', '.join(CERTIFICATES)} or all, found {method!r}")
    session = Session("certify", problem, given)
    question, cells, stopped = session.problem, None, None
    with session.progress() as progress:
        try:
            if method != "layer-product":
                cells = enumerate_cells(
                    question.network,
                    question.support,
                    limits=session.limits,
                    progress=lambda count: progress("cells", float(count)),
                )
        except LimitReached as reached:
            stopped = reached
        found = [c for c in certificates(question, cells=cells) if method in (c.method, "all")]
        constants: dict[str, float] = {c.method: c.constant for c in found}
        if method == "all" and stopped is None:
            try:
                constants["asymptotic-slope"] = asymptotic_slope(
                    question, limits=session.limits
                ).lower
            except UnsupportedError as error:
                session.note(str(error))
    rows: list[dict[str, Any]] = [
        {"radius": radius, "method": c.method, "value": c.bound(radius)}
        for radius in session.stored.radii
        for c in found
    ]
    shown = [[f"{row['radius']:g}", row["method"], figure(row["value"])] for row in rows]
    title = f"{question.name}: certified upper bounds"
    session.print(plain_table(title, ["radius ε", "method", "upper bound"], shown))
    for name, value in constants.items():
        session.note(
            f"{name} {value:.10g}: {CERTIFICATES.get(name, 'growth along rays, from below')}"
        )
    by_label = {c.method: list(c.constants) for c in found}
    session.write(
        {"nominal": question.nominal, "constants": constants, "by_label": by_label, "rows": rows}
    )
    session.finish(stopped)
