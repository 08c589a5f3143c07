"""``wdaverify cells``: count the activation cells that meet the support."""

from pathlib import Path
from typing import Any

import click
import networkx as nx
import numpy as np

from wdaverify.cells.complex import enumerate_cells
from wdaverify.cli import options
from wdaverify.cli.session import Session
from wdaverify.cli.tables import plain_table
from wdaverify.errors import LimitReached
from wdaverify.storage.files import replacing

__all__ = ["cells"]


@click.command(epilog="Example: wdaverify cells problems/moons --graph moons.graphml")
@options.problem
@options.limits
@click.option(
    "--graph", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.graphml",
    help="Write the adjacency graph.",
)  # fmt: skip
@click.option("--statistics", is_flag=True, help="Also count edges, neighbours and samples.")
@options.output
def cells(problem: Path, graph: Path | None, statistics: bool, **given: Any) -> None:  # noqa: ANN401, FBT001
    """Count the cells on which the network is affine and that meet the support."""
    session = Session("cells", problem, given)
    question = session.problem
    reached = 0
    with session.progress() as progress:

        def count(found: int) -> None:
            nonlocal reached
            reached = found
            progress("cells", float(found))

        try:
            found = enumerate_cells(
                question.network, question.support, limits=session.limits, progress=count
            )
        except LimitReached as error:
            session.write({"cells": reached, "complete": False, "stopped": str(error)})
            raise LimitReached(f"{error}; {reached} cells found") from None
        bounded = int(found.bounded.sum())
        fields: dict[str, Any] = {
            "cells": len(found),
            "bounded": bounded,
            "unbounded": len(found) - bounded,
            "complete": True,
        }
        if graph is not None or statistics:
            fields["edges"] = found.graph.number_of_edges()
        if statistics:
            held = {index for index in found.locate(question.points) if index is not None}
            degrees = [degree for _, degree in found.graph.degree]
            fields["neighbours"] = {
                "smallest": min(degrees),
                "mean": float(np.mean(degrees)),
                "largest": max(degrees),
            }
            fields["cells_with_samples"] = len(held)
    shown = {name: value for name, value in fields.items() if name != "complete"}
    if statistics:
        shown["neighbours"] = "{smallest} to {largest}, mean {mean:.2f}".format(
            **fields["neighbours"]
        )
    rows = [[name.replace("_", " "), value] for name, value in shown.items()]
    title = f"{question.name}: activation cells, {question.support.describe()}"
    session.print(plain_table(title, ["", ""], rows))
    if graph is not None:
        _write_graph(found.graph, graph)
        session.note(f"graph: {graph}")
    session.write(fields)


def _write_graph(graph: nx.Graph, path: Path) -> None:
    with replacing(path) as file:
        nx.write_graphml(graph, file)
