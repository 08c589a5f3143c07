r"""Whether a Lipschitz certificate is exact for every radius (order 1): ``S = L``.

.. math:: \sum_i\mu_i\ell_i + \varepsilon S \;\le\; v_1(\varepsilon) \;\le\;
          \sum_i\mu_i\ell_i + \varepsilon L
"""

from collections.abc import Sequence
from dataclasses import dataclass

from wdaverify.bounds.asymptotic import AsymptoticSlope
from wdaverify.bounds.lipschitz import Certificate
from wdaverify.tolerances import ORDER

__all__ = ["Tightness", "tightness"]


@dataclass(frozen=True, slots=True, eq=False)
class Tightness:
    """The verdict and what it rests on.

    Attributes
    ----------
    tight
        ``True``: the value is the line of slope ``L``. ``False``: for large radii it is below.
        ``None``: a limit left it open, or labels move, which bends the value.
    slope
        Bracket on ``S``, with a direction and the pattern of a cell as witness.
    method, constant
        The Lipschitz constant compared with, and its bracket.
    """

    tight: bool | None
    slope: AsymptoticSlope
    method: str
    constant: tuple[float, float]

    def describe(self) -> str:
        """Return a sentence for people, with the witness of a tight certificate."""
        S, L = self.slope, self.constant
        numbers = f"S in [{S.lower:.8g}, {S.upper:.8g}], L in [{L[0]:.8g}, {L[1]:.8g}]"
        if self.tight is None:
            return f"{self.method}: whether it is tight is open ({numbers})"
        if not self.tight:
            return f"{self.method}: not tight, the value falls below its line ({numbers})"
        on = (
            "".join("?" if S.pattern is None else "01"[int(v)] for v in S.pattern)
            if S.pattern is not None
            else "?"
        )
        along = ", ".join(f"{v:.4g}" for v in S.direction)
        return (
            f"{self.method}: tight, the value is a straight line ({numbers}); label {S.label} "
            f"grows so in cell {on or 'of an affine network'} along ({along})"
        )


def tightness(slope: AsymptoticSlope | None, certificates: Sequence[object]) -> Tightness | None:
    """Compare the slope with the smallest Lipschitz constant that is known from both sides.

    Returns
    -------
    Tightness or None
        ``None`` where there is no slope, or no such constant.
    """
    known = [c for c in certificates if isinstance(c, Certificate) and c.bracket is not None]
    if slope is None or not known:
        return None
    best = min(known, key=lambda c: c.constant)
    assert best.bracket is not None
    low, high = best.bracket.bracket(best.problem.possible_labels)
    verdict: bool | None = None
    if best.problem.cost.label_cost is None:
        if slope.lower >= high * (1.0 - ORDER):
            verdict = True
        elif slope.upper < low * (1.0 - ORDER):
            verdict = False
    return Tightness(verdict, slope, best.method, (low, high))
