"""Options that several commands share; a command takes only those that mean something to it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from wdaverify.loss import LOSSES
from wdaverify.norms import NORMS
from wdaverify.tolerances import EXACT

__all__ = [
    "compute",
    "compute_alone",
    "engine_and_limits",
    "limits",
    "norm_and_samples",
    "output",
    "problem",
    "question",
    "question_without_radius",
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


problem = click.argument("problem", type=click.Path(path_type=Path))

_RADIUS = click.option(
    "--radius", "radii", type=float, multiple=True, metavar="R",
    help="Wasserstein radius; may be given several times and replaces the file's radii.",
)  # fmt: skip
_LOSS = click.option("--loss", help=f"Replace the file's loss: {', '.join(LOSSES)}.")
_NORM = click.option("--norm", help=f"Replace the file's ground norm: {', '.join(NORMS)}.")
_ORDER = click.option("--order", help='Replace the file\'s order: a number p >= 1, or "inf".')
_LABEL_COST = click.option(
    "--label-cost", type=float, metavar="C", help="Replace the file's cost of a label move."
)
_SAMPLES = click.option(
    "--samples", type=int, metavar="N", help="Use the first N samples; weights are renormalised."
)
_ENGINE = click.option(
    "--engine", default="auto", show_default=True, help="auto, cells, search or milp."
)
_TOLERANCE = click.option(
    "--tolerance", type=click.FloatRange(min=0, min_open=True), default=EXACT, show_default=True,
    help="Relative gap that counts as exact.",
)  # fmt: skip
_SEED = click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the attack."
)
_DEVICE = click.option(
    "--device", default="cpu", show_default=True, help="Where the attack runs: cpu or cuda."
)
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
_JSON = click.option(
    "--json", "json_file", metavar="FILE",
    help="Write the result as JSON; - is standard output, and then nothing else goes there.",
)  # fmt: skip
_QUIET = click.option("--quiet", is_flag=True, help="No progress and no table.")

question = _all(_RADIUS, _LOSS, _NORM, _ORDER, _LABEL_COST, _SAMPLES)
"""The whole question."""

question_without_radius = _all(_LOSS, _NORM, _ORDER, _LABEL_COST, _SAMPLES)
norm_and_samples = _all(_NORM, _SAMPLES)

compute = _all(_ENGINE, _TOLERANCE, _WORKERS, _DASK, *_LIMITS)
"""How the exact engine works."""

compute_alone = _all(_ENGINE, _TOLERANCE, *_LIMITS)
"""The same in one process."""

engine_and_limits = _all(_ENGINE, _WORKERS, _DASK, *_LIMITS)
limits = _all(*_LIMITS)
time_and_memory = _all(*_LIMITS[:2])
sampling = _all(_SEED, _DEVICE)
"""How the attack works."""

enumeration = _all(
    _WORKERS,
    _DASK,
    click.option(
        "--device", default="cpu", show_default=True,
        help="Where vertices are evaluated, in low dimension: cpu or cuda; the cells are the same.",
    ),
)  # fmt: skip
"""How cells are enumerated."""

output = _all(_JSON, _QUIET)
