"""``wdaverify attack``: lower bounds."""

import math
from pathlib import Path
from typing import Any

import click

from wdaverify.arrays import Floats
from wdaverify.atoms import Atoms
from wdaverify.cli import options
from wdaverify.cli.help import Command, Example
from wdaverify.cli.parameters import Words
from wdaverify.cli.session import Session
from wdaverify.cli.tables import figure, plain_table
from wdaverify.errors import ProblemError
from wdaverify.registry import load_extensions

__all__ = ["attack"]

NAMES = (
    "wda", "wda++", "a3-wda", "point-wise", "all",
    "reference-wda", "reference-wda++", "reference-a3-wda",
)  # fmt: skip
"""The methods, for the shell: the attack knows them too, but importing it takes seconds."""


@click.command(
    cls=Command,
    section="Attack",
    examples=(
        Example(
            "One radius, another seed",
            "wdaverify attack problems/moons --radius 0.05 --seed 1",
        ),
        Example(
            "All methods side by side",
            "wdaverify attack problems/moons --samples 10 --radius 0.05 --method all",
        ),
        Example(
            "The best that the cells of the points found allow",
            "wdaverify attack problems/moons --radius 0.05 --polish",
        ),
    ),
)
@options.problem
@options.question
@click.option(
    "--method", type=Words(NAMES), metavar="METHOD", default="wda", show_default=True,
    help="wda, wda++, a3-wda, point-wise, all of them, or reference-wda, reference-wda++, "
    "reference-a3-wda: as published.",
)  # fmt: skip
@click.option(
    "--kappa",
    type=click.FloatRange(min=1),
    default=None,
    metavar="K",
    help="Move the share 1/K of the mass, K times as far; a ladder when omitted.",
)
@click.option(
    "--steps", type=click.IntRange(min=1), default=20, show_default=True, metavar="S",
    help="Steps of each climb.",
)  # fmt: skip
@click.option(
    "--top-k", type=click.IntRange(min=1), default=9, show_default=True, metavar="K",
    help="How many wrong classes are tried for each sample.",
)  # fmt: skip
@click.option(
    "--polish", "polishing", is_flag=True,
    help="Replace the points found by the best ones of the cells they lie in, by linear programs "
    "or projections.",
)  # fmt: skip
@options.sampling
@options.time_and_memory
@options.output
def attack(problem: Path, method: str, polishing: bool, **given: Any) -> None:  # noqa: ANN401, FBT001
    """Print lower bounds: the best distributions that a gradient attack finds."""
    from wdaverify.bounds.attack import (  # noqa: PLC0415
        attack_points,
        distances_of,
        flip_atoms,
        joined,
    )
    from wdaverify.bounds.options import METHODS, parts_of  # noqa: PLC0415 (torch)

    load_extensions()
    if method not in METHODS:
        raise ProblemError(f"--method: expected {', '.join(METHODS)}, found {method!r}")
    session = Session("attack", problem, given)
    radii, kappa, question = session.stored.radii, given["kappa"], session.units.problem
    sampling = {name: given[name] for name in ("seed", "device", "steps", "top_k")}
    with session.progress() as progress:

        def tell(done: int, total: int) -> None:
            progress("attack", done / max(total, 1))

        tables, names = {}, parts_of(method, by_reach=kappa is not None)
        for k, name in enumerate(names):
            with session.limits.part(k, len(names) + 1):
                tables[name] = attack_points(
                    question,
                    radii,
                    method=name,
                    kappas=None if kappa is None else (kappa,),
                    limits=session.limits,
                    progress=tell,
                    **sampling,
                )
        if method == "all":
            tables["all"] = joined(list(tables.values()))
        with session.limits.part(len(names), len(names) + 1):
            found = flip_atoms(question, limits=session.limits, progress=tell, **sampling)
        if polishing:
            progress("polishing", math.nan)
            tables = {name: _polished(session, atoms, radii) for name, atoms in tables.items()}
            found = _polished(session, found, (1.0,))
        flips = distances_of(found)
        stopped = session.limits.reached("attacking")
    rows: list[dict[str, Any]] = [
        {"radius": r, "method": name, "value": atoms.distribution(r).risk(question)}
        for name, atoms in tables.items()
        for r in radii
    ]
    shown = [[f"{row['radius']:g}", row["method"], figure(row["value"])] for row in rows]
    title = f"{session.problem.name}: lower bounds by attack"
    session.print(plain_table(title, ["radius ε", "method", "lower bound"], shown))
    session.write(
        {
            "nominal": session.problem.nominal,
            "seed": given["seed"],
            "polished": polishing,
            "rows": rows,
            "distances": [float(d) if d < float("inf") else None for d in flips],
            "accuracy": _accuracy(session, flips, kappa),
            "stopped": None if stopped is None else str(stopped),
        }
    )
    session.finish(stopped)


def _polished(session: Session, atoms: Atoms, radii: tuple[float, ...]) -> Atoms:
    from wdaverify.polishing import polish_atoms  # noqa: PLC0415 (torch)

    return polish_atoms(atoms, radii, limits=session.limits)


def _accuracy(session: Session, distances: Floats, kappa: float | None) -> list[dict[str, float]]:
    """Print the distributional accuracy, and return its rows."""
    from wdaverify.bounds.accuracy import KAPPAS, kappa_sweep  # noqa: PLC0415 (torch)

    problem = session.units.problem
    kappas = KAPPAS if kappa is None else (kappa,)
    if not problem.cost.finite:
        kappas = (1.0,)
    sweep = {
        radius: kappa_sweep(problem, radius=radius, kappas=kappas, distances=distances)
        for radius in session.stored.radii
    }
    title = f"{problem.name}: distributional accuracy"
    head = ["radius ε", *(f"κ = {k:g}" for k in kappas)]
    lines = [[f"{r:g}", *(f"{value:.4f}" for value in values)] for r, values in sweep.items()]
    session.print(plain_table(title, head, lines))
    return [
        {"radius": radius, "kappa": k, "value": float(value)}
        for radius, values in sweep.items()
        for k, value in zip(kappas, values, strict=True)
    ]
