r"""Proofs from listed cells: one tree for each label, shared by its samples.

.. math:: \varphi_i(\lambda) \le U_i,\qquad v_p(\varepsilon)\le\lambda\varepsilon^p+\sum_i\mu_iU_i
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from wdaverify.arrays import Integers
from wdaverify.cells.complex import CellComplex
from wdaverify.checker.question import Question
from wdaverify.limits import Limits
from wdaverify.problem import Problem
from wdaverify.proof.cover import Aim, Cover
from wdaverify.proof.lemmas import Geometry
from wdaverify.proof.plan import Plan
from wdaverify.proof.skeleton import Skeleton
from wdaverify.proof.softmax import SoftmaxCover
from wdaverify.rational import ExactNetwork

if TYPE_CHECKING:
    from wdaverify.exact.program import PieceProgram

__all__ = ["SharedTrees"]

SHRINK = 1e-8
"""Relative retreat of a distance within which no error could be excluded."""

RETREATS = 3


class SharedTrees:
    """Trees over the cells of a network.

    Raises
    ------
    SolverError
        The list of cells is incomplete, or a sub-problem cannot be bounded.
    """

    def __init__(self, q: Question, problem: Problem, cells: CellComplex, limits: Limits) -> None:
        geometry = Geometry(q, ExactNetwork(problem.network), problem.cost.norm)
        self.q, self.problem, self.limits = q, problem, limits
        self.skeleton = Skeleton(geometry, cells, limits)
        self._programs: dict[int, PieceProgram] = {}

    def lines(self, plan: Plan) -> Iterator[dict[str, Any]]:
        """Return the lines of all trees; what had to give way is changed in the plan."""
        for done, label in enumerate(plan.labels):
            with self.limits.part(done, len(plan.labels)):
                yield from self._tree(plan, label)

    def _tree(self, plan: Plan, label: int) -> Iterator[dict[str, Any]]:
        q, problem = self.q, self.problem
        samples = plan.samples(label)
        if len(samples) == 0:
            return
        points = problem.points[problem.active[samples]]
        moved = plan.moved(label)[samples]
        for attempt in range(RETREATS + 1):
            limits = None if plan.limits is None else plan.limits[samples] + moved
            constant = float(q.loss == "hinge")
            aim = Aim(
                label,
                samples,
                points,
                plan.reach[samples],
                limits,
                plan.asked,
                plan.proved,
                constant,
            )
            make = SoftmaxCover if q.loss == "cross-entropy" else Cover
            cover = make(self.skeleton, self._programs, aim, self.limits)
            nodes = list(cover.nodes()) if limits is None else cover.nodes()
            if limits is None and cover.failed:
                at = samples[sorted(cover.failed)]
                plan.retreat(at, 0.0 if attempt == RETREATS - 1 else SHRINK)
                keep = plan.reach[samples] > 0
                samples, points, moved = samples[keep], points[keep], moved[keep]
                if len(samples) == 0:
                    return
                continue
            yield self._head(label, samples, plan)
            yield from nodes
            if limits is not None and plan.limits is not None:
                raised = limits > plan.limits[samples] + moved  # the cover works in place
                plan.limits[samples[raised]] = (limits - moved)[raised]
            return

    def _head(self, label: int, samples: Integers, plan: Plan) -> dict[str, Any]:
        spans = [[int(i), 0, plan.end(int(i))] for i in samples]
        return {"tree": {"label": label, "target": None, "intervals": "none", "samples": spans}}
