r"""Transport cost :math:`\|x'-x\|_r^p` and the budget :math:`\varepsilon^p` that a radius buys."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from wdaverify.arrays import Bools, Floats
from wdaverify.errors import ProblemError
from wdaverify.norms import GroundNorm, norm_named

__all__ = ["TransportCost"]


@dataclass(frozen=True, slots=True, init=False)
class TransportCost:
    """Ground norm, order and (optionally) the price of moving mass to another label.

    Parameters
    ----------
    norm
        ``"l1"``, ``"l2"``, ``"linf"`` or a :class:`~wdaverify.norms.GroundNorm`.
    order
        Wasserstein order ``p >= 1``; infinity as ``math.inf`` or ``"inf"``.
    label_cost
        Cost of a label move in units of distance ``** order``; ``None``: labels do not move.

    Raises
    ------
    ProblemError
        Unknown norm, order below 1, negative label cost, or a label cost with order infinity.
    """

    norm: GroundNorm
    order: float
    label_cost: float | None

    def __init__(
        self,
        norm: str | GroundNorm = "linf",
        order: float | str = 1,
        label_cost: float | None = None,
    ) -> None:
        object.__setattr__(self, "norm", norm if isinstance(norm, GroundNorm) else norm_named(norm))
        object.__setattr__(self, "order", parse_order(order))
        object.__setattr__(self, "label_cost", _label_cost(label_cost, self.order))

    @property
    def finite(self) -> bool:
        """Whether the order is finite."""
        return math.isfinite(self.order)

    def of(self, displacements: Floats) -> Floats:
        """Cost of each displacement ``(..., n) -> (...)``; for order infinity its length."""
        length = self.norm.length(displacements)
        return length**self.order if self.finite and self.order != 1 else length

    def charge(self, points: Floats, origins: Floats) -> Floats:
        """Bound the exact transport cost from above: ``(..., n), (..., n) -> (...)``.

        What is charged is never less than the cost over the reals, so a budget that holds for
        the charges holds exactly. For l1 and l∞ with order 1 or infinity it is equal to the cost
        wherever nothing rounds.
        """
        difference = points - origins
        back = difference - points  # TwoDiff (Knuth): the exact rounding error of ``difference``
        error = (points - (difference - back)) - (origins + back)
        away = np.where(
            error == 0, difference, np.nextafter(difference, np.copysign(np.inf, difference))
        )
        length = _sum_up(np.abs(away)) if self.norm.name == "l1" else self.norm.length(away)
        if self.norm.name == "l2":
            length = length * (1.0 + (points.shape[-1] + 4.0) * 2.0**-52)
        if not self.finite or self.order == 1:
            return length
        power = length**self.order * (1.0 + (self.order + 4.0) * 2.0**-52)
        return np.where(length > 0, np.nextafter(power, np.inf), 0.0)

    def charge_labels(self, charges: Floats, moved: Bools) -> Floats:
        """Add the price of a label move, rounded up, where one is made.

        Raises
        ------
        ProblemError
            A label moved although no label cost is given.
        """
        if self.label_cost is None:
            if moved.any():
                raise ProblemError("label_cost: labels do not move without one, found a label move")
            return charges
        total = charges + self.label_cost
        back = total - charges
        error = (charges - (total - back)) + (self.label_cost - back)  # TwoSum: exact
        above = np.where(error > 0, np.nextafter(total, np.inf), total)
        return np.where(moved, above, charges)

    def budget(self, radius: float) -> float:
        """Return ``radius ** order`` (the radius itself for order infinity)."""
        return float(radius**self.order) if self.finite else radius

    def describe(self) -> str:
        """Return a short name such as ``W₁, ℓ∞``."""
        order = f"{self.order:g}" if self.finite else "∞"
        label = "" if self.label_cost is None else f", label cost {self.label_cost:g}"
        symbol = _SYMBOLS.get(self.norm.name, self.norm.name)
        return f"W{order.translate(_SUBSCRIPTS)}, {symbol}{label}"


_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
_SYMBOLS = {"l1": "ℓ₁", "l2": "ℓ₂", "linf": "ℓ∞"}


def _sum_up(terms: Floats) -> Floats:
    """Sum non-negative terms over the last axis, upwards unless the sum is exact (TwoSum)."""
    total = np.zeros(terms.shape[:-1])
    inexact = np.zeros(terms.shape[:-1], dtype=bool)
    for term in np.moveaxis(terms, -1, 0):
        further = total + term
        back = further - total
        inexact |= ((total - (further - back)) + (term - back)) != 0
        total = further
    return np.where(inexact, total * (1.0 + (terms.shape[-1] + 2.0) * 2.0**-52), total)


def parse_order(order: Any) -> float:  # noqa: ANN401  (whatever a TOML file or a user gives)
    """Return a Wasserstein order as a float.

    Raises
    ------
    ProblemError
        Not a number of at least 1, nor infinity.
    """
    try:
        value = float(order) if not isinstance(order, bool) else math.nan
    except (TypeError, ValueError):
        value = math.nan
    if not value >= 1:
        raise ProblemError(f'order: expected a number p >= 1 or "inf", found {order!r}')
    return value


def _label_cost(cost: Any, order: float) -> float | None:  # noqa: ANN401
    if cost is None:
        return None
    if (
        isinstance(cost, bool)
        or not isinstance(cost, int | float | np.number)
        or not 0 <= cost < math.inf
    ):
        raise ProblemError(f"label_cost: expected a finite number >= 0, found {cost!r}")
    if math.isinf(order):
        raise ProblemError(
            f"label_cost: a label move has a cost only for a finite order, found {cost!r} "
            f"with order inf"
        )
    return float(cost)
