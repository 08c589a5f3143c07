"""Options that several commands share; a command takes only those that mean something to it."""

from collections.abc import Callable
from typing import Any

import click

from wdaverify.cli.parameters import OutputFile, ProblemPath, Words, picture
from wdaverify.loss import LOSSES
from wdaverify.norms import NORMS
from wdaverify.tolerances import EXACT

__all__ = [
    "compute",
    "compute_alone",
    "engine_alone",
    "engine_and_limits",
    "limits",
    "norm_and_samples",
    "output",
    "plot",
    "problem",
    "question",
    "question_without_radius",
    "radius_norm_and_samples",
    "sampling",
    "time_and_memory",
]

Command = Callable[..., Any]


def _all(*decorators: Callable[[Command], Command]) -> Callable[[Command], Command]:
    def decorate(command: Command) -> Command:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


problem = click.argument("problem", type=ProblemPath())


def plot(what: str) -> Callable[[Command], Command]:
    """Return the option of a picture."""
    return click.option("--plot", type=OutputFile(check=picture), metavar="FILE.png", help=what)


_RADIUS = click.option(
    "--radius", "radii", type=float, multiple=True, metavar="R",
    help="Wasserstein radius; may be given several times and replaces the file's radii.",
)  # fmt: skip
_LOSS = click.option(
    "--loss", type=Words(LOSSES), metavar="LOSS",
    help=f"Replace the file's loss: {', '.join(LOSSES)}.",
)  # fmt: skip
_NORM = click.option(
    "--norm", type=Words(NORMS), metavar="NORM",
    help=f"Replace the file's ground norm: {', '.join(NORMS)}.",
)  # fmt: skip
_ORDER = click.option(
    "--order", type=Words(("1", "2", "inf")), metavar="P",
    help='Replace the file\'s order: a number p >= 1, or "inf".',
)  # fmt: skip
_LABEL_COST = click.option(
    "--label-cost", type=float, metavar="C", help="Replace the file's cost of a label move."
)
_SAMPLES = click.option(
    "--samples", type=int, metavar="N", help="Use the first N samples; weights are renormalised."
)
_ENGINE = click.option(
    "--engine", type=Words(("auto", "cells", "search", "milp")), metavar="ENGINE", default="auto",
    show_default=True, help="Which exact engine answers: auto, cells, search or milp.",
)  # fmt: skip
_TOLERANCE = click.option(
    "--tolerance", type=click.FloatRange(min=0, min_open=True), default=EXACT, show_default=True,
    metavar="T", help="Relative gap that counts as exact.",
)  # fmt: skip
_SEED = click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, metavar="S",
    help="Seed of the attack.",
)  # fmt: skip
_DEVICE = click.option(
    "--device", type=Words(("cpu", "cuda")), metavar="DEVICE", default="cpu", show_default=True,
    help="Where the attack runs: cpu or cuda.",
)  # fmt: skip
_WORKERS = click.option(
    "--workers", type=click.IntRange(min=1), default=None, metavar="W",
    help="Processes that share the work; results do not depend on them.  "
    "[default: 1, or all of the cluster]",
)  # fmt: skip
_DASK = click.option(
    "--dask", metavar="ADDRESS",
    help="Scheduler of a Dask cluster, or its scheduler file: the workers run there.",
)  # fmt: skip
_LIMITS = (
    click.option(
        "--time-limit", type=click.FloatRange(min=0), default=float("inf"), metavar="SECONDS",
        help="Stop after this time with bounds that are still valid.",
    ),
    click.option(
        "--memory-limit", type=click.FloatRange(min=0, min_open=True), default=float("inf"),
        metavar="GB", help="Stop at this peak memory.",
    ),
    click.option(
        "--max-cells", type=click.IntRange(min=1), default=None, metavar="M",
        help="Stop when more activation cells than this are found.",
    ),
)  # fmt: skip
_RESUME = click.option(
    "--resume", is_flag=True,
    help="Go on from the checkpoint that an earlier run of the same command left; without one, "
    "begin, and write it from the beginning.",
)  # fmt: skip
_JSON = click.option(
    "--json", "json_file", type=OutputFile(path_type=str, allow_dash=True), metavar="FILE",
    help="Write the result as JSON; - is standard output, and then nothing else goes there.",
)  # fmt: skip
_QUIET = click.option("--quiet", is_flag=True, help="Print nothing but errors.")

question = _all(_RADIUS, _LOSS, _NORM, _ORDER, _LABEL_COST, _SAMPLES)
"""The whole question."""

question_without_radius = _all(_LOSS, _NORM, _ORDER, _LABEL_COST, _SAMPLES)
norm_and_samples = _all(_NORM, _SAMPLES)

compute = _all(_ENGINE, _TOLERANCE, _WORKERS, _DASK, *_LIMITS, _RESUME)
"""How the exact engine works."""

compute_alone = _all(_ENGINE, _TOLERANCE, *_LIMITS)
"""The same in one process."""

engine_alone = _all(_ENGINE)
radius_norm_and_samples = _all(_RADIUS, _NORM, _SAMPLES)
engine_and_limits = _all(_ENGINE, _WORKERS, _DASK, *_LIMITS, _RESUME)
engine_and_limits_at_once = _all(_ENGINE, _WORKERS, _DASK, *_LIMITS)
limits = _all(*_LIMITS)
time_and_memory = _all(*_LIMITS[:2])
sampling = _all(_SEED, _DEVICE)
"""How the attack works."""

enumeration = _all(
    _WORKERS,
    _DASK,
    click.option(
        "--device", type=Words(("cpu", "cuda")), metavar="DEVICE", default="cpu", show_default=True,
        help="Where vertices are evaluated, in low dimension: cpu or cuda; the cells are the same.",
    ),
)  # fmt: skip
"""How cells are enumerated."""

output = _all(_JSON, _QUIET)
