"""What the exact engine answers, and which questions it takes."""

from dataclasses import dataclass

from wdaverify.atoms import Distribution
from wdaverify.errors import UnsupportedError
from wdaverify.loss import Hinge, Margin, ZeroOne
from wdaverify.problem import Problem
from wdaverify.tolerances import EXACT, scale

__all__ = ["ExactValue", "check_supported"]


@dataclass(frozen=True, slots=True, eq=False)
class ExactValue:
    """A worst-case value as a bracket, with the evidence of its lower end.

    Attributes
    ----------
    lower
        Risk of :attr:`worst_case`, an explicit distribution within the radius.
    upper
        Dual bound.
    multiplier
        Right-hand slope of the value in the budget ``radius ** order``; ``None`` for order
        infinity.
    attained
        Whether the supremum is attained, ``None`` where the bracket is too wide to know.
    """

    radius: float
    lower: float
    upper: float
    multiplier: float | None
    worst_case: Distribution
    attained: bool | None
    tolerance: float = EXACT

    @property
    def gap(self) -> float:
        """``upper − lower``."""
        return self.upper - self.lower

    @property
    def status(self) -> str:
        """``exact`` where the gap is within the tolerance, else ``bracket``."""
        close = self.gap <= self.tolerance * scale(self.lower, self.upper)
        return "exact" if close else "bracket"


def check_supported(problem: Problem) -> None:
    """Raise unless the exact engine answers this question.

    Raises
    ------
    UnsupportedError
        Names the loss, norm, order or option that is not covered, and what is.
    """
    loss, cost = problem.loss, problem.cost
    if not isinstance(loss, Margin | Hinge | ZeroOne):
        raise UnsupportedError(
            f"loss: exact values cover margin, hinge and zero-one, found {loss.name}"
        )
    if not cost.norm.polyhedral:
        raise UnsupportedError(f"norm: exact values cover l1 and linf, found {cost.norm.name}")
    if cost.label_cost is not None:
        raise UnsupportedError("label_cost: exact values do not cover label moves yet")
    if not isinstance(loss, ZeroOne) and cost.finite and cost.order != 1:
        raise UnsupportedError(
            f"order: exact values of {loss.name} cover 1 and inf, found {cost.order:g}"
        )
