r"""A question in units in which its ground norm is plain.

.. math:: \|x\| = \|Sx\|_r,\quad S = \mathrm{diag}(s): \qquad
          u = Sx,\quad W_0 \to W_0 S^{-1},\quad \mathcal{X} \to S\mathcal{X}

Losses, distances and radii are the same numbers in both. What is answered is the question about the
scaled network as float64 has it: products with scales that are no powers of two are rounded once.
"""

from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from wdaverify.arrays import Floats
from wdaverify.cost import TransportCost
from wdaverify.distribution import Distribution
from wdaverify.errors import ProblemError, UnsupportedError
from wdaverify.network import ReLUNetwork
from wdaverify.norms import ScaledNorm
from wdaverify.problem import Problem
from wdaverify.support import Box, Polytope, Support

__all__ = ["Units", "require_plain"]

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """The scaled question, and the way back.

    Attributes
    ----------
    problem
        The question with a plain norm.
    scales
        Length per input unit of each feature, ``(n,)``; ``None`` where the norm was plain.
    """

    problem: Problem
    scales: Floats | None

    @classmethod
    def of(cls, problem: Problem) -> "Units":
        """Return a question in units in which its norm is plain.

        Raises
        ------
        UnsupportedError
            A polytope, whose rounded rows need not contain the rounded samples.
        """
        norm, cost = problem.cost.norm, problem.cost
        if not isinstance(norm, ScaledNorm):
            return cls(problem, None)
        scales, network = norm.scales, problem.network
        scaled = problem.replace(
            network=ReLUNetwork(
                [network.weights[0] / scales, *network.weights[1:]], network.biases, network.slopes
            ),
            points=problem.points * scales,
            support=_scaled(problem.support, norm),
            cost=TransportCost(norm.base, cost.order, cost.label_cost),
        )
        return cls(scaled, scales)

    def restored(self, found: Distribution) -> Distribution:
        """Return a distribution of the scaled question in input units, its points rounded."""
        return found if self.scales is None else replace(found, points=found.points / self.scales)

    def refuse(self, what: str, given: object) -> None:
        """Refuse something that belongs to the input units of a scaled question.

        Raises
        ------
        ProblemError
            It was given, and the norm has scales.
        """
        if given is not None and self.scales is not None:
            raise ProblemError(
                f"{what}: those of the network do not serve a norm with scales; "
                f"leave it out, or ask about wv.Units.of(problem).problem"
            )


def require_plain(problem: Problem, what: str) -> None:
    """Refuse a norm with scales.

    Raises
    ------
    UnsupportedError
        Names the norm and what to ask instead.
    """
    if isinstance(problem.cost.norm, ScaledNorm):
        raise UnsupportedError(
            f"{what}: needs norm l1, l2 or linf, found {problem.cost.norm.name}; "
            f"ask about wv.Units.of(problem).problem"
        )


def _scaled(support: Support, norm: ScaledNorm) -> Support:
    scales = norm.scales
    if isinstance(support, Box):
        return Box(support.lower * scales, support.upper * scales)
    mantissas = np.frexp(scales)[0]
    if isinstance(support, Polytope) and (mantissas == 0.5).all():  # nothing rounds
        return Polytope(support.A / scales, support.b)
    raise UnsupportedError(
        f"norm {norm.name}: on a polytope the scales must be powers of two, so that no sample "
        f"leaves it by rounding; found {scales.tolist()}"
    )
