r"""Point-wise robustness as VNN-LIB: errors in an ℓ∞ ball, within the support.

.. math:: \exists x\in[x_i-r,\,x_i+r]\cap\mathcal{X}:\ \bigvee_{j\ne y_i} Y_j \ge Y_{y_i}

Bounds are written with all their digits, so that reading them gives the same float64. Where
``x ± r`` is no float64 they are rounded outward, by one unit in the last place: the box holds the
ball.
"""

import numpy as np

from wdaverify.arrays import Floats
from wdaverify.support import Box

__all__ = ["ball", "robustness_text"]


def ball(centre: Floats, radius: float, support: Box) -> Box:
    """Return the smallest box of float64 numbers that holds an ℓ∞ ball, cut by the support.

    Parameters
    ----------
    centre
        Shape ``(n,)``, inside the support.
    radius
        In input units.
    """
    lower, upper = support.bind(len(centre)).bounds
    return Box(
        np.maximum(lower, -_sum_up(-centre, radius)), np.minimum(upper, _sum_up(centre, radius))
    )


def robustness_text(box: Box, label: int, classes: int, title: str) -> str:
    """Return a VNN-LIB 1.0 file that is satisfiable where some class reaches the label's output.

    Parameters
    ----------
    box
        With finite bounds, one per feature.
    title
        A line for people.
    """
    lower, upper = box.bounds
    lines = [f"; {' '.join(title.split())}", "; unsat: no class reaches the label in this box", ""]
    lines += [f"(declare-const X_{k} Real)" for k in range(len(lower))]
    lines += [f"(declare-const Y_{k} Real)" for k in range(classes)]
    for k, (low, high) in enumerate(zip(lower, upper, strict=True)):
        lines += [
            "",
            f"(assert (>= X_{k} {_decimal(low)}))",
            f"(assert (<= X_{k} {_decimal(high)}))",
        ]
    others = [f"(>= Y_{j} Y_{label})" for j in range(classes) if j != label]
    if len(others) == 1:
        return "\n".join([*lines, "", f"(assert {others[0]})", ""])
    return "\n".join([*lines, "", "(assert (or", *(f"    (and {o})" for o in others), "))", ""])


def _decimal(value: float) -> str:
    """Return the shortest decimal number of a float64, without an exponent: SMT-LIB has none."""
    return np.format_float_positional(value, unique=True, trim="0")


def _sum_up(values: Floats, radius: float) -> Floats:
    """Return ``values + radius``, rounded up (TwoSum)."""
    total = values + radius
    back = total - values
    error = (values - (total - back)) + (radius - back)
    return np.where(error > 0, np.nextafter(total, np.inf), total)
