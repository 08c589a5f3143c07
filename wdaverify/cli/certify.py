"""``wdaverify certify``: upper bounds, and why each of them is one."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np

from wdaverify.bounds.asymptotic import AsymptoticSlope, asymptotic_slope
from wdaverify.bounds.body import Ball, body_of
from wdaverify.bounds.certificate import constants_of
from wdaverify.bounds.constants import Constants
from wdaverify.bounds.estimates import first_order_estimate
from wdaverify.bounds.gradient_search import searched_constants
from wdaverify.bounds.lipschitz import Certificate
from wdaverify.bounds.piece_constants import own_pieces
from wdaverify.bounds.registry import METHODS, OTHERS
from wdaverify.bounds.statements import Certified, Means
from wdaverify.bounds.tightness import Tightness, tightness
from wdaverify.cells.complex import CellComplex, enumerate_cells
from wdaverify.cli import options
from wdaverify.cli.help import Command, Example
from wdaverify.cli.parameters import Words
from wdaverify.cli.scenes import ball_of
from wdaverify.cli.session import Session
from wdaverify.cli.tables import figure, plain_table
from wdaverify.errors import LimitReached, ProblemError, UnsupportedError
from wdaverify.exact.engine import MANY, possible_cells
from wdaverify.problem import Problem
from wdaverify.registry import load_extensions
from wdaverify.units import require_plain

__all__ = ["certify"]

NAMES = (*METHODS, *OTHERS)
LOCAL = "Lipschitz constants in the ball; by themselves no bound on the worst-case value"


@click.command(
    cls=Command,
    section="Certificates",
    examples=(
        Example(
            "Every method that proves something",
            "wdaverify certify problems/moons --radius 0.05",
        ),
        Example("One of them", "wdaverify certify problems/iris --method margin-lipschitz"),
        Example(
            "Lipschitz constants near sample 3",
            "wdaverify certify problems/moons --ball 3 0.1",
        ),
    ),
)
@options.problem
@options.question
@click.option(
    "--method", type=Words((*NAMES, "all")), metavar="METHOD", default="all", show_default=True,
    help=f"{', '.join(NAMES)} or all.",
)  # fmt: skip
@click.option(
    "--ball", nargs=2, metavar="CENTRE RADIUS",
    help="Print the Lipschitz constants in this ball of the ground norm instead; CENTRE is the "
    "index of a sample, or coordinates: 0.3,0.7",
)  # fmt: skip
@options.limits
@options.output
def certify(problem: Path, method: str, ball: tuple[str, str] | None, **given: Any) -> None:  # noqa: ANN401
    """Print upper bounds, what each proves, and the constant that it rests on."""
    load_extensions()
    names = [*METHODS, *OTHERS]
    if method not in (*names, "all"):
        raise ProblemError(f"--method: expected {', '.join(names)} or all, found {method!r}")
    if ball is not None and method not in ("cell-lipschitz", "margin-lipschitz", "all"):
        raise ProblemError(
            f"--ball: expected --method cell-lipschitz, margin-lipschitz or all, found {method!r}"
        )
    session = Session("certify", problem, given)
    if ball is not None:
        _local(session, method, ball)
        return
    run = _Run(session, given["max_cells"] is not None)
    with session.progress() as progress:
        run.work(names if method == "all" else [method], strict=method != "all",
                 progress=progress)  # fmt: skip
    run.print()
    session.write(run.fields())
    session.finish(run.stopped)


@dataclass(slots=True)
class _Run:
    """What one run of the command finds."""

    session: Session
    listed: bool
    found: list[Certified] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    slope: AsymptoticSlope | None = None
    estimates: list[dict[str, Any]] = field(default_factory=list)
    verdict: Tightness | None = None
    stopped: LimitReached | str | None = None

    @property
    def problem(self) -> Problem:
        """The question, in units in which its norm is plain."""
        return self.session.units.problem

    def work(
        self, names: list[str], *, strict: bool, progress: Callable[[str, float], None]
    ) -> None:
        """Make every certificate; one that proves nothing is an error where it was named."""
        problem, limits = self.problem, self.session.limits
        every = METHODS | OTHERS
        kept = [name for name in names if self._applies(name, strict=strict)]
        cells = None
        if any(name in METHODS and METHODS[name].searches for name in kept):
            cells = self._cells(progress)
        for k, name in enumerate(kept):
            progress(f"{name} ({k + 1} of {len(kept)})", float("nan"))
            try:
                if name in METHODS:
                    self.found.append(METHODS[name].make(problem, Means(cells, limits)))
                elif name == "asymptotic-slope":
                    self.slope = asymptotic_slope(problem, limits=limits)
                    self.stopped = self.stopped or self.slope.stopped
                else:
                    self.estimates = [
                        {"radius": r, "method": name, "value": first_order_estimate(problem, r)}
                        for r in self.session.stored.radii
                    ]
            except UnsupportedError as error:
                if strict:
                    raise
                self.refused[every[name].name] = str(error)
            except LimitReached as reached:
                self.refused[every[name].name] = str(reached)
                self.stopped = self.stopped or reached
        self.verdict = tightness(self.slope, self.found)
        self.stopped = self.stopped or limits.reached("certifying")

    def _applies(self, name: str, *, strict: bool) -> bool:
        statement = METHODS.get(name) or OTHERS[name]
        if strict:
            statement.check(self.problem)
        reason = statement.refuses(self.problem)
        if reason is not None:
            self.refused[name] = reason
        return reason is None

    def _cells(self, progress: Callable[[str, float], None]) -> CellComplex | None:
        """List the cells, unless they are likely too many or a limit comes first."""
        problem = self.problem
        if not self.listed and possible_cells(problem) > MANY:
            return None
        try:
            return enumerate_cells(
                problem.network,
                problem.support,
                limits=self.session.limits,
                progress=lambda count: progress("cells", float(count)),
            )
        except LimitReached as reached:
            self.stopped = reached
            return None

    def rows(self) -> list[dict[str, Any]]:
        """Return the upper bounds."""
        return [
            {"radius": radius, "method": c.method, "value": c.bound(radius)}
            for radius in self.session.stored.radii
            for c in self.found
        ]

    def print(self) -> None:
        """Print for people: bounds, what they prove, what was refused."""
        session = self.session
        shown = [_row(row) for row in self.rows()]
        if shown:
            title = f"{self.problem.name}: certified upper bounds"
            session.print(plain_table(title, ["radius ε", "method", "upper bound"], shown))
        if self.estimates:
            title = f"{self.problem.name}: estimates, not bounds"
            rows = [_row(row) for row in self.estimates]
            session.print(plain_table(title, ["radius ε", "method", "estimate"], rows))
        for c in self.found:
            session.note(f"{c.method}{_constant(c)}: {METHODS[c.method].sentence(self.problem)}")
        if self.slope is not None:
            known = f"[{self.slope.lower:.10g}, {self.slope.upper:.10g}]"
            session.note(
                f"asymptotic-slope {known}: {OTHERS['asymptotic-slope'].sentence(self.problem)}"
            )
        if self.verdict is not None:
            session.note(self.verdict.describe())
        if self.estimates:
            session.note(f"first-order: proves {OTHERS['first-order'].proves}")
        for name, reason in self.refused.items():
            session.note(f"not used: {name}: {reason}")

    def fields(self) -> dict[str, Any]:
        """Return what goes into the JSON."""
        lipschitz = [c for c in self.found if isinstance(c, Certificate)]
        brackets = {c.method: c.bracket for c in lipschitz if c.bracket is not None}
        constants = constants_of(self.found)
        if self.slope is not None:
            constants["asymptotic-slope"] = self.slope.lower
        return {
            "nominal": self.problem.nominal,
            "constants": constants,
            "by_label": {c.method: c.constants.tolist() for c in lipschitz},
            "brackets": {name: _bracket(found) for name, found in brackets.items()},
            "slope": None if self.slope is None else _slope(self.slope),
            "tight": None if self.verdict is None else self.verdict.tight,
            "tight_method": None if self.verdict is None else self.verdict.method,
            "rows": self.rows(),
            "estimates": self.estimates,
            "statements": {
                name: s.sentence(self.problem)
                for name, s in (METHODS | OTHERS).items()
                if name not in self.refused
            },
            "refused": self.refused,
            "stopped": None if self.stopped is None else str(self.stopped),
        }


def _local(session: Session, method: str, given: tuple[str, str]) -> None:
    """Print and write the constants in a ball."""
    require_plain(session.problem, "--ball")
    if own_pieces(session.problem):
        raise UnsupportedError(
            f"--ball: brackets constants of margins, found the loss {session.problem.loss.name}"
        )
    problem, (centre, size) = session.problem, ball_of(*given, session.problem)
    names = ["cell-lipschitz", "margin-lipschitz"] if method == "all" else [method]
    found: dict[str, Constants] = {}
    refused: dict[str, str] = {}
    with session.progress() as progress:
        for name in names:
            reason = METHODS[name].refuses(problem)
            if reason is not None:
                if method != "all":
                    METHODS[name].check(problem)
                refused[name] = reason
                continue
            progress(name, float("nan"))
            found[name] = _constants(session, name, Ball(centre, size))
    rows = [
        [name, str(label), figure(low), figure(high)]
        for name, constants in found.items()
        for label, (low, high) in enumerate(zip(*constants.labels, strict=True))
    ]
    title = f"{problem.name}: {problem.cost.norm.name} ball of radius {size:g}"
    session.print(plain_table(title, ["method", "label", "constant ≥", "constant ≤"], rows))
    session.note(LOCAL)
    for name, reason in refused.items():
        session.note(f"not used: {name}: {reason}")
    stopped = session.limits.reached("certifying")
    local = {
        "centre": centre, "radius": size, "norm": problem.cost.norm.name,
        "constants": {name: _bracket(constants) for name, constants in found.items()},
        "statement": LOCAL,
    }  # fmt: skip
    session.write(
        {"nominal": problem.nominal, "constants": {}, "rows": [], "local": local,
         "refused": refused, "stopped": None if stopped is None else str(stopped)}
    )  # fmt: skip
    session.finish(stopped)


def _constants(session: Session, name: str, ball: Ball) -> Constants:
    problem = session.problem
    near = problem.cost.norm.length(problem.points - ball.centre) <= ball.radius
    points = np.concatenate([problem.points[near], ball.centre[None, :]])
    return searched_constants(
        body_of(problem.network, problem.support, problem.cost.norm, ball),
        margin=name == "margin-lipschitz",
        points=points,
        limits=session.limits,
    )


def _bracket(found: Constants) -> dict[str, Any]:
    low, high = found.labels
    return {
        "lower": low.tolist(),
        "upper": high.tolist(),
        "pairs": {"lower": found.lower.tolist(), "upper": found.upper.tolist()},
        "source": found.source,
        "nodes": found.nodes,
    }


def _slope(slope: AsymptoticSlope) -> dict[str, Any]:
    pattern = None if slope.pattern is None else slope.pattern.astype(int).tolist()
    return {
        "lower": slope.lower,
        "upper": slope.upper,
        "label": slope.label,
        "target": slope.target,
        "direction": slope.direction.tolist(),
        "pattern": pattern,
    }


def _constant(certificate: Certified) -> str:
    if not isinstance(certificate, Certificate):
        return ""
    if certificate.bracket is None:
        return f" {certificate.constant:.10g}"
    low, high = certificate.bracket.bracket(certificate.problem.possible_labels)
    source = certificate.bracket.source
    shown = f"{high:.10g}" if high - low <= 1e-9 * high else f"[{low:.10g}, {high:.10g}]"
    return f" {shown} (from {source})"


def _row(row: dict[str, Any]) -> list[str]:
    return [f"{row['radius']:g}", row["method"], figure(row["value"])]
