"""What the exact engine answers."""

import math
from dataclasses import dataclass, replace

from wdaverify.distribution import Distribution
from wdaverify.tolerances import EXACT, scale
from wdaverify.units import Units

__all__ = ["ExactValue"]


@dataclass(frozen=True, slots=True, eq=False)
class ExactValue:
    """A worst-case value as a bracket, with the evidence of its lower end.

    Attributes
    ----------
    lower
        Risk of :attr:`worst_case`, an explicit distribution within the radius; infinite where the
        supremum is, and then the worst case holds a point at which the loss has no bound.
    upper
        Dual bound.
    multiplier
        Right-hand slope of the value in the budget ``radius ** order``; ``None`` for order
        infinity.
    attained
        Whether the supremum is attained, ``None`` where the bracket does not say.
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
        """``upper − lower``, 0 where both are infinite."""
        return 0.0 if math.isinf(self.lower) else self.upper - self.lower

    def restored(self, units: Units) -> "ExactValue":
        """Return the same with its worst case in input units."""
        return replace(self, worst_case=units.restored(self.worst_case))

    @property
    def status(self) -> str:
        """``exact`` where the gap is within the tolerance, ``unbounded`` or ``bracket``."""
        if self.lower == math.inf:
            return "unbounded"
        close = self.gap <= self.tolerance * scale(self.lower, self.upper) < math.inf
        return "exact" if close else "bracket"
