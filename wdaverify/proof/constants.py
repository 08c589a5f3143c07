r"""Proofs of the two constants of a loss.

Lipschitz: :math:`L = \max_{D,j} \|(J_D)_j - (J_D)_y\|_*` over all cells; the tree lists them, a
point inside the steepest one is the witness. Slope: the value of the network without biases on the
recession cone, within distance 1 of the origin.
"""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from wdaverify.cells.complex import CellComplex, enumerate_cells
from wdaverify.checker.claims import atom
from wdaverify.checker.constants import possible_labels, slope_question, witness
from wdaverify.checker.question import Question, read_question
from wdaverify.checker.reading import Rejected
from wdaverify.checker.verdict import downwards, upwards
from wdaverify.cost import TransportCost
from wdaverify.errors import SolverError, UnsupportedError
from wdaverify.exact.solve import solver_for
from wdaverify.limits import Limits
from wdaverify.loss import ZeroOne
from wdaverify.problem import Problem
from wdaverify.proof.cover import as_item
from wdaverify.proof.file import Body, Claim, Refuted, write_proof
from wdaverify.proof.lemmas import Geometry
from wdaverify.proof.lower import lower_end
from wdaverify.proof.numbers import as_json
from wdaverify.proof.plan import NOISE, Plan
from wdaverify.proof.question import question_line
from wdaverify.proof.shared import SharedTrees
from wdaverify.proof.skeleton import Skeleton
from wdaverify.rational import ExactNetwork
from wdaverify.support import Box, Polytope, Support

__all__ = ["prove_lipschitz", "prove_slope"]

CLOSE = 1e-9
"""Cells whose dual norm is this close to the largest are evaluated exactly."""


def prove_lipschitz(
    problem: Problem,
    radius: float,
    path: Path,
    *,
    cells: CellComplex | None = None,
    checked: bool = True,
    limits: Limits,
) -> tuple[Fraction, Fraction]:
    """Write a proof of the cell Lipschitz constant; return its ends.

    Raises
    ------
    UnsupportedError
        The loss has no such constant, or the support no interior.
    """
    if isinstance(problem.loss, ZeroOne):
        raise UnsupportedError("prove: the zero-one loss has no Lipschitz constant")
    question = question_line(problem, radius)
    q = read_question(question)
    if cells is None:
        cells = enumerate_cells(problem.network, problem.support, limits=limits)
    if cells.frame.dimension < problem.network.features:
        raise UnsupportedError(
            "prove --of lipschitz: the support has no interior (a constant feature, an equality); "
            "drop the fixed features first"
        )
    exact = ExactNetwork(problem.network)
    skeleton = Skeleton(Geometry(q, exact, problem.cost.norm), cells, limits)
    lower, item = _steepest(q, problem, cells)
    with Body() as body:
        for label in possible_labels(q):
            body.add(_listed(skeleton, label))
        claim = Claim("lipschitz", Fraction(downwards(lower)), Fraction(upwards(lower)))
        first = [{"witness": item}]
        _confirmed(path, question, claim, (first, body), checked=checked, limits=limits)
    return claim.lower, claim.upper


def _confirmed(
    path: Path, question: bytes, claim: Claim, parts: tuple[list[dict[str, Any]], Body],
    *, checked: bool, limits: Limits,
) -> None:  # fmt: skip
    try:
        write_proof(path, question, claim, parts, checked=checked, limits=limits)
    except Refuted as refuted:
        raise SolverError(f"proof: the checker rejects {refuted}") from None


def _listed(skeleton: Skeleton, label: int) -> Iterator[dict[str, Any]]:
    """Return the tree that lists all cells."""
    yield {"tree": {"label": label, "target": None, "intervals": "none", "samples": []}}
    for branch in skeleton:
        node: dict[str, Any] = {}
        if branch.lemmas:
            node["lemmas"] = [
                [lemma.neuron, "on" if lemma.on else "off", as_item(lemma.multipliers)]
                for lemma in branch.lemmas
            ]
        if branch.split >= 0:
            node["split"] = branch.split
        yield node


def _steepest(q: Question, problem: Problem, cells: CellComplex) -> tuple[Fraction, list[Any]]:
    """Return the exact dual norm of the steepest piece, and a witness of it."""
    best: tuple[Fraction, list[Any]] | None = None
    trials: list[tuple[float, int, int, int]] = []
    J = cells.logit_maps.matrix
    for label in possible_labels(q):
        for j in range(q.classes):
            if j != label:
                lengths = problem.cost.norm.dual_length(J[:, j] - J[:, label])
                trials += [(v, k, label, j) for k, v in enumerate(lengths.tolist())]
    top = max(v for v, *_ in trials)
    for v, k, label, j in trials:
        if v < top * (1.0 - CLOSE):
            continue
        item = [label, j, [as_json(Fraction(x)) for x in cells.interiors[k].tolist()]]
        try:
            found = witness(q, item)
        except Rejected:
            continue
        if best is None or found > best[0]:
            best = found, item
    if best is None:
        raise SolverError("proof: no interior point of the steepest cell is exact enough")
    return best


