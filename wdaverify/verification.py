r"""The sandwich: attack ≤ exact ≤ certificate, for every radius.

The attack never sees a solver, the layer product never sees the cells; the exact value must lie
between them. A violation means that one of the three is wrong, and is raised, never smoothed over.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from wdaverify.atoms import Atoms
from wdaverify.bounds.asymptotic import AsymptoticSlope, asymptotic_slope
from wdaverify.bounds.certificate import certificates
from wdaverify.bounds.statements import Certified
from wdaverify.bounds.tightness import Tightness, tightness
from wdaverify.cells.complex import CellComplex
from wdaverify.checkpoint import Checkpoint, checkpoint_at
from wdaverify.encoding import decode, encode
from wdaverify.errors import LimitReached, SandwichViolation, UnsupportedError
from wdaverify.exact.answer import ExactValue
from wdaverify.exact.by_cells import CellOracle
from wdaverify.exact.dispatch import Dispatcher
from wdaverify.exact.engine import Choice, choose_engine, dispatcher_for
from wdaverify.exact.solve import check_radius
from wdaverify.exact.value import ExactSolver
from wdaverify.limits import Limits
from wdaverify.problem import Problem
from wdaverify.tolerances import EXACT, ORDER, scale
from wdaverify.units import Units

__all__ = ["Progress", "Row", "Sandwich", "sandwich"]

Progress = Callable[[str, float], None]
"""Called with what is being done and a number that describes how far it is."""


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """The bounds at one radius.

    Attributes
    ----------
    attack
        Best lower bound without the solver.
    lower, upper
        Bracket of the exact engine.
    certificate, certificate_method
        Smallest certified upper bound and its name; infinite and ``"none"`` where no method proves
        anything.
    exact
        Result of the exact engine; ``None`` where a limit stopped it before the first bound.
    seconds
        What the exact engine spent on this radius, given what earlier ones had taught it.
    """

    radius: float
    attack: float
    lower: float
    upper: float
    certificate: float
    certificate_method: str
    attained: bool | None
    status: str
    exact: ExactValue | None
    seconds: float

    @property
    def gap(self) -> float:
        """``upper − lower``, 0 where both are infinite."""
        return 0.0 if self.upper == self.lower else self.upper - self.lower


@dataclass(frozen=True, slots=True, eq=False)
class Sandwich:
    """All bounds of a problem at several radii.

    Attributes
    ----------
    lower_bounds, upper_bounds
        Every method's bound at every radius.
    slope
        Asymptotic slope where it says something, else ``None``.
    verdict
        Whether a Lipschitz certificate is exact for every radius (``S = L``), with its witness;
        ``None`` where the question does not arise.
    seconds
        Wall-clock time of each stage.
    engine
        The exact engine and why it was chosen.
    stopped
        Message of the limit that ended the work early, if any.
    cells
        The activation cells, where the engine listed them for this network (a norm with scales
        lists those of the scaled one).
    """

    problem: Problem
    nominal: float
    rows: tuple[Row, ...]
    lower_bounds: dict[str, list[float]]
    upper_bounds: dict[str, list[float]]
    certificates: tuple[Certified, ...]
    slope: AsymptoticSlope | None
    verdict: Tightness | None
    counts: dict[str, int]
    seconds: dict[str, float]
    engine: Choice
    stopped: str | None
    cells: CellComplex | None = None

    @property
    def tight(self) -> bool | None:
        """The verdict alone, ``None`` also where it is open."""
        return None if self.verdict is None else self.verdict.tight

    def check(self) -> None:
        """Raise if any lower bound exceeds any upper bound.

        Raises
        ------
        SandwichViolation
            Names the radius, both bounds and by how much they contradict each other.
        """
        for k, row in enumerate(self.rows):
            lower = {name: values[k] for name, values in self.lower_bounds.items()}
            upper = {name: values[k] for name, values in self.upper_bounds.items()}
            lower["exact lower"], upper["exact upper"] = row.lower, row.upper
            low, high = max(lower, key=lambda n: lower[n]), min(upper, key=lambda n: upper[n])
            both = lower[low] == upper[high]  # two infinities have no difference
            excess = 0.0 if both else lower[low] - upper[high]
            if not excess <= ORDER * max(1.0, abs(upper[high])):
                raise SandwichViolation(
                    f"radius {row.radius:g}: lower bound {low} = {lower[low]:.17g} exceeds upper "
                    f"bound {high} = {upper[high]:.17g} by {excess:.3g}"
                )


@dataclass(slots=True)
class _Stages:
    """Clock, progress and checkpoint of the stages."""

    limits: Limits
    progress: Progress
    checkpoint: Checkpoint | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    started: float = 0.0

    def done(self, stage: str) -> None:
        self.seconds[stage] = self.limits.elapsed - self.started
        self.started = self.limits.elapsed


def sandwich(  # noqa: PLR0913
    problem: Problem,
    radii: Sequence[float],
    *,
    cells: CellComplex | None = None,
    engine: str = "auto",
    workers: int | None = None,
    tolerance: float = EXACT,
    seed: int = 0,
    device: str = "cpu",
    limits: Limits | None = None,
    progress: Progress | None = None,
    checkpoint: str | Path | Checkpoint | None = None,
) -> Sandwich:
    """Return attack, exact value and certificate at each radius, checked against each other.

    Parameters
    ----------
    problem
        The question.
    radii
        Wasserstein radii ``ε >= 0``.
    cells
        Activation cells; enumerated when omitted.
    engine, workers
        See :func:`~wdaverify.exact.solve.solve`.
    seed, device
        Of the attack.
    limits
        When they are reached, rows are brackets that are still valid.
    progress
        See :data:`Progress`.
    checkpoint
        See :func:`~wdaverify.exact.solve.solve`; the points of the attack are kept as well.

    Raises
    ------
    SandwichViolation
        A lower bound exceeds an upper bound by more than ``1e-9 · max(1, |v|)``.
    UnsupportedError
        The exact engine does not cover the question.
    """
    units = Units.of(problem)
    if units.scales is not None:
        units.refuse("cells", cells)
        scaled = sandwich(
            units.problem, radii, engine=engine, workers=workers, tolerance=tolerance, seed=seed,
            device=device, limits=limits, progress=progress, checkpoint=checkpoint,
        )  # fmt: skip
        restored = (replace(r, exact=r.exact and r.exact.restored(units)) for r in scaled.rows)
        return replace(scaled, problem=problem, rows=tuple(restored), cells=None)
    choice = choose_engine(problem, engine, cells)
    radii = [check_radius(radius) for radius in radii]
    options = {"engine": engine, "tolerance": tolerance}
    with checkpoint_at(checkpoint, problem, options) as opened:
        stages = _Stages(limits or Limits(), progress or (lambda _, __: None), opened)
        stages.started = stages.limits.elapsed
        attacked = _attack(problem, radii, seed, device, stages)
        return _framed(problem, radii, (attacked, choice, cells), (workers, tolerance), stages)


def _framed(
    problem: Problem,
    radii: list[float],
    known: tuple[Atoms, Choice, CellComplex | None],
    means: tuple[int | None, float],
    stages: _Stages,
) -> Sandwich:
    """Solve and certify beside what the attack has found."""
    (attacked, choice, cells), (workers, tolerance) = known, means
    desk, stopped = _desk(problem, choice, cells, workers, stages)
    solver = None
    if desk is not None:
        solver = ExactSolver(
            problem, desk, tolerance=tolerance, limits=stages.limits, progress=stages.progress
        )
    values: list[tuple[ExactValue | None, float]] = [(None, 0.0)] * len(radii)
    for k, radius in enumerate(radii if solver is not None else []):
        assert solver is not None
        before = stages.limits.elapsed
        with stages.limits.part(k, len(radii)):
            values[k] = solver.solve(radius), stages.limits.elapsed - before
    if desk is not None:
        desk.close()
    stages.done("exact")
    oracle = None if desk is None else desk.oracle
    listed = oracle.cells if isinstance(oracle, CellOracle) else None
    stages.progress("certificates", math.nan)
    found = tuple(certificates(problem, cells=listed, limits=stages.limits))
    stages.progress("asymptotic slope", math.nan)
    slope = None if stopped else _slope(problem, stages.limits)
    stages.done("certificates")
    lower = {"attack": [attacked.distribution(r).risk(problem) for r in radii]}
    if slope is not None:
        lower["asymptotic-slope"] = [slope.bound(problem, r) for r in radii]
    upper = {c.method: [c.bound(r) for r in radii] for c in found}
    rows = tuple(
        _row(radius, {name: v[k] for name, v in lower.items()},
             {name: v[k] for name, v in upper.items()}, values[k], tolerance)
        for k, radius in enumerate(radii)
    )  # fmt: skip
    if solver is not None and solver.stopped is not None:
        stopped = str(solver.stopped)
    result = Sandwich(
        problem, problem.nominal, rows, lower, upper, found, slope, tightness(slope, found),
        {} if solver is None else solver.counts.as_dict(), stages.seconds, choice, stopped,
        listed,
    )  # fmt: skip
    result.check()
    return result


def _attack(
    problem: Problem, radii: Sequence[float], seed: int, device: str, stages: _Stages
) -> Atoms:
    name = b"attack " + encode([*map(float, radii), seed, device], {})
    kept = None if stages.checkpoint is None else stages.checkpoint.get(name)
    if kept is not None:
        atoms = Atoms(problem)
        atoms.replace(*decode(kept, {}))
        stages.done("attack")
        return atoms
    from wdaverify.bounds.attack import attack_points  # noqa: PLC0415  (torch is slow to import)

    atoms = attack_points(
        problem,
        radii,
        seed=seed,
        device=device,
        limits=stages.limits,
        progress=lambda done, total: stages.progress("attack", done / max(total, 1)),
    )
    if stages.checkpoint is not None and stages.limits.reached("attack") is None:
        stages.checkpoint.put(name, encode((atoms.points, atoms.owners, atoms.labels), {}))
    stages.done("attack")
    return atoms


def _desk(
    problem: Problem,
    choice: Choice,
    cells: CellComplex | None,
    workers: int | None,
    stages: _Stages,
) -> tuple[Dispatcher | None, str | None]:
    try:
        desk = dispatcher_for(
            problem,
            choice,
            cells=cells,
            workers=workers,
            checkpoint=stages.checkpoint,
            limits=stages.limits,
            progress=stages.progress,
        )
    except LimitReached as reached:
        return None, str(reached)
    stages.done("cells")
    return desk, None


def _slope(problem: Problem, limits: Limits) -> AsymptoticSlope | None:
    try:
        return asymptotic_slope(problem, limits=limits)
    except UnsupportedError:
        return None


def _row(
    radius: float,
    lower: dict[str, float],
    upper: dict[str, float],
    solved: tuple[ExactValue | None, float],
    tolerance: float,
) -> Row:
    value, seconds = solved
    attack = lower["attack"]
    method = min(upper, key=lambda name: upper[name], default="none")
    certificate = upper.get(method, math.inf)
    if value is None:
        close = certificate - attack <= tolerance * scale(attack, certificate)
        low, high, attained, status = attack, certificate, None, "exact" if close else "bracket"
    else:
        low, high, attained, status = value.lower, value.upper, value.attained, value.status
    return Row(radius, attack, low, high, certificate, method, attained, status, value, seconds)
