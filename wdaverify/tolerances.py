"""The few numbers that decide what "equal" means, each defined once."""

from typing import Final

__all__ = ["EXACT", "ORDER", "ROUNDING", "scale"]

EXACT: Final = 1e-7
"""A value is *exact* when its gap is at most ``EXACT · max(1, |lower|, |upper|)``."""

ORDER: Final = 1e-9
"""Two bounds contradict each other when out of order by more than ``ORDER · max(1, |v|)``."""

ROUNDING: Final = 2.0**-53
"""Unit roundoff of float64."""


def scale(*values: float) -> float:
    """Return ``max(1, |v|, …)``, the scale against which a gap is judged."""
    return max(1.0, *(abs(value) for value in values))