class _Asymptotic(NamedTuple):
    """The problem whose value is the slope, and how the checker reads it."""

    problem: Problem
    q: Question


def prove_slope(
    problem: Problem,
    radius: float,
    path: Path,
    *,
    cells: CellComplex | None = None,  # noqa: ARG001  (those of the cone are others)
    checked: bool = True,
    limits: Limits,
) -> tuple[Fraction, Fraction]:
    """Write a proof of the asymptotic slope; return its ends.

    Raises
    ------
    UnsupportedError
        Order or loss have none.
    """
    if problem.cost.order != 1 or isinstance(problem.loss, ZeroOne):
        raise UnsupportedError(
            "prove --of slope: the asymptotic slope belongs to order 1 and a loss that can grow"
        )
    question = question_line(problem, radius)
    cone = _cone(read_question(question), problem)
    if _bounded(cone.q):
        parts = _flat(cone.q)
        with Body() as body:
            body.add(parts[1])
            claim = Claim("slope", Fraction(0), Fraction(0))
            _confirmed(path, question, claim, (parts[0], body), checked=checked, limits=limits)
        return claim.lower, claim.upper
    solver = solver_for(cone.problem, "cells", limits=limits)
    value = solver.solve(1.0)
    if solver.stopped is not None:
        raise solver.stopped
    low = lower_end(cone.q, cone.problem, value.worst_case)
    atoms = [[i, y, 1, x] for i, y, _, x in low.atoms]
    trees = SharedTrees(cone.q, cone.problem, solver.desk.oracle.cells, limits)  # type: ignore[attr-defined]
    plan = Plan(cone.q, cone.problem, 0.0, noise=NOISE)
    plan.aim_at(solver.atoms)
    with Body() as body:
        body.add(trees.lines(plan))
        top = max(Fraction(0), *(Fraction(v) for v in plan.written()))
        best = max(Fraction(0), *_margins(cone.q, atoms))
        claim = Claim("slope", Fraction(downwards(best)), Fraction(upwards(top)))
        first = [{"atoms": atoms}, plan.line()]
        _confirmed(path, question, claim, (first, body), checked=checked, limits=limits)
    return claim.lower, claim.upper


def _margins(q: Question, atoms: list[Any]) -> Iterator[Fraction]:
    for item in atoms:
        yield atom(q, item)[2]


def _cone(q: Question, problem: Problem) -> _Asymptotic:
    """Return the problem without biases on the recession cone of the support."""
    cone = slope_question(q)
    n, labels = len(q.lower), possible_labels(q)
    low = np.array([-np.inf if v is None else 0.0 for v in cone.lower])
    high = np.array([np.inf if v is None else 0.0 for v in cone.upper])
    support: Support = Box(low, high)
    if cone.rows:
        rows = np.array([[float(Fraction(v, r.den)) for v in r.ints] for r in cone.rows])
        identity = np.eye(n)
        ends = [identity[k] for k in range(n) if np.isfinite(high[k])]
        ends += [-identity[k] for k in range(n) if np.isfinite(low[k])]
        matrix = np.concatenate([rows, np.array(ends).reshape(-1, n)])
        support = Polytope(matrix, np.zeros(len(matrix)))
    question = Problem(
        problem.network.without_biases(), np.zeros((len(labels), n)), labels,
        cost=TransportCost(problem.cost.norm.name, np.inf), support=support,
    )  # fmt: skip
    return _Asymptotic(question, cone)


def _bounded(q: Question) -> bool:
    """Whether nothing is left of the cone but the origin, as the box shows it."""
    return all(v is not None for v in [*q.lower, *q.upper])


def _flat(q: Question) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the proof for a bounded support: nothing moves."""
    zero = [0] * len(q.lower)
    atoms = [[i, y, 1, zero] for i, y in enumerate(q.labels)]
    bounds = {"multiplier": 0, "bounds": [0] * len(q.labels)}
    first: list[dict[str, Any]] = [{"atoms": atoms}, bounds]
    trees: list[dict[str, Any]] = []
    for i, y in enumerate(q.labels):
        head = {"label": y, "target": None, "intervals": "support", "samples": [[i, 0, 1]]}
        trees += [{"tree": head}, {"cuts": [{"target": j} for j in range(q.classes) if j != y]}]
    return first, trees
