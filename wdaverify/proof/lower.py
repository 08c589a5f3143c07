r"""The lower side of a proof: the worst case as rational atoms.

The masses of a sample add up to :math:`\mu_i` exactly, points lie exactly inside the support (and,
for order infinity, within the radius), and where rounding exceeds the budget a sliver of the mass
that moves goes back to its sample.
"""

from collections.abc import Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from wdaverify.cells.frame import Frame, frame_of
from wdaverify.checker.claims import atom
from wdaverify.checker.question import Question
from wdaverify.checker.reading import Rejected
from wdaverify.distribution import Distribution
from wdaverify.evaluation import certain_losses
from wdaverify.problem import Problem
from wdaverify.proof.numbers import as_json

__all__ = ["LowerEnd", "lower_end"]

STEPS = [Fraction(0), *(Fraction(1, 1 << k) for k in range(52, 20, -4))]
"""How far a point is pulled inside, one after the other."""

Point = list[Fraction]


class LowerEnd(NamedTuple):
    """Atoms as the file has them, and the expected loss that they prove."""

    atoms: list[Any]
    value: Fraction


class _Atom(NamedTuple):
    """An atom with what the checker says of its loss and cost."""

    sample: int
    label: int
    mass: Fraction
    point: Point
    loss: Fraction
    cost: Fraction


def lower_end(q: Question, problem: Problem, worst: Distribution) -> LowerEnd:
    """Return the atoms of a worst case, repaired until they are within the budget.

    Parameters
    ----------
    q
        The question as the checker reads it.
    worst
        As the engine found it; the samples where they are take what cannot be repaired.
    """
    place = {int(i): k for k, i in enumerate(problem.active.tolist())}
    frame = None if not q.rows else frame_of(problem.support)
    errors = worst.certified
    if q.loss == "zero-one":
        errors = errors | (certain_losses(problem, worst.points, worst.labels) > 0)
    found: list[_Atom] = []
    for i in problem.active.tolist():
        rows = np.flatnonzero((worst.origin == i) & (worst.weights > 0)).tolist()
        weights = [Fraction(float(worst.weights[r])) for r in rows]
        total = sum(weights, Fraction(0))
        for r, weight in zip(rows, weights, strict=True):
            mass = weight / total * q.masses[place[i]]
            point = [Fraction(v) for v in worst.points[r].tolist()]
            known = bool(errors[r])
            found.append(
                _placed(q, frame, (place[i], int(worst.labels[r]), mass), point, error=known)
            )
        if not rows:
            found.append(_at_home(q, place[i], q.masses[place[i]]))
    found = list(_within_budget(q, found))
    value = sum((a.mass * a.loss for a in found), Fraction(0))
    return LowerEnd([_as_item(a) for a in found], value)


def _as_item(a: _Atom) -> list[Any]:
    return [a.sample, a.label, as_json(a.mass), [as_json(v) for v in a.point]]


def _judged(q: Question, key: tuple[int, int, Fraction], point: Point) -> _Atom:
    """Let the checker evaluate an atom.

    Raises
    ------
    Rejected
        Outside the support or beyond the radius.
    """
    numbers = [as_json(v) for v in point]
    i, mass, loss, cost = atom(q, [key[0], key[1], as_json(key[2]), numbers])
    return _Atom(i, key[1], mass, point, loss, cost)


def _at_home(q: Question, i: int, mass: Fraction) -> _Atom:
    """Return an atom at the sample itself."""
    centre = q.points[i]
    point = [Fraction(v, centre.den) for v in centre.ints]
    return _judged(q, (i, q.labels[i], mass), point)


def _placed(
    q: Question, frame: Frame | None, key: tuple[int, int, Fraction], point: Point, *, error: bool
) -> _Atom:
    """Return an atom near a point: exactly inside, within the radius, an error where one is due."""
    best: _Atom | None = None
    for trial in _trials(q, frame, key[0], point, error=error):
        try:
            found = _judged(q, key, trial)
        except Rejected:
            continue
        if best is None or found.loss > best.loss:
            best = found
        if not error or found.loss >= 1:
            return found
    if best is None:
        return _at_home(q, key[0], key[2])
    return best


def _trials(
    q: Question, frame: Frame | None, i: int, point: Point, *, error: bool
) -> Iterator[Point]:
    """Return a point, then points a little nearer to the sample or to an interior point."""
    centre = q.points[i]
    home = [Fraction(v, centre.den) for v in centre.ints]
    inside = None
    if frame is not None:
        point, inside = _on_hull(frame, point), frame_point(frame)
        home = _on_hull(frame, home)
    for step in STEPS:
        near = [v + step * (h - v) for v, h in zip(point, home, strict=True)]
        yield near
        if inside is not None:
            yield [v + step * (c - v) for v, c in zip(point, inside, strict=True)]
    for step in STEPS[1:] if error else []:
        yield [v - step * (h - v) for v, h in zip(point, home, strict=True)]


def _on_hull(frame: Frame, point: Point) -> Point:
    """Return the nearest point of the affine hull of the support, rational coordinates rounded."""
    if frame.dimension == len(point):
        return point
    u = frame.coordinates(np.array([float(v) for v in point]))
    return _mapped(frame, [Fraction(v) for v in u.tolist()])


def frame_point(frame: Frame) -> Point:
    """Return a point inside the support, on its affine hull."""
    return _mapped(frame, [Fraction(v) for v in frame.interior.tolist()])


def _mapped(frame: Frame, u: list[Fraction]) -> Point:
    return [
        sum((b * v for b, v in zip(row, u, strict=True)), Fraction(o))
        for row, o in zip(frame.basis.tolist(), frame.origin.tolist(), strict=True)
    ]


def _within_budget(q: Question, atoms: list[_Atom]) -> Iterator[_Atom]:
    """Send mass home until the cost is within the budget: where that loses least, first."""
    if q.order is None:
        yield from atoms
        return
    over = sum((a.mass * a.cost for a in atoms), Fraction(0)) - q.budget[0]
    paying = [k for k, a in enumerate(atoms) if a.mass * a.cost > 0] if over > 0 else []
    order = sorted(paying, key=lambda k: _worth(q, atoms[k]))
    back: dict[int, Fraction] = {}
    for k in order:
        cost = atoms[k].mass * atoms[k].cost
        if over <= 0:
            break
        share = min(Fraction(1), Fraction(float(over / cost)) * (1 + Fraction(1, 1 << 40)))
        share += 0 if share >= 1 else Fraction(1, 1 << 100)
        back[k] = min(Fraction(1), share)
        over -= back[k] * cost
    for k, a in enumerate(atoms):
        if k in back:
            yield _at_home(q, a.sample, a.mass * back[k])
        if back.get(k) != 1:
            yield a._replace(mass=a.mass * (1 - back.get(k, Fraction(0))))


def _worth(q: Question, a: _Atom) -> float:
    """Return what an atom gains for each unit of cost."""
    home = _at_home(q, a.sample, a.mass)
    return float((a.loss - home.loss) / a.cost) if a.cost else float("inf")
