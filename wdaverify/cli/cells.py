"""``wdaverify cells``: count activation cells, describe them, draw them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import click
import networkx as nx
from rich.console import RenderableType

from wdaverify.cells.complex import CellComplex, enumerate_cells
from wdaverify.cells.frame import Frame, frame_of
from wdaverify.cells.recession import is_bounded
from wdaverify.cells.statistics import statistics_of
from wdaverify.cells.stream import cell_blocks
from wdaverify.cli import options
from wdaverify.cli.cells_tables import count_table, statistics_fields, statistics_tables
from wdaverify.cli.help import Command, Example
from wdaverify.cli.parameters import OutputFile, picture
from wdaverify.cli.scenes import Scene, ball_of, slice_of, whole
from wdaverify.cli.session import Session
from wdaverify.errors import LimitReached, ProblemError
from wdaverify.exact.walk import cells_in_ball
from wdaverify.storage.files import replacing
from wdaverify.units import require_plain
from wdaverify.workers.placing import workers_of

__all__ = ["cells"]


class Answer(NamedTuple):
    """What is printed and written."""

    tables: list[RenderableType]
    fields: dict[str, Any]


@click.command(
    cls=Command,
    section="Cells",
    examples=(
        Example(
            "How many there are, and how they look",
            "wdaverify cells problems/moons --statistics --plot cells.png",
        ),
        Example("Those near sample 3", "wdaverify cells problems/moons --ball 3 0.05"),
        Example(
            "A slice in features 2 and 3 through sample 7",
            "wdaverify cells problems/iris --slice 2,3 --at 7",
        ),
    ),
)
@options.problem
@options.limits
@options.enumeration
@click.option(
    "--ball", nargs=2, metavar="CENTRE RADIUS",
    help="Only the cells that meet this closed ball of the ground norm; CENTRE is the index of a "
    "sample, or coordinates: 0.3,0.7",
)  # fmt: skip
@click.option(
    "--graph", type=OutputFile(), metavar="FILE.graphml",
    help="Write the adjacency graph.",
)  # fmt: skip
@click.option(
    "--statistics", is_flag=True, help="Also neighbours, sizes, volumes, depth and samples."
)
@click.option(
    "--plot", type=OutputFile(check=picture), metavar="FILE.png",
    help="Draw cells, samples and decision boundary; a slice, where there are more than two "
    "features.",
)  # fmt: skip
@click.option(
    "--slice", "features", metavar="I,J",
    help="Work on a slice only: features I and J vary, the others are those of a sample.",
)  # fmt: skip
@click.option(
    "--at", type=int, metavar="SAMPLE", help="The sample that the slice passes through [default: 0]"
)
@options.output
def cells(problem: Path, **given: Any) -> None:  # noqa: ANN401
    """Count the cells on which the network is affine and that meet the support."""
    _check_options(given)
    session = Session("cells", problem, given)
    run = _Run(session, given)
    try:
        with session.progress() as progress:
            answer = run.answer(progress)
    except LimitReached as error:
        session.write({"cells": run.reached, "complete": False, "stopped": str(error)})
        raise LimitReached(f"{error}; {run.reached} cells found") from None
    session.print(*answer.tables)
    for name in ("graph", "plot"):
        if given[name] is not None:
            session.note(f"{name}: {given[name]}")
    session.write(answer.fields)


def _check_options(given: dict[str, Any]) -> None:
    """Refuse options that mean nothing together.

    Raises
    ------
    ProblemError
        Names them.
    """
    beside = {"graph": "graph", "statistics": "statistics", "plot": "plot", "features": "slice"}
    others = [option for name, option in beside.items() if given[name]]
    if given["ball"] and others:
        raise ProblemError(f"--ball: expected it alone, found --{others[0]} beside it")
    means = given["workers"], given["dask"], given["device"]
    if given["ball"] and means not in {(None, None, "cpu"), (1, None, "cpu")}:
        raise ProblemError(
            "--ball: the walk knows neither --workers, --dask nor --device, leave them out"
        )
    if given["at"] is not None and not {"slice", "plot"} & set(others):
        raise ProblemError("--at: expected --slice or --plot beside it, found neither")


class _Run:
    """One run of the command; knows how many cells were found when a limit ends it."""

    def __init__(self, session: Session, given: dict[str, Any]) -> None:
        self.problem, self.limits, self.given = session.problem, session.limits, given
        self.reached = 0
        self._progress: Callable[[str, float], None] = lambda *_: None

    def answer(self, progress: Callable[[str, float], None]) -> Answer:
        """Count, and write what files were asked for."""
        self._progress = progress
        if self.given["ball"]:
            return self._in_ball(*self.given["ball"])
        features, at, plot = (self.given[name] for name in ("features", "at", "plot"))
        scene = whole(self.problem)
        if features is not None or (at is not None and len(scene.features) < 3):
            scene = slice_of(self.problem, features, at)
        extra: dict[str, Any] = {}
        if plot is not None and len(scene.features) > 2:
            drawn = slice_of(self.problem, None, at)
            shown = self._list(drawn)
            self._draw(drawn, shown)
            extra = drawn.fields(len(shown))
        frame = frame_of(scene.support)
        listed = self.given["graph"] or self.given["statistics"] or (plot and not extra)
        if listed or not is_bounded(frame.matrix):
            return self._listed(scene, extra)
        return self._streamed(scene, frame, extra)

    def _in_ball(self, centre: str, radius: str) -> Answer:
        require_plain(self.problem, "--ball")
        problem, norm = self.problem, self.problem.cost.norm
        point, size = ball_of(centre, radius, problem)
        support = problem.support.bind(problem.network.features)
        found = []
        for met in cells_in_ball(problem.network, support, point, size, norm, limits=self.limits):
            found.append(met.cell)
            self._count(len(found))
        met_cells = CellComplex(problem.network, support, frame_of(support), found)
        fields = _counts(len(found), int(met_cells.bounded.sum()))
        title = (
            f"{problem.name}: activation cells that meet the {norm.name} ball of radius {size:g}"
        )
        ball = {"centre": point, "radius": size, "norm": norm.name}
        return Answer([count_table(title, fields)], fields | ball)

    def _streamed(self, scene: Scene, frame: Frame, extra: dict[str, Any]) -> Answer:
        """Count the cells of a bounded support without keeping them."""
        blocks = cell_blocks(scene.network, frame, **self._means())
        total = sum(len(block.patterns) for block in blocks)
        fields = _counts(total, total)
        return Answer([count_table(scene.title, fields)], fields | (extra or scene.fields(total)))

    def _listed(self, scene: Scene, extra: dict[str, Any]) -> Answer:
        """List the cells, and describe them as far as asked."""
        found = self._list(scene)
        fields = _counts(len(found), int(found.bounded.sum()))
        tables = [count_table(scene.title, fields)]
        fields |= extra or scene.fields(len(found))
        if self.given["statistics"]:
            self._progress("statistics", float("nan"))
            statistics = statistics_of(found, scene.points, limits=self.limits)
            fields |= statistics_fields(statistics)
            tables += statistics_tables(statistics)
        if self.given["graph"] is not None:
            self._progress("graph", float("nan"))
            fields["edges"] = found.graph.number_of_edges()
            with replacing(self.given["graph"]) as file:
                named = nx.Graph(found.graph)
                nx.set_node_attributes(named, dict(enumerate(found.bounded.tolist())), "bounded")
                nx.write_graphml(named, file)
        if self.given["plot"] is not None and not extra:
            self._draw(scene, found)
        return Answer(tables, fields)

    def _list(self, scene: Scene) -> CellComplex:
        self.reached = 0
        return enumerate_cells(scene.network, scene.support, **self._means())

    def _means(self) -> dict[str, Any]:
        means = {"workers": workers_of(self.given["workers"]), "device": self.given["device"]}
        return means | {"limits": self.limits, "progress": self._count}

    def _draw(self, scene: Scene, found: CellComplex) -> None:
        from wdaverify.plot.cell_picture import CellPicture  # noqa: PLC0415
        from wdaverify.plot.saving import save_cells  # noqa: PLC0415

        self._progress("picture", float("nan"))
        caption = _caption(self.problem.name, scene, len(found))
        axes = tuple(f"feature {k}" for k in scene.features)
        picture = CellPicture(
            found, scene.points, scene.labels, caption, axes, scene.around, scene.sample
        )
        save_cells(picture, self.given["plot"])

    def _count(self, found: int) -> None:
        self.reached = found
        self._progress("cells", float(found))


def _caption(name: str, scene: Scene, cells: int) -> str:
    place = "" if scene.sample is None else f" of the slice through sample {scene.sample}"
    return f"{name}: {cells:,} activation cells{place}"


def _counts(cells: int, bounded: int) -> dict[str, Any]:
    return {"cells": cells, "bounded": bounded, "unbounded": cells - bounded, "complete": True}
