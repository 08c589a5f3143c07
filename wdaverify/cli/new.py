"""``wdaverify new``: a problem folder from a network and data, with what was guessed."""

import time
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.table import Table
from rich.text import Text

from wdaverify.cli import options
from wdaverify.cli.help import Command, Example
from wdaverify.cli.session import json_head
from wdaverify.cli.terminal import Screen
from wdaverify.drafts.draft import Draft, Wishes, draft
from wdaverify.drafts.folder import check_replaceable, write_draft
from wdaverify.drafts.text import sizes
from wdaverify.errors import ProblemError
from wdaverify.exact.engine import Choice, choose_engine
from wdaverify.loss import LOSSES
from wdaverify.norms import NORMS
from wdaverify.storage import write_json
from wdaverify.support import Box

__all__ = ["new"]

FEW = 20
"""Samples for a first look where there are many."""


@click.command(
    cls=Command,
    examples=(
        Example(
            "A folder with guesses that are explained, to be read and changed",
            "wdaverify new mine --model problems/iris/network.onnx --data problems/iris/data.npz",
        ),
        Example(
            "Say what you know: the range of the features, and the radii of interest",
            "wdaverify new other --model problems/iris/network.onnx --data problems/iris/data.npz "
            "--support 0 1 --radius 0.05 --radius 0.1",
        ),
    ),
)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--model", required=True, type=click.Path(path_type=Path), metavar="MODEL",
    help="The network: .onnx, .pt2 (torch.export) or .npz; it is copied into the folder.",
)  # fmt: skip
@click.option(
    "--data", required=True, type=click.Path(path_type=Path), metavar="DATA",
    help="Samples: .npz with points and labels (or X and y), or .csv with a header.",
)  # fmt: skip
@click.option("--label-column", metavar="NAME", help="Column of the labels in a .csv file.")
@click.option(
    "--classes", metavar="A,B,…",
    help="What the data call the classes, in the order of the logits.",
)  # fmt: skip
@click.option("--samples", type=int, metavar="N", help="Keep the first N samples.")
@click.option("--name", help="Name of the problem; that of the folder if omitted.")
@click.option("--loss", help=f"{', '.join(LOSSES)}; margin if omitted.")
@click.option("--norm", help=f"Ground norm: {', '.join(NORMS)}; linf if omitted.")
@click.option("--order", help='A number p >= 1, or "inf"; 1 if omitted.')
@click.option(
    "--radius", "radii", type=float, multiple=True, metavar="R",
    help="Wasserstein radius; may be given several times. Guessed if omitted.",
)  # fmt: skip
@click.option(
    "--support", type=float, nargs=2, metavar="LOWER UPPER",
    help="Range of every feature. Guessed if omitted.",
)  # fmt: skip
@click.option("--no-support", is_flag=True, help="Let mass move to anywhere.")
@click.option("--force", is_flag=True, help="Replace a problem folder of that name.")
@options.output
def new(folder: Path, model: Path, data: Path, **given: Any) -> None:  # noqa: ANN401
    """Write a problem folder for a network and data of your own.

    What is not given as an option is guessed from the data. Each guess is printed with its reason,
    and stands as a comment in FOLDER/problem.toml, to be read and changed.
    """
    started = time.monotonic()
    check_replaceable(folder, replaced=given["force"])
    found = draft(model, data, _wishes(given), name=folder.resolve().name)
    notes = write_draft(folder, found, replaced=given["force"])
    engine = choose_engine(found.problem, "auto")
    if not given["quiet"]:
        console = Screen(stderr=given["json_file"] == "-")
        _print(console, folder, found, notes, engine)
    if given["json_file"] is not None:
        said = [*found.samples.notes, *notes]
        head = json_head("new", started, found.problem.name, said)
        write_json(given["json_file"], head | _fields(folder, found, engine))


def _wishes(given: dict[str, Any]) -> Wishes:
    if given["support"] and given["no_support"]:
        raise ProblemError("--support: expected this or --no-support, found both")
    support = Box() if given["no_support"] else None
    if given["support"]:
        support = Box(*given["support"])
    classes = given["classes"]
    return Wishes(
        name=given["name"],
        loss=given["loss"],
        norm=given["norm"],
        order=given["order"],
        radii=given["radii"] or None,
        support=support,
        samples=given["samples"],
        label_column=given["label_column"],
        classes=None if classes is None else tuple(v.strip() for v in classes.split(",")),
    )


def _print(
    console: Screen, folder: Path, found: Draft, notes: tuple[str, ...], engine: Choice
) -> None:
    problem, count = found.problem, len(found.problem)
    console.print(Text(f"{problem.name}: {sizes(found)}; {count} samples", style="bold"))
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="dim")
    rows.add_column(overflow="fold")
    rows.add_row("data", Text("; ".join(found.samples.notes)))
    rows.add_row("classes", Text(_classes(found)))
    rows.add_row("accuracy", Text(f"{found.correct / count:.1%} ({found.correct} of {count})"))
    for name, guess in _guesses(found).items():
        origin = f"guessed: {guess.why}" if guess.guessed else guess.why
        line = Text(f"{guess.words}  ")
        line.append(f"({origin})", style="dim")
        rows.add_row(name, line)
    for note in notes:
        rows.add_row("note", Text(note))
    rows.add_row("engine", Text(f"{engine.engine} ({engine.reason})"))
    rows.add_row("written", Text(f"{folder}/problem.toml, network{found.model.suffix}, data.npz"))
    console.print(rows)
    for warning in found.warnings:
        console.print(Text(f"warning: {warning}", style="yellow"))
    mixed = len(np.unique(problem.labels[:FEW])) > 1
    few = f" --samples {FEW}" if count > 5 * FEW and mixed else ""
    console.print(Text(f"next: wdaverify verify {folder}{few}", style="bold"))


def _guesses(found: Draft) -> dict[str, Any]:
    return {
        "loss": found.loss,
        "norm": found.norm,
        "order": found.order,
        "radii": found.radii,
        "support": found.support,
    }


def _classes(found: Draft) -> str:
    counts = np.bincount(found.problem.labels, minlength=len(found.classes))
    parts = [
        f"{name} ({number})" for name, number in zip(found.classes, counts.tolist(), strict=True)
    ]
    more = f", … ({len(parts)} in all)" if len(parts) > 12 else ""
    return ", ".join(parts[:12]) + more


def _fields(folder: Path, found: Draft, engine: Choice) -> dict[str, Any]:
    problem = found.problem
    lower, upper = problem.support.bounds
    return {
        "folder": str(folder),
        "network": f"network{found.model.suffix.lower()}",
        "features": problem.network.features,
        "hidden": list(problem.network.widths),
        "classes": list(found.classes),
        "samples": len(problem),
        "accuracy": found.correct / len(problem),
        "loss": found.loss.value,
        "norm": found.norm.value,
        "order": found.order.value,
        "radii": list(found.radii.value),
        "support": {"lower": lower, "upper": upper},
        "guesses": [
            {"key": name, "value": guess.words, "why": guess.why}
            for name, guess in _guesses(found).items()
            if guess.guessed
        ],
        "clipped": found.clipped,
        "warnings": list(found.warnings),
        "engine": engine.engine,
    }
